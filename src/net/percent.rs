//! Percent signs in what others write.

/// A text without its percent signs; one that escapes nothing stays.
pub fn percent_decoded(text: impl AsRef<[u8]>) -> String {
    let mut text = text.as_ref();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some((byte, behind)) = text.split_first() {
        let escaped = (*byte == b'%')
            .then(|| behind.split_first_chunk())
            .flatten();
        let escaped = escaped.and_then(|(digits, behind)| Some((hex(*digits)?, behind)));
        let (byte, behind) = escaped.unwrap_or((*byte, behind));
        decoded.push(byte);
        text = behind;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn hex([high, low]: [u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_escapes_nothing_stays() {
        for (text, decoded) in [
            ("no%20room: %C3%A4", "no room: ä"),
            ("100% %zz %4", "100% %zz %4"),
            ("%%41", "%A"),
            ("%ff", "\u{fffd}"),
            ("", ""),
        ] {
            assert_eq!(percent_decoded(text), decoded);
        }
    }
}
