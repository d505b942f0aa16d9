//! Entry point: from the command line to a running node, and from its end to an exit code.

mod accounts;
mod administration;
mod args;
#[cfg(feature = "loadgen")]
mod bench;
mod build_node;
mod complete;
mod generate;
mod get_list;
mod hash;
mod journal;
mod json_output;
mod known_servers;
mod link;
mod members;
mod questions;
mod reload;
mod service;
mod settings;
mod skipped;
mod status;
mod term;
mod transfers;
mod translate;
mod usage_error;
mod watch;
mod web;

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::io::IsTerminal as _;
use std::time::Duration;

use cardume::io::schedule::TransferRates;
use cardume::node::Node;
use cardume::os::control;
use cardume::os::net::network::Network;
use cardume::os::net::tls::identity::TlsIdentity;
use cardume::os::stdio::{StdStreams, Stdio};
use cardume::os::system;
use cardume::os::terminal;
use cardume::protocol::control::ControlRequest;
use cardume::protocol::types::file_name::printable;
use cardume::reactor::event_loop::EventLoop;
use cardume::reactor::rate_limits::RateLimits;
use cardume::reactor::traits::ConsoleIo as _;
use cardume::server::log_receiver::LogReceiver;
use cardume::ui::event::{Failure, exit};
use cardume::ui::lang::Lang;
use cardume::ui::text;
use clap::FromArgMatches as _;

use crate::cli::args::{Cli, UnregisterArgs, Verb, transport};
use crate::cli::journal::Journal;
use crate::cli::reload::Reloader;
use crate::cli::service::{Hooks, Service};
use crate::cli::term::console::{Console, Style};

/// Runs the program, and returns its exit code.
pub fn run() -> i32 {
    system::outlive_size_limits();
    let words: Vec<OsString> = std::env::args_os().collect();
    let lang = args::lang_of(words.get(1..).unwrap_or_default());
    let program = translate::command(lang);
    let settings = match settings::of_process(&program, &words, lang) {
        Ok(settings) => settings,
        Err(stop) => {
            let outputs = Outputs::lossless();
            stop.report(is_json(&words) || settings::wants_json(), lang, &outputs);
            return exit_code(stop.code(), &outputs, lang, false);
        }
    };
    let is_json = is_json(&settings.words);
    let cli = match program
        .try_get_matches_from(&settings.words)
        .and_then(|matches| Cli::from_arg_matches(&matches))
    {
        Ok(cli) => cli,
        Err(error) => {
            let outputs = Outputs::lossless();
            if error.use_stderr() && is_json {
                let text = usage_error::message(&error, Lang::En);
                outputs.out.put(json_output::failed_line(exit::USAGE, &text).as_bytes());
            }
            return exit_code(misread(&error, &words, lang, &outputs), &outputs, lang, false);
        }
    };
    let outputs = Outputs {
        out: StdStreams::new(Stdio::Out, cli.is_one_shot()),
        err: StdStreams::new(Stdio::Err, false),
        quiet: cli.quiet,
        time_limit: cli.time_limit(),
    };
    let lang = cli.lang();
    let journal = Journal::begin(outputs.err.clone(), lang);
    let serves = matches!(&cli.verb, Verb::Server(_) | Verb::Peer(_));
    let code = match carry_out(cli, &words, &journal, &outputs) {
        Ok(code) => code,
        Err(stop) => {
            stop.report(is_json, lang, &outputs);
            stop.code()
        }
    };
    exit_code(code, &outputs, lang, serves)
}

/// The exit code of a command that has ended with `code`, given the state of its output. A process
/// that `serves` continues without a reader; any other process exits as if by SIGPIPE.
/// Output lost for any other reason is a failure.
fn exit_code(code: i32, outputs: &Outputs, lang: Lang, serves: bool) -> i32 {
    outputs.out.close();
    let code = match outputs.out.failure() {
        None => code,
        Some(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            let quiet =
                !serves && matches!(code, exit::DONE | exit::NOT_FOUND | exit::INTERRUPTED | 143);
            if quiet { exit::NO_READER } else { code }
        }
        Some(error) => {
            outputs.err.put(format!("cardume: stdout: {}\n", text::cause(&error, lang)).as_bytes());
            exit::LOCAL
        }
    };
    outputs.err.close();
    // The user has closed stderr (`2>&-`) or its reader.
    let is_lost = |error: std::io::Error| {
        error.kind() != std::io::ErrorKind::BrokenPipe
            && error.raw_os_error() != Some(system::NOT_OPEN)
    };
    if code == exit::DONE && outputs.err.failure().is_some_and(is_lost) {
        exit::LOCAL
    } else {
        code
    }
}

/// True if the output of these words is JSON, even where the words are wrong.
fn is_json(words: &[OsString]) -> bool {
    let typed: Vec<_> = words.iter().take_while(|word| *word != "--").collect();
    // With `-o -` stdout is for the bytes of a file.
    let is_output = |word: &str| word == "--output" || is_short(word) && word.ends_with('o');
    let is_stdout = |pair: &[Cow<'_, str>]| match pair {
        [flag, value] if value == "-" => is_output(flag),
        [_, word] => word == "--output=-" || is_short(word) && word.ends_with("o-"),
        _ => false,
    };
    let typed: Vec<Cow<'_, str>> = typed.iter().map(|word| word.to_string_lossy()).collect();
    typed.iter().any(|word| word == "--json") && !typed.windows(2).any(is_stdout)
}

/// True for short flags, such as `-qo`.
fn is_short(word: &str) -> bool {
    word.starts_with('-') && !word.starts_with("--")
}

/// Prints help and version as rendered by clap, and usage errors on a single line.
fn misread(error: &clap::Error, words: &[OsString], lang: Lang, outputs: &Outputs) -> i32 {
    use clap::error::ErrorKind::{
        DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion,
    };
    match error.kind() {
        DisplayHelp | DisplayVersion | DisplayHelpOnMissingArgumentOrSubcommand => {
            let (to, is_terminal) = match error.use_stderr() {
                true => (&outputs.err, std::io::stderr().is_terminal()),
                false => (&outputs.out, std::io::stdout().is_terminal()),
            };
            let text = error.render();
            let text = if is_terminal && !terminal::is_dumb() {
                text.ansi().to_string()
            } else {
                text.to_string()
            };
            to.put(translate::frame(text, lang).as_bytes());
            if error.use_stderr() { exit::USAGE } else { exit::DONE }
        }
        _ => {
            let words: Vec<String> =
                words.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
            outputs.err.put(format!("{}\n", usage_error::line(error, &words, lang)).as_bytes());
            exit::USAGE
        }
    }
}

struct Outputs {
    out: StdStreams,
    err: StdStreams,
    /// Results and errors alone.
    quiet: bool,
    /// The end of a one-shot command.
    time_limit: Option<Duration>,
}

impl Outputs {
    /// Outputs that wait for their readers.
    fn lossless() -> Outputs {
        Outputs {
            out: StdStreams::new(Stdio::Out, true),
            err: StdStreams::new(Stdio::Err, true),
            quiet: false,
            time_limit: None,
        }
    }
}

/// Why the program cannot start.
enum Exit {
    /// A failure that can also happen later.
    Failure(Failure),
    /// Any other reason, with an exit code.
    Other(i32, String),
}

impl Exit {
    fn new(code: i32, text: impl Into<String>) -> Exit {
        Exit::Other(code, text.into())
    }

    /// Report on stderr; with `is_json` as an event on stdout too.
    fn report(&self, is_json: bool, lang: Lang, outputs: &Outputs) {
        if is_json {
            let line = json_output::failed_line(self.code(), &self.text(Lang::En));
            outputs.out.put(line.as_bytes());
        }
        outputs.err.put(format!("cardume: {}\n", self.text(lang)).as_bytes());
    }

    fn code(&self) -> i32 {
        match self {
            Exit::Failure(failure) => failure.code(),
            Exit::Other(code, _) => *code,
        }
    }

    fn text(&self, lang: Lang) -> String {
        match self {
            Exit::Failure(failure) => text::failed(failure, lang),
            Exit::Other(_, text) => text::reworded(&translate::message(text, lang), lang),
        }
    }
}

/// A path for people.
fn shown_path(path: impl AsRef<OsStr>) -> String {
    printable(&path.as_ref().to_string_lossy())
}

/// The settings of a process that runs for long: a process without a terminal reads them again at
/// SIGHUP, and any other ends with its terminal. Under `nohup` SIGHUP stays ignored.
fn reloader(
    words: &[OsString],
    command: &'static str,
    lang: Lang,
) -> Result<Option<Reloader>, Exit> {
    match std::io::stdin().is_terminal() || system::is_hangup_ignored() {
        true => Ok(None),
        false => Reloader::new(words, command, lang).map(Some),
    }
}

fn carry_out(
    cli: Cli,
    words: &[OsString],
    journal: &Journal,
    outputs: &Outputs,
) -> Result<i32, Exit> {
    let lang = cli.lang();
    let shows = cli.verb.is_for_its_output();
    match cli.verb {
        Verb::Server(args) => {
            #[cfg(feature = "store")]
            if let Some(verb) = &args.verb {
                return accounts::accounts(verb, lang, &outputs.out, &outputs.err);
            }
            let knows_own = !args.access.no_local;
            journal.configure(&args.process.log)?;
            let reloader = reloader(words, "server", lang)?;
            let service = Service::new(journal.clone(), reloader, None);
            let (node, tls) = build_node::server(*args, lang, &outputs.err)?;
            let mut net = transport::network_of(tls.identity, knows_own)?;
            if let Some(certificate) = tls.certificate {
                net.use_certificate(certificate);
            }
            if let Some(trust) = tls.engine {
                net.use_engine_trust(trust);
            }
            plug_into(
                net,
                node,
                Console::new(Style::Plain, lang, outputs).with_service(service),
                RateLimits::default(),
                false,
            )
        }
        Verb::Peer(mut args) => {
            if let Some(join) = members::join_of_peer(&mut args)? {
                let code = one_shot_as(join, false, lang, outputs, shows)?;
                if code != exit::DONE {
                    return Ok(code);
                }
            }
            // A background job may neither read the terminal nor change its mode: the shell would
            // stop the process.
            let terminal = std::io::stdin().is_terminal();
            let typed = terminal && terminal::is_ours();
            let style = if typed { Style::Typed } else { Style::Piped };
            let speed = args.speed();
            journal.configure(&args.service.log)?;
            let reloader = reloader(words, "peer", lang)?;
            let hooks = Hooks::new(args.service.hooks.clone());
            let service = Service::new(journal.clone(), reloader, Some(hooks));
            let state = build_node::state_folder(args.service.state.as_deref())?;
            let mut control = None;
            match control::listen(state.as_ref()) {
                Ok(socket) => control = Some(socket),
                Err(error) => log::info!("no control socket: {error}"),
            }
            let (node, identity) =
                build_node::peer(&args, typed, state.as_ref(), control.is_some())?;
            let mut net = transport::network_of(identity, !args.http.no_local)?;
            if let Some(control) = control {
                net.use_control_socket(control);
            }
            plug_into(
                net,
                node,
                Console::of(args.console, style, lang, outputs).with_service(service),
                speed,
                typed || !terminal,
            )
        }
        Verb::RpcLog(args) => plug_in(
            LogReceiver::new(args.listen),
            Console::new(Style::Plain, lang, outputs).for_its_output(shows),
            RateLimits::default(),
            false,
        ),
        #[cfg(feature = "loadgen")]
        Verb::Bench(args) => one_shot(bench::load(&args)?, args.json, lang, outputs, shows),
        Verb::Hash(args) => Ok(hash::hash(&args, lang, outputs)),
        Verb::Reload(args) => reload::reload(&args, &outputs.out),
        Verb::Config(args) => settings::command::config(&args, lang, &outputs.out),
        Verb::Complete(args) => {
            let console = Console::new(Style::Words, lang, outputs).completing(&args.word);
            // A shell shows no reason: without an answer there are no words.
            let _ = plug_in(complete::complete(&args)?, console, RateLimits::default(), false);
            Ok(exit::DONE)
        }
        Verb::Completions { shell } => {
            generate::completions(shell, lang, &outputs.out);
            Ok(exit::DONE)
        }
        Verb::Man { command } => {
            generate::man(command.as_deref(), lang, &outputs.out)?;
            Ok(exit::DONE)
        }
        Verb::Search(args) => {
            one_shot(build_node::search(&args)?, args.ask.json, lang, outputs, shows)
        }
        Verb::Peers(args) => one_shot(build_node::peers(&args)?, args.json, lang, outputs, shows),
        Verb::Ls(args) if args.skipped => skipped::skipped(&args, lang, &outputs.out),
        Verb::Ls(args) => {
            let (peer, json) = (build_node::ls_target(&args)?, args.ask.json);
            match peer.speaks {
                Some(_) => one_shot(build_node::ls_legacy(peer)?, json, lang, outputs, shows),
                None => one_shot(build_node::ls(peer, &args)?, json, lang, outputs, shows),
            }
        }
        Verb::Register(args) => {
            one_shot(build_node::register(&args)?, args.ask.json, lang, outputs, shows)
        }
        Verb::Unregister(args) if args.admin => one_shot(
            administration::remove_user(&args.name)?,
            args.name.ask.json,
            lang,
            outputs,
            shows,
        ),
        Verb::Unregister(UnregisterArgs { name: args, .. }) => {
            one_shot(build_node::unregister(&args)?, args.ask.json, lang, outputs, shows)
        }
        Verb::Publish(args) => {
            one_shot(build_node::publish(&args)?, args.ask.json, lang, outputs, shows)
        }
        Verb::Delete(args) if args.admin => {
            one_shot(administration::unpublish(&args)?, args.ask.json, lang, outputs, shows)
        }
        Verb::Delete(args) => {
            one_shot(build_node::delete(&args)?, args.ask.json, lang, outputs, shows)
        }
        Verb::Join(args) => one_shot_as(members::join(&args)?, args.json, lang, outputs, shows),
        Verb::Invite(args) => {
            one_shot(members::invite(&args)?, args.ask.json, lang, outputs, shows)
        }
        Verb::Uninvite(args) => {
            one_shot(members::uninvite(&args)?, args.ask.json, lang, outputs, shows)
        }
        Verb::Members(args) => {
            one_shot(members::members(&args)?, args.ask.json, lang, outputs, shows)
        }
        Verb::Admit(args) => one_shot(members::admit(&args)?, args.ask.json, lang, outputs, shows),
        Verb::Role(args) => one_shot(members::role(&args)?, args.ask.json, lang, outputs, shows),
        Verb::Revoke(args) => {
            one_shot(members::revoke(&args)?, args.ask.json, lang, outputs, shows)
        }
        Verb::Kick(args) => {
            one_shot(administration::kick(&args)?, args.ask.json, lang, outputs, shows)
        }
        Verb::Ban(args) => {
            one_shot(administration::ban(&args)?, args.ask.json, lang, outputs, shows)
        }
        Verb::Unban(args) => {
            one_shot(administration::unban(&args)?, args.ask.json, lang, outputs, shows)
        }
        Verb::Bans(args) => one_shot(administration::bans(&args)?, args.json, lang, outputs, shows),
        Verb::Limits(args) => {
            one_shot(administration::limits(&args)?, args.ask.json, lang, outputs, shows)
        }
        Verb::Audit(args) => one_shot(members::audit(&args)?, args.ask.json, lang, outputs, shows),
        Verb::Link(args) => {
            one_shot_as(link::link(&args)?, args.own.ask.json, lang, outputs, shows)
        }
        Verb::Links(args) => {
            one_shot_as(link::links(&args)?, args.own.ask.json, lang, outputs, shows)
        }
        Verb::Unlink(args) => {
            one_shot_as(link::unlink(&args)?, args.own.ask.json, lang, outputs, shows)
        }
        Verb::Transfers(args) => transfers::transfers(&args, lang, outputs),
        Verb::Add(args) => transfers::add(&args, lang, outputs),
        Verb::Pause(args) => {
            transfers::select(args, |of| ControlRequest::Pause { of }, lang, outputs)
        }
        Verb::Resume(args) => {
            transfers::select(args, |of| ControlRequest::Resume { of }, lang, outputs)
        }
        Verb::Cancel(args) => {
            transfers::select(args, |of| ControlRequest::Cancel { of }, lang, outputs)
        }
        Verb::Top(args) => transfers::select(args, |of| ControlRequest::Top { of }, lang, outputs),
        Verb::Limit(args) => transfers::limit(&args, lang, outputs),
        Verb::Block(args) => transfers::block(args, lang, outputs),
        Verb::Allow(args) => transfers::allow(args, lang, outputs),
        Verb::Blocked(args) => transfers::blocked(&args.peer, lang, outputs),
        Verb::History(args) => transfers::history(&args, lang, outputs),
        Verb::Watch(args) => one_shot(watch::watch(&args)?, args.ask.json, lang, outputs, shows),
        Verb::Web(args) => {
            let style = if args.ask.json { Style::Json } else { Style::Plain };
            let console = Console::new(style, lang, outputs);
            plug_in(web::web(&args)?, console, RateLimits::default(), false)
        }
        Verb::Status(args) => one_shot(status::status(&args)?, args.ask.json, lang, outputs, shows),
        Verb::Users(args) => one_shot(build_node::users(&args)?, args.json, lang, outputs, shows),
        Verb::Content(args) => {
            one_shot(build_node::content(&args)?, args.ask.json, lang, outputs, shows)
        }
        Verb::Verify(args) => {
            if let Some(name) = &args.shared_as {
                let node = build_node::verify_folder(&args, name)?;
                return one_shot(node, args.ask.json, lang, outputs, shows);
            }
            one_shot(build_node::verify(&args)?, args.ask.json, lang, outputs, shows)
        }
        Verb::Play(args) => {
            let speed = download_limit(args.download_limit);
            let (node, plays) = crate::cli::args::play::play(&args)?;
            let style = if args.ask.json { Style::Json } else { Style::Play { alone: !plays } };
            plug_into(
                args.transport.network()?,
                node,
                Console::new(style, lang, outputs),
                speed,
                false,
            )
        }
        Verb::Get(args) => {
            let (json, speed) = (args.ask.json, download_limit(args.download_limit));
            let to_stdout = args.goes_to_stdout();
            let node = build_node::get(&args)?;
            let style = match (json, to_stdout) {
                (true, true) => {
                    return Err(Exit::new(exit::USAGE, "--json and -o - both want stdout"));
                }
                (true, false) => Style::Json,
                (false, true) => Style::Quiet,
                (false, false) => Style::OneShot,
            };
            // The user may have to choose between contents.
            let reads_stdin =
                style == Style::OneShot && std::io::stdin().is_terminal() && terminal::is_ours();
            plug_into(
                args.transport.network()?,
                node,
                Console::new(style, lang, outputs),
                speed,
                reads_stdin,
            )
        }
    }
}

/// Runs a command; `shows`: a command without a purpose besides the output.
fn one_shot(
    node: impl Node,
    json: bool,
    lang: Lang,
    outputs: &Outputs,
    shows: bool,
) -> Result<i32, Exit> {
    let console = one_shot_console(json, lang, outputs, shows);
    plug_in(node, console, RateLimits::default(), false)
}

/// As [`one_shot`], as the user with this key.
fn one_shot_as(
    (node, identity): (impl Node, TlsIdentity),
    json: bool,
    lang: Lang,
    outputs: &Outputs,
    shows: bool,
) -> Result<i32, Exit> {
    let console = one_shot_console(json, lang, outputs, shows);
    plug_into(transport::network_of(identity, false)?, node, console, RateLimits::default(), false)
}

fn one_shot_console(json: bool, lang: Lang, outputs: &Outputs, shows: bool) -> Console {
    let style = if json { Style::Json } else { Style::OneShot };
    Console::new(style, lang, outputs).for_its_output(shows)
}

/// A limit of the received bytes alone.
fn download_limit(limit: Option<u64>) -> RateLimits {
    let usual = TransferRates { download: limit, ..TransferRates::default() };
    RateLimits { usual, ..RateLimits::default() }
}

/// Runs a node to its end.
fn plug_in(
    node: impl Node,
    console: Console,
    speed: RateLimits,
    reads_stdin: bool,
) -> Result<i32, Exit> {
    plug_into(transport::network()?, node, console, speed, reads_stdin)
}

/// Runs a node to its end in this network.
fn plug_into(
    mut net: Network,
    node: impl Node,
    mut console: Console,
    speed: RateLimits,
    reads_stdin: bool,
) -> Result<i32, Exit> {
    let links = system::raise_link_limit();
    if reads_stdin {
        console.read_stdin(net.watch_stdin());
    }
    if let Some(reloader) = console.reloader() {
        net.reload_on_hangup();
        reloader.begin();
    }
    if console.ends_with_reader() {
        net.watch_stdout();
    }
    let mut host =
        EventLoop::new(node, net, console, RateLimits { max_connections: links, ..speed });
    let code = host.run().map_err(|error| {
        host.console().close();
        Exit::new(exit::FAULT, format!("the loop failed: {error}"))
    })?;
    match host.console().is_late() {
        Some(limit) if code != exit::DONE => Err(Exit::new(
            exit::UNREACHABLE,
            format!("not done after {} s; repeat the command to go on", limit.as_secs()),
        )),
        _ => Ok(code),
    }
}
