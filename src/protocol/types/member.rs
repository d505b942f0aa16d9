//! Members of a closed server: roles, groups, and the invites that admit a key.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Deref;
use std::rc::Rc;

use crate::limits;
use crate::protocol::types::account::Key;
use crate::protocol::types::base64url;
use crate::protocol::types::ids::{hex, to_hex};

/// The rights of a member. Each role includes the rights of the roles before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberRole {
    /// Search and fetch.
    Read,
    /// Join and publish too.
    Share,
    /// Invite, admit and revoke members too.
    Admin,
}

/// All roles and their names on the wire.
const ROLES: [(MemberRole, &str); 3] =
    [(MemberRole::Read, "read"), (MemberRole::Share, "share"), (MemberRole::Admin, "admin")];

impl MemberRole {
    /// Parse a name of the wire.
    #[must_use]
    pub fn parse(text: &str) -> Option<MemberRole> {
        ROLES.iter().find(|(_, name)| *name == text).map(|(role, _)| *role)
    }

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        ROLES.iter().find(|(role, _)| *role == self).map_or("", |(_, name)| name)
    }

    /// True if the member may join and publish.
    #[must_use]
    pub fn may_share(self) -> bool {
        self >= MemberRole::Share
    }

    /// True if the member may administer the server.
    #[must_use]
    pub fn is_admin(self) -> bool {
        self == MemberRole::Admin
    }
}

impl fmt::Display for MemberRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name of a group of members: 1 to 32 of a-z, 0-9 and `-`, and no `-` in front, so that a
/// group is never read as an option.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(Rc<str>);

/// Groups of files only, without members: `all` members, and the `public` of legacy protocols.
const RESERVED_GROUPS: [&str; 2] = ["all", "public"];

impl Group {
    /// Check `text`.
    #[must_use]
    pub fn new(text: &str) -> Option<Group> {
        let is_valid = (1..=limits::GROUP_BYTES).contains(&text.len())
            && !text.starts_with('-')
            && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        is_valid.then(|| Group(Rc::from(text)))
    }

    /// True for a group that files may name, and no member may be in.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        RESERVED_GROUPS.contains(&&*self.0)
    }
}

impl Deref for Group {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A set of at most 16 groups, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Groups(Vec<Group>);

impl Groups {
    /// Collect groups; `None` if there are too many.
    #[must_use]
    pub fn new(groups: impl IntoIterator<Item = Group>) -> Option<Groups> {
        Groups::gather(groups.into_iter().map(Some))
    }

    /// Check and collect names; `None` if a name is no group, or there are too many.
    #[must_use]
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<Groups> {
        Groups::gather(names.into_iter().map(Group::new))
    }

    fn gather(groups: impl Iterator<Item = Option<Group>>) -> Option<Groups> {
        let mut set = Vec::new();
        for group in groups {
            let group = group?;
            if let Err(place) = set.binary_search(&group) {
                if set.len() == limits::MEMBER_GROUPS {
                    return None;
                }
                set.insert(place, group);
            }
        }
        Some(Groups(set))
    }

    /// The groups in the order of their bytes.
    pub fn iter(&self) -> impl Iterator<Item = &Group> {
        self.0.iter()
    }

    /// The number of groups.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True for the empty set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes of the names as a list of JSON, at most.
    #[must_use]
    pub fn json_bytes(&self) -> usize {
        self.0.iter().map(|group| group.len() + 3).sum()
    }

    /// True if the set has this group.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|group| &**group == name)
    }

    /// True if both sets have a group in common.
    #[must_use]
    pub fn intersects(&self, other: &Groups) -> bool {
        self.0.iter().any(|group| other.0.binary_search(group).is_ok())
    }

    /// True if a member may be in all these groups.
    #[must_use]
    pub fn fit_a_member(&self) -> bool {
        !self.0.iter().any(Group::is_reserved)
    }
}

/// The names, with commas between.
impl fmt::Display for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, group) in self.0.iter().enumerate() {
            f.write_str(if place == 0 { "" } else { "," })?;
            f.write_str(group)?;
        }
        Ok(())
    }
}

/// The public number of an invite, shown as 8 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InviteId(pub [u8; 4]);

impl InviteId {
    /// Parse 8 lower-case hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<InviteId> {
        hex(text).map(InviteId)
    }
}

impl fmt::Display for InviteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for InviteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The number and the secret of an invite: the token admits its bearer. `Debug` hides the secret,
/// and there is no `Display`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct InviteToken {
    id: InviteId,
    secret: [u8; 16],
}

impl InviteToken {
    /// The token of 20 random bytes.
    #[must_use]
    pub fn new(bytes: [u8; 20]) -> InviteToken {
        let [a, b, c, d, secret @ ..] = bytes;
        InviteToken { id: InviteId([a, b, c, d]), secret }
    }

    /// Parse 27 digits of base64url.
    #[must_use]
    pub fn parse(text: &str) -> Option<InviteToken> {
        base64url::decode(text).map(InviteToken::new)
    }

    /// The public number.
    #[must_use]
    pub fn id(&self) -> InviteId {
        self.id
    }

    /// The secret bytes, to hash.
    #[must_use]
    pub fn secret(&self) -> &[u8; 16] {
        &self.secret
    }

    /// The 27 digits, for the wire and for the invited person only.
    #[must_use]
    pub fn reveal(&self) -> String {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&self.id.0);
        bytes[4..].copy_from_slice(&self.secret);
        base64url::encode(&bytes)
    }
}

impl fmt::Debug for InviteToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InviteToken({}..)", self.id)
    }
}

/// The port of a server whose address names none.
pub const DEFAULT_PORT: u16 = 1_099;

/// The beginning of an [`InviteUrl`].
pub const URL_SCHEME: &str = "cardume://";

/// The address of a closed server, with its key:
/// `cardume://HOST:PORT[,HOST:PORT...]/#KEY[,NEXTKEY][.TOKEN]`. There is no `Display`, since the text may
/// reveal a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InviteUrl {
    addresses: Vec<String>,
    key: Key,
    next: Option<Key>,
    token: Option<InviteToken>,
}

/// Why a text is no [`InviteUrl`]. The text itself is never shown, as it may hold a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadInvite {
    /// More than 2,048 bytes.
    Long,
    /// The text does not begin with `cardume://`.
    Scheme,
    /// No `/#` follows the addresses: a shell or a chat program may have cut the text.
    Cut,
    /// More than 8 addresses.
    Addresses,
    /// The address at this place, counted from 1, is none.
    Address(usize),
    /// The key is none, or proves nothing.
    Key,
    /// The token behind the key is none.
    Token,
}

impl fmt::Display for BadInvite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadInvite::Long => write!(f, "an invite has at most {} bytes", limits::INVITE_BYTES),
            BadInvite::Scheme => f.write_str("an invite begins with cardume://"),
            BadInvite::Cut => {
                f.write_str("the invite has no key: put the whole text between quotes")
            }
            BadInvite::Addresses => {
                write!(f, "an invite has at most {} addresses", limits::INVITE_ADDRESSES)
            }
            BadInvite::Address(place) => {
                write!(f, "address {place} of the invite is not HOST or HOST:PORT")
            }
            BadInvite::Key => f.write_str("the key of the server in the invite is wrong"),
            BadInvite::Token => f.write_str("the token of the invite is wrong"),
        }
    }
}

impl std::error::Error for BadInvite {}

impl InviteUrl {
    /// Check the addresses; each gets the default port if it has none.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn new<'a>(
        addresses: impl IntoIterator<Item = &'a str>,
        key: Key,
        token: Option<InviteToken>,
    ) -> Result<InviteUrl, BadInvite> {
        let mut checked = Vec::new();
        for (address, place) in addresses.into_iter().zip(1..) {
            if place > limits::INVITE_ADDRESSES {
                return Err(BadInvite::Addresses);
            }
            checked.push(with_port(address).ok_or(BadInvite::Address(place))?);
        }
        if checked.is_empty() {
            return Err(BadInvite::Address(1));
        }
        let url = InviteUrl { addresses: checked, key, next: None, token };
        // A port that was added may make the text too long to be read again.
        url.checked()
    }

    /// The same server, with the key that follows.
    ///
    /// # Errors
    /// [`BadInvite::Long`]; [`BadInvite::Key`] for a key that follows itself.
    pub fn with_next(self, next: Option<Key>) -> Result<InviteUrl, BadInvite> {
        if next == Some(self.key) {
            return Err(BadInvite::Key);
        }
        InviteUrl { next, ..self }.checked()
    }

    fn checked(self) -> Result<InviteUrl, BadInvite> {
        if self.reveal().len() > limits::INVITE_BYTES { Err(BadInvite::Long) } else { Ok(self) }
    }

    /// Parse a text.
    ///
    /// # Errors
    /// The first rule that the text breaks.
    pub fn parse(text: &str) -> Result<InviteUrl, BadInvite> {
        if text.len() > limits::INVITE_BYTES {
            return Err(BadInvite::Long);
        }
        let rest = text.strip_prefix(URL_SCHEME).ok_or(BadInvite::Scheme)?;
        let (addresses, secret) = rest.split_once("/#").ok_or(BadInvite::Cut)?;
        let (key, token) = match secret.split_once('.') {
            Some((key, token)) => (key, Some(InviteToken::parse(token).ok_or(BadInvite::Token)?)),
            None => (secret, None),
        };
        let read = |key| base64url::decode(key).and_then(Key::new).ok_or(BadInvite::Key);
        let (key, next) = match key.split_once(',') {
            Some((key, next)) => (read(key)?, Some(read(next)?)),
            None => (read(key)?, None),
        };
        InviteUrl::new(addresses.split(','), key, token)?.with_next(next)
    }

    /// Addresses as `HOST:PORT`, at least one.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// The key of the server.
    #[must_use]
    pub fn key(&self) -> Key {
        self.key
    }

    /// The key that follows the key of the server; the server may have changed already.
    #[must_use]
    pub fn next(&self) -> Option<Key> {
        self.next
    }

    /// The token; `None`: the text only pins the key.
    #[must_use]
    pub fn token(&self) -> Option<InviteToken> {
        self.token
    }

    /// The text, for the invited person only.
    #[must_use]
    pub fn reveal(&self) -> String {
        let key = base64url::encode(self.key.bytes());
        let next = self.next.map(|next| format!(",{}", base64url::encode(next.bytes())));
        let next = next.unwrap_or_default();
        let token = self.token.map_or(String::new(), |token| format!(".{}", token.reveal()));
        format!("{URL_SCHEME}{}/#{key}{next}{token}", self.addresses.join(","))
    }
}

/// `HOST:PORT` in one spelling; `None` if `text` is no address.
#[must_use]
pub fn with_port(text: &str) -> Option<String> {
    if text.len() > limits::INVITE_ADDRESS_BYTES {
        return None;
    }
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        (format!("[{}]", host.parse::<Ipv6Addr>().ok()?), port)
    } else {
        let end = text.find(':').unwrap_or(text.len());
        let (host, port) = text.split_at(end);
        if !is_host(host) {
            return None;
        }
        (host.to_owned(), port)
    };
    let port = match port.strip_prefix(':') {
        // Signs and leading zeros would be second spellings.
        Some(digits) => {
            let port: u16 = digits.parse().ok()?;
            Some(port).filter(|port| *port != 0 && port.to_string() == digits)?
        }
        None if port.is_empty() => DEFAULT_PORT,
        None => return None,
    };
    Some(format!("{host}:{port}"))
}

/// True for an IPv4 address or a host name.
fn is_host(host: &str) -> bool {
    // A resolver may read a name of digits, such as 127.1, as an address.
    if host.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return host.parse::<Ipv4Addr>().is_ok();
    }
    host.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::types::mutations::Mutations;

    const TOKEN: [u8; 20] =
        [0xde, 0xad, 0xbe, 0xef, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

    fn key() -> Key {
        Key::parse("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a").unwrap()
    }

    fn groups(names: &[&str]) -> Groups {
        Groups::parse(names.iter().copied()).unwrap()
    }

    #[test]
    fn a_role_includes_the_rights_of_the_roles_before() {
        assert!(MemberRole::Read < MemberRole::Share && MemberRole::Share < MemberRole::Admin);
        for (role, name) in ROLES {
            assert_eq!((MemberRole::parse(name), role.to_string()), (Some(role), name.to_owned()));
        }
        assert_eq!(MemberRole::parse("Admin"), None);
        let rights = ROLES.map(|(role, _)| (role.may_share(), role.is_admin()));
        assert_eq!(rights, [(false, false), (true, false), (true, true)]);
    }

    #[test]
    fn a_group_is_a_short_plain_word() {
        for text in ["a", "turma-a", "7", &"x".repeat(32), "all", "public"] {
            assert_eq!(Group::new(text).unwrap().to_string(), text);
        }
        for text in ["", "-a", "A", "a b", "a,b", "a_b", "\u{e1}", &"x".repeat(33)] {
            assert_eq!(Group::new(text), None, "{text:?}");
        }
    }

    #[test]
    fn groups_are_a_small_ordered_set() {
        let set = groups(&["b", "a", "b"]);
        assert_eq!((set.to_string(), set.len(), set.contains("a")), ("a,b".into(), 2, true));
        assert!(set.intersects(&groups(&["x", "b"])) && !set.intersects(&groups(&["x", "y"])));
        assert!(!set.intersects(&Groups::default()) && Groups::default().is_empty());
        assert!(set.fit_a_member());
        assert!(!groups(&["a", "all"]).fit_a_member() && !groups(&["public"]).fit_a_member());
        let names: Vec<String> = (0..17).map(|number| format!("g{number}")).collect();
        let parse = |most| Groups::parse(names[..most].iter().map(String::as_str));
        assert!(parse(16).is_some() && parse(17).is_none());
        // The same group many times is one group.
        assert_eq!(Groups::parse(std::iter::repeat_n("a", 99)), Some(groups(&["a"])));
        assert_eq!(Groups::parse(["a", "B"]), None);
    }

    #[test]
    fn a_token_has_one_spelling_and_does_not_show_itself() {
        let token = InviteToken::new(TOKEN);
        let text = token.reveal();
        assert_eq!((text.as_str(), text.len()), ("3q2-7wECAwQFBgcICQoLDA0ODxA", 27));
        assert_eq!(InviteToken::parse(&text), Some(token));
        assert_eq!((token.id().to_string(), token.secret()[0]), ("deadbeef".into(), 1));
        assert_eq!(InviteId::parse("deadbeef"), Some(token.id()));
        let shown = format!("{token:?}");
        assert_eq!(shown, "InviteToken(deadbeef..)");
        for other in [&text[1..], &format!("{text}="), &format!("{}B", &text[..26]), ""] {
            assert_eq!(InviteToken::parse(other), None, "{other}");
        }
    }

    #[test]
    fn an_invite_carries_addresses_key_and_token() {
        let token = InviteToken::new(TOKEN);
        let text = "cardume://192.168.1.7:1099,aula.example:7,[2001:db8::7]:1099/#11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo.3q2-7wECAwQFBgcICQoLDA0ODxA";
        let url = InviteUrl::parse(text).unwrap();
        assert_eq!(url.addresses(), ["192.168.1.7:1099", "aula.example:7", "[2001:db8::7]:1099"]);
        assert_eq!((url.key(), url.token()), (key(), Some(token)));
        assert_eq!(url.reveal(), text);
        assert!(!format!("{url:?}").contains("BgcI") && !format!("{url:?}").contains("[1, 2"));
        // Without a token the text is a pin, and a missing port is the usual one.
        let pin =
            InviteUrl::parse("cardume://aula,[::1]/#11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
                .unwrap();
        assert_eq!((pin.addresses().join(" "), pin.token()), ("aula:1099 [::1]:1099".into(), None));
        assert_eq!(InviteUrl::parse(&pin.reveal()), Ok(pin));
    }

    #[test]
    fn a_bad_invite_is_refused_with_its_cause() {
        let key = base64url::encode(key().bytes());
        let parse = |addresses: &str| InviteUrl::parse(&format!("cardume://{addresses}/#{key}"));
        for address in [
            "",
            ":1",
            "a:",
            "a:0",
            "a:01",
            "a:+1",
            "a:65536",
            "a:1:2",
            "a b",
            "user@host",
            "a/b",
            "::1",
            "[::1",
            "[::1]1",
            "[::1]:",
            "[fe80::1%eth0]:1",
            "[a]:1",
            "127.1",
            "1.2.3.256",
            "a..b",
            "-a",
            "a\u{e1}",
            "a%20b",
            "a.",
            &"x".repeat(256),
        ] {
            assert_eq!(parse(address), Err(BadInvite::Address(1)), "{address:?}");
        }
        assert_eq!(parse("a,,b"), Err(BadInvite::Address(2)));
        assert!(parse(&["a"; 8].join(",")).is_ok());
        assert_eq!(parse(&["a"; 9].join(",")), Err(BadInvite::Addresses));
        // Eight long names fit only while no port is added.
        assert_eq!(parse(&[&*"x".repeat(245); 8].join(",")), Err(BadInvite::Long));
        assert_eq!(parse(&"x".repeat(3_000)), Err(BadInvite::Long));
        let cases = [
            (format!("http://a/#{key}"), BadInvite::Scheme),
            (format!("CARDUME://a/#{key}"), BadInvite::Scheme),
            ("cardume://a:1/".into(), BadInvite::Cut),
            (format!("cardume://a#{key}"), BadInvite::Cut),
            ("cardume://a/#".into(), BadInvite::Key),
            (format!("cardume://a/#{key}="), BadInvite::Key),
            // The identity element, which proves nothing.
            (format!("cardume://a/#AQ{}", "A".repeat(41)), BadInvite::Key),
            (format!("cardume://a/#{key}."), BadInvite::Token),
            (format!("cardume://a/#{key}.x"), BadInvite::Token),
        ];
        for (text, error) in cases {
            assert_eq!(InviteUrl::parse(&text), Err(error), "{text}");
            assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn a_mutated_invite_keeps_no_secret_in_another_spelling() {
        let text = "cardume://192.168.1.7:1099,[::1]/#11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo.3q2-7wECAwQFBgcICQoLDA0ODxA";
        let genuine = InviteUrl::parse(text).unwrap();
        let behind = |text: &str| text.split_once("/#").unwrap().1.to_owned();
        let (mut same, mut other) = (0, 0);
        for changed in Mutations::new(text, 20_263).take(200_000) {
            let Ok(url) = InviteUrl::parse(&changed) else { continue };
            assert_eq!(behind(&url.reveal()), behind(&changed));
            assert_eq!(InviteUrl::parse(&url.reveal()).as_ref(), Ok(&url), "{changed}");
            let is_genuine = (url.key(), url.token()) == (genuine.key(), genuine.token());
            assert_eq!(is_genuine, behind(&changed) == behind(text), "{changed}");
            if is_genuine { same += 1 } else { other += 1 }
        }
        assert!(same > 1_000 && other > 1_000, "{same} {other}");
    }
}
