//! Whoever watches a download while it arrives: its pieces come in his order, and what was asked before stands aside.

use crate::library::part::Part;
use crate::library::wants::Wants;
use crate::node::peer::downloads::download::{Download, Stage};
use crate::node::peer::downloads::{Around, Order, Outcome};

impl Download {
    /// Tells the plan in which order pieces are wanted.
    pub(super) fn put_in_order(&self) {
        let Some(part) = &self.part else { return };
        let wants = match &self.order {
            Order::Any => return,
            Order::FromFront => Wants::from_the_front(part.size()),
            Order::Watched(None) => Wants::both_ends(part.size()),
            Order::Watched(Some(wants)) => wants.clone(),
        };
        part.plan().watch(wants);
    }

    /// From now on this is wanted first. What was asked of a source before, and has not begun to come, gives way to what somebody waits for.
    pub(in crate::node::peer::downloads) fn watch(&mut self, wants: Wants, around: &mut Around<'_, '_>) -> Option<Outcome> {
        self.order = Order::Watched(Some(wants));
        self.put_in_order();
        let part = self.part.clone().filter(|_| matches!(self.stage, Stage::Fetching))?;
        for source in self.sources.values_mut() {
            let Some(giver) = source.giver else { continue };
            let in_the_way = part.plan().in_the_way(giver);
            for piece in in_the_way {
                if source.yields(piece, around.io) {
                    part.plan().take_off(giver, piece);
                }
            }
        }
        self.go_on(around)
    }

    /// The download on its disk, once there is one, and whether all its bytes were judged before they were kept, by its list or by what their giver said of them.
    pub(in crate::node::peer::downloads) fn shown(&self) -> Option<(&Part, bool)> {
        self.part.as_ref().map(|part| (part, part.trusted().is_some() || part.awaits_list() || !self.unproven))
    }
}
