//! The bound on what all open runs hold, and what gives way at it.

use super::RunTable;
use crate::limits::REDACTION_MARGIN_BYTES;
use crate::run::node::{CHUNK_EVENTS_LEAST, Detail, Room};
use crate::run::outputs::{Output, Repair, RunSlot};
use crate::run::tracked::Fate;

/// How many silent runs are looked up at once.
const CANDIDATES: usize = 64;

impl RunTable {
    /// How much an open run may take, with what all of them hold: at seven
    /// tenths of the bound no more texts, at nine tenths few chunk events. What is
    /// given up at the bound is not taken anew before that: so there is none when
    /// runs are closed.
    pub(super) fn room(&self) -> Room {
        let limits = &self.settings.limits;
        let max = limits.open_runs_bytes_max;
        let full = |tenths: usize| self.bytes / 10 >= max / 100 * tenths;
        Room {
            chunk_events_max: if full(9) {
                CHUNK_EVENTS_LEAST
            } else {
                limits.chunk_events_max
            },
            text_bytes_max: limits.content_bytes_max + REDACTION_MARGIN_BYTES,
            texts: !full(7),
            notes: !full(9),
            ends: !full(9),
        }
    }

    /// Keeps the bound: detail goes first, then whole runs. A run at work that
    /// alone holds the better part of it is not spared at the others' cost.
    pub(super) fn shed(&mut self, at_work: Option<RunSlot>, out: &mut Vec<Output>) {
        let lost = self.debts.take_lost();
        if lost > 0 {
            out.push(Output::Lost(lost));
        }
        let max = self.settings.limits.open_runs_bytes_max;
        // Below nine tenths, detail is taken again.
        self.bare &= self.bytes / 9 >= max / 10;
        if self.bytes > max && !self.bare {
            self.give_up_detail(out);
        }
        while self.bytes > max && !self.by_trace.is_empty() {
            let greedy = at_work.filter(|slot| {
                let run = self.slots.get(*slot as usize).and_then(Option::as_deref);
                run.is_some_and(|run| run.bytes() > max / 2)
            });
            match greedy {
                Some(slot) => {
                    let now = self.clock;
                    self.with(slot, |run, settings| {
                        run.release(Repair::GaveUp, now, settings, out)
                    });
                    if self.bytes > max {
                        self.abandon(slot, out);
                    }
                }
                None if self.by_trace.len() > 1 => self.close_longest_silent(at_work, out),
                None => return,
            }
        }
    }

    /// Lets open runs give up detail, those that have been silent for longest
    /// first, until there is some room: so this is seldom done.
    fn give_up_detail(&mut self, out: &mut Vec<Output>) {
        let tenth = self.settings.limits.open_runs_bytes_max / 10;
        let mut slots = self.open_slots();
        let runs = &self.slots;
        slots.sort_by_key(|slot| {
            let run = runs.get(*slot as usize).and_then(Option::as_deref);
            run.map(|run| run.heard)
        });
        for (detail, enough) in [
            (Detail::Texts, 8 * tenth),
            (Detail::Events, 9 * tenth),
            (Detail::Ends, 9 * tenth),
        ] {
            for slot in &slots {
                if self.bytes <= enough {
                    return;
                }
                self.with(*slot, |run, _| {
                    run.give_up(detail, out);
                    Fate::Open
                });
            }
        }
        self.bare = true;
    }

    /// Closes the run that has been silent for longest. A few candidates are
    /// looked up at once, so that this stays cheap under pressure.
    pub(super) fn close_longest_silent(&mut self, spare: Option<RunSlot>, out: &mut Vec<Output>) {
        loop {
            while let Some((heard, slot, trace)) = self.silent.pop() {
                let still = self.slots[slot as usize]
                    .as_deref()
                    .is_some_and(|run| run.heard == heard && run.meta().trace_id == trace);
                if still && Some(slot) != spare {
                    return self.abandon(slot, out);
                }
            }
            self.silent = self
                .slots
                .iter()
                .zip(0..)
                .filter_map(|(run, slot)| Some((run.as_deref()?, slot)))
                .filter(|(_, slot)| Some(*slot) != spare)
                .map(|(run, slot)| (run.heard, slot, run.meta().trace_id))
                .collect();
            if self.silent.is_empty() {
                return;
            }
            self.silent.sort_unstable_by(|a, b| b.cmp(a));
            let drop = self.silent.len().saturating_sub(CANDIDATES);
            self.silent.drain(..drop);
        }
    }
}
