//! The command line of `cardume bench`.

use std::net::SocketAddr;

use cardume::loadgen::workload::Workload;
use clap::Args;

use crate::cli::args::DEFAULT_SERVER;

/// Examples and explanations below the help.
pub const EXAMPLES: &str = "\
Examples:
  cardume bench                                    50 peers join and search for 10 s
  cardume bench --peers 10000 --depth 1 --mix search=90,update=6,join=2,leave=2
  cardume bench --fill --names 1000000 --idle      a million names with 5 providers each, until Ctrl-C
  cardume bench --files 0 --names 1000000 --holders 5 --depth 256 --json
  cardume bench --resp 127.0.0.1:6379 --fill --names 1000000 --depth 256
                                                   the same with a Redis: SADD, then SMEMBERS
  cardume bench --peers 10000 --idle --churn 1000  idle peers, and 1000 per second that join and leave

The requests depend on --seed alone. Responses are checked: a number of
providers other than --holders gives exit code 6. Load only servers that serve
for benchmarks: the command takes their whole capacity.";

#[derive(Args)]
pub struct BenchArgs {
    /// The index server under load; a URL with its key, as `cardume server url` prints: by TLS
    #[arg(long, value_name = "HOST:PORT", env = "CARDUME_SERVER", default_value = DEFAULT_SERVER)]
    pub server: String,

    /// Load a Redis instead of the server, with SMEMBERS requests
    #[arg(long, value_name = "IP:PORT", value_parser = crate::cli::args::address)]
    pub resp: Option<SocketAddr>,

    /// The number of peers, each with a connection
    #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u32).range(1..=200_000))]
    pub peers: u32,

    /// Parallel requests per peer
    #[arg(long, value_name = "D", default_value = "16", value_parser = clap::value_parser!(u16).range(1..=4_096))]
    pub depth: u16,

    /// Seconds of measurement [default: 10; with --idle, until Ctrl-C]
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub seconds: Option<f64>,

    /// The relative frequencies of search, join, update and leave
    #[arg(long, value_name = "WORD=N,…", default_value = "search=1", value_parser = Workload::read)]
    pub mix: Workload,

    #[command(flatten)]
    pub set: FileSetArgs,

    /// Join, print a line, and stay idle
    #[arg(long)]
    pub idle: bool,

    /// Connect lost peers again, all at once, and print a line when all have joined
    #[arg(long, requires = "idle")]
    pub reconnect: bool,

    /// Additional peers per second that join and leave a second later
    #[arg(long, value_name = "R", default_value = "0", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub churn: u32,

    /// Announce a root for each file as well
    #[arg(long)]
    pub roots: bool,

    /// The seed of the random numbers
    #[arg(long, value_name = "N", default_value = "1")]
    pub seed: u64,

    /// Report the CPU use of the server, from this process on this machine
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub server_pid: Option<u32>,

    /// Print a JSON object per line
    #[arg(long)]
    pub json: bool,
}

// The files of all peers.
#[derive(Args)]
pub struct FileSetArgs {
    /// The number of names [default: enough for 5 providers each]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub names: Option<u64>,

    /// The exponent of Zipf's law for the popularity of names; 0: all names alike
    #[arg(long, value_name = "X", default_value = "1", value_parser = exponent)]
    pub zipf: f64,

    /// Files per peer; with 0, no peer joins [default: 100; with --fill, as many as needed]
    #[arg(long, value_name = "F", value_parser = clap::value_parser!(u64).range(0..=10_000_000))]
    pub files: Option<u64>,

    /// Providers per name; every response is checked for this number [default with --fill: 5]
    #[arg(long, value_name = "H", value_parser = clap::value_parser!(u64).range(1..=64))]
    pub holders: Option<u64>,

    /// Announce the providers of every name before the measurement
    #[arg(long, conflicts_with = "files")]
    pub fill: bool,
}

/// A duration of up to a day.
fn seconds(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|seconds| (0.01..=86_400.0).contains(seconds))
        .ok_or_else(|| "seconds are from 0.01 to 86400".to_owned())
}

fn exponent(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|exponent| (0.0..=4.0).contains(exponent))
        .ok_or_else(|| "an exponent is from 0 to 4".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_exponents_have_their_limits() {
        assert_eq!((seconds("0.5"), exponent("0")), (Ok(0.5), Ok(0.0)));
        for text in ["", "0", "-1", "NaN", "inf", "1e9", "ten"] {
            assert!(seconds(text).is_err(), "{text}");
        }
        assert!(exponent("4.1").is_err() && exponent("NaN").is_err() && exponent("-0.5").is_err());
    }
}
