//! Zipf's law: few names are popular, most are rare.

use crate::io::split_mix::SplitMix64;

/// Zipf's law over the ranks from 0 on: the probability of rank `r` is proportional to `1 / (r +
/// 1)^exponent`. Rejection-inversion (Hörmann and Derflinger) needs no table for a million ranks.
#[derive(Clone, Debug)]
pub struct Zipf {
    count: f64,
    exponent: f64,
    /// The integral at both ends, and the bound below which no rejection is needed.
    first: f64,
    last: f64,
    sure: f64,
}

impl Zipf {
    /// Over `count` ranks, at least one. With an exponent of 0 all are equal.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn new(count: u64, exponent: f64) -> Zipf {
        let mut zipf =
            Zipf { count: count.max(1) as f64, exponent, first: 0.0, last: 0.0, sure: 0.0 };
        zipf.first = zipf.integral(1.5) - 1.0;
        zipf.last = zipf.integral(zipf.count + 0.5);
        zipf.sure = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.weight(2.0));
        zipf
    }

    /// A random rank.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn rank(&self, dice: &mut SplitMix64) -> u64 {
        if self.exponent <= 0.0 {
            return dice.below(self.count as u64);
        }
        loop {
            let u = self.last + dice.unit() * (self.first - self.last);
            let x = self.inverse(u);
            let k = (x + 0.5).floor().clamp(1.0, self.count);
            if k - x <= self.sure || u >= self.integral(k + 0.5) - self.weight(k) {
                return k as u64 - 1;
            }
        }
    }

    fn weight(&self, x: f64) -> f64 {
        (-self.exponent * x.ln()).exp()
    }

    /// The integral of the weight, up to a constant.
    fn integral(&self, x: f64) -> f64 {
        let log = x.ln();
        let t = (1.0 - self.exponent) * log;
        // (exp(t) - 1) / t without losing digits near 0.
        let ratio = if t.abs() > 1e-8 { t.exp_m1() / t } else { 1.0 + t / 2.0 };
        ratio * log
    }

    fn inverse(&self, x: f64) -> f64 {
        let t = (x * (1.0 - self.exponent)).max(-1.0);
        let ratio = if t.abs() > 1e-8 { t.ln_1p() / t } else { 1.0 - t / 2.0 };
        (ratio * x).exp()
    }
}

#[cfg(test)]
#[allow(clippy::cast_precision_loss)]
mod tests {
    use super::*;

    #[test]
    fn ranks_come_as_often_as_the_law_says() {
        for exponent in [0.5, 0.99, 1.0, 1.3] {
            let (count, throws) = (1_000_u64, 400_000);
            let (zipf, mut dice) = (Zipf::new(count, exponent), SplitMix64::new(7));
            let mut seen = vec![0_u32; usize::try_from(count).unwrap()];
            for _ in 0..throws {
                seen[usize::try_from(zipf.rank(&mut dice)).unwrap()] += 1;
            }
            let whole: f64 = (1..=count).map(|rank| (rank as f64).powf(-exponent)).sum();
            for rank in [1_usize, 2, 3, 10, 30] {
                let wanted = f64::from(throws) * (rank as f64).powf(-exponent) / whole;
                let got = f64::from(seen[rank - 1]);
                assert!(
                    (got - wanted).abs() < 5.0 * wanted.sqrt() + 2.0,
                    "rank {rank} came {got} times in the place of {wanted}, exponent {exponent}"
                );
            }
            let tail: u32 = seen[500..].iter().sum();
            let wanted = f64::from(throws)
                * (501..=count).map(|rank| (rank as f64).powf(-exponent)).sum::<f64>()
                / whole;
            assert!(
                (f64::from(tail) - wanted).abs() < 5.0 * wanted.sqrt(),
                "{tail} in the place of {wanted}"
            );
        }
    }

    #[test]
    fn without_an_exponent_all_ranks_are_equal_and_one_rank_is_always_the_first() {
        let (zipf, mut dice) = (Zipf::new(10, 0.0), SplitMix64::new(1));
        let mut seen = [0; 10];
        for _ in 0..10_000 {
            seen[usize::try_from(zipf.rank(&mut dice)).unwrap()] += 1;
        }
        assert!(seen.iter().all(|count| (800..1_200).contains(count)), "{seen:?}");
        assert!((0..100).all(|_| Zipf::new(1, 1.0).rank(&mut dice) == 0));
    }
}
