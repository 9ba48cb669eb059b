//! What becomes of runs that say nothing, and of answers that do not come.

use super::RunTable;
use crate::run::outputs::{Output, Repair};
use crate::run::tracked::{Fate, RunSettings, TrackedRun};
use crate::wire::event::RunOutcome;
use crate::wire::time::Time;

impl RunTable {
    /// Looks for runs that fell silent, that were held for too long, or that
    /// have been open for a while. For runs whose project's feed is away neither
    /// silence nor waiting counts.
    ///
    /// What ends at once is bounded too: a connection that comes back makes all
    /// runs equally silent. The rest has its turn at the next tick.
    pub fn handle_tick(
        &mut self,
        now: Time,
        is_away: impl Fn(Option<i64>) -> bool,
        out: &mut Vec<Output>,
    ) {
        let mut left = self.settings.limits.batch_bytes_max;
        for slot in self.open_slots() {
            self.with(slot, |run, settings| {
                run.tell_progress_at(now, settings, out);
                // For what the server is asked at the end, no feed is needed.
                let counts = run.ending_since().is_some() || !is_away(run.meta().project);
                if !counts || left == 0 || !run.is_overdue(now, settings) {
                    return Fate::Open;
                }
                let bytes = run.bytes();
                let fate = run.give_up_waiting(now, settings, out);
                if fate == Fate::Sealed {
                    left = left.saturating_sub(bytes);
                }
                fate
            });
        }
        self.pay(now);
        if self.settings.repair {
            self.lists.ask_again(now, &mut self.wishes);
        }
        self.shed(None, out);
    }

    /// The clock was set: silences and waits count from now.
    pub fn handle_clock_set(&mut self, now: Time) {
        for run in self.slots.iter_mut().flatten() {
            run.count_from(now);
        }
        self.debts.count_from(now);
    }
}

impl TrackedRun {
    /// Whether what is being waited for takes too long.
    fn is_overdue(&self, now: Time, settings: &RunSettings) -> bool {
        let limits = &settings.limits;
        if let Some(since) = self.ending_since() {
            return now.since(since) > limits.enrich_wait_max;
        }
        if let Some(since) = self.held_since() {
            return now.since(since) > limits.repair_wait_max;
        }
        let patience = if self.waiting() {
            limits.run_wait_max
        } else {
            limits.run_idle_max
        };
        // No answer is an answer, in the end.
        let waited = |asked: Time| now.since(asked) > limits.repair_wait_max;
        now.since(self.heard) > patience && self.asked.is_none_or(waited)
    }

    /// Waits no longer for what is overdue.
    fn give_up_waiting(
        &mut self,
        now: Time,
        settings: &RunSettings,
        out: &mut Vec<Output>,
    ) -> Fate {
        if self.ending_since().is_some() {
            return self.learn(None, settings, out);
        }
        if self.held_since().is_some() {
            return self.release(Repair::GaveUp, now, settings, out);
        }
        if self.asked.is_none() && settings.repair {
            self.asked = Some(now);
            self.ask_row();
            return Fate::Open;
        }
        self.close(RunOutcome::Abandoned, settings, out);
        Fate::Sealed
    }
}
