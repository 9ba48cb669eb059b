//! What the server answered, when it was asked what the core wished to know.

use super::entry::{Head, Step};
use super::safe::make_safe;
use super::{Core, is_away};
use crate::run::finished::RunFacts;
use crate::run::outputs::Wish;
use crate::run::table::NoAnswer;
use crate::wire::event::{Event, RunRef};
use crate::wire::item::{Item, LogPage};
use crate::wire::rejection::Rejection;
use crate::wire::rows::{RowOfRun, RowsPage};
use crate::wire::time::Time;

impl Core {
    /// Takes a page of the server's log of a run, as it was asked for by
    /// [`Wish::ReadLog`]. One that nobody waits for any longer is ignored.
    pub fn handle_log_page(&mut self, run: &RunRef<'_>, after: u64, page: &[u8], now: Time) {
        if !self.runs.expects_page(run, after) {
            return;
        }
        // One entry for all of it: half a page would be read twice after a crash.
        self.begin(&Head::Logged {
            run: run.clone(),
            after,
            now,
        });
        let Self {
            dialect,
            runs,
            digest,
            recorder,
            ..
        } = self;
        let read = dialect.read_log(run, page, &mut |item| match item {
            Item::Event {
                type_index,
                mut event,
            } => {
                make_safe(&mut event, digest.policy());
                recorder.step(&Step::Event {
                    type_index: type_index as u16,
                    event: &event,
                });
                runs.handle_logged_event(event);
            }
            Item::Rejected(rejection) => {
                recorder.step(&Step::<Event<'_>>::Rejected(rejection));
                digest.reject(rejection);
            }
            Item::Other { .. } | Item::Lost { .. } => {}
        });
        match read {
            Ok(page) => {
                self.recorder.step(&Step::<Event<'_>>::Page(page));
                self.take_page(run, page, now);
            }
            Err(rejection) => {
                self.recorder.step(&Step::<Event<'_>>::Rejected(rejection));
                self.digest.reject(rejection);
                self.recorder.step(&Step::<Event<'_>>::BadPage);
                self.take_bad_page(run, now);
            }
        }
        self.settle(Some(now));
    }

    /// The server does not give a run's log.
    pub fn handle_log_refused(&mut self, run: &RunRef<'_>, why: NoAnswer, now: Time) {
        self.begin(&Head::LogRefused {
            run: run.clone(),
            why,
            now,
        });
        (self.runs).handle_log_refused(run, why, now, &mut self.outputs);
        self.settle(Some(now));
    }

    /// No answer will come any more: runs that have ended wait for none.
    pub fn handle_no_more_answers(&mut self, now: Time) {
        self.begin(&Head::NoMoreAnswers { now });
        self.runs.handle_no_more_answers(&mut self.outputs);
        self.settle(Some(now));
    }

    /// What the server says of a run, as it was asked for by [`Wish::AskRow`]:
    /// nothing, when it does not know the run or may not tell.
    pub fn handle_row(&mut self, run: &RunRef<'_>, row: Option<&[u8]>, now: Time) {
        let row = row.map(|row| self.dialect.read_row(row));
        match row.transpose() {
            Ok(row) => self.take_row(run, row.map(without_message), now),
            // It is asked once more when the time has come.
            Err(rejection) => self.reject_answer(rejection, now),
        }
    }

    /// What else the server knows of a run that has ended, as it was asked for by
    /// [`Wish::AskFacts`]: its row, and the rows of its tasks, where it tells.
    pub fn handle_facts(
        &mut self,
        run: &RunRef<'_>,
        row: Option<&[u8]>,
        tasks: Option<&[u8]>,
        now: Time,
    ) {
        let row =
            row.and_then(|row| self.read_answer(row, now, |core, row| core.dialect.read_row(row)));
        let tasks = tasks.and_then(|tasks| {
            self.read_answer(tasks, now, |core, tasks| core.dialect.read_tasks(tasks))
        });
        let facts = (row.is_some() || tasks.is_some()).then(|| RunFacts {
            row: row.map(without_message),
            tasks: tasks.unwrap_or_default(),
        });
        self.take_facts(run, facts, now);
    }

    /// A page of a list of runs, as it was asked for by [`Wish::ListRuns`], when
    /// there is one to be had.
    pub fn handle_rows(&mut self, wish: &Wish, rows: Option<&[u8]>, now: Time) {
        let rows = rows.and_then(|rows| {
            self.read_answer(rows, now, |core, rows| core.dialect.read_rows(rows))
        });
        let page = rows.map(|rows| self.page_of(rows));
        self.take_rows(wish, page, now);
    }

    /// Takes a run that is over, by its row: it is read from its log, as one that
    /// was missed.
    pub fn handle_past_run(&mut self, row: RowOfRun, now: Time) {
        let listed = Wish::ListRuns {
            project: row.project.unwrap_or_default(),
            since: None,
            status: None,
            offset: 0,
        };
        let page = self.page_of(vec![row]);
        self.take_rows(&listed, Some(page), now);
    }

    /// What is kept of a page: who is wanted is decided once, whatever is
    /// configured when this is told again.
    fn page_of(&self, rows: Vec<RowOfRun>) -> RowsPage {
        let listed = rows.len() as u32;
        let rows = rows.into_iter();
        let wanted = rows.filter(|row| self.selection.has_workflow(&row.workflow));
        RowsPage {
            rows: wanted.map(without_message).collect(),
            listed,
        }
    }

    /// Reads an answer, if it can be read.
    fn read_answer<T>(
        &mut self,
        answer: &[u8],
        now: Time,
        read: impl FnOnce(&Self, &[u8]) -> Result<T, Rejection>,
    ) -> Option<T> {
        match read(self, answer) {
            Ok(read) => Some(read),
            Err(rejection) => {
                self.reject_answer(rejection, now);
                None
            }
        }
    }

    /// An answer is not taken.
    pub(super) fn reject_answer(&mut self, rejection: Rejection, now: Time) {
        self.begin(&Head::Unreadable { rejection, now });
        self.digest.reject(rejection);
        self.settle(Some(now));
    }

    pub(super) fn take_page(&mut self, run: &RunRef<'_>, page: LogPage, now: Time) {
        (self.runs).handle_log_page(run, page, now, &mut self.outputs);
    }

    pub(super) fn take_bad_page(&mut self, run: &RunRef<'_>, now: Time) {
        let why = NoAnswer::ForGood;
        (self.runs).handle_log_refused(run, why, now, &mut self.outputs);
    }

    pub(super) fn take_row(&mut self, run: &RunRef<'_>, row: Option<RowOfRun>, now: Time) {
        let row = row.map(Box::new);
        self.begin(&Head::Row {
            run: run.clone(),
            row: row.clone(),
            now,
        });
        let row = row.as_deref();
        self.runs.handle_row(run, row, now, &mut self.outputs);
        self.settle(Some(now));
    }

    pub(super) fn take_facts(&mut self, run: &RunRef<'_>, facts: Option<RunFacts>, now: Time) {
        self.begin(&Head::Facts {
            run: run.clone(),
            facts: facts.clone().map(Box::new),
            now,
        });
        self.runs.handle_facts(run, facts, &mut self.outputs);
        self.settle(Some(now));
    }

    pub(super) fn take_rows(&mut self, wish: &Wish, page: Option<RowsPage>, now: Time) {
        let head = Head::Rows {
            wish: wish.clone(),
            page,
            now,
        };
        self.begin(&head);
        if let Head::Rows { page, .. } = head {
            let feeds = &self.feeds;
            let is_away = |project| is_away(feeds, project);
            let (page, out) = (page.as_ref(), &mut self.outputs);
            self.runs.handle_rows(wish, page, is_away, now, out);
        }
        self.settle(Some(now));
    }
}

/// A row as it is kept: messages may hold anything, and nobody asks for this one.
fn without_message(row: RowOfRun) -> RowOfRun {
    RowOfRun { error: None, ..row }
}
