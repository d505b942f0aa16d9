//! Budgets: bounds on the use of a resource, for all addresses together and for each.
//!
//! An address is an IPv4 address or an IPv6 /64, in which one machine chooses freely. The owner of
//! a budget chooses two exceptions to the share of an address. Loopback addresses may be exempt,
//! because scripts run dozens of peers on one machine. An address that uses little may keep a
//! reserve when others have used up the rest.
//!
//! The sums change only when a use changes, so that a request costs no look-up.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// The addresses that share a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Block(IpAddr);

impl Block {
    /// The block of an address. IPv4 addresses mapped to IPv6 count as IPv4.
    #[must_use]
    pub fn of(ip: IpAddr) -> Block {
        match ip.to_canonical() {
            IpAddr::V6(ip) if !ip.is_loopback() => {
                Block(IpAddr::V6((ip.to_bits() >> 64 << 64).into()))
            }
            ip => Block(ip),
        }
    }

    /// True for the addresses of this machine.
    #[must_use]
    pub fn is_loopback(self) -> bool {
        self.0.is_loopback()
    }
}

/// The bound that a request exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The share of this address.
    Address,
    /// The bound over all addresses.
    All,
}

/// The bounds of a resource.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// For all addresses together.
    pub all: usize,
    /// For an address.
    pub one: usize,
    /// The use of an address that is allowed beyond `all`, up to twice `all`.
    pub reserve: usize,
    /// Loopback addresses are bounded by `all` only.
    pub spares_loopback: bool,
}

/// The use of a resource by address.
#[derive(Debug)]
pub struct Budget {
    bounds: Bounds,
    used: usize,
    by_block: BTreeMap<Block, usize>,
    /// The number of blocks beyond their share.
    over: usize,
}

impl Budget {
    /// An unused budget.
    #[must_use]
    pub fn new(bounds: Bounds) -> Budget {
        Budget { bounds, used: 0, by_block: BTreeMap::new(), over: 0 }
    }

    /// A budget of `all` units, `one` for each address; loopback is exempt from the latter.
    #[must_use]
    pub fn of_units(all: usize, one: usize) -> Budget {
        Budget::new(Bounds { all, one, reserve: 0, spares_loopback: true })
    }

    /// Change the share of an address. An address beyond the new share takes no more.
    pub fn set_share(&mut self, one: usize) {
        self.bounds.one = one;
        self.over =
            self.by_block.iter().filter(|(block, used)| **used > self.share(**block)).count();
    }

    /// The use of all addresses together.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used
    }

    /// The use of a block.
    #[must_use]
    pub fn used_by(&self, block: Block) -> usize {
        self.by_block.get(&block).copied().unwrap_or(0)
    }

    /// Check for room for `count` more units of this block.
    ///
    /// # Errors
    /// The bound that would be exceeded.
    pub fn has_room(&self, block: Block, count: usize) -> Result<(), Full> {
        let used = self.used_by(block).saturating_add(count);
        if used > self.share(block) {
            return Err(Full::Address);
        }
        let all = self.used.saturating_add(count);
        let has_reserve = used <= self.bounds.reserve && all <= self.bounds.all.saturating_mul(2);
        if all > self.bounds.all && !has_reserve {
            return Err(Full::All);
        }
        Ok(())
    }

    /// Take `count` more units for this block.
    ///
    /// # Errors
    /// The bound that would be exceeded; no unit is taken then.
    pub fn take(&mut self, block: Block, count: usize) -> Result<(), Full> {
        self.has_room(block, count)?;
        self.set(block, 0, count);
        Ok(())
    }

    /// Give units of this block back.
    pub fn give_back(&mut self, block: Block, count: usize) {
        self.set(block, count, 0);
    }

    /// Change the use of a user of this block from `before` to `now`, regardless of the bounds:
    /// for a use that is known only afterwards.
    pub fn set(&mut self, block: Block, before: usize, now: usize) {
        if before == now {
            return;
        }
        let share = self.share(block);
        let used = self.by_block.entry(block).or_insert(0);
        let was_over = *used > share;
        debug_assert!(*used + now >= before, "more given back than taken");
        *used = (*used + now).saturating_sub(before);
        let (is_over, is_empty) = (*used > share, *used == 0);
        if is_empty {
            self.by_block.remove(&block);
        }
        self.over = (self.over + usize::from(is_over)).saturating_sub(usize::from(was_over));
        self.used = (self.used + now).saturating_sub(before);
    }

    /// True when some block may have to be held back: a cheap test before [`Budget::has_room`].
    #[must_use]
    pub fn is_tight(&self) -> bool {
        self.over > 0 || self.used > self.bounds.all
    }

    /// True when this block must not use more now.
    #[must_use]
    pub fn is_over(&self, block: Block) -> bool {
        self.is_tight() && self.has_room(block, 0).is_err()
    }

    /// True when the use is beyond twice the bound, so that a connection must be closed.
    #[must_use]
    pub fn is_burst(&self) -> bool {
        self.used > self.bounds.all.saturating_mul(2)
    }

    fn share(&self, block: Block) -> usize {
        if self.bounds.spares_loopback && block.is_loopback() {
            usize::MAX
        } else {
            self.bounds.one
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(ip: &str) -> Block {
        Block::of(ip.parse().unwrap())
    }

    #[test]
    fn an_address_is_an_ipv4_address_or_an_ipv6_network() {
        assert_eq!(block("10.0.0.1"), block("::ffff:10.0.0.1"));
        assert_ne!(block("10.0.0.1"), block("10.0.0.2"));
        assert_eq!(block("2001:db8::1"), block("2001:db8::ffff:1:2:3"));
        assert_ne!(block("2001:db8::1"), block("2001:db8:0:1::1"));
        assert!(
            block("::1").is_loopback()
                && block("127.0.0.2").is_loopback()
                && block("::ffff:127.0.0.1").is_loopback()
        );
        assert!(!block("::2").is_loopback());
    }

    #[test]
    fn one_address_gets_its_share_and_others_the_rest() {
        let mut budget = Budget::of_units(10, 4);
        let (a, b, c, own) =
            (block("10.0.0.1"), block("10.0.0.2"), block("10.0.0.3"), block("127.0.0.1"));
        assert!((0..4).all(|_| budget.take(a, 1).is_ok()));
        assert_eq!(budget.take(a, 1), Err(Full::Address));
        assert!(budget.take(b, 4).is_ok());
        assert_eq!(budget.take(c, 3), Err(Full::All));
        assert!(budget.take(c, 2).is_ok());
        budget.give_back(a, 4);
        assert_eq!((budget.used(), budget.used_by(a)), (6, 0));
        assert!(budget.take(own, 4).is_ok());
        assert_eq!(
            budget.take(own, 1),
            Err(Full::All),
            "the bound over all holds for loopback too"
        );
    }

    #[test]
    fn a_new_share_holds_for_the_next_unit() {
        let mut budget = Budget::of_units(100, 4);
        let (a, b) = (block("10.0.0.1"), block("10.0.0.2"));
        assert!(budget.take(a, 4).is_ok() && budget.take(b, 1).is_ok());
        budget.set_share(2);
        assert!(budget.is_over(a) && !budget.is_over(b) && budget.take(b, 2).is_err());
        assert!(budget.take(b, 1).is_ok());
        budget.set(a, 4, 1);
        assert!(!budget.is_tight());
        budget.set_share(9);
        assert!(budget.take(a, 8).is_ok() && !budget.is_tight());
    }

    #[test]
    fn loopback_may_use_more_than_one_address() {
        let mut budget = Budget::of_units(10, 4);
        assert!(budget.take(block("127.0.0.1"), 9).is_ok());
        assert!(!budget.is_tight());
    }

    #[test]
    fn an_address_with_little_use_keeps_a_reserve() {
        let mut budget =
            Budget::new(Bounds { all: 100, one: 60, reserve: 5, spares_loopback: false });
        let (a, b, good) = (block("10.0.0.1"), block("10.0.0.2"), block("10.0.0.3"));
        budget.set(a, 0, 60);
        assert!(!budget.is_over(a) && !budget.is_tight());
        budget.set(a, 60, 61);
        assert!(budget.is_over(a) && !budget.is_over(b));
        budget.set(b, 0, 50);
        assert!(budget.is_over(b) && !budget.is_over(good));
        budget.set(good, 0, 5);
        assert!(!budget.is_over(good));
        budget.set(good, 5, 6);
        assert!(budget.is_over(good));
        budget.set(b, 50, 200);
        budget.set(good, 6, 1);
        assert!(budget.is_burst() && budget.is_over(good));
        budget.set(b, 200, 0);
        budget.set(a, 61, 0);
        assert!(!budget.is_tight() && !budget.is_burst());
        assert_eq!(budget.used(), 1);
    }
}
