//! Add the files of a JOIN, an UPDATE or a replacement list to the index in slices, several peers in turn.
//!
//! Whoever sent them is answered when all of them are in, and what that link asks next waits until then.

use std::vec::IntoIter;

use crate::index::PeerId;
use crate::index::memory;
use crate::io::budget::Block;
use crate::limits;
use crate::node::ConnId;
use crate::node::io::Io;
use crate::protocol::error::ErrorReply;
use crate::protocol::request::FileEntry;
use crate::protocol::response::Response;
use crate::protocol::types::relative_path::RelativeName;
use crate::server::{ClientStage, ClientState, Server, not_joined};

/// A line about a JOIN on stdout: a hundred thousand files are listed in full, ten million are not.
pub const LINE_BYTES: usize = 64 << 20;

/// Files that are on their way into the index.
pub(super) struct Adding {
    link: ConnId,
    ask: Option<u64>,
    who: PeerId,
    work: IngestJob,
    /// What its files take at most.
    bytes: usize,
}

/// What is left to be done.
pub(super) enum IngestJob {
    /// A part of a JOIN.
    Join {
        /// What is still to be added.
        files: IntoIter<FileEntry>,
        /// Another part follows.
        more: bool,
    },
    /// An UPDATE: first what is gone, then what is new.
    Update {
        /// Names that are gone.
        remove: IntoIter<RelativeName>,
        /// New or changed files.
        files: IntoIter<FileEntry>,
    },
    /// All files of a peer: first those that are named, then the others go.
    Replace {
        /// What is still to be named.
        names: IntoIter<RelativeName>,
        /// Which of the peer's files were named.
        kept: Vec<bool>,
        /// Below which of them the rest has to be looked at.
        left: Option<usize>,
    },
}

impl IngestJob {
    /// How many files come in at most.
    fn files(&self) -> usize {
        match self {
            IngestJob::Join { files, .. } | IngestJob::Update { files, .. } => files.len(),
            IngestJob::Replace { names, .. } => names.len(),
        }
    }

    /// What the files of it take at most.
    fn bytes(&self) -> usize {
        let files = |files: &IntoIter<FileEntry>| {
            files.as_slice().iter().map(|file| memory::of_file(file.name.len())).sum()
        };
        match self {
            IngestJob::Join { files: all, .. } | IngestJob::Update { files: all, .. } => files(all),
            IngestJob::Replace { names, .. } => {
                names.as_slice().iter().map(|name| memory::of_file(name.len())).sum()
            }
        }
    }
}

impl Server {
    /// Takes files into the index, and answers when all are in. Where the memory of the index has no room for them, none is taken.
    pub(super) fn add(
        &mut self,
        link: ConnId,
        ask: Option<u64>,
        who: PeerId,
        work: IngestJob,
        io: &mut Io<'_>,
    ) {
        let bytes = work.bytes();
        let waiting: usize = self.adding.iter().map(|adding| adding.bytes).sum();
        let Some(block) =
            self.visits.get(&link).map(|visit| Block::of(visit.answering.from().ip()))
        else {
            return;
        };
        let room = if bytes == 0 {
            Ok(())
        } else {
            self.index.has_room_for(who, bytes).and_then(|()| self.index.has_room(bytes + waiting))
        };
        if let Err(refusal) = room.and_then(|()| self.shares.has_room(block, work.files())) {
            if matches!(work, IngestJob::Join { .. }) {
                self.join_fails(link);
            }
            return self.give(link, ask, Err(refusal), io);
        }
        let Some(visit) = self.visits.get_mut(&link) else { return };
        visit.held += 1;
        visit.undecided += 1;
        let is_first = self.adding.is_empty();
        self.adding.push_back(Adding { link, ask, who, work, bytes });
        // Who came before goes before.
        if is_first {
            self.add_some(io);
        }
    }

    /// Goes on with what is on its way, as far as one turn may.
    pub(super) fn add_on(&mut self, io: &mut Io<'_>) {
        self.add_some(io);
        self.has_added = self.add_effort < limits::INGEST_FILES;
        self.add_effort = limits::INGEST_FILES;
    }

    fn add_some(&mut self, io: &mut Io<'_>) {
        while self.add_effort > 0
            && let Some(mut adding) = self.adding.pop_front()
        {
            let mut slice = self.add_effort.min(limits::INGEST_SLICE);
            self.add_effort -= slice;
            let added = self.add_slice(&mut adding, &mut slice);
            if let (Ok(_), Some(visit)) = (&added, self.visits.get(&adding.link)) {
                self.shares.count(
                    adding.who,
                    Block::of(visit.answering.from().ip()),
                    self.index.count(adding.who),
                );
            }
            let answer = match added {
                Ok(false) => {
                    self.adding.push_back(adding);
                    continue;
                }
                Ok(true) => match adding.work {
                    IngestJob::Join { more: true, .. } => Ok(Response::JoinMore),
                    IngestJob::Join { more: false, .. } => self.join_ends(adding.link, io),
                    IngestJob::Update { .. } | IngestJob::Replace { .. } => {
                        Ok(Response::UpdateOk { files: self.index.count(adding.who) })
                    }
                },
                Err(refusal) => Err(refusal),
            };
            self.add_effort += slice;
            if let Some(visit) = self.visits.get_mut(&adding.link) {
                visit.held -= 1;
                visit.undecided -= 1;
            }
            self.give(adding.link, adding.ask, answer, io);
            if let Some(link) = io.connection(adding.link) {
                link.reschedule = true;
            }
        }
    }

    /// One slice, of so many files at most. True when nothing is left.
    fn add_slice(&mut self, adding: &mut Adding, left: &mut usize) -> Result<bool, ErrorReply> {
        let Adding { link, who, work, .. } = adding;
        let Some(ClientState { stage, .. }) = self.visits.get_mut(link) else {
            return Err(not_joined());
        };
        let line = match stage {
            ClientStage::Joining { who: known, line, .. }
                if known == who && matches!(work, IngestJob::Join { .. }) =>
            {
                Some(line)
            }
            stage if stage.member() == Some(*who) && !matches!(work, IngestJob::Join { .. }) => {
                None
            }
            // Somebody else has proven to be this peer meanwhile.
            _ => return Err(not_joined()),
        };
        match work {
            IngestJob::Join { files, .. } => {
                let Some(line) = line else { return Err(not_joined()) };
                for file in files.by_ref().take(*left) {
                    *left -= 1;
                    if self.index.add(*who, &file)? && line.len() < LINE_BYTES {
                        line.push(' ');
                        line.push_str(&file.name);
                    }
                }
                Ok(files.len() == 0)
            }
            IngestJob::Update { remove, files } => {
                for name in remove.by_ref().take(*left) {
                    *left -= 1;
                    self.index.remove(*who, &name);
                }
                for file in files.by_ref().take(*left) {
                    *left -= 1;
                    self.index.add(*who, &file)?;
                }
                Ok(remove.len() + files.len() == 0)
            }
            IngestJob::Replace { names, kept, left: rest } => {
                for name in names.by_ref().take(*left) {
                    *left -= 1;
                    let own = self.index.add_name(*who, &name)?;
                    if kept.len() <= own {
                        kept.resize(own + 1, false);
                    }
                    kept[own] = true;
                }
                if names.len() > 0 {
                    return Ok(false);
                }
                // From the last one down: whatever takes the place of one that goes was looked at before.
                let mut own =
                    rest.unwrap_or_else(|| usize::try_from(self.index.count(*who)).unwrap_or(0));
                while own > 0 && *left > 0 {
                    *left -= 1;
                    own -= 1;
                    if !kept.get(own).copied().unwrap_or(false) {
                        self.index.remove_at(*who, own);
                    }
                }
                *rest = Some(own);
                Ok(own == 0)
            }
        }
    }

    /// A link is gone, and its number may come to mean another.
    pub(super) fn adder_gone(&mut self, id: ConnId) {
        self.adding.retain(|adding| adding.link != id);
    }
}
