//! The registry: deltas go in, a page of metrics comes out.
//!
//! A workflow's known label sets are at zero from its first run on, a task's from
//! its first start, a model's and a tool's from their first end: so that
//! `increase()` sees the first failure. Two exceptions save room: the histograms by outcome come
//! with the first such outcome (their counters are there), and the seconds of
//! waits come when a run first waits.
//!
//! Which series a run feeds is decided when it starts and kept until it ends.

use std::sync::Arc;

use prometheus::Registry;
use prometheus::proto::MetricFamily;
use rustc_hash::FxHashMap;

use super::bounded::{Bounded, RunKey, Settings, key, run_key};
use super::catalogue::{
    CatalogueError, FreeLabel, GAP_CAUSES, Group, Id, PAUSE_REASONS, REPAIR_RESULTS,
};
use super::delta::{Delta, Deltas, RunSlot};
use super::export::{ExportCounts, RefusalReason, RequestResult};
use super::exposition::{Exposition, Form};
use super::family::Series;
use super::oldest::Oldest;
use super::scope::{Scope, candidates};
use super::snapshot::{MetricsSnapshot, NotRestored};
use super::space::ValueId;
use super::store::StoreStatus;
use crate::run::finished::{RunMeta, Verified};
use crate::run::standing::{Standing, WaitKind, Waits};
use crate::store::OutboxStatus;
use crate::wire::rejection::Rejection;
use crate::wire::time::Time;

/// All metrics of the program.
pub struct Metrics {
    bounded: Bounded,
    scopes: FxHashMap<RunKey, Scope>,
    /// Bounded by the table of open runs, whose places these are.
    open: FxHashMap<RunSlot, OpenRun>,
    open_oldest: Oldest,
    waiting_oldest: Oldest,
    /// Rises when series were removed.
    generation: u64,
    own: OwnSeries,
    /// What was counted of the exporter so far.
    exported: ExportCounts,
    /// The same of the store.
    stored: StoreStatus,
    /// By dialect: the table of names, and a counter for each.
    events: Vec<(&'static [&'static str], Vec<Arc<Series>>)>,
}

struct OpenRun {
    scope: RunKey,
    standing: Standing,
}

/// The series without free labels, which stay for ever.
struct OwnSeries {
    chunk_events_thinned: Arc<Series>,
    verified: Vec<Arc<Series>>,
    rejected: Vec<Arc<Series>>,
    gaps: Vec<Arc<Series>>,
    repaired: Vec<Arc<Series>>,
    feed_delay: Arc<Series>,
    connected: Arc<Series>,
    reconnects: Arc<Series>,
    paused: Vec<Arc<Series>>,
    export_requests: Vec<Arc<Series>>,
    spans_exported: Arc<Series>,
    spans_refused: Vec<Arc<Series>>,
    outbox_bytes: Arc<Series>,
    outbox_limit_bytes: Arc<Series>,
    outbox_batches: Arc<Series>,
    store: StoreSeries,
}

struct StoreSeries {
    journal_bytes: Arc<Series>,
    journal_limit_bytes: Arc<Series>,
    suspended: Arc<Series>,
    quarantine_batches: Arc<Series>,
    quarantine_dropped: Arc<Series>,
    runs_owed: Arc<Series>,
    runs_given_up: Arc<Series>,
    redelivered: Arc<Series>,
    corrupt: Arc<Series>,
}

impl Metrics {
    /// A registry with the metrics of runs, feed, repair and build. The others
    /// are shown once the part that feeds them asks with [`Self::register`].
    pub fn new(settings: &Settings) -> Result<Self, CatalogueError> {
        let mut bounded = Bounded::new(settings)?;
        for group in [Group::Run, Group::Feed, Group::Repair, Group::Build] {
            bounded.register(group)?;
        }
        Ok(Self {
            own: OwnSeries::new(&mut bounded),
            bounded,
            scopes: FxHashMap::default(),
            open: FxHashMap::default(),
            open_oldest: Oldest::new(Id::RunsOpenOldest),
            waiting_oldest: Oldest::new(Id::RunsWaitingOldest),
            generation: 0,
            exported: ExportCounts::default(),
            stored: StoreStatus::default(),
            events: Vec::new(),
        })
    }

    /// All that was counted, to be counted on by another process.
    pub fn snapshot(&self) -> MetricsSnapshot {
        MetricsSnapshot::of(&self.bounded)
    }

    /// A registry that goes on from what another process counted, with these
    /// runs open, each of which stands so. Also tells what of it could not be
    /// taken over.
    pub fn restore(
        settings: &Settings,
        snapshot: &MetricsSnapshot,
        open: impl IntoIterator<Item = (RunSlot, Arc<RunMeta>, Standing)>,
        now: Time,
    ) -> Result<(Self, Vec<NotRestored>), CatalogueError> {
        let mut metrics = Self::new(settings)?;
        let missing = snapshot.restore(&mut metrics.bounded);
        for (run, meta, standing) in open {
            metrics.run_goes_on(run, &meta, standing, now);
        }
        Ok((metrics, missing))
    }

    /// Shows the metrics of one more part of the program, once.
    pub fn register(&mut self, group: Group) -> Result<(), CatalogueError> {
        self.bounded.register(group)
    }

    /// Counts what happened. `event_types` are the names of the dialect that
    /// the events came through.
    pub fn apply(&mut self, deltas: &Deltas, event_types: &'static [&'static str], now: Time) {
        self.count_events(&deltas.events_by_type, event_types, now);
        for (series, count) in self.own.rejected.iter().zip(deltas.rejected) {
            series.add(count, now);
        }
        self.own
            .chunk_events_thinned
            .add(deltas.chunk_events_thinned, now);
        self.own.spans_refused[RefusalReason::NotRebuilt as usize].add(deltas.spans_lost, now);
        for delta in &deltas.in_order {
            self.apply_one(delta, now);
        }
    }

    /// Tells a project's name. A project has one name: a new one takes the old one's place.
    pub fn set_project_info(&mut self, project: i64, name: &str, now: Time) {
        let project = self.bounded.admit(FreeLabel::Project, &project.to_string());
        self.bounded.hold(FreeLabel::Project, project);
        self.bounded
            .retain(Id::ProjectInfo, |key| key[0] != project);
        let name = self.bounded.admit(FreeLabel::ProjectName, name);
        self.bounded
            .series(Id::ProjectInfo, key(&[project, name]), now)
            .set(1.0, now);
        self.bounded.drop_unused(FreeLabel::ProjectName, name);
        self.bounded.let_go(FreeLabel::Project, project);
    }

    /// A registry like [`Self::new`] that tells the version of this program.
    pub fn of_this_build(settings: &Settings, now: Time) -> Result<Self, CatalogueError> {
        let mut metrics = Self::new(settings)?;
        metrics.set_build_info(env!("CARGO_PKG_VERSION"), now);
        Ok(metrics)
    }

    /// Tells this program's version.
    pub fn set_build_info(&mut self, version: &str, now: Time) {
        let version = self.bounded.admit(FreeLabel::Version, version);
        self.bounded
            .series(Id::BuildInfo, key(&[version]), now)
            .set(1.0, now);
    }

    /// Tells whether the feed is connected.
    pub fn set_source_connected(&mut self, connected: bool, now: Time) {
        self.own.connected.set(f64::from(u8::from(connected)), now);
    }

    /// Tells whether reading rests, for one of [`PAUSE_REASONS`].
    pub fn set_source_paused(&mut self, reason: &str, paused: bool, now: Time) {
        self.own.paused[place(&PAUSE_REASONS, reason)].set(f64::from(u8::from(paused)), now);
    }

    /// Counts a connection after the first one.
    pub fn source_reconnected(&mut self, now: Time) {
        self.own.reconnects.add(1, now);
    }

    /// Tells when the newest event arrived. Before the first one there is no such time.
    pub fn set_source_last_event(&mut self, at: Time, now: Time) {
        self.set_time(Id::SourceLastEvent, Some(at), now);
    }

    /// Tells how the exporter fares: its counts since the start of the program,
    /// and what waits for it. Shown once [`Group::Export`] is registered.
    pub fn apply_export(&mut self, counts: &ExportCounts, outbox: &OutboxStatus, now: Time) {
        let own = &self.own;
        let before = std::mem::replace(&mut self.exported, *counts);
        let requests = counts.requests.iter().zip(before.requests);
        for (series, (count, before)) in own.export_requests.iter().zip(requests) {
            series.add(count.saturating_sub(before), now);
        }
        let refused = counts.spans_refused.iter().zip(before.spans_refused);
        for (series, (count, before)) in own.spans_refused.iter().zip(refused) {
            series.add(count.saturating_sub(before), now);
        }
        let exported = counts.spans_exported.saturating_sub(before.spans_exported);
        own.spans_exported.add(exported, now);
        own.outbox_bytes.set(outbox.bytes as f64, now);
        own.outbox_limit_bytes.set(outbox.limit_bytes as f64, now);
        own.outbox_batches.set(outbox.batches as f64, now);
        self.set_time(Id::OutboxOldest, outbox.oldest, now);
        self.set_time(Id::ExportLastSuccess, counts.last_success, now);
    }

    /// Tells how the store fares. Shown once [`Group::Store`] is registered.
    pub fn apply_store(&mut self, status: &StoreStatus, now: Time) {
        let own = &self.own.store;
        let before = std::mem::replace(&mut self.stored, *status);
        for (series, count, before) in [
            (
                &own.quarantine_dropped,
                status.quarantine_dropped_batches,
                before.quarantine_dropped_batches,
            ),
            (
                &own.runs_given_up,
                status.runs_given_up,
                before.runs_given_up,
            ),
            (
                &own.redelivered,
                status.redelivered_batches,
                before.redelivered_batches,
            ),
            (&own.corrupt, status.corrupt_records, before.corrupt_records),
        ] {
            series.add(count.saturating_sub(before), now);
        }
        for (series, value) in [
            (&own.journal_bytes, status.journal_bytes),
            (&own.journal_limit_bytes, status.journal_limit_bytes),
            (&own.suspended, u64::from(status.suspended)),
            (&own.quarantine_batches, status.quarantine_batches),
            (&own.runs_owed, status.runs_owed),
        ] {
            series.set(value as f64, now);
        }
        self.set_time(
            Id::CheckpointLastSuccess,
            status.checkpoint_last_success,
            now,
        );
    }

    /// A time that there is not is not shown: zero would be long ago.
    fn set_time(&mut self, id: Id, time: Option<Time>, now: Time) {
        let series = self.bounded.series(id, key(&[]), now);
        series.set_time(time, now);
    }

    /// Removes series that were idle for too long and belong to no open run,
    /// which makes room for others, and tells how many.
    pub fn sweep(&mut self, now: Time) -> usize {
        let idle_max = self.bounded.idle_max();
        let idle: Vec<RunKey> = self
            .scopes
            .iter()
            .filter(|(_, scope)| scope.open == 0 && now.since(scope.used) > idle_max)
            .map(|(key, _)| *key)
            .collect();
        let scopes = &self.scopes;
        let removed = self.bounded.sweep(now, |run| {
            scopes.get(run).is_some_and(|scope| scope.open > 0)
        });
        // After their series: until here these hold the scopes' values.
        for key in idle {
            if let Some(scope) = self.scopes.remove(&key) {
                scope.close(&mut self.bounded);
            }
        }
        self.generation += u64::from(removed > 0);
        removed
    }

    fn apply_one(&mut self, delta: &Delta, now: Time) {
        match delta {
            Delta::RunStarted { run, meta, start } => self.run_started(*run, meta, *start, now),
            Delta::RunStands { run, standing } => self.run_stands(*run, *standing, now),
            Delta::TaskStarted { run, .. }
            | Delta::TaskFinished { run, .. }
            | Delta::ToolFinished { run, .. }
            | Delta::WaitFinished { run, .. }
            | Delta::Cost { run, .. }
            | Delta::TokensUnpriced { run, .. } => self.in_run(*run, delta, now),
            Delta::RunFinished { run, verified, .. } => {
                if self.open.contains_key(run) {
                    self.own.verified[*verified as usize].add(1, now);
                    self.in_run(*run, delta, now);
                    self.run_gone(*run, now);
                }
            }
            Delta::RunRepaired { result } => {
                self.own.repaired[place(&REPAIR_RESULTS, result)].add(1, now);
            }
            Delta::Gap { cause } => self.own.gaps[place(&GAP_CAUSES, cause)].add(1, now),
            Delta::FeedDelay(delay) => self.own.feed_delay.observe(*delay, now),
        }
    }

    fn run_started(&mut self, run: RunSlot, meta: &RunMeta, start: Time, now: Time) {
        // A place is free when a run takes it; if not, the gauge must not keep the old run.
        self.run_gone(run, now);
        let scope = self.scope_of(meta, now);
        if let Some(of_run) = self.scopes.get_mut(&scope) {
            of_run.run_started(now);
            let waits = Waits::default();
            self.run_opened(run, scope, Standing { start, waits }, now);
        }
    }

    fn run_goes_on(&mut self, run: RunSlot, meta: &RunMeta, standing: Standing, now: Time) {
        self.run_gone(run, now);
        let scope = self.scope_of(meta, now);
        if let Some(of_run) = self.scopes.get_mut(&scope) {
            of_run.run_goes_on(!standing.waits.is_empty(), now);
            self.run_opened(run, scope, standing, now);
        }
    }

    fn run_opened(&mut self, run: RunSlot, scope: RunKey, standing: Standing, now: Time) {
        self.open.insert(run, OpenRun { scope, standing });
        self.open_oldest.open(
            run_key(scope, &[]),
            standing.start,
            run,
            &mut self.bounded,
            now,
        );
        self.waits_changed(run, scope, [Waits::default(), standing.waits], now);
    }

    /// Since when an open run has been open, or has waited, is not what it was.
    fn run_stands(&mut self, run: RunSlot, standing: Standing, now: Time) {
        let Some(open) = self.open.get_mut(&run) else {
            return;
        };
        let scope = open.scope;
        let before = std::mem::replace(&mut open.standing, standing);
        if before.start != standing.start {
            let (key, bounded) = (run_key(scope, &[]), &mut self.bounded);
            self.open_oldest.close(key, before.start, run, bounded, now);
            self.open_oldest
                .open(key, standing.start, run, bounded, now);
        }
        let waiting = !standing.waits.is_empty();
        if waiting == before.waits.is_empty()
            && let Some(scope) = self.scopes.get_mut(&scope)
        {
            scope.run_waiting(waiting, &mut self.bounded, now);
        }
        self.waits_changed(run, scope, [before.waits, standing.waits], now);
    }

    /// The waits of a run were these, and are those.
    fn waits_changed(&mut self, run: RunSlot, scope: RunKey, [from, to]: [Waits; 2], now: Time) {
        let (oldest, bounded) = (&mut self.waiting_oldest, &mut self.bounded);
        for kind in WaitKind::ALL {
            let (from, to) = (from.since(kind), to.since(kind));
            if from == to {
                continue;
            }
            let key = run_key(scope, &[kind as ValueId]);
            if let Some(since) = from {
                oldest.close(key, since, run, bounded, now);
            }
            if let Some(since) = to {
                oldest.open(key, since, run, bounded, now);
            }
        }
    }

    fn run_gone(&mut self, run: RunSlot, now: Time) {
        let Some(open) = self.open.remove(&run) else {
            return;
        };
        let Standing { start, waits } = open.standing;
        let key = run_key(open.scope, &[]);
        self.open_oldest
            .close(key, start, run, &mut self.bounded, now);
        self.waits_changed(run, open.scope, [waits, Waits::default()], now);
        if let Some(scope) = self.scopes.get_mut(&open.scope) {
            scope.run_gone(!waits.is_empty(), now);
        }
    }

    fn in_run(&mut self, run: RunSlot, delta: &Delta, now: Time) {
        if let Some(open) = self.open.get(&run)
            && let Some(scope) = self.scopes.get_mut(&open.scope)
        {
            scope.apply(delta, &mut self.bounded, now);
        }
    }

    /// The scope that has room for this run; there is one when this returns.
    fn scope_of(&mut self, meta: &RunMeta, now: Time) -> RunKey {
        let project = meta.project.map(|id| id.to_string()).unwrap_or_default();
        let system = self.bounded.admit(FreeLabel::System, meta.system);
        let project = self.bounded.admit(FreeLabel::Project, &project);
        let workflow = self.bounded.admit(FreeLabel::Workflow, &meta.workflow);
        let [own, project_only, other] = candidates([system, project, workflow]);
        let key = [own, project_only]
            .into_iter()
            .find(|key| self.scopes.contains_key(key) || self.bounded.fits(Scope::starting(*key)))
            .unwrap_or(other);
        let scope = self
            .scopes
            .entry(key)
            .or_insert_with(|| Scope::new(key, self.generation, &mut self.bounded, now));
        scope.renew(self.generation, &mut self.bounded, now);
        self.bounded.drop_unused(FreeLabel::Project, project);
        self.bounded.drop_unused(FreeLabel::Workflow, workflow);
        key
    }

    fn count_events(&mut self, counts: &[u64], types: &'static [&'static str], now: Time) {
        let same = |names: &[&str]| std::ptr::eq(names, types) || names == types;
        let known = self.events.iter().position(|(names, _)| same(names));
        let known = known.unwrap_or_else(|| {
            let series = types
                .iter()
                .map(|t| event_series(&mut self.bounded, t, now));
            let series = series.collect();
            self.events.push((types, series));
            self.events.len() - 1
        });
        let (_, series) = &self.events[known];
        for (place, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            match series.get(place) {
                Some(series) => series.add(*count, now),
                None => event_series(&mut self.bounded, "unknown", now).add(*count, now),
            }
        }
    }

    /// All families that have series, by name, their series by label values.
    pub fn gather(&self) -> Vec<MetricFamily> {
        self.bounded.registry().gather()
    }

    /// The page in the classic text format.
    pub fn text(&self) -> String {
        self.exposition().text(Form::Classic, &[], 0)
    }

    /// What writes the page: a clone of it can be read in another thread.
    pub const fn exposition(&self) -> &Exposition {
        self.bounded.exposition()
    }

    /// The registry itself, for whoever has an encoder of his own. It knows no
    /// exemplars.
    pub const fn registry(&self) -> &Registry {
        self.bounded.registry()
    }
}

#[cfg(test)]
impl Metrics {
    /// Scopes, room and values of runs that are still in use.
    pub(super) fn leftovers(&self) -> (usize, usize, usize) {
        let (taken, values) = self.bounded.leftovers();
        (self.scopes.len(), taken, values)
    }
}

impl OwnSeries {
    fn new(bounded: &mut Bounded) -> Self {
        let mut all = |id, count: usize| -> Vec<Arc<Series>> {
            (0..count)
                .map(|value| bounded.series(id, key(&[value as ValueId]), Time::ZERO))
                .collect()
        };
        let verified = all(Id::RunsVerified, Verified::ALL.len());
        let rejected = all(Id::EventsRejected, Rejection::ALL.len());
        let gaps = all(Id::FeedGaps, GAP_CAUSES.len());
        let repaired = all(Id::RunsRepaired, REPAIR_RESULTS.len());
        let paused = all(Id::SourcePaused, PAUSE_REASONS.len());
        let export_requests = all(Id::ExportRequests, RequestResult::ALL.len());
        let spans_refused = all(Id::SpansRefused, RefusalReason::ALL.len());
        let mut one = |id| bounded.series(id, key(&[]), Time::ZERO);
        Self {
            chunk_events_thinned: one(Id::ChunkEventsThinned),
            feed_delay: one(Id::FeedDelay),
            connected: one(Id::SourceConnected),
            reconnects: one(Id::SourceReconnects),
            verified,
            rejected,
            gaps,
            repaired,
            paused,
            export_requests,
            spans_exported: one(Id::SpansExported),
            spans_refused,
            outbox_bytes: one(Id::OutboxBytes),
            outbox_limit_bytes: one(Id::OutboxLimitBytes),
            outbox_batches: one(Id::OutboxBatches),
            store: StoreSeries {
                journal_bytes: one(Id::JournalBytes),
                journal_limit_bytes: one(Id::JournalLimitBytes),
                suspended: one(Id::StoreSuspended),
                quarantine_batches: one(Id::QuarantineBatches),
                quarantine_dropped: one(Id::QuarantineDroppedBatches),
                runs_owed: one(Id::RunsOwed),
                runs_given_up: one(Id::RunsGivenUp),
                redelivered: one(Id::ExportRedeliveredBatches),
                corrupt: one(Id::StoreCorruptRecords),
            },
        }
    }
}

fn event_series(bounded: &mut Bounded, event_type: &str, now: Time) -> Arc<Series> {
    let value = bounded.admit(FreeLabel::EventType, event_type);
    let series = bounded.series(Id::Events, key(&[value]), now);
    bounded.drop_unused(FreeLabel::EventType, value);
    series
}

/// Where a text stands among the known ones; the last is for those that are not.
fn place(known: &[&str], text: &str) -> usize {
    let found = known.iter().position(|k| *k == text);
    found.unwrap_or(known.len().saturating_sub(1))
}
