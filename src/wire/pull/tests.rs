use proptest::prelude::*;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::*;

/// What is taken from the front of a text by one way of reading.
fn taken<'a, T>(
    text: &'a str,
    read: impl FnOnce(&mut Pull<'a>) -> Option<T>,
) -> Option<(T, &'a str)> {
    let mut json = Pull::new(text);
    Some((read(&mut json)?, json.rest()))
}

/// What `serde_json` takes from the front of a text.
fn parsed<'a, T: Deserialize<'a>>(text: &'a str) -> Option<(T, &'a str)> {
    let mut parser = serde_json::Deserializer::from_str(text);
    let value = T::deserialize(&mut parser).ok()?;
    let end = parser.into_iter::<IgnoredAny>().byte_offset();
    Some((value, &text[end..]))
}

fn assert_alike(text: &str) {
    if let Some((raw, rest)) = taken(text, Pull::raw) {
        let (expected, after) = parsed::<&RawValue>(text).unwrap();
        assert_eq!((raw, rest), (expected.get(), after));
    }
    if let Some(read) = taken(text, Pull::plain) {
        assert_eq!(Some(read), parsed::<&str>(text));
    }
    if let Some(((raw, bytes), rest)) = taken(text, Pull::measured) {
        let (expected, after) = parsed::<&RawValue>(text).unwrap();
        assert_eq!((raw, rest), (expected.get(), after));
        if let Some((said, _)) = parsed::<String>(text) {
            assert_eq!(bytes, said.len());
        }
    }
    if let Some((number, rest)) = taken(text, Pull::number)
        && !rest.starts_with([
            '.', 'e', 'E', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9',
        ])
    {
        assert_eq!(Some((number, rest)), parsed::<u64>(text));
    }
}

#[test]
fn values_in_their_plain_form_are_taken() {
    for value in [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "12.5",
        "1e3",
        "-1.50E-07",
        "1E+2",
        "\"\"",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\ude00\\ud83d\"",
        "\"ü\u{7f}, of more than eight bytes\"",
        "[]",
        "[1,[],{},\"]\"]",
        "{}",
        "{\"a\":1,\"\\n\":{\"}\":[null]}}",
    ] {
        let text = format!("{value},");
        assert_eq!(taken(&text, Pull::raw), Some((value, ",")));
        assert_alike(&text);
    }
}

#[test]
fn what_is_no_value_or_an_odd_one_is_given_up() {
    for text in [
        "",
        " 1",
        "nul",
        "truE",
        "-",
        "01",
        "00",
        "-01",
        "1.",
        ".5",
        "1.e3",
        "1e",
        "1e+",
        "+1",
        "\"",
        "\"a",
        "\"\\",
        "\"\\q\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\u+123\"",
        "\"a\nb\"",
        "\"longer than a word\tb\"",
        "[",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 ]",
        "[1}",
        "{",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,}",
        "{\"a\" :1}",
        "{a:1}",
        "{1:1}",
        "{\"a\":1]",
        "ü",
    ] {
        assert_eq!(taken(text, Pull::raw), None, "{text}");
    }
}

#[test]
fn only_a_text_without_escapes_is_plain() {
    assert_eq!(taken("\"ab\",", Pull::plain), Some(("ab", ",")));
    assert_eq!(taken("\"12345678\"", Pull::plain), Some(("12345678", "")));
    for text in ["\"a\\n\"", "\"a\u{1f}\"", "\"a", "a\"", "null", ""] {
        assert_eq!(taken(text, Pull::plain), None, "{text}");
    }
}

#[test]
fn a_number_is_plain_digits_that_any_room_is_enough_for() {
    assert_eq!(taken("0,", Pull::number), Some((0, ",")));
    assert_eq!(
        taken("9999999999999999999", Pull::number),
        Some((9_999_999_999_999_999_999, ""))
    );
    // The rest is no comma and no bracket: who reads on gives up.
    for text in ["18446744073709551615", "1.5", "1e3"] {
        let (_, rest) = taken(text, Pull::number).unwrap();
        assert!(rest.starts_with(['5', '.', 'e']));
    }
    for text in ["-1", "01", "", "\"1\"", "null"] {
        assert_eq!(taken(text, Pull::number), None, "{text}");
    }
}

#[test]
fn the_size_of_a_text_is_that_of_what_its_escapes_mean() {
    for (text, bytes) in [
        ("\"\"", 0),
        ("\"a\\n\\\"\"", 3),
        ("\"\\u00e9\\u20ac\"", 5),
        ("\"\\ud83d\\ude00\"", 4),
        ("\"\\ud83d\"", 3),
        ("\"\\ude00\\ud83d\\u0041\"", 7),
    ] {
        assert_eq!(taken(text, Pull::measured), Some(((text, bytes), "")));
    }
}

#[test]
fn what_nests_too_deep_is_given_up() {
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    let depth_max = usize::from(DEPTH_MAX);
    assert!(taken(&nested(depth_max), Pull::raw).is_some());
    assert!(taken(&nested(depth_max + 1), Pull::raw).is_none());
    let wide = format!("[{}1]", "[],[{}],{\"a\":[]},".repeat(1_000));
    assert!(taken(&wide, Pull::raw).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn what_is_taken_is_what_the_parser_takes(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\"a\":", "\\", "\\n", "\\u00e9", "\\ud83d",
            "\\ude00", " ", "\n", "0", "1", "9", "-", ".", "e", "+", "null", "true", "ü", "{}", "[]",
        ]), 0..12),
        start in prop::sample::select(vec!["", "\"", "{\"a\":", "[", "1", "{"]),
    ) {
        assert_alike(&format!("{start}{}", pieces.concat()));
    }

    #[test]
    fn any_text_is_taken_as_the_parser_takes_it(text in ".{0,40}") {
        assert_alike(&text);
        assert_alike(&serde_json::to_string(&text).unwrap());
    }

    #[test]
    fn any_text_ends_at_its_first_sign_that_is_special(
        before in "[ !#-\\[\\]-~\u{7f}ü€😀]{0,40}",
        sign in "[\"\\\\\u{0}-\u{1f}]",
        after in ".{0,20}",
    ) {
        let text = format!("{before}{sign}{after}");
        prop_assert_eq!(special(text.as_bytes(), 0), Some(before.len()));
        prop_assert_eq!(special(before.as_bytes(), 0), None);
    }
}
