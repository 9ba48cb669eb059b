//! A workflow's author, who may name things as he likes.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::listening;
use crate::program::{Program, eventually, get};
use crate::receiver::{Receiver, Wire};
use crate::scripted::{FEED, Server};
use crate::support::{Feed, merge, usage};

/// Begins a line, ends a label and a text, speaks to a terminal, goes up.
const NASTY: &str = "x\"} 1\nrunb{y=\"\\\r\n\u{1b}[31m\u{1b}]0;t\u{7}\u{9b}2J\u{2028}{\"level\":\"ERROR\"}<script>/../../etc/passwd%2e%2e\u{202e}\0";

/// Ids that would lead elsewhere, if they were taken for paths.
const IDS: [&str; 4] = [
    "../../../admin/delete",
    "a?status=all#b",
    "%2e%2e%2fsecret",
    "x\r\nauthorization: none",
];

/// A run in which everything is named so. Its beginning is missing, so that its
/// log is asked for.
fn nasty(run: &str) -> Vec<u8> {
    let mut feed = Feed::of_run(NASTY, run);
    feed.start().at(5).task(NASTY);
    feed.chunk(NASTY, NASTY, "text");
    feed.tool(NASTY, NASTY, NASTY);
    feed.at(50)
        .tool_end(NASTY, NASTY, NASTY, json!({"error": NASTY}));
    feed.event("SomethingNew", json!({"a": NASTY}));
    feed.event(NASTY, json!(NASTY));
    let mut end = usage(1, 2);
    merge(
        &mut end["usage"],
        json!({"model": NASTY, "provider": NASTY, "stop_reason": NASTY}),
    );
    feed.at(500).task_end(NASTY, 495, end);
    feed.at(600).event(
        "Error",
        json!({"message": NASTY, "kind": NASTY, "code": NASTY, "user_message": NASTY}),
    );
    crate::support::sse(&feed.script, &feed.lines[1..], 3)
}

/// Tells of all these runs, knows nothing else, and remembers what it was asked.
async fn server() -> (String, Arc<Mutex<Vec<String>>>) {
    let server = Server::new().await;
    let url = server.url().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let mut connection = server.accept_ever().await;
            let all = Arc::clone(&all);
            tokio::spawn(async move {
                while let Some(request) = connection.next_request().await {
                    let names = request.headers.iter().map(|(name, _)| name.as_str());
                    let one = names.filter(|name| *name == "authorization").count() == 1;
                    all.lock().unwrap().push(format!("{one} {}", request.line));
                    if request.header("accept") == Some("text/event-stream") {
                        connection.send(FEED).await;
                        for run in IDS {
                            connection.send(nasty(run)).await;
                        }
                        std::future::pending::<()>().await;
                    }
                    let nothing = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
                    connection.send(nothing).await;
                }
            });
        }
    });
    (url, asked)
}

/// The names of the files, and no folder among them.
fn names(folder: &std::path::Path) -> Vec<String> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            assert!(entry.file_type().unwrap().is_file());
            entry.file_name().into_string().unwrap()
        })
        .collect()
}

fn is_clean(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() && c != '\n')
}

async fn names_do_no_harm(format: &str) {
    let (url, asked) = server().await;
    let receiver = Receiver::start(Wire::Http).await;
    let endpoint = format!("http://{}", receiver.addr);
    let store = tempfile::tempdir().unwrap();
    let mut variables = listening(&url);
    variables.extend([
        ("AKRIBES_TOKEN", "hunter2-token"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
        ("RUNTRAIL_STORE_DIR", store.path().to_str().unwrap()),
        ("RUNTRAIL_LOG_FORMAT", format),
        ("RUST_LOG", "debug"),
    ]);
    let program = Program::start(&["run", "--log-runs"], &variables);
    let (metrics, local) = match format {
        "json" => program.listeners().into(),
        _ => {
            let line = program.line_with("listening: ");
            let of = |key: &str| {
                let (_, rest) = line.split_once(key).unwrap();
                rest.split(' ').next().unwrap().parse().unwrap()
            };
            (of("metrics="), of("local="))
        }
    };
    eventually("all runs have ended", || {
        let (_, page) = get(metrics, "/metrics", "");
        let finished = page
            .lines()
            .filter(|line| line.starts_with("runtrail_runs_finished_total{"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        (finished.sum::<u64>() == IDS.len() as u64).then_some(())
    });
    eventually("all roots are sent", || {
        let received = receiver.received();
        let spans = received.iter().flat_map(|request| request.spans());
        let roots = spans.filter(|span| span.parent_span_id.is_empty());
        (roots.count() >= IDS.len()).then_some(())
    });

    // The page has no line that we did not write.
    let (_, page) = get(metrics, "/metrics", "");
    for line in page.lines() {
        let is_ours = ["runtrail_", "process_", "# HELP ", "# TYPE "];
        assert!(
            is_ours.iter().any(|begin| line.starts_with(begin)),
            "{line:?}"
        );
    }
    assert!(page.contains("runb{y=\\\""), "the name is there, escaped");

    // The API finds each run by its id, and shows it as JSON.
    for run in IDS {
        let id: String = run.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for more in ["", "/summary", "/spans"] {
            let (_, body) = get(local, &format!("/api/runs/{id}{more}"), "");
            assert!(is_clean(&body), "{body:?}");
            for line in body.lines() {
                let _: Value = serde_json::from_str(line).unwrap();
            }
        }
    }

    // The server was asked for nothing but what there may be.
    for line in asked.lock().unwrap().iter() {
        let path = line
            .strip_prefix("true GET ")
            .expect("one header, one method");
        let path = path.strip_suffix(" HTTP/1.1").unwrap();
        let path = path.split('?').next().unwrap();
        let parts: Vec<&str> = path.split('/').collect();
        let is_known = matches!(
            parts[..],
            ["", "events"]
                | ["", "projects", "1", "executions"]
                | ["", "executions", _]
                | ["", "executions", _, "events" | "tasks"]
        );
        let leads_up = parts.iter().any(|part| matches!(*part, "." | ".."));
        assert!(is_known && !leads_up, "{line}");
    }

    for name in names(store.path()) {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        assert!(name.chars().all(is_plain), "{name:?}");
    }

    program.signal("TERM");
    let ended = program.ended();
    for line in ended.text.lines() {
        assert!(is_clean(line), "{line:?}");
        let is_run = line.starts_with("{\"execution_id\":");
        if is_run || format == "json" {
            let _: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line:?}"));
        } else {
            assert!(line.starts_with("20"), "it begins with its time: {line:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_forge_no_metric_no_line_no_path_and_no_file() {
    names_do_no_harm("json").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_speak_to_no_terminal() {
    names_do_no_harm("text").await;
}

#[test]
fn what_replay_prints_speaks_to_no_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("feed.sse");
    std::fs::write(&file, nasty(IDS[0])).unwrap();
    for emit in ["summaries", "spans", "metrics"] {
        let file = file.to_str().unwrap();
        let arguments = ["replay", "--system", "akribes", "--emit", emit, file];
        let ended = Program::start(&arguments, &[]).ended();
        assert_eq!(ended.code, Some(0), "{}", ended.text);
        if emit == "metrics" {
            // Its escapes are those of Prometheus, which knows three.
            assert!(ended.text.contains("runb{y=\\\""), "{}", ended.text);
        } else {
            assert!(is_clean(&ended.text), "{:?}", ended.text);
        }
    }
}
