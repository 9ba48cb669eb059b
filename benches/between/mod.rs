//! The program between a server and a backend, which are both in this process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, mpsc};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

/// How often the program is asked how far it is; a page costs it little.
const LOOK: Duration = Duration::from_millis(20);
/// The kernel's unit of CPU time.
const TICKS_A_SECOND: f64 = 100.0;

const FEED: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
const TAKEN: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";

/// A server that has a feed and nothing else.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    feeds: Mutex<Receiver<TcpStream>>,
    feed: Mutex<Option<TcpStream>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let (opened, feeds) = channel();
        let address = listen(move |stream| serve(stream, &opened));
        Self {
            address,
            feeds: Mutex::new(feeds),
            feed: Mutex::default(),
        }
    }

    /// Waits until somebody reads the feed.
    pub(crate) fn has_reader(&self) {
        let feed = self.feeds.lock().unwrap().recv().unwrap();
        *self.feed.lock().unwrap() = Some(feed);
    }

    /// Says all of it, at once or so many frames a second.
    #[expect(clippy::disallowed_methods, reason = "a bench owns a clock")]
    pub(crate) fn say(&self, bytes: &[u8], frames_a_second: Option<f64>) {
        let mut feed = self.feed.lock().unwrap();
        let feed = feed.as_mut().unwrap();
        let Some(frames_a_second) = frames_a_second else {
            return feed.write_all(bytes).unwrap();
        };
        let begun = Instant::now();
        for (said, frame) in frames(bytes).enumerate() {
            let due = Duration::from_secs_f64(said as f64 / frames_a_second);
            sleep(due.saturating_sub(begun.elapsed()));
            feed.write_all(frame).unwrap();
        }
    }
}

fn frames(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let end = bytes.windows(2).position(|two| two == b"\n\n")? + 2;
        let (frame, rest) = bytes.split_at(end);
        bytes = rest;
        Some(frame)
    })
}

fn serve(stream: TcpStream, opened: &Sender<TcpStream>) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = head(&mut reader) {
        if request.contains("text/event-stream") {
            let mut stream = reader.into_inner();
            let _ = stream.set_nodelay(true);
            let _ = stream.write_all(FEED);
            let _ = opened.send(stream);
            return;
        }
        if reader.get_mut().write_all(NOT_FOUND).is_err() {
            return;
        }
    }
}

/// A backend that takes everything.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
}

impl Backend {
    pub(crate) fn start() -> Self {
        let address = listen(|stream| {
            let mut reader = BufReader::new(stream);
            while let Some(request) = head(&mut reader) {
                let length = request.split("content-length: ").nth(1);
                let length = length.and_then(|rest| rest.lines().next()?.parse().ok());
                let mut body = (&mut reader).take(length.unwrap_or_default());
                if std::io::copy(&mut body, &mut std::io::sink()).is_err()
                    || reader.get_mut().write_all(TAKEN).is_err()
                {
                    return;
                }
            }
        });
        Self { address }
    }
}

/// Each connection has its thread.
fn listen(handle: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let handle = handle.clone();
            spawn(move || handle(stream));
        }
    });
    address
}

/// The head of a request, in small letters.
fn head(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let read = reader.read_line(&mut head);
        read.ok().filter(|read| *read > 0)?;
    }
    Some(head.to_ascii_lowercase())
}

/// The program itself.
pub(crate) struct Replica {
    command: Command,
    child: Child,
    metrics: SocketAddr,
}

impl Replica {
    pub(crate) fn start(server: SocketAddr, backend: SocketAddr, store: &Path) -> Self {
        let program = std::env::var("RUNTRAIL_BENCH_PROGRAM");
        let mut command =
            Command::new(program.unwrap_or_else(|_| env!("CARGO_BIN_EXE_runtrail").to_owned()));
        command
            .arg("run")
            .env_clear()
            .env("AKRIBES_URL", format!("http://{server}"))
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{backend}"))
            .env("RUNTRAIL_STORE_DIR", store)
            .env("RUNTRAIL_LISTEN_METRICS", "127.0.0.1:0")
            .env("RUNTRAIL_LISTEN_LOCAL", "127.0.0.1:0")
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        let (child, metrics) = run(&mut command);
        Self {
            command,
            child,
            metrics,
        }
    }

    pub(crate) fn kill_and_start_again(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        (self.child, self.metrics) = run(&mut self.command);
    }

    /// Waits until the series of this metric have come so far.
    pub(crate) fn wait_until(&self, metric: &str, wanted: u64) {
        while self.count(metric) < wanted {
            sleep(LOOK);
        }
    }

    fn count(&self, metric: &str) -> u64 {
        let mut stream = TcpStream::connect(self.metrics).unwrap();
        let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        page.lines()
            .filter_map(|line| line.strip_prefix(metric))
            .filter(|rest| rest.starts_with(['{', ' ']))
            .map(|rest| rest.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64)
            .sum()
    }

    /// In the program and in the kernel for it.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat = self.proc("stat");
        // After the name, which may hold anything, in parentheses.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        let ticks = [11, 12].map(|field| fields[field].parse::<f64>().unwrap());
        (ticks[0] + ticks[1]) / TICKS_A_SECOND
    }

    /// What the kernel was given for the disk.
    pub(crate) fn written_bytes(&self) -> u64 {
        field(&self.proc("io"), "write_bytes:")
    }

    pub(crate) fn memory_mib(&self, key: &str) -> f64 {
        field(&self.proc("status"), key) as f64 / 1024.0
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap()
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn field(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let number = line.unwrap().split_ascii_whitespace().next();
    number.unwrap().parse().unwrap()
}

/// Starts it, and waits until it listens.
fn run(command: &mut Command) -> (Child, SocketAddr) {
    let mut child = command.spawn().unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let (found, metrics) = mpsc::channel();
    // It has to be read to its end, or the program waits for us.
    spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            let Some((_, rest)) = line.split_once("\"metrics\":\"") else {
                continue;
            };
            let address = rest.split('"').next().unwrap_or_default();
            let _ = address
                .parse::<SocketAddr>()
                .map(|address| found.send(address));
        }
    });
    let metrics = metrics.recv().unwrap();
    (child, metrics)
}
