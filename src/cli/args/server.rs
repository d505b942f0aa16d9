//! The command lines of `cardume server` and `cardume rpc-log`.

use std::net::{IpAddr, SocketAddr};

use cardume::protocol::types::legacy_profile::LegacyProfile;
use cardume::server::Range;
#[cfg(feature = "store")]
use clap::Subcommand;
use clap::{Args, ValueEnum};

use crate::cli::args;
use crate::cli::args::host::HostArgs;
use crate::cli::args::legacy;

/// The least memory of an index: its empty tables take half a megabyte.
const LEAST_MEMORY: u64 = 4 << 20;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ServerArgs {
    /// What to do with its accounts, in the place of running it.
    #[cfg(feature = "store")]
    #[command(subcommand)]
    pub verb: Option<ServerVerb>,
    /// Where to listen; repeat for more [default: 127.0.0.1:1099; on a terminal it is asked for]
    #[arg(long, value_name = "IP:PORT", value_parser = args::address)]
    pub listen: Vec<SocketAddr>,
    /// Where accounts and publications are kept, whatever the addresses; `none`: in memory alone
    /// [default: cardume/server below the user's state folder; for port 0, none]
    #[arg(long, value_name = "DIR")]
    pub data: Option<String>,
    /// Whether peers may join without an account
    #[arg(long, value_enum, default_value = "optional")]
    pub accounts: Policy,
    /// Speak UC3M on this port, in this edition: 2020, 2024, 2024-plain, 2025 or fixed, which is
    /// the default; repeat for more
    #[arg(long, value_name = "[IP:]PORT[:PROFILE]", value_parser = legacy::uc3m)]
    pub uc3m: Vec<(SocketAddr, LegacyProfile)>,
    /// Speak rede-p2p's words on this port
    #[arg(long, value_name = "[IP:]PORT", value_parser = legacy::port)]
    pub rede: Option<SocketAddr>,
    /// Take JSON of ufabc-json on the usual ports
    #[arg(long, alias = "seed001")]
    pub ufabc_json: bool,
    /// Take JSON of ufabc-json, and list the folders that its peers name below this one
    #[arg(long, alias = "seed001-root", value_name = "DIR")]
    pub ufabc_json_root: Option<String>,
    /// Answer UC3M's date service on this port as well; the usual ports do so anyway
    #[arg(long, value_name = "[IP:]PORT", value_parser = legacy::port)]
    pub soap: Option<SocketAddr>,
    /// How often, in seconds, each peer must be heard; one that is silent for 2.5 times as long is
    /// out
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub heartbeat: u64,

    /// How much memory the index may take: 512MiB, 2GiB; files beyond it are refused [default: half
    /// of what this machine or its container has]
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub memory: Option<u64>,

    /// Who is told its figures, by `cardume status` and at /metrics
    #[arg(long, value_enum, default_value = "local")]
    pub metrics: Metrics,

    #[command(flatten)]
    pub hosts: HostArgs,

    /// Addresses that peers may advertise besides their own; repeat for more
    #[arg(long, value_name = "IP/BITS", value_parser = range)]
    pub allow_advertise: Vec<Range>,

    /// Tell this log server every operation of a user; without a port, rpcbind there is asked for
    /// it
    #[arg(long, value_name = "HOST[:PORT]")]
    pub rpc_log: Option<String>,
}

/// Who is told the figures of a process.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Metrics {
    /// Programs on this machine
    Local,
    /// Everybody
    Open,
}

#[derive(Args)]
pub struct RpcLogArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT", value_parser = args::address, default_value = "127.0.0.1:6111")]
    pub listen: SocketAddr,
}

/// What is done with the accounts of a server besides running it.
#[cfg(feature = "store")]
#[derive(Subcommand)]
pub enum ServerVerb {
    /// Write its accounts into a folder as CSV files; it may run meanwhile
    #[command(after_long_help = "\
Examples:
  cardume server export ~/accounts
  cardume server export --data /var/lib/cardume ~/accounts

users.csv has a user a line, connected.csv user;ip;port;wire, and files/USER.csv
file;description.")]
    Export(FolderArgs),

    /// Add the accounts of such a folder to its own; it may not run meanwhile
    #[command(after_long_help = "\
Examples:
  cardume server import ~/accounts
  cardume server import --data /var/lib/cardume ~/accounts

Users who are there already keep what they have, and get what is new. If one
line can't be used, nothing is imported.")]
    Import(FolderArgs),
}

#[cfg(feature = "store")]
#[derive(Args)]
pub struct FolderArgs {
    /// The folder of CSV files
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub folder: std::path::PathBuf,

    /// Where the server keeps its accounts [default: cardume/server below the user's state folder]
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub data: Option<std::path::PathBuf>,

    /// Where a server of an earlier version listened, by which its own folder was called
    #[arg(long, value_name = "IP:PORT", value_parser = args::address, conflicts_with = "data")]
    pub listen: Option<SocketAddr>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    /// They may
    Optional,
    /// They may not
    Required,
}

/// The memory of an index.
fn memory(text: &str) -> Result<u64, String> {
    let size = text
        .parse::<bytesize::ByteSize>()
        .map_err(|_| "a size is like 512MiB or 2GiB".to_owned())?
        .as_u64();
    let least = LEAST_MEMORY;
    if size < least { Err(format!("an index needs at least {}MiB", least >> 20)) } else { Ok(size) }
}

/// `IP/BITS` or one `IP`.
fn range(text: &str) -> Result<Range, String> {
    let wrong = || "a range is like 192.168.0.0/16".to_owned();
    let (ip, bits) = text.split_once('/').map_or((text, None), |(ip, bits)| (ip, Some(bits)));
    let address: IpAddr = ip.parse().map_err(|_| wrong())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Ok(most), str::parse).map_err(|_| wrong())?;
    if bits > most { Err(wrong()) } else { Ok(Range { address, bits }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_an_index_has_a_minimum() {
        assert_eq!((memory("512MiB"), memory("2GB")), (Ok(512 << 20), Ok(2_000_000_000)));
        assert!(["", "0", "1", "1MiB", "-1", "x"].iter().all(|text| memory(text).is_err()));
    }

    #[test]
    fn a_range_is_an_ip_with_or_without_bits() {
        assert!(range("10.0.0.0/8").is_ok() && range("::1").is_ok());
        assert!(range("10.0.0.0/33").is_err() && range("x/8").is_err());
    }
}
