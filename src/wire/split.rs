//! Lines out of chunks: the part that SSE and NDJSON have in common.
//!
//! A line that lies whole in a chunk is lent from there; one that straddles
//! chunks is joined in a buffer that is used again. A line over its bound is
//! swallowed to its end. No byte is looked at twice.

use memchr::{memchr, memchr2};

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// What a buffer keeps of its room once its content is spent.
pub(super) const RETAINED_BYTES_MAX: usize = 256 << 10;

/// Splits at LF and, with `CR`, at CR and CRLF too.
#[derive(Debug)]
pub(super) struct Splitter<const CR: bool> {
    line_bytes_max: usize,
    /// The beginning of a line whose end has not come; or, when `spent`, the
    /// joined line that was lent.
    partial: Vec<u8>,
    spent: bool,
    /// The line is over its bound: nothing of it is kept.
    swallowing: bool,
    /// A CR ended the line before; an LF right after it belongs to it.
    after_cr: bool,
    /// How much of a byte order mark has come, while one may still come.
    bom: Option<usize>,
}

/// One line, without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Split<'i> {
    /// It lies in the input.
    Whole(&'i [u8]),
    /// It lies in [`Splitter::joined`], until the next call.
    Joined,
    /// It was over the bound and is gone.
    TooLong,
}

impl<const CR: bool> Splitter<CR> {
    pub(super) const fn new(line_bytes_max: usize) -> Self {
        Self {
            line_bytes_max,
            partial: Vec::new(),
            spent: false,
            swallowing: false,
            after_cr: false,
            bom: Some(0),
        }
    }

    /// Takes one line from the front of `input`; none when all of it was taken.
    #[inline]
    pub(super) fn next<'i>(&mut self, input: &mut &'i [u8]) -> Option<Split<'i>> {
        if self.spent || self.after_cr || self.bom.is_some() {
            self.settle(input);
        }
        let bytes = *input;
        let Some(end) = line_end::<CR>(bytes) else {
            self.keep(bytes);
            *input = &[];
            return None;
        };
        *input = &bytes[end + 1..];
        if CR && bytes[end] == b'\r' {
            self.after_cr = true;
        }
        let line = &bytes[..end];
        if self.partial.is_empty() && !self.swallowing && end <= self.line_bytes_max {
            return Some(Split::Whole(line));
        }
        self.keep(line);
        if self.swallowing {
            self.swallowing = false;
            return Some(Split::TooLong);
        }
        self.spent = true;
        Some(Split::Joined)
    }

    /// The end of the input: the line that has no end, if there is one. After
    /// it the splitter is ready for another input.
    pub(super) fn finish(&mut self) -> Option<Split<'static>> {
        self.drop_spent();
        if let Some(seen) = self.bom.replace(0) {
            self.keep(&BOM[..seen]);
        }
        self.after_cr = false;
        if std::mem::take(&mut self.swallowing) {
            return Some(Split::TooLong);
        }
        self.spent = !self.partial.is_empty();
        self.spent.then_some(Split::Joined)
    }

    /// The line of the last [`Split::Joined`].
    pub(super) fn joined(&self) -> &[u8] {
        &self.partial
    }

    /// What its buffer takes.
    #[cfg(test)]
    pub(super) const fn capacity(&self) -> usize {
        self.partial.capacity()
    }

    /// What is left to do of the line before, or of the start of the stream.
    fn settle(&mut self, input: &mut &[u8]) {
        self.drop_spent();
        if self.after_cr && !input.is_empty() {
            self.after_cr = false;
            *input = input.strip_prefix(b"\n").unwrap_or(input);
        }
        while let (Some(seen), Some(byte)) = (self.bom, input.first()) {
            if *byte == BOM[seen] {
                *input = &input[1..];
                self.bom = (seen + 1 < BOM.len()).then_some(seen + 1);
            } else {
                self.bom = None;
                self.keep(&BOM[..seen]);
            }
        }
    }

    fn drop_spent(&mut self) {
        if self.spent {
            self.spent = false;
            empty(&mut self.partial);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.swallowing || bytes.is_empty() {
            return;
        }
        if bytes.len() > self.line_bytes_max.saturating_sub(self.partial.len()) {
            self.swallowing = true;
            empty(&mut self.partial);
        } else {
            append(&mut self.partial, bytes, self.line_bytes_max);
        }
    }
}

/// Appends within a bound that the caller has checked. The capacity stays
/// within the bound too, which doubling alone would not do.
pub(super) fn append(buffer: &mut Vec<u8>, bytes: &[u8], bytes_max: usize) {
    let needed = buffer.len().saturating_add(bytes.len());
    if needed > buffer.capacity() {
        let doubled = buffer.capacity().saturating_mul(2).max(256).min(bytes_max);
        buffer.reserve_exact(doubled.max(needed) - buffer.len());
    }
    buffer.extend_from_slice(bytes);
}

/// Empties a buffer, and gives back what one huge line made it grow by.
#[inline]
pub(super) fn empty(buffer: &mut Vec<u8>) {
    buffer.clear();
    if buffer.capacity() > RETAINED_BYTES_MAX {
        buffer.shrink_to(RETAINED_BYTES_MAX);
    }
}

#[inline]
fn line_end<const CR: bool>(bytes: &[u8]) -> Option<usize> {
    // The empty line that ends a frame is as frequent as the frame itself.
    if bytes.first() == Some(&b'\n') {
        return Some(0);
    }
    if CR {
        memchr2(b'\n', b'\r', bytes)
    } else {
        memchr(b'\n', bytes)
    }
}
