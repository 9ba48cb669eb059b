//! The page of metrics, rendered at most once in a while: however many ask at
//! once, they share one page of each form. Pages that are read slowly are few, and
//! who reads one of them for longest has to make room for who wants a new one,
//! though not at once.

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
    /// With when each of them got it.
    readers: Vec<(Hangup, Time)>,
}

/// There is no room for one more page.
#[derive(Debug)]
pub(super) enum Crowded {
    /// Until these have hung up, who have read theirs for longest.
    Until(Vec<Hangup>),
    /// And nobody can be asked to make some for so long.
    For(Duration),
}

/// A page is as good as new for so long.
const FRESH: Duration = Duration::from_millis(250);

/// And for so long while slow readers leave no room for a new one.
const FRESH_IN_A_CROWD: Duration = Duration::from_secs(2);

/// Nobody has to read a page in less time than this because others are slow.
const READING_TIME_MIN: Duration = Duration::from_secs(2);

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
    pub(super) fn text(
        &self,
        form: Form,
        now: impl Fn() -> Time,
        reader: &Hangup,
    ) -> Result<Bytes, Crowded> {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let at = now();
        let mut newest = pages.iter_mut().rev();
        let before = newest.find(|rendered| rendered.form == form);
        let mut room_bytes = 0;
        if let Some(rendered) = before {
            if rendered.is_fresh(at, FRESH) {
                return Ok(rendered.read_by(reader, at));
            }
            room_bytes = rendered.page.len() + GROWTH_BYTES;
        }
        // A page that only we hold is read to its end. One of the other form may
        // be asked for once more, if there is room to keep it.
        pages.retain(|rendered| rendered.is_read() || rendered.is_fresh(at, FRESH));
        if pages.len() >= PAGES_MAX {
            pages.retain(Rendered::is_read);
        }
        if pages.len() >= PAGES_MAX {
            return crowded(&mut pages, form, at, reader);
        }
        let text = self
            .metrics
            .text(form, &process::figures(), room_bytes)
            .into_bytes();
        // A text that grew holds more room than it needs.
        let mut rendered = Rendered {
            form,
            at,
            page: Bytes::from(text.into_boxed_slice()),
            readers: Vec::new(),
        };
        // Rendering takes its time, which is not the reader's.
        let page = rendered.read_by(reader, now());
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
    if let Some(rendered) = usable {
        return Ok(rendered.read_by(reader, now));
    }
    let Some(slowest) = pages.iter().min_by_key(|page| page.got_by_all_at()) else {
        return Err(Crowded::For(Duration::ZERO));
    };
    let read_for = now.since(slowest.got_by_all_at());
    Err(match READING_TIME_MIN.checked_sub(read_for) {
        Some(rest) if !rest.is_zero() => Crowded::For(rest),
        _ => Crowded::Until(slowest.readers.iter().map(|(who, _)| who.clone()).collect()),
    })
}

impl Rendered {
    fn read_by(&mut self, reader: &Hangup, now: Time) -> Bytes {
        // There are no more of them than connections.
        self.readers.retain(|(reader, _)| !reader.is_done());
        self.readers.push((reader.clone(), now));
        self.page.clone()
    }

    /// By the clock of those who ask, which is never set back.
    fn is_fresh(&self, now: Time, time: Duration) -> bool {
        now.since(self.at) < time
    }

    /// Since when all have it who still read it.
    fn got_by_all_at(&self) -> Time {
        let reading = self.readers.iter().filter(|(reader, _)| !reader.is_done());
        reading.map(|(_, at)| *at).max().unwrap_or(self.at)
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
        let text = page().text(FORM, || second(1), &reader().0).unwrap();
        let text = std::str::from_utf8(&text).unwrap();
        assert!(text.contains("\nruntrail_source_connected 0\n"), "{text}");
        assert!(text.contains("\nprocess_open_fds "), "{text}");
    }

    #[test]
    fn those_who_ask_at_once_share_a_page() {
        let page = page();
        let (reader, _kept) = reader();
        let first = page.text(FORM, || second(1), &reader).unwrap();
        let at_once = page
            .text(FORM, || second(1).plus(FRESH / 2), &reader)
            .unwrap();
        let later = page.text(FORM, || second(1).plus(FRESH), &reader).unwrap();
        assert_eq!(first.as_ptr(), at_once.as_ptr());
        assert_ne!(first.as_ptr(), later.as_ptr());
    }

    #[test]
    fn slow_readers_hold_a_few_pages_and_the_slowest_makes_room() {
        let page = page();
        let readers: Vec<_> = (0..=PAGES_MAX).map(|_| reader()).collect();
        let ask = |n: usize, now| page.text(FORM, || now, &readers[n].0);
        let mut held: Vec<_> = (0..PAGES_MAX)
            .map(|n| ask(n, second(10 * n as u64)).unwrap())
            .collect();
        let Err(Crowded::Until(slowest)) = ask(PAGES_MAX, second(100)) else {
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
            .map(|n| page.text(FORM, || begin.plus(FRESH * n), &reader).unwrap())
            .collect();
        let newest_at = begin.plus(FRESH * (PAGES_MAX as u32 - 1));
        let just = newest_at.plus(FRESH_IN_A_CROWD - Duration::from_nanos(1));
        let again = page.text(FORM, || just, &reader).unwrap();
        assert_eq!(again.as_ptr(), held[PAGES_MAX - 1].as_ptr());
        let old = newest_at.plus(FRESH_IN_A_CROWD);
        assert!(page.text(FORM, || old, &reader).is_err());
        // A page of the other form is none.
        assert!(page.text(Form::OpenMetrics, || just, &reader).is_err());
    }

    /// Two pages that are read from then on, and their readers.
    fn two_pages(forms: [Form; 2], at: [Duration; 2]) -> (Page, [(Hangup, Bytes); 2], Kept) {
        let page = page();
        let (one, two) = (reader(), reader());
        let read = |n: usize, who: &Hangup| {
            let got = page.text(forms[n], || second(100).plus(at[n]), who);
            (who.clone(), got.unwrap())
        };
        let read = [read(0, &one.0), read(1, &two.0)];
        (page, read, [one.1, two.1])
    }

    type Kept = [watch::Receiver<bool>; 2];

    /// Who has to make room for a page that is wanted then, or how long it is
    /// until somebody has to.
    fn wanted(page: &Page, form: Form, at: Duration) -> Crowded {
        let (reader, _kept) = reader();
        let crowded = page.text(form, || second(100).plus(at), &reader);
        crowded.expect_err("there is no room")
    }

    fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn nobody_is_cut_before_there_was_time_to_read() {
        let forms = [Form::OpenMetrics; 2];
        let (page, read, _kept) = two_pages(forms, [Duration::ZERO, millis(260)]);
        // There is no page of that form, and both are young.
        let crowded = wanted(&page, Form::Classic, millis(270));
        assert!(
            matches!(crowded, Crowded::For(rest) if rest == millis(1_730)),
            "{crowded:?}"
        );
        let crowded = wanted(&page, Form::Classic, READING_TIME_MIN);
        assert!(matches!(crowded, Crowded::Until(who) if who.len() == 1));
        drop(read);
    }

    #[test]
    fn who_gets_a_page_late_has_as_much_time_for_it_until_it_is_read() {
        let forms = [Form::Classic, Form::OpenMetrics];
        let (page, read, _kept) = two_pages(forms, [Duration::ZERO; 2]);
        let (late, kept_late) = reader();
        for form in forms {
            let at = || second(100).plus(millis(1_500));
            page.text(form, at, &late).unwrap();
        }
        let crowded = wanted(&page, Form::Classic, millis(2_500));
        assert!(
            matches!(crowded, Crowded::For(rest) if rest == millis(1_000)),
            "{crowded:?}"
        );
        drop(kept_late);
        let crowded = wanted(&page, Form::Classic, millis(2_500));
        assert!(matches!(crowded, Crowded::Until(_)), "{crowded:?}");
        drop(read);
    }

    #[test]
    fn what_rendering_takes_is_not_the_readers_time() {
        let page = page();
        let (slow, _kept) = reader();
        let times = std::cell::Cell::new(0);
        let passing = || second(times.replace(times.get() + 1));
        let _read = page.text(FORM, passing, &slow).unwrap();
        assert_eq!(page.pages.lock().unwrap()[0].got_by_all_at(), second(1));
    }

    #[test]
    fn readers_that_are_done_are_forgotten() {
        let page = page();
        for _ in 0..10 {
            page.text(FORM, || second(1), &reader().0).unwrap();
        }
        assert_eq!(page.pages.lock().unwrap()[0].readers.len(), 1);
    }

    #[test]
    fn pages_of_two_forms_are_kept_side_by_side() {
        let page = page();
        let (reader, _kept) = reader();
        let first = page.text(Form::OpenMetrics, || second(1), &reader).unwrap();
        let classic = page.text(Form::Classic, || second(1), &reader).unwrap();
        assert!(first.ends_with(b"# EOF\n") && !classic.ends_with(b"# EOF\n"));
        let place = first.as_ptr();
        drop((first, classic));
        let again = page.text(Form::OpenMetrics, || second(1), &reader).unwrap();
        assert_eq!(again.as_ptr(), place);
    }

    #[test]
    fn a_fresh_page_of_the_other_form_goes_when_there_is_no_room_for_it() {
        let page = page();
        let (reader, _kept) = reader();
        let read: Vec<_> = (1..PAGES_MAX as u64)
            .map(|n| page.text(Form::OpenMetrics, || second(n), &reader).unwrap())
            .collect();
        let now = second(100);
        drop(page.text(Form::Classic, || now, &reader).unwrap());
        let at_once = page.text(Form::OpenMetrics, || now, &reader).unwrap();
        assert_eq!(page.pages.lock().unwrap().len(), PAGES_MAX);
        assert!(page.text(Form::Classic, || now, &reader).is_err());
        drop((read, at_once));
        assert!(page.text(Form::Classic, || now, &reader).is_ok());
    }
}
