//! A map from connection to value, and an index of numbered entries by connection. Each look-up is
//! a single step.

use crate::node::ConnId;

/// Values by connection. The numbers of connections are small, because numbers are reused.
#[derive(Debug)]
pub struct ConnMap<T> {
    slots: Vec<Option<Box<T>>>,
    count: usize,
}

impl<T> Default for ConnMap<T> {
    fn default() -> ConnMap<T> {
        ConnMap { slots: Vec::new(), count: 0 }
    }
}

impl<T> ConnMap<T> {
    /// The value of a connection.
    #[must_use]
    pub fn get(&self, id: &ConnId) -> Option<&T> {
        self.slots.get(id.0)?.as_deref()
    }

    /// The value of a connection, mutably.
    pub fn get_mut(&mut self, id: &ConnId) -> Option<&mut T> {
        self.slots.get_mut(id.0)?.as_deref_mut()
    }

    /// Set the value of a connection.
    pub fn insert(&mut self, id: ConnId, value: T) {
        if self.slots.len() <= id.0 {
            self.slots.resize_with(id.0 + 1, || None);
        }
        let before = self.slots[id.0].replace(Box::new(value));
        self.count += usize::from(before.is_none());
    }

    /// Remove the value of a connection.
    pub fn remove(&mut self, id: &ConnId) -> Option<T> {
        let value = self.slots.get_mut(id.0)?.take()?;
        self.count -= 1;
        Some(*value)
    }

    /// All values, in the order of the connections' numbers.
    pub fn iter(&self) -> impl Iterator<Item = (ConnId, &T)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(number, value)| Some((ConnId(number), value.as_deref()?)))
    }

    /// The connections that have a value.
    pub fn keys(&self) -> impl Iterator<Item = ConnId> {
        self.iter().map(|(id, _)| id)
    }

    /// All values, mutably.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().filter_map(|value| value.as_deref_mut())
    }

    /// The number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// True when there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// The component of a peer that owns a connection: a single look-up finds the receiver of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnOwner {
    /// The connection to the server.
    Server,
    /// A connection on which another peer requests files.
    Inbound,
    /// A connection of a media player.
    Player,
    /// A program of the user, by the control socket.
    Control,
    /// A source of a download, by the numbers of the download and the source.
    Source(u64, u32),
    /// The source of a download by a legacy protocol.
    LegacySource(u64),
}

/// Numbered entries of a table by connection, so that an event visits the entries of its own
/// connection only.
#[derive(Debug, Default)]
pub struct ConnIndex {
    entries: ConnMap<Vec<u64>>,
}

impl ConnIndex {
    /// Append an entry to a connection.
    pub fn add(&mut self, conn: ConnId, number: u64) {
        match self.entries.get_mut(&conn) {
            Some(numbers) => numbers.push(number),
            None => self.entries.insert(conn, vec![number]),
        }
    }

    /// Remove an entry of a connection.
    pub fn remove(&mut self, conn: ConnId, number: u64) {
        let Some(numbers) = self.entries.get_mut(&conn) else { return };
        numbers.retain(|other| *other != number);
        if numbers.is_empty() {
            self.entries.remove(&conn);
        }
    }

    /// The entries of a connection, in the order of their addition.
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
    fn each_connection_has_its_own_value_until_it_is_removed() {
        let mut values = ConnMap::default();
        assert!(
            values.is_empty()
                && values.get(&ConnId(0)).is_none()
                && values.remove(&ConnId(9)).is_none()
        );
        values.insert(ConnId(3), "a");
        values.insert(ConnId(1), "b");
        values.insert(ConnId(3), "c");
        assert_eq!(
            (values.len(), values.keys().collect::<Vec<_>>()),
            (2, vec![ConnId(1), ConnId(3)])
        );
        *values.get_mut(&ConnId(1)).unwrap() = "d";
        assert_eq!(
            (values.get(&ConnId(1)), values.get(&ConnId(2)), values.get(&ConnId(3))),
            (Some(&"d"), None, Some(&"c"))
        );
        assert_eq!(
            (values.remove(&ConnId(3)), values.remove(&ConnId(3)), values.len()),
            (Some("c"), None, 1)
        );
    }
}
