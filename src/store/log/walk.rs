//! Finds the records of one segment, and its way past what is damaged.

use std::io;

use super::frame::{FRAME_BYTES, Frame, HEADER_BYTES};
use crate::limits::STORE_READ_BYTES;
use crate::store::files::StoreFile;

/// Where a record was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) ordinal: u32,
    /// Of the frame.
    pub(super) offset: u64,
    /// Of the record.
    pub(super) len: u32,
}

impl Found {
    /// Where the next frame may begin.
    pub(super) fn end(self) -> u64 {
        self.offset + FRAME_BYTES as u64 + u64::from(self.len)
    }
}

/// Goes through a segment from its first frame to its end.
#[derive(Debug)]
pub(super) struct Walk {
    window: Window,
    salt: u32,
    offset: u64,
}

impl Walk {
    /// `len` is how much of the file counts.
    pub(super) fn new(file: Box<dyn StoreFile>, len: u64, salt: u32) -> Self {
        Self {
            window: Window::new(file, len),
            salt,
            offset: HEADER_BYTES as u64,
        }
    }

    /// The next record that is whole. Behind what is damaged any byte may be the
    /// beginning of one: where a damaged length would lead to is not believed.
    pub(super) fn next(&mut self) -> io::Result<Option<Found>> {
        while self.offset + FRAME_BYTES as u64 <= self.window.len {
            let found = self.look()?;
            self.offset = found.map_or(self.offset + 1, Found::end);
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn look(&mut self) -> io::Result<Option<Found>> {
        let (offset, salt) = (self.offset, self.salt);
        let Some(frame) = Frame::decode(self.window.at(offset, FRAME_BYTES)?, salt) else {
            return Ok(None);
        };
        let found = Found {
            ordinal: frame.ordinal,
            offset,
            len: frame.len,
        };
        let is_whole =
            found.end() <= self.window.len && frame.fits(self.record(offset, frame.len)?, salt);
        Ok(is_whole.then_some(found))
    }

    /// The bytes of a record, by the offset of its frame.
    pub(super) fn record(&mut self, offset: u64, len: u32) -> io::Result<&[u8]> {
        self.window.at(offset + FRAME_BYTES as u64, len as usize)
    }
}

/// A file, read in pieces.
#[derive(Debug)]
struct Window {
    file: Box<dyn StoreFile>,
    len: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    fn new(file: Box<dyn StoreFile>, len: u64) -> Self {
        Self {
            file,
            len,
            start: 0,
            bytes: Vec::new(),
        }
    }

    fn at(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let end = offset + len as u64;
        if offset < self.start || end > self.start + self.bytes.len() as u64 {
            self.load(offset, len)?;
        }
        let from = (offset - self.start) as usize;
        let bytes = self.bytes.get(from..from + len);
        bytes.ok_or(io::ErrorKind::UnexpectedEof.into())
    }

    fn load(&mut self, offset: u64, len: usize) -> io::Result<()> {
        let left = self.len.saturating_sub(offset);
        let len = left.min(len.max(STORE_READ_BYTES) as u64) as usize;
        self.bytes.resize(len, 0);
        self.start = offset;
        let read = self.file.read_at(offset, &mut self.bytes);
        if read.is_err() {
            self.bytes.clear();
        }
        read
    }
}
