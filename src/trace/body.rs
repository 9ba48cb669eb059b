//! Reads request bodies, those of [`super::batch`] or any other encoded
//! `ExportTraceServiceRequest`: not into messages, but into the places where
//! their spans stand. Nothing is copied, and bytes that are no such body give
//! what can be read of them.

use super::ids::TraceId;

/// Which fields lead from a body to its spans: `resource_spans`, `scope_spans`, `spans`.
pub const PATH_TO_SPANS: [u32; 3] = [1, 2, 2];

/// One span of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanBytes<'b> {
    /// Its trace; all zero when it has none.
    pub trace_id: TraceId,
    /// The encoded span, without a tag around it.
    pub bytes: &'b [u8],
}

/// The spans of a body, in their order.
pub fn spans(body: &[u8]) -> impl Iterator<Item = SpanBytes<'_>> {
    let [resource_spans, scope_spans, spans] = PATH_TO_SPANS;
    messages(body, resource_spans)
        .flat_map(move |resource_spans| messages(resource_spans, scope_spans))
        .flat_map(move |scope_spans| messages(scope_spans, spans))
        .map(|bytes| SpanBytes {
            trace_id: trace_id(bytes),
            bytes,
        })
}

/// The fields of one message.
#[derive(Debug, Clone)]
pub struct Fields<'b> {
    rest: &'b [u8],
}

/// One field of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'b> {
    /// Its number.
    pub number: u32,
    /// All of it, its key included.
    pub whole: &'b [u8],
    /// What is in it, if that is bytes, a text or a message.
    pub content: Option<&'b [u8]>,
}

/// These bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a protobuf message")]
pub struct Malformed;

impl<'b> Fields<'b> {
    /// Reads a message. Behind the first thing that is no field nothing comes.
    pub const fn of(message: &'b [u8]) -> Self {
        Self { rest: message }
    }
}

impl<'b> Iterator for Fields<'b> {
    type Item = Result<Field<'b>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let message = self.rest;
        let Some(field) = first_field(message) else {
            self.rest = &[];
            return Some(Err(Malformed));
        };
        self.rest = &message[field.whole.len()..];
        Some(Ok(field))
    }
}

fn first_field(message: &[u8]) -> Option<Field<'_>> {
    let (key, rest) = varint(message)?;
    let number = u32::try_from(key >> 3).ok().filter(|number| *number > 0)?;
    let (content, rest) = match key & 7 {
        0 => (None, varint(rest)?.1),
        1 => (None, rest.split_at_checked(8)?.1),
        2 => {
            let (length, rest) = varint(rest)?;
            let (content, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            (Some(content), rest)
        }
        5 => (None, rest.split_at_checked(4)?.1),
        _ => return None,
    };
    Some(Field {
        number,
        whole: &message[..message.len() - rest.len()],
        content,
    })
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (place, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[place + 1..]));
        }
    }
    None
}

fn messages(message: &[u8], number: u32) -> impl Iterator<Item = &[u8]> {
    Fields::of(message)
        .map_while(Result::ok)
        .filter(move |field| field.number == number)
        .filter_map(|field| field.content)
}

/// It stands first in a span of ours, so this looks at one field.
fn trace_id(span: &[u8]) -> TraceId {
    let id = messages(span, 1).next();
    id.and_then(|id| id.try_into().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use proptest::prelude::*;
    use prost::Message;

    use super::super::batch::{Batcher, ResourceInfo};
    use super::*;
    use crate::limits::Limits;
    use crate::wire::time::Time;

    fn span(trace: u8, name: &str) -> Span {
        Span {
            trace_id: vec![trace; 16],
            name: name.into(),
            kind: 1,
            start_time_unix_nano: 7,
            flags: 0x101,
            ..Span::default()
        }
    }

    #[test]
    fn the_spans_of_a_batch_are_found_where_they_stand() {
        let own = [span(1, "a"), span(2, "b"), span(1, "c")];
        let mut batcher = Batcher::new(&ResourceInfo::default(), &Limits::default());
        for span in &own {
            batcher.push(&span.encode_to_vec(), 0, Time::ZERO);
        }
        let body = batcher.flush().unwrap().body;
        let found: Vec<_> = spans(&body).collect();
        assert_eq!(found.len(), own.len());
        for (found, own) in found.iter().zip(&own) {
            assert_eq!(found.trace_id[..], own.trace_id);
            assert_eq!(found.bytes, own.encode_to_vec());
        }
    }

    #[test]
    fn several_resources_and_scopes_are_gone_through_in_order() {
        let scope = |names: &[&str]| ScopeSpans {
            spans: names.iter().map(|name| span(1, name)).collect(),
            ..ScopeSpans::default()
        };
        let resource = |scope_spans| ResourceSpans {
            scope_spans,
            ..ResourceSpans::default()
        };
        let request = ExportTraceServiceRequest {
            resource_spans: vec![
                resource(vec![scope(&["a"]), scope(&[]), scope(&["b", "c"])]),
                resource(vec![scope(&["d"])]),
            ],
        };
        let names: String = spans(&request.encode_to_vec())
            .map(|span| Span::decode(span.bytes).unwrap().name)
            .collect();
        assert_eq!(names, "abcd");
    }

    #[test]
    fn a_span_without_a_sound_trace_id_has_the_zero_one() {
        assert_eq!(trace_id(&[]), [0; 16]);
        let short = Span {
            trace_id: vec![1; 15],
            ..Span::default()
        };
        assert_eq!(trace_id(&short.encode_to_vec()), [0; 16]);
    }

    #[test]
    fn behind_what_is_no_field_nothing_comes() {
        for broken in [
            &[0x0a][..],      // no length
            &[0x0a, 5, 1],    // too short for its length
            &[0x08, 0x80],    // a number without an end
            &[0x09, 1, 2, 3], // half a fixed64
            &[0x0d, 1, 2, 3], // half a fixed32
            &[0x0b],          // a group
            &[0x02, 0],       // the field number zero
            &[0xff; 11],      // a number that is too long
        ] {
            let mut fields = Fields::of(broken);
            assert_eq!(fields.next(), Some(Err(Malformed)), "{broken:?}");
            assert_eq!(fields.next(), None, "{broken:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let read: usize = spans(&body).map(|span| span.bytes.len()).sum();
            prop_assert!(read <= body.len());
            let read: usize = Fields::of(&body).map_while(Result::ok).map(|f| f.whole.len()).sum();
            prop_assert!(read <= body.len());
        }
    }
}
