//! Writes OTLP `Span` messages as protobuf, by hand and into one reused buffer:
//! nothing is allocated for an attribute or an event but the buffer's growth.
//!
//! Fields are written in the order of their numbers, which is the order in which
//! [`SpanWriter`] offers them. The length of a nested message is not known before
//! its end: room for a likely length is left, and the message is moved by a byte
//! or two when it comes out otherwise. So every length is the shortest one, as
//! any other encoder would write it.

use opentelemetry::trace::SpanKind;

use super::ids::{SpanId, TraceId};
use crate::wire::time::Time;

/// What begins a span.
#[derive(Debug)]
pub struct Head<'a> {
    /// The trace.
    pub trace_id: &'a TraceId,
    /// The span.
    pub span_id: SpanId,
    /// What it hangs under; nothing for a root.
    pub parent: Option<SpanId>,
    /// Its name, in parts.
    pub name: &'a [&'a str],
    /// Its kind.
    pub kind: SpanKind,
    /// When it started.
    pub start: Time,
    /// When it ended.
    pub end: Time,
}

/// How a span ended, as OTLP sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status<'a> {
    /// Nothing to say.
    Unset,
    /// It failed, and why.
    Error(&'a str),
}

/// Whether a link leads out of this trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// To a span of the same trace.
    Local,
    /// To a span of another trace, which somebody else may have recorded.
    Remote,
}

/// Writes one span.
#[derive(Debug)]
pub struct SpanWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> SpanWriter<'a> {
    /// Empties the buffer and begins a span in it.
    pub fn begin(out: &'a mut Vec<u8>, head: &Head<'_>) -> Self {
        out.clear();
        bytes_field(out, 1, head.trace_id);
        bytes_field(out, 2, &head.span_id);
        if let Some(parent) = &head.parent {
            bytes_field(out, 4, parent);
        }
        out.push(key(5, LENGTH));
        varint(out, head.name.iter().map(|part| part.len() as u64).sum());
        for part in head.name {
            out.extend_from_slice(part.as_bytes());
        }
        out.extend_from_slice(&[key(6, VARINT), kind_number(&head.kind)]);
        fixed64(out, 7, head.start.0);
        fixed64(out, 8, head.end.0);
        Self { out }
    }

    /// The span's attributes.
    pub fn attributes(&mut self) -> Attributes<'_> {
        Attributes::of_span(self.out)
    }

    /// How many attributes found no room.
    pub fn dropped_attributes(&mut self, count: u32) {
        count_field(self.out, 10, count);
    }

    /// Something that happened during the span.
    pub fn event(&mut self, at: Time, name: &str, attributes: impl FnOnce(&mut Attributes<'_>)) {
        nested(self.out, key(11, LENGTH), 2, |out| {
            fixed64(out, 1, at.0);
            bytes_field(out, 2, name.as_bytes());
            attributes(&mut Attributes::of_event(out));
        });
    }

    /// How many events found no room.
    pub fn dropped_events(&mut self, count: u32) {
        count_field(self.out, 12, count);
    }

    /// Another span that this one points to.
    pub fn link(
        &mut self,
        trace_id: &TraceId,
        span_id: SpanId,
        reach: Reach,
        attributes: impl FnOnce(&mut Attributes<'_>),
    ) {
        nested(self.out, key(13, LENGTH), 1, |out| {
            bytes_field(out, 1, trace_id);
            bytes_field(out, 2, &span_id);
            attributes(&mut Attributes {
                out,
                key: key(4, LENGTH),
            });
            let flags = match reach {
                Reach::Local => FLAGS,
                Reach::Remote => FLAGS | IS_REMOTE,
            };
            out.push(key(6, FIXED32));
            out.extend_from_slice(&flags.to_le_bytes());
        });
    }

    /// How many links found no room.
    pub fn dropped_links(&mut self, count: u32) {
        count_field(self.out, 14, count);
    }

    /// Ends the span. The status is always there, as the SDKs write it, so that
    /// OTLP/JSON never shows a null.
    pub fn finish(self, status: Status<'_>) {
        nested(self.out, key(15, LENGTH), 1, |out| {
            if let Status::Error(message) = status {
                if !message.is_empty() {
                    bytes_field(out, 2, message.as_bytes());
                }
                out.extend_from_slice(&[key(3, VARINT), 2]);
            }
        });
        // Field 16 is the first one whose key takes two bytes.
        varint(self.out, 16 << 3 | u64::from(FIXED32));
        self.out.extend_from_slice(&FLAGS.to_le_bytes());
    }

    /// How large the span is so far.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether nothing was written, which does not happen.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }
}

/// Writes attributes of a span, an event, a link, a resource or a scope.
#[derive(Debug)]
pub struct Attributes<'a> {
    out: &'a mut Vec<u8>,
    key: u8,
}

impl<'a> Attributes<'a> {
    /// Attributes of a span.
    pub fn of_span(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            key: key(9, LENGTH),
        }
    }

    /// Attributes of an event.
    pub fn of_event(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            key: key(3, LENGTH),
        }
    }

    /// Attributes of a resource.
    pub fn of_resource(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            key: key(1, LENGTH),
        }
    }

    /// The same, for somebody who takes it by value.
    pub fn reborrow(&mut self) -> Attributes<'_> {
        Attributes {
            out: self.out,
            key: self.key,
        }
    }

    /// A text.
    pub fn text(&mut self, name: &str, value: &str) {
        self.begin(name, string_size(value.len()));
        bytes_field(self.out, 1, value.as_bytes());
    }

    /// A number.
    pub fn int(&mut self, name: &str, value: i64) {
        let value = value.cast_unsigned();
        self.begin(name, 1 + varint_size(value));
        self.out.push(key(3, VARINT));
        varint(self.out, value);
    }

    /// A count or a size; one beyond `i64` is the largest there is.
    pub fn count(&mut self, name: &str, value: u64) {
        self.int(name, i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// A truth.
    pub fn bool(&mut self, name: &str, value: bool) {
        self.begin(name, 2);
        self.out
            .extend_from_slice(&[key(2, VARINT), u8::from(value)]);
    }

    /// A number with a fraction.
    pub fn double(&mut self, name: &str, value: f64) {
        self.begin(name, 9);
        fixed64(self.out, 4, value.to_bits());
    }

    /// Several texts.
    pub fn texts<'t>(&mut self, name: &str, values: impl Iterator<Item = &'t str> + Clone) {
        let array: usize = values
            .clone()
            .map(|value| nested_size(string_size(value.len())))
            .sum();
        self.begin(name, nested_size(array));
        self.out.push(key(5, LENGTH));
        varint(self.out, array as u64);
        for value in values {
            self.out.push(key(1, LENGTH));
            varint(self.out, string_size(value.len()) as u64);
            bytes_field(self.out, 1, value.as_bytes());
        }
    }

    /// Attributes that were written before, for the same kind of owner.
    pub fn encoded(&mut self, attributes: &[u8]) {
        self.out.extend_from_slice(attributes);
    }

    /// How large the message that they belong to is so far.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether nothing was written at all.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Everything of a `KeyValue` up to the content of its `AnyValue`. Most are
    /// short, and every length in them takes one byte.
    fn begin(&mut self, name: &str, value_size: usize) {
        let size = nested_size(name.len()) + nested_size(value_size);
        self.out.reserve(1 + varint_size(size as u64) + size);
        if size < 0x80 {
            let before = [self.key, size as u8, key(1, LENGTH), name.len() as u8];
            self.out.extend_from_slice(&before);
            self.out.extend_from_slice(name.as_bytes());
            self.out
                .extend_from_slice(&[key(2, LENGTH), value_size as u8]);
        } else {
            self.out.push(self.key);
            varint(self.out, size as u64);
            bytes_field(self.out, 1, name.as_bytes());
            self.out.push(key(2, LENGTH));
            varint(self.out, value_size as u64);
        }
    }
}

/// Writes a field that holds bytes, a text or a finished message.
pub fn bytes_field(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(key(field, LENGTH));
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Writes the key and the length of a field whose content follows.
pub fn length_prefix(out: &mut Vec<u8>, field: u8, length: usize) {
    out.push(key(field, LENGTH));
    varint(out, length as u64);
}

/// The size of a field with a one-byte key and content of this length.
pub const fn nested_size(length: usize) -> usize {
    1 + varint_size(length as u64) + length
}

/// Sampled (or it would not be here), and the parent is known not to be remote:
/// what the OpenTelemetry SDKs write for a sampled span with a local parent.
const FLAGS: u32 = 0x101;

/// The span pointed to is remote.
const IS_REMOTE: u32 = 0x200;

const VARINT: u8 = 0;
const LENGTH: u8 = 2;
const FIXED64: u8 = 1;
const FIXED32: u8 = 5;

/// The key of a field below 16.
const fn key(field: u8, wire_type: u8) -> u8 {
    field << 3 | wire_type
}

const fn string_size(length: usize) -> usize {
    nested_size(length)
}

const fn varint_size(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn fixed64(out: &mut Vec<u8>, field: u8, value: u64) {
    out.push(key(field, FIXED64));
    out.extend_from_slice(&value.to_le_bytes());
}

/// A count that is left out when it is zero.
fn count_field(out: &mut Vec<u8>, field: u8, count: u32) {
    if count > 0 {
        out.push(key(field, VARINT));
        varint(out, u64::from(count));
    }
}

/// Writes a nested message whose length will likely take `guess` bytes.
fn nested(out: &mut Vec<u8>, key: u8, guess: usize, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(key);
    let length_at = out.len();
    let body_at = length_at + guess;
    out.resize(body_at, 0);
    body(out);
    let end = out.len();
    let mut length = (end - body_at) as u64;
    let size = varint_size(length);
    if size > guess {
        out.resize(end + size - guess, 0);
    }
    if size != guess {
        out.copy_within(body_at..end, length_at + size);
        out.truncate(end + size - guess);
    }
    for place in &mut out[length_at..length_at + size] {
        *place = length as u8 | 0x80;
        length >>= 7;
    }
    out[length_at + size - 1] &= 0x7f;
}

/// The number of a span's kind in OTLP.
const fn kind_number(kind: &SpanKind) -> u8 {
    match kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
    use opentelemetry_proto::tonic::trace::v1 as proto;
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    type List = Vec<(String, Attribute)>;

    /// A span as plain values, to be written in both ways.
    #[derive(Debug, Clone)]
    struct Plain {
        ids: ([u8; 16], [u8; 8], Option<[u8; 8]>),
        name: Vec<String>,
        client: bool,
        times: (u64, u64),
        attributes: List,
        dropped: (u32, u32, u32),
        events: Vec<(u64, String, List)>,
        links: Vec<([u8; 16], [u8; 8], bool, List)>,
        error: Option<String>,
    }

    #[derive(Debug, Clone)]
    enum Attribute {
        Text(String),
        Int(i64),
        Bool(bool),
        Double(f64),
        Texts(Vec<String>),
    }

    fn by_hand(span: &Plain) -> Vec<u8> {
        let write = |to: &mut Attributes<'_>, attributes: &[(String, Attribute)]| {
            for (name, value) in attributes {
                match value {
                    Attribute::Text(v) => to.text(name, v),
                    Attribute::Int(v) => to.int(name, *v),
                    Attribute::Bool(v) => to.bool(name, *v),
                    Attribute::Double(v) => to.double(name, *v),
                    Attribute::Texts(v) => to.texts(name, v.iter().map(String::as_str)),
                }
            }
        };
        let mut out = vec![7; 3];
        let name: Vec<&str> = span.name.iter().map(String::as_str).collect();
        let mut writer = SpanWriter::begin(
            &mut out,
            &Head {
                trace_id: &span.ids.0,
                span_id: span.ids.1,
                parent: span.ids.2,
                name: &name,
                kind: if span.client {
                    SpanKind::Client
                } else {
                    SpanKind::Internal
                },
                start: Time(span.times.0),
                end: Time(span.times.1),
            },
        );
        write(&mut writer.attributes(), &span.attributes);
        writer.dropped_attributes(span.dropped.0);
        for (at, name, attributes) in &span.events {
            writer.event(Time(*at), name, |to| write(to, attributes));
        }
        writer.dropped_events(span.dropped.1);
        for (trace, id, remote, attributes) in &span.links {
            let reach = if *remote { Reach::Remote } else { Reach::Local };
            writer.link(trace, *id, reach, |to| write(to, attributes));
        }
        writer.dropped_links(span.dropped.2);
        writer.finish(span.error.as_deref().map_or(Status::Unset, Status::Error));
        out
    }

    fn by_prost(span: &Plain) -> proto::Span {
        let any = |value| AnyValue { value: Some(value) };
        let convert = |attributes: &[(String, Attribute)]| {
            attributes
                .iter()
                .map(|(name, value)| KeyValue {
                    key: name.clone(),
                    value: Some(any(match value.clone() {
                        Attribute::Text(v) => Value::StringValue(v),
                        Attribute::Int(v) => Value::IntValue(v),
                        Attribute::Bool(v) => Value::BoolValue(v),
                        Attribute::Double(v) => Value::DoubleValue(v),
                        Attribute::Texts(v) => Value::ArrayValue(ArrayValue {
                            values: v.into_iter().map(|v| any(Value::StringValue(v))).collect(),
                        }),
                    })),
                    ..KeyValue::default()
                })
                .collect::<Vec<_>>()
        };
        proto::Span {
            trace_id: span.ids.0.to_vec(),
            span_id: span.ids.1.to_vec(),
            parent_span_id: span.ids.2.map(|id| id.to_vec()).unwrap_or_default(),
            name: span.name.concat(),
            kind: if span.client { 3 } else { 1 },
            start_time_unix_nano: span.times.0,
            end_time_unix_nano: span.times.1,
            attributes: convert(&span.attributes),
            dropped_attributes_count: span.dropped.0,
            events: span
                .events
                .iter()
                .map(|(at, name, attributes)| proto::span::Event {
                    time_unix_nano: *at,
                    name: name.clone(),
                    attributes: convert(attributes),
                    dropped_attributes_count: 0,
                })
                .collect(),
            dropped_events_count: span.dropped.1,
            links: span
                .links
                .iter()
                .map(|(trace, id, remote, attributes)| proto::span::Link {
                    trace_id: trace.to_vec(),
                    span_id: id.to_vec(),
                    attributes: convert(attributes),
                    flags: if *remote { 0x301 } else { 0x101 },
                    ..proto::span::Link::default()
                })
                .collect(),
            dropped_links_count: span.dropped.2,
            status: Some(proto::Status {
                message: span.error.clone().unwrap_or_default(),
                code: if span.error.is_some() { 2 } else { 0 },
            }),
            flags: 0x101,
            ..proto::Span::default()
        }
    }

    fn text() -> impl Strategy<Value = String> {
        // Around the borders where a length needs another byte, too.
        prop_oneof![
            4 => "\\PC{1,12}",
            1 => (100usize..140).prop_map(|n| "x".repeat(n)),
            1 => (16_300usize..16_500).prop_map(|n| "y".repeat(n)),
        ]
    }

    fn attributes() -> impl Strategy<Value = List> {
        let value = prop_oneof![
            text().prop_map(Attribute::Text),
            Just(Attribute::Text(String::new())),
            any::<i64>().prop_map(Attribute::Int),
            any::<bool>().prop_map(Attribute::Bool),
            (-1e300..1e300f64).prop_map(Attribute::Double),
            prop::collection::vec(text(), 0..4).prop_map(Attribute::Texts),
        ];
        prop::collection::vec((text(), value), 0..4)
    }

    fn spans() -> impl Strategy<Value = Plain> {
        (
            (
                any::<[u8; 16]>(),
                any::<[u8; 8]>(),
                any::<Option<[u8; 8]>>(),
            ),
            prop::collection::vec(text(), 1..3),
            any::<bool>(),
            (1u64.., 1u64..),
            attributes(),
            any::<(u32, u32, u32)>(),
            prop::collection::vec((1u64.., text(), attributes()), 0..4),
            prop::collection::vec(
                (
                    any::<[u8; 16]>(),
                    any::<[u8; 8]>(),
                    any::<bool>(),
                    attributes(),
                ),
                0..3,
            ),
            prop::option::of(text()),
        )
            .prop_map(
                |(ids, name, client, times, attributes, dropped, events, links, error)| Plain {
                    ids,
                    name,
                    client,
                    times,
                    attributes,
                    dropped,
                    events,
                    links,
                    error,
                },
            )
    }

    proptest! {
        #[test]
        fn a_span_written_by_hand_is_the_one_that_prost_writes(span in spans()) {
            let bytes = by_hand(&span);
            let expected = by_prost(&span);
            prop_assert_eq!(&proto::Span::decode(&bytes[..]).unwrap(), &expected);
            prop_assert_eq!(bytes, expected.encode_to_vec(), "down to the byte");
        }

        #[test]
        fn a_nested_message_survives_any_guess_of_its_length(length in 0usize..40_000, guess in 1usize..4) {
            let mut out = vec![1];
            nested(&mut out, key(1, LENGTH), guess, |out| out.resize(out.len() + length, 9));
            let mut expected = vec![1];
            bytes_field(&mut expected, 1, &vec![9; length]);
            prop_assert_eq!(out, expected);
        }
    }
}
