//! The index on a cluster against a model engine: never a wrong "nobody has it", whatever fails.
//! The model itself is compared with the real engines that this machine has.

mod accounts;
mod differential;
mod store;
mod world;

use world::{Report, World};

/// Worlds a run; each has its own faults.
const SEEDS: u64 = 1_000;
/// Worlds that last until the entries of a dead server are deleted.
const LONG_SEEDS: u64 = 60;

fn run(seed: u64, trace: bool) -> (Report, Result<(), String>) {
    let mut world = World::new(seed, trace);
    world.run(42, 1 + seed % 6);
    (world.report.clone(), is_well(&world))
}

/// All seeds, the first `CLUSTER_SEEDS`, or the one of `CLUSTER_SEED`, whose events are shown.
fn seeds(count: u64) -> (std::ops::Range<u64>, bool) {
    match std::env::var("CLUSTER_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("a number");
            (seed..seed + 1, true)
        }
        Err(_) => {
            let most = std::env::var("CLUSTER_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
            (0..most.unwrap_or(count).min(count), false)
        }
    }
}

/// What holds in the quiet end of each run.
fn is_well(world: &World) -> Result<(), String> {
    world.is_whole()?;
    world.has_no_ghosts()?;
    world.has_one_owner()
}

/// Two halves, which run at the same time.
#[test]
fn no_fault_makes_a_wrong_empty_answer_and_all_entries_come_back() {
    even_or_odd(0);
}

#[test]
fn no_fault_makes_a_wrong_empty_answer_in_the_other_half_of_the_worlds() {
    even_or_odd(1);
}

fn even_or_odd(rest: u64) {
    let (seeds, is_single) = seeds(SEEDS);
    let mut sum = Report::default();
    for seed in seeds.filter(|seed| seed % 2 == rest) {
        let (report, whole) = run(seed, is_single);
        assert_eq!(report.wrong, Vec::<String>::new(), "CLUSTER_SEED={seed}");
        assert_eq!(whole, Ok(()), "CLUSTER_SEED={seed}");
        assert!(report.longest < 7_000_000, "CLUSTER_SEED={seed}: {}", report.longest);
        sum.hits += report.hits;
        sum.believed += report.believed;
        sum.unavailable += report.unavailable;
        sum.joined += report.joined;
        sum.longest = sum.longest.max(report.longest);
        sum.faults += report.faults;
        sum.lost_writes += report.lost_writes;
        sum.knows_names += report.knows_names;
        sum.lacks_names += report.lacks_names;
    }
    println!("{sum:?}");
    if is_single {
        return;
    }
    // A world in which nothing happens would prove nothing.
    let asked = sum.hits + sum.believed + sum.unavailable;
    assert!(sum.unavailable * 3 < asked && sum.believed * 20 > asked, "{sum:?}");
    assert!(sum.lacks_names > 0 && sum.lacks_names < sum.knows_names, "{sum:?}");
}

#[test]
fn nothing_is_left_of_a_server_that_is_gone() {
    let (seeds, is_single) = seeds(LONG_SEEDS);
    for seed in seeds {
        let mut world = World::new(seed, is_single);
        world.lose_a_server();
        world.run(160, seed % 3);
        assert_eq!(world.report.wrong, Vec::<String>::new(), "seed {seed}");
        assert_eq!(is_well(&world).and_then(|()| world.has_no_remains()), Ok(()), "seed {seed}");
    }
}

#[test]
fn a_world_is_the_same_each_time() {
    assert_eq!(run(7, false), run(7, false));
}
