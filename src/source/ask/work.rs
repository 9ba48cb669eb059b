//! The task that asks: takes wishes, begins requests when it may, and hands on
//! what comes of them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::call::{Caller, Got};
use super::pace::{ASKED_WAIT_MAX, Pace};
use super::queue::{Ask, Queue, Row};
use super::said::{Said, Trouble, With};
use super::{Answer, AskerSettings, Reply};
use crate::limits::ROWS_MAX;
use crate::net::backoff::Backoff;
use crate::run::outputs::Wish;
use crate::source::{SourceError, stopped, wording};
use crate::wire::rows::RunsAsked;

/// A page that was too large is asked for again with so many times fewer events.
const PAGE_SHRINKS: usize = 8;

/// All that the task holds.
pub(super) struct Work {
    settings: AskerSettings,
    caller: Arc<Caller>,
    wishes: mpsc::Receiver<Wish>,
    /// There will be no more wishes.
    is_last: bool,
    answers: mpsc::Sender<Answer>,
    /// Answers that wait to be taken.
    ready: VecDeque<Answer>,
    queue: Queue,
    in_flight: JoinSet<(Ask, Size, Got)>,
    pace: Pace,
    said: Said,
    /// Events of the next page.
    page: Size,
    random: fastrand::Rng,
}

/// Events of a page that was asked for.
type Size = usize;

impl Work {
    pub(super) fn new(
        settings: AskerSettings,
        wishes: mpsc::Receiver<Wish>,
        answers: mpsc::Sender<Answer>,
    ) -> Result<Self, SourceError> {
        let backoff = settings.source.backoff;
        let now = Instant::now();
        Ok(Self {
            caller: Arc::new(Caller::new(&settings)?),
            pace: Pace::new(settings.per_second_max, backoff, settings.seed, now),
            random: fastrand::Rng::with_seed(settings.seed),
            page: settings.log_page_events_max,
            settings,
            wishes,
            is_last: false,
            answers,
            ready: VecDeque::new(),
            queue: Queue::default(),
            in_flight: JoinSet::new(),
            said: Said::default(),
        })
    }

    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            biased;
            () = stopped(&mut stop) => {}
            () = self.work() => {}
        }
    }

    async fn work(&mut self) {
        let answers = self.answers.clone();
        loop {
            let now = Instant::now();
            self.give_up_late(now);
            self.begin(now);
            let is_idle = self.in_flight.is_empty() && self.ready.is_empty();
            if self.is_last && is_idle && self.queue.len() == 0 {
                return;
            }
            let wake = self.wake(now);
            tokio::select! {
                permit = answers.reserve(), if !self.ready.is_empty() => {
                    let Ok(permit) = permit else { return };
                    if let Some(answer) = self.ready.pop_front() {
                        permit.send(answer);
                    }
                }
                Some(done) = self.in_flight.join_next() => {
                    // A panic in it would be a fault of ours, and lose one answer.
                    if let Ok((ask, page, got)) = done {
                        self.take(ask, page, got);
                    }
                }
                wish = self.wishes.recv(), if self.has_room() => match wish {
                    Some(wish) => self.add(wish),
                    None => self.is_last = true,
                },
                () = until(wake) => {}
                () = answers.closed() => return,
            }
        }
    }

    fn has_room(&self) -> bool {
        !self.is_last && self.queue.len() < self.settings.wishes_max
    }

    fn add(&mut self, wish: Wish) {
        let time_max = match wish {
            Wish::AskFacts { .. } => self.settings.facts_time_max,
            _ => self.settings.wish_time_max,
        };
        self.queue.add(Ask::new(wish, Instant::now() + time_max));
    }

    /// Answers that nobody takes hold up what would give more of them.
    fn may_begin(&self) -> bool {
        self.in_flight.len() + self.ready.len() < self.settings.in_flight_max.max(1)
    }

    /// When something is to be done, if nothing comes.
    fn wake(&self, now: Instant) -> Option<Instant> {
        let begin = if self.may_begin() {
            let wait = self.queue.wait(now);
            wait.map(|wait| (now + wait).max(self.pace.free_at()))
        } else {
            None
        };
        begin.into_iter().chain(self.queue.next_deadline()).min()
    }

    fn begin(&mut self, now: Instant) {
        while self.may_begin() && self.pace.free_at() <= now {
            let Some(ask) = self.queue.pop(now) else {
                return;
            };
            self.pace.began(now);
            let page = self.page;
            let target = self.target(&ask, page);
            let left = ask.deadline.saturating_duration_since(now);
            let within = left.min(self.settings.answer_time_max);
            let caller = Arc::clone(&self.caller);
            self.in_flight.spawn(async move {
                let got = caller.call(&target, project(&ask.wish), within).await;
                (ask, page, got)
            });
        }
    }

    fn target(&self, ask: &Ask, page: Size) -> String {
        let dialect = &self.caller.server.dialect;
        match &ask.wish {
            Wish::ReadLog { run_id, after, .. } => dialect.log_target(run_id, *after, page),
            Wish::AskFacts { run_id, .. } if ask.row.is_some() => dialect.tasks_target(run_id),
            Wish::AskRow { run_id, .. } | Wish::AskFacts { run_id, .. } => {
                dialect.row_target(run_id)
            }
            Wish::ListRuns {
                project,
                since,
                status,
                offset,
            } => dialect.runs_target(&RunsAsked {
                project: *project,
                since: *since,
                status: *status,
                limit: ROWS_MAX,
                offset: *offset,
            }),
        }
    }

    fn take(&mut self, ask: Ask, page: Size, got: Got) {
        let now = Instant::now();
        self.tell(&ask.wish, &got);
        match got {
            Got::Away(_, asked) => {
                self.pace.rest(asked, now);
                return self.queue.put_back(ask);
            }
            // Its turn comes again, if it can be before it is too late.
            Got::Failed(asked) => return self.put_off(ask, asked, now),
            _ => self.pace.worked(),
        }
        match &ask.wish {
            Wish::AskFacts { .. } => self.take_fact(ask, got),
            Wish::ReadLog { .. } => self.take_page(ask, page, got),
            Wish::AskRow { .. } => self.reply(ask.wish, reply(got, Reply::Row)),
            Wish::ListRuns { .. } => self.reply(ask.wish, reply(got, Reply::Runs)),
        }
    }

    fn put_off(&mut self, mut ask: Ask, asked: Option<Duration>, now: Instant) {
        let settings = self.settings.source.backoff;
        let seed = self.random.u64(..);
        let backoff = ask
            .backoff
            .get_or_insert_with(|| Backoff::new(settings, seed));
        let until = now + backoff.next(asked, ASKED_WAIT_MAX);
        if until >= ask.deadline {
            return self.give_up(ask);
        }
        self.queue.put_off(ask, until);
    }

    /// It is too late: what was found so far is told.
    fn give_up(&mut self, ask: Ask) {
        let found = ask.row.and_then(|row| facts(row, None));
        self.reply(ask.wish, found.unwrap_or(Reply::GaveUp));
    }

    /// Facts are told as far as they can be had; without the run there are none.
    fn take_fact(&mut self, mut ask: Ask, got: Got) {
        match ask.row.take() {
            None if matches!(got, Got::Gone | Got::Forbidden(_)) => {
                self.reply(ask.wish, reply(got, Reply::Row));
            }
            None => {
                ask.row = Some(Row(body(got)));
                self.queue.put_back(ask);
            }
            Some(row) => {
                let facts = facts(row, body(got)).unwrap_or(Reply::Unusable);
                self.reply(ask.wish, facts);
            }
        }
    }

    /// A page that is too large is asked for in smaller pieces, and so are those
    /// after it, until they fit well again.
    fn take_page(&mut self, ask: Ask, page: Size, got: Got) {
        match &got {
            Got::TooLarge if page > 1 => {
                self.page = self.page.min((page / PAGE_SHRINKS).max(1));
                return self.queue.put_back(ask);
            }
            Got::Answer(body) if body.len() < self.settings.answer_bytes_max / PAGE_SHRINKS => {
                let larger = self.page.max(page.saturating_mul(2));
                self.page = larger.min(self.settings.log_page_events_max);
            }
            _ => {}
        }
        self.reply(ask.wish, reply(got, Reply::LogPage));
    }

    fn give_up_late(&mut self, now: Instant) {
        while let Some(ask) = self.queue.pop_expired(now) {
            self.give_up(ask);
        }
    }

    fn reply(&mut self, wish: Wish, reply: Reply) {
        self.ready.push_back(Answer { wish, reply });
    }

    /// Says what is wrong with the server, when that is news.
    fn tell(&mut self, wish: &Wish, got: &Got) {
        let with = match wish {
            Wish::ListRuns { project, .. } => With::Lists(Some(*project)),
            _ => With::Runs(project(wish)),
        };
        let source = &self.settings.source.name;
        let said = &mut self.said;
        let mut warn = |with, trouble, message: &str| {
            if said.trouble(with, trouble) {
                tracing::warn!(
                    source,
                    "what the feed misses cannot be asked for: {message}"
                );
            }
        };
        match (got, wish) {
            (Got::Away(complaint, _), _) => {
                // It comes and goes: once is enough.
                let with = match complaint.trouble {
                    Trouble::Busy => With::Busy,
                    _ => With::Server,
                };
                return warn(with, complaint.trouble, &complaint.message);
            }
            (Got::Failed(_), _) => return,
            (Got::Forbidden(complaint) | Got::Unusable(complaint), _) => {
                warn(with, complaint.trouble, &complaint.message);
            }
            (Got::Gone, Wish::ListRuns { project, .. }) => {
                warn(with, Trouble::Refused(404), &wording::no_list(*project));
            }
            (Got::Answer(_) | Got::Gone | Got::TooLarge, _) => {}
        }
        let works = matches!(got, Got::Answer(_)) && said.fine(with);
        if said.fine(With::Server) || works {
            tracing::info!(source, "what the feed misses can be asked for again");
        }
    }
}

const fn project(wish: &Wish) -> Option<i64> {
    match wish {
        Wish::ReadLog { project, .. }
        | Wish::AskRow { project, .. }
        | Wish::AskFacts { project, .. } => *project,
        Wish::ListRuns { project, .. } => Some(*project),
    }
}

/// What is told of what came.
fn reply(got: Got, answer: impl FnOnce(Bytes) -> Reply) -> Reply {
    match got {
        Got::Answer(body) => answer(body),
        Got::Gone => Reply::Gone,
        Got::Forbidden(_) => Reply::Forbidden,
        Got::TooLarge | Got::Unusable(_) => Reply::Unusable,
        Got::Failed(_) | Got::Away(..) => Reply::GaveUp,
    }
}

fn body(got: Got) -> Option<Bytes> {
    match got {
        Got::Answer(body) => Some(body),
        _ => None,
    }
}

fn facts(Row(row): Row, tasks: Option<Bytes>) -> Option<Reply> {
    (row.is_some() || tasks.is_some()).then_some(Reply::Facts { row, tasks })
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(wake) => sleep_until(wake).await,
        None => std::future::pending().await,
    }
}
