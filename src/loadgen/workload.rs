//! The mix of requests.

use crate::loadgen::rng::Rng;

/// What a simulated peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkloadOp {
    /// Asks who has a file.
    Search,
    /// Joins, or says anew what it has.
    Join,
    /// Adds a file, or takes it away again.
    Update,
    /// Leaves.
    Leave,
    /// Says that it is still there; counted nowhere.
    Ping,
}

/// Those that are mixed and counted, with their words.
pub const DEEDS: [(WorkloadOp, &str); 4] = [
    (WorkloadOp::Search, "search"),
    (WorkloadOp::Join, "join"),
    (WorkloadOp::Update, "update"),
    (WorkloadOp::Leave, "leave"),
];

/// The largest weight: more would only be another way to say the same.
const MOST: u32 = 1_000_000;

/// How often each is done beside the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    weights: [u32; DEEDS.len()],
}

impl Workload {
    /// Nothing but searches.
    pub const SEARCH: Workload = Workload { weights: [1, 0, 0, 0] };

    /// Reads `search=90,join=5,leave=5`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Workload, String> {
        let mut mix = Workload { weights: [0; DEEDS.len()] };
        let mut named = [false; DEEDS.len()];
        for part in text.split(',') {
            let (word, weight) =
                part.split_once('=').ok_or("a mix is like search=90,join=5,leave=5")?;
            let place = DEEDS
                .iter()
                .position(|(_, known)| *known == word.trim())
                .ok_or("a mix is of search, join, update and leave")?;
            if std::mem::replace(&mut named[place], true) {
                return Err(format!("{} stands there twice", DEEDS[place].1));
            }
            mix.weights[place] = weight
                .trim()
                .parse()
                .ok()
                .filter(|weight| *weight <= MOST)
                .ok_or("a weight is a number up to 1000000")?;
        }
        if mix.weights.iter().all(|weight| *weight == 0) {
            Err("one weight at least is above 0".into())
        } else {
            Ok(mix)
        }
    }

    /// True when this one is among them.
    #[must_use]
    pub fn has(&self, op: WorkloadOp) -> bool {
        DEEDS.iter().zip(self.weights).any(|((known, _), weight)| *known == op && weight > 0)
    }

    /// True when nobody comes, goes or changes what it has.
    #[must_use]
    pub fn only_searches(&self) -> bool {
        self.weights[1..].iter().all(|weight| *weight == 0)
    }

    /// One of them by chance.
    pub fn choose(&self, dice: &mut Rng) -> WorkloadOp {
        if self.only_searches() {
            return WorkloadOp::Search;
        }
        let mut left = dice.below(self.weights.iter().copied().map(u64::from).sum::<u64>().max(1));
        for ((op, _), weight) in DEEDS.iter().zip(self.weights) {
            match left.checked_sub(u64::from(weight)) {
                Some(rest) => left = rest,
                None => return *op,
            }
        }
        WorkloadOp::Search
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_read_as_people_write_it() {
        assert_eq!(Workload::read("search=1"), Ok(Workload::SEARCH));
        assert_eq!(
            Workload::read("join=2, search=7 ,leave=1"),
            Ok(Workload { weights: [7, 2, 0, 1] })
        );
        for wrong in [
            "",
            "search",
            "search=",
            "search=x",
            "search=-1",
            "dance=1",
            "search=0",
            "search=1,search=2",
            "search=1,",
            "search=1000001",
        ] {
            assert!(Workload::read(wrong).is_err(), "{wrong}");
        }
        assert!(
            Workload::SEARCH.only_searches()
                && !Workload::read("search=9,leave=1").unwrap().only_searches()
        );
        assert!(!Workload::read("join=1").unwrap().has(WorkloadOp::Search));
    }

    #[test]
    fn each_is_chosen_as_often_as_its_weight_says() {
        let (mix, mut dice) = (Workload::read("search=6,join=3,leave=1").unwrap(), Rng::new(1));
        let mut seen = [0; DEEDS.len()];
        for _ in 0..10_000 {
            let op = mix.choose(&mut dice);
            seen[DEEDS.iter().position(|(known, _)| *known == op).unwrap()] += 1;
        }
        assert!(
            (5_800..6_200).contains(&seen[0])
                && (2_800..3_200).contains(&seen[1])
                && seen[2] == 0
                && (850..1_150).contains(&seen[3]),
            "{seen:?}"
        );
    }
}
