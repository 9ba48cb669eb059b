//! Asks, folds and sends, several runs at a time.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, interval};

use super::fold::{Fold, State};
use super::listing::Listing;
use super::{BackfillError, BackfillSettings, Backfilled};
use crate::export::delivery::Delivery;
use crate::limits::{BACKFILL_FOLDS_MAX, BACKFILL_RUNS_MAX};
use crate::net::clock::now;
use crate::run::outputs::Wish;
use crate::source::ask::{Answer, Asker, Reply};
use crate::wire::dialect::Dialect;
use crate::wire::rows::RowOfRun;

/// How often it is said how far it is.
const PROGRESS_WAIT: Duration = Duration::from_secs(5);

/// All that a backfill holds.
pub(super) struct Work<W> {
    settings: BackfillSettings,
    dialect: Dialect,
    wishes: mpsc::Sender<Wish>,
    answers: mpsc::Receiver<Answer>,
    delivery: Delivery,
    folds: BTreeMap<Arc<str>, Fold>,
    done: Backfilled,
    progress: Interval,
    out: W,
}

impl<W: Write> Work<W> {
    pub(super) fn start(
        mut settings: BackfillSettings,
        out: W,
        stop: watch::Receiver<bool>,
    ) -> Result<Self, BackfillError> {
        let dialect = Dialect::of(&settings.core.system, false)
            .ok_or_else(|| crate::core::UnknownSystem(settings.core.system.clone()))?;
        let delivery = Delivery::start(settings.export.clone(), &settings.core.limits)?;
        settings.core.limits.open_runs_bytes_max /= BACKFILL_FOLDS_MAX;
        let (wishes, wished) = mpsc::channel(BACKFILL_FOLDS_MAX);
        let (to, answers) = mpsc::channel(1);
        Asker::start(settings.asker.clone(), wished, to, stop)?;
        Ok(Self {
            dialect,
            wishes,
            answers,
            delivery,
            folds: BTreeMap::new(),
            done: Backfilled::default(),
            progress: interval(PROGRESS_WAIT),
            settings,
            out,
        })
    }

    /// Finds the runs of all projects.
    pub(super) async fn list(&mut self) -> Result<Vec<RowOfRun>, BackfillError> {
        let mut ended = Vec::new();
        for (project, script) in self.projects()? {
            let room = BACKFILL_RUNS_MAX - ended.len();
            let mut listing = Listing::new(project, self.settings.window, room);
            loop {
                let Some(rows) = self.page(listing.wish(), project).await? else {
                    return Ok(ended);
                };
                let is_wanted = |row: &RowOfRun| self.is_wanted(row, script.as_deref());
                if !listing.read(rows, is_wanted) {
                    break;
                }
            }
            let found = listing.found;
            if found.too_many {
                return Err(BackfillError::TooMany(BACKFILL_RUNS_MAX));
            }
            self.done.open += found.open as u64;
            ended.extend(found.ended);
        }
        self.done.found = ended.len() as u64;
        let Backfilled { found, open, .. } = self.done;
        let since = self.settings.window.since.to_rfc3339();
        self.say(format_args!(
            "{found} runs that started since {since} have ended; {open} are still open, and are left alone"
        ))?;
        Ok(ended)
    }

    /// Which runs are asked for: of these projects, and of these workflows only.
    fn projects(&self) -> Result<Vec<(i64, Option<String>)>, BackfillError> {
        let source = &self.settings.asker.source;
        let scopes = source.feeds.iter();
        scopes
            .map(|scope| Some((scope.project?, scope.script.clone())))
            .collect::<Option<_>>()
            .ok_or_else(|| BackfillError::NoProject {
                variable: source.system.to_uppercase(),
            })
    }

    fn is_wanted(&self, row: &RowOfRun, script: Option<&str>) -> bool {
        let name = row.workflow.as_str();
        script.is_none_or(|script| script == name)
            && self.settings.workflows.has_workflow(name)
            && self.settings.core.selection.has_workflow(name)
    }

    /// A page of a list; `None` when it is time to stop.
    async fn page(
        &mut self,
        wish: Wish,
        project: i64,
    ) -> Result<Option<Vec<RowOfRun>>, BackfillError> {
        let no_list = |why| BackfillError::NoList { project, why };
        let answer = match self.wishes.send(wish).await {
            Ok(()) => self.answers.recv().await,
            Err(_) => None,
        };
        let why = match answer.map(|answer| answer.reply) {
            None => {
                self.done.stopped = true;
                return Ok(None);
            }
            Some(Reply::Runs(page)) => match self.dialect.read_rows(&page) {
                Ok(rows) => return Ok(Some(rows)),
                Err(_) => "what the server answers is no list of runs",
            },
            Some(Reply::Gone) => {
                "the server has none (404); is it new enough to have one, and does the token reach that project?"
            }
            Some(Reply::Forbidden) => {
                "the server refuses the token (401 or 403); give it one that may read executions"
            }
            Some(Reply::GaveUp) => "the server cannot be asked; is it up, and the way to it open?",
            Some(_) => "what the server answers cannot be used; is the URL the one of the server?",
        };
        Err(no_list(why))
    }

    /// Reads and sends the runs.
    pub(super) async fn send(&mut self, rows: Vec<RowOfRun>) -> Result<(), BackfillError> {
        let mut rows = rows.into_iter();
        self.progress.reset();
        while !self.done.stopped {
            while self.folds.len() < BACKFILL_FOLDS_MAX
                && let Some(row) = rows.next()
            {
                self.begin(row).await?;
            }
            if self.folds.is_empty() {
                break;
            }
            tokio::select! {
                answer = self.answers.recv() => match answer {
                    Some(answer) => self.take(&answer).await?,
                    None => self.done.stopped = true,
                },
                _ = self.progress.tick() => self.say_progress()?,
            }
        }
        Ok(())
    }

    async fn begin(&mut self, row: RowOfRun) -> Result<(), BackfillError> {
        let mut fold = Fold::new(self.settings.core.clone(), row, now())?;
        let Some(Wish::ReadLog {
            project,
            run_id,
            after,
        }) = fold.poll_wish()
        else {
            self.done.failed += 1;
            return Ok(());
        };
        self.folds.insert(Arc::clone(&run_id), fold);
        self.wish(Wish::ReadLog {
            project,
            run_id,
            after,
        })
        .await;
        Ok(())
    }

    async fn wish(&mut self, wish: Wish) {
        // Who asked is gone only when it is time to stop.
        self.done.stopped |= self.wishes.send(wish).await.is_err();
    }

    async fn take(&mut self, answer: &Answer) -> Result<(), BackfillError> {
        let (Wish::ReadLog { run_id, .. }
        | Wish::AskFacts { run_id, .. }
        | Wish::AskRow { run_id, .. }) = &answer.wish
        else {
            return Ok(());
        };
        let Some(mut fold) = self.folds.remove(run_id) else {
            return Ok(());
        };
        let state = fold.take(answer, now());
        if matches!(state, State::Open | State::Done) {
            self.push(&mut fold).await?;
        }
        match state {
            State::Done => self.done.sent += 1,
            State::Gone => self.done.gone += 1,
            State::Failed => self.done.failed += 1,
            State::Open => {
                while let Some(wish) = fold.poll_wish() {
                    self.wish(wish).await;
                }
                self.folds.insert(Arc::clone(run_id), fold);
            }
        }
        Ok(())
    }

    async fn push(&mut self, fold: &mut Fold) -> Result<(), BackfillError> {
        while let Some(batch) = fold.poll_batch() {
            self.delivery.push(batch).await?;
        }
        Ok(())
    }

    /// Waits until the backend has everything, or never will.
    pub(super) async fn end(mut self) -> Result<Backfilled, BackfillError> {
        let counts = self.delivery.end().await?;
        self.done.spans = counts.spans_exported;
        self.done.spans_refused = counts.spans_refused.iter().sum();
        let done = self.done;
        writeln!(self.out, "{done}").map_err(BackfillError::Write)?;
        Ok(done)
    }

    fn say_progress(&mut self) -> Result<(), BackfillError> {
        let done = self.done;
        let (read, found, gone, failed) = (done.read(), done.found, done.gone, done.failed);
        self.say(format_args!(
            "{read} of {found} runs read; {gone} gone, {failed} failed"
        ))
    }

    fn say(&mut self, line: std::fmt::Arguments<'_>) -> Result<(), BackfillError> {
        writeln!(self.out, "{line}")
            .and_then(|()| self.out.flush())
            .map_err(BackfillError::Write)
    }
}
