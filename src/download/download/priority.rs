//! The order of pieces: the pieces that a player needs come first.

use crate::download::download::Download;
use crate::download::types::{Ctx, Outcome, PieceOrder};
use crate::storage::partial_file::PartialFile;
use crate::storage::priorities::Priorities;

impl Download {
    /// Hands the order to the piece picker.
    pub(super) fn apply_order(&self) {
        let Some(file) = self.file() else { return };
        let priorities = match &self.config.order {
            PieceOrder::Any => return,
            PieceOrder::FromFront => Priorities::from_the_front(file.size()),
            PieceOrder::Watched(None) => Priorities::both_ends(file.size()),
            PieceOrder::Watched(Some(priorities)) => priorities.clone(),
        };
        file.picker().watch(priorities);
    }

    /// Changes the order. Earlier requests of which nothing arrived yield to urgent requests.
    pub(in crate::download) fn watch(
        &mut self,
        priorities: Priorities,
        ctx: &mut Ctx<'_, '_>,
    ) -> Option<Outcome> {
        self.config.order = PieceOrder::Watched(Some(priorities));
        self.apply_order();
        let file = self.file().filter(|_| self.is_fetching())?.clone();
        for source in self.sources.values_mut() {
            let Some(picker_id) = source.picker_id else { continue };
            let in_the_way = file.picker().in_the_way(picker_id);
            for piece in in_the_way {
                if source.yield_piece(piece, ctx.io) {
                    file.picker().cancel(picker_id, piece);
                }
            }
        }
        self.advance(ctx)
    }

    /// The pieces for a player, and whether each was verified before it was kept, by the hash
    /// list or by the hash that its source sent. `None` before the first piece.
    pub(in crate::download) fn view(&self) -> Option<(&PartialFile, bool)> {
        let part = self.part.as_ref()?;
        let file = &part.file;
        Some((file, file.trusted().is_some() || file.awaits_list() || !part.is_unproven))
    }
}
