//! Reading a log: all records from a number on, or one by its place.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::LogError;
use super::frame::{FRAME_BYTES, Frame};
use super::segment::{Health, Segment, file_name};
use super::walk::Walk;
use crate::store::files::Files;

/// Where a record stands, to read it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The number with which its segment begins.
    pub segment: u64,
    /// Where its frame begins in the segment.
    pub offset: u32,
    /// The length of the record.
    pub len: u32,
    pub(super) salt: u32,
}

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub number: u64,
    /// Where it stands.
    pub place: Place,
    /// What was appended.
    pub bytes: Vec<u8>,
}

/// Reads single records, beside the one who appends. A clone costs little.
#[derive(Debug, Clone)]
pub struct LogReader {
    pub(super) files: Arc<dyn Files>,
    pub(super) log: &'static str,
}

impl LogReader {
    /// The record at a place.
    pub fn read(&self, place: Place) -> Result<Vec<u8>, LogError> {
        let name = file_name(self.log, place.segment);
        let mut bytes = vec![0; FRAME_BYTES + place.len as usize];
        let offset = u64::from(place.offset);
        let read = self
            .files
            .open(&name)
            .and_then(|file| file.read_at(offset, &mut bytes));
        read.map_err(|error| LogError::of(format!("read {name}"), error))?;
        let frame = Frame::decode(&bytes[..FRAME_BYTES], place.salt);
        bytes.drain(..FRAME_BYTES);
        match frame {
            Some(frame) if frame.fits(&bytes, place.salt) => Ok(bytes),
            _ => Err(LogError::Damaged { file: name, offset }),
        }
    }
}

/// The records that there were when it was made, oldest first. What is damaged
/// is left out: numbers that are missing tell of it. So is what was deleted
/// meanwhile. After an error there is nothing more.
#[derive(Debug)]
pub struct Scan {
    reader: LogReader,
    /// Those that were not begun.
    segments: VecDeque<Segment>,
    current: Option<(Segment, u32, Walk)>,
    /// No record before it is wanted.
    from: u64,
}

impl Scan {
    pub(super) fn new(reader: LogReader, segments: &[Segment], from: u64) -> Self {
        // Of those that begin at or before the number, only the last can hold it.
        let passed = segments.partition_point(|segment| segment.first <= from);
        let wanted = &segments[passed.saturating_sub(1)..];
        Self {
            reader,
            segments: wanted.iter().copied().collect(),
            current: None,
            from,
        }
    }

    fn step(&mut self) -> Result<Option<Record>, LogError> {
        loop {
            if let Some((segment, salt, walk)) = &mut self.current {
                match next_record(*segment, *salt, walk, self.from) {
                    Ok(Some(record)) => {
                        self.from = record.number.saturating_add(1);
                        return Ok(Some(record));
                    }
                    Ok(None) => self.current = None,
                    Err(error) => {
                        let name = file_name(self.reader.log, segment.first);
                        return Err(LogError::of(format!("read {name}"), error));
                    }
                }
            }
            let Some(segment) = self.segments.pop_front() else {
                return Ok(None);
            };
            self.begin(segment)?;
        }
    }

    fn begin(&mut self, segment: Segment) -> Result<(), LogError> {
        let Health::Readable { salt } = segment.health else {
            return Ok(());
        };
        let name = file_name(self.reader.log, segment.first);
        match self.reader.files.open(&name) {
            Ok(file) => {
                let walk = Walk::new(file, segment.len, salt);
                self.current = Some((segment, salt, walk));
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(LogError::of(format!("read {name}"), error)),
        }
    }
}

fn next_record(
    segment: Segment,
    salt: u32,
    walk: &mut Walk,
    from: u64,
) -> io::Result<Option<Record>> {
    while let Some(found) = walk.next()? {
        let number = segment.first.saturating_add(u64::from(found.ordinal));
        if number < from {
            continue;
        }
        return Ok(Some(Record {
            number,
            place: Place {
                segment: segment.first,
                // A segment is less than 4 GiB long.
                offset: found.offset as u32,
                len: found.len,
                salt,
            },
            bytes: walk.record(found.offset, found.len)?.to_vec(),
        }));
    }
    Ok(None)
}

impl Iterator for Scan {
    type Item = Result<Record, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.segments.clear();
            self.current = None;
        }
        step.transpose()
    }
}
