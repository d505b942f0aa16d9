//! Effects of a client: requests of a command to the process around the client.
//!
//! The client queues effects; the node that owns the client drains the queue once an iteration.

use std::net::SocketAddr;

use crate::client::command::{DownloadTarget, PeerTarget, PreviewFiles, SaveTarget};
use crate::download::types::Credential;
use crate::protocol::control::ControlRequest;
use crate::protocol::error::ErrorReply;
use crate::protocol::member::Revocation;
use crate::protocol::response::{Provider, Response};
use crate::protocol::types::account::{Key, Publication};
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::relative_path::RelativeName;
use crate::ui::event::Failure;

/// A file at a peer that speaks a legacy protocol.
pub(crate) struct LegacyFile {
    pub(crate) remote: String,
    pub(crate) local: RelativeName,
    /// The folder of the file here; `None`: that of all downloads.
    pub(crate) folder: Option<String>,
    pub(crate) from: SocketAddr,
    pub(crate) speaks: LegacyProfile,
    /// GET_FILE: the end of the download answers the command.
    pub(crate) answers: bool,
}

/// The facts of a download at its end.
pub(crate) struct EndSummary {
    pub(crate) name: RelativeName,
    pub(crate) size: Option<u64>,
    pub(crate) from: Option<SocketAddr>,
    pub(crate) root: Option<ContentHash>,
    pub(crate) is_folder: bool,
}

/// A download that has ended.
pub(crate) struct EndedDownload {
    pub(crate) id: u64,
    pub(crate) failure: Option<Failure>,
    /// The file, when it is one more file of the share.
    pub(crate) saved: Option<RelativeName>,
    /// The name under which a part was announced and is no longer there.
    pub(crate) withdrawn: Option<RelativeName>,
    /// `None` for a file that a folder alone wants, for a download that the user has stopped, and for
    /// a folder of which the user chooses a content.
    pub(crate) end: Option<Box<EndSummary>>,
}

/// A request to the owner of a client.
pub(crate) enum Effect {
    /// GET: all providers are known. `retried`: the user knows that the file has none yet.
    Found { target: DownloadTarget, providers: Vec<Provider>, retried: bool },
    /// GET: the user has chosen this content.
    Chosen { target: DownloadTarget, root: ContentHash, providers: Vec<Provider> },
    /// GET by a search: these files were found; true: there are more.
    Gathered(PreviewFiles, bool),
    /// GET by a search: the user wants these files.
    Confirmed(PreviewFiles),
    /// Download from this peer alone.
    DownloadFrom(DownloadTarget, PeerTarget),
    /// GET_FILE: download from this peer under another name; its end answers the command.
    DownloadAs { remote: RelativeName, local: SaveTarget, from: SocketAddr },
    /// Download from a peer that speaks a legacy protocol.
    DownloadLegacy(LegacyFile),
    /// List the files of a peer that speaks a legacy protocol.
    ListLegacy(SocketAddr, LegacyProfile),
    /// PLAY.
    Play(DownloadTarget),
    /// PLAY of a file at this peer.
    PlayFrom(DownloadTarget, PeerTarget),
    /// More sources for this download.
    MoreSources(u64, Vec<Provider>),
    /// The console asks about the transfers of this peer.
    Control(Box<ControlRequest>),
    /// The server was asked for the providers of this entry of the queue.
    Sought(u32, Result<Response, ErrorReply>),
    /// The command is over, with this exit code.
    Finished(i32),
    /// The process ends: close the connections of downloads.
    ShutDown,

    /// JOIN: share this folder from this address.
    Join { at: SocketAddr, folder: String },
    /// CONNECT: open a port and join.
    OpenPort,
    /// The server has opened, or the login is settled: JOIN goes first, then the request of the
    /// command.
    ServerReady,
    /// The server has opened; `closed`: its key, if it is closed.
    ServerOpened { closed: Option<Key> },
    /// The server has announced its next key, with the signatures of both.
    NextKey(Key),
    /// The server has sent a pass, and the time in index seconds.
    PassReceived { pass: Credential, now: u64 },
    /// The server has refused a pass.
    PassRefused(ErrorReply),
    /// The answer to the look-up of this number.
    LookedUp(u64, Result<Response, ErrorReply>),
    /// The server has made passes void.
    Revoked(Revocation),
    /// A part of JOIN was answered.
    JoinAnswered(Response),
    /// UPDATE was answered.
    UpdateAnswered,
    /// The session is over: the server has lost its state.
    SessionLost,
    /// The user answers the first consent question.
    Verdict(bool),
    /// A requester waits for consent.
    ConsentAsked,
    /// The server has published this file.
    Published(Publication),
    /// A download has received bytes or changed its state.
    DownloadMoved(u64),
    /// A download has ended.
    DownloadEnded(EndedDownload),
}
