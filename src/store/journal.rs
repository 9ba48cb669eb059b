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
