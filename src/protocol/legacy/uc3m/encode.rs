//! Encode the responses of an index in a UC3M protocol.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::limits;
use crate::protocol::legacy::uc3m::profile::{Lists, Profile};
use crate::protocol::response::Response;
use crate::protocol::types::account::{Online, Publication};

/// Widths of fixed fields with their NUL: a name or description, an IPv4 address, a port.
const WIDE: usize = limits::FIELD_BYTES;
const ADDRESS: usize = 16;
const PORT: usize = 6;

/// Write a response; `false`, without output, for a response without a form in these protocols.
pub fn reply(profile: Profile, reply: &Response, out: &mut Vec<u8>) -> bool {
    match reply {
        Response::Done(_) => profile.status(0, out),
        Response::Users { users, .. } => write_users(profile, users, out),
        Response::Content { files, .. } => write_content(profile, files, out),
        Response::User(online) => {
            let Some((address, port)) = place(online.peer) else { return false };
            profile.status(0, out);
            string(&address.to_string(), out);
            string(&port.to_string(), out);
        }
        _ => return false,
    }
    true
}

/// Write a string and its NUL.
pub fn string(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

fn write_users(profile: Profile, users: &[Online], out: &mut Vec<u8>) {
    // IPv4 only: these protocols have no other form of address.
    let reachable = || {
        users
            .iter()
            .filter_map(|online| place(online.peer).map(|place| (&online.user, place)))
            .take(profile.max_entries())
    };
    begin(profile, reachable().count(), out);
    for (user, (address, port)) in reachable() {
        field(profile, user, WIDE, out);
        field(profile, &address.to_string(), ADDRESS, out);
        field(profile, &port.to_string(), PORT, out);
    }
}

fn write_content(profile: Profile, files: &[Publication], out: &mut Vec<u8>) {
    let files = &files[..files.len().min(profile.max_entries())];
    begin(profile, files.len(), out);
    for publication in files {
        field(profile, &publication.file, WIDE, out);
        if profile.lists != (Lists::Strings { described: false }) {
            field(profile, &publication.description, WIDE, out);
        }
    }
}

/// Write the status and the length of a list.
fn begin(profile: Profile, count: usize, out: &mut Vec<u8>) {
    profile.status(0, out);
    match profile.lists {
        Lists::Strings { .. } => string(&count.to_string(), out),
        Lists::Fixed => out.extend_from_slice(format!("{count:04}").as_bytes()),
    }
}

fn field(profile: Profile, text: &str, width: usize, out: &mut Vec<u8>) {
    match profile.lists {
        Lists::Strings { .. } => string(text, out),
        Lists::Fixed => {
            let end = out.len() + width;
            out.extend(text.bytes().take(width - 1));
            out.resize(end, 0);
        }
    }
}

/// The IPv4 address of a peer; `None` for IPv6 addresses.
fn place(peer: Option<SocketAddr>) -> Option<(Ipv4Addr, u16)> {
    let peer = peer?;
    match peer.ip().to_canonical() {
        IpAddr::V4(address) => Some((address, peer.port())),
        IpAddr::V6(_) => None,
    }
}
