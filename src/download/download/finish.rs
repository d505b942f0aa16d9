//! The end of a download: recheck of old pieces, verification of the whole, and the final name.

use std::time::Instant;

use crate::download::download::Download;
use crate::download::download::state::State;
use crate::download::source::Source;
use crate::download::types::{Ctx, Outcome, disk_failure};
use crate::limits;
use crate::storage::Finalized;
use crate::storage::fs_trait::FsError;
use crate::storage::hasher::HashStep;
use crate::storage::partial_file::PartialFile;
use crate::ui::event::{Failure, WaitReason};

/// Pieces to hash in an iteration of the loop.
const RECHECKED_AT_ONCE: u32 = 2;
/// Give up when another program writes the `.part` more often.
const DISTURBANCES: u32 = 3;

impl Download {
    /// Every piece is held: verifies the whole where no hash list did.
    pub(super) fn all_received(&mut self, ctx: &mut Ctx<'_, '_>) -> Option<Outcome> {
        let file = self.file()?.clone();
        if file.check_disturbed() {
            return self.check_again(ctx);
        }
        if file.trusted().is_none() && self.config.verify && !file.compares() {
            let own = file.computed_root();
            let is_right = own.is_some() && own == self.root.hash() && self.root.is_settled();
            let is_wrong = own.is_some() && self.root.hash().is_some() && self.is_unverified();
            if !is_right && is_wrong {
                return self.reject_whole(&file, ctx);
            }
            if !is_right && self.may_learn_root(ctx) {
                self.progress.wait(&self.name, WaitReason::Hashing, ctx.io);
                return None;
            }
        }
        self.release_sources(ctx.io);
        self.state = State::Finalize { at: ctx.io.now };
        self.due(ctx)
    }

    /// The bytes of a source without a hash list do not lead to the root: no source can use them.
    fn reject_whole(&mut self, file: &PartialFile, ctx: &mut Ctx<'_, '_>) -> Option<Outcome> {
        file.discard();
        self.part = None;
        for source in self.sources.values_mut() {
            source.picker_id = None;
        }
        if let Some(first) = self.sources.first() {
            let found = self.sources.iter().find(|(_, source)| source.peer() == first);
            match found.map(|(id, _)| id) {
                Some(id) => self.ban(id, ctx.io),
                None => {
                    self.sources.ban(first);
                    self.last_failure = Some(Failure::BadBytes(self.name.clone(), first));
                }
            }
        }
        self.advance_or_wait(ctx)
    }

    /// True while a source may still send the hash list. A lost source is awaited for a while.
    fn may_learn_root(&mut self, ctx: &mut Ctx<'_, '_>) -> bool {
        let is_asked = |source: &Source| source.is_open() && source.has_list_request();
        if self.sources.values().any(is_asked) {
            return true;
        }
        let may_have_list = self
            .sources
            .iter()
            .find(|(_, source)| source.is_open() && !self.sources.is_listless(source))
            .map(|(id, _)| id);
        if let (Some(id), State::GetList { from: None }) = (may_have_list, &self.state) {
            self.request_list(id, ctx.io);
            return true;
        }
        let is_patient = self.progress.silence(ctx.io.now) < limits::GET_RETRY_FOR;
        if self.sources.is_empty() && is_patient {
            self.connect(ctx);
        }
        let is_connecting = self.sources.values().any(|source| !source.is_open());
        is_patient && (is_connecting || may_have_list.is_some() || self.sources.is_backing_off())
    }

    /// Another program wrote the `.part`: every piece is hashed before any counts.
    fn check_again(&mut self, ctx: &mut Ctx<'_, '_>) -> Option<Outcome> {
        let Some(part) = &mut self.part else {
            debug_assert!(false, "a disturbed part exists");
            return None;
        };
        part.disturbances += 1;
        let doubted = if part.disturbances > DISTURBANCES {
            Err(FsError::Disturbed(self.name.to_string()))
        } else {
            part.file.doubt()
        };
        if let Err(error) = doubted {
            return Some(Outcome::Failed(disk_failure(&self.name, &error)));
        }
        log::warn!("{}: its .part was written by another program, and is hashed", self.name);
        part.recheck_at = Some(ctx.io.now);
        if let State::Finalize { .. } = self.state {
            let is_trusted = part.file.trusted().is_some();
            self.state = if is_trusted { State::Fetch } else { State::GetList { from: None } };
        }
        None
    }

    /// Notes the pieces of an earlier run.
    pub(super) fn note_resumed(&mut self) {
        let is_unverified = self.is_unverified();
        if let Some(part) = &mut self.part {
            self.progress.note_resumed(part.file.held());
            // Unverified pieces stay unverified in the next run.
            part.is_unproven |= self.progress.resumed > 0 && is_unverified;
        }
    }

    /// Hashes some pieces of an earlier run.
    pub(super) fn recheck(&mut self, now: Instant) {
        let Some(part) = &mut self.part else { return };
        if part.recheck_at.is_none_or(|at| at > now) {
            return;
        }
        self.progress.last_received = now;
        for _ in 0..RECHECKED_AT_ONCE {
            part.recheck_at = part.file.recheck(now);
            if part.recheck_at != Some(now) {
                break;
            }
        }
        if part.recheck_at.is_none() {
            self.note_resumed();
        }
    }

    /// Hashes a slice of the file that has the name already.
    pub(super) fn check_slice(&mut self, now: Instant) -> Option<Outcome> {
        let State::Check { hasher, at } = &mut self.state else { return None };
        match hasher.step(now) {
            Ok(HashStep::More) => None,
            Ok(HashStep::Rest(until)) => {
                *at = until;
                None
            }
            Ok(HashStep::Done(list)) if Some(list.root()) == self.root.hash() => {
                Some(Outcome::Same)
            }
            Ok(HashStep::Done(_) | HashStep::Changed) => {
                Some(Outcome::Failed(disk_failure(&self.name, &FsError::Taken)))
            }
            Err(error) => Some(Outcome::Failed(disk_failure(&self.name, &error.into()))),
        }
    }

    /// Gives the file the final name once the disk has every byte.
    pub(super) fn finalize(&mut self, ctx: &mut Ctx<'_, '_>) -> Option<Outcome> {
        let finalized = self.file()?.finalize();
        match finalized {
            Ok(Finalized::NotYet) => {
                self.state = State::Finalize { at: ctx.io.now + limits::SINK_RETRY };
                None
            }
            Ok(Finalized::Disturbed) => self.check_again(ctx),
            Ok(Finalized::Same) => Some(Outcome::Same),
            Ok(Finalized::Named) => self.saved(),
            Err(error) => Some(Outcome::Failed(disk_failure(&self.name, &error))),
        }
    }

    fn saved(&self) -> Option<Outcome> {
        let file = self.file()?;
        let (size, from) = (file.size(), self.sources.first_or_preferred());
        let (root, list) = match file.trusted() {
            Some((root, list)) => (Some(root), Some(list)),
            None => (file.computed_root().filter(|own| Some(*own) == self.root.hash()), None),
        };
        Some(match root {
            Some(root) => Outcome::Saved { size, from, root, list },
            None => Outcome::Unverified { size, from, is_sized: true },
        })
    }
}
