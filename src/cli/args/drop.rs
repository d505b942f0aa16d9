//! The flags of a drop folder: files that visitors of the page give to the owner of a peer.

use clap::{Args, ValueEnum};

use crate::cli::args::disk_size;

// A folder for the files of visitors.
#[derive(Args)]
pub struct DropArgs {
    /// A folder that takes files from visitors of this peer's page; it must exist
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub drop: Option<String>,

    /// Whether a file of a visitor needs an answer at the console; a yes holds for ten minutes
    #[arg(long, value_name = "MODE", value_enum, default_value = "ask")]
    pub drop_accept: DropAcceptArg,

    /// The largest file that the drop folder takes
    #[arg(long, value_name = "SIZE", value_parser = disk_size, default_value = "1GiB")]
    pub drop_largest: u64,

    /// All bytes that the drop folder may hold
    #[arg(long, value_name = "SIZE", value_parser = disk_size, default_value = "10GiB")]
    pub drop_total: u64,

    /// All files that the drop folder may hold
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000), default_value = "1000")]
    pub drop_files: u32,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum DropAcceptArg {
    /// Take files without a question
    Always,
    /// Prompt for consent
    Ask,
}

impl DropAcceptArg {
    /// True if the owner is asked.
    pub fn asks(self) -> bool {
        match self {
            DropAcceptArg::Always => false,
            DropAcceptArg::Ask => true,
        }
    }
}
