//! What stands between the program and the server: it cuts feeds, makes them
//! lose events, and refuses calls, for this one client only.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::Value;
use tokio::io::{self, AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What is to go wrong.
#[derive(Debug, Clone, Default)]
pub(crate) struct Weather {
    /// Connections are dropped as soon as they are made.
    pub(crate) shut: bool,
    /// The server does not go back to what a client has missed.
    pub(crate) forgets: bool,
    /// So many frames do not come, and then a notice says so.
    pub(crate) frames_lost: u32,
    /// A feed ends in the middle of a frame, after so many whole ones.
    pub(crate) cut_after_frames: Option<u32>,
    /// So many calls are told to come back later.
    pub(crate) calls_refused: u32,
    /// So many calls get the half of an answer.
    pub(crate) calls_cut: u32,
}

/// How often what went wrong.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Damage {
    pub(crate) cuts: u64,
    pub(crate) lags: u64,
    pub(crate) events_lost: u64,
    pub(crate) calls: u64,
    pub(crate) calls_refused: u64,
}

/// The gate. It closes when it is dropped.
pub(crate) struct Gate {
    pub(crate) addr: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    server: SocketAddr,
    diary: Mutex<String>,
    now: Mutex<(Weather, Damage)>,
    cuts: watch::Sender<()>,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gate {
    pub(crate) async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            server,
            diary: Mutex::default(),
            now: Mutex::default(),
            cuts: watch::Sender::new(()),
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { addr, shared, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// From now on it is like this.
    pub(crate) fn weather(&self, weather: Weather) {
        if weather.shut {
            self.cut();
        }
        self.shared.now().0 = weather;
    }

    /// All feeds are cut now.
    pub(crate) fn cut(&self) {
        self.shared.now().1.cuts += 1;
        self.shared.cuts.send_replace(());
    }

    /// What came by, a line for each frame and call.
    pub(crate) fn diary(&self) -> String {
        self.shared.diary.lock().unwrap().clone()
    }

    pub(crate) fn damage(&self) -> Damage {
        self.shared.now().1
    }
}

impl Shared {
    /// Writes down what came by.
    fn note(&self, what: &str) {
        let now = runtrail::net::clock::now().to_rfc3339();
        writeln!(self.diary.lock().unwrap(), "{now} {what}").unwrap();
    }

    fn now(&self) -> MutexGuard<'_, (Weather, Damage)> {
        self.now.lock().unwrap()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // They end with this task.
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        if shared.now().0.shut {
            continue;
        }
        let shared = Arc::clone(&shared);
        connections.spawn(async move { pass(client, &shared).await });
        while connections.try_join_next().is_some() {}
    }
}

/// One request and its answer; the next one comes over another connection.
async fn pass(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut bytes = Vec::new();
    let head = head(&mut client, &mut bytes).await?;
    let is_feed = head.starts_with("GET /events?") || head.starts_with("GET /events ");
    if !is_feed && let Some(refusal) = refusal(shared) {
        return client.write_all(refusal.as_bytes()).await;
    }
    let forgets = shared.now().0.forgets;
    if is_feed {
        let number = client.peer_addr()?.port();
        let after = head.to_ascii_lowercase();
        let after = after.split("last-event-id: ").nth(1);
        let after = after.and_then(|after| after.lines().next());
        shared.note(&format!(
            "feed {number} begins after {after:?}, forgets: {forgets}"
        ));
    }
    let mut server = TcpStream::connect(shared.server).await?;
    server.write_all(onward(&head, forgets).as_bytes()).await?;
    if is_feed {
        return Feed::new(server, shared).pass(client).await;
    }
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    let cut = {
        let weather = &mut shared.now().0;
        let cut = weather.calls_cut > 0;
        weather.calls_cut -= u32::from(cut);
        cut
    };
    let line = head.lines().next().unwrap_or_default();
    shared.note(&format!("call {line}: {}", gist(&answer)));
    let length = if cut { answer.len() / 2 } else { answer.len() };
    client.write_all(&answer[..length]).await
}

/// How an answer begins and ends.
fn gist(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    let status = text.lines().next().unwrap_or_default();
    let end: Vec<char> = text.chars().rev().take(100).collect();
    let end: String = end.into_iter().rev().collect();
    format!("{status} … {}", end.replace(['\r', '\n'], " "))
}

fn refusal(shared: &Shared) -> Option<String> {
    let (weather, damage) = &mut *shared.now();
    damage.calls += 1;
    weather.calls_refused = weather.calls_refused.checked_sub(1)?;
    damage.calls_refused += 1;
    let status = match weather.calls_refused % 3 {
        0 => "429 Too Many Requests\r\nRetry-After: 1",
        1 => "503 Service Unavailable",
        _ => "502 Bad Gateway",
    };
    Some(format!(
        "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    ))
}

/// The head of a request as the server is to see it.
fn onward(head: &str, forgets: bool) -> String {
    let mut onward = String::new();
    for line in head.trim_end().lines() {
        let name = line
            .split(':')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        if name == "connection" || (forgets && name == "last-event-id") {
            continue;
        }
        onward.push_str(line);
        onward.push_str("\r\n");
    }
    onward + "Connection: close\r\n\r\n"
}

/// Reads to the end of a head, and leaves what follows.
async fn head(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<String> {
    loop {
        if let Some(at) = find(bytes, b"\r\n\r\n") {
            let head = bytes.drain(..at + 4).collect();
            return String::from_utf8(head).map_err(io::Error::other);
        }
        if stream.read_buf(bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// A feed on its way.
struct Feed<'a> {
    server: TcpStream,
    shared: &'a Shared,
    /// Bytes of the body as they came, and out of their chunks.
    raw: Vec<u8>,
    text: Vec<u8>,
    frames: u32,
    events_lost: u64,
}

impl<'a> Feed<'a> {
    const fn new(server: TcpStream, shared: &'a Shared) -> Self {
        Self {
            server,
            shared,
            raw: Vec::new(),
            text: Vec::new(),
            frames: 0,
            events_lost: 0,
        }
    }

    async fn pass(mut self, mut client: TcpStream) -> io::Result<()> {
        let mut cuts = self.shared.cuts.subscribe();
        let number = client.peer_addr()?.port();
        let head = head(&mut self.server, &mut self.raw).await?;
        client.write_all(head.as_bytes()).await?;
        if !head.starts_with("HTTP/1.1 200") {
            return Ok(());
        }
        let (gone, mut out) = client.into_split();
        let mut gone = Box::pin(until_gone(gone));
        loop {
            self.unpack();
            while let Some(frame) = next_frame(&mut self.text) {
                let fate = fate(
                    self.shared,
                    number,
                    &frame,
                    &mut self.frames,
                    &mut self.events_lost,
                );
                match fate {
                    Fate::Passes(bytes) => write_chunk(&mut out, &bytes).await?,
                    Fate::Lost => {}
                    Fate::Cut => return write_chunk(&mut out, &frame[..frame.len() / 2]).await,
                }
            }
            tokio::select! {
                read = self.server.read_buf(&mut self.raw) => if read? == 0 {
                    return Ok(());
                },
                _ = cuts.changed() => {
                    self.shared.note(&format!("feed {number} is cut"));
                    return Ok(());
                }
                () = &mut gone => return Ok(()),
            }
        }
    }

    /// Takes what came out of its chunks.
    fn unpack(&mut self) {
        while let Some(at) = find(&self.raw, b"\r\n") {
            let size = std::str::from_utf8(&self.raw[..at]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            let over = at + 2 + size + 2;
            if self.raw.len() < over {
                return;
            }
            self.text
                .extend_from_slice(&self.raw[at + 2..at + 2 + size]);
            self.raw.drain(..over);
        }
    }
}

async fn until_gone(mut client: OwnedReadHalf) {
    let _ = client.read(&mut [0]).await;
}

fn next_frame(text: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = find(text, b"\n\n")? + 2;
    Some(text.drain(..end).collect())
}

async fn write_chunk(out: &mut (impl AsyncWriteExt + Unpin), bytes: &[u8]) -> io::Result<()> {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    out.write_all(&chunk).await
}

enum Fate {
    Passes(Vec<u8>),
    Lost,
    Cut,
}

/// What becomes of a frame. The notice of a loss stands where the loss was:
/// before the next frame that comes.
fn fate(
    shared: &Shared,
    number: u16,
    frame: &[u8],
    frames: &mut u32,
    events_lost: &mut u64,
) -> Fate {
    let (weather, damage) = &mut *shared.now();
    let events = events_in(frame);
    let note = |fate: &str| shared.note(&format!("feed {number} {fate} {}", events.join(" ")));
    if !events.is_empty() && weather.frames_lost > 0 {
        weather.frames_lost -= 1;
        *events_lost += events.len() as u64;
        damage.events_lost += events.len() as u64;
        note("loses");
        return Fate::Lost;
    }
    if weather
        .cut_after_frames
        .is_some_and(|after| *frames >= after)
    {
        weather.cut_after_frames = None;
        damage.cuts += 1;
        note("is cut in");
        return Fate::Cut;
    }
    *frames += 1;
    let mut bytes = Vec::new();
    if *events_lost > 0 {
        let lost = std::mem::take(events_lost);
        damage.lags += 1;
        note(&format!("tells of {lost} lost, and passes"));
        bytes = match lost % 2 {
            0 => format!("event: error\ndata: {{\"lagged\":{lost}}}\n\n"),
            _ => format!("event: lagged\ndata: {{\"dropped\":{lost}}}\n\n"),
        }
        .into_bytes();
    } else {
        note("passes");
    }
    bytes.extend_from_slice(frame);
    Fate::Passes(bytes)
}

/// The events in a frame, each as its place, run and type.
fn events_in(frame: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(frame).unwrap();
    let data = text.lines().find_map(|line| line.strip_prefix("data: "));
    let events = data.and_then(|data| serde_json::from_str::<Vec<Value>>(data).ok());
    let event = |event: Value| {
        let payload = &event["payload"];
        let run = payload["execution_id"].as_str().unwrap_or_default();
        let run = run.split('-').next().unwrap_or_default();
        let kind = payload["event"]["type"].as_str().unwrap_or_default();
        format!("{}:{run}:{kind}", payload["seq"])
    };
    events.unwrap_or_default().into_iter().map(event).collect()
}
