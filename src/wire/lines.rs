//! NDJSON: lines out of chunks, bounded.
//!
//! Lines end with LF or CRLF; empty ones and a byte order mark at the start are
//! skipped. A line that lies whole in a chunk is lent from there. The same bytes
//! give the same lines, however they are cut into chunks.

use super::rejection::Rejection;
use super::split::{Split, Splitter};

/// The decoder of one stream after another.
#[derive(Debug)]
pub struct LineDecoder {
    splitter: Splitter<false>,
    line_bytes_max: usize,
}

/// What a stream consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineItem<'a> {
    /// A line, without its end.
    Line(&'a [u8]),
    /// A line that was too long; it is gone, to its end.
    Rejected(Rejection),
}

impl LineDecoder {
    /// A decoder with this bound.
    pub fn new(line_bytes_max: usize) -> Self {
        Self {
            // The splitter counts the CR of a CRLF; the line does not.
            splitter: Splitter::new(line_bytes_max.saturating_add(1)),
            line_bytes_max,
        }
    }

    /// Takes from the front of `input` until there is a line; none when all of
    /// it was taken.
    pub fn next<'d, 'i: 'd>(&'d mut self, input: &mut &'i [u8]) -> Option<LineItem<'d>> {
        loop {
            let split = self.splitter.next(input)?;
            if !self.is_empty(split) {
                return Some(self.item(split));
            }
        }
    }

    /// The end of the input: the last line, if nothing ended it. Makes ready for
    /// a new stream.
    pub fn finish(&mut self) -> Option<LineItem<'_>> {
        let split = self.splitter.finish()?;
        (!self.is_empty(split)).then(|| self.item(split))
    }

    fn is_empty(&self, split: Split<'_>) -> bool {
        match split {
            Split::Whole(line) => without_cr(line).is_empty(),
            Split::Joined => without_cr(self.splitter.joined()).is_empty(),
            Split::TooLong => false,
        }
    }

    fn item<'d>(&'d self, split: Split<'d>) -> LineItem<'d> {
        let line = match split {
            Split::Whole(line) => without_cr(line),
            Split::Joined => without_cr(self.splitter.joined()),
            Split::TooLong => return LineItem::Rejected(Rejection::LineTooLong),
        };
        if line.len() > self.line_bytes_max {
            LineItem::Rejected(Rejection::LineTooLong)
        } else {
            LineItem::Line(line)
        }
    }
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Item = Result<Vec<u8>, Rejection>;

    fn owned(item: LineItem<'_>) -> Item {
        match item {
            LineItem::Line(line) => Ok(line.to_vec()),
            LineItem::Rejected(rejection) => Err(rejection),
        }
    }

    fn decode_with(decoder: &mut LineDecoder, chunks: &[&[u8]]) -> Vec<Item> {
        let mut items = Vec::new();
        for mut chunk in chunks.iter().copied() {
            while let Some(item) = decoder.next(&mut chunk) {
                items.push(owned(item));
            }
            assert!(chunk.is_empty());
        }
        items.extend(decoder.finish().map(owned));
        items
    }

    fn decode(stream: &[u8]) -> Vec<Item> {
        decode_with(&mut LineDecoder::new(1_000), &[stream])
    }

    fn line(text: &str) -> Item {
        Ok(text.into())
    }

    #[test]
    fn lines_end_with_lf_or_crlf_and_empty_ones_are_skipped() {
        assert_eq!(
            decode(b"a\nb\r\n\n\r\n\rc\rd\r\r\n"),
            [line("a"), line("b"), line("\rc\rd\r")]
        );
    }

    #[test]
    fn the_last_line_needs_no_end() {
        assert_eq!(decode(b"a\nb"), [line("a"), line("b")]);
        assert_eq!(decode(b"a\nb\r"), [line("a"), line("b")]);
        assert_eq!(decode(b"a\n\r"), [line("a")]);
    }

    #[test]
    fn one_byte_order_mark_is_skipped_in_every_stream_however_it_is_cut() {
        let stream = "\u{FEFF}a\n\u{FEFF}b".as_bytes();
        let mut decoder = LineDecoder::new(100);
        for cut in 0..stream.len() {
            let items = decode_with(&mut decoder, &[&stream[..cut], &stream[cut..]]);
            assert_eq!(items, [line("a"), line("\u{FEFF}b")], "cut at {cut}");
        }
        assert_eq!(decode(b"\xEF\xBB"), [Ok(b"\xEF\xBB".to_vec())]);
    }

    #[test]
    fn a_line_over_its_bound_costs_itself_only() {
        let too_long = Err(Rejection::LineTooLong);
        let items = decode_with(
            &mut LineDecoder::new(3),
            &[b"abc\r\nabcd\nabcd\r\nabcde\nabc\nabcd"],
        );
        assert_eq!(
            items,
            [
                line("abc"),
                too_long.clone(),
                too_long.clone(),
                too_long.clone(),
                line("abc"),
                too_long
            ]
        );
    }

    #[test]
    fn a_huge_line_is_never_stored() {
        let mut decoder = LineDecoder::new(1 << 20);
        let chunk = vec![b'x'; 64 << 10];
        for _ in 0..(100 << 20) / chunk.len() {
            assert_eq!(decoder.next(&mut &chunk[..]), None);
            assert!(decoder.splitter.capacity() <= (1 << 20) + 1);
        }
        let mut end: &[u8] = b"\na\n";
        assert_eq!(
            decoder.next(&mut end),
            Some(LineItem::Rejected(Rejection::LineTooLong))
        );
        assert_eq!(decoder.next(&mut end), Some(LineItem::Line(b"a")));
    }

    proptest! {
        #[test]
        fn cutting_a_stream_elsewhere_changes_nothing(
            chunks in prop::collection::vec("[ab\u{FEFF}\r\n]{0,12}", 0..20),
            bound in 0usize..20,
        ) {
            let chunks: Vec<&[u8]> = chunks.iter().map(String::as_bytes).collect();
            let cut = decode_with(&mut LineDecoder::new(bound), &chunks);
            let whole = decode_with(&mut LineDecoder::new(bound), &[&chunks.concat()]);
            prop_assert_eq!(&whole, &cut);
        }

        #[test]
        fn any_bytes_are_taken_as_a_plain_split_would(
            stream in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
        ) {
            let plain: Vec<Item> = stream
                .strip_prefix(b"\xEF\xBB\xBF")
                .unwrap_or(&stream)
                .split(|byte| *byte == b'\n')
                .map(without_cr)
                .filter(|line| !line.is_empty())
                .map(|line| Ok(line.to_vec()))
                .collect();
            prop_assert_eq!(decode(&stream), plain);
        }
    }
}
