//! The ids of spans. They come from the run and from the server's
//! stamps alone, so a replay finds the same ones.
//!
//! Each hash is XXH3 with 128 bits, read big-endian, over bytes that begin with
//! a tag of their own, so that no two kinds of id meet:
//!
//! | id | tag | then |
//! |---|---|---|
//! | span | `runtrail.span.1\0` | trace id (16), path (16), `at` (8), ordinal (4), big-endian |
//! | marker | `runtrail.marker.1\0` | trace id (16) |
//!
//! A trace's id is that of its run: see [`crate::run::trace_id`]. A span id is the first 8 bytes of its hash. Zero is not an id: it becomes one.

use crate::run::identity::Identity;
pub use crate::run::trace_id::TraceId;

/// The id of a span, as bytes.
pub type SpanId = [u8; 8];

/// The id of a node's span, or of the root's for [`Identity::ROOT`].
pub fn span_id(trace_id: &TraceId, identity: &Identity) -> SpanId {
    const TAG: &[u8; 16] = b"runtrail.span.1\0";
    let mut layout = [0; 60];
    layout[..16].copy_from_slice(TAG);
    layout[16..32].copy_from_slice(trace_id);
    layout[32..48].copy_from_slice(&identity.path.0.to_be_bytes());
    layout[48..56].copy_from_slice(&identity.at.0.to_be_bytes());
    layout[56..].copy_from_slice(&identity.ordinal.to_be_bytes());
    first_eight(xxhash_rust::xxh3::xxh3_128(&layout))
}

/// The id of the span that says that a run has started.
pub fn marker_id(trace_id: &TraceId) -> SpanId {
    const TAG: &[u8; 18] = b"runtrail.marker.1\0";
    let mut layout = [0; 34];
    layout[..18].copy_from_slice(TAG);
    layout[18..].copy_from_slice(trace_id);
    first_eight(xxhash_rust::xxh3::xxh3_128(&layout))
}

fn first_eight(hash: u128) -> SpanId {
    let first = (hash >> 64) as u64;
    first.max(1).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::run::identity::Path;
    use crate::run::trace_id::run_trace_id;
    use crate::wire::event::NodeKind;
    use crate::wire::time::Time;

    const RUN: &str = "6513270e-1234-4abc-8def-0123456789ab";

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn the_hash_is_fixed_changing_it_is_a_breaking_change() {
        let trace = run_trace_id(RUN, "a", "", None);
        let node = Identity {
            path: Path::ROOT.step(NodeKind::Task, &["summarise"]),
            at: Time(1_778_149_422_187_000_000),
            ordinal: 3,
        };
        let vectors = [
            hex(&span_id(&trace, &Identity::ROOT)),
            hex(&span_id(&trace, &node)),
            hex(&marker_id(&trace)),
        ];
        assert_eq!(
            vectors,
            ["260c3348af323b6f", "d24f32a8e8306ac8", "003d60f20dbe1e0d",]
        );
    }

    #[test]
    fn zero_is_never_an_id() {
        assert_eq!(first_eight(0), [0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(first_eight(u128::from(u64::MAX)), [0, 0, 0, 0, 0, 0, 0, 1]);
    }

    proptest! {
        #[test]
        fn every_part_of_an_identity_matters(
            path in any::<u128>(), at in any::<u64>(), ordinal in any::<u32>(),
            trace in any::<[u8; 16]>(), bit in 0u32..28 * 8,
        ) {
            let id = |path: u128, at: u64, ordinal: u32| {
                span_id(&trace, &Identity { path: Path(path), at: Time(at), ordinal })
            };
            let base = id(path, at, ordinal);
            let other = match bit {
                0..128 => id(path ^ 1 << bit, at, ordinal),
                128..192 => id(path, at ^ 1 << (bit - 128), ordinal),
                _ => id(path, at, ordinal ^ 1 << (bit - 192)),
            };
            prop_assert_ne!(base, other);
            prop_assert_ne!(base, marker_id(&trace));
        }
    }
}
