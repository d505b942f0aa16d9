//! The connections of this server to the nodes of an engine.

use std::collections::BTreeMap;

use crate::cluster::engine::LinkAction;
use crate::cluster::engine_user::EngineUser;
use crate::cluster::node::EngineLinkId;
use crate::node::ConnId;
use crate::node::io::Io;

/// Bytes of a reply that is not complete yet: a page of the longest names, or the map of all slots.
const REPLY_BYTES: usize = 4 << 20;
/// Replies of a connection that are handled before others have their turn: about a millisecond.
const REPLIES: usize = 256;

/// Connections to the nodes of one engine.
pub(super) struct EngineConns {
    links: BTreeMap<ConnId, EngineLinkId>,
    /// The nodes take TLS.
    is_tls: bool,
}

impl EngineConns {
    pub fn new(is_tls: bool) -> EngineConns {
        EngineConns { links: BTreeMap::new(), is_tls }
    }

    pub fn contains(&self, id: ConnId) -> bool {
        self.links.contains_key(&id)
    }

    /// Handle the replies that came.
    pub fn received(&self, user: &mut impl EngineUser, id: ConnId, io: &mut Io<'_>) {
        let now = io.now;
        let (Some(link), Some(conn)) = (self.links.get(&id).copied(), io.connection(id)) else {
            return;
        };
        conn.max_header = REPLY_BYTES;
        let bytes = conn.recv_buffer.header();
        let used = user.received(link, bytes, REPLIES, now);
        // The rest waits for the next iteration.
        conn.reschedule = used > 0 && used < bytes.len();
        conn.recv_buffer.consume(used);
    }

    pub fn connected(&self, user: &mut impl EngineUser, id: ConnId, io: &mut Io<'_>) {
        let Some(link) = self.links.get(&id).copied() else { return };
        if let Some(conn) = io.connection(id) {
            conn.max_header = REPLY_BYTES;
        }
        user.connected(link, io.now);
    }

    pub fn lost(&mut self, user: &mut impl EngineUser, id: ConnId, io: &mut Io<'_>) {
        let Some(link) = self.links.remove(&id) else { return };
        if let Some(conn) = io.connection(id) {
            conn.drop_now();
        }
        user.lost(link, io.now);
    }

    /// Carry out what the engine needs.
    pub fn act(&mut self, user: &mut impl EngineUser, io: &mut Io<'_>) {
        while let Some(action) = user.next_action() {
            let conn_of =
                |link| self.links.iter().find(|(_, l)| **l == link).map(|(conn, _)| *conn);
            match action {
                LinkAction::Connect(link, to) => {
                    let conn = io.connect_to_engine(to, self.is_tls);
                    self.links.insert(conn, link);
                }
                LinkAction::Write(link) => {
                    if let Some(conn) = conn_of(link).and_then(|conn| io.connection(conn)) {
                        conn.send_queue.memory().with(|out| user.take_output(link, out));
                    }
                }
                LinkAction::Close(link) => {
                    if let Some(id) = conn_of(link) {
                        self.links.remove(&id);
                        if let Some(conn) = io.connection(id) {
                            conn.drop_now();
                        }
                    }
                }
            }
        }
    }
}
