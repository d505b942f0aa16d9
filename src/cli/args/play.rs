//! The command line of `cardume play`.

use std::path::Path;

use cardume::client::command::{Command, DownloadTarget};
use cardume::client::config::ClientConfig;
use cardume::client::downloader::player_server::Player;
use cardume::client::downloader::{DownloadConfig, Downloader};
use cardume::os::fs::hash_cache::HashCache;
use cardume::os::media_player::Program;
use cardume::ui::event::Failure;
use clap::{Args, ValueEnum};

use crate::cli::Exit;
use crate::cli::args::transport::TransportArgs;
use crate::cli::args::{AllocateArg, AskArgs, rate};
use crate::cli::build_node;

#[derive(Args)]
pub struct PlayArgs {
    /// The exact name with the extension; or b3:ROOT for this content under any name
    pub name: String,

    /// The expected root of the content: 64 hex digits, as printed by `cardume hash` and `b3sum`
    #[arg(long, value_name = "ROOT")]
    pub hash: Option<String>,

    /// The media player [default: the first installed of these, else none]
    #[arg(long, value_enum)]
    pub player: Option<PlayerArg>,

    /// The folder of the finished file
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub folder: String,

    /// Wait for a file without a provider, and for an unreachable source
    #[arg(long)]
    pub wait: bool,

    /// Bytes received per second
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub download_limit: Option<u64>,

    #[command(flatten)]
    pub transport: TransportArgs,

    #[command(flatten)]
    pub ask: AskArgs,
}

/// A media player.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlayerArg {
    /// mpv
    Mpv,
    /// VLC
    Vlc,
    /// No player: print the URL, and serve the file until interrupted
    None,
}

/// The media player.
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

/// PLAY, once. True when a program plays the file.
pub fn play(args: &PlayArgs) -> Result<(Downloader, bool), Exit> {
    let mut target = DownloadTarget::read(&args.name).map_err(Exit::Failure)?;
    if let Some(text) = &args.hash {
        target.root = Some(build_node::root(text)?);
    }
    let player = player(args)?.map(|program| Box::new(program) as Box<dyn Player>);
    let plays = player.is_some();
    let client = build_node::client(Command::Play(target), &args.ask)?;
    let client = ClientConfig {
        // Allocating a large file takes longer on some disks than a person waits for a picture.
        open_folder: build_node::opener(AllocateArg::None),
        by_quic: args.transport.is_quic(false)?,
        ..client
    };
    let mut downloads = DownloadConfig {
        retry_policy: build_node::retry_policy(args.wait),
        player,
        ..DownloadConfig::new(args.folder.clone())
    };
    if Path::new(&args.folder).join(&args.name).is_file() {
        // A peer that shares this folder may have hashed the file.
        downloads.hashes = HashCache::of_user();
    }
    Ok((build_node::downloader(client, downloads)?, plays))
}
