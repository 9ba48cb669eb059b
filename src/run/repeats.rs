//! Telling a repeated event from a new one.
//!
//! An event with a place in the server's log is a repeat when the run is
//! already beyond that place. One without is compared only with what came
//! before a reconnect, because only then does a server repeat itself: what is
//! older than the newest moment seen is a repeat, and at that very moment the
//! fingerprint tells.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::limits::FINGERPRINTS_MAX;
use crate::wire::event::Event;
use crate::wire::time::Time;

/// What is remembered of a run's newest events.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Repeats {
    last_seq: Option<u64>,
    newest: Time,
    /// The fingerprints of the events at the newest moment.
    at_newest: Vec<u64>,
    expected_until: Option<Time>,
    /// The fingerprints at that moment that were not repeated yet: of two equal
    /// events both may come again, a third one is new.
    expected: Vec<u64>,
    /// What the server's log held when a rebuild was done, by place.
    read_to: Option<u64>,
    /// And its newest events, by time and fingerprint.
    logged: VecDeque<(Option<Time>, u64)>,
}

impl Repeats {
    /// From here on the server may repeat what it sent.
    pub(super) fn expect(&mut self) {
        self.expected_until = Some(self.newest);
        self.expected.clone_from(&self.at_newest);
    }

    /// The log was read up to this place, and these were its newest events:
    /// whatever of it is still under way on the feed is a repeat.
    pub(super) fn read_log(&mut self, place: Option<u64>, newest: VecDeque<(Option<Time>, u64)>) {
        self.last_seq = self.last_seq.max(place);
        self.read_to = self.read_to.max(place);
        self.logged = newest;
    }

    /// What it holds, roughly.
    pub(super) fn bytes(&self) -> usize {
        let prints = self.at_newest.capacity() + self.expected.capacity();
        prints * size_of::<u64>() + self.logged.capacity() * size_of::<(Option<Time>, u64)>()
    }

    /// Whether the log held an event without a place of its own.
    fn was_logged(&mut self, event: &Event<'_>) -> bool {
        if event.log_position.is_some() && event.log_position <= self.read_to {
            return true;
        }
        let newest_logged = self.logged.back().and_then(|(at, _)| *at);
        if event.at > newest_logged {
            self.logged.clear();
            return false;
        }
        let this = (event.at, event.fingerprint);
        let found = self.logged.iter().position(|logged| *logged == this);
        found.and_then(|found| self.logged.remove(found)).is_some()
    }

    /// Whether the event was there before; remembers it if not.
    pub(super) fn is_repeat(&mut self, event: &Event<'_>) -> bool {
        if let Some(seq) = event.seq {
            if self.last_seq.is_some_and(|last| seq <= last) {
                return true;
            }
            self.last_seq = Some(seq);
        }
        if event.seq.is_none() && self.read_to.is_some() && self.was_logged(event) {
            return true;
        }
        let Some(at) = event.at else { return false };
        if let (None, Some(until)) = (event.seq, self.expected_until) {
            let known = self
                .expected
                .iter()
                .position(|known| *known == event.fingerprint);
            match known.filter(|_| at == until) {
                _ if at < until => return true,
                Some(known) => {
                    self.expected.swap_remove(known);
                    return true;
                }
                None => {}
            }
        }
        if at > self.newest {
            self.newest = at;
            self.at_newest.clear();
        }
        if at == self.newest && self.at_newest.len() < FINGERPRINTS_MAX {
            self.at_newest.push(event.fingerprint);
        }
        if self.expected_until.is_some_and(|until| at > until) {
            self.expected_until = None;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::event::{RunRef, What};

    fn event(at: u64, seq: Option<u64>, fingerprint: u64) -> Event<'static> {
        Event {
            run: RunRef::default(),
            at: Some(Time(at)),
            seq,
            log_position: seq,
            fingerprint,
            scope: Vec::new(),
            what: What::Counted,
        }
    }

    #[test]
    fn a_place_that_was_passed_is_a_repeat() {
        let mut repeats = Repeats::default();
        assert!(!repeats.is_repeat(&event(1, Some(7), 1)));
        assert!(repeats.is_repeat(&event(1, Some(7), 1)));
        assert!(repeats.is_repeat(&event(1, Some(3), 2)));
        assert!(!repeats.is_repeat(&event(1, Some(9), 1)));
    }

    #[test]
    fn without_places_equal_events_are_two_as_long_as_the_connection_holds() {
        let mut repeats = Repeats::default();
        assert!(!repeats.is_repeat(&event(5, None, 1)));
        assert!(!repeats.is_repeat(&event(5, None, 1)));
        assert!(
            !repeats.is_repeat(&event(4, None, 1)),
            "a clock may run back"
        );
    }

    #[test]
    fn after_a_reconnect_what_was_there_is_a_repeat_and_what_is_new_is_not() {
        let mut repeats = Repeats::default();
        for (at, fingerprint) in [(4, 1), (5, 2), (5, 3)] {
            assert!(!repeats.is_repeat(&event(at, None, fingerprint)));
        }
        repeats.expect();
        assert!(repeats.is_repeat(&event(4, None, 1)));
        assert!(repeats.is_repeat(&event(5, None, 2)));
        assert!(
            !repeats.is_repeat(&event(5, None, 4)),
            "new at the same moment"
        );
        assert!(!repeats.is_repeat(&event(6, None, 2)));
        assert!(
            !repeats.is_repeat(&event(5, None, 2)),
            "the repeats are over"
        );
    }

    #[test]
    fn of_equal_events_at_one_moment_as_many_are_repeats_as_there_were() {
        let mut repeats = Repeats::default();
        for _ in 0..2 {
            assert!(!repeats.is_repeat(&event(5, None, 1)));
        }
        repeats.expect();
        let again = [(); 3].map(|()| repeats.is_repeat(&event(5, None, 1)));
        assert_eq!(again, [true, true, false]);
    }

    #[test]
    fn what_had_a_place_before_the_reconnect_may_come_again_without_one() {
        let mut repeats = Repeats::default();
        assert!(!repeats.is_repeat(&event(5, Some(1), 2)));
        repeats.expect();
        assert!(repeats.is_repeat(&event(5, None, 2)));
        assert!(!repeats.is_repeat(&event(6, Some(2), 9)));
    }
}
