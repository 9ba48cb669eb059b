//! The table of open runs: which run an event belongs to, how many there may
//! be, and what becomes of those that fall silent.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::finished::RunMeta;
use super::fold::Moment;
use super::names;
use super::node::{CHUNK_EVENTS_LEAST, Detail, Room};
use super::outputs::{GapCause, OpenRun, Output, Repair, RunSlot, RunStatus, Wish};
use super::summary::RunSummary;
use super::trace_id::{TraceId, run_trace_id};
use super::tracked::{Fate, RunSettings, TrackedRun};
use crate::limits::REDACTION_MARGIN_BYTES;
use crate::wire::event::{Event, RunOutcome, RunRef, What};
use crate::wire::item::LogPage;
use crate::wire::rejection::Rejection;
use crate::wire::time::Time;

/// The open runs of one source.
#[derive(Debug)]
pub struct RunTable {
    system: &'static str,
    source: Arc<str>,
    settings: RunSettings,
    slots: Vec<Option<Box<TrackedRun>>>,
    free: Vec<RunSlot>,
    by_trace: FxHashMap<[u8; 16], RunSlot>,
    by_workflow: FxHashMap<(Option<i64>, Arc<str>), Vec<RunSlot>>,
    sealed: Sealed,
    silent: Vec<(Time, RunSlot, [u8; 16])>,
    wishes: VecDeque<Wish>,
    bytes: usize,
    /// Whether all open runs have given up what detail they can.
    bare: bool,
    /// The newest time of the feed.
    clock: Time,
}

impl RunTable {
    /// A table without runs.
    pub fn new(system: &'static str, source: Arc<str>, settings: RunSettings) -> Self {
        let sealed = Sealed::new(settings.limits.sealed_runs_max);
        Self {
            system,
            source,
            settings,
            slots: Vec::new(),
            free: Vec::new(),
            by_trace: FxHashMap::default(),
            by_workflow: FxHashMap::default(),
            sealed,
            silent: Vec::new(),
            wishes: VecDeque::new(),
            bytes: 0,
            bare: false,
            clock: Time::ZERO,
        }
    }

    /// Takes an event of the feed that arrived at `now`; without `now` the
    /// newest time of the feed stands in for it.
    pub fn handle_event(&mut self, event: Event<'_>, now: Option<Time>, out: &mut Vec<Output>) {
        if let Some(at) = event.at {
            self.clock = self.clock.max(at);
        }
        let now = now.unwrap_or(self.clock);
        let moment = Moment {
            at: event.at,
            time: event.at.unwrap_or(now),
        };
        let slot = match self.find(&event) {
            Found::Open(slot) => slot,
            Found::New => self.open(&event, moment, now, out),
            Found::Sealed => return out.push(Output::Rejected(Rejection::AfterEnd)),
            Found::None => return out.push(Output::Rejected(Rejection::NoRun)),
        };
        let room = self.room();
        self.with(slot, |run, settings, wishes| {
            let fate = run.accept(event, moment, now, room, settings, out);
            wishes.extend(run.take_wish());
            fate
        });
        self.shed(Some(slot), out);
    }

    /// A feed may have lost something of any open run, or of any of one project.
    pub fn handle_gap(
        &mut self,
        cause: GapCause,
        project: Option<i64>,
        now: Time,
        out: &mut Vec<Output>,
    ) {
        out.push(Output::Gap(cause));
        for slot in self.open_slots() {
            self.with(slot, |run, settings, wishes| {
                if concerns(project, run) {
                    wishes.extend(run.hold(now, settings));
                }
                Fate::Open
            });
        }
        self.shed(None, out);
    }

    /// The connection was made anew: the server may repeat what it sent, of
    /// any run or of those of one project.
    pub fn handle_reconnect(&mut self, project: Option<i64>, now: Option<Time>) {
        for run in self.slots.iter_mut().flatten() {
            if concerns(project, run) {
                run.expect_repeats();
                // It could not be heard while there was no feed.
                if let Some(now) = now {
                    run.count_from(now);
                }
            }
        }
    }

    /// Takes an event of the server's log of a run that is held.
    pub fn handle_logged_event(&mut self, event: Event<'_>) {
        let Some(slot) = self.slot_of(&event.run) else {
            return;
        };
        let time = event.at.unwrap_or(self.clock);
        let moment = Moment { at: event.at, time };
        let room = self.room();
        self.with(slot, |run, settings, _| {
            run.accept_logged(event, moment, room, &settings.limits);
            Fate::Open
        });
    }

    /// Whether the log of a run is being waited for from after this place.
    pub fn expects_page(&self, run: &RunRef<'_>, after: u64) -> bool {
        let slot = self.slot_of(run);
        let run = slot.and_then(|slot| self.slots.get(slot as usize)?.as_deref());
        run.is_some_and(|run| run.expects_page(after))
    }

    /// A page of the server's log of a run is through.
    pub fn handle_log_page(&mut self, run: &RunRef<'_>, page: LogPage, out: &mut Vec<Output>) {
        let Some(slot) = self.slot_of(run) else {
            return;
        };
        let room = self.room();
        self.with(slot, |run, settings, wishes| {
            let (fate, wish) = run.logged(page, room, settings, out);
            wishes.extend(wish);
            fate
        });
        self.shed(Some(slot), out);
    }

    /// The server will not give the log of a run.
    pub fn handle_log_refused(&mut self, run: &RunRef<'_>, out: &mut Vec<Output>) {
        if let Some(slot) = self.slot_of(run) {
            self.with(slot, |run, settings, _| {
                run.release(Repair::Unavailable, settings, out)
            });
        }
    }

    /// What the server says of a silent run.
    pub fn handle_status(
        &mut self,
        run: &RunRef<'_>,
        status: RunStatus,
        now: Time,
        out: &mut Vec<Output>,
    ) {
        let Some(slot) = self.slot_of(run) else {
            return;
        };
        self.with(slot, |run, settings, wishes| {
            let outcome = match status {
                RunStatus::Open => {
                    run.heard = now;
                    run.asked = None;
                    return Fate::Open;
                }
                RunStatus::Ended(outcome) => {
                    if let Some(wish) = run.ended_unseen(outcome, now, settings) {
                        wishes.push_back(wish);
                        return Fate::Open;
                    }
                    outcome
                }
                RunStatus::Unknown => RunOutcome::Abandoned,
            };
            run.close(outcome, None, settings, out);
            Fate::Sealed
        });
    }

    /// Looks for runs that fell silent, that were held for too long, or that
    /// have been open for a while. For runs whose project's feed is away neither
    /// silence nor waiting counts.
    ///
    /// What ends at once is bounded too: a connection that comes back makes all
    /// runs equally silent. The rest has its turn at the next tick.
    pub fn handle_tick(
        &mut self,
        now: Time,
        is_away: impl Fn(Option<i64>) -> bool,
        out: &mut Vec<Output>,
    ) {
        let mut left = self.settings.limits.batch_bytes_max;
        for slot in self.open_slots() {
            self.with(slot, |run, settings, wishes| {
                run.tell_progress_at(now, settings, out);
                if is_away(run.meta().project) {
                    return Fate::Open;
                }
                let limits = &settings.limits;
                if let Some(since) = run.held_since() {
                    if now.since(since) > limits.repair_wait_max && left > 0 {
                        left = left.saturating_sub(run.bytes());
                        return run.release(Repair::GaveUp, settings, out);
                    }
                    return Fate::Open;
                }
                let patience = if run.waiting() {
                    limits.run_wait_max
                } else {
                    limits.run_idle_max
                };
                if now.since(run.heard) <= patience {
                    return Fate::Open;
                }
                match run.asked {
                    None if settings.repair => {
                        run.asked = Some(now);
                        let run_id = Arc::clone(&run.meta().run_id);
                        wishes.push_back(Wish::AskStatus { run_id });
                        return Fate::Open;
                    }
                    // No answer is an answer, in the end.
                    Some(asked) if now.since(asked) <= limits.repair_wait_max => return Fate::Open,
                    _ if left == 0 => return Fate::Open,
                    _ => left = left.saturating_sub(run.bytes()),
                }
                run.close(RunOutcome::Abandoned, None, settings, out);
                Fate::Sealed
            });
        }
        self.shed(None, out);
    }

    /// The feed is at its end: what is still open is abandoned, oldest first.
    pub fn handle_end(&mut self, out: &mut Vec<Output>) {
        for slot in self.open_slots() {
            self.abandon(slot, out);
        }
    }

    /// What the core would like to know from the server.
    pub fn poll_wish(&mut self) -> Option<Wish> {
        self.wishes.pop_front()
    }

    /// The open runs, in no order that matters.
    pub fn open_runs(&self) -> impl Iterator<Item = OpenRun> {
        self.slots.iter().flatten().map(|run| run.view())
    }

    /// The open run of this trace.
    pub fn open_run(&self, trace_id: &TraceId) -> Option<OpenRun> {
        self.tracked(trace_id).map(TrackedRun::view)
    }

    /// The summary of an open run as it stands.
    pub fn summary_so_far(&self, trace_id: &TraceId) -> Option<RunSummary> {
        self.tracked(trace_id).map(TrackedRun::summary_so_far)
    }

    /// The clock was set: silences and waits count from now.
    pub fn handle_clock_set(&mut self, now: Time) {
        for run in self.slots.iter_mut().flatten() {
            run.count_from(now);
        }
    }

    /// Whether the run of this trace is open.
    pub fn has(&self, trace_id: &TraceId) -> bool {
        self.by_trace.contains_key(trace_id)
    }

    /// How many runs are open.
    pub fn len(&self) -> usize {
        self.by_trace.len()
    }

    /// Whether no run is open.
    pub fn is_empty(&self) -> bool {
        self.by_trace.is_empty()
    }

    /// What the open runs hold, roughly, in bytes.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The newest time of the feed.
    pub const fn clock(&self) -> Time {
        self.clock
    }

    fn find(&self, event: &Event<'_>) -> Found {
        let run = &event.run;
        if let Some(id) = run.id.as_deref() {
            let trace = self.trace_of(id, run);
            return match self.by_trace.get(&trace) {
                Some(slot) => Found::Open(*slot),
                None if self.sealed.has(&trace) => Found::Sealed,
                None => Found::New,
            };
        }
        let starts = event.scope.is_empty() && matches!(event.what, What::RunStarted);
        if starts {
            return Found::New;
        }
        let workflow = (run.project, names::kept(&run.workflow));
        match self.by_workflow.get(&workflow).map(Vec::as_slice) {
            Some([only]) => Found::Open(*only),
            _ => Found::None,
        }
    }

    fn open(
        &mut self,
        event: &Event<'_>,
        moment: Moment,
        now: Time,
        out: &mut Vec<Output>,
    ) -> RunSlot {
        if self.by_trace.len() >= self.settings.limits.open_runs_max.max(1) {
            self.close_longest_silent(None, out);
        }
        let run = &event.run;
        let workflow = names::kept(&run.workflow);
        let (run_id, trace_id) = match run.id.as_deref() {
            Some(id) => (names::kept(id), self.trace_of(id, run)),
            None => self.name(run, &workflow, moment.time),
        };
        let meta = Arc::new(RunMeta {
            trace_id,
            system: self.system,
            source: Arc::clone(&self.source),
            project: run.project,
            workflow: Arc::clone(&workflow),
            run_id,
        });
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            // There are no more slots than open runs, which are bounded far below this.
            RunSlot::try_from(self.slots.len() - 1).unwrap_or(RunSlot::MAX)
        });
        let tracked = TrackedRun::new(slot, Arc::clone(&meta), moment.time, &self.settings.limits);
        self.bytes += tracked.bytes();
        self.slots[slot as usize] = Some(Box::new(tracked));
        self.by_trace.insert(trace_id, slot);
        self.by_workflow
            .entry((run.project, workflow))
            .or_default()
            .push(slot);
        out.push(Output::Started(slot, meta));
        let from_start = event.scope.is_empty() && matches!(event.what, What::RunStarted);
        if !from_start && run.id.is_some() {
            self.with(slot, |run, settings, wishes| {
                if let Some(wish) = run.hold(now, settings) {
                    wishes.push_back(wish);
                    out.push(Output::Gap(GapCause::JoinedLate));
                }
                Fate::Open
            });
        }
        slot
    }

    /// A run without an id is named after its workflow and start, and counted
    /// among its equals: nothing else of the feed has a say in it.
    fn name(&self, run: &RunRef<'_>, workflow: &str, start: Time) -> (Arc<str>, [u8; 16]) {
        let mut ordinal = 0u32;
        loop {
            let id = names::kept(&format!("{workflow}-{}-{ordinal}", start.0));
            let trace = self.trace_of(&id, run);
            if !self.by_trace.contains_key(&trace) && !self.sealed.has(&trace) {
                return (id, trace);
            }
            ordinal = ordinal.wrapping_add(1);
        }
    }

    /// Does something with a run, and forgets it when that was its end.
    fn with(
        &mut self,
        slot: RunSlot,
        act: impl FnOnce(&mut TrackedRun, &RunSettings, &mut VecDeque<Wish>) -> Fate,
    ) {
        let Some(run) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) else {
            return;
        };
        let before = run.bytes();
        let fate = act(run, &self.settings, &mut self.wishes);
        self.bytes = (self.bytes + run.bytes()).saturating_sub(before);
        if fate == Fate::Sealed {
            self.forget(slot);
        }
    }

    fn forget(&mut self, slot: RunSlot) {
        let Some(run) = self.slots.get_mut(slot as usize).and_then(Option::take) else {
            return;
        };
        self.bytes = self.bytes.saturating_sub(run.bytes());
        self.free.push(slot);
        let meta = run.meta();
        self.by_trace.remove(&meta.trace_id);
        self.sealed.add(meta.trace_id);
        let workflow = (meta.project, Arc::clone(&meta.workflow));
        if let Some(open) = self.by_workflow.get_mut(&workflow) {
            open.retain(|other| *other != slot);
            if open.is_empty() {
                self.by_workflow.remove(&workflow);
            }
        }
    }

    fn abandon(&mut self, slot: RunSlot, out: &mut Vec<Output>) {
        self.with(slot, |run, settings, _| {
            run.close(RunOutcome::Abandoned, None, settings, out);
            Fate::Sealed
        });
    }

    /// How much an open run may take, with what all of them hold: at seven
    /// tenths of the bound no more texts, at nine tenths few chunk events.
    fn room(&self) -> Room {
        let limits = &self.settings.limits;
        let max = limits.open_runs_bytes_max;
        let full = |tenths: usize| self.bytes / 10 >= max / 100 * tenths;
        Room {
            chunk_events_max: if full(9) {
                CHUNK_EVENTS_LEAST
            } else {
                limits.chunk_events_max
            },
            text_bytes_max: limits.content_bytes_max + REDACTION_MARGIN_BYTES,
            texts: !full(7),
            notes: !full(9),
        }
    }

    /// Keeps the bound: detail goes first, then whole runs. A run at work that
    /// alone holds the better part of it is not spared at the others' cost.
    fn shed(&mut self, at_work: Option<RunSlot>, out: &mut Vec<Output>) {
        let max = self.settings.limits.open_runs_bytes_max;
        // Below nine tenths, detail is taken again.
        self.bare &= self.bytes / 9 >= max / 10;
        if self.bytes > max && !self.bare {
            self.give_up_detail(out);
        }
        while self.bytes > max && !self.by_trace.is_empty() {
            let greedy = at_work.filter(|slot| {
                let run = self.slots.get(*slot as usize).and_then(Option::as_deref);
                run.is_some_and(|run| run.bytes() > max / 2)
            });
            match greedy {
                Some(slot) => {
                    self.with(slot, |run, settings, _| {
                        run.release(Repair::GaveUp, settings, out)
                    });
                    if self.bytes > max {
                        self.abandon(slot, out);
                    }
                }
                None if self.by_trace.len() > 1 => self.close_longest_silent(at_work, out),
                None => return,
            }
        }
    }

    /// Lets open runs give up detail, those that have been silent for longest
    /// first, until there is some room: so this is seldom done.
    fn give_up_detail(&mut self, out: &mut Vec<Output>) {
        let tenth = self.settings.limits.open_runs_bytes_max / 10;
        let mut slots = self.open_slots();
        let runs = &self.slots;
        slots.sort_by_key(|slot| {
            let run = runs.get(*slot as usize).and_then(Option::as_deref);
            run.map(|run| run.heard)
        });
        for (detail, enough) in [(Detail::Texts, 8 * tenth), (Detail::Events, 9 * tenth)] {
            for slot in &slots {
                if self.bytes <= enough {
                    return;
                }
                self.with(*slot, |run, _, _| {
                    run.give_up(detail, out);
                    Fate::Open
                });
            }
        }
        self.bare = true;
    }

    /// Closes the run that has been silent for longest. A few candidates are
    /// looked up at once, so that this stays cheap under pressure.
    fn close_longest_silent(&mut self, spare: Option<RunSlot>, out: &mut Vec<Output>) {
        loop {
            while let Some((heard, slot, trace)) = self.silent.pop() {
                let still = self.slots[slot as usize]
                    .as_deref()
                    .is_some_and(|run| run.heard == heard && run.meta().trace_id == trace);
                if still && Some(slot) != spare {
                    return self.abandon(slot, out);
                }
            }
            self.silent = self
                .slots
                .iter()
                .zip(0..)
                .filter_map(|(run, slot)| Some((run.as_deref()?, slot)))
                .filter(|(_, slot)| Some(*slot) != spare)
                .map(|(run, slot)| (run.heard, slot, run.meta().trace_id))
                .collect();
            if self.silent.is_empty() {
                return;
            }
            self.silent.sort_unstable_by(|a, b| b.cmp(a));
            let drop = self.silent.len().saturating_sub(CANDIDATES);
            self.silent.drain(..drop);
        }
    }

    /// The open runs, in the order of their starts.
    fn open_slots(&self) -> Vec<RunSlot> {
        let mut open: Vec<(Time, [u8; 16], RunSlot)> = (0..)
            .zip(&self.slots)
            .filter_map(|(slot, run)| Some((slot, run.as_deref()?)))
            .map(|(slot, run)| (run.start(), run.meta().trace_id, slot))
            .collect();
        open.sort_unstable();
        open.into_iter().map(|(_, _, slot)| slot).collect()
    }

    fn tracked(&self, trace_id: &TraceId) -> Option<&TrackedRun> {
        let slot = *self.by_trace.get(trace_id)?;
        self.slots.get(slot as usize)?.as_deref()
    }

    fn slot_of(&self, run: &RunRef<'_>) -> Option<RunSlot> {
        let id = run.id.as_deref()?;
        self.by_trace.get(&self.trace_of(id, run)).copied()
    }

    fn trace_of(&self, run_id: &str, run: &RunRef<'_>) -> [u8; 16] {
        let epoch = run.epoch.as_deref().unwrap_or_default();
        run_trace_id(run_id, &self.source, epoch, run.project)
    }
}

/// Whether what happened to a feed of one project, or of all, concerns a run.
fn concerns(project: Option<i64>, run: &TrackedRun) -> bool {
    project.is_none() || run.meta().project == project
}

enum Found {
    Open(RunSlot),
    New,
    Sealed,
    None,
}

/// How many silent runs are looked up at once.
const CANDIDATES: usize = 64;

/// The runs that ended last.
#[derive(Debug)]
struct Sealed {
    known: FxHashSet<[u8; 16]>,
    order: VecDeque<[u8; 16]>,
    max: usize,
}

impl Sealed {
    fn new(max: usize) -> Self {
        Self {
            known: FxHashSet::default(),
            order: VecDeque::new(),
            max,
        }
    }

    fn has(&self, trace: &[u8; 16]) -> bool {
        self.known.contains(trace)
    }

    fn add(&mut self, trace: [u8; 16]) {
        if self.max == 0 || !self.known.insert(trace) {
            return;
        }
        if self.order.len() >= self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(trace);
    }
}
