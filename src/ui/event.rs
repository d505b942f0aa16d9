//! Events for the user, as data. [`text`](crate::ui::text) puts them in words, `--json` in objects.

use std::net::SocketAddr;

use crate::cluster::info::EngineRefusal;
#[cfg(feature = "loadgen")]
use crate::loadgen::report::News;
use crate::protocol::administration::AdminResponse;
use crate::protocol::control::ControlAnswer;
use crate::protocol::error::ErrorReply;
use crate::protocol::legacy::onc_rpc::Logged;
use crate::protocol::link::{LinkEntry, LinkUrl};
use crate::protocol::member::{Applicant, AuditLine, InviteEntry, InviteTerms, Member, ServerInfo};
use crate::protocol::metric::Metric;
use crate::protocol::request::FileEntry;
use crate::protocol::response::{Away, PeerEntry, Provider};
use crate::protocol::types::account::{Key, Line, Method, Online, Publication, UserName};
use crate::protocol::types::file_name::BadName;
use crate::protocol::types::file_name::FileName;
use crate::protocol::types::folder::FolderSummary;
use crate::protocol::types::foreign_server::ForeignServer;
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::link_ticket::LinkId;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::skipped::Note;

/// The exit codes, as in the README.
pub mod exit {
    /// Done; also when the same file was there already.
    pub const DONE: i32 = 0;
    /// A fault of cardume.
    pub const FAULT: i32 = 1;
    /// Wrong words on the command line.
    pub const USAGE: i32 = 2;
    /// No such file or peer.
    pub const NOT_FOUND: i32 = 3;
    /// The other side says no.
    pub const REFUSED: i32 = 4;
    /// A server or a source can't be reached.
    pub const UNREACHABLE: i32 = 5;
    /// The received bytes do not match their root.
    pub const VERIFY: i32 = 6;
    /// Local disk or address: missing folder, full disk, busy port, another file in the way.
    pub const LOCAL: i32 = 7;
    /// The other side does not speak the protocol.
    pub const PROTOCOL: i32 = 8;
    /// Interrupted; run the command again to go on.
    pub const INTERRUPTED: i32 = 130;
    /// The reader of the output has gone: the code of a shell for a program that SIGPIPE ended.
    pub const NO_READER: i32 = 141;
}

/// Why a download waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// A person at the other side has to consent.
    Consent,
    /// All upload slots of the other side are taken; the place in the queue.
    Slot(u64),
    /// The source cannot be reached, or has left.
    Source,
    /// The source sends nothing.
    Silence,
    /// No peer has the file yet.
    Nobody,
    /// Writes to the disk are behind.
    Disk,
    /// The owner is still hashing the file.
    Hashing,
}

/// A command whose answer in the UC3M console begins with the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedCommand {
    /// An operation on accounts.
    Operation(Method),
    /// Download a file of a user.
    GetFile,
}

impl NamedCommand {
    /// The name in that console.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            NamedCommand::Operation(method) => method.as_str(),
            NamedCommand::GetFile => "GET_FILE",
        }
    }
}

/// Why a command failed.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No server answers at this address.
    NoServer(Option<SocketAddr>),
    /// The server at this address does not speak the protocol.
    Foreign(SocketAddr, ForeignServer),
    /// The server or provider at this address does not hold the expected key.
    WrongKey(SocketAddr),
    /// The server at this address has shown another key than the known one.
    ServerKey { at: SocketAddr, known: Key, shown: Option<Key> },
    /// The host name does not resolve; the reason as the system gives it.
    NoHost(String, String),
    /// A row of the audit log was changed, removed or added by another program.
    AuditRow(u64),
    /// The text is no invite; the reason is in English.
    Invite(String),
    /// The server has no certificate for browsers.
    NoSite,
    /// No file can have this name.
    Name(String, BadName),
    /// The other side refuses.
    Refused(ErrorReply),
    /// The server refuses an operation on accounts.
    Operation(Method, ErrorReply),
    /// A command with an answer of its own failed for this reason.
    Named(NamedCommand, Box<Failure>),
    /// Wrong arguments; the usage of the command.
    Usage(&'static str),
    /// No peer has the file.
    NotFound(RelativeName),
    /// No running peer holds the key of this user.
    NoOwnPeer,
    /// So many files of a folder could not be downloaded; the worst exit code.
    FolderFiles { name: RelativeName, failed: u64, of: u64, code: i32 },
    /// Files of that name have different contents.
    Ambiguous(RelativeName),
    /// The partial file of that name holds `held` bytes of another content.
    OtherContent { part: String, root: Option<ContentHash>, held: u64 },
    /// The last source sent wrong bytes.
    BadBytes(RelativeName, SocketAddr),
    /// Not a root: `b3:` and 64 hex digits.
    Root(String),
    /// No source can be reached.
    NoSource(RelativeName),
    /// So many bytes were received; the legacy protocol does not mark the end of a file.
    Unended(RelativeName, u64),
    /// Datagrams of the file were lost on the way.
    Lost(RelativeName),
    /// The other side does not speak the protocol; the detail is in English.
    Protocol(String),
    /// The local disk failed; the reason as the system says.
    Disk(String),
    /// The reader of the pipe has gone.
    NoReader,
    /// The folder does not exist.
    NoFolder(String),
    /// Cannot listen there; the reason as the system says.
    Port(SocketAddr, String),
    /// The peer listens at the first address; the server (second) sees the other address family.
    Unseen(SocketAddr, SocketAddr),
    /// Unknown command.
    Unknown(String),
    /// A wrong argument; the expected form.
    Wrong(&'static str),
    /// A media player cannot be started; the reason as the system says.
    Player(String, String),
    /// SEARCH comes before DOWNLOAD.
    SearchFirst,
    /// An answer without a question.
    NoQuestion,
    /// The peer has not joined.
    NotJoined,
    /// The engine of a shared index can't be used.
    Engine(EngineRefusal),
    /// The engine of the accounts can't be used.
    AccountsEngine(EngineRefusal),
}

impl Failure {
    /// The detail of a protocol error.
    #[must_use]
    pub fn protocol_detail(&self) -> Option<&str> {
        match self {
            Failure::Protocol(detail) => Some(detail),
            Failure::Named(_, why) => why.protocol_detail(),
            _ => None,
        }
    }

    /// The exit code of a one-shot command after this failure.
    #[must_use]
    pub fn code(&self) -> i32 {
        use crate::protocol::error::ErrorCode;
        match self {
            Failure::NoServer(_) | Failure::NoHost(..) | Failure::NoSource(_) => exit::UNREACHABLE,
            Failure::NotFound(_) | Failure::NoOwnPeer => exit::NOT_FOUND,
            Failure::BadBytes(..)
            | Failure::WrongKey(_)
            | Failure::ServerKey { .. }
            | Failure::AuditRow(_) => exit::VERIFY,
            Failure::Invite(_) => exit::USAGE,
            Failure::NoSite => exit::REFUSED,
            Failure::NoReader => exit::NO_READER,
            Failure::Ambiguous(_) | Failure::OtherContent { .. } | Failure::Root(_) => exit::USAGE,
            Failure::Protocol(_)
            | Failure::Foreign(..)
            | Failure::Unended(..)
            | Failure::Lost(_) => exit::PROTOCOL,
            Failure::Disk(_)
            | Failure::NoFolder(_)
            | Failure::Port(..)
            | Failure::Unseen(..)
            | Failure::Player(..)
            | Failure::Engine(_)
            | Failure::AccountsEngine(_) => exit::LOCAL,
            Failure::FolderFiles { code, .. } => *code,
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
                ErrorCode::Internal | ErrorCode::Io | ErrorCode::Unavailable => exit::UNREACHABLE,
                _ => exit::REFUSED,
            },
        }
    }
}

/// Questions of the console.
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
    /// Whether to download the files shown.
    Download,
    /// The name of a user.
    User,
    /// A word or more of a name or a description.
    Text,
}

/// A content beside others with the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The root.
    pub root: ContentHash,
    /// In bytes.
    pub size: u64,
    /// The peers with all or a part of the content.
    pub holders: Vec<SocketAddr>,
}

impl Version {
    /// The contents with a root, the most frequent first.
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

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The content matches the root.
    Right,
    /// The content does not match.
    Failed,
    /// No root is known for the file.
    Unknown,
    /// The file of a list is not here.
    Missing,
}

/// Counts of verdicts.
#[derive(Default)]
pub struct VerifyTally {
    right: u64,
    failed: u64,
    unknown: u64,
    unread: u64,
}

impl VerifyTally {
    /// Counts a verdict.
    pub fn note(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Right => self.right += 1,
            Verdict::Failed | Verdict::Missing => self.failed += 1,
            Verdict::Unknown => self.unknown += 1,
        }
    }

    /// Counts a file or a folder that can't be read.
    pub fn note_unread(&mut self) {
        self.unread += 1;
    }

    /// The event about mismatches, if there are any.
    #[must_use]
    pub fn mismatches(&self) -> Option<UiEvent> {
        let &VerifyTally { right, failed, unknown, .. } = self;
        (failed > 0).then(|| UiEvent::Mismatched { failed, of: right + failed + unknown })
    }

    /// The exit code; a mismatch matters most.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self {
            VerifyTally { failed: 1.., .. } => exit::VERIFY,
            VerifyTally { unread: 1.., .. } => exit::LOCAL,
            VerifyTally { unknown: 1.., .. } => exit::NOT_FOUND,
            _ => exit::DONE,
        }
    }
}

/// The outcome of a command about members. Times are index seconds; `now` is the time of the list.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberEvent {
    /// This user is a member.
    Enrolled(ServerInfo),
    /// This key waits for an administrator.
    Pending {
        server: Key,
        key: Option<Key>,
    },
    /// A new invite; its URL is a secret.
    Invite {
        url: String,
        /// The same invite for a browser.
        web: Option<String>,
        terms: InviteTerms,
        qr: bool,
    },
    /// The server, and the rights of this user.
    Server(ServerInfo),
    Members {
        members: Vec<Member>,
        now: u64,
    },
    Applicants {
        applicants: Vec<Applicant>,
        now: u64,
    },
    Invites(Vec<InviteEntry>),
    /// The invite is withdrawn.
    Uninvited,
    /// A member was admitted or changed.
    Changed(Member),
    /// Members were revoked.
    Revoked {
        keys: Vec<Key>,
        count: u64,
    },
    /// So many rows were removed from the beginning of the audit log.
    Pruned(u64),
    /// Rows of the audit log.
    Rows {
        rows: Vec<AuditLine>,
        now: u64,
    },
    /// Beyond the members.
    Admin(AdminResponse),
}

/// The outcome of a command about links.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// A new link. `pin`: the key of the peer, as curl takes it. `is_here_only`: other machines
    /// can't reach the host of the URL.
    Made { url: LinkUrl, id: LinkId, left: u64, pin: String, is_here_only: bool },
    /// A page of live links.
    Links(Vec<LinkEntry>),
    /// The link has ended.
    Revoked,
}

/// The files that a search has found, before they are downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// Name and size of each, by name.
    pub files: Vec<(RelativeName, Option<u64>)>,
    /// Bytes that the disk has room for; `None` if unknown.
    pub free: Option<u64>,
    /// The search has found more.
    pub has_more: bool,
}

impl Preview {
    /// Bytes of all files, as far as known.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.files.iter().filter_map(|(_, size)| *size).fold(0, u64::saturating_add)
    }
}

/// The state of the download of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderProgress {
    /// The folder.
    pub name: RelativeName,
    /// Files that are settled.
    pub files: u64,
    /// Files in all.
    pub count: u64,
    /// Bytes of settled files.
    pub held: u64,
    /// Bytes of all files.
    pub size: u64,
}

/// An event of the download of a folder.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FolderEvent {
    /// The list is known.
    Begun {
        name: RelativeName,
        from: SocketAddr,
        summary: FolderSummary,
    },
    Progress(FolderProgress),
    /// A file is saved; `name` has the folder in front.
    File {
        name: RelativeName,
        folder: String,
        size: u64,
        from: SocketAddr,
        root: ContentHash,
    },
    /// The same file was here already.
    Same {
        name: RelativeName,
    },
    /// Every file is here, below `folder`.
    Saved {
        name: RelativeName,
        folder: String,
        summary: FolderSummary,
    },
}

/// An event about the drop folder.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DropEvent {
    /// A visitor waits for consent.
    Asked { who: SocketAddr, name: FileName, size: u64 },
    /// The question has expired.
    Expired(FileName),
    /// A file is stored.
    Stored { who: SocketAddr, name: FileName, size: u64 },
}

/// Names of a line about the files of a peer; a person reads no more of them.
pub const LINE_NAMES: usize = 100;
/// Bytes of a line with all names: a hundred thousand files are listed in full, ten million are not.
const LINE_BYTES: usize = 64 << 20;

/// The names of a line about the files of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameLine {
    /// ` a.mp4 b.mp4`.
    names: String,
    /// Names that the line still takes.
    room: usize,
    /// Names left out.
    more: u64,
}

impl NameLine {
    /// A line without names: it takes all names, or [`LINE_NAMES`].
    #[must_use]
    pub fn new(takes_all: bool) -> NameLine {
        let room = if takes_all { usize::MAX } else { LINE_NAMES };
        NameLine { names: String::new(), room, more: 0 }
    }

    /// Append a name.
    pub fn push(&mut self, name: &RelativeName) {
        if self.room == 0 || self.names.len() >= LINE_BYTES {
            self.more += 1;
            return;
        }
        self.room -= 1;
        self.names.push(' ');
        self.names.push_str(name);
    }

    /// ` a.mp4 b.mp4`, and the number of names left out.
    #[must_use]
    pub fn parts(&self) -> (&str, u64) {
        (&self.names, self.more)
    }

    /// The line of these names.
    #[must_use]
    pub fn of<'n>(names: impl IntoIterator<Item = &'n RelativeName>, takes_all: bool) -> NameLine {
        let mut line = NameLine::new(takes_all);
        names.into_iter().for_each(|name| line.push(name));
        line
    }
}

/// An event for the user.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq)]
pub enum UiEvent {
    /// Server: a JOIN is complete.
    Joined { who: SocketAddr, names: NameLine },
    /// Server: a SEARCH.
    Asked { who: SocketAddr, name: RelativeName },
    /// Log receiver: an operation.
    Logged(Logged),
    /// A port is open.
    Listening(SocketAddr),
    /// The port of a legacy protocol is open.
    OldPort { at: SocketAddr, speaks: LegacyProfile },
    /// Peer: the port of a legacy protocol is open.
    LegacyPort { at: SocketAddr, speaks: LegacyProfile },
    /// Server: an operation by a legacy protocol.
    Operation { user: UserName, method: Method, speaks: LegacyProfile },
    /// A port cannot be opened; the reason as the system says.
    PortFailed { at: SocketAddr, why: String },
    /// Peer: JOIN_OK was received.
    IAm { me: SocketAddr, names: NameLine },
    /// An answer to SEARCH.
    Found { name: RelativeName, holders: Vec<Provider> },
    /// Subscription: a provider has appeared.
    Appeared(Provider),
    /// Subscription: a provider is gone.
    Gone { peer: SocketAddr, name: RelativeName },
    /// The metrics of a process.
    Figures(Vec<Metric>),
    /// A page of the connected users.
    Users(Vec<Online>),
    /// A page of the publications of a user.
    Content { of: UserName, files: Vec<Publication> },
    /// An operation on accounts has succeeded.
    Done(Method),
    /// A command about members.
    Member(Box<MemberEvent>),
    /// A command about links.
    Link(Box<LinkEvent>),
    /// The answer of a peer to its user.
    Control(Box<ControlAnswer>),
    /// A page of the results of FIND.
    Holders(Vec<Provider>),
    /// Results of FIND whose users are not connected.
    Away(Vec<Away>),
    /// A search has more results than its limit.
    MoreFound,
    /// The answer to a search may lack providers of other servers.
    Incomplete,
    /// A page of PEERS.
    Peers(Vec<PeerEntry>),
    /// A page of LS.
    Files { peer: SocketAddr, files: Vec<FileEntry> },
    /// A peer and the shared files.
    Node { peer: PeerEntry, files: Vec<FileEntry> },
    /// Peer: a note about the shared folder, by its path as given.
    OfShare { folder: String, note: Note },
    /// JOIN names the address and folder that are registered already.
    AlreadyJoined(SocketAddr),
    /// A published file is not in the folder: no peer can download the file yet.
    NotHere(Line),
    /// The time of an answer, for consoles that show the time: `dd/mm/yyyy hh:mm:ss`.
    At(String),
    /// A saved list could not be written; the reason as the system says.
    NotKept { name: String, why: String },
    /// LEAVE_OK was received.
    Left,
    /// A download begins, or continues with `held` of `size` bytes.
    Begun { name: RelativeName, from: SocketAddr, held: u64, size: u64 },
    /// Progress of a download in bytes.
    Progress { name: RelativeName, held: u64, size: u64 },
    /// A download waits.
    Stalled { name: RelativeName, why: WaitReason },
    /// A download is complete and verified. `from` sent its first bytes.
    Saved {
        name: RelativeName,
        folder: String,
        size: u64,
        from: SocketAddr,
        root: Option<ContentHash>,
    },
    /// A download is complete, and no root confirms its bytes.
    /// `is_sized`: the source has said the size.
    Unverified { name: RelativeName, folder: String, size: u64, from: SocketAddr, is_sized: bool },
    /// Peer: a connection that has fetched `size` bytes of a file fetches no more of it.
    Uploaded { name: RelativeName, to: SocketAddr, size: u64 },
    /// The URL that plays a file during its download.
    Playing { name: RelativeName, url: String },
    /// A gateway is ready, under this secret URL.
    Web { url: String },
    /// The media player ended before the download, which continues.
    PlayerEnded { player: String, name: RelativeName },
    /// Bytes are played that no hash list proves, or not yet.
    Unproven(RelativeName),
    /// A source sent wrong bytes and is not used again for this file.
    Blamed { name: RelativeName, who: SocketAddr },
    /// Files of one name have different contents: the next command must choose.
    Choice { name: RelativeName, contents: Vec<Version> },
    /// The connection to a source uses QUIC.
    ByQuic(SocketAddr),
    /// QUIC does not reach a source at `udp`, so TCP takes over; the reason as the system says.
    TcpTakesOver { peer: SocketAddr, udp: SocketAddr, why: String },
    /// The same file was here already.
    Same { name: RelativeName },
    /// The download of a folder.
    Folder(Box<FolderEvent>),
    /// The files that a search has found, before they are downloaded.
    Preview(Box<Preview>),
    /// Progress of a check in bytes.
    Verifying { name: RelativeName, held: u64, size: u64 },
    /// A file was checked. Any root of `expected` would be right.
    Verified {
        name: RelativeName,
        size: u64,
        /// `None` for a file that was not read.
        root: Option<ContentHash>,
        verdict: Verdict,
        expected: Vec<ContentHash>,
    },
    /// Some of the checked files do not match.
    Mismatched { failed: u64, of: u64 },
    /// The file has changed at its source; the download starts again.
    Restarted(RelativeName),
    /// A download or check has stopped; the next event says why.
    Stopped(RelativeName),
    /// A command or a download failed.
    Failed(Failure),
    /// The connection to the server is lost and will be retried.
    ServerLost { server: SocketAddr, why: String },
    /// The server answers again.
    ServerFound(SocketAddr),
    /// A requester waits for consent.
    Consent { who: SocketAddr, name: RelativeName },
    /// The question for consent has expired.
    ConsentExpired(RelativeName),
    /// A file for the drop folder.
    Drop(Box<DropEvent>),
    /// A question for the person.
    Prompt(Prompt),
    /// Progress or result of a load test.
    #[cfg(feature = "loadgen")]
    Bench(Box<News>),
    /// The list of commands.
    Help,
}
