//! How long to wait before the next attempt: full jitter over a doubling bound,
//! so that many clients of a server that comes back do not come all at once.

use std::time::Duration;

/// The bounds of the waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffSettings {
    /// The bound of the first wait, which doubles with each attempt.
    pub first: Duration,
    /// The bound that it does not pass.
    pub most: Duration,
}

/// The waits of one thing that is tried again and again.
#[derive(Debug, Clone)]
pub struct Backoff {
    settings: BackoffSettings,
    failures: u32,
    random: fastrand::Rng,
}

impl Backoff {
    /// One that has seen no failure. The same seed gives the same waits.
    pub fn new(settings: BackoffSettings, seed: u64) -> Self {
        Self {
            settings,
            failures: 0,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// It worked: the next failure is the first one.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// It failed once more: how long to wait. What the other side asked for is
    /// the least, up to `asked_max`, and what its next wait is spread from.
    pub fn next(&mut self, asked: Option<Duration>, asked_max: Duration) -> Duration {
        let BackoffSettings { first, most } = self.settings;
        let doubled = first.saturating_mul(1u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1).min(31);
        let spread = doubled.min(most).mul_f64(self.random.f64());
        asked.unwrap_or_default().min(asked_max) + spread
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: BackoffSettings = BackoffSettings {
        first: Duration::from_secs(1),
        most: Duration::from_secs(30),
    };

    #[test]
    fn waits_spread_over_a_bound_that_doubles_up_to_the_most() {
        let bounds = [1, 2, 4, 8, 16, 30, 30];
        let mut longest = [Duration::ZERO; 7];
        for seed in 0..500 {
            let mut backoff = Backoff::new(SETTINGS, seed);
            for (longest, bound) in longest.iter_mut().zip(bounds) {
                let wait = backoff.next(None, Duration::ZERO);
                assert!(wait <= Duration::from_secs(bound));
                *longest = (*longest).max(wait);
            }
        }
        for (longest, bound) in longest.into_iter().zip(bounds) {
            assert!(longest > Duration::from_secs(bound).mul_f64(0.9));
        }
    }

    #[test]
    fn after_a_success_waits_are_short_again() {
        let mut backoff = Backoff::new(SETTINGS, 1);
        for _ in 0..100 {
            backoff.next(None, Duration::ZERO);
        }
        backoff.reset();
        assert!(backoff.next(None, Duration::ZERO) <= Duration::from_secs(1));
    }

    #[test]
    fn what_was_asked_for_is_waited_for_within_reason() {
        let mut backoff = Backoff::new(SETTINGS, 1);
        let wait = |asked| Some(Duration::from_secs(asked));
        let reason = Duration::from_secs(100);
        assert!(backoff.next(wait(50), reason) >= Duration::from_secs(50));
        assert!(backoff.next(wait(5_000), reason) <= Duration::from_secs(130));
    }
}
