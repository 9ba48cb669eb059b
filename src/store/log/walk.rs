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
    /// A record at or after it is not one that was seen already.
    ordinal_min: u32,
    /// The frame before was damaged in its length, so any byte may begin the next.
    is_lost: bool,
}

impl Walk {
    /// `len` is how much of the file counts.
    pub(super) fn new(file: Box<dyn StoreFile>, len: u64, salt: u32) -> Self {
        Self {
            window: Window::new(file, len),
            salt,
            offset: HEADER_BYTES as u64,
            ordinal_min: 0,
            is_lost: false,
        }
    }

    /// The next record that is whole.
    pub(super) fn next(&mut self) -> io::Result<Option<Found>> {
        while let Some(room) = self.window.len.checked_sub(self.offset)
            && room >= FRAME_BYTES as u64
        {
            let frame = Frame::decode(self.window.at(self.offset, FRAME_BYTES)?, self.salt);
            let Some(frame) = frame.filter(|frame| frame.whole_bytes() <= room) else {
                self.is_lost = true;
                self.offset += 1;
                continue;
            };
            let (offset, salt) = (self.offset, self.salt);
            let is_record = frame.ordinal >= self.ordinal_min
                && frame.fits(self.record(offset, frame.len)?, salt);
            if is_record {
                self.offset += frame.whole_bytes();
                self.ordinal_min = frame.ordinal.saturating_add(1);
                self.is_lost = false;
                return Ok(Some(Found {
                    ordinal: frame.ordinal,
                    offset,
                    len: frame.len,
                }));
            }
            // Right behind a record a whole header can be trusted: only the bytes
            // after it are damaged. In the midst of a damaged record it cannot.
            self.offset += if self.is_lost { 1 } else { frame.whole_bytes() };
        }
        Ok(None)
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
