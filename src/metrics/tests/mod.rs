//! The registry as a whole: deltas in, the page out.

mod bounds;
mod deltas;
mod export;
mod oldest;
mod snapshot;
mod store;

use std::sync::Arc;
use std::time::Duration;

use prometheus::proto::{Metric, MetricType};

use super::catalogue::CostBasis;
use super::delta::{Delta, Deltas, ModelTokens, RunSlot};
use super::{Metrics, Settings};
use crate::limits::Limits;
use crate::run::finished::{RunMeta, Verified};
use crate::run::standing::{Standing, WaitKind, Waits};
use crate::wire::event::{NodeOutcome, RunOutcome};
use crate::wire::time::Time;

const TYPES: &[&str] = &["WorkflowStart", "TaskEnd", "unknown"];

/// When all runs start, unless something else is said.
const START: Time = Time(1_700_000_000_000_000_000);

/// Metrics, and the time that passes for them.
struct Bench {
    metrics: Metrics,
    now: Time,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::new(&Limits::default(), &["akribes"]);
        change(&mut settings);
        Self {
            metrics: Metrics::new(&settings).unwrap(),
            now: START,
        }
    }

    fn pass(&mut self, days: u64) {
        self.now = self.now.plus(Duration::from_secs(days * 86_400));
    }

    fn say(&mut self, delta: Delta) {
        let deltas = Deltas {
            in_order: vec![delta],
            ..Deltas::default()
        };
        self.metrics.apply(&deltas, TYPES, self.now);
    }

    fn start(&mut self, run: RunSlot, workflow: &str) {
        self.say(started(run, Some(1), workflow));
    }

    /// The value of the line that begins so, if there is one.
    fn value(&self, line: &str) -> Option<f64> {
        let text = self.metrics.text();
        let rest = text
            .lines()
            .find_map(|l| l.strip_prefix(line)?.strip_prefix(' '))?;
        Some(rest.parse().unwrap())
    }

    #[track_caller]
    fn expect(&self, lines: &[(&str, f64)]) {
        for (line, value) in lines {
            let line = format!("runtrail_{line}");
            assert_eq!(
                self.value(&line),
                Some(*value),
                "{line}\n{}",
                self.metrics.text()
            );
        }
    }

    /// The series on the page.
    fn series(&self) -> usize {
        let text = self.metrics.text();
        text.lines().filter(|line| !line.starts_with('#')).count()
    }

    /// What all series of a metric say together; a histogram says its count.
    fn total(&self, metric: &str, which: impl Fn(&Metric) -> bool) -> f64 {
        self.metrics
            .gather()
            .iter()
            .filter(|family| family.name() == format!("runtrail_{metric}"))
            .flat_map(|family| {
                let kind = family.get_field_type();
                family.get_metric().iter().map(move |m| (kind, m))
            })
            .filter(|(_, metric)| which(metric))
            .map(|(kind, metric)| match kind {
                MetricType::HISTOGRAM => metric.get_histogram().get_sample_count() as f64,
                MetricType::GAUGE => metric.get_gauge().get_value(),
                _ => metric.get_counter().get_value(),
            })
            .sum()
    }
}

fn label<'a>(metric: &'a Metric, name: &str) -> &'a str {
    let pair = metric.get_label().iter().find(|pair| pair.name() == name);
    pair.map_or("", |pair| pair.value())
}

fn is_other(metric: &Metric) -> bool {
    metric.get_label().iter().any(|p| p.value() == super::OTHER)
}

fn started(run: RunSlot, project: Option<i64>, workflow: &str) -> Delta {
    let meta = RunMeta {
        trace_id: [7; 16],
        system: "akribes",
        source: "test".into(),
        project,
        workflow: Arc::from(workflow),
        run_id: Arc::from("exec-99"),
    };
    Delta::RunStarted {
        run,
        meta: Arc::new(meta),
        start: START,
    }
}

/// A run has waited for these since then.
fn waits(run: RunSlot, since: &[(WaitKind, Time)]) -> Delta {
    let mut waits = Waits::default();
    for (kind, since) in since {
        waits.add(*kind, *since);
    }
    let start = START;
    Delta::RunStands {
        run,
        standing: Standing { start, waits },
    }
}

/// A run waits for a person, or for nobody.
fn waiting(run: RunSlot, waiting: bool) -> Delta {
    let person = [(WaitKind::Person, START)];
    waits(run, if waiting { &person } else { &[] })
}

fn finished(run: RunSlot, outcome: RunOutcome, error_type: Option<&str>) -> Delta {
    Delta::RunFinished {
        run,
        outcome,
        error_type: error_type.map(Arc::from),
        duration: Duration::from_secs(7),
        tasks_passed: 3,
        tasks_failed: 2,
        verified: Verified::Match,
        exemplar: None,
    }
}

fn task(run: RunSlot, name: &str, outcome: NodeOutcome) -> Delta {
    Delta::TaskFinished {
        run,
        task: Arc::from(name),
        outcome,
        duration: Duration::from_millis(300),
        attempts: 2,
        validation_failures: 1,
        escalated: true,
        cached: false,
        tokens: Some(tokens("openai", "gpt-5")),
        time_to_first_chunk: Some(Duration::from_millis(50)),
        time_per_output_token: Some(Duration::from_millis(100)),
        exemplar: None,
    }
}

fn tokens(provider: &str, model: &str) -> ModelTokens {
    ModelTokens {
        provider: Arc::from(provider),
        model: Arc::from(model),
        input: 100,
        output: 20,
        cache_read: 40,
        cache_write: 5,
        reasoning: 7,
    }
}

fn cost(run: RunSlot, model: &str, basis: CostBasis, usd: f64) -> Delta {
    Delta::Cost {
        run,
        provider: Arc::from("openai"),
        model: Arc::from(model),
        basis,
        usd,
    }
}

fn tool(run: RunSlot, server: &str, name: &str, outcome: NodeOutcome) -> Delta {
    Delta::ToolFinished {
        run,
        server: Arc::from(server),
        tool: Arc::from(name),
        outcome,
        duration: Duration::from_millis(20),
        exemplar: None,
    }
}
