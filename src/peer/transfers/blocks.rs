//! Requesters that the user of a peer refuses: by address, by key or by the name of a member.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::peer::transfers::journal::{RecordFile, StateFile};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::types::account::{Key, UserName};
use crate::protocol::types::address_range::AddressRange;

/// Refused subjects: each request is compared with all ranges.
const MOST_BLOCKS: usize = 1_000;

/// A refused requester.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum BlockSubject {
    Range(AddressRange),
    Key(Key),
    User(UserName),
}

impl BlockSubject {
    /// Parse an address, a range, a key or the name of a member.
    pub(crate) fn parse(text: &str) -> Result<BlockSubject, ErrorReply> {
        if let Some(key) = Key::parse(text) {
            return Ok(BlockSubject::Key(key));
        }
        let wrong = |why: String| ErrorReply::new(ErrorCode::BadRequest, why);
        match AddressRange::parse(text) {
            Ok(range) => Ok(BlockSubject::Range(range)),
            Err(why) if text.contains(['/', ':']) => Err(wrong(why.to_string())),
            Err(_) => UserName::new(text)
                .map(BlockSubject::User)
                .map_err(|why| wrong(format!("the name of a member must not {why}"))),
        }
    }
}

impl fmt::Display for BlockSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BlockSubject::Range(range) => range.fmt(f),
            BlockSubject::Key(key) => key.fmt(f),
            BlockSubject::User(user) => user.fmt(f),
        }
    }
}

/// A record of the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum BlockRecord {
    Block(String),
    Allow(String),
}

/// All refused requesters.
#[derive(Default)]
pub(crate) struct Blocks {
    all: BTreeSet<BlockSubject>,
    journal: Option<RecordFile>,
}

impl Blocks {
    /// The refused requesters of a file.
    pub(super) fn open(file: Box<dyn StateFile>) -> Blocks {
        let (journal, records) = RecordFile::open(file, "blocked");
        let mut all = BTreeSet::new();
        for record in records {
            match record {
                BlockRecord::Block(text) if all.len() < MOST_BLOCKS => {
                    all.extend(BlockSubject::parse(&text));
                }
                BlockRecord::Block(_) => {}
                BlockRecord::Allow(text) => {
                    if let Ok(subject) = BlockSubject::parse(&text) {
                        all.remove(&subject);
                    }
                }
            }
        }
        Blocks { all, journal: Some(journal) }
    }

    fn write(&mut self, record: BlockRecord) {
        let Blocks { all, journal } = self;
        let Some(journal) = journal else { return };
        journal.write(&[record], || {
            all.iter().map(|subject| BlockRecord::Block(subject.to_string())).collect()
        });
    }

    /// Refuse a requester from now on.
    pub(crate) fn block(&mut self, subject: BlockSubject) -> Result<(), ErrorReply> {
        if self.all.len() >= MOST_BLOCKS && !self.all.contains(&subject) {
            let text = format!("at most {MOST_BLOCKS} requesters are blocked at once");
            return Err(ErrorReply::new(ErrorCode::TooLarge, text));
        }
        let text = subject.to_string();
        if self.all.insert(subject) {
            self.write(BlockRecord::Block(text));
        }
        Ok(())
    }

    /// Serve a requester again.
    pub(crate) fn allow(&mut self, subject: &BlockSubject) -> Result<(), ErrorReply> {
        if !self.all.remove(subject) {
            return Err(ErrorReply::new(ErrorCode::NotFound, format!("{subject} is not blocked")));
        }
        self.write(BlockRecord::Allow(subject.to_string()));
        Ok(())
    }

    /// The refused requesters, in a stable order.
    pub(crate) fn list(&self) -> Vec<String> {
        self.all.iter().map(ToString::to_string).collect()
    }

    /// True for a refused requester.
    pub(crate) fn refuses(&self, ip: IpAddr, key: Option<Key>, user: Option<&UserName>) -> bool {
        self.all.iter().any(|subject| match subject {
            BlockSubject::Range(range) => range.holds(ip),
            BlockSubject::Key(blocked) => key == Some(*blocked),
            BlockSubject::User(blocked) => user == Some(blocked),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::transfers::fake_state_file::FakeStateFile;

    fn subject(text: &str) -> BlockSubject {
        BlockSubject::parse(text).expect("a subject")
    }

    #[test]
    fn blocks_stay_after_a_restart_until_they_are_withdrawn() {
        let file = FakeStateFile::default();
        let mut blocks = Blocks::open(Box::new(file.clone()));
        for text in ["192.0.2.7", "10.0.0.0/8", "ana", "2001:db8::/64"] {
            blocks.block(subject(text)).unwrap();
        }
        assert_eq!(blocks.allow(&subject("rui")).unwrap_err().code, ErrorCode::NotFound);
        blocks.allow(&subject("192.0.2.7")).unwrap();
        let blocks = Blocks::open(Box::new(file));
        assert_eq!(blocks.list(), ["10.0.0.0/8", "2001:db8::/64", "ana"]);
        let ana = UserName::new("ana").unwrap();
        let refuses = |ip: &str, user| blocks.refuses(ip.parse().unwrap(), None, user);
        assert!(refuses("10.9.9.9", None) && refuses("::ffff:10.1.1.1", None));
        assert!(refuses("192.0.2.7", Some(&ana)) && !refuses("192.0.2.7", None));
    }

    #[test]
    fn a_key_is_blocked_whatever_its_address() {
        let key = Key::new([7; 32]).or_else(|| Key::new([1; 32])).expect("a key");
        let mut blocks = Blocks::default();
        blocks.block(subject(&key.to_string())).unwrap();
        assert!(blocks.refuses([127, 0, 0, 1].into(), Some(key), None));
        assert!(!blocks.refuses([127, 0, 0, 1].into(), None, None));
    }

    #[test]
    fn the_list_is_bounded_and_malformed_subjects_are_refused() {
        let mut blocks = Blocks::default();
        for number in 0..MOST_BLOCKS {
            blocks.block(subject(&format!("user{number}"))).unwrap();
        }
        assert_eq!(blocks.block(subject("more")).unwrap_err().code, ErrorCode::TooLarge);
        for text in ["", "a/b", "10.0.0.1/8", "0.0.0.0/0", "1.2.3.4/99", "..", "a\nb"] {
            assert!(BlockSubject::parse(text).is_err(), "{text:?}");
        }
    }
}
