//! The pause before another attempt to connect.

use std::time::Duration;

use crate::limits;

/// The pause after this many failed attempts, before [`jitter`].
#[must_use]
pub fn pause(attempts: u32) -> Duration {
    let (first, longest) = limits::BACKOFF;
    first.saturating_mul(1 << attempts.min(16)).min(longest)
}

/// A random part of `whole`, from a half to all of it, so that many clients of one server do not
/// return together.
#[must_use]
pub fn jitter(whole: Duration, random: u16) -> Duration {
    whole / 2 + whole.mul_f64(f64::from(random) / 131_072.0)
}
