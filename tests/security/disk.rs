//! Whoever reads our disk, our logs, or what we send: neither a token nor, unless
//! it is to be captured, content is there.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::read::GzDecoder;
use prost::Message;
use serde_json::{Value, json};

use crate::listening;
use crate::program::{Program, eventually, get};
use crate::receiver::{Received, Receiver, Reply, Wire};
use crate::scripted::{FEED, Server};
use crate::support::Feed;
use crate::support::content::talkative_as;

/// What every secret of these tests begins with, and every content.
const SECRET: &str = "hunter2";
const CONTENT: &str = "private";

/// A name, which may be anywhere: so the search is known to find something.
const NAME: &str = "review_of_everything";

fn run(n: u32) -> Feed {
    talkative_as(NAME, &format!("6513270e-8a4c-4b0e-9a7e-{n:012x}"))
}

fn end(feed: &mut Feed) {
    feed.at(600).event(
        "WorkflowEnd",
        json!({"value": "private result", "total_input_tokens": 1, "total_output_tokens": 2,
               "total_cached_input_tokens": 0, "total_thinking_tokens": 0,
               "total_tool_tokens": 0, "total_cost_usd": 0.0, "task_count": 1}),
    );
}

/// One run that ends, one that goes on, and one whose beginning is missing: its
/// log is asked for, and goes on too.
fn feed() -> Vec<u8> {
    let mut ended = run(1);
    end(&mut ended);
    let joined = run(3);
    let mut bytes = ended.sse(3);
    bytes.extend(run(2).sse(3));
    bytes.extend(crate::support::sse(NAME, &joined.lines[1..3], 1));
    bytes
}

/// What is known of the runs beside the feed.
fn asked_for(line: &str) -> Value {
    let number = (1..=3).find(|n| line.contains(&run(*n).run));
    let Some(number) = number else {
        return json!([]);
    };
    if line.contains("/events") {
        let events: Vec<Value> = run(number).lines.iter().map(|line| line.logged()).collect();
        return json!({"events": events, "complete": false, "has_more": false, "next_after_id": 99});
    }
    if line.contains("/tasks") {
        return json!([{"task_name": "a", "output": "private row", "input": "private row",
            "model": "m", "provider": "p", "cost_usd": 0.1}]);
    }
    json!({"id": run(number).run, "project_id": 1, "script_name": NAME, "status": "running",
        "inputs": {"q": "private row"}, "output": "private row", "triggered_by": "somebody"})
}

async fn server() -> String {
    let server = Server::new().await;
    let url = server.url().to_string();
    tokio::spawn(async move {
        loop {
            let mut connection = server.accept_ever().await;
            tokio::spawn(async move {
                while let Some(request) = connection.next_request().await {
                    if request.header("accept") == Some("text/event-stream") {
                        connection.send(FEED).await;
                        // Once, and then nothing but to be there.
                        if request.header("last-event-id").is_none() {
                            connection.send(feed()).await;
                        }
                        std::future::pending::<()>().await;
                    }
                    let body = asked_for(&request.line).to_string();
                    let length = body.len();
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
                    connection.send(head + &body).await;
                }
            });
        }
    });
    url
}

/// What a file holds, and what is packed in it.
fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut all = bytes.to_vec();
    for start in memchr::memmem::find_iter(bytes, b"\x1f\x8b\x08") {
        // It ends where the packed part does; what is none adds nothing.
        let _ = GzDecoder::new(&bytes[start..]).read_to_end(&mut all);
    }
    all
}

fn has(bytes: &[u8], word: &str) -> bool {
    memchr::memmem::find(bytes, word.as_bytes()).is_some()
}

/// All files of the store by their kind, packed parts unpacked. They are their
/// owner's alone.
fn files(store: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut kinds = BTreeMap::<String, Vec<u8>>::new();
    for entry in fs::read_dir(store).unwrap() {
        let path = entry.unwrap().path();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        let name = path.file_name().unwrap().to_str().unwrap();
        let kind = name.split('-').next().unwrap().to_owned();
        let bytes = unpacked(&fs::read(&path).unwrap());
        kinds.entry(kind).or_default().extend(bytes);
    }
    let mode = fs::metadata(store).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    kinds
}

/// Whether it tells of ourselves, and not of runs.
fn is_own(request: &Received) -> bool {
    let own = ["start", "drain", "connect to the event feed", "send spans"];
    let names = request.names();
    !names.is_empty() && names.iter().all(|name| own.contains(name))
}

/// A gauge or counter without labels.
fn figure(page: &str, name: &str) -> f64 {
    let lines = page.lines().filter_map(|line| line.strip_prefix(name));
    lines
        .filter_map(|rest| rest.trim().parse::<f64>().ok())
        .sum()
}

/// What is left of a life that is cut off in the middle, and of a second one that
/// ends well, with all logs on.
struct Left {
    files: BTreeMap<String, Vec<u8>>,
    logs: String,
    shown: String,
    sent: Vec<u8>,
}

async fn two_lives(capture: &str) -> Left {
    let url = server().await;
    // What is at fault is found and refused for good, and then the others wait.
    let is_found = AtomicBool::new(false);
    let receiver = Receiver::scripted(Wire::Http, move |request| {
        if is_own(request) {
            return Reply::Take;
        }
        if is_found.load(Ordering::Relaxed) {
            return Reply::status(503);
        }
        is_found.store(request.spans().count() == 1, Ordering::Relaxed);
        Reply::Status(400, Vec::new(), "too odd".to_owned())
    })
    .await;
    let endpoint = format!("http://{}/?key=hunter2-query", receiver.addr);
    let folder = tempfile::tempdir().unwrap();
    let (store, token) = (folder.path().join("store"), folder.path().join("token"));
    fs::write(&token, "hunter2-token\n").unwrap();
    let mut variables = listening(&url);
    variables.extend([
        ("AKRIBES_TOKEN_FILE", token.to_str().unwrap()),
        ("RUNTRAIL_LISTEN_LOCAL_TOKEN", "hunter2-local"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=Bearer%20hunter2-header",
        ),
        ("RUNTRAIL_STORE_DIR", store.to_str().unwrap()),
        ("RUNTRAIL_STORE_CHECKPOINT_EVERY", "1s"),
        ("RUNTRAIL_LIMITS_BATCH_AGE_MAX", "10ms"),
        ("RUNTRAIL_CAPTURE_CONTENT", capture),
        ("RUNTRAIL_LOG_RUNS", "true"),
        ("RUNTRAIL_DRAIN_MAX", "2s"),
        ("RUNTRAIL_SELF_TRACE", "true"),
        ("RUST_LOG", "trace"),
    ]);
    let program = Program::start(&["run"], &variables);
    let [metrics, local] = program.listeners();
    let page = eventually("all is where it belongs", || {
        let (_, page) = get(metrics, "/metrics", "");
        let waits = figure(&page, "runtrail_outbox_batches ") >= 1.0;
        let aside = figure(&page, "runtrail_quarantine_batches ") >= 1.0;
        let kept = store.join("checkpoint").exists();
        (waits && aside && kept).then_some(page)
    });
    let allowed = "authorization: Bearer hunter2-local\r\n";
    let (_, shown) = get(local, "/api/runs", allowed);
    let mut logs = program.kill().text;
    let mut left = files(&store);

    let program = Program::start(&["run"], &variables);
    program.listeners();
    program.signal("TERM");
    let ended = program.ended();
    assert!(matches!(ended.code, Some(0 | 1)), "{}", ended.text);
    logs.push_str(&ended.text);
    for (kind, bytes) in files(&store) {
        left.entry(kind).or_default().extend(bytes);
    }
    let mut sent = Vec::new();
    for received in receiver.received() {
        sent.extend(received.request.encode_to_vec());
    }
    Left {
        files: left,
        logs,
        shown: page + &shown,
        sent,
    }
}

/// Kinds of files, and what is found in each. A span alone has not all names.
const KINDS: [(&str, &str); 4] = [
    ("journal", NAME),
    ("checkpoint", NAME),
    ("outbox", NAME),
    ("quarantine", "runtrail."),
];

#[tokio::test(flavor = "multi_thread")]
async fn neither_the_token_nor_content_is_on_disk_in_logs_or_on_the_wire() {
    let left = two_lives("false").await;
    for (kind, word) in KINDS {
        let bytes = left
            .files
            .get(kind)
            .unwrap_or_else(|| panic!("there is no {kind}"));
        assert!(has(bytes, word), "nothing is found in {kind}");
    }
    for (kind, bytes) in &left.files {
        for word in [SECRET, CONTENT] {
            assert!(!has(bytes, word), "{word} is in {kind}");
        }
    }
    for word in [SECRET, CONTENT] {
        let line = left.logs.lines().find(|line| line.contains(word));
        assert_eq!(line, None);
        assert!(!left.shown.contains(word), "{word}: {}", left.shown);
        assert!(!has(&left.sent, word), "{word} was sent");
    }
    assert!(has(&left.sent, NAME));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_nowhere_also_when_content_is_captured() {
    let left = two_lives("true").await;
    for (kind, bytes) in &left.files {
        assert!(!has(bytes, SECRET), "it is in {kind}");
    }
    for kind in ["journal", "checkpoint", "outbox"] {
        assert!(has(&left.files[kind], CONTENT), "{kind} would show it");
    }
    assert!(has(&left.sent, CONTENT));
    let told = |word| left.logs.lines().find(|line| line.contains(word));
    assert_eq!(told(SECRET), None);
    // Summaries of runs are asked for, and hold their results; all else is silent.
    let content = told(CONTENT).map(|line| line.starts_with("{\"execution_id\""));
    assert!(content.unwrap_or(true), "{:?}", told(CONTENT));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_is_its_owners_alone() {
    let url = server().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("feed.sse");
    let arguments = ["record", "--out", file.to_str().unwrap(), "--for", "1s"];
    let ended = Program::start(&arguments, &[("AKRIBES_URL", &url)]).ended();
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert!(has(&fs::read(&file).unwrap(), CONTENT), "it holds the feed");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
