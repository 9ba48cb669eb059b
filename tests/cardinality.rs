//! More workflows than anybody has, one after another through the core and its
//! metrics: the page stays in bounds, every run is counted, and what came too
//! late has its turn once there is room.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::fmt::Write as _;
use std::time::Duration;

use runtrail::core::Core;
use runtrail::limits::Limits;
use runtrail::metrics::{Metrics, Settings};
use runtrail::wire::time::Time;

use self::common::{core, end, run_id, start};

/// How many names there are, and how many runs of them there have been in the end.
/// `benches/scrape.rs` does the same with a million.
const NAMES: u32 = 50_000;
const RUNS: u32 = 100_000;

/// So many runs at once come in a frame. The bound on open runs is not what is tried.
const AT_ONCE: u32 = 200;

/// What is used beyond this once the names of ended runs have their room, 65,536
/// of them, is a leak: a workflow that was kept would take 200 bytes at least.
const GROWTH_BYTES_MAX: u64 = 4 << 20;

/// A core, its metrics, and the time that passes for them.
struct Beside {
    core: Core,
    metrics: Metrics,
    now: Time,
}

impl Beside {
    fn new(limits: &Limits) -> Self {
        Self {
            core: core(limits.clone(), false),
            metrics: Metrics::new(&Settings::new(limits, &["akribes"])).unwrap(),
            now: Time(1_778_149_422_000_000_000),
        }
    }

    /// These runs start and end, all at once.
    fn run(&mut self, runs: std::ops::Range<u32>) {
        let mut elements = String::new();
        for event in [start(), end()] {
            for run in runs.clone() {
                let (id, at) = (run_id(run), self.now.to_rfc3339());
                let workflow = run % NAMES;
                let comma = if elements.is_empty() { "" } else { "," };
                write!(
                    elements,
                    r#"{comma}{{"type":"Execution","payload":{{"project_id":1,"script_name":"workflow {workflow}","execution_id":"{id}","event":{event},"at":"{at}"}}}}"#
                )
                .unwrap();
            }
        }
        let frame = format!("event: batch\ndata: [{elements}]\n\n");
        self.core.handle_bytes(0, frame.as_bytes(), Some(self.now));
        while self.core.poll_batch().is_some() {}
        while self.core.poll_summary().is_some() {}
        let types = self.core.event_types();
        self.metrics.apply(self.core.deltas(), types, self.now);
        self.core.deltas().clear();
        assert_eq!(self.core.open_runs(), 0);
    }

    fn pass(&mut self, days: u64) {
        self.now = self.now.plus(Duration::from_secs(days * 86_400));
        self.metrics.sweep(self.now);
    }
}

/// The samples of a page.
fn samples(page: &str) -> impl Iterator<Item = &str> {
    page.lines().filter(|line| !line.starts_with('#'))
}

/// What the series of a metric say together whose labels hold this text.
fn sum(page: &str, metric: &str, labels: &str) -> f64 {
    let metric = format!("runtrail_{metric}{{");
    samples(page)
        .filter(|line| line.starts_with(&metric) && line.contains(labels))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}

/// What is resident of this process, in bytes.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() * 1024
}

/// Names that are bounded by their number, or by the series that they would make.
fn limits(label_values_max: usize) -> Limits {
    Limits {
        label_values_max,
        ..Limits::default()
    }
}

#[test]
fn a_hundred_thousand_runs_of_fifty_thousand_workflows_stay_in_bounds_and_all_count() {
    for label_values_max in [200, NAMES as usize] {
        let limits = limits(label_values_max);
        let mut beside = Beside::new(&limits);
        let mut resident = 0;
        for first in (0..RUNS).step_by(AT_ONCE as usize) {
            beside.run(first..first + AT_ONCE);
            if first + AT_ONCE == RUNS - 20_000 {
                resident = resident_bytes();
            }
        }
        let grown = resident_bytes().saturating_sub(resident);
        assert!(grown < GROWTH_BYTES_MAX, "{grown}");

        let page = beside.metrics.text();
        assert!(samples(&page).count() <= limits.metric_series_max);
        let names = page.matches("runs_started_total{").count() - 1;
        assert!((200..2_000).contains(&names), "{names}");
        let runs = f64::from(RUNS);
        for metric in ["runs_started_total", "runs_finished_total"] {
            assert_eq!(sum(&page, metric, ""), runs, "{metric}");
            let others = sum(&page, metric, r#"workflow="__other__""#);
            let overflow = format!("metric=\"runtrail_{metric}\"");
            assert!(others > 0.9 * runs);
            assert_eq!(sum(&page, "series_overflow_total", &overflow), others);
        }
        assert_eq!(sum(&page, "run_duration_seconds_count", ""), runs);
        assert_eq!(sum(&page, "runs_open", ""), 0.0);
        assert!(!page.contains("oldest_timestamp_seconds{"));
    }
}

#[test]
fn a_workflow_that_came_too_late_shows_once_the_others_are_idle() {
    for label_values_max in [200, NAMES as usize] {
        let mut beside = Beside::new(&limits(label_values_max));
        let late = r#"workflow="workflow 4999""#;
        for first in (0..5_000).step_by(AT_ONCE as usize) {
            beside.run(first..first + AT_ONCE);
        }
        let full = beside.metrics.text();
        assert!(!full.contains(late));
        beside.pass(8);
        let swept = beside.metrics.text();
        assert!(samples(&swept).count() < samples(&full).count() / 4);
        // What stands in for a project's workflows is as idle as these were.
        let all_other = r#"project="__other__",system="akribes",workflow="__other__""#;
        let left = sum(&swept, "runs_started_total", "");
        assert_eq!(left, sum(&full, "runs_started_total", all_other));
        // The same workflow in a run of its own.
        beside.run(NAMES + 4_999..NAMES + 5_000);
        let page = beside.metrics.text();
        assert_eq!(sum(&page, "runs_started_total", late), 1.0);
        assert_eq!(sum(&page, "runs_finished_total", late), 1.0);
        assert_eq!(sum(&page, "runs_started_total", ""), left + 1.0);
    }
}
