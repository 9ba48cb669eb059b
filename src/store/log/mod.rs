//! A log of records in segments: what is appended and committed is there after
//! any crash, in its order and under its number.
//!
//! # Limits
//!
//! - A record has at most [`LogSettings::record_bytes_max`] bytes; a larger one
//!   is refused. It never straddles two segments.
//! - A segment has at most [`LogSettings::segment_bytes`], yet always room for
//!   one record of the largest size; a record that does not fit begins a new
//!   one. No segment reaches 4 GiB.
//! - The log itself grows until its owner deletes, in whole segments from the
//!   oldest on, and never the newest: its name and its header hold the next
//!   number. [`Log::disk_bytes_with`] tells beforehand what a record will cost,
//!   to the byte.
//! - What is appended and not committed is in memory.
//!
//! # Format, version 1
//!
//! All numbers are little-endian. The files `{log}-{first}.log`, `first` with
//! twenty digits, are the segments; `first` is the number of the first record.
//!
//! ```text
//! segment  header header frame*          the header stands twice
//! header   magic:8 "rt-log\r\n"  version:u32  first:u64  salt:u32  crc:u32
//! frame    len:u32  ordinal:u32  record_crc:u32  crc:u32  record:len
//! ```
//!
//! - A CRC is that of IEEE 802.3 (zlib's). A header's is over the bytes before
//!   it. Those of a frame begin with `salt` as the CRC of what went before:
//!   `record_crc` is over the record, `crc` over the twelve bytes before it.
//! - The record's number is `first + ordinal`. Ordinals rise; one that is left
//!   out is of a record that was lost.
//! - `salt` is any number. It keeps a record that holds a frame's bytes, be it
//!   by chance or by intent, from being taken for one.
//!
//! # What a crash leaves
//!
//! - A commit writes to the newest segment, and syncs it. For a new segment the
//!   file and then the directory are synced before anything more is written.
//! - So a newest segment whose header is not there was never counted: it is
//!   removed. What follows its last whole record is a torn tail: it is cut off.
//! - Anything else that does not fit is damage, and costs the record in which it
//!   is: the next frame is looked for byte by byte. Nothing is cut, and the
//!   numbers of the records behind do not change. A number that comes a second
//!   time is not looked at.
//! - A segment with both headers damaged is left alone until it is deleted, and
//!   numbers go on above all that it can have held.

mod error;
mod frame;
mod scan;
mod segment;
#[cfg(test)]
mod tests;
mod walk;
mod write;

use std::sync::Arc;

pub use self::error::LogError;
pub(in crate::store) use self::error::is_full;
use self::frame::{FRAME_BYTES, HEADER_BYTES};
pub use self::scan::{LogReader, Place, Record, Scan};
pub(in crate::store) use self::segment::is_segment_name;
use self::segment::{Health, Segment, Survey, file_name};
use self::write::Part;
use super::files::{Files, StoreFile};

/// What an empty segment takes on the disk.
pub const SEGMENT_HEADER_BYTES: u64 = HEADER_BYTES as u64;

/// What a record takes on the disk beside its bytes.
pub const RECORD_HEADER_BYTES: u64 = FRAME_BYTES as u64;

/// The bounds of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// A segment; see the limits above.
    pub segment_bytes: u64,
    /// A record. A larger one is refused.
    pub record_bytes_max: usize,
}

/// What was found when a log was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Records that can be read.
    pub records: u64,
    /// What the segments take.
    pub bytes: u64,
    /// What was cut off behind the last record.
    pub torn_bytes: u64,
    /// Records that were lost to damage: numbers that are missing between others.
    pub corrupt: u64,
    /// Segments of which nothing can be read. How many records were in them is
    /// not known, and not in the number above.
    pub broken_segments: u64,
    /// The number of the next record.
    pub next_number: u64,
}

/// A log, open for appending. Nobody else may have it open so.
#[derive(Debug)]
pub struct Log {
    reader: LogReader,
    settings: LogSettings,
    /// In their order; never empty once something was committed.
    segments: Vec<Segment>,
    /// The newest of them, if it can be appended to.
    newest: Option<Box<dyn StoreFile>>,
    /// What was appended and not committed, in the order of the files it goes to.
    parts: Vec<Part>,
    /// The number after the last one that is durable.
    durable_next: u64,
    next_number: u64,
    is_stopped: bool,
}

impl Log {
    /// Opens a log, or begins one. What a crash left is repaired.
    pub fn open(
        files: Arc<dyn Files>,
        name: &'static str,
        settings: LogSettings,
    ) -> Result<(Self, Recovery), LogError> {
        // What a program left that was killed before it synced can be seen now, yet
        // need not outlast a loss of power. The same goes for the newest segment.
        files.sync_dir().map_err(LogError::Sync)?;
        let survey = Survey::make(&*files, name)?;
        let mut log = Self {
            reader: LogReader { files, log: name },
            settings: settings.in_bounds(),
            segments: survey.segments,
            newest: None,
            parts: Vec::new(),
            durable_next: survey.next_number,
            next_number: survey.next_number,
            is_stopped: false,
        };
        let mut recovery = survey.recovery;
        recovery.torn_bytes = log.mend_tail(survey.tail)?;
        recovery.bytes = log.disk_bytes();
        Ok((log, recovery))
    }

    /// What opening would find, and its records, without changing anything: for
    /// a look at a log that somebody else may be writing.
    pub fn look(files: Arc<dyn Files>, name: &'static str) -> Result<(Scan, Recovery), LogError> {
        let survey = Survey::make(&*files, name)?;
        let reader = LogReader { files, log: name };
        let mut recovery = survey.recovery;
        let newest = survey.segments.last().map_or(0, |newest| newest.len);
        recovery.torn_bytes = newest.saturating_sub(survey.tail);
        Ok((Scan::new(reader, &survey.segments, 0), recovery))
    }

    /// Gives the record its number: one more than the last. It is neither
    /// durable nor readable before it is committed.
    pub fn append(&mut self, record: &[u8]) -> Result<u64, LogError> {
        self.append_placed(record).map(|(number, _)| number)
    }

    /// Makes all that was appended durable: all of it, or after an error none.
    pub fn commit(&mut self) -> Result<(), LogError> {
        self.refuse_if_stopped()?;
        let parts = std::mem::take(&mut self.parts);
        if let Err(error) = self.write(&parts) {
            self.next_number = self.durable_next;
            return Err(error);
        }
        self.durable_next = self.next_number;
        Ok(())
    }

    /// Forgets what was appended and not committed; its numbers are given again.
    pub fn discard(&mut self) {
        self.parts.clear();
        self.next_number = self.durable_next;
    }

    /// The number of the last record that is durable; nought when there was none.
    pub fn committed(&self) -> u64 {
        self.durable_next.saturating_sub(1)
    }

    /// The number that the next record gets.
    pub fn next_number(&self) -> u64 {
        self.next_number
    }

    /// The number of the oldest record that is still there. With none, that of the next.
    pub fn first_number(&self) -> u64 {
        let oldest = self.segments.first();
        oldest.map_or(self.durable_next, |oldest| oldest.first)
    }

    /// The committed records from a number on.
    pub fn scan(&self, from: u64) -> Scan {
        Scan::new(self.reader.clone(), &self.segments, from)
    }

    /// The committed record at a place.
    pub fn read(&self, place: Place) -> Result<Vec<u8>, LogError> {
        self.reader.read(place)
    }

    /// Reads records for somebody who does not hold the log.
    pub fn reader(&self) -> LogReader {
        self.reader.clone()
    }

    /// Deletes the segments of which all records are below a number, but never
    /// the newest one; tells how many bytes that freed.
    pub fn delete_before(&mut self, number: u64) -> Result<u64, LogError> {
        self.refuse_if_stopped()?;
        let mut freed = 0;
        while let [oldest, next, ..] = self.segments[..]
            && next.first <= number
        {
            self.remove_segment(oldest.first)?;
            self.segments.remove(0);
            freed += oldest.len;
        }
        Ok(freed)
    }

    /// What the segments take on the disk.
    pub fn disk_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.len).sum()
    }

    /// What they will take when all that was appended and one more record of
    /// this size are committed.
    pub fn disk_bytes_with(&self, record_bytes: usize) -> u64 {
        let pending: u64 = self.parts.iter().map(|part| part.bytes.len() as u64).sum();
        let header = if self.takes_in_last(record_bytes) {
            0
        } else {
            SEGMENT_HEADER_BYTES
        };
        self.disk_bytes() + pending + header + RECORD_HEADER_BYTES + record_bytes as u64
    }

    fn refuse_if_stopped(&self) -> Result<(), LogError> {
        if self.is_stopped {
            return Err(LogError::Stopped);
        }
        Ok(())
    }
}

impl LogSettings {
    fn in_bounds(self) -> Self {
        let segment_bytes_max = u64::from(u32::MAX);
        let overhead = SEGMENT_HEADER_BYTES + RECORD_HEADER_BYTES;
        let record_bytes_max = (self.record_bytes_max as u64).min(segment_bytes_max - overhead);
        Self {
            segment_bytes: self
                .segment_bytes
                .clamp(record_bytes_max + overhead, segment_bytes_max),
            record_bytes_max: record_bytes_max as usize,
        }
    }
}
