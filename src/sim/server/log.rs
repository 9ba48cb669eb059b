//! What was said, in the order in which the server said it: bounded, and shared
//! between the feed and the logs of the runs.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::value::RawValue;

use crate::wire::time::Time;

/// One event, as it was said.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its place in the server's log.
    pub(super) seq: u64,
    pub(super) project_id: i64,
    pub(super) script: &'static str,
    pub(super) run: Arc<str>,
    pub(super) at: Time,
    /// `{"type": …, "payload": …}`
    pub(super) event: Box<RawValue>,
}

impl Entry {
    /// The type of the event.
    pub(super) fn event_type(&self) -> &str {
        let tagged = self.event.get().strip_prefix("{\"type\":\"");
        tagged
            .and_then(|rest| rest.split('"').next())
            .unwrap_or_default()
    }

    /// What it takes, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.event.get().len() + size_of::<Self>()
    }
}

/// The newest entries, by their position: the first that there ever was has 0.
#[derive(Debug)]
pub(super) struct Log {
    entries: VecDeque<Arc<Entry>>,
    /// The position of the oldest entry that is still here.
    first: u64,
    bytes: usize,
    bytes_max: usize,
}

impl Log {
    pub(super) const fn new(bytes_max: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            first: 0,
            bytes: 0,
            bytes_max,
        }
    }

    pub(super) fn push(&mut self, entry: Arc<Entry>) {
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
        while self.bytes > self.bytes_max && self.entries.len() > 1 {
            if let Some(oldest) = self.entries.pop_front() {
                self.bytes -= oldest.bytes();
                self.first += 1;
            }
        }
    }

    /// The position of the oldest entry.
    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    /// The position that the next entry will have.
    pub(super) fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    pub(super) fn get(&self, position: u64) -> Option<&Arc<Entry>> {
        let index = usize::try_from(position.checked_sub(self.first)?).ok()?;
        self.entries.get(index)
    }

    /// Where to go on after a place in the log, as far back as there is anything.
    pub(super) fn position_after(&self, seq: u64) -> u64 {
        self.first + self.entries.partition_point(|entry| entry.seq <= seq) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: u64) -> Arc<Entry> {
        Arc::new(Entry {
            seq,
            project_id: 1,
            script: "review",
            run: Arc::from("r"),
            at: Time::ZERO,
            event: RawValue::from_string(r#"{"type":"Log","payload":"x"}"#.to_owned()).unwrap(),
        })
    }

    #[test]
    fn the_oldest_entries_go_first_and_positions_stay() {
        let mut log = Log::new(3 * entry(0).bytes());
        for seq in [10, 12, 15, 16, 20] {
            log.push(entry(seq));
        }
        assert_eq!((log.first(), log.end()), (2, 5));
        assert_eq!(log.get(1).map(|entry| entry.seq), None);
        assert_eq!(log.get(2).map(|entry| entry.seq), Some(15));
        assert_eq!(log.get(5).map(|entry| entry.seq), None);
    }

    #[test]
    fn one_goes_on_after_a_place_or_as_far_back_as_there_is_anything() {
        let mut log = Log::new(3 * entry(0).bytes());
        for seq in [10, 12, 15, 16, 20] {
            log.push(entry(seq));
        }
        for (after, position) in [(0, 2), (14, 2), (15, 3), (17, 4), (20, 5), (99, 5)] {
            assert_eq!(log.position_after(after), position, "after {after}");
        }
    }

    #[test]
    fn an_entry_knows_its_type() {
        assert_eq!(entry(1).event_type(), "Log");
    }
}
