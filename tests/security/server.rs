//! A server, or whoever sits between it and us, that means harm.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use runtrail::limits::Limits;
use runtrail::net::secret::{Secret, TokenSource};
use runtrail::run::outputs::Wish;
use runtrail::source::ask::{Answer, Asker, AskerSettings, Reply};
use runtrail::source::{LossKind, SourceSettings};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

use crate::flood::{BOMBS, Bomb, GIB, ON_THE_WAY_BYTES_MAX, gzip, gzip_bomb, pour, trickle};
use crate::program::{Program, eventually, get};
use crate::receiver::logs::Logs;
use crate::receiver::tls::Authority;
use crate::receiver::{Receiver, Wire};
use crate::scripted::{Connection, FEED, Server, Source, settings, soon};
use crate::support::{Feed, sse, usage};
use crate::{FLOODED_BYTES_MAX, listening};

/// A time-out that is over soon.
const SHORT: Duration = Duration::from_millis(300);

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";

#[tokio::test]
async fn a_feed_whose_head_has_no_end_is_let_go_of_and_the_next_one_is_read() {
    let server = Server::new().await;
    let mut source = Source::new(settings(server.url()));
    for bomb in BOMBS {
        source.resume("").await;
        let mut connection = server.accept().await;
        connection.request().await;
        let taken = bomb.throw(&mut connection).await;
        assert!(taken <= ON_THE_WAY_BYTES_MAX, "{bomb:?}: {taken}");
        let loss = source.refused().await;
        assert_eq!(loss.kind, LossKind::Unreachable, "{bomb:?}");
        assert!(loss.message.len() < 500, "{}", loss.message);
    }
    source.resume("").await;
    let _connection = server.answer(FEED).await;
    source.connected().await;
}

#[tokio::test]
async fn a_feed_whose_head_trickles_or_never_comes_to_its_point_is_given_up() {
    let server = Server::new().await;
    let mut settings = settings(server.url());
    settings.connect_time_max = SHORT;
    let mut source = Source::new(settings);
    let early = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(100);
    for is_trickle in [true, false] {
        source.resume("").await;
        let mut connection = server.accept().await;
        connection.request().await;
        if is_trickle {
            connection.send("HTTP/1.1 200 OK\r\nx-slow: ").await;
            trickle(&mut connection, b'x').await;
        } else {
            pour(&mut connection, early.as_bytes(), u64::MAX).await;
        }
        let loss = source.refused().await;
        assert_eq!(loss.kind, LossKind::Unreachable);
        assert!(loss.message.contains("did not answer within"), "{loss:?}");
    }
}

/// Asks for a row.
pub(crate) struct Asking {
    wishes: mpsc::Sender<Wish>,
    answers: mpsc::Receiver<Answer>,
    _stop: watch::Sender<bool>,
}

impl Asking {
    fn new(server: &Server, answer_time_max: Duration) -> Self {
        Self::of(settings(server.url()), answer_time_max)
    }

    pub(crate) fn of(source: SourceSettings, answer_time_max: Duration) -> Self {
        let mut settings = AskerSettings::new(source, &Limits::default(), 1);
        settings.answer_time_max = answer_time_max;
        let (wishes, wished) = mpsc::channel(1);
        let (to, answers) = mpsc::channel(1);
        let (stop, stopped) = watch::channel(false);
        Asker::start(settings, wished, to, stopped).unwrap();
        Self {
            wishes,
            answers,
            _stop: stop,
        }
    }

    pub(crate) async fn ask(&self) {
        let row = Wish::AskRow {
            project: Some(7),
            run_id: "r".into(),
        };
        self.wishes.send(row).await.unwrap();
    }

    pub(crate) async fn reply(&mut self) -> Reply {
        soon(self.answers.recv()).await.unwrap().reply
    }
}

#[tokio::test]
async fn an_answer_whose_head_has_no_end_has_failed_and_is_asked_for_again() {
    let server = Server::new().await;
    let mut asking = Asking::new(&server, Duration::from_secs(60));
    for bomb in BOMBS {
        asking.ask().await;
        let mut connection = server.accept().await;
        connection.request().await;
        let taken = bomb.throw(&mut connection).await;
        assert!(taken <= ON_THE_WAY_BYTES_MAX, "{bomb:?}: {taken}");
        drop(connection);
        server.answer(OK).await;
        let row = Reply::Row(Bytes::from_static(b"{}"));
        assert_eq!(asking.reply().await, row, "{bomb:?}");
    }
}

#[tokio::test]
async fn an_answer_that_trickles_has_failed_however_often_a_byte_comes() {
    let server = Server::new().await;
    let mut asking = Asking::new(&server, SHORT);
    for begin in [
        "HTTP/1.1 200 OK\r\nx-slow: ",
        "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n[",
    ] {
        asking.ask().await;
        let mut connection = server.accept().await;
        connection.request().await;
        connection.send(begin).await;
        trickle(&mut connection, b' ').await;
        server.answer(OK).await;
        let row = Reply::Row(Bytes::from_static(b"{}"));
        assert_eq!(asking.reply().await, row, "{begin}");
    }
}

#[tokio::test]
async fn a_compressed_answer_is_not_unpacked_whether_it_says_so_or_not() {
    let server = Server::new().await;
    let mut asking = Asking::new(&server, Duration::from_secs(60));
    let packed = gzip(b"{}");
    for says_so in ["content-encoding: gzip\r\n", ""] {
        asking.ask().await;
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\n{says_so}content-length: {}\r\nconnection: close\r\n\r\n",
            packed.len()
        )
        .into_bytes();
        answer.extend_from_slice(&packed);
        let (request, _) = server.answer(answer).await;
        assert_eq!(request.header("accept-encoding"), Some("identity"));
        assert_eq!(asking.reply().await, Reply::Unusable, "{says_so:?}");
    }
}

/// As it may look, with capitals that a name of a host loses.
const TOKEN: &str = "hunter2-Token";

fn with_token(mut settings: SourceSettings) -> SourceSettings {
    settings.token = Some(TokenSource::Value(Secret::new(TOKEN)));
    settings
}

/// Answers that repeat the token where a sentence tells of it, and whether its
/// place is seen in there.
const ECHOES: [(&str, bool); 6] = [
    ("302 Found\r\nlocation: /login/{}", true),
    ("302 Found\r\nlocation: /login/%68unter2-Token", true),
    ("302 Found\r\nlocation: https://{}.example/login", false),
    ("200 OK\r\ncontent-type: x/{}", true),
    (
        "200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: {}",
        true,
    ),
    ("400 Bad Request\r\nx-token: {}", false),
];

fn echo(answer: &str) -> String {
    let head = answer.replace("{}", TOKEN);
    format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}

#[tokio::test]
async fn a_token_that_the_server_repeats_is_neither_told_nor_logged() {
    let logs = Logs::catch(tracing::Level::TRACE);
    let server = Server::new().await;
    let mut source = Source::new(with_token(settings(server.url())));
    for (answer, is_shown) in ECHOES {
        source.resume("").await;
        let (request, _) = server.answer(echo(answer)).await;
        let bearer = format!("Bearer {TOKEN}");
        assert_eq!(request.header("authorization"), Some(&*bearer));
        let told = source.refused().await.message.to_lowercase();
        assert!(!told.contains("hunter2"), "{told}");
        assert_eq!(told.contains("[secret]"), is_shown, "{told}");
    }
    let mut asking = Asking::of(with_token(settings(server.url())), Duration::from_secs(60));
    for (answer, _) in ECHOES {
        asking.ask().await;
        server.answer(echo(answer)).await;
        assert_eq!(asking.reply().await, Reply::Unusable, "{answer}");
    }
    let all = logs.all().to_lowercase();
    assert!(all.contains("/login/[secret]"), "{all}");
    assert!(!all.contains("hunter2"), "{all}");
}

#[tokio::test]
async fn a_token_in_the_servers_certificate_is_not_told() {
    let authority = Authority::new();
    let server = Server::new().await;
    let acceptor = TlsAcceptor::from(Arc::new(authority.server(TOKEN)));
    let url = format!("https://localhost:{}", server.address().port());
    let mut settings = with_token(settings(url.parse().unwrap()));
    settings.tls = authority.client();
    let mut source = Source::new(settings.clone());
    source.resume("").await;
    let stream = server.accept().await.stream;
    assert!(acceptor.accept(stream).await.is_err());
    let told = source.refused().await.message;
    assert!(
        told.contains("[secret]") && !told.contains("hunter2"),
        "{told}"
    );

    let logs = Logs::catch(tracing::Level::WARN);
    let asking = Asking::of(settings, Duration::from_secs(60));
    asking.ask().await;
    let stream = server.accept().await.stream;
    assert!(acceptor.accept(stream).await.is_err());
    while logs.lines().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let all = logs.all();
    assert!(
        all.contains("[secret]") && !all.contains("hunter2"),
        "{all}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_to_this_machine_goes_through_no_proxy() {
    const TAKEN: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let (server, backend, proxy) = (
        Server::new().await,
        Server::new().await,
        Server::new().await,
    );
    let url = format!("http://localhost:{}", server.address().port());
    let endpoint = format!("http://{}", backend.address());
    let away = proxy.url().to_string();
    let mut variables = listening(&url);
    variables.extend([
        ("AKRIBES_TOKEN", TOKEN),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
        ("HTTP_PROXY", &*away),
        ("http_proxy", &*away),
        ("ALL_PROXY", &*away),
    ]);
    let program = Program::start(&["check"], &variables);
    let (request, connection) = server.answer(FEED).await;
    assert_eq!(request.line, "GET /events HTTP/1.1");
    assert!(request.header("authorization").is_some());
    drop(connection);
    let (request, _) = backend.answer(TAKEN).await;
    assert_eq!(request.line, "POST /v1/traces HTTP/1.1");
    let ended = tokio::task::spawn_blocking(|| program.ended())
        .await
        .unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert!(proxy.is_untouched().await);
}

#[tokio::test]
async fn what_is_asked_for_goes_to_this_machine_through_no_proxy() {
    // Proxies come from the environment, so this needs a process of its own.
    let (proxy, server) = (Server::new().await, Server::new().await);
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "server::asks_once", "--ignored"])
        .env("TEST_URL", server.url().as_str())
        .env("http_proxy", proxy.url().as_str());
    let child = tokio::task::spawn_blocking(move || command.output());
    let (request, _) = server.answer(OK).await;
    assert!(request.line.starts_with("GET /"), "{}", request.line);
    let output = child.await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(proxy.is_untouched().await);
}

#[tokio::test]
#[ignore = "part of the test above"]
async fn asks_once() {
    let url = std::env::var("TEST_URL").unwrap().parse().unwrap();
    let mut asking = Asking::of(settings(url), Duration::from_secs(60));
    asking.ask().await;
    assert!(matches!(asking.reply().await, Reply::Row(_)));
}

/// What a server of floods has to say to each that asks for something else than
/// the feed, in turn.
const ANSWERS: [&str; 6] = ["told", "untold", "gzip", "deep", "strings", "head"];

/// Floods everybody who asks, and counts what they took at most.
async fn flood(connection: &mut Connection, number: u64) -> u64 {
    let of =
        |more: &str| format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{more}\r\n");
    let megabyte = vec![b' '; 1 << 20];
    match ANSWERS.get(usize::try_from(number).unwrap()) {
        Some(&"told") => {
            let head = of(&format!("content-length: {GIB}\r\n"));
            connection.send(head + "[").await;
            pour(connection, &megabyte, GIB - 1).await
        }
        Some(&"untold") => {
            connection.send(of("transfer-encoding: chunked\r\n")).await;
            connection.send_chunk("{\"events\": [").await;
            let chunk = [b"100000\r\n", &megabyte[..], b"\r\n"].concat();
            pour(connection, &chunk, GIB).await
        }
        Some(&"gzip") => {
            let bomb = gzip_bomb();
            let length = bomb.len();
            let head = of(&format!(
                "content-encoding: gzip\r\ncontent-length: {length}\r\n"
            ));
            connection.send(head).await;
            pour(connection, &bomb, 1).await
        }
        Some(&"deep") => {
            let deep = "[{\"a\":".repeat(1 << 20);
            let length = deep.len();
            connection
                .send(of(&format!("content-length: {length}\r\n")))
                .await;
            pour(connection, deep.as_bytes(), 1).await
        }
        Some(&"strings") => {
            // As many rows, events and keys as fit.
            let row = "{\"id\":\"\",\"script_name\":\"s\",\"type\":\"Log\",\"payload\":[]},";
            let rows = format!("{{\"events\":[{}null]}}", row.repeat((7 << 20) / row.len()));
            let length = rows.len();
            connection
                .send(of(&format!("content-length: {length}\r\n")))
                .await;
            pour(connection, rows.as_bytes(), 1).await
        }
        Some(_) => Bomb::EndlessHead.throw(connection).await,
        None => {
            let nothing =
                "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            connection.send(nothing).await;
            0
        }
    }
}

/// Runs that have floods for logs.
const RUNS: usize = 4;

/// A run that is first heard of in the middle, so that its log is asked for.
fn half_a_run(n: usize) -> Vec<u8> {
    let id = format!("6513270e-8a4c-4b0e-9a7e-{n:012x}");
    let mut feed = Feed::of_run("review", &id);
    feed.start().at(5).task("a");
    feed.at(500).task_end("a", 495, usage(1, 2));
    feed.at(600).end([1, 2, 1]);
    sse(&feed.script, &feed.lines[1..], 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gigabyte_of_anything_costs_bounded_memory_and_no_run() {
    let server = Server::new().await;
    let url = server.url().to_string();
    let asked = Arc::new(AtomicU64::new(0));
    let most = Arc::new(AtomicU64::new(0));
    let (count, largest) = (Arc::clone(&asked), Arc::clone(&most));
    tokio::spawn(async move {
        loop {
            let mut connection = server.accept_ever().await;
            let (count, largest) = (Arc::clone(&count), Arc::clone(&largest));
            tokio::spawn(async move {
                let Some(request) = connection.next_request().await else {
                    return;
                };
                if request.header("accept") == Some("text/event-stream") {
                    connection.send(FEED).await;
                    // Signs of life without end, and a line without end.
                    let comment = [b": ", &[b'x'; 1_000][..], b"\n\n"].concat().repeat(64);
                    pour(&mut connection, &comment, 64 << 20).await;
                    connection.send("data: [").await;
                    pour(&mut connection, &[b' '; 64 << 10], 64 << 20).await;
                    connection.send("\n\n").await;
                    for n in 0..RUNS {
                        connection.send(half_a_run(n)).await;
                    }
                    std::future::pending::<()>().await;
                }
                let number = count.fetch_add(1, Ordering::Relaxed);
                let taken = flood(&mut connection, number).await;
                largest.fetch_max(taken, Ordering::Relaxed);
            });
        }
    });
    let receiver = Receiver::start(Wire::Http).await;
    let endpoint = format!("http://{}", receiver.addr);
    let mut variables = listening(&url);
    variables.extend([
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
        ("RUNTRAIL_LIMITS_REPAIR_WAIT_MAX", "10s"),
    ]);
    let program = Program::start(&["run"], &variables);
    let [metrics, _] = program.listeners();
    eventually("the runs are sent", || {
        let received = receiver.received();
        let spans = received.iter().flat_map(|request| request.spans());
        let roots = spans.filter(|span| span.name == "invoke_workflow review");
        (roots.count() >= RUNS).then_some(())
    });
    eventually("everything was asked for", || {
        (asked.load(Ordering::Relaxed) >= ANSWERS.len() as u64).then_some(())
    });
    assert_eq!(get(metrics, "/healthz", "").0, 200);
    let (peak, most) = (program.peak_bytes(), most.load(Ordering::Relaxed));
    println!("at most {peak} bytes of memory, and {most} taken of one answer");
    assert!(peak < FLOODED_BYTES_MAX, "{peak}");
    let answer_bytes_max = Limits::default().answer_bytes_max as u64;
    assert!(most <= answer_bytes_max + ON_THE_WAY_BYTES_MAX, "{most}");
}
