//! The file: YAML, of which every key is known.
//!
//! The reading goes by the table of keys: a section is a map of keys, and each
//! key has the shape of its kind. So texts keep the form in which they were
//! written (`1.10` stays `1.10`), and a key that is not known is told with its
//! line. Anchors, tags and merged maps are not needed here, and bounded.
//!
//! Parsers may repeat what they could not read, and that may be a token: of their
//! messages only what is known to be harmless is passed on.

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy};
use serde_saphyr::{Options, Spanned};

use super::error::{ConfigError, Place};
use super::keys::{self, AnyKey};
use super::kinds::{Field, Raw, Shape};
use crate::trace::content::cut;

/// A larger file is none.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A key of the file with its value.
pub(super) struct Entry {
    /// The key.
    pub key: &'static dyn AnyKey,
    /// Its value.
    pub raw: Raw,
    /// Where it stands.
    pub place: Place,
}

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<Vec<Entry>, ConfigError> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| ConfigError::Unreadable {
            path: path.to_owned(),
            error,
        })?;
    parse(path, &bytes)
}

/// Reads the content of a file.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<Entry>, ConfigError> {
    let path: Arc<Path> = path.into();
    let whole = |problem: &str| ConfigError::File {
        place: Place {
            path: Arc::clone(&path),
            line: 0,
            column: 0,
        },
        problem: problem.to_owned(),
    };
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(whole("a configuration file of more than 1 MiB is not read"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| whole("this is no UTF-8 text"))?;
    let mut reader = Reader {
        path: Arc::clone(&path),
        entries: Vec::new(),
        expects: "this must be a map of keys, such as `source:` and `url:` below it".to_owned(),
        refused: None,
    };
    let section = Section {
        reader: &mut reader,
        name: None,
    };
    let done = serde_saphyr::with_deserializer_from_str_with_options(text, options(), |yaml| {
        section.deserialize(yaml)
    });
    match done {
        Ok(()) => Ok(reader.entries),
        Err(error) => Err(reader.error(&error)),
    }
}

/// Bounds for a file that somebody wrote to do harm.
fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 20_000,
            max_nodes: 20_000,
            max_depth: 16,
            flow_nesting_limit: 16,
            max_documents: 2,
            max_aliases: 100,
            max_anchors: 100,
            max_recorded_anchor_events: 10_000,
            max_recorded_anchor_bytes: 1 << 20,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 10_000,
            max_replay_stack_depth: 8,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

struct Reader {
    path: Arc<Path>,
    entries: Vec<Entry>,
    /// What should stand at the place that is being read.
    expects: String,
    /// What we refused ourselves; the parser's error is then only its echo.
    refused: Option<ConfigError>,
}

impl Reader {
    fn error(self, error: &serde_saphyr::Error) -> ConfigError {
        use serde_saphyr::Error;
        if let Some(refused) = self.refused {
            return refused;
        }
        let problem = match error {
            Error::DuplicateMappingKey { key, .. } => match key {
                Some(key) => format!("`{}` stands here twice", cut(key, 80).escape_debug()),
                None => "a key stands here twice".to_owned(),
            },
            Error::MergeKeyNotAllowed { .. } => {
                "`<<` is not read here: write the keys out".to_owned()
            }
            Error::UnsupportedTag { .. } => {
                "a tag such as `!name` is not read here: leave it out".to_owned()
            }
            Error::Budget { .. }
            | Error::AliasReplayLimitExceeded { .. }
            | Error::AliasExpansionLimitExceeded { .. }
            | Error::AliasReplayStackDepthExceeded { .. } => {
                "the file is nested too deeply, or holds too much".to_owned()
            }
            Error::MultipleDocuments { .. } => {
                "a second document begins here: one is read".to_owned()
            }
            Error::Eof { .. } | Error::ExternalMessage { .. } | Error::UnknownAnchor { .. } => {
                "this is no YAML: look at the indentation, colons and quotes here and in the line before"
                    .to_owned()
            }
            _ => self.expects,
        };
        let location = error.location();
        ConfigError::File {
            place: Place {
                path: self.path,
                line: location.map_or(0, |location| location.line()),
                column: location.map_or(0, |location| location.column()),
            },
            problem,
        }
    }
}

/// The whole file, or a section of it: a map of keys.
struct Section<'r> {
    reader: &'r mut Reader,
    name: Option<&'r str>,
}

impl<'de> DeserializeSeed<'de> for Section<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Section<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of keys")
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { reader, name } = self;
        loop {
            reader.expects = "the name of a key must stand here".to_owned();
            let Some(key) = map.next_key::<Spanned<String>>()? else {
                return Ok(());
            };
            let place = Place {
                path: Arc::clone(&reader.path),
                line: key.referenced.line(),
                column: key.referenced.column(),
            };
            let path = match name {
                Some(section) => format!("{section}.{}", key.value),
                None => key.value,
            };
            if let Some(key) = keys::find(&path) {
                reader.expects = format!("{path}: {}", expected(key));
                if let Some(raw) = map.next_value_seed(Value(key.shape()))? {
                    reader.entries.push(Entry { key, raw, place });
                }
            } else if name.is_none() && keys::is_section(&path) {
                reader.expects = format!("{path} is a section: write its keys below it, indented");
                map.next_value_seed(Section {
                    reader: &mut *reader,
                    name: Some(&path),
                })?;
            } else {
                let refused = ConfigError::UnknownKey {
                    place,
                    meant: keys::meant(&path),
                    key: cut(&path, 80).escape_debug().to_string(),
                };
                reader.refused = Some(refused);
                return Err(A::Error::custom("unknown key"));
            }
        }
    }
}

fn expected(key: &dyn AnyKey) -> String {
    let what = match key.shape() {
        Shape::One => "one value must stand here",
        Shape::Many | Shape::ManyFlags => "a list must stand here, such as [a, b]",
        Shape::Pairs => "names with a text each must stand here, indented",
        Shape::Entries => "a list of maps must stand here, each behind a `-`",
    };
    format!("{what} ({})", key.form())
}

/// A value of a shape; `null` is none.
#[derive(Clone, Copy)]
struct Value(Shape);

impl<'de> DeserializeSeed<'de> for Value {
    type Value = Option<Raw>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Raw>, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Value {
    type Value = Option<Raw>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_none<E>(self) -> Result<Option<Raw>, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Option<Raw>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Raw>, D::Error> {
        let raw = match self.0 {
            Shape::One => deserializer.deserialize_string(OneVisitor).map(Raw::One)?,
            Shape::Many | Shape::ManyFlags => {
                deserializer.deserialize_any(ManyVisitor).map(Raw::Many)?
            }
            Shape::Pairs => deserializer.deserialize_map(PairsVisitor).map(Raw::Pairs)?,
            Shape::Entries => deserializer
                .deserialize_seq(EntriesVisitor)
                .map(Raw::Entries)?,
        };
        Ok(match raw {
            Raw::One(text) if text.trim().is_empty() => None,
            Raw::One(text) => Some(Raw::One(text.trim().to_owned())),
            raw => Some(raw),
        })
    }
}

struct OneVisitor;

impl Visitor<'_> for OneVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one value")
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

/// A list, or one value that stands for a list of one.
struct ManyVisitor;

impl<'de> Visitor<'de> for ManyVisitor {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_str<E>(self, text: &str) -> Result<Vec<String>, E> {
        Ok(vec![text.to_owned()])
    }

    // The id of a project.
    fn visit_u64<E>(self, number: u64) -> Result<Vec<String>, E> {
        Ok(vec![number.to_string()])
    }

    fn visit_i64<E>(self, number: i64) -> Result<Vec<String>, E> {
        Ok(vec![number.to_string()])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(values)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("names with values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(pairs)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Vec<Vec<Field>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of maps")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(fields) = list.next_element_seed(Fields)? {
            entries.push(fields);
        }
        Ok(entries)
    }
}

/// One map of a list of them, with the lines of its fields.
struct Fields;

impl<'de> DeserializeSeed<'de> for Fields {
    type Value = Vec<Field>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Field>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields {
    type Value = Vec<Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("names with values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<Field>, A::Error> {
        let mut fields = Vec::new();
        while let Some((name, value)) = map.next_entry::<Spanned<String>, Option<String>>()? {
            fields.extend(value.map(|value| Field {
                line: name.referenced.line(),
                name: name.value,
                value,
            }));
        }
        Ok(fields)
    }
}
