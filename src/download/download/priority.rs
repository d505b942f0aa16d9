//! Priorities of a player: its pieces come first.

use crate::download::download::{Download, DownloadState};
use crate::download::{Ctx, Outcome, PieceOrder};
use crate::storage::partial_file::PartialFile;
use crate::storage::priorities::Priorities;

impl Download {
    /// Tells the plan in which order pieces are wanted.
    pub(super) fn put_in_order(&self) {
        let Some(part) = &self.part else { return };
        let wants = match &self.order {
            PieceOrder::Any => return,
            PieceOrder::FromFront => Priorities::from_the_front(part.size()),
            PieceOrder::Watched(None) => Priorities::both_ends(part.size()),
            PieceOrder::Watched(Some(wants)) => wants.clone(),
        };
        part.picker().watch(wants);
    }

    /// From now on this is wanted first. What was asked of a source before, and has not begun to come, gives way to what somebody waits for.
    pub(in crate::download) fn watch(
        &mut self,
        wants: Priorities,
        around: &mut Ctx<'_, '_>,
    ) -> Option<Outcome> {
        self.order = PieceOrder::Watched(Some(wants));
        self.put_in_order();
        let part = self.part.clone().filter(|_| matches!(self.state, DownloadState::Fetching))?;
        for source in self.sources.values_mut() {
            let Some(giver) = source.picker_id else { continue };
            let in_the_way = part.picker().in_the_way(giver);
            for piece in in_the_way {
                if source.yields(piece, around.io) {
                    part.picker().take_off(giver, piece);
                }
            }
        }
        self.go_on(around)
    }

    /// The download on its disk, once there is one, and whether all its bytes were judged before they were kept, by its list or by what their giver said of them.
    pub(in crate::download) fn shown(&self) -> Option<(&PartialFile, bool)> {
        self.part
            .as_ref()
            .map(|part| (part, part.trusted().is_some() || part.awaits_list() || !self.unproven))
    }
}
