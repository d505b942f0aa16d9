//! The front door: from the command line to a running node, and from its end to an exit code.

#[cfg(feature = "store")]
mod accounts;
mod args;
mod bar;
mod console;
mod editor;
mod hash;
mod host_args;
mod json;
mod keys;
mod ls_args;
mod old;
mod play_args;
mod search_args;
mod server_args;
mod setup;
mod skipped;
mod status;
mod swarm;
mod swarm_args;
mod transport_args;
mod watch;

use std::io::IsTerminal as _;

use cardume::host::net::Console as _;
use cardume::host::turn::{Host, Speed};
use cardume::node::Node;
use cardume::node::lines::{self, Lang};
use cardume::node::report::{Failure, exit};
use cardume::node::rpc_log::RpcLog;
use cardume::os::keyboard;
use cardume::os::network::Network;
use cardume::os::output::{Output, Stdio};
use cardume::os::system;
use clap::Parser as _;

use crate::cli::args::{Cli, Verb};
use crate::cli::console::{Console, Style};

/// Runs the program, and returns its exit code.
pub fn run() -> i32 {
    system::outlive_size_limits();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            return misread(&error);
        }
    };
    let outputs = Outputs { out: Output::new(Stdio::Out, cli.is_one_shot()), err: Output::new(Stdio::Err, false) };
    begin_log(outputs.err.clone());
    let lang = cli.lang();
    match carry_out(cli, &outputs) {
        Ok(code) => code,
        Err(stop) => {
            outputs.err.put(format!("cardume: {}\n", stop.text(lang)).as_bytes());
            outputs.err.close();
            stop.code()
        }
    }
}

/// Help and version as they are; what is wrong in one line.
fn misread(error: &clap::Error) -> i32 {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    match error.kind() {
        DisplayHelp | DisplayVersion => {
            let _ = error.print();
            exit::DONE
        }
        DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            exit::USAGE
        }
        _ => {
            let text = error.to_string();
            let what: Vec<&str> =
                text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:")).filter(|line| !line.is_empty()).collect();
            let what = what.join(" ");
            let what = what.trim_start_matches("error: ").trim_end_matches("For more information, try '--help'.").trim_end();
            let err = Output::new(Stdio::Err, false);
            err.put(format!("cardume: {what} (cardume --help says more)\n").as_bytes());
            err.close();
            exit::USAGE
        }
    }
}

/// The two outputs of the process.
struct Outputs {
    out: Output,
    err: Output,
}

/// Why the program can't even begin.
enum Stop {
    /// Something of the kinds that can happen later too.
    Failure(Failure),
    /// Anything else, with its code.
    Other(i32, String),
}

impl Stop {
    fn new(code: i32, text: impl Into<String>) -> Stop {
        Stop::Other(code, text.into())
    }

    fn code(&self) -> i32 {
        match self {
            Stop::Failure(failure) => failure.code(),
            Stop::Other(code, _) => *code,
        }
    }

    fn text(&self, lang: Lang) -> String {
        match self {
            Stop::Failure(failure) => lines::failed(failure, lang),
            Stop::Other(_, text) => text.clone(),
        }
    }
}

fn begin_log(to: Output) {
    let environment = env_logger::Env::default().default_filter_or("warn");
    let target = env_logger::Target::Pipe(Box::new(to));
    let _ = env_logger::Builder::from_env(environment).target(target).try_init();
}

fn carry_out(cli: Cli, outputs: &Outputs) -> Result<i32, Stop> {
    let lang = cli.lang();
    match cli.verb {
        #[cfg(feature = "store")]
        Verb::Server(server_args::ServerArgs { verb: Some(verb), .. }) => accounts::accounts(&verb, &outputs.out, &outputs.err),
        Verb::Server(args) => {
            let node = setup::server(args)?;
            plug_in(node, Console::new(Style::Plain, lang, outputs), Speed::default(), false)
        }
        Verb::Peer(args) => {
            // A shell's background job may neither read its terminal nor set it up: it would be stopped for that.
            let terminal = std::io::stdin().is_terminal();
            let typed = terminal && keyboard::is_ours();
            let style = if typed { Style::Typed } else { Style::Piped };
            let speed = args.speed();
            let node = setup::peer(&args, typed)?;
            plug_in(node, Console::of(args.console, style, lang, outputs), speed, typed || !terminal)
        }
        Verb::RpcLog(args) => plug_in(RpcLog::new(args.listen), Console::new(Style::Plain, lang, outputs), Speed::default(), false),
        Verb::Swarm(args) => one_shot(swarm::swarm(&args)?, args.json, lang, outputs, Speed::default()),
        Verb::Hash(args) => Ok(hash::hash(&args, &outputs.out, &outputs.err)),
        Verb::Completions { shell } => {
            args::completions(shell, &outputs.out);
            outputs.out.close();
            Ok(exit::DONE)
        }
        Verb::Man { command } => {
            args::man(command.as_deref(), &outputs.out)?;
            outputs.out.close();
            Ok(exit::DONE)
        }
        Verb::Search(args) => one_shot(setup::search(&args)?, args.ask.json, lang, outputs, Speed::default()),
        Verb::Peers(args) => one_shot(setup::peers(&args)?, args.json, lang, outputs, Speed::default()),
        Verb::Ls(args) if args.skipped => skipped::skipped(&args, lang, &outputs.out),
        Verb::Ls(args) => one_shot(setup::ls(&args)?, args.ask.json, lang, outputs, Speed::default()),
        Verb::Register(args) => one_shot(setup::register(&args)?, args.ask.json, lang, outputs, Speed::default()),
        Verb::Unregister(args) => one_shot(setup::unregister(&args)?, args.ask.json, lang, outputs, Speed::default()),
        Verb::Publish(args) => one_shot(setup::publish(&args)?, args.ask.json, lang, outputs, Speed::default()),
        Verb::Delete(args) => one_shot(setup::delete(&args)?, args.ask.json, lang, outputs, Speed::default()),
        Verb::Watch(args) => one_shot(watch::watch(&args)?, args.ask.json, lang, outputs, Speed::default()),
        Verb::Status(args) => one_shot(status::status(&args)?, args.ask.json, lang, outputs, Speed::default()),
        Verb::Users(args) => one_shot(setup::users(&args)?, args.json, lang, outputs, Speed::default()),
        Verb::Content(args) => one_shot(setup::content(&args)?, args.ask.json, lang, outputs, Speed::default()),
        Verb::Verify(args) => one_shot(setup::verify(&args)?, args.ask.json, lang, outputs, Speed::default()),
        Verb::Play(args) => {
            let speed = Speed { down: args.download_limit, ..Speed::default() };
            let (node, plays) = play_args::play(&args)?;
            let style = if args.ask.json { Style::Json } else { Style::Play { alone: !plays } };
            plug_into(args.transport.network()?, node, Console::new(style, lang, outputs), speed, false)
        }
        Verb::Get(args) => {
            let (json, speed) = (args.ask.json, Speed { down: args.download_limit, ..Speed::default() });
            let to_stdout = args.goes_to_stdout();
            let node = setup::get(&args)?;
            let style = match (json, to_stdout) {
                (true, true) => return Err(Stop::new(exit::USAGE, "--json and -o - both want stdout")),
                (true, false) => Style::Json,
                (false, true) => Style::Quiet,
                (false, false) => Style::OneShot,
            };
            // A person may have to choose between contents.
            let hears = style == Style::OneShot && std::io::stdin().is_terminal() && keyboard::is_ours();
            plug_into(args.transport.network()?, node, Console::new(style, lang, outputs), speed, hears)
        }
    }
}

fn one_shot(node: impl Node, json: bool, lang: Lang, outputs: &Outputs, speed: Speed) -> Result<i32, Stop> {
    let style = if json { Style::Json } else { Style::OneShot };
    plug_in(node, Console::new(style, lang, outputs), speed, false)
}

/// Plugs a node into the machine and runs it to its end.
fn plug_in(node: impl Node, console: Console, speed: Speed, hears: bool) -> Result<i32, Stop> {
    plug_into(transport_args::network()?, node, console, speed, hears)
}

/// Plugs a node into the machine by this network.
fn plug_into(mut net: Network, node: impl Node, mut console: Console, speed: Speed, hears: bool) -> Result<i32, Stop> {
    let links = system::raise_link_limit();
    if hears {
        console.hear(net.watch_stdin());
    }
    let mut host = Host::new(node, net, console, Speed { links, ..speed });
    host.run().map_err(|error| {
        host.console().close();
        Stop::new(exit::FAULT, format!("the loop failed: {error}"))
    })
}
