//! A file that arrives in datagrams of UDP.
//!
//! The protocol numbers no datagram and sends no size, so a lost datagram would leave a shorter
//! file. A file counts as complete by one of these, and fails as [`Failure::Lost`] otherwise:
//!
//! 1. the provider answers with the size, asked behind the end;
//! 2. the file has arrived twice, with the same bytes: the second pass is not stored.
//!
//! Datagrams that found no room in the receive buffer are counted by the kernel, and end the
//! transfer.

use std::rc::Rc;

use crate::connection::legacy::{LegacyClient, ReceivedPart};
use crate::download::legacy_stream::{LegacyStream, StreamState};
use crate::download::types::{Ctx, Outcome};
use crate::io::traits::Sink as _;
use crate::limits;
use crate::storage::fs_trait::FsError;
use crate::storage::sequential_file::SequentialFile;
use crate::ui::event::Failure;

/// Questions for the size, [`TAKEOVER_INTERVAL`](limits::TAKEOVER_INTERVAL) apart: the answer of a
/// busy provider takes a moment, and a question may be lost.
const QUESTIONS: u32 = 5;
/// Passes over a file without a size: a later one must agree with the first.
const PASSES: u32 = 4;

/// The state of a transfer in datagrams.
#[derive(Default)]
pub(super) struct DatagramTransfer {
    /// Bytes of the last datagram that the file has not taken yet.
    pending: Vec<u8>,
    /// A datagram was shorter than usual: it must be the last.
    has_short: bool,
    /// The bytes of this pass, and their hash.
    length: u64,
    hasher: blake3::Hasher,
    /// Questions for the size since the end of the file; 0 before the end.
    asked: u32,
    /// Passes that have ended.
    passes: u32,
    /// The length and the hash of the stored file, once its end has come.
    stored: Option<(u64, [u8; 32])>,
}

impl DatagramTransfer {
    /// The first datagram of a pass has arrived.
    pub(super) fn begin(&mut self) {
        let DatagramTransfer { passes, stored, .. } = std::mem::take(self);
        *self = DatagramTransfer { passes, stored, ..DatagramTransfer::default() };
    }

    /// True in a pass that only compares.
    pub(super) fn compares(&self) -> bool {
        self.stored.is_some()
    }

    fn note(&mut self, count: usize) {
        self.length += count as u64;
        self.hasher.update(&self.pending[..count]);
        self.pending.drain(..count);
    }
}

impl LegacyStream {
    /// Stores the datagrams that have arrived.
    pub(super) fn take_datagrams(&mut self, ctx: &mut Ctx<'_, '_>) -> Option<Outcome> {
        let file = self.file.clone()?;
        loop {
            if let Err(error) = self.store_pending(&file) {
                return Some(self.fail(&error));
            }
            if !self.datagrams.pending.is_empty() {
                self.due_at = self.due_at.min(ctx.io.now + limits::SINK_RETRY);
                return None;
            }
            let StreamState::Receiving(id, client) = &self.state else { return None };
            let part = client.take_part(&mut ctx.io.connection(*id)?.recv_buffer)?;
            let has_ended = self.datagrams.asked > 0;
            match part {
                ReceivedPart::Bytes(answer, _) if has_ended => {
                    return match LegacyClient::size_in(&answer) {
                        Some(size) if size == self.datagrams.length => self.all_arrived(&file, ctx),
                        Some(_) => self.lost(ctx),
                        // Another answer than a size.
                        None => self.end_without_size(&file, ctx),
                    };
                }
                ReceivedPart::Bytes(bytes, is_whole) if !self.datagrams.has_short => {
                    self.datagrams.has_short = !is_whole;
                    self.datagrams.pending = bytes;
                }
                // The earlier one was the last datagram of the file.
                ReceivedPart::End if has_ended && !self.datagrams.has_short => {
                    self.datagrams.has_short = true;
                    self.datagrams.pending = LegacyClient::END.to_vec();
                }
                ReceivedPart::End if !has_ended => self.ask_size(ctx),
                ReceivedPart::End | ReceivedPart::Bytes(..) | ReceivedPart::Lost => {
                    return self.lost(ctx);
                }
            }
        }
    }

    fn store_pending(&mut self, file: &Rc<SequentialFile>) -> Result<(), FsError> {
        if self.datagrams.compares() {
            self.datagrams.note(self.datagrams.pending.len());
        }
        while !self.datagrams.pending.is_empty() {
            let pending = &self.datagrams.pending;
            let count = file.room().min(pending.len());
            if count == 0 {
                return Ok(());
            }
            if let Err(error) = file.put(file.have(), &pending[..count]) {
                return Err(file.failure().unwrap_or_else(|| error.into()));
            }
            self.datagrams.note(count);
        }
        Ok(())
    }

    fn ask_size(&mut self, ctx: &mut Ctx<'_, '_>) {
        let (StreamState::Receiving(id, client), Some(source)) =
            (&self.state, self.sources.front())
        else {
            return;
        };
        if let Some(conn) = ctx.io.connection(*id) {
            client.ask_size(&source.remote, &mut conn.send_queue);
        }
        self.datagrams.asked += 1;
    }

    /// The timer of a transfer in datagrams.
    pub(super) fn datagrams_due(&mut self, ctx: &mut Ctx<'_, '_>) -> Option<Outcome> {
        let outcome = self.take_datagrams(ctx);
        if outcome.is_some() || self.datagrams.asked == 0 {
            return outcome;
        }
        if self.datagrams.asked < QUESTIONS {
            self.ask_size(ctx);
            return None;
        }
        let file = self.file.clone()?;
        self.end_without_size(&file, ctx)
    }

    /// The file has ended, and the provider tells no size.
    fn end_without_size(
        &mut self,
        file: &Rc<SequentialFile>,
        ctx: &mut Ctx<'_, '_>,
    ) -> Option<Outcome> {
        let pass = (self.datagrams.length, *self.datagrams.hasher.finalize().as_bytes());
        self.datagrams.passes += 1;
        match *self.datagrams.stored.get_or_insert(pass) {
            stored if self.datagrams.passes > 1 && stored == pass => self.all_arrived(file, ctx),
            _ if self.datagrams.passes >= PASSES => self.lost(ctx),
            _ => {
                self.drop_conn(ctx.io);
                self.connect(ctx);
                None
            }
        }
    }

    /// All bytes are here.
    fn all_arrived(&mut self, file: &Rc<SequentialFile>, ctx: &mut Ctx<'_, '_>) -> Option<Outcome> {
        self.length.size = Some(file.have());
        let StreamState::Receiving(id, _) = &self.state else { return None };
        let id = *id;
        self.finish(id, ctx)
    }

    /// Datagrams were lost: the bytes stay in the `.part`.
    fn lost(&mut self, ctx: &mut Ctx<'_, '_>) -> Option<Outcome> {
        if self.file.as_ref().is_some_and(|file| !file.may_restart()) {
            self.sources.truncate(1);
        }
        self.give_up(Failure::Lost(self.name.clone()), ctx.io)
    }
}
