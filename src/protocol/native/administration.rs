//! Messages of administrators beyond the members. They are rare, and have shapes of their own.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::protocol::administration::{
    AdminRequest, AdminResponse, BanEntry, BanSubject, BanTarget, KickTarget, LimitEntry, LimitKey,
    NewBan,
};
use crate::protocol::error::ErrorReply;
use crate::protocol::native::{NoFields, answer, ask, missing, parse, put, small};
use crate::protocol::types::account::{Key, Line, Published, UserName};
use crate::protocol::types::address_range::{AddressRange, BadRange};
use crate::protocol::types::file_name::printable;
use crate::protocol::types::relative_path::RelativeName;

/// The methods and their fields.
pub const METHODS: [(&str, &[&str]); 7] = [
    ("KICK", &["name", "key", "address", "port"]),
    ("BAN", &["name", "key", "range", "lasts", "reason", "force"]),
    ("UNBAN", &["name", "key", "range"]),
    ("BANS", &["cursor"]),
    ("LIMITS", &["set"]),
    ("UNPUBLISH", &["user", "name"]),
    ("REMOVE_USER", &["user"]),
];

/// All fields of all requests of administrators.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct AdminAsk {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    method: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lasts: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    force: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    set: Option<BTreeMap<String, Option<u64>>>,
}

/// True for a method of administrators.
pub fn has_method(method: &str) -> bool {
    METHODS.iter().any(|(known, _)| *known == method)
}

/// Decode a request that has only fields of its method.
pub fn request(text: &str) -> Result<AdminRequest, ErrorReply> {
    ask::<AdminAsk>(text)?.request()
}

impl AdminAsk {
    fn request(&self) -> Result<AdminRequest, ErrorReply> {
        Ok(match &*self.method {
            "KICK" => AdminRequest::Kick(self.kick_target()?),
            "BAN" => AdminRequest::Ban(NewBan {
                target: self.ban_target()?,
                lasts: self.lasts.map(lasts).transpose()?,
                reason: reason(self.reason.as_deref().unwrap_or_default())?,
                force: self.force.unwrap_or(false),
            }),
            "UNBAN" => AdminRequest::Unban(self.ban_target()?),
            "BANS" => {
                let cursor = |text| BanSubject::parse(text).ok_or_else(ErrorReply::bad_cursor);
                AdminRequest::Bans { cursor: self.cursor.as_deref().map(cursor).transpose()? }
            }
            "LIMITS" => {
                let set = self.set.iter().flatten();
                AdminRequest::Limits(
                    set.map(|(key, value)| limit(key, *value)).collect::<Result<_, _>>()?,
                )
            }
            "UNPUBLISH" => {
                let name = self.name.as_deref().ok_or_else(|| missing("name"))?;
                AdminRequest::Unpublish { user: self.user()?, file: published(name)? }
            }
            "REMOVE_USER" => AdminRequest::RemoveUser(self.user()?),
            _ => return Err(ErrorReply::unsupported()),
        })
    }

    fn user(&self) -> Result<UserName, ErrorReply> {
        Ok(UserName::new(self.user.as_deref().ok_or_else(|| missing("user"))?)?)
    }

    fn name(&self) -> Result<Option<UserName>, ErrorReply> {
        Ok(self.name.as_deref().map(UserName::new).transpose()?)
    }

    fn key(&self) -> Result<Option<Key>, ErrorReply> {
        let wrong = || ErrorReply::bad_request("key is no key");
        self.key.as_deref().map(|text| Key::parse(text).ok_or_else(wrong)).transpose()
    }

    fn kick_target(&self) -> Result<KickTarget, ErrorReply> {
        let wrong = |_| ErrorReply::bad_request("address is no IP address");
        let address: Option<IpAddr> =
            self.address.as_deref().map(str::parse).transpose().map_err(wrong)?;
        match (self.name()?, self.key()?, address, self.port) {
            (Some(name), None, None, None) => Ok(KickTarget::Name(name)),
            (None, Some(key), None, None) => Ok(KickTarget::Key(key)),
            (None, None, Some(ip), port) => Ok(KickTarget::Address(ip.to_canonical(), port)),
            _ => Err(ErrorReply::bad_request("either name, key or address")),
        }
    }

    fn ban_target(&self) -> Result<BanTarget, ErrorReply> {
        let wrong = |why: BadRange| ErrorReply::bad_request(why.to_string());
        let range = self.range.as_deref().map(AddressRange::parse).transpose();
        let range = range.map_err(wrong)?;
        match (self.name()?, self.key()?, range) {
            (Some(name), None, None) => Ok(BanTarget::Name(name)),
            (None, Some(key), None) => Ok(BanTarget::Subject(BanSubject::Key(key))),
            (None, None, Some(range)) => Ok(BanTarget::Subject(BanSubject::Range(range))),
            _ => Err(ErrorReply::bad_request("either name, key or range")),
        }
    }
}

fn lasts(seconds: u64) -> Result<u64, ErrorReply> {
    if seconds == 0 {
        return Err(ErrorReply::bad_request("lasts is at least 1"));
    }
    small(seconds)
}

fn reason(text: &str) -> Result<Line, ErrorReply> {
    Line::new(text)
        .ok_or_else(|| ErrorReply::bad_request("reason is one line of at most 255 bytes"))
}

/// A file as PUBLISH names it.
fn published(name: &str) -> Result<Published, ErrorReply> {
    let name = RelativeName::new(name)?;
    Line::new(&name).ok_or_else(|| ErrorReply::bad_request("name has at most 255 bytes"))
}

fn limit(name: &str, value: Option<u64>) -> Result<(LimitKey, Option<u64>), ErrorReply> {
    let Some(key) = LimitKey::parse(name) else {
        let all: Vec<&str> = LimitKey::all().map(LimitKey::as_str).collect();
        return Err(ErrorReply::bad_request(format!(
            "{} is no limit: the limits are {}",
            printable(name),
            all.join(", ")
        )));
    };
    let (least, most) = key.range();
    if value.is_some_and(|value| !key.takes(value)) {
        return Err(ErrorReply::bad_request(format!("{name} is {least} to {most}, or null")));
    }
    Ok((key, value))
}

/// Write a request.
pub fn write_request(id: u64, request: &AdminRequest, out: &mut Vec<u8>) {
    let blank =
        AdminAsk { id: Some(id), method: request.method().to_owned(), ..AdminAsk::default() };
    let target = |target: &BanTarget, blank: AdminAsk| match target {
        BanTarget::Name(name) => AdminAsk { name: Some(name.to_string()), ..blank },
        BanTarget::Subject(BanSubject::Key(key)) => {
            AdminAsk { key: Some(key.to_string()), ..blank }
        }
        BanTarget::Subject(BanSubject::Range(range)) => {
            AdminAsk { range: Some(range.to_string()), ..blank }
        }
    };
    let shape = match request {
        AdminRequest::Kick(KickTarget::Name(name)) => {
            AdminAsk { name: Some(name.to_string()), ..blank }
        }
        AdminRequest::Kick(KickTarget::Key(key)) => {
            AdminAsk { key: Some(key.to_string()), ..blank }
        }
        AdminRequest::Kick(KickTarget::Address(ip, port)) => {
            AdminAsk { address: Some(ip.to_string()), port: *port, ..blank }
        }
        AdminRequest::Ban(ban) => AdminAsk {
            lasts: ban.lasts,
            reason: Some(ban.reason.to_string()).filter(|reason| !reason.is_empty()),
            force: ban.force.then_some(true),
            ..target(&ban.target, blank)
        },
        AdminRequest::Unban(of) => target(of, blank),
        AdminRequest::Bans { cursor } => {
            AdminAsk { cursor: cursor.map(|of| of.to_string()), ..blank }
        }
        AdminRequest::Limits(set) => {
            let set: BTreeMap<String, Option<u64>> =
                set.iter().map(|(key, value)| (key.as_str().to_owned(), *value)).collect();
            AdminAsk { set: Some(set).filter(|set| !set.is_empty()), ..blank }
        }
        AdminRequest::Unpublish { user, file } => {
            AdminAsk { user: Some(user.to_string()), name: Some(file.to_string()), ..blank }
        }
        AdminRequest::RemoveUser(user) => AdminAsk { user: Some(user.to_string()), ..blank },
    };
    put(out, &shape);
}

/// A ban on the wire: of a key or of a range.
#[derive(Deserialize, Serialize)]
struct BanShape {
    key: Option<String>,
    name: Option<String>,
    range: Option<String>,
    since: u64,
    left: Option<u64>,
    by: String,
    reason: String,
}

impl BanShape {
    fn of(ban: &BanEntry) -> BanShape {
        let (key, range) = ban.subject.key_and_range();
        BanShape {
            key,
            name: ban.name.as_deref().map(str::to_owned),
            range,
            since: ban.since,
            left: ban.left,
            by: ban.by.to_string(),
            reason: ban.reason.to_string(),
        }
    }

    /// `None` when a field is invalid.
    fn entry(self) -> Option<BanEntry> {
        let name = match &self.name {
            Some(name) => Some(UserName::new(name).ok()?),
            None => None,
        };
        Some(BanEntry {
            subject: subject_of(self.key.as_deref(), self.range.as_deref())?,
            name,
            since: self.since,
            left: self.left,
            by: Line::new(&self.by)?,
            reason: Line::new(&self.reason)?,
        })
    }
}

fn subject_of(key: Option<&str>, range: Option<&str>) -> Option<BanSubject> {
    match (key, range) {
        (Some(key), None) => Key::parse(key).map(BanSubject::Key),
        (None, Some(range)) => AddressRange::parse(range).ok().map(BanSubject::Range),
        _ => None,
    }
}

#[derive(Deserialize, Serialize)]
struct LimitShape {
    limit: String,
    value: Option<u64>,
    default: Option<u64>,
    least: u64,
    most: u64,
    unit: String,
    set: bool,
}

impl LimitShape {
    fn of(entry: &LimitEntry) -> LimitShape {
        let LimitEntry { key, value, default, is_set } = *entry;
        let ((least, most), unit) = (key.range(), key.unit().as_str().to_owned());
        let limit = key.as_str().to_owned();
        LimitShape { limit, value, default, least, most, unit, set: is_set }
    }

    /// `None` for a limit of a later version.
    fn entry(self) -> Option<LimitEntry> {
        let key = LimitKey::parse(&self.limit)?;
        Some(LimitEntry { key, value: self.value, default: self.default, is_set: self.set })
    }
}

#[derive(Deserialize, Serialize)]
struct KickedShape {
    closed: u64,
}

#[derive(Deserialize, Serialize)]
struct BannedShape {
    ban: BanShape,
    closed: u64,
}

#[derive(Deserialize, Serialize)]
struct UnbannedShape {
    key: Option<String>,
    range: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct BansShape {
    bans: Vec<BanShape>,
    now: u64,
    cursor: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct LimitsShape {
    limits: Vec<LimitShape>,
}

/// Write a response.
pub fn write_response(id: Option<u64>, response: &AdminResponse, out: &mut Vec<u8>) {
    match response {
        AdminResponse::Kicked(closed) => {
            answer(id, "KICK_OK", KickedShape { closed: *closed }, out);
        }
        AdminResponse::Banned { ban, closed } => {
            answer(id, "BAN_OK", BannedShape { ban: BanShape::of(ban), closed: *closed }, out);
        }
        AdminResponse::Unbanned(of) => {
            let (key, range) = of.key_and_range();
            answer(id, "UNBAN_OK", UnbannedShape { key, range }, out);
        }
        AdminResponse::Bans { bans, now, cursor } => {
            let bans = bans.iter().map(BanShape::of).collect();
            let cursor = cursor.map(|of| of.to_string());
            answer(id, "BANS_OK", BansShape { bans, now: *now, cursor }, out);
        }
        AdminResponse::Limits(limits) => {
            let limits = limits.iter().map(LimitShape::of).collect();
            answer(id, "LIMITS_OK", LimitsShape { limits }, out);
        }
        AdminResponse::Unpublished => answer(id, "UNPUBLISH_OK", NoFields {}, out),
        AdminResponse::UserRemoved => answer(id, "REMOVE_USER_OK", NoFields {}, out),
    }
}

/// Decode a response; `None` for a status of other messages.
pub fn response(status: &str, line: &[u8]) -> Result<Option<AdminResponse>, String> {
    Ok(Some(match status {
        "KICK_OK" => AdminResponse::Kicked(parse::<KickedShape>(line)?.closed),
        "BAN_OK" => {
            let BannedShape { ban, closed } = parse(line)?;
            let ban = ban.entry().ok_or("BAN_OK without a good ban")?;
            AdminResponse::Banned { ban, closed }
        }
        "UNBAN_OK" => {
            let UnbannedShape { key, range } = parse(line)?;
            let of = subject_of(key.as_deref(), range.as_deref());
            AdminResponse::Unbanned(of.ok_or("UNBAN_OK without a good key or range")?)
        }
        "BANS_OK" => {
            let BansShape { bans, now, cursor } = parse(line)?;
            AdminResponse::Bans {
                bans: bans.into_iter().filter_map(BanShape::entry).collect(),
                now,
                cursor: cursor.as_deref().and_then(BanSubject::parse),
            }
        }
        "LIMITS_OK" => {
            let LimitsShape { limits } = parse(line)?;
            AdminResponse::Limits(limits.into_iter().filter_map(LimitShape::entry).collect())
        }
        "UNPUBLISH_OK" => AdminResponse::Unpublished,
        "REMOVE_USER_OK" => AdminResponse::UserRemoved,
        _ => return Ok(None),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Role;
    use crate::protocol::member::{MemberRequest, MemberResponse};
    use crate::protocol::native::{decode_request, decode_response, encode};
    use crate::protocol::request::Request;
    use crate::protocol::response::Response;

    fn name(text: &str) -> UserName {
        UserName::new(text).unwrap()
    }

    fn a_line(text: &str) -> Line {
        Line::new(text).unwrap()
    }

    fn a_key() -> Key {
        Key::new([9; 32]).unwrap()
    }

    fn range(text: &str) -> BanSubject {
        BanSubject::Range(AddressRange::parse(text).unwrap())
    }

    fn asked(text: &str) -> Result<Request, ErrorReply> {
        decode_request::request(text.as_bytes(), Role::Server).unwrap().request
    }

    #[test]
    fn requests_come_back_as_they_were() {
        let ban = |target, lasts, reason: &str, force| {
            AdminRequest::Ban(NewBan { target, lasts, reason: a_line(reason), force })
        };
        for request in [
            AdminRequest::Kick(KickTarget::Name(name("ana"))),
            AdminRequest::Kick(KickTarget::Key(a_key())),
            AdminRequest::Kick(KickTarget::Address("10.0.0.1".parse().unwrap(), None)),
            AdminRequest::Kick(KickTarget::Address("2001:db8::1".parse().unwrap(), Some(9))),
            ban(BanTarget::Name(name("ana")), None, "", false),
            ban(BanTarget::Subject(BanSubject::Key(a_key())), Some(9), "spam", true),
            ban(BanTarget::Subject(range("10.0.0.0/8")), Some(9), "", false),
            AdminRequest::Unban(BanTarget::Subject(range("2001:db8::/64"))),
            AdminRequest::Bans { cursor: None },
            AdminRequest::Bans { cursor: Some(range("10.0.0.1")) },
            AdminRequest::Limits(Vec::new()),
            AdminRequest::Limits(vec![
                (LimitKey::Connections, Some(100)),
                (LimitKey::PeerFiles, None),
            ]),
            AdminRequest::Unpublish { user: name("ana"), file: a_line("aula 1.mp4") },
            AdminRequest::RemoveUser(name("ana")),
        ] {
            let request = Request::Member(Box::new(MemberRequest::Admin(request)));
            let mut line = Vec::new();
            encode::write_request(7, &request, &mut line);
            let text = std::str::from_utf8(&line).unwrap().trim_end();
            assert_eq!(asked(text), Ok(request), "{text}");
        }
    }

    #[test]
    fn responses_come_back_as_they_were() {
        let ban = |subject, left| BanEntry {
            subject,
            name: Some(name("ana")),
            since: 5,
            left,
            by: a_line("root"),
            reason: a_line("spam"),
        };
        let (first, second) =
            (ban(BanSubject::Key(a_key()), None), ban(range("10.0.0.0/8"), Some(9)));
        let limit = LimitEntry {
            key: LimitKey::Connections,
            value: Some(100),
            default: None,
            is_set: true,
        };
        for response in [
            AdminResponse::Kicked(3),
            AdminResponse::Banned { ban: first.clone(), closed: 2 },
            AdminResponse::Unbanned(range("10.0.0.0/8")),
            AdminResponse::Bans {
                bans: vec![first, second],
                now: 7,
                cursor: Some(range("10.0.0.0/8")),
            },
            AdminResponse::Limits(vec![limit]),
            AdminResponse::Unpublished,
            AdminResponse::UserRemoved,
        ] {
            let response = Response::Member(Box::new(MemberResponse::Admin(response)));
            let mut line = Vec::new();
            encode::write_reply(Some(7), &response, &mut line);
            let message = decode_response::decode(line.trim_ascii_end()).unwrap();
            assert_eq!(message, crate::protocol::native::Message::Reply(7, response));
        }
    }

    #[test]
    fn wrong_fields_are_refused() {
        let long = "x".repeat(256);
        for text in [
            r#"{"id":1,"method":"KICK"}"#.to_owned(),
            r#"{"id":1,"method":"KICK","port":5}"#.into(),
            r#"{"id":1,"method":"KICK","address":"host"}"#.into(),
            r#"{"id":1,"method":"KICK","name":"ana","address":"10.0.0.1"}"#.into(),
            r#"{"id":1,"method":"KICK","address":"10.0.0.1","port":70000}"#.into(),
            r#"{"id":1,"method":"BAN"}"#.into(),
            r#"{"id":1,"method":"BAN","range":""}"#.into(),
            r#"{"id":1,"method":"BAN","range":"0.0.0.0/0"}"#.into(),
            r#"{"id":1,"method":"BAN","range":"10.0.0.1/8"}"#.into(),
            r#"{"id":1,"method":"BAN","key":"00"}"#.into(),
            r#"{"id":1,"method":"BAN","name":"ana","range":"10.0.0.0/8"}"#.into(),
            r#"{"id":1,"method":"BAN","name":"ana","lasts":0}"#.into(),
            r#"{"id":1,"method":"BAN","name":"ana","lasts":-5}"#.into(),
            r#"{"id":1,"method":"BAN","name":"ana","lasts":18446744073709551616}"#.into(),
            r#"{"id":1,"method":"BAN","name":"ana","lasts":9007199254740992}"#.into(),
            r#"{"id":1,"method":"BAN","name":"ana","force":1}"#.into(),
            r#"{"id":1,"method":"BAN","name":"ana","reason":"a\nb"}"#.into(),
            r#"{"id":1,"method":"BAN","name":"ana","reason":"\u001b[2J"}"#.into(),
            format!(r#"{{"id":1,"method":"BAN","name":"ana","reason":"{long}"}}"#),
            r#"{"id":1,"method":"UNBAN"}"#.into(),
            r#"{"id":1,"method":"BANS","cursor":"ana"}"#.into(),
            r#"{"id":1,"method":"LIMITS","set":{"speed":1}}"#.into(),
            r#"{"id":1,"method":"LIMITS","set":{"connections":0}}"#.into(),
            r#"{"id":1,"method":"LIMITS","set":{"connections":1.5}}"#.into(),
            r#"{"id":1,"method":"LIMITS","set":{"connections":-1}}"#.into(),
            r#"{"id":1,"method":"LIMITS","set":["connections"]}"#.into(),
            r#"{"id":1,"method":"UNPUBLISH","user":"ana"}"#.into(),
            r#"{"id":1,"method":"UNPUBLISH","user":"ana","name":"../a"}"#.into(),
            r#"{"id":1,"method":"UNPUBLISH","name":"a"}"#.into(),
            r#"{"id":1,"method":"REMOVE_USER"}"#.into(),
            r#"{"id":1,"method":"REMOVE_USER","user":"a/b"}"#.into(),
        ] {
            assert!(asked(&text).is_err(), "{text}");
        }
        // Unknown fields are ignored, as in other requests.
        assert!(asked(r#"{"id":1,"method":"BANS","x-view":[1]}"#).is_ok());
        let kick = br#"{"id":1,"method":"KICK","name":"ana"}"#;
        let at_peer = decode_request::request(kick, Role::Peer).unwrap().request;
        assert_eq!(at_peer, Err(ErrorReply::unsupported()));
    }
}
