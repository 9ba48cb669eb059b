//! JSON as it may be printed: on a terminal, in somebody's logs, in a browser.

use std::fmt::Write;

use memchr::memchr3;

/// The same JSON, with all that a terminal obeys or hides written as an escape.
/// Names come from workflows' authors; JSON itself escapes only some of it.
pub fn printed(json: String) -> String {
    // What these characters begin with in UTF-8; most texts have none.
    if memchr3(0x7f, 0xc2, 0xe2, json.as_bytes()).is_none() || !json.contains(is_obeyed) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len() + 64);
    for c in json.chars() {
        match is_obeyed(c) {
            // They stand within strings only; writing into memory does not fail.
            true => _ = write!(escaped, "\\u{:04x}", u32::from(c)),
            false => escaped.push(c),
        }
    }
    escaped
}

/// Control characters that JSON may hold as they are, ends of lines beyond
/// ASCII, and what turns the direction of a text.
const fn is_obeyed(c: char) -> bool {
    matches!(
        c,
        '\u{7f}'..='\u{9f}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_an_escape_and_means_the_same() {
        let nasty = "a\u{9b}2J\u{7f}b\u{2028}\u{202e}c\u{2066}\u{200f}\n\u{1b}ü–\u{a0}";
        let value = json!({ nasty: [nasty] });
        let text = printed(value.to_string());
        assert!(!text.contains(is_obeyed) && !text.contains(char::is_control));
        assert!(text.contains("\\u009b2J\\u007fb\\u2028\\u202ec"), "{text}");
        assert!(text.contains("ü–\u{a0}"), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn what_is_plain_stays_where_it_is() {
        for plain in ["{}", "{\"name\":\"größer – 短い\"}"] {
            let text = plain.to_owned();
            let place = text.as_ptr();
            let text = printed(text);
            assert_eq!((text.as_str(), text.as_ptr()), (plain, place));
        }
    }
}
