//! The table of open runs: which run an event belongs to, and how many there
//! may be.
//!
//! - `bounds`: what they may hold together
//! - `repair`: gaps, answers of the server, and room for spans
//! - `silence`: what becomes of runs that say nothing
//! - `saved`: how the table is kept on disk

mod bounds;
mod repair;
mod saved;
mod silence;

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;

pub use self::repair::NoAnswer;
pub use self::saved::Unreadable;

use crate::limits::HELD_FOR_LISTS_MAX;
use crate::run::finished::RunMeta;
use crate::run::fold::Moment;
use crate::run::lists::Lists;
use crate::run::names;
use crate::run::outputs::{GapCause, OpenRun, Output, RunSlot, Wish};
use crate::run::owed::Debts;
use crate::run::sealed::Sealed;
use crate::run::summary::RunSummary;
use crate::run::trace_id::{TraceId, run_trace_id};
use crate::run::tracked::{Fate, RunSettings, TrackedRun};
use crate::wire::event::{Event, RunOutcome, RunRef, What};
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
    by_trace: FxHashMap<TraceId, RunSlot>,
    by_workflow: FxHashMap<(Option<i64>, Arc<str>), Vec<RunSlot>>,
    sealed: Sealed,
    lists: Lists,
    debts: Debts,
    /// There is no room for spans.
    withholding: bool,
    /// When the table began to know of runs, by arrival.
    known_since: Option<Time>,
    silent: Vec<(Time, RunSlot, TraceId)>,
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
        Self {
            system,
            source,
            settings,
            slots: Vec::new(),
            free: Vec::new(),
            by_trace: FxHashMap::default(),
            by_workflow: FxHashMap::default(),
            sealed: Sealed::default(),
            lists: Lists::default(),
            debts: Debts::default(),
            withholding: false,
            known_since: None,
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
        self.with(slot, |run, settings| {
            run.accept(event, moment, now, room, settings, out)
        });
        self.shed(Some(slot), out);
    }

    /// The feed is at its end: what is still open is abandoned, oldest first.
    pub fn handle_end(&mut self, out: &mut Vec<Output>) {
        for slot in self.open_slots() {
            self.abandon(slot, out);
        }
    }

    /// What the core would like to know from the server.
    pub fn poll_wish(&mut self) -> Option<Wish> {
        let may_wait = |wish: &Wish| matches!(wish, Wish::ListRuns { offset: 1.., .. });
        // Of a long list no more is asked for than can be read of its runs' logs.
        let next = match self.wishes.front() {
            Some(wish) if may_wait(wish) && self.held() >= HELD_FOR_LISTS_MAX => {
                self.wishes.iter().position(|wish| !may_wait(wish))?
            }
            _ => 0,
        };
        self.wishes.remove(next)
    }

    /// The open runs, in no order that matters.
    pub fn open_runs(&self) -> impl Iterator<Item = OpenRun> {
        self.slots.iter().flatten().map(|run| run.view())
    }

    /// The same, with their places.
    pub fn open_run_slots(&self) -> impl Iterator<Item = (RunSlot, OpenRun)> {
        self.slots
            .iter()
            .flatten()
            .map(|run| (run.slot(), run.view()))
    }

    /// How many wishes nobody has taken.
    pub fn wishes(&self) -> usize {
        self.wishes.len()
    }

    /// The configured name of the source.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The open run of this trace.
    pub fn open_run(&self, trace_id: &TraceId) -> Option<OpenRun> {
        self.tracked(trace_id).map(TrackedRun::view)
    }

    /// The summary of an open run as it stands.
    pub fn summary_so_far(&self, trace_id: &TraceId) -> Option<RunSummary> {
        self.tracked(trace_id).map(TrackedRun::summary_so_far)
    }

    /// Whether the run of this trace is open.
    pub fn has(&self, trace_id: &TraceId) -> bool {
        self.by_trace.contains_key(trace_id)
    }

    /// How many runs wait for their logs.
    fn held(&self) -> usize {
        let open = self.slots.iter().flatten();
        open.filter(|run| run.held_since().is_some()).count()
    }

    /// How many runs are open.
    pub fn len(&self) -> usize {
        self.by_trace.len()
    }

    /// Whether no run is open.
    pub fn is_empty(&self) -> bool {
        self.by_trace.is_empty()
    }

    /// How many ended runs wait for room, and for the server's log.
    pub fn owed(&self) -> usize {
        self.debts.len()
    }

    /// Whether spans are made later, since there is no room for them now.
    pub const fn is_withholding(&self) -> bool {
        self.withholding
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
        if run.id.is_some() {
            return self.find_run(run);
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

    /// A run that has an id.
    fn find_run(&self, run: &RunRef<'_>) -> Found {
        let Some(trace) = self.trace_named(run) else {
            return Found::None;
        };
        match self.by_trace.get(&trace) {
            Some(slot) => Found::Open(*slot),
            None if self.sealed.has(&trace) => Found::Sealed,
            None => Found::New,
        }
    }

    fn open(
        &mut self,
        event: &Event<'_>,
        moment: Moment,
        now: Time,
        out: &mut Vec<Output>,
    ) -> RunSlot {
        let slot = self.open_run_at(&event.run, moment.time, out);
        let from_start = event.scope.is_empty() && matches!(event.what, What::RunStarted);
        if !from_start && event.run.id.is_some() {
            self.with(slot, |run, settings| {
                run.hold(now, settings);
                if run.held_since().is_some() {
                    out.push(Output::Gap(GapCause::JoinedLate));
                }
                Fate::Open
            });
        }
        slot
    }

    /// Takes a run in that was first seen at this time.
    fn open_run_at(&mut self, run: &RunRef<'_>, first: Time, out: &mut Vec<Output>) -> RunSlot {
        if self.by_trace.len() >= self.settings.limits.open_runs_max.max(1) {
            self.close_longest_silent(None, out);
        }
        let workflow = names::kept(&run.workflow);
        let (run_id, trace_id) = match run.id.as_deref() {
            Some(id) => (names::kept(id), self.trace_of(id, run)),
            None => self.name(run, &workflow, first),
        };
        if let Some(project) = run.project {
            self.lists.know(project);
        }
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
        let mut tracked = TrackedRun::new(slot, Arc::clone(&meta), first, &self.settings.limits);
        tracked.set_withholding(self.withholding, first, &self.settings);
        self.bytes += tracked.bytes();
        self.slots[slot as usize] = Some(Box::new(tracked));
        self.by_trace.insert(trace_id, slot);
        self.by_workflow
            .entry((run.project, workflow))
            .or_default()
            .push(slot);
        out.push(Output::Started(slot, meta, first));
        slot
    }

    /// A run without an id is named after its workflow and start, and counted
    /// among its equals: nothing else of the feed has a say in it.
    fn name(&self, run: &RunRef<'_>, workflow: &str, start: Time) -> (Arc<str>, TraceId) {
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

    /// Does something with a run, and takes what it then would like to know.
    fn with(
        &mut self,
        slot: RunSlot,
        act: impl FnOnce(&mut TrackedRun, &RunSettings) -> Fate,
    ) -> Fate {
        let Some(run) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) else {
            return Fate::Open;
        };
        let before = run.bytes();
        let fate = act(run, &self.settings);
        self.bytes = (self.bytes + run.bytes()).saturating_sub(before);
        self.wishes.extend(run.take_wish());
        if fate == Fate::Sealed {
            self.forget(slot);
        }
        fate
    }

    fn forget(&mut self, slot: RunSlot) {
        let Some(mut run) = self.slots.get_mut(slot as usize).and_then(Option::take) else {
            return;
        };
        self.bytes = self.bytes.saturating_sub(run.bytes());
        self.free.push(slot);
        let limits = &self.settings.limits;
        if let Some(owed) = run.take_owed() {
            self.debts.owe(*owed, limits);
        }
        let meta = run.meta();
        self.by_trace.remove(&meta.trace_id);
        self.sealed
            .add(meta.trace_id, run.start(), limits.sealed_runs_max);
        let workflow = (meta.project, Arc::clone(&meta.workflow));
        if let Some(open) = self.by_workflow.get_mut(&workflow) {
            open.retain(|other| *other != slot);
            if open.is_empty() {
                self.by_workflow.remove(&workflow);
            }
        }
    }

    fn abandon(&mut self, slot: RunSlot, out: &mut Vec<Output>) {
        self.with(slot, |run, settings| {
            run.close(RunOutcome::Abandoned, settings, out);
            Fate::Sealed
        });
    }

    /// The open runs, in the order of their starts.
    fn open_slots(&self) -> Vec<RunSlot> {
        let mut open: Vec<(Time, TraceId, RunSlot)> = (0..)
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

    /// The trace of a run that has an id.
    fn trace_named(&self, run: &RunRef<'_>) -> Option<TraceId> {
        let id = run.id.as_deref()?;
        Some(self.trace_of(id, run))
    }

    fn trace_of(&self, run_id: &str, run: &RunRef<'_>) -> TraceId {
        let epoch = run.epoch.as_deref().unwrap_or_default();
        run_trace_id(run_id, &self.source, epoch, run.project)
    }
}

enum Found {
    Open(RunSlot),
    New,
    Sealed,
    None,
}
