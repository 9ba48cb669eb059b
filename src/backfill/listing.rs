//! The runs of one project that are to be sent again, from the server's list,
//! newest first. Pure: pages come in, wishes come out.
//!
//! The list shifts while it is read. Runs that begin meanwhile push others to a
//! later page, so some are seen twice: that is known by their ids. Runs that
//! are deleted pull others to an earlier page, so each page begins a little
//! before the end of the one before it; and when nothing of it is known, more
//! were deleted than that, and it is read from further ahead.

use rustc_hash::FxHashSet;
use xxhash_rust::xxh3::xxh3_128;

use super::Window;
use crate::run::outputs::Wish;
use crate::wire::rows::{RowOfRun, RowStatus};

/// How many rows of a page are read again with the next one.
const OVERLAP_ROWS: u32 = 10;

/// How often a page is read from further ahead, in all.
const STEPS_BACK_MAX: u32 = 1_000;

/// The list of one project, as far as it was read.
#[derive(Debug)]
pub(super) struct Listing {
    project: i64,
    window: Window,
    /// Runs that may still be found.
    room: usize,
    offset: u32,
    /// How many rows the page before had.
    page: u32,
    seen: FxHashSet<u128>,
    steps_back: u32,
    pub(super) found: Found,
}

/// What was found.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Found {
    /// Runs that have ended, newest first.
    pub(super) ended: Vec<RowOfRun>,
    /// How many have not.
    pub(super) open: usize,
    /// There are more of them than may be.
    pub(super) too_many: bool,
}

impl Listing {
    pub(super) fn new(project: i64, window: Window, room: usize) -> Self {
        Self {
            project,
            window,
            room,
            offset: 0,
            page: 0,
            seen: FxHashSet::default(),
            steps_back: 0,
            found: Found::default(),
        }
    }

    /// The page to ask for.
    pub(super) const fn wish(&self) -> Wish {
        Wish::ListRuns {
            project: self.project,
            since: Some(self.window.since),
            status: None,
            offset: self.offset,
        }
    }

    /// Takes the page that was asked for; tells whether there is another one.
    pub(super) fn read(
        &mut self,
        rows: Vec<RowOfRun>,
        is_wanted: impl Fn(&RowOfRun) -> bool,
    ) -> bool {
        let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        if count == 0 || self.found.too_many {
            return false;
        }
        let mut known = self.offset == 0;
        for mut row in rows {
            row.project = row.project.or(Some(self.project));
            if !self.seen.insert(xxh3_128(row.id.as_bytes())) {
                known = true;
            } else if self.window.has(&row) && is_wanted(&row) {
                self.take(row);
            }
        }
        if !known && self.steps_back < STEPS_BACK_MAX {
            self.steps_back += 1;
            self.offset = self.offset.saturating_sub(self.page.max(OVERLAP_ROWS));
            return true;
        }
        self.page = count;
        let again = if count > 2 * OVERLAP_ROWS {
            OVERLAP_ROWS
        } else {
            0
        };
        self.offset = self.offset.saturating_add(count - again);
        !self.found.too_many
    }

    fn take(&mut self, row: RowOfRun) {
        match row.status {
            RowStatus::Ended(_) if self.found.ended.len() == self.room => {
                self.found.too_many = true;
            }
            // A long message is nothing to keep: the log tells it.
            RowStatus::Ended(_) => self.found.ended.push(RowOfRun { error: None, ..row }),
            RowStatus::Open { .. } | RowStatus::Unknown => self.found.open += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::event::RunOutcome;
    use crate::wire::time::Time;

    const PAGE: usize = 50;

    fn row(number: usize) -> RowOfRun {
        RowOfRun {
            id: format!("run-{number}"),
            project: Some(7),
            workflow: "review".into(),
            status: RowStatus::Ended(RunOutcome::Success),
            started_at: Some(Time(number as u64)),
            finished_at: None,
            cost_usd: None,
            input_tokens: None,
            output_tokens: None,
            parent: None,
            triggered_by: None,
            channel: None,
            version: None,
            error: Some("a long message".into()),
            error_kind: None,
        }
    }

    fn listing(room: usize) -> Listing {
        let window = Window {
            since: Time(0),
            until: None,
        };
        Listing::new(7, window, room)
    }

    fn page(server: &[usize], wish: &Wish) -> Vec<RowOfRun> {
        let Wish::ListRuns { offset, .. } = wish else {
            panic!("no list: {wish:?}");
        };
        let rows = server.iter().skip(*offset as usize);
        rows.take(PAGE).map(|number| row(*number)).collect()
    }

    /// What is found on a server whose list changes after each page.
    fn found(mut server: Vec<usize>, mut change: impl FnMut(&mut Vec<usize>, usize)) -> Vec<usize> {
        let mut listing = listing(100_000);
        for turn in 0..10_000 {
            let rows = page(&server, &listing.wish());
            if !listing.read(rows, |_| true) {
                let ended = &listing.found.ended;
                let mut numbers: Vec<usize> = ended
                    .iter()
                    .map(|row| row.started_at.unwrap().0 as usize)
                    .collect();
                let whole = numbers.len();
                numbers.sort_unstable();
                numbers.dedup();
                assert_eq!(numbers.len(), whole, "no run is found twice");
                return numbers;
            }
            change(&mut server, turn);
        }
        panic!("it never ends");
    }

    fn newest_first(count: usize) -> Vec<usize> {
        (0..count).rev().collect()
    }

    #[test]
    fn a_list_that_stays_is_found_whole_whatever_its_length() {
        for count in [0, 1, 19, 20, 21, 49, 50, 51, 90, 100, 537] {
            let all: Vec<usize> = (0..count).collect();
            assert_eq!(found(newest_first(count), |_, _| {}), all, "{count}");
        }
    }

    #[test]
    fn runs_that_begin_meanwhile_cost_none_of_the_others() {
        for begun in [1, 30, 49] {
            let found = found(newest_first(300), |server, turn| {
                if turn < 20 {
                    for number in 0..begun {
                        server.insert(0, 1_000 + turn * 100 + number);
                    }
                }
            });
            let old: Vec<usize> = (0..300).collect();
            assert_eq!(found[..300], old, "{begun}");
        }
    }

    #[test]
    fn runs_that_are_deleted_meanwhile_cost_none_of_the_others() {
        for deleted in [1, 5, 10, 11, 40, 70] {
            let mut gone = Vec::new();
            let found = found(newest_first(300), |server, turn| {
                if turn == 0 || turn == 3 {
                    gone.extend(server.drain(..deleted.min(server.len())));
                }
            });
            let is_there = |number: &usize| found.contains(number) || gone.contains(number);
            assert!((0..300).all(|number| is_there(&number)), "{deleted}");
        }
    }

    #[test]
    fn a_server_that_never_gives_the_same_twice_is_not_asked_for_ever() {
        let mut listing = listing(100_000_000);
        let mut next = 0;
        let mut pages = 0;
        while listing.offset < 100 * PAGE as u32 {
            pages += 1;
            assert!(pages < 10_000);
            let rows = (next..next + PAGE).map(row).collect();
            next += PAGE;
            assert!(listing.read(rows, |_| true));
        }
    }

    #[test]
    fn only_runs_of_the_window_that_ended_and_are_wanted_are_found() {
        let mut listing = Listing::new(
            7,
            Window {
                since: Time(10),
                until: Some(Time(20)),
            },
            100,
        );
        let with_status = |number, status| RowOfRun {
            status,
            ..row(number)
        };
        let rows = vec![
            row(21),
            RowOfRun {
                project: Some(8),
                ..row(20)
            },
            with_status(19, RowStatus::Open { waiting: true }),
            with_status(18, RowStatus::Unknown),
            RowOfRun {
                workflow: "other".into(),
                ..row(17)
            },
            RowOfRun {
                project: None,
                started_at: None,
                ..row(16)
            },
            row(10),
            row(9),
        ];
        assert!(listing.read(rows, |row| row.workflow == "review"));
        let ids: Vec<&str> = listing.found.ended.iter().map(|row| &*row.id).collect();
        assert_eq!(ids, ["run-20", "run-16", "run-10"]);
        assert_eq!(listing.found.open, 2);
        let projects: Vec<_> = (listing.found.ended.iter())
            .map(|row| row.project)
            .collect();
        assert_eq!(
            projects,
            [Some(8), Some(7), Some(7)],
            "the one that was asked for"
        );
        assert_eq!(listing.found.ended[0].error, None);
    }

    #[test]
    fn more_runs_than_may_be_are_not_kept() {
        let server = newest_first(300);
        let mut listing = listing(120);
        while listing.read(page(&server, &listing.wish()), |_| true) {}
        assert!(listing.found.too_many);
        assert_eq!(listing.found.ended.len(), 120);
        let mut listing = super::Listing::new(7, listing.window, 300);
        while listing.read(page(&server, &listing.wish()), |_| true) {}
        assert!(
            !listing.found.too_many,
            "as many as may be are not too many"
        );
    }
}
