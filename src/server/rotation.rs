//! The change of a server's key: announce the next key, and take it after 30 days or when the
//! operator says so.
//!
//! ```text
//!   one key --a next key appears--> announced --30 days, or the operator renames--> one key
//! ```
//!
//! The files of the keys are the whole state: the operator changes them by `rotate-key`, and the
//! server looks at them every two seconds. So a crash at any point leaves one of the two states.

use std::rc::Rc;
use std::time::Instant;

use crate::accounts::identity::Identity;
use crate::members::audit::AuditEntry;
use crate::node::ConnId;
use crate::node::io::{Io, SecretKey};
use crate::protocol::types::account::Key;
use crate::protocol::types::rotation::NextKey;
use crate::server::Server;
use crate::server::key_files::ROTATION_SECONDS;
use crate::server::members::{LOCAL, MemberService};

/// A change that the clients and the network must learn.
enum RotationStep {
    Announce(Rc<NextKey>),
    Show([u8; 32]),
}

impl MemberService {
    /// Look at the files of the keys.
    fn rotate(&mut self, now: Instant) -> Vec<RotationStep> {
        let seconds = self.seconds(now);
        let Some(secrets) = self.rotation.look(seconds, now) else { return Vec::new() };
        let mut steps = Vec::new();
        let Some(current) = Identity::new(&secrets.current) else { return steps };
        if self.identity.as_ref().is_some_and(|identity| identity.key() != current.key()) {
            log::warn!("the server has the key {} from now on", current.key());
            self.note_rotation("ROTATED", current.key(), seconds);
            self.identity = Some(current);
            self.rotation.announced = None;
            steps.push(RotationStep::Show(secrets.current));
        }
        let next = secrets.next.as_ref().and_then(Identity::new);
        self.rotation.announced = next.and_then(|next| self.sign_next(&next));
        if let Some(announced) = self.rotation.announced.clone() {
            let since = self.announced_since(announced.key, seconds);
            self.rotation.until = since.saturating_add(ROTATION_SECONDS);
            steps.push(RotationStep::Announce(announced));
        }
        steps
    }

    /// The announcement of this key by the key in use.
    fn sign_next(&self, next: &Identity) -> Option<Rc<NextKey>> {
        let identity = self.identity.as_ref().filter(|identity| identity.key() != next.key())?;
        let by_old = |text: &[u8]| identity.sign(text);
        Some(Rc::new(NextKey::sign(&identity.key(), &next.key(), by_old, |text| next.sign(text))))
    }

    /// The time since when this key is announced. A restart does not begin anew.
    fn announced_since(&mut self, next: Key, seconds: u64) -> u64 {
        if let Some((_, since)) = self.members.rotation().filter(|(key, _)| *key == next) {
            return since;
        }
        log::warn!("the next key of the server is announced: {next}");
        if let Err(error) = self.members.set_rotation(next, seconds) {
            log::error!("members: {error}");
        }
        self.note_rotation("ROTATE", next, seconds);
        seconds
    }

    fn note_rotation(&mut self, what: &str, key: Key, now: u64) {
        let object = key.to_string();
        let entry = AuditEntry { who: LOCAL, from: None, what, object: &object, ok: true };
        if let Err(error) = self.members.note(&entry, now) {
            log::error!("audit: {error}");
        }
    }
}

impl Server {
    /// Announce or take the next key when the files or the time say so.
    pub(super) fn rotate_key(&mut self, io: &mut Io<'_>) {
        for step in self.members.rotate(io.now) {
            match step {
                RotationStep::Show(secret) => io.show_key(SecretKey(secret)),
                RotationStep::Announce(next) => self.announce_key(&next, io),
            }
        }
    }

    /// Tell all clients on private connections the next key.
    fn announce_key(&mut self, next: &Rc<NextKey>, io: &mut Io<'_>) {
        let conns: Vec<ConnId> = self.clients.keys().collect();
        for id in conns {
            let Some(client) = self.clients.get_mut(&id) else { continue };
            let is_private = client.access.is_some_and(|access| access.is_private);
            if let Some(conn) = io.connection(id).filter(|_| is_private) {
                client.inbound.announce(Rc::clone(next), &mut conn.send_queue);
            }
        }
    }
}
