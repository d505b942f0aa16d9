//! Events for the user, as data; [`text`](crate::ui::text) says them in words, `--json` as objects.

use std::net::SocketAddr;

#[cfg(feature = "loadgen")]
use crate::loadgen::report::News;
use crate::protocol::error::ErrorReply;
use crate::protocol::legacy::onc_rpc::Logged;
use crate::protocol::metric::Metric;
use crate::protocol::request::FileEntry;
use crate::protocol::response::{Away, PeerEntry, Provider};
use crate::protocol::types::account::{Line, Method, Online, Publication, UserName};
use crate::protocol::types::file_name::BadName;
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::skipped::Note;

/// The exit codes, as the README documents them.
pub mod exit {
    /// Done; also when the same file was there already.
    pub const DONE: i32 = 0;
    /// A fault of ours.
    pub const FAULT: i32 = 1;
    /// Wrong words on the command line.
    pub const USAGE: i32 = 2;
    /// No such file or peer.
    pub const NOT_FOUND: i32 = 3;
    /// The other side says no.
    pub const REFUSED: i32 = 4;
    /// A server or a source can't be reached.
    pub const UNREACHABLE: i32 = 5;
    /// The bytes that came are not the ones that were promised.
    pub const VERIFY: i32 = 6;
    /// Local disk or address: missing folder, full disk, busy port, another file at the destination.
    pub const LOCAL: i32 = 7;
    /// The other side does not speak the protocol.
    pub const PROTOCOL: i32 = 8;
    /// Interrupted; run it again to go on.
    pub const INTERRUPTED: i32 = 130;
    /// Whoever read the output has gone: the code that a shell gives to a program that SIGPIPE has ended.
    pub const NO_READER: i32 = 141;
}

/// Why a download waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// The person at the other side was asked.
    Consent,
    /// All upload slots of the other side are taken.
    Slot(u64),
    /// The source can't be reached, or went away.
    Source,
    /// Nothing comes.
    Silence,
    /// Nobody has the file yet.
    Nobody,
    /// The disk has to catch up.
    Disk,
    /// The owner is still hashing the file.
    Hashing,
}

/// A command that is answered by its own name where users with accounts sit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedCommand {
    /// An operation on accounts.
    Operation(Method),
    /// A file from a user, by his name.
    GetFile,
}

impl NamedCommand {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            NamedCommand::Operation(method) => method.as_str(),
            NamedCommand::GetFile => "GET_FILE",
        }
    }
}

/// Why a command came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is no server, here.
    NoServer(Option<SocketAddr>),
    /// No server of this name can be found, in the words of the system.
    NoHost(String, String),
    /// No file can have this name.
    Name(String, BadName),
    /// The other side says no.
    Refused(ErrorReply),
    /// The server says no to an operation on accounts.
    Operation(Method, ErrorReply),
    /// A command whose answer names it came to nothing, for this reason.
    Named(NamedCommand, Box<Failure>),
    /// The words of a command are not the ones that it takes: these are.
    Usage(&'static str),
    /// Nobody has it.
    NotFound(RelativeName),
    /// Files of that name have different contents.
    Ambiguous(RelativeName),
    /// Under that name a part of another content is kept: so many bytes.
    OtherContent {
        /// The file.
        part: String,
        /// What it is a part of, where that is known.
        root: Option<ContentHash>,
        /// Its bytes.
        held: u64,
    },
    /// What the last source gave was wrong.
    BadBytes(RelativeName, SocketAddr),
    /// A root is 64 hex digits.
    Root(String),
    /// No source can be reached.
    NoSource(RelativeName),
    /// So many bytes came, and the old wire does not tell whether they are all.
    Unended(RelativeName, u64),
    /// The other side does not speak the protocol.
    Protocol(String),
    /// Our disk, in the words of its error.
    Disk(String),
    /// Whoever read the bytes from a pipe has gone.
    NoReader,
    /// The folder is not there.
    NoFolder(String),
    /// The port is busy, or the address is not ours.
    Port(SocketAddr, String),
    /// It listens there, and the server sees it by the other family of addresses.
    Unseen(SocketAddr, SocketAddr),
    /// The word is no command.
    Unknown(String),
    /// An argument is none: what was wanted.
    Wrong(&'static str),
    /// A player can't be started: which, and why.
    Player(String, String),
    /// SEARCH comes before DOWNLOAD.
    SearchFirst,
    /// Nobody was asking.
    NoQuestion,
    /// The peer has not joined.
    NotJoined,
}

impl Failure {
    /// The exit code of a one-shot command that fails so.
    #[must_use]
    pub fn code(&self) -> i32 {
        use crate::protocol::error::ErrorCode;
        match self {
            Failure::NoServer(_) | Failure::NoHost(..) | Failure::NoSource(_) => exit::UNREACHABLE,
            Failure::NotFound(_) => exit::NOT_FOUND,
            Failure::BadBytes(..) => exit::VERIFY,
            Failure::NoReader => exit::NO_READER,
            Failure::Ambiguous(_) | Failure::OtherContent { .. } | Failure::Root(_) => exit::USAGE,
            Failure::Protocol(_) | Failure::Unended(..) => exit::PROTOCOL,
            Failure::Disk(_)
            | Failure::NoFolder(_)
            | Failure::Port(..)
            | Failure::Unseen(..)
            | Failure::Player(..) => exit::LOCAL,
            Failure::Named(_, why) => why.code(),
            Failure::Name(..) | Failure::Unknown(_) | Failure::Wrong(_) | Failure::Usage(_) => {
                exit::USAGE
            }
            Failure::SearchFirst | Failure::NoQuestion | Failure::NotJoined => exit::USAGE,
            Failure::Refused(refusal) | Failure::Operation(_, refusal) => match refusal.code {
                ErrorCode::NotFound
                | ErrorCode::NoUser
                | ErrorCode::NoRemoteUser
                | ErrorCode::NotPublished => exit::NOT_FOUND,
                ErrorCode::Changed => exit::VERIFY,
                ErrorCode::BadRequest
                | ErrorCode::Unsupported
                | ErrorCode::Version
                | ErrorCode::TooLarge => exit::PROTOCOL,
                ErrorCode::Internal | ErrorCode::Io => exit::UNREACHABLE,
                _ => exit::REFUSED,
            },
        }
    }
}

/// What a person may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// The next command, from the menu.
    Menu,
    /// The next command.
    Command,
    /// An address.
    Ip,
    /// A port.
    Port,
    /// A folder.
    Folder,
    /// A file name.
    Name,
    /// A file name, or a root.
    Goal,
    /// The number of a content.
    Choice,
    /// The name of a user.
    User,
    /// A word or more of a name or a description.
    Text,
}

/// One of several contents that go by one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// What its bytes lead to.
    pub root: ContentHash,
    /// How many they are.
    pub size: u64,
    /// Who has all or a part of it.
    pub holders: Vec<SocketAddr>,
}

impl Version {
    /// The contents among these that have a root, those with the most holders first.
    #[must_use]
    pub fn among(holders: &[Provider]) -> Vec<Version> {
        let mut versions: Vec<Version> = Vec::new();
        for holder in holders {
            let (Some(root), Some(size)) = (holder.file.root, holder.file.size) else { continue };
            match versions.iter_mut().find(|version| version.root == root) {
                Some(version) => version.holders.push(holder.peer),
                None => versions.push(Version { root, size, holders: vec![holder.peer] }),
            }
        }
        versions.sort_by_key(|version| usize::MAX - version.holders.len());
        versions
    }
}

/// What a file is that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What it should be.
    Right,
    /// Something else.
    Failed,
    /// Nobody says what it should be.
    Unknown,
}

/// What a node has to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum UiEvent {
    /// The server: a JOIN is complete. The names each follow a space.
    Joined {
        /// Who.
        who: SocketAddr,
        /// ` a.mp4 b.mp4`.
        names: String,
    },
    /// The server: a SEARCH.
    Asked {
        /// By whom.
        who: SocketAddr,
        /// For what.
        name: RelativeName,
    },
    /// The log server: an operation.
    Logged(Logged),
    /// A port is open.
    Listening(SocketAddr),
    /// A port is open on which an old wire is spoken.
    OldPort {
        /// Where.
        at: SocketAddr,
        /// Which.
        speaks: LegacyProfile,
    },
    /// The server: an operation on an old wire.
    Operation {
        /// For whom.
        user: UserName,
        /// What.
        method: Method,
        /// On which wire.
        speaks: LegacyProfile,
    },
    /// A port is not.
    PortFailed {
        /// Which.
        at: SocketAddr,
        /// In the words of the system.
        why: String,
    },
    /// The peer: JOIN_OK has come.
    IAm {
        /// Its address.
        me: SocketAddr,
        /// ` a.mp4 b.mp4`.
        names: String,
    },
    /// An answer to SEARCH.
    Found {
        /// What was searched.
        name: RelativeName,
        /// Who has it.
        holders: Vec<Provider>,
    },
    /// What is waited for is there.
    Appeared(Provider),
    /// What was waited for is gone.
    Gone {
        /// From whom.
        peer: SocketAddr,
        /// What he called it.
        name: RelativeName,
    },
    /// How a process is.
    Figures(Vec<Metric>),
    /// One page of the users who are there.
    Users(Vec<Online>),
    /// One page of what a user has published.
    Content {
        /// Who.
        of: UserName,
        /// What.
        files: Vec<Publication>,
    },
    /// An operation on accounts has succeeded.
    Done(Method),
    /// One page of the holders of files with a text in their name or description.
    Holders(Vec<Provider>),
    /// Files that were found and whose users are away.
    Away(Vec<Away>),
    /// There are more of them than were asked for.
    MoreFound,
    /// One page of PEERS.
    Peers(Vec<PeerEntry>),
    /// One page of LS.
    Files {
        /// Whose.
        peer: SocketAddr,
        /// What.
        files: Vec<FileEntry>,
    },
    /// A peer and all that it shares.
    Node {
        /// Who.
        peer: PeerEntry,
        /// What.
        files: Vec<FileEntry>,
    },
    /// The peer: something about its folder that its owner should know.
    OfShare {
        /// As it was given.
        folder: String,
        /// What.
        note: Note,
    },
    /// JOIN came again for the place and the folder with which the peer is in the network already.
    AlreadyJoined(SocketAddr),
    /// What was published is not in the folder: nobody could download it yet.
    NotHere(Line),
    /// The date and the time of day, before an answer that wants them: `dd/mm/yyyy hh:mm:ss`.
    At(String),
    /// A list that is kept beside for later could not be written.
    NotKept {
        /// Its name.
        name: String,
        /// In the words of the system.
        why: String,
    },
    /// LEAVE_OK has come.
    Left,
    /// A download has begun, or goes on.
    Begun {
        /// Which file.
        name: RelativeName,
        /// From whom.
        from: SocketAddr,
        /// How many bytes are there already.
        held: u64,
        /// Of how many.
        size: u64,
    },
    /// How far a download is.
    Progress {
        /// Which file.
        name: RelativeName,
        /// How many bytes are there.
        held: u64,
        /// Of how many.
        size: u64,
    },
    /// A download waits.
    Stalled {
        /// Which file.
        name: RelativeName,
        /// For what.
        why: WaitReason,
    },
    /// A download is done.
    Saved {
        /// Which file.
        name: RelativeName,
        /// Into which folder, as it was given.
        folder: String,
        /// Its bytes.
        size: u64,
        /// From whom the first of them came.
        from: SocketAddr,
        /// What they lead to.
        root: Option<ContentHash>,
    },
    /// A download is done, and nobody could say whether its bytes are the right ones.
    Unverified {
        /// Which file.
        name: RelativeName,
        /// Into which folder, as it was given.
        folder: String,
        /// Its bytes.
        size: u64,
        /// From whom.
        from: SocketAddr,
    },
    /// A file can be played from here while it arrives.
    Playing {
        /// Which file.
        name: RelativeName,
        /// Where.
        url: String,
    },
    /// The player has ended before the file was there: its download goes on.
    PlayerEnded {
        /// Which player.
        player: String,
        /// Which file.
        name: RelativeName,
    },
    /// What is played of this file is what its owner gives: nothing proves it, or not yet.
    Unproven(RelativeName),
    /// What came from a source was wrong: it is not asked again for this file.
    Blamed {
        /// Which file.
        name: RelativeName,
        /// Who gave it.
        who: SocketAddr,
    },
    /// Files of one name have different contents: a person, or the next command, must choose.
    Choice {
        /// The name.
        name: RelativeName,
        /// What there is.
        contents: Vec<Version>,
    },
    /// The link to a source is one of QUIC.
    ByQuic(SocketAddr),
    /// A source is not reached by QUIC: TCP takes over.
    TcpTakesOver {
        /// Which source.
        peer: SocketAddr,
        /// Where QUIC was tried.
        udp: SocketAddr,
        /// In the words of the system.
        why: String,
    },
    /// The same file was there already.
    Same {
        /// Which file.
        name: RelativeName,
    },
    /// How far the check of a file is.
    Verifying {
        /// Which file.
        name: RelativeName,
        /// How many bytes were read.
        held: u64,
        /// Of how many.
        size: u64,
    },
    /// A file was checked.
    Verified {
        /// Which file.
        name: RelativeName,
        /// Its bytes.
        size: u64,
        /// What they lead to.
        root: ContentHash,
        /// What that means.
        verdict: Verdict,
        /// What they should lead to: any of these.
        expected: Vec<ContentHash>,
    },
    /// Not all files that were checked are what they should be.
    Mismatched {
        /// How many are not.
        failed: u64,
        /// Of how many.
        of: u64,
    },
    /// The file at the source is another one now; the download begins anew.
    Restarted(RelativeName),
    /// A download, or the check of a file, goes on no more: its bar goes, and why is told next.
    Stopped(RelativeName),
    /// A command, or a download, came to nothing.
    Failed(Failure),
    /// The server is away; it will be tried again.
    ServerLost {
        /// Which one.
        server: SocketAddr,
        /// In words.
        why: String,
    },
    /// The server is there again.
    ServerFound(SocketAddr),
    /// May `who` have `name`?
    Consent {
        /// Who asks.
        who: SocketAddr,
        /// For what.
        name: RelativeName,
    },
    /// Too late to answer the question for `name`.
    ConsentExpired(RelativeName),
    /// Something is asked of the person.
    Prompt(Prompt),
    /// Progress or result of a load.
    #[cfg(feature = "loadgen")]
    Bench(Box<News>),
    /// The list of commands.
    Help,
}
