//! The times of what is open now: the oldest, and none when nothing is open.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const OPEN: &str = r#"runs_open_oldest_timestamp_seconds{project="1",system="akribes",workflow="#;
const WAITING: &str = "runs_waiting_oldest_timestamp_seconds{kind=";
const REST: &str = r#",project="1",system="akribes",workflow="w"}"#;

/// So many seconds after all runs start, in nanoseconds and in seconds.
fn at(seconds: u64) -> (Time, f64) {
    let time = START.plus(Duration::from_secs(seconds));
    (time, time.0 as f64 / 1e9)
}

/// A run that starts so many seconds after the others.
fn started_at(run: RunSlot, workflow: &str, seconds: u64) -> Delta {
    let mut delta = started(run, Some(1), workflow);
    if let Delta::RunStarted { start, .. } = &mut delta {
        *start = at(seconds).0;
    }
    delta
}

impl Bench {
    fn open_since(&self, workflow: &str) -> Option<f64> {
        self.value(&format!("runtrail_{OPEN}\"{workflow}\"}}"))
    }

    fn waiting_since(&self, kind: &str) -> Option<f64> {
        self.value(&format!("runtrail_{WAITING}\"{kind}\"{REST}"))
    }
}

#[test]
fn the_oldest_open_run_of_a_workflow_is_told_and_none_when_none_is_open() {
    let mut bench = Bench::new();
    for (run, workflow, seconds) in [(0, "w", 20), (1, "w", 10), (2, "w", 30), (3, "v", 5)] {
        bench.say(started_at(run, workflow, seconds));
    }
    assert_eq!(bench.open_since("w"), Some(at(10).1));
    assert_eq!(bench.open_since("v"), Some(at(5).1));
    let end = |run| finished(run, RunOutcome::Abandoned, None);
    for (run, oldest) in [(1, Some(20)), (2, Some(20)), (0, None)] {
        bench.say(end(run));
        assert_eq!(bench.open_since("w"), oldest.map(|s| at(s).1), "{run}");
    }
    assert_eq!(bench.open_since("v"), Some(at(5).1));
    bench.say(end(3));
    let page = bench.metrics.text();
    assert!(!page.contains("runs_open_oldest"), "{page}");
    // The next one is told again.
    bench.say(started_at(0, "w", 40));
    assert_eq!(bench.open_since("w"), Some(at(40).1));
}

#[test]
fn a_start_that_turns_out_to_be_another_is_told_anew() {
    let mut bench = Bench::new();
    bench.say(started_at(0, "w", 50));
    let standing = Standing {
        start: at(7).0,
        waits: Waits::default(),
    };
    bench.say(Delta::RunStands { run: 0, standing });
    assert_eq!(bench.open_since("w"), Some(at(7).1));
    bench.say(finished(0, RunOutcome::Success, None));
    assert_eq!(bench.open_since("w"), None);
}

#[test]
fn a_run_whose_place_was_not_freed_is_not_the_oldest_for_ever() {
    let mut bench = Bench::new();
    bench.say(started_at(0, "w", 1));
    bench.say(waits(0, &[(WaitKind::Batch, at(2).0)]));
    bench.say(started_at(0, "w", 9));
    assert_eq!(bench.open_since("w"), Some(at(9).1));
    assert_eq!(bench.waiting_since("batch"), None);
}

#[test]
fn the_oldest_wait_of_each_kind_is_told_and_none_when_nobody_waits() {
    let mut bench = Bench::new();
    bench.start(0, "w");
    bench.start(1, "w");
    let page = bench.metrics.text();
    assert!(!page.contains("runs_waiting_oldest"), "{page}");
    let (person, approval) = (WaitKind::Person, WaitKind::Approval);
    bench.say(waits(0, &[(person, at(9).0), (approval, at(4).0)]));
    bench.say(waits(1, &[(person, at(6).0)]));
    assert_eq!(bench.waiting_since("person"), Some(at(6).1));
    assert_eq!(bench.waiting_since("approval"), Some(at(4).1));
    assert_eq!(bench.waiting_since("breakpoint"), None);
    // One kind of wait ends while another of the same run goes on.
    bench.say(waits(0, &[(person, at(9).0)]));
    assert_eq!(bench.waiting_since("approval"), None);
    bench.say(waits(1, &[]));
    assert_eq!(bench.waiting_since("person"), Some(at(9).1));
    // The same kind again, since another time.
    bench.say(waits(0, &[(person, at(12).0)]));
    assert_eq!(bench.waiting_since("person"), Some(at(12).1));
    bench.say(finished(0, RunOutcome::Timeout, None));
    assert_eq!(bench.waiting_since("person"), None);
}

#[test]
fn workflows_without_room_share_the_oldest_of_all_of_them() {
    let mut bench = Bench::with(|settings| settings.label_values_max = 1);
    bench.say(started_at(0, "w", 30));
    bench.say(started_at(1, "x", 20));
    bench.say(started_at(2, "y", 10));
    assert_eq!(bench.open_since("w"), Some(at(30).1));
    assert_eq!(bench.open_since("__other__"), Some(at(10).1));
    bench.say(finished(2, RunOutcome::Success, None));
    assert_eq!(bench.open_since("__other__"), Some(at(20).1));
}

#[test]
fn a_wait_without_room_is_told_as_other_and_gone_with_the_last_of_them() {
    // Room for two workflows, and for none of their waits.
    let fixed = Bench::new().series_of("series_overflow_total") + TYPES.len();
    let mut bench = Bench::with(|settings| {
        settings.metric_series_max = super::bounds::least() + fixed + 2 * 11;
    });
    bench.start(0, "w");
    bench.start(1, "x");
    bench.say(waits(0, &[(WaitKind::Person, at(5).0)]));
    bench.say(waits(1, &[(WaitKind::Person, at(3).0)]));
    let other = |bench: &Bench| {
        let all = r#""person",project="__other__",system="akribes",workflow="__other__"}"#;
        bench.value(&format!("runtrail_{WAITING}{all}"))
    };
    assert_eq!(bench.waiting_since("person"), None);
    assert_eq!(other(&bench), Some(at(3).1));
    bench.say(waits(1, &[]));
    assert_eq!(other(&bench), Some(at(5).1));
    bench.say(finished(0, RunOutcome::Success, None));
    assert_eq!(other(&bench), None);
}

impl Bench {
    fn series_of(&self, metric: &str) -> usize {
        let text = self.metrics.text();
        let name = format!("runtrail_{metric}");
        text.lines().filter(|line| line.starts_with(&name)).count()
    }

    /// What all series of a metric say.
    fn times(&self, metric: &str) -> Vec<f64> {
        let name = format!("runtrail_{metric}");
        let text = self.metrics.text();
        let lines = text.lines().filter(|line| line.starts_with(&name));
        let last = lines.filter_map(|line| line.rsplit(' ').next());
        last.map(|value| value.parse().unwrap()).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Where names find no room, who tells of a run is another matter; that each
    /// time is one of a run that is open, and the oldest among them, is not.
    #[test]
    fn whatever_comes_and_goes_the_times_are_those_of_what_is_open(
        steps in prop::collection::vec((0u8..8, 0u32..6, 0usize..6, 0u64..1_000), 1..60),
        room in 0usize..120,
    ) {
        let mut bench = Bench::with(|settings| {
            settings.metric_series_max = super::bounds::least() + room;
            settings.label_values_max = 4;
        });
        let mut open: BTreeMap<RunSlot, Standing> = BTreeMap::new();
        for (what, run, name, seconds) in steps {
            match what {
                0..3 => {
                    bench.say(started_at(run, &format!("n{name}"), seconds));
                    let (start, waits) = (at(seconds).0, Waits::default());
                    open.insert(run, Standing { start, waits });
                }
                3 => {
                    bench.say(finished(run, RunOutcome::Success, None));
                    open.remove(&run);
                }
                4 => {
                    bench.pass(5);
                    bench.metrics.sweep(bench.now);
                }
                _ => {
                    let Some(standing) = open.get_mut(&run) else { continue };
                    standing.waits = Waits::default();
                    for kind in WaitKind::ALL.into_iter().take(name) {
                        standing.waits.add(kind, at(seconds + kind as u64).0);
                    }
                    if what == 7 {
                        standing.start = at(seconds).0;
                    }
                    let standing = *standing;
                    bench.say(Delta::RunStands { run, standing });
                }
            }
            let told = bench.times("runs_open_oldest");
            let starts = open.values().map(|standing| standing.start);
            prop_assert_eq!(oldest(&told), starts.clone().min().map(seconds_of));
            prop_assert!(told.iter().all(|told| starts.clone().any(|s| seconds_of(s) == *told)));
            let told = bench.times("runs_waiting_oldest");
            let waits = open.values().flat_map(|standing| {
                WaitKind::ALL.into_iter().filter_map(|kind| standing.waits.since(kind))
            });
            prop_assert_eq!(oldest(&told), waits.clone().min().map(seconds_of));
            prop_assert!(told.iter().all(|told| waits.clone().any(|w| seconds_of(w) == *told)));
            prop_assert!(bench.series() <= super::bounds::least() + room);
        }
    }
}

fn seconds_of(time: Time) -> f64 {
    time.0 as f64 / 1e9
}

fn oldest(times: &[f64]) -> Option<f64> {
    times.iter().copied().reduce(f64::min)
}
