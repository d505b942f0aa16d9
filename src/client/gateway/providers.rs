//! Which providers a gateway may reach: the providers that the index lists for a file, by the keys that the
//! index has told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::protocol::error::ErrorReply;
use crate::protocol::response::{Provider, Response};
use crate::protocol::types::account::Key;
use crate::protocol::types::relative_path::RelativeName;

/// An answer of the index holds for so long: a player seeks often, and a provider that has left is
/// noticed by the closed port.
const VALID: Duration = Duration::from_secs(20);
/// Remembered answers; the oldest make room. A person opens a few files in [`VALID`].
const REMEMBERED: usize = 256;
/// Pages of a look-up, with 64 providers each: more than a page shows of a file.
const MAX_PAGES: u32 = 64;

/// A file at a provider.
type Wanted = (SocketAddr, RelativeName);

/// The answer of the index about a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Listing {
    /// The provider has the file, and this key.
    Listed(Option<Key>),
    /// The provider does not have the file.
    Unlisted,
    /// The server refuses the look-up.
    Refused(ErrorReply),
}

/// The look-ups of a gateway.
#[derive(Default)]
pub(super) struct Providers {
    last: u64,
    asked: BTreeMap<u64, LookUp>,
    known: BTreeMap<Wanted, (Instant, Listing)>,
}

/// A look-up under way.
struct LookUp {
    wanted: Wanted,
    pages: u32,
}

/// The next step of a look-up.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LookUpStep {
    /// Request this page of the file of this name, as look-up of this number.
    Page(u64, RelativeName, Option<String>),
    /// The answer is known.
    Done,
}

impl Providers {
    /// The answer for this file at this provider, if known.
    pub(super) fn listing(&self, wanted: &Wanted, now: Instant) -> Option<&Listing> {
        self.known.get(wanted).filter(|(until, _)| *until > now).map(|(_, listing)| listing)
    }

    /// Begins a look-up, unless the same look-up is under way.
    pub(super) fn begin(&mut self, wanted: &Wanted) -> LookUpStep {
        if self.asked.values().any(|look_up| look_up.wanted == *wanted) {
            return LookUpStep::Done;
        }
        self.last += 1;
        let look_up = LookUp { wanted: wanted.clone(), pages: 0 };
        self.asked.insert(self.last, look_up);
        LookUpStep::Page(self.last, wanted.1.clone(), None)
    }

    /// The server has answered.
    pub(super) fn answered(
        &mut self,
        id: u64,
        answer: Result<Response, ErrorReply>,
        now: Instant,
    ) -> LookUpStep {
        let Some(mut look_up) = self.asked.remove(&id) else { return LookUpStep::Done };
        let listing = match answer {
            Err(error) => Listing::Refused(error),
            Ok(Response::Found { holders, cursor, .. }) => {
                let (at, name) = &look_up.wanted;
                match holders.iter().find(|holder| is_listed(holder, *at, name)) {
                    Some(holder) => Listing::Listed(holder.key),
                    None if cursor.is_some() && look_up.pages < MAX_PAGES => {
                        let name = name.clone();
                        look_up.pages += 1;
                        self.asked.insert(id, look_up);
                        return LookUpStep::Page(id, name, cursor);
                    }
                    None => Listing::Unlisted,
                }
            }
            Ok(_) => Listing::Unlisted,
        };
        self.done(look_up.wanted, listing, now)
    }

    fn done(&mut self, wanted: Wanted, listing: Listing, now: Instant) -> LookUpStep {
        self.known.retain(|_, (until, _)| *until > now);
        if self.known.len() >= REMEMBERED {
            let oldest = self.known.iter().min_by_key(|(_, (until, _))| *until);
            let oldest = oldest.map(|(wanted, _)| wanted.clone());
            oldest.and_then(|wanted| self.known.remove(&wanted));
        }
        self.known.insert(wanted, (now + VALID, listing));
        LookUpStep::Done
    }

    /// The provider did not prove the key, or did not answer: ask the index again next time.
    pub(super) fn forget(&mut self, wanted: &Wanted) {
        self.known.remove(wanted);
    }

    /// The session with the server is over: no answer comes.
    pub(super) fn session_lost(&mut self) {
        self.asked.clear();
    }
}

/// True for this file at this provider, by the native protocol.
fn is_listed(holder: &Provider, at: SocketAddr, name: &RelativeName) -> bool {
    holder.peer == at && holder.file.name == *name && holder.speaks.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::error::ErrorCode;
    use crate::protocol::request::FileEntry;

    fn wanted(at: &str, name: &str) -> Wanted {
        (at.parse().unwrap(), RelativeName::new(name).unwrap())
    }

    fn page(at: &str, name: &str, cursor: Option<&str>) -> Result<Response, ErrorReply> {
        let (peer, name) = wanted(at, name);
        let file = FileEntry::new(name, 1);
        let provider = Provider { peer, file, user: None, speaks: None, quic: None, key: None };
        let cursor = cursor.map(str::to_owned);
        Ok(Response::Found { holders: vec![provider], away: Vec::new(), cursor, incomplete: false })
    }

    fn number(step: LookUpStep) -> u64 {
        match step {
            LookUpStep::Page(id, ..) => id,
            LookUpStep::Done => panic!("no look-up"),
        }
    }

    #[test]
    fn only_the_listed_address_and_name_may_be_reached() {
        let (mut providers, now) = (Providers::default(), Instant::now());
        for (at, name, listing) in [
            ("10.0.0.1:4000", "a", Listing::Listed(None)),
            ("10.0.0.1:22", "a", Listing::Unlisted),
            ("10.0.0.2:4000", "a", Listing::Unlisted),
            ("10.0.0.1:4000", "b", Listing::Unlisted),
        ] {
            let wanted = wanted(at, name);
            let id = number(providers.begin(&wanted));
            assert_eq!(providers.begin(&wanted), LookUpStep::Done);
            assert_eq!(providers.listing(&wanted, now), None);
            providers.answered(id, page("10.0.0.1:4000", "a", None), now);
            assert_eq!(providers.listing(&wanted, now), Some(&listing), "{at} {name}");
        }
    }

    #[test]
    fn later_pages_are_looked_through_up_to_a_bound() {
        let (mut providers, now) = (Providers::default(), Instant::now());
        let wanted = wanted("10.0.0.9:4000", "a");
        let id = number(providers.begin(&wanted));
        let next = providers.answered(id, page("10.0.0.1:4000", "a", Some("7")), now);
        assert_eq!(next, LookUpStep::Page(id, wanted.1.clone(), Some("7".into())));
        providers.answered(id, page("10.0.0.9:4000", "a", None), now);
        assert_eq!(providers.listing(&wanted, now), Some(&Listing::Listed(None)));
        providers.forget(&wanted);
        let id = number(providers.begin(&wanted));
        let endless = page("10.0.0.1:4000", "a", Some("7"));
        let mut pages = 0;
        while providers.answered(id, endless.clone(), now) != LookUpStep::Done {
            pages += 1;
        }
        assert_eq!(pages, MAX_PAGES);
        assert_eq!(providers.listing(&wanted, now), Some(&Listing::Unlisted));
    }

    #[test]
    fn answers_expire_and_their_number_is_bounded() {
        let (mut providers, now) = (Providers::default(), Instant::now());
        for port in 1..=400 {
            let wanted = wanted(&format!("10.0.0.1:{port}"), "a");
            let id = number(providers.begin(&wanted));
            providers.answered(id, Err(ErrorReply::new(ErrorCode::Busy, "")), now);
        }
        assert_eq!((providers.known.len(), providers.asked.len()), (REMEMBERED, 0));
        let last = wanted("10.0.0.1:400", "a");
        assert!(matches!(providers.listing(&last, now), Some(Listing::Refused(_))));
        assert_eq!(providers.listing(&last, now + VALID), None);
        providers.begin(&wanted("10.0.0.1:401", "a"));
        providers.session_lost();
        assert!(providers.asked.is_empty());
    }
}
