//! The page of metrics, rendered at most once in a while: however many ask at
//! once, they share one page of each form.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::process;
use crate::limits::PAGES_MAX;
use crate::metrics::exposition::{Exposition, Form};
use crate::wire::time::Time;

/// The pages that somebody still reads, the newest last.
#[derive(Debug)]
pub(super) struct Page {
    metrics: Exposition,
    pages: Mutex<Vec<Rendered>>,
}

#[derive(Debug)]
struct Rendered {
    form: Form,
    at: Time,
    page: Bytes,
}

/// A page is as good as new for so long.
const FRESH: Duration = Duration::from_millis(250);

/// So much longer than a page of the same form a new one may well be.
const GROWTH_BYTES: usize = 16 << 10;

impl Page {
    pub(super) fn new(metrics: Exposition) -> Self {
        Self {
            metrics,
            pages: Mutex::new(Vec::new()),
        }
    }

    /// The page as it is now; none when too many older ones are still being
    /// read. Whoever renders it holds the others up, who then get the same one:
    /// to be called where blocking is allowed.
    pub(super) fn text(&self, form: Form, now: Time) -> Option<Bytes> {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let mut newest = pages.iter().rev();
        let before = newest.find(|rendered| rendered.form == form);
        if let Some(rendered) = before
            && rendered.is_fresh(now)
        {
            return Some(rendered.page.clone());
        }
        let room_bytes = before.map_or(0, |rendered| rendered.page.len() + GROWTH_BYTES);
        // A page that only we hold is read to its end. One of the other form may
        // be asked for once more, if there is room to keep it.
        pages.retain(|rendered| rendered.is_read() || rendered.is_fresh(now));
        if pages.len() >= PAGES_MAX {
            pages.retain(Rendered::is_read);
        }
        if pages.len() >= PAGES_MAX {
            return None;
        }
        let text = self
            .metrics
            .text(form, &process::figures(), room_bytes)
            .into_bytes();
        // A text that grew holds more room than it needs.
        let page = Bytes::from(text.into_boxed_slice());
        pages.push(Rendered {
            form,
            at: now,
            page: page.clone(),
        });
        Some(page)
    }
}

impl Rendered {
    fn is_fresh(&self, now: Time) -> bool {
        now >= self.at && now.since(self.at) < FRESH
    }

    /// Whether somebody has it who may still send it.
    fn is_read(&self) -> bool {
        !self.page.is_unique()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::metrics::{Metrics, Settings};

    const FORM: Form = Form::Classic;

    fn page() -> Page {
        let settings = Settings::new(&Limits::default(), &["akribes"]);
        Page::new(Metrics::new(&settings).unwrap().exposition().clone())
    }

    fn second(n: u64) -> Time {
        Time(n * 1_000_000_000)
    }

    #[test]
    fn a_page_has_what_is_registered_and_what_the_system_says_of_the_process() {
        let text = page().text(FORM, second(1)).unwrap();
        let text = std::str::from_utf8(&text).unwrap();
        assert!(text.contains("\nruntrail_source_connected 0\n"), "{text}");
        assert!(text.contains("\nprocess_open_fds "), "{text}");
    }

    #[test]
    fn those_who_ask_at_once_share_a_page() {
        let page = page();
        let first = page.text(FORM, second(1)).unwrap();
        let at_once = page.text(FORM, second(1).plus(FRESH / 2)).unwrap();
        let later = page.text(FORM, second(1).plus(FRESH)).unwrap();
        assert_eq!(first.as_ptr(), at_once.as_ptr());
        assert_ne!(first.as_ptr(), later.as_ptr());
    }

    #[test]
    fn slow_readers_hold_a_few_pages_and_no_more() {
        let page = page();
        let mut held: Vec<_> = (0..PAGES_MAX as u64)
            .map(|n| page.text(FORM, second(n)).unwrap())
            .collect();
        assert_eq!(page.text(FORM, second(100)), None);
        held.pop();
        assert!(page.text(FORM, second(101)).is_some());
    }

    #[test]
    fn pages_of_two_forms_are_kept_side_by_side() {
        let page = page();
        let first = page.text(Form::OpenMetrics, second(1)).unwrap();
        let classic = page.text(Form::Classic, second(1)).unwrap();
        assert!(first.ends_with(b"# EOF\n") && !classic.ends_with(b"# EOF\n"));
        let place = first.as_ptr();
        drop((first, classic));
        let again = page.text(Form::OpenMetrics, second(1)).unwrap();
        assert_eq!(again.as_ptr(), place);
    }

    #[test]
    fn a_fresh_page_of_the_other_form_goes_when_there_is_no_room_for_it() {
        let page = page();
        let read: Vec<_> = (1..PAGES_MAX as u64)
            .map(|n| page.text(Form::OpenMetrics, second(n)).unwrap())
            .collect();
        let now = second(100);
        drop(page.text(Form::Classic, now).unwrap());
        let at_once = page.text(Form::OpenMetrics, now).unwrap();
        assert_eq!(page.pages.lock().unwrap().len(), PAGES_MAX);
        assert_eq!(page.text(Form::Classic, now), None);
        drop((read, at_once));
        assert!(page.text(Form::Classic, now).is_some());
    }
}
