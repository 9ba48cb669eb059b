//! The real binary beside a simulated server and real OTLP receivers.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod program;
mod receiver;

use std::collections::BTreeMap;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use runtrail::sim::settings::Recording;
use runtrail::sim::{SimHandle, SimServer, SimSettings};
use runtrail::trace::json::to_json;

use self::program::{Program, eventually, get, run};
use self::receiver::tls::Authority;
use self::receiver::{Receiver, Wire, hex};

const RECORDING: &str = "examples/feeds/review.sse";

/// The one run of the recording that does not end in it.
const OPEN_RUN: &str = "3f2504e04f8941d39a0c0305e82ce008";

type Ids = (Vec<u8>, Vec<u8>);

async fn server() -> SimHandle {
    let settings = SimSettings {
        recording: Some(Recording {
            bytes: Bytes::from(std::fs::read(RECORDING).unwrap()),
            stays_open: true,
        }),
        ..SimSettings::default()
    };
    SimServer::start(settings).await.unwrap()
}

/// Variables for a program beside this server, on ports that are free.
fn beside(server: &SimHandle) -> Vec<(&'static str, String)> {
    vec![
        ("AKRIBES_URL", server.url()),
        ("AKRIBES_TOKEN", server.token().unwrap().to_owned()),
        ("RUNTRAIL_LISTEN_METRICS", "127.0.0.1:0".to_owned()),
        ("RUNTRAIL_LISTEN_LOCAL", "127.0.0.1:0".to_owned()),
    ]
}

fn start(arguments: &[&str], variables: &[(&'static str, String)]) -> Program {
    let variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| (*name, &**value))
        .collect();
    Program::start(arguments, &variables)
}

/// What `replay --emit spans` prints, by ids, each with its resource.
fn replayed() -> BTreeMap<Ids, String> {
    let ended = run(
        &[
            "replay", "--system", "akribes", "--emit", "spans", RECORDING,
        ],
        &[],
    );
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    let requests = ended
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    by_ids(requests)
}

fn by_ids(requests: impl Iterator<Item = ExportTraceServiceRequest>) -> BTreeMap<Ids, String> {
    let mut spans = BTreeMap::new();
    for request in requests {
        for of_resource in request.resource_spans {
            for of_scope in of_resource.scope_spans {
                let around = format!("{:?} {:?}", of_resource.resource, of_scope.scope);
                for span in of_scope.spans.into_iter().filter(|span| !is_marker(span)) {
                    let ids = (span.trace_id.clone(), span.span_id.clone());
                    let twice = spans.insert(ids, format!("{around} {span:?}"));
                    assert_eq!(twice, None, "no span comes twice");
                }
            }
        }
    }
    spans
}

/// What a receiver has, by ids. It goes through the form that `replay` prints,
/// since reading that form is what rounds.
fn received(receiver: &Receiver) -> BTreeMap<Ids, String> {
    by_ids(receiver.received().into_iter().map(|received| {
        let json = to_json(&received.request.encode_to_vec()).unwrap();
        serde_json::from_str(&json).unwrap()
    }))
}

/// Says the first thing that is different, and not all of it.
fn all_as_in(some: &BTreeMap<Ids, String>, all: &BTreeMap<Ids, String>) {
    for ((trace, span_id), span) in some {
        let other = all.get(&(trace.clone(), span_id.clone()));
        assert_eq!(other, Some(span), "{} {}", hex(trace), hex(span_id));
    }
}

/// Markers depend on when they were sent; `replay` leaves them out.
fn is_marker(span: &Span) -> bool {
    span.name.starts_with("run started ")
}

/// Waits for all that the recording gives, and holds it against `replay`.
async fn receives_what_replay_prints(receiver: &Receiver) {
    let expected = replayed();
    let ended = expected.keys().filter(|(trace, _)| hex(trace) != OPEN_RUN);
    receiver.spans(ended.clone().count()).await;
    let all_there = || {
        let received = received(receiver);
        ended
            .clone()
            .all(|ids| received.contains_key(ids))
            .then_some(received)
    };
    let received = eventually("all spans arrive", all_there);
    all_as_in(&received, &expected);
}

async fn sends_what_replay_prints(wire: Wire, compression: &str, authority: Option<Authority>) {
    let server = server().await;
    let (receiver, scheme) = match &authority {
        Some(authority) => (
            Receiver::over_tls(wire, authority.strict_server("localhost")).await,
            "https",
        ),
        None => (Receiver::start(wire).await, "http"),
    };
    let protocol = match wire {
        Wire::Http => "http/protobuf",
        Wire::Grpc => "grpc",
    };
    let mut variables = beside(&server);
    variables.extend([
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            format!("{scheme}://localhost:{}", receiver.addr.port()),
        ),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", compression.to_owned()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-scope=team%20a".to_owned()),
    ]);
    if let Some(authority) = &authority {
        let client = authority.known_client();
        let path = |path: Option<std::path::PathBuf>| path.unwrap().display().to_string();
        variables.extend([
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", path(client.ca_file)),
            (
                "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
                path(client.client_certificate_file),
            ),
            (
                "OTEL_EXPORTER_OTLP_CLIENT_KEY",
                path(client.client_key_file),
            ),
        ]);
    }
    let program = start(&["run"], &variables);
    receives_what_replay_prints(&receiver).await;
    let received = receiver.received();
    for request in &received {
        assert_eq!(request.header("x-scope"), "team a");
        let encoding = match wire {
            Wire::Http => request.header("content-encoding"),
            Wire::Grpc => request.header("grpc-encoding"),
        };
        assert_eq!(encoding == "gzip", compression == "gzip", "{encoding}");
    }
    let [metrics, _] = program.listeners();
    let sent: usize = received.iter().map(|request| request.spans().count()).sum();
    eventually("the spans are counted", || {
        let (_, page) = get(metrics, "/metrics", "");
        page.contains(&format!("\nruntrail_spans_exported_total {sent}\n"))
            .then_some(())
    });
    program.signal("TERM");
    let ended = program.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_with_gzip_the_far_side_has_what_replay_prints() {
    sends_what_replay_prints(Wire::Http, "gzip", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_without_gzip_the_far_side_has_what_replay_prints() {
    sends_what_replay_prints(Wire::Http, "none", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_and_tls_the_far_side_has_what_replay_prints() {
    sends_what_replay_prints(Wire::Http, "gzip", Some(Authority::new())).await;
    sends_what_replay_prints(Wire::Http, "none", Some(Authority::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_grpc_with_gzip_the_far_side_has_what_replay_prints() {
    sends_what_replay_prints(Wire::Grpc, "gzip", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_grpc_without_gzip_the_far_side_has_what_replay_prints() {
    sends_what_replay_prints(Wire::Grpc, "none", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_grpc_and_tls_the_far_side_has_what_replay_prints() {
    sends_what_replay_prints(Wire::Grpc, "gzip", Some(Authority::new())).await;
    sends_what_replay_prints(Wire::Grpc, "none", Some(Authority::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replay_sends_a_recording_when_it_is_given_an_address() {
    let receiver = Receiver::start(Wire::Http).await;
    let address = format!("http://{}", receiver.addr);
    let ended = run(
        &[
            "replay", "--system", "akribes", "--otlp", &address, RECORDING,
        ],
        &[],
    );
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    let received = received(&receiver);
    all_as_in(&replayed(), &received);
    all_as_in(&received, &replayed());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_tells_of_open_and_finished_runs_what_replay_prints() {
    let server = server().await;
    let program = start(&["run"], &beside(&server));
    let [metrics, local] = program.listeners();
    let page = eventually("seven runs have ended", || {
        let (status, body) = get(local, "/api/runs", "");
        assert_eq!(status, 200, "{body}");
        let page: serde_json::Value = serde_json::from_str(&body).unwrap();
        (page["finished"] == 7).then_some(page)
    });
    assert_eq!(page["open"], 1);
    assert_eq!(page["runs"][0]["state"], "waiting");
    assert_eq!(page["runs"][0]["trace_id"], OPEN_RUN);

    let summaries = run(&["replay", "--system", "akribes", RECORDING], &[]).text;
    let mut spans = BTreeMap::new();
    for line in summaries.lines() {
        let summary: serde_json::Value = serde_json::from_str(line).unwrap();
        let id = summary["execution_id"].as_str().unwrap();
        let trace_id = summary["trace_id"].as_str().unwrap();
        if trace_id == OPEN_RUN {
            continue;
        }
        for id in [id, trace_id] {
            let (status, body) = get(local, &format!("/api/runs/{id}/summary"), "");
            assert_eq!((status, body.as_str()), (200, line));
        }
        let of_run = eventually("the root is there", || {
            let (status, body) = get(local, &format!("/api/runs/{id}/spans"), "");
            assert_eq!(status, 200, "{body}");
            body.contains("invoke_workflow")
                .then(|| by_ids(body.lines().map(|line| serde_json::from_str(line).unwrap())))
        });
        spans.extend(of_run);
    }
    let mut expected = replayed();
    expected.retain(|(trace, _), _| hex(trace) != OPEN_RUN);
    all_as_in(&spans, &expected);
    all_as_in(&expected, &spans);

    let (_, open) = get(local, &format!("/api/runs/{OPEN_RUN}/summary"), "");
    let open: serde_json::Value = serde_json::from_str(&open).unwrap();
    assert_eq!(
        (&open["outcome"], &open["finished_at"]),
        (&"waiting".into(), &serde_json::Value::Null)
    );
    let (_, failed) = get(
        local,
        "/api/runs?state=error&workflow=translate&limit=5",
        "",
    );
    let failed: serde_json::Value = serde_json::from_str(&failed).unwrap();
    assert_eq!(failed["runs"].as_array().unwrap().len(), 1);
    assert_eq!(
        failed["runs"][0]["error_type"],
        "AKRIBES-E-PROVIDER-RATE-LIMIT"
    );

    for (path, expected) in [
        ("/api/runs/no-such-run", 404),
        ("/api/runs?limit=0", 400),
        ("/api/runs/%ff/spans", 404),
        ("/api", 404),
        ("/metrics", 404),
    ] {
        let (status, body) = get(local, path, "");
        assert_eq!(status, expected, "{path}: {body}");
        assert!(body.starts_with("{\"error\":"), "{body}");
    }
    let (status, _) = get(local, "/api/runs", "Host: evil.example\r\n");
    assert_eq!(status, 403, "a web page under another name is no loopback");
    for (path, expected) in [("/healthz", 200), ("/readyz", 200), ("/api/runs", 404)] {
        assert_eq!(get(metrics, path, "").0, expected, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_beyond_loopback_wants_its_token() {
    let server = server().await;
    let mut variables = beside(&server);
    variables.extend([
        ("RUNTRAIL_LISTEN_LOCAL", "0.0.0.0:0".to_owned()),
        ("RUNTRAIL_LISTEN_LOCAL_TOKEN", "open-sesame".to_owned()),
    ]);
    let program = start(&["run"], &variables);
    let local = std::net::SocketAddr::from(([127, 0, 0, 1], program.listeners()[1].port()));
    for (headers, expected) in [
        ("", 401),
        ("Authorization: Bearer open-sesam\r\n", 401),
        ("Authorization: Basic open-sesame\r\n", 401),
        ("Authorization: Bearer open-sesame\r\n", 200),
        (
            "authorization: bearer open-sesame\r\nHost: runtrail.monitoring\r\n",
            200,
        ),
    ] {
        assert_eq!(get(local, "/api/runs", headers).0, expected, "{headers}");
    }
    assert!(!program.text().contains("sesame"), "{}", program.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_finished_run_is_a_line_when_that_is_asked_for() {
    let server = server().await;
    let program = start(&["run", "--log-runs"], &beside(&server));
    program.line_with("\"execution_id\":\"6513270e-4c6f-4b0e-9a55-1f0c2d7be001\"");
    program.signal("INT");
    let ended = program.ended();
    assert_eq!(ended.code, Some(0));
    let runs = ended
        .text
        .lines()
        .filter(|line| line.starts_with("{\"execution_id\""));
    assert_eq!(runs.count(), 7);
    // Whatever else is said is a line of JSON too, with a level.
    for line in ended
        .text
        .lines()
        .filter(|line| !line.starts_with("{\"execution_id\""))
    {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(
            line["level"].is_string() && line["message"].is_string(),
            "{line}"
        );
    }
}
