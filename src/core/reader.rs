//! Takes what a feed's decoder gives, and hands it to whom it concerns.

use super::Selection;
use super::digest::Digest;
use super::feed::Taken;
use crate::run::outputs::{GapCause, Output};
use crate::run::table::RunTable;
use crate::wire::dialect::Dialect;
use crate::wire::item::Item;
use crate::wire::time::Time;

/// What the reading of a feed needs, beside its decoder.
pub(super) struct Reader<'c> {
    pub(super) dialect: &'c mut Dialect,
    pub(super) runs: &'c mut RunTable,
    pub(super) digest: &'c mut Digest,
    pub(super) selection: &'c Selection,
    pub(super) outputs: &'c mut Vec<Output>,
    pub(super) project: Option<i64>,
    pub(super) now: Option<Time>,
}

impl Reader<'_> {
    pub(super) fn take(&mut self, taken: Taken<'_>) {
        let frame = match taken {
            Taken::Frame(frame) => frame,
            Taken::Rejected(rejection) => return self.digest.reject(rejection),
            Taken::Nothing => return,
        };
        let Self {
            dialect,
            runs,
            digest,
            selection,
            outputs,
            project,
            now,
        } = self;
        let mut newest = None;
        dialect.read(&frame, &mut |item| match item {
            Item::Event { type_index, event } => {
                digest.count(type_index);
                newest = newest.max(event.at);
                if !selection.has_workflow(&event.run.workflow) {
                    return;
                }
                runs.handle_event(event, *now, outputs);
                if !outputs.is_empty() {
                    digest.take(outputs, now.unwrap_or(runs.clock()));
                }
            }
            Item::Other { type_index } => digest.count(type_index),
            Item::Lost { .. } => {
                let now = now.unwrap_or(runs.clock());
                runs.handle_gap(GapCause::Lagged, *project, now, outputs);
                digest.take(outputs, now);
            }
            Item::Rejected(rejection) => digest.reject(rejection),
        });
        if let (Some(now), Some(at)) = (*now, newest) {
            digest.delay(now.since(at));
        }
    }
}
