//! How the table is kept on disk: a part for itself, and one for each open run.
//!
//! What folds remember of ends that may be told once more stands behind them, where
//! earlier versions do not look. It can be done without: if it is not there, or not
//! as this version writes it, nothing is remembered.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::RunTable;
use crate::run::lists::Lists;
use crate::run::outputs::RunSlot;
use crate::run::owed::Debts;
use crate::run::replays::Replays;
use crate::run::sealed::Sealed;
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
    replays: Vec<Option<&'t Replays>>,
}

/// The same, when it is read, up to what may be missing.
#[derive(Deserialize)]
struct Restored {
    sealed: Sealed,
    lists: Lists,
    debts: Debts,
    withholding: bool,
    known_since: Option<Time>,
    clock: Time,
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
            replays: self.debts.replays(),
        };
        // Writing what we hold into memory does not fail.
        postcard::to_stdvec(&saved).unwrap_or_default()
    }

    /// Its open runs, each for itself.
    pub fn save_runs(&self) -> impl Iterator<Item = Vec<u8>> {
        let open = self.open_slots().into_iter();
        open.filter_map(|slot| {
            let run = self.slots.get(slot as usize)?.as_deref()?;
            postcard::to_stdvec(&(run, run.replays())).ok()
        })
    }

    /// A table as it was, without its runs.
    pub fn restore(
        system: &'static str,
        source: Arc<str>,
        settings: RunSettings,
        saved: &[u8],
    ) -> Result<Self, Unreadable> {
        let (mut saved, replays): (Restored, _) =
            postcard::take_from_bytes(saved).map_err(|_| Unreadable)?;
        (saved.debts).set_replays(postcard::from_bytes(replays).unwrap_or_default());
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
        let (mut run, replays): (TrackedRun, _) =
            postcard::take_from_bytes(saved).map_err(|_| Unreadable)?;
        run.set_replays(postcard::from_bytes(replays).unwrap_or_default());
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
