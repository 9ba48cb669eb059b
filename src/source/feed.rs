//! The task of one feed: asks where to go on from, waits, connects, hands on,
//! says what it lost, and begins again.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::answer::Failure;
use super::connect::Connector;
use super::patience::{Ended, Patience, Wait};
use super::report::Reporter;
use super::{FeedNews, FromFeed, Loss, LossKind, Resume, stopped, wording};
use crate::limits::FEED_PIECE_BYTES_MAX;
use crate::net::secret::Secret;

/// How often a token file is looked at while its token is refused.
const TOKEN_CHECK_WAIT: Duration = Duration::from_secs(3);

/// Nobody takes the news any longer.
struct Gone;

/// What reads one feed.
pub(super) struct FeedTask {
    feed: usize,
    connector: Arc<Connector>,
    patience: Patience,
    reporter: Reporter,
    to: mpsc::Sender<FromFeed>,
}

/// A connection that is over, or an attempt at one.
struct Past {
    failure: Failure,
    lived: Duration,
    bytes: u64,
    /// Where it went on from.
    cursor: String,
    token: Option<Secret>,
}

impl FeedTask {
    pub(super) fn new(
        feed: usize,
        connector: Arc<Connector>,
        seed: u64,
        to: mpsc::Sender<FromFeed>,
    ) -> Self {
        // Feeds of one source do not come back all at once.
        let seed = seed.wrapping_add(feed as u64);
        Self {
            feed,
            patience: Patience::new(&connector.settings, seed),
            reporter: Reporter::default(),
            connector,
            to,
        }
    }

    /// Reads until it is time to stop, or nobody takes any longer.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            biased;
            () = stopped(&mut stop) => {}
            Err(Gone) = self.keep_up() => {}
        }
    }

    async fn keep_up(&mut self) -> Result<Infallible, Gone> {
        let mut past = None;
        loop {
            let resume = self.ask_resume().await?;
            if let Some(past) = past.take() {
                self.wait(past, &resume).await;
            }
            past = Some(self.connection(resume.cursor).await?);
        }
    }

    async fn ask_resume(&self) -> Result<Resume, Gone> {
        let (answer, asked) = oneshot::channel();
        self.say(FeedNews::Resume(answer)).await?;
        asked.await.map_err(|_| Gone)
    }

    async fn wait(&mut self, past: Past, resume: &Resume) {
        let Wait { time, for_token } = self.patience.after(&Ended {
            kind: past.failure.kind,
            lived: past.lived,
            bytes: past.bytes,
            cursor_moved: past.cursor != resume.cursor,
            asked: past.failure.retry_after.max(resume.retry),
        });
        tracing::debug!(feed = self.feed, wait = ?time, "waiting before the next connection");
        if !for_token || !self.connector.server.token_may_change() {
            return sleep(time).await;
        }
        let end = sleep(time);
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return,
                () = sleep(TOKEN_CHECK_WAIT) => {
                    let server = &self.connector.server;
                    if server.has_other_token(past.token.as_ref()).await {
                        return;
                    }
                }
            }
        }
    }

    /// One connection, from the attempt to the loss.
    async fn connection(&mut self, cursor: String) -> Result<Past, Gone> {
        let span = self.own_span(&cursor);
        let attempt = self.connector.connect(self.feed, &cursor);
        let attempt = attempt.instrument(span.clone()).await;
        match &attempt.answer {
            Ok(_) => span.record("result", "connected"),
            Err(failure) => span
                .record("result", failure.kind.as_str())
                .record("otel.status_code", "ERROR"),
        };
        drop(span);
        let mut past = Past {
            failure: Failure::new(LossKind::Ended, String::new()),
            lived: Duration::ZERO,
            bytes: 0,
            cursor,
            token: attempt.token,
        };
        let was_connected = attempt.answer.is_ok();
        match attempt.answer {
            Ok(response) => self.read(response, &mut past).await?,
            Err(failure) => past.failure = failure,
        }
        let loss = Loss {
            was_connected,
            kind: past.failure.kind,
            message: past.failure.message.clone(),
        };
        self.tell_loss(&loss);
        self.say(FeedNews::Lost(loss)).await?;
        Ok(past)
    }

    async fn read(&mut self, mut response: Response, past: &mut Past) -> Result<(), Gone> {
        self.tell_connected(&past.cursor);
        self.say(FeedNews::Connected).await?;
        let begin = Instant::now();
        let read_time_max = self.connector.settings.read_time_max;
        past.failure = loop {
            // The time that others take to take what was read does not count.
            match timeout(read_time_max, response.chunk()).await {
                Ok(Ok(Some(chunk))) => {
                    past.bytes += chunk.len() as u64;
                    for piece in pieces(chunk) {
                        self.say(FeedNews::Bytes(piece)).await?;
                    }
                }
                Ok(Ok(None)) => break Failure::new(LossKind::Ended, wording::ended()),
                Ok(Err(error)) => {
                    let asked = self.connector.asked(self.feed, past.token.as_ref());
                    break Failure::new(LossKind::Ended, asked.broken(&error));
                }
                Err(_) => break Failure::new(LossKind::Silent, wording::silent(read_time_max)),
            }
        };
        past.lived = begin.elapsed();
        Ok(())
    }

    async fn say(&self, news: FeedNews) -> Result<(), Gone> {
        let feed = self.feed;
        let said = self.to.send(FromFeed { feed, news }).await;
        said.map_err(|_| Gone)
    }

    /// An attempt in our own traces.
    fn own_span(&self, cursor: &str) -> Span {
        tracing::info_span!(
            parent: None,
            "connect to the event feed",
            otel.kind = "client",
            otel.status_code = Empty,
            source = self.connector.settings.name,
            project = self.connector.scope(self.feed).project,
            resumed = !cursor.is_empty(),
            result = Empty,
        )
    }

    fn tell_connected(&mut self, cursor: &str) {
        let scope = self.connector.scope(self.feed);
        let (source, project) = (&self.connector.settings.name, scope.project);
        let (script, resumed) = (scope.script.as_deref(), !cursor.is_empty());
        if self.reporter.connected() {
            tracing::info!(
                source,
                project,
                script,
                resumed,
                "connected to the event feed"
            );
        } else {
            tracing::debug!(
                source,
                project,
                script,
                resumed,
                "connected to the event feed"
            );
        }
    }

    fn tell_loss(&mut self, loss: &Loss) {
        let scope = self.connector.scope(self.feed);
        let (source, project) = (&self.connector.settings.name, scope.project);
        let (script, message) = (scope.script.as_deref(), &loss.message);
        match self.reporter.loss(loss.kind, Instant::now()) {
            Some(times) => {
                tracing::warn!(source, project, script, times, "no event feed: {message}");
            }
            None => tracing::debug!(source, project, script, "no event feed: {message}"),
        }
    }
}

/// A chunk in pieces that the channel's bound can count on. They share its memory.
fn pieces(mut chunk: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let piece = chunk.split_to(chunk.len().min(FEED_PIECE_BYTES_MAX));
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::secret::TokenSource;
    use crate::source::testkit::settings;

    const REFUSED_WAIT: Duration = Duration::from_secs(3_600);

    fn task(token: Option<TokenSource>) -> FeedTask {
        let mut settings = settings(token);
        settings.refused_wait = REFUSED_WAIT;
        settings.backoff.most = REFUSED_WAIT;
        // Nobody listens: a wait says nothing.
        let (to, _) = mpsc::channel(1);
        FeedTask::new(0, Arc::new(Connector::new(settings).unwrap()), 1, to)
    }

    fn past(kind: LossKind) -> Past {
        Past {
            failure: Failure::new(kind, String::new()),
            lived: Duration::ZERO,
            bytes: 0,
            cursor: String::new(),
            token: None,
        }
    }

    /// How long is waited after this. No time goes by: the clock is advanced.
    async fn waited(task: &mut FeedTask, past: Past, cursor: &str) -> Duration {
        let begin = Instant::now();
        let resume = Resume {
            cursor: cursor.to_owned(),
            retry: None,
        };
        task.wait(past, &resume).await;
        begin.elapsed()
    }

    /// The same, with this token sent, when now there is another one or the same.
    async fn waited_with_token(kind: LossKind, sent: Option<&str>, now: &str) -> Duration {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, now).unwrap();
        let mut past = past(kind);
        past.token = sent.map(Secret::new);
        waited(&mut task(Some(TokenSource::File(path))), past, "").await
    }

    #[tokio::test(start_paused = true)]
    async fn another_token_ends_the_wait_after_a_refusal_and_the_same_does_not() {
        let refused = LossKind::Refused(401);
        let soon = 2 * TOKEN_CHECK_WAIT;
        assert!(waited_with_token(refused, Some("old"), "new").await <= soon);
        assert!(waited_with_token(LossKind::Token, None, "new").await <= soon);
        assert!(waited_with_token(refused, Some("old"), "old\n").await >= REFUSED_WAIT);
        assert!(waited_with_token(LossKind::Token, None, "").await >= REFUSED_WAIT);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_connection_gave_makes_the_next_wait_short() {
        let nothing = || past(LossKind::Ended);
        let long = Past {
            lived: Duration::from_secs(60),
            ..nothing()
        };
        let rich = Past {
            bytes: 10_000,
            ..nothing()
        };
        for (good, cursor) in [(nothing(), "a new cursor"), (long, ""), (rich, "")] {
            let mut task = task(None);
            let mut longest = Duration::ZERO;
            for _ in 0..12 {
                let waited = waited(&mut task, nothing(), "").await;
                longest = longest.max(waited);
            }
            assert!(longest > Duration::from_secs(60), "{longest:?}");
            let waited = waited(&mut task, good, cursor).await;
            assert!(waited <= Duration::from_millis(1_001), "{waited:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_what_the_answer_and_the_feed_ask_for_the_longer_is_waited() {
        for (answer, feed) in [(20, 40), (40, 20)] {
            let mut past = past(LossKind::Busy(503));
            past.failure.retry_after = Some(Duration::from_secs(answer));
            let resume = Resume {
                cursor: String::new(),
                retry: Some(Duration::from_secs(feed)),
            };
            let begin = Instant::now();
            task(None).wait(past, &resume).await;
            let waited = begin.elapsed().as_secs();
            assert!((40..=41).contains(&waited), "{waited}");
        }
    }

    #[test]
    fn a_chunk_goes_on_in_pieces_without_a_copy() {
        let chunk = Bytes::from(vec![7; 2 * FEED_PIECE_BYTES_MAX + 1]);
        let begin = chunk.as_ptr();
        let pieces: Vec<Bytes> = pieces(chunk).collect();
        let sizes: Vec<usize> = pieces.iter().map(Bytes::len).collect();
        assert_eq!(sizes, [FEED_PIECE_BYTES_MAX, FEED_PIECE_BYTES_MAX, 1]);
        assert_eq!(pieces[0].as_ptr(), begin);
    }
}
