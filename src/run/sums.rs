//! The sums of one run: what its summary says, and what is held against the
//! server's own totals.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::finished::{FinishedNode, RunMeta, Verified};
use super::summary::{Cost, Durations, ErrorSummary, ModelTokens, RunSummary, TaskCounts, millis};
use crate::wire::event::{Fault, NodeKind, NodeOutcome, RunOutcome, Totals, Usage};
use crate::wire::time::Time;

/// The name that stands for all names beyond the bound.
const OTHER: &str = "__other__";

/// What a run's tasks add up to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Sums {
    /// Durations of top-level tasks, in whole milliseconds each.
    per_task_ms: BTreeMap<Arc<str>, u64>,
    /// Whether the latest end of a top-level task was a success.
    passed: BTreeMap<Arc<str>, bool>,
    /// Tokens of top-level tasks, in and out together.
    by_model: BTreeMap<Arc<str>, u64>,
    usage_seen: bool,
    mock_seen: bool,
    /// Everything, sub-runs and what was told twice included.
    all: Counted,
    /// The same since the server last began this run.
    this_life: Counted,
    tokens: BTreeMap<(Arc<str>, Arc<str>), ModelTokens>,
}

/// What can be held against the server's totals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counted {
    input: u64,
    output: u64,
    cache_read: u64,
    reasoning: u64,
    tasks: u64,
}

impl Counted {
    const fn add(&mut self, usage: &Usage<'_>) {
        self.input = self.input.saturating_add(usage.input_tokens);
        self.output = self.output.saturating_add(usage.output_tokens);
        self.cache_read = self.cache_read.saturating_add(usage.cache_read_tokens);
        self.reasoning = self.reasoning.saturating_add(usage.reasoning_tokens);
    }
}

/// What the end of a run adds to its sums.
pub(super) struct Closing<'a> {
    pub(super) start: Time,
    pub(super) end: Time,
    pub(super) outcome: RunOutcome,
    pub(super) error: Option<&'a Fault<'static>>,
    pub(super) output: Option<&'a str>,
    pub(super) totals: Option<Totals>,
}

impl Sums {
    /// The server began the run again.
    pub(super) fn restart(&mut self) {
        self.this_life = Counted::default();
    }

    /// Counts the end of a task or model call. What it told of its usage, if that
    /// is not what counts, is what the server adds up.
    pub(super) fn add(
        &mut self,
        node: &FinishedNode,
        told: Option<&Usage<'_>>,
        top_level: bool,
        names_max: usize,
    ) {
        if node.kind == NodeKind::Task {
            for counted in [&mut self.all, &mut self.this_life] {
                counted.tasks += 1;
            }
            if top_level {
                let ms = millis(node.duration.unwrap_or_default());
                let sum = entry(&mut self.per_task_ms, &node.name, names_max);
                *sum = sum.saturating_add(ms);
                *entry(&mut self.passed, &node.name, names_max) =
                    node.outcome == NodeOutcome::Success;
            }
        }
        if let Some(told) = told.or(node.usage.as_ref()) {
            for counted in [&mut self.all, &mut self.this_life] {
                counted.add(told);
            }
        }
        let Some(usage) = &node.usage else { return };
        let model: Arc<str> = Arc::from(&*usage.model);
        if top_level {
            self.usage_seen = true;
            self.mock_seen |= usage.provider == "mock";
            let both = usage.input_tokens.saturating_add(usage.output_tokens);
            let sum = entry(&mut self.by_model, &model, names_max);
            *sum = sum.saturating_add(both);
        }
        let mut key = (Arc::from(&*usage.provider), model);
        if !self.tokens.contains_key(&key) && self.tokens.len() >= names_max {
            key = (Arc::from(OTHER), Arc::from(OTHER));
        }
        let sums = self
            .tokens
            .entry(key)
            .or_insert_with_key(|(provider, model)| ModelTokens {
                provider: Arc::clone(provider),
                model: Arc::clone(model),
                input: 0,
                output: 0,
                cache_read: 0,
                cache_write: 0,
                reasoning: 0,
            });
        for (sum, part) in [
            (&mut sums.input, usage.input_tokens),
            (&mut sums.output, usage.output_tokens),
            (&mut sums.cache_read, usage.cache_read_tokens),
            (&mut sums.cache_write, usage.cache_write_tokens),
            (&mut sums.reasoning, usage.reasoning_tokens),
        ] {
            *sum = sum.saturating_add(part);
        }
    }

    /// What they hold, roughly.
    pub(super) fn bytes(&self) -> usize {
        const ENTRY_BYTES: usize = 128;
        let names = self.per_task_ms.len() + self.passed.len() + self.by_model.len();
        (names + 2 * self.tokens.len()) * ENTRY_BYTES
    }

    /// Whether the server's totals agree. Some servers count a run that was
    /// begun again from its beginning, some from its last one.
    pub(super) fn verify(&self, totals: Option<Totals>) -> Verified {
        let Some(totals) = totals else {
            return Verified::Unchecked;
        };
        if totals.is_unfilled() && self.all.tasks > 0 {
            return Verified::Unchecked;
        }
        let theirs = Counted {
            input: totals.input_tokens,
            output: totals.output_tokens,
            cache_read: totals.cache_read_tokens,
            reasoning: totals.reasoning_tokens,
            tasks: totals.tasks,
        };
        if theirs == self.all || theirs == self.this_life {
            Verified::Match
        } else {
            Verified::Mismatch
        }
    }

    /// How the tasks ended so far, by name.
    pub(super) fn tasks(&self) -> TaskCounts {
        let passed = self.passed.values().filter(|passed| **passed).count() as u64;
        let total = self.passed.len() as u64;
        TaskCounts {
            passed,
            failed: total - passed,
            total,
        }
    }

    /// Tokens in and out so far, sub-runs included.
    pub(super) fn tokens(&self) -> (u64, u64) {
        let models = self.tokens.values();
        models.fold((0, 0), |(input, output), model| {
            (
                input.saturating_add(model.input),
                output.saturating_add(model.output),
            )
        })
    }

    /// The summary of the run.
    pub(super) fn summary(&self, meta: &RunMeta, closing: &Closing<'_>) -> RunSummary {
        let told_usd = closing.totals.map_or(0.0, |totals| totals.cost_usd);
        RunSummary {
            execution_id: Arc::clone(&meta.run_id),
            trace_id: meta.trace_id,
            output: closing
                .output
                .and_then(|json| RawValue::from_string(json.to_owned()).ok()),
            cost: (self.usage_seen && !self.mock_seen).then(|| Cost {
                total_usd: told_usd,
                by_model: self.by_model.clone(),
            }),
            duration: Durations {
                total_ms: millis(closing.end.since(closing.start)),
                per_task_ms: self.per_task_ms.clone(),
            },
            tasks: self.tasks(),
            system: meta.system,
            project: meta.project,
            workflow: Arc::clone(&meta.workflow),
            outcome: closing.outcome.as_str(),
            error: closing.error.map(|fault| ErrorSummary {
                error_type: fault.error_type().to_owned(),
                message: fault.message.clone().into_owned(),
            }),
            started_at: closing.start,
            finished_at: Some(closing.end),
            tokens: self.tokens.values().cloned().collect(),
            verified: self.verify(closing.totals).as_str(),
        }
    }
}

/// The value of a name, or of all names together that are beyond the bound.
fn entry<'m, V: Default>(
    map: &'m mut BTreeMap<Arc<str>, V>,
    name: &Arc<str>,
    names_max: usize,
) -> &'m mut V {
    if map.len() >= names_max && !map.contains_key(name) {
        return map.entry(Arc::from(OTHER)).or_default();
    }
    map.entry(Arc::clone(name)).or_default()
}
