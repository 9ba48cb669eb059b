//! A refused body becomes two with half of its spans each, so that the span at
//! fault is found, and it alone is lost.
//!
//! What stands around the spans (resource, scope, schemas, and whatever else is
//! there) is in both halves, byte for byte; and so is each span.

use std::ops::Range;

use crate::trace::body::{Fields, Malformed, PATH_TO_SPANS};
use crate::trace::otlp::length_prefix;

/// One half of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Half {
    /// An encoded `ExportTraceServiceRequest`.
    pub body: Vec<u8>,
    /// How many spans it holds; at least one.
    pub spans: u32,
}

/// The halves, the first of them with the odd span. `None` when there are not
/// two spans, or it is no body.
pub fn halves(body: &[u8]) -> Option<[Half; 2]> {
    let all = 0..usize::MAX;
    let spans = Part::new(&all).copy(body, &PATH_TO_SPANS, &mut Vec::new());
    let spans = spans.ok().filter(|spans| *spans >= 2)?;
    let middle = spans.div_ceil(2);
    let first = half(body, &(0..middle)).ok()?;
    let second = half(body, &(middle..spans)).ok()?;
    Some([first, second])
}

fn half(body: &[u8], kept: &Range<usize>) -> Result<Half, Malformed> {
    let mut out = Vec::with_capacity(body.len());
    let spans = Part::new(kept).copy(body, &PATH_TO_SPANS, &mut out)?;
    Ok(Half {
        body: out,
        spans: u32::try_from(spans).unwrap_or(u32::MAX),
    })
}

/// Copies a body with a part of its spans.
struct Part<'r> {
    kept: &'r Range<usize>,
    /// How many spans were passed.
    passed: usize,
}

impl<'r> Part<'r> {
    const fn new(kept: &'r Range<usize>) -> Self {
        Self { kept, passed: 0 }
    }

    /// Copies a message whose spans lie at the end of this path, and tells how
    /// many it kept. What holds spans, but none that are kept, is left away.
    fn copy(
        &mut self,
        message: &[u8],
        path: &[u32],
        out: &mut Vec<u8>,
    ) -> Result<usize, Malformed> {
        let mut count = 0;
        for field in Fields::of(message) {
            let field = field?;
            let leads_on = path.first() == Some(&field.number);
            let (true, Some(content)) = (leads_on, field.content) else {
                out.extend_from_slice(field.whole);
                continue;
            };
            if path.len() == 1 {
                if self.kept.contains(&self.passed) {
                    out.extend_from_slice(field.whole);
                    count += 1;
                }
                self.passed += 1;
                continue;
            }
            let mut nested = Vec::new();
            let kept = self.copy(content, &path[1..], &mut nested)?;
            if kept > 0 {
                // The numbers on the path are one digit long.
                length_prefix(out, field.number as u8, nested.len());
                out.extend_from_slice(&nested);
            }
            count += kept;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::limits::Limits;
    use crate::trace::batch::{Batcher, ResourceInfo};
    use crate::trace::body::spans;
    use crate::wire::time::Time;

    fn span(name: String) -> Vec<u8> {
        let span = Span {
            trace_id: vec![7; 16],
            name,
            ..Span::default()
        };
        span.encode_to_vec()
    }

    /// A body as ours are, of spans with these names.
    fn body(names: impl Iterator<Item = String>) -> Vec<u8> {
        let resource = ResourceInfo {
            service_name: "akribes".into(),
            ..ResourceInfo::default()
        };
        let mut batcher = Batcher::new(&resource, &Limits::default());
        for name in names {
            batcher.push(&span(name), 0, Time::ZERO);
        }
        batcher.flush().map(|batch| batch.body).unwrap_or_default()
    }

    fn numbered(count: usize) -> Vec<u8> {
        body((0..count).map(|n| format!("span {n}")))
    }

    fn pieces(body: &[u8]) -> Vec<&[u8]> {
        spans(body).map(|span| span.bytes).collect()
    }

    #[test]
    fn a_body_of_one_span_or_none_has_no_halves() {
        assert_eq!(halves(&numbered(1)), None);
        assert_eq!(halves(&[]), None);
        assert_eq!(halves(&numbered(2)[1..]), None, "no body at all");
    }

    #[test]
    fn a_half_is_what_would_have_been_sent_with_its_spans_alone() {
        let [first, second] = halves(&numbered(3)).unwrap();
        assert_eq!((first.spans, second.spans), (2, 1));
        assert_eq!(first.body, numbered(2));
        assert_eq!(second.body, body(["span 2".to_owned()].into_iter()));
    }

    #[test]
    fn what_only_others_would_write_is_halved_too() {
        let scope = |names: &[&str], schema: &str| ScopeSpans {
            spans: names
                .iter()
                .map(|name| Span::decode(&span((*name).into())[..]).unwrap())
                .collect(),
            schema_url: schema.into(),
            ..ScopeSpans::default()
        };
        let request = |scopes: Vec<Vec<ScopeSpans>>| ExportTraceServiceRequest {
            resource_spans: scopes
                .into_iter()
                .map(|scope_spans| ResourceSpans {
                    scope_spans,
                    schema_url: "r".into(),
                    ..ResourceSpans::default()
                })
                .collect(),
        };
        let whole = request(vec![
            vec![scope(&["a"], "1"), scope(&["b", "c"], "2")],
            vec![scope(&["d"], "3")],
        ]);
        let [first, second] = halves(&whole.encode_to_vec()).unwrap();
        let expected = request(vec![vec![scope(&["a"], "1"), scope(&["b"], "2")]]);
        assert_eq!(first.body, expected.encode_to_vec());
        let expected = request(vec![vec![scope(&["c"], "2")], vec![scope(&["d"], "3")]]);
        assert_eq!(second.body, expected.encode_to_vec());
    }

    proptest! {
        #[test]
        fn no_span_is_lost_doubled_or_changed(names in prop::collection::vec(".{0,200}", 2..40)) {
            let whole = body(names.into_iter());
            let [first, second] = halves(&whole).unwrap();
            let mut both = pieces(&first.body);
            prop_assert_eq!(both.len(), first.spans as usize);
            both.extend(pieces(&second.body));
            prop_assert_eq!(both.len(), (first.spans + second.spans) as usize);
            prop_assert_eq!(both, pieces(&whole));
            prop_assert!(first.spans - second.spans <= 1);
        }

        #[test]
        fn any_bytes_are_halved_without_harm(
            mut body in prop::collection::vec(any::<u8>(), 0..300),
            break_at in any::<prop::sample::Index>(),
            to in any::<u8>(),
        ) {
            halves(&body);
            body = numbered(5);
            let at = break_at.index(body.len());
            body[at] = to;
            halves(&body);
        }
    }
}
