//! The bound on series holds, and nothing is lost at it.

use proptest::prelude::*;

use super::*;
use crate::metrics::catalogue::CatalogueError;

/// Random enough, and the same every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, max: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % max
    }
}

fn refused(max: usize) -> Option<CatalogueError> {
    let mut settings = Settings::new(&Limits::default(), &["akribes"]);
    settings.metric_series_max = max;
    Metrics::new(&settings).err()
}

/// The least bound that is not refused.
pub(super) fn least() -> usize {
    let Some(CatalogueError::TooFewSeries { least, .. }) = refused(10) else {
        panic!("10 series were enough");
    };
    least
}

#[test]
fn a_million_random_label_sets_never_exceed_the_bound_and_lose_nothing() {
    const SETS: u64 = 1_000_000;
    const RUNS: u32 = 50;
    let mut bench = Bench::with(|settings| settings.metric_series_max = 5_000);
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    let mut deltas = Deltas::default();
    let mut runs = 0u64;
    for set in 0..SETS {
        // Runs come and go, so that workflows are decided anew all the time.
        if set % 200 == 0 {
            let run = (runs % u64::from(RUNS)) as u32;
            if runs >= u64::from(RUNS) {
                let outcome = RunOutcome::ALL[numbers.below(5) as usize];
                let error = format!("E-{}", numbers.below(10_000));
                deltas.in_order.push(finished(run, outcome, Some(&error)));
            }
            let project = numbers.below(1_000) as i64;
            let workflow = format!("workflow {}", numbers.below(10_000));
            deltas.in_order.push(started(run, Some(project), &workflow));
            runs += 1;
        }
        let run = numbers.below(runs.min(u64::from(RUNS))) as u32;
        let outcome = NodeOutcome::ALL[numbers.below(4) as usize];
        let name = format!("name {}", numbers.below(1_000_000));
        if set % 4 > 0 {
            let server = format!("s{}", numbers.below(1_000));
            deltas.in_order.push(tool(run, &server, &name, outcome));
        } else {
            let mut delta = task(run, &name, outcome);
            if let Delta::TaskFinished { tokens: used, .. } = &mut delta {
                let provider = format!("p{}", numbers.below(1_000));
                let model = format!("m{}", numbers.below(1_000));
                *used = Some(tokens(&provider, &model));
            }
            deltas.in_order.push(delta);
        }
        if set % 50_000 == 0 {
            bench.metrics.apply(&deltas, TYPES, bench.now);
            deltas.clear();
            assert!(
                bench.series() <= 5_000,
                "{} series after {set}",
                bench.series()
            );
        }
    }
    bench.metrics.apply(&deltas, TYPES, bench.now);
    assert!(bench.series() <= 5_000);
    let tasks = SETS as f64 / 4.0;
    let tools = SETS as f64 - tasks;
    let runs = runs as f64;
    let any = |_: &Metric| true;
    assert_eq!(bench.total("tasks_finished_total", any), tasks);
    assert_eq!(bench.total("task_duration_seconds", any), tasks);
    assert_eq!(bench.total("task_attempts_total", any), 2.0 * tasks);
    assert_eq!(bench.total("time_to_first_chunk_seconds", any), tasks);
    assert_eq!(bench.total("tokens_total", any), 120.0 * tasks);
    assert_eq!(bench.total("token_details_total", any), 52.0 * tasks);
    assert_eq!(bench.total("tool_calls_total", any), tools);
    assert_eq!(bench.total("tool_duration_seconds", any), tools);
    assert_eq!(bench.total("runs_started_total", any), runs);
    assert_eq!(bench.total("runs_open", any), f64::from(RUNS));
    assert_eq!(
        bench.total("runs_finished_total", any),
        runs - f64::from(RUNS)
    );
    assert_eq!(
        bench.total("run_duration_seconds", any),
        runs - f64::from(RUNS)
    );
    // What overflowed is what stands in `__other__`, to the sample.
    for metric in [
        "runs_started_total",
        "tasks_finished_total",
        "task_duration_seconds",
        "tool_duration_seconds",
    ] {
        let others = bench.total(metric, is_other);
        let full = format!("runtrail_{metric}");
        let counted = bench.total("series_overflow_total", |m| label(m, "metric") == full);
        assert!(others > 0.0, "{metric}");
        assert_eq!(others, counted, "{metric}");
    }
}

#[test]
fn a_label_takes_its_values_over_all_workflows_together() {
    let mut bench = Bench::with(|settings| settings.label_values_max = 3);
    bench.start(0, "a");
    bench.start(1, "b");
    for (run, name) in [
        (0, "t1"),
        (1, "t2"),
        (0, "t3"),
        (1, "t1"),
        (1, "t4"),
        (0, "t5"),
    ] {
        bench.say(task(run, name, NodeOutcome::Success));
    }
    bench.expect(&[
        (
            r#"task_attempts_total{project="1",system="akribes",task="t1",workflow="b"}"#,
            2.0,
        ),
        (
            r#"task_attempts_total{project="1",system="akribes",task="__other__",workflow="b"}"#,
            2.0,
        ),
        (
            r#"task_attempts_total{project="1",system="akribes",task="__other__",workflow="a"}"#,
            2.0,
        ),
        (
            r#"series_overflow_total{metric="runtrail_task_attempts_total"}"#,
            2.0,
        ),
        (
            r#"series_overflow_total{metric="runtrail_runs_started_total"}"#,
            0.0,
        ),
    ]);
    assert!(!bench.metrics.text().contains("t4"));
}

#[test]
fn a_task_without_room_goes_to_its_own_workflows_other_where_there_is_one() {
    let fixed = {
        let bench = Bench::with(|_| {});
        let text = bench.metrics.text();
        text.lines()
            .filter(|line| line.starts_with("runtrail_series_overflow"))
            .count()
    };
    // Two workflows of 11 series each, six sets of 23 for tasks, and the types of events.
    let mut bench = Bench::with(|settings| {
        settings.metric_series_max = least() + fixed + TYPES.len() + 2 * 11 + 6 * 23;
        settings.label_values_max = 5;
    });
    bench.start(0, "a");
    bench.start(1, "b");
    let bare = |run, name: &str| {
        let mut delta = task(run, name, NodeOutcome::Success);
        if let Delta::TaskFinished { tokens, .. } = &mut delta {
            *tokens = None;
        }
        delta
    };
    for name in ["t1", "t2", "t3", "t4", "t5"] {
        bench.say(bare(1, name));
    }
    bench.say(bare(0, "t6"));
    bench.say(bare(0, "t1"));
    bench.start(2, "c");
    bench.say(bare(2, "t1"));
    bench.expect(&[
        (r#"task_duration_seconds_count{project="1",system="akribes",task="t1",workflow="b"}"#, 1.0),
        (r#"task_duration_seconds_count{project="1",system="akribes",task="__other__",workflow="a"}"#, 2.0),
        (r#"task_duration_seconds_count{project="__other__",system="akribes",task="__other__",workflow="__other__"}"#, 1.0),
    ]);
}

#[test]
fn names_that_got_no_series_hold_no_place_among_the_values() {
    let mut bench = Bench::with(|settings| settings.metric_series_max = least());
    bench.start(0, "w");
    for n in 0..300 {
        let name = format!("n{n}");
        bench.say(task(0, &name, NodeOutcome::Success));
        bench.say(tool(0, &name, &name, NodeOutcome::Success));
        bench.start(1, &name);
        bench.say(finished(1, RunOutcome::Error, Some(&name)));
    }
    let (_, taken, values) = bench.metrics.leftovers();
    assert_eq!((taken, values), (0, 0));
}

#[test]
fn a_workflow_without_room_is_other_and_its_project_stays() {
    let mut bench = Bench::with(|settings| settings.label_values_max = 1);
    bench.start(0, "a");
    bench.start(1, "b");
    bench.say(finished(1, RunOutcome::Success, None));
    bench.say(started(2, Some(2), "a"));
    bench.expect(&[
        (r#"runs_finished_total{outcome="success",project="1",system="akribes",workflow="__other__"}"#, 1.0),
        (r#"runs_open{project="1",state="running",system="akribes",workflow="__other__"}"#, 0.0),
        (r#"runs_started_total{project="__other__",system="akribes",workflow="a"}"#, 1.0),
    ]);
}

#[test]
fn a_system_that_is_not_configured_is_other_and_counted() {
    let mut bench = Bench::with(|settings| settings.systems = vec!["axon"]);
    bench.start(0, "a");
    bench.expect(&[(
        r#"runs_started_total{project="1",system="__other__",workflow="a"}"#,
        1.0,
    )]);
}

#[test]
fn a_bound_without_room_for_other_is_refused_and_says_what_works() {
    assert!(least() < 1_000, "{}", least());
    assert!(refused(least() - 1).is_some());
    assert!(refused(least()).is_none());
    // Everything fits into the least, as `__other__`.
    let mut bench = Bench::with(|settings| settings.metric_series_max = least());
    bench.start(0, "w");
    bench.say(task(0, "t", NodeOutcome::Success));
    bench.say(tool(0, "s", "t", NodeOutcome::Success));
    bench.say(finished(0, RunOutcome::Error, Some("E")));
    assert!(bench.series() <= least());
    assert_eq!(bench.total("tasks_finished_total", is_other), 1.0);
    assert_eq!(bench.total("run_errors_total", is_other), 1.0);
}

#[test]
fn idle_series_go_and_make_room_for_what_came_too_late() {
    let mut bench = Bench::with(|settings| settings.label_values_max = 1);
    bench.start(0, "a");
    bench.say(task(0, "t", NodeOutcome::Success));
    bench.say(finished(0, RunOutcome::Error, Some("E")));
    bench.pass(8);
    bench.start(1, "b");
    assert!(bench.metrics.sweep(bench.now) > 20);
    assert!(!bench.metrics.text().contains(r#"workflow="a""#));
    // The run that started before there was room goes on as it began.
    bench.say(task(1, "u", NodeOutcome::Success));
    bench.say(finished(1, RunOutcome::Success, None));
    bench.start(1, "b");
    bench.expect(&[
        (r#"runs_finished_total{outcome="success",project="1",system="akribes",workflow="__other__"}"#, 1.0),
        (r#"task_attempts_total{project="1",system="akribes",task="u",workflow="__other__"}"#, 2.0),
        (r#"runs_started_total{project="1",system="akribes",workflow="b"}"#, 1.0),
    ]);
}

#[test]
fn a_series_of_an_open_run_is_never_removed_and_its_counts_arrive() {
    let mut bench = Bench::new();
    bench.start(0, "a");
    bench.say(task(0, "t", NodeOutcome::Success));
    bench.say(tool(0, "s", "x", NodeOutcome::Success));
    let before = bench.series();
    bench.pass(400);
    assert_eq!(bench.metrics.sweep(bench.now), 0);
    assert_eq!(bench.series(), before);
    bench.say(task(0, "t", NodeOutcome::Success));
    bench.say(finished(0, RunOutcome::Success, None));
    bench.expect(&[
        (r#"tasks_finished_total{outcome="success",project="1",system="akribes",task="t",workflow="a"}"#, 2.0),
        (r#"runs_finished_total{outcome="success",project="1",system="akribes",workflow="a"}"#, 1.0),
    ]);
}

#[test]
fn a_task_that_is_gone_goes_while_its_workflow_stays() {
    let mut bench = Bench::new();
    bench.start(0, "a");
    bench.say(task(0, "old", NodeOutcome::Success));
    bench.say(finished(0, RunOutcome::Success, None));
    for _ in 0..5 {
        bench.pass(3);
        bench.start(0, "a");
        bench.say(task(0, "new", NodeOutcome::Success));
        bench.say(finished(0, RunOutcome::Success, None));
        bench.metrics.sweep(bench.now);
    }
    assert!(!bench.metrics.text().contains(r#"task="old""#));
    bench.expect(&[
        (r#"tasks_finished_total{outcome="success",project="1",system="akribes",task="new",workflow="a"}"#, 5.0),
        (r#"tasks_finished_total{outcome="failed",project="1",system="akribes",task="new",workflow="a"}"#, 0.0),
        (r#"runs_finished_total{outcome="success",project="1",system="akribes",workflow="a"}"#, 6.0),
        (r#"runs_finished_total{outcome="timeout",project="1",system="akribes",workflow="a"}"#, 0.0),
    ]);
}

#[test]
fn what_happened_once_is_remembered_as_long_as_its_name_is_in_use() {
    let mut bench = Bench::new();
    bench.start(0, "a");
    bench.say(task(0, "t", NodeOutcome::Failed));
    bench.say(tool(0, "s", "x", NodeOutcome::Failed));
    bench.say(finished(0, RunOutcome::Timeout, Some("E")));
    for _ in 0..10 {
        bench.pass(3);
        bench.start(0, "a");
        bench.say(task(0, "t", NodeOutcome::Success));
        bench.say(tool(0, "s", "x", NodeOutcome::Success));
        bench.say(finished(0, RunOutcome::Success, None));
        bench.metrics.sweep(bench.now);
    }
    bench.expect(&[
        (r#"runs_finished_total{outcome="timeout",project="1",system="akribes",workflow="a"}"#, 1.0),
        (r#"run_duration_seconds_count{outcome="timeout",project="1",system="akribes",workflow="a"}"#, 1.0),
        (r#"tasks_finished_total{outcome="failed",project="1",system="akribes",task="t",workflow="a"}"#, 1.0),
        (r#"tool_calls_total{outcome="failed",project="1",server="s",system="akribes",tool="x",workflow="a"}"#, 1.0),
        (r#"tool_duration_seconds_count{outcome="failed",project="1",server="s",system="akribes",tool="x",workflow="a"}"#, 1.0),
    ]);
    // An error that is seen no more goes: its code is the only name it has.
    assert!(!bench.metrics.text().contains(r#"error_type="E""#));
}

#[test]
fn everything_idle_goes_but_other_and_the_page_is_as_at_the_start() {
    let mut bench = Bench::with(|settings| settings.metric_series_max = 2_000);
    bench.metrics.apply(&Deltas::default(), TYPES, bench.now);
    let start = bench.metrics.text();
    for round in 0..20 {
        for run in 0..40u32 {
            bench.start(run, &format!("w{round} {run}"));
            bench.say(task(run, &format!("t{run}"), NodeOutcome::Success));
            bench.say(finished(run, RunOutcome::Timeout, Some("E")));
            bench.say(waiting(run, true));
        }
        bench.pass(8);
        bench.metrics.sweep(bench.now);
        // A heading stays with the `__other__` series under it.
        let changes = ["__other__", "# ", "series_overflow", "runs_verified"];
        let rest = |text: &str| -> Vec<String> {
            let kept = |l: &&str| changes.iter().all(|c| !l.contains(c));
            text.lines().filter(kept).map(str::to_owned).collect()
        };
        assert_eq!(rest(&bench.metrics.text()), rest(&start));
    }
}

#[test]
fn what_stands_in_other_never_goes_back() {
    let mut bench = Bench::with(|settings| settings.metric_series_max = 2_000);
    for run in 0..200 {
        bench.start(run, &format!("w{run}"));
        bench.say(task(run, "t", NodeOutcome::Success));
    }
    // A workflow finds room as long as there are ten series; a histogram of tasks
    // takes fifteen, so those of the others are in no series of their own.
    let before = bench.total("task_duration_seconds", is_other);
    assert!(before > 0.0);
    for run in 0..200 {
        bench.say(finished(run, RunOutcome::Success, None));
    }
    bench.pass(100);
    bench.metrics.sweep(bench.now);
    assert_eq!(bench.total("task_duration_seconds", |_| true), before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_comes_and_goes_each_count_arrives_and_the_bound_holds(
        steps in prop::collection::vec((0u8..8, 0u32..6, 0u8..6), 1..120),
        room in 0usize..400,
    ) {
        let mut bench = Bench::with(|settings| {
            settings.metric_series_max = least() + room;
            settings.label_values_max = 4;
        });
        let mut open = std::collections::BTreeSet::new();
        for (step, run, name) in steps {
            let name = format!("n{name}");
            let before = bench.total("tasks_finished_total", |_| true);
            let calls = bench.total("tool_calls_total", |_| true);
            let mut expected = (before, calls);
            match step {
                0 | 1 => {
                    bench.say(started(run, Some(1 + i64::from(run) % 2), &name));
                    open.insert(run);
                }
                2 => {
                    bench.say(finished(run, RunOutcome::Error, Some(&name)));
                    open.remove(&run);
                }
                3 | 4 => {
                    bench.say(task(run, &name, NodeOutcome::Success));
                    expected.0 += f64::from(u8::from(open.contains(&run)));
                }
                5 => {
                    bench.say(tool(run, "s", &name, NodeOutcome::Success));
                    expected.1 += f64::from(u8::from(open.contains(&run)));
                }
                6 => bench.say(waiting(run, name.as_str() < "n3")),
                _ => {
                    bench.pass(5);
                    bench.metrics.sweep(bench.now);
                    expected.0 = bench.total("tasks_finished_total", |_| true);
                    expected.1 = bench.total("tool_calls_total", |_| true);
                }
            }
            prop_assert_eq!(bench.total("tasks_finished_total", |_| true), expected.0);
            prop_assert_eq!(bench.total("tool_calls_total", |_| true), expected.1);
            prop_assert_eq!(bench.total("runs_open", |_| true), open.len() as f64);
            prop_assert!(bench.series() <= least() + room);
        }
        // With all runs gone and idle, no room is held by what is not there.
        for run in open {
            bench.say(finished(run, RunOutcome::Success, None));
        }
        bench.pass(30);
        bench.metrics.sweep(bench.now);
        prop_assert_eq!(bench.metrics.leftovers(), (0, 0, 0));
    }
}

#[test]
fn a_projects_name_stays_as_long_as_something_speaks_of_the_project() {
    let mut bench = Bench::new();
    let now = bench.now;
    bench.metrics.set_project_info(1, "one", now);
    bench.metrics.set_project_info(2, "two", now);
    bench.start(0, "w");
    bench.pass(30);
    bench.metrics.sweep(bench.now);
    bench.expect(&[(r#"project_info{name="one",project="1"}"#, 1.0)]);
    assert_eq!(bench.total("project_info", |_| true), 1.0);
}

#[test]
fn a_name_that_spells_other_is_one_series_with_it() {
    let mut bench = Bench::with(|settings| settings.label_values_max = 1);
    bench.start(0, "w");
    for name in ["t", "__other__", "u"] {
        bench.say(task(0, name, NodeOutcome::Success));
    }
    bench.expect(&[(
        r#"task_attempts_total{project="1",system="akribes",task="__other__",workflow="w"}"#,
        4.0,
    )]);
    let text = bench.metrics.text();
    let lines: Vec<_> = text
        .lines()
        .filter(|l| l.contains("task_attempts_total{"))
        .collect();
    assert_eq!(lines.len(), 2);
}
