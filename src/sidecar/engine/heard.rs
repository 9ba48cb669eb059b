//! What the main loop hears: news of the feeds, and answers of the server.

use tokio::sync::mpsc;

use super::{Engine, FeedState};
use crate::limits::{FEED_PIECES_MAX, HEARD_BYTES_MAX};
use crate::net::clock::now;
use crate::run::outputs::{GapCause, Wish};
use crate::run::table::NoAnswer;
use crate::source::ask::{Answer, Reply};
use crate::source::{FeedNews, FromFeed, Loss, LossKind, Resume};
use crate::wire::event::RunRef;
use crate::wire::time::Time;

impl Engine {
    /// What the server answered.
    pub(super) fn learn(&mut self, Answer { wish, reply }: Answer) {
        let now = now();
        let core = &mut self.parts.core;
        // A token that is refused, or an answer that is none, says nothing of the run.
        let why = match reply {
            Reply::Gone => NoAnswer::ForGood,
            _ => NoAnswer::NotNow,
        };
        match (&wish, reply) {
            (Wish::ReadLog { after, .. }, Reply::LogPage(page)) => {
                core.handle_log_page(&run_of(&wish), *after, &page, now);
            }
            (Wish::ReadLog { .. }, _) => core.handle_log_refused(&run_of(&wish), why, now),
            (Wish::AskRow { .. }, Reply::Row(row)) => {
                core.handle_row(&run_of(&wish), Some(&row), now);
            }
            (Wish::AskRow { .. }, Reply::Gone) => {
                core.handle_row(&run_of(&wish), None, now);
            }
            // It is over when it has been waited for long enough.
            (Wish::AskRow { .. }, _) => {}
            (Wish::AskFacts { .. }, Reply::Facts { row, tasks }) => {
                core.handle_facts(&run_of(&wish), row.as_deref(), tasks.as_deref(), now);
            }
            (Wish::AskFacts { .. }, _) => core.handle_facts(&run_of(&wish), None, None, now),
            (Wish::ListRuns { .. }, Reply::Runs(rows)) => {
                core.handle_rows(&wish, Some(&rows), now);
            }
            (Wish::ListRuns { .. }, _) => core.handle_rows(&wish, None, now),
        }
    }

    /// Hears what waits, up to a bound: a server sends many small pieces, and what
    /// is to be done after them, with a sync of the disk, is done once for all.
    pub(super) fn hear_all(&mut self, first: FromFeed, feeds: &mut mpsc::Receiver<FromFeed>) {
        let mut bytes = first.news.size();
        self.hear(first);
        for _ in 1..FEED_PIECES_MAX {
            if bytes >= HEARD_BYTES_MAX {
                return;
            }
            let Ok(next) = feeds.try_recv() else { return };
            bytes += next.news.size();
            self.hear(next);
        }
    }

    fn hear(&mut self, FromFeed { feed, news }: FromFeed) {
        let now = now();
        match news {
            FeedNews::Bytes(bytes) => self.parts.core.handle_bytes(feed, &bytes, Some(now)),
            FeedNews::Resume(reply) => {
                let resume = Resume {
                    cursor: self.parts.core.last_event_id(feed).to_owned(),
                    retry: self.parts.core.retry(feed),
                };
                // A feed that was stopped meanwhile does not listen.
                let _ = reply.send(resume);
            }
            FeedNews::Connected => self.connected(feed, now),
            FeedNews::Lost(loss) => self.lost(feed, &loss, now),
        }
    }

    fn connected(&mut self, feed: usize, now: Time) {
        let Some(state) = self.feeds.get_mut(feed) else {
            return;
        };
        if state.seen {
            self.parts.metrics.source_reconnected(now);
            self.parts.core.handle_reconnect(feed, Some(now));
        } else {
            self.parts.core.handle_connect(feed, Some(now));
        }
        *state = FeedState {
            connected: true,
            seen: true,
            refused: false,
        };
        self.tell_feeds(now);
    }

    fn lost(&mut self, feed: usize, loss: &Loss, now: Time) {
        let Some(state) = self.feeds.get_mut(feed) else {
            return;
        };
        state.connected = false;
        state.refused = matches!(loss.kind, LossKind::Refused(_) | LossKind::Token);
        if loss.was_connected {
            self.parts.core.handle_end_of_input(feed, Some(now));
            self.parts.core.handle_gap(feed, GapCause::Disconnect, now);
        }
        self.tell_feeds(now);
    }

    fn tell_feeds(&mut self, now: Time) {
        let connected = self.feeds.iter().all(|feed| feed.connected);
        let refused = self.feeds.iter().any(|feed| feed.refused);
        self.parts.metrics.set_source_connected(connected, now);
        self.parts
            .metrics
            .set_source_paused("refused", refused, now);
    }
}

/// The run that a wish is about.
fn run_of(wish: &Wish) -> RunRef<'_> {
    let (project, id) = match wish {
        Wish::ReadLog {
            project, run_id, ..
        }
        | Wish::AskRow { project, run_id }
        | Wish::AskFacts { project, run_id } => (*project, Some(run_id.as_ref().into())),
        Wish::ListRuns { project, .. } => (Some(*project), None),
    };
    RunRef {
        project,
        id,
        ..RunRef::default()
    }
}
