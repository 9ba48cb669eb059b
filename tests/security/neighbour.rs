//! Somebody else in the cluster, or in the pod, who can reach our listeners.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use runtrail::admin::{Probes, ProbesSettings};
use runtrail::limits::{ADMIN_CONNECTIONS_MAX, API_CONNECTIONS_MAX, Limits, PAGES_MAX};
use runtrail::metrics::delta::{Delta, Deltas};
use runtrail::metrics::{Metrics, Settings};
use runtrail::run::finished::{RunMeta, Verified};
use runtrail::wire::event::RunOutcome;
use runtrail::wire::time::Time;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;

use crate::program::{PATIENCE, Program, eventually, get};
use crate::scripted::soon;
use crate::{FLOODED_BYTES_MAX, listening};

/// A program that has nobody to listen to.
fn alone() -> Program {
    Program::start(&["run"], &listening("http://127.0.0.1:9"))
}

/// Sends this, and reads what is answered until the other side hangs up.
fn answer(address: SocketAddr, parts: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    for part in parts {
        // Whoever has enough may well hang up in the middle.
        if stream.write_all(part).is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn clients_that_say_nothing_or_not_enough_keep_nobody_out_and_are_cut() {
    let program = alone();
    let listeners = program.listeners();
    let bounds = [ADMIN_CONNECTIONS_MAX, API_CONNECTIONS_MAX];
    let paths = ["/healthz", "/api/runs"];
    for ((address, bound), path) in listeners.into_iter().zip(bounds).zip(paths) {
        let mut slow: Vec<_> = (0..2 * bound)
            .map(|n| {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                if n % 2 == 0 {
                    stream
                        .write_all(b"GET /metrics HTTP/1.1\r\nx-slow: ")
                        .unwrap();
                }
                stream
            })
            .collect();
        assert_eq!(get(address, path, "").0, 200, "{path}");
        for stream in &mut slow {
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
        }
        assert_eq!(get(address, path, "").0, 200, "{path}");
    }
}

/// A connection from this address of loopback, which takes next to nothing.
async fn from(client: [u8; 4], to: SocketAddr) -> tokio::net::TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.bind(SocketAddr::from((client, 0))).unwrap();
    soon(socket.connect(to)).await.unwrap()
}

/// The neighbour that means harm, and somebody else.
const HARM: [u8; 4] = [127, 0, 0, 2];
const OTHER: [u8; 4] = [127, 0, 0, 3];

#[tokio::test(flavor = "multi_thread")]
async fn a_neighbour_with_many_connections_cuts_its_own_and_no_probe() {
    let program = alone();
    let [metrics, _] = program.listeners();
    let mut probe = from(OTHER, metrics).await;
    probe.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    let mut flood = Vec::new();
    for _ in 0..4 * ADMIN_CONNECTIONS_MAX {
        flood.push(from(HARM, metrics).await);
    }
    // Whoever came first is cut for the sake of the last ones.
    let mut rest = Vec::new();
    let _ = soon(flood[0].read_to_end(&mut rest)).await;
    probe.write_all(b"host: localhost\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    soon(probe.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

/// Metrics with a page that no socket holds.
fn many_series() -> Metrics {
    let settings = Settings::new(&Limits::default(), &["akribes"]);
    let mut metrics = Metrics::new(&settings).unwrap();
    let mut deltas = Deltas::default();
    for run in 0..5 * 190 {
        let long = "a-name-that-is-as-long-as-names-may-be-".repeat(4);
        let meta = RunMeta {
            trace_id: [7; 16],
            system: "akribes",
            source: "test".into(),
            project: Some(i64::from(run % 5)),
            workflow: format!("{long}{}", run / 5).into(),
            run_id: "r".into(),
        };
        deltas.in_order.push(Delta::RunStarted {
            run,
            meta: Arc::new(meta),
            start: Time(1),
        });
        for outcome in RunOutcome::ALL {
            deltas.in_order.push(Delta::RunFinished {
                run,
                outcome,
                error_type: None,
                duration: Duration::from_secs(1),
                tasks_passed: 1,
                tasks_failed: 0,
                verified: Verified::Match,
                exemplar: None,
            });
        }
    }
    metrics.apply(&deltas, &["unknown"], Time(1));
    metrics
}

#[tokio::test(flavor = "multi_thread")]
async fn neighbours_that_read_their_pages_slowly_keep_nobody_from_a_new_one() {
    let mut metrics = many_series();
    let (asks, _asked) = mpsc::channel(1);
    let probes = Probes::new(ProbesSettings {
        metrics: metrics.exposition().clone(),
        asks,
        ready: Arc::default(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(probes.serve(listener, stopped));
    // Each has a page of its own, and reads no more of it than its first line.
    let mut slow = Vec::new();
    for accept in ["text/plain", "application/openmetrics-text"] {
        let mut reader = from(HARM, address).await;
        let ask = format!("GET /metrics HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\n\r\n");
        reader.write_all(ask.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        soon(reader.read_exact(&mut status)).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
        slow.push(reader);
    }
    assert_eq!(slow.len(), PAGES_MAX);
    metrics.set_source_connected(true, Time(1));
    let scrape = move || {
        eventually("the page tells what is new", || {
            let (status, page) = get(address, "/metrics", "");
            assert_eq!(status, 200);
            page.contains("\nruntrail_source_connected 1\n")
                .then_some(page)
        })
    };
    let page = spawn_blocking(scrape).await.unwrap();
    // The oldest of them was cut.
    let mut rest = Vec::new();
    let _ = soon(slow[0].read_to_end(&mut rest)).await;
    assert!(rest.len() < page.len(), "{} of {}", rest.len(), page.len());
}

#[test]
fn heads_and_bodies_without_end_are_refused_and_take_no_memory() {
    let program = alone();
    let many = "x-header: value\r\n".repeat(10_000);
    let huge = format!("x-huge: {}\r\n", "x".repeat(8 << 20));
    let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(8 << 20));
    let megabyte = vec![b'x'; 1 << 20];
    for address in program.listeners() {
        let get: &[u8] = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n";
        for head in [
            [get, many.as_bytes()],
            [get, huge.as_bytes()],
            [long.as_bytes(), b"\r\n"],
        ] {
            let answer = answer(address, &head);
            // It may have hung up before its answer could be read.
            assert!(
                answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
                "{answer}"
            );
        }
        let post = b"POST /metrics HTTP/1.1\r\nhost: localhost\r\n";
        let told: &[u8] = b"content-length: 1073741824\r\n\r\n";
        let untold: &[u8] = b"transfer-encoding: chunked\r\n\r\n100000\r\n";
        for head in [told, untold] {
            let answer = answer(address, &[post, head, &megabyte, &megabyte]);
            assert!(
                answer.is_empty() || answer.starts_with("HTTP/1.1 413"),
                "{answer}"
            );
        }
    }
    let [metrics, local] = program.listeners();
    assert_eq!(get(metrics, "/readyz", "").0, 200);
    assert_eq!(get(local, "/api/runs", "").0, 200);
    let peak = program.peak_bytes();
    assert!(peak < FLOODED_BYTES_MAX, "{peak}");
}

#[test]
fn no_path_leads_out_of_what_there_is() {
    let program = alone();
    let [metrics, local] = program.listeners();
    for path in [
        "/../../../../etc/passwd",
        "/api/runs/../../../../etc/passwd",
        "/api/runs/..%2f..%2f..%2fetc%2fpasswd",
        "/api/runs/%2e%2e/summary",
        "/api/runs/%00",
        "//etc/passwd",
        "/api/runs/a/b/c/d",
    ] {
        for address in [metrics, local] {
            let (status, body) = get(address, path, "");
            assert_eq!(status, 404, "{path}: {body}");
            assert!(!body.contains("root:"), "{path}: {body}");
        }
    }
    // What is asked for is not repeated, so that no page can be made of it.
    let (_, body) = get(local, "/api/runs/<script>alert(1)</script>", "");
    assert!(!body.contains("script"), "{body}");
}

#[test]
fn a_token_counts_only_where_it_belongs_and_only_whole() {
    let mut variables = listening("http://127.0.0.1:9");
    variables.extend([
        ("RUNTRAIL_LISTEN_LOCAL", "0.0.0.0:0"),
        ("RUNTRAIL_LISTEN_LOCAL_TOKEN", "open-sesame"),
    ]);
    let program = Program::start(&["run"], &variables);
    let [metrics, local] = program.listeners();
    let local = SocketAddr::from(([127, 0, 0, 1], local.port()));
    for (path, headers) in [
        ("/api/runs?token=open-sesame", ""),
        ("/api/runs?access_token=open-sesame", ""),
        ("/api/runs", "authorization: open-sesame\r\n"),
        ("/api/runs", "authorization: Bearer \r\n"),
        ("/api/runs", "authorization: Bearer open\r\n"),
        (
            "/api/runs",
            "authorization: Bearer open-sesame-and-more\r\n",
        ),
        ("/api/runs", "authorization: Bearer OPEN-SESAME\r\n"),
        ("/api/runs", "cookie: token=open-sesame\r\n"),
        ("/api/runs", "x-forwarded-for: 127.0.0.1\r\n"),
        ("/api/no-such-thing", ""),
    ] {
        let (status, body) = get(local, path, headers);
        assert_eq!(status, 401, "{path} {headers}");
        assert_eq!(body, "{\"error\":\"a bearer token is needed\"}");
    }
    let right = "authorization: Bearer open-sesame\r\n";
    assert_eq!(get(local, "/api/runs", right).0, 200);
    // The metrics know of no token, and of no runs.
    assert_eq!(get(metrics, "/api/runs", right).0, 404);
    let (_, page) = get(metrics, "/metrics", right);
    assert!(!format!("{page}{}", program.text()).contains("sesame"));
}

#[test]
fn a_token_of_the_api_that_is_changed_counts_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "first\n").unwrap();
    let mut variables = listening("http://127.0.0.1:9");
    variables.push(("RUNTRAIL_LISTEN_LOCAL_TOKEN_FILE", file.to_str().unwrap()));
    let program = Program::start(&["run"], &variables);
    let [_, local] = program.listeners();
    let status = |token| {
        get(
            local,
            "/api/runs",
            &format!("authorization: Bearer {token}\r\n"),
        )
        .0
    };
    assert_eq!((status("first"), status("second")), (200, 401));
    std::fs::write(&file, "second\n").unwrap();
    assert_eq!((status("first"), status("second")), (401, 200));
    // Without a token to compare with, it is closed.
    std::fs::remove_file(&file).unwrap();
    assert_eq!((status("second"), status("")), (503, 503));
}

#[test]
fn an_api_that_others_reach_does_not_begin_without_a_token() {
    let mut variables = listening("http://127.0.0.1:9");
    variables.push(("RUNTRAIL_LISTEN_LOCAL", "0.0.0.0:0"));
    let ended = Program::start(&["run"], &variables).ended();
    assert_eq!(ended.code, Some(2), "{}", ended.text);
    assert!(
        ended.text.contains("listen.local_token_file"),
        "{}",
        ended.text
    );
}
