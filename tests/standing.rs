//! Since when runs have been open and waiting: what the metrics say is what the
//! open runs say, whatever happened and however often the process began anew.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop"
)]

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use runtrail::core::{Core, CoreSettings, Part};
use runtrail::limits::Limits;
use runtrail::metrics::{Metrics, Settings};
use runtrail::run::outputs::Wish;
use runtrail::run::standing::WaitKind;
use runtrail::wire::event::RunRef;
use runtrail::wire::time::Time;
use serde_json::{Value, json};
use support::workload::{interleave, run, run_id, steps};
use support::{Feed, core, settings, sse, usage};

/// A core and what it counted.
struct Observed {
    core: Core,
    metrics: Metrics,
    settings: CoreSettings,
}

impl Observed {
    fn new(repair: bool) -> Self {
        let settings = CoreSettings {
            repair,
            ..settings(false)
        };
        Self {
            core: core(settings.clone()),
            metrics: Metrics::new(&bounds()).unwrap(),
            settings,
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.core.handle_bytes(0, bytes, Some(NOW));
        self.count();
    }

    fn count(&mut self) {
        let types = self.core.event_types();
        self.metrics.apply(self.core.deltas(), types, NOW);
        self.core.deltas().clear();
    }

    /// Another process goes on from what is on disk.
    fn restart(&mut self) {
        let parts: Vec<Part> = self.core.save().collect();
        self.core = Core::restore(self.settings.clone(), parts).unwrap();
        let open = self.core.run_slots();
        let open = open.map(|(slot, run)| (slot, run.meta.clone(), run.standing()));
        let snapshot = self.metrics.snapshot();
        let (metrics, missing) = Metrics::restore(&bounds(), &snapshot, open, NOW).unwrap();
        assert_eq!(missing, []);
        self.metrics = metrics;
    }

    /// What the page says of times: by the first label that tells them apart.
    fn told(&self) -> BTreeMap<String, f64> {
        let page = self.metrics.text();
        let lines = page.lines().filter(|line| {
            line.contains("_oldest_timestamp_seconds{project")
                || line.contains("_oldest_timestamp_seconds{kind")
        });
        lines
            .filter(|line| line.starts_with("runtrail_runs_"))
            .map(|line| {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let kind = series.split("kind=\"").nth(1);
                let kind = kind.map_or("open", |kind| kind.split('"').next().unwrap());
                (kind.to_owned(), value.parse().unwrap())
            })
            .collect()
    }

    /// What the open runs say, all of which are of one workflow.
    fn known(&self) -> BTreeMap<String, f64> {
        let mut oldest: BTreeMap<String, Time> = BTreeMap::new();
        let mut take = |name: &str, time: Time| {
            let known = oldest.entry(name.to_owned()).or_insert(time);
            *known = time.min(*known);
        };
        for run in self.core.runs() {
            assert_eq!(run.waiting, !run.waits.is_empty());
            take("open", run.start);
            for kind in WaitKind::ALL {
                if let Some(since) = run.waits.since(kind) {
                    take(kind.as_str(), since);
                }
            }
        }
        let seconds = oldest.into_iter().map(|(name, time)| (name, seconds(time)));
        seconds.collect()
    }
}

fn bounds() -> Settings {
    Settings::new(&Limits::default(), &["akribes"])
}

const NOW: Time = Time(1_778_200_000_000_000_000);

fn seconds(time: Time) -> f64 {
    time.0 as f64 / 1e9
}

/// So many milliseconds after the feeds begin.
fn moment(ms: u64) -> f64 {
    seconds(Time((1_778_148_000_000 + ms) * 1_000_000))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn the_times_on_the_page_are_those_of_the_open_runs_at_any_moment_and_after_any_restart(
        runs in prop::collection::vec(steps(30), 1..4),
        order in prop::collection::vec(any::<u8>(), 1..20),
        restarts in prop::collection::vec(any::<bool>(), 1..20),
    ) {
        let feeds: Vec<Feed> = (0..).zip(&runs).map(|(n, steps)| run(&run_id(n), steps)).collect();
        let lines = interleave(&feeds, &order);
        let mut observed = Observed::new(false);
        for (line, restarts) in lines.chunks(1).zip(restarts.iter().cycle()) {
            observed.hear(&sse("random", line, 1));
            prop_assert_eq!(observed.told(), observed.known());
            if *restarts {
                observed.restart();
                prop_assert_eq!(observed.told(), observed.known());
            }
        }
        observed.core.handle_end_of_runs();
        observed.count();
        prop_assert_eq!(observed.told(), BTreeMap::new());
    }
}

/// Somebody is to say something, by this token.
fn suspended(feed: &mut Feed, token: &str) {
    feed.event(
        "Suspended",
        json!({"checkpoint_name": "sign-off", "token": token, "prompt": "?", "schema": {},
               "actor_hint": "Human", "timeout_secs": 86400, "trigger": {"kind": "DagPosition"}}),
    );
}

fn resumed(feed: &mut Feed, token: &str) {
    feed.event(
        "Resumed",
        json!({"checkpoint_name": "sign-off", "token": token}),
    );
}

#[test]
fn of_several_waits_of_a_run_the_oldest_that_is_open_counts() {
    let mut feed = Feed::of("release");
    feed.start();
    suspended(feed.at(10), "one");
    suspended(feed.at(20), "two");
    resumed(feed.at(30), "one");
    resumed(feed.at(40), "two");
    let mut observed = Observed::new(false);
    let since = [None, Some(10), Some(10), Some(20), None];
    for (line, since) in feed.lines.chunks(1).zip(since) {
        observed.hear(&sse("release", line, 1));
        let told = observed.told();
        assert_eq!(told.get("open"), Some(&moment(0)));
        assert_eq!(told.get("person").copied(), since.map(moment));
    }
}

/// The log of a run, all of it.
fn log(feed: &Feed) -> String {
    let events: Vec<Value> = feed.lines.iter().map(|line| line.logged()).collect();
    let last = feed.lines.last().map_or(0, |line| line.seq);
    json!({"events": events, "complete": false, "has_more": false, "next_after_id": last})
        .to_string()
}

#[test]
fn a_run_that_was_joined_late_tells_its_start_and_its_wait_once_its_log_was_read() {
    let mut feed = Feed::of("release");
    feed.start();
    suspended(feed.at(10), "one");
    feed.at(500).task("draft");
    feed.at(600).task_end("draft", 100, usage(1, 2));
    for restarts in [false, true] {
        let mut observed = Observed::new(true);
        observed.hear(&sse("release", &feed.lines[2..3], 1));
        assert_eq!(
            observed.told(),
            BTreeMap::from([("open".into(), moment(500))])
        );
        assert!(matches!(
            observed.core.poll_wish(),
            Some(Wish::ReadLog { .. })
        ));
        if restarts {
            observed.restart();
        }
        let run = RunRef {
            project: Some(1),
            workflow: "release".into(),
            id: Some(feed.run.as_str().into()),
            epoch: None,
        };
        observed
            .core
            .handle_log_page(&run, 0, log(&feed).as_bytes(), NOW);
        observed.count();
        let expected = [("open".into(), moment(0)), ("person".into(), moment(10))];
        assert_eq!(observed.told(), BTreeMap::from(expected));
    }
}

#[test]
fn a_task_is_on_the_page_from_its_start_on() {
    let mut feed = Feed::of("release");
    feed.start().at(10).task("draft");
    let mut observed = Observed::new(false);
    observed.hear(&feed.sse(1));
    let failed =
        r#"outcome="failed",project="1",system="akribes",task="draft",workflow="release"} 0"#;
    assert!(observed.metrics.text().contains(failed));
}

/// How long an output token took in a run of one task, two seconds of which lie
/// behind its first chunk.
fn token_seconds(during: impl FnOnce(&mut Feed), end: Value) -> Option<f64> {
    let mut feed = Feed::of("release");
    feed.start().at(10).task("draft");
    feed.at(1_010).chunk("draft", "task-1", "he");
    feed.at(2_010);
    during(&mut feed);
    feed.at(3_010).task_end("draft", 3_000, end);
    let mut observed = Observed::new(false);
    observed.hear(&feed.sse(1));
    let page = observed.metrics.text();
    let mut lines = page.lines();
    let line = lines.find(|line| line.starts_with("runtrail_time_per_output_token_seconds_sum{"));
    line.map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
}

fn further(feed: &mut Feed) {
    feed.chunk("draft", "task-1", "llo");
}

fn with(mut usage: Value, key: &str, value: u64) -> Value {
    usage["usage"][key] = value.into();
    usage
}

#[test]
fn a_token_took_the_time_after_the_first_chunk_shared_by_those_after_the_first() {
    assert_eq!(token_seconds(further, usage(1, 21)), Some(0.1));
    assert_eq!(token_seconds(further, usage(1, 2)), Some(2.0));
    // What was thought in silence was thought before.
    let thought = with(usage(1, 121), "reasoning_tokens", 100);
    assert_eq!(token_seconds(further, thought), Some(0.1));
}

#[test]
fn what_was_thought_aloud_took_its_time_too() {
    let aloud = |feed: &mut Feed| {
        feed.event(
            "AgentReasoning",
            json!({"task_name": "draft", "agent_name": "writer", "task_id": "task-1",
                   "schema_type": null, "chunk": "hm"}),
        );
    };
    let thought = with(usage(1, 21), "reasoning_tokens", 10);
    assert_eq!(token_seconds(aloud, thought), Some(0.1));
}

#[test]
fn a_token_has_no_time_where_the_feed_does_not_show_it() {
    // Not in pieces; no second token; nothing but thoughts.
    assert_eq!(token_seconds(|_| {}, usage(1, 21)), None);
    assert_eq!(token_seconds(further, usage(1, 1)), None);
    assert_eq!(token_seconds(further, usage(1, 0)), None);
    let thought = with(usage(1, 21), "reasoning_tokens", 21);
    assert_eq!(token_seconds(further, thought), None);
    // The chunks of the first attempt; something else in between.
    let mut again = usage(1, 21);
    again["attempt"] = 2.into();
    assert_eq!(token_seconds(further, again), None);
    let searching = |feed: &mut Feed| {
        feed.tool("draft", "search", "call-1");
        feed.tool_end("draft", "search", "call-1", json!({"n": 1}));
        further(feed);
    };
    assert_eq!(token_seconds(searching, usage(1, 21)), None);
}
