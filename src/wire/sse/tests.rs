use futures_util::StreamExt;
use proptest::prelude::*;
use sse_stream::SseByteStream;

use super::*;
use crate::wire::split::RETAINED_BYTES_MAX;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Frame {
        event: Vec<u8>,
        data: Vec<u8>,
        id: String,
        id_in_frame: bool,
    },
    Rejected(Rejection),
    Retry(Duration),
}

fn take(decoder: &mut SseDecoder, mut input: &[u8], items: &mut Vec<Item>) {
    while let Some(item) = decoder.next(&mut input) {
        items.push(match item {
            SseItem::Frame(frame) => Item::Frame {
                event: frame.event.to_vec(),
                data: frame.data.to_vec(),
                id: frame.id.to_owned(),
                id_in_frame: frame.id_in_frame,
            },
            SseItem::Rejected(rejection) => Item::Rejected(rejection),
            SseItem::Retry(wait) => Item::Retry(wait),
        });
    }
    assert!(input.is_empty());
}

/// Everything of a stream that comes in these chunks, and what its end says.
fn decode_with(
    decoder: &mut SseDecoder,
    chunks: &[&[u8]],
) -> (Vec<Item>, Option<Rejection>, String) {
    let mut items = Vec::new();
    for chunk in chunks {
        take(decoder, chunk, &mut items);
    }
    let end = decoder.finish();
    (items, end, decoder.last_event_id().to_owned())
}

fn decode(stream: &[u8]) -> Vec<Item> {
    decode_with(&mut SseDecoder::new(1_000, 1_000), &[stream]).0
}

fn frame(event: &str, data: &str, id: &str, id_in_frame: bool) -> Item {
    Item::Frame {
        event: event.into(),
        data: data.into(),
        id: id.into(),
        id_in_frame,
    }
}

fn message(data: &str) -> Item {
    frame("", data, "", false)
}

#[test]
fn a_frame_has_a_name_data_and_an_id() {
    let items = decode(b"event: batch\ndata: [1]\nid: 1234\n\n");
    assert_eq!(items, [frame("batch", "[1]", "1234", true)]);
}

#[test]
fn the_name_is_its_own_and_the_id_stays_for_the_frames_after_it() {
    let items = decode(b"event:a\nid:7\ndata:x\n\ndata:y\n\n");
    assert_eq!(
        items,
        [frame("a", "x", "7", true), frame("", "y", "7", false)]
    );
}

#[test]
fn data_lines_are_joined_with_lf() {
    assert_eq!(decode(b"data:a\ndata\ndata: b\n\n"), [message("a\n\nb")]);
}

#[test]
fn an_empty_data_line_makes_a_frame_and_no_data_line_makes_none() {
    assert_eq!(
        decode(b"data\n\ndata:\n\nevent:x\n\n\n"),
        [message(""), message("")]
    );
}

#[test]
fn one_space_after_the_colon_is_no_part_of_the_value() {
    assert_eq!(
        decode(b"data:  a \n\ndata:b\n\ndata:\tc\n\n"),
        [message(" a "), message("b"), message("\tc")]
    );
}

#[test]
fn comments_and_unknown_fields_are_ignored() {
    assert_eq!(
        decode(b": keep-alive\n\n:\ndata:a\n:x\nfoo:bar\nData:b\n data:c\nfoo\n\n"),
        [message("a")]
    );
}

#[test]
fn lines_end_with_lf_cr_or_crlf() {
    for end in ["\n", "\r", "\r\n"] {
        let stream = format!("data:a{end}data:b{end}{end}data:c{end}{end}");
        assert_eq!(decode(stream.as_bytes()), [message("a\nb"), message("c")]);
    }
    assert_eq!(
        decode(b"data:a\rdata:b\r\n\ndata:c\n\rdata:d\r\n\r\n"),
        [message("a\nb"), message("c"), message("d")]
    );
}

#[test]
fn a_frame_that_ends_with_cr_does_not_wait_for_the_next_byte() {
    let mut decoder = SseDecoder::new(100, 100);
    let mut items = Vec::new();
    take(&mut decoder, b"data:a\r\r", &mut items);
    assert_eq!(items, [message("a")]);
    take(&mut decoder, b"\ndata:b\r", &mut items);
    take(&mut decoder, b"\n", &mut items);
    assert_eq!(items.len(), 1);
    take(&mut decoder, b"\r", &mut items);
    assert_eq!(items, [message("a"), message("b")]);
}

#[test]
fn one_byte_order_mark_is_skipped_in_every_stream_however_it_is_cut() {
    let stream = b"\xEF\xBB\xBFdata:a\n\n\xEF\xBB\xBFdata:b\n\n";
    let mut decoder = SseDecoder::new(100, 100);
    for cut in 0..stream.len() {
        let (items, _, _) = decode_with(&mut decoder, &[&stream[..cut], &stream[cut..]]);
        assert_eq!(items, [message("a")], "cut at {cut}");
    }
    // Half a mark is the beginning of an unknown field.
    assert_eq!(decode(b"\xEF\xBBdata:a\ndata:b\n\n"), [message("b")]);
    assert_eq!(
        decode(b"\xEF\xBB\xBF\xEF\xBB\xBFdata:a\ndata:b\n\n"),
        [message("b")]
    );
}

#[test]
fn an_empty_id_resets_and_one_with_nul_is_ignored() {
    assert_eq!(
        decode(b"id:1\ndata:a\n\nid:2\0\ndata:b\n\nid\ndata:c\n\n"),
        [
            frame("", "a", "1", true),
            frame("", "b", "1", false),
            frame("", "c", "", true)
        ]
    );
}

#[test]
fn an_id_that_is_no_text_or_too_long_is_ignored() {
    let mut stream = b"id:1\ndata:a\n\nid:\xFF\ndata:b\n\nid:".to_vec();
    stream.extend(vec![b'x'; FRAME_FIELD_BYTES_MAX + 1]);
    stream.extend(b"\nevent:");
    stream.extend(vec![b'x'; FRAME_FIELD_BYTES_MAX + 1]);
    stream.extend(b"\ndata:c\n\n");
    let (items, _, _) = decode_with(&mut SseDecoder::new(10_000, 1_000), &[&stream]);
    assert_eq!(
        items,
        [
            frame("", "a", "1", true),
            frame("", "b", "1", false),
            frame("", "c", "1", false)
        ]
    );
}

#[test]
fn the_id_of_a_frame_without_data_is_kept() {
    assert_eq!(decode(b"id:5\n\ndata:a\n\n"), [frame("", "a", "5", false)]);
}

#[test]
fn retry_is_taken_when_it_is_all_digits() {
    assert_eq!(
        decode(b"retry: 1500\ndata:a\nretry:2\ndata:b\n\nretry:+3\nretry:\nretry:4s\nretry\nretry:99999999999999999999\n\n"),
        [
            Item::Retry(Duration::from_millis(1_500)),
            Item::Retry(Duration::from_millis(2)),
            message("a\nb"),
        ]
    );
}

#[test]
fn a_line_over_its_bound_costs_its_frame_only() {
    let stream = b"data:before\n\ndata:a\ndata:0123456789ABCDEF\nid:9\n\ndata:after\n\n";
    let (items, end, id) = decode_with(&mut SseDecoder::new(20, 1_000), &[stream]);
    assert_eq!(
        items,
        [
            message("before"),
            Item::Rejected(Rejection::LineTooLong),
            frame("", "after", "9", false)
        ]
    );
    assert_eq!((end, id.as_str()), (None, "9"));
}

#[test]
fn a_frame_over_its_bound_costs_itself_only() {
    let stream = b"data:0123456789\n\ndata:01234567890\n\ndata:01234\ndata:56789\n\ndata:0123\ndata:56789\n\n";
    let (items, _, _) = decode_with(&mut SseDecoder::new(100, 10), &[stream]);
    let too_long = Item::Rejected(Rejection::FrameTooLong);
    assert_eq!(
        items,
        [
            message("0123456789"),
            too_long.clone(),
            too_long,
            message("0123\n56789")
        ]
    );
}

#[test]
fn the_end_inside_a_frame_is_told_and_does_not_move_the_cursor() {
    let mut decoder = SseDecoder::new(20, 100);
    let mut cut = |stream: &[u8]| {
        let (_, end, id) = decode_with(&mut decoder, &[stream]);
        (end, id)
    };
    let cut_off = |id: &str| (Some(Rejection::CutOff), id.to_owned());
    assert_eq!(cut(b"id:1\ndata:a\n\n"), (None, "1".into()));
    assert_eq!(cut(b"id:2\ndata:a\n"), cut_off("1"));
    assert_eq!(cut(b"id:2\ndata:a"), cut_off("1"));
    assert_eq!(cut(b"id:2\n"), cut_off("1"));
    assert_eq!(cut(b"event:a\n"), cut_off("1"));
    assert_eq!(cut(b"d"), cut_off("1"));
    assert_eq!(cut(b": keep-alive\n"), (None, "1".into()));
    assert_eq!(
        cut(b"data:0123456789ABCDEF").0,
        Some(Rejection::LineTooLong)
    );
    assert_eq!(cut(b""), (None, "1".into()));
}

#[test]
fn nothing_of_a_stream_that_ended_is_seen_in_the_next() {
    let mut decoder = SseDecoder::new(100, 100);
    for left in [
        "data:a\nevent:x\nid:1\n",
        "data:a",
        "data:a\r",
        "\u{FEFF}",
        "event:x\n\r",
    ] {
        decode_with(&mut decoder, &[left.as_bytes()]);
        let (items, _, _) = decode_with(&mut decoder, &["\u{FEFF}\ndata:b\n\n".as_bytes()]);
        assert_eq!(items, [message("b")], "after {left:?}");
    }
}

#[test]
fn a_huge_line_is_never_stored() {
    let mut decoder = SseDecoder::new(1 << 20, 1 << 20);
    let mut items = Vec::new();
    take(&mut decoder, b"data:", &mut items);
    let chunk = vec![b'x'; 64 << 10];
    for _ in 0..(100 << 20) / chunk.len() {
        take(&mut decoder, &chunk, &mut items);
        assert!(decoder.capacity() <= (2 << 20) + 1_000);
    }
    take(&mut decoder, b"\n\ndata:a\n\n", &mut items);
    assert_eq!(
        items,
        [Item::Rejected(Rejection::LineTooLong), message("a")]
    );
    assert!(decoder.capacity() <= 2 * RETAINED_BYTES_MAX + 1_000);
}

#[test]
fn empty_data_lines_count_towards_the_bound_of_a_frame() {
    let full = "data: abcd\n";
    for (stream, fits) in [
        (format!("{full}\n"), true),
        (format!("{full}data\n\n"), false),
        (format!("{full}data:\ndata:\n\n"), false),
    ] {
        let items = decode_with(&mut SseDecoder::new(100, 4), &[stream.as_bytes()]).0;
        let expected = if fits {
            frame("", "abcd", "", false)
        } else {
            Item::Rejected(Rejection::FrameTooLong)
        };
        assert_eq!(items, [expected], "{stream:?}");
    }
}

#[test]
fn a_huge_frame_stays_within_its_bound_and_gives_its_room_back() {
    let mut decoder = SseDecoder::new(1 << 20, 4 << 20);
    let mut items = Vec::new();
    for lines in [4, 5, 200] {
        let mut line = b"data:".to_vec();
        line.resize((1 << 20) - 10, b'x');
        line.push(b'\n');
        for _ in 0..lines {
            for chunk in line.chunks(64 << 10) {
                take(&mut decoder, chunk, &mut items);
                assert!(decoder.capacity() <= (5 << 20) + 1_000);
            }
        }
        take(&mut decoder, b"\n", &mut items);
    }
    assert_eq!(items.len(), 3);
    assert!(matches!(&items[0], Item::Frame { data, .. } if data.len() > (4 << 20) - 100));
    assert_eq!(items[1], Item::Rejected(Rejection::FrameTooLong));
    take(&mut decoder, b":\n\n", &mut items);
    assert!(decoder.capacity() <= 2 * RETAINED_BYTES_MAX + 1_000);
}

/// Bytes that look like a stream often enough to reach every rule.
fn streamish() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        3 => prop::sample::select(vec![
            "data:", "data", "data: ", "event:", "event: batch", "id:", "id: 12", "id", "retry:",
            "retry: 50", ":", ": keep-alive", "foo: bar", "\u{FEFF}", "x", " ", "ü", "\0",
            "a rather long text that goes over a bound",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        4 => prop::sample::select(vec!["\n", "\r", "\r\n", "\n\n", "\r\r"])
            .prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

fn cut_up<'a>(stream: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = stream;
    let mut chunks = Vec::new();
    for size in sizes {
        let (chunk, after) = rest.split_at(rest.len().min(*size));
        chunks.push(chunk);
        rest = after;
    }
    chunks.push(rest);
    chunks
}

/// The data frames of the other decoder, with the id carried on as ours is.
fn decode_elsewhere(chunks: &[&[u8]]) -> Vec<Item> {
    let chunks: Vec<Result<&[u8], std::io::Error>> = chunks.iter().map(|c| Ok(*c)).collect();
    let mut blocks = SseByteStream::new(futures_util::stream::iter(chunks));
    let mut items = Vec::new();
    let mut id = String::new();
    while let Some(block) = futures_util::FutureExt::now_or_never(blocks.next()).flatten() {
        let block = block.unwrap();
        id = block.id.clone().unwrap_or(id);
        if let Some(data) = block.data {
            items.push(frame(
                &block.event.unwrap_or_default(),
                &data,
                &id,
                block.id.is_some(),
            ));
        }
    }
    items
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn cutting_a_stream_elsewhere_changes_nothing(
        stream in streamish(),
        sizes in prop::collection::vec(0usize..12, 0..80),
    ) {
        for (line, frame) in [(1_000, 1_000), (20, 1_000), (1_000, 8), (12, 6), (0, 0)] {
            let whole = decode_with(&mut SseDecoder::new(line, frame), &[&stream]);
            let cut = decode_with(&mut SseDecoder::new(line, frame), &cut_up(&stream, &sizes));
            prop_assert_eq!(&whole, &cut);
        }
    }

    #[test]
    fn any_bytes_in_any_chunks_are_taken(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20),
    ) {
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        let cut = decode_with(&mut SseDecoder::new(30, 40), &chunks);
        let whole = decode_with(&mut SseDecoder::new(30, 40), &[&chunks.concat()]);
        prop_assert_eq!(whole, cut);
    }

    // The other decoder ends at a value that is no UTF-8, so the streams here
    // are text. It reports `retry` and blocks without data in its own way:
    // both are left out.
    #[test]
    fn another_decoder_sees_the_same_frames(
        stream in streamish(),
        sizes in prop::collection::vec(0usize..12, 0..80),
    ) {
        let stream = String::from_utf8_lossy(&stream).into_owned().into_bytes();
        let chunks = cut_up(&stream, &sizes);
        let (mut ours, _, _) = decode_with(&mut SseDecoder::new(10_000, 10_000), &chunks);
        ours.retain(|item| !matches!(item, Item::Retry(_)));
        prop_assert_eq!(ours, decode_elsewhere(&chunks));
    }
}
