//! The page of metrics, rendered at most once in a while: however many ask at
//! once, they share one page of each form. Pages that are read slowly are few, and
//! who reads the oldest of them has to make room for who wants a new one.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::process;
use crate::limits::PAGES_MAX;
use crate::metrics::exposition::{Exposition, Form};
use crate::net::serve::Hangup;
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
    readers: Vec<Hangup>,
}

/// There is no room for one more page until these have hung up, who read the
/// oldest one.
#[derive(Debug)]
pub(super) struct Crowded(pub(super) Vec<Hangup>);

/// A page is as good as new for so long.
const FRESH: Duration = Duration::from_millis(250);

/// And for so long while slow readers leave no room for a new one: nobody has to
/// read a page in less time than this because others are slow.
const FRESH_IN_A_CROWD: Duration = Duration::from_secs(2);

/// So much longer than a page of the same form a new one may well be.
const GROWTH_BYTES: usize = 16 << 10;

impl Page {
    pub(super) fn new(metrics: Exposition) -> Self {
        Self {
            metrics,
            pages: Mutex::new(Vec::new()),
        }
    }

    /// The page as it is now, for this reader. Whoever renders it holds the others
    /// up, who then get the same one: to be called where blocking is allowed.
    pub(super) fn text(&self, form: Form, now: Time, reader: &Hangup) -> Result<Bytes, Crowded> {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let mut newest = pages.iter_mut().rev();
        let before = newest.find(|rendered| rendered.form == form);
        let mut room_bytes = 0;
        if let Some(rendered) = before {
            if rendered.is_fresh(now, FRESH) {
                return Ok(rendered.read_by(reader));
            }
            room_bytes = rendered.page.len() + GROWTH_BYTES;
        }
        // A page that only we hold is read to its end. One of the other form may
        // be asked for once more, if there is room to keep it.
        pages.retain(|rendered| rendered.is_read() || rendered.is_fresh(now, FRESH));
        if pages.len() >= PAGES_MAX {
            pages.retain(Rendered::is_read);
        }
        if pages.len() >= PAGES_MAX {
            return crowded(&mut pages, form, now, reader);
        }
        let text = self
            .metrics
            .text(form, &process::figures(), room_bytes)
            .into_bytes();
        // A text that grew holds more room than it needs.
        let mut rendered = Rendered {
            form,
            at: now,
            page: Bytes::from(text.into_boxed_slice()),
            readers: Vec::new(),
        };
        let page = rendered.read_by(reader);
        pages.push(rendered);
        Ok(page)
    }
}

/// All pages are being read: one that is not too old, or who has to make room.
fn crowded(
    pages: &mut [Rendered],
    form: Form,
    now: Time,
    reader: &Hangup,
) -> Result<Bytes, Crowded> {
    let mut newest = pages.iter_mut().rev();
    let usable = newest.find(|page| page.form == form && page.is_fresh(now, FRESH_IN_A_CROWD));
    match usable {
        Some(rendered) => Ok(rendered.read_by(reader)),
        None => {
            let oldest = pages.first().map(|oldest| oldest.readers.clone());
            Err(Crowded(oldest.unwrap_or_default()))
        }
    }
}

impl Rendered {
    fn read_by(&mut self, reader: &Hangup) -> Bytes {
        // There are no more of them than connections.
        self.readers.retain(|reader| !reader.is_done());
        self.readers.push(reader.clone());
        self.page.clone()
    }

    fn is_fresh(&self, now: Time, time: Duration) -> bool {
        now >= self.at && now.since(self.at) < time
    }

    /// Whether somebody has it who may still send it.
    fn is_read(&self) -> bool {
        !self.page.is_unique()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

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

    /// A reader whose connection lasts as long as what is kept.
    fn reader() -> (Hangup, watch::Receiver<bool>) {
        Hangup::channel()
    }

    #[test]
    fn a_page_has_what_is_registered_and_what_the_system_says_of_the_process() {
        let text = page().text(FORM, second(1), &reader().0).unwrap();
        let text = std::str::from_utf8(&text).unwrap();
        assert!(text.contains("\nruntrail_source_connected 0\n"), "{text}");
        assert!(text.contains("\nprocess_open_fds "), "{text}");
    }

    #[test]
    fn those_who_ask_at_once_share_a_page() {
        let page = page();
        let (reader, _kept) = reader();
        let first = page.text(FORM, second(1), &reader).unwrap();
        let at_once = page.text(FORM, second(1).plus(FRESH / 2), &reader).unwrap();
        let later = page.text(FORM, second(1).plus(FRESH), &reader).unwrap();
        assert_eq!(first.as_ptr(), at_once.as_ptr());
        assert_ne!(first.as_ptr(), later.as_ptr());
    }

    #[test]
    fn slow_readers_hold_a_few_pages_and_the_slowest_makes_room() {
        let page = page();
        let readers: Vec<_> = (0..=PAGES_MAX).map(|_| reader()).collect();
        let ask = |n: usize, now| page.text(FORM, now, &readers[n].0);
        let mut held: Vec<_> = (0..PAGES_MAX)
            .map(|n| ask(n, second(10 * n as u64)).unwrap())
            .collect();
        let Err(Crowded(slowest)) = ask(PAGES_MAX, second(100)) else {
            panic!("there is no room");
        };
        let [slowest] = &slowest[..] else {
            panic!("one reader has the oldest page: {slowest:?}");
        };
        slowest.hang_up();
        let was_hung_up = readers.iter().map(|(_, hung_up)| *hung_up.borrow());
        assert_eq!(was_hung_up.collect::<Vec<_>>(), [true, false, false]);
        held.remove(0);
        assert!(ask(PAGES_MAX, second(100)).is_ok());
    }

    #[test]
    fn in_a_crowd_a_page_is_good_for_longer() {
        let page = page();
        let (reader, _kept) = reader();
        let begin = second(100);
        let held: Vec<_> = (0..PAGES_MAX as u32)
            .map(|n| page.text(FORM, begin.plus(FRESH * n), &reader).unwrap())
            .collect();
        let newest_at = begin.plus(FRESH * (PAGES_MAX as u32 - 1));
        let just = newest_at.plus(FRESH_IN_A_CROWD - Duration::from_nanos(1));
        let again = page.text(FORM, just, &reader).unwrap();
        assert_eq!(again.as_ptr(), held[PAGES_MAX - 1].as_ptr());
        let old = newest_at.plus(FRESH_IN_A_CROWD);
        assert!(page.text(FORM, old, &reader).is_err());
        // A page of the other form is none.
        assert!(page.text(Form::OpenMetrics, just, &reader).is_err());
    }

    #[test]
    fn readers_that_are_done_are_forgotten() {
        let page = page();
        for _ in 0..10 {
            page.text(FORM, second(1), &reader().0).unwrap();
        }
        assert_eq!(page.pages.lock().unwrap()[0].readers.len(), 1);
    }

    #[test]
    fn pages_of_two_forms_are_kept_side_by_side() {
        let page = page();
        let (reader, _kept) = reader();
        let first = page.text(Form::OpenMetrics, second(1), &reader).unwrap();
        let classic = page.text(Form::Classic, second(1), &reader).unwrap();
        assert!(first.ends_with(b"# EOF\n") && !classic.ends_with(b"# EOF\n"));
        let place = first.as_ptr();
        drop((first, classic));
        let again = page.text(Form::OpenMetrics, second(1), &reader).unwrap();
        assert_eq!(again.as_ptr(), place);
    }

    #[test]
    fn a_fresh_page_of_the_other_form_goes_when_there_is_no_room_for_it() {
        let page = page();
        let (reader, _kept) = reader();
        let read: Vec<_> = (1..PAGES_MAX as u64)
            .map(|n| page.text(Form::OpenMetrics, second(n), &reader).unwrap())
            .collect();
        let now = second(100);
        drop(page.text(Form::Classic, now, &reader).unwrap());
        let at_once = page.text(Form::OpenMetrics, now, &reader).unwrap();
        assert_eq!(page.pages.lock().unwrap().len(), PAGES_MAX);
        assert!(page.text(Form::Classic, now, &reader).is_err());
        drop((read, at_once));
        assert!(page.text(Form::Classic, now, &reader).is_ok());
    }
}
