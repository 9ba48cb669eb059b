//! Asks the server for what the core wishes to know: pages of logs, rows, lists.
//!
//! In come wishes, out comes one answer to each, as the bytes that the server
//! gave: what they mean is the core's business. Few are asked at once, and not
//! many a second; a server that wants to be left alone is. Nothing here stands
//! in the way of the feeds, which have connections of their own.
//!
//! - `queue`: who is next (pure)
//! - `pace`: when that may be (pure)
//! - `call`: one request, from the address to the last byte of the answer
//! - `work`: the task that puts them together
//! - `said`: how loud trouble is told (pure)

mod call;
mod pace;
mod queue;
mod said;
mod work;

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use self::work::Work;
use super::{SourceError, SourceSettings};
use crate::limits::{ANSWER_TIME_MAX, LOG_PAGE_EVENTS_MAX, Limits, WISHES_MAX};
use crate::run::outputs::Wish;

/// Whom to ask, and how hard.
#[derive(Debug, Clone)]
pub struct AskerSettings {
    /// The server, and what to present to it. Its feeds are not looked at.
    pub source: SourceSettings,
    /// What the waits are spread by.
    pub seed: u64,
    /// Requests at once.
    pub in_flight_max: usize,
    /// Requests that begin within a second. Further ones wait.
    pub per_second_max: u32,
    /// One answer. Reading stops here; a page of a log is asked for again with
    /// fewer events.
    pub answer_bytes_max: usize,
    /// How long one answer may take, its body included. Then it has failed.
    pub answer_time_max: Duration,
    /// Events of a page of a log, where they fit.
    pub log_page_events_max: usize,
    /// How long a wish is tried for; then it is given up.
    pub wish_time_max: Duration,
    /// The same for the facts of a run that ended, which others wait for.
    pub facts_time_max: Duration,
    /// Wishes that wait here. Beyond it they wait in their channel.
    pub wishes_max: usize,
}

impl AskerSettings {
    /// The bounds of the program, for this server.
    pub const fn new(source: SourceSettings, limits: &Limits, seed: u64) -> Self {
        Self {
            source,
            seed,
            in_flight_max: limits.asks_in_flight_max,
            per_second_max: limits.asks_per_second_max as u32,
            answer_bytes_max: limits.answer_bytes_max,
            answer_time_max: ANSWER_TIME_MAX,
            log_page_events_max: LOG_PAGE_EVENTS_MAX,
            wish_time_max: limits.repair_wait_max,
            facts_time_max: limits.enrich_wait_max,
            wishes_max: WISHES_MAX,
        }
    }

    /// What answers may hold at worst, beside those in the channel: one each
    /// that is being read or waits to be taken, and of facts the first half.
    pub const fn bytes_max(&self) -> usize {
        2 * self.in_flight_max * self.answer_bytes_max
    }
}

/// What became of a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The wish.
    pub wish: Wish,
    /// What became of it.
    pub reply: Reply,
}

/// What a server answers. Bytes are JSON to look at, no more is known of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A page of a log.
    LogPage(Bytes),
    /// A row.
    Row(Bytes),
    /// What is known of a run that ended, as far as the server would tell: one
    /// of them at least.
    Facts {
        /// Its row.
        row: Option<Bytes>,
        /// What its tasks cost.
        tasks: Option<Bytes>,
    },
    /// A page of a list of runs.
    Runs(Bytes),
    /// There is no such run, or none that the token may see (404). For a list:
    /// no such project, or the server has no such call.
    Gone,
    /// The token may not ask that (401, 403).
    Forbidden,
    /// The answer is too large, or none.
    Unusable,
    /// There was no answer for too long.
    GaveUp,
}

/// What asks a server.
#[derive(Debug, Clone, Copy)]
pub struct Asker;

impl Asker {
    /// Begins to ask. Each wish gets one answer; those that wait when `stop` says
    /// so get none. Ends then, or when nobody takes the answers any longer, or
    /// when there will be no more wishes and all have their answers. To be called
    /// within a runtime.
    pub fn start(
        settings: AskerSettings,
        wishes: mpsc::Receiver<Wish>,
        answers: mpsc::Sender<Answer>,
        stop: watch::Receiver<bool>,
    ) -> Result<JoinHandle<()>, SourceError> {
        let work = Work::new(settings, wishes, answers)?;
        Ok(tokio::spawn(work.run(stop)))
    }
}
