//! Sizes and times as people write them, and back.

use std::time::Duration;

const SIZES: [(&str, usize); 8] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Longest first, so that `1h30m` is written one way only.
const TIMES: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// `64MiB`, `512 KiB`, `1GB`, or plain bytes.
pub fn bytes(text: &str) -> Option<usize> {
    let (number, unit) = number_and_rest(text)?;
    let unit = unit.trim_start();
    let factor = match unit {
        "" => 1,
        unit => SIZES.iter().find(|(name, _)| *name == unit)?.1,
    };
    usize::try_from(number).ok()?.checked_mul(factor)
}

/// `10s`, `5m`, `1h30m`, `14d`, `250ms`: each unit once, the longest first.
pub fn time(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut units = TIMES.iter();
    let mut sum = 0u64;
    while !rest.is_empty() {
        let (number, behind) = number_and_rest(rest)?;
        let letters = behind
            .find(|character: char| !character.is_ascii_lowercase())
            .unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(letters);
        let (_, factor) = units.find(|(name, _)| *name == unit)?;
        sum = sum.checked_add(number.checked_mul(*factor)?)?;
        rest = behind;
    }
    (!text.is_empty()).then(|| Duration::from_millis(sum))
}

/// A size as it is written shortest.
pub(super) fn show_bytes(size: usize) -> String {
    let fits = |factor: usize| size >= factor && size.is_multiple_of(factor);
    let mut units = SIZES.iter().filter(|(unit, _)| unit.ends_with("iB"));
    match units.find(|(_, factor)| fits(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", size / factor),
        None => format!("{size}B"),
    }
}

/// A time in the words that [`time`] reads; what is less than a millisecond is
/// left out.
pub(super) fn show_time(time: Duration) -> String {
    let mut rest = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, factor) in TIMES {
        if rest >= factor {
            text.push_str(&format!("{}{unit}", rest / factor));
            rest %= factor;
        }
    }
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

fn number_and_rest(text: &str) -> Option<(u64, &str)> {
    let digits = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    Some((number.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_size_is_a_number_and_a_unit_or_plain_bytes() {
        for (text, size) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("64MiB", 64 << 20),
            ("64 MiB", 64 << 20),
            ("512KiB", 512 << 10),
            ("1GB", 1_000_000_000),
            ("3kB", 3_000),
            ("7B", 7),
        ] {
            assert_eq!(bytes(text), Some(size), "{text}");
        }
        for wrong in [
            "",
            "MiB",
            "64M",
            "64mib",
            "6.4MiB",
            "-1",
            "1e3",
            "64MiB!",
            "99999999999999999999",
            "99999999999GiB",
            "٣",
        ] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_time_is_units_each_once_and_the_longest_first() {
        for (text, millis) in [
            ("10s", 10_000),
            ("250ms", 250),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("14d", 14 * 86_400_000),
            ("1m1ms", 60_001),
            ("0s", 0),
        ] {
            assert_eq!(time(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for wrong in [
            "",
            "10",
            "s",
            "10 s",
            "30m1h",
            "1h1h",
            "1.5s",
            "-1s",
            "1w",
            "10S",
            "99999999999999999999s",
            "9999999999999999d",
            "1h\u{e9}",
        ] {
            assert_eq!(time(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_shown_is_short() {
        assert_eq!(show_bytes(64 << 20), "64MiB");
        assert_eq!(show_bytes((1 << 20) + (64 << 10)), "1088KiB");
        assert_eq!(show_bytes(1_000), "1000B");
        assert_eq!(show_bytes(0), "0B");
        assert_eq!(show_time(Duration::from_secs(5_400)), "1h30m");
        assert_eq!(show_time(Duration::ZERO), "0s");
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_as_the_same(size: usize, millis: u64) {
            prop_assert_eq!(bytes(&show_bytes(size)), Some(size));
            let shown = Duration::from_millis(millis);
            prop_assert_eq!(time(&show_time(shown)), Some(shown));
        }

        #[test]
        fn no_text_is_too_strange(text in any::<String>()) {
            let _ = (bytes(&text), time(&text));
        }
    }
}
