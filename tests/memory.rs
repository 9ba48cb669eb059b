//! The memory of the real binary: what it has resident at worst stays below
//! `memory_max`, and what the budget says of its parts is so.
//!
//! It prints what it measured; `-- --nocapture` shows it.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod common;
mod program;
mod receiver;
mod scripted;

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use runtrail::sim::settings::Recording;
use runtrail::sim::{SimHandle, SimServer, SimSettings};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;

use self::common::{batch, chunk, end, event, hub, opening, start, task_end, task_start, text};
use self::program::{Program, eventually, get, sum};
use self::receiver::{Receiver, Reply, Wire};
use self::scripted::{Connection, Server, only_feeds, soon};

/// What a sidecar may use that nobody configured otherwise.
const MEMORY_MAX: usize = 384 << 20;

/// What may be added from one round to the next: names of ended runs, and what
/// the allocator keeps in pieces. It levels off after the third round; what a
/// round holds, and would leak, is twice as much.
const WASTE_MAX: usize = 32 << 20;

/// As many runs as may be open.
const OPEN_RUNS: u32 = 10_000;

/// A program beside a server without calls, which a test feeds.
struct Beside {
    program: Program,
    feeds: mpsc::Receiver<Connection>,
    feed: Connection,
    metrics: SocketAddr,
    local: SocketAddr,
}

impl Beside {
    async fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let server = Server::new().await;
        let url = server.url().to_string();
        let mut feeds = only_feeds(server);
        let mut all = listening(&url);
        all.extend(variables);
        let program = Program::start(&[&["run"], arguments].concat(), &all);
        let feed = soon(feeds.recv()).await.unwrap();
        let [metrics, local] = program.listeners();
        Self {
            program,
            feeds,
            feed,
            metrics,
            local,
        }
    }

    /// Sends what each of these runs has to say next, some runs a frame.
    async fn tell(&mut self, runs: impl Iterator<Item = u32>, events: impl Fn(u32) -> Vec<String>) {
        let mut frame = Vec::new();
        for run in runs {
            frame.extend(events(run).iter().map(|event| hub(run, run, event)));
            if frame.len() >= 40 {
                self.feed.send(batch(&frame)).await;
                frame.clear();
            }
        }
        self.feed.send(batch(&frame)).await;
    }

    fn prints(&self, when: &str) -> usize {
        let (peak, resident) = (self.program.peak_bytes(), self.program.resident_bytes());
        println!("{when}: {} resident, {} at most", mib(resident), mib(peak));
        peak
    }
}

/// Variables for a program beside a server, on ports that are free.
fn listening(url: &str) -> Vec<(&str, &str)> {
    vec![
        ("AKRIBES_URL", url),
        ("RUNTRAIL_LISTEN_METRICS", "127.0.0.1:0"),
        ("RUNTRAIL_LISTEN_LOCAL", "127.0.0.1:0"),
        // Whether a run gets one depends on how long the test takes.
        ("RUNTRAIL_MARKERS", "false"),
        // How fast a server may be asked is not what is measured.
        ("RUNTRAIL_LIMITS_ASKS_PER_SECOND_MAX", "10000"),
    ]
}

fn mib(bytes: usize) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// The sum once it is so large.
fn counted(metrics: SocketAddr, metric: &str, labels: &str, least: u64) -> String {
    eventually(metric, || {
        let (_, page) = get(metrics, "/metrics", "");
        (sum(&page, metric, labels) >= least).then_some(page)
    })
}

fn is_task(span: &&Span) -> bool {
    span.name.starts_with("task ")
}

/// How much of its answer a task carries.
fn text_bytes(span: &Span) -> usize {
    let mut attributes = span.attributes.iter();
    let text = attributes.find(|attribute| attribute.key == "gen_ai.output.messages");
    let text = text.and_then(|text| text.value.as_ref()?.value.as_ref());
    match text {
        Some(Value::StringValue(text)) => text.len(),
        _ => 0,
    }
}

fn chunks(span: &Span) -> i64 {
    let mut attributes = span.attributes.iter();
    let count = attributes.find(|attribute| attribute.key == "runtrail.chunks.count");
    match count.unwrap().value.as_ref().unwrap().value {
        Some(Value::IntValue(count)) => count,
        _ => panic!("{count:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_open_runs_with_their_texts_stay_within_memory_max() {
    let receiver = Receiver::start(Wire::Http).await;
    let backend = format!("http://{}", receiver.addr);
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*backend)];
    let mut beside = Beside::start(&["--capture-content"], &variables).await;
    let idle = beside.prints("idle");
    assert!(idle < 64 << 20);
    // 20 KB of text each: three times what all open runs together may hold.
    let texts: Vec<String> = (0..8).map(|n| text(n, 2_500)).collect();
    let mut peaks = Vec::new();
    for round in 0..2 {
        let runs = round * OPEN_RUNS..(round + 1) * OPEN_RUNS;
        beside.tell(runs.clone(), |run| opening(run, &texts)).await;
        let page = counted(
            beside.metrics,
            "runtrail_runs_started_total",
            "",
            u64::from(runs.end),
        );
        assert_eq!(sum(&page, "runtrail_runs_open", ""), u64::from(OPEN_RUNS));
        beside.prints("all are open");
        beside
            .tell(runs.clone(), |_| vec![task_end("write"), end()])
            .await;
        let page = counted(
            beside.metrics,
            "runtrail_runs_finished_total",
            "",
            u64::from(runs.end),
        );
        let good = sum(&page, "runtrail_runs_finished_total", "outcome=\"success\"");
        assert_eq!(good, u64::from(runs.end), "none was given up");
        peaks.push(beside.prints("all have ended"));
    }
    let spans = receiver.spans(4 * OPEN_RUNS as usize).await;
    let tasks: Vec<&Span> = spans.iter().filter(is_task).collect();
    assert_eq!(tasks.len(), 2 * OPEN_RUNS as usize);
    assert!(tasks.iter().all(|task| chunks(task) == 8));
    let with_text = tasks
        .iter()
        .filter(|task| text_bytes(task) > 10_000)
        .count();
    println!("{with_text} of {} tasks have a text", tasks.len());
    assert!(
        (1_000..tasks.len() / 2).contains(&with_text),
        "texts go first"
    );
    assert!(peaks[1] < MEMORY_MAX, "{}", mib(peaks[1]));
    assert!(peaks[1] < peaks[0] + WASTE_MAX, "{peaks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_runs_that_fall_silent_at_once_stay_within_memory_max() {
    let variables = [("RUNTRAIL_LIMITS_RUN_IDLE_MAX", "20s")];
    let mut beside = Beside::start(&["--capture-content"], &variables).await;
    let texts: Vec<String> = (0..8).map(|n| text(n, 2_500)).collect();
    beside.tell(0..OPEN_RUNS, |run| opening(run, &texts)).await;
    counted(
        beside.metrics,
        "runtrail_runs_started_total",
        "",
        u64::from(OPEN_RUNS),
    );
    // From a new connection on all runs are equally silent.
    beside.feed.stream.shutdown().await.unwrap();
    beside.feed = soon(beside.feeds.recv()).await.unwrap();
    let page = counted(
        beside.metrics,
        "runtrail_runs_finished_total",
        "",
        u64::from(OPEN_RUNS),
    );
    let abandoned = sum(
        &page,
        "runtrail_runs_finished_total",
        "outcome=\"abandoned\"",
    );
    assert_eq!(abandoned, u64::from(OPEN_RUNS));
    let peak = beside.prints("all fell silent");
    assert!(peak < MEMORY_MAX, "{}", mib(peak));
}

/// Runs of the feed that is faster than the backend, and how many are open at once.
const FAST_RUNS: u32 = 4_000;
const FAST_RUNS_OPEN: u32 = 2_000;
const TASKS_A_RUN: u32 = 2;

/// Some hundred megabytes of runs with much to say.
fn fast_feed() -> Vec<u8> {
    let texts: Vec<String> = (0..64).map(|n| text(n, 2_000)).collect();
    let mut random = fastrand::Rng::with_seed(1);
    let mut feed = Vec::new();
    for run in 0..FAST_RUNS + FAST_RUNS_OPEN {
        let mut events = Vec::new();
        if run < FAST_RUNS {
            let mut say = |event: &str| events.push(hub(run, run, event));
            say(&start());
            for task in 0..TASKS_A_RUN {
                say(&task_start(&format!("task{task}")));
                for _ in 0..6 {
                    let text = &texts[random.usize(..texts.len())];
                    let payload = format!(
                        r#"{{"task_name":"task{task}","agent_name":"writer","task_id":"{run}-{task}","schema_type":null,"chunk":"{text}"}}"#
                    );
                    say(&event("AgentOutput", &payload));
                }
            }
        }
        if let Some(run) = run.checked_sub(FAST_RUNS_OPEN) {
            for task in 0..TASKS_A_RUN {
                events.push(hub(run, run + 1, &task_end(&format!("task{task}"))));
            }
            events.push(hub(run, run + 1, &end()));
        }
        feed.extend_from_slice(batch(&events).as_bytes());
    }
    feed
}

/// A program beside a feed that is faster than its backend, which takes nothing
/// until it is told to.
struct Faster {
    program: Program,
    metrics: SocketAddr,
    takes: Arc<AtomicBool>,
    _parts: (SimHandle, Receiver),
}

const FAST_TASKS: u32 = FAST_RUNS * TASKS_A_RUN;

impl Faster {
    async fn start(more: &[(&str, &str)]) -> Self {
        let takes = Arc::new(AtomicBool::new(false));
        let answers = Arc::clone(&takes);
        let receiver =
            Receiver::scripted(Wire::Http, move |_| match answers.load(Ordering::Relaxed) {
                true => Reply::Take,
                false => Reply::Never,
            })
            .await;
        let feed = fast_feed();
        println!("{} of feed", mib(feed.len()));
        let recording = Some(Recording {
            bytes: Bytes::from(feed),
            stays_open: true,
        });
        let settings = SimSettings {
            recording,
            tokens: Vec::new(),
            ..SimSettings::default()
        };
        let server = SimServer::start(settings).await.unwrap();
        let (url, backend) = (server.url(), format!("http://{}", receiver.addr));
        let mut variables = listening(&url);
        variables.extend([
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &*backend),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2000"),
        ]);
        variables.extend(more);
        let program = Program::start(&["run", "--capture-content"], &variables);
        let [metrics, _] = program.listeners();
        Self {
            program,
            metrics,
            takes,
            _parts: (server, receiver),
        }
    }

    fn stays_within_memory_max(&self) {
        let (peak, resident) = (self.program.peak_bytes(), self.program.resident_bytes());
        println!("{} resident, {} at most", mib(resident), mib(peak));
        assert!(peak < MEMORY_MAX, "{}", mib(peak));
    }

    /// All that the feed told was counted.
    fn has_counted_all(&self, page: &str) {
        let [runs, tasks] = [FAST_RUNS, FAST_TASKS].map(u64::from);
        for (metric, labels, expected) in [
            ("runtrail_runs_started_total", "", runs),
            ("runtrail_runs_finished_total", "outcome=\"success\"", runs),
            ("runtrail_run_tasks_total", "result=\"passed\"", tasks),
            (
                "runtrail_tasks_finished_total",
                "outcome=\"success\"",
                tasks,
            ),
            ("runtrail_runs_open", "", 0),
            ("runtrail_events_total", "type=\"AgentOutput\"", 6 * tasks),
        ] {
            assert_eq!(sum(page, metric, labels), expected, "{metric}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_faster_than_the_backend_stays_within_memory_max_and_loses_nothing() {
    // Without a log to make spans from the feed has to wait.
    let nobody_asks = [("RUNTRAIL_REPAIR", "false"), ("RUNTRAIL_ENRICH", "false")];
    let fills_soon = ("OTEL_EXPORTER_OTLP_COMPRESSION", "none");
    let faster = Faster::start(&[nobody_asks[0], nobody_asks[1], fills_soon]).await;
    faster.program.line_with("the outbox is full");
    faster.stays_within_memory_max();
    let (_, page) = get(faster.metrics, "/metrics", "");
    assert_eq!(sum(&page, "runtrail_spans_exported_total", ""), 0);
    // The backend comes back, and everything goes on.
    faster.takes.store(true, Ordering::Relaxed);
    let spans = u64::from(FAST_RUNS + FAST_TASKS);
    let page = counted(faster.metrics, "runtrail_spans_exported_total", "", spans);
    faster.has_counted_all(&page);
    for (metric, expected) in [
        ("runtrail_spans_exported_total", spans),
        ("runtrail_spans_refused_total", 0),
    ] {
        assert_eq!(sum(&page, metric, ""), expected, "{metric}");
    }
    faster.stays_within_memory_max();
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_are_owed_stay_within_memory_max_and_what_has_no_log_is_counted() {
    let faster = Faster::start(&[]).await;
    // The feed is read to its end, though no span has gone.
    let finished = "runtrail_runs_finished_total";
    let page = counted(faster.metrics, finished, "", FAST_RUNS.into());
    faster.has_counted_all(&page);
    assert_eq!(sum(&page, "runtrail_spans_exported_total", ""), 0);
    faster.stays_within_memory_max();
    let owed = eventually("runs are owed", || {
        let (_, page) = get(faster.metrics, "/metrics", "");
        Some(sum(&page, "runtrail_runs_owed", "")).filter(|owed| *owed > 0)
    });
    println!("{owed} runs are owed");
    faster.takes.store(true, Ordering::Relaxed);
    eventually("each span is sent, or counted as lost", || {
        let (_, page) = get(faster.metrics, "/metrics", "");
        let lost = sum(
            &page,
            "runtrail_spans_refused_total",
            "reason=\"not_rebuilt\"",
        );
        let sent = sum(&page, "runtrail_spans_exported_total", "");
        let is_paid = sum(&page, "runtrail_runs_owed", "") == 0;
        (is_paid && lost >= owed && sent + lost == u64::from(FAST_RUNS + FAST_TASKS)).then_some(())
    });
    faster.stays_within_memory_max();
}

/// Runs with ever new names: of tasks, tools, workflows, projects.
fn names(run: u32) -> String {
    let (task, workflow, project) = (run % 190, run % 13, run % 7);
    // As long as names may be.
    let long = "a-name-that-is-as-long-as-names-may-be-".repeat(4);
    let usage = r#"{"input_tokens":2,"output_tokens":3,"model":"claude-sonnet","provider":"anthropic","cached_input_tokens":1,"cache_write_input_tokens":1,"reasoning_tokens":1}"#;
    let events = [
        start(),
        task_start(&format!("{long}-task-{task}")),
        chunk(run, "x").replace("\"write\"", &format!("\"{long}-task-{task}\"")),
        event(
            "ToolCallStart",
            &format!(
                r#"{{"task_name":"{long}-task-{task}","tool_name":"{long}-tool-{task}","server_name":"web","input":1,"tool_use_id":"{run}"}}"#
            ),
        ),
        event(
            "ToolCallEnd",
            &format!(
                r#"{{"task_name":"{long}-task-{task}","tool_name":"{long}-tool-{task}","tool_use_id":"{run}","output":1,"duration":{{"secs":0,"nanos":1}}}}"#
            ),
        ),
        event(
            "TaskEnd",
            &format!(
                r#"{{"task":"{long}-task-{task}","value":"v","duration":{{"secs":0,"nanos":5000000}},"attempt":1,"variant":"success","usage":{usage}}}"#
            ),
        ),
        end(),
    ];
    let elements: Vec<String> = events
        .iter()
        .map(|event| {
            hub(run, run, event)
                .replace("\"project_id\":1,", &format!("\"project_id\":{project},"))
                .replace("\"review\"", &format!("\"{long}-workflow-{workflow}\""))
        })
        .collect();
    batch(&elements)
}

/// Asks, and does not read the answer.
fn ask(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut head = String::new();
    // The longer form of the page.
    let accept = "application/openmetrics-text";
    write!(
        head,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: {accept}\r\n\r\n"
    )
    .unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_do_not_read_a_full_page_stay_within_memory_max() {
    let mut beside = Beside::start(&[], &[]).await;
    beside.prints("idle");
    const RUNS: u32 = 190 * 13 * 7;
    for run in 0..RUNS {
        beside.feed.send(names(run)).await;
    }
    eventually("all is read", || {
        let newest = format!("/api/runs/{}", common::run_id(RUNS - 1));
        (get(beside.local, &newest, "").0 == 200).then_some(())
    });
    beside.prints("all series, and no page yet");
    let page = counted(
        beside.metrics,
        "runtrail_runs_finished_total",
        "",
        u64::from(RUNS),
    );
    let series = page.lines().filter(|line| !line.starts_with('#')).count();
    println!("a page of {} and {series} lines", mib(page.len()));
    let full = beside.prints("all series");
    assert!(
        sum(&page, "runtrail_series_overflow_total", "") > 0,
        "it is full"
    );

    let mut held = Vec::new();
    let mut statuses = Vec::new();
    for _ in 0..6 {
        // Where making a page takes its time, each gets one of its own.
        let mut reader = ask(beside.metrics, "/metrics");
        let mut status = [0; 12];
        reader.read_exact(&mut status).unwrap();
        statuses.push(status[9..].to_vec());
        held.push(reader);
    }
    assert!(statuses.contains(&b"200".to_vec()));
    for _ in 0..4 {
        held.push(ask(beside.local, "/api/runs?limit=500"));
    }
    for _ in 0..64 {
        held.push(TcpStream::connect(beside.metrics).unwrap());
    }
    // It waits until those who say nothing have lost their places.
    assert_eq!(get(beside.metrics, "/healthz", "").0, 200);
    let peak = beside.prints("all that do not read");
    println!("{} for the readers", mib(peak - full));
    assert!(peak < MEMORY_MAX, "{}", mib(peak));
}
