//! The command lines of administrators beyond the members.

use std::net::{IpAddr, SocketAddr};

use cardume::protocol::administration::{BanSubject, LimitKey, LimitUnit};
use cardume::protocol::types::account::{Key, Line, UserName};
use cardume::protocol::types::address_range::AddressRange;
use clap::Args;

use crate::cli::args::AskArgs;
use crate::cli::args::members::seconds;

#[derive(Args)]
pub struct KickArgs {
    /// The member or user, the key, or the address of the client
    #[arg(value_name = "NAME|KEY|IP[:PORT]", value_parser = kicked)]
    pub who: Named,
    #[command(flatten)]
    pub ask: AskArgs,
}

#[derive(Args)]
pub struct BanArgs {
    /// The member or user, the key, the address, or the range of addresses
    #[arg(value_name = "NAME|KEY|IP|RANGE", value_parser = banned)]
    pub who: Named,
    /// The time until the ban ends: 90s, 15m, 24h or 30d [default: no end]
    #[arg(long = "for", value_name = "TIME", value_parser = seconds, allow_hyphen_values = true)]
    pub lasts: Option<u64>,
    /// The reason, on a single line; the banned client reads it
    #[arg(long, value_name = "TEXT", default_value = "", value_parser = reason)]
    pub reason: String,
    /// Ban your own key or address, or loopback
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub ask: AskArgs,
}

#[derive(Args)]
pub struct UnbanArgs {
    /// The name, the key, the address or the range, as `cardume bans` shows it
    #[arg(value_name = "NAME|KEY|IP|RANGE", value_parser = banned)]
    pub who: Named,
    #[command(flatten)]
    pub ask: AskArgs,
}

#[derive(Args)]
pub struct LimitsArgs {
    /// The limits to set; `default` resets one
    #[arg(value_name = "LIMIT=VALUE", value_parser = limit)]
    pub set: Vec<(LimitKey, Option<u64>)>,
    #[command(flatten)]
    pub ask: AskArgs,
}

/// A member, user or client, as the command line names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// A checked name; the types of names are of one thread, and clap's values of any.
    Name(String),
    /// A key or a range.
    Subject(BanSubject),
    /// The connections from an address, or the one from a port of it.
    Address(IpAddr, Option<u16>),
}

fn name(text: &str) -> Result<Named, String> {
    match UserName::new(text) {
        Ok(_) => Ok(Named::Name(text.to_owned())),
        Err(why) => Err(format!("a name must not {why}")),
    }
}

/// `NAME`, `KEY`, `IP` or `IP:PORT`.
fn kicked(text: &str) -> Result<Named, String> {
    if let Some(key) = Key::parse(text) {
        return Ok(Named::Subject(BanSubject::Key(key)));
    }
    let alone = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = alone.parse::<IpAddr>() {
        return Ok(Named::Address(ip.to_canonical(), None));
    }
    match text.parse::<SocketAddr>() {
        Ok(at) => Ok(Named::Address(at.ip().to_canonical(), Some(at.port()))),
        Err(_) => name(text),
    }
}

/// `NAME`, `KEY`, `IP` or `RANGE`. No name has a slash.
fn banned(text: &str) -> Result<Named, String> {
    if let Some(key) = Key::parse(text) {
        return Ok(Named::Subject(BanSubject::Key(key)));
    }
    match AddressRange::parse(text) {
        Ok(range) => Ok(Named::Subject(BanSubject::Range(range))),
        Err(why) if text.contains('/') || text.parse::<SocketAddr>().is_ok() => {
            Err(why.to_string())
        }
        Err(_) => name(text),
    }
}

fn reason(text: &str) -> Result<String, String> {
    match Line::new(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err("a reason is one line of at most 255 bytes".to_owned()),
    }
}

/// `LIMIT=VALUE` or `LIMIT=default`.
fn limit(text: &str) -> Result<(LimitKey, Option<u64>), String> {
    let all: Vec<&str> = LimitKey::all().map(LimitKey::as_str).collect();
    let all = all.join(", ");
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let key = LimitKey::parse(name).ok_or_else(|| format!("the limits are {all}"))?;
    if value == "default" {
        return Ok((key, None));
    }
    let number = match key.unit() {
        LimitUnit::Seconds => seconds(value)?,
        // Signs would be read as numbers.
        LimitUnit::Count | LimitUnit::PerSecond if value.bytes().all(|b| b.is_ascii_digit()) => {
            value.parse().unwrap_or(if value.is_empty() { 0 } else { u64::MAX })
        }
        LimitUnit::Count | LimitUnit::PerSecond => 0,
    };
    let (least, most) = key.range();
    if key.takes(number) {
        Ok((key, Some(number)))
    } else {
        Err(format!("{name} is a number from {least} to {most}, or default"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_key_an_address_a_range_or_a_name() {
        let range = |text| Ok(Named::Subject(BanSubject::parse(text).unwrap()));
        assert_eq!(banned("10.0.0.0/8"), range("10.0.0.0/8"));
        assert_eq!(banned("::ffff:10.0.0.1"), range("10.0.0.1"));
        assert_eq!(banned("ana"), Ok(Named::Name("ana".into())));
        for text in ["", "/", "0.0.0.0/0", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.1:80", "a\nb"] {
            assert!(banned(text).is_err(), "{text:?}");
        }
        let ip: IpAddr = "10.0.0.1".parse().unwrap();
        for text in ["10.0.0.1", "::ffff:10.0.0.1", "[::ffff:10.0.0.1]"] {
            assert_eq!(kicked(text), Ok(Named::Address(ip, None)), "{text}");
        }
        assert_eq!(kicked("10.0.0.1:80"), Ok(Named::Address(ip, Some(80))));
        assert_eq!(kicked("ana"), Ok(Named::Name("ana".into())));
        assert!(kicked("10.0.0.0/8").is_err() && kicked("").is_err());
        let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(kicked(key), range(key));
    }

    #[test]
    fn a_limit_has_a_range_and_a_unit() {
        assert_eq!(limit("peer_files=1000"), Ok((LimitKey::PeerFiles, Some(1_000))));
        assert_eq!(limit("enrol_pause=2m"), Ok((LimitKey::EnrolPause, Some(120))));
        assert_eq!(limit("searches=default"), Ok((LimitKey::Searches, None)));
        for text in [
            "peer_files",
            "peer_files=",
            "peer_files=0",
            "peer_files=-1",
            "peer_files=+1",
            "peer_files=1e3",
            "peer_files=10000001",
            "peer_files=99999999999999999999",
            "enrol_pause=5",
            "enrol_pause=2d",
            "searches=1/s",
            "Connections=100",
            "=5",
            "",
        ] {
            assert!(limit(text).is_err(), "{text}");
        }
        assert!(limit("speed=1").unwrap_err().contains("address_connections, searches"));
    }
}
