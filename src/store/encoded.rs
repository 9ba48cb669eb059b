//! How records with bodies are written: a byte that says which kind of record it
//! is, a head in [`postcard`], and behind it bodies as they are.

use serde::{Serialize, de::DeserializeOwned};

/// Room for a head; a longer one costs a copy and nothing else.
const HEAD_BYTES: usize = 256;

/// A record of this kind.
pub(super) fn encode(kind: u8, head: &impl Serialize, bodies: &[&[u8]]) -> Vec<u8> {
    let bodies_bytes: usize = bodies.iter().map(|body| body.len()).sum();
    let mut record = Vec::with_capacity(HEAD_BYTES + bodies_bytes);
    record.push(kind);
    // Numbers and texts in a vector: there is nothing in them that could fail.
    let mut record = postcard::to_extend(head, record).unwrap_or_default();
    for body in bodies {
        record.extend_from_slice(body);
    }
    record
}

/// The head of a record, and where its bodies begin.
pub(super) fn decode<T: DeserializeOwned>(record: &[u8]) -> Option<(T, usize)> {
    let (head, bodies) = postcard::take_from_bytes(record.get(1..)?).ok()?;
    Some((head, record.len() - bodies.len()))
}
