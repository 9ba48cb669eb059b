//! How loud a loss is told: the first one and each other kind of it, then the
//! same only from time to time. Knows no clock.

use std::mem::discriminant;
use std::time::Duration;

use tokio::time::Instant;

use super::LossKind;

/// The same trouble is told again after this.
const REMINDER: Duration = Duration::from_secs(600);

/// What was told of one feed.
#[derive(Debug, Default)]
pub(super) struct Reporter {
    told: Option<(LossKind, Instant)>,
    /// Losses since then.
    untold: u64,
    /// Whether the last thing that was told is that it is connected.
    told_connected: bool,
}

impl Reporter {
    /// There is a loss: how many there were since one was told, this one
    /// included, if it is to be told now.
    pub(super) fn loss(&mut self, kind: LossKind, now: Instant) -> Option<u64> {
        self.untold += 1;
        let known = self.told.is_some_and(|(told, at)| {
            is_same(told, kind) && now.saturating_duration_since(at) < REMINDER
        });
        if known {
            return None;
        }
        self.told = Some((kind, now));
        self.told_connected = false;
        Some(std::mem::take(&mut self.untold))
    }

    /// There is a connection: whether to tell it.
    pub(super) const fn connected(&mut self) -> bool {
        !std::mem::replace(&mut self.told_connected, true)
    }
}

/// A busy server is busy, whatever it calls it; each refusal is its own.
fn is_same(a: LossKind, b: LossKind) -> bool {
    match (a, b) {
        (LossKind::Refused(a), LossKind::Refused(b)) => a == b,
        _ => discriminant(&a) == discriminant(&b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use LossKind::{Busy, Ended, Refused};

    /// What is told of losses at these seconds.
    fn told(losses: &[(u64, LossKind)]) -> Vec<Option<u64>> {
        let begin = Instant::now();
        let mut reporter = Reporter::default();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let told = losses.iter().map(|(s, kind)| reporter.loss(*kind, at(*s)));
        told.collect()
    }

    #[test]
    fn the_first_loss_and_each_other_kind_are_told() {
        assert_eq!(
            told(&[(0, Ended), (1, Refused(401)), (2, Refused(403)), (3, Ended)]),
            [Some(1); 4]
        );
    }

    #[test]
    fn the_same_again_is_told_from_time_to_time_with_its_number() {
        assert_eq!(
            told(&[
                (0, Busy(503)),
                (1, Busy(502)),
                (599, Busy(503)),
                (600, Busy(503)),
                (601, Busy(503))
            ]),
            [Some(1), None, None, Some(3), None]
        );
    }

    #[test]
    fn a_connection_is_told_when_its_loss_was() {
        let now = Instant::now();
        let mut reporter = Reporter::default();
        assert!(reporter.connected());
        assert_eq!(reporter.loss(Ended, now), Some(1));
        assert!(reporter.connected());
        assert_eq!(reporter.loss(Ended, now), None);
        assert!(!reporter.connected(), "it was never told to be away");
    }
}
