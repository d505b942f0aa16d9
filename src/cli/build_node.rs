//! Build nodes from arguments: every argument is checked before anything runs.

use std::io::IsTerminal as _;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use cardume::client::command::{Command, DownloadTarget};
use cardume::download::types::RetryPolicy;
use cardume::limits;
use cardume::os::fs::allowed_dir::AllowedDir;
use cardume::os::fs::folder::Folder;
use cardume::os::fs::guard::Guard;
use cardume::os::fs::hash_cache::HashCache;
use cardume::os::fs::key_file;
use cardume::os::fs::manifest::{Manifest, ManifestError};
use cardume::os::fs::saved_lists::SavedListsDir;
use cardume::os::net::address;
use cardume::os::stdio::StdStreams;
use cardume::os::stdout_sink::StdoutSink;
use cardume::os::system;
use cardume::os::terminal;
use cardume::peer::Peer;
use cardume::peer::config::{OpenFolder, PeerConfig, Task};
use cardume::peer::login::OpenIdentity;
use cardume::peer::upload_queue::Accept;
use cardume::peer::verify::Checked;
use cardume::protocol::detect::ListenerProtocol;
use cardume::protocol::types::account::{AccountOp, Line, Publication, UserName};
use cardume::protocol::types::file_name::{BadName, printable};
use cardume::protocol::types::ids::ContentHash;
use cardume::protocol::types::legacy_profile::LegacyProfile;
use cardume::protocol::types::relative_path::{ROOT_PREFIX, RelativeName};
use cardume::server::op_log::LogTarget;
use cardume::server::{ListFolder, Server, ServerOptions};
use cardume::storage::DownloadPlace;
use cardume::storage::exclude::Excludes;
use cardume::storage::fs_trait::{Filesystem, FsError};
use cardume::storage::hash_cache::{HashStore, Remembered};
use cardume::ui::event::{Failure, exit};
use cardume::ui::lang::Lang;

use crate::cli::Exit;
use crate::cli::accounts;
use crate::cli::args::ls::LsArgs;
use crate::cli::args::search::SearchArgs;
use crate::cli::args::server::{Metrics, Policy, ServerArgs};
use crate::cli::args::transport;
use crate::cli::args::{
    AcceptArg, AllocateArg, AskArgs, ContentArgs, DEFAULT_SERVER, DeleteArgs, GetArgs, KeyArgs,
    NameArgs, PeerArgs, PublishArgs, VerifyArgs,
};
use crate::cli::questions;

/// The default share of the machine's memory for an index, as a divisor. The rest serves
/// connections and other programs.
const MEMORY_SHARE: u64 = 2;

/// where a server listens is captured by the keyboard, with a default.
pub fn server(args: ServerArgs, lang: Lang, err: &StdStreams) -> Result<Server, Exit> {
    let mut listen = args.listen;
    if listen.is_empty() {
        listen.push(if std::io::stdin().is_terminal() {
            questions::where_to_listen(lang, err)?
        } else {
            DEFAULT_SERVER
                .parse()
                .map_err(|_| Exit::new(exit::FAULT, "the default address is none"))?
        });
    }
    let first = listen[0];
    let (store, lasting) = accounts::store(args.data.as_deref(), &listen, lang, err)?;
    let ufabc_json = args.ufabc_json || args.ufabc_json_root.is_some();
    let folders = args.ufabc_json_root.as_deref().map(folders_below).transpose()?;
    let usual = listen
        .into_iter()
        .chain(args.soap)
        .map(|at| (at, ListenerProtocol::Sniffed { ufabc_json }));
    let uc3m = args.uc3m.into_iter().map(|(at, profile)| (at, ListenerProtocol::Legacy(profile)));
    let rede = args.rede.into_iter().map(|at| (at, ListenerProtocol::Legacy(LegacyProfile::Rede)));
    let [a, b, c, d, e, f, g, h, ..] = system::random();
    let options = ServerOptions {
        listen: usual.chain(uc3m).chain(rede).collect(),
        heartbeat: Duration::from_secs(args.heartbeat),
        allowed: args.allow_advertise,
        metrics_open: args.metrics == Metrics::Open,
        hosts: args.hosts.names(),
        accounts_last: lasting,
        process: system::process_stats,
        accounts_required: args.accounts == Policy::Required,
        folders,
        memory: usize::try_from(args.memory.unwrap_or_else(|| system::memory() / MEMORY_SHARE))
            .unwrap_or(usize::MAX),
        rpc_log: args.rpc_log.as_deref().map(log_target).transpose()?,
        ..ServerOptions::new(first, u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    };
    Ok(Server::new(options, store))
}

/// Lists folders of this machine, below `root` alone.
fn folders_below(root: &str) -> Result<ListFolder, Exit> {
    let missing = || Exit::Failure(Failure::NoFolder(root.to_owned()));
    let below = AllowedDir::new(Path::new(root)).map_err(|_| missing())?;
    Ok(Box::new(move |path| below.list(path)))
}

/// Where the operation log is: `HOST`, `HOST:PORT`, or an address of IPv6 with or without its brackets.
fn log_target(text: &str) -> Result<LogTarget, Exit> {
    let alone = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if alone.parse::<IpAddr>().is_err() => (host, Some(port)),
        _ => (alone, None),
    };
    let wrong = || Exit::new(exit::USAGE, format!("--rpc-log {}: no HOST[:PORT]", printable(text)));
    let port = port
        .map(|port| port.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(wrong))
        .transpose()?;
    let host = if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    // The port does not matter to the name.
    let found = system::resolve(&format!("{host}:{}", port.unwrap_or(1)))
        .map_err(|why| Exit::Failure(Failure::NoHost(text.to_owned(), why)))?;
    Ok(LogTarget { addresses: found.iter().map(SocketAddr::ip).collect(), port })
}

/// A peer that joins at once, or waits for a person to do so.
pub fn peer(args: &PeerArgs, typed: bool) -> Result<Peer, Exit> {
    // UC3M's clients say where they are at CONNECT, and not before.
    let later = args.console.joins_at_connect();
    if !later
        && (args.listen.is_none() && args.share.folder.is_some()
            || args.listen.is_some()
                && args.share.folder.is_none()
                && args.share.manifest.is_none())
    {
        return Err(Exit::new(exit::USAGE, "--listen and --folder go together"));
    }
    let task = args.listen.filter(|_| !later).map_or(Task::Menu, |listen| Task::Serve { listen });
    let accept = match args.accept {
        AcceptArg::Always => Accept::Always,
        AcceptArg::Ask => Accept::Ask,
        AcceptArg::Never => Accept::Never,
    };
    let options = PeerConfig {
        accept,
        advertise: args.advertise,
        metrics_open: args.http.metrics == Metrics::Open,
        hosts: args.http.hosts.names(),
        process: system::process_stats,
        slots: args.transfer.uploads.and_then(|slots| usize::try_from(slots).ok()),
        once: args.once,
        typed,
        chooses: typed,
        patience: RetryPolicy::Endless,
        open_folder: sharer(args)?,
        recursive: args.filter.recursive,
        hashes: hashes(args)?,
        user: args.user.as_deref().filter(|_| !later).map(user).transpose()?,
        console: args.console,
        place: args.listen.filter(|_| later),
        notebook: Box::new(SavedListsDir::new(".")),
        identity: identity(&args.key),
        speech: ListenerProtocol::Sniffed { ufabc_json: args.legacy.ufabc_json },
        udp: transport::udp(args.udp, args.listen)?,
        old_ports: args
            .legacy
            .uc3m
            .iter()
            .copied()
            .chain(args.legacy.rede.map(|at| (at, LegacyProfile::Rede)))
            .collect(),
        ..options(task, &args.server, args.share.folder.clone().unwrap_or_else(|| ".".into()))?
    };
    begin(options)
}

/// What is remembered of files that were hashed before. It is read here, before the loop begins.
fn hashes(args: &PeerArgs) -> Result<Rc<dyn HashStore>, Exit> {
    match &args.storage.cache {
        _ if args.storage.no_cache => Ok(Rc::new(Remembered::default())),
        None => Ok(HashCache::of_user()),
        Some(cache) => match HashCache::open(Path::new(cache)) {
            Ok(cache) => Ok(Rc::new(cache)),
            Err(error) => Err(Exit::Failure(Failure::Disk(format!("{cache}: {error}")))),
        },
    }
}

/// SEARCH, once.
pub fn search(args: &SearchArgs) -> Result<Peer, Exit> {
    once(args.command()?, &args.ask)
}

/// REGISTER, once.
pub fn register(args: &NameArgs) -> Result<Peer, Exit> {
    let command = Command::Operate(Some(user(&args.user)?), AccountOp::Register);
    begin(PeerConfig {
        identity: identity(&args.key),
        ..options(Task::Once(command), &args.ask.server, ".".into())?
    })
}

/// UNREGISTER, once.
pub fn unregister(args: &NameArgs) -> Result<Peer, Exit> {
    as_user(AccountOp::Unregister, &args.user, false, &args.key, &args.ask)
}

/// PUBLISH, once.
pub fn publish(args: &PublishArgs) -> Result<Peer, Exit> {
    let description = Line::new(&args.description)
        .ok_or_else(|| Exit::new(exit::USAGE, "a description is one line of at most 255 bytes"))?;
    as_user(
        AccountOp::Publish(Publication { file: published(&args.name)?, description }),
        &args.user,
        true,
        &args.key,
        &args.ask,
    )
}

/// DELETE, once.
pub fn delete(args: &DeleteArgs) -> Result<Peer, Exit> {
    as_user(AccountOp::Delete(published(&args.name)?), &args.user, false, &args.key, &args.ask)
}

/// LIST_USERS, once.
pub fn users(args: &AskArgs) -> Result<Peer, Exit> {
    once(
        Command::Operate(None, AccountOp::ListUsers { cursor: None, most: limits::LIST_ENTRIES }),
        args,
    )
}

/// LIST_CONTENT, once.
pub fn content(args: &ContentArgs) -> Result<Peer, Exit> {
    once(
        Command::Operate(
            None,
            AccountOp::ListContent {
                of: user(&args.user)?,
                cursor: None,
                most: limits::LIST_ENTRIES,
            },
        ),
        &args.ask,
    )
}

/// What only the user himself may do.
fn as_user(
    op: AccountOp,
    name: &str,
    registers: bool,
    key: &KeyArgs,
    ask: &AskArgs,
) -> Result<Peer, Exit> {
    let options = options(Task::Once(Command::Operate(None, op)), &ask.server, ".".into())?;
    begin(PeerConfig { user: Some(user(name)?), registers, identity: identity(key), ..options })
}

fn user(text: &str) -> Result<UserName, Exit> {
    UserName::new(text).map_err(|why| Exit::Failure(Failure::Name(text.to_owned(), why)))
}

fn published(text: &str) -> Result<Line, Exit> {
    let file = name(text)?;
    Line::new(&file).ok_or_else(|| Exit::Failure(Failure::Name(text.to_owned(), BadName::Long)))
}

fn identity(args: &KeyArgs) -> OpenIdentity {
    let file = args.key.clone();
    Box::new(move || key_file::open(file.as_deref().map(Path::new)))
}

/// PEERS, once.
pub fn peers(args: &AskArgs) -> Result<Peer, Exit> {
    once(Command::Peers, args)
}

/// LS, once.
pub fn ls(args: &LsArgs) -> Result<Peer, Exit> {
    let peer = args.peer.ok_or_else(|| Exit::new(exit::USAGE, "ls: which peer?"))?;
    match peer.speaks {
        // Whoever speaks an old wire is asked itself.
        Some(_) => begin(without_server(Task::Once(Command::Ls(peer)), ".".into())),
        None => once(Command::Ls(peer), &args.ask),
    }
}

fn once(command: Command, ask: &AskArgs) -> Result<Peer, Exit> {
    begin(options(Task::Once(command), &ask.server, ".".into())?)
}

/// DOWNLOAD, once.
pub fn get(args: &GetArgs) -> Result<Peer, Exit> {
    let mut goal = DownloadTarget::read(&args.name).map_err(Exit::Failure)?;
    if let Some(text) = &args.hash {
        goal.root = Some(root(text)?);
    }
    let (folder, target) = match args.output.as_deref() {
        None => (args.folder.clone(), DownloadPlace::Folder),
        Some("-") => (".".into(), DownloadPlace::Pipe(Rc::new(StdoutSink::default()))),
        Some(file) => output(file)?,
    };
    let task = match args.from {
        Some(from) => Task::Once(Command::GetFrom(goal, from)),
        None => Task::Once(Command::Get(goal)),
    };
    let chooses = std::io::stdin().is_terminal()
        && std::io::stdout().is_terminal()
        && !args.ask.json
        && terminal::is_ours();
    let mut options = match args.from {
        // Whoever names a source needs no server.
        Some(_) => without_server(task, folder),
        None => options(task, &args.ask.server, folder)?,
    };
    options.by_quic = args.transport.is_quic(args.from.is_some())?;
    options.sequential = args.sequential;
    let options = waiting(args.wait, options);
    begin(PeerConfig {
        target,
        open_folder: opener(args.allocate),
        chooses,
        verify: !args.no_verify,
        ..options
    })
}

/// With no end to its patience, where that is wanted.
pub fn waiting(wait: bool, options: PeerConfig) -> PeerConfig {
    let patience = if wait { RetryPolicy::Endless } else { options.patience };
    PeerConfig { patience, ..options }
}

/// VERIFY, once.
pub fn verify(args: &VerifyArgs) -> Result<Peer, Exit> {
    let what =
        args.files.iter().map(|file| checked(file)).collect::<Result<Vec<Checked>, Exit>>()?;
    let task = |root| Task::Once(Command::Verify { what: what.clone(), root });
    let options = match &args.hash {
        // Whoever names the root needs no server.
        Some(text) if matches!(&what[..], [Checked { name: Some(_), .. }]) => {
            without_server(task(Some(root(text)?)), ".".into())
        }
        Some(_) => return Err(Exit::new(exit::USAGE, "--hash is the root of exactly one file")),
        None => options(task(None), &args.ask.server, ".".into())?,
    };
    begin(PeerConfig { recursive: args.recursive, ..options })
}

/// A folder, or a file by its folder and its name.
fn checked(path: &str) -> Result<Checked, Exit> {
    let given = Path::new(path);
    let last = given.file_name().and_then(|last| last.to_str()).filter(|_| !given.is_dir());
    let Some(last) = last else { return Ok(Checked { folder: path.to_owned(), name: None }) };
    let folder =
        given.parent().and_then(Path::to_str).filter(|folder| !folder.is_empty()).unwrap_or(".");
    Ok(Checked { folder: folder.to_owned(), name: Some(name(last)?) })
}

/// The root that these digits are.
/// A content, by `b3:ROOT` or its digits.
pub fn root(text: &str) -> Result<ContentHash, Exit> {
    ContentHash::parse(&text.trim_start_matches(ROOT_PREFIX).to_ascii_lowercase())
        .ok_or_else(|| Exit::Failure(Failure::Root(printable(text))))
}

/// The folder and the name of `-o FILE`.
fn output(file: &str) -> Result<(String, DownloadPlace), Exit> {
    let path = Path::new(file);
    let wrong = || Exit::Failure(Failure::Disk(format!("{file}: {}", FsError::Taken)));
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(wrong)?;
    if file.ends_with('/') || path.is_dir() {
        return Err(wrong());
    }
    let folder =
        path.parent().and_then(Path::to_str).filter(|folder| !folder.is_empty()).unwrap_or(".");
    Ok((folder.to_owned(), DownloadPlace::File(name.to_owned())))
}

/// The name of a file.
pub fn name(text: &str) -> Result<RelativeName, Exit> {
    RelativeName::new(text).map_err(|why| Exit::Failure(Failure::Name(text.to_owned(), why)))
}

/// What a command at this server does of which nobody says more.
pub fn options(task: Task, server: &str, folder: String) -> Result<PeerConfig, Exit> {
    Ok(PeerConfig { servers: addresses(server)?, ..without_server(task, folder) })
}

/// The addresses of a server, which may be named without its port.
pub fn addresses(server: &str) -> Result<Vec<SocketAddr>, Exit> {
    if let Some(mut at) = address::read_ip(server) {
        at.set_port(1099);
        return Ok(vec![at]);
    }
    let with_port =
        if !server.contains(':') { format!("{server}:1099") } else { server.to_owned() };
    system::resolve(&with_port)
        .map_err(|why| Exit::Failure(Failure::NoHost(server.to_owned(), why)))
}

fn without_server(task: Task, folder: String) -> PeerConfig {
    PeerConfig {
        patience: RetryPolicy::For(limits::GET_RETRY_FOR),
        ..PeerConfig::new(task, folder, opener(AllocateArg::Full))
    }
}

/// Opens folders; `allocate`: how room is made for what comes.
pub fn opener(allocate: AllocateArg) -> OpenFolder {
    let allocate = allocate.how();
    Box::new(move |path| {
        Folder::open(path, allocate).map(|folder| Rc::new(folder) as Rc<dyn Filesystem>)
    })
}

/// Opens folders that are shared, but for what is excluded.
pub fn share_opener(exclude: &[String], allocate: AllocateArg) -> Result<OpenFolder, Exit> {
    let mut excludes = Excludes::default();
    for pattern in exclude {
        if !excludes.add(pattern) {
            return Err(Exit::new(
                exit::USAGE,
                format!("--exclude {}: too long, or one too many", printable(pattern)),
            ));
        }
    }
    let allocate = allocate.how();
    Ok(Box::new(move |path| {
        Folder::open(path, allocate).map(|folder| {
            Rc::new(folder.guarded(Guard::of_share(excludes.clone()))) as Rc<dyn Filesystem>
        })
    }))
}

/// Opens what a peer shares: a folder, what a manifest names, or both.
fn sharer(args: &PeerArgs) -> Result<OpenFolder, Exit> {
    let open = share_opener(&args.filter.exclude, args.storage.allocate)?;
    let Some(file) = &args.share.manifest else { return Ok(open) };
    let manifest = Manifest::read(Path::new(file), args.filter.recursive).map_err(|error| {
        let code = if matches!(error, ManifestError::Line(..)) { exit::USAGE } else { exit::LOCAL };
        Exit::new(code, format!("{}: {error}", printable(file)))
    })?;
    // Whoever names a folder, here or later at JOIN, shares it: the current one is only where downloads go.
    let shared =
        args.share.folder.is_some() || (args.listen.is_none() && !args.console.joins_at_connect());
    Ok(Box::new(move |path| Ok(Rc::new(manifest.with(open(path)?, shared)) as Rc<dyn Filesystem>)))
}

/// A peer with these options.
pub fn begin(options: PeerConfig) -> Result<Peer, Exit> {
    let folder = options.folder.clone();
    Peer::new(options).map_err(|error| match error {
        FsError::NoFolder => Exit::Failure(Failure::NoFolder(folder)),
        error => Exit::Failure(Failure::Disk(format!("{folder}: {error}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_named_with_or_without_its_port() {
        let (four, six): (IpAddr, IpAddr) = ("127.0.0.1".parse().unwrap(), "::1".parse().unwrap());
        for (text, address, port) in [
            ("127.0.0.1", four, None),
            ("127.0.0.1:6111", four, Some(6111)),
            ("::1", six, None),
            ("[::1]", six, None),
            ("[::1]:6111", six, Some(6111)),
        ] {
            assert_eq!(
                log_target(text).ok(),
                Some(LogTarget { addresses: vec![address], port }),
                "{text}"
            );
        }
        for text in ["127.0.0.1:", "127.0.0.1:0", "127.0.0.1:x", "127.0.0.1:65536", ":6111", ""] {
            assert!(log_target(text).is_err(), "{text}");
        }
    }
}
