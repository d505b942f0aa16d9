//! Past transfers: the last ones in memory, and a bounded file.

use std::collections::VecDeque;

use crate::peer::transfers::journal::{RecordFile, StateFile};
use crate::protocol::control::PastTransfer;

/// Past transfers that are kept: months of a person, hours of a busy peer, and a few megabytes.
pub(super) const MOST_PAST: usize = 10_000;

/// The past transfers of a peer.
pub(super) struct TransferHistory {
    all: VecDeque<PastTransfer>,
    journal: RecordFile,
    /// Records in the file.
    written: usize,
}

impl TransferHistory {
    /// The past transfers of a file.
    pub(super) fn open(file: Box<dyn StateFile>) -> TransferHistory {
        let (journal, records) = RecordFile::open(file, "history");
        let written = records.len();
        let mut all = VecDeque::from(records);
        all.drain(..written.saturating_sub(MOST_PAST));
        TransferHistory { all, journal, written }
    }

    /// Append a transfer. The file never has more than twice the kept records.
    pub(super) fn add(&mut self, past: PastTransfer) {
        if self.all.len() >= MOST_PAST {
            self.all.pop_front();
        }
        self.all.push_back(past.clone());
        if self.written >= 2 * MOST_PAST {
            let kept: Vec<&PastTransfer> = self.all.iter().collect();
            self.journal.replace(&kept);
            self.written = kept.len();
        } else {
            self.journal.append(&past, || self.all.iter().cloned().collect());
            self.written += 1;
        }
    }

    /// The last transfers, the newest last.
    pub(super) fn last(&self, most: usize) -> Vec<PastTransfer> {
        self.all.range(self.all.len().saturating_sub(most)..).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::transfers::fake_state_file::FakeStateFile;
    use crate::protocol::control::TransferEnd;

    fn past(at: u64) -> PastTransfer {
        let (name, end) = (format!("f{at}"), TransferEnd::Saved);
        PastTransfer { at, end, name, size: None, peer: None, user: None, root: None, why: None }
    }

    #[test]
    fn the_file_is_bounded_and_keeps_the_newest() {
        let file = FakeStateFile::default();
        let mut history = TransferHistory::open(Box::new(file.clone()));
        let all = 2 * MOST_PAST as u64 + 5;
        (0..all).for_each(|at| history.add(past(at)));
        assert_eq!(
            file.bytes.borrow().iter().filter(|byte| **byte == b'\n').count(),
            MOST_PAST + 4
        );
        let again = TransferHistory::open(Box::new(file));
        assert_eq!(again.last(2), [past(all - 2), past(all - 1)]);
        assert_eq!(again.last(usize::MAX).len(), MOST_PAST);
        assert_eq!(again.last(usize::MAX), history.last(usize::MAX));
    }
}
