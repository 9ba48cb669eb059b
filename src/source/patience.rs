//! What wait after which loss. Knows no clock: what was measured comes in.

use std::time::Duration;

use super::{LossKind, SourceSettings};
use crate::net::backoff::Backoff;

/// What a server asks us to wait counts up to here.
const ASKED_WAIT_MAX: Duration = Duration::from_secs(300);

/// A connection that lived for so long was one, whatever came of it.
const STEADY_AFTER: Duration = Duration::from_secs(10);

/// A connection that gave no more than this, and no new cursor, may have been
/// no more than a greeting.
const GREETING_BYTES_MAX: u64 = 1 << 10;

/// The waits of one feed.
#[derive(Debug)]
pub(super) struct Patience {
    backoff: Backoff,
    refused_wait: Duration,
    random: fastrand::Rng,
}

/// What is known of a connection that is over, or of an attempt at one.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub(super) kind: LossKind,
    /// How long it lived; nothing for an attempt that failed.
    pub(super) lived: Duration,
    /// What it gave.
    pub(super) bytes: u64,
    /// Whether the cursor is another one than before it.
    pub(super) cursor_moved: bool,
    /// What the server asked for, in this answer or by a `retry:` field.
    pub(super) asked: Option<Duration>,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wait {
    pub(super) time: Duration,
    /// Whether another token is a reason to try at once.
    pub(super) for_token: bool,
}

impl Patience {
    pub(super) fn new(settings: &SourceSettings, seed: u64) -> Self {
        Self {
            backoff: Backoff::new(settings.backoff, seed),
            refused_wait: settings.refused_wait,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// What to wait after this.
    pub(super) fn after(&mut self, ended: &Ended) -> Wait {
        // A server that accepts and closes at once has not worked, and is not hammered.
        if ended.cursor_moved || ended.lived >= STEADY_AFTER || ended.bytes > GREETING_BYTES_MAX {
            self.backoff.reset();
        }
        let for_token = matches!(ended.kind, LossKind::Refused(_) | LossKind::Token);
        let time = if for_token {
            let asked = ended.asked.unwrap_or_default().min(ASKED_WAIT_MAX);
            let spread = self.refused_wait.mul_f64(0.2 * self.random.f64());
            self.refused_wait.max(asked).saturating_add(spread)
        } else {
            self.backoff.next(ended.asked, ASKED_WAIT_MAX)
        };
        Wait { time, for_token }
    }
}

#[cfg(test)]
mod tests;
