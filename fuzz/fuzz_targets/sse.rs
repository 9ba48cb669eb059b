//! The SSE decoder with small bounds: however the bytes are cut, the same items
//! come out, and none of them is over its bound.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runtrail::wire::sse::{SseDecoder, SseItem};

const LINE_BYTES_MAX: usize = 48;
const FRAME_BYTES_MAX: usize = 96;

/// The first byte is the number of cuts, and as many bytes follow: how far each
/// lies behind the one before. The rest is the stream.
fn split(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (cuts, rest) = input.split_first()?;
    rest.split_at_checked(usize::from(*cuts % 16))
}

fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<String>, String) {
    let mut decoder = SseDecoder::new(LINE_BYTES_MAX, FRAME_BYTES_MAX);
    let mut items = Vec::new();
    for mut piece in pieces {
        loop {
            let before = piece.len();
            let Some(item) = decoder.next(&mut piece) else {
                break;
            };
            assert!(piece.len() < before, "an item took something");
            if let SseItem::Frame(frame) = &item {
                assert!(frame.data.len() <= FRAME_BYTES_MAX);
                assert!(frame.event.len() <= LINE_BYTES_MAX);
                assert!(frame.id.len() <= LINE_BYTES_MAX);
            }
            items.push(format!("{item:?}"));
        }
        assert!(piece.is_empty(), "all of it was taken");
    }
    items.extend(decoder.finish().map(|rejection| format!("{rejection:?}")));
    (items, decoder.last_event_id().to_owned())
}

fuzz_target!(|input: &[u8]| {
    let Some((cuts, stream)) = split(input) else {
        return;
    };
    let whole = decode([stream]);
    let mut rest = stream;
    let mut pieces = Vec::new();
    for cut in cuts {
        let (piece, after) = rest.split_at(usize::from(*cut).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    assert_eq!(decode(pieces), whole);
    assert_eq!(decode(stream.chunks(1)), whole);
});
