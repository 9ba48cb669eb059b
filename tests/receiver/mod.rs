//! An OTLP receiver of our own, over HTTP or gRPC, in the clear or over TLS, on
//! real sockets. It decodes what comes, remembers it, and answers as a test
//! tells it to.

#![allow(unreachable_pub, reason = "a module of several test files")]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "only tests use it"
)]
#![allow(dead_code, reason = "each test file uses its part of it")]

mod grpc;
mod http;
pub mod logs;
pub mod relay;
pub mod tls;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::http::HeaderMap;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use runtrail::export::{Compression, ExportSettings, Protocol};
use runtrail::net::backoff::BackoffSettings;
use runtrail::net::tls::TlsSettings;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// Long enough for any machine; nobody waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(180);

/// How it is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// HTTP/1.1 and protobuf.
    Http,
    /// gRPC over HTTP/2.
    Grpc,
}

/// One request, decoded.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its place among all requests.
    pub number: usize,
    /// Its path; that of the method over gRPC.
    pub path: String,
    /// Its headers, or metadata.
    pub headers: HeaderMap,
    /// What was in it.
    pub request: ExportTraceServiceRequest,
    /// Whether the answer said that it was taken.
    pub taken: bool,
}

/// An id as people read it.
pub fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// To send there, in the clear, with waits that a test need not notice.
pub fn settings_to(wire: Wire, origin: &str) -> ExportSettings {
    let (protocol, endpoint) = match wire {
        Wire::Http => (Protocol::HttpProtobuf, format!("{origin}/v1/traces")),
        Wire::Grpc => (Protocol::Grpc, origin.to_owned()),
    };
    ExportSettings {
        protocol,
        endpoint: endpoint.parse().unwrap(),
        headers: Vec::new(),
        compression: Compression::Gzip,
        timeout: Duration::from_secs(30),
        tls: TlsSettings::default(),
        in_flight_max: 2,
        backoff: BackoffSettings {
            first: Duration::from_millis(1),
            most: Duration::from_millis(4),
        },
        probe_wait: Duration::from_millis(2),
    }
}

/// What to answer.
#[derive(Debug, Clone)]
pub enum Reply {
    /// It is taken.
    Take,
    /// It is taken but for so many spans, with a message.
    Partial(i64, &'static str),
    /// It is taken, and the answer has so many bytes.
    Huge(usize),
    /// It is taken, but the connection breaks in the middle of the answer.
    Cut,
    /// This status of HTTP, with headers and a body.
    Status(u16, Vec<(&'static str, String)>, String),
    /// This code of gRPC, with a message and details.
    Code(i32, String, Vec<u8>),
    /// Nothing, ever.
    Never,
}

impl Reply {
    /// A status of HTTP and nothing else.
    pub fn status(status: u16) -> Self {
        Self::Status(status, Vec::new(), String::new())
    }

    /// A code of gRPC and nothing else.
    pub fn code(code: i32) -> Self {
        Self::Code(code, String::new(), Vec::new())
    }

    fn takes(&self) -> bool {
        matches!(self, Self::Take | Self::Partial(..) | Self::Huge(_))
    }
}

impl Received {
    /// All spans in it.
    pub fn spans(&self) -> impl Iterator<Item = &Span> {
        let resources = self.request.resource_spans.iter();
        resources
            .flat_map(|resource| &resource.scope_spans)
            .flat_map(|scope| &scope.spans)
    }

    /// The names of all spans in it.
    pub fn names(&self) -> Vec<&str> {
        self.spans().map(|span| span.name.as_str()).collect()
    }

    /// A header as text; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("a header of text"))
    }
}

type Script = dyn Fn(&Received) -> Reply + Send + Sync;

/// What the connections share.
struct Shared {
    script: Box<Script>,
    received: Mutex<Vec<Received>>,
    count: watch::Sender<usize>,
}

impl Shared {
    /// Remembers a request, and tells what to answer.
    fn receive(&self, path: &str, headers: HeaderMap, request: ExportTraceServiceRequest) -> Reply {
        let mut all = self.received.lock().unwrap();
        let mut received = Received {
            number: all.len(),
            path: path.to_owned(),
            headers,
            request,
            taken: false,
        };
        let reply = (self.script)(&received);
        received.taken = reply.takes();
        all.push(received);
        self.count.send_replace(all.len());
        reply
    }
}

/// A receiver that listens until it is dropped.
pub struct Receiver {
    /// Where it listens, on loopback.
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    /// One that takes everything.
    pub async fn start(wire: Wire) -> Self {
        Self::scripted(wire, |_| Reply::Take).await
    }

    /// One that answers as the script says.
    pub async fn scripted(
        wire: Wire,
        script: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::listen("127.0.0.1:0".parse().unwrap(), wire, None, script).await
    }

    /// One that takes everything, over TLS.
    pub async fn over_tls(wire: Wire, config: rustls::ServerConfig) -> Self {
        let any = "127.0.0.1:0".parse().unwrap();
        Self::listen(any, wire, Some(config), |_| Reply::Take).await
    }

    /// One of any kind, at this address.
    pub async fn listen(
        addr: SocketAddr,
        wire: Wire,
        tls: Option<rustls::ServerConfig>,
        script: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            script: Box::new(script),
            received: Mutex::default(),
            count: watch::Sender::new(0),
        });
        let listener = TcpListener::bind(addr).await.expect("a free port");
        let addr = listener.local_addr().unwrap();
        let tls = tls.map(|mut config| {
            let protocol = match wire {
                Wire::Http => "http/1.1",
                Wire::Grpc => "h2",
            };
            config.alpn_protocols = vec![protocol.into()];
            TlsAcceptor::from(Arc::new(config))
        });
        let task = tokio::spawn(accept(listener, wire, tls, Arc::clone(&shared)));
        Self { addr, shared, task }
    }

    /// Stops at once, its connections too. What came stays to be looked at.
    pub async fn stop(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// Everything that came so far.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// Everything that came, once there were so many requests.
    pub async fn requests(&self, count: usize) -> Vec<Received> {
        self.wait_for("requests", count, Vec::len).await
    }

    /// All spans that were taken, once there are so many.
    pub async fn spans(&self, count: usize) -> Vec<Span> {
        self.wait_for("spans", count, |all| taken_spans(all).count())
            .await;
        taken_spans(&self.received()).cloned().collect()
    }

    async fn wait_for(
        &self,
        what: &str,
        count: usize,
        so_far: impl Fn(&Vec<Received>) -> usize,
    ) -> Vec<Received> {
        let mut news = self.shared.count.subscribe();
        let enough = async {
            while so_far(&self.received()) < count {
                news.changed().await.unwrap();
            }
        };
        if tokio::time::timeout(PATIENCE, enough).await.is_err() {
            let got = so_far(&self.received());
            panic!("waited for {count} {what}, and {got} came");
        }
        self.received()
    }
}

fn taken_spans(all: &[Received]) -> impl Iterator<Item = &Span> {
    all.iter().filter(|r| r.taken).flat_map(Received::spans)
}

async fn accept(listener: TcpListener, wire: Wire, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    // They end with this task.
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        connections.spawn(serve(stream, wire, tls.clone(), Arc::clone(&shared)));
    }
}

/// How a connection ends is its client's affair.
async fn serve(stream: TcpStream, wire: Wire, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    match tls {
        None => speak(stream, wire, shared).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                speak(stream, wire, shared).await;
            }
        }
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    wire: Wire,
    shared: Arc<Shared>,
) {
    match wire {
        Wire::Http => http::serve(stream, shared).await,
        Wire::Grpc => grpc::serve(stream, shared).await,
    }
}
