//! Appending to a log, and undoing what did not become durable.

use std::io;

use super::frame::{FRAME_BYTES, Frame, Header, VERSION};
use super::{Health, Log, LogError, Place, Segment, file_name};

/// Records that go to one file in one write.
#[derive(Debug)]
pub(super) struct Part {
    first: u64,
    salt: u32,
    /// Where the bytes go. At the very start: then the file is a new one, and the
    /// bytes begin with its header.
    start: u64,
    pub(super) bytes: Vec<u8>,
}

impl Part {
    /// The newest segment, to go on in it.
    fn of(segment: Segment) -> Option<Self> {
        let Health::Readable { salt } = segment.health else {
            return None;
        };
        Some(Self {
            first: segment.first,
            salt,
            start: segment.len,
            bytes: Vec::new(),
        })
    }

    /// A segment that is not there yet.
    fn begin(first: u64) -> Self {
        let salt = fastrand::u32(..);
        let version = VERSION;
        let header = Header {
            version,
            first,
            salt,
        };
        Self {
            first,
            salt,
            start: 0,
            bytes: header.encode().to_vec(),
        }
    }

    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    fn name(&self, log: &str) -> String {
        file_name(log, self.first)
    }
}

/// Whether a segment of this length has room for one more record.
fn takes(len: u64, first: u64, number: u64, record_bytes: usize, segment_bytes: u64) -> bool {
    let frame = FRAME_BYTES as u64 + record_bytes as u64;
    let ordinal = number.checked_sub(first).map(u32::try_from);
    len + frame <= segment_bytes && matches!(ordinal, Some(Ok(_)))
}

impl Log {
    /// As [`Log::append`], and tells where the record will stand.
    pub fn append_placed(&mut self, record: &[u8]) -> Result<(u64, Place), LogError> {
        self.refuse_if_stopped()?;
        if record.len() > self.settings.record_bytes_max {
            return Err(LogError::TooLarge {
                bytes: record.len(),
                bytes_max: self.settings.record_bytes_max,
            });
        }
        let number = self.next_number;
        let mut part = self.part_for(number, record.len());
        let place = Place {
            segment: part.first,
            // Both are less than a segment, and that is less than 4 GiB.
            offset: part.len() as u32,
            len: record.len() as u32,
            salt: part.salt,
        };
        let frame = Frame::of(record, (number - part.first) as u32, part.salt);
        part.bytes.extend_from_slice(&frame.encode(part.salt));
        part.bytes.extend_from_slice(record);
        self.parts.push(part);
        self.next_number += 1;
        Ok((number, place))
    }

    /// Begins a new segment, so that the newest of now may be deleted; unless
    /// nothing is in it. What was appended is committed.
    pub fn roll(&mut self) -> Result<(), LogError> {
        self.skip_to(self.next_number)
    }

    /// The next record gets at least this number, for an owner who knows of
    /// higher ones than the log does. As for the rest, see [`Log::roll`].
    pub fn skip_to(&mut self, number: u64) -> Result<(), LogError> {
        self.commit()?;
        let number = number.max(self.next_number);
        let is_there = self.newest.is_some();
        if is_there
            && self
                .segments
                .last()
                .is_some_and(|newest| newest.first == number)
        {
            return Ok(());
        }
        self.write(&[Part::begin(number)])?;
        self.next_number = number;
        self.durable_next = number;
        Ok(())
    }

    /// Whether one more record goes to the file that the last one goes to.
    pub(super) fn takes_in_last(&self, record_bytes: usize) -> bool {
        let bound = self.settings.segment_bytes;
        let last = match (self.parts.last(), self.segments.last()) {
            (Some(part), _) => Some((part.len(), part.first)),
            (None, Some(newest)) if self.newest.is_some() => Some((newest.len, newest.first)),
            _ => None,
        };
        last.is_some_and(|(len, first)| takes(len, first, self.next_number, record_bytes, bound))
    }

    /// Takes the part from the list to which the record goes.
    fn part_for(&mut self, number: u64, record_bytes: usize) -> Part {
        if !self.takes_in_last(record_bytes) {
            return Part::begin(number);
        }
        let newest = || self.segments.last().copied().and_then(Part::of);
        let part = self.parts.pop().or_else(newest);
        part.unwrap_or_else(|| Part::begin(number))
    }

    /// Makes the parts durable. After a failure all is as it was before.
    pub(super) fn write(&mut self, parts: &[Part]) -> Result<(), LogError> {
        let segments = self.segments.len();
        let len = self.segments.last().map_or(0, |newest| newest.len);
        for part in parts {
            match self.write_part(part) {
                Ok(()) => {}
                Err(fatal @ LogError::Sync(_)) => {
                    self.is_stopped = true;
                    return Err(fatal);
                }
                Err(error) => {
                    self.undo(segments, len)?;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn write_part(&mut self, part: &Part) -> Result<(), LogError> {
        let name = part.name(self.reader.log);
        let failed = |error| LogError::of(format!("write {name}"), error);
        if part.start == 0 {
            self.newest = None;
            self.segments.push(Segment {
                first: part.first,
                len: 0,
                health: Health::Readable { salt: part.salt },
            });
            self.newest = Some(self.reader.files.create(&name).map_err(failed)?);
        }
        let (Some(file), Some(segment)) = (&mut self.newest, self.segments.last_mut()) else {
            return Err(LogError::Stopped);
        };
        file.append(&part.bytes).map_err(failed)?;
        file.sync_data().map_err(LogError::Sync)?;
        if part.start == 0 {
            self.reader.files.sync_dir().map_err(LogError::Sync)?;
        }
        segment.len = part.len();
        Ok(())
    }

    /// Takes back what was written since there were so many segments, and the
    /// newest was so long. It is synced, lest a crash bring back what was dropped.
    fn undo(&mut self, segments: usize, len: u64) -> Result<(), LogError> {
        self.try_undo(segments, len).map_err(|error| {
            self.is_stopped = true;
            match error {
                // That would say that nothing has changed.
                LogError::Full => LogError::Stopped,
                error => error,
            }
        })
    }

    fn try_undo(&mut self, segments: usize, len: u64) -> Result<(), LogError> {
        let is_new = self.segments.len() > segments;
        while self.segments.len() > segments
            && let Some(made) = self.segments.pop()
        {
            self.newest = None;
            self.remove_segment(made.first)?;
        }
        let Some(newest) = self.segments.last().copied() else {
            return Ok(());
        };
        if newest.health == Health::Broken {
            return Ok(());
        }
        let name = file_name(self.reader.log, newest.first);
        let failed = |error| LogError::of(format!("cut {name}"), error);
        let mut file = match self.newest.take() {
            Some(file) if !is_new => file,
            _ => self.reader.files.open(&name).map_err(failed)?,
        };
        file.truncate(len).map_err(failed)?;
        file.sync_data().map_err(LogError::Sync)?;
        self.newest = Some(file);
        if let Some(newest) = self.segments.last_mut() {
            newest.len = len;
        }
        Ok(())
    }

    /// Removes a file, and makes sure that it stays away: of several, none may
    /// come back between others that do not.
    pub(super) fn remove_segment(&mut self, first: u64) -> Result<(), LogError> {
        let name = file_name(self.reader.log, first);
        match self.reader.files.remove(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(LogError::of(format!("remove {name}"), error));
            }
            _ => {}
        }
        let synced = self.reader.files.sync_dir();
        synced.map_err(|error| {
            self.is_stopped = true;
            LogError::Sync(error)
        })
    }

    /// Removes a newest segment that was never counted, cuts off what follows
    /// the last record, and opens the file for more. Tells how much was cut.
    pub(super) fn mend_tail(&mut self, tail: u64) -> Result<u64, LogError> {
        let Some(newest) = self.segments.last().copied() else {
            return Ok(0);
        };
        let name = file_name(self.reader.log, newest.first);
        let failed = |error| LogError::of(format!("cut {name}"), error);
        match newest.health {
            Health::Broken => return Ok(0),
            Health::Unborn => {
                self.remove_segment(newest.first)?;
                self.segments.pop();
                // The one before it was full, and whole when this was begun. What is
                // damaged at its end is not torn, and goes on behind it.
                let before = self.segments.last().map_or(0, |before| before.len);
                return Ok(newest.len + self.mend_tail(before)?);
            }
            Health::Readable { .. } => {}
        }
        let mut file = self.reader.files.open(&name).map_err(failed)?;
        if tail < newest.len {
            file.truncate(tail).map_err(failed)?;
        }
        file.sync_data().map_err(LogError::Sync)?;
        self.newest = Some(file);
        if let Some(newest) = self.segments.last_mut() {
            newest.len = tail;
        }
        Ok(newest.len - tail)
    }
}
