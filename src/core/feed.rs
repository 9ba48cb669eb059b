//! The two forms in which a feed is read: server-sent events, and lines of JSON
//! as a recording may have them. The first byte tells which it is.

use std::time::Duration;

use crate::limits::Limits;
use crate::wire::lines::{LineDecoder, LineItem};
use crate::wire::rejection::Rejection;
use crate::wire::sse::{Frame, SseDecoder, SseItem};

/// How a feed is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FeedForm {
    /// Server-sent events.
    Sse,
    /// One JSON value a line.
    Lines,
}

/// A frame, or the reason why there is none.
pub(super) enum Taken<'a> {
    Frame(Frame<'a>),
    Rejected(Rejection),
    /// A wish how long to wait before the next connection: see [`Feed::retry`].
    Nothing,
}

/// The decoder of a feed.
#[derive(Debug)]
pub(super) struct Feed {
    form: Option<FeedForm>,
    /// A byte order mark that was cut, until the byte behind it is seen.
    mark_bytes: usize,
    sse: SseDecoder,
    lines: LineDecoder,
    retry: Option<Duration>,
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

impl Feed {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            form: None,
            mark_bytes: 0,
            sse: SseDecoder::new(limits.line_bytes_max, limits.frame_bytes_max),
            lines: LineDecoder::new(limits.line_bytes_max),
            retry: None,
        }
    }

    pub(super) fn last_event_id(&self) -> &str {
        self.sse.last_event_id()
    }

    pub(super) const fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Takes from the front of the input until there is something.
    pub(super) fn next<'d, 'i: 'd>(&'d mut self, input: &mut &'i [u8]) -> Option<Taken<'d>> {
        if self.form.is_none() {
            self.form = self.recognise(input);
        }
        match self.form? {
            FeedForm::Sse => Some(match self.sse.next(input)? {
                SseItem::Frame(frame) => Taken::Frame(frame),
                SseItem::Rejected(rejection) => Taken::Rejected(rejection),
                SseItem::Retry(wait) => {
                    self.retry = Some(wait);
                    Taken::Nothing
                }
            }),
            FeedForm::Lines => Some(line(self.lines.next(input)?)),
        }
    }

    /// The input is at its end; a new one may follow.
    pub(super) fn finish(&mut self) -> Option<Taken<'_>> {
        self.mark_bytes = 0;
        match self.form.take()? {
            FeedForm::Sse => self.sse.finish().map(Taken::Rejected),
            FeedForm::Lines => self.lines.finish().map(line),
        }
    }

    /// Looks for the first byte that says something, and leaves it where it is.
    fn recognise(&mut self, input: &mut &[u8]) -> Option<FeedForm> {
        while let Some((first, rest)) = input.split_first() {
            let mark = BYTE_ORDER_MARK.get(self.mark_bytes);
            match first {
                byte if mark == Some(byte) => self.mark_bytes += 1,
                b' ' | b'\t' | b'\r' | b'\n' => {}
                b'{' | b'[' => return Some(FeedForm::Lines),
                _ => return Some(FeedForm::Sse),
            }
            *input = rest;
        }
        None
    }
}

fn line(item: LineItem<'_>) -> Taken<'_> {
    match item {
        LineItem::Line(data) => Taken::Frame(Frame {
            event: b"",
            data,
            id: "",
            id_in_frame: false,
        }),
        LineItem::Rejected(rejection) => Taken::Rejected(rejection),
    }
}
