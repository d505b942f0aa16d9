//! What each owner of an [`Engine`] does with its connections: the index of all servers, and the
//! accounts of all servers.

use std::time::Instant;

use crate::cluster::command::{EngineOutcome, EngineToken};
use crate::cluster::engine::{Engine, LinkAction, LinkInput};
use crate::cluster::info::EngineRefusal;
use crate::cluster::node::EngineLinkId;
use crate::protocol::types::certificate_fault::CertificateFault;

/// An owner of an engine. The owner of the sockets carries out its actions.
pub trait EngineUser {
    /// The nodes, for requests.
    fn engine_mut(&mut self) -> &mut Engine;

    /// Take the outcome of a request.
    fn answered(&mut self, token: EngineToken, outcome: EngineOutcome<'_>, now: Instant);

    /// Follow up after any input.
    fn settle(&mut self, now: Instant);

    /// The next action for the owner of the sockets.
    fn next_action(&mut self) -> Option<LinkAction> {
        self.engine_mut().next_action()
    }

    /// A connection is made.
    fn connected(&mut self, link: EngineLinkId, now: Instant) {
        self.engine_mut().connected(link, now);
    }

    /// A connection failed, or has ended.
    fn lost(&mut self, link: EngineLinkId, now: Instant) {
        self.engine_mut().lost(link, now);
        self.settle(now);
    }

    /// A connection failed: the certificate of the node is not trusted.
    fn untrusted(&mut self, fault: CertificateFault) {
        self.engine_mut().refuse(EngineRefusal::Untrusted(fault));
    }

    /// The reason for which the engine can't be used, told once.
    fn take_refusal(&mut self) -> Option<EngineRefusal> {
        self.engine_mut().take_refusal()
    }

    /// Move the bytes to write on a connection to the end of `out`.
    fn take_output(&mut self, link: EngineLinkId, out: &mut Vec<u8>) {
        self.engine_mut().take_output(link, out);
    }

    /// Read bytes that came on a connection: at most `most` replies. Returns how many bytes are used
    /// up.
    fn received(&mut self, link: EngineLinkId, bytes: &[u8], most: usize, now: Instant) -> usize {
        let mut used = 0;
        for _ in 0..most {
            match self.engine_mut().receive(link, &bytes[used..], now) {
                LinkInput::Wait | LinkInput::Closed => break,
                LinkInput::Used(length) => used += length,
                LinkInput::Answer(token, outcome, length) => {
                    used += length;
                    self.answered(token, outcome, now);
                }
            }
        }
        self.settle(now);
        used
    }
}
