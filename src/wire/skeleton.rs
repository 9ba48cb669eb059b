//! How far a JSON value reaches, by its brackets, quotes and commas alone.
//!
//! It never refuses valid JSON that nests less than [`DEPTH_MAX`] deep, and it
//! notices broken nesting as early as a parser would. What stands within
//! strings, and which words and numbers there are, it does not look at.

use memchr::memchr2;

/// Values that nest deeper are not measured.
pub(super) const DEPTH_MAX: usize = 1_024;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A value, which ends before this.
    Whole { end: usize },
    /// No value begins here.
    Stray,
    /// Something at `at` does not fit. `token` is earlier if the string just
    /// before it may be what is wrong.
    Broken { at: usize, token: usize },
    /// The text ends within the value.
    Unclosed,
    /// The value nests deeper than [`DEPTH_MAX`].
    TooDeep { at: usize },
}

/// What may come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    /// A comma, or the end of what is open.
    Next,
}

/// Measures the value that begins at `start`.
pub(super) fn measure(text: &[u8], start: usize) -> Shape {
    let mut open = Open::default();
    let mut want = Want::Value;
    let mut at = start;
    // Where the token before began, if it was a string.
    let mut string = None;
    loop {
        let Some(byte) = text.get(at).copied() else {
            return Shape::Unclosed;
        };
        if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
            at += 1;
            continue;
        }
        let token = string.take().unwrap_or(at);
        let wants_value = matches!(want, Want::Value | Want::ValueOrEnd);
        let wants_key = matches!(want, Want::Key | Want::KeyOrEnd);
        let mut end = at + 1;
        want = match byte {
            b'"' if wants_value || wants_key => {
                let Some(after) = after_string(text, at) else {
                    return Shape::Unclosed;
                };
                string = Some(at);
                end = after;
                if wants_key { Want::Colon } else { Want::Next }
            }
            b'{' | b'[' if wants_value => {
                let object = byte == b'{';
                if !open.push(object) {
                    return Shape::TooDeep { at };
                }
                if object {
                    Want::KeyOrEnd
                } else {
                    Want::ValueOrEnd
                }
            }
            b'}' if want == Want::KeyOrEnd || (want == Want::Next && open.is_object()) => {
                open.pop();
                Want::Next
            }
            b']' if want == Want::ValueOrEnd || (want == Want::Next && open.is_array()) => {
                open.pop();
                Want::Next
            }
            b':' if want == Want::Colon => Want::Value,
            b',' if want == Want::Next && open.is_object() => Want::Key,
            b',' if want == Want::Next => Want::Value,
            _ if wants_value && is_word(byte) => {
                let word = text[at..].iter().take_while(|byte| is_word(**byte));
                end = at + word.count();
                Want::Next
            }
            _ if at == start => return Shape::Stray,
            _ => return Shape::Broken { at, token },
        };
        at = end;
        if want == Want::Next && open.depth == 0 {
            return Shape::Whole { end };
        }
    }
}

/// A word or a number, right or wrong.
const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.' | b'_')
}

/// The position after a string, whose opening quote stands at `start`.
fn after_string(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// The brackets that are open: one bit each, set for an object.
struct Open {
    objects: [u64; DEPTH_MAX / 64],
    depth: usize,
}

impl Default for Open {
    fn default() -> Self {
        Self {
            objects: [0; DEPTH_MAX / 64],
            depth: 0,
        }
    }
}

impl Open {
    const fn push(&mut self, object: bool) -> bool {
        if self.depth == DEPTH_MAX {
            return false;
        }
        let bit = 1 << (self.depth % 64);
        if object {
            self.objects[self.depth / 64] |= bit;
        } else {
            self.objects[self.depth / 64] &= !bit;
        }
        self.depth += 1;
        true
    }

    const fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    const fn is_object(&self) -> bool {
        self.depth > 0 && self.objects[(self.depth - 1) / 64] >> ((self.depth - 1) % 64) & 1 == 1
    }

    const fn is_array(&self) -> bool {
        self.depth > 0 && !self.is_object()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Shape {
        measure(text.as_bytes(), 0)
    }

    #[test]
    fn a_value_reaches_to_its_last_bracket_quote_or_letter() {
        for value in [
            "1",
            "-1.5e+3",
            "true",
            "\"\"",
            "\"a\\\"]\\\\\"",
            "[]",
            "{}",
            "[ ]",
            "{ }",
            "[1,[],{},\"}\"]",
            "{\"a\":1,\"b\":[{\"c\":{}}] , \"d\" : null}",
        ] {
            for after in ["", ",1", " ]", "{"] {
                let text = format!("{value}{after}");
                assert_eq!(of(&text), Shape::Whole { end: value.len() }, "{text}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_found_where_it_stands() {
        for (text, at) in [
            ("[1 2]", 3),
            ("[1}", 2),
            ("{\"a\":1]", 6),
            ("{\"a\":1,{\"b\":2}}", 7),
            ("{\"a\":}", 5),
            ("{\"a\",1}", 4),
            ("{1:2}", 1),
            ("{\"a\":1,}", 7),
            ("[1,]", 3),
            ("[ü]", 1),
        ] {
            assert!(
                matches!(of(text), Shape::Broken { at: found, .. } if found == at),
                "{text}"
            );
        }
    }

    #[test]
    fn the_string_before_what_does_not_fit_may_be_to_blame() {
        assert_eq!(
            of("{\"a\":\"b},{\"c\":1}"),
            Shape::Broken { at: 11, token: 5 }
        );
        assert_eq!(of("{\"a\":1 2}"), Shape::Broken { at: 7, token: 7 });
    }

    #[test]
    fn a_value_may_be_missing_unclosed_or_too_deep() {
        assert_eq!(of("}"), Shape::Stray);
        assert_eq!(of("ü"), Shape::Stray);
        for text in ["{", "[1,", "\"a", "\"a\\", "\"a\\\"", "{\"a\":", ""] {
            assert_eq!(of(text), Shape::Unclosed, "{text}");
        }
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(of(&nested(DEPTH_MAX)), Shape::Whole { end: 2 * DEPTH_MAX });
        assert_eq!(of(&nested(DEPTH_MAX + 1)), Shape::TooDeep { at: DEPTH_MAX });
    }
}
