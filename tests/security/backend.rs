//! A trace backend, or whoever sits between it and us, that means harm.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use runtrail::export::pack::pack;
use runtrail::export::{Compression, ExportSettings, ExportTally, Exporter};
use runtrail::limits::Limits;
use runtrail::metrics::export::{ExportCounts, RequestResult};
use runtrail::net::secret::Secret;
use runtrail::sim::settings::Recording;
use runtrail::sim::{SimServer, SimSettings};
use runtrail::store::files::{Files, Memory};
use runtrail::store::outbox::OutboxSettings;
use runtrail::store::quarantine::{self, QuarantineSettings};
use runtrail::store::{Outbox, Quarantine, StoreFailed};
use runtrail::trace::batch::{Batcher, ResourceInfo};
use runtrail::wire::time::Time;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::flood::{BOMBS, GIB, ON_THE_WAY_BYTES_MAX, gzip, pour, trickle};
use crate::program::{Program, eventually, get};
use crate::receiver::logs::Logs;
use crate::receiver::{self, Receiver, Reply, Wire};
use crate::scripted::{Server, soon};
use crate::{FLOODED_BYTES_MAX, listening};

const SECRET: &str = "hunter2-header";

/// To send there, with a key, one body after the other.
pub(crate) fn settings_to(wire: Wire, origin: &str) -> ExportSettings {
    let key = Secret::new(format!("Bearer {SECRET}"));
    ExportSettings {
        headers: vec![(HeaderName::from_static("authorization"), key)],
        in_flight_max: 1,
        ..receiver::settings_to(wire, origin)
    }
}

/// An exporter at work.
pub(crate) struct Bench {
    outbox: Arc<Outbox>,
    /// What was set aside.
    files: Arc<dyn Files>,
    tally: Arc<ExportTally>,
    task: JoinHandle<Result<(), StoreFailed>>,
}

impl Bench {
    pub(crate) fn start(settings: ExportSettings) -> Self {
        let outbox = OutboxSettings::new(64 << 20, &Limits::default());
        let (outbox, _) = Outbox::open(Arc::new(Memory::new()), outbox).unwrap();
        let outbox = Arc::new(outbox);
        let files: Arc<dyn Files> = Arc::new(Memory::new());
        let quarantine = QuarantineSettings::new(64 << 20, &Limits::default());
        let quarantine = Quarantine::open(Arc::clone(&files), quarantine).unwrap();
        let tally = Arc::new(ExportTally::default());
        let exporter = Exporter::new(settings).unwrap();
        let kept = Some(Arc::new(quarantine));
        let task = tokio::spawn(exporter.run(Arc::clone(&outbox), kept, Arc::clone(&tally)));
        Self {
            outbox,
            files,
            tally,
            task,
        }
    }

    /// One span of this name.
    pub(crate) fn push(&self, name: &str) {
        let span = Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            name: name.to_owned(),
            ..Span::default()
        };
        let mut batcher = Batcher::new(&ResourceInfo::default(), &Limits::default());
        batcher.push(&span.encode_to_vec(), 0, Time(1));
        let packed = pack(batcher.flush().unwrap(), Compression::Gzip);
        self.outbox.push(&packed, 1, true, Time(1)).unwrap();
    }

    /// How many requests have ended.
    pub(crate) fn attempts(&self) -> u64 {
        requests(&self.tally.counts())
    }

    /// Waits until everything was sent, and tells what was counted.
    pub(crate) async fn finish(self) -> ExportCounts {
        self.outbox.close();
        soon(self.task).await.unwrap().unwrap();
        assert!(self.outbox.is_drained());
        self.tally.counts()
    }
}

type Body = BoxBody<Bytes, Infallible>;

/// A backend for either protocol that answers as it is told, by number.
async fn answering(
    answer: impl Fn(usize) -> Response<Body> + Clone + Send + Sync + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (answer, count) = (answer.clone(), Arc::clone(&count));
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = answer(count.fetch_add(1, Ordering::Relaxed));
                async move {
                    let _ = request.into_body().collect().await;
                    Ok::<_, Infallible>(answer)
                }
            });
            connections.spawn(async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    (addr, task)
}

fn body(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}

/// What says in either protocol that all was taken.
fn taken(wire: Wire) -> Response<Body> {
    let mut response = Response::new(body(""));
    if wire == Wire::Grpc {
        let headers = response.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from_static("0"));
    }
    response
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_no_header_goes_elsewhere() {
    for wire in [Wire::Http, Wire::Grpc] {
        let other = Server::new().await;
        let elsewhere = other.url().to_string();
        let secure = elsewhere.replace("http:", "https:");
        let (addr, backend) = answering(move |number| {
            let codes = [301, 302, 303, 307, 308];
            let Some(code) = codes.get(number / 2) else {
                return taken(wire);
            };
            let location = if number % 2 == 0 { &elsewhere } else { &secure };
            let response = Response::builder().status(*code);
            response
                .header("location", location)
                .body(body(""))
                .unwrap()
        })
        .await;
        let bench = Bench::start(settings_to(wire, &format!("http://{addr}")));
        bench.push("a");
        let counts = bench.finish().await;
        assert_eq!(counts.requests(RequestResult::RefusedRoute), 10, "{wire:?}");
        assert_eq!(counts.spans_exported, 1, "{wire:?}");
        assert!(other.is_untouched().await, "{wire:?}");
        backend.abort();
    }
}

#[tokio::test]
async fn an_answer_whose_head_has_no_end_is_let_go_of_and_nothing_is_lost() {
    let server = Server::new().await;
    let origin = format!("http://{}", server.address());
    let bench = Bench::start(settings_to(Wire::Http, &origin));
    bench.push("a");
    for bomb in BOMBS {
        // Between two attempts it is looked whether another protocol is spoken.
        let mut connection = loop {
            let mut connection = server.accept().await;
            match connection.next_request().await {
                Some(request) if request.line.starts_with("POST /v1/traces ") => break connection,
                _ => {}
            }
        };
        let taken = bomb.throw(&mut connection).await;
        assert!(taken <= ON_THE_WAY_BYTES_MAX, "{bomb:?}: {taken}");
    }
    let fine = tokio::spawn(async move {
        loop {
            server
                .answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .await;
        }
    });
    assert_eq!(bench.finish().await.spans_exported, 1);
    fine.abort();
}

#[tokio::test]
async fn headers_and_trailers_without_end_over_grpc_are_let_go_of_and_nothing_is_lost() {
    let (addr, backend) = answering(|number| {
        let mut response = taken(Wire::Grpc);
        let headers = response.headers_mut();
        match number {
            0 => {
                for n in 0..10_000 {
                    let name = HeaderName::try_from(format!("x-{n}")).unwrap();
                    headers.insert(name, HeaderValue::from_static("value"));
                }
            }
            1 => {
                let huge = HeaderValue::try_from("x".repeat(1 << 20)).unwrap();
                headers.insert("grpc-message", huge);
            }
            _ => {}
        }
        response
    })
    .await;
    let bench = Bench::start(settings_to(Wire::Grpc, &format!("http://{addr}")));
    bench.push("a");
    let counts = bench.finish().await;
    assert_eq!(counts.requests(RequestResult::Taken), 1);
    assert_eq!(requests(&counts), 3, "two of them came to nothing");
    assert_eq!(counts.spans_exported, 1);
    backend.abort();
}

fn requests(counts: &ExportCounts) -> u64 {
    RequestResult::ALL
        .map(|result| counts.requests(result))
        .iter()
        .sum()
}

#[tokio::test]
async fn an_answer_that_trickles_is_cut_by_the_time_out() {
    let server = Server::new().await;
    let mut settings = settings_to(Wire::Http, &format!("http://{}", server.address()));
    settings.timeout = Duration::from_millis(300);
    let bench = Bench::start(settings);
    bench.push("a");
    let mut connection = server.accept().await;
    connection.request().await;
    connection.send("HTTP/1.1 200 OK\r\nx-slow: ").await;
    trickle(&mut connection, b'x').await;
    // Whose head has come has spoken, however long the rest takes.
    let mut connection = server.accept().await;
    connection.request().await;
    connection
        .send("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
        .await;
    trickle(&mut connection, b'x').await;
    let counts = bench.finish().await;
    assert_eq!(counts.requests(RequestResult::TimedOut), 1);
    assert_eq!(counts.requests(RequestResult::Taken), 1);
}

#[tokio::test]
async fn of_a_gigabyte_of_complaints_little_is_read() {
    let server = Server::new().await;
    let bench = Bench::start(settings_to(
        Wire::Http,
        &format!("http://{}", server.address()),
    ));
    bench.push("a");
    for status in ["503 Busy", "500 Oh", "401 No", "200 OK"] {
        let mut connection = server.accept().await;
        connection.request().await;
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {GIB}\r\n\r\n");
        connection.send(head).await;
        let taken = pour(&mut connection, &[b'x'; 64 << 10], GIB).await;
        assert!(taken <= ON_THE_WAY_BYTES_MAX, "{status}: {taken}");
    }
    let counts = bench.finish().await;
    assert_eq!(counts.spans_exported, 1);
    assert_eq!(requests(&counts), 4);
}

#[tokio::test]
async fn a_compressed_answer_is_not_unpacked() {
    let partial = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: 1,
            error_message: "unpacked".into(),
        }),
    };
    let packed = gzip(&partial.encode_to_vec());
    let (addr, backend) = answering(move |_| {
        let response = Response::builder()
            .header("content-type", "application/x-protobuf")
            .header("content-encoding", "gzip");
        response.body(body(packed.clone())).unwrap()
    })
    .await;
    let bench = Bench::start(settings_to(Wire::Http, &format!("http://{addr}")));
    bench.push("a");
    let counts = bench.finish().await;
    assert_eq!(counts.requests(RequestResult::Taken), 1);
    backend.abort();
}

#[tokio::test]
async fn a_key_that_the_backend_repeats_is_neither_logged_nor_kept() {
    let logs = Logs::catch(tracing::Level::TRACE);
    for wire in [Wire::Http, Wire::Grpc] {
        let receiver = Receiver::scripted(wire, move |request| {
            let key = request.header("authorization").to_owned();
            let said = format!("what is {key}? And {}{SECRET}", "x".repeat(155));
            match (request.number, wire) {
                (0, Wire::Http) => Reply::Status(401, Vec::new(), said),
                (0, Wire::Grpc) => Reply::Code(16, said, Vec::new()),
                (1, Wire::Http) => Reply::Status(400, Vec::new(), said),
                (1, Wire::Grpc) => Reply::Code(3, said, Vec::new()),
                _ => Reply::Take,
            }
        })
        .await;
        let bench = Bench::start(settings_to(wire, &format!("http://{}", receiver.addr)));
        bench.push("a");
        let files = Arc::clone(&bench.files);
        bench.finish().await;
        let listing = quarantine::list(files).unwrap();
        let (batches, said) = &listing.by_reason["invalid"];
        assert_eq!(*batches, 1);
        assert!(
            said.starts_with("what is Bearer [secret]? And xxx"),
            "{said}"
        );
        assert!(said.ends_with("xxx[secret]…"), "{said}");
    }
    let all = logs.all();
    assert!(all.contains("[secret]"), "{all}");
    assert!(!all.contains("hunter2"), "{all}");
}

/// A message of gRPC that does not end.
fn endless() -> Response<Body> {
    let piece = Bytes::from(vec![0; 64 << 10]);
    let pieces = futures_util::stream::repeat_with(move || Ok(Frame::data(piece.clone())));
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(pieces)));
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_end_over_grpc_costs_time_and_no_memory() {
    let settings = SimSettings {
        tokens: Vec::new(),
        recording: Some(Recording {
            bytes: std::fs::read("examples/feeds/review.sse").unwrap().into(),
            stays_open: true,
        }),
        ..SimSettings::default()
    };
    let server = SimServer::start(settings).await.unwrap();
    let (addr, backend) = answering(|number| match number {
        0 | 1 => endless(),
        _ => taken(Wire::Grpc),
    })
    .await;
    let (url, endpoint) = (server.url(), format!("http://{addr}"));
    let mut variables = listening(&url);
    variables.extend([
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
    ]);
    let program = Program::start(&["run"], &variables);
    let [metrics, _] = program.listeners();
    eventually("the spans are taken", || {
        let (_, page) = get(metrics, "/metrics", "");
        let taken = page
            .lines()
            .filter_map(|line| line.strip_prefix("runtrail_spans_exported_total "))
            .any(|count| count != "0");
        taken.then_some(())
    });
    let peak = program.peak_bytes();
    println!("at most {peak} bytes of memory");
    assert!(peak < FLOODED_BYTES_MAX, "{peak}");
    backend.abort();
}
