//! What a page of metrics costs when the registry is full, and what whoever
//! scrapes it costs the feed.
//!
//! `cargo bench --bench scrape`:
//!
//! - *page*: the CPU time of one page of a registry in which no room is left
//! - *feed*: how long a recorded feed takes through the core into such a
//!   registry, alone and while another thread makes one page after the other
//! - *names*: a million runs over 50,000 workflows through the core and its
//!   metrics; how many series there are in the end, and how much memory
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on may stop")]

mod clock;
mod feed;

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use runtrail::core::Core;
use runtrail::limits::Limits;
use runtrail::metrics::delta::{Delta, Deltas, Exemplar, ModelTokens};
use runtrail::metrics::exposition::Form;
use runtrail::metrics::{self, Metrics};
use runtrail::run::finished::{RunMeta, Verified};
use runtrail::wire::dialect::Dialect;
use runtrail::wire::event::{NodeOutcome, RunOutcome};
use runtrail::wire::time::Time;

use self::clock::{cpu_time, measure};
use self::feed::{Feed, READ_BYTES, settings};

const RUNS: usize = 1_000_000;
const NAMES: usize = 50_000;
const AT_ONCE: usize = 500;
const ROUNDS: usize = 9;
/// The kernel counts a thread's time by the tick, which is longer than a page takes.
const PAGES_A_ROUND: u32 = 50;

fn main() {
    let limits = Limits::default();
    let mut metrics = full(&limits);
    page(&metrics);
    feed_beside_scrapes(&mut metrics);
    drop(metrics);
    names(&limits, limits.label_values_max);
    names(&limits, NAMES);
}

fn empty(limits: &Limits) -> Metrics {
    Metrics::new(&metrics::Settings::new(limits, Dialect::SYSTEMS)).unwrap()
}

/// A million runs, most of whose workflows find no room.
fn names(limits: &Limits, label_values_max: usize) {
    let limits = Limits {
        label_values_max,
        ..limits.clone()
    };
    let before = resident_bytes();
    let mut metrics = empty(&limits);
    let mut core = Core::new(settings(limits)).unwrap();
    let begin = cpu_time();
    for first in (0..RUNS).step_by(AT_ONCE) {
        core.handle_bytes(0, short_runs(first..first + AT_ONCE).as_bytes(), None);
        take(&mut core, &mut metrics);
    }
    let cpu = cpu_time().saturating_sub(begin);
    let page = metrics.text();
    let all = sum(&page, "runtrail_runs_finished_total{", "");
    assert_eq!(all, RUNS as f64, "a run was not counted");
    let others = sum(
        &page,
        "runtrail_runs_finished_total{",
        "workflow=\"__other__\"",
    );
    let overflow = "metric=\"runtrail_runs_finished_total\"";
    let counted = sum(&page, "runtrail_series_overflow_total{", overflow);
    assert_eq!(others, counted, "an overflow was not counted");
    println!(
        "names: {RUNS} runs of {NAMES} workflows, {label_values_max} values a label: {} series, \
         {} runs as __other__, all counted; {:.1} s CPU, {:.0} MB more resident",
        samples(&page).count(),
        others,
        cpu.as_secs_f64(),
        resident_bytes().saturating_sub(before) as f64 / 1e6,
    );
}

/// Runs of one task each, all open at once.
fn short_runs(runs: std::ops::Range<usize>) -> String {
    let events = [
        r#"{"type":"WorkflowStart","payload":1}"#,
        r#"{"type":"TaskStart","payload":["write",null]}"#,
        r#"{"type":"TaskEnd","payload":{"task":"write","value":"v","duration":{"secs":1,"nanos":0},"attempt":1,"variant":"success"}}"#,
        r#"{"type":"WorkflowEnd","payload":"done"}"#,
    ];
    let mut frame = String::from("event: batch\ndata: [");
    for (n, event) in events.into_iter().enumerate() {
        for run in runs.clone() {
            let comma = if n == 0 && run == runs.start { "" } else { "," };
            let at = Time((1_778_149_422_000 + run as u64) * 1_000_000).to_rfc3339();
            let name = run % NAMES;
            write!(
                frame,
                r#"{comma}{{"type":"Execution","payload":{{"project_id":1,"script_name":"workflow {name}","execution_id":"6513270e-8a4c-4b0e-9a7e-{run:012x}","event":{event},"at":"{at}"}}}}"#
            )
            .unwrap();
        }
    }
    frame.push_str("]\n\n");
    frame
}

/// A registry in which no room is left, with everything that workflows make.
fn full(limits: &Limits) -> Metrics {
    let mut metrics = empty(limits);
    let exemplar = Some(Exemplar {
        trace_id: [0x5a; 16],
        span_id: [0xa5; 8],
        at: NOW,
    });
    for run in 0..190 {
        let mut deltas = Deltas::default();
        let meta = RunMeta {
            trace_id: [1; 16],
            system: "akribes",
            source: "bench".into(),
            project: Some(1),
            workflow: format!("a workflow with a name {run}").into(),
            run_id: "run".into(),
        };
        deltas.in_order.push(Delta::RunStarted {
            run,
            meta: Arc::new(meta),
            start: NOW,
        });
        for number in 0..5 {
            let (task, model) = (5 * (run % 38) + number, number % 3);
            deltas
                .in_order
                .push(task_finished(run, task, model, exemplar));
            deltas.in_order.push(Delta::ToolFinished {
                run,
                server: "library".into(),
                tool: format!("tool {task}").into(),
                outcome: NodeOutcome::Failed,
                duration: Duration::from_millis(u64::from(task)),
                exemplar,
            });
        }
        deltas.in_order.push(Delta::RunFinished {
            run,
            outcome: RunOutcome::ALL[run as usize % RunOutcome::ALL.len()],
            error_type: Some("AKRIBES-E-PROVIDER-RATE-LIMIT".into()),
            duration: Duration::from_secs(u64::from(run)),
            tasks_passed: 5,
            tasks_failed: 0,
            verified: Verified::Match,
            exemplar,
        });
        metrics.apply(
            &deltas,
            Dialect::of("akribes", false).unwrap().event_types(),
            NOW,
        );
    }
    let series = samples(&metrics.text()).count();
    let max = limits.metric_series_max;
    assert!((max - max / 10..=max).contains(&series), "{series} series");
    metrics
}

fn task_finished(run: u32, task: u32, model: u32, exemplar: Option<Exemplar>) -> Delta {
    Delta::TaskFinished {
        run,
        task: format!("a task of a workflow {task}").into(),
        outcome: NodeOutcome::Failed,
        duration: Duration::from_millis(u64::from(task) * 97),
        attempts: 1,
        validation_failures: 1,
        escalated: false,
        cached: false,
        tokens: Some(ModelTokens {
            provider: "anthropic".into(),
            model: format!("claude-sonnet-4-{model}").into(),
            input: 1_840,
            output: 412,
            cache_read: 1_024,
            cache_write: 0,
            reasoning: 96,
        }),
        time_to_first_chunk: Some(Duration::from_millis(u64::from(task) * 7)),
        time_per_output_token: Some(Duration::from_millis(u64::from(task))),
        exemplar,
    }
}

/// One page of each form.
fn page(metrics: &Metrics) {
    for form in Form::ALL {
        let mut room_bytes = 0;
        let mut times = Vec::new();
        let (mut series, mut exemplars) = (0, 0);
        for _ in 0..ROUNDS {
            let mut page = String::new();
            let (cpu, _) = measure(|| {
                for _ in 0..PAGES_A_ROUND {
                    page = black_box(metrics.exposition().text(form, &[], room_bytes));
                }
            });
            times.push(cpu / PAGES_A_ROUND);
            room_bytes = page.len() + (16 << 10);
            series = samples(&page).count();
            exemplars = page.matches(" # {").count();
        }
        times.sort_unstable();
        println!(
            "page: {form:?}: {series} series, {exemplars} exemplars, {:.2} MB, {:.2} ms CPU \
             at best, {:.2} ms in the middle",
            (room_bytes - (16 << 10)) as f64 / 1e6,
            times[0].as_secs_f64() * 1e3,
            times[times.len() / 2].as_secs_f64() * 1e3,
        );
    }
}

/// The feed goes into the full registry, alone and beside somebody who scrapes.
fn feed_beside_scrapes(metrics: &mut Metrics) {
    let feed = Feed::generate();
    println!("feed: {}", feed.describe());
    let mut times = [const { Vec::new() }; 2];
    let mut pages = 0;
    for _ in 0..ROUNDS {
        times[0].push(measure(|| hear(&feed, metrics)));
        let (time, made) = beside_scrapes(&feed, metrics);
        times[1].push(time);
        pages += made;
    }
    let [alone, beside] = times.map(|mut times| {
        times.sort_unstable();
        (times[0], times[times.len() / 2])
    });
    println!("              cpu at best  in the middle  events/s (cpu)");
    for (name, (best, middle)) in [("alone", alone), ("beside scrapes", beside)] {
        println!(
            "{name:<14} {:>8.1} ms {:>11.1} ms {:>15.0}",
            best.0.as_secs_f64() * 1e3,
            middle.0.as_secs_f64() * 1e3,
            feed.events as f64 / middle.0.as_secs_f64(),
        );
    }
    println!(
        "ratio: {:.3} of the CPU time at best, {:.3} in the middle; {pages} pages in {ROUNDS} rounds",
        beside.0.0.as_secs_f64() / alone.0.0.as_secs_f64(),
        beside.1.0.as_secs_f64() / alone.1.0.as_secs_f64(),
    );
    println!("memory: {:.0} MB resident", resident_bytes() as f64 / 1e6);
}

/// The same while another thread makes one page after the other, and how many.
fn beside_scrapes(feed: &Feed, metrics: &mut Metrics) -> ((Duration, Duration), u64) {
    let (done, pages) = (AtomicBool::new(false), AtomicU64::new(0));
    let exposition = metrics.exposition().clone();
    let mut time = Default::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Relaxed) {
                for form in Form::ALL {
                    black_box(exposition.text(form, &[], 4 << 20));
                    pages.fetch_add(1, Relaxed);
                }
            }
        });
        time = measure(|| hear(feed, metrics));
        done.store(true, Relaxed);
    });
    (time, pages.into_inner())
}

fn hear(feed: &Feed, metrics: &mut Metrics) {
    let mut core = Core::new(settings(Limits::default())).unwrap();
    for piece in feed.bytes.chunks(READ_BYTES) {
        core.handle_bytes(0, piece, None);
        take(&mut core, metrics);
    }
    core.handle_end_of_runs();
    take(&mut core, metrics);
}

fn take(core: &mut Core, metrics: &mut Metrics) {
    while core.poll_batch().is_some() {}
    while core.poll_summary().is_some() {}
    let (types, now) = (core.event_types(), core.clock());
    let deltas = core.deltas();
    metrics.apply(deltas, types, now);
    deltas.clear();
}

const NOW: Time = Time(1_778_149_422_000_000_000);

/// The samples of a page.
fn samples(page: &str) -> impl Iterator<Item = &str> {
    page.lines().filter(|line| !line.starts_with('#'))
}

fn sum(page: &str, metric: &str, labels: &str) -> f64 {
    samples(page)
        .filter(|line| line.starts_with(metric) && line.contains(labels))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}
