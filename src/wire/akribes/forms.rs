//! The small forms that Akribes' payloads are made of, read liberally: a text
//! may be null, a number a fraction, a duration a plain count.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::content::{decoded_len, string_body};

/// A name or another short text. `null` reads as the empty text.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub(super) struct Str<'a>(pub(super) Cow<'a, str>);

/// Any JSON, as it stands in the input.
#[derive(Debug, Clone, Copy, Hash)]
pub(super) struct Json<'a>(pub(super) &'a str);

/// A piece of a stream, which should be a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'a> {
    pub(super) json: Json<'a>,
    /// The size of the text, if it is one.
    pub(super) text_bytes: Option<u64>,
}

/// A whole number; a fraction is cut, what is negative or `null` reads as 0.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Num(pub(super) u64);

/// `{"secs":1,"nanos":250000000}`, or a plain number of milliseconds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Span(pub(super) Option<Duration>);

impl Span {
    pub(super) fn of_parts(secs: Num, nanos: Num) -> Self {
        let span = Duration::from_secs(secs.0);
        Self(Some(span.saturating_add(Duration::from_nanos(nanos.0))))
    }

    pub(super) const fn of_millis(millis: u64) -> Self {
        Self(Some(Duration::from_millis(millis)))
    }
}

/// A list of texts, of which `null` is the empty one.
#[derive(Debug, Default, Hash)]
pub(super) struct List<'a>(pub(super) Vec<Str<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for List<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self(
            Option::<Vec<Str<'a>>>::deserialize(d)?.unwrap_or_default(),
        ))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        <&'de RawValue>::deserialize(d).map(|raw| Json(raw.get()))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Piece<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let json = Json::deserialize(d)?;
        Ok(Self {
            json,
            text_bytes: string_body(json.0).map(decoded_len),
        })
    }
}

impl Hash for Piece<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.json.hash(state);
    }
}

struct StrVisitor;

impl<'de> Visitor<'de> for StrVisitor {
    type Value = Str<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E: de::Error>(self, v: &'de str) -> Result<Self::Value, E> {
        Ok(Str(Cow::Borrowed(v)))
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<Self::Value, E> {
        Ok(Str(Cow::Owned(v.to_owned())))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Str::default())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Str<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(StrVisitor)
    }
}

struct NumVisitor;

impl Visitor<'_> for NumVisitor {
    type Value = Num;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_u64<E: de::Error>(self, v: u64) -> Result<Num, E> {
        Ok(Num(v))
    }

    fn visit_i64<E: de::Error>(self, v: i64) -> Result<Num, E> {
        Ok(Num(u64::try_from(v).unwrap_or(0)))
    }

    fn visit_f64<E: de::Error>(self, v: f64) -> Result<Num, E> {
        // The cast saturates at both ends, and takes what is no number as 0.
        Ok(Num(v as u64))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Num, E> {
        Ok(Num(0))
    }
}

impl<'de> Deserialize<'de> for Num {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(NumVisitor)
    }
}

struct SpanVisitor;

impl<'de> Visitor<'de> for SpanVisitor {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration")
    }

    fn visit_u64<E: de::Error>(self, v: u64) -> Result<Span, E> {
        Ok(Span::of_millis(v))
    }

    fn visit_i64<E: de::Error>(self, v: i64) -> Result<Span, E> {
        self.visit_u64(u64::try_from(v).unwrap_or(0))
    }

    fn visit_f64<E: de::Error>(self, v: f64) -> Result<Span, E> {
        Ok(Span(Duration::try_from_secs_f64(v / 1e3).ok()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Span, E> {
        Ok(Span(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Span, A::Error> {
        #[derive(Deserialize)]
        struct Parts {
            #[serde(default)]
            secs: Num,
            #[serde(default)]
            nanos: Num,
        }
        let parts = Parts::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok(Span::of_parts(parts.secs, parts.nanos))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(SpanVisitor)
    }
}
