//! Which lists of runs are being asked for: after a gap, a run may have begun,
//! or begun and ended, without anybody noticing.
//!
//! A project's runs are listed by their start, since a little before the last
//! that was known; and by each state of an open run, however old it is. What
//! happens while a list is being read makes it be read once more.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::outputs::Wish;
use crate::limits::{LISTED_PROJECTS_MAX, LISTED_RUNS_MAX, ROWS_MAX};
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
        if listing.left > 0 {
            // The earlier of the two covers both.
            let earlier = listing.again.flatten().into_iter().chain(since).min();
            listing.again = Some(earlier);
            return;
        }
        listing.since = since;
        listing.ask(project, wishes);
    }

    /// What was being asked for is asked for anew: who was asked is gone.
    pub(super) fn renew(&mut self, wishes: &mut VecDeque<Wish>) {
        for (project, listing) in &mut self.projects {
            if listing.left > 0 {
                listing.ask(*project, wishes);
            }
        }
    }

    /// A page of so many rows was read, or none could be had.
    pub(super) fn read(&mut self, wish: &Wish, rows: usize, wishes: &mut VecDeque<Wish>) {
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
        let offset = offset.saturating_add(ROWS_MAX as u32);
        if rows >= ROWS_MAX && offset < LISTED_RUNS_MAX {
            wishes.push_back(Wish::ListRuns {
                project,
                since,
                status,
                offset,
            });
            return;
        }
        listing.left = listing.left.saturating_sub(1);
        if listing.left == 0
            && let Some(since) = listing.again.take()
        {
            listing.since = since;
            listing.ask(project, wishes);
        }
    }
}

impl Listing {
    fn ask(&mut self, project: i64, wishes: &mut VecDeque<Wish>) {
        let by_start = self.since.map(|since| (Some(since), None));
        let by_status = OpenStatus::ALL.map(|status| (None, Some(status)));
        self.left = 0;
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

#[cfg(test)]
mod tests {
    use super::*;

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
        lists.read(&asked[0], ROWS_MAX, &mut wishes);
        let next = taken(&mut wishes);
        assert_eq!(offsets(&next), [ROWS_MAX as u32]);
        lists.read(&next[0], 3, &mut wishes);
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
            lists.read(wish, 0, &mut wishes);
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

    #[test]
    fn a_list_without_end_comes_to_one() {
        let (mut lists, mut wishes) = (Lists::default(), VecDeque::new());
        lists.begin(7, None, &mut wishes);
        let mut pages = 0;
        while let Some(wish) = wishes.pop_front() {
            lists.read(&wish, ROWS_MAX, &mut wishes);
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
            lists.read(wish, 0, &mut wishes);
        }
        lists.renew(&mut wishes);
        assert_eq!(taken(&mut wishes), []);
    }
}
