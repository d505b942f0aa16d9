//! GET by a search: gathers the names found, page by page.

use crate::client::command::PreviewFiles;
use crate::limits;
use crate::protocol::request::Request;
use crate::protocol::response::Provider;
use crate::protocol::types::query::Query;

/// Names that one command downloads: more are a mistake in the search.
const MOST_NAMES: usize = 4_096;

/// A search under way.
pub(super) struct Gathering {
    query: Query,
    sent: bool,
    files: PreviewFiles,
}

impl Gathering {
    pub(super) fn new(query: Query) -> Gathering {
        let query = Query { limit: limits::QUERY_ENTRIES, ..query };
        Gathering { query, sent: false, files: PreviewFiles::new() }
    }

    /// The request to send now, which counts as sent from now on.
    pub(super) fn next_request(&mut self) -> Option<Request> {
        let is_due = !std::mem::replace(&mut self.sent, true);
        is_due.then(|| Request::Find(Box::new(self.query.clone())))
    }

    /// The connection is closed: the request is sent again over the next.
    pub(super) fn forget_sent(&mut self) {
        self.sent = false;
    }

    /// Adds a page. `Some` at the end: the files, and whether there are more.
    pub(super) fn add(
        &mut self,
        providers: Vec<Provider>,
        cursor: Option<String>,
    ) -> Option<(PreviewFiles, bool)> {
        for Provider { file, .. } in providers {
            if self.files.len() < MOST_NAMES || self.files.contains_key(&file.name) {
                let size = self.files.entry(file.name).or_default();
                // Contents of one name may have several sizes: the preview counts the largest.
                *size = (*size).max(file.size);
            }
        }
        let is_full = self.files.len() >= MOST_NAMES;
        match cursor.filter(|_| !is_full) {
            Some(cursor) => {
                (self.query.cursor, self.sent) = (Some(cursor), false);
                None
            }
            None => Some((std::mem::take(&mut self.files), is_full)),
        }
    }
}
