//! Private texts at the border: their size is measured without copying them,
//! and they are copied only when they may leave.

use std::borrow::Cow;

use super::forms::Json;
use crate::wire::event::Content;
use crate::wire::pull::escape;

/// A JSON value as content: a string by its own text, anything else as JSON.
pub(super) fn content<'a>(json: Json<'a>, capture: bool) -> Content<'a> {
    let raw = json.0;
    match string_body(raw) {
        Some(body) => text_content(json, decoded_len(body), capture),
        None => json_content(json, capture),
    }
}

/// A JSON string as content, by the size of its text.
pub(super) fn text_content<'a>(json: Json<'a>, bytes: u64, capture: bool) -> Content<'a> {
    let text = if capture {
        serde_json::from_str::<Decoded<'a>>(json.0)
            .ok()
            .map(|d| d.0)
    } else {
        None
    };
    Content { bytes, text }
}

/// A JSON value as content, quotes and all.
pub(super) fn json_content<'a>(json: Json<'a>, capture: bool) -> Content<'a> {
    let raw = json.0;
    Content {
        bytes: raw.len() as u64,
        text: capture.then_some(Cow::Borrowed(raw)),
    }
}

/// What stands between the quotes, if the JSON is a string.
pub(super) fn string_body(raw: &str) -> Option<&str> {
    raw.strip_prefix('"')?.strip_suffix('"')
}

#[derive(serde::Deserialize)]
struct Decoded<'a>(#[serde(borrow)] Cow<'a, str>);

/// How many bytes a JSON string's body has in UTF-8, once its escapes are read.
/// A surrogate without its partner counts as the replacement character.
pub(super) fn decoded_len(body: &str) -> u64 {
    let bytes = body.as_bytes();
    let mut len = bytes.len();
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr(b'\\', rest)) {
        at += found;
        let (written, means) = escape(&bytes[at..]).unwrap_or((1, 1));
        len = len - written + means;
        at += written;
    }
    len as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_size_of_an_escaped_text_is_the_size_of_the_text(text in ".*") {
            let raw = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(decoded_len(string_body(&raw).unwrap()), text.len() as u64);
            let ascii: String = text
                .encode_utf16()
                .map(|unit| format!("\\u{unit:04x}"))
                .collect();
            prop_assert_eq!(decoded_len(&ascii), text.len() as u64);
        }

        #[test]
        fn no_body_makes_it_panic(body in "[\\\\u0-9dDcC\"nü]*") {
            decoded_len(&body);
        }
    }

    #[test]
    fn a_lone_surrogate_counts_as_the_replacement_character() {
        assert_eq!(decoded_len(r"\ud800"), 3);
        assert_eq!(decoded_len(r"\ud800\n"), 4);
        assert_eq!(decoded_len(r"\ud83d\ude00"), 4);
    }
}
