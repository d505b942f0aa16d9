//! The command lines of `cardume server` and `cardume rpc-log`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use cardume::limits;
use cardume::protocol::types::address_range::AddressRange;
use cardume::protocol::types::file_name::printable;
use cardume::protocol::types::legacy_profile::LegacyProfile;
use cardume::protocol::types::member::with_port;
#[cfg(feature = "store")]
use clap::Subcommand;
use clap::{Args, ValueEnum};

use crate::cli::args;
use crate::cli::args::host::HostArgs;
use crate::cli::args::legacy;
use crate::cli::args::log::LogArgs;

/// The least memory of an index: empty tables take half a megabyte.
const LEAST_MEMORY: u64 = 4 << 20;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ServerArgs {
    /// A command for the accounts, instead of running the server.
    #[cfg(feature = "store")]
    #[command(subcommand)]
    pub verb: Option<ServerVerb>,
    /// Listen on this address; repeat for more [default: 127.0.0.1:1099; on a terminal, a prompt]
    #[arg(long, value_name = "IP:PORT", value_parser = args::address)]
    pub listen: Vec<SocketAddr>,
    /// The folder of accounts and publications, for all addresses; `none`: in memory only [default:
    /// cardume/server below the user's state folder; for port 0, none]
    #[arg(long, value_name = "DIR")]
    pub data: Option<String>,
    #[command(flatten)]
    pub access: AccessArgs,
    /// Serve the UC3M protocol on this port, in this edition: 2020, 2020-int, 2024, 2024-plain,
    /// 2025 or fixed (the default); repeat for more
    #[arg(long, value_name = "[IP:]PORT[:PROFILE]", value_parser = legacy::uc3m)]
    pub uc3m: Vec<(SocketAddr, LegacyProfile)>,
    #[command(flatten)]
    pub legacy: LegacyServerArgs,
    /// Serve the ufabc-json protocol on the usual ports
    #[arg(long, alias = "seed001")]
    pub ufabc_json: bool,
    /// Serve the ufabc-json protocol, and list the folders that peers name, below this folder
    #[arg(long, alias = "seed001-root", value_name = "DIR")]
    pub ufabc_json_root: Option<String>,
    /// Serve UC3M's date service on this port, besides the usual ports; repeat for more
    #[arg(long, value_name = "[IP:]PORT", value_parser = legacy::port)]
    pub soap: Vec<SocketAddr>,
    /// The heartbeat interval in seconds; a peer that is silent for 2.5 intervals is removed
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub heartbeat: u64,

    /// The memory limit of the index: 512MiB, 2GiB; further files are refused [default: half the
    /// memory of this machine or container]
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub memory: Option<u64>,

    /// Which hosts may read the metrics, by `cardume status` and at /metrics
    #[arg(long, value_enum, default_value = "local")]
    pub metrics: Metrics,

    #[command(flatten)]
    pub process: ProcessArgs,

    /// Addresses that peers may advertise besides their own; repeat for more
    #[arg(long, value_name = "IP/BITS", value_parser = range)]
    pub allow_advertise: Vec<AddressRange>,

    /// Report every user operation to this log server; without a port, rpcbind there gives the port
    #[arg(long, value_name = "HOST[:PORT]")]
    pub rpc_log: Option<String>,
}

// The names and the log of a server.
#[derive(Args)]
pub struct ProcessArgs {
    #[command(flatten)]
    pub hosts: HostArgs,
    #[command(flatten)]
    pub log: LogArgs,
}

// Legacy protocols without users.
#[derive(Args)]
pub struct LegacyServerArgs {
    /// Serve the rede-p2p protocol on this port
    #[arg(long, value_name = "[IP:]PORT", value_parser = legacy::port)]
    pub rede: Option<SocketAddr>,
    /// Serve the index of music-udp on this port
    #[arg(long, value_name = "[IP:]PORT", value_parser = legacy::port)]
    pub music: Option<SocketAddr>,
    /// Serve programs of napster-ufabc on the usual ports
    #[arg(long)]
    pub napster: bool,
}

// The engine of an index that several servers share.
#[derive(Args)]
pub struct EngineArgs {
    /// Share one index with other servers, in this Redis or Valkey cluster; needs --open
    #[arg(
        long,
        value_name = "redis://HOST:PORT[,...]",
        env = "CARDUME_INDEX",
        hide_env_values = true,
        conflicts_with = "index_file"
    )]
    pub index: Option<String>,
    /// A file with the URL of --index, so that a password is not on a command line
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub index_file: Option<String>,
    /// The certificates of the authorities that sign the nodes' certificates, in PEM, for
    /// rediss://HOST:PORT [default: those of the system]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub index_ca: Option<PathBuf>,
    /// Keep the accounts of --index on another engine
    #[arg(
        long,
        value_name = "redis://HOST:PORT[,...]",
        env = "CARDUME_ACCOUNTS",
        hide_env_values = true,
        conflicts_with = "accounts_file"
    )]
    pub accounts_engine: Option<String>,
    /// A file with the URL of --accounts-engine
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub accounts_file: Option<String>,
    /// The start of all keys in the engine; servers of one index have the same
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub index_prefix: String,
}

// Who may use a server, and what invites say of it.
#[derive(Args)]
pub struct AccessArgs {
    /// Whether peers may join without an account
    #[arg(long, value_enum, default_value = "optional")]
    pub accounts: Policy,
    /// Let everyone who reaches the server search, share and fetch without encryption
    #[arg(long)]
    pub open: bool,
    /// Treat programs of the same user on this machine as strangers; by default they are
    /// administrators and need no encryption
    #[arg(long)]
    pub no_local: bool,
    /// A certificate for browsers, with its chain, in PEM: its names get it, all others the key of
    /// the server. Read again when the files change
    #[arg(long, value_name = "FILE", requires = "tls_key", value_hint = clap::ValueHint::FilePath)]
    pub tls_cert: Option<std::path::PathBuf>,
    /// The secret key of --tls-cert in PEM: RSA, ECDSA or Ed25519, without a passphrase
    #[arg(long, value_name = "FILE", requires = "tls_cert", value_hint = clap::ValueHint::FilePath)]
    pub tls_key: Option<std::path::PathBuf>,
    /// The name of the server, for people
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true, value_parser = server_name)]
    pub name: String,
    /// The most rows of the audit log; the first rows beyond are removed
    #[arg(long, value_name = "N", default_value = "100000", value_parser = clap::value_parser!(u64).range(100..=100_000_000))]
    pub audit_rows: u64,
    /// Remove rows of the audit log after so many days; each day counts while the server runs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=36_500))]
    pub audit_days: Option<u64>,
    /// An address of the server in invites [default: those of --listen]; repeat for more
    #[arg(long, value_name = "HOST[:PORT]", value_parser = public_address)]
    pub public: Vec<String>,
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// The readers of a process's metrics.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Metrics {
    /// Programs on this machine
    Local,
    /// Programs on any machine
    Open,
}

#[derive(Args)]
pub struct RpcLogArgs {
    /// Listen on this address; port 0 selects a free port
    #[arg(long, value_name = "IP:PORT", value_parser = args::address, default_value = "127.0.0.1:6111")]
    pub listen: SocketAddr,
}

/// Commands for the accounts of a server.
#[cfg(feature = "store")]
#[derive(Subcommand)]
pub enum ServerVerb {
    /// Export the server's accounts to a folder of CSV files; the server may be running
    #[command(after_long_help = "\
Examples:
  cardume server export ~/accounts
  cardume server export --data /var/lib/cardume ~/accounts

users.csv has a user per line, connected.csv user;ip;port;wire, and files/USER.csv
file;description.")]
    Export(FolderArgs),

    /// Import accounts from such a folder into the server's; the server must be stopped
    #[command(after_long_help = "\
Examples:
  cardume server import ~/accounts
  cardume server import --data /var/lib/cardume ~/accounts

Existing users keep their entries, and receive the new entries. If any line is
invalid, nothing is imported.")]
    Import(FolderArgs),

    /// Copy the accounts, the members and the keys into a new folder; the server may be running
    #[command(after_long_help = "\
Examples:
  cardume server backup /srv/backup/today
  cardume server backup --data /var/lib/cardume/server /srv/backup/today

The copy is that of one moment, checked as a whole, and readable for this user alone. It has
the secret key of the server: keep it as safe as the server.")]
    Backup(BackupArgs),

    /// Restore such a copy into a folder without accounts; the server must be stopped
    #[command(after_long_help = "\
Examples:
  cardume server restore /srv/backup/today
  cardume server restore --data /var/lib/cardume/server /srv/backup/today

An existing store is never replaced: move its folder away first.")]
    Restore(BackupArgs),

    /// Make an invite for an administrator, as the holder of the data folder; the server must be
    /// stopped
    #[command(after_long_help = "\
Examples:
  cardume server invite 192.168.1.7
  cardume server invite --data /var/lib/cardume video.example.org

The invite admits one administrator within a day. While the server runs, an
administrator makes invites by cardume invite.")]
    Invite(UrlArgs),

    /// Announce the next key of the server, which takes over after 30 days; the server may be
    /// running
    #[command(after_long_help = "\
Examples:
  cardume server rotate-key
  cardume server rotate-key --finish

Peers and clients that connect within the 30 days learn the next key and follow.
Others must join again with --replace. Existing invites are good until the change;
new invites are good before and after.")]
    RotateKey(RotateKeyArgs),

    /// Print the URL of the server with its public key, for --server; connections by this URL are
    /// encrypted
    #[command(after_long_help = "\
Examples:
  cardume server url 192.168.1.7
  cardume get aula1.mp4 --server \"$(cardume server url 192.168.1.7)\"

The URL is no secret.")]
    Url(UrlArgs),
}

#[cfg(feature = "store")]
#[derive(Args)]
pub struct RotateKeyArgs {
    /// Let the announced key take over now; clients that have not learned it must join again
    #[arg(long)]
    pub finish: bool,

    /// For a stolen key: let the next key take over now, announced or not
    #[arg(long, conflicts_with = "finish")]
    pub now: bool,

    /// The server's account folder [default: cardume/server below the user's state folder]
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub data: Option<std::path::PathBuf>,
}

#[cfg(feature = "store")]
#[derive(Args)]
pub struct UrlArgs {
    /// The addresses of the server, as clients reach it
    #[arg(value_name = "HOST[:PORT]", default_value = args::DEFAULT_SERVER)]
    pub addresses: Vec<String>,

    /// The server's account folder [default: cardume/server below the user's state folder]
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub data: Option<std::path::PathBuf>,
}

#[cfg(feature = "store")]
#[derive(Args)]
pub struct BackupArgs {
    /// The folder of the copy
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub folder: std::path::PathBuf,

    /// The server's account folder [default: cardume/server below the user's state folder]
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub data: Option<std::path::PathBuf>,
}

#[cfg(feature = "store")]
#[derive(Args)]
pub struct FolderArgs {
    /// The folder of CSV files
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub folder: std::path::PathBuf,

    /// The server's account folder [default: cardume/server below the user's state folder]
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub data: Option<std::path::PathBuf>,

    /// The listen address of an earlier server version, which named the data folder after this
    /// address
    #[arg(long, value_name = "IP:PORT", value_parser = args::address, conflicts_with = "data")]
    pub listen: Option<SocketAddr>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    /// Peers may join without an account
    Optional,
    /// Every peer needs an account
    Required,
}

/// The name of a server.
fn server_name(text: &str) -> Result<String, String> {
    if text.len() <= limits::SERVER_NAME_BYTES && printable(text) == text && text.trim() == text {
        Ok(text.to_owned())
    } else {
        Err("a name is a line of at most 64 bytes".to_owned())
    }
}

/// An address, with the default port if it has none.
fn public_address(text: &str) -> Result<String, String> {
    with_port(text)
        .ok_or_else(|| "an address is like video.example.org or 192.168.1.9:1099".to_owned())
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

/// `IP/BITS`, or `IP` for a single address.
fn range(text: &str) -> Result<AddressRange, String> {
    let wrong = || "a range is like 192.168.0.0/16".to_owned();
    let (ip, bits) = text.split_once('/').map_or((text, None), |(ip, bits)| (ip, Some(bits)));
    let address: IpAddr = ip.parse().map_err(|_| wrong())?;
    let bits = bits.map(str::parse).transpose().map_err(|_| wrong())?;
    bits.map_or(Some(address.into()), |bits| AddressRange::covering(address, bits))
        .ok_or_else(wrong)
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
