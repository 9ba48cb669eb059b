//! Takes what a feed's decoder gives, and hands it to whom it concerns; or takes
//! what was written down of that, and hands it to the same.

use super::Selection;
use super::digest::Digest;
use super::entry::{Head, Recorder, Step};
use super::feed::Taken;
use super::safe::make_safe;
use crate::run::outputs::{GapCause, Output};
use crate::run::table::RunTable;
use crate::wire::dialect::Dialect;
use crate::wire::event::Event;
use crate::wire::item::Item;
use crate::wire::time::Time;

/// What the reading of a feed needs, beside its decoder.
pub(super) struct Reader<'c> {
    pub(super) dialect: &'c mut Dialect,
    pub(super) recorder: &'c mut Recorder,
    pub(super) selection: &'c Selection,
    pub(super) feed: u32,
    pub(super) taker: Taker<'c>,
}

/// What takes the steps of a feed.
pub(super) struct Taker<'c> {
    pub(super) runs: &'c mut RunTable,
    pub(super) digest: &'c mut Digest,
    pub(super) outputs: &'c mut Vec<Output>,
    pub(super) project: Option<i64>,
    pub(super) now: Option<Time>,
}

impl Reader<'_> {
    /// A piece of the feed begins.
    pub(super) fn begin(&mut self) {
        let head = Head::Heard {
            feed: self.feed,
            now: self.taker.now,
        };
        self.recorder.begin(&head);
        self.taker.digest.begin(self.recorder.current());
    }

    pub(super) fn take(&mut self, taken: Taken<'_>) {
        let frame = match taken {
            Taken::Frame(frame) => frame,
            Taken::Rejected(rejection) => {
                let step = Step::<Event<'_>>::Rejected(rejection);
                self.recorder.step(&step);
                return self.taker.step(step);
            }
            Taken::Nothing => return,
        };
        if self.recorder.is_large() {
            self.end();
            self.begin();
        }
        let Self {
            dialect,
            recorder,
            selection,
            taker,
            ..
        } = self;
        let mut newest = None;
        dialect.read(&frame, &mut |item| {
            let counted = |type_index: usize| Step::Counted {
                type_index: type_index as u16,
            };
            let step = match item {
                Item::Event {
                    type_index,
                    mut event,
                } => {
                    newest = newest.max(event.at);
                    if selection.has_workflow(&event.run.workflow) {
                        make_safe(&mut event, taker.digest.policy());
                        let type_index = type_index as u16;
                        recorder.step(&Step::Event {
                            type_index,
                            event: &event,
                        });
                        return taker.event(type_index, event);
                    }
                    counted(type_index)
                }
                Item::Other { type_index } => counted(type_index),
                Item::Lost { .. } => Step::Lost,
                Item::Rejected(rejection) => Step::Rejected(rejection),
            };
            recorder.step(&step);
            taker.step(step);
        });
        if let (Some(now), Some(at)) = (taker.now, newest) {
            let step = Step::<Event<'_>>::Delay(now.since(at));
            recorder.step(&step);
            taker.step(step);
        }
    }

    /// The piece is at its end, and the feed at this place.
    pub(super) fn end(&mut self) {
        self.recorder.end();
        self.taker.digest.settled();
    }
}

impl Taker<'_> {
    /// Takes the next step.
    pub(super) fn step(&mut self, step: Step<'_, Event<'_>>) {
        match step {
            Step::Event { type_index, event } => self.event(type_index, event),
            Step::Counted { type_index } => self.digest.count(usize::from(type_index)),
            Step::Lost => {
                let now = self.now.unwrap_or(self.runs.clock());
                (self.runs).handle_gap(GapCause::Lagged, self.project, now, self.outputs);
                self.digest.take(self.outputs, now);
            }
            Step::Rejected(rejection) => self.digest.reject(rejection),
            Step::Delay(delay) => self.digest.delay(delay),
            // These belong to other entries, or to the feed's own state.
            Step::Cursor(_) | Step::Page(_) | Step::BadPage => {}
        }
    }

    fn event(&mut self, type_index: u16, event: Event<'_>) {
        self.digest.count(usize::from(type_index));
        self.runs.handle_event(event, self.now, self.outputs);
        if !self.outputs.is_empty() {
            let now = self.now.unwrap_or(self.runs.clock());
            self.digest.take(self.outputs, now);
        }
    }
}
