//! A feed that is cut at any byte, and goes on from a server that sends again
//! what comes after the cursor, gives what the uncut feed gives.
//!
//! At two levels: every position through the core, as the main loop drives it;
//! and a sample of them over real sockets, with the real source.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop"
)]

mod scripted;
mod support;

use opentelemetry_proto::tonic::trace::v1::Span;
use runtrail::core::{Core, CoreSettings};
use runtrail::run::outputs::GapCause;
use runtrail::source::{FeedNews, Resume};
use scripted::{FEED, Server, Source};
use serde_json::Value;
use support::{batches, core, settings};

const RECORDING: &str = include_str!("../examples/feeds/review.sse");

/// Runs of the recording that are short: one is answered from a cache and
/// verified, one uses tools in a loop until it is cancelled.
const SHORT_RUNS: [&str; 2] = [
    "7d444840-9dc0-41d1-b245-5ffdce74e006",
    "1b4e28ba-2fa1-41d2-883f-0016d3cce007",
];

/// A frame: the elements of its batch, and its id. A comment has neither.
#[derive(Clone)]
struct Frame {
    elements: Vec<Value>,
    id: Option<u64>,
}

impl Frame {
    fn of(elements: Vec<Value>) -> Self {
        let newest = elements.last().and_then(|e| e["payload"]["seq"].as_u64());
        Self {
            elements,
            id: newest,
        }
    }

    fn sse(&self, end: &str) -> String {
        if self.elements.is_empty() {
            return format!(": keep-alive{end}{end}");
        }
        let data = Value::Array(self.elements.clone());
        let id = self
            .id
            .map_or_else(String::new, |id| format!("id: {id}{end}"));
        format!("event: batch{end}data: {data}{end}{id}{end}")
    }
}

/// The frames of the recording.
fn recorded() -> Vec<Frame> {
    let frame = |text: &str| {
        let data = text.lines().find_map(|line| line.strip_prefix("data: "));
        let elements = data.map(|data| serde_json::from_str(data).unwrap());
        Frame::of(elements.unwrap_or_default())
    };
    RECORDING.split_terminator("\n\n").map(frame).collect()
}

/// Those of the short runs only.
fn short() -> Vec<Frame> {
    let of_short = |element: &Value| {
        let run = element["payload"]["execution_id"].as_str();
        run.is_some_and(|run| SHORT_RUNS.contains(&run))
    };
    let mut frames = vec![Frame::of(Vec::new())];
    for frame in recorded() {
        let elements: Vec<Value> = frame.elements.into_iter().filter(of_short).collect();
        if !elements.is_empty() {
            frames.push(Frame::of(elements));
        }
    }
    frames.insert(3, Frame::of(Vec::new()));
    frames
}

/// The same without the events' own places in the log.
fn without_places(mut frames: Vec<Frame>) -> Vec<Frame> {
    for element in frames.iter_mut().flat_map(|frame| &mut frame.elements) {
        element["payload"].as_object_mut().unwrap().remove("seq");
    }
    frames
}

/// How a server goes on from a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replay {
    /// With the frames behind it.
    Exact,
    /// With the frame before, once more.
    Overlapping,
    /// With all of them, whatever the cursor.
    FromTheBeginning,
}

/// A feed as a server has it.
struct Served {
    bytes: Vec<u8>,
    /// Where each frame ends, and its id.
    ends: Vec<(usize, Option<u64>)>,
    replay: Replay,
}

impl Served {
    fn new(frames: &[Frame], line_end: &str, replay: Replay) -> Self {
        let mut served = Self {
            bytes: Vec::new(),
            ends: Vec::new(),
            replay,
        };
        for frame in frames {
            served.bytes.extend(frame.sse(line_end).into_bytes());
            served.ends.push((served.bytes.len(), frame.id));
        }
        served
    }

    /// The recording as it is.
    fn recording() -> Self {
        let mut served = Self::new(&[], "\n", Replay::Exact);
        for frame in RECORDING.split_inclusive("\n\n") {
            let id = frame.lines().find_map(|line| line.strip_prefix("id: "));
            served.bytes.extend_from_slice(frame.as_bytes());
            served
                .ends
                .push((served.bytes.len(), id.map(|id| id.parse().unwrap())));
        }
        served
    }

    /// Where the feed goes on after this cursor.
    fn resumed(&self, cursor: &str) -> usize {
        let Ok(cursor) = cursor.parse() else { return 0 };
        let found = self.ends.iter().position(|(_, id)| *id == Some(cursor));
        let frame = found.expect("a cursor that was sent");
        match self.replay {
            Replay::Exact => self.ends[frame].0,
            Replay::Overlapping => frame.checked_sub(1).map_or(0, |before| self.ends[before].0),
            Replay::FromTheBeginning => 0,
        }
    }

    /// What the core makes of it when the connection is cut at each of these
    /// positions of the feed, one after the other.
    fn heard(&self, settings: &CoreSettings, cuts: impl IntoIterator<Item = usize>) -> Heard {
        let mut listener = Listener::new(settings);
        for cut in cuts {
            let from = self.resumed(listener.core.last_event_id(0));
            listener.connection(&self.bytes[from..cut.max(from)]);
        }
        let from = self.resumed(listener.core.last_event_id(0));
        listener.connection(&self.bytes[from..]);
        listener.finish()
    }

    /// Every position is cut, `stride` away from the next in the same listening.
    fn assert_cuts_change_nothing(&self, settings: &CoreSettings, stride: usize) {
        let uncut = self.heard(settings, []);
        support::trace::check(&uncut.spans);
        assert!(!uncut.spans.is_empty() && !uncut.summaries.is_empty());
        for first in 0..stride.min(self.bytes.len()) {
            let cuts = (first..self.bytes.len()).step_by(stride);
            let heard = self.heard(settings, cuts);
            assert!(heard == uncut, "cut at {first} and every {stride} bytes on");
        }
    }
}

/// A core, driven as the main loop does it.
struct Listener {
    core: Core,
    was_connected: bool,
    heard: Heard,
}

/// What came out of it.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    spans: Vec<Span>,
    summaries: Vec<String>,
}

impl Listener {
    fn new(settings: &CoreSettings) -> Self {
        Self {
            core: core(settings.clone()),
            was_connected: false,
            heard: Heard::default(),
        }
    }

    /// There is a connection, which gives these bytes and is lost.
    fn connection(&mut self, bytes: &[u8]) {
        self.connected();
        self.core.handle_bytes(0, bytes, None);
        self.lost();
    }

    fn connected(&mut self) {
        if std::mem::replace(&mut self.was_connected, true) {
            self.core.handle_reconnect(0, None);
        }
    }

    fn lost(&mut self) {
        self.core.handle_end_of_input(0, None);
        let now = self.core.clock();
        self.core.handle_gap(0, GapCause::Disconnect, now);
        self.take();
    }

    fn take(&mut self) {
        let batches = batches(&mut self.core);
        self.heard.spans.extend(support::trace::spans(&batches));
        while let Some(summary) = self.core.poll_summary() {
            let summary = serde_json::to_string(&summary).unwrap();
            self.heard.summaries.push(summary);
        }
    }

    fn finish(mut self) -> Heard {
        self.core.handle_end_of_runs();
        self.take();
        self.heard
    }
}

#[test]
fn one_cut_anywhere_changes_nothing() {
    let of_first = |element: &Value| element["payload"]["execution_id"] == SHORT_RUNS[0];
    let elements = recorded().into_iter().flat_map(|frame| frame.elements);
    let elements: Vec<Value> = elements.filter(of_first).collect();
    let frames: Vec<Frame> = elements.chunks(2).map(|e| Frame::of(e.to_vec())).collect();
    let served = Served::new(&frames, "\n", Replay::Exact);
    served.assert_cuts_change_nothing(&settings(false), usize::MAX);
}

#[test]
fn cuts_everywhere_in_the_whole_recording_change_nothing() {
    let served = Served::recording();
    served.assert_cuts_change_nothing(&settings(true), 61);
}

#[test]
fn cuts_change_nothing_whatever_ends_the_lines() {
    for line_end in ["\r\n", "\r"] {
        let served = Served::new(&short(), line_end, Replay::Exact);
        served.assert_cuts_change_nothing(&settings(false), 97);
    }
}

#[test]
fn cuts_change_nothing_when_the_server_sends_more_again_than_it_should() {
    for replay in [Replay::Overlapping, Replay::FromTheBeginning] {
        for frames in [short(), without_places(short())] {
            let served = Served::new(&frames, "\n", replay);
            served.assert_cuts_change_nothing(&settings(false), 97);
        }
    }
}

#[test]
fn cuts_change_nothing_when_only_some_frames_have_an_id() {
    for nth in 0..3 {
        let mut frames = short();
        for (n, frame) in frames.iter_mut().enumerate() {
            frame.id = frame.id.filter(|_| n % 3 == nth);
        }
        let served = Served::new(&frames, "\n", Replay::Exact);
        served.assert_cuts_change_nothing(&settings(false), 97);
    }
}

#[test]
fn a_cut_changes_nothing_when_the_server_replays_events_one_by_one_without_places() {
    let frames = short();
    let one_by_one = frames.iter().flat_map(|frame| frame.elements.iter());
    let one_by_one: Vec<Frame> = one_by_one.map(|e| Frame::of(vec![e.clone()])).collect();
    let live = Served::new(&frames, "\n", Replay::Exact);
    let again = Served::new(&without_places(one_by_one), "\n", Replay::Exact);
    let settings = settings(false);
    let uncut = live.heard(&settings, []);
    for cut in (0..live.bytes.len()).step_by(7) {
        let mut listener = Listener::new(&settings);
        listener.connection(&live.bytes[..cut]);
        let from = again.resumed(listener.core.last_event_id(0));
        listener.connection(&again.bytes[from..]);
        assert!(listener.finish() == uncut, "cut at {cut}");
    }
}

/// Listens to the server with a real source until the whole feed has come.
async fn listened(server: &Server, settings: &CoreSettings, last_id: &str) -> Heard {
    let mut source = Source::new(scripted::settings(server.url()));
    let mut listener = Listener::new(settings);
    while listener.core.last_event_id(0) != last_id {
        match source.news().await {
            FeedNews::Resume(answer) => {
                let resume = Resume {
                    cursor: listener.core.last_event_id(0).to_owned(),
                    retry: listener.core.retry(0),
                };
                answer.send(resume).unwrap();
            }
            FeedNews::Connected => listener.connected(),
            FeedNews::Bytes(bytes) => listener.core.handle_bytes(0, &bytes, None),
            FeedNews::Lost(loss) => {
                assert!(loss.was_connected, "{}", loss.message);
                listener.lost();
            }
        }
    }
    source.stop.send(true).unwrap();
    listener.finish()
}

/// Serves the feed, cut once, and holds on to the last connection.
async fn serve_cut(server: &Server, served: &Served, cut: usize) -> scripted::Connection {
    let mut first = server.accept().await;
    let asked = first.request().await;
    assert_eq!(asked.header("last-event-id"), None);
    first
        .send([FEED.as_bytes(), &served.bytes[..cut]].concat())
        .await;
    drop(first);
    let mut second = server.accept().await;
    let asked = second.request().await;
    let from = served.resumed(asked.header("last-event-id").unwrap_or_default());
    second
        .send([FEED.as_bytes(), &served.bytes[from..]].concat())
        .await;
    second
}

#[tokio::test]
async fn a_cut_changes_nothing_over_real_sockets() {
    let served = Served::new(&short(), "\n", Replay::Exact);
    let settings = settings(false);
    let uncut = served.heard(&settings, []);
    let last = served.ends.iter().rev().find_map(|(_, id)| *id);
    let last = last.unwrap().to_string();
    let server = Server::new().await;
    // Each byte of one frame and around it, and some of all others.
    let frame = served.ends[3].0 - 2..served.ends[4].0 + 2;
    let others = (0..served.bytes.len()).step_by(97);
    for cut in frame.chain(others) {
        let (heard, _held) = tokio::join!(
            listened(&server, &settings, &last),
            serve_cut(&server, &served, cut),
        );
        assert!(heard == uncut, "cut at {cut}");
    }
}
