//! The command line, as data: every flag with default and help. Completions and man pages come from
//! the same definitions.

pub mod administration;
#[cfg(feature = "loadgen")]
pub mod bench;
pub mod drop;
pub mod hooks;
pub mod host;
pub mod legacy;
pub mod link;
pub mod log;
pub mod ls;
pub mod members;
pub mod play;
pub mod schedule;
pub mod search;
pub mod server;
pub mod status;
pub mod transfers;
pub mod transport;
pub mod watch;
pub mod web;

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use cardume::client::command::PeerTarget;
use cardume::client::console::ConsoleProfile;
use cardume::io::schedule::{Schedule, ScheduleWindow, TransferRates, read_rate};
use cardume::os::fs::part_file::Allocate;
use cardume::os::net::address;
use cardume::os::system;
use cardume::peer::upload_queue::Accept;
use cardume::protocol::types::legacy_profile::{LegacyProfile, PROFILES};
use cardume::protocol::types::member::Group;
use cardume::reactor::rate_limits::RateLimits;
use cardume::ui::lang::Lang;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::cli::args::administration::{BanArgs, KickArgs, LimitsArgs, UnbanArgs};
#[cfg(feature = "loadgen")]
use crate::cli::args::bench::BenchArgs;
use crate::cli::args::drop::DropArgs;
use crate::cli::args::hooks::HookArgs;
use crate::cli::args::host::HostArgs;
use crate::cli::args::link::{LinkArgs, LinksArgs, UnlinkArgs};
use crate::cli::args::log::LogArgs;
use crate::cli::args::ls::LsArgs;
use crate::cli::args::members::{
    AdmitArgs, AuditArgs, InviteArgs, JoinArgs, MembersArgs, RevokeArgs, RoleArgs, UninviteArgs,
};
use crate::cli::args::play::PlayArgs;
use crate::cli::args::search::{GetFoundArgs, SearchArgs};
use crate::cli::args::server::{Metrics, RpcLogArgs, ServerArgs};
use crate::cli::args::status::StatusArgs;
use crate::cli::args::transfers::{
    AddArgs, BlockArgs, BlockedArgs, HistoryArgs, LimitArgs, SelectArgs, TransfersArgs,
};
use crate::cli::args::transport::TransportArgs;
use crate::cli::args::watch::WatchArgs;
use crate::cli::args::web::WebArgs;

/// The time until a completion gives up: a person waits at the keyboard.
const COMPLETION_TIME: Duration = Duration::from_secs(1);

/// The default of `--server`.
pub const DEFAULT_SERVER: &str = "127.0.0.1:1099";

const EXIT_CODES: &str = "Exit codes:
  0    done (also: the same file is already there)
  1    internal error
  2    wrong usage
  3    not found
  4    refused
  5    server or source unreachable
  6    verification failed
  7    local disk or address: missing folder, full disk, busy port,
       destination holds another file, output that cannot be written
  8    the other side does not speak the protocol
  130  interrupted; repeat the command to resume
  141  the reader of the output has gone (as in `cardume watch aula | head -1`)";

/// Share giant files peer to peer: a small index lists the providers, and peers send the bytes
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
    /// [default: from LC_ALL, LC_MESSAGES or LANG, else pt]
    #[arg(long, global = true, value_enum, env = "CARDUME_LANG")]
    lang: Option<LanguageArg>,

    /// The settings file; `none` reads no file [default: ~/.config/cardume/cardume.toml, else
    /// /etc/cardume/cardume.toml]
    #[arg(long, global = true, value_name = "FILE", env = "CARDUME_CONFIG", hide_env_values = true, value_hint = clap::ValueHint::FilePath)]
    config: Option<String>,

    /// Print results and errors alone: no notes, no progress
    #[arg(short, long, global = true)]
    pub quiet: bool,

    /// End a one-shot command with code 5 when it is not done after so many seconds; repeat the
    /// command to resume
    #[arg(long, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub timeout: Option<u64>,

    /// The command.
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

    /// The time after which a one-shot command ends.
    pub fn time_limit(&self) -> Option<Duration> {
        match self.verb {
            Verb::Complete(_) => Some(COMPLETION_TIME),
            _ if !self.is_one_shot() => None,
            _ => self.timeout.map(Duration::from_secs),
        }
    }

    /// True for commands without any purpose besides their output.
    pub fn is_one_shot(&self) -> bool {
        !matches!(self.verb, Verb::Server(_) | Verb::Peer(_) | Verb::RpcLog(_) | Verb::Web(_))
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

/// The commands of the program.
#[derive(Subcommand)]
pub enum Verb {
    /// Run the index server: the index lists the providers of each file, and stores no content
    #[command(after_long_help = "\
Examples:
  cardume server                              listens on 127.0.0.1:1099
  cardume server --listen 0.0.0.0:1099        for the whole network
  cardume server --listen '[::]:1099'         IPv6 and IPv4
  cardume server --uc3m 5000:2024 --uc3m 5001:2025 --rede 9450 --ufabc-json
                                              legacy clients as well, from this machine only
  RUST_LOG=info cardume server                logs joins and departures on stderr
Legacy protocols have no passwords: any client can act for any of their users. So legacy ports are off by default, and
bind to loopback unless an address is given.")]
    Server(Box<ServerArgs>),

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
  cardume peer --console music                REGISTRAR, CONSULTAR, REQUISITAR, ENCERRAR
  printf 'GET aula1.mp4\\nQUIT\\n' | cardume peer --listen 127.0.0.1:4001 --folder /tmp/x

A shared file is also at http://IP:PORT/files/NAME for curl, browsers and players.

Never shared, under any name: secret keys (of cardume, PEM, OpenSSH, PGP, PuTTY, age), accounts and hashes of cardume,
unfinished downloads, hidden files, links. Excluded unless .cardumeignore or --exclude has '!NAME':
lost+found/ $RECYCLE.BIN/ 'System Volume Information/' Thumbs.db desktop.ini *.crdownload *.sqlite-shm
`cardume ls --skipped --folder DIR` lists the files that are not shared, and why.")]
    Peer(Box<PeerArgs>),

    /// Find the providers of a file
    #[command(after_long_help = "\
Examples:
  cardume search aula1.mp4
  cardume search aula1.mp4 --json | head -1
  cardume search --contains 'lesson aula -old'    in names and descriptions; case and accents do not matter
  cardume search --like 'algbra liner'        with typing errors; the best matches come first
  cardume search --contains matrix --ext mkv,mp4 --size 700M..4G --sort -size --limit 20
  cardume search --owner ana --hashed --complete
  CARDUME_SERVER=192.168.1.9:1099 cardume search aula1.mp4")]
    Search(Box<SearchArgs>),

    /// Download a file; repeat the command to resume
    #[command(after_long_help = "\
Examples:
  cardume get aula1.mp4
  cardume get aula1.mp4 --folder ~/Downloads
  cardume get aula1.mp4 --from 127.0.0.1:4000     without a server
  cardume get aula1.mp4 --from rede@127.0.0.2:5455    a legacy peer, without verification
  cardume get aula1.mp4 --hash 5dd8…f00d          only with this content
  cardume get b3:5dd8…f00d                        this content, under any name
  cardume get 'Cursos/' --folder ~/Videos         a folder with its subfolders; only missing files
  cardume get --contains 'aula 2026' --ext mkv    shows what it finds, and asks
  cardume get Cursos/aula1.mp4 --folder ~/Videos  saved as ~/Videos/Cursos/aula1.mp4
  cardume get aula1.mp4 -o lesson.mp4
  cardume get aula1.mp4 -o - | mpv -
  cardume get aula1.mp4 --transport quic          over UDP, from peers with --udp
  cardume get aula1.mp4 --wait                    until a provider appears")]
    Get(Box<GetArgs>),

    /// Play a video or audio file during the download; the finished file is kept
    #[command(after_long_help = "\
Examples:
  cardume play aula1.mp4                          in mpv or VLC
  cardume play song.flac --player vlc --folder ~/Music
  cardume play aula1.mp4 --player none            prints a URL for any player

The order of the download follows the player: both ends of the file, the
current position, the data ahead, and then the rest. No byte is played before
its piece is verified. After the player exits, the download continues to the end.")]
    Play(PlayArgs),

    /// List the connected peers
    #[command(after_long_help = "Example:\n  cardume peers --json")]
    Peers(AskArgs),

    /// List the shared files of a peer
    #[command(
        after_long_help = "Examples:\n  cardume ls 127.0.0.1:4000\n  cardume ls rede@127.0.0.2:5455\n  cardume ls --skipped --folder ~/Videos -r    files that a peer would not share, and why"
    )]
    Ls(LsArgs),

    /// Register a user name; only the key created at the first use can use the name
    #[command(after_long_help = "Example:\n  cardume register ana")]
    Register(NameArgs),
    /// Release a user name, and delete all publications under the name
    #[command(after_long_help = "\
Examples:
  cardume unregister ana
  cardume unregister --admin ana              any user, as an administrator")]
    Unregister(UnregisterArgs),
    /// Publish a file under a user name; the publication stays while the user is offline
    #[command(
        after_long_help = "Example:\n  cardume publish --user ana aula1.mp4 'the first lesson'"
    )]
    Publish(PublishArgs),
    /// Delete a publication
    #[command(after_long_help = "\
Examples:
  cardume delete --user ana aula1.mp4
  cardume delete --admin --user ana aula1.mp4     as an administrator")]
    Delete(DeleteArgs),
    /// Report matching files as providers come and go, until Ctrl-C
    #[command(after_long_help = "\
Examples:
  cardume watch 'aula -rascunho'
  cardume watch --exact aula1.mp4 --json
Each line has + or -, the peer, the size and the name; existing files come first.")]
    Watch(WatchArgs),
    /// Open a server to the browser on this machine, as the member that you are: search, play and
    /// download at a secret address
    #[command(after_long_help = "\
Examples:
  cardume web                                 prints a URL for the browser
  cardume web --server video.example.org:1099 --port 8080

Anyone with the URL acts as you while the command runs, so the URL is a secret; the next run
has another one. The browser stays on this machine: everything beyond is encrypted, and the
keys of the server and of the peers are checked.")]
    Web(WebArgs),
    /// Show the metrics of an index server or a peer
    #[command(after_long_help = "\
Examples:
  cardume status
  cardume status --memory                     the memory of the index, by part
  cardume status --peer 192.168.1.9:6000
  curl http://127.0.0.1:1099/metrics          the same for Prometheus")]
    Status(StatusArgs),
    /// Make a secret URL by which curl or a player fetches one file from your running peer
    #[command(after_long_help = "\
Examples:
  cardume link aula1.mp4
  cardume link aula1.mp4 --for 30m --host videos.example
  cardume link b3:5dd8…f00d --peer 127.0.0.1:4000
  mpv \"$(cardume link aula1.mp4)\"

The URL alone is on stdout, and a curl command that checks the key of the peer on
stderr. All links end with the peer. A link needs no consent of --accept.")]
    Link(LinkArgs),
    /// List the live links of your running peer
    #[command(after_long_help = "\
Examples:
  cardume links                               number, time left, fetches, file
  cardume links --json")]
    Links(LinksArgs),
    /// End a link, and the downloads by it
    #[command(after_long_help = "Example:\n  cardume unlink 00000001")]
    Unlink(UnlinkArgs),
    /// List the downloads and uploads of your running peer
    #[command(after_long_help = "\
Examples:
  cardume transfers                           number, way, state, bytes here, size, rate, name, peer
  cardume transfers --uploads --json
  cardume transfers --state /var/lib/cardume/peer

The commands transfers, add, pause, resume, cancel, top, limit, block, allow, blocked and history
ask a running peer of the same user by a socket. With --state DIR, a peer keeps its queue, its
history and its blocks over a restart. Exit code 3 if no peer runs, 2 if several run and none
was chosen.")]
    Transfers(TransfersArgs),
    /// Append files or folders to the download queue of your running peer
    #[command(after_long_help = "\
Examples:
  cardume add aula1.mp4 'Cursos/'
  cardume add b3:5dd8…f00d --paused
  cardume add -i names.txt
  cardume add aula1.mp4 --from 127.0.0.1:4000

A file without a provider is looked up again, first after 15 seconds, at last each 10 minutes.")]
    Add(AddArgs),
    /// Stop downloads of your running peer; `cardume resume` continues them
    #[command(after_long_help = "Examples:\n  cardume pause 3\n  cardume pause --all")]
    Pause(SelectArgs),
    /// Continue paused or failed downloads of your running peer
    #[command(after_long_help = "Examples:\n  cardume resume aula1.mp4\n  cardume resume --all")]
    Resume(SelectArgs),
    /// Remove downloads from the queue of your running peer; the bytes so far stay in the .part
    #[command(after_long_help = "Example:\n  cardume cancel 3 4")]
    Cancel(SelectArgs),
    /// Move downloads to the front of the queue of your running peer
    #[command(after_long_help = "Example:\n  cardume top aula1.mp4")]
    Top(SelectArgs),
    /// Show or set the rate limits of your running peer, until the peer restarts
    #[command(after_long_help = "\
Examples:
  cardume limit
  cardume limit --up 2MB --down none

At the hours of --schedule, its limits hold instead.")]
    Limit(LimitArgs),
    /// Refuse all requests of an address or a member at your running peer, and cut its uploads
    #[command(after_long_help = "\
Examples:
  cardume block 192.0.2.7
  cardume block 2001:db8::/64
  cardume block ana                           a member of a closed server

The requester reads the code `refused`. A member can also be named by the key.")]
    Block(BlockArgs),
    /// Serve a blocked address or member again
    #[command(after_long_help = "Example:\n  cardume allow 192.0.2.7")]
    Allow(BlockArgs),
    /// List the blocked addresses and members of your running peer
    #[command(after_long_help = "Example:\n  cardume blocked --json")]
    Blocked(BlockedArgs),
    /// List the past downloads and uploads of your running peer
    #[command(after_long_help = "\
Examples:
  cardume history                             time, outcome, size, name, peer
  cardume history -n 1000 --json

An upload is all that a connection has fetched of a file, and ends with the connection. The last
10,000 transfers are kept.")]
    History(HistoryArgs),
    /// List the connected users
    #[command(after_long_help = "Example:\n  cardume users --json")]
    Users(AskArgs),
    /// List the publications of a user
    #[command(after_long_help = "Example:\n  cardume content ana")]
    Content(ContentArgs),
    /// Become a member of a closed server by an invite
    #[command(after_long_help = "\
Examples:
  cardume join 'cardume://192.168.1.7:1099/#…'    the quotes keep the shell from reading the #
  CARDUME_INVITE_FILE=/etc/cardume/invite cardume join
  cardume join - < invite

The key of the server is checked before anything is sent. Afterwards the server is
the default of --server. Repeating the command changes nothing. Without a token in
the invite, the command waits until an administrator admits the key.")]
    Join(JoinArgs),
    /// Make an invite to a closed server: a secret that admits its bearer
    #[command(after_long_help = "\
Examples:
  cardume invite                              one person, 24 hours
  cardume invite --uses 60 --for 2h --group turma-a --qr
  cardume invite --uses 5000 --for 30d --role read --ephemeral 30d > /etc/cardume/invite
  cardume invite --at video.example.org       with this address of the server
  cardume invite --list                       the invites that are still valid")]
    Invite(Box<InviteArgs>),
    /// Withdraw an invite; its members stay
    #[command(after_long_help = "Example:\n  cardume uninvite 3f9a01c2")]
    Uninvite(UninviteArgs),
    /// List the members of a closed server
    #[command(after_long_help = "\
Examples:
  cardume members                             name, role, groups, key, last seen
  cardume members --pending                   keys that wait for admission
  cardume members --me                        the server, and your name and role there")]
    Members(MembersArgs),
    /// Admit a key that waits for admission
    #[command(after_long_help = "Example:\n  cardume admit ana --group turma-a")]
    Admit(AdmitArgs),
    /// Change the role and the groups of a member
    #[command(after_long_help = "Example:\n  cardume role ana admin")]
    Role(RoleArgs),
    /// Revoke a member for ever, or all members of an invite
    #[command(
        after_long_help = "Examples:\n  cardume revoke ana\n  cardume revoke --invite 3f9a01c2"
    )]
    Revoke(RevokeArgs),
    /// Close all connections of a member, user or address; it may come back
    #[command(after_long_help = "\
Examples:
  cardume kick ana
  cardume kick 192.0.2.7:40123                that connection alone

Exit code 3 if there is no such connection. Downloads from other peers continue: they
need no server.")]
    Kick(KickArgs),
    /// Ban a member, a key, an address or a range, and close its connections
    #[command(after_long_help = "\
Examples:
  cardume ban ana --for 24h --reason 'copies of copies'
  cardume ban 192.0.2.7
  cardume ban 2001:db8::/64 --for 30d

A banned address is cut off before its first byte, on every port of the server. A banned
member reads the reason and the time left, and the other peers stop serving it within a
second. The time counts while the server runs.")]
    Ban(BanArgs),
    /// Lift a ban
    #[command(after_long_help = "Examples:\n  cardume unban ana\n  cardume unban 2001:db8::/64")]
    Unban(UnbanArgs),
    /// List the bans
    #[command(after_long_help = "\
Examples:
  cardume bans                                subject, name, time left, since, by, reason
  cardume bans --json")]
    Bans(AskArgs),
    /// Show or set the limits of a running server
    #[command(after_long_help = "\
Examples:
  cardume limits                              limit, value, default, range, unit
  cardume limits searches=20 peer_files=100000
  cardume limits enrol_pause=30s
  cardume limits searches=default             resets the limit

A new limit holds at once, and after a restart. What is in use already stays.")]
    Limits(LimitsArgs),
    /// Show the audit log of a server: admissions, changes and refusals
    #[command(after_long_help = "\
Examples:
  cardume audit
  cardume audit --follow --json

Exit code 6 if another program has changed a row.")]
    Audit(AuditArgs),
    /// Print the BLAKE3 roots of files, as b3sum does
    #[command(after_long_help = "\
Examples:
  cardume hash aula1.mp4
  cardume hash *.mp4 > SUMS                   for b3sum --check SUMS
  cardume hash --json aula1.mp4
  cardume get aula1.mp4 -o - | cardume hash -")]
    Hash(HashArgs),

    /// Check files against the index, as b3sum --check does against a list
    #[command(after_long_help = "\
Examples:
  cardume verify ~/Videos
  cardume verify -r ~/Videos                  subfolders as well
  cardume verify aula1.mp4 aula2.mp4
  cardume verify aula1.mp4 --hash 5dd8…f00d   without a server
  cardume verify --json ~/Videos | jq -r 'select(.state == \"failed\").name'
  cardume verify ~/Videos/Dark --as Dark/     the folder as its peers share it

Each file is read completely. OK: a peer shares this content under this name.
FAILED: under this name, peers share only other contents. unknown: no peer
shares the name, or no provider has hashed the file yet. Exit code 6 if any
failed, 7 if any could not be read, 3 if any is unknown.

With --as, the files are compared with the list of the folder. missing: the list
has a file that is not here, which counts as failed. unknown: a file here that the
list lacks.")]
    Verify(VerifyArgs),

    /// Print the operations of the users of an index, a line each, as reported by a server with
    /// --rpc-log
    #[command(after_long_help = "\
Examples:
  cardume rpc-log                             listens on 127.0.0.1:6111
  cardume rpc-log --listen 0.0.0.0:6111 >> operations.log
  cardume server --rpc-log 127.0.0.1:6111

ONC RPC over TCP, program 1, version 1. If rpcbind runs on this machine, the port
is registered there, and --rpc-log 127.0.0.1 is enough.")]
    RpcLog(RpcLogArgs),

    /// Measure a server, or a Redis, under the load of many peers: response rates and latencies
    #[cfg(feature = "loadgen")]
    #[command(alias = "swarm", after_long_help = bench::EXAMPLES)]
    Bench(BenchArgs),

    /// Let the running servers and peers of this user read their settings again
    #[command(after_long_help = "\
Examples:
  cardume reload
  cardume reload 4711                         the process of this number alone
  kill -HUP 4711                              the same without an answer

A line for each changed setting says whether it holds from now on or needs a restart. No
transfer ends. With a broken file the earlier settings stay, and the exit code is 2. The
log file is opened again. A process with a terminal as stdin ends at SIGHUP, and takes no part.")]
    Reload(ReloadArgs),

    /// Check or print the settings of the file, the environment and the command line
    #[command(after_long_help = "\
Examples:
  cardume config                              the settings of server and peer, with their places
  cardume config --print get
  cardume config --check --config ./cardume.toml

Each flag of each command is a key in the section of the command, and a variable:
  [server]
  listen = ['0.0.0.0:1099']                   as --listen, or CARDUME_LISTEN
  [all]
  lang = 'en'                                 for all commands with this flag
A flag beats a variable, a variable the file, and the file the default. Exit code 2 for an
unknown key or a wrong value, with the line.")]
    Config(ConfigArgs),

    /// Print the names, peers or users that begin with a word, for the completions of a shell
    #[command(hide = true)]
    Complete(CompleteArgs),

    /// Print the completions of a shell
    #[command(
        after_long_help = "Example:\n  cardume completions bash > ~/.local/share/bash-completion/completions/cardume"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },

    /// Print a man page
    #[command(
        after_long_help = "Examples:\n  cardume man | man -l -\n  cardume man get | man -l -"
    )]
    Man {
        /// The command; without a command, the page of the program
        command: Option<String>,
    },
}

impl Verb {
    /// True for commands that only print, and end with the reader of stdout. A download, or a change
    /// at a server, continues.
    pub fn is_for_its_output(&self) -> bool {
        use Verb::{
            Audit, Bans, Blocked, Content, Hash, History, Links, Ls, Members, Peers, RpcLog,
            Search, Status, Transfers, Users, Verify, Watch,
        };
        #[cfg(feature = "loadgen")]
        if matches!(self, Verb::Bench(_)) {
            return true;
        }
        matches!(
            self,
            Audit(_)
                | Bans(_)
                | Blocked(_)
                | History(_)
                | Transfers(_)
                | Content(_)
                | Hash(_)
                | Links(_)
                | Ls(_)
                | Members(_)
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

/// The server of a query, and the output format.
#[derive(Args)]
pub struct AskArgs {
    /// The index server, or its URL with a key, as `cardume server url` prints [default: the
    /// server joined last, else 127.0.0.1:1099]. Of several, as in A:1099,B:1099, any that answers
    #[arg(long, value_name = "HOST:PORT", env = "CARDUME_SERVER")]
    pub server: Option<String>,

    /// Print a JSON object per line
    #[arg(long)]
    pub json: bool,
}

/// What to complete.
#[derive(Args)]
pub struct CompleteArgs {
    /// What the word names
    #[arg(value_enum)]
    pub kind: CompletionKind,

    /// The begin of the word
    #[arg(default_value = "")]
    pub word: String,

    #[command(flatten)]
    pub ask: AskArgs,
}

/// What a word of a command line names.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CompletionKind {
    Names,
    Peers,
    Users,
}

/// Which processes read their settings again.
#[derive(Args)]
pub struct ReloadArgs {
    /// The numbers of the processes [default: all of this user]
    #[arg(value_name = "PID")]
    pub processes: Vec<u32>,

    /// Print a JSON object per line
    #[arg(long)]
    pub json: bool,
}

/// What to do with the settings.
#[derive(Args)]
pub struct ConfigArgs {
    /// Check the file alone, and print nothing but errors and its name
    #[arg(long)]
    pub check: bool,

    /// Print the settings as a settings file, as by default
    #[arg(long, conflicts_with = "check")]
    pub print: bool,

    /// The commands whose settings to print [default: server and peer]
    #[arg(value_name = "COMMAND", conflicts_with = "check")]
    pub commands: Vec<String>,
}

/// The key of the current user.
#[derive(Args)]
pub struct KeyArgs {
    /// The file with the secret key, created at the first use [default: cardume/key below the
    /// user's state folder]
    #[arg(long, value_name = "FILE", env = "CARDUME_KEY", hide_env_values = true)]
    pub key: Option<String>,
}

// The identity of a peer.
#[derive(Args)]
pub struct IdentityArgs {
    /// A file with an invite: the first start joins its server, and later starts ignore the invite
    #[arg(
        long,
        value_name = "FILE",
        env = "CARDUME_INVITE_FILE",
        value_hint = clap::ValueHint::FilePath
    )]
    pub invite_file: Option<String>,

    /// The user of this peer; a new name is registered first
    #[arg(long, value_name = "USER", env = "CARDUME_USER")]
    pub user: Option<String>,
    #[command(flatten)]
    pub key: KeyArgs,
}

#[derive(Args)]
pub struct NameArgs {
    /// The user name
    #[arg(value_name = "USER")]
    pub user: String,
    #[command(flatten)]
    pub key: KeyArgs,
    #[command(flatten)]
    pub ask: AskArgs,
}

#[derive(Args)]
pub struct UnregisterArgs {
    /// Act as an administrator of the server, for any user
    #[arg(long)]
    pub admin: bool,
    #[command(flatten)]
    pub name: NameArgs,
}

#[derive(Args)]
pub struct PublishArgs {
    /// The name of the file
    pub name: String,
    /// The description, on a single line
    #[arg(default_value = "")]
    pub description: String,
    /// Publish under this user name; a new name is registered first
    #[arg(long, value_name = "USER", env = "CARDUME_USER")]
    pub user: String,
    #[command(flatten)]
    pub key: KeyArgs,
    #[command(flatten)]
    pub ask: AskArgs,
}

#[derive(Args)]
pub struct DeleteArgs {
    /// Act as an administrator of the server, for any user
    #[arg(long)]
    pub admin: bool,
    /// The name of the file
    pub name: String,
    /// The user that published the file
    #[arg(long, value_name = "USER", env = "CARDUME_USER")]
    pub user: String,
    #[command(flatten)]
    pub key: KeyArgs,
    #[command(flatten)]
    pub ask: AskArgs,
}

#[derive(Args)]
pub struct ContentArgs {
    /// The user that published the files
    #[arg(value_name = "USER")]
    pub user: String,
    #[command(flatten)]
    pub ask: AskArgs,
}

#[derive(Args)]
pub struct PeerArgs {
    /// The index server, or its URL with a key, as `cardume server url` prints [default: the
    /// server joined last, else 127.0.0.1:1099]. Of several, as in A:1099,B:1099, any that answers
    #[arg(long, value_name = "HOST:PORT", env = "CARDUME_SERVER")]
    pub server: Option<String>,

    /// Listen for other peers on this address; port 0 selects a free port [default: 0.0.0.0:4000, or
    /// a free port if that one is busy]
    #[arg(long, value_name = "IP:PORT", value_parser = address)]
    pub listen: Option<SocketAddr>,

    #[command(flatten)]
    pub share: ShareArgs,

    /// The commands and responses of the console: napster, rede, music, or uc3m with an edition, by
    /// default fixed. A music console plays each requested file, and opens a UDP port of music-udp.
    /// In a uc3m console, CONNECT names the user, opens the port and shares the
    /// folder (by default the current folder). The console also opens a port of the edition, on the
    /// IP of --listen or 127.0.0.1, so that clients of UC3M find the user
    #[arg(long, value_name = "FAMILY[:PROFILE]", value_parser = legacy::family, default_value = "napster")]
    pub console: ConsoleProfile,

    #[command(flatten)]
    pub filter: FilterArgs,

    #[command(flatten)]
    pub identity: IdentityArgs,
    /// Whether other peers may download
    #[arg(long, value_enum, default_value = "always")]
    pub accept: AcceptArg,

    /// The address at which other peers reach this peer, if different from the address seen by the
    /// server
    #[arg(long, value_name = "IP[:PORT]", value_parser = advertise)]
    pub advertise: Option<(IpAddr, Option<u16>)>,

    #[command(flatten)]
    pub transfer: TransferArgs,

    #[command(flatten)]
    pub http: HttpArgs,

    #[command(flatten)]
    pub storage: StorageArgs,

    /// Listen for QUIC over UDP as well, on this port; without an IP, on the IP of --listen
    #[arg(long, value_name = "[IP:]PORT", value_parser = transport::udp_port)]
    pub udp: Option<(Option<IpAddr>, u16)>,

    #[command(flatten)]
    pub legacy: LegacyPeerArgs,
    /// Exit with code 5 if the server is unreachable, instead of retrying
    #[arg(long)]
    pub once: bool,

    #[command(flatten)]
    pub service: PeerServiceArgs,
}

// A peer as a service.
#[derive(Args)]
pub struct PeerServiceArgs {
    /// The folder of the download queue, the history and the blocked requesters, so that a restart
    /// goes on where the peer ended; created if missing. Without the folder, these are in memory
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub state: Option<PathBuf>,

    #[command(flatten)]
    pub hooks: HookArgs,
    #[command(flatten)]
    pub log: LogArgs,
}

// The shared files of a peer.
#[derive(Args)]
pub struct ShareArgs {
    /// The folder to share; downloads go there as well
    #[arg(long, value_name = "DIR")]
    pub folder: Option<String>,

    /// A list of further files to share, a `name path` per line, with any path. A line [GROUP] is
    /// for the lines below, as --for-group. Without --folder, nothing else is shared, and downloads
    /// go to the current folder
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub manifest: Option<String>,

    /// Show the shared files only to these groups of members, such as turma-a,turma-b; repeat for
    /// more. `all` is every member, as by default; `public` also shows the files to clients of
    /// legacy protocols
    #[arg(long, value_name = "GROUP", value_delimiter = ',', value_parser = group)]
    pub for_group: Vec<String>,
}

fn group(text: &str) -> Result<String, String> {
    Group::new(text)
        .map(|group| group.to_string())
        .ok_or_else(|| "a group has 1 to 32 of a-z, 0-9 and -".to_owned())
}

// Which files of a folder are shared.
#[derive(Args)]
pub struct FilterArgs {
    /// Share subfolders as well, under names such as Sub/aula1.mp4
    #[arg(short, long)]
    pub recursive: bool,

    /// Do not share files that match this pattern, as in .gitignore: '*.iso', '/drafts' or 'tmp/';
    /// repeat for more. The patterns follow the lines of the file .cardumeignore at the top of the
    /// folder. The last match decides ('!' shares the file)
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,
}

// Limits of uploads and downloads.
#[derive(Args)]
pub struct TransferArgs {
    /// Bytes sent per second, over all uploads
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub upload_limit: Option<u64>,

    /// Bytes received per second, over all downloads
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub download_limit: Option<u64>,

    /// Other limits at some hours of each day, in local time, such as '08:00-18:00 upload=1MB
    /// download=none'; repeat for more. The first that holds decides
    #[arg(long, value_name = "HH:MM-HH:MM LIMITS", value_parser = schedule::window)]
    pub schedule: Vec<ScheduleWindow>,

    /// Downloads of the queue at the same time; a GET of the console does not wait
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub jobs: u8,

    /// Parallel uploads; further requesters wait in a queue, and receive their position
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub uploads: Option<u32>,

    /// Bytes that one requester may ask of this peer in a day, such as 50GiB
    #[arg(long, value_name = "SIZE", value_parser = disk_size)]
    pub upload_quota: Option<u64>,
}

// Access of requesters, to metrics, and by HTTP.
#[derive(Args)]
pub struct HttpArgs {
    /// Serve everyone without encryption, whatever the server is
    #[arg(long)]
    pub open: bool,
    /// Treat programs of the same user on this machine as strangers
    #[arg(long)]
    pub no_local: bool,

    /// Which hosts may read the metrics, by `cardume status` and at /metrics
    #[arg(long, value_enum, default_value = "local")]
    pub metrics: Metrics,

    /// Show no pictures of videos on the page. By default ffmpeg makes one, where installed
    #[arg(long)]
    pub no_posters: bool,

    #[command(flatten)]
    pub hosts: HostArgs,

    #[command(flatten)]
    pub drop: DropArgs,
}

// Downloads and hashes on the disk.
#[derive(Args)]
pub struct StorageArgs {
    #[command(flatten)]
    pub disk: DiskArgs,

    /// The folder of the hash cache, so that a restart hashes no file again [default: cardume below
    /// the user's cache folder]
    #[arg(long, value_name = "DIR", env = "CARDUME_CACHE", hide_env_values = true)]
    pub cache: Option<String>,

    /// Keep hashes in memory only, even with --cache
    #[arg(long)]
    pub no_cache: bool,
}

// The room for downloads.
#[derive(Args)]
pub struct DiskArgs {
    /// Whether to allocate the disk space of a download
    #[arg(long, value_enum, default_value = "full")]
    pub allocate: AllocateArg,

    /// The folder of unfinished downloads, on the same file system [default: the folder of the
    /// downloads]
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub incomplete_dir: Option<String>,

    /// Refuse a download that would leave less room on the disk, such as 10GiB
    #[arg(long, value_name = "SIZE", value_parser = disk_size)]
    pub reserve: Option<u64>,
}

/// A size such as `10GiB`.
fn disk_size(text: &str) -> Result<u64, String> {
    let size = text.parse::<bytesize::ByteSize>();
    size.map(|size| size.as_u64()).map_err(|_| "a size is like 512MiB or 2GiB".to_owned())
}

// Ports of legacy protocols.
#[derive(Args)]
pub struct LegacyPeerArgs {
    /// Serve UC3M's GET_FILE on this port, in this edition: 2020, 2020-int, 2024, 2024-plain, 2025
    /// or fixed (the default); repeat for more
    #[arg(long, value_name = "[IP:]PORT[:PROFILE]", value_parser = legacy::uc3m, requires = "listen")]
    pub uc3m: Vec<(SocketAddr, LegacyProfile)>,
    /// Serve files to rede-p2p clients on this port
    #[arg(long, value_name = "[IP:]PORT", value_parser = legacy::port, requires = "listen")]
    pub rede: Option<SocketAddr>,
    /// Serve files to ufabc-json clients on the usual port
    #[arg(long, alias = "seed001")]
    pub ufabc_json: bool,
    /// Serve files to programs of music-udp on this UDP port; the index lists the port a thousand
    /// below. Other machines are answered only where the server lists a peer at their address
    #[arg(long, value_name = "[IP:]PORT", value_parser = legacy::music_udp, requires = "listen")]
    pub music_udp: Option<SocketAddr>,
    /// Serve files to programs of napster-ufabc on the usual port
    #[arg(long)]
    pub napster: bool,
}

impl PeerArgs {
    /// The limits of the transfer rates.
    pub fn speed(&self) -> RateLimits {
        RateLimits {
            usual: TransferRates {
                upload: self.transfer.upload_limit,
                download: self.transfer.download_limit,
            },
            schedule: Schedule::new(self.transfer.schedule.clone()),
            max_connections: 0,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub enum AcceptArg {
    /// Allow every download
    Always,
    /// Prompt for consent, once per requester and file
    Ask,
    /// Refuse every download
    Never,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum AllocateArg {
    /// Allocate all space, in steps: a full disk fails the download at the start
    Full,
    /// A sparse file
    None,
}

impl AcceptArg {
    pub fn consent(self) -> Accept {
        match self {
            AcceptArg::Always => Accept::Always,
            AcceptArg::Ask => Accept::Ask,
            AcceptArg::Never => Accept::Never,
        }
    }
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
    /// The files; `-` is stdin
    #[arg(value_name = "FILE", required = true, value_hint = clap::ValueHint::FilePath)]
    pub files: Vec<OsString>,

    /// Print a JSON object per line
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct VerifyArgs {
    /// The files, or folders with files
    #[arg(value_name = "FILE|FOLDER", required = true, value_hint = clap::ValueHint::AnyPath)]
    pub files: Vec<String>,

    /// The expected root of a single file, checked instead of the index: 64 hex digits, as printed
    /// by `cardume hash` and `b3sum`
    #[arg(long, value_name = "ROOT")]
    pub hash: Option<String>,

    /// Compare a single folder with the list of this folder at its peers: NAME/
    #[arg(long = "as", value_name = "NAME")]
    pub shared_as: Option<String>,

    /// With --as, take the list from this peer, without the index server
    #[arg(long, value_name = "IP:PORT", value_parser = address, requires = "shared_as")]
    pub from: Option<SocketAddr>,

    /// Check the files of subfolders as well, under names such as Sub/aula1.mp4
    #[arg(short, long)]
    pub recursive: bool,

    #[command(flatten)]
    pub ask: AskArgs,
}

#[derive(Args)]
pub struct GetArgs {
    /// Exact names with the extension; NAME/ for a folder; or b3:ROOT for this content under any name
    #[arg(value_name = "NAME", required_unless_present_any = ["input", "contains", "ext"])]
    pub names: Vec<String>,

    /// A file with one name a line, downloaded after the names given here; `-` is stdin
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["output", "hash"])]
    pub input: Option<String>,

    #[command(flatten)]
    pub found: GetFoundArgs,

    /// Files downloaded at the same time
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub jobs: u8,

    /// The expected root of the content: 64 hex digits, as printed by `cardume hash` and `b3sum`
    #[arg(long, value_name = "ROOT", conflicts_with = "no_verify")]
    pub hash: Option<String>,

    /// Download from this peer, without the index server. For a legacy protocol use rede@IP:PORT,
    /// ufabc-json@… or uc3m-2024@…
    #[arg(long, value_name = "[PROFILE@]IP:PORT", value_parser = place)]
    pub from: Option<PeerTarget>,

    /// The destination folder
    #[arg(long, value_name = "DIR", default_value = ".", conflicts_with = "output")]
    pub folder: String,

    /// The destination file; `-` is stdout
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<String>,

    /// Download the head and the tail first, then the rest in order
    #[arg(long)]
    pub sequential: bool,

    /// Accept the bytes of a single source without verification
    #[arg(long)]
    pub no_verify: bool,

    /// Wait for a file without a provider, and for an unreachable source
    #[arg(long)]
    pub wait: bool,

    /// Bytes received per second
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub download_limit: Option<u64>,

    #[command(flatten)]
    pub transport: TransportArgs,

    #[command(flatten)]
    pub disk: DiskArgs,

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
    read_rate(text).map_err(str::to_owned)
}

/// `IP:PORT` or `PROFILE@IP:PORT`.
pub fn place(text: &str) -> Result<PeerTarget, String> {
    let wires: Vec<&str> = PROFILES.iter().map(|(_, word)| *word).collect();
    PeerTarget::read(&address::numbered(text)).ok_or_else(|| {
        format!(
            "a peer is like 127.0.0.1:4000 or rede@127.0.0.1:4000; the legacy profiles are {}",
            wires.join(", ")
        )
    })
}

/// `IP:PORT`, with an interface for a link-local address.
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
