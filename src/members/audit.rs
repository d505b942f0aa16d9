//! The audit log: a chain of hashes over all rows, and a limit for floods.
//!
//! Each row has the hash of its own bytes and of the chain before, so that a changed, removed or
//! inserted row breaks the chain. The chain has no key: it shows a change of the rows, but not a
//! new log that another program has written as a whole.

use std::net::SocketAddr;

use crate::limits;
use crate::protocol::types::file_name::printable;
use crate::protocol::types::ids::{hex, to_hex};

/// Rows of refusals written in one second. A flood of refused requests must not fill the disk.
pub const AUDIT_ROWS: u32 = 10;
/// The `what` of a row that stands for all entries above the limit in one second; their number is
/// the `object`.
pub const SUPPRESSED: &str = "suppressed";

/// The `what` of a row that records that the first rows were removed, as the limits say.
pub const PRUNED: &str = "PRUNED";
/// Rows that are removed at once: a few milliseconds. More wait for the next time.
pub const PRUNE_ROWS: u64 = 2_000;
/// Rows that are too old are removed when the first has been so for a day: the log would otherwise
/// record each of them.
pub const PRUNE_SECONDS: u64 = 86_400;

/// An event for the log. Texts are cut to 255 bytes, and control characters are replaced.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct AuditEntry<'a> {
    /// The member or the key that acted; may be empty.
    pub who: &'a str,
    pub from: Option<SocketAddr>,
    /// The method.
    pub what: &'a str,
    /// The member, invite or file concerned; may be empty. Never a secret.
    pub object: &'a str,
    /// True if the request succeeded.
    pub ok: bool,
}

/// A row of the log. Another program may have changed any text: make the texts printable before
/// showing them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct AuditRow {
    /// Number, counted from 1 without gaps.
    pub seq: u64,
    /// Index seconds.
    pub at: u64,
    pub who: String,
    /// An address, or empty.
    pub from: String,
    pub what: String,
    pub object: String,
    pub ok: bool,
    pub chain: [u8; 32],
}

/// Number and chain of a row; both zero before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct AuditHead {
    pub seq: u64,
    pub chain: [u8; 32],
}

/// The end of the rows that were pruned. A later row of the chain records number and chain of the
/// last of them, so that no other row can pass as the first one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditBase {
    /// The last pruned row; zero if none was pruned.
    pub head: AuditHead,
    /// The number of the row that records it.
    pub recorded_in: u64,
}

impl AuditBase {
    /// The `object` of the row that records this base.
    #[must_use]
    pub fn record(&self) -> String {
        format!("1 to {} {}", self.head.seq, to_hex(&self.head.chain))
    }

    /// True if `row` records this base.
    #[must_use]
    pub fn is_recorded_by(&self, row: &AuditRow) -> bool {
        row.seq == self.recorded_in && row.what == PRUNED && row.object == self.record()
    }
}

/// The size of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditLimits {
    /// The log is pruned when it has more rows.
    pub rows: u64,
    /// The log is pruned when its first row is older, in seconds.
    pub age: Option<u64>,
}

impl Default for AuditLimits {
    /// Some twenty megabytes: years of a school, and hours of an attack at full speed.
    fn default() -> AuditLimits {
        AuditLimits { rows: 100_000, age: None }
    }
}

impl AuditRow {
    /// The row with number `seq` behind the row with this chain.
    #[must_use]
    pub fn new(seq: u64, before: &[u8; 32], at: u64, entry: &AuditEntry<'_>) -> AuditRow {
        let mut row = AuditRow {
            seq,
            at,
            who: short(entry.who),
            from: entry.from.map(|address| address.to_string()).unwrap_or_default(),
            what: short(entry.what),
            object: short(entry.object),
            ok: entry.ok,
            chain: [0; 32],
        };
        row.chain = row.hash(before);
        row
    }

    /// The chain that this row must have. Lengths stand before texts, so that no two rows have the
    /// same bytes.
    #[must_use]
    pub fn hash(&self, before: &[u8; 32]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(before);
        hasher.update(&self.seq.to_le_bytes());
        hasher.update(&self.at.to_le_bytes());
        hasher.update(&[u8::from(self.ok)]);
        for text in [&self.who, &self.from, &self.what, &self.object] {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        *hasher.finalize().as_bytes()
    }

    /// The number and chain of this row.
    #[must_use]
    pub fn head(&self) -> AuditHead {
        AuditHead { seq: self.seq, chain: self.chain }
    }
}

fn short(text: &str) -> String {
    // Each character has a byte at least.
    let cut: String = text.chars().take(limits::NAME_BYTES).collect();
    let mut text = printable(&cut);
    while text.len() > limits::NAME_BYTES {
        text.pop();
    }
    text
}

/// A verification of the whole log, a slice at a time.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuditCheck {
    /// The last row that is right.
    at: AuditHead,
}

/// The state of an [`AuditCheck`] after a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditProgress {
    /// More rows follow.
    More,
    /// All rows are right; the number of the last one.
    Intact(u64),
    /// The first row that was changed, removed or inserted.
    Bad(u64),
}

impl AuditCheck {
    /// A check that goes on at a [`AuditCheck::cursor`].
    #[must_use]
    pub fn at(cursor: &str) -> Option<AuditCheck> {
        let (seq, chain) = cursor.split_once('.')?;
        Some(AuditCheck { at: AuditHead { seq: seq.parse().ok()?, chain: hex(chain)? } })
    }

    /// The end of the check so far.
    #[must_use]
    pub fn cursor(&self) -> String {
        format!("{}.{}", self.at.seq, to_hex(&self.at.chain))
    }

    /// Go on behind a row that is not as it was.
    pub(crate) fn skip_to(&mut self, row: &AuditRow) {
        self.at = row.head();
    }

    /// The number behind which the next slice begins. `base` is the last pruned row.
    pub(crate) fn resume(&mut self, base: AuditHead) -> u64 {
        if self.at.seq < base.seq {
            self.at = base;
        }
        self.at.seq
    }

    /// Check a slice. `is_last`: no rows follow. `head` is the last row that was appended.
    pub(crate) fn check(
        &mut self,
        slice: &[AuditRow],
        is_last: bool,
        head: AuditHead,
    ) -> AuditProgress {
        for row in slice {
            let expected = self.at.seq + 1;
            if row.seq != expected {
                // A row behind a gap: the gap is the first fault.
                return AuditProgress::Bad(expected);
            }
            if row.chain != row.hash(&self.at.chain) || row.seq > head.seq {
                return AuditProgress::Bad(row.seq);
            }
            self.at = row.head();
        }
        if !is_last {
            AuditProgress::More
        } else if self.at.seq < head.seq {
            AuditProgress::Bad(self.at.seq + 1)
        } else if self.at == head {
            AuditProgress::Intact(head.seq)
        } else {
            AuditProgress::Bad(head.seq)
        }
    }
}

/// The end of the log, and the entries of the current second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AuditLog {
    /// The last appended row.
    pub(crate) head: AuditHead,
    /// The largest number in use: more than the head's if another program has added rows.
    pub(crate) last: u64,
    second: u64,
    rows: u32,
    suppressed: u64,
}

impl AuditLog {
    /// The log behind this head.
    pub(crate) fn new(head: AuditHead, last: u64) -> AuditLog {
        AuditLog { head, last: last.max(head.seq), ..AuditLog::default() }
    }

    /// True if [`AuditLog::settle`] has a row to write.
    pub(crate) fn is_unsettled(&self, now: u64) -> bool {
        self.suppressed > 0 && self.second != now
    }

    /// The row for the suppressed entries of an earlier second.
    pub(crate) fn settle(&mut self, now: u64) -> Option<AuditRow> {
        if self.second == now {
            return None;
        }
        (self.second, self.rows) = (now, 0);
        let suppressed = std::mem::take(&mut self.suppressed);
        let object = suppressed.to_string();
        let entry = AuditEntry { who: "", from: None, what: SUPPRESSED, object: &object, ok: true };
        (suppressed > 0).then(|| self.append(&entry, now))
    }

    /// The row for an entry; `None` if this second has too many.
    pub(crate) fn admit(&mut self, entry: &AuditEntry<'_>, now: u64) -> Option<AuditRow> {
        // A flood of refusals must not hide what was done.
        if self.rows >= AUDIT_ROWS && !entry.ok {
            self.suppressed += 1;
            return None;
        }
        self.rows += 1;
        Some(self.append(entry, now))
    }

    fn append(&mut self, entry: &AuditEntry<'_>, now: u64) -> AuditRow {
        self.last += 1;
        let row = AuditRow::new(self.last, &self.head.chain, now, entry);
        self.head = row.head();
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(what: &'a str, object: &'a str) -> AuditEntry<'a> {
        AuditEntry { who: "ana", from: "127.0.0.1:5".parse().ok(), what, object, ok: true }
    }

    fn log(rows: u64) -> (AuditLog, Vec<AuditRow>) {
        let mut log = AuditLog::default();
        let rows = (1..=rows)
            .filter_map(|now| {
                assert_eq!(log.settle(now), None);
                log.admit(&entry("REVOKE", &now.to_string()), now)
            })
            .collect();
        (log, rows)
    }

    fn verify(rows: &[AuditRow], head: AuditHead) -> AuditProgress {
        let whole = AuditCheck::default().check(rows, true, head);
        // Slices of any size say the same.
        for size in 1..4 {
            let mut check = AuditCheck::default();
            let mut slices = rows.chunks(size).map(|slice| check.check(slice, false, head));
            let sliced = slices.find(|progress| *progress != AuditProgress::More);
            assert_eq!(sliced.unwrap_or_else(|| check.check(&[], true, head)), whole);
        }
        whole
    }

    #[test]
    fn a_changed_removed_or_inserted_row_is_named() {
        let (log, rows) = log(9);
        assert_eq!(verify(&rows, log.head), AuditProgress::Intact(9));
        assert_eq!(verify(&[], AuditHead::default()), AuditProgress::Intact(0));
        for seq in 1..=9 {
            let place = seq as usize - 1;
            let changes: [fn(&mut AuditRow); 7] = [
                |row| row.at += 1,
                |row| row.who = "rui".into(),
                |row| row.from.clear(),
                |row| row.what.push('D'),
                |row| row.object.push('0'),
                |row| row.ok = false,
                |row| row.chain[31] ^= 1,
            ];
            for change in changes {
                let mut rows = rows.clone();
                change(&mut rows[place]);
                assert_eq!(verify(&rows, log.head), AuditProgress::Bad(seq));
            }
            let mut removed = rows.clone();
            removed.remove(place);
            assert_eq!(verify(&removed, log.head), AuditProgress::Bad(seq));
            // Inserted, with the rows behind it renumbered.
            let mut inserted = rows.clone();
            inserted.insert(place, rows[0].clone());
            for (row, seq) in inserted.iter_mut().zip(1..).skip(place) {
                row.seq = seq;
            }
            let named = if seq == 1 { 2 } else { seq };
            assert_eq!(verify(&inserted, log.head), AuditProgress::Bad(named));
        }
    }

    #[test]
    fn a_row_behind_the_end_and_a_new_end_are_named() {
        let (log, mut rows) = log(3);
        let next = AuditRow::new(4, &log.head.chain, 9, &entry("REVOKE", "x"));
        rows.push(next);
        assert_eq!(verify(&rows, log.head), AuditProgress::Bad(4));
        rows.pop();
        // The last row written again, with a chain that fits the rows before.
        rows[2] = AuditRow::new(3, &rows[1].chain, 3, &entry("REVOKE", "another"));
        assert_eq!(verify(&rows, log.head), AuditProgress::Bad(3));
    }

    #[test]
    fn texts_that_run_together_differ() {
        let row = |who, what| {
            let entry = AuditEntry { who, what, ..entry("", "") };
            AuditRow::new(1, &[0; 32], 0, &entry).chain
        };
        assert_ne!(row("ab", "c"), row("a", "bc"));
    }

    #[test]
    fn texts_are_short_and_printable() {
        let long = "\u{e1}".repeat(200);
        let row = AuditRow::new(1, &[0; 32], 0, &entry("a\nb\u{1b}[2J", &long));
        assert_eq!(row.what, "a\u{fffd}b\u{fffd}[2J");
        assert_eq!(row.object.len(), 254);
    }

    #[test]
    fn a_flood_is_a_row_with_its_size() {
        let mut log = AuditLog::default();
        let refused = AuditEntry { ok: false, ..entry("ENROL", "") };
        assert_eq!(log.settle(5), None);
        let written = (0..1_000).filter_map(|_| log.admit(&refused, 5)).count();
        assert_eq!(written, 10);
        assert!(log.settle(5).is_none() && !log.is_unsettled(5) && log.is_unsettled(6));
        let row = log.settle(6).unwrap();
        assert_eq!((row.seq, &*row.what, &*row.object), (11, SUPPRESSED, "990"));
        assert!(log.admit(&refused, 6).is_some_and(|row| row.seq == 12));
        assert_eq!(log.settle(7), None);
        // What was done is never suppressed.
        let done = (0..50).filter_map(|_| log.admit(&entry("REVOKE", ""), 6)).count();
        assert_eq!(done, 50);
    }
}
