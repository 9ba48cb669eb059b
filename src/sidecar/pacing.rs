//! When the next checkpoint is begun.
//!
//! As often as it is configured; but where one takes long, on a slow disk or a busy
//! machine or with very much that is open, no more than a small part of the time
//! goes into them. What is read again after a crash grows by that, so the rest has
//! a bound; and a journal that is half full does not wait for it.

use std::time::Duration;

use tokio::time::Instant;

use crate::limits::CHECKPOINT_REST_MAX;

/// The pace of checkpoints.
#[derive(Debug)]
pub struct Pacing {
    every: Duration,
    /// A rest is so many times as long as what it follows.
    rest_times: u32,
    begun: Instant,
    ended: Instant,
    took: Duration,
}

impl Pacing {
    /// Nothing has been done yet; the first one is due after a while, as any is.
    pub const fn new(every: Duration, rest_times: u32, now: Instant) -> Self {
        Self {
            every,
            rest_times,
            begun: now,
            ended: now,
            took: Duration::ZERO,
        }
    }

    /// A checkpoint was written, or tried to be, from then until now.
    pub fn wrote(&mut self, begun: Instant, now: Instant) {
        self.begun = begun;
        self.took = Duration::ZERO;
        self.worked(begun, now);
    }

    /// More was done for it, from then until now.
    pub fn worked(&mut self, begun: Instant, now: Instant) {
        self.took += now - begun;
        self.ended = now;
    }

    /// Whether it is time for the next one.
    pub fn is_time(&self, now: Instant) -> bool {
        let rest = self.took.saturating_mul(self.rest_times);
        let is_rested = now.duration_since(self.ended) >= rest.min(CHECKPOINT_REST_MAX);
        is_rested && now.duration_since(self.begun) >= self.every
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// One a second, and rests of ten times; nothing was done until now.
    fn each_second() -> (Pacing, Instant) {
        let now = Instant::now();
        (Pacing::new(SECOND, 10, now), now)
    }

    /// The first moment at which the next one is due, in milliseconds from then.
    fn due_after_ms(pacing: &Pacing, from: Instant) -> u32 {
        let at = |ms: u32| pacing.is_time(from + ms * Duration::from_millis(1));
        let (mut early, mut late) = (0, 10_000_000);
        assert!(at(late));
        while early < late {
            let middle = early.midpoint(late);
            match at(middle) {
                true => late = middle,
                false => early = middle + 1,
            }
        }
        early
    }

    #[test]
    fn the_first_one_and_those_that_take_no_time_come_as_often_as_configured() {
        let (mut pacing, now) = each_second();
        assert_eq!(due_after_ms(&pacing, now), 1_000);
        pacing.wrote(now + SECOND, now + SECOND);
        assert_eq!(due_after_ms(&pacing, now + SECOND), 1_000);
        pacing.wrote(now, now + SECOND / 20);
        assert_eq!(due_after_ms(&pacing, now), 1_000, "the rest is over before");
    }

    #[test]
    fn after_one_that_took_long_there_is_a_rest_of_ten_times_that() {
        let (mut pacing, now) = each_second();
        pacing.wrote(now, now + 2 * SECOND);
        assert_eq!(due_after_ms(&pacing, now), 22_000);
        // One that is quick again has no rest to speak of.
        pacing.wrote(now, now + SECOND / 100);
        assert_eq!(due_after_ms(&pacing, now), 1_000);
    }

    #[test]
    fn what_is_done_to_let_it_count_belongs_to_it() {
        let (mut pacing, now) = each_second();
        pacing.wrote(now, now + SECOND);
        // It had to wait for spans to be stored, which is no work.
        pacing.worked(now + 5 * SECOND, now + 6 * SECOND);
        assert_eq!(due_after_ms(&pacing, now), 26_000);
    }

    #[test]
    fn however_long_one_takes_the_rest_has_a_bound() {
        let (mut pacing, now) = each_second();
        let end = now + 3_600 * SECOND;
        pacing.wrote(now, end);
        let rest_ms = CHECKPOINT_REST_MAX.as_millis();
        assert_eq!(u128::from(due_after_ms(&pacing, end)), rest_ms);
    }
}
