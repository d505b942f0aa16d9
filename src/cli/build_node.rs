//! Build nodes from arguments. Every argument is checked before a node runs.

use std::io::{self, IsTerminal as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use cardume::client::Client;
use cardume::client::command::{self, Command, DownloadTarget, PeerTarget, VerifyTarget};
use cardume::client::config::{ClientConfig, OpenFolder, OpenIdentity, Task, UserConfig};
use cardume::client::console::ConsoleProfile;
use cardume::client::console::saved_lists::SAVED_LISTS;
use cardume::client::downloader::list::DownloadList;
use cardume::client::downloader::{DownloadConfig, Downloader};
use cardume::cluster::engine::EngineOptions;
use cardume::cluster::keys::Keys;
use cardume::cluster::service::ClusterOptions;
use cardume::cluster::slots::ALL_SLOTS;
use cardume::cluster::url::EngineUrl;
use cardume::cluster::words::READ_EVERY;
use cardume::download::types::RetryPolicy;
use cardume::limits;
use cardume::members::audit::AuditLimits;
use cardume::os::fs::allowed_dir::AllowedDir;
use cardume::os::fs::folder::Folder;
use cardume::os::fs::guard::Guard;
use cardume::os::fs::hash_cache::HashCache;
use cardume::os::fs::manifest::{Manifest, ManifestError};
use cardume::os::fs::poster_cache::PosterCache;
use cardume::os::fs::saved_lists::SavedListsDir;
use cardume::os::fs::server_keys::{SERVER_KEY, ServerKeys};
use cardume::os::fs::state_folder::StateFolder;
use cardume::os::fs::{key_file, secret_file};
use cardume::os::net::tls::authority::EngineTrust;
use cardume::os::net::tls::certificate::{Certificate, CertificateFiles};
use cardume::os::net::tls::identity::TlsIdentity;
use cardume::os::net::{activation, address, interfaces};
use cardume::os::stdio::StdStreams;
use cardume::os::stdout_sink::StdoutSink;
use cardume::os::system;
use cardume::os::terminal;
use cardume::peer::Peer;
use cardume::peer::config::{DropConfig, NetworkConfig, PeerConfig, UploadConfig};
use cardume::peer::transfers::TransferConfig;
use cardume::peer::transfers::journal::{NoStateFile, StateFile};
use cardume::protocol::detect::ListenerProtocol;
use cardume::protocol::types::account::{AccountOp, Line, Publication, UserName};
use cardume::protocol::types::file_name::printable;
use cardume::protocol::types::ids::ContentHash;
use cardume::protocol::types::legacy_profile::LegacyProfile;
use cardume::protocol::types::member::Groups;
use cardume::protocol::types::relative_path::{ROOT_PREFIX, RelativeName};
use cardume::server::members::AccessOptions;
use cardume::server::op_log::LogTarget;
use cardume::server::{ListFolder, Server, ServerOptions};
use cardume::storage::DownloadPlace;
use cardume::storage::exclude::Excludes;
use cardume::storage::fs_trait::{Filesystem, FsError, PosterStore};
use cardume::storage::hash_cache::{HashStore, Remembered};
use cardume::storage::share_groups::ShareGroups;
use cardume::ui::event::{Failure, exit};
use cardume::ui::lang::Lang;
use cardume::ui::text::catalog::SetupNote;

use crate::cli::Exit;
use crate::cli::accounts::{self, ServerStore, say_setup};
use crate::cli::args::ls::LsArgs;
use crate::cli::args::search::SearchArgs;
use crate::cli::args::server::{AccessArgs, EngineArgs, Metrics, Policy, ServerArgs};
use crate::cli::args::transport;
use crate::cli::args::{
    AllocateArg, AskArgs, ContentArgs, DEFAULT_SERVER, DeleteArgs, DiskArgs, GetArgs, KeyArgs,
    NameArgs, PeerArgs, PublishArgs, VerifyArgs,
};
use crate::cli::get_list;
use crate::cli::known_servers;
use crate::cli::questions;
use crate::cli::shown_path;

/// The default share of the machine's memory for an index, as a divisor. The rest serves
/// connections and other programs.
const MEMORY_SHARE: u64 = 2;

/// The part of a server's settings that concerns TLS.
pub struct ServerTls {
    /// The key.
    pub identity: TlsIdentity,
    /// The certificate of the operator.
    pub certificate: Option<Certificate>,
    /// The trust in the nodes of an engine, where these take TLS.
    pub engine: Option<EngineTrust>,
}

/// A server with its TLS. Without an address, the user enters the address at the terminal.
pub fn server(args: ServerArgs, lang: Lang, err: &StdStreams) -> Result<(Server, ServerTls), Exit> {
    let mut listen = args.listen;
    if listen.is_empty() {
        listen = activation::addresses();
    }
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
    let engine_args = &args.access.engine;
    let has_engine = engine_args.index.is_some() || engine_args.index_file.is_some();
    let ServerStore { accounts, mut members, folder } =
        accounts::store(args.data.as_deref(), &listen, has_engine, lang, err)?;
    // A server that forgets its accounts has a new key each time.
    let file = folder.as_ref().map(|folder| folder.join(SERVER_KEY));
    let (identity, tls_identity) = key_file::open_for_server(file.as_deref())
        .map_err(|why| Exit::Failure(Failure::Disk(why)))?;
    members.limit_audit(AuditLimits {
        rows: args.access.audit_rows,
        age: args.access.audit_days.map(|days| days * 86_400),
    });
    let accounts_required = args.access.accounts == Policy::Required;
    let is_local = listen.iter().all(|at| at.ip().is_loopback());
    if args.access.open && !is_local {
        say_setup(SetupNote::Open, lang, err);
    }
    let certificate = certificate(&args.access)?;
    let site = certificate.as_ref().and_then(|known| site(known, &args.access.public, first));
    let addresses = match args.access.public.is_empty() {
        true => listen.iter().flat_map(|at| interfaces::reachable_at(*at)).collect(),
        false => args.access.public,
    };
    let access = AccessOptions {
        is_closed: !args.access.open,
        // A secret is for the eyes of a person, and for no log.
        first_invite: !args.access.open && !is_local && std::io::stdout().is_terminal(),
        members: Some(members),
        identity: Some(identity),
        key_files: folder.as_deref().map(|folder| Box::new(ServerKeys::new(folder)) as Box<_>),
        name: args.access.name,
        addresses,
        site,
    };
    let (cluster, trust) = engine(&args.access.engine, args.access.open, lang, err)?.unzip();
    let ufabc_json = args.ufabc_json || args.ufabc_json_root.is_some();
    let folders = args.ufabc_json_root.as_deref().map(folders_below).transpose()?;
    let usual = listen
        .into_iter()
        .chain(args.soap)
        .map(|at| (at, ListenerProtocol::Sniffed { ufabc_json, napster: args.legacy.napster }));
    let uc3m = args.uc3m.into_iter().map(|(at, profile)| (at, ListenerProtocol::Legacy(profile)));
    let rede =
        args.legacy.rede.into_iter().map(|at| (at, ListenerProtocol::Legacy(LegacyProfile::Rede)));
    let music = args
        .legacy
        .music
        .into_iter()
        .map(|at| (at, ListenerProtocol::Legacy(LegacyProfile::MusicUdp)));
    let memory = memory_of(args.memory);
    let options = ServerOptions {
        listen: usual.chain(uc3m).chain(rede).chain(music).collect(),
        heartbeat: Duration::from_secs(args.heartbeat),
        allowed: args.allow_advertise,
        metrics_open: args.metrics == Metrics::Open,
        hosts: args.process.hosts.names(),
        accounts_last: folder.is_some(),
        process: system::process_stats,
        accounts_required,
        folders,
        memory,
        rpc_log: args.rpc_log.as_deref().map(log_target).transpose()?,
        access,
        cluster,
        all_names: args.process.log.all_names,
        ..ServerOptions::new(first, u64::from_le_bytes(system::random()))
    };
    let tls = ServerTls { identity: tls_identity, certificate, engine: trust.flatten() };
    Ok((Server::new(options, accounts), tls))
}

/// The memory of the index in bytes.
pub fn index_memory(args: &ServerArgs) -> usize {
    memory_of(args.memory)
}

fn memory_of(given: Option<u64>) -> usize {
    let bytes = given.unwrap_or_else(|| system::memory() / MEMORY_SHARE);
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// The certificate of the operator.
fn certificate(args: &AccessArgs) -> Result<Option<Certificate>, Exit> {
    let (Some(chain), Some(key)) = (args.tls_cert.clone(), args.tls_key.clone()) else {
        return Ok(None);
    };
    let opened = Certificate::open(CertificateFiles { chain, key });
    opened.map(Some).map_err(|why| Exit::new(exit::LOCAL, why))
}

/// The host and the port for browsers: a public address that the certificate has, or else its first
/// name that is no pattern.
fn site(certificate: &Certificate, public: &[String], listen: SocketAddr) -> Option<(String, u16)> {
    let split = |at: &String| {
        let (host, port) = at.rsplit_once(':')?;
        Some((host.to_ascii_lowercase(), port.parse().ok()?))
    };
    let known = public.iter().filter_map(split).find(|(host, _)| certificate.has_name(host));
    known.or_else(|| {
        let name = certificate.names().iter().find(|name| !name.contains('*'))?;
        Some((name.clone(), listen.port()))
    })
}

/// The engine of a shared index, and the trust in its nodes; `None` without `--index`.
fn engine(
    args: &EngineArgs,
    is_open: bool,
    lang: Lang,
    err: &StdStreams,
) -> Result<Option<(ClusterOptions, Option<EngineTrust>)>, Exit> {
    let Some(text) = engine_text(args.index.as_ref(), args.index_file.as_deref())? else {
        if args.accounts_engine.is_some() || args.accounts_file.is_some() {
            return Err(Exit::new(exit::USAGE, "--accounts-engine needs --index"));
        }
        return Ok(None);
    };
    if !is_open {
        return Err(Exit::new(
            exit::USAGE,
            "--index needs --open: members are not shared between servers",
        ));
    }
    if !Keys::is_prefix(&args.index_prefix) {
        return Err(Exit::new(
            exit::USAGE,
            "--index-prefix: at most 64 letters, digits and signs, without braces",
        ));
    }
    let index = engine_url(&text, lang, err)?;
    let accounts = engine_text(args.accounts_engine.as_ref(), args.accounts_file.as_deref())?;
    let accounts = accounts.map(|text| engine_url(&text, lang, err)).transpose()?;
    let trust = engine_trust(args, [Some(&index), accounts.as_ref()])?;
    let options = |url: EngineUrl, accounts: Option<ClusterOptions>| {
        Ok::<_, Exit>(ClusterOptions {
            is_tls: url.tls,
            engine: engine_options(url)?,
            prefix: args.index_prefix.clone(),
            slots: ALL_SLOTS,
            read_every: READ_EVERY,
            secret: system::random(),
            accounts: accounts.map(Box::new),
        })
    };
    let accounts = accounts.map(|url| options(url, None)).transpose()?;
    Ok(Some((options(index, accounts)?, trust)))
}

/// The URL of an engine, of the command line or of a file.
fn engine_text(text: Option<&String>, file: Option<&str>) -> Result<Option<String>, Exit> {
    match (text, file) {
        (Some(text), _) => Ok(Some(text.clone())),
        (None, Some(file)) => read_secret(file).map(Some),
        (None, None) => Ok(None),
    }
}

fn engine_url(text: &str, lang: Lang, err: &StdStreams) -> Result<EngineUrl, Exit> {
    let url =
        EngineUrl::parse(text.trim()).map_err(|why| Exit::new(exit::USAGE, why.to_string()))?;
    // A URL of the environment or of a file is on no command line.
    let is_typed = |argument: &str| argument.contains(text) && !text.is_empty();
    if url.login.is_some() && std::env::args_os().any(|a| a.to_str().is_some_and(is_typed)) {
        say_setup(SetupNote::PasswordShown, lang, err);
    }
    Ok(url)
}

/// The authorities for the engines that take TLS.
fn engine_trust(
    args: &EngineArgs,
    urls: [Option<&EngineUrl>; 2],
) -> Result<Option<EngineTrust>, Exit> {
    let by_tls = urls.into_iter().flatten().filter(|url| url.tls);
    let hosts: Vec<String> =
        by_tls.flat_map(|url| &url.hosts).map(|(host, _)| host.clone()).collect();
    if !hosts.is_empty() {
        let trust = EngineTrust::open(args.index_ca.as_deref(), &hosts);
        return trust.map(Some).map_err(|why| Exit::new(exit::LOCAL, why));
    }
    match args.index_ca {
        Some(_) => Err(Exit::new(exit::USAGE, "--index-ca needs rediss:// in place of redis://")),
        None => Ok(None),
    }
}

fn engine_options(url: EngineUrl) -> Result<EngineOptions, Exit> {
    let mut seeds = Vec::new();
    for (host, port) in &url.hosts {
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let found = system::resolve(&format!("{host}:{port}"))
            .map_err(|why| Exit::Failure(Failure::NoHost(host, why)))?;
        seeds.extend(found);
    }
    Ok(EngineOptions { seeds, login: url.login, random: u64::from_le_bytes(system::random()) })
}

/// The secret in a file of the command line.
pub fn read_secret(file: &str) -> Result<String, Exit> {
    secret_file::read(Path::new(file))
        .map_err(|error| Exit::Failure(Failure::Disk(format!("{}: {error}", printable(file)))))
}

/// Lists folders of this machine, below `root` alone.
fn folders_below(root: &str) -> Result<ListFolder, Exit> {
    let missing = || Exit::Failure(Failure::NoFolder(root.to_owned()));
    let below = AllowedDir::new(Path::new(root)).map_err(|_| missing())?;
    Ok(Box::new(move |path| below.list(path)))
}

/// The operation log: `HOST`, `HOST:PORT`, or an IPv6 address with or without brackets.
fn log_target(text: &str) -> Result<LogTarget, Exit> {
    let alone = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if alone.parse::<IpAddr>().is_err() => (host, Some(port)),
        _ => (alone, None),
    };
    let wrong =
        || Exit::new(exit::USAGE, format!("--rpc-log {}: not a HOST[:PORT]", printable(text)));
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

/// Where a peer listens by default: closed servers and their peers serve members only.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 4000);

/// A peer that joins at once, or a console with a command to join.
pub fn peer(
    args: &PeerArgs,
    typed: bool,
    state: Option<&StateFolder>,
    has_socket: bool,
) -> Result<(Peer, TlsIdentity), Exit> {
    // A console of UC3M joins at CONNECT.
    let later = args.console.joins_at_connect();
    let shares = args.share.folder.is_some() || args.share.manifest.is_some();
    if !later && !shares && (args.listen.is_some() || args.udp.is_some()) {
        return Err(Exit::new(exit::USAGE, "a port needs --folder: the files to share"));
    }
    let listen = match args.listen {
        None if shares && !later => Some(
            activation::addresses()
                .first()
                .copied()
                .unwrap_or_else(|| address::or_free_port(DEFAULT_LISTEN)),
        ),
        listen => listen,
    };
    let task = listen.filter(|_| !later).map_or(Task::Menu, |listen| Task::Serve { listen });
    let accept = args.accept.consent();
    let folder = args.share.folder.clone().unwrap_or_else(|| ".".into());
    let (open_folder, groups) = share_opener(args)?;
    let defaults = PeerConfig::new(task, folder.clone(), open_folder);
    let legacy_ports = args
        .legacy
        .uc3m
        .iter()
        .copied()
        .chain(args.legacy.rede.map(|at| (at, LegacyProfile::Rede)))
        .chain(args.legacy.music_udp.map(|at| (at, LegacyProfile::MusicUdp)));
    let of_console = args
        .console
        .protocol()
        .filter(|own| legacy_ports.clone().all(|(_, given)| given != *own))
        .map(|own| {
            let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
            (SocketAddr::new(listen.map_or(loopback, |at| at.ip()), 0), own)
        });
    let tls_identity = tls_identity(args.identity.key.key.as_deref().map(Path::new))
        .map_err(|why| Exit::new(exit::FAULT, why))?;
    let config = PeerConfig {
        client: ClientConfig {
            server: known_servers::target(args.server.as_deref())?,
            known_servers: known_servers::remembered(),
            needs_server: args.once,
            typed,
            chooses: typed,
            recursive: args.filter.recursive,
            // Programs read the lines of other consoles.
            all_names: args.service.log.all_names || args.console != ConsoleProfile::Napster,
            console: args.console,
            saved_lists: Box::new(SavedListsDir::new(".")),
            user: UserConfig {
                name: args.identity.user.as_deref().filter(|_| !later).map(user).transpose()?,
                registers: true,
                identity: identity(&args.identity.key),
            },
            ..defaults.client
        },
        downloads: DownloadConfig {
            hashes: hashes(args)?,
            groups: Rc::new(groups),
            ..defaults.downloads
        },
        network: NetworkConfig {
            protocol: ListenerProtocol::Sniffed {
                ufabc_json: args.legacy.ufabc_json,
                napster: args.legacy.napster,
            },
            connect_at: listen.filter(|_| later),
            udp: transport::udp(args.udp, listen)?,
            legacy_ports: legacy_ports.chain(of_console).collect(),
            advertise: args.advertise,
            hosts: args.http.hosts.names(),
            key: Some(tls_identity.key()),
            ..defaults.network
        },
        uploads: UploadConfig {
            is_open: args.http.open,
            key: Some(tls_identity.key()),
            accept,
            slots: upload_slots(args),
            quota: args.transfer.upload_quota,
            posters: posters(args),
            drop: drop_config(args)?,
            metrics_open: args.http.metrics == Metrics::Open,
            process: system::process_stats,
        },
        transfers: transfers(args, state, has_socket),
    };
    let peer = Peer::new(config).map_err(|error| no_folder(&folder, error))?;
    Ok((peer, tls_identity))
}

/// The folder for files of visitors.
fn drop_config(args: &PeerArgs) -> Result<Option<DropConfig>, Exit> {
    let Some(path) = &args.http.drop.drop else { return Ok(None) };
    let reserve = args.storage.disk.reserve.unwrap_or(0);
    let folder =
        Folder::open(path, AllocateArg::Full.how()).map_err(|error| no_folder(path, error))?;
    Ok(Some(DropConfig {
        folder: Rc::new(folder.reserving(reserve)),
        asks: args.http.drop.drop_accept.asks(),
        largest: args.http.drop.drop_largest,
        total: args.http.drop.drop_total,
        most_files: usize::try_from(args.http.drop.drop_files).unwrap_or(usize::MAX),
        reserve,
    }))
}

/// Posters of videos, where ffmpeg is here.
fn posters(args: &PeerArgs) -> Option<Box<dyn PosterStore>> {
    if args.http.no_posters {
        return None;
    }
    Some(Box::new(PosterCache::of_user()?))
}

/// Opens the state folder of a peer.
pub fn state_folder(folder: Option<&Path>) -> Result<Option<StateFolder>, Exit> {
    let Some(folder) = folder else { return Ok(None) };
    let shown = shown_path(folder);
    StateFolder::open(folder).map(Some).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => {
            Exit::new(exit::LOCAL, format!("--state {shown}: another peer uses this folder"))
        }
        _ => Exit::Failure(Failure::Disk(format!("{shown}: {error}"))),
    })
}

/// The queue, and what the user controls.
fn transfers(args: &PeerArgs, state: Option<&StateFolder>, has_socket: bool) -> TransferConfig {
    let file = |name| match state {
        Some(state) => Box::new(state.file(name)) as Box<dyn StateFile>,
        None => Box::new(NoStateFile),
    };
    TransferConfig {
        queue: file("queue"),
        history: file("history"),
        blocks: file("blocked"),
        jobs: usize::from(args.transfer.jobs),
        rates: args.speed().usual,
        seconds: || system::unix_milliseconds() / 1_000,
        has_socket,
    }
}

/// Uploads at once.
pub fn upload_slots(args: &PeerArgs) -> Option<usize> {
    args.transfer.uploads.and_then(|slots| usize::try_from(slots).ok())
}

/// The hash cache, read before the loop starts.
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
pub fn search(args: &SearchArgs) -> Result<Client, Exit> {
    once(args.command()?, &args.ask)
}

/// REGISTER, once.
pub fn register(args: &NameArgs) -> Result<Client, Exit> {
    let command = Command::Operate(Some(user(&args.user)?), AccountOp::Register);
    let mut config = client(command, &args.ask)?;
    config.user.identity = identity(&args.key);
    Ok(Client::new(config))
}

/// UNREGISTER, once.
pub fn unregister(args: &NameArgs) -> Result<Client, Exit> {
    as_user(AccountOp::Unregister, &args.user, false, &args.key, &args.ask)
}

/// PUBLISH, once.
pub fn publish(args: &PublishArgs) -> Result<Client, Exit> {
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
pub fn delete(args: &DeleteArgs) -> Result<Client, Exit> {
    as_user(AccountOp::Delete(published(&args.name)?), &args.user, false, &args.key, &args.ask)
}

/// LIST_USERS, once.
pub fn users(args: &AskArgs) -> Result<Client, Exit> {
    let op = AccountOp::ListUsers { cursor: None, most: limits::LIST_ENTRIES };
    once(Command::Operate(None, op), args)
}

/// LIST_CONTENT, once.
pub fn content(args: &ContentArgs) -> Result<Client, Exit> {
    let of = user(&args.user)?;
    let op = AccountOp::ListContent { of, cursor: None, most: limits::LIST_ENTRIES };
    once(Command::Operate(None, op), &args.ask)
}

/// An operation that needs the login of the user.
fn as_user(
    op: AccountOp,
    name: &str,
    registers: bool,
    key: &KeyArgs,
    ask: &AskArgs,
) -> Result<Client, Exit> {
    let mut config = client(Command::Operate(None, op), ask)?;
    config.user = UserConfig { name: Some(user(name)?), registers, identity: identity(key) };
    Ok(Client::new(config))
}

/// The name of a user.
pub fn user(text: &str) -> Result<UserName, Exit> {
    UserName::new(text).map_err(|why| Exit::Failure(Failure::Name(text.to_owned(), why)))
}

pub fn published(text: &str) -> Result<Line, Exit> {
    command::published(text).map_err(Exit::Failure)
}

/// Opens the key of the user.
pub fn identity(args: &KeyArgs) -> OpenIdentity {
    let file = args.key.clone();
    Box::new(move || key_file::open(file.as_deref().map(Path::new)))
}

/// The key of the user, in this file or the default one. Without a file for a key, this process has a key of its own.
pub fn tls_identity(file: Option<&Path>) -> Result<TlsIdentity, String> {
    key_file::open_for_tls(file).or_else(|why| {
        log::info!("a key for this run alone: {why}");
        TlsIdentity::random()
    })
}

/// PEERS, once.
pub fn peers(args: &AskArgs) -> Result<Client, Exit> {
    once(Command::Peers, args)
}

/// LS, once.
pub fn ls(peer: PeerTarget, args: &LsArgs) -> Result<Client, Exit> {
    once(Command::Ls(peer), &args.ask)
}

/// LS of a peer with a legacy protocol, once, without a server.
pub fn ls_legacy(peer: PeerTarget) -> Result<Downloader, Exit> {
    let task = Task::Once(Command::Ls(peer));
    let client = ClientConfig::new(task, opener(AllocateArg::Full));
    downloader(client, DownloadConfig::new(".".into()))
}

/// The peer for LS.
pub fn ls_target(args: &LsArgs) -> Result<PeerTarget, Exit> {
    args.peer.ok_or_else(|| Exit::new(exit::USAGE, "ls: a peer is missing, such as 127.0.0.1:4000"))
}

/// One command at a server.
pub fn once(command: Command, ask: &AskArgs) -> Result<Client, Exit> {
    Ok(Client::new(client(command, ask)?))
}

/// The configuration of a command at a server.
pub fn client(command: Command, ask: &AskArgs) -> Result<ClientConfig, Exit> {
    let server = known_servers::target(ask.server.as_deref())?;
    let defaults = ClientConfig::new(Task::Once(command), opener(AllocateArg::Full));
    let user = UserConfig { identity: own_identity(), ..defaults.user };
    let known_servers = known_servers::remembered();
    Ok(ClientConfig { server, user, known_servers, ..defaults })
}

/// Opens the key of a command without an option for it.
pub fn own_identity() -> OpenIdentity {
    let file = std::env::var_os("CARDUME_KEY").map(PathBuf::from);
    Box::new(move || key_file::open(file.as_deref()))
}

/// GET, once.
pub fn get(args: &GetArgs) -> Result<Downloader, Exit> {
    let chooses = std::io::stdin().is_terminal()
        && std::io::stdout().is_terminal()
        && !args.ask.json
        && terminal::is_ours();
    if args.found.is_used() {
        return get_found(args, chooses);
    }
    let mut targets = get_list::targets(&args.names, args.input.as_deref())?;
    let is_single = targets.len() == 1;
    if args.output.is_some() && (!is_single || targets[0].is_folder) {
        return Err(Exit::new(exit::USAGE, "--output is the place of exactly one file"));
    }
    let mut target = targets.remove(0);
    if let Some(text) = &args.hash {
        if !is_single {
            return Err(Exit::new(exit::USAGE, "--hash is the root of exactly one file"));
        }
        target.root = Some(root(text)?);
    }
    let command = |target| match args.from {
        Some(from) => Command::GetFrom(target, from),
        None => Command::Get(target),
    };
    let (folder, place) = match args.output.as_deref() {
        None => (args.folder.clone(), DownloadPlace::Folder),
        Some("-") => (".".into(), DownloadPlace::Pipe(Rc::new(StdoutSink::default()))),
        Some(file) => output(file)?,
    };
    let client = match args.from {
        // A download from a named peer needs no server.
        Some(_) => ClientConfig::new(Task::Once(command(target)), opener(AllocateArg::Full)),
        None => client(command(target), &args.ask)?,
    };
    let client = ClientConfig {
        open_folder: disk_opener(&args.disk, &folder, None)?,
        chooses,
        by_quic: args.transport.is_quic(args.from.is_some())?,
        ..client
    };
    let downloads = DownloadConfig {
        place,
        verify: !args.no_verify,
        sequential: args.sequential,
        retry_policy: retry_policy(args.wait),
        list: DownloadList::new(targets.into_iter().map(command).collect(), usize::from(args.jobs)),
        ..DownloadConfig::new(folder)
    };
    downloader(client, downloads)
}

/// GET by a search, once.
fn get_found(args: &GetArgs, chooses: bool) -> Result<Downloader, Exit> {
    if !args.found.yes && !chooses {
        return Err(Exit::new(
            exit::USAGE,
            "no person can answer here: --yes downloads without a question",
        ));
    }
    let query = args.found.query()?;
    let client = ClientConfig {
        open_folder: disk_opener(&args.disk, &args.folder, None)?,
        chooses,
        by_quic: args.transport.is_quic(false)?,
        ..client(Command::GetFound(Box::new(query)), &args.ask)?
    };
    let downloads = DownloadConfig {
        verify: !args.no_verify,
        sequential: args.sequential,
        retry_policy: retry_policy(args.wait),
        list: DownloadList::new(Vec::new(), usize::from(args.jobs)),
        confirmed: args.found.yes,
        ..DownloadConfig::new(args.folder.clone())
    };
    downloader(client, downloads)
}

/// The retries of a one-shot download.
pub fn retry_policy(wait: bool) -> RetryPolicy {
    if wait { RetryPolicy::Endless } else { RetryPolicy::For(limits::GET_RETRY_FOR) }
}

/// VERIFY, once.
pub fn verify(args: &VerifyArgs) -> Result<Client, Exit> {
    let targets = args
        .files
        .iter()
        .map(|file| verify_target(file))
        .collect::<Result<Vec<VerifyTarget>, Exit>>()?;
    let config = match &args.hash {
        // A given content hash needs no server.
        Some(text) if matches!(&targets[..], [VerifyTarget { name: Some(_), .. }]) => {
            let task = Task::Once(Command::Verify { targets, root: Some(root(text)?) });
            ClientConfig::new(task, opener(AllocateArg::Full))
        }
        Some(_) => return Err(Exit::new(exit::USAGE, "--hash is the root of exactly one file")),
        None => client(Command::Verify { targets, root: None }, &args.ask)?,
    };
    Ok(Client::new(ClientConfig { recursive: args.recursive, ..config }))
}

/// VERIFY of a folder against the list of its peers, once.
pub fn verify_folder(args: &VerifyArgs, name: &str) -> Result<Downloader, Exit> {
    let [folder] = &args.files[..] else {
        return Err(Exit::new(exit::USAGE, "--as compares exactly one folder"));
    };
    let mut target = DownloadTarget::read(&format!("{}/", name.strip_suffix('/').unwrap_or(name)))
        .map_err(Exit::Failure)?;
    if let Some(text) = &args.hash {
        target.root = Some(root(text)?);
    }
    let client = match args.from {
        Some(from) => {
            let command = Command::GetFrom(target, PeerTarget::from(from));
            ClientConfig::new(Task::Once(command), opener(AllocateArg::Full))
        }
        None => client(Command::Get(target), &args.ask)?,
    };
    let downloads = DownloadConfig {
        checks: Some(folder.clone()),
        retry_policy: retry_policy(false),
        ..DownloadConfig::new(folder.clone())
    };
    downloader(ClientConfig { open_folder: opener(AllocateArg::Full), ..client }, downloads)
}

/// A folder, or a file by folder and name.
fn verify_target(path: &str) -> Result<VerifyTarget, Exit> {
    let given = Path::new(path);
    let last = given.file_name().and_then(|last| last.to_str()).filter(|_| !given.is_dir());
    let Some(last) = last else { return Ok(VerifyTarget { folder: path.to_owned(), name: None }) };
    let folder =
        given.parent().and_then(Path::to_str).filter(|folder| !folder.is_empty()).unwrap_or(".");
    Ok(VerifyTarget { folder: folder.to_owned(), name: Some(name(last)?) })
}

/// A content hash, written `b3:ROOT` or as hex digits.
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
    command::name(text).map_err(Exit::Failure)
}

/// Opens folders. `allocate`: how to make room for downloads.
pub fn opener(allocate: AllocateArg) -> OpenFolder {
    let allocate = allocate.how();
    Box::new(move |path| {
        Folder::open(path, allocate).map(|folder| Rc::new(folder) as Rc<dyn Filesystem>)
    })
}

/// The patterns of files that are not shared.
pub fn excludes(patterns: &[String]) -> Result<Excludes, Exit> {
    let mut excludes = Excludes::default();
    for pattern in patterns {
        if !excludes.add(pattern) {
            return Err(Exit::new(
                exit::USAGE,
                format!("--exclude {}: too long, or too many patterns", printable(pattern)),
            ));
        }
    }
    Ok(excludes)
}

/// The patterns of files that a peer does not share: those of the command line, and the lists that its
/// console saves in its folder.
pub fn share_excludes(args: &PeerArgs) -> Result<Excludes, Exit> {
    let own = if args.console.keeps_lists() { SAVED_LISTS } else { &[] };
    let own = own.iter().map(|pattern| (*pattern).to_owned());
    excludes(&args.filter.exclude.iter().cloned().chain(own).collect::<Vec<String>>())
}

/// Opens the folder of downloads, with the room that they get. `guard`: the patterns of files that are
/// not shared.
fn disk_opener(args: &DiskArgs, folder: &str, guard: Option<Excludes>) -> Result<OpenFolder, Exit> {
    let (allocate, parts) = (args.allocate.how(), args.incomplete_dir.clone());
    let reserve = args.reserve.unwrap_or(0);
    if let Some(parts) = &parts
        && let Ok(opened) = Folder::open(folder, allocate)
    {
        opened.with_parts(parts).map_err(|error| match error {
            FsError::NoFolder => Exit::Failure(Failure::NoFolder(parts.clone())),
            error => {
                Exit::new(exit::LOCAL, format!("--incomplete-dir {}: {error}", printable(parts)))
            }
        })?;
    }
    Ok(Box::new(move |path| {
        let folder = Folder::open(path, allocate)?.reserving(reserve);
        let folder = match &parts {
            Some(parts) => folder.with_parts(parts)?,
            None => folder,
        };
        Ok(match &guard {
            Some(excludes) => Rc::new(folder.guarded(Guard::of_share(excludes.clone()))),
            None => Rc::new(folder) as Rc<dyn Filesystem>,
        })
    }))
}

/// Opens shared folders, without the files of these patterns.
pub fn excluding_opener(exclude: &[String], allocate: AllocateArg) -> Result<OpenFolder, Exit> {
    let excludes = excludes(exclude)?;
    let allocate = allocate.how();
    Ok(Box::new(move |path| {
        Folder::open(path, allocate).map(|folder| {
            Rc::new(folder.guarded(Guard::of_share(excludes.clone()))) as Rc<dyn Filesystem>
        })
    }))
}

/// Opens the share of a peer: a folder, the files of a manifest, or both; and the groups of the
/// files.
fn share_opener(args: &PeerArgs) -> Result<(OpenFolder, ShareGroups), Exit> {
    let folder = args.share.folder.as_deref().unwrap_or(".");
    let open = disk_opener(&args.storage.disk, folder, Some(share_excludes(args)?))?;
    let usual =
        Groups::parse(args.share.for_group.iter().map(String::as_str)).ok_or_else(|| {
            Exit::new(exit::USAGE, format!("--for-group: at most {} groups", limits::MEMBER_GROUPS))
        })?;
    let Some(file) = &args.share.manifest else {
        return Ok((open, ShareGroups { usual, ..ShareGroups::default() }));
    };
    let manifest = Manifest::read(Path::new(file), args.filter.recursive).map_err(|error| {
        let code = if matches!(error, ManifestError::Line(..)) { exit::USAGE } else { exit::LOCAL };
        Exit::new(code, format!("{}: {error}", printable(file)))
    })?;
    // Share a folder that the user names, here or later at JOIN. The current folder only receives downloads.
    let shared =
        args.share.folder.is_some() || (args.listen.is_none() && !args.console.joins_at_connect());
    let groups = manifest.groups(usual);
    let open = Box::new(move |path: &str| {
        Ok(Rc::new(manifest.with(open(path)?, shared)) as Rc<dyn Filesystem>)
    });
    Ok((open, groups))
}

/// A downloader.
pub fn downloader(client: ClientConfig, downloads: DownloadConfig) -> Result<Downloader, Exit> {
    let folder = downloads.folder.clone();
    Downloader::new(client, downloads).map_err(|error| no_folder(&folder, error))
}

/// A folder that can't be opened.
fn no_folder(folder: &str, error: FsError) -> Exit {
    match error {
        FsError::NoFolder => Exit::Failure(Failure::NoFolder(folder.to_owned())),
        error => Exit::Failure(Failure::Disk(format!("{folder}: {error}"))),
    }
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
