//! A place in the code may log so many lines within so long; the rest is held
//! back and counted. Errors are not told apart from the rest: an error that
//! comes a thousand times a second is the very case.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use tracing::callsite::Identifier;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata};
use tracing_subscriber::layer::{Context, Filter};

use crate::limits::LOG_BURST_MAX;

/// The filter.
#[derive(Debug, Clone, Default)]
pub struct BurstLimit(Arc<Mutex<Bursts>>);

/// Bounded by the number of places in the code.
#[derive(Debug, Default)]
struct Bursts {
    windows: FxHashMap<Identifier, Window>,
    held_back: u64,
}

#[derive(Debug)]
struct Window {
    since: Instant,
    lines: u32,
}

const WINDOW: Duration = Duration::from_secs(10);

impl BurstLimit {
    /// How many lines were held back since this was called last.
    pub fn take_held_back(&self) -> u64 {
        let mut bursts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut bursts.held_back)
    }
}

impl Bursts {
    fn admits(&mut self, place: Identifier, now: Instant) -> bool {
        let window = self.windows.entry(place).or_insert(Window {
            since: now,
            lines: 0,
        });
        if now.saturating_duration_since(window.since) >= WINDOW {
            *window = Window {
                since: now,
                lines: 0,
            };
        }
        let admitted = window.lines < LOG_BURST_MAX;
        window.lines += u32::from(admitted);
        self.held_back += u64::from(!admitted);
        admitted
    }
}

/// Only what is said is a line. Spans are for our own traces; without them nobody
/// is interested, and they cost nothing.
impl<S> Filter<S> for BurstLimit {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        metadata.is_event()
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        match metadata.is_event() {
            // Each is asked about: what `event_enabled` holds back would otherwise
            // stay held back for ever.
            true => Interest::sometimes(),
            false => Interest::never(),
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is an edge: it owns a clock"
    )]
    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let mut bursts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bursts.admits(event.metadata().callsite(), Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Callsite;

    struct Place;
    static PLACE: Place = Place;

    impl Callsite for Place {
        fn set_interest(&self, _: Interest) {}
        fn metadata(&self) -> &Metadata<'_> {
            unreachable!("nobody asks")
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn a_place_that_was_silent_for_long_enough_may_log_again() {
        let mut bursts = Bursts::default();
        let place = || Identifier(&PLACE);
        let start = Instant::now();
        for _ in 0..LOG_BURST_MAX {
            assert!(bursts.admits(place(), start));
        }
        assert!(!bursts.admits(place(), start + WINDOW / 2));
        assert_eq!(bursts.held_back, 1);
        assert!(bursts.admits(place(), start + WINDOW));
    }
}
