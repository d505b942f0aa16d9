//! For each slot the identity of the data that the master has now, and the identity for which this
//! server has asserted its entries.
//!
//! A look at each request takes no walk over the slots: the counts follow each change.

use crate::cluster::info::ReplicationId;

/// The identities, by the place of a slot in [`Keys::slots`](crate::cluster::keys::Keys::slots).
#[derive(Default)]
pub(super) struct SlotIdentities {
    current: Vec<Option<ReplicationId>>,
    asserted: Vec<Option<ReplicationId>>,
    /// Slots without a master.
    unknown: usize,
    /// Slots with a master for whose data nothing is asserted.
    open: usize,
    /// The identities of all masters.
    masters: Vec<ReplicationId>,
}

impl SlotIdentities {
    /// The masters are now these, slot by slot.
    pub fn observe(&mut self, current: impl Iterator<Item = Option<ReplicationId>>) {
        self.current.clear();
        self.current.extend(current);
        self.asserted.resize(self.current.len(), None);
        self.masters.clear();
        for id in self.current.iter().flatten() {
            // Slots of a master are neighbours.
            if self.masters.last() != Some(id) {
                self.masters.push(*id);
            }
        }
        self.masters.sort_unstable();
        self.masters.dedup();
        self.count();
    }

    fn count(&mut self) {
        self.unknown = self.current.iter().filter(|current| current.is_none()).count();
        self.open = self.open_slots().count();
    }

    fn is_open(&self, place: usize) -> bool {
        self.current[place].is_some() && self.current[place] != self.asserted[place]
    }

    /// The entries of a slot are asserted for the data of this identity.
    pub fn assert(&mut self, place: usize, id: ReplicationId) {
        self.open -= usize::from(self.is_open(place));
        self.asserted[place] = Some(id);
        self.open += usize::from(self.is_open(place));
    }

    /// Nothing is asserted any more.
    pub fn forget(&mut self) {
        self.asserted.fill(None);
        self.count();
    }

    /// Nothing is asserted any more for the data of this identity.
    pub fn forget_master(&mut self, id: ReplicationId) {
        for asserted in self.asserted.iter_mut().filter(|asserted| **asserted == Some(id)) {
            *asserted = None;
        }
        self.count();
    }

    /// True if the master of the slot has this identity.
    pub fn is_current(&self, place: usize, id: ReplicationId) -> bool {
        self.current[place] == Some(id)
    }

    /// The identity for which a slot is asserted.
    pub fn asserted(&self, place: usize) -> Option<ReplicationId> {
        self.asserted[place]
    }

    /// Number of slots.
    pub fn len(&self) -> usize {
        self.current.len()
    }

    /// The identities of all masters.
    pub fn masters(&self) -> &[ReplicationId] {
        &self.masters
    }

    /// True if some slot must be asserted.
    pub fn has_open(&self) -> bool {
        self.open > 0
    }

    /// The places of the slots that must be asserted, with the identities of their masters.
    pub fn open_slots(&self) -> impl Iterator<Item = (usize, ReplicationId)> + '_ {
        let all = self.current.iter().zip(&self.asserted).enumerate();
        all.filter_map(|(place, (current, asserted))| {
            current.filter(|_| current != asserted).map(|id| (place, id))
        })
    }

    /// True if all slots have a master, and all are asserted.
    pub fn is_whole(&self) -> bool {
        !self.current.is_empty() && self.unknown == 0 && self.open == 0
    }

    /// Number of slots without a master, or not asserted.
    pub fn unasserted(&self) -> usize {
        self.unknown + self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: u8) -> ReplicationId {
        ReplicationId([digit; 40])
    }

    /// The counts, by walks over all slots.
    fn check(slots: &SlotIdentities) {
        let open = slots.open_slots().count();
        let unknown = slots.current.iter().filter(|current| current.is_none()).count();
        assert_eq!((slots.open, slots.unknown), (open, unknown));
        assert_eq!(slots.unasserted(), open + unknown);
        let is_whole = !slots.current.is_empty()
            && slots.current.iter().all(Option::is_some)
            && slots.current == slots.asserted;
        assert_eq!((slots.is_whole(), slots.has_open()), (is_whole, open > 0));
    }

    #[test]
    fn the_counts_follow_each_change() {
        let mut slots = SlotIdentities::default();
        check(&slots);
        slots.observe([Some(id(1)), Some(id(2)), None, Some(id(1))].into_iter());
        check(&slots);
        assert_eq!((slots.len(), slots.masters()), (4, &[id(1), id(2)][..]));
        for (place, id) in slots.open_slots().collect::<Vec<_>>() {
            slots.assert(place, id);
            check(&slots);
            assert_eq!(slots.asserted(place), Some(id));
        }
        assert!(!slots.is_whole() && slots.unasserted() == 1);
        slots.observe([Some(id(1)), Some(id(2)), Some(id(2)), Some(id(1))].into_iter());
        check(&slots);
        slots.assert(2, id(1));
        check(&slots);
        assert!(slots.asserted(2) == Some(id(1)) && !slots.is_current(2, id(1)));
        slots.assert(2, id(2));
        check(&slots);
        assert!(slots.is_whole());
        slots.forget_master(id(2));
        check(&slots);
        assert_eq!(slots.unasserted(), 2);
        // Another master takes over.
        slots.observe([Some(id(3)), Some(id(2)), Some(id(2)), None].into_iter());
        check(&slots);
        slots.forget();
        check(&slots);
        assert_eq!(slots.unasserted(), 4);
    }
}
