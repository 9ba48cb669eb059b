//! Which lists of runs are being asked for: after a gap, a run may have begun,
//! or begun and ended, without anybody noticing.
//!
//! A project's runs are listed by their start, since a little before the last
//! that was known; and by each state of an open run, however old it is. What
//! happens while a list is being read makes it be read once more, and one that
//! could not be had is asked for again after a while.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::outputs::Wish;
use crate::limits::{
    LISTED_PROJECTS_MAX, LISTED_RUNS_MAX, LISTS_AGAIN_AFTER_MAX, LISTS_AGAIN_AFTER_MIN,
};
use crate::wire::rows::OpenStatus;
use crate::wire::time::Time;

/// The lists of all projects.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Lists {
    projects: BTreeMap<i64, Listing>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Listing {
    since: Option<Time>,
    /// Lists that have not been read to their end.
    left: u8,
    /// Asked for once more meanwhile, since then.
    again: Option<Option<Time>>,
    /// Since when runs may have begun that no list has told of.
    unlisted: Option<Time>,
    /// Since when a list is missing that could not be had, and how long that is
    /// left alone.
    missing: Option<(Time, Duration)>,
    /// Whether one of the lists that are being read could not be had.
    failed: bool,
}

impl Lists {
    /// A project whose runs are known of.
    pub(super) fn know(&mut self, project: i64) {
        if self.projects.len() < LISTED_PROJECTS_MAX {
            self.projects.entry(project).or_default();
        }
    }

    /// The projects that are known of.
    pub(super) fn projects(&self) -> Vec<i64> {
        self.projects.keys().copied().collect()
    }

    /// Asks for a project's runs: those that started since then, if that is to
    /// be known, and those that are open.
    pub(super) fn begin(&mut self, project: i64, since: Option<Time>, wishes: &mut VecDeque<Wish>) {
        self.know(project);
        let Some(listing) = self.projects.get_mut(&project) else {
            return;
        };
        let since = earlier(since, listing.unlisted.take());
        if listing.left > 0 {
            // The earlier of the two covers both.
            listing.again = Some(earlier(listing.again.flatten(), since));
            return;
        }
        listing.since = since;
        listing.ask(project, wishes);
    }

    /// A project cannot be heard any more: from then on its runs are unknown.
    pub(super) fn lose_sight(&mut self, project: i64, since: Option<Time>) {
        self.know(project);
        if let Some(listing) = self.projects.get_mut(&project) {
            listing.unlisted = earlier(listing.unlisted, since);
        }
    }

    /// What was being asked for is asked for anew: who was asked is gone.
    pub(super) fn renew(&mut self, wishes: &mut VecDeque<Wish>) {
        for (project, listing) in &mut self.projects {
            if listing.left > 0 {
                listing.ask(*project, wishes);
            }
        }
    }

    /// Asks once more for the lists that could not be had, when they have been left
    /// alone for long enough.
    pub(super) fn ask_again(&mut self, now: Time, wishes: &mut VecDeque<Wish>) {
        for (project, listing) in &mut self.projects {
            let is_due = |(since, wait)| now.since(since) >= wait;
            if listing.left == 0 && listing.missing.is_some_and(is_due) {
                listing.since = listing.unlisted.take();
                listing.ask(*project, wishes);
            }
        }
    }

    /// A page of so many rows was read, or none could be had. How many rows a page
    /// may have is the server's choice: a list is at its end when there are none.
    pub(super) fn read(
        &mut self,
        wish: &Wish,
        rows: Option<u32>,
        now: Time,
        wishes: &mut VecDeque<Wish>,
    ) {
        let Wish::ListRuns {
            project,
            since,
            status,
            offset,
        } = *wish
        else {
            return;
        };
        let Some(listing) = self.projects.get_mut(&project) else {
            return;
        };
        if rows.is_none() {
            // The next list covers this one.
            listing.unlisted = earlier(listing.unlisted, since);
            listing.failed = true;
        }
        let rows = rows.unwrap_or_default();
        let offset = offset.saturating_add(rows);
        if rows > 0 && offset < LISTED_RUNS_MAX {
            wishes.push_back(Wish::ListRuns {
                project,
                since,
                status,
                offset,
            });
            return;
        }
        listing.left = listing.left.saturating_sub(1);
        if listing.left > 0 {
            return;
        }
        listing.rest(now);
        if let Some(since) = listing.again.take() {
            listing.since = since;
            listing.ask(project, wishes);
        }
    }
}

impl Listing {
    /// All lists are read, as far as they could be had. Those that could not are
    /// left alone twice as long each time.
    fn rest(&mut self, now: Time) {
        let wait = match self.missing {
            None => LISTS_AGAIN_AFTER_MIN,
            Some((_, wait)) => (wait * 2).min(LISTS_AGAIN_AFTER_MAX),
        };
        self.missing = self.failed.then_some((now, wait));
    }

    fn ask(&mut self, project: i64, wishes: &mut VecDeque<Wish>) {
        let by_start = self.since.map(|since| (Some(since), None));
        let by_status = OpenStatus::ALL.map(|status| (None, Some(status)));
        self.left = 0;
        self.failed = false;
        for (since, status) in by_start.into_iter().chain(by_status) {
            self.left += 1;
            wishes.push_back(Wish::ListRuns {
                project,
                since,
                status,
                offset: 0,
            });
        }
    }
}

/// The earlier of two times, of which there may be none.
fn earlier(one: Option<Time>, other: Option<Time>) -> Option<Time> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::ROWS_MAX;

    const NOW: Time = Time(1_000);

    fn taken(wishes: &mut VecDeque<Wish>) -> Vec<Wish> {
        wishes.drain(..).collect()
    }

    fn offsets(wishes: &[Wish]) -> Vec<u32> {
        let offset = |wish: &Wish| match wish {
            Wish::ListRuns { offset, .. } => *offset,
            _ => u32::MAX,
        };
        wishes.iter().map(offset).collect()
    }

    #[test]
    fn runs_are_listed_by_start_and_by_state_and_page_by_page() {
        let (mut lists, mut wishes) = (Lists::default(), VecDeque::new());
        lists.begin(7, Some(Time(5)), &mut wishes);
        let asked = taken(&mut wishes);
        assert_eq!(offsets(&asked), [0; 4]);
        lists.read(&asked[0], Some(50), NOW, &mut wishes);
        let next = taken(&mut wishes);
        assert_eq!(offsets(&next), [50]);
        lists.read(&next[0], Some(3), NOW, &mut wishes);
        let last = taken(&mut wishes);
        assert_eq!(offsets(&last), [53], "a server may have small pages");
        lists.read(&last[0], Some(0), NOW, &mut wishes);
        assert_eq!(taken(&mut wishes), []);
    }

    #[test]
    fn without_a_time_only_open_runs_are_listed() {
        let (mut lists, mut wishes) = (Lists::default(), VecDeque::new());
        lists.begin(7, None, &mut wishes);
        assert_eq!(wishes.len(), OpenStatus::ALL.len());
    }

    #[test]
    fn what_is_asked_for_meanwhile_is_asked_once_more_since_the_earlier_time() {
        let (mut lists, mut wishes) = (Lists::default(), VecDeque::new());
        lists.begin(7, Some(Time(5)), &mut wishes);
        for since in [9, 8] {
            lists.begin(7, Some(Time(since)), &mut wishes);
        }
        let asked = taken(&mut wishes);
        assert_eq!(asked.len(), 4);
        for wish in &asked {
            lists.read(wish, Some(0), NOW, &mut wishes);
        }
        let again = taken(&mut wishes);
        assert_eq!(again.len(), 4);
        assert!(matches!(
            again[0],
            Wish::ListRuns {
                since: Some(Time(8)),
                ..
            }
        ));
    }

    fn since(wishes: &[Wish]) -> Option<Time> {
        match wishes.first()? {
            Wish::ListRuns { since, .. } => *since,
            _ => None,
        }
    }

    #[test]
    fn what_a_list_did_not_tell_is_asked_for_with_the_next_one() {
        let (mut lists, mut wishes) = (Lists::default(), VecDeque::new());
        lists.begin(7, Some(Time(5)), &mut wishes);
        for wish in &taken(&mut wishes) {
            lists.read(wish, None, NOW, &mut wishes);
        }
        lists.begin(7, Some(Time(9)), &mut wishes);
        let asked = taken(&mut wishes);
        assert_eq!(since(&asked), Some(Time(5)));
        for wish in &asked {
            lists.read(wish, Some(0), NOW, &mut wishes);
        }
        lists.begin(7, Some(Time(12)), &mut wishes);
        assert_eq!(since(&taken(&mut wishes)), Some(Time(12)));
    }

    #[test]
    fn what_could_not_be_had_is_asked_for_again_ever_more_rarely_until_it_can() {
        let (mut lists, mut wishes) = (Lists::default(), VecDeque::new());
        lists.begin(7, Some(Time(5)), &mut wishes);
        let mut now = NOW;
        for wait in [1, 2, 4, 8, 16, 32, 60, 60].map(|minutes| Duration::from_secs(60 * minutes)) {
            for wish in &taken(&mut wishes) {
                lists.read(wish, None, now, &mut wishes);
            }
            now = now.plus(wait);
            lists.ask_again(now.minus(Duration::from_nanos(1)), &mut wishes);
            assert_eq!(taken(&mut wishes), []);
            lists.ask_again(now, &mut wishes);
            assert_eq!(since(wishes.make_contiguous()), Some(Time(5)));
        }
        for wish in &taken(&mut wishes) {
            lists.read(wish, Some(0), now, &mut wishes);
        }
        lists.ask_again(now.plus(LISTS_AGAIN_AFTER_MAX), &mut wishes);
        assert_eq!(taken(&mut wishes), []);
    }

    #[test]
    fn one_list_that_is_missing_is_not_made_up_for_by_the_others() {
        let (mut lists, mut wishes) = (Lists::default(), VecDeque::new());
        lists.begin(7, Some(Time(5)), &mut wishes);
        for (n, wish) in taken(&mut wishes).iter().enumerate() {
            let rows = (n != 1).then_some(0);
            lists.read(wish, rows, NOW, &mut wishes);
        }
        lists.ask_again(NOW.plus(LISTS_AGAIN_AFTER_MIN), &mut wishes);
        assert_eq!(wishes.len(), OpenStatus::ALL.len());
    }

    #[test]
    fn what_happens_out_of_sight_is_listed_from_when_sight_was_lost() {
        let (mut lists, mut wishes) = (Lists::default(), VecDeque::new());
        for time in [3, 5] {
            lists.lose_sight(7, Some(Time(time)));
        }
        lists.begin(7, Some(Time(9)), &mut wishes);
        assert_eq!(since(&taken(&mut wishes)), Some(Time(3)));
    }

    #[test]
    fn a_list_without_end_comes_to_one() {
        let (mut lists, mut wishes) = (Lists::default(), VecDeque::new());
        lists.begin(7, None, &mut wishes);
        let mut pages = 0;
        while let Some(wish) = wishes.pop_front() {
            lists.read(&wish, Some(ROWS_MAX as u32), NOW, &mut wishes);
            pages += 1;
        }
        assert_eq!(pages, 3 * (LISTED_RUNS_MAX / ROWS_MAX as u32));
    }

    #[test]
    fn whoever_was_asked_and_is_gone_is_replaced() {
        let (mut lists, mut wishes) = (Lists::default(), VecDeque::new());
        lists.begin(7, Some(Time(5)), &mut wishes);
        let asked = taken(&mut wishes);
        lists.renew(&mut wishes);
        assert_eq!(taken(&mut wishes), asked);
        for wish in &asked {
            lists.read(wish, Some(0), NOW, &mut wishes);
        }
        lists.renew(&mut wishes);
        assert_eq!(taken(&mut wishes), []);
    }
}
