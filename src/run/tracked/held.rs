//! A run while it is held: its log is asked for, and read.

use std::sync::Arc;

use super::{Fate, RunSettings, TrackedRun};
use crate::limits::Limits;
use crate::run::fold::{Fold, Moment};
use crate::run::hold::{Adopted, Hold};
use crate::run::node::Room;
use crate::run::outputs::{Output, Repair, Wish};
use crate::wire::event::Event;
use crate::wire::item::LogPage;
use crate::wire::time::Time;

impl TrackedRun {
    /// Something may be missing: nothing is given out until the log was read.
    pub(in crate::run) fn hold(&mut self, now: Time, settings: &RunSettings) {
        if !settings.repair || !self.published.can_repair() || self.ending.is_some() {
            return;
        }
        match &mut self.hold {
            // The log is being read already; what came live before this gap is
            // no longer in one piece with what comes after it.
            Some(hold) => hold.drop_live(),
            None => {
                self.hold = Some(Box::new(Hold::new(now)));
            }
        }
        self.ask_log();
    }

    /// Asks for the next page of the log, unless that was done. While the feed is
    /// away it would be in vain: more may be missed before it is there again.
    pub(super) fn ask_log(&mut self) {
        if let Some(hold) = &mut self.hold
            && !hold.asking
            && !self.away
        {
            hold.asking = true;
            self.wish = Some(Wish::ReadLog {
                project: self.meta.project,
                run_id: Arc::clone(&self.meta.run_id),
                after: hold.asked_after,
            });
        }
    }

    /// Takes an event of the server's log.
    pub(in crate::run) fn accept_logged(
        &mut self,
        event: Event<'_>,
        moment: Moment,
        room: Room,
        limits: &Limits,
    ) {
        self.hear_cost(&event);
        if let Some(hold) = &mut self.hold {
            hold.rebuild(event, moment, room, &self.meta, limits);
        }
    }

    /// A page of the server's log is through.
    pub(in crate::run) fn logged(
        &mut self,
        page: LogPage,
        room: Room,
        now: Time,
        settings: &RunSettings,
        out: &mut Vec<Output>,
    ) -> Fate {
        let Some(mut hold) = self.hold.take() else {
            return Fate::Open;
        };
        if let Some(after) = hold.next_page(page, self.away) {
            hold.asked_after = after;
            self.hold = Some(hold);
            self.ask_log();
            return Fate::Open;
        }
        let live = std::mem::replace(
            &mut self.fold,
            Fold::new(Arc::clone(&self.meta), self.heard, &settings.limits),
        );
        let row_end = hold.row_end;
        let read_to = hold.read_to(page);
        let Adopted {
            fold,
            nodes,
            ended,
            newest,
        } = hold.adopt(live, read_to, room, &self.published, self.streamed_from);
        self.fold = fold;
        self.fold.doubt_waits();
        self.repeats.read_log(read_to, newest);
        out.push(Output::Repaired(Repair::Repaired));
        self.give_out(nodes, settings, out);
        if !self.withholding {
            self.published.forget_withheld();
        }
        let fate = self.conclude(ended, row_end, now, settings, out);
        if fate == Fate::Open && self.ending.is_none() {
            self.tell_progress(settings, out);
        }
        fate
    }

    /// Nobody waits for the log any longer: what came live goes out.
    pub(in crate::run) fn release(
        &mut self,
        why: Repair,
        now: Time,
        settings: &RunSettings,
        out: &mut Vec<Output>,
    ) -> Fate {
        let Some(hold) = self.hold.take() else {
            return Fate::Open;
        };
        self.doubtful = true;
        out.push(Output::Repaired(why));
        let row_end = hold.row_end;
        let (nodes, ended) = hold.give_up();
        self.give_out(nodes, settings, out);
        if why == Repair::Unavailable && !self.withholding {
            // There is no log to make them from, and the rest need not wait for them.
            self.lose_withheld(out);
        }
        self.conclude(ended, row_end, now, settings, out)
    }

    /// Whether a page of the log from after this place is being waited for.
    pub(in crate::run) fn expects_page(&self, after: u64) -> bool {
        let hold = self.hold.as_ref();
        hold.is_some_and(|hold| hold.asking && hold.asked_after == after)
    }
}
