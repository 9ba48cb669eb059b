//! Whole frames out of a stream of server-sent events, byte for byte. Their
//! meaning is of no concern: a frame is what an empty line ends.

use memchr::memchr2;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Cuts one stream after another.
#[derive(Debug)]
pub(super) struct FrameCutter {
    frame: Vec<u8>,
    frame_bytes_max: usize,
    /// The frame was lent by the last call.
    lent: bool,
    /// The frame is over its bound: nothing of it is kept, to its end.
    swallowing: bool,
    /// Nothing of the line has come.
    line_empty: bool,
    /// A CR ended the line before; an LF right after it belongs to it.
    after_cr: bool,
    /// How much of a byte order mark has come, while one may still come. It
    /// means something only where the stream begins, so it is left out.
    mark_bytes: Option<usize>,
}

/// What a stream consists of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cut<'c> {
    /// A frame, with the empty line that ends it.
    Frame(&'c [u8]),
    /// A frame that was too long; it is gone.
    TooLong,
}

impl FrameCutter {
    pub(super) const fn new(frame_bytes_max: usize) -> Self {
        Self {
            frame: Vec::new(),
            frame_bytes_max,
            lent: false,
            swallowing: false,
            line_empty: true,
            after_cr: false,
            mark_bytes: Some(0),
        }
    }

    /// Takes from the front of `input` until there is a frame; none when all of
    /// it was taken.
    pub(super) fn next<'c>(&'c mut self, input: &mut &[u8]) -> Option<Cut<'c>> {
        if std::mem::take(&mut self.lent) {
            self.frame.clear();
        }
        self.skip_mark(input);
        while let Some(first) = input.first() {
            // It comes late, maybe behind the frame that its CR ended: there it
            // is one more empty line, which ends nothing.
            if std::mem::take(&mut self.after_cr) && *first == b'\n' {
                self.keep(b"\n");
                *input = &input[1..];
                continue;
            }
            let Some(end) = memchr2(b'\n', b'\r', input) else {
                self.keep(input);
                self.line_empty = false;
                *input = &[];
                break;
            };
            self.keep(&input[..=end]);
            self.after_cr = input[end] == b'\r';
            *input = &input[end + 1..];
            let ends_frame = self.line_empty && end == 0;
            self.line_empty = true;
            if !ends_frame {
                continue;
            }
            if std::mem::take(&mut self.swallowing) {
                return Some(Cut::TooLong);
            }
            self.lent = true;
            return Some(Cut::Frame(&self.frame));
        }
        None
    }

    /// The stream is over, or broke: what has no end is dropped, and a new
    /// stream begins.
    pub(super) fn restart(&mut self) {
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        *self = Self {
            frame,
            ..Self::new(self.frame_bytes_max)
        };
    }

    fn skip_mark(&mut self, input: &mut &[u8]) {
        while let (Some(seen), Some(byte)) = (self.mark_bytes, input.first()) {
            if *byte == BYTE_ORDER_MARK[seen] {
                *input = &input[1..];
                self.mark_bytes = (seen + 1 < BYTE_ORDER_MARK.len()).then_some(seen + 1);
            } else {
                self.mark_bytes = None;
                self.line_empty = seen == 0;
                self.keep(&BYTE_ORDER_MARK[..seen]);
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.swallowing {
            return;
        }
        if bytes.len() > self.frame_bytes_max - self.frame.len() {
            self.swallowing = true;
            self.frame = Vec::new();
        } else {
            self.frame.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The frames of a stream that comes in these chunks; an empty one was too long.
    fn cut(cutter: &mut FrameCutter, chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        for mut chunk in chunks.iter().copied() {
            while let Some(cut) = cutter.next(&mut chunk) {
                frames.push(match cut {
                    Cut::Frame(frame) => frame.to_vec(),
                    Cut::TooLong => Vec::new(),
                });
            }
            assert!(chunk.is_empty());
        }
        frames
    }

    fn texts(stream: &str) -> Vec<String> {
        let frames = cut(&mut FrameCutter::new(100), &[stream.as_bytes()]);
        let text = |frame| String::from_utf8(frame).unwrap();
        frames.into_iter().map(text).collect()
    }

    #[test]
    fn a_frame_goes_to_its_empty_line_whatever_ends_lines() {
        assert_eq!(texts("a\nb\n\nc\n\nd\n"), ["a\nb\n\n", "c\n\n"]);
        assert_eq!(texts("a\rb\r\rc\r\rd\r"), ["a\rb\r\r", "c\r\r"]);
        assert_eq!(
            texts("a\r\nb\r\n\r\nc\r\n\r\nd\r\n"),
            ["a\r\nb\r\n\r", "\nc\r\n\r"],
            "an end is told as soon as it is there"
        );
        assert_eq!(texts("\na\n \n\n"), ["\n", "a\n \n\n"]);
    }

    #[test]
    fn a_mark_at_the_beginning_is_left_out_and_elsewhere_it_is_not() {
        let stream = "\u{FEFF}a\n\n\u{FEFF}b\n\n".as_bytes();
        let whole = ["a\n\n".as_bytes(), "\u{FEFF}b\n\n".as_bytes()];
        for at in 0..stream.len() {
            let mut cutter = FrameCutter::new(100);
            assert_eq!(cut(&mut cutter, &[&stream[..at], &stream[at..]]), whole);
            cutter.restart();
            assert_eq!(cut(&mut cutter, &[stream]), whole);
        }
        let half = cut(&mut FrameCutter::new(100), &[b"\xEF\xBB\n\n"]);
        assert_eq!(half, [b"\xEF\xBB\n\n"]);
    }

    #[test]
    fn what_has_no_end_when_the_stream_breaks_is_dropped() {
        for broken in ["a\nb", "a\n", "a\r", "\n\n\u{FEFF}"] {
            let mut cutter = FrameCutter::new(100);
            cut(&mut cutter, &[broken.as_bytes()]);
            cutter.restart();
            assert_eq!(cut(&mut cutter, &[b"\nc\n\n"]), [&b"\n"[..], b"c\n\n"]);
        }
    }

    #[test]
    fn a_frame_over_its_bound_costs_itself_and_is_not_stored() {
        let mut cutter = FrameCutter::new(5);
        let frames = cut(&mut cutter, &[b"abc\n\nabcd\n\nxx", b"xxxx\ny\n\nabc\n\n"]);
        assert_eq!(frames, [&b"abc\n\n"[..], b"", b"", b"abc\n\n"]);
        cut(&mut cutter, &[&[b'x'; 1_000]]);
        assert_eq!(cutter.frame.capacity(), 0);
        cutter.restart();
        assert_eq!(cut(&mut cutter, &[b"abc\n\n"]), [b"abc\n\n"]);
    }

    proptest! {
        #[test]
        fn frames_are_the_stream_again_however_it_is_cut_into_chunks(
            chunks in prop::collection::vec("[a\r\n]{0,8}", 0..20),
        ) {
            let chunks: Vec<&[u8]> = chunks.iter().map(String::as_bytes).collect();
            let stream = chunks.concat();
            let frames = cut(&mut FrameCutter::new(1_000), &chunks);
            prop_assert_eq!(&frames, &cut(&mut FrameCutter::new(1_000), &[&stream]));
            prop_assert!(stream.starts_with(&frames.concat()));
        }
    }
}
