//! The address of an engine: `redis://[USER[:PASSWORD]@]HOST:PORT[,HOST:PORT...][/]`, and
//! `rediss://` for TLS.

use std::fmt;
use std::net::Ipv6Addr;

/// The usual port of an engine.
const PORT: u16 = 6_379;
/// Hosts in a URL: a single answer is enough, and a cluster names the others.
const HOSTS: usize = 16;
/// A host name: the longest of DNS.
const HOST_BYTES: usize = 255;
/// A user or a password of an engine: as long as engines accept in practice.
const SECRET_BYTES: usize = 1_024;

/// A user and a password. `Debug` hides both, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct EngineLogin {
    /// The user; empty for the default user.
    pub user: Vec<u8>,
    /// The password.
    pub password: Vec<u8>,
}

impl fmt::Debug for EngineLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EngineLogin(..)")
    }
}

/// Where an engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineUrl {
    /// Hosts and ports; never empty. An IPv6 address stands without brackets.
    pub hosts: Vec<(String, u16)>,
    /// The user and the password.
    pub login: Option<EngineLogin>,
    /// Speak TLS.
    pub tls: bool,
}

/// A URL that can't be used. The texts quote no part of the URL: the URL may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadUrl {
    /// Neither `redis://` nor `rediss://`.
    Scheme,
    /// There is no host, or too many.
    Hosts,
    /// A host is no name and no address.
    Host,
    /// A port is no number from 1 to 65535.
    Port,
    /// A user without a password.
    NoPassword,
    /// The user or the password has a wrong percent escape, or is too long.
    Login,
    /// A database number: a cluster has number 0 alone.
    Database,
    /// A query or a fragment.
    More,
}

impl fmt::Display for BadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadUrl::Scheme => "the address of an engine begins with redis:// or rediss://",
            BadUrl::Hosts => "the address of an engine needs 1 to 16 hosts: redis://HOST:PORT",
            BadUrl::Host => "the address of an engine has a wrong host; IPv6 needs brackets",
            BadUrl::Port => "the address of an engine has a wrong port",
            BadUrl::NoPassword => "the address of an engine has a user without a password",
            BadUrl::Login => {
                "the address of an engine has a wrong user or password; write special characters as %XX"
            }
            BadUrl::Database => "the address of an engine has a database; only 0 is possible",
            BadUrl::More => "the address of an engine ends after the hosts; remove ? and #",
        })
    }
}

impl std::error::Error for BadUrl {}

impl EngineUrl {
    /// Read a URL.
    ///
    /// # Errors
    /// A reason for each part that is wrong.
    pub fn parse(text: &str) -> Result<EngineUrl, BadUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(BadUrl::Scheme)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            _ => return Err(BadUrl::Scheme),
        };
        // The userinfo ends at the last @ before the path: a password often has an unescaped @.
        let (login, rest) = match rest.rsplit_once('@') {
            Some((login, rest)) => (Some(login_of(login)?), rest),
            None => (None, rest),
        };
        if rest.contains(['?', '#']) {
            return Err(BadUrl::More);
        }
        let hosts = match rest.split_once('/') {
            None => rest,
            Some((hosts, "" | "0" | "0/")) => hosts,
            Some(_) => return Err(BadUrl::Database),
        };
        if hosts.is_empty() || hosts.split(',').count() > HOSTS {
            return Err(BadUrl::Hosts);
        }
        let hosts = hosts.split(',').map(host).collect::<Result<Vec<_>, BadUrl>>()?;
        Ok(EngineUrl { hosts, login: login.flatten(), tls })
    }
}

/// `None` for an empty userinfo.
fn login_of(text: &str) -> Result<Option<EngineLogin>, BadUrl> {
    match text.split_once(':') {
        None if text.is_empty() => Ok(None),
        None => Err(BadUrl::NoPassword),
        Some((user, password)) => {
            let (user, password) = (unescape(user)?, unescape(password)?);
            match (user.is_empty(), password.is_empty()) {
                (true, true) => Ok(None),
                (false, true) => Err(BadUrl::NoPassword),
                _ => Ok(Some(EngineLogin { user, password })),
            }
        }
    }
}

fn unescape(text: &str) -> Result<Vec<u8>, BadUrl> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(BadUrl::Login) };
        out.push(u8::try_from(high << 4 | low).map_err(|_| BadUrl::Login)?);
    }
    if out.len() > SECRET_BYTES { Err(BadUrl::Login) } else { Ok(out) }
}

fn host(text: &str) -> Result<(String, u16), BadUrl> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(BadUrl::Host)?;
            host.parse::<Ipv6Addr>().map_err(|_| BadUrl::Host)?;
            let port = if port.is_empty() {
                None
            } else {
                Some(port.strip_prefix(':').ok_or(BadUrl::Host)?)
            };
            (host, port)
        }
        None => {
            let (host, port) =
                text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
            let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
            if host.is_empty() || host.len() > HOST_BYTES || !host.chars().all(is_name) {
                return Err(BadUrl::Host);
            }
            // Two colons: an IPv6 address without brackets.
            if port.is_some_and(|port| port.contains(':')) {
                return Err(BadUrl::Host);
            }
            (host, port)
        }
    };
    let port = match port {
        None => PORT,
        Some(port) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            port.parse().ok().filter(|port| *port > 0).ok_or(BadUrl::Port)?
        }
        Some(_) => return Err(BadUrl::Port),
    };
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(text: &str) -> Vec<(String, u16)> {
        EngineUrl::parse(text).unwrap().hosts
    }

    fn login(text: &str) -> (String, String) {
        let login = EngineUrl::parse(text).unwrap().login.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(login.user), text(login.password))
    }

    #[test]
    fn hosts_ports_and_families_are_read() {
        let own = |host: &str, port| (host.to_owned(), port);
        assert_eq!(hosts("redis://a.example:7000"), [own("a.example", 7000)]);
        assert_eq!(hosts("redis://a"), [own("a", 6379)]);
        assert_eq!(
            hosts("redis://10.0.0.1:1,[2001:db8::1]:2,[::1],host_3:4/"),
            [own("10.0.0.1", 1), own("2001:db8::1", 2), own("::1", 6379), own("host_3", 4)]
        );
        assert_eq!(hosts("REDIS://a:1/0"), [own("a", 1)]);
        assert!(!EngineUrl::parse("redis://a").unwrap().tls);
        assert!(EngineUrl::parse("rediss://a").unwrap().tls);
        assert!(EngineUrl::parse("valkeys://a").unwrap().tls);
    }

    #[test]
    fn the_userinfo_is_unescaped() {
        let own = |user: &str, password: &str| (user.to_owned(), password.to_owned());
        assert_eq!(login("redis://ana:s%40%3a%2F%25x@h:1"), own("ana", "s@:/%x"));
        assert_eq!(login("redis://:secret@h:1"), own("", "secret"));
        assert_eq!(login("redis://ana:a@b:c@h"), own("ana", "a@b:c"));
        assert_eq!(login("redis://ana:%C3%A9@h"), own("ana", "é"));
        for without in ["redis://@h", "redis://:@h", "redis://h"] {
            assert_eq!(EngineUrl::parse(without).unwrap().login, None, "{without}");
        }
    }

    #[test]
    fn each_wrong_url_has_its_own_reason() {
        let many = format!("redis://{}", vec!["a"; 17].join(","));
        let long = format!("redis://{}", "a".repeat(256));
        let secret = format!("redis://u:{}@h", "a".repeat(1_025));
        for (text, reason) in [
            ("", BadUrl::Scheme),
            ("10.0.0.1:6379", BadUrl::Scheme),
            ("http://a:1", BadUrl::Scheme),
            ("redis:/a", BadUrl::Scheme),
            ("redis://", BadUrl::Hosts),
            ("redis:///", BadUrl::Hosts),
            (many.as_str(), BadUrl::Hosts),
            ("redis://a,", BadUrl::Host),
            ("redis://,a", BadUrl::Host),
            ("redis://:6379", BadUrl::Host),
            ("redis://a b", BadUrl::Host),
            ("redis://é", BadUrl::Host),
            ("redis://::1", BadUrl::Host),
            ("redis://::1:6379", BadUrl::Host),
            ("redis://[::1", BadUrl::Host),
            ("redis://[a]:1", BadUrl::Host),
            ("redis://[::1]x", BadUrl::Host),
            (long.as_str(), BadUrl::Host),
            ("redis://a:", BadUrl::Port),
            ("redis://a:0", BadUrl::Port),
            ("redis://a:65536", BadUrl::Port),
            ("redis://a:+1", BadUrl::Port),
            ("redis://[::1]:x", BadUrl::Port),
            ("redis://ana@h", BadUrl::NoPassword),
            ("redis://ana:@h", BadUrl::NoPassword),
            ("redis://ana:%4@h", BadUrl::Login),
            ("redis://ana:%zz@h", BadUrl::Login),
            ("redis://ana:%+1@h", BadUrl::Login),
            (secret.as_str(), BadUrl::Login),
            ("redis://a/1", BadUrl::Database),
            ("redis://a/x", BadUrl::Database),
            ("redis://a/0/1", BadUrl::Database),
            ("redis://a?db=1", BadUrl::More),
            ("redis://a/#x", BadUrl::More),
        ] {
            assert_eq!(EngineUrl::parse(text), Err(reason), "{text}");
            assert!(!reason.to_string().is_empty());
        }
    }

    #[test]
    fn a_password_does_not_show_itself() {
        let url = EngineUrl::parse("redis://ana:hidden@h:1").unwrap();
        let shown = format!("{url:?}");
        assert!(!shown.contains("hidden") && !shown.contains("ana"), "{shown}");
        let bad = EngineUrl::parse("redis://ana:hidden@h:x").unwrap_err();
        assert!(!format!("{bad} {bad:?}").contains("hidden"));
    }
}
