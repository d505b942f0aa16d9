//! The command line of `cardume play`.

use std::path::Path;

use cardume::client::command::{Command, DownloadTarget};
use cardume::os::fs::hash_cache::HashCache;
use cardume::os::media_player::Program;
use cardume::peer::Peer;
use cardume::peer::config::{PeerConfig, Task};
use cardume::peer::player_server::Player;
use cardume::ui::event::Failure;
use clap::{Args, ValueEnum};

use crate::cli::Exit;
use crate::cli::args::transport::TransportArgs;
use crate::cli::args::{AllocateArg, AskArgs, rate};
use crate::cli::build_node;

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

/// The chosen player, or the first that is installed.
fn player(args: &PlayArgs) -> Result<Option<Program>, Exit> {
    let named = |name: &str| match Program::named(name) {
        Some(program) => Ok(Some(program)),
        None => Err(Exit::Failure(Failure::Player(name.to_owned(), "it is not installed".into()))),
    };
    match args.player {
        Some(PlayerArg::Mpv) => named("mpv"),
        Some(PlayerArg::Vlc) => named("vlc"),
        Some(PlayerArg::None) => Ok(None),
        None => Ok(Program::first()),
    }
}

/// A node that runs PLAY; true if a media player plays the file.
pub fn play(args: &PlayArgs) -> Result<(Peer, bool), Exit> {
    let mut goal = DownloadTarget::read(&args.name).map_err(Exit::Failure)?;
    if let Some(text) = &args.hash {
        goal.root = Some(build_node::root(text)?);
    }
    let player = player(args)?;
    let plays = player.is_some();
    let task = Task::Once(Command::Play(goal));
    // On some disks the allocation of a giant file takes longer than a viewer waits for a picture.
    let open_folder = build_node::opener(AllocateArg::None);
    let mut options = build_node::waiting(
        args.wait,
        build_node::options(task, &args.ask.server, args.folder.clone())?,
    );
    options.by_quic = args.transport.is_quic(false)?;
    if Path::new(&args.folder).join(&args.name).is_file() {
        // Another process that shares this folder may have hashed its files.
        options.hashes = HashCache::of_user();
    }
    let player = player.map(|program| Box::new(program) as Box<dyn Player>);
    let peer = build_node::begin(PeerConfig { player, open_folder, ..options })?;
    Ok((peer, plays))
}
