//! The clocks of the exporter: this is where time comes from, for the parts
//! that take it as a parameter.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::wire::time::Time;

/// What a calendar says, for dates that others write.
#[expect(clippy::disallowed_methods, reason = "the exporter owns this clock")]
pub(super) fn wall() -> Time {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    Time::ZERO.plus(since_epoch.unwrap_or_default())
}

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
