//! `runtrail backfill`: the real program, a server with runs that are over, and
//! a receiver for their spans.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod program;
mod receiver;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use http::{Request, StatusCode};
use runtrail::net::serve::{self, ServeLimits};
use runtrail::sim::workload::{Arrivals, WorkloadSettings, script_names};
use runtrail::sim::{SimHandle, SimServer, SimSettings};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::program::{Ended, Program, eventually};
use self::receiver::{Receiver, Reply, Wire};

/// Spans by trace and span id.
type Spans = BTreeMap<(Vec<u8>, Vec<u8>), String>;

async fn server() -> SimHandle {
    let settings = SimSettings {
        workload: WorkloadSettings {
            arrivals: Arrivals::None,
            speed: 2_000.0,
            failure_share: 0.3,
            chunks_per_second: 5_000.0,
            projects: 1,
            ..WorkloadSettings::default()
        },
        ..SimSettings::default()
    };
    SimServer::start(settings).await.unwrap()
}

/// Variables for a program between these, that asks for nothing but logs.
fn between(url: &str, receiver: &Receiver) -> Vec<(&'static str, String)> {
    vec![
        ("AKRIBES_URL", url.to_owned()),
        ("AKRIBES_PROJECT_ID", "1".to_owned()),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            format!("http://{}", receiver.addr),
        ),
        ("RUNTRAIL_LISTEN_METRICS", "127.0.0.1:0".to_owned()),
        ("RUNTRAIL_LISTEN_LOCAL", "127.0.0.1:0".to_owned()),
        ("RUNTRAIL_ENRICH", "false".to_owned()),
        ("RUNTRAIL_MARKERS", "false".to_owned()),
        ("RUNTRAIL_LIMITS_ASKS_PER_SECOND_MAX", "10000".to_owned()),
    ]
}

fn start(arguments: &[&str], variables: &[(&'static str, String)]) -> Program {
    let variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| (*name, &**value))
        .collect();
    Program::start(arguments, &variables)
}

fn backfill(arguments: &[&str], variables: &[(&'static str, String)]) -> Ended {
    let mut all = vec!["backfill"];
    all.extend(arguments);
    start(&all, variables).ended()
}

/// What a receiver has; nothing came twice.
fn received(receiver: &Receiver) -> Spans {
    let mut spans = Spans::new();
    for request in receiver.received() {
        for span in request.spans() {
            let ids = (span.trace_id.clone(), span.span_id.clone());
            assert_eq!(spans.insert(ids, format!("{span:?}")), None);
        }
    }
    spans
}

fn traces(spans: &Spans) -> BTreeSet<String> {
    let hex = |id: &Vec<u8>| id.iter().map(|byte| format!("{byte:02x}")).collect();
    spans.keys().map(|(trace, _)| hex(trace)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_spans_of_past_runs_are_those_that_were_sent_while_they_went_on() {
    let server = server().await;
    let token = server.token().unwrap().to_owned();
    let live = Receiver::start(Wire::Http).await;
    let mut variables = between(&server.url(), &live);
    variables.push(("AKRIBES_TOKEN", token.clone()));
    variables.push(("RUNTRAIL_REPAIR", "false".to_owned()));
    let sidecar = start(&["run"], &variables);
    server.wait_for_feeds(1).await;
    let mut runs = 0;
    for _ in 0..3 {
        for script in script_names() {
            runs += u64::from(server.start_run(script).is_some());
        }
    }
    server.wait_until_idle().await;
    let ended = server.finished_runs().len();
    assert!(ended as u64 >= runs && runs > 0);
    eventually("all runs arrive", || {
        (traces(&received(&live)).len() == ended).then_some(())
    });
    sidecar.signal("TERM");
    assert_eq!(sidecar.ended().code, Some(0));
    let expected = received(&live);

    let past = Receiver::start(Wire::Http).await;
    let mut variables = between(&server.url(), &past);
    variables.push(("AKRIBES_TOKEN", token));
    let done = backfill(&["--since", "1h"], &variables);
    assert_eq!(done.code, Some(0), "{}", done.text);
    let said = format!(
        "{ended} runs sent ({} spans), 0 gone, 0 failed",
        expected.len()
    );
    assert!(done.text.contains(&said), "{} {said}", done.text);
    let received = received(&past);
    for (ids, span) in &expected {
        assert_eq!(received.get(ids), Some(span));
    }
    assert_eq!(received.len(), expected.len());
}

/// A server of which every answer is written by hand: what was asked, and how
/// it answers by path.
struct ByHand {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
    _stop: watch::Sender<bool>,
}

/// A status and a body for a path; none for no answer at all.
type Script = dyn Fn(&str) -> Option<(u16, String)> + Send + Sync;

async fn by_hand(script: impl Fn(&str) -> Option<(u16, String)> + Send + Sync + 'static) -> ByHand {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = watch::channel(false);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let script: Arc<Script> = Arc::new(script);
    let seen = Arc::clone(&asked);
    let handler = move |_, request: Request<_>| {
        let target = request.uri().to_string();
        seen.lock().unwrap().push(target.clone());
        let answer = script(&target);
        async move {
            match answer {
                Some((status, body)) => serve::json(StatusCode::from_u16(status).unwrap(), body),
                None => std::future::pending().await,
            }
        }
    };
    tokio::spawn(serve::serve(
        listener,
        ServeLimits::default(),
        stopped,
        handler,
    ));
    ByHand {
        url,
        asked,
        _stop: stop,
    }
}

/// A run's id, of which the last digit is told.
fn id(number: u8) -> String {
    format!("00000000-0000-4000-8000-00000000000{number:x}")
}

fn row(number: u8, script: &str, status: &str, started_at: &str) -> Value {
    json!({
        "id": id(number), "project_id": 1, "script_name": script, "status": status,
        "started_at": started_at, "finished_at": started_at,
    })
}

/// The log of a run of one task.
fn log() -> String {
    page(4, false)
}

/// The first events of it, and whether it says that there are more.
fn page(events: usize, has_more: bool) -> String {
    let all = [
        json!({"type": "WorkflowStart", "payload": 1, "at": "2026-05-07T10:00:00.000Z"}),
        json!({"type": "TaskStart", "payload": ["draft", null], "at": "2026-05-07T10:00:00.005Z"}),
        json!({"type": "TaskEnd", "payload": {"task": "draft", "value": "x", "duration": {"secs": 1, "nanos": 0}, "attempt": 1}, "at": "2026-05-07T10:00:01.005Z"}),
        json!({"type": "WorkflowEnd", "payload": "x", "at": "2026-05-07T10:00:01.010Z"}),
    ];
    let page = json!({
        "execution_id": "x", "status": "completed", "complete": true,
        "next_after_id": events, "has_more": has_more, "events": all[..events],
    });
    page.to_string()
}

/// Answers with this list, and otherwise as `of_run` says.
fn listed(
    rows: Vec<Value>,
    of_run: impl Fn(&str) -> Option<(u16, String)> + Send + Sync + 'static,
) -> impl Fn(&str) -> Option<(u16, String)> + Send + Sync + 'static {
    move |target| match target.contains("/projects/1/executions") {
        true if target.contains("offset=0") => Some((200, json!(rows).to_string())),
        true => Some((200, "[]".to_owned())),
        false => of_run(target),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_runs_that_are_asked_for_and_have_ended_are_sent() {
    let at = "2026-05-07T10:00:00Z";
    let rows = vec![
        row(1, "review", "completed", at),
        row(2, "review", "running", at),
        row(3, "other", "completed", at),
        row(4, "revise", "failed", at),
        row(5, "review", "completed", "2026-05-09T00:00:01Z"),
        row(6, "review-old", "completed", at),
    ];
    let server = by_hand(listed(rows, |_| Some((200, log())))).await;
    let receiver = Receiver::start(Wire::Http).await;
    let mut variables = between(&server.url, &receiver);
    variables.push(("RUNTRAIL_EXCLUDE", "*-old".to_owned()));
    let window = ["--since", "2026-05-07", "--until", "2026-05-09"];
    let globs = ["--workflow", "review*", "--workflow", "revise"];
    let done = backfill(&[window, globs].concat(), &variables);
    assert_eq!(done.code, Some(0), "{}", done.text);
    assert!(
        done.text.contains(
            "2 runs that started since 2026-05-07T00:00:00.000Z have ended; 1 are still open"
        ),
        "{}",
        done.text
    );
    assert!(
        done.text
            .contains("2 runs sent (4 spans), 0 gone, 0 failed"),
        "{}",
        done.text
    );
    let sent = traces(&received(&receiver));
    assert_eq!(
        sent,
        [1, 4].map(|number| id(number).replace('-', "")).into()
    );
    let asked = server.asked.lock().unwrap().clone();
    let list = "/projects/1/executions?since=2026-05-07T00%3A00%3A00.000Z&limit=200&offset=0";
    assert_eq!(asked[0], list);
    assert!(!asked.iter().any(|target| target.contains("tasks")));
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_cannot_be_had_are_counted_and_leave_no_span() {
    let at = "2026-05-07T10:00:00Z";
    let rows = (1..=6).map(|number| row(number, "review", "completed", at));
    let is_of = |target: &str, number| target.contains(&format!("{}/events", id(number)));
    let server = by_hand(listed(rows.collect(), move |target| {
        Some(match target {
            gone if is_of(gone, 2) => (404, "{}".to_owned()),
            forbidden if is_of(forbidden, 3) => (403, "{}".to_owned()),
            broken if is_of(broken, 4) => (200, "[\"no log\"]".to_owned()),
            failing if is_of(failing, 5) => (500, "{}".to_owned()),
            // It says that there is more, and then there is nothing.
            cut if is_of(cut, 6) && cut.contains("after_id=0") => (200, page(3, true)),
            cut if is_of(cut, 6) => (404, "{}".to_owned()),
            log_of_1 if is_of(log_of_1, 1) => (200, log()),
            _ => (200, "{}".to_owned()),
        })
    }))
    .await;
    let receiver = Receiver::start(Wire::Http).await;
    let mut variables = between(&server.url, &receiver);
    variables.retain(|(name, _)| *name != "RUNTRAIL_ENRICH");
    variables.push(("RUNTRAIL_LIMITS_REPAIR_WAIT_MAX", "2s".to_owned()));
    let done = backfill(&["--since", "2026-05-07"], &variables);
    assert_eq!(done.code, Some(1), "{}", done.text);
    assert!(
        done.text
            .contains("1 runs sent (2 spans), 2 gone, 3 failed"),
        "{}",
        done.text
    );
    assert!(
        done.text.contains("not all runs were sent"),
        "{}",
        done.text
    );
    let sent = traces(&received(&receiver));
    assert_eq!(sent, [id(1).replace('-', "")].into());
    // What else is known of a run that ended is asked for too.
    let asked = server.asked.lock().unwrap().clone();
    assert!(asked.contains(&format!("/executions/{}/tasks", id(1))));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_said_in_a_sentence() {
    let (missing, forbidden, strange) = (
        by_hand(|_| Some((404, "{}".to_owned()))).await,
        by_hand(|_| Some((403, "{}".to_owned()))).await,
        by_hand(|_| Some((200, "{}".to_owned()))).await,
    );
    let receiver = Receiver::start(Wire::Http).await;
    for (server, said) in [
        (
            &missing,
            "the list of runs of project 1 cannot be read: the server has none (404)",
        ),
        (
            &forbidden,
            "the list of runs of project 1 cannot be read: the server refuses the token",
        ),
        (&strange, "what the server answers is no list of runs"),
    ] {
        let done = backfill(&["--since", "1h"], &between(&server.url, &receiver));
        assert_eq!(done.code, Some(1), "{}", done.text);
        assert!(done.text.contains(said), "{} {said}", done.text);
    }
    let variables = between(&strange.url, &receiver);
    let without = |name: &str| {
        let kept = variables.iter().filter(|(n, _)| *n != name);
        kept.cloned().collect::<Vec<_>>()
    };
    for (arguments, variables, said) in [
        (
            &["--since", "1h"][..],
            without("AKRIBES_PROJECT_ID"),
            "runs are listed by project, and none is named: set AKRIBES_PROJECT_ID",
        ),
        (
            &["--since", "1h"],
            without("OTEL_EXPORTER_OTLP_ENDPOINT"),
            "there is no backend to send to: ",
        ),
        (
            &["--since", "1h", "--until", "2h"],
            variables.clone(),
            "--until is before --since",
        ),
        (
            &["--since", "soon"],
            variables.clone(),
            "36h for that long ago",
        ),
        (&[], variables.clone(), "--since"),
    ] {
        let done = backfill(arguments, &variables);
        assert_eq!(done.code, Some(2), "{}", done.text);
        assert!(done.text.contains(said), "{} {said}", done.text);
    }
    let refusing = Receiver::scripted(Wire::Http, |_| Reply::status(401)).await;
    let done = backfill(&["--since", "1h"], &between(&strange.url, &refusing));
    assert_eq!(done.code, Some(1), "{}", done.text);
    assert!(done.text.contains("401"), "{}", done.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_that_the_backend_refuses_make_it_fail() {
    let rows = vec![row(1, "review", "completed", "2026-05-07T10:00:00Z")];
    let server = by_hand(listed(rows, |_| Some((200, log())))).await;
    let receiver = Receiver::scripted(Wire::Http, |received| match received.spans().count() {
        0 => Reply::Take,
        _ => Reply::Partial(1, "one too many"),
    })
    .await;
    let done = backfill(&["--since", "2026-05-07"], &between(&server.url, &receiver));
    assert_eq!(done.code, Some(1), "{}", done.text);
    assert!(
        done.text.contains("1 spans refused by the backend"),
        "{}",
        done.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stops_when_it_is_told_to_and_sends_what_it_has() {
    let at = "2026-05-07T10:00:00Z";
    let rows = vec![
        row(1, "review", "completed", at),
        row(2, "review", "completed", at),
    ];
    let (tell, mut told) = watch::channel(false);
    let server = by_hand(listed(rows, move |target| {
        if target.contains(&id(2)) {
            tell.send_replace(true);
            return None;
        }
        Some((200, log()))
    }))
    .await;
    let receiver = Receiver::start(Wire::Http).await;
    let program = start(
        &["backfill", "--since", "2026-05-07"],
        &between(&server.url, &receiver),
    );
    told.wait_for(|told| *told).await.unwrap();
    program.signal("TERM");
    let ended = program.ended();
    assert_eq!(ended.code, Some(1), "{}", ended.text);
    assert!(
        ended.text.contains("it was stopped before the end"),
        "{}",
        ended.text
    );
}
