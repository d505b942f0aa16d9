//! Lists that a console keeps in files for later, as UC3M does: who was there (`listusers-USER.json`) and what the user has published
//! (`published-USER.json`). The files themselves are behind a door.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;
use serde_json::Value;

use crate::limits;
use crate::protocol::types::account::{Line, Online, Publication, Published, UserName};
use crate::protocol::types::legacy_profile::LegacyProfile;

/// Small files by their names, each of which is replaced as a whole.
pub trait SavedLists {
    /// What stands there; `None` for nothing, and for more than anybody would have written.
    fn read(&self, name: &str) -> Option<Vec<u8>>;

    /// Puts this in the place of what stands there.
    ///
    /// # Errors
    /// Why not, in the words of the system.
    fn write(&self, name: &str, content: &[u8]) -> Result<(), String>;
}

/// A notebook that keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSavedLists;

impl SavedLists for NoSavedLists {
    fn read(&self, _: &str) -> Option<Vec<u8>> {
        None
    }

    fn write(&self, _: &str, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

#[derive(Serialize)]
struct UserRow<'a> {
    #[serde(rename = "Username")]
    user: &'a str,
    #[serde(rename = "IP address")]
    ip: String,
    #[serde(rename = "Port")]
    port: String,
    #[serde(rename = "Speaks", skip_serializing_if = "Option::is_none")]
    speaks: Option<&'static str>,
}

#[derive(Serialize)]
struct FileRow<'a> {
    #[serde(rename = "Filename")]
    file: &'a str,
    #[serde(rename = "Description")]
    description: &'a str,
}

/// Where the users are kept that `user` was told of.
#[must_use]
pub fn users_of(user: &UserName) -> String {
    format!("listusers-{user}.json")
}

/// Where is kept what `user` has published.
#[must_use]
pub fn published_by(user: &UserName) -> String {
    format!("published-{user}.json")
}

/// Users as they are kept; those who answer nowhere are of no use later.
#[must_use]
pub fn users(users: &[Online]) -> Vec<u8> {
    let rows = users.iter().filter_map(|online| {
        let peer = online.peer?;
        Some(UserRow {
            user: &online.user,
            ip: peer.ip().to_string(),
            port: peer.port().to_string(),
            speaks: online.speaks.map(LegacyProfile::as_str),
        })
    });
    serde_json::to_vec(&rows.collect::<Vec<_>>()).unwrap_or_default()
}

/// Where a user was, and what is spoken there.
#[must_use]
pub fn find(kept: &[u8], user: &UserName) -> Option<(SocketAddr, Option<LegacyProfile>)> {
    let rows: Vec<Value> = serde_json::from_slice(kept).ok()?;
    let row = rows.iter().find(|row| row["Username"] == **user)?;
    let ip: IpAddr = row["IP address"].as_str()?.parse().ok()?;
    let port = match &row["Port"] {
        Value::String(text) => text.parse().ok()?,
        number => u16::try_from(number.as_u64()?).ok()?,
    };
    let speaks = match row["Speaks"].as_str() {
        // A wire that is not known here can't be spoken.
        Some(word) => Some(LegacyProfile::parse(word)?),
        None => None,
    };
    Some((SocketAddr::new(ip, port), speaks))
}

/// What is kept of published files, with one more or one less.
#[must_use]
pub fn published(
    kept: Option<&[u8]>,
    add: Option<&Publication>,
    remove: Option<&Published>,
) -> Vec<u8> {
    let rows: Vec<Value> =
        kept.and_then(|kept| serde_json::from_slice(kept).ok()).unwrap_or_default();
    let before = rows.iter().filter_map(|row| {
        let line = |key: &str| row[key].as_str().and_then(Line::new);
        Some(Publication { file: line("Filename")?, description: line("Description")? })
    });
    let gone = |what: &Publication| {
        add.is_some_and(|add| add.file == what.file) || remove == Some(&what.file)
    };
    let mut files: Vec<Publication> =
        before.filter(|what| !gone(what)).take(limits::LIST_ALL - 1).collect();
    files.extend(add.cloned());
    let rows: Vec<FileRow<'_>> = files
        .iter()
        .map(|what| FileRow { file: &what.file, description: &what.description })
        .collect();
    serde_json::to_vec(&rows).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserName {
        UserName::new(name).unwrap()
    }

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn users_are_kept_as_uc3m_does_and_found_again() {
        let online = |name: &str, peer: Option<&str>, speaks| Online {
            user: user(name),
            peer: peer.map(|at| at.parse().unwrap()),
            speaks,
        };
        let kept = users(&[
            online("ana", Some("127.0.0.1:4000"), None),
            online("bob", None, None),
            online("eva", Some("127.0.0.2:5000"), Some(LegacyProfile::Uc3m2024)),
        ]);
        assert_eq!(
            text(&kept),
            "[{\"Username\":\"ana\",\"IP address\":\"127.0.0.1\",\"Port\":\"4000\"},\
             {\"Username\":\"eva\",\"IP address\":\"127.0.0.2\",\"Port\":\"5000\",\"Speaks\":\"uc3m-2024\"}]"
        );
        assert_eq!(find(&kept, &user("ana")), Some(("127.0.0.1:4000".parse().unwrap(), None)));
        assert_eq!(
            find(&kept, &user("eva")),
            Some(("127.0.0.2:5000".parse().unwrap(), Some(LegacyProfile::Uc3m2024)))
        );
        assert_eq!(find(&kept, &user("bob")), None);
    }

    #[test]
    fn a_list_that_others_wrote_is_read_with_care() {
        let at = |kept: &str| find(kept.as_bytes(), &user("ana"));
        assert!(at(r#"[{"Username": "ana", "IP address": "127.0.0.1", "Port": 4000}]"#).is_some());
        for kept in [
            "",
            "{}",
            "[1, null]",
            r#"[{"Username": "ana"}]"#,
            r#"[{"Username": "ana", "IP address": "x", "Port": "1"}]"#,
            r#"[{"Username": "ana", "IP address": "127.0.0.1", "Port": 70000}]"#,
            r#"[{"Username": "ana", "IP address": "127.0.0.1", "Port": "1", "Speaks": "latin"}]"#,
        ] {
            assert_eq!(at(kept), None, "{kept}");
        }
    }

    #[test]
    fn published_files_come_and_go_and_stand_there_once() {
        let what = |file: &str, description: &str| Publication {
            file: Line::new(file).unwrap(),
            description: Line::new(description).unwrap(),
        };
        let kept = published(None, Some(&what("a.mp4", "one")), None);
        assert_eq!(text(&kept), r#"[{"Filename":"a.mp4","Description":"one"}]"#);
        let kept = published(Some(&kept), Some(&what("b.mp4", "")), None);
        let kept = published(Some(&kept), Some(&what("a.mp4", "two")), None);
        assert_eq!(
            text(&kept),
            r#"[{"Filename":"b.mp4","Description":""},{"Filename":"a.mp4","Description":"two"}]"#
        );
        let kept = published(Some(&kept), None, Some(&Line::new("b.mp4").unwrap()));
        assert_eq!(text(&kept), r#"[{"Filename":"a.mp4","Description":"two"}]"#);
        assert_eq!(
            text(&published(Some(b"diary"), None, Some(&Line::new("b.mp4").unwrap()))),
            "[]"
        );
    }
}
