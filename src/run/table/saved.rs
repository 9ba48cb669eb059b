//! How the table is kept on disk: a part for itself, and one for each open run.
//! What a fold remembers of ends that may be told once more is a part of its own,
//! which earlier versions neither wrote nor read: to them it does not matter.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::RunTable;
use crate::run::lists::Lists;
use crate::run::outputs::RunSlot;
use crate::run::owed::Debts;
use crate::run::replays::Replays;
use crate::run::sealed::Sealed;
use crate::run::trace_id::TraceId;
use crate::run::tracked::{RunSettings, TrackedRun};
use crate::wire::time::Time;

/// A table that was kept on disk cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the open runs were not written by this version, or are damaged")]
pub struct Unreadable;

/// What a table holds beside its runs.
#[derive(Serialize)]
struct Saved<'t> {
    sealed: &'t Sealed,
    lists: &'t Lists,
    debts: &'t Debts,
    withholding: bool,
    known_since: Option<Time>,
    clock: Time,
}

/// The same, when it is read.
#[derive(Deserialize)]
struct Restored {
    sealed: Sealed,
    lists: Lists,
    debts: Debts,
    withholding: bool,
    known_since: Option<Time>,
    clock: Time,
}

/// Whose ends they are.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum EndsOf {
    /// Of an open run.
    Open(RunSlot),
    /// Of its log, as far as it was read.
    Logged(RunSlot),
    /// Of the log of a run that is owed.
    Owed(TraceId),
}

impl RunTable {
    /// What it holds beside its runs.
    pub fn save(&self) -> Vec<u8> {
        let saved = Saved {
            sealed: &self.sealed,
            lists: &self.lists,
            debts: &self.debts,
            withholding: self.withholding,
            known_since: self.known_since,
            clock: self.clock,
        };
        // Writing what we hold into memory does not fail.
        postcard::to_stdvec(&saved).unwrap_or_default()
    }

    /// Its open runs, each for itself.
    pub fn save_runs(&self) -> impl Iterator<Item = Vec<u8>> {
        let open = self.open_slots().into_iter();
        open.filter_map(|slot| {
            let run = self.slots.get(slot as usize)?.as_deref()?;
            postcard::to_stdvec(run).ok()
        })
    }

    /// What is remembered of ends that may be told once more.
    pub fn save_replays(&self) -> impl Iterator<Item = Vec<u8>> {
        let open = self.slots.iter().flatten().flat_map(|run| {
            let owners = [EndsOf::Open(run.slot()), EndsOf::Logged(run.slot())];
            let folds = owners.into_iter().zip(run.folds());
            folds.filter_map(|(of, fold)| Some((of, fold?)))
        });
        let owed = self.debts.rebuilt();
        let all = open.chain(owed.map(|(trace, fold)| (EndsOf::Owed(trace), fold)));
        let all = all.filter(|(_, fold)| !fold.replays().is_empty());
        all.filter_map(|(of, fold)| postcard::to_stdvec(&(of, fold.replays())).ok())
    }

    /// Takes some of that in, when the runs are there.
    pub fn restore_replays(&mut self, saved: &[u8]) -> Result<(), Unreadable> {
        let (of, replays): (EndsOf, Replays) =
            postcard::from_bytes(saved).map_err(|_| Unreadable)?;
        let (slot, logged) = match of {
            EndsOf::Open(slot) => (slot, false),
            EndsOf::Logged(slot) => (slot, true),
            EndsOf::Owed(trace) => {
                let fold = self.debts.rebuilt_mut(&trace).ok_or(Unreadable)?;
                fold.set_replays(replays);
                return Ok(());
            }
        };
        let run = self.slots.get_mut(slot as usize).and_then(Option::as_mut);
        let run = run.ok_or(Unreadable)?;
        let before = run.bytes();
        let fold = run.folds_mut().into_iter().nth(usize::from(logged));
        fold.flatten().ok_or(Unreadable)?.set_replays(replays);
        self.bytes = (self.bytes + run.bytes()).saturating_sub(before);
        Ok(())
    }

    /// A table as it was, without its runs.
    pub fn restore(
        system: &'static str,
        source: Arc<str>,
        settings: RunSettings,
        saved: &[u8],
    ) -> Result<Self, Unreadable> {
        let saved: Restored = postcard::from_bytes(saved).map_err(|_| Unreadable)?;
        Ok(Self {
            sealed: saved.sealed,
            lists: saved.lists,
            debts: saved.debts,
            withholding: saved.withholding,
            known_since: saved.known_since,
            clock: saved.clock,
            ..Self::new(system, source, settings)
        })
    }

    /// Takes one of its runs in.
    pub fn restore_run(&mut self, saved: &[u8]) -> Result<(), Unreadable> {
        let mut run: TrackedRun = postcard::from_bytes(saved).map_err(|_| Unreadable)?;
        run.restored();
        let (slot, meta) = (run.slot(), Arc::clone(run.meta()));
        let place = slot as usize;
        if slot == RunSlot::MAX || place > SLOTS_MAX || self.has(&meta.trace_id) {
            return Err(Unreadable);
        }
        while self.slots.len() <= place {
            self.free.push(self.slots.len() as RunSlot);
            self.slots.push(None);
        }
        if self.slots[place].is_some() {
            return Err(Unreadable);
        }
        self.free.retain(|free| *free != slot);
        self.bytes += run.bytes();
        self.slots[place] = Some(Box::new(run));
        self.by_trace.insert(meta.trace_id, slot);
        self.by_workflow
            .entry((meta.project, Arc::clone(&meta.workflow)))
            .or_default()
            .push(slot);
        Ok(())
    }
}

/// More than any configuration lets be open at once.
const SLOTS_MAX: usize = 4_000_000;
