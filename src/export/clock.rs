//! The clock of the exporter's waits: this is where time comes from, for the
//! parts that take it as a parameter.

use tokio::time::Instant;

use crate::wire::time::Time;

/// A clock that never goes back, for waits: nobody may set it meanwhile.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    begin: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            begin: Instant::now(),
        }
    }

    pub(super) fn now(self) -> Time {
        Time::ZERO.plus(self.begin.elapsed())
    }

    /// Waits for that time; without one for ever.
    pub(super) async fn wait_for(self, time: Option<Time>) {
        match time {
            Some(time) => tokio::time::sleep_until(self.begin + time.since(Time::ZERO)).await,
            None => std::future::pending().await,
        }
    }
}
