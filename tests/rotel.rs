//! The real binary and a receiver that is not ours: rotel, a collector that
//! prints every span it takes. `./test` installs it and says where it is.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod program;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use runtrail::sim::settings::Recording;
use runtrail::sim::{SimServer, SimSettings};

use self::program::{PATIENCE, Program, eventually, run};

const RECORDING: &str = "examples/feeds/review.sse";

/// The one run of the recording that does not end in it.
const OPEN_RUN: &str = "3f2504e04f8941d39a0c0305e82ce008";

/// Where rotel is; `None` is a test that has to be skipped.
fn rotel() -> Option<PathBuf> {
    let path = std::env::var_os("RUNTRAIL_TEST_ROTEL").filter(|path| !path.is_empty());
    if path.is_none() {
        let required = std::env::var("RUNTRAIL_TEST_PEERS").is_ok_and(|peers| peers == "required");
        assert!(!required, "RUNTRAIL_TEST_ROTEL does not say where it is");
        eprintln!("skipped: RUNTRAIL_TEST_ROTEL does not say where rotel-agent is; ./test does");
    }
    path.map(PathBuf::from)
}

/// A collector that runs until it is dropped.
struct Rotel {
    child: Child,
    http: SocketAddr,
    grpc: SocketAddr,
    said: Arc<Mutex<String>>,
}

impl Drop for Rotel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Rotel {
    fn start(path: &Path) -> Self {
        // Both are held until both are known: so they are two.
        let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [http, grpc] = free.map(|listener| listener.local_addr().unwrap());
        let mut child = Command::new(path)
            .args(["start", "--exporter", "blackhole"])
            .args(["--debug-log", "traces", "--debug-log-verbosity", "detailed"])
            .args(["--otlp-http-endpoint", &http.to_string()])
            .args(["--otlp-grpc-endpoint", &grpc.to_string()])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let to = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut said = to.lock().unwrap();
                said.push_str(&line);
                said.push('\n');
            }
        });
        for address in [http, grpc] {
            eventually("rotel listens", || TcpStream::connect(address).ok());
        }
        Self {
            child,
            http,
            grpc,
            said,
        }
    }

    /// What it printed of each span, with what it belongs to, in order; the
    /// spans of the run that goes on apart.
    fn spans(&self) -> Spans {
        let said = self.said.lock().unwrap();
        let mut spans = Spans::default();
        let (mut around, mut block) = (String::new(), None::<String>);
        // Its own logs are coloured.
        let lines = said.lines().filter(|line| !line.starts_with('\u{1b}'));
        for line in lines.chain(["Span #"]) {
            let is_span = line.starts_with("Span #");
            let is_resource = line.starts_with("ResourceSpans #");
            if is_span || is_resource {
                spans.add(block.take());
            }
            if is_resource {
                around.clear();
            } else if is_span {
                block = Some(around.clone());
            } else {
                let text = block.as_mut().unwrap_or(&mut around);
                text.push_str(line);
                text.push('\n');
            }
        }
        spans.ended.sort_unstable();
        spans
    }
}

#[derive(Debug, Default)]
struct Spans {
    ended: Vec<String>,
    open: Vec<String>,
}

impl Spans {
    /// Markers depend on when they were sent; `replay` leaves them out.
    fn add(&mut self, block: Option<String>) {
        let block = block.filter(|block| !block.contains(": run started "));
        if let Some(block) = block {
            let is_open = block.contains(OPEN_RUN) && block.contains("Trace ID");
            if is_open {
                &mut self.open
            } else {
                &mut self.ended
            }
            .push(block);
        }
    }
}

/// One POST of JSON; it has to be taken.
fn post(address: SocketAddr, body: &str) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "POST /v1/traces HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// What rotel makes of what `replay --emit spans` prints.
fn replayed(path: &Path) -> &'static Spans {
    static REPLAYED: OnceLock<Spans> = OnceLock::new();
    REPLAYED.get_or_init(|| {
        let ended = run(
            &[
                "replay", "--system", "akribes", "--emit", "spans", RECORDING,
            ],
            &[],
        );
        assert_eq!(ended.code, Some(0), "{}", ended.text);
        let rotel = Rotel::start(path);
        ended.text.lines().for_each(|line| post(rotel.http, line));
        let count = ended.text.matches("\"spanId\"").count();
        let links = ended.text.matches("\"links\":[{").count();
        eventually("rotel prints what was replayed", || {
            let spans = rotel.spans();
            (spans.ended.len() + spans.open.len() + links >= count).then_some(spans)
        })
    })
}

async fn takes_what_replay_prints(protocol: &str, compression: &str) {
    let Some(path) = rotel() else { return };
    let expected = replayed(&path);
    let rotel = Rotel::start(&path);
    let settings = SimSettings {
        recording: Some(Recording {
            bytes: Bytes::from(std::fs::read(RECORDING).unwrap()),
            stays_open: true,
        }),
        tokens: Vec::new(),
        ..SimSettings::default()
    };
    let server = SimServer::start(settings).await.unwrap();
    let address = match protocol {
        "grpc" => rotel.grpc,
        _ => rotel.http,
    };
    let variables = [
        ("AKRIBES_URL", &*server.url()),
        ("RUNTRAIL_LISTEN_METRICS", "127.0.0.1:0"),
        ("RUNTRAIL_LISTEN_LOCAL", "127.0.0.1:0"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{address}")),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", compression),
    ];
    let program = Program::start(&["run"], &variables);
    let enough = expected.ended.len();
    eventually("all spans arrive", || {
        (rotel.spans().ended.len() >= enough).then_some(())
    });
    // What is left leaves with the program: nothing may come twice.
    program.signal("TERM");
    let ended = program.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    let spans = rotel.spans();
    for (received, replayed) in spans.ended.iter().zip(&expected.ended) {
        // The first line that is different says more than two whole spans.
        for (received, replayed) in received.lines().zip(replayed.lines()) {
            assert_eq!(received, replayed);
        }
        assert_eq!(received, replayed);
    }
    assert_eq!(spans.ended.len(), enough);
    for span in &spans.open {
        assert!(expected.open.contains(span), "{span}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_with_gzip_rotel_has_what_replay_prints() {
    takes_what_replay_prints("http/protobuf", "gzip").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_without_gzip_rotel_has_what_replay_prints() {
    takes_what_replay_prints("http/protobuf", "none").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_grpc_with_gzip_rotel_has_what_replay_prints() {
    takes_what_replay_prints("grpc", "gzip").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_grpc_without_gzip_rotel_has_what_replay_prints() {
    takes_what_replay_prints("grpc", "none").await;
}
