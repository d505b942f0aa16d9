//! Users and publications: checked names, keys, proofs, and account operations.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;
use std::rc::Rc;

use ring::signature::{ED25519, UnparsedPublicKey};

use crate::limits;
use crate::protocol::types::absolute_path::AbsolutePath;
use crate::protocol::types::file_name::{self, BadName};
use crate::protocol::types::ids::{hex, to_hex};
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::relative_path::RelativeName;

/// The name of a user. Same rules as a file name, since UC3M names files after users.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserName(Rc<str>);

impl UserName {
    /// Check `text`.
    pub fn new(text: &str) -> Result<UserName, BadName> {
        file_name::check(text)?;
        Ok(UserName(Rc::from(text)))
    }

    /// The name of a peer without an account: its address. Registration refuses such names.
    #[must_use]
    pub fn of_address(address: SocketAddr) -> UserName {
        UserName(Rc::from(address.to_string()))
    }

    /// The address, for a name made by [`UserName::of_address`].
    #[must_use]
    pub fn as_address(&self) -> Option<SocketAddr> {
        self.0.parse().ok()
    }
}

impl Deref for UserName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// One line of printable text, at most 255 bytes: a description, or the name of a publication.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line(Rc<str>);

/// The name of a publication. Legacy users publish any path, even one from the root of their disk;
/// the index takes only [relative](Published::relative) names.
pub type Published = Line;

/// The description of a published file; may be empty.
pub type Description = Line;

impl Line {
    /// Check `text`: at most 255 bytes, no control characters.
    #[must_use]
    pub fn new(text: &str) -> Option<Line> {
        (text.len() <= limits::NAME_BYTES && file_name::printable(text) == text)
            .then(|| Line(Rc::from(text)))
    }

    /// The name in the index, when valid there: an absolute path is listed without its first
    /// separator.
    #[must_use]
    pub fn relative(&self) -> Option<RelativeName> {
        match AbsolutePath::new(&self.0) {
            Some(path) => path.below_root().ok(),
            None => RelativeName::new(&self.0).ok(),
        }
    }
}

impl Deref for Line {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A file that a user has published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Name; never empty.
    pub file: Published,
    /// Description; may be empty.
    pub description: Description,
}

/// The public half of an Ed25519 key. Every key from outside passes [`Key::new`]: RFC 8032 permits
/// encodings under which one signature fits every message, and a key that proves nothing must
/// belong to no user.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key([u8; 32]);

impl Key {
    /// Check the encoding of a point; `None` for a point of small order or a non-canonical
    /// encoding.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Option<Key> {
        is_strong_point(&bytes).then_some(Key(bytes))
    }

    /// Parse 64 lower-case hex digits and check them as [`Key::new`] does.
    #[must_use]
    pub fn parse(text: &str) -> Option<Key> {
        hex(text).and_then(Key::new)
    }

    /// The encoding of the point.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// True if `signature` is an Ed25519 signature of `text` by this key, strictly. [`Key`] admits
    /// no point of small order and no second encoding of a point; `R` is held to the same rule
    /// here. ring rejects an `S` that is not below the order of the group, and an `R` that differs
    /// from the computed encoding.
    #[must_use]
    pub fn verifies(&self, text: &[u8], signature: &[u8; 64]) -> bool {
        let commitment = signature.first_chunk().is_some_and(is_strong_point);
        commitment && UnparsedPublicKey::new(&ED25519, &self.0).verify(text, signature).is_ok()
    }
}

/// The `y` coordinates of the eight points of small order, least significant byte first. Each
/// covers a point and its negative: the sign bit is not compared.
const SMALL_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    {
        let mut minus_one = [0xff; 32];
        (minus_one[0], minus_one[31]) = (0xec, 0x7f);
        minus_one
    },
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
];

/// True for a canonical encoding of a point that is not of small order. Signatures by a point of
/// small order, or with such an `R`, hold for many messages. Two encodings of one point would be
/// two names of one key.
fn is_strong_point(encoded: &[u8; 32]) -> bool {
    let mut y = *encoded;
    y[31] &= 0x7f;
    // The prime is 2^255 - 19.
    let below_prime = y[31] != 0x7f || y[0] < 0xed || y[1..31].iter().any(|byte| *byte != 0xff);
    below_prime && !SMALL_ORDER.contains(&y)
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An Ed25519 signature of [`challenge`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Proof(pub [u8; 64]);

impl Proof {
    /// Parse 128 lower-case hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Proof> {
        hex(text).map(Proof)
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text to sign. Valid for one method, user and connection, since each connection has its own
/// nonce.
#[must_use]
pub fn challenge(method: Method, user: &UserName, nonce: &str) -> String {
    format!("cardume 1\n{}\n{user}\n{nonce}", method.as_str())
}

/// The name of an account operation, as UC3M defined them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Register a user name.
    Register,
    /// Remove a user name and all its publications.
    Unregister,
    /// Go online.
    Connect,
    /// Go offline.
    Disconnect,
    /// Publish a file.
    Publish,
    /// Withdraw a publication.
    Delete,
    /// List the users that are online.
    ListUsers,
    /// List the publications of a user.
    ListContent,
    /// Find the address of a user.
    FindUser,
}

/// All methods and their names on the wire.
pub const METHODS: [(Method, &str); 9] = [
    (Method::Register, "REGISTER"),
    (Method::Unregister, "UNREGISTER"),
    (Method::Connect, "CONNECT"),
    (Method::Disconnect, "DISCONNECT"),
    (Method::Publish, "PUBLISH"),
    (Method::Delete, "DELETE"),
    (Method::ListUsers, "LIST_USERS"),
    (Method::ListContent, "LIST_CONTENT"),
    (Method::FindUser, "FIND_USER"),
];

impl Method {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        METHODS.iter().find(|(method, _)| *method == self).map_or("", |(_, word)| word)
    }
}

/// The evidence that a requester is the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// None: legacy protocols only claim a name.
    Claimed,
    /// An earlier proof on this connection.
    Connection,
    /// A signature.
    Proof {
        /// The public key.
        key: Key,
        /// The signature of [`challenge`].
        proof: Proof,
    },
}

/// An account operation with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountOp {
    /// Register the user name.
    Register,
    /// Remove the user name.
    Unregister,
    /// Go online. A legacy client names its listening port, at the source address of its
    /// connection.
    Connect {
        /// `None`: the address of the peer behind this connection.
        port: Option<u16>,
    },
    /// Go offline.
    Disconnect,
    /// Publish a file.
    Publish(Publication),
    /// Withdraw a publication.
    Delete(Published),
    /// List the users that are online.
    ListUsers {
        /// The cursor of the previous page.
        cursor: Option<String>,
        /// The longest page.
        most: usize,
    },
    /// List the publications of a user.
    ListContent {
        /// The user.
        of: UserName,
        /// The cursor of the previous page.
        cursor: Option<String>,
        /// The longest page.
        most: usize,
    },
    /// Find the address of a user.
    FindUser {
        /// The user.
        whom: UserName,
    },
}

impl AccountOp {
    /// The name of the operation.
    #[must_use]
    pub fn method(&self) -> Method {
        match self {
            AccountOp::Register => Method::Register,
            AccountOp::Unregister => Method::Unregister,
            AccountOp::Connect { .. } => Method::Connect,
            AccountOp::Disconnect => Method::Disconnect,
            AccountOp::Publish(_) => Method::Publish,
            AccountOp::Delete(_) => Method::Delete,
            AccountOp::ListUsers { .. } => Method::ListUsers,
            AccountOp::ListContent { .. } => Method::ListContent,
            AccountOp::FindUser { .. } => Method::FindUser,
        }
    }
}

/// A request for an account operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The user; `None`: the user that this connection has proved to be.
    pub user: Option<UserName>,
    /// The evidence.
    pub authority: Authority,
    /// The legacy protocol of the request: lists then name addresses on that protocol.
    pub speaks: Option<LegacyProfile>,
    /// The client's date, where its protocol has one; for the operator's log only.
    pub date: Option<Line>,
    /// The operation.
    pub op: AccountOp,
}

impl Operation {
    /// The key that the requester has proven for this operation.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        match self.authority {
            Authority::Proof { key, .. } => Some(key),
            Authority::Claimed | Authority::Connection => None,
        }
    }

    /// An operation of the native protocol, authorised by the connection.
    #[must_use]
    pub fn native(user: Option<UserName>, op: AccountOp) -> Operation {
        Operation { user, authority: Authority::Connection, speaks: None, date: None, op }
    }
}

/// A user that is online.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Online {
    /// User name.
    pub user: UserName,
    /// Address of the user's peer; `None` while the user shares nothing.
    pub peer: Option<SocketAddr>,
    /// The legacy protocol of this address; `None`: the native protocol.
    pub speaks: Option<LegacyProfile>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_follow_the_rules_of_file_names() {
        assert!(
            UserName::new("ana maria").is_ok() && UserName::new("'; DROP TABLE users; --").is_ok()
        );
        for text in ["", "../x", "a/b", "a\nb", &"x".repeat(256)] {
            assert!(UserName::new(text).is_err(), "{text:?}");
        }
        let address = "127.0.0.1:4000".parse().unwrap();
        assert_eq!(UserName::of_address(address).as_address(), Some(address));
    }

    #[test]
    fn a_line_is_short_and_printable() {
        assert!(Line::new("").is_some() && Line::new("/tmp/aula 1.mp4").is_some());
        assert!(
            Line::new("a\u{1b}[2J").is_none()
                && Line::new("a\nb").is_none()
                && Line::new(&"x".repeat(256)).is_none()
        );
        for (text, name) in [("/tmp/a", Some("tmp/a")), ("//tmp/a", Some("tmp/a")), ("/../a", None)]
        {
            let found = Line::new(text).and_then(|line| line.relative());
            assert_eq!(found.as_deref(), name, "{text}");
        }
    }

    #[test]
    fn a_key_that_proves_nothing_is_no_key() {
        let hexed = |text: &str| hex::<32>(text).unwrap();
        let mut weak: Vec<[u8; 32]> = SMALL_ORDER.to_vec();
        // 2^255-19 to 2^255-1, each a second encoding of a small number.
        weak.extend((0xed..=0xff).map(|low| {
            let mut y = [0xff; 32];
            (y[0], y[31]) = (low, 0x7f);
            y
        }));
        for y in weak {
            for sign in [0, 0x80] {
                let mut encoded = y;
                encoded[31] |= sign;
                assert_eq!(Key::new(encoded), None, "{encoded:02x?}");
                assert_eq!(Key::parse(&to_hex(&encoded)), None);
            }
        }
        // The second largest coordinate, the base point, and a key of RFC 8032.
        let mut large = [0xff; 32];
        (large[0], large[31]) = (0xeb, 0x7f);
        let base = hexed("5866666666666666666666666666666666666666666666666666666666666666");
        let known = hexed("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        for good in [large, base, known] {
            assert!(Key::new(good).is_some_and(|key| *key.bytes() == good));
        }
    }

    #[test]
    fn a_challenge_is_for_one_method_one_user_and_one_connection() {
        let ana = UserName::new("ana").unwrap();
        assert_eq!(challenge(Method::Connect, &ana, "00ff"), "cardume 1\nCONNECT\nana\n00ff");
    }
}
