//! Server-sent events: frames out of chunks, by the rules of the WHATWG
//! (HTML, section 9.2.6), bounded.
//!
//! - A frame that lies whole in a chunk with one data line is lent from there,
//!   without a copy; another is joined in buffers that are used again.
//! - The same bytes give the same items, however they are cut into chunks.
//! - The buffers never exceed `line_bytes_max` + `frame_bytes_max` and a
//!   constant. A line or frame over its bound costs its frame only.
//! - The last event id moves when a frame ends, not before, so that a
//!   connection that breaks inside a frame does not move the cursor past it. It
//!   does move for a frame over its bound: else the server would send the same
//!   frame for ever.
//!
//! Three things differ from the rules. An id or event name over
//! `FRAME_FIELD_BYTES_MAX` is ignored, and so is an id that is no UTF-8: it
//! could not be sent back. The last event id survives a new connection.

use std::time::Duration;

use memchr::memchr;

use super::rejection::Rejection;
use super::split::{Split, Splitter, append, empty};
use crate::limits::FRAME_FIELD_BYTES_MAX;

/// The decoder of one stream after another.
#[derive(Debug)]
pub struct SseDecoder {
    splitter: Splitter<true>,
    frame_bytes_max: usize,
    pending: Pending,
    /// The id that the last ended frame left.
    last_event_id: String,
    /// What was lent by the last call is still there.
    lent: bool,
}

/// One frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its name; empty when it has none.
    pub event: &'a [u8],
    /// Its data lines, joined with LF.
    pub data: &'a [u8],
    /// The last event id, its own or one before it; empty when there is none.
    pub id: &'a str,
    /// Whether the id is its own.
    pub id_in_frame: bool,
}

/// What a stream consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SseItem<'a> {
    /// A frame.
    Frame(Frame<'a>),
    /// A frame that was dropped, for a line or for itself being too long.
    Rejected(Rejection),
    /// The server's wish how long to wait before connecting again.
    Retry(Duration),
}

/// The frame that has not ended.
#[derive(Debug, Default)]
struct Pending {
    event: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    id: String,
    has_id: bool,
    fault: Option<Rejection>,
}

/// What a line did, where it did more than add to the frame.
enum Step {
    Retry(Duration),
    End,
}

impl SseDecoder {
    /// A decoder with these bounds.
    pub fn new(line_bytes_max: usize, frame_bytes_max: usize) -> Self {
        Self {
            splitter: Splitter::new(line_bytes_max),
            frame_bytes_max,
            pending: Pending::default(),
            last_event_id: String::new(),
            lent: false,
        }
    }

    /// Takes from the front of `input` until there is an item; none when all of
    /// it was taken.
    pub fn next<'d, 'i: 'd>(&'d mut self, input: &mut &'i [u8]) -> Option<SseItem<'d>> {
        if self.lent {
            self.lent = false;
            self.pending.clear();
        }
        // The frame's only data line so far, while it lies in the input.
        let mut borrowed: Option<&'i [u8]> = None;
        loop {
            let Some(line) = self.splitter.next(input) else {
                self.pending.settle(borrowed, self.frame_bytes_max);
                return None;
            };
            let step = match line {
                Split::Whole(line) => match line.strip_prefix(b"data:") {
                    Some(value) if borrowed.is_none() && self.pending.takes_first() => {
                        borrowed = Some(value.strip_prefix(b" ").unwrap_or(value));
                        continue;
                    }
                    _ if line.is_empty() => Some(Step::End),
                    _ => {
                        self.pending.settle(borrowed.take(), self.frame_bytes_max);
                        self.pending.line(line, self.frame_bytes_max)
                    }
                },
                Split::Joined => {
                    self.pending.settle(borrowed.take(), self.frame_bytes_max);
                    self.pending
                        .line(self.splitter.joined(), self.frame_bytes_max)
                }
                Split::TooLong => {
                    self.pending.settle(borrowed.take(), self.frame_bytes_max);
                    self.pending.fail(Rejection::LineTooLong);
                    None
                }
            };
            match step {
                None => {}
                Some(Step::Retry(wait)) => return Some(SseItem::Retry(wait)),
                Some(Step::End) => {
                    if let Some(value) = borrowed.take_if(|v| v.len() > self.frame_bytes_max) {
                        self.pending.settle(Some(value), self.frame_bytes_max);
                    }
                    if self.end_frame(borrowed.is_some()) {
                        return Some(self.item(borrowed));
                    }
                }
            }
        }
    }

    /// The end of the input. Says if it cut a frame off, and makes ready for a
    /// new connection; the last event id stays.
    pub fn finish(&mut self) -> Option<Rejection> {
        if self.lent {
            self.lent = false;
            self.pending.clear();
        }
        match self.splitter.finish() {
            Some(Split::TooLong) => self.pending.fail(Rejection::LineTooLong),
            Some(_) => self.pending.fail(Rejection::CutOff),
            None if self.pending.has_begun() => self.pending.fail(Rejection::CutOff),
            None => {}
        }
        let fault = self.pending.fault;
        self.pending.clear();
        fault
    }

    /// The id to resume after; empty when there is none.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// Ends the frame, and tells whether there is something to say of it.
    fn end_frame(&mut self, borrowed: bool) -> bool {
        if self.pending.has_id {
            self.last_event_id.clear();
            self.last_event_id.push_str(&self.pending.id);
        }
        self.lent = borrowed || self.pending.has_data || self.pending.fault.is_some();
        if !self.lent {
            self.pending.clear();
        }
        self.lent
    }

    fn item<'d>(&'d self, borrowed: Option<&'d [u8]>) -> SseItem<'d> {
        match self.pending.fault {
            Some(fault) => SseItem::Rejected(fault),
            None => SseItem::Frame(Frame {
                event: &self.pending.event,
                data: borrowed.unwrap_or(&self.pending.data),
                id: &self.last_event_id,
                id_in_frame: self.pending.has_id,
            }),
        }
    }

    /// What its buffers take.
    #[cfg(test)]
    fn capacity(&self) -> usize {
        self.splitter.capacity()
            + self.pending.data.capacity()
            + self.pending.event.capacity()
            + self.pending.id.capacity()
            + self.last_event_id.capacity()
    }
}

impl Pending {
    /// Whether a data line would be the first of its frame.
    const fn takes_first(&self) -> bool {
        !self.has_data && self.fault.is_none()
    }

    const fn has_begun(&self) -> bool {
        self.has_data || self.has_id || self.fault.is_some() || !self.event.is_empty()
    }

    /// Copies a data line that was borrowed, before the input goes away.
    fn settle(&mut self, borrowed: Option<&[u8]>, frame_bytes_max: usize) {
        if let Some(value) = borrowed {
            self.add_data(value, frame_bytes_max);
        }
    }

    fn line(&mut self, line: &[u8], frame_bytes_max: usize) -> Option<Step> {
        if line.is_empty() {
            return Some(Step::End);
        }
        let (name, value) = match memchr(b':', line) {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &line[line.len()..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => self.add_data(value, frame_bytes_max),
            b"event" if value.len() <= FRAME_FIELD_BYTES_MAX => {
                self.event.clear();
                self.event.extend_from_slice(value);
            }
            b"id" => self.set_id(value),
            b"retry" => return retry(value).map(Step::Retry),
            _ => {}
        }
        None
    }

    fn add_data(&mut self, value: &[u8], frame_bytes_max: usize) {
        if self.fault.is_some() {
            return;
        }
        let joint: &[u8] = if self.has_data { b"\n" } else { b"" };
        let bytes = self.data.len() + joint.len() + value.len();
        if bytes > frame_bytes_max {
            self.fail(Rejection::FrameTooLong);
            return;
        }
        append(&mut self.data, joint, frame_bytes_max);
        append(&mut self.data, value, frame_bytes_max);
        self.has_data = true;
    }

    fn set_id(&mut self, value: &[u8]) {
        if value.len() > FRAME_FIELD_BYTES_MAX || memchr(0, value).is_some() {
            return;
        }
        if let Ok(id) = std::str::from_utf8(value) {
            self.id.clear();
            self.id.push_str(id);
            self.has_id = true;
        }
    }

    /// Condemns the frame; the first reason counts.
    fn fail(&mut self, fault: Rejection) {
        self.fault.get_or_insert(fault);
        empty(&mut self.data);
    }

    fn clear(&mut self) {
        empty(&mut self.data);
        self.event.clear();
        self.id.clear();
        self.has_data = false;
        self.has_id = false;
        self.fault = None;
    }
}

/// Milliseconds, in ASCII digits and nothing else.
fn retry(value: &[u8]) -> Option<Duration> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let millis = std::str::from_utf8(value).ok()?.parse().ok()?;
    Some(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests;
