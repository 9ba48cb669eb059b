//! The page of metrics, rendered at most once in a while: however many ask at
//! once, they share one page.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use prometheus::{Registry, TextEncoder};

use super::process;
use crate::limits::PAGES_MAX;
use crate::wire::time::Time;

/// The pages that somebody still reads, the newest last.
#[derive(Debug)]
pub(super) struct Page {
    registry: Registry,
    pages: Mutex<Vec<(Time, Bytes)>>,
}

/// A page is as good as new for so long.
const FRESH: Duration = Duration::from_millis(250);

impl Page {
    pub(super) fn new(registry: Registry) -> Self {
        Self {
            registry,
            pages: Mutex::new(Vec::new()),
        }
    }

    /// The page as it is now; none when too many older ones are still being
    /// read. Whoever renders it holds the others up, who then get the same one:
    /// to be called where blocking is allowed.
    pub(super) fn text(&self, now: Time) -> Option<Bytes> {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, page)) = pages.last()
            && now >= *at
            && now.since(*at) < FRESH
        {
            return Some(page.clone());
        }
        // A page that only we hold is read to its end.
        pages.retain(|(_, page)| !page.is_unique());
        if pages.len() >= PAGES_MAX {
            return None;
        }
        // A text that grew holds more room than it needs.
        let page = Bytes::from(self.render().into_bytes().into_boxed_slice());
        pages.push((now, page.clone()));
        Some(page)
    }

    fn render(&self) -> String {
        let mut families = self.registry.gather();
        families.extend(process::families());
        // Fails only for a family without a name or without series: there are none.
        TextEncoder::new()
            .encode_to_string(&families)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        let registry = Registry::new();
        let counter = prometheus::IntCounter::new("things_total", "Things.").unwrap();
        registry.register(Box::new(counter.clone())).unwrap();
        counter.inc();
        Page::new(registry)
    }

    fn second(n: u64) -> Time {
        Time(n * 1_000_000_000)
    }

    #[test]
    fn a_page_has_what_is_registered_and_what_the_system_says_of_the_process() {
        let text = page().text(second(1)).unwrap();
        let text = std::str::from_utf8(&text).unwrap();
        assert!(text.contains("\nthings_total 1\n"), "{text}");
        assert!(text.contains("\nprocess_open_fds "), "{text}");
    }

    #[test]
    fn those_who_ask_at_once_share_a_page() {
        let page = page();
        let first = page.text(second(1)).unwrap();
        let at_once = page.text(second(1).plus(FRESH / 2)).unwrap();
        let later = page.text(second(1).plus(FRESH)).unwrap();
        assert_eq!(first.as_ptr(), at_once.as_ptr());
        assert_ne!(first.as_ptr(), later.as_ptr());
    }

    #[test]
    fn slow_readers_hold_a_few_pages_and_no_more() {
        let page = page();
        let mut held: Vec<_> = (0..PAGES_MAX as u64)
            .map(|n| page.text(second(n)).unwrap())
            .collect();
        assert_eq!(page.text(second(100)), None);
        held.pop();
        assert!(page.text(second(101)).is_some());
    }
}
