//! The id of a run's trace. It comes from the run alone, so a replay finds the
//! same one.
//!
//! A hashed id is XXH3 with 128 bits, read big-endian, over the tag
//! `runtrail.trace.1\0`, then source, epoch, run id and project. A text is its
//! length (8 bytes, big-endian) and its bytes; the project is one byte, 0 or 1,
//! and the number (8 bytes, big-endian) when there is one.

use xxhash_rust::xxh3::Xxh3Default;

/// The id of a trace, as bytes.
pub type TraceId = [u8; 16];

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

/// A trace id, or a run's UUID, as people write it.
pub fn parse(text: &str) -> Option<TraceId> {
    uuid(text).map(u128::to_be_bytes)
}

/// A trace id as people read it.
pub fn hex(id: &TraceId) -> String {
    format!("{:032x}", u128::from_be_bytes(*id))
}

/// The 128 bits of a UUID: 32 hex digits in any case, with the usual hyphens or
/// with none.
fn uuid(text: &str) -> Option<u128> {
    let text = text.as_bytes();
    if let Ok(text) = <&[u8; 36]>::try_from(text) {
        let hyphenated = HYPHENS.iter().all(|place| text[*place] == b'-');
        let pairs = PAIRS.map(|place| [text[place], text[place + 1]]);
        return hyphenated.then(|| number(&pairs)).flatten();
    }
    let (pairs, _) = <&[u8; 32]>::try_from(text).ok()?.as_chunks();
    number(pairs.first_chunk()?)
}

/// Where the hyphens of a UUID stand, and where its pairs of digits begin.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];
const PAIRS: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];

/// Every event names its run: this is read without a branch for each digit.
fn number(pairs: &[[u8; 2]; 16]) -> Option<u128> {
    let mut seen = 0;
    let bytes = pairs.map(|[high, low]| {
        let (high, low) = (DIGITS[usize::from(high)], DIGITS[usize::from(low)]);
        seen |= high | low;
        (high << 4) | low
    });
    (seen != NO_DIGIT).then_some(u128::from_be_bytes(bytes))
}

/// What each byte is worth as a hex digit.
const DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut digit = 0;
    while digit < 16 {
        let lower = b"0123456789abcdef"[digit];
        digits[lower as usize] = digit as u8;
        digits[lower.to_ascii_uppercase() as usize] = digit as u8;
        digit += 1;
    }
    digits
};

/// With any digit it makes itself.
const NO_DIGIT: u8 = 0xFF;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RUN: &str = "6513270e-1234-4abc-8def-0123456789ab";

    #[test]
    fn an_id_is_read_with_dashes_and_without() {
        let id = parse("6513270e-4c6f-4b0e-9a55-1f0c2d7be001");
        assert_eq!(id, parse("6513270e4c6f4b0e9a551f0c2d7be001"));
        assert_eq!(
            id.map(|id| hex(&id)).as_deref(),
            Some("6513270e4c6f4b0e9a551f0c2d7be001")
        );
        for wrong in [
            "",
            "exec-99",
            "6513270e4c6f4b0e9a551f0c2d7be00",
            "+513270e4c6f4b0e9a551f0c2d7be001",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
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
        assert_eq!(
            hex(&run_trace_id("exec-99", "prod", "epoch", Some(7))),
            "f5d20591e006e3af5df42ca7cb3ca27f"
        );
    }

    proptest! {
        #[test]
        fn a_uuid_is_its_digits_and_nothing_else_is_one(
            digits in "[0-9a-fA-F]{32}",
            place in 0usize..36,
            sign in "[0-9a-gA-G/:@`{ -]",
        ) {
            let bits = u128::from_str_radix(&digits, 16).ok();
            prop_assert_eq!(uuid(&digits), bits);
            let mut hyphenated = digits;
            for place in HYPHENS {
                hyphenated.insert(place, '-');
            }
            prop_assert_eq!(uuid(&hyphenated), bits);
            hyphenated.replace_range(place..place + 1, &sign);
            let is_uuid = HYPHENS.contains(&place) == (sign == "-")
                && (sign == "-" || sign.bytes().all(|byte| byte.is_ascii_hexdigit()));
            prop_assert_eq!(uuid(&hyphenated).is_some(), is_uuid, "{}", hyphenated);
        }

        #[test]
        fn any_run_id_gives_a_trace_id(run in any::<String>(), project in any::<Option<i64>>()) {
            prop_assert_ne!(run_trace_id(&run, "s", "e", project), [0; 16]);
        }
    }
}
