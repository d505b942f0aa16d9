//! Records of members of other servers: the user and the further addresses.

use std::time::{Duration, Instant};

use crate::cluster::command::EngineFailure;
use crate::cluster::ids::{ID_BYTES, MemberId};
use crate::cluster::keys::HolderEntry;
use crate::cluster::search::HolderPage;
use crate::index::About;
use crate::server::cluster::{ClusterAsk, ServerCluster};

/// Records of members that are kept: a page has 64, and a busy server some hundred pages a second.
const RECORDS: usize = 20_000;
/// A record is kept so long: the user of a member rarely changes.
const RECORD_AGE: Duration = Duration::from_secs(10);

impl ServerCluster {
    /// The user and the addresses of a member of another server; `None` while not known.
    pub(super) fn about(&self, entry: &HolderEntry) -> Option<About> {
        if !entry.more {
            return Some(About::default());
        }
        self.records.get(&entry.id).map(|(about, _)| about.clone())
    }

    /// Ask for the records that a page needs. Returns how many are on their way.
    pub(super) fn ask_records(&mut self, lookup: u64, page: &HolderPage, now: Instant) -> usize {
        let unknown = self.unknown_records(page, now);
        for id in &unknown {
            let ticket = self.index.record(*id, now);
            self.asked.insert(ticket, ClusterAsk::Record(lookup, *id));
        }
        unknown.len()
    }

    /// The members of other servers on a page whose records are not known.
    pub(super) fn unknown_records(&self, page: &HolderPage, now: Instant) -> Vec<[u8; ID_BYTES]> {
        let own = self.index.registry().epoch();
        let is_unknown = |entry: &&HolderEntry| {
            let is_own = Some(MemberId::decode(entry.id).epoch) == own;
            let is_known = self.records.get(&entry.id).is_some_and(|(_, until)| *until > now);
            entry.more && !is_own && !is_known
        };
        page.holders.iter().filter(is_unknown).map(|entry| entry.id).collect()
    }

    /// Keep a record that has come; one that could not be read is asked for again.
    pub(super) fn keep_record(
        &mut self,
        id: [u8; ID_BYTES],
        about: &Result<About, EngineFailure>,
        now: Instant,
    ) {
        let Ok(about) = about else { return };
        if self.records.len() >= RECORDS {
            self.records.retain(|_, (_, until)| *until > now);
        }
        if self.records.len() < RECORDS {
            self.records.insert(id, (about.clone(), now + RECORD_AGE));
        }
    }
}
