//! Each delta does what the catalogue says.

use super::*;
use crate::metrics::catalogue::Group;
use crate::wire::rejection::Rejection;

const RUN: &str = r#"project="1",system="akribes""#;

#[test]
fn a_run_that_starts_is_counted_open_and_its_outcomes_stand_at_zero() {
    let mut bench = Bench::new();
    bench.start(0, "review");
    bench.expect(&[
        (
            r#"runs_started_total{project="1",system="akribes",workflow="review"}"#,
            1.0,
        ),
        (
            r#"runs_open{project="1",state="running",system="akribes",workflow="review"}"#,
            1.0,
        ),
        (
            r#"runs_open{project="1",state="waiting",system="akribes",workflow="review"}"#,
            0.0,
        ),
        (
            r#"run_tasks_total{project="1",result="passed",system="akribes",workflow="review"}"#,
            0.0,
        ),
        (
            r#"run_tasks_total{project="1",result="failed",system="akribes",workflow="review"}"#,
            0.0,
        ),
    ]);
    for outcome in RunOutcome::ALL {
        let outcome = outcome.as_str();
        let line = format!(r#"runs_finished_total{{outcome="{outcome}",{RUN},workflow="review"}}"#);
        bench.expect(&[(&line, 0.0)]);
    }
    assert!(
        !bench
            .metrics
            .text()
            .contains("TYPE runtrail_run_duration_seconds")
    );
}

#[test]
fn a_run_that_ends_is_counted_by_outcome_with_its_tasks_time_and_verdict() {
    let mut bench = Bench::new();
    bench.start(4, "review");
    bench.say(finished(4, RunOutcome::Success, Some("ignored")));
    bench.expect(&[
        (r#"runs_finished_total{outcome="success",project="1",system="akribes",workflow="review"}"#, 1.0),
        (r#"runs_finished_total{outcome="error",project="1",system="akribes",workflow="review"}"#, 0.0),
        (r#"runs_open{project="1",state="running",system="akribes",workflow="review"}"#, 0.0),
        (r#"run_tasks_total{project="1",result="passed",system="akribes",workflow="review"}"#, 3.0),
        (r#"run_tasks_total{project="1",result="failed",system="akribes",workflow="review"}"#, 2.0),
        (r#"run_duration_seconds_bucket{outcome="success",project="1",system="akribes",workflow="review",le="5"}"#, 0.0),
        (r#"run_duration_seconds_bucket{outcome="success",project="1",system="akribes",workflow="review",le="10"}"#, 1.0),
        (r#"run_duration_seconds_sum{outcome="success",project="1",system="akribes",workflow="review"}"#, 7.0),
        (r#"runs_verified_total{result="match"}"#, 1.0),
        (r#"runs_verified_total{result="mismatch"}"#, 0.0),
    ]);
    assert!(
        !bench
            .metrics
            .text()
            .contains("TYPE runtrail_run_errors_total")
    );
    bench.say(finished(4, RunOutcome::Success, None));
    bench.expect(&[(r#"runs_verified_total{result="match"}"#, 1.0)]);
}

#[test]
fn only_errors_and_timeouts_are_errors_and_one_without_a_type_is_one_too() {
    let mut bench = Bench::new();
    for outcome in RunOutcome::ALL {
        bench.start(0, "review");
        bench.say(finished(0, outcome, Some("AKRIBES-E-X")));
    }
    bench.start(0, "review");
    bench.say(finished(0, RunOutcome::Error, None));
    bench.expect(&[
        (r#"run_errors_total{error_type="AKRIBES-E-X",project="1",system="akribes",workflow="review"}"#, 2.0),
        (r#"run_errors_total{error_type="_OTHER",project="1",system="akribes",workflow="review"}"#, 1.0),
    ]);
}

#[test]
fn a_run_that_waits_moves_from_one_state_to_the_other_and_ends_in_either() {
    let mut bench = Bench::new();
    let open = |state: &str| {
        format!(r#"runs_open{{project="1",state="{state}",system="akribes",workflow="w"}}"#)
    };
    bench.start(0, "w");
    bench.start(1, "w");
    bench.say(waiting(0, true));
    bench.say(waiting(0, true));
    bench.expect(&[(&open("running"), 1.0), (&open("waiting"), 1.0)]);
    bench.expect(&[(
        r#"run_wait_seconds_total{kind="person",project="1",system="akribes",workflow="w"}"#,
        0.0,
    )]);
    bench.say(waiting(1, true));
    bench.say(waiting(1, false));
    bench.say(finished(0, RunOutcome::Abandoned, None));
    bench.expect(&[(&open("running"), 1.0), (&open("waiting"), 0.0)]);
    bench.say(finished(1, RunOutcome::Success, None));
    bench.expect(&[(&open("running"), 0.0), (&open("waiting"), 0.0)]);
}

#[test]
fn a_wait_adds_its_seconds_to_its_kind() {
    let mut bench = Bench::new();
    bench.start(0, "w");
    for (kind, millis) in [("person", 1_500), ("person", 1_000), ("moon", 250)] {
        bench.say(Delta::WaitFinished {
            run: 0,
            kind: WaitKind::told_as(Some(kind)),
            duration: Duration::from_millis(millis),
        });
    }
    bench.expect(&[
        (
            r#"run_wait_seconds_total{kind="person",project="1",system="akribes",workflow="w"}"#,
            2.5,
        ),
        (
            r#"run_wait_seconds_total{kind="unknown",project="1",system="akribes",workflow="w"}"#,
            0.25,
        ),
    ]);
}

#[test]
fn an_end_of_a_task_is_counted_with_all_it_tells() {
    let mut bench = Bench::new();
    bench.start(0, "w");
    bench.say(task(0, "sum", NodeOutcome::Failed));
    bench.expect(&[
        (r#"tasks_finished_total{outcome="failed",project="1",system="akribes",task="sum",workflow="w"}"#, 1.0),
        (r#"tasks_finished_total{outcome="success",project="1",system="akribes",task="sum",workflow="w"}"#, 0.0),
        (r#"tasks_finished_total{outcome="unable",project="1",system="akribes",task="sum",workflow="w"}"#, 0.0),
        (r#"tasks_finished_total{outcome="unknown",project="1",system="akribes",task="sum",workflow="w"}"#, 0.0),
        (r#"task_duration_seconds_bucket{project="1",system="akribes",task="sum",workflow="w",le="0.25"}"#, 0.0),
        (r#"task_duration_seconds_bucket{project="1",system="akribes",task="sum",workflow="w",le="0.5"}"#, 1.0),
        (r#"task_duration_seconds_bucket{project="1",system="akribes",task="sum",workflow="w",le="+Inf"}"#, 1.0),
        (r#"task_attempts_total{project="1",system="akribes",task="sum",workflow="w"}"#, 2.0),
        (r#"validation_failures_total{project="1",system="akribes",task="sum",workflow="w"}"#, 1.0),
        (r#"task_escalations_total{project="1",system="akribes",task="sum",workflow="w"}"#, 1.0),
        (r#"task_cache_hits_total{project="1",system="akribes",task="sum",workflow="w"}"#, 0.0),
        (r#"tokens_total{direction="input",model="gpt-5",project="1",provider="openai",system="akribes",workflow="w"}"#, 100.0),
        (r#"tokens_total{direction="output",model="gpt-5",project="1",provider="openai",system="akribes",workflow="w"}"#, 20.0),
        (r#"token_details_total{detail="cache_read",direction="input",model="gpt-5",project="1",provider="openai",system="akribes",workflow="w"}"#, 40.0),
        (r#"token_details_total{detail="cache_write",direction="input",model="gpt-5",project="1",provider="openai",system="akribes",workflow="w"}"#, 5.0),
        (r#"token_details_total{detail="reasoning",direction="output",model="gpt-5",project="1",provider="openai",system="akribes",workflow="w"}"#, 7.0),
        (r#"time_to_first_chunk_seconds_bucket{model="gpt-5",project="1",provider="openai",system="akribes",workflow="w",le="0.04"}"#, 0.0),
        (r#"time_to_first_chunk_seconds_bucket{model="gpt-5",project="1",provider="openai",system="akribes",workflow="w",le="0.08"}"#, 1.0),
    ]);
}

#[test]
fn a_task_that_starts_stands_at_zero_so_that_its_first_failure_is_an_increase() {
    let mut bench = Bench::new();
    bench.start(0, "w");
    let starts = Delta::TaskStarted {
        run: 0,
        task: Arc::from("sum"),
    };
    bench.say(starts.clone());
    let failed = r#"tasks_finished_total{outcome="failed",project="1",system="akribes",task="sum",workflow="w"}"#;
    let failures =
        r#"validation_failures_total{project="1",system="akribes",task="sum",workflow="w"}"#;
    let overflow = r#"series_overflow_total{metric="runtrail_tasks_finished_total"}"#;
    bench.expect(&[(failed, 0.0), (failures, 0.0), (overflow, 0.0)]);
    bench.say(task(0, "sum", NodeOutcome::Failed));
    bench.say(starts);
    bench.expect(&[(failed, 1.0), (failures, 1.0)]);
}

#[test]
fn a_second_end_of_a_task_adds_to_the_first() {
    let mut bench = Bench::new();
    bench.start(0, "w");
    bench.start(1, "w");
    for run in [0, 0, 1] {
        bench.say(task(run, "sum", NodeOutcome::Success));
    }
    bench.expect(&[
        (r#"tasks_finished_total{outcome="success",project="1",system="akribes",task="sum",workflow="w"}"#, 3.0),
        (r#"task_attempts_total{project="1",system="akribes",task="sum",workflow="w"}"#, 6.0),
        (r#"tokens_total{direction="input",model="gpt-5",project="1",provider="openai",system="akribes",workflow="w"}"#, 300.0),
    ]);
}

#[test]
fn a_cache_hit_is_no_first_chunk_and_a_task_without_tokens_names_no_model() {
    let mut bench = Bench::new();
    bench.start(0, "w");
    let mut hit = task(0, "a", NodeOutcome::Success);
    if let Delta::TaskFinished { cached, .. } = &mut hit {
        *cached = true;
    }
    bench.say(hit);
    let mut without = task(0, "b", NodeOutcome::Success);
    if let Delta::TaskFinished { tokens, .. } = &mut without {
        *tokens = None;
    }
    bench.say(without);
    bench.expect(&[
        (r#"task_cache_hits_total{project="1",system="akribes",task="a",workflow="w"}"#, 1.0),
        (r#"tokens_total{direction="input",model="gpt-5",project="1",provider="openai",system="akribes",workflow="w"}"#, 100.0),
    ]);
    assert!(
        !bench
            .metrics
            .text()
            .contains("TYPE runtrail_time_to_first_chunk")
    );
}

#[test]
fn an_empty_model_is_unknown() {
    let mut bench = Bench::new();
    bench.start(0, "w");
    let mut delta = task(0, "a", NodeOutcome::Success);
    if let Delta::TaskFinished { tokens: used, .. } = &mut delta {
        *used = Some(tokens("mock", ""));
    }
    bench.say(delta);
    bench.expect(&[(r#"tokens_total{direction="input",model="unknown",project="1",provider="mock",system="akribes",workflow="w"}"#, 100.0)]);
}

#[test]
fn a_tool_call_is_counted_and_timed_by_outcome() {
    let mut bench = Bench::new();
    bench.start(0, "w");
    bench.say(tool(0, "files", "read", NodeOutcome::Failed));
    bench.say(tool(0, "files", "read", NodeOutcome::Failed));
    bench.expect(&[
        (r#"tool_calls_total{outcome="failed",project="1",server="files",system="akribes",tool="read",workflow="w"}"#, 2.0),
        (r#"tool_calls_total{outcome="success",project="1",server="files",system="akribes",tool="read",workflow="w"}"#, 0.0),
        (r#"tool_duration_seconds_count{outcome="failed",project="1",server="files",system="akribes",tool="read",workflow="w"}"#, 2.0),
    ]);
}

#[test]
fn a_run_without_a_project_has_an_empty_label() {
    let mut bench = Bench::new();
    bench.say(started(0, None, "w"));
    bench.expect(&[(
        r#"runs_started_total{project="",system="akribes",workflow="w"}"#,
        1.0,
    )]);
}

#[test]
fn cost_is_added_by_its_basis_and_never_less_than_nothing() {
    let mut bench = Bench::new();
    bench.say(started(0, Some(1), "w"));
    for usd in [0.25, 0.5, -1.0, f64::NAN, f64::INFINITY] {
        bench.say(cost(0, "gpt-5", CostBasis::PriceTable, usd));
    }
    bench.say(finished(0, RunOutcome::Success, None));
    bench.say(cost(0, "gpt-5", CostBasis::PriceTable, 9.0));
    bench.expect(&[(r#"cost_usd_total{basis="price_table",model="gpt-5",project="1",provider="openai",system="akribes",workflow="w"}"#, 0.75)]);
}

#[test]
fn what_a_model_costs_and_what_has_no_price_is_at_zero_while_its_run_goes_on() {
    let mut bench = Bench::new();
    bench.start(0, "w");
    bench.say(task(0, "t", NodeOutcome::Success));
    for basis in CostBasis::ALL {
        let basis = basis.as_str();
        bench.expect(&[(&format!(r#"cost_usd_total{{basis="{basis}",model="gpt-5",project="1",provider="openai",system="akribes",workflow="w"}}"#), 0.0)]);
    }
    bench.expect(&[(r#"tokens_unpriced_total{model="gpt-5",project="1",provider="openai",system="akribes",workflow="w"}"#, 0.0)]);
}

#[test]
fn tokens_without_a_price_are_counted_by_model() {
    let mut bench = Bench::new();
    bench.start(0, "w");
    for tokens in [700, 50] {
        bench.say(Delta::TokensUnpriced {
            run: 0,
            provider: Arc::from("openai"),
            model: Arc::from(""),
            tokens,
        });
    }
    bench.expect(&[(r#"tokens_unpriced_total{model="unknown",project="1",provider="openai",system="akribes",workflow="w"}"#, 750.0)]);
}

#[test]
fn the_feed_and_the_repair_start_at_zero_and_are_counted() {
    let mut bench = Bench::new();
    for reason in Rejection::ALL {
        bench.expect(&[(
            &format!(r#"events_rejected_total{{reason="{}"}}"#, reason.as_str()),
            0.0,
        )]);
    }
    bench.expect(&[
        (r#"feed_gaps_total{cause="lagged"}"#, 0.0),
        (r#"runs_repaired_total{result="gave_up"}"#, 0.0),
        ("source_connected", 0.0),
        ("source_reconnects_total", 0.0),
        ("chunk_events_thinned_total", 0.0),
    ]);
    let mut deltas = Deltas {
        events_by_type: vec![3, 0, 1, 9],
        chunk_events_thinned: 12,
        in_order: vec![
            Delta::Gap { cause: "lagged" },
            Delta::Gap { cause: "the moon" },
            Delta::RunRepaired { result: "repaired" },
            Delta::FeedDelay(Duration::from_millis(30)),
        ],
        ..Deltas::default()
    };
    deltas.rejected[Rejection::Duplicate as usize] = 5;
    bench.metrics.apply(&deltas, TYPES, bench.now);
    bench.expect(&[
        (r#"events_total{type="WorkflowStart"}"#, 3.0),
        (r#"events_total{type="TaskEnd"}"#, 0.0),
        (r#"events_total{type="unknown"}"#, 10.0),
        (r#"events_rejected_total{reason="duplicate"}"#, 5.0),
        (r#"feed_gaps_total{cause="lagged"}"#, 1.0),
        (r#"feed_gaps_total{cause="unknown"}"#, 1.0),
        (r#"runs_repaired_total{result="repaired"}"#, 1.0),
        (r#"feed_delay_seconds_bucket{le="0.05"}"#, 1.0),
        ("chunk_events_thinned_total", 12.0),
    ]);
}

#[test]
fn the_source_and_the_names_are_told() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.value("runtrail_source_last_event_timestamp_seconds"),
        None
    );
    let now = bench.now;
    bench.metrics.set_source_connected(true, now);
    bench.metrics.set_source_paused("refused", true, now);
    bench.metrics.source_reconnected(now);
    bench
        .metrics
        .set_source_last_event(Time(1_500_000_000), now);
    bench.metrics.set_build_info("0.1.0", now);
    bench.metrics.set_project_info(7, "old name", now);
    bench.metrics.set_project_info(7, "name", now);
    bench.metrics.set_project_info(8, "name", now);
    bench.expect(&[
        ("source_connected", 1.0),
        (r#"source_paused{reason="refused"}"#, 1.0),
        (r#"source_paused{reason="disk_full"}"#, 0.0),
        ("source_reconnects_total", 1.0),
        ("source_last_event_timestamp_seconds", 1.5),
        (r#"build_info{version="0.1.0"}"#, 1.0),
        (r#"project_info{name="name",project="7"}"#, 1.0),
        (r#"project_info{name="name",project="8"}"#, 1.0),
    ]);
    assert_eq!(bench.total("project_info", |_| true), 2.0);
}

#[test]
fn what_nobody_feeds_is_not_shown_and_a_group_is_registered_once() {
    let mut bench = Bench::new();
    let text = bench.metrics.text();
    for name in [
        "outbox",
        "quarantine",
        "journal",
        "export",
        "spans_",
        "runs_owed",
    ] {
        assert!(!text.contains(&format!("# TYPE runtrail_{name}")), "{name}");
    }
    assert!(bench.metrics.register(Group::Store).is_ok());
    assert!(bench.metrics.register(Group::Store).is_err());
}

#[test]
fn a_delta_for_a_place_without_a_run_does_nothing() {
    let mut bench = Bench::new();
    bench.start(0, "w");
    let before = bench.metrics.text();
    bench.say(task(5, "a", NodeOutcome::Success));
    bench.say(tool(u32::MAX, "a", "b", NodeOutcome::Success));
    bench.say(finished(9, RunOutcome::Error, None));
    bench.say(waiting(9, true));
    bench.say(Delta::TaskStarted {
        run: 9,
        task: Arc::from("a"),
    });
    assert_eq!(bench.metrics.text(), before);
}

#[test]
fn a_run_in_a_place_that_was_not_freed_does_not_leave_the_old_one_open() {
    let mut bench = Bench::new();
    bench.start(0, "a");
    bench.start(0, "b");
    bench.expect(&[
        (
            r#"runs_open{project="1",state="running",system="akribes",workflow="a"}"#,
            0.0,
        ),
        (
            r#"runs_open{project="1",state="running",system="akribes",workflow="b"}"#,
            1.0,
        ),
    ]);
}

#[test]
fn a_counter_at_its_end_stands_still() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        let deltas = Deltas {
            chunk_events_thinned: u64::MAX - 1,
            ..Deltas::default()
        };
        bench.metrics.apply(&deltas, TYPES, bench.now);
    }
    bench.expect(&[("chunk_events_thinned_total", u64::MAX as f64)]);
}

#[test]
fn label_sets_that_spell_alike_end_to_end_stay_apart() {
    let mut bench = Bench::new();
    bench.say(started(0, Some(1), "2go"));
    bench.say(started(1, Some(12), "go"));
    bench.expect(&[
        (
            r#"runs_started_total{project="1",system="akribes",workflow="2go"}"#,
            1.0,
        ),
        (
            r#"runs_started_total{project="12",system="akribes",workflow="go"}"#,
            1.0,
        ),
    ]);
}

#[test]
fn labels_of_any_text_are_escaped_and_stay_on_their_line() {
    let mut bench = Bench::new();
    bench.start(0, "a\"b\\c\nd é 日本 {x=\"y\"} # z");
    bench.start(1, "a\"b\\c\\nd é 日本 {x=\"y\"} # z");
    bench.expect(&[
        (r##"runs_started_total{project="1",system="akribes",workflow="a\"b\\c\nd é 日本 {x=\"y\"} # z"}"##, 1.0),
        (r##"runs_started_total{project="1",system="akribes",workflow="a\"b\\c\\nd é 日本 {x=\"y\"} # z"}"##, 1.0),
    ]);
    for line in bench.metrics.text().lines() {
        assert!(
            line.starts_with("runtrail_") || line.starts_with("# "),
            "{line}"
        );
    }
}

#[test]
fn the_same_deltas_give_the_same_page() {
    let page = |order: [&str; 3]| {
        let mut bench = Bench::new();
        for (run, name) in order.into_iter().enumerate() {
            bench.start(run as u32, name);
            bench.say(task(run as u32, name, NodeOutcome::Success));
        }
        bench.metrics.text()
    };
    assert_eq!(page(["a", "b", "c"]), page(["a", "b", "c"]));
    assert_eq!(page(["a", "b", "c"]), page(["c", "a", "b"]));
}
