//! The runs that ended last, so that nothing that comes late opens one again.

use std::collections::VecDeque;

use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};

use super::trace_id::TraceId;
use crate::wire::time::Time;

/// Runs whose end was given out.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Sealed {
    known: FxHashSet<TraceId>,
    /// With their starts, oldest end first.
    order: VecDeque<(TraceId, Time)>,
    /// The newest start of a run that was forgotten, once any was.
    forgotten_to: Option<Time>,
}

impl Sealed {
    pub(super) fn has(&self, trace: &TraceId) -> bool {
        self.known.contains(trace)
    }

    /// Remembers a run, and at most so many.
    pub(super) fn add(&mut self, trace: TraceId, start: Time, max: usize) {
        if max == 0 {
            self.forgotten_to = self.forgotten_to.max(Some(start));
            return;
        }
        if !self.known.insert(trace) {
            return;
        }
        while self.order.len() >= max
            && let Some((oldest, start)) = self.order.pop_front()
        {
            self.known.remove(&oldest);
            self.forgotten_to = self.forgotten_to.max(Some(start));
        }
        self.order.push_back((trace, start));
    }

    /// Whether a run that nobody remembers, and which started then, may be one
    /// that has ended and was forgotten.
    pub(super) fn may_have_forgotten(&self, start: Time) -> bool {
        Some(start) <= self.forgotten_to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_the_oldest_end_is_forgotten_and_its_start_is_not() {
        let mut sealed = Sealed::default();
        for n in 1..=3u8 {
            sealed.add([n; 16], Time(u64::from(n) * 10), 2);
        }
        assert!(!sealed.has(&[1; 16]) && sealed.has(&[2; 16]) && sealed.has(&[3; 16]));
        assert!(sealed.may_have_forgotten(Time(10)));
        assert!(!sealed.may_have_forgotten(Time(11)));
    }

    #[test]
    fn while_all_are_remembered_none_may_have_been_forgotten() {
        let mut sealed = Sealed::default();
        sealed.add([1; 16], Time(10), 2);
        assert!(!sealed.may_have_forgotten(Time(0)));
    }

    #[test]
    fn with_no_room_nothing_is_remembered() {
        let mut sealed = Sealed::default();
        sealed.add([1; 16], Time(1), 0);
        assert!(!sealed.has(&[1; 16]) && sealed.may_have_forgotten(Time(1)));
    }
}
