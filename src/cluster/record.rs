//! The record of a member: its user and its further addresses, as fields of a hash.

use crate::cluster::resp::{Elements, Reply};
use crate::index::About;
use crate::protocol::types::account::{Key, UserName};
use crate::protocol::types::ids::to_hex;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::peer_protocol::PeerProtocol;
use crate::protocol::types::quic_address::QuicAddress;

/// A field that each record has: a hash without a field does not exist.
const VERSION: (&[u8], &[u8]) = (b"v", b"1");

/// The fields of a record. The protocol is the native one: no other peer is mirrored.
#[must_use]
pub fn fields(about: &About) -> Vec<(Vec<u8>, Vec<u8>)> {
    let key_text = |key: Key| to_hex(key.bytes());
    let mut fields = vec![(VERSION.0.to_vec(), VERSION.1.to_vec())];
    let mut put = |name: &str, value: String| fields.push((name.into(), value.into_bytes()));
    // An absent value is written too: a record is rewritten field by field.
    put("user", about.user.as_deref().unwrap_or_default().to_owned());
    put("key", about.key.map(key_text).unwrap_or_default());
    let quic = about.quic.map(|quic| format!("{}:{}", quic.port, key_text(quic.key)));
    put("quic", quic.unwrap_or_default());
    let legacy = |(protocol, port): &(PeerProtocol, u16)| {
        protocol.legacy().map(|profile| format!("{}:{port}", profile.as_str()))
    };
    put("ports", about.ports.iter().filter_map(legacy).collect::<Vec<_>>().join(","));
    fields
}

/// Read a record; `None` when there is none, or a field is wrong.
#[must_use]
pub fn read(mut fields: Elements<'_>) -> Option<About> {
    let mut about = About::default();
    let mut has_version = false;
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        let (Some(name), Some(value)) = (Reply::bytes(name), Reply::bytes(value)) else {
            return None;
        };
        has_version |= (name, value) == VERSION;
        let text = std::str::from_utf8(value).ok()?;
        if text.is_empty() {
            continue;
        }
        match name {
            b"user" => about.user = Some(UserName::new(text).ok()?),
            b"key" => about.key = Some(Key::parse(text)?),
            b"quic" => {
                let (port, key) = text.split_once(':')?;
                about.quic = Some(QuicAddress { port: port.parse().ok()?, key: Key::parse(key)? });
            }
            b"ports" => {
                for part in text.split(',') {
                    let (profile, port) = part.split_once(':')?;
                    let profile = LegacyProfile::parse(profile)?;
                    about.ports.push((profile.into(), port.parse().ok()?));
                }
            }
            _ => {}
        }
    }
    has_version.then_some(about)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::command::Replies;
    use crate::protocol::resp::put_command;

    fn read_back(fields: &[(Vec<u8>, Vec<u8>)]) -> Option<About> {
        let words: Vec<&[u8]> =
            fields.iter().flat_map(|(name, value)| [name.as_slice(), value]).collect();
        let mut bytes = Vec::new();
        // A command has the form of an array of texts.
        put_command(&words, &mut bytes);
        let (replies, _) = Replies::read(&bytes, 1).unwrap().unwrap();
        read(replies.last_reply().elements())
    }

    #[test]
    fn a_record_is_read_back_and_a_foreign_one_is_none() {
        let key = Key::parse("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        let about = About {
            user: UserName::new("ana").ok(),
            ports: vec![(LegacyProfile::UfabcJson.into(), 9), (LegacyProfile::Uc3m2024.into(), 8)],
            quic: key.map(|key| QuicAddress { port: 7, key }),
            key,
            ..About::default()
        };
        assert!(about.key.is_some());
        assert_eq!(read_back(&fields(&about)), Some(about));
        assert_eq!(read_back(&fields(&About::default())), Some(About::default()));
        assert_eq!(read_back(&[(b"user".to_vec(), b"ana".to_vec())]), None);
        let wrong = |name: &str, value: &str| {
            let mut fields = fields(&About::default());
            fields.push((name.into(), value.into()));
            read_back(&fields)
        };
        for (name, value) in [
            ("key", "x"),
            ("quic", "7"),
            ("quic", "70000:00"),
            ("ports", "novel:1"),
            ("user", "\n"),
        ] {
            assert_eq!(wrong(name, value), None, "{name} {value}");
        }
        assert_eq!(wrong("later", "field"), Some(About::default()));
    }
}
