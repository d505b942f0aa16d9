//! A whole network in one thread and in virtual time: real hosts over a simulated clock, network,
//! disk and console, among honest, broken and adversarial raw actors, while faults happen. A run is
//! a function of its seed.
//!
//! ```text
//! cargo test --test sim                        seeds 0..2000
//! SIM_SEED=7 cargo test --test sim             one seed, printed step by step
//! SIM_SEED=7 SIM_TALK=1 cargo test ...         with every line on the wire
//! SIM_FIRST=5000 SIM_SEEDS=20000 cargo test --test sim
//! ```

mod adversaries;
mod clients;
mod clock;
mod console;
mod disk;
mod net;
mod oracle;
mod providers;
mod resume_file;
mod rng;
mod secrecy;
mod sniffers;
mod tls_client;
mod world;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

use crate::oracle::Counts;
use crate::world::{Kill, World};

/// A world takes some hundredths of a second; after this long, even on a busy machine, an iteration
/// is stuck.
const STUCK: Duration = Duration::from_secs(60);

/// A world that takes this long is reported.
const SLOW: Duration = Duration::from_secs(2);

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Runs one world from start to final check.
fn run(seed: u64, trace: bool) -> Result<Counts, String> {
    caught(|| World::new(seed, trace).counts())
}

fn caught<T>(what: impl FnOnce() -> T) -> Result<T, String> {
    static QUIET: Once = Once::new();
    // Failures are printed once, at the end.
    QUIET.call_once(|| {
        if number("SIM_SEED").is_none() {
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                if std::thread::current().name().is_some() {
                    usual(info)
                }
            }));
        }
    });
    catch_unwind(AssertUnwindSafe(what)).map_err(|what| {
        let text = what
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| what.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        text.unwrap_or_else(|| "it panicked".into())
    })
}

/// Names with records that fit into one sector, and that do not.
const NAMES: [&str; 2] = ["f.mp4", LONG];
/// Its record is longer than a sector, so a power cut may tear even the first lines.
const LONG: &str = r#""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""".mp4"#;
/// Kill points tried for one download.
const MOST_MOMENTS: u64 = 60;

/// Kills a download at each operation on its disk and restarts it until it completes.
fn ended_at_every_write(how: Kill) {
    let only = number("SIM_SEED");
    let (next, first, rounds) =
        (AtomicU64::new(0), number("SIM_FIRST").unwrap_or(0), number("SIM_ROUNDS").unwrap_or(1));
    let failures = Mutex::new(Vec::new());
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let sizes = [0, 700, 1 << 20, (1 << 20) + 1, 3_500_000, 6 << 20, 9_800_000];
            let worlds = sizes.len() as u64 * NAMES.len() as u64;
            if number >= worlds * rounds {
                return;
            }
            let (size, name) = (
                sizes[usize::try_from(number).unwrap() / NAMES.len() % sizes.len()],
                NAMES[usize::try_from(number).unwrap() % NAMES.len()],
            );
            let moments = World::pair(first + number, false, name, size, None, 0);
            let step = moments.div_ceil(MOST_MOMENTS);
            let mut moment = 1 + number / worlds % step;
            while moment <= moments {
                let seed = (first + number) << 32 | moment;
                if only.is_none_or(|only| only == seed) {
                    let result = caught(|| {
                        World::pair(
                            seed,
                            only.is_some(),
                            name,
                            size,
                            Some((how, moment)),
                            u32::try_from(seed % 3).unwrap(),
                        )
                    });
                    if let Err(why) = result {
                        failures.lock().unwrap().push(format!("SIM_SEED={seed}: {size} bytes, ended at moment {moment} of {moments}: {why}"));
                    }
                }
                moment += step;
            }
        }
    };
    std::thread::scope(|scope| {
        (0..std::thread::available_parallelism().map_or(1, usize::from))
            .for_each(|_| drop(scope.spawn(work)))
    });
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "{} fail:\n{}",
        failures.len(),
        failures[..failures.len().min(20)].join("\n")
    );
}

#[test]
fn a_download_survives_a_kill_at_every_write() {
    ended_at_every_write(Kill::Process);
}

#[test]
fn a_download_survives_a_power_cut_at_every_write() {
    ended_at_every_write(Kill::Power);
}

#[test]
fn every_download_ends_correctly_under_network_faults() {
    if let Some(seed) = number("SIM_SEED") {
        let counts = run(seed, true).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        eprintln!("seed {seed}: {counts:?}");
        return;
    }
    let (first, seeds) = (number("SIM_FIRST").unwrap_or(0), number("SIM_SEEDS").unwrap_or(2_000));
    let began = Instant::now();
    let (next, failed) = (AtomicU64::new(first), AtomicBool::new(false));
    let keep_going = number("SIM_ALL").is_some();
    let (tell, received) = mpsc::channel();
    let work = |tell: Sender<(u64, Option<Result<Counts, String>>)>| {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds || (failed.load(Ordering::Relaxed) && !keep_going) {
                return;
            }
            let _ = tell.send((seed, None));
            let began = Instant::now();
            let result = run(seed, false);
            if began.elapsed() > SLOW {
                eprintln!("seed {seed} took {:.1} s", began.elapsed().as_secs_f64());
            }
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            let _ = tell.send((seed, Some(result)));
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let (mut counts, mut failures, mut under_way) =
        (Counts::default(), Vec::new(), BTreeSet::new());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let tell = tell.clone();
            scope.spawn(|| work(tell));
        }
        drop(tell);
        loop {
            match received.recv_timeout(STUCK) {
                Ok((seed, None)) => drop(under_way.insert(seed)),
                Ok((seed, Some(result))) => {
                    under_way.remove(&seed);
                    match result {
                        Ok(more) => counts.add(&more),
                        Err(why) => failures.push((seed, why)),
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    // A thread inside an endless iteration cannot be stopped.
                    eprintln!("a turn never ends in one of these: SIM_SEED={under_way:?}");
                    std::process::exit(101);
                }
            }
        }
    });
    failures.sort();
    eprintln!(
        "{seeds} seeds from {first} in {:.1} s: {} faults injected, {counts:?}",
        began.elapsed().as_secs_f64(),
        counts.faults()
    );
    for (seed, why) in &failures {
        eprintln!(
            "seed {seed} fails: {why}\n    rerun: SIM_SEED={seed} cargo test --test sim -- --nocapture"
        );
    }
    assert!(
        failures.is_empty(),
        "{} seeds fail, the first: SIM_SEED={}",
        failures.len(),
        failures[0].0
    );
    if seeds >= 100 {
        // A simulator without events would prove nothing.
        let lived = [
            counts.finished,
            counts.resumed,
            counts.resumed_from_disk,
            counts.restarted,
            counts.faults(),
            counts.raw_checked,
            counts.audits,
        ];
        assert!(lived.iter().all(|count| *count > 0), "something never happened: {counts:?}");
    }
}
