//! The network in: connections to the server's event feed, kept up for ever.
//!
//! One task a feed. It asks where to go on from, connects, hands on the bytes
//! as they come, says when the connection is lost, waits, and begins again. It
//! decodes nothing: what the bytes mean is the core's business, so the cursor
//! comes from there too.
//!
//! The channel out is bounded: when nobody takes, nothing is read, and the
//! server notices by TCP.
//!
//! - `feed`: the task
//! - `server`: what all connections to a server share
//! - `connect`: one connection, from the request to the head of the answer
//! - `answer` and `wording`: what an answer means, and what it is called
//! - `patience`: what wait after which loss
//! - `report`: how loud a loss is told
//! - [`ask`]: what a feed misses is asked for
//! - [`record`]: a feed becomes a recording; `cutter` cuts it at frames

mod answer;
pub mod ask;
mod connect;
mod cutter;
mod feed;
mod patience;
pub mod record;
mod report;
mod server;
#[cfg(test)]
mod testkit;
mod wording;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Url;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use self::connect::Connector;
use self::feed::FeedTask;
use crate::core::UnknownSystem;
use crate::net::backoff::BackoffSettings;
use crate::net::secret::TokenSource;
use crate::net::tls::{TlsError, TlsSettings};

/// What to listen to.
#[derive(Debug, Clone)]
pub struct SourceSettings {
    /// The system; see [`Dialect::SYSTEMS`](crate::wire::dialect::Dialect::SYSTEMS).
    pub system: String,
    /// The configured name of the source.
    pub name: String,
    /// The server's address; the feed's path is added to it.
    pub url: Url,
    /// The token, sent in a header only.
    pub token: Option<TokenSource>,
    /// The feeds to read: one a project, or one of all that the token reaches.
    /// Never empty.
    pub feeds: Vec<FeedScope>,
    /// Certificates.
    pub tls: TlsSettings,
    /// How long a connection may take to be made, the answer's head included.
    pub connect_time_max: Duration,
    /// A feed silent for longer than this, keep-alives included, is dead.
    pub read_time_max: Duration,
    /// The waits between attempts.
    pub backoff: BackoffSettings,
    /// The wait after the server refused us (401, 403, 404 and the like).
    pub refused_wait: Duration,
}

/// What one feed tells of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FeedScope {
    /// One project; without it all that the token reaches.
    pub project: Option<i64>,
    /// One workflow, by its script's name; without it all.
    pub script: Option<String>,
}

/// Something of a feed; the index is its place in [`SourceSettings::feeds`].
#[derive(Debug)]
pub struct FromFeed {
    /// Which feed.
    pub feed: usize,
    /// What.
    pub news: FeedNews,
}

/// What a feed says to whoever reads it, in order.
#[derive(Debug)]
pub enum FeedNews {
    /// It will connect next, after a loss not at once: where shall it go on from,
    /// and how long has it to wait at least? Comes behind all bytes of the
    /// connection before.
    Resume(oneshot::Sender<Resume>),
    /// It is connected.
    Connected,
    /// Bytes of the feed, cut anywhere.
    Bytes(Bytes),
    /// The connection is lost, or could not be made.
    Lost(Loss),
}

impl FeedNews {
    /// How many bytes of the feed it holds.
    pub const fn size(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Resume(_) | Self::Connected | Self::Lost(_) => 0,
        }
    }
}

/// Where to go on from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resume {
    /// The `Last-Event-ID`; empty when there is none.
    pub cursor: String,
    /// The least wait between connections, as the server's `retry:` field asked for.
    pub retry: Option<Duration>,
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// Whether there was one, so that something may be missing.
    pub was_connected: bool,
    /// What kind of trouble.
    pub kind: LossKind,
    /// A sentence for a person: what is wrong, and what to do. Holds no token.
    pub message: String,
}

/// Kinds of trouble with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossKind {
    /// The stream came to its end, or broke.
    Ended,
    /// Nothing came for too long.
    Silent,
    /// There is no way to the server: name, route, port, TLS.
    Unreachable,
    /// The server said for now no: 429, 5xx.
    Busy(u16),
    /// The server refused: 401, 403, 404, a redirect and the like; or the answer is
    /// no event stream.
    Refused(u16),
    /// The token cannot be read.
    Token,
}

impl LossKind {
    /// One word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Silent => "silent",
            Self::Unreachable => "unreachable",
            Self::Busy(_) => "busy",
            Self::Refused(_) => "refused",
            Self::Token => "token",
        }
    }
}

/// The source cannot begin. Nothing of it changes by waiting.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// There is no dialect of this name.
    #[error(transparent)]
    System(#[from] UnknownSystem),
    /// A certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address is none that a feed can be at.
    #[error("the server's URL {0}")]
    Url(&'static str),
    /// There is no feed to read.
    #[error("no feed is to be read: name a project, or none for all")]
    NoFeed,
    /// The HTTP client cannot be made.
    #[error("the HTTP client cannot be made")]
    Client(#[source] reqwest::Error),
}

/// Begins to read all feeds, until `stop` says so or nobody takes any longer.
/// Then the tasks end, and with them the channel.
///
/// What is on its way is bounded by the channel's capacity times
/// [`FEED_PIECE_BYTES_MAX`](crate::limits::FEED_PIECE_BYTES_MAX), and
/// [`FEED_READ_BYTES_MAX`](crate::limits::FEED_READ_BYTES_MAX) a feed. The same
/// seed gives the same spread of the waits. To be called within a runtime.
pub fn start(
    settings: SourceSettings,
    seed: u64,
    to: mpsc::Sender<FromFeed>,
    stop: watch::Receiver<bool>,
) -> Result<JoinSet<()>, SourceError> {
    let feeds = settings.feeds.len();
    let connector = Arc::new(Connector::new(settings)?);
    let mut tasks = JoinSet::new();
    for feed in 0..feeds {
        let task = FeedTask::new(feed, Arc::clone(&connector), seed, to.clone());
        tasks.spawn(task.run(stop.clone()));
    }
    Ok(tasks)
}

/// Connects to each feed once, and lets go of it when the answer is that of a feed.
pub async fn try_once(settings: &SourceSettings) -> Result<(), Loss> {
    let loss = |kind, message| Loss {
        was_connected: false,
        kind,
        message,
    };
    let connector = Connector::new(settings.clone())
        .map_err(|error| loss(LossKind::Unreachable, wording::chain(&error)))?;
    for feed in 0..settings.feeds.len() {
        let attempt = connector.connect(feed, "").await;
        attempt
            .answer
            .map_err(|failure| loss(failure.kind, failure.message))?;
    }
    Ok(())
}

/// Ends when it is time to stop, or nobody is left to say so.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
