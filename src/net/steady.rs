//! The clock of waits and ages: this is where time comes from, for the parts that
//! take it as a parameter and must not notice that the one on the wall is set.

use tokio::time::Instant;

use crate::wire::time::Time;

/// A clock that never goes back. Its times mean something among themselves alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SteadyClock {
    begin: Instant,
}

impl SteadyClock {
    pub(crate) fn start() -> Self {
        Self {
            begin: Instant::now(),
        }
    }

    pub(crate) fn now(self) -> Time {
        Time::ZERO.plus(self.begin.elapsed())
    }

    /// Waits for that time; without one for ever.
    pub(crate) async fn wait_for(self, time: Option<Time>) {
        match time {
            Some(time) => tokio::time::sleep_until(self.begin + time.since(Time::ZERO)).await,
            None => std::future::pending().await,
        }
    }
}
