//! Values that must never be shown: tokens, and headers that may hold one.

use std::fmt;
use std::io::Read;
use std::path::PathBuf;

/// A longer token is none.
const TOKEN_BYTES_MAX: u64 = 16 << 10;

/// A shorter word is not looked for in what others say: it may be any word.
const HIDDEN_BYTES_MIN: usize = 6;

/// Words before a key that are none.
const SCHEMES: [&str; 3] = ["bearer", "digest", "apikey"];

/// So much of a secret where a text was cut gives it away in part.
const CUT_BYTES_MIN: usize = 4;

/// A text that no log, error or `Debug` output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether a text that somebody presents is this one. Takes as long for a
    /// wrong one as for a right one of the same length.
    pub fn is(&self, presented: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let differences = own
            .iter()
            .zip(presented)
            .fold(0u8, |differences, (a, b)| differences | (a ^ b));
        std::hint::black_box(differences) == 0 && own.len() == presented.len()
    }

    /// Takes it out of what the other side says, which may repeat what it was
    /// sent: each of its words, in whatever case, and the beginning of one where
    /// the text was cut.
    pub fn hide_in(&self, text: &mut String) {
        let is_scheme = |word: &str| SCHEMES.iter().any(|s| s.eq_ignore_ascii_case(word));
        let words = self.0.split_ascii_whitespace();
        for word in words.filter(|word| word.len() >= HIDDEN_BYTES_MIN && !is_scheme(word)) {
            hide_word(word, text);
            let Some(cut) = text.strip_suffix(CUT_MARK) else {
                continue;
            };
            let mut lengths = (CUT_BYTES_MIN..word.len()).rev();
            if let Some(length) = lengths.find(|length| ends_with_begin(cut, word, *length)) {
                let kept = &cut[..cut.len() - length];
                *text = format!("{kept}{HIDDEN}{CUT_MARK}");
            }
        }
    }
}

/// Names of hosts and types may come back in small letters. Those of ASCII take
/// as much room as large ones, so places in one text are places in the other.
fn hide_word(word: &str, text: &mut String) {
    let (small_text, small_word) = (text.to_ascii_lowercase(), word.to_ascii_lowercase());
    let places = small_text.match_indices(&small_word);
    let places: Vec<usize> = places.map(|(begin, _)| begin).collect();
    for begin in places.into_iter().rev() {
        text.replace_range(begin..begin + word.len(), HIDDEN);
    }
}

/// Whether a text ends with so many bytes of the beginning of a word, in whatever
/// case.
fn ends_with_begin(text: &str, word: &str, bytes: usize) -> bool {
    let begin = word.get(..bytes);
    let end = text.len().checked_sub(bytes).and_then(|at| text.get(at..));
    matches!((begin, end), (Some(begin), Some(end)) if begin.eq_ignore_ascii_case(end))
}

const HIDDEN: &str = "[secret]";

/// What a text that was cut ends with.
pub const CUT_MARK: char = '…';

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// Where a token comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// It was given as it is.
    Value(Secret),
    /// It stands in a file, and is read again for each connection: a mounted
    /// secret can be changed without a restart.
    File(PathBuf),
}

/// There is no token where one should be. The token itself is never part of this.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read the token file {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// There is nothing in it.
    #[error("the token file {} is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// It holds something that no header can carry.
    #[error(
        "the token in {origin} is no token: it has spaces, line breaks or other bytes that no header carries, or is longer than 16 KiB"
    )]
    Malformed {
        /// The file, or what else it came from.
        origin: String,
    },
}

impl TokenSource {
    /// The token as it is now, without white space around it.
    pub fn read(&self) -> Result<Secret, TokenError> {
        let (text, origin) = match self {
            Self::Value(secret) => (secret.reveal().to_owned(), "the configuration".to_owned()),
            Self::File(path) => {
                let mut text = String::new();
                std::fs::File::open(path)
                    .and_then(|file| file.take(TOKEN_BYTES_MAX + 1).read_to_string(&mut text))
                    .map_err(|error| TokenError::Unreadable {
                        path: path.clone(),
                        error,
                    })?;
                if text.trim().is_empty() {
                    return Err(TokenError::Empty { path: path.clone() });
                }
                (text, path.display().to_string())
            }
        };
        let token = text.trim();
        let fits = token.len() as u64 <= TOKEN_BYTES_MAX
            && !token.is_empty()
            && token.bytes().all(|byte| byte.is_ascii_graphic());
        if !fits {
            return Err(TokenError::Malformed { origin });
        }
        Ok(Secret::new(token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let source = TokenSource::Value(Secret::new("hunter2"));
        assert_eq!(format!("{source:?}"), "Value([secret])");
    }

    #[test]
    fn only_the_secret_itself_is_the_secret() {
        let secret = Secret::new("abc");
        assert!(secret.is(b"abc"));
        for wrong in [&b""[..], b"ab", b"abcd", b"abd", b"xbc"] {
            assert!(!secret.is(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn what_others_repeat_of_a_secret_is_taken_out_also_where_it_is_cut() {
        let secret = Secret::new("Bearer hunter2-key");
        for (said, kept) in [
            ("no hunter2-key, hunter2-key!", "no [secret], [secret]!"),
            ("no Bearer hunter2-key", "no Bearer [secret]"),
            ("ünd HUNTER2-Key, Hunter2-keY", "ünd [secret], [secret]"),
            ("what is hunter2-k…", "what is [secret]…"),
            ("what is hunt…", "what is [secret]…"),
            ("what is HUNTER2-k…", "what is [secret]…"),
            ("Hunt…", "[secret]…"),
            ("what is hun…", "what is hun…"),
            ("unt…", "unt…"),
            ("ündhunt…", "ünd[secret]…"),
            ("what is üunt…", "what is üunt…"),
            ("what is hunter2-k", "what is hunter2-k"),
            ("", ""),
        ] {
            let mut text = said.to_owned();
            secret.hide_in(&mut text);
            assert_eq!(text, kept);
        }
        let mut text = "tenant acme is unknown".to_owned();
        Secret::new("acme").hide_in(&mut text);
        assert_eq!(text, "tenant acme is unknown");
    }

    #[test]
    fn a_token_file_is_read_anew_and_without_the_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let source = TokenSource::File(path.clone());
        assert!(matches!(source.read(), Err(TokenError::Unreadable { .. })));
        std::fs::write(&path, " \n").unwrap();
        assert!(matches!(source.read(), Err(TokenError::Empty { .. })));
        std::fs::write(&path, "one\n").unwrap();
        assert_eq!(source.read().unwrap().reveal(), "one");
        std::fs::write(&path, "two").unwrap();
        assert_eq!(source.read().unwrap().reveal(), "two");
    }

    #[test]
    fn what_no_header_can_carry_is_no_token_and_is_not_repeated() {
        let long = "x".repeat(17 << 10);
        for wrong in ["se cret", "secret\r\nX-Other: 1", "sécret", &long] {
            let error = TokenSource::Value(Secret::new(wrong)).read().unwrap_err();
            assert!(matches!(error, TokenError::Malformed { .. }));
            assert!(!error.to_string().contains("cret"), "{error}");
        }
    }
}
