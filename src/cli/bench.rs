//! `cardume bench`: builds a load from its arguments, which are all checked before the first
//! connection.

use std::time::Duration;

use cardume::loadgen::report::Gauges;
use cardume::loadgen::{LoadGenerator, LoadTarget, Plan, Wire, needs_files};
use cardume::node::reconnect::ServiceTarget;
use cardume::os::system;
use cardume::ui::event::{Failure, exit};

use crate::cli::Exit;
use crate::cli::args::bench::BenchArgs;
use crate::cli::known_servers;

/// Default of `--holders`.
const HOLDERS: u64 = 5;
/// Default of `--files`.
const FILES: u64 = 100;
/// Default of `--names` if no peer has files.
const NAMES: u64 = 100_000;
/// Default of `--seconds`.
const LENGTH: Duration = Duration::from_secs(10);

/// The load that these arguments describe.
pub fn load(args: &BenchArgs) -> Result<LoadGenerator, Exit> {
    let plan = plan(args)?;
    let links = system::raise_link_limit();
    let wanted = plan
        .peers
        .saturating_add(usize::try_from(plan.churn).unwrap_or(usize::MAX).saturating_mul(3));
    if wanted > links {
        return Err(wrong(format!(
            "{wanted} connections, including --churn: the system allows this process {links}"
        )));
    }
    let server = args.server_pid.map(|pid| {
        let measured = system::cpu_time_of(pid)
            .map(drop)
            .ok_or_else(|| wrong(format!("--server-pid {pid}: no such process here")));
        measured.map(|()| {
            Box::new(move || system::cpu_time_of(pid)) as Box<dyn Fn() -> Option<Duration>>
        })
    });
    Ok(LoadGenerator::new(plan, Gauges { own: system::cpu_time, server: server.transpose()? }))
}

fn wrong(text: impl Into<String>) -> Exit {
    Exit::new(exit::USAGE, text)
}

fn plan(args: &BenchArgs) -> Result<Plan, Exit> {
    let peers = u64::from(args.peers);
    let holders = args.set.holders.or_else(|| args.set.fill.then_some(HOLDERS));
    let (names, files) = match (args.set.fill, args.set.files) {
        (true, _) => {
            let names = args.set.names.unwrap_or((peers * FILES / HOLDERS).max(1));
            (names, names.saturating_mul(holders.unwrap_or(HOLDERS)).div_ceil(peers))
        }
        (false, Some(0)) => (args.set.names.unwrap_or(NAMES), 0),
        (false, files) => {
            let files = files.unwrap_or(FILES);
            (args.set.names.unwrap_or((peers * files / HOLDERS).max(files)), files)
        }
    };
    let wire = if args.resp.is_some() { Wire::Resp } else { Wire::Native };
    if wire == Wire::Native && files > names {
        return Err(wrong(format!(
            "{files} files of each peer need as many names: more peers, or a larger --names than {names}"
        )));
    }
    if wire == Wire::Native && files > cardume::limits::PEER_FILES as u64 {
        return Err(wrong(format!(
            "{files} files of each peer are more than a server takes: --peers must be larger"
        )));
    }
    if needs_files(&args.mix) && (files == 0 || wire == Wire::Resp) {
        return Err(wrong("--mix: without files, and with --resp, the only operation is search"));
    }
    if args.churn > 0 && (files == 0 || wire == Wire::Resp) {
        return Err(wrong("--churn: without files, and with --resp, no peer joins or leaves"));
    }
    if args.reconnect && (files == 0 || wire == Wire::Resp) {
        return Err(wrong("--reconnect: without files, and with --resp, no peer joins again"));
    }
    let target = match args.resp {
        Some(at) => LoadTarget { at, wire, key: None },
        None => {
            let ServiceTarget { addresses, key, .. } = known_servers::target(Some(&args.server))?;
            let at = addresses.first().copied().ok_or(Exit::Failure(Failure::NoServer(None)))?;
            LoadTarget { at, wire, key }
        }
    };
    let length = args.seconds.map(Duration::from_secs_f64).or((!args.idle).then_some(LENGTH));
    Ok(Plan {
        target,
        peers: usize::try_from(args.peers).unwrap_or(usize::MAX),
        depth: usize::from(args.depth),
        length,
        mix: args.mix,
        names,
        zipf: args.set.zipf,
        files,
        holders,
        fill: args.set.fill,
        idle: args.idle,
        reconnect: args.reconnect,
        churn: args.churn,
        roots: args.roots,
        seed: args.seed,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::args::{Cli, Verb};

    fn planned(words: &str) -> Result<Plan, String> {
        let all = ["cardume", "bench", "--server", "127.0.0.1:9"]
            .into_iter()
            .chain(words.split_whitespace());
        let Ok(Cli { verb: Verb::Bench(args), .. }) = Cli::try_parse_from(all) else {
            return Err("not read".into());
        };
        plan(&args).map_err(|stop| stop.text(cardume::ui::lang::Lang::En))
    }

    #[test]
    fn missing_parameters_follow_from_the_others() {
        let plan = planned("").unwrap();
        assert_eq!(
            (plan.peers, plan.files, plan.names, plan.holders, plan.length),
            (50, 100, 1_000, None, Some(LENGTH))
        );
        let plan = planned("--fill --names 1000000").unwrap();
        assert_eq!((plan.files, plan.holders), (100_000, Some(5)));
        let plan = planned("--files 0 --names 7 --holders 3 --seconds 0.5").unwrap();
        assert_eq!(
            (plan.files, plan.names, plan.holders, plan.length),
            (0, 7, Some(3), Some(Duration::from_millis(500)))
        );
        let plan = planned("--resp 127.0.0.1:6379 --idle").unwrap();
        assert_eq!(
            (plan.target.wire, plan.target.at.port(), plan.length),
            (Wire::Resp, 6379, None)
        );
    }

    #[test]
    fn inconsistent_parameters_give_one_line() {
        for (words, why) in [
            ("--files 100 --names 50", "names"),
            ("--fill --peers 2 --names 10 --holders 3", "names"),
            ("--files 0 --mix join=1", "--mix"),
            ("--resp 127.0.0.1:1 --mix search=1,update=1", "--mix"),
            ("--files 0 --churn 5", "--churn"),
            ("--files 0 --idle --reconnect", "--reconnect"),
            ("--resp 127.0.0.1:1 --idle --reconnect", "--reconnect"),
            ("--fill --peers 1 --names 20000000 --holders 1", "--peers"),
        ] {
            let said = planned(words).expect_err(words);
            assert!(said.contains(why) && !said.contains('\n'), "{words}: {said}");
        }
        for words in [
            "--peers 0",
            "--depth 0",
            "--mix dance=1",
            "--seconds 0",
            "--zipf x",
            "--fill --files 3",
            "--reconnect",
            "--holders 65",
            "--server-pid 0",
        ] {
            assert_eq!(planned(words).map(drop), Err("not read".into()), "{words}");
        }
    }
}
