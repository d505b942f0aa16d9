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
    /// Transfers that are not in the file yet.
    unwritten: usize,
}

impl TransferHistory {
    /// The past transfers of a file.
    pub(super) fn open(file: Box<dyn StateFile>) -> TransferHistory {
        let (journal, records) = RecordFile::open(file, "history");
        let written = records.len();
        let mut all = VecDeque::from(records);
        all.drain(..written.saturating_sub(MOST_PAST));
        TransferHistory { all, journal, written, unwritten: 0 }
    }

    /// Add a transfer.
    pub(super) fn add(&mut self, past: PastTransfer) {
        if self.all.len() >= MOST_PAST {
            self.all.pop_front();
        }
        self.all.push_back(past);
        self.unwritten += 1;
    }

    /// Write the new transfers, all at once: a requester may end thousands of uploads at a time. The
    /// file never has more than twice the kept records.
    pub(super) fn save(&mut self) {
        let new = std::mem::take(&mut self.unwritten).min(self.all.len());
        if new == 0 {
            return;
        }
        let TransferHistory { all, journal, written, .. } = self;
        if *written + new > 2 * MOST_PAST {
            journal.replace(&all.iter().collect::<Vec<_>>());
            *written = all.len();
        } else {
            let last: Vec<&PastTransfer> = all.range(all.len() - new..).collect();
            journal.append(&last, || all.iter().collect());
            *written += new;
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
        for at in 0..all {
            history.add(past(at));
            history.save();
        }
        assert_eq!(
            file.bytes.borrow().iter().filter(|byte| **byte == b'\n').count(),
            MOST_PAST + 4
        );
        let again = TransferHistory::open(Box::new(file));
        assert_eq!(again.last(2), [past(all - 2), past(all - 1)]);
        assert_eq!(again.last(usize::MAX).len(), MOST_PAST);
        assert_eq!(again.last(usize::MAX), history.last(usize::MAX));
    }

    #[test]
    fn thousands_of_uploads_that_end_together_are_one_write() {
        let file = FakeStateFile::default();
        let mut history = TransferHistory::open(Box::new(file.clone()));
        for at in 0..MOST_PAST as u64 + 7 {
            history.add(past(at));
        }
        assert!(file.bytes.borrow().is_empty());
        history.save();
        let again = TransferHistory::open(Box::new(file.clone()));
        assert_eq!(again.last(usize::MAX), history.last(usize::MAX));
        // Nothing new: nothing is written, also by a disk that fails.
        file.fails.set(true);
        history.save();
    }
}
