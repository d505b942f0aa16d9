//! The texts that each language has. A translator works on a single file: `pt.rs`, `es.rs` or
//! `en.rs`. The compiler reports a missing message.

use std::net::SocketAddr;

#[cfg(feature = "loadgen")]
use crate::loadgen::report::ReportWords;
use crate::protocol::control::TransferTotals;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::types::account::Line;
use crate::protocol::types::file_name::BadName;
use crate::protocol::types::link_ticket::LinkId;
use crate::protocol::types::member::MemberRole;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::fs_trait::{Barred, Blind};
use crate::ui::event::{DropEvent, Failure, Prompt, WaitReason};

/// All messages in a language.
pub trait Catalog {
    /// A note on stderr.
    fn notice(&self, notice: &Notice) -> String;
    /// A note for the owner of a shared folder.
    fn folder_note(&self, folder: &str, note: &FolderNote) -> String;
    /// Why a file is not shared.
    fn barred(&self, why: Barred) -> &'static str;
    /// The number of names that a line leaves out.
    fn more_names(&self, more: u64) -> String;
    /// Why a download waits.
    fn wait_reason(&self, why: &WaitReason) -> String;
    /// Why a command failed. The detail of a protocol error is English: other languages leave it to
    /// the log.
    fn failure(&self, failure: &Failure) -> String;
    /// The outcome of a command about members, where it is a note.
    fn member(&self, note: &MemberNotice) -> String;
    /// A new link, and on a line alone the command that fetches the file.
    fn link(&self, note: &LinkNotice) -> String;
    /// The sums of a peer, and the limits of its rates.
    fn totals(&self, totals: &TransferTotals) -> String;
    /// Why a text is no file name.
    fn bad_name(&self, why: BadName) -> &'static str;
    /// An error reply: the meaning and code, and the [`reason`] that the other side gives.
    fn refusal(&self, reply: &ErrorReply) -> String;
    /// The meaning of an error code.
    fn error_code(&self, code: ErrorCode) -> &'static str;
    /// A cause, and the remedy.
    fn cause(&self, cause: Cause) -> &'static str;
    /// A system error that [`Cause`] does not list.
    fn unknown_cause(&self, code: i32) -> String;
    /// `file` exists and was not made by cardume.
    fn not_ours(&self, file: &str) -> String;
    /// A QUIC connection has failed; `detail` is in English.
    fn quic_failed(&self, detail: &str) -> String;
    /// The partial file `file` holds bytes of another content.
    fn other_content(&self, file: &str) -> String;
    /// Another program modifies `file`.
    fn changed_elsewhere(&self, file: &str) -> String;
    /// A question of the console.
    fn prompt(&self, prompt: Prompt) -> &'static str;
    /// The word beside the remaining time of a progress bar.
    fn remaining(&self) -> &'static str;
    /// The commands of the console, one a line.
    fn help(&self) -> &'static str;
    /// An error of the command line.
    fn usage_error(&self, error: &UsageError) -> String;
    /// Behind an invalid value: the values that are possible.
    fn possible_values(&self, values: &str) -> String;
    /// Behind an unknown word: a similar word.
    fn similar(&self, word: &str) -> String;
    /// `message` with the command that shows more help.
    fn see_help(&self, message: &str, help: &str) -> String;
    /// A note at the start of a server.
    fn setup(&self, note: &SetupNote) -> String;
    /// The question for the listen address of a server.
    fn listen_question(&self) -> ListenQuestion;
    /// The words of a load report.
    #[cfg(feature = "loadgen")]
    fn report_words(&self) -> ReportWords;
}

/// Notes of one line, with the parts that each carries. `why` is a cause in the same language.
#[allow(missing_docs)]
pub enum Notice<'a> {
    /// A port is open.
    Listening(SocketAddr),
    /// JOIN names the address and folder that are registered already.
    AlreadyJoined(SocketAddr),
    /// A published file is not in the folder.
    NotHere(&'a Line),
    /// A saved list could not be written.
    NotKept { name: &'a str, why: &'a str },
    /// The peer has left the network.
    Left,
    /// A download begins.
    Begun { name: &'a RelativeName, from: SocketAddr },
    /// A download continues with `held` of `size` bytes.
    Resumed { name: &'a RelativeName, from: SocketAddr, held: u64, size: u64 },
    /// A download is complete, and no root confirms the bytes.
    Unverified { name: &'a RelativeName, folder: &'a str, is_sized: bool },
    /// QUIC does not reach a source.
    TcpTakesOver { udp: SocketAddr, why: &'a str },
    /// The media player ended before the download.
    PlayerEnded { player: &'a str, name: &'a RelativeName },
    /// Unverified bytes are played.
    Unproven(&'a RelativeName),
    /// A source sent wrong bytes.
    Blamed { name: &'a RelativeName, who: SocketAddr },
    /// The same file was here already.
    Same(&'a RelativeName),
    /// Some of the checked files are wrong.
    Mismatched { failed: u64, of: u64 },
    /// The file has changed at its source.
    Restarted(&'a RelativeName),
    /// The connection to the server is lost.
    ServerLost { server: SocketAddr, why: &'a str },
    /// The server answers again.
    ServerFound(SocketAddr),
    /// A search has more results than its limit.
    MoreFound,
    /// The answer to a search may lack providers of other servers.
    Incomplete,
    /// A requester waits for consent.
    Consent { who: SocketAddr, name: &'a RelativeName },
    /// The question for consent has expired.
    ConsentExpired(&'a RelativeName),
    /// A file for the drop folder.
    Drop(&'a DropEvent),
}

/// Notes about members.
#[allow(missing_docs)]
pub enum MemberNotice<'a> {
    /// This user is a member of the server.
    Enrolled { server: &'a str, name: &'a str, role: MemberRole },
    /// The key waits for an administrator.
    Pending { key: &'a str },
    /// An invite admits so many, for so long.
    Invite { uses: u32, lasts: &'a str },
    /// So many members were revoked.
    Revoked(u64),
    /// So many rows were removed from the beginning of the audit log.
    Pruned(u64),
    /// So many connections were closed.
    Closed(u64),
}

/// A new link.
#[allow(missing_docs)]
pub struct LinkNotice<'a> {
    pub id: LinkId,
    pub lasts: &'a str,
    pub command: &'a str,
    /// Other machines can't reach the host of the URL.
    pub is_here_only: bool,
}

/// Notes for the owner of a shared folder.
#[allow(missing_docs)]
pub enum FolderNote {
    /// `total` files are not shared; `reasons` counts them by reason.
    LeftOut { total: u64, reasons: String },
    /// The folder does not exist.
    Missing,
    /// The folder exists again.
    Back,
    /// Changes are polled, not notified.
    Blind(Blind),
}

/// Errors of the command line. Arguments are spelled as in the help.
#[allow(missing_docs)]
pub enum UsageError<'a> {
    UnexpectedArgument(&'a str),
    UnknownCommand(&'a str),
    MissingValue(&'a str),
    InvalidValue {
        value: &'a str,
        arg: &'a str,
    },
    MissingArgument(&'a str),
    Repeated(&'a str),
    /// The argument excludes another one, which is unknown.
    Conflict(&'a str),
    ConflictWith {
        arg: &'a str,
        prior: &'a str,
    },
    NoEquals(&'a str),
    WrongNumber(&'a str),
    MissingCommand,
    NotUtf8,
    Other,
}

/// A text about the engine of the index, for the engine of the accounts.
#[must_use]
pub fn of_accounts(text: &str) -> String {
    text.replace("--index-file", "--accounts-file")
        .replace("--index", "--accounts-engine")
        .replace("CARDUME_INDEX", "CARDUME_ACCOUNTS")
}

/// Notes at the start of a server, most of them about the folder of its accounts.
#[allow(missing_docs)]
pub enum SetupNote<'a> {
    AccountsInMemory,
    /// An engine has the accounts.
    AccountsOnEngine,
    /// The command line has the password of an engine.
    PasswordShown,
    AccountsIn(&'a str),
    /// From a folder of an earlier version.
    AccountsMoved {
        old: &'a str,
        new: &'a str,
    },
    /// A folder of an earlier version that this server does not use.
    AccountsUnused(&'a str),
    /// The user has no home folder.
    NoFolder,
    /// Several folders of earlier versions.
    SeveralFolders(&'a str),
    /// The question for the listen address was cancelled.
    NotStarted,
    /// The server is open on other addresses than loopback.
    Open,
}

/// The question for a listen address.
#[allow(missing_docs)]
pub struct ListenQuestion {
    pub port: &'static str,
    /// Behind an answer that is no IP.
    pub no_ip: &'static str,
    /// Behind an answer that is no port.
    pub no_port: &'static str,
}

/// Known causes of failures.
#[allow(missing_docs)]
#[derive(Clone, Copy)]
pub enum Cause {
    PermissionDenied,
    NotFound,
    DiskFailed,
    OutputClosed,
    InUse,
    OutOfMemory,
    Exists,
    NotAFolder,
    IsAFolder,
    TooManyOpen,
    TooLarge,
    DiskFull,
    ReadOnly,
    BrokenPipe,
    NameTooLong,
    SymbolicLink,
    NotPossible,
    NoAddressFamily,
    PortInUse,
    AddressNotLocal,
    NoInterface,
    Unroutable,
    ConnectionReset,
    NoAnswer,
    ConnectionRefused,
    ConnectionLost,
    UnknownName,
    NotAnAddress,
    EarlyEnd,
    NotText,
    NotAStore,
    StoreClosed,
    NameTaken,
    DownloadedElsewhere,
    NoFolder,
    Changing,
    FolderShared,
    FolderHeld,
    NotInstalled,
    OpenFileLimit,
    SizeLimit,
    NotAKey,
    TooLong,
    Changed,
    NotAFile,
    NoKey,
    OtherKey,
    NoSharedMemory,
    LinkGone,
    NoQuic,
}

/// The reason that the other side gives for an error, always in English. `None` where the code has
/// one possible reason, as those of accounts have.
#[must_use]
pub fn reason(reply: &ErrorReply) -> Option<&str> {
    let code_is_reason = matches!(
        reply.code,
        ErrorCode::Taken
            | ErrorCode::NoUser
            | ErrorCode::NoRemoteUser
            | ErrorCode::Connected
            | ErrorCode::NotConnected
            | ErrorCode::Published
            | ErrorCode::NotPublished
            | ErrorCode::BadProof
            | ErrorCode::AccountRequired
            | ErrorCode::NotMember
            | ErrorCode::BadToken
            | ErrorCode::Expired
            | ErrorCode::EncryptedOnly
            | ErrorCode::Kicked
            | ErrorCode::Unavailable
    );
    Some(&*reply.text).filter(|text| !code_is_reason && !text.is_empty())
}
