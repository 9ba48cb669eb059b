//! `record` against a server that does what it is told: what it writes is what
//! the feed gave, whole frames of it, and a replay makes the same of both.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop"
)]

mod scripted;
mod support;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use runtrail::limits::Limits;
use runtrail::net::secret::{Secret, TokenSource};
use runtrail::source::record::{RecordEnd, RecordError, RecordSettings, Recorded, record};
use runtrail::source::{FeedScope, SourceSettings};
use runtrail::wire::time::Time;
use scripted::{FEED, Server, settings, soon};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const FEED_OF_REVIEWS: &str = include_str!("../examples/feeds/review.sse");

/// 2026-05-07T10:00:00Z.
const NOW: Time = Time(1_778_148_000_000_000_000);

/// A file that can be looked at while it is written.
#[derive(Clone, Default)]
struct Recording(Arc<Mutex<Vec<u8>>>);

impl Write for Recording {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Recording {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// Without its first line.
    fn frames(&self) -> String {
        let text = self.text();
        let (_, frames) = text.split_once("\n\n").unwrap();
        frames.to_owned()
    }

    /// Waits until there is this in it.
    async fn has(&self, text: &str) {
        soon(async {
            while !self.text().contains(text) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// A recording that goes on.
struct Recorder {
    recording: Recording,
    stop: watch::Sender<bool>,
    end: JoinHandle<Result<Recorded, RecordError>>,
}

impl Recorder {
    fn new(source: SourceSettings) -> Self {
        Self::with(source, |_| {})
    }

    fn with(source: SourceSettings, change: impl FnOnce(&mut RecordSettings)) -> Self {
        let mut settings = RecordSettings {
            source,
            seed: 1,
            time_max: None,
            bytes_max: None,
            limits: Limits::default(),
        };
        change(&mut settings);
        let recording = Recording::default();
        let (stop, stopped) = watch::channel(false);
        let end = tokio::spawn(record(settings, NOW, recording.clone(), stopped));
        Self {
            recording,
            stop,
            end,
        }
    }

    async fn end(self) -> (Recording, Result<Recorded, RecordError>) {
        (self.recording, soon(self.end).await.unwrap())
    }

    async fn stop(self) -> (Recording, Recorded) {
        self.stop.send(true).unwrap();
        let (recording, recorded) = self.end().await;
        (recording, recorded.unwrap())
    }
}

/// The spans that come of a feed.
fn spans(feed: &str) -> Vec<Span> {
    let mut core = support::core(support::settings(true));
    core.handle_bytes(0, feed.as_bytes(), None);
    core.handle_end_of_input(0, None);
    core.handle_end_of_runs();
    support::trace::spans(&support::batches(&mut core))
}

#[tokio::test]
async fn a_recording_of_a_feed_that_breaks_is_the_feed() {
    let server = Server::new().await;
    let recorder = Recorder::new(settings(server.url()));
    let whole = FEED_OF_REVIEWS;
    let mut from = 0;
    for cut in [5, 70_000, 70_001, 120_000, whole.len()] {
        let mut connection = server.accept().await;
        let request = connection.request().await;
        if let Some(cursor) = request.header("last-event-id") {
            let id = format!("\nid: {cursor}\n\n");
            from = whole.find(&id).unwrap() + id.len();
        }
        connection.send(FEED).await;
        connection.send(&whole[from..cut.max(from)]).await;
        if cut == whole.len() {
            let end = whole[whole.rfind("event: batch").unwrap()..].trim_end();
            recorder.recording.has(end).await;
        }
    }
    let (recording, recorded) = recorder.stop().await;
    assert_eq!(spans(&recording.text()), spans(whole));
    let frames = recording.frames();
    let frames = frames.strip_suffix(": keep-alive\n\n").unwrap_or(&frames);
    assert!(whole.starts_with(frames), "no frame twice, none in part");
    assert_eq!(recorded.bytes, recording.text().len() as u64);
    assert_eq!(recorded.frames, whole.matches("\ndata: ").count() as u64);
    assert_eq!(recorded.reconnects, 4);
    assert_eq!(recorded.end, RecordEnd::Stopped);
}

#[tokio::test]
async fn its_first_line_tells_of_what_and_when_and_nothing_that_is_secret() {
    let server = Server::new().await;
    let mut settings = settings(server.url().join("/base").unwrap());
    settings.token = Some(TokenSource::Value(Secret::new("hunter2")));
    let recorder = Recorder::new(settings);
    let (_, _connection) = server.answer(format!("{FEED}data: 1\n\n")).await;
    recorder.recording.has("data: 1").await;
    let (recording, _) = recorder.stop().await;
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        recording.text(),
        format!(
            ": recorded by runtrail {version} from akribes at 2026-05-07T10:00:00.000Z\n\ndata: 1\n\n"
        )
    );
}

#[tokio::test]
async fn frames_of_several_feeds_stand_behind_each_other_whole() {
    let server = Server::new().await;
    let mut settings = settings(server.url());
    settings.feeds = [7, 8]
        .map(|project| FeedScope {
            project: Some(project),
            script: None,
        })
        .to_vec();
    let recorder = Recorder::new(settings);
    let (_, mut one) = server.answer(FEED).await;
    let (_, mut other) = server.answer(FEED).await;
    one.send("data: 1a\nda").await;
    other.send("\u{FEFF}data: 2\n\nid: 5\n").await;
    recorder.recording.has("data: 2\n\n").await;
    one.send("ta: 1b\n\ndata: 3").await;
    recorder.recording.has("1b\n\n").await;
    other.send("data: 4\n\n").await;
    recorder.recording.has("data: 4\n\n").await;
    let (recording, recorded) = recorder.stop().await;
    assert_eq!(
        recording.frames(),
        "data: 2\n\ndata: 1a\ndata: 1b\n\nid: 5\ndata: 4\n\n"
    );
    assert_eq!((recorded.frames, recorded.reconnects), (3, 0));
}

#[tokio::test]
async fn it_ends_when_the_time_is_up_or_it_is_large_enough() {
    let server = Server::new().await;
    let timed = Recorder::with(settings(server.url()), |s| {
        s.time_max = Some(Duration::from_millis(50));
    });
    let (recording, recorded) = timed.end().await;
    assert_eq!(recorded.unwrap().end, RecordEnd::TimeMax);
    let first_line = recording.text().len() as u64;

    let server = Server::new().await;
    let frame = "data: 12345\n\n";
    for room in [0, frame.len(), 2 * frame.len() + 1] {
        let sized = Recorder::with(settings(server.url()), |s| {
            s.bytes_max = Some(first_line + room as u64);
        });
        let (_, mut connection) = server.answer(FEED).await;
        connection.send(frame.repeat(3)).await;
        let (recording, recorded) = sized.end().await;
        let recorded = recorded.unwrap();
        assert_eq!(recorded.end, RecordEnd::BytesMax);
        assert_eq!(recording.frames(), frame.repeat(room / frame.len()));
        assert_eq!(recorded.bytes, recording.text().len() as u64);
        connection.closed().await;
    }
}

#[tokio::test]
async fn a_feed_that_is_refused_from_the_first_is_told_and_later_it_is_waited_for() {
    let server = Server::new().await;
    let refusal = "HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n";
    let refused = Recorder::new(settings(server.url()));
    server.answer(refusal).await;
    let (_, recorded) = refused.end().await;
    let error = recorded.unwrap_err();
    assert!(matches!(error, RecordError::Refused(_)));
    assert!(error.to_string().contains("(403)"), "{error}");

    let recorder = Recorder::new(settings(server.url()));
    let unready = "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n";
    server.answer(unready).await;
    server.answer(FEED).await;
    server.answer(refusal).await;
    let (_, _connection) = server.answer(format!("{FEED}data: 1\n\n")).await;
    recorder.recording.has("data: 1").await;
    let (_, recorded) = recorder.stop().await;
    assert_eq!(recorded.reconnects, 1);
}

#[tokio::test]
async fn a_frame_over_its_bound_is_left_out_and_passed() {
    let server = Server::new().await;
    let recorder = Recorder::with(settings(server.url()), |s| {
        s.limits.frame_bytes_max = 50;
        s.limits.line_bytes_max = 50;
    });
    let huge = format!("data: {}\nid: 7\n\n", "x".repeat(1_000));
    server.answer(format!("{FEED}{huge}")).await;
    let (request, _connection) = server.answer(format!("{FEED}data: 1\n\n")).await;
    assert_eq!(request.header("last-event-id"), Some("7"));
    recorder.recording.has("data: 1").await;
    let (recording, recorded) = recorder.stop().await;
    assert_eq!(recording.frames(), "data: 1\n\n");
    assert_eq!((recorded.frames, recorded.frames_too_long), (1, 1));
    assert!(
        recorded
            .to_string()
            .ends_with(", 1 frames left out as too long")
    );
}

#[tokio::test]
async fn the_wait_that_a_feed_asks_for_is_kept() {
    let server = Server::new().await;
    let recorder = Recorder::new(settings(server.url()));
    server.answer(format!("{FEED}retry: 3000000\n\n")).await;
    recorder.recording.has("retry: ").await;
    assert!(server.is_untouched().await);
    recorder.stop().await;
}

/// A file on a disk that is full.
struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_written_ends_it() {
    let server = Server::new().await;
    let (_stop, stopped) = watch::channel(false);
    let settings = RecordSettings {
        source: settings(server.url()),
        seed: 1,
        time_max: None,
        bytes_max: None,
        limits: Limits::default(),
    };
    let error = soon(record(settings, NOW, Full, stopped))
        .await
        .unwrap_err();
    assert!(matches!(error, RecordError::Write(_)), "{error}");
}
