//! The files of a log: their names, their headers, and what a look at all of
//! them finds.

use std::io;

use super::frame::{FRAME_BYTES, HEADER_BYTES, Header, VERSION};
use super::walk::Walk;
use super::{LogError, Recovery};
use crate::store::files::{Files, StoreFile};

/// One file of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    /// The number of its first record.
    pub(super) first: u64,
    /// How much of the file counts.
    pub(super) len: u64,
    pub(super) health: Health,
}

/// Whether the header can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    Readable {
        salt: u32,
    },
    /// No copy of it can; so neither can a record.
    Broken,
    /// It was being made when the program ended: nothing in it ever counted.
    Unborn,
}

/// What there is of a log.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// In their order.
    pub(super) segments: Vec<Segment>,
    /// Above all records that there were.
    pub(super) next_number: u64,
    /// Where the last record of the newest segment ends.
    pub(super) tail: u64,
    pub(super) recovery: Recovery,
}

/// How the file is named that begins with this number.
pub(super) fn file_name(log: &str, first: u64) -> String {
    format!("{log}-{first:020}.log")
}

/// Whether a file is a segment of any log.
pub(in crate::store) fn is_segment_name(name: &str) -> bool {
    parse(name).is_some()
}

/// The log and the number that the name of a segment tells.
fn parse(name: &str) -> Option<(&str, u64)> {
    let (log, digits) = name.strip_suffix(".log")?.rsplit_once('-')?;
    let is_plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let first = is_plain.then(|| digits.parse().ok()).flatten()?;
    Some((log, first))
}

impl Survey {
    /// Reads all segments; changes nothing.
    pub(super) fn make(files: &dyn Files, log: &str) -> Result<Self, LogError> {
        let names = files.list();
        let names = names.map_err(|error| LogError::of("list the files of the store", error))?;
        let segments = names.iter().filter_map(|name| parse(name));
        let ours = segments.filter(|(name, _)| *name == log);
        let mut firsts: Vec<u64> = ours.map(|(_, first)| first).collect();
        firsts.sort_unstable();
        let mut survey = Self {
            next_number: 1,
            ..Self::default()
        };
        for (place, first) in firsts.iter().enumerate() {
            let is_newest = place + 1 == firsts.len();
            survey.add(files, file_name(log, *first), *first, is_newest)?;
        }
        let mut newest = survey.segments.iter().rev();
        if let Some(newest) = newest.find(|segment| segment.health != Health::Unborn)
            && newest.health == Health::Broken
        {
            // As many as can have been in it, so that no number is given twice.
            let records_max = newest.len / FRAME_BYTES as u64;
            survey.next_number = newest.first.saturating_add(records_max);
        }
        survey.recovery.next_number = survey.next_number;
        Ok(survey)
    }

    fn add(
        &mut self,
        files: &dyn Files,
        name: String,
        first: u64,
        is_newest: bool,
    ) -> Result<(), LogError> {
        let failed = |error| LogError::of(format!("read {name}"), error);
        let file = match files.open(&name) {
            // Whoever owns the store has just deleted it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file.map_err(failed)?,
        };
        let len = file.len().map_err(failed)?;
        let health = Health::of(&*file, len, first, &name, is_newest)?;
        self.recovery.bytes += len;
        self.tail = len;
        let segment = Segment { first, len, health };
        if health != Health::Unborn {
            self.count_from(first);
        }
        match health {
            Health::Readable { salt } => self.walk(segment, file, salt).map_err(failed)?,
            Health::Broken => self.recovery.broken_segments += 1,
            Health::Unborn => {}
        }
        self.segments.push(segment);
        Ok(())
    }

    /// A segment begins with this number.
    fn count_from(&mut self, first: u64) {
        let before = self.segments.last();
        if before.is_some_and(|before| before.health != Health::Broken) {
            self.recovery.corrupt += first.saturating_sub(self.next_number);
        }
        self.next_number = self.next_number.max(first);
    }

    fn walk(&mut self, segment: Segment, file: Box<dyn StoreFile>, salt: u32) -> io::Result<()> {
        self.tail = HEADER_BYTES as u64;
        let mut walk = Walk::new(file, segment.len, salt);
        while let Some(found) = walk.next()? {
            self.tail = found.end();
            let number = segment.first.saturating_add(u64::from(found.ordinal));
            if number < self.next_number {
                continue;
            }
            self.recovery.corrupt += number - self.next_number;
            self.recovery.records += 1;
            self.next_number = number.saturating_add(1);
        }
        Ok(())
    }
}

impl Health {
    fn of(
        file: &dyn StoreFile,
        len: u64,
        first: u64,
        name: &str,
        is_newest: bool,
    ) -> Result<Self, LogError> {
        let failed = |error| LogError::of(format!("read {name}"), error);
        if len < HEADER_BYTES as u64 {
            return Ok(if is_newest {
                Self::Unborn
            } else {
                Self::Broken
            });
        }
        let mut bytes = [0; HEADER_BYTES];
        file.read_at(0, &mut bytes).map_err(failed)?;
        match Header::decode(&bytes) {
            Some(header) if header.version > VERSION => Err(LogError::Newer {
                file: name.to_owned(),
                version: header.version,
            }),
            Some(header) if header.first == first => Ok(Self::Readable { salt: header.salt }),
            None if is_newest && is_blank(file, len).map_err(failed)? => Ok(Self::Unborn),
            _ => Ok(Self::Broken),
        }
    }
}

/// Whether a file has a length and nothing else yet.
fn is_blank(file: &dyn StoreFile, len: u64) -> io::Result<bool> {
    let mut piece = [0; 4096];
    let mut offset = 0;
    while offset < len {
        let wanted = (len - offset).min(piece.len() as u64) as usize;
        file.read_at(offset, &mut piece[..wanted])?;
        if piece[..wanted].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        offset += wanted as u64;
    }
    Ok(true)
}
