//! The mix of requests.

use crate::io::split_mix::SplitMix64;

/// A request of a simulated peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkloadOp {
    /// Search the providers of a name.
    Search,
    /// Join, or join again with the same list.
    Join,
    /// Add or remove a file.
    Update,
    /// Leave.
    Leave,
    /// Keep the connection; not counted.
    Ping,
}

/// The counted requests and their words.
pub const COUNTED_OPS: [(WorkloadOp, &str); 4] = [
    (WorkloadOp::Search, "search"),
    (WorkloadOp::Join, "join"),
    (WorkloadOp::Update, "update"),
    (WorkloadOp::Leave, "leave"),
];

/// The largest weight.
const MOST: u32 = 1_000_000;

/// The relative frequency of each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    weights: [u32; COUNTED_OPS.len()],
}

impl Workload {
    /// Searches only.
    pub const SEARCH: Workload = Workload { weights: [1, 0, 0, 0] };

    /// Parse a mix such as `search=90,join=5,leave=5`.
    ///
    /// # Errors
    /// The mistake, in words.
    pub fn read(text: &str) -> Result<Workload, String> {
        let mut mix = Workload { weights: [0; COUNTED_OPS.len()] };
        let mut named = [false; COUNTED_OPS.len()];
        for part in text.split(',') {
            let (word, weight) =
                part.split_once('=').ok_or("a mix is like search=90,join=5,leave=5")?;
            let place = COUNTED_OPS
                .iter()
                .position(|(_, known)| *known == word.trim())
                .ok_or("a mix is of search, join, update and leave")?;
            if std::mem::replace(&mut named[place], true) {
                return Err(format!("{} appears twice", COUNTED_OPS[place].1));
            }
            mix.weights[place] = weight
                .trim()
                .parse()
                .ok()
                .filter(|weight| *weight <= MOST)
                .ok_or("a weight is a number up to 1000000")?;
        }
        if mix.weights.iter().all(|weight| *weight == 0) {
            Err("at least one weight must be above 0".into())
        } else {
            Ok(mix)
        }
    }

    /// True when the mix has this request.
    #[must_use]
    pub fn has(&self, op: WorkloadOp) -> bool {
        COUNTED_OPS.iter().zip(self.weights).any(|((known, _), weight)| *known == op && weight > 0)
    }

    /// True when the mix has searches only.
    #[must_use]
    pub fn only_searches(&self) -> bool {
        self.weights[1..].iter().all(|weight| *weight == 0)
    }

    /// A random request by these weights.
    pub fn choose(&self, rng: &mut SplitMix64) -> WorkloadOp {
        if self.only_searches() {
            return WorkloadOp::Search;
        }
        let mut left = rng.below(self.weights.iter().copied().map(u64::from).sum::<u64>().max(1));
        for ((op, _), weight) in COUNTED_OPS.iter().zip(self.weights) {
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
    fn a_mix_is_parsed_with_blanks_in_any_order() {
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
    fn each_request_is_chosen_by_its_weight() {
        let (mix, mut rng) =
            (Workload::read("search=6,join=3,leave=1").unwrap(), SplitMix64::new(1));
        let mut seen = [0; COUNTED_OPS.len()];
        for _ in 0..10_000 {
            let op = mix.choose(&mut rng);
            seen[COUNTED_OPS.iter().position(|(known, _)| *known == op).unwrap()] += 1;
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
