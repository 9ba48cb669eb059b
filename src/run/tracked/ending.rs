//! How a run ends: seen, unseen or given up; and what is asked and due before it
//! is sealed.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Fate, RunSettings, TrackedRun};
use crate::run::cost::RunCost;
use crate::run::finished::{FinishedRun, RunFacts, Verified};
use crate::run::outputs::{Due, GapCause, Output, Repair, Wish};
use crate::run::owed::Owed;
use crate::run::published::Unsent;
use crate::wire::event::RunOutcome;
use crate::wire::time::Time;

/// A run that has ended, and is about to be sealed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ending {
    pub(super) run: Box<FinishedRun>,
    pub(super) since: Time,
}

impl TrackedRun {
    /// What a hold leaves behind: an end that was seen, one that the run's row
    /// tells of, or a run that goes on.
    pub(super) fn conclude(
        &mut self,
        ended: Option<Box<FinishedRun>>,
        row_end: Option<(RunOutcome, Option<Time>)>,
        now: Time,
        settings: &RunSettings,
        out: &mut Vec<Output>,
    ) -> Fate {
        match (ended, row_end) {
            (Some(run), _) => self.end(run, now, settings, out),
            (None, Some((outcome, at))) => {
                self.fold.lasted(at.unwrap_or_default());
                let run = self.broken_off(outcome, settings, out);
                self.end(run, now, settings, out)
            }
            (None, None) => Fate::Open,
        }
    }

    /// Ends the run at once, without an event that says so, and without asking.
    pub(in crate::run) fn close(
        &mut self,
        mut outcome: RunOutcome,
        settings: &RunSettings,
        out: &mut Vec<Output>,
    ) {
        if let Some(hold) = self.hold.take() {
            self.doubtful = true;
            out.push(Output::Repaired(Repair::GaveUp));
            let row_end = hold.row_end;
            let (nodes, ended) = hold.give_up();
            self.give_out(nodes, settings, out);
            if let Some(run) = ended {
                return self.seal(run, settings, out);
            }
            if let Some((told, at)) = row_end {
                outcome = told;
                self.fold.lasted(at.unwrap_or_default());
            }
        }
        let run = match self.ending.take() {
            Some(ending) => ending.run,
            None => self.broken_off(outcome, settings, out),
        };
        self.seal(run, settings, out);
    }

    /// The run as it is when no event tells its end.
    pub(super) fn broken_off(
        &mut self,
        outcome: RunOutcome,
        settings: &RunSettings,
        out: &mut Vec<Output>,
    ) -> Box<FinishedRun> {
        let mut nodes = Vec::new();
        let run = self.fold.give_up(outcome, None, &mut nodes);
        self.give_out(nodes.into_iter().map(Unsent::from), settings, out);
        run
    }

    /// Holds a run at its end when its sums are not those of the server.
    pub(super) fn doubt(
        &mut self,
        run: &FinishedRun,
        now: Time,
        settings: &RunSettings,
        out: &mut Vec<Output>,
    ) {
        let doubted =
            run.verified == Verified::Mismatch && !self.repair_tried && self.hold.is_none();
        if doubted {
            self.hold(now, settings);
            if self.hold.is_some() {
                self.repair_tried = true;
                out.push(Output::Gap(GapCause::Totals));
            }
        }
    }

    /// The run's end was seen.
    pub(super) fn ended(
        &mut self,
        run: Box<FinishedRun>,
        now: Time,
        settings: &RunSettings,
        out: &mut Vec<Output>,
    ) -> Fate {
        match &mut self.hold {
            Some(hold) => {
                hold.ended(run);
                Fate::Open
            }
            None => self.end(run, now, settings, out),
        }
    }

    /// The server says that the run has ended, which nobody saw: its log may
    /// tell how.
    pub(in crate::run) fn ended_unseen(
        &mut self,
        outcome: RunOutcome,
        at: Option<Time>,
        now: Time,
        settings: &RunSettings,
        out: &mut Vec<Output>,
    ) -> Fate {
        if self.ending.is_some() {
            return Fate::Open;
        }
        if !std::mem::replace(&mut self.repair_tried, true) {
            self.hold(now, settings);
        }
        match &mut self.hold {
            Some(hold) => {
                hold.row_end = Some((outcome, at));
                Fate::Open
            }
            None => self.conclude(None, Some((outcome, at)), now, settings, out),
        }
    }

    /// The run has ended: the server may know more of it.
    pub(super) fn end(
        &mut self,
        run: Box<FinishedRun>,
        now: Time,
        settings: &RunSettings,
        out: &mut Vec<Output>,
    ) -> Fate {
        if settings.enrich {
            self.ending = Some(Box::new(Ending { run, since: now }));
            self.ask_facts();
            return Fate::Open;
        }
        self.seal(run, settings, out);
        Fate::Sealed
    }

    /// What else the server knows of a run that has ended; nothing, if it would
    /// not tell or took too long.
    pub(in crate::run) fn learn(
        &mut self,
        facts: Option<RunFacts>,
        settings: &RunSettings,
        out: &mut Vec<Output>,
    ) -> Fate {
        let Some(ending) = self.ending.take() else {
            return Fate::Open;
        };
        let mut run = ending.run;
        if let Some(facts) = facts {
            run.learn(facts, &self.meta);
        }
        self.seal(run, settings, out);
        Fate::Sealed
    }

    pub(super) fn ask_facts(&mut self) {
        self.wish = Some(Wish::AskFacts {
            project: self.meta.project,
            run_id: Arc::clone(&self.meta.run_id),
        });
    }

    /// Gives the end out, and with it whatever is still due of the run.
    pub(super) fn seal(
        &mut self,
        mut run: Box<FinishedRun>,
        settings: &RunSettings,
        out: &mut Vec<Output>,
    ) {
        if self.doubtful && run.verified == Verified::Mismatch {
            run.verified = Verified::Unchecked;
            run.summary.verified = Verified::Unchecked.as_str();
        }
        let prices = settings.prices.as_deref();
        run.price(RunCost::of(run.facts.as_deref(), &self.spent, prices));
        let withheld = self.withholding || self.published.withheld() > 0;
        let due = if withheld && settings.repair && self.published.can_repair() {
            self.owed = Some(Box::new(Owed {
                meta: Arc::clone(&self.meta),
                start: run.start,
                outcome: run.outcome,
                facts: run.facts.clone(),
                cost: run.cost.without_models(),
                published: std::mem::take(&mut self.published),
            }));
            Due::Count
        } else {
            self.lose_withheld(out);
            Due::All
        };
        let long = run.end.since(run.start) > settings.limits.progress_after;
        if long && !self.progress_told && due.has_span() {
            let meta = Arc::clone(&self.meta);
            out.push(Output::Progress(self.slot, meta, run.start));
        }
        let meta = Arc::clone(&self.meta);
        out.push(Output::Ended(self.slot, meta, run, due));
    }

    /// What was withheld will not come.
    pub(super) fn lose_withheld(&mut self, out: &mut Vec<Output>) {
        let lost = self.published.lose_withheld();
        if lost > 0 {
            out.push(Output::Lost(lost));
        }
    }
}
