//! Requests and responses of administrators beyond the members: connections, bans, publications of
//! other users, and the limits of a running server. All times are index seconds.

use std::fmt;
use std::net::IpAddr;

use crate::limits;
use crate::protocol::types::account::{Key, Line, Published, UserName};
use crate::protocol::types::address_range::AddressRange;

/// The object of a ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum BanSubject {
    Key(Key),
    Range(AddressRange),
}

impl BanSubject {
    /// Parse a key or a range.
    #[must_use]
    pub fn parse(text: &str) -> Option<BanSubject> {
        let key = Key::parse(text).map(BanSubject::Key);
        key.or_else(|| AddressRange::parse(text).ok().map(BanSubject::Range))
    }

    /// The texts of `key` and `range`, one of which is absent.
    #[must_use]
    pub fn key_and_range(&self) -> (Option<String>, Option<String>) {
        match self {
            BanSubject::Key(key) => (Some(key.to_string()), None),
            BanSubject::Range(range) => (None, Some(range.to_string())),
        }
    }
}

impl fmt::Display for BanSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BanSubject::Key(key) => key.fmt(f),
            BanSubject::Range(range) => range.fmt(f),
        }
    }
}

/// The object of a ban as an administrator names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BanTarget {
    /// The key of the member or user with this name.
    Name(UserName),
    /// A key or a range.
    Subject(BanSubject),
}

/// A ban to make.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct NewBan {
    pub target: BanTarget,
    /// Seconds until the ban ends. `None`: never.
    pub lasts: Option<u64>,
    pub reason: Line,
    /// Also if the ban concerns the administrator, or loopback.
    pub force: bool,
}

/// A ban in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct BanEntry {
    pub subject: BanSubject,
    /// The name of the key at the time of the ban.
    pub name: Option<UserName>,
    pub since: u64,
    /// Seconds until the ban ends. `None`: never.
    pub left: Option<u64>,
    /// The administrator.
    pub by: Line,
    pub reason: Line,
}

/// The connections to close.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum KickTarget {
    /// Those of the member or user with this name.
    Name(UserName),
    Key(Key),
    /// Those from an address, or the one from a port of an address.
    Address(IpAddr, Option<u16>),
}

impl fmt::Display for KickTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KickTarget::Name(name) => name.fmt(f),
            KickTarget::Key(key) => key.fmt(f),
            KickTarget::Address(IpAddr::V6(ip), Some(port)) => write!(f, "[{ip}]:{port}"),
            KickTarget::Address(ip, Some(port)) => write!(f, "{ip}:{port}"),
            KickTarget::Address(ip, None) => ip.fmt(f),
        }
    }
}

/// The unit of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitUnit {
    /// A number of things.
    Count,
    /// A number of things a second.
    PerSecond,
    /// Seconds.
    Seconds,
}

impl LimitUnit {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            LimitUnit::Count => "count",
            LimitUnit::PerSecond => "per_second",
            LimitUnit::Seconds => "seconds",
        }
    }
}

/// A limit that an administrator may set on a running server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitKey {
    /// Accepted connections.
    Connections,
    /// Of these, connections of one address.
    AddressConnections,
    /// Searches of one member, or of one address without a member, in a second.
    Searches,
    /// ENROLs of all addresses in a second.
    Enrols,
    /// ENROLs of one address at once.
    AddressEnrols,
    /// The time after which an address may send another ENROL.
    EnrolPause,
    /// Files of one peer.
    PeerFiles,
    /// Files of all peers at one address.
    AddressFiles,
    /// Publications of one user.
    UserPublications,
    /// SUBSCRIBEs of one address.
    AddressSubscriptions,
}

/// The name, the unit, the least and the largest value of each limit.
const LIMITS: [(LimitKey, &str, LimitUnit, u64, u64); 10] = [
    // The connections of an operator and of a few peers; the system has the last word.
    (LimitKey::Connections, "connections", LimitUnit::Count, 16, 10_000_000),
    (LimitKey::AddressConnections, "address_connections", LimitUnit::Count, 1, 10_000_000),
    (LimitKey::Searches, "searches", LimitUnit::PerSecond, 1, 1_000_000),
    // Each may write to the disk: more would be no limit.
    (LimitKey::Enrols, "enrols", LimitUnit::PerSecond, 1, 10_000),
    (LimitKey::AddressEnrols, "address_enrols", LimitUnit::Count, 1, 10_000),
    // A day: longer is a ban.
    (LimitKey::EnrolPause, "enrol_pause", LimitUnit::Seconds, 1, 86_400),
    (LimitKey::PeerFiles, "peer_files", LimitUnit::Count, 1, limits::PEER_FILES as u64),
    (LimitKey::AddressFiles, "address_files", LimitUnit::Count, 1, 100_000_000),
    (
        LimitKey::UserPublications,
        "user_publications",
        LimitUnit::Count,
        1,
        limits::PEER_FILES as u64,
    ),
    (
        LimitKey::AddressSubscriptions,
        "address_subscriptions",
        LimitUnit::Count,
        1,
        limits::SUBSCRIPTIONS as u64,
    ),
];

impl LimitKey {
    /// All limits.
    pub fn all() -> impl Iterator<Item = LimitKey> {
        LIMITS.iter().map(|(key, ..)| *key)
    }

    fn row(self) -> (&'static str, LimitUnit, u64, u64) {
        let row = LIMITS.iter().find(|(key, ..)| *key == self);
        debug_assert!(row.is_some(), "every limit has a row");
        row.map_or(("", LimitUnit::Count, 0, 0), |(_, name, unit, least, most)| {
            (name, *unit, *least, *most)
        })
    }

    /// The name on the wire and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The unit of the value.
    #[must_use]
    pub fn unit(self) -> LimitUnit {
        self.row().1
    }

    /// The least and the largest value.
    #[must_use]
    pub fn range(self) -> (u64, u64) {
        let (_, _, least, most) = self.row();
        (least, most)
    }

    /// True for a value in the range.
    #[must_use]
    pub fn takes(self, value: u64) -> bool {
        let (least, most) = self.range();
        (least..=most).contains(&value)
    }

    /// Parse a name.
    #[must_use]
    pub fn parse(text: &str) -> Option<LimitKey> {
        LIMITS.iter().find(|(_, name, ..)| *name == text).map(|(key, ..)| *key)
    }
}

/// A limit in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitEntry {
    /// The limit.
    pub key: LimitKey,
    /// The value in force. `None`: no limit but that of the system.
    pub value: Option<u64>,
    /// The value without an administrator's.
    pub default: Option<u64>,
    /// An administrator has set the value.
    pub is_set: bool,
}

/// A request of an administrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminRequest {
    /// Close connections; the clients may come back.
    Kick(KickTarget),
    /// Ban a key or a range, and close its connections.
    Ban(NewBan),
    /// Lift a ban.
    Unban(BanTarget),
    /// List bans.
    Bans {
        /// The last subject of the previous page.
        cursor: Option<BanSubject>,
    },
    /// Set limits, all or none, and list all limits. `None` resets a limit.
    Limits(Vec<(LimitKey, Option<u64>)>),
    /// Delete a publication of any user.
    Unpublish {
        /// The user.
        user: UserName,
        /// The file.
        file: Published,
    },
    /// Remove any user with all publications.
    RemoveUser(UserName),
}

/// A response to an administrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminResponse {
    /// KICK succeeded; so many connections are closed.
    Kicked(u64),
    /// BAN succeeded.
    Banned {
        /// The ban.
        ban: BanEntry,
        /// So many connections are closed.
        closed: u64,
    },
    /// UNBAN succeeded; the subject.
    Unbanned(BanSubject),
    /// One page of bans: keys first, then ranges.
    Bans {
        /// The bans.
        bans: Vec<BanEntry>,
        /// The time.
        now: u64,
        /// The cursor of the next page.
        cursor: Option<BanSubject>,
    },
    /// All limits.
    Limits(Vec<LimitEntry>),
    /// UNPUBLISH succeeded.
    Unpublished,
    /// REMOVE_USER succeeded.
    UserRemoved,
}

impl AdminRequest {
    /// The name on the wire.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self {
            AdminRequest::Kick(_) => "KICK",
            AdminRequest::Ban(_) => "BAN",
            AdminRequest::Unban(_) => "UNBAN",
            AdminRequest::Bans { .. } => "BANS",
            AdminRequest::Limits(_) => "LIMITS",
            AdminRequest::Unpublish { .. } => "UNPUBLISH",
            AdminRequest::RemoveUser(_) => "REMOVE_USER",
        }
    }

    /// The subject, for the audit log.
    #[must_use]
    pub fn object(&self) -> String {
        let of = |target: &BanTarget| match target {
            BanTarget::Name(name) => name.to_string(),
            BanTarget::Subject(subject) => subject.to_string(),
        };
        match self {
            AdminRequest::Kick(target) => target.to_string(),
            AdminRequest::Ban(NewBan { target, lasts, reason, force }) => {
                let lasts = lasts.map(|lasts| format!(" for {lasts} s")).unwrap_or_default();
                let force = if *force { ", forced" } else { "" };
                let colon = if reason.is_empty() { "" } else { ": " };
                format!("{}{lasts}{force}{colon}{reason}", of(target))
            }
            AdminRequest::Unban(target) => of(target),
            AdminRequest::Bans { .. } => String::new(),
            AdminRequest::Limits(set) => {
                let set = set.iter().map(|(key, value)| match value {
                    Some(value) => format!("{}={value}", key.as_str()),
                    None => format!("{}=default", key.as_str()),
                });
                set.collect::<Vec<_>>().join(", ")
            }
            AdminRequest::Unpublish { user, file } => format!("{file} of {user}"),
            AdminRequest::RemoveUser(user) => user.to_string(),
        }
    }

    /// True for a request that reads, and changes nothing.
    #[must_use]
    pub fn is_list(&self) -> bool {
        matches!(self, AdminRequest::Bans { .. })
            || matches!(self, AdminRequest::Limits(set) if set.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_a_name_and_a_range() {
        for key in LimitKey::all() {
            let (least, most) = key.range();
            assert_eq!(LimitKey::parse(key.as_str()), Some(key));
            assert!(least > 0 && least < most && key.takes(least) && key.takes(most));
            assert!(!key.takes(least - 1) && !key.takes(most + 1));
        }
        assert_eq!(LimitKey::parse("speed"), None);
    }
}
