//! Lists that a console saves in files, as UC3M does: the users of the last LIST_USERS (`listusers-USER.json`) and the
//! published files (`published-USER.json`).

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;
use serde_json::Value;

use crate::limits;
use crate::protocol::types::account::{Line, Online, Publication, Published, UserName};
use crate::protocol::types::legacy_profile::LegacyProfile;

/// Stores small files by name.
pub trait SavedLists {
    /// The content; `None` without a file, and for one that is too large.
    fn read(&self, name: &str) -> Option<Vec<u8>>;

    /// Replaces the content.
    ///
    /// # Errors
    /// The error of the system.
    fn write(&self, name: &str, content: &[u8]) -> Result<(), String>;
}

/// Saves nothing.
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

/// The names of all such files: they are no files to share.
pub const SAVED_LISTS: &[&str] = &["listusers-*.json", "published-*.json"];

/// The file of the users that `user` has listed.
#[must_use]
pub fn users_of(user: &UserName) -> String {
    format!("listusers-{user}.json")
}

/// The file of the files that `user` has published.
#[must_use]
pub fn published_by(user: &UserName) -> String {
    format!("published-{user}.json")
}

/// Formats users. A user without an address is left out.
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

/// The address and the legacy protocol of a saved user.
#[must_use]
pub fn find(saved: &[u8], user: &UserName) -> Option<(SocketAddr, Option<LegacyProfile>)> {
    let rows: Vec<Value> = serde_json::from_slice(saved).ok()?;
    let row = rows.iter().find(|row| row["Username"] == **user)?;
    let ip: IpAddr = row["IP address"].as_str()?.parse().ok()?;
    let port = match &row["Port"] {
        Value::String(text) => text.parse().ok()?,
        number => u16::try_from(number.as_u64()?).ok()?,
    };
    let speaks = match row["Speaks"].as_str() {
        // An unknown protocol.
        Some(word) => Some(LegacyProfile::parse(word)?),
        None => None,
    };
    Some((SocketAddr::new(ip, port), speaks))
}

/// Formats the published files, after one was added or removed.
#[must_use]
pub fn published(
    saved: Option<&[u8]>,
    add: Option<&Publication>,
    remove: Option<&Published>,
) -> Vec<u8> {
    let rows: Vec<Value> =
        saved.and_then(|saved| serde_json::from_slice(saved).ok()).unwrap_or_default();
    let before = rows.iter().filter_map(|row| {
        let line = |key: &str| row[key].as_str().and_then(Line::new);
        Some(Publication { file: line("Filename")?, description: line("Description")? })
    });
    let is_replaced = |other: &Publication| {
        add.is_some_and(|add| add.file == other.file) || remove == Some(&other.file)
    };
    let mut files: Vec<Publication> =
        before.filter(|other| !is_replaced(other)).take(limits::LIST_ALL - 1).collect();
    files.extend(add.cloned());
    let rows: Vec<FileRow<'_>> = files
        .iter()
        .map(|publication| FileRow {
            file: &publication.file,
            description: &publication.description,
        })
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
    fn users_are_saved_in_the_format_of_uc3m() {
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
    fn a_malformed_list_holds_no_user() {
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
    fn a_published_file_is_saved_once_until_it_is_removed() {
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
