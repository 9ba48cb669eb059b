//! The real binary beside a backend that fails, hangs, leaves and comes back.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod program;
mod receiver;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use opentelemetry_proto::tonic::trace::v1::Span;
use runtrail::sim::settings::Recording;
use runtrail::sim::workload::{Arrivals, WorkloadSettings};
use runtrail::sim::{SimHandle, SimServer, SimSettings};

use self::program::{Ended, Program, eventually, get, run};
use self::receiver::{Received, Receiver, Reply, Wire};

/// Arrivals that come faster than they go.
const MANY: Arrivals = Arrivals::PerMinute(60_000.0);

const RECORDING: &str = "examples/feeds/review.sse";

async fn recorded() -> SimHandle {
    let settings = SimSettings {
        recording: Some(Recording {
            bytes: std::fs::read(RECORDING).unwrap().into(),
            stays_open: true,
        }),
        ..SimSettings::default()
    };
    SimServer::start(settings).await.unwrap()
}

/// A server on which runs go a thousand times as fast as in life.
async fn busy(arrivals: Arrivals) -> SimHandle {
    let settings = SimSettings {
        workload: WorkloadSettings {
            arrivals,
            speed: 1_000.0,
            ..WorkloadSettings::default()
        },
        ..SimSettings::default()
    };
    SimServer::start(settings).await.unwrap()
}

/// The program beside this server, with spans for this backend.
fn start(server: &SimHandle, backend: SocketAddr, more: &[(&str, &str)]) -> Program {
    let url = server.url();
    let endpoint = format!("http://{backend}");
    let mut variables = vec![
        ("AKRIBES_URL", &*url),
        ("AKRIBES_TOKEN", server.token().unwrap()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("RUNTRAIL_LISTEN_METRICS", "127.0.0.1:0"),
        ("RUNTRAIL_LISTEN_LOCAL", "127.0.0.1:0"),
        ("RUNTRAIL_MEMORY_MAX", "512MiB"),
    ];
    variables.extend_from_slice(more);
    Program::start(&["run"], &variables)
}

fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn metric(program: &Program, series: &str) -> u64 {
    let [metrics, _] = program.listeners();
    let (status, page) = get(metrics, "/metrics", "");
    assert_eq!(status, 200);
    let value = page
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.unwrap_or("0").parse().unwrap()
}

/// Waits until a series is so much.
fn reaches(program: &Program, series: &str, least: u64) {
    eventually(series, || (metric(program, series) >= least).then_some(()));
}

/// The same of all series of a name.
fn reaches_sum(program: &Program, name: &str, least: u64) {
    eventually(name, || (sum(program, name) >= least).then_some(()));
}

fn sum(program: &Program, name: &str) -> u64 {
    let [metrics, _] = program.listeners();
    let (_, page) = get(metrics, "/metrics", "");
    let of_name = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let rest = rest
            .strip_prefix('{')
            .map_or(rest, |labels| labels.split_once('}').unwrap().1);
        rest.strip_prefix(' ')?.parse::<u64>().ok()
    });
    of_name.sum()
}

/// The names of all spans that the recording gives, and how often.
fn replayed() -> BTreeMap<String, usize> {
    let arguments = [
        "replay", "--system", "akribes", "--emit", "spans", RECORDING,
    ];
    let mut names = BTreeMap::new();
    for line in run(&arguments, &[]).text.lines() {
        let request: serde_json::Value = serde_json::from_str(line).unwrap();
        for span in request["resourceSpans"][0]["scopeSpans"][0]["spans"]
            .as_array()
            .unwrap()
        {
            *names
                .entry(span["name"].as_str().unwrap().to_owned())
                .or_default() += 1;
        }
    }
    names
}

/// The same of what a receiver has taken, but for markers and the run that is
/// still open in the recording.
fn taken(receiver: &Receiver) -> BTreeMap<String, usize> {
    let mut names = BTreeMap::new();
    let received = receiver.received();
    let spans = received
        .iter()
        .filter(|r| r.taken)
        .flat_map(Received::spans);
    for span in spans.filter(|span| !span.name.starts_with("run started ")) {
        *names.entry(span.name.clone()).or_default() += 1;
    }
    names
}

/// Waits until the receiver has each root of the runs that ended, and counts them.
async fn has_everything(receiver: &Receiver) {
    let mut expected = replayed();
    // One run has not ended yet: its root and its wait are not there.
    let roots = expected
        .iter()
        .filter(|(name, _)| name.starts_with("invoke_workflow "));
    let roots: usize = roots.map(|(_, count)| count).sum();
    eventually("all roots arrive", || {
        let taken = taken(receiver);
        let there = taken
            .iter()
            .filter(|(name, _)| name.starts_with("invoke_workflow "));
        (there.map(|(_, count)| count).sum::<usize>() >= roots - 1).then_some(())
    });
    for (name, count) in taken(receiver) {
        let left = expected.get_mut(&name).unwrap();
        assert!(*left >= count, "{name} came {count} times");
        *left -= count;
    }
}

fn lines(ended: &Ended, text: &str) -> usize {
    ended
        .text
        .lines()
        .filter(|line| line.contains(text))
        .count()
}

const WAIT: &str = "spans wait for the trace backend";
const AGAIN: &str = "the trace backend takes spans again";

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_is_busy_for_a_while_loses_nothing() {
    let server = recorded().await;
    let asked = AtomicUsize::new(0);
    let receiver = Receiver::scripted(Wire::Http, move |_| {
        match asked.fetch_add(1, Ordering::Relaxed) {
            0..3 => Reply::status(503),
            _ => Reply::Take,
        }
    })
    .await;
    let program = start(&server, receiver.addr, &[]);
    has_everything(&receiver).await;
    let spans = taken(&receiver).values().sum::<usize>() as u64;
    reaches(&program, "runtrail_spans_exported_total", spans);
    assert_eq!(
        metric(&program, "runtrail_export_requests_total{result=\"busy\"}"),
        3
    );
    assert_eq!(sum(&program, "runtrail_spans_refused_total"), 0);
    program.signal("TERM");
    let ended = program.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert_eq!(
        (lines(&ended, WAIT), lines(&ended, AGAIN)),
        (1, 1),
        "{}",
        ended.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_is_away_at_the_start_gets_everything_later() {
    let server = recorded().await;
    let address = nobody();
    let program = start(&server, address, &[]);
    program.line_with(&format!("{WAIT}: nothing listens at http://{address}"));
    let receiver = Receiver::listen(address, Wire::Http, None, |_| Reply::Take).await;
    has_everything(&receiver).await;
    program.line_with(AGAIN);
    program.signal("TERM");
    let ended = program.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert_eq!(
        (lines(&ended, WAIT), lines(&ended, AGAIN)),
        (1, 1),
        "{}",
        ended.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_that_the_backend_leaves_out_are_counted_and_its_reason_is_told() {
    let server = recorded().await;
    let receiver = Receiver::scripted(Wire::Grpc, |request| match request.number {
        0 => Reply::Partial(1, "one span is too old"),
        _ => Reply::Take,
    })
    .await;
    let program = start(
        &server,
        receiver.addr,
        &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
    );
    let line = program.line_with("one span is too old");
    assert!(
        line.contains("WARN") && line.contains("\"rejected\":1"),
        "{line}"
    );
    reaches(
        &program,
        "runtrail_export_requests_total{result=\"partly_taken\"}",
        1,
    );
    reaches(
        &program,
        "runtrail_spans_refused_total{reason=\"partial_success\"}",
        1,
    );
    program.signal("TERM");
    assert_eq!(program.ended().code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_while_the_backend_is_away_says_what_is_left() {
    let server = recorded().await;
    let program = start(&server, nobody(), &[("RUNTRAIL_DRAIN_MAX", "1s")]);
    program.line_with(WAIT);
    program.signal("TERM");
    let ended = program.ended();
    assert_eq!(ended.code, Some(1), "{}", ended.text);
    let last = ended.text.lines().last().unwrap();
    assert!(
        last.starts_with("runtrail: ") && last.contains("left behind"),
        "{last}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_in_the_middle_of_a_feed_sends_what_is_finished() {
    let server = busy(MANY).await;
    let receiver = Receiver::start(Wire::Http).await;
    let program = start(&server, receiver.addr, &[("RUNTRAIL_LOG_RUNS", "true")]);
    receiver.spans(50).await;
    program.signal("TERM");
    let ended = program.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    let ids = ended.text.lines().filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(line.get("trace_id")?.as_str()?.to_owned())
    });
    let finished: Vec<_> = ids.collect();
    assert!(!finished.is_empty());
    let received = receiver.received();
    let roots: Vec<String> = received
        .iter()
        .flat_map(Received::spans)
        .filter(|span| span.parent_span_id.is_empty())
        .map(|span| {
            span.trace_id
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect()
        })
        .collect();
    for run in &finished {
        assert!(
            roots.contains(run),
            "{run} is finished, but its root is not there"
        );
    }
    assert_eq!(
        roots.len(),
        finished.len(),
        "no run is sent before it is finished"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_it_twice_means_at_once() {
    let server = recorded().await;
    let program = start(&server, nobody(), &[("RUNTRAIL_DRAIN_MAX", "1h")]);
    program.line_with(WAIT);
    program.signal("TERM");
    program.line_with("draining: reading has stopped");
    program.signal("INT");
    let ended = program.ended();
    assert_eq!(ended.code, Some(1), "{}", ended.text);
    assert!(
        ended.text.contains("told twice: ending at once"),
        "{}",
        ended.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_hangs_does_not_stop_the_metrics() {
    let server = busy(Arrivals::None).await;
    let hanging = Receiver::scripted(Wire::Http, |_| Reply::Never).await;
    let program = start(&server, hanging.addr, &[("RUNTRAIL_DRAIN_MAX", "1s")]);
    server.wait_for_feeds(1).await;
    let start = |runs: usize| (0..runs).for_each(|_| drop(server.start_run("review").unwrap()));
    start(1);
    hanging.requests(1).await;
    start(39);
    server.wait_for_finished(40).await;
    eventually("all runs are counted", || {
        (sum(&program, "runtrail_runs_finished_total") == 40).then_some(())
    });
    assert_eq!(metric(&program, "runtrail_spans_exported_total"), 0);
    let [metrics, local] = program.listeners();
    assert_eq!(get(metrics, "/healthz", "").0, 200);
    assert_eq!(get(local, "/api/runs", "").0, 200);
    program.signal("TERM");
    assert_eq!(program.ended().code, Some(1));
}

/// A receiver that takes nothing until its gate is opened.
async fn gated() -> (Receiver, Arc<AtomicBool>) {
    let open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&open);
    let receiver = Receiver::scripted(Wire::Http, move |_| match gate.load(Ordering::Relaxed) {
        true => Reply::Take,
        false => Reply::status(503),
    })
    .await;
    (receiver, open)
}

const SMALL_OUTBOX: [(&str, &str); 2] = [
    ("RUNTRAIL_LIMITS_OUTBOX_BYTES_MAX", "4MiB"),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
];

/// Whoever asks often is not what these tests are about.
const ASKS_AT_WILL: (&str, &str) = ("RUNTRAIL_LIMITS_ASKS_PER_SECOND_MAX", "10000");

/// What a receiver has taken but for markers, by id: all of each span. No id came
/// with two contents.
fn contents(receiver: &Receiver) -> BTreeMap<(Vec<u8>, Vec<u8>), Span> {
    let mut contents = BTreeMap::new();
    let received = receiver.received();
    let taken = received.iter().filter(|request| request.taken);
    for span in taken.flat_map(Received::spans) {
        if span.name.starts_with("run started ") {
            continue;
        }
        let id = (span.trace_id.clone(), span.span_id.clone());
        if let Some(other) = contents.insert(id, span.clone()) {
            assert_eq!(&other, span, "one id, two contents");
        }
    }
    contents
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_that_is_full_costs_nothing() {
    const MORE: usize = 40;
    let server = busy(Arrivals::None).await;
    let (receiver, open) = gated().await;
    let undisturbed = Receiver::start(Wire::Http).await;
    let settings = [SMALL_OUTBOX[0], SMALL_OUTBOX[1], ASKS_AT_WILL];
    let program = start(&server, receiver.addr, &settings);
    let beside = start(&server, undisturbed.addr, &[ASKS_AT_WILL]);
    server.wait_for_feeds(2).await;
    let owed = || metric(&program, "runtrail_runs_owed");
    // Runs until there is no room, and more that end after it.
    let mut runs = 0;
    while owed() == 0 {
        assert!(runs < 1_500, "the outbox does not fill");
        (0..20).for_each(|_| drop(server.start_run("review").unwrap()));
        runs += 20;
        server.wait_for_finished(runs).await;
        reaches_sum(&program, "runtrail_runs_finished_total", runs as u64);
    }
    program.line_with("there is no room for more spans");
    let owed_before = owed();
    (0..MORE).for_each(|_| drop(server.start_run("review").unwrap()));
    runs += MORE;
    server.wait_for_finished(runs).await;
    reaches_sum(&program, "runtrail_runs_finished_total", runs as u64);
    eventually("those that ended are owed", || {
        (owed() >= owed_before + MORE as u64).then_some(())
    });
    assert_eq!(metric(&program, "runtrail_spans_exported_total"), 0);
    let [metrics, _] = program.listeners();
    assert_eq!(get(metrics, "/healthz", "").0, 200);

    open.store(true, Ordering::Relaxed);
    program.line_with("there is room for spans again");
    eventually("what is owed is paid", || (owed() == 0).then_some(()));
    for program in [program, beside] {
        assert_eq!(
            sum(&program, "runtrail_runs_finished_total"),
            runs as u64,
            "a run that is paid does not count again"
        );
        assert_eq!(sum(&program, "runtrail_spans_refused_total"), 0);
        program.signal("TERM");
        let ended = program.ended();
        assert_eq!(ended.code, Some(0), "{}", ended.text);
    }
    let (here, there) = (contents(&receiver), contents(&undisturbed));
    let roots = there.values().filter(|span| span.parent_span_id.is_empty());
    assert_eq!(roots.count(), runs);
    for (id, span) in &there {
        assert_eq!(here.get(id), Some(span));
    }
    assert_eq!(here.len(), there.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_outbox_makes_the_feed_wait_when_no_log_may_be_read() {
    let server = busy(MANY).await;
    let (receiver, open) = gated().await;
    let settings = [
        SMALL_OUTBOX[0],
        SMALL_OUTBOX[1],
        ("RUNTRAIL_REPAIR", "false"),
    ];
    let program = start(&server, receiver.addr, &settings);
    program.line_with("the outbox is full");
    let [metrics, _] = program.listeners();
    assert_eq!(get(metrics, "/healthz", "").0, 200);
    open.store(true, Ordering::Relaxed);
    program.line_with("the outbox has room again");
    assert_eq!(metric(&program, "runtrail_runs_owed"), 0);
    program.signal("TERM");
    let ended = program.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert!(!ended.text.contains("dropped"), "{}", ended.text);
}
