//! A map from connection to value: one step a look-up, one word for an absent value.

use crate::node::ConnId;

/// Things by their links, whose numbers are those of slots and thus small.
#[derive(Debug)]
pub struct ConnMap<T> {
    places: Vec<Option<Box<T>>>,
    count: usize,
}

impl<T> Default for ConnMap<T> {
    fn default() -> ConnMap<T> {
        ConnMap { places: Vec::new(), count: 0 }
    }
}

impl<T> ConnMap<T> {
    /// What belongs to a link.
    #[must_use]
    pub fn get(&self, id: &ConnId) -> Option<&T> {
        self.places.get(id.0)?.as_deref()
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, id: &ConnId) -> Option<&mut T> {
        self.places.get_mut(id.0)?.as_deref_mut()
    }

    /// Gives a link something, in the place of what it had.
    pub fn insert(&mut self, id: ConnId, thing: T) {
        if self.places.len() <= id.0 {
            self.places.resize_with(id.0 + 1, || None);
        }
        let before = self.places[id.0].replace(Box::new(thing));
        self.count += usize::from(before.is_none());
    }

    /// Takes from a link what it has.
    pub fn remove(&mut self, id: &ConnId) -> Option<T> {
        let thing = self.places.get_mut(id.0)?.take()?;
        self.count -= 1;
        Some(*thing)
    }

    /// All that links have, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (ConnId, &T)> {
        self.places.iter().enumerate().filter_map(|(number, thing)| Some((ConnId(number), thing.as_deref()?)))
    }

    /// The links that have something.
    pub fn keys(&self) -> impl Iterator<Item = ConnId> {
        self.iter().map(|(id, _)| id)
    }

    /// How many have something.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// True when none has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_link_has_its_own_thing_and_none_after_it_was_taken() {
        let mut things = ConnMap::default();
        assert!(things.is_empty() && things.get(&ConnId(0)).is_none() && things.remove(&ConnId(9)).is_none());
        things.insert(ConnId(3), "a");
        things.insert(ConnId(1), "b");
        things.insert(ConnId(3), "c");
        assert_eq!((things.len(), things.keys().collect::<Vec<_>>()), (2, vec![ConnId(1), ConnId(3)]));
        *things.get_mut(&ConnId(1)).unwrap() = "d";
        assert_eq!((things.get(&ConnId(1)), things.get(&ConnId(2)), things.get(&ConnId(3))), (Some(&"d"), None, Some(&"c")));
        assert_eq!((things.remove(&ConnId(3)), things.remove(&ConnId(3)), things.len()), (Some("c"), None, 1));
    }
}
