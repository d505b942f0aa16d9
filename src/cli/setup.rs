//! From arguments to nodes: what a command line means, checked before anything runs.

use std::io::IsTerminal as _;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use cardume::library::Target;
use cardume::library::drive::{Drive, DriveError};
use cardume::library::exclude::Excludes;
use cardume::library::hashes::{Hashes, Remembered};
use cardume::message::account::{Deed, Line, Publication, UserName};
use cardume::message::limits;
use cardume::message::name::{BadName, printable};
use cardume::message::relative::{ROOT_PREFIX, RelativeName};
use cardume::message::tongue::Tongue;
use cardume::message::version::Root;
use cardume::node::lines::Lang;
use cardume::node::op_log::LogTarget;
use cardume::node::peer::Peer;
use cardume::node::peer::account::OpenIdentity;
use cardume::node::peer::desk::{Command, Goal};
use cardume::node::peer::downloads::Patience;
use cardume::node::peer::options::{OpenFolder, PeerOptions, Task};
use cardume::node::peer::uploads::Accept;
use cardume::node::peer::verifying::Checked;
use cardume::node::report::{Failure, exit};
use cardume::node::server::{ListFolder, Server, ServerOptions};
use cardume::os::address;
use cardume::os::below::Below;
use cardume::os::folder::Folder;
use cardume::os::guard::Guard;
use cardume::os::hash_cache::HashCache;
use cardume::os::key_file;
use cardume::os::keyboard;
use cardume::os::manifest::{Manifest, ManifestError};
use cardume::os::notebook::Beside;
use cardume::os::output::Output;
use cardume::os::pipe::Pipe;
use cardume::os::system;
use cardume::wire::sniff::Speech;

use crate::cli::Stop;
use crate::cli::args::{
    AcceptArg, AllocateArg, AskArgs, ContentArgs, DEFAULT_SERVER, DeleteArgs, GetArgs, KeyArgs, NameArgs, PeerArgs, PublishArgs, VerifyArgs,
};
use crate::cli::ls_args::LsArgs;
use crate::cli::search_args::SearchArgs;
use crate::cli::server_args::{Metrics, Policy, ServerArgs};
use crate::cli::{accounts, questions, transport_args};

/// Seed 000 §4e: where a server listens is captured by the keyboard, with a default.
pub fn server(args: ServerArgs, lang: Lang, err: &Output) -> Result<Server, Stop> {
    let mut listen = args.listen;
    if listen.is_empty() {
        listen.push(if std::io::stdin().is_terminal() {
            questions::where_to_listen(lang, err)?
        } else {
            DEFAULT_SERVER.parse().map_err(|_| Stop::new(exit::FAULT, "the default address is none"))?
        });
    }
    let first = listen[0];
    let (store, lasting) = accounts::store(args.data.as_deref(), &listen, lang, err)?;
    let seed001 = args.seed001 || args.seed001_root.is_some();
    let folders = args.seed001_root.as_deref().map(folders_below).transpose()?;
    let usual = listen.into_iter().chain(args.soap).map(|at| (at, Speech::Sniffed { seed001 }));
    let uc3m = args.uc3m.into_iter().map(|(at, tongue)| (at, Speech::Old(tongue)));
    let rede = args.rede.into_iter().map(|at| (at, Speech::Old(Tongue::Rede)));
    let [a, b, c, d, e, f, g, h, ..] = system::random();
    let options = ServerOptions {
        listen: usual.chain(uc3m).chain(rede).collect(),
        heartbeat: Duration::from_secs(args.heartbeat),
        allowed: args.allow_advertise,
        metrics_open: args.metrics == Metrics::Open,
        hosts: args.hosts.names(),
        accounts_last: lasting,
        accounts_required: args.accounts == Policy::Required,
        folders,
        memory: usize::try_from(args.memory.unwrap_or_else(|| system::memory() / limits::MEMORY_SHARE)).unwrap_or(usize::MAX),
        rpc_log: args.rpc_log.as_deref().map(log_target).transpose()?,
        ..ServerOptions::new(first, u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    };
    Ok(Server::new(options, store))
}

/// Lists folders of this machine, below `root` alone.
fn folders_below(root: &str) -> Result<ListFolder, Stop> {
    let missing = || Stop::Failure(Failure::NoFolder(root.to_owned()));
    let below = Below::new(Path::new(root)).map_err(|_| missing())?;
    Ok(Box::new(move |path| below.list(path)))
}

/// Where the operation log is: `HOST`, `HOST:PORT`, or an address of IPv6 with or without its brackets.
fn log_target(text: &str) -> Result<LogTarget, Stop> {
    let alone = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if alone.parse::<IpAddr>().is_err() => (host, Some(port)),
        _ => (alone, None),
    };
    let wrong = || Stop::new(exit::USAGE, format!("--rpc-log {}: no HOST[:PORT]", printable(text)));
    let port = port.map(|port| port.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(wrong)).transpose()?;
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
    // The port does not matter to the name.
    let found = system::resolve(&format!("{host}:{}", port.unwrap_or(1))).map_err(|why| Stop::Failure(Failure::NoHost(text.to_owned(), why)))?;
    Ok(LogTarget { addresses: found.iter().map(SocketAddr::ip).collect(), port })
}

/// A peer that joins at once, or waits for a person to do so.
pub fn peer(args: &PeerArgs, typed: bool) -> Result<Peer, Stop> {
    // Seed 003's clients say where they are at CONNECT, and not before.
    let later = args.console.joins_at_connect();
    if !later && (args.listen.is_none() && args.folder.is_some() || args.listen.is_some() && args.folder.is_none() && args.manifest.is_none()) {
        return Err(Stop::new(exit::USAGE, "--listen and --folder go together"));
    }
    let task = args.listen.filter(|_| !later).map_or(Task::Menu, |listen| Task::Serve { listen });
    let accept = match args.accept {
        AcceptArg::Always => Accept::Always,
        AcceptArg::Ask => Accept::Ask,
        AcceptArg::Never => Accept::Never,
    };
    let options = PeerOptions {
        accept,
        advertise: args.advertise,
        metrics_open: args.metrics == Metrics::Open,
        hosts: args.hosts.names(),
        slots: args.uploads.and_then(|slots| usize::try_from(slots).ok()),
        once: args.once,
        typed,
        chooses: typed,
        patience: Patience::Endless,
        open_folder: sharer(args)?,
        recursive: args.recursive,
        hashes: hashes(args)?,
        user: args.user.as_deref().filter(|_| !later).map(user).transpose()?,
        console: args.console,
        place: args.listen.filter(|_| later),
        notebook: Box::new(Beside::new(".")),
        identity: identity(&args.key),
        speech: Speech::Sniffed { seed001: args.seed001 },
        udp: transport_args::udp(args.udp, args.listen)?,
        old_ports: args.uc3m.iter().copied().chain(args.rede.map(|at| (at, Tongue::Rede))).collect(),
        ..options(task, &args.server, args.folder.clone().unwrap_or_else(|| ".".into()))?
    };
    begin(options)
}

/// What is remembered of files that were hashed before. It is read here, before the loop begins.
fn hashes(args: &PeerArgs) -> Result<Rc<dyn Hashes>, Stop> {
    match &args.cache {
        _ if args.no_cache => Ok(Rc::new(Remembered::default())),
        None => Ok(HashCache::of_user()),
        Some(cache) => match HashCache::open(Path::new(cache)) {
            Ok(cache) => Ok(Rc::new(cache)),
            Err(error) => Err(Stop::Failure(Failure::Disk(format!("{cache}: {error}")))),
        },
    }
}

/// Seed 000 §5d: SEARCH, once.
pub fn search(args: &SearchArgs) -> Result<Peer, Stop> {
    once(args.command()?, &args.ask)
}

/// REGISTER, once.
pub fn register(args: &NameArgs) -> Result<Peer, Stop> {
    let command = Command::Operate(Some(user(&args.user)?), Deed::Register);
    begin(PeerOptions { identity: identity(&args.key), ..options(Task::Once(command), &args.ask.server, ".".into())? })
}

/// UNREGISTER, once.
pub fn unregister(args: &NameArgs) -> Result<Peer, Stop> {
    as_user(Deed::Unregister, &args.user, false, &args.key, &args.ask)
}

/// PUBLISH, once.
pub fn publish(args: &PublishArgs) -> Result<Peer, Stop> {
    let description = Line::new(&args.description).ok_or_else(|| Stop::new(exit::USAGE, "a description is one line of at most 255 bytes"))?;
    as_user(Deed::Publish(Publication { file: published(&args.name)?, description }), &args.user, true, &args.key, &args.ask)
}

/// DELETE, once.
pub fn delete(args: &DeleteArgs) -> Result<Peer, Stop> {
    as_user(Deed::Delete(published(&args.name)?), &args.user, false, &args.key, &args.ask)
}

/// LIST_USERS, once.
pub fn users(args: &AskArgs) -> Result<Peer, Stop> {
    once(Command::Operate(None, Deed::ListUsers { cursor: None, most: limits::LIST_ENTRIES }), args)
}

/// LIST_CONTENT, once.
pub fn content(args: &ContentArgs) -> Result<Peer, Stop> {
    once(Command::Operate(None, Deed::ListContent { of: user(&args.user)?, cursor: None, most: limits::LIST_ENTRIES }), &args.ask)
}

/// What only the user himself may do.
fn as_user(deed: Deed, name: &str, registers: bool, key: &KeyArgs, ask: &AskArgs) -> Result<Peer, Stop> {
    let options = options(Task::Once(Command::Operate(None, deed)), &ask.server, ".".into())?;
    begin(PeerOptions { user: Some(user(name)?), registers, identity: identity(key), ..options })
}

fn user(text: &str) -> Result<UserName, Stop> {
    UserName::new(text).map_err(|why| Stop::Failure(Failure::Name(text.to_owned(), why)))
}

fn published(text: &str) -> Result<Line, Stop> {
    let file = name(text)?;
    Line::new(&file).ok_or_else(|| Stop::Failure(Failure::Name(text.to_owned(), BadName::Long)))
}

fn identity(args: &KeyArgs) -> OpenIdentity {
    let file = args.key.clone();
    Box::new(move || key_file::open(file.as_deref().map(Path::new)))
}

/// PEERS, once.
pub fn peers(args: &AskArgs) -> Result<Peer, Stop> {
    once(Command::Peers, args)
}

/// LS, once.
pub fn ls(args: &LsArgs) -> Result<Peer, Stop> {
    let peer = args.peer.ok_or_else(|| Stop::new(exit::USAGE, "ls: which peer?"))?;
    match peer.speaks {
        // Whoever speaks an old wire is asked itself.
        Some(_) => begin(without_server(Task::Once(Command::Ls(peer)), ".".into())),
        None => once(Command::Ls(peer), &args.ask),
    }
}

fn once(command: Command, ask: &AskArgs) -> Result<Peer, Stop> {
    begin(options(Task::Once(command), &ask.server, ".".into())?)
}

/// Seed 000 §5f: DOWNLOAD, once.
pub fn get(args: &GetArgs) -> Result<Peer, Stop> {
    let mut goal = Goal::read(&args.name).map_err(Stop::Failure)?;
    if let Some(text) = &args.hash {
        goal.root = Some(root(text)?);
    }
    let (folder, target) = match args.output.as_deref() {
        None => (args.folder.clone(), Target::Folder),
        Some("-") => (".".into(), Target::Pipe(Rc::new(Pipe::default()))),
        Some(file) => output(file)?,
    };
    let task = match args.from {
        Some(from) => Task::Once(Command::GetFrom(goal, from)),
        None => Task::Once(Command::Get(goal)),
    };
    let chooses = std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && !args.ask.json && keyboard::is_ours();
    let mut options = match args.from {
        // Whoever names a source needs no server.
        Some(_) => without_server(task, folder),
        None => options(task, &args.ask.server, folder)?,
    };
    options.by_quic = args.transport.is_quic(args.from.is_some())?;
    options.sequential = args.sequential;
    let options = waiting(args.wait, options);
    begin(PeerOptions { target, open_folder: opener(args.allocate), chooses, verify: !args.no_verify, ..options })
}

/// With no end to its patience, where that is wanted.
pub fn waiting(wait: bool, options: PeerOptions) -> PeerOptions {
    let patience = if wait { Patience::Endless } else { options.patience };
    PeerOptions { patience, ..options }
}

/// VERIFY, once.
pub fn verify(args: &VerifyArgs) -> Result<Peer, Stop> {
    let what = args.files.iter().map(|file| checked(file)).collect::<Result<Vec<Checked>, Stop>>()?;
    let task = |root| Task::Once(Command::Verify { what: what.clone(), root });
    let options = match &args.hash {
        // Whoever names the root needs no server.
        Some(text) if matches!(&what[..], [Checked { name: Some(_), .. }]) => without_server(task(Some(root(text)?)), ".".into()),
        Some(_) => return Err(Stop::new(exit::USAGE, "--hash is the root of exactly one file")),
        None => options(task(None), &args.ask.server, ".".into())?,
    };
    begin(PeerOptions { recursive: args.recursive, ..options })
}

/// A folder, or a file by its folder and its name.
fn checked(path: &str) -> Result<Checked, Stop> {
    let given = Path::new(path);
    let last = given.file_name().and_then(|last| last.to_str()).filter(|_| !given.is_dir());
    let Some(last) = last else { return Ok(Checked { folder: path.to_owned(), name: None }) };
    let folder = given.parent().and_then(Path::to_str).filter(|folder| !folder.is_empty()).unwrap_or(".");
    Ok(Checked { folder: folder.to_owned(), name: Some(name(last)?) })
}

/// The root that these digits are.
/// A content, by `b3:ROOT` or its digits.
pub fn root(text: &str) -> Result<Root, Stop> {
    Root::parse(&text.trim_start_matches(ROOT_PREFIX).to_ascii_lowercase()).ok_or_else(|| Stop::Failure(Failure::Root(printable(text))))
}

/// The folder and the name of `-o FILE`.
fn output(file: &str) -> Result<(String, Target), Stop> {
    let path = Path::new(file);
    let wrong = || Stop::Failure(Failure::Disk(format!("{file}: {}", DriveError::Taken)));
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(wrong)?;
    if file.ends_with('/') || path.is_dir() {
        return Err(wrong());
    }
    let folder = path.parent().and_then(Path::to_str).filter(|folder| !folder.is_empty()).unwrap_or(".");
    Ok((folder.to_owned(), Target::File(name.to_owned())))
}

/// The name of a file.
pub fn name(text: &str) -> Result<RelativeName, Stop> {
    RelativeName::new(text).map_err(|why| Stop::Failure(Failure::Name(text.to_owned(), why)))
}

/// What a command at this server does of which nobody says more.
pub fn options(task: Task, server: &str, folder: String) -> Result<PeerOptions, Stop> {
    Ok(PeerOptions { servers: addresses(server)?, ..without_server(task, folder) })
}

/// The addresses of a server, which may be named without its port.
pub fn addresses(server: &str) -> Result<Vec<SocketAddr>, Stop> {
    if let Some(mut at) = address::read_ip(server) {
        at.set_port(1099);
        return Ok(vec![at]);
    }
    let with_port = if !server.contains(':') { format!("{server}:1099") } else { server.to_owned() };
    system::resolve(&with_port).map_err(|why| Stop::Failure(Failure::NoHost(server.to_owned(), why)))
}

fn without_server(task: Task, folder: String) -> PeerOptions {
    PeerOptions { patience: Patience::For(limits::GET_PATIENCE), ..PeerOptions::new(task, folder, opener(AllocateArg::Full)) }
}

/// Opens folders; `allocate`: how room is made for what comes.
pub fn opener(allocate: AllocateArg) -> OpenFolder {
    let allocate = allocate.how();
    Box::new(move |path| Folder::open(path, allocate).map(|folder| Rc::new(folder) as Rc<dyn Drive>))
}

/// Opens folders that are shared, but for what is excluded.
pub fn share_opener(exclude: &[String], allocate: AllocateArg) -> Result<OpenFolder, Stop> {
    let mut excludes = Excludes::default();
    for pattern in exclude {
        if !excludes.add(pattern) {
            return Err(Stop::new(exit::USAGE, format!("--exclude {}: too long, or one too many", printable(pattern))));
        }
    }
    let allocate = allocate.how();
    Ok(Box::new(move |path| Folder::open(path, allocate).map(|folder| Rc::new(folder.guarded(Guard::of_share(excludes.clone()))) as Rc<dyn Drive>)))
}

/// Opens what a peer shares: a folder, what a manifest names, or both.
fn sharer(args: &PeerArgs) -> Result<OpenFolder, Stop> {
    let open = share_opener(&args.exclude, args.allocate)?;
    let Some(file) = &args.manifest else { return Ok(open) };
    let manifest = Manifest::read(Path::new(file), args.recursive).map_err(|error| {
        let code = if matches!(error, ManifestError::Line(..)) { exit::USAGE } else { exit::LOCAL };
        Stop::new(code, format!("{}: {error}", printable(file)))
    })?;
    // Whoever names a folder, here or later at JOIN, shares it: the current one is only where downloads go.
    let shared = args.folder.is_some() || (args.listen.is_none() && !args.console.joins_at_connect());
    Ok(Box::new(move |path| Ok(Rc::new(manifest.with(open(path)?, shared)) as Rc<dyn Drive>)))
}

/// A peer with these options.
pub fn begin(options: PeerOptions) -> Result<Peer, Stop> {
    let folder = options.folder.clone();
    Peer::new(options).map_err(|error| match error {
        DriveError::NoFolder => Stop::Failure(Failure::NoFolder(folder)),
        error => Stop::Failure(Failure::Disk(format!("{folder}: {error}"))),
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
            assert_eq!(log_target(text).ok(), Some(LogTarget { addresses: vec![address], port }), "{text}");
        }
        for text in ["127.0.0.1:", "127.0.0.1:0", "127.0.0.1:x", "127.0.0.1:65536", ":6111", ""] {
            assert!(log_target(text).is_err(), "{text}");
        }
    }
}
