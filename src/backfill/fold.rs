//! One past run: its row opens it, its log fills it, and what is known of its
//! end closes it. Each run has a core of its own, so that one whose log cannot
//! be had leaves nothing behind.

use crate::core::{Core, CoreSettings, UnknownSystem};
use crate::metrics::delta::Delta;
use crate::run::outputs::{Repair, Wish};
use crate::source::ask::{Answer, Reply};
use crate::trace::batch::Batch;
use crate::wire::event::RunRef;
use crate::wire::rows::RowOfRun;
use crate::wire::time::Time;

/// A run that is being read.
#[derive(Debug)]
pub(super) struct Fold {
    core: Core,
    row: RowOfRun,
}

/// How a run that is being read is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// There is more to read.
    Open,
    /// All its spans are made.
    Done,
    /// The server does not know it any more.
    Gone,
    /// It cannot be had, or not be read.
    Failed,
}

impl Fold {
    pub(super) fn new(
        settings: CoreSettings,
        mut row: RowOfRun,
        now: Time,
    ) -> Result<Self, UnknownSystem> {
        // Its log tells when it started; here it is enough that it did.
        row.started_at = row.started_at.or(row.finished_at).or(Some(now));
        let mut core = Core::new(settings)?;
        core.handle_past_run(row.clone(), now);
        Ok(Self { core, row })
    }

    /// What it would like to know next.
    pub(super) fn poll_wish(&mut self) -> Option<Wish> {
        self.core.poll_wish()
    }

    /// The next spans that are ready.
    pub(super) fn poll_batch(&mut self) -> Option<Batch> {
        self.core.poll_batch()
    }

    /// Takes what became of a wish.
    pub(super) fn take(&mut self, answer: &Answer, now: Time) -> State {
        let run = RunRef {
            project: self.row.project,
            workflow: self.row.workflow.as_str().into(),
            id: Some(self.row.id.as_str().into()),
            epoch: None,
        };
        match (&answer.wish, &answer.reply) {
            (Wish::ReadLog { after, .. }, Reply::LogPage(page)) => {
                self.core.handle_log_page(&run, *after, page, now);
            }
            (Wish::ReadLog { .. }, Reply::Gone) => return State::Gone,
            (Wish::AskFacts { .. }, Reply::Facts { row, tasks }) => {
                let (row, tasks) = (row.as_deref(), tasks.as_deref());
                self.core.handle_facts(&run, row, tasks, now);
            }
            // Its spans are true without them.
            (Wish::AskFacts { .. }, _) => self.core.handle_facts(&run, None, None, now),
            _ => return State::Failed,
        }
        self.state()
    }

    fn state(&mut self) -> State {
        while self.core.poll_summary().is_some() {}
        let deltas = self.core.deltas();
        // What is made without a log is no trace of the run.
        let without = |delta: &Delta| matches!(delta, Delta::RunRepaired { result, .. } if *result != Repair::Repaired.as_str());
        let failed = deltas.in_order.iter().any(without);
        deltas.clear();
        if failed {
            return State::Failed;
        }
        if self.core.open_runs() > 0 {
            return State::Open;
        }
        self.core.handle_drain();
        State::Done
    }
}
