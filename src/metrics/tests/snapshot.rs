//! What was counted goes on in another process.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::metrics::catalogue::{CATALOGUE, Group};
use crate::metrics::export::{ExportCounts, RequestResult};
use crate::metrics::snapshot::{MetricsSnapshot, NotRestored, WhyNot};
use crate::metrics::store::StoreStatus;
use crate::store::OutboxStatus;

type Open = BTreeMap<RunSlot, (Arc<RunMeta>, Standing)>;

impl Bench {
    /// The registry of a process that comes after this one, from what would be on disk.
    fn restarted(
        &self,
        snapshot: &MetricsSnapshot,
        open: &Open,
        change: impl FnOnce(&mut Settings),
    ) -> (Self, Vec<NotRestored>) {
        let bytes = postcard::to_stdvec(snapshot).unwrap();
        let snapshot: MetricsSnapshot = postcard::from_bytes(&bytes).unwrap();
        let mut settings = Settings::new(&Limits::default(), &["akribes"]);
        change(&mut settings);
        let open = open
            .iter()
            .map(|(run, (meta, standing))| (*run, Arc::clone(meta), *standing));
        let (metrics, missing) = Metrics::restore(&settings, &snapshot, open, self.now).unwrap();
        let now = self.now;
        (Self { metrics, now }, missing)
    }

    /// The name of a project goes one sweep after the last workflow that was seen
    /// in this process; of those before it knows their series only.
    fn pass_and_sweep(&mut self) {
        self.pass(3);
        self.metrics.sweep(self.now);
        self.metrics.sweep(self.now);
    }

    fn restart(&self) -> Self {
        let (bench, missing) = self.restarted(&self.metrics.snapshot(), &Open::new(), |_| {});
        assert_eq!(missing, []);
        bench
    }
}

/// Something that happens. Both processes see it.
#[derive(Debug, Clone)]
struct Step {
    what: u8,
    run: RunSlot,
    name: u8,
}

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = (0u8..12, 0u32..6, 0u8..6).prop_map(|(what, run, name)| Step { what, run, name });
    prop::collection::vec(step, 0..most)
}

fn happen(step: &Step, bench: &mut Bench, open: &mut Open) {
    let Step { what, run, name } = *step;
    let text = format!("n{name}");
    let millis = 37 * u64::from(name) + 1;
    match what {
        0 | 1 => {
            let mut delta = started(run, Some(1 + i64::from(run) % 2), &text);
            let Delta::RunStarted { meta, start, .. } = &mut delta else {
                unreachable!("it is one");
            };
            *start = bench.now.minus(Duration::from_millis(millis));
            let (start, waits) = (*start, Waits::default());
            open.insert(run, (Arc::clone(meta), Standing { start, waits }));
            bench.say(delta);
        }
        2 => {
            let outcome = RunOutcome::ALL[usize::from(name) % RunOutcome::ALL.len()];
            open.remove(&run);
            bench.say(finished(run, outcome, Some(&text)));
        }
        3 | 4 => {
            let mut delta = task(run, &text, NodeOutcome::Success);
            if let Delta::TaskFinished { duration, .. } = &mut delta {
                *duration = Duration::from_millis(millis);
            }
            bench.say(delta);
        }
        5 => bench.say(tool(run, "s", &text, NodeOutcome::Failed)),
        6 => {
            let delta = match name {
                0..3 => waits(run, &[(WaitKind::ALL[usize::from(name)], bench.now)]),
                _ => waiting(run, false),
            };
            let Delta::RunStands { standing, .. } = &delta else {
                unreachable!("it is one");
            };
            if let Some((_, stood)) = open.get_mut(&run) {
                *stood = *standing;
            }
            bench.say(delta);
        }
        7 => bench.say(Delta::WaitFinished {
            run,
            kind: WaitKind::Person,
            duration: Duration::from_millis(millis),
        }),
        8 => {
            let counted = Deltas {
                events_by_type: vec![millis, 0, 1],
                chunk_events_thinned: millis,
                in_order: vec![
                    Delta::Gap { cause: "restart" },
                    Delta::FeedDelay(Duration::from_millis(millis)),
                    Delta::RunRepaired { result: "repaired" },
                ],
                ..Deltas::default()
            };
            bench.metrics.apply(&counted, TYPES, bench.now);
        }
        9 => {
            bench.say(cost(run, &text, CostBasis::Server, f64::from(name) * 0.1));
        }
        10 => bench.metrics.set_project_info(1, &text, bench.now),
        _ => bench.pass_and_sweep(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_process_that_goes_on_shows_the_page_of_one_that_never_stopped(
        before in steps(60),
        after in steps(30),
    ) {
        let (mut bench, mut open) = (Bench::new(), Open::new());
        for step in &before {
            happen(step, &mut bench, &mut open);
        }
        let (mut next, missing) = bench.restarted(&bench.metrics.snapshot(), &open, |_| {});
        prop_assert_eq!(missing, []);
        prop_assert_eq!(next.metrics.text(), bench.metrics.text());
        for step in &after {
            happen(step, &mut bench, &mut open.clone());
            happen(step, &mut next, &mut open);
            prop_assert_eq!(next.metrics.text(), bench.metrics.text());
        }
        // What is idle goes from both at the same time.
        for _ in 0..4 {
            next.pass_and_sweep();
            bench.pass_and_sweep();
            prop_assert_eq!(next.metrics.text(), bench.metrics.text());
        }
    }

    #[test]
    fn no_sum_changes_however_small_the_bounds_have_become(
        before in steps(80),
        after in steps(30),
        room in 0usize..300,
    ) {
        let (mut bench, mut open) = (Bench::new(), Open::new());
        for step in before.iter().filter(|step| step.what < 10) {
            happen(step, &mut bench, &mut open);
        }
        let snapshot = bench.metrics.snapshot();
        let least = super::bounds::least();
        let (mut next, missing) = bench.restarted(&snapshot, &open, |settings| {
            settings.metric_series_max = least + room;
            settings.label_values_max = 2;
        });
        prop_assert_eq!(missing, []);
        for step in after.iter().filter(|step| step.what < 10) {
            happen(step, &mut bench, &mut open.clone());
            happen(step, &mut next, &mut open);
        }
        prop_assert!(next.series() <= least + room);
        for descriptor in CATALOGUE {
            // What finds no room now is counted as that, and times are not added up.
            let name = descriptor.name;
            if name != "runtrail_series_overflow_total" && !name.contains("_oldest_") {
                let metric = descriptor.name.trim_start_matches("runtrail_");
                let [ours, theirs] = [&next, &bench].map(|bench| bench.total(metric, |_| true));
                prop_assert!((ours - theirs).abs() < 1e-9, "{}: {} {}", metric, ours, theirs);
            }
        }
        // No name takes the place of another one without a series of its own.
        for run in open.into_keys() {
            next.say(finished(run, RunOutcome::Success, None));
        }
        (0..4).for_each(|_| next.pass_and_sweep());
        prop_assert_eq!(next.metrics.leftovers(), (0, 0, 0));
    }
}

proptest! {
    #[test]
    fn no_damaged_snapshot_is_too_strange(
        place in any::<prop::sample::Index>(),
        byte: u8,
    ) {
        let mut bench = Bench::new();
        bench.start(0, "w");
        bench.say(task(0, "t", NodeOutcome::Success));
        let mut bytes = postcard::to_stdvec(&bench.metrics.snapshot()).unwrap();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Ok(snapshot) = postcard::from_bytes(&bytes) {
            bench.restarted(&snapshot, &Open::new(), |_| {});
        }
    }
}

#[test]
fn an_open_run_is_open_in_its_state_and_started_once() {
    let (mut bench, mut open) = (Bench::new(), Open::new());
    for (what, run) in [(0, 0), (0, 2), (6, 2)] {
        happen(&Step { what, run, name: 1 }, &mut bench, &mut open);
    }
    let (mut next, _) = bench.restarted(&bench.metrics.snapshot(), &open, |_| {});
    let lines = |running: f64, waiting: f64| {
        [
            (
                r#"runs_open{project="1",state="running",system="akribes",workflow="n1"}"#,
                running,
            ),
            (
                r#"runs_open{project="1",state="waiting",system="akribes",workflow="n1"}"#,
                waiting,
            ),
            (
                r#"runs_started_total{project="1",system="akribes",workflow="n1"}"#,
                2.0,
            ),
        ]
    };
    next.expect(&lines(1.0, 1.0));
    next.say(finished(2, RunOutcome::Success, None));
    next.expect(&lines(1.0, 0.0));
    next.expect(&[(r#"runs_verified_total{result="match"}"#, 1.0)]);
}

#[test]
fn a_run_that_is_open_no_more_leaves_its_workflow_at_zero() {
    let mut bench = Bench::new();
    bench.start(0, "w");
    bench.restart().expect(&[(
        r#"runs_open{project="1",state="running",system="akribes",workflow="w"}"#,
        0.0,
    )]);
}

#[test]
fn what_says_how_things_are_now_is_told_anew() {
    let mut bench = Bench::new();
    let now = bench.now;
    for group in [Group::Export, Group::Store] {
        bench.metrics.register(group).unwrap();
    }
    bench.metrics.set_source_connected(true, now);
    bench.metrics.set_source_paused("refused", true, now);
    bench.metrics.set_source_last_event(now, now);
    bench.metrics.set_build_info("0.0.9", now);
    bench.metrics.source_reconnected(now);
    let outbox = OutboxStatus {
        bytes: 5,
        limit_bytes: 6,
        batches: 7,
        oldest: Some(now),
        ..OutboxStatus::default()
    };
    let mut counts = ExportCounts {
        spans_exported: 8,
        last_success: Some(now),
        ..ExportCounts::default()
    };
    counts.requests[RequestResult::Taken as usize] = 3;
    bench.metrics.apply_export(&counts, &outbox, now);
    let store = StoreStatus {
        suspended: true,
        runs_given_up: 4,
        journal_bytes: 9,
        checkpoint_last_success: Some(now),
        ..StoreStatus::default()
    };
    bench.metrics.apply_store(&store, now);
    let mut next = bench.restart();
    for group in [Group::Export, Group::Store] {
        next.metrics.register(group).unwrap();
    }
    next.expect(&[
        ("source_connected", 0.0),
        (r#"source_paused{reason="refused"}"#, 0.0),
        ("source_reconnects_total", 1.0),
        ("outbox_bytes", 0.0),
        ("outbox_batches", 0.0),
        ("store_suspended", 0.0),
        ("journal_bytes", 0.0),
        ("runs_given_up_total", 4.0),
        ("spans_exported_total", 8.0),
        (r#"export_requests_total{result="taken"}"#, 3.0),
    ]);
    let text = next.metrics.text();
    for gone in [
        "build_info{",
        "last_event_timestamp_seconds ",
        "last_success_timestamp_seconds ",
        "outbox_oldest_timestamp_seconds ",
    ] {
        assert!(!text.contains(gone), "{gone}");
    }
    // The next process counts from its own start.
    next.metrics.apply_export(&counts, &outbox, now);
    next.metrics.apply_store(&store, now);
    next.expect(&[
        ("runs_given_up_total", 8.0),
        ("spans_exported_total", 16.0),
        (r#"export_requests_total{result="taken"}"#, 6.0),
    ]);
}

#[test]
fn where_there_is_less_room_the_newest_keep_their_names_and_nothing_overflows_anew() {
    let mut bench = Bench::new();
    for name in ["old", "new"] {
        bench.start(0, "w");
        bench.say(task(0, name, NodeOutcome::Success));
        bench.say(finished(0, RunOutcome::Success, None));
        bench.pass(1);
    }
    let snapshot = bench.metrics.snapshot();
    let one = |settings: &mut Settings| settings.label_values_max = 1;
    let (next, missing) = bench.restarted(&snapshot, &Open::new(), one);
    assert_eq!(missing, []);
    next.expect(&[
        (
            r#"task_attempts_total{project="1",system="akribes",task="new",workflow="w"}"#,
            2.0,
        ),
        (
            r#"task_attempts_total{project="1",system="akribes",task="__other__",workflow="w"}"#,
            2.0,
        ),
        (
            r#"series_overflow_total{metric="runtrail_task_attempts_total"}"#,
            0.0,
        ),
    ]);
}

#[test]
fn what_overflowed_is_remembered_and_not_counted_twice() {
    let mut bench = Bench::with(|settings| settings.label_values_max = 1);
    bench.start(0, "w");
    for name in ["a", "b", "c"] {
        bench.say(task(0, name, NodeOutcome::Success));
    }
    let snapshot = bench.metrics.snapshot();
    let one = |settings: &mut Settings| settings.label_values_max = 1;
    let (next, _) = bench.restarted(&snapshot, &Open::new(), one);
    next.expect(&[(
        r#"series_overflow_total{metric="runtrail_task_attempts_total"}"#,
        2.0,
    )]);
}

#[test]
fn idle_series_go_when_they_would_have_gone() {
    let mut bench = Bench::new();
    bench.start(0, "w");
    bench.say(finished(0, RunOutcome::Success, None));
    bench.pass(6);
    let mut next = bench.restart();
    next.metrics.sweep(next.now);
    assert!(next.metrics.text().contains(r#"workflow="w""#));
    next.pass(2);
    next.metrics.sweep(next.now);
    assert_eq!(next.metrics.leftovers(), (0, 0, 0));
}

/// What becomes of a task's counts when the version before wrote them otherwise.
fn of_another_version(change: impl FnOnce(&mut MetricsSnapshot)) -> (Bench, Vec<(String, WhyNot)>) {
    let mut bench = Bench::new();
    bench.start(0, "w");
    bench.say(task(0, "a", NodeOutcome::Success));
    bench.say(task(0, "b", NodeOutcome::Failed));
    let mut snapshot = bench.metrics.snapshot();
    change(&mut snapshot);
    let (next, missing) = bench.restarted(&snapshot, &Open::new(), |_| {});
    let missing = missing.into_iter();
    let missing = missing.map(|missing| (missing.metric, missing.why));
    (next, missing.collect())
}

#[test]
fn a_metric_of_another_version_that_is_no_more_is_told_and_the_rest_goes_on() {
    let metric = "runtrail_task_attempts_total";
    let (next, missing) = of_another_version(|snapshot| {
        snapshot.rename(metric, |family| {
            *family.name = "runtrail_old_total".to_owned()
        });
    });
    assert_eq!(
        missing,
        [("runtrail_old_total".to_owned(), WhyNot::NoSuchMetric)]
    );
    assert_eq!(next.total("task_attempts_total", |_| true), 0.0);
    assert_eq!(next.total("tasks_finished_total", |_| true), 2.0);
}

#[test]
fn a_label_that_is_no_more_is_added_up() {
    let (next, missing) = of_another_version(|snapshot| {
        // As if escalations had been told apart by outcome once.
        let [old, now] = ["tasks_finished_total", "task_escalations_total"];
        let [old, now] = [old, now].map(|name| format!("runtrail_{name}"));
        snapshot.rename(&now, |family| *family.name = old.clone());
        snapshot.rename(&old, |family| *family.name = now);
    });
    // What bears the name of the ends of tasks now tells no outcomes.
    assert_eq!(
        missing,
        [(
            "runtrail_tasks_finished_total".to_owned(),
            WhyNot::OtherShape
        )]
    );
    let of = |task: &str| next.total("task_escalations_total", |m| label(m, "task") == task);
    assert_eq!([of("a"), of("b")], [1.0, 1.0]);
}

#[test]
fn a_metric_with_a_label_that_is_new_begins_at_zero() {
    let metric = "runtrail_task_attempts_total";
    let (next, missing) = of_another_version(|snapshot| {
        snapshot.rename(metric, |family| family.labels[3] = "job".to_owned());
    });
    assert_eq!(missing, [(metric.to_owned(), WhyNot::OtherShape)]);
    assert_eq!(next.total("task_attempts_total", |_| true), 0.0);
}

#[test]
fn a_histogram_with_other_buckets_begins_at_zero() {
    let metric = "runtrail_task_duration_seconds";
    let (next, missing) = of_another_version(|snapshot| {
        snapshot.rename(metric, |family| family.bounds[0] = 0.125);
    });
    assert_eq!(missing, [(metric.to_owned(), WhyNot::OtherBuckets)]);
    assert_eq!(next.total("task_duration_seconds", |_| true), 0.0);
    assert_eq!(next.total("tasks_finished_total", |_| true), 2.0);
}

#[test]
fn a_value_that_is_no_more_is_unknown_or_left_out() {
    let (next, missing) = of_another_version(|snapshot| {
        snapshot.rename_value("failed", "gone wrong");
        snapshot.rename_value("lagged", "the moon");
    });
    let unknown = next.total("tasks_finished_total", |m| label(m, "outcome") == "unknown");
    assert_eq!(unknown, 1.0);
    let none = [
        "export_requests_total",
        "run_tasks_total",
        "spans_refused_total",
    ];
    let none = none.map(|name| (format!("runtrail_{name}"), WhyNot::NoSuchValue));
    assert_eq!(missing, none);
}

#[test]
fn what_is_not_restored_is_told_in_a_sentence() {
    for why in [
        WhyNot::NoSuchMetric,
        WhyNot::OtherShape,
        WhyNot::OtherBuckets,
        WhyNot::NoSuchValue,
    ] {
        let metric = "runtrail_x".to_owned();
        let told = NotRestored { metric, why }.to_string();
        assert!(told.starts_with("runtrail_x begins at zero: "), "{told}");
    }
}

#[test]
fn a_full_registry_takes_no_more_than_the_memory_budget_says() {
    let mut bench = Bench::new();
    let long = |name: &str, number: u32| format!("{}{name}{number}", "x".repeat(180));
    for run in 0..150 {
        bench.start(run, &long("w", run));
        for number in 0..4 {
            let of_run = 4 * (run % 50) + number;
            bench.say(task(run, &long("t", of_run), NodeOutcome::Success));
            bench.say(tool(
                run,
                &long("s", 0),
                &long("t", of_run),
                NodeOutcome::Failed,
            ));
        }
    }
    let series = bench.series();
    assert!(series > 19_000, "{series}");
    let bytes = postcard::to_stdvec(&bench.metrics.snapshot())
        .unwrap()
        .len();
    assert!(bytes < 2 << 20, "{bytes}");
}
