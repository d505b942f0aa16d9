//! A map from connection to value, and an index of numbered entries by connection. Each look-up is one step.

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
        self.places
            .iter()
            .enumerate()
            .filter_map(|(number, thing)| Some((ConnId(number), thing.as_deref()?)))
    }

    /// The links that have something.
    pub fn keys(&self) -> impl Iterator<Item = ConnId> {
        self.iter().map(|(id, _)| id)
    }

    /// All that connections have, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().filter_map(|thing| thing.as_deref_mut())
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

/// The component that owns a connection. A peer keeps it for each, so that the receiver of an event is found by one look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnOwner {
    /// The connection to the server.
    Server,
    /// A connection on which others ask for files.
    Inbound,
    /// A connection of a media player.
    Player,
    /// A source of a download, by the numbers of both.
    Source(u64, u32),
    /// The source of a download from an older program.
    LegacySource(u64),
}

/// Numbered entries of a table by their connections, so that an event on one connection walks over its own entries alone.
#[derive(Debug, Default)]
pub struct ConnIndex {
    entries: ConnMap<Vec<u64>>,
}

impl ConnIndex {
    /// Adds an entry of a connection, behind those that it has.
    pub fn add(&mut self, conn: ConnId, number: u64) {
        match self.entries.get_mut(&conn) {
            Some(numbers) => numbers.push(number),
            None => self.entries.insert(conn, vec![number]),
        }
    }

    /// Removes an entry of a connection.
    pub fn remove(&mut self, conn: ConnId, number: u64) {
        let Some(numbers) = self.entries.get_mut(&conn) else { return };
        numbers.retain(|other| *other != number);
        if numbers.is_empty() {
            self.entries.remove(&conn);
        }
    }

    /// The entries of a connection, in the order in which they were added.
    #[must_use]
    pub fn on(&self, conn: ConnId) -> &[u64] {
        self.entries.get(&conn).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_names_the_entries_of_one_connection_in_their_order() {
        let mut index = ConnIndex::default();
        assert!(index.on(ConnId(5)).is_empty());
        for (conn, number) in [(5, 9), (5, 2), (1, 3), (5, 4)] {
            index.add(ConnId(conn), number);
        }
        index.remove(ConnId(5), 2);
        index.remove(ConnId(7), 2);
        assert_eq!((index.on(ConnId(5)), index.on(ConnId(1))), (&[9, 4][..], &[3][..]));
        index.remove(ConnId(1), 3);
        assert!(index.on(ConnId(1)).is_empty());
    }

    #[test]
    fn each_link_has_its_own_thing_and_none_after_it_was_taken() {
        let mut things = ConnMap::default();
        assert!(
            things.is_empty()
                && things.get(&ConnId(0)).is_none()
                && things.remove(&ConnId(9)).is_none()
        );
        things.insert(ConnId(3), "a");
        things.insert(ConnId(1), "b");
        things.insert(ConnId(3), "c");
        assert_eq!(
            (things.len(), things.keys().collect::<Vec<_>>()),
            (2, vec![ConnId(1), ConnId(3)])
        );
        *things.get_mut(&ConnId(1)).unwrap() = "d";
        assert_eq!(
            (things.get(&ConnId(1)), things.get(&ConnId(2)), things.get(&ConnId(3))),
            (Some(&"d"), None, Some(&"c"))
        );
        assert_eq!(
            (things.remove(&ConnId(3)), things.remove(&ConnId(3)), things.len()),
            (Some("c"), None, 1)
        );
    }
}
