//! Gaps, what the server answers when it is asked, and room for spans.

use super::{Found, RunTable};
use crate::run::finished::RunFacts;
use crate::run::fold::Moment;
use crate::run::outputs::{GapCause, Output, Repair, RunSlot, Wish};
use crate::run::tracked::{Fate, RunSettings, TrackedRun};
use crate::wire::event::{Event, RunOutcome, RunRef};
use crate::wire::item::LogPage;
use crate::wire::rows::{RowOfRun, RowStatus, RowsPage};
use crate::wire::time::Time;

/// Why the server does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum NoAnswer {
    /// It never will: it does not know the run, or may not tell us.
    ForGood,
    /// It could not be asked for too long.
    NotNow,
}

impl RunTable {
    /// A feed of all projects, or of one, may have lost something, or is lost.
    pub fn handle_gap(
        &mut self,
        cause: GapCause,
        project: Option<i64>,
        now: Time,
        out: &mut Vec<Output>,
    ) {
        out.push(Output::Gap(cause));
        let away = cause != GapCause::Lagged;
        if away {
            self.lose_sight(project, now);
        }
        for slot in self.open_slots() {
            self.with(slot, |run, settings| {
                if concerns(project, run) {
                    if cause == GapCause::Restart {
                        run.forget_asking();
                    }
                    if away {
                        run.set_away(true);
                    }
                    run.hold(now, settings);
                }
                Fate::Open
            });
        }
        if !away {
            self.list_missed(project, Some(now));
        }
        self.shed(None, out);
    }

    /// A feed was connected: the first time, or anew. The server may repeat what
    /// it sent, and runs may have begun unseen.
    pub fn handle_connected(&mut self, project: Option<i64>, again: bool, now: Option<Time>) {
        if again {
            for slot in self.open_slots() {
                self.with(slot, |run, _| {
                    if concerns(project, run) {
                        run.expect_repeats();
                        // It could not be heard while there was no feed.
                        if let Some(now) = now {
                            run.count_from(now);
                        }
                        run.set_away(false);
                    }
                    Fate::Open
                });
            }
        }
        self.list_missed(project, now);
        self.known_since = self.known_since.or(now);
    }

    /// Asks for the runs that may have begun, or begun and ended, unseen.
    fn list_missed(&mut self, project: Option<i64>, now: Option<Time>) {
        if !self.settings.repair {
            return;
        }
        let since = self.known_to(now);
        for project in self.projects(project) {
            self.lists.begin(project, since, &mut self.wishes);
        }
    }

    /// From here on runs may begin and end unseen, though the time of other feeds
    /// goes on.
    fn lose_sight(&mut self, project: Option<i64>, now: Time) {
        let since = self.known_to(Some(now));
        for project in self.projects(project) {
            self.lists.lose_sight(project, since);
        }
    }

    /// Until when all runs are known, with a margin. A server's clock that is ahead
    /// of ours, be it by years, does not make us look for runs of the future only.
    fn known_to(&self, now: Option<Time>) -> Option<Time> {
        let known_to = self.clock.max(self.known_since?);
        let known_to = now.map_or(known_to, |now| known_to.min(now));
        Some(known_to.minus(self.settings.limits.repair_margin))
    }

    /// The projects of a feed.
    fn projects(&self, project: Option<i64>) -> Vec<i64> {
        project.map_or_else(|| self.lists.projects(), |one| vec![one])
    }

    /// A page of the list that [`Wish::ListRuns`] asked for; `None` when there is
    /// none to be had. Runs that nobody knows are read from their logs.
    pub fn handle_rows(
        &mut self,
        wish: &Wish,
        page: Option<&RowsPage>,
        is_away: impl Fn(Option<i64>) -> bool,
        now: Time,
        out: &mut Vec<Output>,
    ) {
        let Wish::ListRuns { project, .. } = *wish else {
            return;
        };
        for row in page.into_iter().flat_map(|page| &page.rows) {
            let project = row.project.or(Some(project));
            self.meet(row, project, is_away(project), now, out);
        }
        let listed = page.map(|page| page.listed);
        self.lists.read(wish, listed, now, &mut self.wishes);
        self.shed(None, out);
    }

    /// Takes in a run that is known by its row only, unless it is known better.
    /// While its feed is away it cannot be heard, so its log is not read yet.
    fn meet(
        &mut self,
        row: &RowOfRun,
        project: Option<i64>,
        away: bool,
        now: Time,
        out: &mut Vec<Output>,
    ) {
        let run = RunRef {
            project,
            workflow: row.workflow.as_str().into(),
            id: Some(row.id.as_str().into()),
            epoch: None,
        };
        let end = match row.status {
            RowStatus::Open { .. } => None,
            RowStatus::Ended(outcome) => Some((outcome, row.finished_at)),
            RowStatus::Unknown => return,
        };
        let start = row.started_at.unwrap_or(self.clock);
        let is_new = matches!(self.find_run(&run), Found::New);
        if row.id.is_empty() || !is_new || self.sealed.may_have_forgotten(start) {
            return;
        }
        let slot = self.open_run_at(&run, start, out);
        self.with(slot, |run, settings| {
            run.count_from(now);
            if away {
                run.set_away(true);
            }
            match end {
                Some((outcome, at)) => run.ended_unseen(outcome, at, now, settings, out),
                None => {
                    run.hold(now, settings);
                    Fate::Open
                }
            }
        });
    }

    /// Takes an event of the server's log of a run that is held.
    pub fn handle_logged_event(&mut self, event: Event<'_>) {
        let time = event.at.unwrap_or(self.clock);
        let moment = Moment { at: event.at, time };
        let room = self.room();
        match self.slot_of(&event.run) {
            Some(slot) => {
                self.with(slot, |run, settings| {
                    run.accept_logged(event, moment, room, &settings.limits);
                    Fate::Open
                });
            }
            None => {
                if let Some(trace) = self.trace_named(&event.run) {
                    let limits = &self.settings.limits;
                    (self.debts).accept_logged(&trace, event, moment, room, limits);
                }
            }
        }
    }

    /// Whether the log of a run is being waited for from after this place.
    pub fn expects_page(&self, run: &RunRef<'_>, after: u64) -> bool {
        let Some(trace) = self.trace_named(run) else {
            return false;
        };
        match self.tracked(&trace) {
            Some(run) => run.expects_page(after),
            None => self.debts.expects_page(&trace, after),
        }
    }

    /// A page of the server's log of a run is through.
    pub fn handle_log_page(
        &mut self,
        run: &RunRef<'_>,
        page: LogPage,
        now: Time,
        out: &mut Vec<Output>,
    ) {
        let room = self.room();
        let slot = self.slot_of(run);
        match (slot, self.trace_named(run)) {
            (Some(slot), _) => {
                self.with(slot, |run, settings| {
                    run.logged(page, room, now, settings, out)
                });
            }
            (None, Some(trace)) => {
                let (settings, wishes) = (&self.settings, &mut self.wishes);
                (self.debts).logged(&trace, page, room, settings, wishes, out);
                self.pay(now);
            }
            (None, None) => {}
        }
        self.shed(slot, out);
    }

    /// The server does not give the log of a run.
    pub fn handle_log_refused(
        &mut self,
        run: &RunRef<'_>,
        why: NoAnswer,
        now: Time,
        out: &mut Vec<Output>,
    ) {
        let repair = match why {
            NoAnswer::ForGood => Repair::Unavailable,
            NoAnswer::NotNow => Repair::GaveUp,
        };
        match (self.slot_of(run), self.trace_named(run)) {
            (Some(slot), _) => {
                self.with(slot, |run, settings| {
                    run.release(repair, now, settings, out)
                });
            }
            (None, Some(trace)) => {
                let limits = &self.settings.limits;
                let for_good = why == NoAnswer::ForGood;
                self.debts.refused(&trace, for_good, now, limits, out);
                self.pay(now);
            }
            (None, None) => {}
        }
        self.shed(None, out);
    }

    /// What the server says of a silent run; `None` when it does not know it, or
    /// may not tell.
    pub fn handle_row(
        &mut self,
        run: &RunRef<'_>,
        row: Option<&RowOfRun>,
        now: Time,
        out: &mut Vec<Output>,
    ) {
        let Some(slot) = self.slot_of(run) else {
            return;
        };
        self.with(slot, |run, settings| match row.map(|row| row.status) {
            Some(RowStatus::Ended(outcome)) => {
                let at = row.and_then(|row| row.finished_at);
                run.ended_unseen(outcome, at, now, settings, out)
            }
            Some(RowStatus::Open { .. } | RowStatus::Unknown) => {
                run.heard = now;
                run.asked = None;
                Fate::Open
            }
            None => {
                run.close(RunOutcome::Abandoned, settings, out);
                Fate::Sealed
            }
        });
        self.shed(None, out);
    }

    /// What else the server knows of a run that has ended, if it tells.
    pub fn handle_facts(
        &mut self,
        run: &RunRef<'_>,
        facts: Option<RunFacts>,
        out: &mut Vec<Output>,
    ) {
        if let Some(slot) = self.slot_of(run) {
            self.with(slot, |run, settings| run.learn(facts, settings, out));
        }
        self.shed(None, out);
    }

    /// Runs that have ended go without what else the server knows of them.
    pub fn handle_no_more_answers(&mut self, out: &mut Vec<Output>) {
        for slot in self.open_slots() {
            self.with(slot, |run, settings| run.learn(None, settings, out));
        }
        self.shed(None, out);
    }

    /// There is room for spans, or there is none: then runs go on, and their
    /// spans are made later. Without a log to make them from nothing is withheld.
    pub fn handle_room(&mut self, room: bool, now: Time) {
        if self.withholding != room || !(room || self.settings.repair) {
            return;
        }
        self.withholding = !room;
        let withholding = self.withholding;
        for slot in self.open_slots() {
            self.with(slot, |run, settings| {
                run.set_withholding(withholding, now, settings);
                Fate::Open
            });
        }
        match room {
            true => self.pay(now),
            false => self.debts.stop(),
        }
    }

    /// Goes on under these settings. Where nobody can ask the server any longer,
    /// nothing waits for its answers.
    pub fn set_settings(&mut self, settings: RunSettings, out: &mut Vec<Output>) {
        self.settings = settings;
        if self.settings.repair {
            return;
        }
        self.handle_room(true, self.clock);
        let now = self.clock;
        for slot in self.open_slots() {
            self.with(slot, |run, settings| {
                match run.release(Repair::Unavailable, now, settings, out) {
                    Fate::Open => run.learn(None, settings, out),
                    Fate::Sealed => Fate::Sealed,
                }
            });
        }
        self.wishes.clear();
        self.shed(None, out);
    }

    /// Everything that was asked for is asked for anew: who was asked is gone.
    pub fn renew_wishes(&mut self) {
        self.wishes.clear();
        if !self.settings.repair {
            return;
        }
        for slot in self.open_slots() {
            self.with(slot, |run, _| {
                run.renew_wish();
                Fate::Open
            });
        }
        self.lists.renew(&mut self.wishes);
        self.debts.renew(&mut self.wishes);
    }

    /// Pays what is owed, while there is room for it.
    pub(super) fn pay(&mut self, now: Time) {
        if !self.withholding {
            self.debts.pay(now, &mut self.wishes);
        }
    }

    fn slot_of(&self, run: &RunRef<'_>) -> Option<RunSlot> {
        let trace = self.trace_named(run)?;
        self.by_trace.get(&trace).copied()
    }
}

/// Whether what happened to a feed of one project, or of all, concerns a run.
fn concerns(project: Option<i64>, run: &TrackedRun) -> bool {
    project.is_none() || run.meta().project == project
}
