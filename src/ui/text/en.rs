//! English: every message for people.

use crate::cluster::info::EngineRefusal;
#[cfg(feature = "loadgen")]
use crate::loadgen::report::ReportWords;
use crate::protocol::control::TransferTotals;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::types::certificate_fault::CertificateFault;
use crate::protocol::types::file_name::{BadName, printable};
use crate::protocol::types::foreign_server::ForeignServer;
use crate::storage::fs_trait::{Barred, Blind};
use crate::ui::event::{DropEvent, Failure, Prompt, WaitReason};
use crate::ui::text::catalog::{
    Catalog, Cause, FolderNote, LinkNotice, ListenQuestion, MemberNotice, Notice, SetupNote,
    UsageError, of_accounts, reason,
};

/// The catalog of messages in English.
pub struct English;

impl Catalog for English {
    fn notice(&self, notice: &Notice) -> String {
        match notice {
            Notice::Listening(at) => format!("listening on {at}"),
            Notice::AlreadyJoined(at) => {
                format!("peer {at} is already registered with this folder")
            }
            Notice::NotHere(file) => {
                format!("{file}: is not in the folder; nobody can download it for now")
            }
            Notice::NotKept { name, why } => format!("{name}: was not kept: {why}"),
            Notice::Left => "left the network".into(),
            Notice::Begun { name, from } => format!("{name}: coming from {from}"),
            Notice::Resumed { name, from, held, size } => {
                format!("{name}: goes on from {from}, {held} of {size} bytes are here already")
            }
            Notice::Unverified { name, folder, is_sized } => {
                let end = if *is_sized {
                    ""
                } else {
                    "; its source has said no size, so the end may be missing"
                };
                format!(
                    "{name}: unverified! It is in {folder}, but its content was not checked against a root{end}"
                )
            }
            Notice::TcpTakesOver { udp, why } => {
                format!("UDP to {udp} does not get through: TCP takes over ({why})")
            }
            Notice::PlayerEnded { player, name } => {
                format!("{name}: {player} has ended; the download goes on")
            }
            Notice::Unproven(name) => {
                format!("{name}: played as it comes; nothing checks these bytes yet")
            }
            Notice::Blamed { name, who } => {
                format!("{name}: {who} gave wrong bytes and is not asked again")
            }
            Notice::Same(name) => format!("{name}: already here, the same"),
            Notice::Mismatched { failed, of } => format!("{failed} of {of} files do not match"),
            Notice::Restarted(name) => format!("{name}: has changed at its source, beginning anew"),
            Notice::ServerLost { server, why } => {
                format!("no server at {server} ({why}); trying again")
            }
            Notice::ServerFound(server) => format!("server {server} found"),
            Notice::Incomplete => "servers that could not be asked may know more".into(),
            Notice::MoreFound => "there are more; --limit N shows more".into(),
            Notice::Consent { who, name } => {
                format!("{who} asks for {name}. Do you approve the download? (YES/NO)")
            }
            Notice::Drop(DropEvent::Asked { who, name, size }) => {
                format!("{who} wants to give you {name} ({size} bytes). Do you take it? (YES/NO)")
            }
            Notice::Drop(DropEvent::Expired(name)) => {
                format!("{name}: no answer, the file was refused")
            }
            Notice::Drop(DropEvent::Stored { who, name, .. }) => {
                format!("{who} has given you {name}")
            }
            Notice::ConsentExpired(name) => format!("{name}: no answer, the download was refused"),
        }
    }

    fn folder_note(&self, folder: &str, note: &FolderNote) -> String {
        match note {
            FolderNote::LeftOut { total, reasons } => {
                format!("{folder}: {total} not shared: {reasons} (cardume ls --skipped says which)")
            }
            FolderNote::Missing => format!(
                "{folder}: the folder is not there; nothing in it is shared until it is back"
            ),
            FolderNote::Back => format!("{folder}: the folder is back"),
            FolderNote::Blind(Blind::Limit) => format!(
                "{folder}: too many folders for inotify (fs.inotify.max_user_watches); changes are looked for now and then"
            ),
            FolderNote::Blind(Blind::Network) => {
                format!("{folder}: is on the network; changes are looked for now and then")
            }
            FolderNote::Blind(Blind::Unsupported) => format!(
                "{folder}: the system does not tell of changes; they are looked for now and then"
            ),
        }
    }

    fn barred(&self, why: Barred) -> &'static str {
        match why {
            Barred::Name => "name not allowed",
            Barred::Encoding => "name not UTF-8",
            Barred::Deep => "too deep",
            Barred::Hidden => "hidden",
            Barred::Partial => "download under way",
            Barred::Kind => "no regular file",
            Barred::Unreadable => "unreadable",
            Barred::Secret => "secret key",
            Barred::Ours => "data of cardume itself",
            Barred::Excluded => "excluded",
        }
    }

    fn more_names(&self, more: u64) -> String {
        format!("and {more} more")
    }

    fn wait_reason(&self, why: &WaitReason) -> String {
        match why {
            WaitReason::Consent => "waiting for the other side's approval".into(),
            WaitReason::Slot(place) => format!("in the queue, place {place}"),
            WaitReason::Source => "source lost, trying again".into(),
            WaitReason::Silence => "stalled: nothing comes".into(),
            WaitReason::Nobody => "nobody has it yet, waiting".into(),
            WaitReason::Hashing => "its owner is still hashing the file".into(),
            WaitReason::Disk => "waiting for the disk".into(),
        }
    }

    fn failure(&self, failure: &Failure) -> String {
        match failure {
            Failure::NoServer(at) => {
                let at = at.map(|at| at.to_string()).unwrap_or_default();
                format!("no server answers at {at}")
            }
            Failure::Foreign(at, kind) => format!("{at} does not speak the protocol: {}", foreign(kind)),
            Failure::AuditRow(row) => {
                format!("row {row} of the audit log was changed by another program")
            }
            Failure::Invite(why) => why.clone(),
            Failure::ServerKey { at, known, shown } => {
                let shown = shown.map_or("of another kind".to_owned(), |key| key.to_string());
                format!(
                    "{at} has the key {shown}, and the known key is {known}: nothing was sent; if the server has a new key, use cardume join --replace INVITE"
                )
            }
            Failure::NoSite => "the server has no certificate for browsers".into(),
            Failure::WrongKey(at) => {
                format!("{at} has another key than expected: nothing was sent")
            }
            Failure::NoHost(host, why) => format!("server {host}: no such address ({why})"),
            Failure::Name(text, why) => format!("{}: {}", printable(text), self.bad_name(*why)),
            Failure::Refused(refusal) | Failure::Operation(_, refusal) => self.refusal(refusal),
            Failure::NoOwnPeer => {
                "none of your peers was found; name a running one with --peer IP:PORT".into()
            }
            Failure::NotFound(name) => format!("{name}: nobody has this file"),
            Failure::FolderFiles { name, failed, of, .. } => {
                format!("{name}/: {failed} of {of} files are missing; repeat the command to go on")
            }
            Failure::Ambiguous(name) => {
                format!("{name}: different files have this name; pick one with --hash")
            }
            Failure::OtherContent { part, root, held } => {
                let of = root.map_or_else(String::new, |root| format!(" (--hash b3:{root})"));
                format!(
                    "{part}: holds {held} bytes of another content{of}, and stays as it is; choose another name with -o, or remove {part}"
                )
            }
            Failure::BadBytes(name, who) => {
                format!("{name}: {who} gave wrong bytes, and there is no other source")
            }
            Failure::Root(text) => format!("{text}: expected b3: and 64 hex digits"),
            Failure::NoSource(name) => {
                format!("{name}: no source answers; the same command goes on later")
            }
            Failure::Lost(name) => format!(
                "{name}: datagrams were lost on the way, so the file is incomplete; the bytes stay in the .part"
            ),
            Failure::Unended(name, bytes) => format!(
                "{name}: {bytes} bytes came, and the source does not say whether these are all; they stay in the .part"
            ),
            Failure::Protocol(text) => {
                format!("the other side does not speak the protocol: {text}")
            }
            Failure::Disk(text) => format!("disk: {text}"),
            Failure::NoReader => "nobody reads the output any more".into(),
            Failure::NoFolder(folder) => format!("{folder}: no such folder"),
            Failure::Port(at, why) => format!("cannot listen on {at}: {why}"),
            Failure::Unseen(at, server) => format!(
                "nobody would find this peer: it listens on {at}, but the server {server} sees it by the other family of addresses; use --listen '[::]:{}' or --advertise",
                at.port()
            ),
            Failure::Unknown(word) => format!("{word}: unknown command (help lists them)"),
            Failure::Named(_, why) => self.failure(why),
            Failure::Usage(how) => format!("usage: {how}"),
            Failure::Wrong(what) => format!("expected: {what}"),
            Failure::Player(player, why) => format!("{player}: can't be started: {why}"),
            Failure::SearchFirst => "SEARCH comes before DOWNLOAD".into(),
            Failure::NoQuestion => "nobody is asking".into(),
            Failure::NotJoined => "JOIN comes first".into(),
            Failure::AccountsEngine(why) => of_accounts(&self.failure(&Failure::Engine(*why))),
            Failure::Engine(why) => match why {
                EngineRefusal::Version => "the engine of --index is older than Redis 7.0; upgrade the engine",
                EngineRefusal::Evicts => "the engine of --index drops keys when its memory is full; set maxmemory-policy noeviction",
                EngineRefusal::NeedsPassword => "the engine of --index asks for a password; put the URL with the password into --index-file or CARDUME_INDEX",
                EngineRefusal::WrongPassword => "the engine of --index refuses this user or password",
                EngineRefusal::Replica => "the engine of --index is a replica and takes no writes; give the address of its master",
                EngineRefusal::NoEngine => "the address of --index does not speak the protocol of Redis",
                EngineRefusal::Untrusted(CertificateFault::Authority) => "the certificate of the engine of --index is signed by no known authority; give the authority's certificate with --index-ca FILE",
                EngineRefusal::Untrusted(CertificateFault::Name) => "the certificate of the engine of --index is for other names; it must name the address of the node or a host of the URL",
                EngineRefusal::Untrusted(CertificateFault::Time) => "the certificate of the engine of --index has expired, or is not valid yet",
                EngineRefusal::Untrusted(CertificateFault::Form) => "the certificate of the engine of --index can't be used for a server",
            }
            .into(),
        }
    }

    fn member(&self, note: &MemberNotice) -> String {
        match note {
            MemberNotice::Enrolled { server, name, role } => {
                format!("joined {server}; here you are {name} ({role})")
            }
            MemberNotice::Pending { key } => {
                format!("waiting for an administrator to admit the key {key}")
            }
            MemberNotice::Invite { uses, lasts } => {
                format!("the invite is a secret: it admits {uses} for {lasts}")
            }
            MemberNotice::Closed(count) => format!("connections closed: {count}"),
            MemberNotice::Revoked(count) => format!("revoked: {count}"),
            MemberNotice::Pruned(count) => {
                format!(
                    "the log has the rows from {} on; {count} earlier rows were removed",
                    count + 1
                )
            }
        }
    }

    fn link(&self, note: &LinkNotice) -> String {
        let LinkNotice { id, lasts, command, is_here_only } = note;
        let here = if *is_here_only {
            "; at this address, on this machine alone; --host names another"
        } else {
            ""
        };
        format!(
            "the link {id} is a secret: it gives the file for {lasts}, and ends with the peer{here}:\n{command}"
        )
    }

    fn totals(&self, totals: &TransferTotals) -> String {
        let limit = |rate: Option<u64>| {
            rate.map_or_else(|| "without limit".to_owned(), |rate| format!("at most {rate}/s"))
        };
        let (up, down) = (limit(totals.up), limit(totals.down));
        let TransferTotals { sent, received, .. } = totals;
        format!("{sent} bytes sent, {up}; {received} bytes received, {down}")
    }

    fn bad_name(&self, why: BadName) -> &'static str {
        match why {
            BadName::Empty => "a file name must not be empty",
            BadName::Long => "a file name has at most 255 bytes",
            BadName::Dots => "is no file name",
            BadName::Separator => "a file name must not hold / or \\",
            BadName::Control | BadName::Direction => "a file name must not hold control characters",
            BadName::Deep => {
                "the name leads through too many folders (16) or is too long (1024 bytes)"
            }
            BadName::Reserved => "names that end in .part or .part.record are reserved",
        }
    }

    fn refusal(&self, reply: &ErrorReply) -> String {
        let (why, code) = (self.error_code(reply.code), reply.code.as_str());
        match reason(reply) {
            None => format!("refused: {why} ({code})"),
            Some(reason) => format!("refused: {reason} ({code})"),
        }
    }

    fn error_code(&self, code: ErrorCode) -> &'static str {
        match code {
            ErrorCode::BadRequest => "the request makes no sense",
            ErrorCode::BadName => "the name cannot be one of a file",
            ErrorCode::Unsupported => "the other side does not have this operation",
            ErrorCode::Version => "the other side speaks another version of the protocol",
            ErrorCode::TooLarge => "over a limit",
            ErrorCode::NotJoined => "JOIN comes first",
            ErrorCode::Address => "this address may not be advertised here",
            ErrorCode::InUse => "another peer has this address",
            ErrorCode::NotFound => "not found",
            ErrorCode::Refused => "the other side does not allow it",
            ErrorCode::Busy => "the other side is busy; try again later",
            ErrorCode::Changed => "the file has changed",
            ErrorCode::Range => "the range begins after the end of the file",
            ErrorCode::Cancelled => "cancelled",
            ErrorCode::Unavailable => "the index of the servers does not answer now; try again",
            ErrorCode::Io => "the disk of the other side failed",
            ErrorCode::Internal => "the other side failed",
            ErrorCode::Taken => "somebody has that name already",
            ErrorCode::NoUser => "nobody is registered by that name",
            ErrorCode::NoRemoteUser => "there is no user of that name",
            ErrorCode::Connected => "this link has a user already",
            ErrorCode::NotConnected => "the user is not connected",
            ErrorCode::Published => "that file is published already",
            ErrorCode::NotPublished => "that file is not published",
            ErrorCode::BadProof => "the name does not belong to this key",
            ErrorCode::AccountRequired => {
                "this server takes only those who have an account: say --user"
            }
            ErrorCode::NotMember => "this server is closed: join it by an invite (cardume join)",
            ErrorCode::BadToken => "the invite is unknown, used up or expired",
            ErrorCode::Forbidden => "your role on this server does not allow that",
            ErrorCode::Expired => "the pass has expired",
            ErrorCode::Kicked => "an administrator has closed the connection",
            ErrorCode::Banned => "an administrator has banned this key",
            ErrorCode::EncryptedOnly => {
                "it is closed and takes encrypted connections only: use cardume join"
            }
        }
    }

    fn cause(&self, cause: Cause) -> &'static str {
        match cause {
            Cause::PermissionDenied => {
                "permission denied; see whose it is and who may read and write it (ls -ld)"
            }
            Cause::NotFound => "not found; check the name",
            Cause::DiskFailed => {
                "the disk failed to read or write; see the messages of the system (dmesg)"
            }
            Cause::OutputClosed => "the output is closed",
            Cause::InUse => "another process is using it; try again when that has ended",
            Cause::OutOfMemory => "out of memory; close other programs",
            Cause::Exists => "it exists already",
            Cause::NotAFolder => "not a folder",
            Cause::IsAFolder => "a folder and not a file",
            Cause::TooManyOpen => "too many open files; raise the limit (ulimit -n)",
            Cause::TooLarge => {
                "the file is too large for this disk or for the limit of the process (ulimit -f)"
            }
            Cause::DiskFull => "the disk is full; make room and run it again",
            Cause::ReadOnly => "the disk is read-only; choose another folder",
            Cause::BrokenPipe => "nobody reads the output any more",
            Cause::NameTooLong => "the name is too long for this disk",
            Cause::SymbolicLink => "a symbolic link; use the real path",
            Cause::NotPossible => "the system cannot do that here",
            Cause::NoAddressFamily => "this machine has no addresses of this kind (IPv4 or IPv6)",
            Cause::PortInUse => {
                "the port is in use already; choose another one, or end the other program"
            }
            Cause::AddressNotLocal => {
                "the address is not one of this machine; see those that it has (ip addr)"
            }
            Cause::NoInterface => {
                "there is no such network interface; see those that exist (ip addr)"
            }
            Cause::Unroutable => "no network route leads there; check the address and the network",
            Cause::ConnectionReset => "the other side cut the connection",
            Cause::NoAnswer => "no answer",
            Cause::ConnectionRefused => "connection refused; nobody listens there",
            Cause::ConnectionLost => "link lost",
            Cause::UnknownName => "unknown name; check its spelling and the network",
            Cause::NotAnAddress => "not an address",
            Cause::EarlyEnd => "the file ends too early",
            Cause::NotText => "its content is no text that is understood",
            Cause::NotAStore => {
                "accounts.sqlite is no store of cardume; choose another folder with --data"
            }
            Cause::StoreClosed => {
                "the store cannot be opened; see who may read and write the folder"
            }
            Cause::NameTaken => "another file has that name",
            Cause::DownloadedElsewhere => "another process is downloading it",
            Cause::NoFolder => "the folder is not there",
            Cause::Changing => "it changes while it is read; run it again when it is complete",
            Cause::FolderShared => "the folder is not ours alone to write: chmod go-w",
            Cause::FolderHeld => {
                "another server holds this folder; choose another one with --data, or --data none"
            }
            Cause::NotInstalled => "it is not installed",
            Cause::OpenFileLimit => {
                "this process may open no more files; raise the limit (ulimit -n)"
            }
            Cause::SizeLimit => {
                "the file is larger than this disk or this process may write (ulimit -f)"
            }
            Cause::NotAKey => "that is no key",
            Cause::TooLong => "too long",
            Cause::Changed => "the file has changed",
            Cause::NotAFile => "this is no file",
            Cause::NoKey => "there is no key",
            Cause::OtherKey => "it has another key",
            Cause::NoSharedMemory => "this file system has no shared memory for accounts.sqlite",
            Cause::LinkGone => "the link is gone",
            Cause::NoQuic => "this program was built without QUIC",
        }
    }

    fn unknown_cause(&self, code: i32) -> String {
        format!("the system refuses it (error {code})")
    }

    fn quic_failed(&self, detail: &str) -> String {
        detail.to_owned()
    }

    fn not_ours(&self, file: &str) -> String {
        format!("{file} is in the way and not ours")
    }

    fn other_content(&self, file: &str) -> String {
        format!("{file} holds a part of another content")
    }

    fn changed_elsewhere(&self, file: &str) -> String {
        format!("{file} is changed by another program")
    }

    fn prompt(&self, prompt: Prompt) -> &'static str {
        match prompt {
            Prompt::Menu => "JOIN | SEARCH | DOWNLOAD > ",
            Prompt::Command => "> ",
            Prompt::Ip => "IP: ",
            Prompt::Port => "Port: ",
            Prompt::Folder => "Folder: ",
            Prompt::Download => "Download? [y/N] ",
            Prompt::Choice => "Which one? ",
            Prompt::User => "User: ",
            Prompt::Text => "Text: ",
            Prompt::Name | Prompt::Goal => "File name: ",
        }
    }

    fn remaining(&self) -> &'static str {
        "left"
    }

    fn help(&self) -> &'static str {
        "JOIN [IP PORT FOLDER]    enters the network and shares the folder\n\
             SEARCH [NAME]            who has the file?\n\
             DOWNLOAD [IP PORT]       downloads the file last searched\n\
             GET [NAME] [b3:ROOT]     searches and downloads\n\
             PLAY [NAME] [b3:ROOT]    searches and downloads; its URL plays at once\n\
             PEERS                    who is in the network\n\
             LS [IP:PORT]             what a peer shares\n\
             NODES                    who is in the network, each with its files\n\
             FIND [TEXT]              files with this text in their name or description\n\
             REGISTER [USER]          takes a user name; UNREGISTER gives it back\n\
             CONNECT [USER]           comes in by this name; DISCONNECT goes\n\
             PUBLISH [NAME] TEXT      publishes a file; DELETE takes it back\n\
             USERS                    who is connected\n\
             CONTENT [USER]           what a user has published\n\
             GETFILE [USER NAME]      downloads a file from a user\n\
             TRANSFERS                downloads and uploads; HISTORY shows past ones\n\
             ADD [NAME]               appends to the queue; PAUSE, RESUME, CANCEL, TOP change it\n\
             LIMIT UP RATE DOWN RATE  limits the rates; BLOCK refuses an address, ALLOW ends that\n\
             YES | NO                 answers a request\n\
             LEAVE                    leaves the network\n\
             QUIT                     waits for downloads and ends"
    }

    fn usage_error(&self, error: &UsageError) -> String {
        match error {
            UsageError::UnexpectedArgument(arg) => format!("unexpected argument '{arg}' found"),
            UsageError::UnknownCommand(command) => format!("unrecognized subcommand '{command}'"),
            UsageError::MissingValue(arg) => {
                format!("a value is required for '{arg}' but none was supplied")
            }
            UsageError::InvalidValue { value, arg } => {
                format!("invalid value '{value}' for '{arg}'")
            }
            UsageError::MissingArgument(arg) => {
                format!("the following required arguments were not provided: {arg}")
            }
            UsageError::Repeated(arg) => {
                format!("the argument '{arg}' cannot be used multiple times")
            }
            UsageError::Conflict(arg) => format!(
                "the argument '{arg}' cannot be used with one or more of the other specified arguments"
            ),
            UsageError::ConflictWith { arg, prior } => {
                format!("the argument '{arg}' cannot be used with '{prior}'")
            }
            UsageError::NoEquals(arg) => {
                format!("equal sign is needed when assigning values to '{arg}'")
            }
            UsageError::WrongNumber(arg) => format!("wrong number of values for '{arg}'"),
            UsageError::MissingCommand => "a subcommand is required but none was provided".into(),
            UsageError::NotUtf8 => "an argument is not UTF-8".into(),
            UsageError::Other => "wrong arguments".into(),
        }
    }

    fn possible_values(&self, values: &str) -> String {
        format!(" [possible values: {values}]")
    }

    fn similar(&self, word: &str) -> String {
        format!("; a similar one exists: {word}")
    }

    fn see_help(&self, message: &str, help: &str) -> String {
        format!("{message} ({help} says more)")
    }

    fn setup(&self, note: &SetupNote) -> String {
        match note {
            SetupNote::PasswordShown => String::from(
                "a password on a command line is visible to all users of this machine; use --index-file or CARDUME_INDEX",
            ),
            SetupNote::AccountsOnEngine => String::from(
                "accounts are kept on the engine, with those of all servers of this index; other accounts of this server are not used",
            ),
            SetupNote::AccountsInMemory => String::from(
                "accounts are kept in memory alone and end with this server; --data DIR keeps them",
            ),
            SetupNote::AccountsIn(folder) => format!("accounts are kept in the folder {folder}/"),
            SetupNote::AccountsMoved { old, new } => {
                format!("the accounts of an earlier version have moved from {old}/ to {new}/")
            }
            SetupNote::AccountsUnused(old) => format!(
                "there are other accounts in {old}/ that this server does not use; --data {old} uses only those, server export and import merge them"
            ),
            SetupNote::NoFolder => String::from(
                "there is no place for accounts: neither HOME nor XDG_STATE_HOME names one; use --data DIR, or --data none to keep nothing",
            ),
            SetupNote::SeveralFolders(all) => format!(
                "an earlier version has left accounts in several folders; choose one with --data: {all}"
            ),
            SetupNote::Open => {
                "open: everyone who reaches this server sees all names, and nothing is encrypted"
                    .into()
            }
            SetupNote::NotStarted => "nothing was started".into(),
        }
    }

    fn listen_question(&self) -> ListenQuestion {
        ListenQuestion { port: "Port", no_ip: "is no IP", no_port: "is no port (1 to 65535)" }
    }

    #[cfg(feature = "loadgen")]
    fn report_words(&self) -> ReportWords {
        ReportWords {
            head: [
                "request", "answers", "per s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms",
                "refused",
            ],
            peers: "peers",
            files: "files",
            depth: "depth",
            own: "client CPU",
            server: "server CPU",
            each: "a request",
            wrong: "wrong answers",
            lost: "links lost",
        }
    }
}

/// The kind of a server that does not speak the protocol.
fn foreign(kind: &ForeignServer) -> String {
    let text = match kind {
        ForeignServer::Rede => "it sends a bare number first, as servers of rede-p2p do",
        ForeignServer::Uc3m => "it answers with one digit, as servers of UC3M do",
        ForeignServer::Json => {
            "it answers in other JSON, as servers of ufabc-json and of Napster exercises do"
        }
        ForeignServer::Napster => "it answers in the words of the Napster exercises",
        ForeignServer::Music => "it answers in the words of the music players over UDP",
        ForeignServer::Web => "it is a web server",
        ForeignServer::Tls => "it speaks TLS; use an invite of that server",
        ForeignServer::Objects(system) => return format!("it speaks {system}"),
        ForeignServer::Other(text) => return format!("it answers `{text}`"),
        ForeignServer::Silent => {
            "it accepts the connection and stays silent, as servers of UC3M and ufabc-json do; or it hangs"
        }
        ForeignServer::Closes => {
            "it closes each connection without a byte, as servers of UC3M and Java RMI do; or it refuses this address"
        }
    };
    text.to_owned()
}
