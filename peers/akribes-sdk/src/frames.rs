//! Server-sent events as the SDK can read them, and how they are cut on their way.
//!
//! It finds the end of a frame only where two equal line ends meet, or CRLF and
//! LF; behind the latter it keeps the CR, so that such a frame ends with its data.

use fastrand::Rng;

use crate::{chance, pick};

const LF: &str = "\n";
const CRLF: &str = "\r\n";

/// How the lines of a feed end.
#[derive(Debug, Clone, Copy)]
pub enum LineEnds {
    /// By LF.
    Lf,
    /// By CRLF.
    CrLf,
    /// By either.
    Mixed,
}

impl LineEnds {
    /// One at random.
    pub fn any(rng: &mut Rng) -> Self {
        *pick(rng, &[&Self::Lf, &Self::CrLf, &Self::Mixed])
    }

    fn next(self, rng: &mut Rng) -> &'static str {
        match self {
            Self::Lf => LF,
            Self::CrLf => CRLF,
            Self::Mixed => pick(rng, &[LF, CRLF]),
        }
    }
}

/// Writes a batch as a frame.
pub fn batch(rng: &mut Rng, ends: LineEnds, data: &str, id: Option<i64>, out: &mut Vec<u8>) {
    let event = chance(rng, 70).then_some("batch");
    frame(rng, ends, event, data, id, out);
}

/// Writes something that carries no event: a comment, a frame of another name,
/// an empty batch, white space.
pub fn noise(rng: &mut Rng, ends: LineEnds, batch: &str, out: &mut Vec<u8>) {
    match rng.u8(..7) {
        0 | 1 => put(out, &[": keep-alive", LF, LF]),
        2 => put(out, &[":", CRLF, CRLF]),
        3 => {
            // Bytes that are no text, where nobody reads them.
            put(out, &[": "]);
            out.extend_from_slice(b"\xFF\xC3\x28");
            put(out, &[LF, LF]);
        }
        4 => frame(rng, ends, Some("other"), batch, None, out),
        5 => frame(rng, ends, None, "[]", None, out),
        _ => put(
            out,
            &[pick(
                rng,
                &[
                    "retry: 250\n\n",
                    "event: batch\n\n",
                    "id: 3\r\n\r\n",
                    "\n\n",
                ],
            )],
        ),
    }
}

fn frame(
    rng: &mut Rng,
    ends: LineEnds,
    event: Option<&str>,
    data: &str,
    id: Option<i64>,
    out: &mut Vec<u8>,
) {
    let colon = |rng: &mut Rng| pick(rng, &[": ", ":"]);
    let mut before = Vec::new();
    before.extend(event.map(|event| format!("event{}{event}", colon(rng))));
    before.extend(id.map(|id| format!("id{}{id}", colon(rng))));
    if chance(rng, 10) {
        before.push(": a comment".to_owned());
    }
    if chance(rng, 10) {
        before.push("unknown: field".to_owned());
    }
    rng.shuffle(&mut before);
    let after = before.split_off(rng.usize(..=before.len()));
    let mut lines = before;
    lines.extend(
        data.split('\n')
            .map(|line| format!("data{}{line}", colon(rng))),
    );
    let ends_with_data = after.is_empty();
    lines.extend(after);

    let last = lines.len() - 1;
    for (at, line) in lines.iter().enumerate() {
        let end = ends.next(rng);
        put(out, &[line, end]);
        if at == last {
            let may_mix = matches!(ends, LineEnds::Mixed) && ends_with_data && end == CRLF;
            put(out, &[if may_mix && rng.bool() { LF } else { end }]);
        }
    }
}

fn put(out: &mut Vec<u8>, texts: &[&str]) {
    out.extend(texts.iter().flat_map(|text| text.bytes()));
}

/// Cuts bytes anywhere. The SDK looks through an unfinished frame again at every
/// chunk, so that there may not be too many of them.
pub fn cut(rng: &mut Rng, bytes: &[u8]) -> Vec<Vec<u8>> {
    const CHUNKS_MAX: usize = 500;
    let max = *pick(rng, &[&3, &64, &700, &20_000]).max(&(2 * bytes.len() / CHUNKS_MAX));
    let mut rest = bytes;
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        let (chunk, more) = rest.split_at(rng.usize(1..=max).min(rest.len()));
        chunks.push(chunk.to_vec());
        rest = more;
    }
    chunks
}
