//! Reading a checkpoint.

use std::io;

use super::{
    CheckpointError, HEAD_BYTES, HEADER_BYTES, Head, Kind, NAME, NEW_NAME, VERSION, version,
};
use crate::limits::STORE_READ_BYTES;
use crate::store::files::{Files, StoreFile};

/// A section of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// What it is.
    pub tag: u16,
    /// What was written.
    pub bytes: Vec<u8>,
}

/// A checkpoint that is whole. It gives its sections in the order in which they
/// were written, and holds none of them.
#[derive(Debug)]
pub struct Checkpoint {
    file: Box<dyn StoreFile>,
    offset: u64,
    place: u32,
    is_at_end: bool,
}

/// The checkpoint, if there is one. It is read to its end first, so that nobody
/// begins with one that is damaged further on. What was left of an attempt to
/// write another one is removed.
pub fn read_checkpoint(files: &dyn Files) -> Result<Option<Checkpoint>, CheckpointError> {
    // If that fails, it takes room until the next attempt, and nothing else.
    files.remove(NEW_NAME).ok();
    let failed = |error| CheckpointError::of("read", error);
    let file = match files.open(NAME) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed)?,
    };
    let mut bytes = [0; HEADER_BYTES];
    file.read_at(0, &mut bytes).map_err(failed)?;
    match version(&bytes) {
        None => return Err(damaged("its header")),
        Some(version) if version > VERSION => return Err(CheckpointError::Newer { version }),
        Some(_) => {}
    }
    // Whoever put it in its place may have been killed before that was for good;
    // and soon the journal before it will be deleted.
    files.sync_dir().map_err(CheckpointError::Sync)?;
    let mut checkpoint = Checkpoint {
        file,
        offset: HEADER_BYTES as u64,
        place: 0,
        is_at_end: false,
    };
    checkpoint.check()?;
    Ok(Some(checkpoint))
}

impl Checkpoint {
    /// Reads all of it, and goes back to its beginning.
    fn check(&mut self) -> Result<(), CheckpointError> {
        while self.check_next()? == Kind::Section {}
        let len = self.file.len();
        if len.map_err(|error| CheckpointError::of("read", error))? != self.offset {
            return Err(damaged("something stands behind its end"));
        }
        self.offset = HEADER_BYTES as u64;
        self.place = 0;
        Ok(())
    }

    fn check_next(&mut self) -> Result<Kind, CheckpointError> {
        let (head, crc) = self.head()?;
        let mut hasher = head.hasher(self.place);
        let mut left = head.len as usize;
        let mut piece = vec![0; left.min(STORE_READ_BYTES)];
        while left > 0 {
            let now = left.min(piece.len());
            self.take(&mut piece[..now])?;
            hasher.update(&piece[..now]);
            left -= now;
        }
        if hasher.finalize() != crc {
            return Err(damaged("a section"));
        }
        match head.kind {
            Kind::Section => self.place = self.place.saturating_add(1),
            Kind::End if piece != self.place.to_le_bytes() => {
                return Err(damaged("sections are missing"));
            }
            Kind::End => {}
        }
        Ok(head.kind)
    }

    fn next_section(&mut self) -> Result<Option<Section>, CheckpointError> {
        let (head, crc) = self.head()?;
        if head.kind == Kind::End {
            return Ok(None);
        }
        let mut bytes = vec![0; head.len as usize];
        self.take(&mut bytes)?;
        let mut hasher = head.hasher(self.place);
        hasher.update(&bytes);
        if hasher.finalize() != crc {
            return Err(damaged("a section"));
        }
        self.place = self.place.saturating_add(1);
        Ok(Some(Section {
            tag: head.tag,
            bytes,
        }))
    }

    /// The head that is next. Its length is not more than there is.
    fn head(&mut self) -> Result<(Head, u32), CheckpointError> {
        let mut bytes = [0; HEAD_BYTES];
        self.take(&mut bytes)?;
        let (head, crc) = Head::decode(bytes).ok_or(damaged("the head of a section"))?;
        let len = self.file.len();
        let len = len.map_err(|error| CheckpointError::of("read", error))?;
        if u64::from(head.len) > len.saturating_sub(self.offset) {
            return Err(damaged("it ends too early"));
        }
        Ok((head, crc))
    }

    fn take(&mut self, into: &mut [u8]) -> Result<(), CheckpointError> {
        let read = self.file.read_at(self.offset, into);
        read.map_err(|error| CheckpointError::of("read", error))?;
        self.offset += into.len() as u64;
        Ok(())
    }
}

fn damaged(why: &'static str) -> CheckpointError {
    CheckpointError::Damaged { why }
}

impl Iterator for Checkpoint {
    type Item = Result<Section, CheckpointError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_at_end {
            return None;
        }
        let section = self.next_section();
        self.is_at_end = !matches!(section, Ok(Some(_)));
        section.transpose()
    }
}
