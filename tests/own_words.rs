//! What runtrail says of itself: its logs, which tell no secret whatever goes
//! wrong, and its own traces, which do not feed on themselves.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod program;
mod receiver;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use runtrail::net::secret::Secret;
use runtrail::sim::settings::{Recording, SimToken};
use runtrail::sim::{SimHandle, SimServer, SimSettings};

use self::program::{Program, eventually};
use self::receiver::{Received, Receiver, Reply, Wire};

const RECORDING: &str = "examples/feeds/review.sse";
const TOKEN: &str = "hunter2-token";

async fn server(stays_open: bool) -> SimHandle {
    let settings = SimSettings {
        tokens: vec![SimToken {
            token: Secret::new(TOKEN),
            projects: None,
        }],
        recording: Some(Recording {
            bytes: fs::read(RECORDING).unwrap().into(),
            stays_open,
        }),
        ..SimSettings::default()
    };
    SimServer::start(settings).await.unwrap()
}

fn start(server: &SimHandle, receiver: &Receiver, wire: Wire, more: &[(&str, &str)]) -> Program {
    let url = server.url();
    let endpoint = format!("http://{}", receiver.addr);
    let protocol = match wire {
        Wire::Http => "http/protobuf",
        Wire::Grpc => "grpc",
    };
    let mut variables = vec![
        ("AKRIBES_URL", &*url),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=Bearer%20hunter2-header,x-key=hunter2-key",
        ),
        ("RUNTRAIL_LISTEN_METRICS", "127.0.0.1:0"),
        ("RUNTRAIL_LISTEN_LOCAL", "127.0.0.1:0"),
    ];
    variables.extend_from_slice(more);
    Program::start(&["run"], &variables)
}

/// Every text of the recording that has several words, but for what errors say.
fn texts() -> BTreeSet<String> {
    fn gather(value: &serde_json::Value, texts: &mut BTreeSet<String>) {
        match value {
            serde_json::Value::String(text) if text.split(' ').count() > 3 => {
                texts.insert(text.clone());
            }
            serde_json::Value::Array(values) => values.iter().for_each(|v| gather(v, texts)),
            serde_json::Value::Object(values) => values.values().for_each(|v| gather(v, texts)),
            _ => {}
        }
    }
    let mut texts = BTreeSet::new();
    let recording = fs::read_to_string(RECORDING).unwrap();
    for data in recording
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
    {
        if let Ok(value) = serde_json::from_str(data) {
            gather(&value, &mut texts);
        }
    }
    assert!(texts.len() > 20, "{texts:?}");
    texts
}

/// A session in which everything goes wrong at least once, with all logs on.
async fn tells_nothing(wire: Wire) {
    // The feed ends, and is connected anew.
    let server = server(false).await;
    let sent = AtomicUsize::new(0);
    let receiver = Receiver::scripted(wire, move |request| {
        if is_own(request) {
            return Reply::Take;
        }
        match (sent.fetch_add(1, Ordering::Relaxed), wire) {
            (0, Wire::Http) => Reply::status(503),
            (1, Wire::Http) => Reply::status(400),
            (0, Wire::Grpc) => Reply::code(14),
            (1, Wire::Grpc) => Reply::code(3),
            (2, _) => Reply::Partial(1, "one is too old"),
            _ => Reply::Take,
        }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "hunter2-wrong\n").unwrap();
    let endpoint = format!("http://{}/v1/traces?key=hunter2-query", receiver.addr);
    let mut variables = vec![
        ("AKRIBES_TOKEN_FILE", token.to_str().unwrap()),
        ("RUST_LOG", "trace"),
        ("RUNTRAIL_SELF_TRACE", "true"),
    ];
    // An address of gRPC has no room for a key.
    if wire == Wire::Http {
        variables.push(("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &endpoint));
    }
    let program = start(&server, &receiver, wire, &variables);
    program.line_with("the server refuses the token (401)");
    fs::write(&token, TOKEN).unwrap();
    program.line_with("one is too old");
    program.line_with("the server ended the feed");
    program.signal("TERM");
    let ended = program.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    // It is a trace, of more than our own modules.
    let of_wire = match wire {
        Wire::Http => "hyper_util::",
        Wire::Grpc => "h2::",
    };
    for module in ["runtrail::source", of_wire] {
        assert!(
            ended.text.contains(&format!("\"target\":\"{module}")),
            "{module}"
        );
    }
    for line in ended.text.lines() {
        assert!(!line.contains("hunter2"), "{line}");
        let json: Result<serde_json::Value, _> = serde_json::from_str(line);
        assert!(json.is_ok_and(|json| json["level"].is_string()), "{line}");
    }
    for text in texts() {
        assert!(!ended.text.contains(&text), "{text:?} is in the logs");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_hold_no_secret_and_no_content_over_http() {
    tells_nothing(Wire::Http).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_hold_no_secret_and_no_content_over_grpc() {
    tells_nothing(Wire::Grpc).await;
}

fn service(request: &Received) -> String {
    let resource = request.request.resource_spans[0].resource.as_ref().unwrap();
    let name = resource
        .attributes
        .iter()
        .find(|a| a.key == "service.name")
        .unwrap();
    match name.value.as_ref().unwrap().value.as_ref().unwrap() {
        Value::StringValue(name) => name.clone(),
        other => panic!("{other:?}"),
    }
}

fn is_own(request: &Received) -> bool {
    service(request) == "runtrail"
}

/// Waits for the spans of the recording.
async fn runs_arrive(receiver: &Receiver) {
    eventually("seven roots", || {
        let received = receiver.received();
        let spans = received
            .iter()
            .filter(|r| !is_own(r))
            .flat_map(Received::spans);
        let roots = spans.filter(|span| span.parent_span_id.is_empty());
        (roots.count() >= 7).then_some(())
    });
}

async fn own_spans(wire: Wire) {
    let server = server(true).await;
    let receiver = Receiver::start(wire).await;
    let program = start(
        &server,
        &receiver,
        wire,
        &[
            ("AKRIBES_TOKEN", TOKEN),
            ("RUNTRAIL_SELF_TRACE", "true"),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ],
    );
    runs_arrive(&receiver).await;
    // Own traces were sent, and could have been told of.
    eventually("own spans arrive while it runs", || {
        let received = receiver.received();
        received.iter().any(is_own).then_some(())
    });
    program.signal("TERM");
    let ended = program.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.text);

    let received = receiver.received();
    let (own, runs): (Vec<_>, Vec<_>) = received.iter().partition(|r| is_own(r));
    let spans: Vec<&Span> = own.iter().flat_map(|request| request.spans()).collect();
    let mut names = BTreeMap::<&str, usize>::new();
    for span in &spans {
        *names.entry(&span.name).or_default() += 1;
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
        assert_eq!(span.events, [], "what is logged stays in the logs");
    }
    let expected = [
        ("connect to the event feed", 1),
        ("drain", 1),
        // One a request that carries runs, and none for those that carry these.
        ("send spans", runs.len()),
        ("start", 1),
    ];
    assert_eq!(names, BTreeMap::from(expected));
    let said = format!("{spans:?}");
    for secret in ["hunter2", "127.0.0.1", "Bearer"] {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
    let sent = |span: &&&Span| span.name == "send spans";
    let counted: i64 = spans
        .iter()
        .filter(sent)
        .map(|span| number(span, "spans"))
        .sum();
    let came: usize = runs.iter().map(|request| request.spans().count()).sum();
    assert_eq!(counted, i64::try_from(came).unwrap());
}

fn number(span: &Span, key: &str) -> i64 {
    let attribute = span.attributes.iter().find(|a| a.key == key).unwrap();
    match attribute.value.as_ref().unwrap().value.as_ref().unwrap() {
        Value::IntValue(number) => *number,
        other => panic!("{key}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn own_traces_tell_of_everything_but_themselves_over_http() {
    own_spans(Wire::Http).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn own_traces_tell_of_everything_but_themselves_over_grpc() {
    own_spans(Wire::Grpc).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_own_traces_who_did_not_ask_for_them() {
    let server = server(true).await;
    let receiver = Receiver::start(Wire::Http).await;
    let program = start(&server, &receiver, Wire::Http, &[("AKRIBES_TOKEN", TOKEN)]);
    runs_arrive(&receiver).await;
    program.signal("TERM");
    assert_eq!(program.ended().code, Some(0));
    assert!(!receiver.received().iter().any(is_own));
}
