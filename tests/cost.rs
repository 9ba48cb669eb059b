//! What a run costs: told by its server or by the configured prices, counted once,
//! and the same after a crash, a repair, or a time without room.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

mod support;

use std::sync::Arc;

use runtrail::core::{Core, CoreSettings, Part};
use runtrail::metrics::catalogue::CostBasis;
use runtrail::metrics::delta::Delta;
use runtrail::run::outputs::{GapCause, Wish};
use runtrail::run::prices::{PriceEntry, PriceTable};
use serde_json::json;
use support::by_hand::{BEGIN, after, give_log, named, wishes};
use support::trace::{attribute, spans};
use support::workload::run_id;
use support::{Feed, batches, core, merge, settings, sse, usage};

/// Input at so many dollars a million tokens, output at eight times that.
fn prices(input: f64) -> Option<Arc<PriceTable>> {
    let claude = PriceEntry {
        model: "claude-*".to_owned(),
        provider: None,
        input,
        output: 8.0 * input,
        cache_read: input / 10.0,
        cache_write_5m: 1.25 * input,
        cache_write_1h: 2.0 * input,
    };
    Some(Arc::new(PriceTable {
        taken: "2026-05-01".to_owned(),
        entries: vec![claude],
    }))
}

fn configured(input: f64) -> CoreSettings {
    CoreSettings {
        repair: true,
        enrich: true,
        prices: prices(input),
        ..settings(false)
    }
}

/// A run of two models, whose end tells this cost. By the first price of 2.0 it
/// costs, in millionths: 500·2 + 300·0.2 + 100·2.5 + 100·4 + 200·16 = 4910.
fn feed(told_usd: f64) -> Feed {
    let mut feed = Feed::of_run("review", &run_id(1));
    let mut cached = usage(1_000, 200);
    merge(
        &mut cached["usage"],
        json!({"cached_input_tokens": 300, "cache_write_input_tokens": 200,
               "cache_write_5m_input_tokens": 100, "cache_write_1h_input_tokens": 100,
               "reasoning_tokens": 150}),
    );
    let mut other = usage(40, 2);
    merge(
        &mut other["usage"],
        json!({"provider": "openai", "model": "gpt-5"}),
    );
    feed.at(70_000).start().task("a");
    feed.at(70_500).task_end("a", 500, cached);
    feed.at(70_600).task("b");
    feed.at(70_700).task_end("b", 100, other);
    feed.at(71_000).event(
        "WorkflowEnd",
        json!({"value": "done", "total_input_tokens": 1_040, "total_output_tokens": 202,
               "total_cached_input_tokens": 300, "total_thinking_tokens": 150,
               "total_tool_tokens": 0, "total_cost_usd": told_usd, "task_count": 2}),
    );
    feed
}

const BY_TABLE_USD: f64 = 0.004_91;
const UNPRICED: [&str; 1] = ["unpriced openai gpt-5 42"];

fn row(usd: f64) -> String {
    json!({"id": run_id(1), "project_id": 1, "script_name": "review", "status": "completed",
           "cost_usd": usd})
    .to_string()
}

fn tasks(usd: [f64; 2]) -> String {
    json!([
        {"task_name": "a", "provider": "anthropic", "model": "claude-sonnet", "cost_usd": usd[0]},
        {"task_name": "b", "provider": "openai", "model": "gpt-5", "cost_usd": usd[1]},
    ])
    .to_string()
}

fn hear(core: &mut Core, feed: &Feed, events: std::ops::Range<usize>) {
    let bytes = sse(&feed.script, &feed.lines[events], 1);
    core.handle_bytes(0, &bytes, Some(after(71)));
}

fn tell(core: &mut Core, row: Option<&str>, tasks: Option<&str>) {
    let feed = feed(0.0);
    core.handle_facts(
        &named(&feed),
        row.map(str::as_bytes),
        tasks.map(str::as_bytes),
        after(72),
    );
}

/// What the metrics were told of cost, and that it was told before the run's end.
fn counted(core: &mut Core) -> Vec<String> {
    let told: Vec<_> = core.deltas().in_order.drain(..).collect();
    let ended = |delta: &Delta| matches!(delta, Delta::RunFinished { .. });
    let end = told.iter().position(ended).unwrap_or(told.len());
    let told = told.iter().enumerate().filter_map(|(place, delta)| {
        let text = match delta {
            Delta::Cost {
                provider,
                model,
                basis,
                usd,
                ..
            } => {
                let micros = (usd * 1e6).round();
                format!("{} {provider} {model} {micros}", basis.as_str())
            }
            Delta::TokensUnpriced {
                provider,
                model,
                tokens,
                ..
            } => {
                format!("unpriced {provider} {model} {tokens}")
            }
            _ => return None,
        };
        assert!(place < end, "its place is still there");
        Some(text)
    });
    told.collect()
}

/// The cost and its basis on the root, and the tokens that it leaves out.
fn on_root(core: &mut Core) -> [Option<String>; 3] {
    core.handle_drain();
    let spans = spans(&batches(core));
    let root = spans
        .iter()
        .find(|span| span.name.starts_with("invoke_workflow"));
    let root = root.expect("the root");
    [
        "runtrail.cost.usd",
        "runtrail.cost.basis",
        "runtrail.tokens.unpriced",
    ]
    .map(|name| attribute(root, name))
}

/// A root with a cost of this basis; the table leaves out what has no price.
fn root(usd: f64, basis: CostBasis) -> [Option<String>; 3] {
    let left_out = (basis == CostBasis::PriceTable).then(|| "42".to_owned());
    [
        Some(usd.to_string()),
        Some(basis.as_str().to_owned()),
        left_out,
    ]
}

fn summary_usd(core: &mut Core) -> Option<f64> {
    let summary = core.poll_summary().expect("it ended");
    summary
        .cost
        .map(|cost| (cost.total_usd * 1e9).round() / 1e9)
}

#[test]
fn the_row_is_the_whole_and_the_tasks_are_its_parts() {
    let mut core = core(configured(2.0));
    hear(&mut core, &feed(0.9), 0..6);
    tell(&mut core, Some(&row(0.5)), Some(&tasks([0.25, 0.125])));
    let told = [
        "server anthropic claude-sonnet 250000",
        "server openai gpt-5 125000",
        "server unknown unknown 125000",
    ];
    assert_eq!(counted(&mut core), told);
    assert_eq!(summary_usd(&mut core), Some(0.5));
    assert_eq!(on_root(&mut core), root(0.5, CostBasis::Server));
}

#[test]
fn without_a_row_that_knows_the_tasks_tell_it_and_without_these_the_end() {
    let mut by_tasks = core(configured(2.0));
    hear(&mut by_tasks, &feed(0.9), 0..6);
    tell(&mut by_tasks, Some(&row(0.0)), Some(&tasks([0.25, 0.125])));
    assert_eq!(summary_usd(&mut by_tasks), Some(0.375));
    assert_eq!(counted(&mut by_tasks).len(), 2);
    assert_eq!(on_root(&mut by_tasks), root(0.375, CostBasis::Server));

    let mut by_end = core(configured(2.0));
    hear(&mut by_end, &feed(0.9), 0..6);
    tell(&mut by_end, Some(&row(0.0)), Some(&tasks([0.0, 0.0])));
    assert_eq!(counted(&mut by_end), ["server unknown unknown 900000"]);
    assert_eq!(summary_usd(&mut by_end), Some(0.9));
    assert_eq!(on_root(&mut by_end), root(0.9, CostBasis::Server));
}

#[test]
fn where_the_server_does_not_know_the_prices_tell_it_and_what_they_leave_out() {
    let mut core = core(configured(2.0));
    hear(&mut core, &feed(0.0), 0..6);
    tell(&mut core, Some(&row(0.0)), None);
    let told = ["price_table anthropic claude-sonnet 4910", UNPRICED[0]];
    assert_eq!(counted(&mut core), told);
    assert_eq!(summary_usd(&mut core), Some(BY_TABLE_USD));
    let [usd, basis, left_out] = on_root(&mut core);
    assert_eq!(
        [basis, left_out],
        [Some("price_table".into()), Some("42".into())]
    );
    let usd: f64 = usd.expect("a cost").parse().expect("a number");
    assert!((usd - BY_TABLE_USD).abs() < 1e-12, "{usd}");
}

#[test]
fn without_prices_a_cost_that_nobody_knows_is_none() {
    let mut core = core(CoreSettings {
        prices: None,
        ..configured(2.0)
    });
    hear(&mut core, &feed(0.0), 0..6);
    tell(&mut core, None, None);
    assert_eq!(counted(&mut core), [""; 0]);
    assert_eq!(summary_usd(&mut core), Some(0.0));
    assert_eq!(on_root(&mut core), [None, None, None]);
}

#[test]
fn the_cost_of_sub_scripts_alone_counts_though_the_summary_has_none() {
    let mut core = core(configured(2.0));
    let mut feed = Feed::of_run("review", &run_id(1));
    let inside = json!({"script_name": "sub", "parent_task": "x", "parent_path": []});
    feed.at(70_000).start().inside(Some(inside));
    feed.task("a");
    feed.at(70_500).task_end("a", 500, usage(1_000, 0));
    feed.inside(None).at(71_000).end([1_000, 0, 1]);
    hear(&mut core, &feed, 0..feed.lines.len());
    tell(&mut core, None, None);
    assert_eq!(
        counted(&mut core),
        ["price_table anthropic claude-sonnet 2000"]
    );
    assert_eq!(summary_usd(&mut core), None);
}

#[test]
fn a_repair_counts_the_cost_once() {
    let mut core = core(configured(2.0));
    let feed = feed(0.0);
    hear(&mut core, &feed, 0..3);
    core.handle_gap(0, GapCause::Lagged, after(71));
    // The second task and the end come only from the log, the first one twice.
    give_log(&mut core, &feed);
    tell(&mut core, None, None);
    let told = ["price_table anthropic claude-sonnet 4910", UNPRICED[0]];
    assert_eq!(counted(&mut core), told);
}

#[test]
fn a_run_that_is_owed_carries_the_cost_that_was_counted_whatever_prices_are_by_then() {
    let settings = configured(2.0);
    let mut core = core(settings.clone());
    core.resume(&settings, true, BEGIN);
    core.handle_connect(0, Some(BEGIN));
    wishes(&mut core);
    core.handle_room(false, after(1));
    hear(&mut core, &feed(0.0), 0..6);
    tell(&mut core, None, None);
    assert_eq!(counted(&mut core).len(), 2);
    assert_eq!(summary_usd(&mut core), Some(BY_TABLE_USD));

    let parts: Vec<Part> = core.save().collect();
    let dearer = configured(3.0);
    let mut core = Core::restore(dearer.clone(), parts).expect("our own");
    core.resume(&dearer, true, after(100));
    core.handle_connect(0, Some(after(101)));
    for wish in wishes(&mut core) {
        if matches!(wish, Wish::ListRuns { .. }) {
            core.handle_rows(&wish, Some(b"[]"), after(102));
        }
    }
    core.handle_room(true, after(103));
    give_log(&mut core, &feed(0.0));
    assert_eq!(counted(&mut core), [""; 0], "it was counted");
    let [usd, basis, left_out] = on_root(&mut core);
    let usd: f64 = usd.expect("a cost").parse().expect("a number");
    assert!((usd - BY_TABLE_USD).abs() < 1e-12, "{usd}");
    assert_eq!(
        [basis, left_out],
        [Some("price_table".into()), Some("42".into())]
    );
}

/// A first life that hears so many events, and what it wrote down.
fn first_life(events: usize, ends: bool) -> (Core, Vec<Vec<u8>>) {
    let settings = configured(2.0);
    let mut core = core(settings.clone());
    core.resume(&settings, true, BEGIN);
    hear(&mut core, &feed(0.0), 0..events);
    if ends {
        tell(&mut core, None, None);
    }
    let journal = core.entries().map(<[u8]>::to_vec).collect();
    (core, journal)
}

#[test]
fn what_is_told_again_costs_what_it_cost_when_it_was_heard() {
    let (mut before, journal) = first_life(6, true);
    let (expected, root) = (counted(&mut before), on_root(&mut before));
    assert_eq!(expected.len(), 2);
    for now in [Some(3.0), None] {
        let settings = CoreSettings {
            prices: now.and_then(prices),
            ..configured(2.0)
        };
        let mut core = core(settings);
        for entry in &journal {
            core.replay(entry).expect("our own");
        }
        assert_eq!(counted(&mut core), expected);
        assert_eq!(on_root(&mut core), root);
    }
}

#[test]
fn a_run_that_outlives_its_process_costs_all_of_its_tasks_at_the_prices_of_its_end() {
    // The first task was counted in the first life; 3.0 instead of 2.0 from then on.
    for by_journal in [false, true] {
        let (before, journal) = first_life(3, false);
        let dearer = configured(3.0);
        let mut next = if by_journal {
            let mut next = core(dearer.clone());
            for entry in &journal {
                next.replay(entry).expect("our own");
            }
            next
        } else {
            Core::restore(dearer.clone(), before.save()).expect("our own")
        };
        next.resume(&dearer, true, after(100));
        next.handle_connect(0, Some(after(101)));
        counted(&mut next);
        give_log(&mut next, &feed(0.0));
        tell(&mut next, None, None);
        let told = ["price_table anthropic claude-sonnet 7365", UNPRICED[0]];
        assert_eq!(counted(&mut next), told, "{by_journal}");
    }
}

#[test]
fn a_core_goes_on_under_the_prices_that_it_was_saved_with_until_it_is_told_others() {
    let (before, _) = first_life(5, false);
    let mut next = Core::restore(configured(9.0), before.save()).expect("our own");
    hear(&mut next, &feed(0.0), 5..6);
    tell(&mut next, None, None);
    let told = ["price_table anthropic claude-sonnet 4910", UNPRICED[0]];
    assert_eq!(counted(&mut next), told);
}
