//! The command line of `cardume web`.

use clap::Args;

use crate::cli::args::AskArgs;

#[derive(Args)]
pub struct WebArgs {
    #[command(flatten)]
    pub ask: AskArgs,
    /// The port of the page on 127.0.0.1 [default: a free port]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
}
