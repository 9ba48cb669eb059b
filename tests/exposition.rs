//! The page of the real binary as OpenMetrics, read by a parser that is not
//! ours: `prometheus_client` for Python, which `./test` installs. And where its
//! exemplars lead: to spans that a real receiver has.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod program;
mod receiver;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use opentelemetry_proto::tonic::trace::v1::Span;
use runtrail::limits::Limits;
use runtrail::metrics::delta::{Delta, Deltas};
use runtrail::metrics::exposition::Form;
use runtrail::metrics::{Metrics, Settings};
use runtrail::run::finished::RunMeta;
use runtrail::sim::settings::Recording;
use runtrail::sim::{SimHandle, SimServer, SimSettings};
use runtrail::wire::time::Time;
use serde::Deserialize;

use self::program::{Program, eventually, get};
use self::receiver::{Receiver, Wire, hex};

const RECORDING: &str = "examples/feeds/review.sse";

const OPEN_METRICS: &str = "Accept: application/openmetrics-text;version=1.0.0\r\n";

/// Reads a page and prints a JSON line for each sample.
const READER: &str = r#"
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
page = sys.stdin.buffer.read().decode("utf-8")
for family in text_string_to_metric_families(page):
    for sample in family.samples:
        shown = sample.exemplar and dict(
            sample.exemplar.labels, value=sample.exemplar.value,
            at=str(sample.exemplar.timestamp))
        print(json.dumps(dict(
            family=family.name, kind=family.type, unit=family.unit, help=family.documentation,
            name=sample.name, labels=sample.labels, value=str(sample.value), shown=shown)))
"#;

/// A sample as the parser has it.
#[derive(Debug, Deserialize)]
struct Sample {
    family: String,
    kind: String,
    unit: String,
    help: String,
    name: String,
    labels: BTreeMap<String, String>,
    value: String,
    shown: Option<Shown>,
}

#[derive(Debug, Deserialize)]
struct Shown {
    trace_id: String,
    span_id: String,
    value: f64,
    /// In seconds.
    at: String,
}

impl Sample {
    fn is(&self, name: &str, label: &str, value: &str) -> bool {
        self.name == name && self.labels.get(label).is_some_and(|v| v == value)
    }
}

/// The Python that has the parser; `None` is a test that has to be skipped.
fn python() -> Option<PathBuf> {
    let path = std::env::var_os("RUNTRAIL_TEST_PYTHON").filter(|path| !path.is_empty());
    if path.is_none() {
        let required = std::env::var("RUNTRAIL_TEST_PEERS").is_ok_and(|peers| peers == "required");
        assert!(!required, "RUNTRAIL_TEST_PYTHON does not say where it is");
        eprintln!(
            "skipped: RUNTRAIL_TEST_PYTHON does not say which Python has prometheus_client; ./test does"
        );
    }
    path.map(PathBuf::from)
}

/// What the parser reads on a page, which it has to like.
fn parsed(python: &Path, page: &str) -> Vec<Sample> {
    let mut child = Command::new(python)
        .args(["-c", READER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let bytes = page.as_bytes().to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}\n{page}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

/// The program beside a server that plays the recording, and a receiver of its spans.
struct Scene {
    _server: SimHandle,
    receiver: Receiver,
    program: Program,
}

impl Scene {
    async fn start(more: &[(&str, &str)]) -> Self {
        let settings = SimSettings {
            recording: Some(Recording {
                bytes: Bytes::from(std::fs::read(RECORDING).unwrap()),
                stays_open: true,
            }),
            tokens: Vec::new(),
            ..SimSettings::default()
        };
        let server = SimServer::start(settings).await.unwrap();
        let receiver = Receiver::start(Wire::Http).await;
        let (url, backend) = (server.url(), format!("http://{}", receiver.addr));
        let mut variables = vec![
            ("AKRIBES_URL", &*url),
            ("RUNTRAIL_LISTEN_METRICS", "127.0.0.1:0"),
            ("RUNTRAIL_LISTEN_LOCAL", "127.0.0.1:0"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &*backend),
        ];
        variables.extend(more);
        let program = Program::start(&["run"], &variables);
        Self {
            _server: server,
            receiver,
            program,
        }
    }

    /// The page, once all that the recording tells is on it.
    fn page(&self) -> String {
        let [metrics, _] = self.program.listeners();
        let runs_of_the_recording = 7;
        eventually("all runs that end have ended", || {
            let (status, page) = get(metrics, "/metrics", OPEN_METRICS);
            assert_eq!(status, 200);
            let ended = page
                .lines()
                .filter(|line| line.starts_with("runtrail_runs_finished_total{"))
                .filter_map(|line| {
                    line.split_once("} ")?
                        .1
                        .split(' ')
                        .next()?
                        .parse::<u64>()
                        .ok()
                });
            (ended.sum::<u64>() == runs_of_the_recording).then_some(page)
        })
    }

    /// The span of these ids, once the receiver has it.
    fn span(&self, shown: &Shown) -> Span {
        eventually("what shows a count arrives", || {
            let received = self.receiver.received();
            let mut spans = received.iter().flat_map(|request| request.spans());
            let is_it = |span: &&Span| {
                (hex(&span.trace_id), hex(&span.span_id))
                    == (shown.trace_id.clone(), shown.span_id.clone())
            };
            spans.find(is_it).cloned()
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_with_exemplars_is_read_by_another_and_each_leads_to_a_span_that_was_sent() {
    let Some(python) = python() else { return };
    let scene = Scene::start(&[]).await;
    let samples = parsed(&python, &scene.page());
    let of = |name: &str| samples.iter().find(|sample| sample.name == name).unwrap();
    let cpu = of("process_cpu_seconds_total");
    let described = (&*cpu.family, &*cpu.kind, &*cpu.unit);
    assert_eq!(described, ("process_cpu_seconds", "counter", "seconds"));
    assert_eq!(of("runtrail_build_info").kind, "gauge");
    assert_eq!(of("runtrail_outbox_limit_bytes").unit, "bytes");
    assert!(samples.iter().all(|sample| sample.help.ends_with('.')));

    let mut shown = BTreeSet::new();
    for sample in &samples {
        let Some(exemplar) = &sample.shown else {
            continue;
        };
        shown.insert(sample.name.strip_prefix("runtrail_").unwrap());
        let span = scene.span(exemplar);
        let milliseconds = span.end_time_unix_nano / 1_000_000;
        let at: f64 = exemplar.at.parse().unwrap();
        assert_eq!((at * 1_000.0).round() as u64, milliseconds, "{sample:?}");
        let seconds = (span.end_time_unix_nano - span.start_time_unix_nano) as f64 / 1e9;
        let starts = match &*sample.family {
            "runtrail_run_duration_seconds" => {
                assert!((exemplar.value - seconds).abs() < 1e-9, "{sample:?}");
                "invoke_workflow "
            }
            family if family.starts_with("runtrail_run") => "invoke_workflow ",
            family if family.starts_with("runtrail_tool") => "execute_tool ",
            _ => "task ",
        };
        assert!(span.name.starts_with(starts), "{sample:?} {}", span.name);
    }
    let expected = [
        "run_duration_seconds_bucket",
        "run_errors_total",
        "runs_finished_total",
        "task_duration_seconds_bucket",
        "tasks_finished_total",
        "time_to_first_chunk_seconds_bucket",
        "tool_calls_total",
        "tool_duration_seconds_bucket",
    ];
    for name in expected {
        assert!(shown.contains(name), "{name}: {shown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exemplar_of_a_failed_run_leads_to_its_root() {
    let Some(python) = python() else { return };
    let scene = Scene::start(&[]).await;
    let samples = parsed(&python, &scene.page());
    let code = "AKRIBES-E-PROVIDER-RATE-LIMIT";
    let root_of = |name, label, value| {
        let mut failed = samples
            .iter()
            .filter(|sample| sample.is(name, label, value));
        let shown = failed.find_map(|sample| sample.shown.as_ref());
        scene.span(shown.unwrap())
    };
    let root = root_of("runtrail_run_errors_total", "error_type", code);
    assert_eq!(
        root,
        root_of("runtrail_runs_finished_total", "outcome", "error")
    );
    assert_eq!(root.name, "invoke_workflow translate");
    assert!(root.parent_span_id.is_empty());
    assert_eq!(root.status.unwrap().code, 2, "an error");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_exemplar_leads_to_a_trace_that_is_left_out() {
    let scene = Scene::start(&[("RUNTRAIL_TRACE_RATIO", "0")]).await;
    let page = scene.page();
    assert!(page.ends_with("\n# EOF\n"));
    assert!(!page.contains("trace_id"), "{page}");
}

#[test]
fn names_that_nobody_would_think_of_come_back_as_they_were() {
    let Some(python) = python() else { return };
    let now = Time(1_700_000_000_000_000_000);
    let names = [
        "plain",
        "",
        " ",
        "a\"b",
        "a\\b",
        "a\\",
        "a\\n",
        "a\nb",
        "a\r\nb",
        "} 1 # {x=\"y\"} 2",
        "# EOF",
        ",le=\"1\"",
        "ünïcödé ✓ 你好",
        "tab\there",
        "\u{0}\u{1}\u{7f}",
        "\u{2028}\u{feff}",
    ];
    let settings = Settings::new(&Limits::default(), &["akribes"]);
    let mut metrics = Metrics::of_this_build(&settings, now).unwrap();
    for (run, workflow) in (1..).zip(names) {
        let meta = Arc::new(RunMeta {
            trace_id: [7; 16],
            system: "akribes",
            source: "test".into(),
            project: Some(1),
            workflow: Arc::from(workflow),
            run_id: Arc::from("run"),
        });
        let deltas = Deltas {
            in_order: vec![Delta::RunStarted {
                run,
                meta,
                start: Time(0),
            }],
            ..Deltas::default()
        };
        metrics.apply(&deltas, &[], now);
    }
    let page = metrics.exposition().text(Form::OpenMetrics, &[], 0);
    let samples = parsed(&python, &page);
    let started = samples
        .iter()
        .filter(|sample| sample.name == "runtrail_runs_started_total")
        .filter(|sample| sample.value.parse() == Ok(1.0));
    let read: BTreeSet<_> = started.map(|sample| &*sample.labels["workflow"]).collect();
    assert_eq!(read, BTreeSet::from(names));
}
