//! Since when the oldest of what is open now has been open: a gauge of a time
//! for each label set. Where nothing is open there is no such time, and none
//! is shown.
//!
//! Label sets without room share one series. So what is open is kept by the
//! series that tells of it, in order: whatever opens or closes, the oldest of
//! them is at hand.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use super::bounded::{Bounded, stand_in};
use super::catalogue::Id;
use super::delta::RunSlot;
use super::family::Key;
use crate::wire::time::Time;

/// What is open of one metric. Bounded by the open runs, each of which is here
/// once a label set.
pub(super) struct Oldest {
    id: Id,
    open: FxHashMap<Key, BTreeSet<(Time, RunSlot)>>,
}

impl Oldest {
    /// Nothing is open.
    pub(super) fn new(id: Id) -> Self {
        Self {
            id,
            open: FxHashMap::default(),
        }
    }

    /// Something of a run has been open since then.
    pub(super) fn open(
        &mut self,
        key: Key,
        since: Time,
        run: RunSlot,
        bounded: &mut Bounded,
        now: Time,
    ) {
        let series = bounded.series(self.id, key, now);
        let open = self.open.entry(series.key).or_default();
        open.insert((since, run));
        series.set_time(open.first().map(|(since, _)| *since), now);
    }

    /// It is open no more.
    pub(super) fn close(
        &mut self,
        key: Key,
        since: Time,
        run: RunSlot,
        bounded: &mut Bounded,
        now: Time,
    ) {
        for key in [key, stand_in(self.id, &key)] {
            let Some(open) = self.open.get_mut(&key) else {
                continue;
            };
            if open.remove(&(since, run)) {
                let series = bounded.series(self.id, key, now);
                series.set_time(open.first().map(|(since, _)| *since), now);
                if open.is_empty() {
                    self.open.remove(&key);
                }
                return;
            }
        }
    }
}
