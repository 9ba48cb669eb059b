//! Writes the records of the outbox, and sees to it that how far the outbox was
//! is never deleted with what told of it.

use super::index::Stand;
use super::record::{self, Mark};
use crate::store::failed::StoreFailed;
use crate::store::log::{Log, LogError, LogReader, Place, RECORD_HEADER_BYTES};

/// Why something was not written.
#[derive(Debug)]
pub(super) enum Refused {
    /// There is no room, be it by the bound or on the disk.
    Full,
    /// The store has failed.
    Failed(StoreFailed),
}

impl From<StoreFailed> for Refused {
    fn from(failed: StoreFailed) -> Self {
        Self::Failed(failed)
    }
}

/// Why the log was not written.
#[derive(Debug)]
pub(super) enum WriteError {
    /// It would be larger than it may be.
    Bound,
    /// The log has refused.
    Log(LogError),
}

/// The record that tells how far the outbox was, of all such records the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) record: u64,
    pub(super) segment: u64,
}

/// The log, with what has to stand in each of its segments.
///
/// The newest segment is never deleted. So each begins, within its first commit,
/// with a record that tells how far the outbox was.
#[derive(Debug)]
pub(super) struct Writer {
    log: Log,
    told: Option<Told>,
}

/// More than a mark takes on the disk.
pub(super) const MARK_DISK_BYTES: u64 = RECORD_HEADER_BYTES + 40;

impl Writer {
    pub(super) const fn new(log: Log, told: Option<Told>) -> Self {
        Self { log, told }
    }

    /// What all of it takes on the disk.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.log.disk_bytes()
    }

    /// Whether a record of this size leaves the log within a bound.
    pub(super) fn fits(&self, record_bytes: usize, bytes_max: u64) -> bool {
        self.log.disk_bytes_with(record_bytes) + MARK_DISK_BYTES <= bytes_max
    }

    /// The number with which the oldest segment begins.
    pub(super) fn first_segment(&self) -> u64 {
        self.log.first_number()
    }

    /// Reads beside this one.
    pub(super) fn reader(&self) -> LogReader {
        self.log.reader()
    }

    /// The record in which a body stands.
    pub(super) fn read(&self, stand: &Stand) -> Result<Vec<u8>, LogError> {
        self.log.read(stand.place)
    }

    /// Whether this is the segment that is written to.
    pub(super) fn is_newest(&self, segment: u64) -> bool {
        self.told.is_none_or(|told| told.segment <= segment)
    }

    /// Writes and syncs a record, all or nothing. `tells` is whether it says how
    /// far the outbox is; else the mark goes with it where it is needed.
    pub(super) fn write(
        &mut self,
        record: &[u8],
        tells: bool,
        mark: Mark,
        bytes_max: u64,
    ) -> Result<Place, WriteError> {
        if !self.fits(record.len(), bytes_max) {
            return Err(WriteError::Bound);
        }
        let written = self.append(record, tells, mark);
        let (place, told) = written.map_err(WriteError::Log)?;
        self.told = told;
        Ok(place)
    }

    fn append(
        &mut self,
        record: &[u8],
        tells: bool,
        mark: Mark,
    ) -> Result<(Place, Option<Told>), LogError> {
        let (number, place) = self.log.append_placed(record)?;
        let told = |number, place: Place| {
            Some(Told {
                record: number,
                segment: place.segment,
            })
        };
        let mut newest = self.told;
        if tells {
            newest = told(number, place);
        } else if newest.is_none_or(|told| told.segment != place.segment) {
            let marked = self.log.append_placed(&record::mark(mark));
            let (number, place) = marked.inspect_err(|_| self.log.discard())?;
            newest = told(number, place);
        }
        self.log.commit()?;
        Ok((place, newest))
    }

    /// Begins a new segment, so that the newest of now may be deleted.
    pub(super) fn begin_segment(&mut self, mark: Mark, bytes_max: u64) -> Result<(), WriteError> {
        // Room for the mark is room for the header of its segment and more.
        if !self.fits(record::HEAD_BYTES_MAX, bytes_max) {
            return Err(WriteError::Bound);
        }
        self.log.roll().map_err(WriteError::Log)?;
        self.write(&record::mark(mark), true, mark, u64::MAX)?;
        Ok(())
    }

    /// Deletes all segments before one, or all that may be deleted. Writes nothing.
    pub(super) fn delete_before(&mut self, segment: Option<u64>) -> Result<u64, LogError> {
        // Nothing is told in an empty log, and nothing is to be deleted there.
        let Some(told) = self.told else { return Ok(0) };
        self.log
            .delete_before(segment.unwrap_or(u64::MAX).min(told.record))
    }
}
