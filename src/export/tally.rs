//! What the exporter counts, shared with whoever shows it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::metrics::export::{ExportCounts, RefusalReason, RequestResult};
use crate::wire::time::Time;

/// The counts. The exporter writes, the main loop reads.
#[derive(Debug, Default)]
pub struct ExportTally(Mutex<ExportCounts>);

impl ExportTally {
    /// What was counted so far.
    pub fn counts(&self) -> ExportCounts {
        *self.lock()
    }

    /// A request ended so.
    pub(super) fn request(&self, result: RequestResult) {
        self.lock().requests[result as usize] += 1;
    }

    /// The backend took a request, and has so many spans more.
    pub(super) fn exported(&self, spans: u32, now: Time) {
        let mut counts = self.lock();
        counts.spans_exported += u64::from(spans);
        counts.last_success = Some(now);
    }

    /// The backend will never have these spans.
    pub(crate) fn refused(&self, reason: RefusalReason, spans: u32) {
        self.lock().spans_refused[reason as usize] += u64::from(spans);
    }

    /// A thread that panicked leaves sound counts: each change is one sum.
    fn lock(&self) -> MutexGuard<'_, ExportCounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_is_counted_in_its_place() {
        let tally = ExportTally::default();
        assert_eq!(tally.counts().last_success, None);
        tally.request(RequestResult::Taken);
        tally.request(RequestResult::Busy);
        tally.exported(7, Time(9));
        tally.refused(RefusalReason::Invalid, 2);
        tally.refused(RefusalReason::Damaged, 3);
        tally.refused(RefusalReason::Damaged, 4);
        let counts = tally.counts();
        assert_eq!(counts.requests(RequestResult::Taken), 1);
        assert_eq!(counts.requests(RequestResult::Busy), 1);
        assert_eq!(counts.requests(RequestResult::Failed), 0);
        assert_eq!(counts.spans_exported, 7);
        assert_eq!(counts.refused(RefusalReason::Invalid), 2);
        assert_eq!(counts.refused(RefusalReason::Damaged), 7);
        assert_eq!(counts.last_success, Some(Time(9)));
    }
}
