//! When the server may be asked again. Knows no clock: what time it is comes in.

use std::time::Duration;

use tokio::time::Instant;

use crate::net::backoff::{Backoff, BackoffSettings};

/// What a server asks us to wait counts up to here.
pub(super) const ASKED_WAIT_MAX: Duration = Duration::from_secs(300);

/// The pace of all requests together.
#[derive(Debug)]
pub(super) struct Pace {
    /// From the beginning of one to that of the next.
    between: Duration,
    /// Nothing begins before this.
    free_at: Instant,
    backoff: Backoff,
}

impl Pace {
    pub(super) fn new(
        per_second_max: u32,
        backoff: BackoffSettings,
        seed: u64,
        now: Instant,
    ) -> Self {
        Self {
            between: Duration::from_secs(1) / per_second_max.max(1),
            free_at: now,
            backoff: Backoff::new(backoff, seed),
        }
    }

    /// When the next one may begin.
    pub(super) const fn free_at(&self) -> Instant {
        self.free_at
    }

    /// One begins.
    pub(super) fn began(&mut self, now: Instant) {
        self.free_at = self.free_at.max(now) + self.between;
    }

    /// The server answers: if it does not, later, that is the first time.
    pub(super) const fn worked(&mut self) {
        self.backoff.reset();
    }

    /// The server is to be left alone, for as long as it asked for at least.
    /// What is on its way may come to its end.
    pub(super) fn rest(&mut self, asked: Option<Duration>, now: Instant) {
        let wait = self.backoff.next(asked, ASKED_WAIT_MAX);
        self.free_at = self.free_at.max(now + wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn pace(begin: Instant) -> Pace {
        let backoff = BackoffSettings {
            first: millis(1_000),
            most: millis(30_000),
        };
        Pace::new(20, backoff, 1, begin)
    }

    #[test]
    fn no_more_begin_within_a_second_than_may_and_a_pause_saves_up_nothing() {
        let begin = Instant::now();
        let mut pace = pace(begin);
        for begun in 1..=20 {
            pace.began(begin);
            assert_eq!(pace.free_at(), begin + millis(50 * begun));
        }
        let later = begin + millis(60_000);
        pace.began(later);
        assert_eq!(pace.free_at(), later + millis(50));
    }

    #[test]
    fn a_rest_is_as_long_as_was_asked_for_within_reason_and_none_shortens_it() {
        let begin = Instant::now();
        let mut pace = pace(begin);
        pace.rest(Some(millis(20_000)), begin);
        let until = pace.free_at();
        assert!(until >= begin + millis(20_000) && until <= begin + millis(21_000));
        pace.rest(None, begin);
        pace.worked();
        assert_eq!(pace.free_at(), until);
        pace.rest(Some(millis(10_000_000)), begin);
        assert!(pace.free_at() <= begin + ASKED_WAIT_MAX + millis(1_000));
    }

    #[test]
    fn rests_that_nobody_asked_for_grow_until_something_works() {
        let begin = Instant::now();
        let longest = |seeds: std::ops::Range<u64>, rests: u32, works: bool| {
            let rest = |seed| {
                let mut pace = pace(begin);
                pace.backoff = Backoff::new(
                    BackoffSettings {
                        first: millis(1_000),
                        most: millis(30_000),
                    },
                    seed,
                );
                for _ in 0..rests {
                    pace.rest(None, begin);
                }
                if works {
                    pace.worked();
                }
                pace.free_at = begin;
                pace.rest(None, begin);
                pace.free_at() - begin
            };
            seeds.map(rest).max().unwrap()
        };
        assert!(longest(0..100, 0, false) <= millis(1_000));
        assert!(longest(0..100, 5, false) > millis(20_000));
        assert!(longest(0..100, 5, true) <= millis(1_000));
    }
}
