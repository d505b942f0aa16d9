//! The programs that run after transfers, on the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

/// The hooks of a peer.
#[derive(Args, Clone)]
pub struct HookArgs {
    /// Run this program after each complete download, without a shell: the facts are JSON on stdin
    /// and the variables CARDUME_HOOK_*
    #[arg(long, value_name = "PROGRAM", value_hint = clap::ValueHint::ExecutablePath)]
    pub on_download: Option<PathBuf>,

    /// Run this program after each upload, when the connection ends
    #[arg(long, value_name = "PROGRAM", value_hint = clap::ValueHint::ExecutablePath)]
    pub on_upload: Option<PathBuf>,

    /// Kill such a program after so many seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub hook_time: u64,
}

impl HookArgs {
    /// How long a program may run.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.hook_time)
    }
}
