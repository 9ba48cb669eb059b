//! The ids of traces and spans. They come from the run and from the server's
//! stamps alone, so a replay finds the same ones.
//!
//! Each hash is XXH3 with 128 bits, read big-endian, over bytes that begin with
//! a tag of their own, so that no two kinds of id meet:
//!
//! | id | tag | then |
//! |---|---|---|
//! | span | `runtrail.span.1\0` | trace id (16), path (16), `at` (8), ordinal (4), big-endian |
//! | marker | `runtrail.marker.1\0` | trace id (16) |
//! | trace | `runtrail.trace.1\0` | source, epoch, run id, project |
//!
//! In a trace id's input, a text is its length (8, big-endian) and its bytes; the
//! project is one byte, 0 or 1, and the number (8, big-endian) when there is one.
//! A span id is the first 8 bytes of its hash. Zero is not an id: it becomes one.

use xxhash_rust::xxh3::Xxh3Default;

use crate::run::identity::Identity;

/// The id of a trace, as bytes.
pub type TraceId = [u8; 16];

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

/// The id of a run's trace: its UUID as it is. A run id that is no UUID, or the
/// nil one, is hashed with all that makes it unique: the source's name, the
/// server's epoch where ids begin again, and the project.
pub fn run_trace_id(run_id: &str, source: &str, epoch: &str, project: Option<i64>) -> TraceId {
    if let Some(id) = uuid(run_id).filter(|id| *id != 0) {
        return id.to_be_bytes();
    }
    let mut hash = Xxh3Default::new();
    hash.update(b"runtrail.trace.1\0");
    let mut text = |text: &str| {
        hash.update(&(text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    };
    text(source);
    text(epoch);
    text(run_id);
    match project {
        None => hash.update(&[0]),
        Some(project) => {
            hash.update(&[1]);
            hash.update(&project.to_be_bytes());
        }
    }
    hash.digest128().max(1).to_be_bytes()
}

/// The 128 bits of a UUID: 32 hex digits in any case, with the usual hyphens or
/// with none.
fn uuid(text: &str) -> Option<u128> {
    let bytes = text.as_bytes();
    let hyphenated = match bytes.len() {
        32 => false,
        36 => true,
        _ => return None,
    };
    let mut bits = 0u128;
    for (place, byte) in bytes.iter().enumerate() {
        if hyphenated && matches!(place, 8 | 13 | 18 | 23) {
            if *byte != b'-' {
                return None;
            }
            continue;
        }
        let digit = char::from(*byte).to_digit(16)?;
        bits = bits << 4 | u128::from(digit);
    }
    Some(bits)
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
    use crate::wire::event::NodeKind;
    use crate::wire::time::Time;

    const RUN: &str = "6513270e-1234-4abc-8def-0123456789ab";

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn a_run_id_that_is_a_uuid_is_the_trace_id() {
        let expected = "6513270e12344abc8def0123456789ab";
        for written in [RUN, &RUN.to_uppercase(), &RUN.replace('-', "")] {
            assert_eq!(
                hex(&run_trace_id(written, "a", "", Some(1))),
                expected,
                "{written}"
            );
        }
    }

    #[test]
    fn a_run_id_that_is_no_uuid_is_hashed_with_all_that_makes_it_unique() {
        let base = run_trace_id("exec-99", "prod", "1", Some(7));
        for other in [
            run_trace_id("exec-98", "prod", "1", Some(7)),
            run_trace_id("exec-99", "dev", "1", Some(7)),
            run_trace_id("exec-99", "prod", "2", Some(7)),
            run_trace_id("exec-99", "prod", "1", Some(8)),
            run_trace_id("exec-99", "prod", "1", None),
            run_trace_id("exec-99", "pro", "d1", Some(7)),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn the_nil_uuid_and_near_uuids_are_hashed() {
        for id in [
            "00000000-0000-0000-0000-000000000000",
            "00000000000000000000000000000000",
            "",
            "6513270e-1234-4abc-8def-0123456789aé",
            "6513270e_1234-4abc-8def-0123456789ab",
            "{6513270e-1234-4abc-8def-0123456789ab}",
            "+513270e12344abc8def0123456789ab0",
        ] {
            let trace = run_trace_id(id, "prod", "", None);
            assert_ne!(trace, [0; 16]);
            assert_ne!(trace, run_trace_id(id, "dev", "", None), "{id}");
        }
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
            hex(&run_trace_id("exec-99", "prod", "epoch", Some(7))),
        ];
        assert_eq!(
            vectors,
            [
                "260c3348af323b6f",
                "d24f32a8e8306ac8",
                "003d60f20dbe1e0d",
                "f5d20591e006e3af5df42ca7cb3ca27f",
            ]
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

        #[test]
        fn any_run_id_gives_a_trace_id(run in any::<String>(), project in any::<Option<i64>>()) {
            prop_assert_ne!(run_trace_id(&run, "s", "e", project), [0; 16]);
        }
    }
}
