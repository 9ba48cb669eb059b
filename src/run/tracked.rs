//! One run as the table keeps it: its fold, and what was given out of it.
//!
//! A run is *live* when its events are folded and given out as they come. After
//! a gap it is *held*: it is folded on, but nothing is given out until its log
//! has been read, or nobody waits any longer. Once its end is given out, it is
//! sealed, and the table forgets all but its name.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::finished::{FinishedNode, FinishedRun, RunMeta, Verified};
use super::fold::{Fold, Moment, Step};
use super::hold::{Adopted, Hold};
use super::node::{Detail, Room};
use super::outputs::{GapCause, OpenRun, Output, Repair, RunSlot, Wish};
use super::published::Published;
use super::repeats::Repeats;
use super::summary::RunSummary;
use crate::limits::Limits;
use crate::wire::event::{Event, Fault, RunOutcome, What};
use crate::wire::item::LogPage;
use crate::wire::rejection::Rejection;
use crate::wire::time::Time;

/// What of the configuration concerns a run.
#[derive(Debug, Clone)]
pub struct RunSettings {
    /// The bounds.
    pub limits: Limits,
    /// Whether the server's log can be asked for.
    pub repair: bool,
}

/// A run in the table.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TrackedRun {
    slot: RunSlot,
    meta: Arc<RunMeta>,
    fold: Fold,
    hold: Option<Box<Hold>>,
    published: Published,
    repeats: Repeats,
    /// When something was last heard of it, by arrival.
    pub(super) heard: Time,
    /// When the server was asked how it is.
    pub(super) asked: Option<Time>,
    waiting: bool,
    /// Where the first piece of a stream lies in the server's log, or 0.
    streamed_from: Option<u64>,
    progress_told: bool,
    /// One repair a cause is enough.
    repair_tried: bool,
    /// A repair failed: nothing can be said of its sums.
    doubtful: bool,
}

/// Whether the run is still in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Open,
    Sealed,
}

impl TrackedRun {
    pub(super) fn new(slot: RunSlot, meta: Arc<RunMeta>, first: Time, limits: &Limits) -> Self {
        Self {
            slot,
            fold: Fold::new(Arc::clone(&meta), first, limits),
            meta,
            hold: None,
            published: Published::default(),
            repeats: Repeats::default(),
            heard: first,
            asked: None,
            waiting: false,
            streamed_from: None,
            progress_told: false,
            repair_tried: false,
            doubtful: false,
        }
    }

    pub(super) const fn meta(&self) -> &Arc<RunMeta> {
        &self.meta
    }

    pub(super) const fn waiting(&self) -> bool {
        self.waiting
    }

    /// When it started, or was first seen.
    pub(super) fn start(&self) -> Time {
        self.fold.start()
    }

    /// What somebody who looks at it sees.
    pub(super) fn view(&self) -> OpenRun {
        let (tasks, (input_tokens, output_tokens)) = self.fold.so_far();
        OpenRun {
            meta: Arc::clone(&self.meta),
            start: self.fold.start(),
            last: self.fold.last(),
            waiting: self.waiting,
            held: self.hold.is_some(),
            tasks,
            input_tokens,
            output_tokens,
        }
    }

    /// The summary as it stands.
    pub(super) fn summary_so_far(&self) -> RunSummary {
        self.fold.summary_so_far()
    }

    /// Since when it has been held.
    pub(super) fn held_since(&self) -> Option<Time> {
        self.hold.as_ref().map(|hold| hold.since)
    }

    /// What it holds, roughly, in bytes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.fold.bytes()
            + self.published.bytes()
            + self.repeats.bytes()
            + self.hold.as_ref().map_or(0, |hold| hold.bytes())
    }

    /// Gives up detail of what is open.
    pub(super) fn give_up(&mut self, detail: Detail, out: &mut Vec<Output>) {
        self.fold.give_up_detail(detail);
        self.tell_thinned(out);
    }

    /// The connection was made anew: the server may repeat what it sent.
    pub(super) fn expect_repeats(&mut self) {
        self.repeats.expect();
    }

    /// Neither its silence nor its waiting until now counts.
    pub(super) fn count_from(&mut self, now: Time) {
        self.heard = now;
        if let Some(hold) = &mut self.hold {
            hold.since = now;
        }
        self.asked = self.asked.map(|_| now);
    }

    /// Takes the next event of the feed.
    pub(super) fn accept(
        &mut self,
        event: Event<'_>,
        moment: Moment,
        now: Time,
        room: Room,
        settings: &RunSettings,
        out: &mut Vec<Output>,
    ) -> Fate {
        self.heard = now;
        self.asked = None;
        if self.repeats.is_repeat(&event) {
            out.push(Output::Rejected(Rejection::Duplicate));
            return Fate::Open;
        }
        if let Some(hold) = &mut self.hold {
            hold.keep_live(&event, settings.limits.held_events_bytes_max);
        }
        if self.streamed_from.is_none() && matches!(event.what, What::Chunk(_)) {
            self.streamed_from = event.log_position.or(Some(0));
        }
        let mut nodes = Vec::new();
        let step = self
            .fold
            .apply(&event.scope, event.what, moment, room, &mut nodes);
        self.tell_thinned(out);
        if let Step::Ended(run) = &step {
            // What is closed with the run must wait, if the run must.
            self.doubt(run, now, settings, out);
        }
        self.give_out(nodes, settings, out);
        match step {
            Step::Going => self.tell_progress(settings, out),
            Step::Refused(rejection) => out.push(Output::Rejected(rejection)),
            Step::Ended(run) => return self.ended(run, settings, out),
        }
        Fate::Open
    }

    /// Something may be missing: nothing is given out until the log was read.
    /// Tells what to ask for.
    pub(super) fn hold(&mut self, now: Time, settings: &RunSettings) -> Option<Wish> {
        if !settings.repair || !self.published.can_repair() {
            return None;
        }
        match &mut self.hold {
            // The log is being read already; what came live before this gap is
            // no longer in one piece with what comes after it.
            Some(hold) => {
                hold.drop_live();
                None
            }
            None => {
                self.hold = Some(Box::new(Hold::new(now)));
                self.repair_tried = true;
                Some(Wish::ReadLog {
                    run_id: Arc::clone(&self.meta.run_id),
                    after: 0,
                })
            }
        }
    }

    /// Takes an event of the server's log.
    pub(super) fn accept_logged(
        &mut self,
        event: Event<'_>,
        moment: Moment,
        room: Room,
        limits: &Limits,
    ) {
        if let Some(hold) = &mut self.hold {
            hold.rebuild(event, moment, room, &self.meta, limits);
        }
    }

    /// A page of the server's log is through. Tells what to ask for next.
    pub(super) fn logged(
        &mut self,
        page: LogPage,
        room: Room,
        settings: &RunSettings,
        out: &mut Vec<Output>,
    ) -> (Fate, Option<Wish>) {
        let Some(mut hold) = self.hold.take() else {
            return (Fate::Open, None);
        };
        if let Some(after) = hold.next_page(page) {
            hold.asked_after = after;
            self.hold = Some(hold);
            let run_id = Arc::clone(&self.meta.run_id);
            return (Fate::Open, Some(Wish::ReadLog { run_id, after }));
        }
        let live = std::mem::replace(
            &mut self.fold,
            Fold::new(Arc::clone(&self.meta), self.heard, &settings.limits),
        );
        let row_outcome = hold.row_outcome;
        let Adopted {
            fold,
            nodes,
            ended,
            newest,
        } = hold.adopt(live, page, room, &self.published, self.streamed_from);
        self.fold = fold;
        self.repeats.read_log(page.next_after, newest);
        out.push(Output::Repaired(Repair::Repaired));
        self.give_out(nodes, settings, out);
        let fate = self.conclude(ended, row_outcome, settings, out);
        if fate == Fate::Open {
            self.tell_progress(settings, out);
        }
        (fate, None)
    }

    /// Nobody waits for the log any longer: what came live goes out.
    pub(super) fn release(
        &mut self,
        why: Repair,
        settings: &RunSettings,
        out: &mut Vec<Output>,
    ) -> Fate {
        let Some(hold) = self.hold.take() else {
            return Fate::Open;
        };
        self.doubtful = true;
        out.push(Output::Repaired(why));
        let row_outcome = hold.row_outcome;
        let (nodes, ended) = hold.give_up();
        self.give_out(nodes, settings, out);
        self.conclude(ended, row_outcome, settings, out)
    }

    /// What a hold leaves behind: an end that was seen, one that the run's row
    /// tells of, or a run that goes on.
    fn conclude(
        &mut self,
        ended: Option<Box<FinishedRun>>,
        row_outcome: Option<RunOutcome>,
        settings: &RunSettings,
        out: &mut Vec<Output>,
    ) -> Fate {
        match (ended, row_outcome) {
            (Some(run), _) => self.seal(run, settings, out),
            (None, Some(outcome)) => {
                self.close(outcome, None, settings, out);
                Fate::Sealed
            }
            (None, None) => Fate::Open,
        }
    }

    /// Ends the run without an event that says so.
    pub(super) fn close(
        &mut self,
        outcome: RunOutcome,
        error: Option<Fault<'static>>,
        settings: &RunSettings,
        out: &mut Vec<Output>,
    ) {
        if self.hold.is_some() && self.release(Repair::GaveUp, settings, out) == Fate::Sealed {
            return;
        }
        let mut nodes = Vec::new();
        let run = self.fold.give_up(outcome, error, &mut nodes);
        self.give_out(nodes, settings, out);
        self.seal(run, settings, out);
    }

    /// Holds a run at its end when its sums are not those of the server.
    fn doubt(
        &mut self,
        run: &FinishedRun,
        now: Time,
        settings: &RunSettings,
        out: &mut Vec<Output>,
    ) {
        let doubted =
            run.verified == Verified::Mismatch && !self.repair_tried && self.hold.is_none();
        if doubted
            && let Some(wish) = self.hold(now, settings)
            && let Some(hold) = &mut self.hold
        {
            hold.first_wish = Some(wish);
            out.push(Output::Gap(GapCause::Totals));
        }
    }

    /// The run's end was seen.
    fn ended(
        &mut self,
        run: Box<FinishedRun>,
        settings: &RunSettings,
        out: &mut Vec<Output>,
    ) -> Fate {
        match &mut self.hold {
            Some(hold) => {
                hold.ended(run);
                Fate::Open
            }
            None => self.seal(run, settings, out),
        }
    }

    /// The server says that the run has ended, which nobody saw: its log may
    /// tell how. Tells what to ask for, if that is worth it.
    pub(super) fn ended_unseen(
        &mut self,
        outcome: RunOutcome,
        now: Time,
        settings: &RunSettings,
    ) -> Option<Wish> {
        let wish = if self.repair_tried {
            None
        } else {
            self.hold(now, settings)
        }?;
        if let Some(hold) = &mut self.hold {
            hold.row_outcome = Some(outcome);
        }
        Some(wish)
    }

    /// Whether a page of the log from after this place is being waited for.
    pub(super) fn expects_page(&self, after: u64) -> bool {
        self.hold
            .as_ref()
            .is_some_and(|hold| hold.asked_after == after)
    }

    /// What holding the run at its end made it wish for.
    pub(super) fn take_wish(&mut self) -> Option<Wish> {
        self.hold.as_mut()?.first_wish.take()
    }

    /// Gives nodes out, or keeps them while the run is held.
    fn give_out(
        &mut self,
        nodes: Vec<FinishedNode>,
        settings: &RunSettings,
        out: &mut Vec<Output>,
    ) {
        if let Some(hold) = &mut self.hold {
            hold.keep(nodes);
        } else {
            for node in nodes {
                let nodes_max = settings.limits.published_nodes_max;
                if settings.repair && !self.published.add(node.identity, node.end, nodes_max) {
                    continue;
                }
                out.push(Output::Node(
                    self.slot,
                    Arc::clone(&self.meta),
                    Box::new(node),
                ));
            }
        }
        if self.waiting != self.fold.waiting() {
            self.waiting = !self.waiting;
            out.push(Output::Waiting(self.slot, self.waiting));
        }
    }

    fn seal(
        &mut self,
        mut run: Box<FinishedRun>,
        settings: &RunSettings,
        out: &mut Vec<Output>,
    ) -> Fate {
        if self.doubtful && run.verified == Verified::Mismatch {
            run.verified = Verified::Unchecked;
            run.summary.verified = Verified::Unchecked.as_str();
        }
        if run.end.since(run.start) > settings.limits.progress_after && !self.progress_told {
            out.push(Output::Progress(
                self.slot,
                Arc::clone(&self.meta),
                run.start,
            ));
        }
        out.push(Output::Ended(self.slot, Arc::clone(&self.meta), run));
        Fate::Sealed
    }

    /// Says once that the run has been open for a while.
    fn tell_progress(&mut self, settings: &RunSettings, out: &mut Vec<Output>) {
        self.tell_progress_at(self.fold.last(), settings, out);
    }

    /// The same, by the feed's clock rather than the run's own.
    pub(super) fn tell_progress_at(
        &mut self,
        time: Time,
        settings: &RunSettings,
        out: &mut Vec<Output>,
    ) {
        let open_for = time.since(self.fold.start());
        if self.progress_told || self.hold.is_some() || open_for <= settings.limits.progress_after {
            return;
        }
        self.progress_told = true;
        out.push(Output::Progress(
            self.slot,
            Arc::clone(&self.meta),
            self.fold.start(),
        ));
    }

    fn tell_thinned(&mut self, out: &mut Vec<Output>) {
        let thinned = self.fold.take_thinned();
        if thinned > 0 {
            out.push(Output::Thinned(thinned));
        }
    }
}
