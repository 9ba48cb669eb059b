//! What must be true of all spans that come out of the core.

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use runtrail::limits::{SPAN_BYTES_MAX, SPAN_EVENTS_MAX, SPAN_LINKS_MAX};
use runtrail::trace::batch::Batch;
use rustc_hash::FxHashMap;

/// All spans so far, by trace and span id.
#[derive(Debug, Default)]
pub struct Spans {
    by_id: FxHashMap<(Vec<u8>, Vec<u8>), Span>,
    roots: BTreeSet<Vec<u8>>,
}

impl Spans {
    /// Looks at one batch.
    pub fn look_at(&mut self, batch: &Batch) {
        let request = ExportTraceServiceRequest::decode(&batch.body[..]).expect("a request");
        let mut count = 0;
        for resource in request.resource_spans {
            for scope in resource.scope_spans {
                for span in scope.spans {
                    count += 1;
                    self.one(span);
                }
            }
        }
        assert_eq!(count, batch.spans, "a batch counts its spans");
    }

    /// Nothing more will come: what has a parent, has it in its trace.
    pub fn finish(&self) {
        for ((trace, _), span) in &self.by_id {
            let parent = (trace.clone(), span.parent_span_id.clone());
            assert!(
                span.parent_span_id.is_empty() || self.by_id.contains_key(&parent),
                "an orphan: {span:?}"
            );
        }
    }

    fn one(&mut self, span: Span) {
        assert!(span.trace_id.len() == 16 && span.trace_id != [0; 16]);
        assert!(span.span_id.len() == 8 && span.span_id != [0; 8]);
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        assert!(span.events.len() <= SPAN_EVENTS_MAX);
        assert!(span.links.len() <= SPAN_LINKS_MAX);
        assert!(span.encoded_len() <= SPAN_BYTES_MAX);
        assert!(!span.name.is_empty());
        if span.parent_span_id.is_empty() {
            assert!(
                self.roots.insert(span.trace_id.clone()),
                "a second root: {span:?}"
            );
        } else {
            assert_eq!(span.parent_span_id.len(), 8);
            assert_ne!(span.parent_span_id, span.span_id);
        }
        let id = (span.trace_id.clone(), span.span_id.clone());
        if let Some(before) = self.by_id.insert(id, span.clone()) {
            assert_eq!(before, span, "one id, two spans");
        }
    }
}
