//! The many ways to write the same JSON: the order of keys, white space, line
//! breaks, and characters as themselves or as escapes.

use fastrand::Rng;
use serde_json::Value;

use crate::chance;

/// How freely a text is written.
#[derive(Debug, Clone, Copy)]
pub struct Spelling {
    /// White space and line breaks between the tokens.
    pub spaced: bool,
    /// Keys in any order.
    pub shuffled: bool,
    /// In percent, how many characters are escaped without need.
    pub escapes: u8,
}

impl Spelling {
    /// One at random.
    pub fn any(rng: &mut Rng) -> Self {
        Self {
            spaced: chance(rng, 40),
            shuffled: chance(rng, 60),
            escapes: if chance(rng, 50) { 0 } else { rng.u8(1..60) },
        }
    }

    /// Writes a value behind what is there.
    pub fn write(self, rng: &mut Rng, value: &Value, out: &mut String) {
        self.space(rng, out);
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => out.push_str(&value.to_string()),
            Value::String(text) => self.text(rng, text, out),
            Value::Array(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    self.write(rng, item, out);
                }
                self.space(rng, out);
                out.push(']');
            }
            Value::Object(fields) => {
                let mut fields: Vec<_> = fields.iter().collect();
                if self.shuffled {
                    rng.shuffle(&mut fields);
                }
                out.push('{');
                for (at, (name, field)) in fields.into_iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    self.space(rng, out);
                    self.text(rng, name, out);
                    self.space(rng, out);
                    out.push(':');
                    self.write(rng, field, out);
                }
                self.space(rng, out);
                out.push('}');
            }
        }
        self.space(rng, out);
    }

    fn space(self, rng: &mut Rng, out: &mut String) {
        if self.spaced {
            match rng.u8(..12) {
                0 => out.push('\n'),
                1 => out.push_str("\n  "),
                2 => out.push('\t'),
                3 | 4 => out.push(' '),
                _ => {}
            }
        }
    }

    fn text(self, rng: &mut Rng, text: &str, out: &mut String) {
        out.push('"');
        for c in text.chars() {
            if self.escapes > 0 && chance(rng, self.escapes) {
                escape(rng, c, out);
            } else if matches!(c, '"' | '\\') {
                out.extend(['\\', c]);
            } else if u32::from(c) < 0x20 {
                escape(rng, c, out);
            } else {
                out.push(c);
            }
        }
        out.push('"');
    }
}

/// A character as an escape: the short one where there is one, or by its number,
/// in two halves beyond the first plane.
fn escape(rng: &mut Rng, c: char, out: &mut String) {
    const SHORT: [(char, char); 8] = [
        ('"', '"'),
        ('\\', '\\'),
        ('/', '/'),
        ('\n', 'n'),
        ('\r', 'r'),
        ('\t', 't'),
        ('\u{8}', 'b'),
        ('\u{c}', 'f'),
    ];
    if let Some((_, short)) = SHORT.iter().find(|(long, _)| *long == c)
        && rng.bool()
    {
        return out.extend(['\\', *short]);
    }
    for unit in c.encode_utf16(&mut [0; 2]) {
        out.push_str(&if rng.bool() {
            format!("\\u{unit:04x}")
        } else {
            format!("\\u{unit:04X}")
        });
    }
}
