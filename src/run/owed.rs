//! Runs that ended while there was no room for their spans. They were counted
//! and told; their spans are made from the server's log once there is room.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cost::RunCost;
use super::finished::{RunFacts, RunMeta};
use super::fold::{Fold, Moment};
use super::hold::{Adopted, Hold};
use super::node::Room;
use super::outputs::{Due, Output, RunSlot, Wish};
use super::published::Published;
use super::replays::Replays;
use super::trace_id::TraceId;
use super::tracked::RunSettings;
use crate::limits::{DEBTS_MAX, Limits};
use crate::wire::event::{Event, RunOutcome};
use crate::wire::item::LogPage;
use crate::wire::time::Time;

/// What is kept of a run whose spans are owed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Owed {
    pub(super) meta: Arc<RunMeta>,
    pub(super) start: Time,
    /// How it ended, in case its log does not tell.
    pub(super) outcome: RunOutcome,
    pub(super) facts: Option<Box<RunFacts>>,
    /// What it cost, as that was counted.
    pub(super) cost: RunCost,
    /// What of it was sent before.
    pub(super) published: Published,
}

/// All that is owed, and what of it is being paid.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Debts {
    waiting: VecDeque<Owed>,
    bytes: usize,
    paying: Vec<Paying>,
    /// No sooner is the next one paid: the server could not tell of the last.
    rest_until: Time,
    /// Spans that are lost, and not told yet.
    lost: u64,
}

/// A run whose log is being read once more.
#[derive(Debug, Serialize, Deserialize)]
struct Paying {
    owed: Owed,
    hold: Hold,
}

/// The place of runs that are in no table any more.
const NOWHERE: RunSlot = RunSlot::MAX;

impl Owed {
    /// How many of its spans were not sent, as far as that is known.
    fn spans(&self) -> u64 {
        self.published.withheld() + 1
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + size_of::<RunFacts>() + self.published.bytes()
    }

    fn wish(&self, after: u64) -> Wish {
        Wish::ReadLog {
            project: self.meta.project,
            run_id: Arc::clone(&self.meta.run_id),
            after,
        }
    }
}

impl Debts {
    /// How many runs are owed.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.paying.len()
    }

    /// What the folds of the logs that are being read remember of ends.
    pub(super) fn replays(&self) -> Vec<Option<&Replays>> {
        let paying = self.paying.iter();
        paying.map(|paying| paying.hold.replays()).collect()
    }

    /// They were read from disk, and remember this.
    pub(super) fn set_replays(&mut self, replays: Vec<Option<Replays>>) {
        for (paying, replays) in self.paying.iter_mut().zip(replays) {
            if let Some(replays) = replays {
                paying.hold.set_replays(replays);
            }
        }
    }

    /// Takes a run that cannot be sent now. What finds no room is lost.
    pub(super) fn owe(&mut self, owed: Owed, limits: &Limits) {
        let bytes = owed.bytes();
        let fits = self.bytes + bytes <= limits.owed_runs_bytes_max;
        if !fits || self.waiting.len() >= limits.owed_runs_max {
            self.lost += owed.spans();
            return;
        }
        self.bytes += bytes;
        self.waiting.push_back(owed);
    }

    /// Spans that were lost since this was asked last.
    pub(super) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Begins to pay, oldest first, a few at once.
    pub(super) fn pay(&mut self, now: Time, wishes: &mut VecDeque<Wish>) {
        while self.paying.len() < DEBTS_MAX && now >= self.rest_until {
            let Some(owed) = self.waiting.pop_front() else {
                return;
            };
            self.bytes = self.bytes.saturating_sub(owed.bytes());
            wishes.push_back(owed.wish(0));
            let hold = Hold::new(now);
            self.paying.push(Paying { owed, hold });
        }
    }

    /// What was being asked for is asked for anew: who was asked is gone.
    pub(super) fn renew(&self, wishes: &mut VecDeque<Wish>) {
        let asked = |paying: &Paying| paying.owed.wish(paying.hold.asked_after);
        wishes.extend(self.paying.iter().map(asked));
    }

    /// There is no room again: what is being paid waits with the others.
    pub(super) fn stop(&mut self) {
        while let Some(paying) = self.paying.pop() {
            self.wait(paying.owed);
        }
    }

    /// Whether the log of this run is being waited for from after this place.
    pub(super) fn expects_page(&self, trace: &TraceId, after: u64) -> bool {
        let paying = self.paying.iter();
        let mut this = paying.filter(|paying| paying.owed.meta.trace_id == *trace);
        this.any(|paying| paying.hold.asked_after == after)
    }

    /// Takes an event of a run's log.
    pub(super) fn accept_logged(
        &mut self,
        trace: &TraceId,
        event: Event<'_>,
        moment: Moment,
        room: Room,
        limits: &Limits,
    ) {
        if let Some(place) = self.place(trace) {
            let Paying { owed, hold } = &mut self.paying[place];
            hold.rebuild(event, moment, room, &owed.meta, limits);
        }
    }

    /// A page of a run's log is through.
    pub(super) fn logged(
        &mut self,
        trace: &TraceId,
        page: LogPage,
        room: Room,
        settings: &RunSettings,
        wishes: &mut VecDeque<Wish>,
        out: &mut Vec<Output>,
    ) {
        let Some(place) = self.place(trace) else {
            return;
        };
        let paying = &mut self.paying[place];
        let bytes_max = settings.limits.open_runs_bytes_max / (4 * DEBTS_MAX);
        if paying.hold.bytes() > bytes_max {
            out.push(Output::Lost(paying.owed.spans()));
            self.paying.swap_remove(place);
            return;
        }
        if let Some(after) = paying.hold.next_page(page, false) {
            paying.hold.asked_after = after;
            wishes.push_back(paying.owed.wish(after));
            return;
        }
        let Paying { owed, hold } = self.paying.swap_remove(place);
        send(owed, hold, page, room, settings, out);
    }

    /// A run's log cannot be had: never, or not now.
    pub(super) fn refused(
        &mut self,
        trace: &TraceId,
        for_good: bool,
        now: Time,
        limits: &Limits,
        out: &mut Vec<Output>,
    ) {
        let Some(place) = self.place(trace) else {
            return;
        };
        let owed = self.paying.swap_remove(place).owed;
        if for_good {
            out.push(Output::Lost(owed.spans()));
        } else {
            self.rest_until = now.plus(limits.repair_wait_max);
            self.wait(owed);
        }
    }

    /// The clock was set: rests count from now.
    pub(super) const fn count_from(&mut self, now: Time) {
        self.rest_until = now;
    }

    fn wait(&mut self, owed: Owed) {
        self.bytes += owed.bytes();
        self.waiting.push_front(owed);
    }

    fn place(&self, trace: &TraceId) -> Option<usize> {
        let mut paying = self.paying.iter();
        paying.position(|paying| paying.owed.meta.trace_id == *trace)
    }
}

/// Gives out the spans of a run that were not sent before.
fn send(
    owed: Owed,
    hold: Hold,
    page: LogPage,
    room: Room,
    settings: &RunSettings,
    out: &mut Vec<Output>,
) {
    let empty = Fold::new(Arc::clone(&owed.meta), owed.start, &settings.limits);
    let read_to = hold.read_to(page);
    let Adopted {
        mut fold,
        nodes,
        ended,
        ..
    } = hold.adopt(empty, read_to, room, &owed.published, None);
    for unsent in nodes {
        let node = Box::new(unsent.node);
        out.push(Output::Node(
            NOWHERE,
            Arc::clone(&owed.meta),
            node,
            Due::Span,
        ));
    }
    let mut run = ended.unwrap_or_else(|| {
        let mut nodes = Vec::new();
        let run = fold.give_up(owed.outcome, None, &mut nodes);
        for unsent in owed.published.unsent(nodes) {
            let node = Box::new(unsent.node);
            out.push(Output::Node(
                NOWHERE,
                Arc::clone(&owed.meta),
                node,
                Due::Span,
            ));
        }
        run
    });
    if let Some(facts) = owed.facts {
        run.learn(*facts, &owed.meta);
    }
    run.price(owed.cost);
    out.push(Output::Ended(NOWHERE, owed.meta, run, Due::Span));
}
