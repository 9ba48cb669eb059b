//! A reader of JSON for what a feed mostly consists of, in one pass and without
//! a copy.
//!
//! It is an accelerator and no judge: on the slightest oddity (a blank between
//! tokens, an escape where a text is wanted, a number that is not plain, a key
//! that comes twice) it gives up with `None`, and `serde_json` reads the same
//! text from its beginning and decides. So all that must be true of it is: where
//! it gives something, `serde_json` gives the same, and ends at the same place.

/// What nests deeper is left to `serde_json`.
const DEPTH_MAX: u8 = 16;

/// The digits that any `u64` has room for.
const DIGITS_MAX: usize = 19;

/// A text that is being read.
#[derive(Debug)]
pub(super) struct Pull<'a> {
    rest: &'a str,
    depth: u8,
}

impl<'a> Pull<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self {
            rest: text,
            depth: 0,
        }
    }

    /// What was not read.
    pub(super) const fn rest(&self) -> &'a str {
        self.rest
    }

    /// The next byte, which is not taken.
    #[inline(always)]
    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.as_bytes().first().copied()
    }

    /// Takes just this.
    #[inline(always)]
    pub(super) fn expect(&mut self, token: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(token)?;
        Some(())
    }

    /// Takes this if it comes next, and tells whether it did.
    #[inline(always)]
    pub(super) fn takes(&mut self, token: &str) -> bool {
        self.expect(token).is_some()
    }

    /// A string without escapes.
    #[inline(always)]
    pub(super) fn plain(&mut self) -> Option<&'a str> {
        let text = self.rest.strip_prefix('"')?;
        let (plain, rest) = text.split_at_checked(special(text.as_bytes(), 0)?)?;
        self.rest = rest.strip_prefix('"')?;
        Some(plain)
    }

    /// A string as it stands in the text, and the size of what it says.
    #[inline]
    pub(super) fn measured(&mut self) -> Option<(&'a str, usize)> {
        let start = self.rest;
        let bytes = self.skip_string()?;
        Some((self.since(start)?, bytes))
    }

    /// A whole number in plain digits. What may not follow one, follows no
    /// value: who reads on gives up.
    #[inline]
    pub(super) fn number(&mut self) -> Option<u64> {
        let text = self.rest.as_bytes();
        let mut number = 0;
        let mut digits = 0;
        while let Some(digit @ b'0'..=b'9') = text.get(digits)
            && digits < DIGITS_MAX
        {
            number = number * 10 + u64::from(digit - b'0');
            digits += 1;
        }
        if digits == 0 || (digits > 1 && text[0] == b'0') {
            return None;
        }
        self.rest = self.rest.get(digits..)?;
        Some(number)
    }

    /// What comes after a value in an object: `true` for a comma, `false` for its end.
    #[inline(always)]
    pub(super) fn more(&mut self) -> Option<bool> {
        let more = self.takes(",");
        if !more {
            self.expect("}")?;
        }
        Some(more)
    }

    /// The elements of an array.
    #[inline(always)]
    pub(super) fn array(&mut self, mut element: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.expect("[")?;
        if self.takes("]") {
            return Some(());
        }
        loop {
            element(self)?;
            if !self.takes(",") {
                return self.expect("]");
            }
        }
    }

    /// Any value, as it stands in the text.
    #[inline]
    pub(super) fn raw(&mut self) -> Option<&'a str> {
        let start = self.rest;
        self.skip()?;
        self.since(start)
    }

    /// Goes beyond any value.
    #[inline]
    pub(super) fn skip(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.skip_string().map(|_| ()),
            b'n' => self.expect("null"),
            _ => self.skip_other(),
        }
    }

    /// Goes one level deeper, if there is one. The way back is not told: there
    /// are as many levels in all.
    pub(super) fn deepen(&mut self) -> Option<()> {
        self.depth += 1;
        (self.depth <= DEPTH_MAX).then_some(())
    }

    #[inline(always)]
    fn since(&self, start: &'a str) -> Option<&'a str> {
        start.get(..start.len() - self.rest.len())
    }

    #[inline(never)]
    fn skip_other(&mut self) -> Option<()> {
        match self.peek()? {
            b'{' => {
                self.deepen()?;
                self.expect("{")?;
                let mut more = !self.takes("}");
                while more {
                    self.skip_string()?;
                    self.expect(":")?;
                    self.skip()?;
                    more = self.more()?;
                }
                self.depth -= 1;
                Some(())
            }
            b'[' => {
                self.deepen()?;
                self.array(Self::skip)?;
                self.depth -= 1;
                Some(())
            }
            b't' => self.expect("true"),
            b'f' => self.expect("false"),
            _ => self.skip_number(),
        }
    }

    /// Goes beyond a string, and tells the size of what it says.
    #[inline]
    fn skip_string(&mut self) -> Option<usize> {
        let string = self.rest.strip_prefix('"')?;
        let text = string.as_bytes();
        let mut at = 0;
        let mut saved = 0;
        loop {
            at = special(text, at)?;
            match text[at] {
                b'"' => {
                    self.rest = string.get(at + 1..)?;
                    return Some(at - saved);
                }
                b'\\' => {
                    let (written, means) = escape(&text[at..])?;
                    saved += written - means;
                    at += written;
                }
                _ => return None,
            }
        }
    }

    fn skip_number(&mut self) -> Option<()> {
        self.takes("-");
        let zero = self.peek() == Some(b'0');
        let whole = self.skip_digits();
        if whole == 0 || (whole > 1 && zero) {
            return None;
        }
        if self.takes(".") && self.skip_digits() == 0 {
            return None;
        }
        if self.takes("e") || self.takes("E") {
            let _signed = self.takes("+") || self.takes("-");
            if self.skip_digits() == 0 {
                return None;
            }
        }
        Some(())
    }

    fn skip_digits(&mut self) -> usize {
        let rest = self.rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let digits = self.rest.len() - rest.len();
        self.rest = rest;
        digits
    }
}

/// How many bytes an escape takes, which begins with its backslash, and how many
/// its character takes in UTF-8. A surrogate without its partner counts as the
/// replacement character.
#[inline]
pub(super) fn escape(text: &[u8]) -> Option<(usize, usize)> {
    match text.get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some((2, 1)),
        b'u' => {
            let first = unit(text.get(2..6)?)?;
            if (0xD800..0xDC00).contains(&first)
                && text.get(6..8) == Some(b"\\u")
                && let Some(0xDC00..0xE000) = text.get(8..12).and_then(unit)
            {
                return Some((12, 4));
            }
            Some((6, char::from_u32(first).map_or(3, char::len_utf8)))
        }
        _ => None,
    }
}

/// Four digits of a UTF-16 unit.
fn unit(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |unit, digit| {
        Some((unit << 4) | char::from(*digit).to_digit(16)?)
    })
}

/// The first quote, backslash or control character at or after `at`.
#[inline]
fn special(text: &[u8], mut at: usize) -> Option<usize> {
    while let Some(word) = text.get(at..)?.first_chunk() {
        let found = specials(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = text[at..]
        .iter()
        .position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
    Some(at + rest?)
}

/// Sets the high bit of the first byte that is a quote, a backslash or a control
/// character; bits above it say nothing.
#[inline(always)]
const fn specials(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 0xFF;
    const HIGH: u64 = ONES << 7;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let is_zero = (quote.wrapping_sub(ONES) & !quote) | (backslash.wrapping_sub(ONES) & !backslash);
    let is_control = word.wrapping_sub(ONES * 0x20) & !word;
    (is_zero | is_control) & HIGH
}

#[cfg(test)]
mod tests;
