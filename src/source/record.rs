//! `runtrail record`: a live feed becomes a recording that `replay` reads.
//!
//! A recording holds the feed's own bytes, cut at frames: what a broken
//! connection left of a frame is dropped, since the server sends it again, and
//! frames of several feeds stand behind each other whole. So a replay of it
//! gives the runs that a listener would have seen.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::cutter::{Cut, FrameCutter};
use super::{FeedNews, FromFeed, LossKind, Resume, SourceError, SourceSettings, start, stopped};
use crate::limits::Limits;
use crate::wire::sse::{SseDecoder, SseItem};
use crate::wire::time::Time;

/// News on their way from the feeds to the file.
const NEWS_MAX: usize = 16;

/// What to record, and when it is enough.
#[derive(Debug, Clone)]
pub struct RecordSettings {
    /// The feeds; all of them go into one recording.
    pub source: SourceSettings,
    /// What the waits between connections are spread by.
    pub seed: u64,
    /// It is enough after this time.
    pub time_max: Option<Duration>,
    /// It is enough before the frame with which the recording would be larger.
    pub bytes_max: Option<u64>,
    /// The bounds of a frame.
    pub limits: Limits,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Bytes of the recording.
    pub bytes: u64,
    /// Frames with data in it.
    pub frames: u64,
    /// Frames that were over their bound, and are not in it.
    pub frames_too_long: u64,
    /// Connections that took the place of a lost one.
    pub reconnects: u64,
    /// Why it ended.
    pub end: RecordEnd,
}

/// Why a recording ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordEnd {
    /// It was told to.
    Stopped,
    /// The time was up.
    TimeMax,
    /// The recording was large enough.
    BytesMax,
}

/// Why there is no recording, or not all of one.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The source cannot begin.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The server refused a feed from the first on.
    #[error("{0}")]
    Refused(String),
    /// The recording could not be written.
    #[error("cannot write the recording")]
    Write(#[source] io::Error),
}

/// Records until `stop` says so, or it is enough. `now` stands in its first line.
pub async fn record(
    settings: RecordSettings,
    now: Time,
    out: impl Write,
    mut stop: watch::Receiver<bool>,
) -> Result<Recorded, RecordError> {
    let mut recorder = Recorder::new(&settings, out);
    let system = settings.source.system.clone();
    let (to, mut news) = mpsc::channel(NEWS_MAX);
    // Dropped at the end, which ends the feeds.
    let _feeds = start(settings.source, settings.seed, to, stop.clone())?;
    recorder.begin(&system, now)?;
    let enough = async {
        match settings.time_max {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(enough);
    let end = loop {
        tokio::select! {
            biased;
            () = stopped(&mut stop) => break RecordEnd::Stopped,
            () = &mut enough => break RecordEnd::TimeMax,
            news = news.recv() => match news {
                Some(news) => {
                    if let Some(end) = recorder.take(news)? {
                        break end;
                    }
                }
                // The feeds stop when they are told to, as the recording does.
                None => break RecordEnd::Stopped,
            },
        }
    };
    recorder.out.flush().map_err(RecordError::Write)?;
    Ok(Recorded {
        end,
        ..recorder.recorded
    })
}

struct Recorder<W> {
    feeds: Vec<RecordedFeed>,
    bytes_max: u64,
    recorded: Recorded,
    out: W,
}

/// One feed, on its way into the recording.
struct RecordedFeed {
    cutter: FrameCutter,
    /// Knows the cursor, also of what is too long to be kept.
    decoder: SseDecoder,
    retry: Option<Duration>,
    was_connected: bool,
}

impl<W: Write> Recorder<W> {
    fn new(settings: &RecordSettings, out: W) -> Self {
        let limits = &settings.limits;
        let feed = |_| RecordedFeed {
            // Names and line ends come on top of the data.
            cutter: FrameCutter::new(limits.frame_bytes_max.saturating_mul(2)),
            decoder: SseDecoder::new(limits.line_bytes_max, limits.frame_bytes_max),
            retry: None,
            was_connected: false,
        };
        Self {
            feeds: settings.source.feeds.iter().map(feed).collect(),
            bytes_max: settings.bytes_max.unwrap_or(u64::MAX),
            recorded: Recorded {
                bytes: 0,
                frames: 0,
                frames_too_long: 0,
                reconnects: 0,
                end: RecordEnd::Stopped,
            },
            out,
        }
    }

    fn begin(&mut self, system: &str, now: Time) -> Result<(), RecordError> {
        let version = env!("CARGO_PKG_VERSION");
        let at = now.to_rfc3339();
        let line = format!(": recorded by runtrail {version} from {system} at {at}\n\n");
        self.recorded.bytes += line.len() as u64;
        self.out
            .write_all(line.as_bytes())
            .and_then(|()| self.out.flush())
            .map_err(RecordError::Write)
    }

    /// Takes news of a feed, and says when it is enough.
    fn take(
        &mut self,
        FromFeed { feed, news }: FromFeed,
    ) -> Result<Option<RecordEnd>, RecordError> {
        let Some(feed) = self.feeds.get_mut(feed) else {
            return Ok(None);
        };
        match news {
            FeedNews::Resume(answer) => {
                // A feed that is gone does not ask again.
                let _ = answer.send(Resume {
                    cursor: feed.decoder.last_event_id().to_owned(),
                    retry: feed.retry,
                });
            }
            FeedNews::Connected => {
                let again = std::mem::replace(&mut feed.was_connected, true);
                self.recorded.reconnects += u64::from(again);
            }
            FeedNews::Lost(loss) => {
                let for_good = matches!(loss.kind, LossKind::Refused(_) | LossKind::Token);
                if for_good && !feed.was_connected {
                    return Err(RecordError::Refused(loss.message));
                }
                feed.decoder.finish();
                feed.cutter.restart();
            }
            FeedNews::Bytes(bytes) => {
                feed.follow(&bytes);
                let enough = write(
                    feed,
                    &bytes,
                    self.bytes_max,
                    &mut self.recorded,
                    &mut self.out,
                );
                let enough = enough.map_err(RecordError::Write)?;
                return Ok(enough.then_some(RecordEnd::BytesMax));
            }
        }
        Ok(None)
    }
}

impl RecordedFeed {
    /// Keeps the cursor, and the wait that the server asks for.
    fn follow(&mut self, mut bytes: &[u8]) {
        while let Some(item) = self.decoder.next(&mut bytes) {
            if let SseItem::Retry(wait) = item {
                self.retry = Some(wait);
            }
        }
    }
}

/// Writes the frames that these bytes end, and says whether that is enough.
fn write(
    feed: &mut RecordedFeed,
    mut bytes: &[u8],
    bytes_max: u64,
    recorded: &mut Recorded,
    out: &mut impl Write,
) -> io::Result<bool> {
    while let Some(cut) = feed.cutter.next(&mut bytes) {
        let frame = match cut {
            Cut::Frame(frame) => frame,
            Cut::TooLong => {
                recorded.frames_too_long += 1;
                continue;
            }
        };
        let size = recorded.bytes + frame.len() as u64;
        if size > bytes_max {
            return Ok(true);
        }
        out.write_all(frame)?;
        recorded.bytes = size;
        recorded.frames += u64::from(has_data(frame));
    }
    out.flush()?;
    Ok(false)
}

fn has_data(frame: &[u8]) -> bool {
    let mut lines = frame.split(|byte| matches!(byte, b'\n' | b'\r'));
    lines.any(|line| line.starts_with(b"data"))
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.end {
            RecordEnd::Stopped => "stopped",
            RecordEnd::TimeMax => "the time is up",
            RecordEnd::BytesMax => "the recording is large enough",
        };
        let Self {
            bytes,
            frames,
            reconnects,
            ..
        } = self;
        write!(
            f,
            "{why}: {frames} frames, {bytes} bytes, {reconnects} reconnects"
        )?;
        if self.frames_too_long > 0 {
            write!(f, ", {} frames left out as too long", self.frames_too_long)?;
        }
        Ok(())
    }
}
