//! What asks the server for what a feed misses, against a server that does what
//! it is told, over real sockets.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop"
)]

#[path = "receiver/logs.rs"]
#[allow(unreachable_pub, reason = "a module of several test files")]
mod logs;
mod scripted;

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use logs::Logs;
use reqwest::Url;
use runtrail::limits::Limits;
use runtrail::net::secret::{Secret, TokenSource};
use runtrail::run::outputs::Wish;
use runtrail::sim::misbehaviour::Requests;
use runtrail::sim::settings::{SimSettings, SimToken};
use runtrail::sim::workload::{Arrivals, WorkloadSettings};
use runtrail::sim::{Misbehaviour, SimServer};
use runtrail::source::SourceError;
use runtrail::source::ask::{Answer, Asker, AskerSettings, Reply};
use runtrail::wire::dialect::Dialect;
use runtrail::wire::event::RunOutcome;
use runtrail::wire::rows::{OpenStatus, RowStatus};
use runtrail::wire::time::Time;
use scripted::{Connection, Server, soon};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::Level;

const TOKEN: &str = "tok-hunter2";

/// An asker at work.
struct Asking {
    wishes: mpsc::Sender<Wish>,
    answers: mpsc::Receiver<Answer>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Asking {
    fn new(settings: AskerSettings) -> Self {
        Self::with_room(settings, 16)
    }

    fn with_room(settings: AskerSettings, room: usize) -> Self {
        let (wishes, wished) = mpsc::channel(64);
        let (to, answers) = mpsc::channel(room);
        let (stop, stopped) = watch::channel(false);
        let task = Asker::start(settings, wished, to, stopped).expect("the settings are sound");
        Self {
            wishes,
            answers,
            stop,
            task,
        }
    }

    async fn wish(&self, wish: Wish) {
        self.wishes.send(wish).await.expect("it takes wishes");
    }

    async fn answer(&mut self) -> Answer {
        soon(self.answers.recv()).await.expect("it answers")
    }

    /// What becomes of this, when nothing else is asked for.
    async fn reply_to(&mut self, wish: Wish) -> Reply {
        self.wish(wish.clone()).await;
        let answer = self.answer().await;
        assert_eq!(answer.wish, wish);
        answer.reply
    }

    /// The same, when the server answers one request with this, and hangs up.
    async fn reply_for(&mut self, server: &Server, wish: Wish, answer: impl AsRef<[u8]>) -> Reply {
        self.wish(wish.clone()).await;
        server.answer(answer).await;
        let answered = self.answer().await;
        assert_eq!(answered.wish, wish);
        answered.reply
    }
}

/// No bound that a test does not set is in its way.
fn settings(url: Url) -> AskerSettings {
    let mut settings = AskerSettings::new(scripted::settings(url), &Limits::default(), 1);
    settings.per_second_max = 1_000_000;
    settings
}

/// One request at a time, so that there is an order.
fn one_by_one(url: Url) -> AskerSettings {
    AskerSettings {
        in_flight_max: 1,
        ..settings(url)
    }
}

fn row(run: &str) -> Wish {
    Wish::AskRow {
        project: Some(7),
        run_id: run.into(),
    }
}

fn facts(run: &str) -> Wish {
    Wish::AskFacts {
        project: Some(7),
        run_id: run.into(),
    }
}

fn log(run: &str, after: u64) -> Wish {
    Wish::ReadLog {
        project: Some(7),
        run_id: run.into(),
        after,
    }
}

fn list(project: i64) -> Wish {
    Wish::ListRuns {
        project,
        since: Some(Time::ZERO),
        status: Some(OpenStatus::Suspended),
        offset: 400,
    }
}

/// An answer with a body, behind which the connection ends.
fn answer(status: &str, headers: &str, body: &str) -> String {
    let bytes = body.len();
    format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {bytes}\r\nconnection: close\r\n\r\n{body}"
    )
}

fn ok(body: &str) -> String {
    answer("200 OK", "content-type: application/json\r\n", body)
}

fn refusal(status: &str) -> String {
    answer(status, "", "{\"error\":\"no\"}")
}

#[tokio::test]
async fn each_wish_is_asked_for_at_its_place_and_answered_with_what_the_server_gave() {
    let server = Server::new().await;
    let mut settings = one_by_one(server.url().join("/api/").unwrap());
    settings.source.token = Some(TokenSource::Value(Secret::new(TOKEN)));
    let mut asking = Asking::new(settings);
    let json = Bytes::from_static(b" {\"a\":1}");
    let cases = [
        (
            log("a/b", 57),
            "/executions/a%2Fb/events?after_id=57&limit=500",
            Reply::LogPage(json.clone()),
        ),
        (row("r"), "/executions/r", Reply::Row(json.clone())),
        (
            list(9),
            "/projects/9/executions?since=1970-01-01T00%3A00%3A00.000Z&status=suspended&limit=200&offset=400",
            Reply::Runs(json.clone()),
        ),
    ];
    for (wish, target, reply) in cases {
        asking.wish(wish.clone()).await;
        let (request, _) = server.answer(ok(" {\"a\":1}")).await;
        assert_eq!(request.line, format!("GET /api{target} HTTP/1.1"));
        assert_eq!(request.header("accept"), Some("application/json"));
        assert_eq!(request.header("accept-encoding"), Some("identity"));
        assert_eq!(request.header("authorization"), Some("Bearer tok-hunter2"));
        assert_eq!(asking.answer().await, Answer { wish, reply });
    }
}

#[tokio::test]
async fn facts_are_a_row_and_its_tasks_and_a_connection_is_used_again() {
    let server = Server::new().await;
    let mut asking = Asking::new(settings(server.url()));
    asking.wish(facts("r")).await;
    let mut connection = server.accept().await;
    for (target, body) in [("/executions/r", "{}"), ("/executions/r/tasks", "[]")] {
        let line = connection.request().await.line;
        assert_eq!(line, format!("GET {target} HTTP/1.1"));
        let kept = ok(body).replace("connection: close\r\n", "");
        connection.send(kept).await;
    }
    let reply = Reply::Facts {
        row: Some(Bytes::from_static(b"{}")),
        tasks: Some(Bytes::from_static(b"[]")),
    };
    assert_eq!(asking.answer().await.reply, reply);
}

#[tokio::test]
async fn facts_are_told_as_far_as_there_are_any() {
    let server = Server::new().await;
    let mut asking = Asking::new(settings(server.url()));
    let (body, none) = (Bytes::from_static(b"{}"), refusal("404 Not Found"));
    for (first, second, reply) in [
        (
            ok("{}"),
            Some(&none),
            Reply::Facts {
                row: Some(body.clone()),
                tasks: None,
            },
        ),
        (
            ok("no json"),
            Some(&ok("{}")),
            Reply::Facts {
                row: None,
                tasks: Some(body),
            },
        ),
        (ok("no json"), Some(&none), Reply::Unusable),
        (none.clone(), None, Reply::Gone),
        (refusal("403 Forbidden"), None, Reply::Forbidden),
    ] {
        asking.wish(facts("r")).await;
        server.answer(&first).await;
        if let Some(second) = second {
            server.answer(second).await;
        }
        assert_eq!(asking.answer().await.reply, reply, "{first} {second:?}");
    }
}

#[tokio::test]
async fn what_asking_again_would_not_change_is_answered_at_once() {
    let server = Server::new().await;
    let mut asking = Asking::new(settings(server.url()));
    for (status, reply) in [
        ("404 Not Found", Reply::Gone),
        ("410 Gone", Reply::Gone),
        ("401 Unauthorized", Reply::Forbidden),
        ("403 Forbidden", Reply::Forbidden),
        ("400 Bad Request", Reply::Unusable),
        ("405 Method Not Allowed", Reply::Unusable),
        ("204 No Content", Reply::Unusable),
        ("206 Partial Content", Reply::Unusable),
    ] {
        for wish in [log("r", 0), row("r"), list(7)] {
            let answered = asking.reply_for(&server, wish, refusal(status)).await;
            assert_eq!(answered, reply, "{status}");
        }
    }
    let packed = "content-encoding: gzip\r\n";
    for no_json in [
        ok("<html>"),
        ok(""),
        ok("  "),
        answer("200 OK", packed, "{}"),
    ] {
        for wish in [log("r", 0), row("r"), list(7)] {
            let answered = asking.reply_for(&server, wish, &no_json).await;
            assert_eq!(answered, Reply::Unusable, "{no_json}");
        }
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_nobody_else_gets_the_token() {
    let (server, other) = (Server::new().await, Server::new().await);
    let mut settings = settings(server.url());
    settings.source.token = Some(TokenSource::Value(Secret::new(TOKEN)));
    let mut asking = Asking::new(settings);
    for status in ["301 Moved", "302 Found", "307 Temporary Redirect", "308 P"] {
        let location = format!("location: {}executions/r\r\n", other.url());
        let redirect = answer(status, &location, "");
        let reply = asking.reply_for(&server, row("r"), redirect).await;
        assert_eq!(reply, Reply::Unusable);
    }
    assert!(other.is_untouched().await);
}

#[tokio::test]
async fn a_server_that_asks_to_wait_is_left_alone_by_all_wishes() {
    for (status, wait) in [
        ("429 Too Many Requests", "retry-after: 1\r\n"),
        ("503 Service Unavailable", "retry-after: 1\r\n"),
        (
            "429 Too Many Requests",
            "date: Wed, 21 Oct 2015 07:28:00 GMT\r\nretry-after: Wed, 21 Oct 2015 07:28:01 GMT\r\n",
        ),
    ] {
        let server = Server::new().await;
        let mut asking = Asking::new(one_by_one(server.url()));
        asking.wish(row("a")).await;
        asking.wish(log("b", 0)).await;
        asking.wish(list(7)).await;
        let (first, _) = server.answer(answer(status, wait, "")).await;
        assert!(server.is_untouched().await, "{status} {wait}");
        // Nothing is lost by it, and who was refused is first.
        let mut lines = Vec::new();
        for _ in 0..3 {
            lines.push(server.answer(ok("[]")).await.0.line);
        }
        assert_eq!(lines[0], first.line);
        let mut answered = Vec::new();
        for _ in 0..3 {
            answered.push(asking.answer().await.reply);
        }
        assert!(answered.contains(&Reply::Row(Bytes::from_static(b"[]"))));
        assert!(!answered.contains(&Reply::GaveUp), "{answered:?}");
    }
}

#[tokio::test]
async fn tasks_that_cannot_be_had_at_once_are_asked_for_again() {
    let server = Server::new().await;
    let mut asking = Asking::new(settings(server.url()));
    asking.wish(facts("a")).await;
    server.answer(ok("{}")).await;
    server.answer(refusal("500 Internal Server Error")).await;
    server.answer(ok("[]")).await;
    let both = Reply::Facts {
        row: Some(Bytes::from_static(b"{}")),
        tasks: Some(Bytes::from_static(b"[]")),
    };
    assert_eq!(asking.answer().await.reply, both);
}

#[tokio::test]
async fn a_server_that_is_left_alone_for_too_long_gives_nothing() {
    let server = Server::new().await;
    let mut settings = one_by_one(server.url());
    settings.wish_time_max = Duration::from_millis(300);
    settings.facts_time_max = Duration::from_millis(300);
    let mut asking = Asking::new(settings);
    let busy = answer("429 Too Many Requests", "retry-after: 9000\r\n", "");
    asking.wish(facts("a")).await;
    server.answer(ok("{}")).await;
    server.answer(busy).await;
    asking.wish(log("b", 0)).await;
    // What of the facts was told is not thrown away.
    let half = Reply::Facts {
        row: Some(Bytes::from_static(b"{}")),
        tasks: None,
    };
    assert_eq!(asking.answer().await.reply, half);
    assert_eq!(asking.answer().await.reply, Reply::GaveUp);
    assert!(server.is_untouched().await);
}

#[tokio::test]
async fn a_failure_of_one_request_is_no_rest_for_the_others() {
    let server = Server::new().await;
    let mut settings = one_by_one(server.url());
    // Who fails waits for so long that it is given up.
    settings.wish_time_max = Duration::from_secs(30);
    let mut asking = Asking::new(settings);
    let wait = "retry-after: 60\r\n";
    for status in [
        "500 Internal Server Error",
        "502 Bad Gateway",
        "504 Timeout",
    ] {
        asking.wish(row("a")).await;
        asking.wish(row("b")).await;
        let (first, _) = server.answer(answer(status, wait, "")).await;
        assert!(first.line.contains("/a "), "{first:?}");
        let (second, _) = server.answer(ok("{}")).await;
        assert!(second.line.contains("/b "), "{second:?}");
        let replies = [asking.answer().await.reply, asking.answer().await.reply];
        let expected = [Reply::GaveUp, Reply::Row(Bytes::from_static(b"{}"))];
        assert_eq!(replies, expected, "{status}");
    }
}

#[tokio::test]
async fn what_fails_is_asked_for_again() {
    let server = Server::new().await;
    let mut asking = Asking::new(settings(server.url()));
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"a\"";
    let cut_chunk = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\n{\"a\"";
    for failure in [
        refusal("500 Internal Server Error").as_str(),
        &refusal("502 Bad Gateway"),
        &refusal("408 Request Timeout"),
        &refusal("429 Too Many Requests"),
        &refusal("503 Service Unavailable"),
        "",
        cut,
        cut_chunk,
    ] {
        asking.wish(row("r")).await;
        for _ in 0..2 {
            drop(server.answer(failure).await);
        }
        server.answer(ok("{}")).await;
        let reply = asking.answer().await.reply;
        assert_eq!(reply, Reply::Row(Bytes::from_static(b"{}")), "{failure}");
    }
}

#[tokio::test]
async fn an_answer_that_takes_too_long_has_failed() {
    let server = Server::new().await;
    let mut settings = settings(server.url());
    settings.answer_time_max = Duration::from_millis(200);
    let mut asking = Asking::new(settings);
    asking.wish(row("r")).await;
    // One does not begin, one does not end.
    let mut silent = server.accept().await;
    silent.request().await;
    let (_, endless) = server
        .answer("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"a\"")
        .await;
    server.answer(ok("{}")).await;
    let reply = asking.answer().await.reply;
    assert_eq!(reply, Reply::Row(Bytes::from_static(b"{}")));
    silent.closed().await;
    endless.closed().await;
}

#[tokio::test]
async fn a_wish_is_given_up_when_its_time_is_over() {
    let server = Server::new().await;
    let mut settings = settings(server.url());
    settings.wish_time_max = Duration::from_millis(100);
    settings.facts_time_max = Duration::from_millis(100);
    let mut asking = Asking::new(settings);
    for wish in [row("r"), facts("r"), list(7), log("r", 0)] {
        asking.wish(wish.clone()).await;
        let mut silent = server.accept().await;
        silent.request().await;
        assert_eq!(asking.answer().await.reply, Reply::GaveUp, "{wish:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_waited_for() {
    let server = Server::new().await;
    let address = server.address();
    let mut asking = Asking::new(settings(server.url()));
    drop(server);
    let logs = Logs::catch(Level::WARN);
    asking.wish(row("r")).await;
    while logs.lines().is_empty() {
        tokio::task::yield_now().await;
    }
    let server = Server::at(address).await.unwrap();
    server.answer(ok("{}")).await;
    let reply = asking.answer().await.reply;
    assert_eq!(reply, Reply::Row(Bytes::from_static(b"{}")));
    let lines = logs.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("cannot connect to"), "{lines:?}");
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_let_go_of() {
    let server = Server::new().await;
    let mut settings = settings(server.url());
    settings.answer_bytes_max = 10_000;
    let mut asking = Asking::new(settings);
    let told = "HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n[";
    let untold = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for head in [told, untold] {
        for wish in [row("r"), list(7)] {
            asking.wish(wish).await;
            let (_, mut connection) = server.answer(head).await;
            if head == untold {
                // It takes no more than it must, so not all of this is written.
                for _ in 0..11 {
                    connection.send_chunk([b'['; 1_000]).await;
                }
            }
            connection.closed().await;
            assert_eq!(asking.answer().await.reply, Reply::Unusable);
        }
    }
    // What just fits is an answer.
    let just = format!("[{}]", " ".repeat(9_998));
    let reply = asking.reply_for(&server, row("r"), ok(&just)).await;
    assert_eq!(reply, Reply::Row(just.into()));
}

#[tokio::test]
async fn a_page_that_is_too_large_is_asked_for_with_fewer_events() {
    let server = Server::new().await;
    let mut settings = settings(server.url());
    settings.answer_bytes_max = 1_000;
    let mut asking = Asking::new(settings);
    let large = ok(&format!("[{}]", " ".repeat(1_000)));
    let medium = ok(&format!("[{}]", " ".repeat(500)));
    let small = ok("[]");
    let asked = |limit: usize, with: &String| {
        let (server, with) = (&server, with.clone());
        async move {
            let (request, _) = server.answer(with).await;
            let end = format!("&limit={limit} HTTP/1.1");
            assert!(request.line.ends_with(&end), "{request:?} {limit}");
        }
    };
    asking.wish(log("r", 0)).await;
    asked(500, &large).await;
    asked(62, &large).await;
    asked(7, &medium).await;
    assert!(matches!(asking.answer().await.reply, Reply::LogPage(_)));
    // So are those after it, until they fit well.
    for (limit, with) in [(7, &medium), (7, &small), (14, &small), (28, &small)] {
        asking.wish(log("r", 1)).await;
        asked(limit, with).await;
        assert!(matches!(asking.answer().await.reply, Reply::LogPage(_)));
    }
    // An event that is too large by itself cannot be had.
    asking.wish(log("r", 2)).await;
    for limit in [56, 7, 1] {
        asked(limit, &large).await;
    }
    assert_eq!(asking.answer().await.reply, Reply::Unusable);
}

#[tokio::test]
async fn no_more_is_asked_at_once_than_may_be() {
    let server = Server::new().await;
    let mut settings = settings(server.url());
    settings.in_flight_max = 2;
    let mut asking = Asking::new(settings);
    for run in 0..5 {
        asking.wish(row(&run.to_string())).await;
    }
    let mut open: Vec<Connection> = Vec::new();
    for _ in 0..2 {
        open.push(server.accept().await);
    }
    for left in (0..=3).rev() {
        assert!(server.is_untouched().await, "{left} are left");
        let mut connection = open.remove(0);
        connection.request().await;
        connection.send(ok("{}")).await;
        asking.answer().await;
        if left > 0 {
            open.push(server.accept().await);
        }
    }
}

#[tokio::test]
async fn no_more_is_asked_within_a_second_than_may_be() {
    let server = Server::new().await;
    let mut settings = settings(server.url());
    settings.per_second_max = 1;
    let mut asking = Asking::new(settings);
    for _ in 0..2 {
        asking.wish(row("r")).await;
    }
    server.answer(ok("{}")).await;
    assert!(server.is_untouched().await);
    server.answer(ok("{}")).await;
    for _ in 0..2 {
        assert!(matches!(asking.answer().await.reply, Reply::Row(_)));
    }
}

#[tokio::test]
async fn no_more_is_asked_than_somebody_takes_the_answers_of() {
    let server = Server::new().await;
    let mut asking = Asking::with_room(one_by_one(server.url()), 1);
    for _ in 0..4 {
        asking.wish(row("r")).await;
    }
    // One answer is in the channel, one waits for room in it.
    for _ in 0..2 {
        server.answer(ok("{}")).await;
    }
    assert!(server.is_untouched().await);
    asking.answer().await;
    server.answer(ok("{}")).await;
}

#[tokio::test]
async fn no_more_wishes_are_taken_than_may_wait() {
    let server = Server::new().await;
    let mut settings = one_by_one(server.url());
    settings.wishes_max = 2;
    let asking = Asking::new(settings);
    // One is on its way, two wait, and the channel has room for 64.
    for _ in 0..67 {
        soon(asking.wish(row("r"))).await;
    }
    let _silent = server.accept().await;
    let more = tokio::time::timeout(Duration::from_millis(100), asking.wish(row("r")));
    assert!(more.await.is_err(), "it is taken");
}

#[tokio::test]
async fn it_stops_in_the_middle_of_anything() {
    let server = Server::new().await;
    let mut asking = Asking::new(one_by_one(server.url()));
    asking.wish(row("on its way")).await;
    asking.wish(row("waiting")).await;
    let mut connection = server.accept().await;
    connection.request().await;
    asking.stop.send(true).unwrap();
    soon(asking.task).await.unwrap();
    connection.closed().await;
    assert_eq!(asking.answers.recv().await, None);

    let mut asking = Asking::new(one_by_one(server.url()));
    asking.wish(row("resting")).await;
    let busy = answer("429 Too Many Requests", "retry-after: 9000\r\n", "");
    server.answer(busy).await;
    asking.stop.send(true).unwrap();
    soon(asking.task).await.unwrap();
    assert_eq!(asking.answers.recv().await, None);
}

#[tokio::test]
async fn it_ends_when_all_wishes_are_answered_and_no_more_will_come() {
    let server = Server::new().await;
    let asking = Asking::new(one_by_one(server.url()));
    let Asking {
        wishes,
        mut answers,
        task,
        stop: _stop,
    } = asking;
    for run in ["a", "b"] {
        wishes.send(row(run)).await.unwrap();
    }
    drop(wishes);
    for _ in 0..2 {
        server.answer(ok("{}")).await;
    }
    soon(task).await.unwrap();
    assert!(answers.recv().await.is_some());
    assert!(answers.recv().await.is_some());
    assert_eq!(answers.recv().await, None);
}

#[tokio::test]
async fn it_ends_when_nobody_takes_the_answers() {
    let server = Server::new().await;
    let asking = Asking::new(one_by_one(server.url()));
    drop(asking.answers);
    soon(asking.task).await.unwrap();
}

#[tokio::test]
async fn a_token_file_is_read_again_for_each_request_and_a_new_token_is_tried_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "one").unwrap();
    let server = Server::new().await;
    let mut settings = one_by_one(server.url());
    settings.source.token = Some(TokenSource::File(path.clone()));
    let mut asking = Asking::new(settings);
    let token = |request: &scripted::Request| request.header("authorization").unwrap().to_owned();

    asking.wish(row("r")).await;
    let mut connection = server.accept().await;
    assert_eq!(token(&connection.request().await), "Bearer one");
    std::fs::write(&path, "two").unwrap();
    connection.send(refusal("401 Unauthorized")).await;
    let (request, _) = server.answer(refusal("401 Unauthorized")).await;
    assert_eq!(token(&request), "Bearer two");
    assert_eq!(asking.answer().await.reply, Reply::Forbidden);

    std::fs::write(&path, "three").unwrap();
    asking.wish(row("r")).await;
    let (request, _) = server.answer(ok("{}")).await;
    assert_eq!(token(&request), "Bearer three");
    assert!(matches!(asking.answer().await.reply, Reply::Row(_)));
}

#[tokio::test]
async fn without_the_token_that_there_should_be_nothing_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let server = Server::new().await;
    let mut settings = one_by_one(server.url());
    settings.source.token = Some(TokenSource::File(path.clone()));
    let logs = Logs::catch(Level::WARN);
    let mut asking = Asking::new(settings);
    asking.wish(row("r")).await;
    assert!(server.is_untouched().await);
    std::fs::write(&path, "hunter2").unwrap();
    server.answer(ok("{}")).await;
    assert!(matches!(asking.answer().await.reply, Reply::Row(_)));
    let lines = logs.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("cannot read the token file"), "{lines:?}");
    assert!(lines[0].contains("AKRIBES_TOKEN_FILE"), "{lines:?}");
}

#[tokio::test]
async fn what_a_server_cannot_or_will_not_do_is_said_once_and_holds_no_secret() {
    let server = Server::new().await;
    let mut settings = one_by_one(server.url());
    settings.source.token = Some(TokenSource::Value(Secret::new(TOKEN)));
    let mut asking = Asking::new(settings);
    let logs = Logs::catch(Level::TRACE);
    let (missing, forbidden) = (refusal("404 Not Found"), refusal("403 Forbidden"));
    let said = "what the feed misses cannot be asked for: ";
    let no_list = "the server has no list of runs of project 7 (404): is it new enough to have one, and does the token reach that project?";
    let may_not = "the server does not let this token read runs of project 7 (403): give it a token that may read executions";
    let again = "what the feed misses can be asked for again";
    for (wish, with, told) in [
        (list(7), &missing, Some(format!("{said}{no_list}"))),
        (list(7), &missing, None),
        // A run that is gone is nothing to speak of.
        (row("r"), &missing, None),
        (row("r"), &forbidden, Some(format!("{said}{may_not}"))),
        (log("r", 0), &forbidden, None),
        (list(7), &missing, None),
        (list(7), &forbidden, Some(format!("{said}{may_not}"))),
        (
            list(7),
            &ok("[\"hunter2-content\"]"),
            Some(again.to_owned()),
        ),
        (list(7), &ok("[]"), None),
        (row("r"), &forbidden, None),
        (
            list(8),
            &missing,
            Some(format!("{said}{no_list}").replace('7', "8")),
        ),
    ] {
        let before = logs.lines().len();
        asking.reply_for(&server, wish.clone(), with).await;
        let lines = logs.lines().split_off(before);
        match told {
            Some(told) => assert!(
                lines.len() == 1 && lines[0].contains(&told),
                "{lines:?} {told}"
            ),
            None => assert!(lines.is_empty(), "{lines:?} {wish:?} {with}"),
        }
    }
    assert!(!logs.all().contains("hunter2"), "{}", logs.all());
}

#[tokio::test]
async fn a_busy_server_is_told_of_once() {
    let server = Server::new().await;
    let mut asking = Asking::new(one_by_one(server.url()));
    let logs = Logs::catch(Level::INFO);
    for _ in 0..3 {
        asking.wish(row("r")).await;
        server.answer(refusal("429 Too Many Requests")).await;
        server.answer(ok("{}")).await;
        asking.answer().await;
    }
    let lines = logs.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("(429)"), "{lines:?}");
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused() {
    let url = Url::parse("http://h/?token=hunter2").unwrap();
    let (_wishes, wished) = mpsc::channel(1);
    let (to, _answers) = mpsc::channel(1);
    let (_stop, stopped) = watch::channel(false);
    let refused = Asker::start(settings(url), wished, to, stopped);
    assert!(matches!(refused, Err(SourceError::Url(_))));
}

/// A simulated server whose runs are over at once, with one run.
async fn simulated() -> (runtrail::sim::SimHandle, String) {
    let settings = SimSettings {
        workload: WorkloadSettings {
            arrivals: Arrivals::None,
            speed: 2_000.0,
            failure_share: 0.0,
            chunks_per_second: 5_000.0,
            ..WorkloadSettings::default()
        },
        tokens: vec![SimToken {
            token: Secret::new(TOKEN),
            projects: Some(vec![1]),
        }],
        ..SimSettings::default()
    };
    let server = SimServer::start(settings).await.unwrap();
    let run = server.start_run_in(1, "research").unwrap();
    server.wait_for_run(&run).await;
    (server, run)
}

fn of_simulated(server: &runtrail::sim::SimHandle) -> AskerSettings {
    let mut settings = settings(Url::parse(&server.url()).unwrap());
    settings.source.token = Some(TokenSource::Value(Secret::new(TOKEN)));
    settings
}

#[tokio::test]
async fn rows_and_lists_of_a_server_are_what_the_dialect_reads() {
    let (server, run) = simulated().await;
    let mut asking = Asking::new(of_simulated(&server));
    let dialect = Dialect::of("akribes", false).unwrap();
    let Reply::Facts {
        row: Some(row),
        tasks: Some(tasks),
    } = asking.reply_to(facts(&run)).await
    else {
        panic!("no facts");
    };
    let row = dialect.read_row(&row).unwrap();
    assert_eq!((row.id.as_str(), row.project), (run.as_str(), Some(1)));
    assert_eq!(row.status, RowStatus::Ended(RunOutcome::Success));
    assert!(row.finished_at > row.started_at);
    let tasks = dialect.read_tasks(&tasks).unwrap();
    let sum = tasks.iter().filter_map(|task| task.cost_usd).sum::<f64>();
    assert!((row.cost_usd.unwrap() - sum).abs() < 1e-9);
    let tokens: u64 = tasks.iter().filter_map(|task| task.input_tokens).sum();
    assert_eq!(row.input_tokens, Some(tokens));

    let listed = Wish::ListRuns {
        project: 1,
        since: row.started_at,
        status: None,
        offset: 0,
    };
    let Reply::Runs(rows) = asking.reply_to(listed).await else {
        panic!("no list");
    };
    assert!(dialect.read_rows(&rows).unwrap().contains(&row));
    let Reply::Runs(open) = asking
        .reply_to(Wish::ListRuns {
            project: 1,
            since: None,
            status: Some(OpenStatus::Running),
            offset: 0,
        })
        .await
    else {
        panic!("no list");
    };
    assert_eq!(dialect.read_rows(&open).unwrap(), []);
    assert_eq!(asking.reply_to(facts("nobody")).await, Reply::Gone);
    assert_eq!(asking.reply_to(list(2)).await, Reply::Forbidden);
}

#[tokio::test]
async fn a_log_is_read_page_by_page_from_a_server_that_is_busy_now_and_then() {
    let (server, run) = simulated().await;
    let mut settings = of_simulated(&server);
    settings.log_page_events_max = 7;
    let mut asking = Asking::new(settings);
    let busy = Misbehaviour::Answer {
        status: StatusCode::TOO_MANY_REQUESTS.as_u16(),
        retry_after: Some(0),
        requests: Some(2),
        to: Requests::Rest,
    };
    let (mut events, mut after) = (0, 0);
    loop {
        server.misbehave(&busy).unwrap();
        let Reply::LogPage(page) = asking.reply_to(log(&run, after)).await else {
            panic!("no page");
        };
        let page: serde_json::Value = serde_json::from_slice(&page).unwrap();
        events += page["events"].as_array().unwrap().len();
        after = page["next_after_id"].as_u64().unwrap();
        if page["has_more"] == false {
            break;
        }
    }
    assert_eq!(events, server.finished_runs()[0].events);
}
