//! The journal: what was accepted, in its order, until a checkpoint holds what
//! came of it. It never takes more of the disk than its limit; beyond that it
//! refuses.

use std::sync::Arc;

use super::files::Files;
use super::log::{Log, LogError, LogSettings, Recovery, SEGMENT_HEADER_BYTES, Scan};

/// The segments of a journal that is full. More of them means that less is kept
/// in vain, since only whole ones are deleted.
const SEGMENTS: u64 = 8;

/// The bounds of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalSettings {
    /// What all of it may take on the disk.
    pub limit_bytes: u64,
    /// One entry.
    pub record_bytes_max: usize,
}

/// The journal, open for appending.
#[derive(Debug)]
pub struct Journal {
    log: Log,
    limit_bytes: u64,
    /// Nobody needs the entries up to this one.
    trimmed: u64,
}

impl Journal {
    /// Opens the journal, or begins one.
    pub fn open(
        files: Arc<dyn Files>,
        settings: JournalSettings,
    ) -> Result<(Self, Recovery), LogError> {
        let JournalSettings {
            limit_bytes,
            record_bytes_max,
        } = settings;
        let segment_bytes = (record_bytes_max as u64).max(limit_bytes / SEGMENTS);
        let settings = LogSettings {
            segment_bytes,
            record_bytes_max,
        };
        let (log, recovery) = Log::open(files, "journal", settings)?;
        let journal = Self {
            log,
            limit_bytes,
            trimmed: 0,
        };
        Ok((journal, recovery))
    }

    /// Makes the entries durable, in one go, and tells the number of the last
    /// entry that there is. After an error none of them is there; after
    /// [`LogError::Full`] they may be tried again once something was trimmed.
    pub fn append_all<'a>(
        &mut self,
        entries: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Result<u64, LogError> {
        let mut appended = self.try_append_all(entries.clone());
        if matches!(appended, Err(LogError::Full)) && self.drop_what_is_trimmed()? {
            appended = self.try_append_all(entries);
        }
        appended
    }

    /// The number of the last entry that is durable.
    pub fn committed(&self) -> u64 {
        self.log.committed()
    }

    /// The entries from a number on.
    pub fn replay(&self, from: u64) -> Scan {
        self.log.scan(from)
    }

    /// The number of the oldest entry that is still there.
    pub fn first_number(&self) -> u64 {
        self.log.first_number()
    }

    /// The next entry gets a number above this one. A checkpoint that was made at
    /// an entry which is lost since must not swallow another one of that number.
    pub fn begin_after(&mut self, number: u64) -> Result<(), LogError> {
        if self.committed() < number {
            self.log.skip_to(number.saturating_add(1))?;
        }
        Ok(())
    }

    /// The entries up to this one are not needed any more.
    pub fn trim(&mut self, through: u64) -> Result<(), LogError> {
        self.trimmed = self.trimmed.max(through);
        self.log.delete_before(through.saturating_add(1)).map(drop)
    }

    /// What it takes on the disk.
    pub fn bytes(&self) -> u64 {
        self.log.disk_bytes()
    }

    /// What it may take.
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    fn try_append_all<'a>(
        &mut self,
        entries: impl Iterator<Item = &'a [u8]>,
    ) -> Result<u64, LogError> {
        for entry in entries {
            let appended = if self.fits(entry) {
                self.log.append(entry)
            } else {
                Err(LogError::Full)
            };
            if let Err(error) = appended {
                self.log.discard();
                return Err(error);
            }
        }
        self.log.commit()?;
        Ok(self.log.committed())
    }

    /// There has to be room left for the header of one more segment: without it
    /// a newest segment that nobody needs could never be deleted.
    fn fits(&self, entry: &[u8]) -> bool {
        self.log.disk_bytes_with(entry.len()) + SEGMENT_HEADER_BYTES <= self.limit_bytes
    }

    /// When nothing of the newest segment is needed either, that may go as well.
    fn drop_what_is_trimmed(&mut self) -> Result<bool, LogError> {
        let is_needed = self.trimmed < self.log.committed();
        if is_needed || self.log.disk_bytes() <= SEGMENT_HEADER_BYTES {
            return Ok(false);
        }
        self.log.roll()?;
        self.log.delete_before(self.log.next_number())?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::files::Memory;
    use crate::store::files::faulty::{Fault, Faulty, Operation};

    const SETTINGS: JournalSettings = JournalSettings {
        limit_bytes: 1_000,
        record_bytes_max: 200,
    };

    fn open(files: &Faulty) -> Journal {
        Journal::open(Arc::new(files.clone()), SETTINGS).unwrap().0
    }

    fn append(journal: &mut Journal, entries: &[Vec<u8>]) -> Result<u64, LogError> {
        journal.append_all(entries.iter().map(Vec::as_slice))
    }

    fn entries(journal: &Journal, from: u64) -> Vec<(u64, Vec<u8>)> {
        let records = journal.replay(from).map(Result::unwrap);
        records
            .map(|record| (record.number, record.bytes))
            .collect()
    }

    #[test]
    fn entries_are_replayed_from_where_they_are_wanted() {
        let files = Faulty::new();
        let mut journal = open(&files);
        assert_eq!(append(&mut journal, &[]).unwrap(), 0);
        let three = [b"one", b"two", b"six"].map(|entry| entry.to_vec());
        assert_eq!(append(&mut journal, &three).unwrap(), 3);
        assert_eq!(files.done(Operation::SyncData), 1, "in one go");
        drop(journal);
        let journal = open(&files);
        assert_eq!(journal.committed(), 3);
        let expected = [(2, b"two".to_vec()), (3, b"six".to_vec())];
        assert_eq!(entries(&journal, 2), expected);
    }

    #[test]
    fn what_goes_over_the_limit_is_refused_as_a_whole() {
        let files = Faulty::new();
        let mut journal = open(&files);
        append(&mut journal, &[vec![1; 200], vec![2; 200]]).unwrap();
        let before = journal.bytes();
        let many = vec![vec![3; 100]; 6];
        assert!(matches!(append(&mut journal, &many), Err(LogError::Full)));
        assert_eq!(journal.bytes(), before);
        assert_eq!(journal.committed(), 2);
        assert_eq!(append(&mut journal, &[vec![4; 100]]).unwrap(), 3);
    }

    #[test]
    fn a_journal_of_which_nothing_is_needed_takes_the_largest_entry() {
        let files = Faulty::new();
        // Just enough: the largest entry, and a header while the old one goes.
        let overhead = 2 * SEGMENT_HEADER_BYTES + 16;
        let settings = JournalSettings {
            limit_bytes: 200 + overhead,
            record_bytes_max: 200,
        };
        let (mut journal, _) = Journal::open(Arc::new(files.clone()), settings).unwrap();
        for number in 1..10 {
            assert_eq!(append(&mut journal, &[vec![1; 200]]).unwrap(), number);
            assert!(matches!(
                append(&mut journal, &[vec![2]]),
                Err(LogError::Full)
            ));
            assert!(files.bytes_used() <= settings.limit_bytes);
            journal.trim(number).unwrap();
        }
    }

    #[test]
    fn a_limit_that_is_too_small_is_kept_all_the_same() {
        let files = Faulty::new();
        let settings = JournalSettings {
            limit_bytes: 300,
            record_bytes_max: 200,
        };
        let (mut journal, _) = Journal::open(Arc::new(files.clone()), settings).unwrap();
        files.bound(settings.limit_bytes);
        assert!(matches!(
            append(&mut journal, &[vec![1; 173]]),
            Err(LogError::Full)
        ));
        for number in 1..5 {
            // With a header for the next segment this is all that there is.
            assert_eq!(append(&mut journal, &[vec![1; 172]]).unwrap(), number);
            journal.trim(number).unwrap();
        }
    }

    #[test]
    fn a_full_disk_takes_more_once_something_was_trimmed() {
        let files = Faulty::new();
        let mut journal = open(&files);
        append(&mut journal, &[vec![1; 150], vec![2; 150]]).unwrap();
        files.bound(files.bytes_used() + 60);
        assert!(matches!(
            append(&mut journal, &[vec![3; 150]]),
            Err(LogError::Full)
        ));
        journal.trim(2).unwrap();
        assert_eq!(append(&mut journal, &[vec![3; 150]]).unwrap(), 3);
        assert_eq!(entries(&open(&files), 3), [(3, vec![3; 150])]);
    }

    #[test]
    fn an_entry_never_gets_a_number_that_a_checkpoint_stands_behind() {
        let files = Memory::new();
        let (mut journal, _) = Journal::open(Arc::new(files), SETTINGS).unwrap();
        append(&mut journal, &[vec![1]]).unwrap();
        journal.begin_after(1).unwrap();
        assert_eq!(append(&mut journal, &[vec![2]]).unwrap(), 2);
        journal.begin_after(7).unwrap();
        assert_eq!(journal.committed(), 7);
        assert_eq!(append(&mut journal, &[vec![8]]).unwrap(), 8);
        assert_eq!(entries(&journal, 3), [(8, vec![8])]);
    }

    proptest! {
        #[test]
        fn it_never_takes_more_than_its_limit_and_keeps_what_is_not_trimmed(
            steps in prop::collection::vec((0..4_usize, 0..=200_usize, 0..6_u64, 0..12_u64), 0..60)
        ) {
            let files = Faulty::new();
            let mut journal = open(&files);
            let mut expected = Vec::new();
            let mut needed_from = 1;
            for (count, len, kept, fault) in steps {
                if fault > 0 {
                    // Refused, and undone, or fatal; then it is opened again.
                    files.fail_change(fault, Fault::Fail { kept: len });
                }
                let new = vec![vec![expected.len() as u8; len]; count];
                let before = journal.committed();
                match append(&mut journal, &new) {
                    Ok(last) => {
                        prop_assert_eq!(last, before + count as u64);
                        expected.extend((before + 1..).zip(new));
                    }
                    Err(LogError::Full | LogError::Io { .. }) => {}
                    Err(_) => {
                        files.heal();
                        journal = open(&files);
                        let there = (journal.committed() - before) as usize;
                        prop_assert!(there <= new.len());
                        expected.extend((before + 1..).zip(new).take(there));
                    }
                }
                files.heal();
                prop_assert!(files.bytes_used() <= SETTINGS.limit_bytes);
                if let Err(LogError::Stopped) = journal.trim(0) {
                    journal = open(&files);
                }
                let through = journal.committed().saturating_sub(kept);
                journal.trim(through).unwrap();
                needed_from = needed_from.max(through + 1);
                let needed = expected.iter().filter(|(number, _)| *number >= needed_from);
                prop_assert_eq!(entries(&journal, needed_from), needed.cloned().collect::<Vec<_>>());
                prop_assert_eq!(journal.bytes(), files.bytes_used());
            }
        }
    }
}
