//! The command lines about links.

use std::net::SocketAddr;

use cardume::protocol::http::host::HostAuthority;
use cardume::protocol::types::link_ticket::LinkId;
use clap::Args;

use crate::cli::args::members::seconds;
use crate::cli::args::{AskArgs, KeyArgs, address};

/// The running peer of this user.
#[derive(Args)]
pub struct OwnPeerArgs {
    /// The running peer [default: found at the index server, by your key]
    #[arg(long, value_name = "IP:PORT", value_parser = address)]
    pub peer: Option<SocketAddr>,
    #[command(flatten)]
    pub key: KeyArgs,
    #[command(flatten)]
    pub ask: AskArgs,
}

#[derive(Args)]
pub struct LinkArgs {
    /// The file, by the name under which you share it, or b3:ROOT
    pub name: String,

    /// The time until the link expires: 90s, 15m, 24h or 30d
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = lasts)]
    pub lasts: u32,

    /// The host of the URL, or host and port, where the index server sees another address; a host
    /// name needs --host-name at the peer
    #[arg(long, value_name = "HOST[:PORT]", value_parser = host)]
    pub host: Option<String>,

    #[command(flatten)]
    pub own: OwnPeerArgs,
}

#[derive(Args)]
pub struct LinksArgs {
    #[command(flatten)]
    pub own: OwnPeerArgs,
}

#[derive(Args)]
pub struct UnlinkArgs {
    /// The number of the link, as `cardume links` shows it
    #[arg(value_name = "LINK", value_parser = link)]
    pub link: LinkId,
    #[command(flatten)]
    pub own: OwnPeerArgs,
}

fn link(text: &str) -> Result<LinkId, String> {
    LinkId::parse(text).ok_or_else(|| "a link has a number of 8 hex digits".to_owned())
}

/// A host without or with a port; an IPv6 address gets its brackets.
fn host(text: &str) -> Result<String, String> {
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok(format!("[{text}]"));
    }
    let wrong = || "a host is like 203.0.113.9, nas.example or nas.example:8443".to_owned();
    let host = HostAuthority::parse(text).ok_or_else(wrong)?;
    // A zone has a meaning on this machine alone.
    if text.contains('%') || text.ends_with(':') { Err(wrong()) } else { Ok(host.text.to_owned()) }
}

/// The life of a link.
fn lasts(text: &str) -> Result<u32, String> {
    u32::try_from(seconds(text)?).map_err(|_| "a link lasts at most 49710d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_lasts_as_long_as_its_ticket_can_say() {
        for (text, seconds) in [("1s", 1), ("1h", 3_600), ("4294967295s", u32::MAX)] {
            assert_eq!(lasts(text), Ok(seconds), "{text}");
        }
        for text in ["0s", "1", "4294967296s", "49711d"] {
            assert!(lasts(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_host_has_an_optional_port() {
        for (text, read) in [
            ("203.0.113.9", "203.0.113.9"),
            ("nas.example:8443", "nas.example:8443"),
            ("2001:db8::1", "[2001:db8::1]"),
            ("[2001:db8::1]:1", "[2001:db8::1]:1"),
        ] {
            assert_eq!(host(text).as_deref(), Ok(read));
        }
        for text in ["", "a b", "https://nas", "nas/x", "nas:", "nas:x", "[fe80::1%eth0]", "a@b"] {
            assert!(host(text).is_err(), "{text}");
        }
    }
}
