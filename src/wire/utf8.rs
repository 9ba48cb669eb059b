//! Bytes of a feed as text.

use std::borrow::Cow;

/// The bytes as text, and whether some of them were no UTF-8 and were replaced.
pub fn text(bytes: &[u8]) -> (Cow<'_, str>, bool) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Cow::Borrowed(text), false),
        Err(_) => (String::from_utf8_lossy(bytes), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_text_is_borrowed() {
        let (text, replaced) = text("grün".as_bytes());
        assert!(matches!(text, Cow::Borrowed("grün")));
        assert!(!replaced);
    }

    #[test]
    fn invalid_bytes_are_replaced_and_told() {
        let (text, replaced) = text(b"a\xFFb");
        assert_eq!(text, "a\u{FFFD}b");
        assert!(replaced);
    }
}
