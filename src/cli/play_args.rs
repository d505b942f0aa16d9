//! The words of `cardume play`.

use std::path::Path;

use cardume::node::peer::Peer;
use cardume::node::peer::desk::{Command, Goal};
use cardume::node::peer::options::{PeerOptions, Task};
use cardume::node::peer::watching::Player;
use cardume::node::report::Failure;
use cardume::os::hash_cache::HashCache;
use cardume::os::player::Program;
use clap::{Args, ValueEnum};

use crate::cli::Stop;
use crate::cli::args::{AllocateArg, AskArgs, rate};
use crate::cli::setup;
use crate::cli::transport_args::TransportArgs;

#[derive(Args)]
pub struct PlayArgs {
    /// The exact name, with its extension; or b3:ROOT, whatever its name
    pub name: String,

    /// What its content must be: 64 hex digits, as `cardume hash` and `b3sum` print them
    #[arg(long, value_name = "ROOT")]
    pub hash: Option<String>,

    /// What plays it [default: the first of these that is installed, else none]
    #[arg(long, value_enum)]
    pub player: Option<PlayerArg>,

    /// Where the finished file goes
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub folder: String,

    /// Wait for a file that nobody has yet, and for a source that is away
    #[arg(long)]
    pub wait: bool,

    /// Bytes a second that come in
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub download_limit: Option<u64>,

    #[command(flatten)]
    pub transport: TransportArgs,

    #[command(flatten)]
    pub ask: AskArgs,
}

/// What plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlayerArg {
    /// mpv
    Mpv,
    /// VLC
    Vlc,
    /// Nothing: the URL is printed, and served until the program is interrupted
    None,
}

/// The player that is meant.
fn player(args: &PlayArgs) -> Result<Option<Program>, Stop> {
    let named = |name: &str| match Program::named(name) {
        Some(program) => Ok(Some(program)),
        None => Err(Stop::Failure(Failure::Player(name.to_owned(), "it is not installed".into()))),
    };
    match args.player {
        Some(PlayerArg::Mpv) => named("mpv"),
        Some(PlayerArg::Vlc) => named("vlc"),
        Some(PlayerArg::None) => Ok(None),
        None => Ok(Program::first()),
    }
}

/// PLAY, once; true: a program plays it.
pub fn play(args: &PlayArgs) -> Result<(Peer, bool), Stop> {
    let mut goal = Goal::read(&args.name).map_err(Stop::Failure)?;
    if let Some(text) = &args.hash {
        goal.root = Some(setup::root(text)?);
    }
    let player = player(args)?;
    let plays = player.is_some();
    let task = Task::Once(Command::Play(goal));
    // To make room for a giant file takes longer on some disks than anybody waits for a picture.
    let open_folder = setup::opener(AllocateArg::None);
    let mut options = setup::waiting(args.wait, setup::options(task, &args.ask.server, args.folder.clone())?);
    options.by_quic = args.transport.is_quic(false)?;
    if Path::new(&args.folder).join(&args.name).is_file() {
        // Whoever shares this folder may have hashed it; where nothing stands there is nothing to be remembered.
        options.hashes = HashCache::of_user();
    }
    let player = player.map(|program| Box::new(program) as Box<dyn Player>);
    let peer = setup::begin(PeerOptions { player, open_folder, ..options })?;
    Ok((peer, plays))
}
