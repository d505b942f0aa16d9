//! The command line, as data: every flag, its default and its words. Completions and man pages come
//! from the same definitions.

#[cfg(feature = "loadgen")]
pub mod bench;
pub mod host;
pub mod legacy;
pub mod ls;
pub mod play;
pub mod search;
pub mod server;
pub mod status;
pub mod transport;
pub mod watch;

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};

use cardume::client::command::PeerTarget;
use cardume::client::console::ConsoleProfile;
use cardume::os::fs::part_file::Allocate;
use cardume::os::net::address;
use cardume::os::system;
use cardume::protocol::types::legacy_profile::{LegacyProfile, PROFILES};
use cardume::ui::lang::Lang;
use clap::{Args, Parser, Subcommand, ValueEnum};

#[cfg(feature = "loadgen")]
use crate::cli::args::bench::BenchArgs;
use crate::cli::args::host::HostArgs;
use crate::cli::args::ls::LsArgs;
use crate::cli::args::play::PlayArgs;
use crate::cli::args::search::SearchArgs;
use crate::cli::args::server::{Metrics, RpcLogArgs, ServerArgs};
use crate::cli::args::status::StatusArgs;
use crate::cli::args::transport::TransportArgs;
use crate::cli::args::watch::WatchArgs;

/// The default of `--server`.
pub const DEFAULT_SERVER: &str = "127.0.0.1:1099";

const EXIT_CODES: &str = "Exit codes:
  0    done (also: the same file is already there)
  1    a fault of ours
  2    wrong usage
  3    not found
  4    refused
  5    server or source unreachable
  6    verification failed
  7    local disk or address: missing folder, full disk, busy port,
       destination holds another file, output that cannot be written
  8    the other side does not speak the protocol
  130  interrupted; run it again to resume
  141  nobody reads the output any more (as in `cardume watch aula | head -1`)";

/// A Napster for giant files: a tiny index knows who has what, peers hand it over.
#[derive(Parser)]
#[command(name = "cardume", version, max_term_width = 100, after_help = EXIT_CODES, after_long_help = format!("\
Examples:
  cardume server
  cardume peer --listen 127.0.0.1:4000 --folder ~/Videos
  cardume search aula1.mp4
  cardume get aula1.mp4 --folder ~/Downloads

{EXIT_CODES}"))]
pub struct Cli {
    /// Language of help, prompts and errors; fixed lines of the specification stay Portuguese
    /// [default: as LC_ALL, LC_MESSAGES or LANG says, else pt]
    #[arg(long, global = true, value_enum, env = "CARDUME_LANG")]
    lang: Option<LanguageArg>,

    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Clone, Copy, ValueEnum)]
enum LanguageArg {
    Pt,
    Es,
    En,
}

impl LanguageArg {
    fn lang(self) -> Lang {
        match self {
            LanguageArg::Pt => Lang::Pt,
            LanguageArg::Es => Lang::Es,
            LanguageArg::En => Lang::En,
        }
    }
}

impl Cli {
    /// The language of all texts for people.
    pub fn lang(&self) -> Lang {
        self.lang.map_or_else(|| Lang::of_locale(&system::locale()), LanguageArg::lang)
    }

    /// True for commands whose only purpose is their output.
    pub fn is_one_shot(&self) -> bool {
        !matches!(self.verb, Verb::Server(_) | Verb::Peer(_) | Verb::RpcLog(_))
    }
}

/// The language of help and errors, found before the arguments are parsed, because a parse error is
/// in that language as well.
pub fn lang_of(words: &[OsString]) -> Lang {
    let mut words = words.iter().map(|word| word.to_string_lossy()).take_while(|word| word != "--");
    let flag = words.find(|word| word == "--lang" || word.starts_with("--lang="));
    let said = flag.and_then(|flag| {
        flag.strip_prefix("--lang=").map(str::to_owned).or_else(|| words.next().map(Into::into))
    });
    let named = |word: String| Some(LanguageArg::from_str(&word, false).ok()?.lang());
    said.and_then(named)
        .or_else(|| named(std::env::var("CARDUME_LANG").ok()?))
        .unwrap_or_else(|| Lang::of_locale(&system::locale()))
}

/// What to do.
#[derive(Subcommand)]
pub enum Verb {
    /// Run the index: it knows who has which file, and holds no byte of any
    #[command(after_long_help = "\
Examples:
  cardume server                              listens on 127.0.0.1:1099
  cardume server --listen 0.0.0.0:1099        for the whole network
  cardume server --listen '[::]:1099'         IPv6 and IPv4
  cardume server --uc3m 5000:2024 --uc3m 5001:2025 --rede 9450 --ufabc-json
                                              old programs may come as well, from this machine alone
  RUST_LOG=info cardume server                says who comes and goes, on stderr
The old wires know no passwords: whoever reaches them can act for any of their users. So they are off unless asked for, and
bound to loopback unless an address is given.")]
    Server(ServerArgs),

    /// Share a folder, search and download
    #[command(after_long_help = "\
Examples:
  cardume peer                                a menu: JOIN, SEARCH, DOWNLOAD
  cardume peer --listen 127.0.0.1:4000 --folder ~/Videos
  cardume peer --server 192.168.1.9:1099 --listen 0.0.0.0:4000 --folder ~/Videos
  cardume peer --listen 127.0.0.1:4000 --folder . --accept ask --upload-limit 20MB
  cardume peer --listen 127.0.0.1:4000 --manifest meus_arquivos.txt
  cardume peer --listen 127.0.0.1:4000 --folder . -r --exclude 'tmp/' --exclude '*.iso'
  cardume peer --listen 0.0.0.0:4000 --udp 4000 --folder ~/Videos
                                              over UDP (QUIC) as well
  cardume peer --console uc3m                 UC3M's commands, in a folder to share
  cardume peer --console rede                 peers, ls, get
  printf 'GET aula1.mp4\\nQUIT\\n' | cardume peer --listen 127.0.0.1:4001 --folder /tmp/x

A shared file is also at http://IP:PORT/files/NAME for curl, browsers and players.

Never shared, whatever it is called: secret keys (of cardume, PEM, OpenSSH, PGP, PuTTY, age), accounts and hashes of
cardume, downloads under way, hidden files, links. Excluded unless .cardumeignore or --exclude says '!NAME':
lost+found/ $RECYCLE.BIN/ 'System Volume Information/' Thumbs.db desktop.ini *.crdownload *.sqlite-shm
`cardume ls --skipped --folder DIR` lists what is not shared, and why.")]
    Peer(Box<PeerArgs>),

    /// Say who has a file
    #[command(after_long_help = "\
Examples:
  cardume search aula1.mp4
  cardume search aula1.mp4 --json | head -1
  cardume search --contains 'lesson aula -old'    in names and descriptions, whatever the case and the accents
  cardume search --like 'algbra liner'        with typing errors; the best come first
  cardume search --contains matrix --ext mkv,mp4 --size 700M..4G --sort -size --limit 20
  cardume search --owner ana --hashed --complete
  CARDUME_SERVER=192.168.1.9:1099 cardume search aula1.mp4")]
    Search(Box<SearchArgs>),

    /// Download a file; run it again to resume
    #[command(after_long_help = "\
Examples:
  cardume get aula1.mp4
  cardume get aula1.mp4 --folder ~/Downloads
  cardume get aula1.mp4 --from 127.0.0.1:4000     asks no server
  cardume get aula1.mp4 --from rede@127.0.0.2:5455    an old program, whose bytes nothing proves
  cardume get aula1.mp4 --hash 5dd8…f00d          only if this is its content
  cardume get b3:5dd8…f00d                        this content, whatever its name
  cardume get Cursos/aula1.mp4 --folder ~/Videos  becomes ~/Videos/Cursos/aula1.mp4
  cardume get aula1.mp4 -o lesson.mp4
  cardume get aula1.mp4 -o - | mpv -
  cardume get aula1.mp4 --transport quic          over UDP, from peers with --udp
  cardume get aula1.mp4 --wait                    until somebody has it")]
    Get(Box<GetArgs>),

    /// Watch a file, or hear it, while it arrives; it is kept
    #[command(after_long_help = "\
Examples:
  cardume play aula1.mp4                          in mpv or VLC
  cardume play song.flac --player vlc --folder ~/Music
  cardume play aula1.mp4 --player none            prints a URL for any player

What the player wants comes first: both ends of the file, the place that it is
at, what lies ahead of that, and then the rest. No byte is played before its
piece is verified. When the player ends, the download goes on to its end.")]
    Play(PlayArgs),

    /// List the peers that are there
    #[command(after_long_help = "Example:\n  cardume peers --json")]
    Peers(AskArgs),

    /// List what a peer shares
    #[command(
        after_long_help = "Examples:\n  cardume ls 127.0.0.1:4000\n  cardume ls rede@127.0.0.2:5455\n  cardume ls --skipped --folder ~/Videos -r    what a peer would not share, and why"
    )]
    Ls(LsArgs),

    /// Take a user name; the key made at its first use is all that can use it
    #[command(after_long_help = "Example:\n  cardume register ana")]
    Register(NameArgs),
    /// Give a user name back, and all that was published under it
    #[command(after_long_help = "Example:\n  cardume unregister ana")]
    Unregister(NameArgs),
    /// Publish a file under a user's name: that lasts while he is away
    #[command(
        after_long_help = "Example:\n  cardume publish --user ana aula1.mp4 'the first lesson'"
    )]
    Publish(PublishArgs),
    /// Take back what was published
    #[command(after_long_help = "Example:\n  cardume delete --user ana aula1.mp4")]
    Delete(DeleteArgs),
    /// Tell what comes and what goes, until Ctrl-C
    #[command(after_long_help = "\
Examples:
  cardume watch 'aula -rascunho'
  cardume watch --exact aula1.mp4 --json
Each line is + or -, the peer, the size and the name; what is there already comes first.")]
    Watch(WatchArgs),
    /// Show how an index server or a peer is, in figures
    #[command(after_long_help = "\
Examples:
  cardume status
  cardume status --memory                     what the index uses, by part
  cardume status --peer 192.168.1.9:6000
  curl http://127.0.0.1:1099/metrics          the same for Prometheus")]
    Status(StatusArgs),
    /// List the users who are there
    #[command(after_long_help = "Example:\n  cardume users --json")]
    Users(AskArgs),
    /// List what a user has published
    #[command(after_long_help = "Example:\n  cardume content ana")]
    Content(ContentArgs),
    /// Print the BLAKE3 roots of files, as b3sum does
    #[command(after_long_help = "\
Examples:
  cardume hash aula1.mp4
  cardume hash *.mp4 > SUMS                   b3sum --check SUMS reads it
  cardume hash --json aula1.mp4
  cardume get aula1.mp4 -o - | cardume hash -")]
    Hash(HashArgs),

    /// Check files against the index, as b3sum --check does against a list
    #[command(after_long_help = "\
Examples:
  cardume verify ~/Videos
  cardume verify -r ~/Videos                  subfolders as well
  cardume verify aula1.mp4 aula2.mp4
  cardume verify aula1.mp4 --hash 5dd8…f00d   asks no server
  cardume verify --json ~/Videos | jq -r 'select(.state == \"failed\").name'

Each file is read to its end. OK: somebody shares this content by this name;
FAILED: by this name there are only others; unknown: nobody has the name, or
none of them has hashed it yet. Exit code 6 if any failed, 7 if any could not
be read, 3 if any is unknown.")]
    Verify(VerifyArgs),

    /// Print what the users of an index do, one line an operation, as an index server with
    /// --rpc-log tells it
    #[command(after_long_help = "\
Examples:
  cardume rpc-log                             listens on 127.0.0.1:6111
  cardume rpc-log --listen 0.0.0.0:6111 >> operations.log
  cardume server --rpc-log 127.0.0.1:6111

ONC RPC over TCP, program 1, version 1. Where rpcbind runs on this machine it is
told the port, and --rpc-log 127.0.0.1 is enough.")]
    RpcLog(RpcLogArgs),

    /// Put load on a server, or on a Redis: many peers in one process, rates and times of answers
    #[cfg(feature = "loadgen")]
    #[command(alias = "swarm", after_long_help = bench::EXAMPLES)]
    Bench(BenchArgs),

    /// Print the completions of a shell
    #[command(
        after_long_help = "Example:\n  cardume completions bash > ~/.local/share/bash-completion/completions/cardume"
    )]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },

    /// Print a man page
    #[command(
        after_long_help = "Examples:\n  cardume man | man -l -\n  cardume man get | man -l -"
    )]
    Man {
        /// Of which command; without one, of the program
        command: Option<String>,
    },
}

impl Verb {
    /// True for commands that only print: they end when the reader of stdout has gone. A download,
    /// or a change at a server, continues.
    pub fn is_for_its_output(&self) -> bool {
        use Verb::{Content, Hash, Ls, Peers, RpcLog, Search, Status, Users, Verify, Watch};
        #[cfg(feature = "loadgen")]
        if matches!(self, Verb::Bench(_)) {
            return true;
        }
        matches!(
            self,
            Content(_)
                | Hash(_)
                | Ls(_)
                | Peers(_)
                | RpcLog(_)
                | Search(_)
                | Status(_)
                | Users(_)
                | Verify(_)
                | Watch(_)
        )
    }
}

/// Which server, and how to print.
#[derive(Args)]
pub struct AskArgs {
    /// The index server
    #[arg(long, value_name = "HOST:PORT", env = "CARDUME_SERVER", default_value = DEFAULT_SERVER)]
    pub server: String,

    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Where the key of whoever runs this is.
#[derive(Args)]
pub struct KeyArgs {
    /// The file with the secret key, made when it is first needed [default: cardume/key below the
    /// user's state folder]
    #[arg(long, value_name = "FILE", env = "CARDUME_KEY", hide_env_values = true)]
    pub key: Option<String>,
}

#[derive(Args)]
pub struct NameArgs {
    /// Which name
    #[arg(value_name = "USER")]
    pub user: String,
    #[command(flatten)]
    pub key: KeyArgs,
    #[command(flatten)]
    pub ask: AskArgs,
}

#[derive(Args)]
pub struct PublishArgs {
    /// The name of the file
    pub name: String,
    /// What is to be said of it, in one line
    #[arg(default_value = "")]
    pub description: String,
    /// Under whose name; it is registered if need be
    #[arg(long, value_name = "USER", env = "CARDUME_USER")]
    pub user: String,
    #[command(flatten)]
    pub key: KeyArgs,
    #[command(flatten)]
    pub ask: AskArgs,
}

#[derive(Args)]
pub struct DeleteArgs {
    /// The name of the file
    pub name: String,
    /// Whose it is
    #[arg(long, value_name = "USER", env = "CARDUME_USER")]
    pub user: String,
    #[command(flatten)]
    pub key: KeyArgs,
    #[command(flatten)]
    pub ask: AskArgs,
}

#[derive(Args)]
pub struct ContentArgs {
    /// Whose
    #[arg(value_name = "USER")]
    pub user: String,
    #[command(flatten)]
    pub ask: AskArgs,
}

#[derive(Args)]
pub struct PeerArgs {
    /// The index server
    #[arg(long, value_name = "HOST:PORT", env = "CARDUME_SERVER", default_value = DEFAULT_SERVER)]
    pub server: String,

    /// Where to answer others; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT", value_parser = address)]
    pub listen: Option<SocketAddr>,

    #[command(flatten)]
    pub share: ShareArgs,

    /// Whose commands and answers the console has: napster, rede, or uc3m in one of its editions,
    /// of which fixed is the default. At a console of uc3m, CONNECT says who you are, opens the
    /// port and shares the folder (the current one, if none is given)
    #[arg(long, value_name = "FAMILY[:PROFILE]", value_parser = legacy::family, default_value = "napster")]
    pub console: ConsoleProfile,

    #[command(flatten)]
    pub filter: FilterArgs,

    /// Whose peer this is; the name is registered if need be
    #[arg(long, value_name = "USER", env = "CARDUME_USER")]
    pub user: Option<String>,
    #[command(flatten)]
    pub key: KeyArgs,
    /// Whether others may download
    #[arg(long, value_enum, default_value = "always")]
    pub accept: AcceptArg,

    /// The address under which others find this peer, if it is not the one that the server sees
    #[arg(long, value_name = "IP[:PORT]", value_parser = advertise)]
    pub advertise: Option<(IpAddr, Option<u16>)>,

    #[command(flatten)]
    pub transfer: TransferArgs,

    #[command(flatten)]
    pub http: HttpArgs,

    #[command(flatten)]
    pub storage: StorageArgs,

    /// Answer by QUIC over UDP as well, on this port; the address is that of --listen, if none is
    /// given
    #[arg(long, value_name = "[IP:]PORT", value_parser = transport::udp_port, requires = "listen")]
    pub udp: Option<(Option<IpAddr>, u16)>,

    #[command(flatten)]
    pub legacy: LegacyPeerArgs,
    /// End with code 5 when there is no server, instead of trying again
    #[arg(long)]
    pub once: bool,
}

// What a peer shares.
#[derive(Args)]
pub struct ShareArgs {
    /// What to share, and where downloads go
    #[arg(long, value_name = "DIR")]
    pub folder: Option<String>,

    /// A file that names more to share, one `name path` a line, wherever it lies; without --folder
    /// nothing else is shared and downloads go to the current folder
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub manifest: Option<String>,
}

// Which files of a folder are shared.
#[derive(Args)]
pub struct FilterArgs {
    /// Share subfolders as well, under names such as Sub/aula1.mp4
    #[arg(short, long)]
    pub recursive: bool,

    /// Do not share what is called so: a pattern as in a .gitignore, such as '*.iso', '/drafts' or
    /// 'tmp/'; repeat for more. They come after those in the file .cardumeignore at the top of the
    /// folder, and the last that matches decides ('!' shares after all)
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,
}

// Limits of uploads and downloads.
#[derive(Args)]
pub struct TransferArgs {
    /// Bytes a second that go out, over all uploads
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub upload_limit: Option<u64>,

    /// Bytes a second that come in, over all downloads
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub download_limit: Option<u64>,

    /// Uploads at once; the rest wait and are told their place
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub uploads: Option<u32>,
}

// Access to metrics and by HTTP.
#[derive(Args)]
pub struct HttpArgs {
    /// Who is told its figures, by `cardume status` and at /metrics
    #[arg(long, value_enum, default_value = "local")]
    pub metrics: Metrics,

    #[command(flatten)]
    pub hosts: HostArgs,
}

// Downloads and hashes on the disk.
#[derive(Args)]
pub struct StorageArgs {
    /// Make room for a download before its first byte, or not
    #[arg(long, value_enum, default_value = "full")]
    pub allocate: AllocateArg,

    /// Where the hashes of files are kept, so that a restart hashes nothing twice [default: cardume
    /// below the user's cache folder]
    #[arg(long, value_name = "DIR", env = "CARDUME_CACHE", hide_env_values = true)]
    pub cache: Option<String>,

    /// Keep hashes in memory alone, whatever is said of a cache
    #[arg(long)]
    pub no_cache: bool,
}

// Ports of legacy protocols.
#[derive(Args)]
pub struct LegacyPeerArgs {
    /// Answer UC3M's GET_FILE on this port, in this edition: 2020, 2024, 2024-plain, 2025 or fixed,
    /// which is the default; repeat for more
    #[arg(long, value_name = "[IP:]PORT[:PROFILE]", value_parser = legacy::uc3m, requires = "listen")]
    pub uc3m: Vec<(SocketAddr, LegacyProfile)>,
    /// Answer rede-p2p's words on this port
    #[arg(long, value_name = "[IP:]PORT", value_parser = legacy::port, requires = "listen")]
    pub rede: Option<SocketAddr>,
    /// Answer ufabc-json's JSON on the usual port
    #[arg(long, alias = "seed001")]
    pub ufabc_json: bool,
}

impl PeerArgs {
    /// The limits of the transfer rates.
    pub fn speed(&self) -> cardume::reactor::event_loop::RateLimits {
        cardume::reactor::event_loop::RateLimits {
            upload: self.transfer.upload_limit,
            download: self.transfer.download_limit,
            max_connections: 0,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub enum AcceptArg {
    /// Everybody may
    Always,
    /// You are asked, once for each asker and file
    Ask,
    /// Nobody may
    Never,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum AllocateArg {
    /// All room first: a full disk shows at the start
    Full,
    /// A sparse file
    None,
}

impl AllocateArg {
    pub fn how(self) -> Allocate {
        match self {
            AllocateArg::Full => Allocate::Full,
            AllocateArg::None => Allocate::None,
        }
    }
}

#[derive(Args)]
pub struct HashArgs {
    /// Which files; `-` is stdin
    #[arg(value_name = "FILE", required = true, value_hint = clap::ValueHint::FilePath)]
    pub files: Vec<OsString>,

    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct VerifyArgs {
    /// Which files, or folders of them
    #[arg(value_name = "FILE|FOLDER", required = true, value_hint = clap::ValueHint::AnyPath)]
    pub files: Vec<String>,

    /// What the one file must be, whatever the index says: 64 hex digits, as `cardume hash` and
    /// `b3sum` print them
    #[arg(long, value_name = "ROOT")]
    pub hash: Option<String>,

    /// Check the files of subfolders as well, under names such as Sub/aula1.mp4
    #[arg(short, long)]
    pub recursive: bool,

    #[command(flatten)]
    pub ask: AskArgs,
}

#[derive(Args)]
pub struct GetArgs {
    /// The exact name, with its extension; or b3:ROOT, whatever its name
    pub name: String,

    /// What its content must be: 64 hex digits, as `cardume hash` and `b3sum` print them
    #[arg(long, value_name = "ROOT", conflicts_with = "no_verify")]
    pub hash: Option<String>,

    /// From this peer, without asking the server; one that speaks an old wire is like rede@IP:PORT,
    /// ufabc-json@… or uc3m-2024@…
    #[arg(long, value_name = "[WIRE@]IP:PORT", value_parser = place)]
    pub from: Option<PeerTarget>,

    /// Into this folder
    #[arg(long, value_name = "DIR", default_value = ".", conflicts_with = "output")]
    pub folder: String,

    /// Into this file; `-` is stdout
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<String>,

    /// Fetch the head and the tail first, then all from the front
    #[arg(long)]
    pub sequential: bool,

    /// Take the bytes of one source as they come, without checking them
    #[arg(long)]
    pub no_verify: bool,

    /// Wait for a file that nobody has yet, and for a source that is away
    #[arg(long)]
    pub wait: bool,

    /// Bytes a second that come in
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub download_limit: Option<u64>,

    #[command(flatten)]
    pub transport: TransportArgs,

    /// Make room for the file before its first byte, or not
    #[arg(long, value_enum, default_value = "full")]
    pub allocate: AllocateArg,

    #[command(flatten)]
    pub ask: AskArgs,
}

impl GetArgs {
    /// True when the bytes of the file go to stdout.
    pub fn goes_to_stdout(&self) -> bool {
        self.output.as_deref() == Some("-")
    }
}

/// Bytes a second, such as `100MB`, `1.5GiB` or `500k`.
pub fn rate(text: &str) -> Result<u64, String> {
    let text = text.trim().trim_end_matches("/s");
    let size: bytesize::ByteSize =
        text.parse().map_err(|_| "a rate is like 100MB or 1.5MiB, per second".to_owned())?;
    if size.as_u64() == 0 {
        Err("a rate is at least 1 byte a second".into())
    } else {
        Ok(size.as_u64())
    }
}

/// `IP:PORT` or `WIRE@IP:PORT`.
pub fn place(text: &str) -> Result<PeerTarget, String> {
    let wires: Vec<&str> = PROFILES.iter().map(|(_, word)| *word).collect();
    PeerTarget::read(&address::numbered(text)).ok_or_else(|| {
        format!(
            "a peer is like 127.0.0.1:4000 or rede@127.0.0.1:4000; the old wires are {}",
            wires.join(", ")
        )
    })
}

/// `IP:PORT`, with the interface of a link-local address.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    address::read(text).ok_or_else(|| {
        "an address is like 127.0.0.1:4000, [::1]:4000 or [fe80::1%eth0]:4000".to_owned()
    })
}

/// `IP` or `IP:PORT`.
fn advertise(text: &str) -> Result<(IpAddr, Option<u16>), String> {
    if let Some(address) = address::read(text) {
        return Ok((address.ip(), Some(address.port())));
    }
    let ip = text
        .trim_matches(['[', ']'])
        .parse()
        .map_err(|_| "an address is like 192.0.2.7 or 192.0.2.7:4000".to_owned())?;
    Ok((ip, None))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::translate;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
        translate::command(Lang::Pt).debug_assert();
        translate::command(Lang::Es).debug_assert();
    }

    #[test]
    fn the_language_is_found_before_the_arguments_are_parsed() {
        let of = |words: &str| {
            lang_of(&words.split_whitespace().map(OsString::from).collect::<Vec<_>>())
        };
        assert_eq!(
            (of("--lang es get --help"), of("get --lang=en --dance"), of("--help --lang pt")),
            (Lang::Es, Lang::En, Lang::Pt)
        );
    }

    #[test]
    fn rates_and_addresses_have_units_and_brackets() {
        assert_eq!(rate("100MB"), Ok(100_000_000));
        assert_eq!(rate("1MiB/s"), Ok(1 << 20));
        assert!(rate("0").is_err() && rate("fast").is_err() && rate("-1").is_err());
        assert_eq!(advertise("[::1]:5"), Ok(("::1".parse().unwrap(), Some(5))));
        assert_eq!(advertise("::1"), Ok(("::1".parse().unwrap(), None)));
        assert!(advertise("host").is_err());
        assert_eq!(
            place("uc3m-2024@127.0.0.1:5000").map(|place| place.speaks),
            Ok(Some(LegacyProfile::Uc3m2024))
        );
        assert!(
            place("127.0.0.1:5000").is_ok()
                && place("uc3m@127.0.0.1:5000").is_err()
                && place("rede@host").is_err()
        );
    }
}
