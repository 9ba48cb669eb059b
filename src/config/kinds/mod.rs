//! What kinds of values there are: how each is written, and how it is read.
//!
//! What is wrong with a value is said in words that stand behind its key. A
//! value that may be secret is never repeated.

mod addresses;
mod lists;
mod numbers;
mod prices;

pub(super) use self::addresses::http_url;
pub use self::addresses::{Address, Endpoint, Server};
pub use self::lists::{Attributes, Conventions, Headers, Patterns, Projects, Rules};
pub use self::numbers::{Bytes, Count, Ratio, Time};
pub use self::prices::{Day, Prices};

use std::path::PathBuf;

use tracing_subscriber::EnvFilter;

use super::near::nearest;
use crate::export::Protocol;
use crate::net::secret::{Secret, TokenSource};
use crate::trace::content::cut;
use crate::wire::dialect::Dialect;

/// A longer text is none.
const TEXT_BYTES_MAX: usize = 4 << 10;

/// A value as it was written, before anybody knows what it means.
#[derive(Clone, PartialEq, Eq)]
pub enum Raw {
    /// One text.
    One(String),
    /// A list.
    Many(Vec<String>),
    /// Names with a value each.
    Pairs(Vec<(String, String)>),
    /// A list of maps.
    Entries(Vec<Vec<Field>>),
}

/// A name with its value, in one of a list of maps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
    /// The line of the file that it stands in; nought elsewhere.
    pub line: u64,
}

impl From<(String, String)> for Field {
    fn from((name, value): (String, String)) -> Self {
        Self {
            name,
            value,
            line: 0,
        }
    }
}

/// In which of these forms a kind of value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One text.
    One,
    /// A list; in a variable or flag its values stand between commas.
    Many,
    /// A list; a flag is given once for each value, as a comma may be part of it.
    ManyFlags,
    /// Names with a value each; in a variable or flag `name=value,name=value`,
    /// percent-encoded.
    Pairs,
    /// A list of maps; in a variable or flag these stand between semicolons, each
    /// as above.
    Entries,
}

/// A kind of value.
pub trait Kind: Sync {
    /// What it is once it is read.
    type Value;
    /// How it is written.
    const SHAPE: Shape;
    /// What stands for it in the help of a flag.
    const HINT: &'static str;
    /// Whether it must not be shown.
    const SECRET: bool = false;
    /// In a few words, what may be written.
    fn form(&self) -> String;
    /// Reads it. The error is a sentence that stands behind the key.
    fn read(&self, raw: &Raw) -> Result<Self::Value, String>;
    /// It as people may see it.
    fn show(&self, raw: &Raw) -> String {
        let joined = |(name, value): &(String, String)| format!("{name}={value}");
        match raw {
            _ if Self::SECRET => SECRET_SHOWN.to_owned(),
            Raw::One(text) => text.clone(),
            Raw::Many(values) => values.join(", "),
            Raw::Pairs(pairs) => pairs.iter().map(joined).collect::<Vec<_>>().join(", "),
            Raw::Entries(entries) => format!("{} entries", entries.len()),
        }
    }
}

/// What is shown for what must not be.
const SECRET_SHOWN: &str = "[secret]";

impl Raw {
    /// One text. A value has the shape of its kind, so it is one.
    fn one(&self) -> &str {
        match self {
            Self::One(text) => text,
            Self::Many(_) | Self::Pairs(_) | Self::Entries(_) => "",
        }
    }

    fn many(&self) -> &[String] {
        match self {
            Self::Many(values) => values,
            Self::One(_) | Self::Pairs(_) | Self::Entries(_) => &[],
        }
    }

    fn pairs(&self) -> &[(String, String)] {
        match self {
            Self::Pairs(pairs) => pairs,
            Self::One(_) | Self::Many(_) | Self::Entries(_) => &[],
        }
    }

    fn entries(&self) -> &[Vec<Field>] {
        match self {
            Self::Entries(entries) => entries,
            Self::One(_) | Self::Many(_) | Self::Pairs(_) => &[],
        }
    }
}

/// A text as messages repeat it: short, and on one line.
fn shown(text: &str) -> String {
    const SHOWN_BYTES_MAX: usize = 80;
    let kept = cut(text, SHOWN_BYTES_MAX);
    let dots = if kept.len() < text.len() { "…" } else { "" };
    format!("`{}{dots}`", kept.escape_debug())
}

/// Any text.
#[derive(Debug, Clone, Copy)]
pub struct Text;

impl Kind for Text {
    type Value = String;
    const SHAPE: Shape = Shape::One;
    const HINT: &'static str = "NAME";

    fn form(&self) -> String {
        "text".to_owned()
    }

    fn read(&self, raw: &Raw) -> Result<String, String> {
        let text = raw.one();
        if text.len() > TEXT_BYTES_MAX {
            return Err("is longer than 4 KiB".to_owned());
        }
        Ok(text.to_owned())
    }
}

/// The path of a file.
#[derive(Debug, Clone, Copy)]
pub struct File;

impl Kind for File {
    type Value = PathBuf;
    const SHAPE: Shape = Shape::One;
    const HINT: &'static str = "FILE";

    fn form(&self) -> String {
        "path".to_owned()
    }

    fn read(&self, raw: &Raw) -> Result<PathBuf, String> {
        Text.read(raw).map(PathBuf::from)
    }
}

/// The path of a directory.
#[derive(Debug, Clone, Copy)]
pub struct Folder;

impl Kind for Folder {
    type Value = PathBuf;
    const SHAPE: Shape = Shape::One;
    const HINT: &'static str = "DIR";

    fn form(&self) -> String {
        "path of a directory".to_owned()
    }

    fn read(&self, raw: &Raw) -> Result<PathBuf, String> {
        Text.read(raw).map(PathBuf::from)
    }
}

/// A token that stands there itself.
#[derive(Debug, Clone, Copy)]
pub struct Token;

impl Kind for Token {
    type Value = Secret;
    const SHAPE: Shape = Shape::One;
    const HINT: &'static str = "SECRET";
    const SECRET: bool = true;

    fn form(&self) -> String {
        "secret".to_owned()
    }

    fn read(&self, raw: &Raw) -> Result<Secret, String> {
        TokenSource::Value(Secret::new(raw.one())).read().map_err(|_| {
            "is no token: it has spaces, line breaks or other bytes that no header carries, or is longer than 16 KiB"
                .to_owned()
        })
    }
}

/// On or off.
#[derive(Debug, Clone, Copy)]
pub struct Switch;

impl Kind for Switch {
    type Value = bool;
    const SHAPE: Shape = Shape::One;
    const HINT: &'static str = "BOOL";

    fn form(&self) -> String {
        "`true`, `false`".to_owned()
    }

    fn read(&self, raw: &Raw) -> Result<bool, String> {
        let text = raw.one();
        if text.eq_ignore_ascii_case("true") {
            Ok(true)
        } else if text.eq_ignore_ascii_case("false") {
            Ok(false)
        } else {
            Err(format!("{} is neither true nor false", shown(text)))
        }
    }
}

/// One of a few words.
#[derive(Debug, Clone, Copy)]
pub struct OneOf<T: 'static>(pub &'static [(&'static str, T)]);

impl<T: Copy + Sync> Kind for OneOf<T> {
    type Value = T;
    const SHAPE: Shape = Shape::One;
    const HINT: &'static str = "WORD";

    fn form(&self) -> String {
        listed(self.0.iter().map(|(word, _)| *word))
    }

    fn read(&self, raw: &Raw) -> Result<T, String> {
        let text = raw.one();
        let found = self.0.iter().find(|(word, _)| *word == text);
        let (_, value) =
            found.ok_or_else(|| format!("{} is none of {}", shown(text), self.form()))?;
        Ok(*value)
    }
}

fn listed<'w>(words: impl Iterator<Item = &'w str>) -> String {
    let quoted: Vec<_> = words.map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}

/// A system that there is a dialect of.
#[derive(Debug, Clone, Copy)]
pub struct System;

impl Kind for System {
    type Value = String;
    const SHAPE: Shape = Shape::One;
    const HINT: &'static str = "SYSTEM";

    fn form(&self) -> String {
        listed(Dialect::SYSTEMS.iter().copied())
    }

    fn read(&self, raw: &Raw) -> Result<String, String> {
        let text = raw.one();
        if !Dialect::SYSTEMS.contains(&text) {
            return Err(format!(
                "{} is no system that is known: known are {}",
                shown(text),
                self.form()
            ));
        }
        Ok(text.to_owned())
    }
}

/// How OTLP is spoken.
#[derive(Debug, Clone, Copy)]
pub struct OtlpProtocol;

impl Kind for OtlpProtocol {
    type Value = Protocol;
    const SHAPE: Shape = Shape::One;
    const HINT: &'static str = "PROTOCOL";

    fn form(&self) -> String {
        "`http/protobuf`, `grpc`".to_owned()
    }

    fn read(&self, raw: &Raw) -> Result<Protocol, String> {
        match raw.one() {
            "http/protobuf" => Ok(Protocol::HttpProtobuf),
            "grpc" => Ok(Protocol::Grpc),
            "http/json" => Err(
                "`http/json` is not spoken here: use `http/protobuf`, which every OTLP receiver over HTTP takes at the same address"
                    .to_owned(),
            ),
            other => Err(format!("{} is none of {}", shown(other), self.form())),
        }
    }
}

/// Which of our own logs are written.
#[derive(Debug, Clone, Copy)]
pub struct LogFilter;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl Kind for LogFilter {
    type Value = String;
    const SHAPE: Shape = Shape::One;
    const HINT: &'static str = "FILTER";

    fn form(&self) -> String {
        format!("{}, or as `RUST_LOG` has it", listed(LEVELS.into_iter()))
    }

    fn read(&self, raw: &Raw) -> Result<String, String> {
        let text = Text.read(raw)?;
        // What is no level is the name of a module, to the parser of filters.
        let words = text.split(',').map(str::trim);
        let lower = words.map(str::to_ascii_lowercase);
        for word in lower.filter(|word| !LEVELS.contains(&word.as_str())) {
            if let Some(level) = nearest(&word, LEVELS.into_iter()) {
                return Err(format!("{}: did you mean `{level}`?", shown(&word)));
            }
        }
        // Alone it would silence everything else, which nobody means.
        let alone = text.trim();
        let is_word = alone.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if is_word && !LEVELS.contains(&&*alone.to_ascii_lowercase()) && alone != "runtrail" {
            return Err(format!(
                "{} is no level: write one of {}; or `{alone}=debug`, if it is a module",
                shown(alone),
                LEVELS.join(", ")
            ));
        }
        EnvFilter::builder().parse(&text).map_err(|_| {
            format!(
                "{} is no filter of logs: write a level ({}), or `level,module=level`",
                shown(&text),
                LEVELS.join(", ")
            )
        })?;
        Ok(text)
    }
}
