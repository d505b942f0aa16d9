//! The states of a download, with their data.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Instant;

use crate::protocol::types::ids::ContentHash;
use crate::storage::hasher::Hasher;
use crate::storage::partial_file::PartialFile;
use crate::storage::piece_tree::{self, HashList};

/// ```text
///   Check --same root--> over
///   GetList --list leads to the root--> ProveList --last piece fits--> Fetch --+
///      '---- unverified pieces of one source, no list comes -------------------+--> Finalize
/// ```
pub(in crate::download) enum State {
    /// A file with the name exists: hash the file before any source is asked.
    Check { hasher: Box<Hasher>, at: Instant },
    /// The file with the name is remembered to have the root.
    Done,
    /// No hash list is here. Unverified pieces of a source may arrive meanwhile.
    GetList {
        /// The source that was asked last; `None`: the next source is asked.
        from: Option<u32>,
    },
    /// A hash list leads to the root. A hash list of another tree level could do so as well: the
    /// last piece proves both list and size.
    ProveList(Proof),
    /// A proven hash list verifies each piece.
    Fetch,
    /// Every piece is held: ask the disk whether all is written.
    Finalize { at: Instant },
}

/// A hash list without the proof.
pub(in crate::download) struct Proof {
    /// The source of the list.
    pub from: u32,
    /// Sources that are asked for the last piece: `from`, and others while late.
    pub provers: BTreeSet<u32>,
    pub root: ContentHash,
    pub list: Rc<HashList>,
}

impl Proof {
    pub fn last_piece(&self) -> u64 {
        piece_tree::pieces(self.list.size()) - 1
    }
}

/// The root of the file, by origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::download) enum Root {
    Unknown,
    /// Unknown, and required before any piece: only a hash list can tell which pieces of an
    /// earlier download belong to this content.
    Required,
    /// The root of an earlier download. A source without a hash list may have another file.
    Assumed(ContentHash),
    /// A single source claims this root.
    Claimed(ContentHash),
    /// The user or the index named the root.
    Trusted(ContentHash),
}

impl Root {
    pub fn hash(self) -> Option<ContentHash> {
        match self {
            Root::Unknown | Root::Required => None,
            Root::Assumed(root) | Root::Claimed(root) | Root::Trusted(root) => Some(root),
        }
    }

    pub fn is_trusted(self) -> bool {
        matches!(self, Root::Trusted(_))
    }

    /// True while pieces are requested only after a hash list.
    pub fn needs_list(self) -> bool {
        matches!(self, Root::Required | Root::Assumed(_))
    }

    /// True once pieces of several sources fit together.
    pub fn is_settled(self) -> bool {
        matches!(self, Root::Claimed(_) | Root::Trusted(_))
    }
}

/// The bytes of a download.
pub(in crate::download) struct Part {
    pub file: PartialFile,
    /// The next step of hashing pieces of an earlier run; `None` when there are none.
    pub recheck_at: Option<Instant>,
    /// Pieces are held that nothing verified, not even a hash of their source.
    pub is_unproven: bool,
    /// How often another program wrote the `.part`.
    pub disturbances: u32,
}

impl Part {
    pub fn new(file: PartialFile, now: Instant) -> Part {
        let recheck_at = file.is_doubted().then_some(now);
        Part { file, recheck_at, is_unproven: false, disturbances: 0 }
    }
}
