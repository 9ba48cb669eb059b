//! The series of one workflow: what its runs feed, with the look-ups behind it.
//!
//! Series are looked up once and kept here. What is kept is not removed from
//! the page meanwhile: it either has this scope's run labels, and those stay
//! while one of its runs is open, or its room is set aside, and it stays for
//! ever. When series were removed anywhere, everything is looked up anew at the
//! next start of a run, so that what found no room before gets its chance.

use std::array;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;

use super::bounded::{Bounded, RunKey, run_key};
use super::catalogue::{
    CostBasis, DIRECTIONS, FreeLabel, Id, RUN_STATES, TASK_RESULTS, TOKEN_DETAILS, WAIT_KINDS,
};
use super::delta::{Delta, Exemplar, ModelTokens};
use super::family::{Key, Series};
use super::space::{OTHER_ID, ValueId};
use crate::wire::event::{NodeOutcome, RunOutcome};
use crate::wire::time::Time;

/// One workflow of one project, or what stands in for those without room.
pub(super) struct Scope {
    key: RunKey,
    /// How many of its runs are open.
    pub(super) open: usize,
    /// When one of them last started or ended.
    pub(super) used: Time,
    /// The state of the registry in which the series below were looked up.
    generation: u64,
    runs: RunSeries,
    // A value that got nothing of its own is not held, so its number may pass
    // to another name; that one then goes to `__other__` with it, until the
    // next look-up. So these are bounded by the values of their labels.
    tasks: FxHashMap<ValueId, TaskSeries>,
    models: FxHashMap<[ValueId; 2], ModelSeries>,
    tools: FxHashMap<[ValueId; 2], ToolSeries>,
}

struct RunSeries {
    started: Arc<Series>,
    finished: [Arc<Series>; RunOutcome::ALL.len()],
    open: [Arc<Series>; RUN_STATES.len()],
    tasks: [Arc<Series>; TASK_RESULTS.len()],
}

struct TaskSeries {
    finished: [Arc<Series>; NodeOutcome::ALL.len()],
    duration: Arc<Series>,
    attempts: Arc<Series>,
    validation_failures: Arc<Series>,
    escalations: Arc<Series>,
    cache_hits: Arc<Series>,
}

struct ModelSeries {
    tokens: [Arc<Series>; DIRECTIONS.len()],
    details: [Arc<Series>; TOKEN_DETAILS.len()],
}

struct ToolSeries {
    calls: [Arc<Series>; NodeOutcome::ALL.len()],
}

impl Scope {
    /// The series that every workflow has from its first run on. Room for all
    /// of them, or the run goes to `__other__` as a whole.
    pub(super) fn starting(key: RunKey) -> impl Iterator<Item = (Id, Key)> {
        let closed =
            |id, count: usize| (0..count).map(move |value| (id, run_key(key, &[value as ValueId])));
        closed(Id::RunsFinished, RunOutcome::ALL.len())
            .chain(closed(Id::RunsOpen, RUN_STATES.len()))
            .chain(closed(Id::RunTasks, TASK_RESULTS.len()))
            .chain([Id::RunsStarted, Id::RunsOpenOldest].map(|id| (id, run_key(key, &[]))))
    }

    /// A scope with its series at zero.
    pub(super) fn new(key: RunKey, generation: u64, bounded: &mut Bounded, now: Time) -> Self {
        for (label, value) in labels(key) {
            bounded.hold(label, value);
        }
        Self {
            key,
            open: 0,
            used: now,
            generation,
            runs: RunSeries::new(key, bounded, now),
            tasks: FxHashMap::default(),
            models: FxHashMap::default(),
            tools: FxHashMap::default(),
        }
    }

    /// Looks everything up anew if series were removed since.
    pub(super) fn renew(&mut self, generation: u64, bounded: &mut Bounded, now: Time) {
        self.used = self.used.max(now);
        // The series of runs are as young as the scope, so they stay as long as it does.
        self.runs.started.touch(now);
        if self.generation == generation {
            return;
        }
        self.generation = generation;
        self.runs = RunSeries::new(self.key, bounded, now);
        self.tasks.clear();
        self.models.clear();
        self.tools.clear();
    }

    /// Ends the scope.
    pub(super) fn close(self, bounded: &mut Bounded) {
        for (label, value) in labels(self.key) {
            bounded.let_go(label, value);
        }
    }

    /// A run started.
    pub(super) fn run_started(&mut self, now: Time) {
        self.open += 1;
        self.runs.started.add(1, now);
        self.runs.open[0].shift(1.0, now);
    }

    /// A run that started in another process goes on.
    pub(super) fn run_goes_on(&mut self, waiting: bool, now: Time) {
        self.open += 1;
        self.runs.open[usize::from(waiting)].shift(1.0, now);
    }

    /// A run started or stopped to wait. The seconds of all kinds of waits
    /// start at zero then, so that the first wait's end is an increase.
    pub(super) fn run_waiting(&mut self, waiting: bool, bounded: &mut Bounded, now: Time) {
        let (from, to) = if waiting { (0, 1) } else { (1, 0) };
        self.runs.open[from].shift(-1.0, now);
        self.runs.open[to].shift(1.0, now);
        if waiting {
            for kind in 0..WAIT_KINDS.len() {
                bounded.series(Id::RunWait, run_key(self.key, &[kind as ValueId]), now);
            }
        }
    }

    /// A run is open no more; how it ended is told elsewhere.
    pub(super) fn run_gone(&mut self, waiting: bool, now: Time) {
        self.open = self.open.saturating_sub(1);
        self.used = self.used.max(now);
        self.runs.open[usize::from(waiting)].shift(-1.0, now);
    }

    /// Something happened in one of its open runs.
    pub(super) fn apply(&mut self, delta: &Delta, bounded: &mut Bounded, now: Time) {
        match delta {
            Delta::TaskStarted { task, .. } => self.task_series(task, bounded, now, |_| {}),
            Delta::TaskFinished { .. } => self.task_finished(delta, bounded, now),
            Delta::ToolFinished {
                server,
                tool,
                outcome,
                duration,
                exemplar,
                ..
            } => {
                let took = (*duration, *exemplar);
                self.tool_finished([server, tool], *outcome, took, bounded, now);
            }
            Delta::WaitFinished { kind, duration, .. } => {
                bounded
                    .series(Id::RunWait, run_key(self.key, &[*kind as ValueId]), now)
                    .add_sum(duration.as_secs_f64(), now);
            }
            Delta::Cost {
                provider,
                model,
                basis,
                usd,
                ..
            } => self.of_model(
                Id::Cost,
                [provider, model],
                Some(*basis),
                bounded,
                now,
                |s| {
                    s.add_sum(*usd, now);
                },
            ),
            Delta::TokensUnpriced {
                provider,
                model,
                tokens,
                ..
            } => self.of_model(
                Id::TokensUnpriced,
                [provider, model],
                None,
                bounded,
                now,
                |s| {
                    s.add(*tokens, now);
                },
            ),
            Delta::RunFinished { .. } => self.run_finished(delta, bounded, now),
            _ => {}
        }
    }

    /// Something is said of a model once a run, which is too rare to keep its series.
    fn of_model(
        &self,
        id: Id,
        model: [&str; 2],
        basis: Option<CostBasis>,
        bounded: &mut Bounded,
        now: Time,
        say: impl FnOnce(&Series),
    ) {
        let [provider, model] = admit_model(model, bounded);
        let values = [
            Some(provider),
            Some(model),
            basis.map(|basis| basis as ValueId),
        ];
        let values: Vec<_> = values.into_iter().flatten().collect();
        say(&bounded.series(id, run_key(self.key, &values), now));
        bounded.drop_unused(FreeLabel::Provider, provider);
        bounded.drop_unused(FreeLabel::Model, model);
    }

    fn run_finished(&mut self, delta: &Delta, bounded: &mut Bounded, now: Time) {
        let Delta::RunFinished {
            outcome,
            error_type,
            duration,
            tasks_passed,
            tasks_failed,
            exemplar,
            ..
        } = delta
        else {
            return;
        };
        let place = *outcome as usize;
        self.runs.finished[place].add(1, now);
        if *outcome != RunOutcome::Success {
            self.runs.finished[place].show(*exemplar, 1.0, now);
        }
        self.runs.tasks[0].add(*tasks_passed, now);
        self.runs.tasks[1].add(*tasks_failed, now);
        bounded
            .series(Id::RunDuration, run_key(self.key, &[place as ValueId]), now)
            .observe_shown(*duration, *exemplar, now);
        // A run that somebody stopped, or that nobody knows of, made no error.
        if matches!(outcome, RunOutcome::Error | RunOutcome::Timeout) {
            let text = error_type.as_deref().filter(|e| !e.is_empty());
            let value = bounded.admit(FreeLabel::ErrorType, text.unwrap_or("_OTHER"));
            let errors = bounded.series(Id::RunErrors, run_key(self.key, &[value]), now);
            errors.add(1, now);
            errors.show(*exemplar, 1.0, now);
            bounded.drop_unused(FreeLabel::ErrorType, value);
        }
    }

    fn task_finished(&mut self, delta: &Delta, bounded: &mut Bounded, now: Time) {
        let Delta::TaskFinished {
            task,
            outcome,
            duration,
            attempts,
            validation_failures,
            escalated,
            cached,
            tokens,
            time_to_first_chunk,
            time_per_output_token,
            exemplar,
            ..
        } = delta
        else {
            return;
        };
        self.task_series(task, bounded, now, |series| {
            let finished = &series.finished[*outcome as usize];
            finished.add(1, now);
            if matches!(outcome, NodeOutcome::Failed | NodeOutcome::Unable) {
                finished.show(*exemplar, 1.0, now);
            }
            series.duration.observe_shown(*duration, *exemplar, now);
            series.attempts.add(*attempts, now);
            series.validation_failures.add(*validation_failures, now);
            if *validation_failures > 0 {
                let count = *validation_failures as f64;
                series.validation_failures.show(*exemplar, count, now);
            }
            series.escalations.add(u64::from(*escalated), now);
            series.cache_hits.add(u64::from(*cached), now);
        });
        if let Some(tokens) = tokens {
            let times = [
                (
                    Id::TimeToFirstChunk,
                    time_to_first_chunk.filter(|_| !cached),
                ),
                (Id::TimePerOutputToken, *time_per_output_token),
            ];
            self.tokens_used(tokens, times, *exemplar, bounded, now);
        }
    }

    /// Does something with the series of a task, which are there from now on.
    fn task_series(
        &mut self,
        task: &str,
        bounded: &mut Bounded,
        now: Time,
        record: impl FnOnce(&TaskSeries),
    ) {
        let value = bounded.admit(FreeLabel::Task, task);
        record(
            self.tasks.entry(value).or_insert_with(|| {
                TaskSeries::new(value, &mut Lookup::new(self.key, bounded, now))
            }),
        );
        bounded.drop_unused(FreeLabel::Task, value);
    }

    fn tokens_used(
        &mut self,
        tokens: &ModelTokens,
        times: [(Id, Option<Duration>); 2],
        exemplar: Option<Exemplar>,
        bounded: &mut Bounded,
        now: Time,
    ) {
        let model = admit_model([&tokens.provider, &tokens.model], bounded);
        let record = |series: &ModelSeries| {
            series.tokens[0].add(tokens.input, now);
            series.tokens[1].add(tokens.output, now);
            series.details[0].add(tokens.cache_read, now);
            series.details[1].add(tokens.cache_write, now);
            series.details[2].add(tokens.reasoning, now);
        };
        record(
            self.models.entry(model).or_insert_with(|| {
                ModelSeries::new(model, &mut Lookup::new(self.key, bounded, now))
            }),
        );
        for (id, time) in times {
            if let Some(time) = time {
                let series = bounded.series(id, run_key(self.key, &model), now);
                series.observe_shown(time, exemplar, now);
            }
        }
        bounded.drop_unused(FreeLabel::Provider, model[0]);
        bounded.drop_unused(FreeLabel::Model, model[1]);
    }

    fn tool_finished(
        &mut self,
        [server, tool]: [&str; 2],
        outcome: NodeOutcome,
        (duration, exemplar): (Duration, Option<Exemplar>),
        bounded: &mut Bounded,
        now: Time,
    ) {
        let server = bounded.admit(FreeLabel::Server, server);
        let tool = bounded.admit(FreeLabel::Tool, tool);
        let place = outcome as usize;
        let series = self.tools.entry([server, tool]).or_insert_with(|| {
            ToolSeries::new([server, tool], &mut Lookup::new(self.key, bounded, now))
        });
        series.calls[place].add(1, now);
        if outcome == NodeOutcome::Failed {
            series.calls[place].show(exemplar, 1.0, now);
        }
        // Fifteen series an outcome: they come with the first call that ends so.
        bounded
            .series(
                Id::ToolDuration,
                run_key(self.key, &[server, tool, place as ValueId]),
                now,
            )
            .observe_shown(duration, exemplar, now);
        bounded.drop_unused(FreeLabel::Server, server);
        bounded.drop_unused(FreeLabel::Tool, tool);
    }
}

/// Look-ups that belong together.
struct Lookup<'a> {
    run: RunKey,
    bounded: &'a mut Bounded,
    now: Time,
}

impl<'a> Lookup<'a> {
    fn new(run: RunKey, bounded: &'a mut Bounded, now: Time) -> Self {
        Self { run, bounded, now }
    }

    fn one(&mut self, id: Id, values: &[ValueId]) -> Arc<Series> {
        self.bounded.series(id, run_key(self.run, values), self.now)
    }
}

impl RunSeries {
    fn new(key: RunKey, bounded: &mut Bounded, now: Time) -> Self {
        let mut lookup = Lookup::new(key, bounded, now);
        Self {
            started: lookup.one(Id::RunsStarted, &[]),
            finished: array::from_fn(|i| lookup.one(Id::RunsFinished, &[i as ValueId])),
            open: array::from_fn(|i| lookup.one(Id::RunsOpen, &[i as ValueId])),
            tasks: array::from_fn(|i| lookup.one(Id::RunTasks, &[i as ValueId])),
        }
    }
}

impl TaskSeries {
    fn new(task: ValueId, lookup: &mut Lookup<'_>) -> Self {
        Self {
            finished: array::from_fn(|i| lookup.one(Id::TasksFinished, &[task, i as ValueId])),
            duration: lookup.one(Id::TaskDuration, &[task]),
            attempts: lookup.one(Id::TaskAttempts, &[task]),
            validation_failures: lookup.one(Id::ValidationFailures, &[task]),
            escalations: lookup.one(Id::TaskEscalations, &[task]),
            cache_hits: lookup.one(Id::TaskCacheHits, &[task]),
        }
    }
}

impl ModelSeries {
    fn new([provider, model]: [ValueId; 2], lookup: &mut Lookup<'_>) -> Self {
        // What it costs is told at the run's end, and is an increase then.
        for basis in CostBasis::ALL {
            lookup.one(Id::Cost, &[provider, model, basis as ValueId]);
        }
        lookup.one(Id::TokensUnpriced, &[provider, model]);
        Self {
            tokens: array::from_fn(|i| lookup.one(Id::Tokens, &[provider, model, i as ValueId])),
            // What was read from a cache or written to it went in; reasoning came out.
            details: array::from_fn(|i| {
                let direction = ValueId::from(i == 2);
                lookup.one(
                    Id::TokenDetails,
                    &[provider, model, direction, i as ValueId],
                )
            }),
        }
    }
}

impl ToolSeries {
    fn new([server, tool]: [ValueId; 2], lookup: &mut Lookup<'_>) -> Self {
        Self {
            calls: array::from_fn(|i| lookup.one(Id::ToolCalls, &[server, tool, i as ValueId])),
        }
    }
}

fn admit_model([provider, model]: [&str; 2], bounded: &mut Bounded) -> [ValueId; 2] {
    [
        bounded.admit(FreeLabel::Provider, or_unknown(provider)),
        bounded.admit(FreeLabel::Model, or_unknown(model)),
    ]
}

const fn or_unknown(name: &str) -> &str {
    if name.is_empty() { "unknown" } else { name }
}

fn labels([system, project, workflow]: RunKey) -> [(FreeLabel, ValueId); 3] {
    [
        (FreeLabel::System, system),
        (FreeLabel::Project, project),
        (FreeLabel::Workflow, workflow),
    ]
}

/// Where a run goes that finds no room: first its workflow, then its project.
pub(super) fn candidates([system, project, workflow]: RunKey) -> [RunKey; 3] {
    [
        [system, project, workflow],
        [system, project, OTHER_ID],
        [system, OTHER_ID, OTHER_ID],
    ]
}
