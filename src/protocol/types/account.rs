//! Users and publications: checked names, keys and proofs, and the operations on them.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;
use std::rc::Rc;

use crate::limits;
use crate::protocol::types::file_name::{self, BadName};
use crate::protocol::types::ids::{hex, to_hex};
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::relative_path::RelativeName;

/// The name of a user: what a file may be called, for UC3M names files after users.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserName(Rc<str>);

impl UserName {
    /// Checks `text` and makes it a name.
    ///
    /// # Errors
    /// The first rule of a file name that `text` breaks.
    pub fn new(text: &str) -> Result<UserName, BadName> {
        file_name::check(text)?;
        Ok(UserName(Rc::from(text)))
    }

    /// What a peer without an account is called among users: its address. Nobody can register such a name.
    #[must_use]
    pub fn of_address(address: SocketAddr) -> UserName {
        UserName(Rc::from(address.to_string()))
    }

    /// The address that the name is made of, if it is one of [`UserName::of_address`].
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

/// One line of text of at most 255 bytes that can be shown as it is: a description, or the name of a published file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line(Rc<str>);

/// What a file is published as. Users of the old wires publish whatever leads them to a file, such as a path from the root of their disk; only a
/// name that is [relative](Published::relative) can be one of the index as well.
pub type Published = Line;

/// What is said of a published file; may be empty.
pub type Description = Line;

impl Line {
    /// A line of at most 255 bytes without control characters; `None` for anything else.
    #[must_use]
    pub fn new(text: &str) -> Option<Line> {
        (text.len() <= limits::NAME_BYTES && file_name::printable(text) == text)
            .then(|| Line(Rc::from(text)))
    }

    /// The name under which the index knows it.
    #[must_use]
    pub fn relative(&self) -> Option<RelativeName> {
        RelativeName::new(&self.0).ok()
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
    /// As what; never empty.
    pub file: Published,
    /// What is said of it.
    pub description: Description,
}

/// The public half of an Ed25519 key. Every key that comes from outside passes [`Key::new`]: RFC 8032 allows encodings under which one signature fits
/// every message, and a key that proves nothing must not become anybody's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// Checks the encoding of a point; `None` for one of small order and for a coordinate that is not below the prime of the field.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Option<Key> {
        is_strong_point(&bytes).then_some(Key(bytes))
    }

    /// Reads 64 lower-case hex digits, and checks them as [`Key::new`] does.
    #[must_use]
    pub fn parse(text: &str) -> Option<Key> {
        hex(text).and_then(Key::new)
    }

    /// The encoding of the point.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The `y` coordinates of the eight points of small order, least significant byte first. Each stands for a point and its negative: the top bit of the
/// encoding, which tells the two apart, is not compared.
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

/// True for an encoding that is canonical and whose point is not of small order. Signatures by a point of small order, or with one as their `R`, hold for
/// many messages at once; two encodings of one point would be two names of one key.
#[must_use]
pub fn is_strong_point(encoded: &[u8; 32]) -> bool {
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

/// An Ed25519 signature of what [`challenge`] says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Proof(pub [u8; 64]);

impl Proof {
    /// Reads 128 lower-case hex digits.
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

/// What is signed to show who asks: good for one method, one user and one link, for the nonce is fresh on each link.
#[must_use]
pub fn challenge(method: Method, user: &UserName, nonce: &str) -> String {
    format!("cardume 1\n{}\n{user}\n{nonce}", method.word())
}

/// An operation of UC3M, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Take a name.
    Register,
    /// Give a name back, and all that was published under it.
    Unregister,
    /// Be there.
    Connect,
    /// Be away.
    Disconnect,
    /// Name a file.
    Publish,
    /// Take back the name of a file.
    Delete,
    /// Who is there?
    ListUsers,
    /// What has a user published?
    ListContent,
    /// Where is a user?
    FindUser,
}

/// All of them with their names on the wires.
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
    /// Its name on the wires.
    #[must_use]
    pub fn word(self) -> &'static str {
        METHODS.iter().find(|(method, _)| *method == self).map_or("", |(_, word)| word)
    }
}

/// How an asker shows to be the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// He says so: the old wires know nothing better.
    Word,
    /// This link has proved it before.
    Link,
    /// By a signature.
    Proof {
        /// Whose.
        key: Key,
        /// Of [`challenge`].
        proof: Proof,
    },
}

/// What is to be done for a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountOp {
    /// Take the name.
    Register,
    /// Give it back.
    Unregister,
    /// Be there; an old wire names the port on which the user answers, at the address from which he asks.
    Connect {
        /// `None`: where the peer behind this link answers.
        port: Option<u16>,
    },
    /// Be away.
    Disconnect,
    /// Name a file.
    Publish(Publication),
    /// Take back the name of a file.
    Delete(Published),
    /// Who is there?
    ListUsers {
        /// Where the last answer ended.
        cursor: Option<String>,
        /// The most entries of one answer.
        most: usize,
    },
    /// What has this user published?
    ListContent {
        /// Who.
        of: UserName,
        /// Where the last answer ended.
        cursor: Option<String>,
        /// The most entries of one answer.
        most: usize,
    },
    /// Where is this user?
    FindUser {
        /// Who.
        whom: UserName,
    },
}

impl AccountOp {
    /// Its name.
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

/// An operation on accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// For whom; `None`: for whoever this link has proved to be.
    pub user: Option<UserName>,
    /// Why that should be believed.
    pub authority: Authority,
    /// The old wire on which it came: lists name those who answer on it.
    pub speaks: Option<LegacyProfile>,
    /// When, in the words of the asker, where his wire says so: for the operator's log alone.
    pub date: Option<Line>,
    /// What.
    pub deed: AccountOp,
}

impl Operation {
    /// One of the native protocol, for whom this link has proved to be, or will.
    #[must_use]
    pub fn native(user: Option<UserName>, deed: AccountOp) -> Operation {
        Operation { user, authority: Authority::Link, speaks: None, date: None, deed }
    }
}

/// A user who is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Online {
    /// Who.
    pub user: UserName,
    /// Where he answers; `None` while he shares nothing.
    pub peer: Option<SocketAddr>,
    /// What he speaks there; `None`: the native protocol.
    pub speaks: Option<LegacyProfile>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_called_what_a_file_may_be_called() {
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
    fn a_line_is_short_and_commands_no_terminal() {
        assert!(Line::new("").is_some() && Line::new("/tmp/aula 1.mp4").is_some());
        assert!(
            Line::new("a\u{1b}[2J").is_none()
                && Line::new("a\nb").is_none()
                && Line::new(&"x".repeat(256)).is_none()
        );
        assert_eq!(Line::new("/tmp/a").and_then(|line| line.relative()), None);
    }

    #[test]
    fn a_key_that_proves_nothing_is_no_key() {
        let hexed = |text: &str| hex::<32>(text).unwrap();
        let mut weak: Vec<[u8; 32]> = SMALL_ORDER.to_vec();
        // 2^255-19 to 2^255-1, each a second spelling of a small number.
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
        // The largest coordinate but one, the base point, and a key of RFC 8032.
        let mut large = [0xff; 32];
        (large[0], large[31]) = (0xeb, 0x7f);
        let base = hexed("5866666666666666666666666666666666666666666666666666666666666666");
        let known = hexed("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        for good in [large, base, known] {
            assert!(Key::new(good).is_some_and(|key| *key.bytes() == good));
        }
    }

    #[test]
    fn a_challenge_is_for_one_method_one_user_and_one_link() {
        let ana = UserName::new("ana").unwrap();
        assert_eq!(challenge(Method::Connect, &ana, "00ff"), "cardume 1\nCONNECT\nana\n00ff");
    }
}
