//! Spans become request bodies: each an encoded `ExportTraceServiceRequest` of
//! one resource and one scope.
//!
//! A span is encoded once, elsewhere; here it only gets its length before it.
//! What stands around the spans is encoded once for all bodies.
//!
//! Calling order: [`Batcher::push`] any number of spans, then [`Batcher::poll`]
//! until it gives nothing; poll again at [`Batcher::next_deadline`]. At the end,
//! [`Batcher::flush`] until it gives nothing.

use std::collections::VecDeque;
use std::time::Duration;

use super::otlp::{Attributes, bytes_field, length_prefix, nested_size};
use super::semconv;
use crate::limits::Limits;
use crate::wire::time::Time;

/// Whose spans they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResourceInfo {
    /// `service.name`.
    pub service_name: String,
    /// `service.instance.id`: the source's name.
    pub service_instance_id: String,
    /// Further attributes. Of two with one name the later one counts; the two
    /// above count before any.
    pub attributes: Vec<(String, String)>,
}

/// A finished body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// An encoded `ExportTraceServiceRequest`.
    pub body: Vec<u8>,
    /// How many spans it holds.
    pub spans: u32,
    /// All spans born at this place in the order of inputs, or before it, are in
    /// this batch or an earlier one.
    pub through: u64,
    /// Whether that is so: if not, a part of them follows in the next one.
    pub is_last: bool,
}

impl Batch {
    /// A batch that belongs to no order of inputs.
    pub const fn new(body: Vec<u8>, spans: u32) -> Self {
        Self {
            body,
            spans,
            through: 0,
            is_last: true,
        }
    }
}

impl Batch {
    /// What is complete once this batch is, and those that it goes with.
    pub const fn given_through(&self) -> u64 {
        if self.is_last {
            self.through
        } else {
            // All of it is there with a later one.
            self.through + 1
        }
    }
}

/// Gathers spans until they make a full body, or have waited long enough.
#[derive(Debug)]
pub struct Batcher {
    frame: Frame,
    body_bytes_max: usize,
    age_max: Duration,
    /// Spans with their lengths before them.
    pending: Vec<u8>,
    pending_spans: u32,
    /// When the first of them came.
    pending_since: Time,
    /// Where the newest of them was born.
    born: u64,
    /// All that is born of inputs up to here has come.
    settled: u64,
    closed: VecDeque<Batch>,
    oversized: u64,
}

impl Batcher {
    /// An empty one.
    pub fn new(resource: &ResourceInfo, limits: &Limits) -> Self {
        Self {
            frame: Frame::new(resource),
            body_bytes_max: limits.batch_bytes_max,
            age_max: limits.batch_age_max,
            pending: Vec::new(),
            pending_spans: 0,
            pending_since: Time::ZERO,
            born: 0,
            settled: 0,
            closed: VecDeque::new(),
            oversized: 0,
        }
    }

    /// Takes one encoded span, without a tag around it, that was born of the input
    /// at this place in the order of all.
    ///
    /// No body is larger than `batch_bytes_max`, but for a span that alone is:
    /// it is not lost, it travels alone and is counted, and the backend decides.
    /// A span is at most [`SPAN_BYTES_MAX`](crate::limits::SPAN_BYTES_MAX), so
    /// this takes a far too small `batch_bytes_max` or resource attributes of
    /// megabytes.
    pub fn push(&mut self, span: &[u8], born: u64, now: Time) {
        // With the first span of an input, those of the one before have all come.
        if born > self.born {
            self.settled = self.settled.max(self.born);
        }
        let size = nested_size(span.len());
        if self.frame.body_size(self.pending.len() + size) > self.body_bytes_max {
            self.close();
        }
        if self.pending_spans == 0 {
            self.pending_since = now;
            let is_oversized = self.frame.body_size(size) > self.body_bytes_max;
            self.oversized += u64::from(is_oversized);
        }
        self.born = born;
        bytes_field(&mut self.pending, SPANS, span);
        self.pending_spans += 1;
    }

    /// All spans that are born of the inputs up to this place have come.
    pub const fn settled(&mut self, position: u64) {
        self.settled = position;
    }

    /// The next body that is full or old enough.
    pub fn poll(&mut self, now: Time) -> Option<Batch> {
        if self.closed.is_empty() && self.deadline().is_some_and(|deadline| deadline <= now) {
            self.close();
        }
        self.closed.pop_front()
    }

    /// The next body that is full.
    pub fn poll_full(&mut self) -> Option<Batch> {
        self.closed.pop_front()
    }

    /// The next body, be it full or not.
    pub fn flush(&mut self) -> Option<Batch> {
        if self.closed.is_empty() {
            self.close();
        }
        self.closed.pop_front()
    }

    /// When to poll next: at once, which is [`Time::ZERO`], while a full body
    /// waits; else when what is pending is old enough.
    pub fn next_deadline(&self) -> Option<Time> {
        match self.closed.is_empty() {
            true => self.deadline(),
            false => Some(Time::ZERO),
        }
    }

    /// Whether nothing waits to be taken.
    pub fn is_empty(&self) -> bool {
        self.pending_spans == 0 && self.closed.is_empty()
    }

    /// How many spans were larger than a whole body may be.
    pub fn oversized(&self) -> u64 {
        self.oversized
    }

    fn deadline(&self) -> Option<Time> {
        (self.pending_spans > 0).then(|| self.pending_since.plus(self.age_max))
    }

    fn close(&mut self) {
        if self.pending_spans > 0 {
            self.closed.push_back(Batch {
                body: self.frame.body(&self.pending),
                spans: self.pending_spans,
                through: self.settled,
                is_last: self.settled >= self.born,
            });
            self.pending.clear();
            self.pending_spans = 0;
        }
    }
}

/// `ScopeSpans.spans`.
const SPANS: u8 = 2;

/// What stands around the spans of every body.
#[derive(Debug)]
struct Frame {
    /// `ResourceSpans.resource`.
    resource: Vec<u8>,
    /// `ScopeSpans.scope`.
    scope: Vec<u8>,
    /// `schema_url`, which both messages have under the same number.
    schema: Vec<u8>,
}

impl Frame {
    fn new(info: &ResourceInfo) -> Self {
        let mut attributes = Vec::new();
        let mut to = Attributes::of_resource(&mut attributes);
        let own = [
            (semconv::SERVICE_NAME, info.service_name.as_str()),
            (
                semconv::SERVICE_INSTANCE_ID,
                info.service_instance_id.as_str(),
            ),
        ];
        for (name, value) in own {
            to.text(name, value);
        }
        for (place, (name, value)) in info.attributes.iter().enumerate() {
            let mut later = info.attributes[place + 1..].iter();
            let is_own = own.iter().any(|(own, _)| own == name);
            if !is_own && later.all(|(other, _)| other != name) {
                to.text(name, value);
            }
        }
        let mut resource = Vec::new();
        bytes_field(&mut resource, 1, &attributes);

        let mut fields = Vec::new();
        bytes_field(&mut fields, 1, semconv::SCOPE_NAME.as_bytes());
        bytes_field(&mut fields, 2, env!("CARGO_PKG_VERSION").as_bytes());
        let mut scope = Vec::new();
        bytes_field(&mut scope, 1, &fields);

        let mut schema = Vec::new();
        bytes_field(&mut schema, 3, semconv::SCHEMA_URL.as_bytes());
        Self {
            resource,
            scope,
            schema,
        }
    }

    fn scope_spans_size(&self, spans: usize) -> usize {
        self.scope.len() + spans + self.schema.len()
    }

    fn resource_spans_size(&self, spans: usize) -> usize {
        self.resource.len() + nested_size(self.scope_spans_size(spans)) + self.schema.len()
    }

    /// How large a body is with so many bytes of spans in it.
    fn body_size(&self, spans: usize) -> usize {
        nested_size(self.resource_spans_size(spans))
    }

    fn body(&self, spans: &[u8]) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.body_size(spans.len()));
        length_prefix(&mut body, 1, self.resource_spans_size(spans.len()));
        body.extend_from_slice(&self.resource);
        length_prefix(&mut body, 2, self.scope_spans_size(spans.len()));
        body.extend_from_slice(&self.scope);
        body.extend_from_slice(spans);
        body.extend_from_slice(&self.schema);
        body.extend_from_slice(&self.schema);
        body
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::trace::v1::Span;
    use proptest::prelude::*;
    use prost::Message;

    use super::super::testkit::attributes;
    use super::*;

    fn batcher(batch_bytes_max: usize) -> Batcher {
        let resource = ResourceInfo {
            service_name: "akribes".into(),
            service_instance_id: "prod".into(),
            attributes: [("env", "old"), ("service.name", "other"), ("env", "new")]
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
        };
        Batcher::new(
            &resource,
            &Limits {
                batch_bytes_max,
                ..Limits::default()
            },
        )
    }

    fn span(name: &str) -> Span {
        Span {
            name: name.into(),
            ..Span::default()
        }
    }

    fn names(batch: &Batch) -> Vec<String> {
        let request = ExportTraceServiceRequest::decode(&batch.body[..]).unwrap();
        let spans = &request.resource_spans[0].scope_spans[0].spans;
        assert_eq!(spans.len(), batch.spans as usize);
        spans.iter().map(|span| span.name.clone()).collect()
    }

    #[test]
    fn a_body_says_whose_spans_they_are_and_by_which_conventions() {
        let mut batcher = batcher(10_000);
        batcher.push(&span("a").encode_to_vec(), 0, Time(1));
        let body = batcher.flush().unwrap().body;
        let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
        assert_eq!(request.encode_to_vec(), body, "down to the byte");
        let resource_spans = &request.resource_spans[0];
        let resource = attributes(&resource_spans.resource.as_ref().unwrap().attributes);
        assert_eq!(resource["service.name"], "'akribes'");
        assert_eq!(resource["service.instance.id"], "'prod'");
        assert_eq!(resource["env"], "'new'");
        assert_eq!(resource.len(), 3);
        let scope_spans = &resource_spans.scope_spans[0];
        let scope = scope_spans.scope.as_ref().unwrap();
        assert_eq!(
            (scope.name.as_str(), scope.version.as_str()),
            ("runtrail", env!("CARGO_PKG_VERSION"))
        );
        assert_eq!(resource_spans.schema_url, semconv::SCHEMA_URL);
        assert_eq!(scope_spans.schema_url, semconv::SCHEMA_URL);
        assert_eq!(scope_spans.spans, [span("a")]);
    }

    #[test]
    fn a_batch_closes_by_the_age_of_its_first_span() {
        let age = Limits::default().batch_age_max;
        let mut batcher = batcher(10_000);
        assert_eq!(batcher.next_deadline(), None);
        batcher.push(&span("a").encode_to_vec(), 0, Time(5));
        batcher.push(&span("b").encode_to_vec(), 0, Time(900));
        let deadline = Time(5).plus(age);
        assert_eq!(batcher.next_deadline(), Some(deadline));
        assert_eq!(batcher.poll(Time(deadline.0 - 1)), None);
        assert_eq!(names(&batcher.poll(deadline).unwrap()), ["a", "b"]);
        assert_eq!(batcher.next_deadline(), None);
        assert!(batcher.is_empty());
        assert_eq!(batcher.flush(), None);
    }

    #[test]
    fn a_full_batch_is_to_be_taken_at_once() {
        let mut batcher = batcher(600);
        for name in ["a", "b", "c"] {
            batcher.push(&span(&name.repeat(150)).encode_to_vec(), 0, Time(5));
        }
        assert_eq!(batcher.next_deadline(), Some(Time::ZERO));
        assert_eq!(batcher.poll(Time(5)).unwrap().spans, 2);
        assert_eq!(batcher.poll(Time(5)), None);
        assert_eq!(batcher.flush().unwrap().spans, 1);
    }

    #[test]
    fn a_span_larger_than_a_body_travels_alone_and_is_counted() {
        let mut batcher = batcher(600);
        for size in [10, 900, 10] {
            batcher.push(&span(&"x".repeat(size)).encode_to_vec(), 0, Time(5));
        }
        let spans: Vec<_> = std::iter::from_fn(|| batcher.flush())
            .map(|batch| batch.spans)
            .collect();
        assert_eq!(spans, [1, 1, 1]);
        assert_eq!(batcher.oversized(), 1);
    }

    proptest! {
        #[test]
        fn every_span_comes_out_once_in_order_and_no_body_is_too_large(
            sizes in prop::collection::vec(0usize..900, 1..60),
            body_bytes_max in 1_200usize..20_000,
            poll_every in 1usize..10,
        ) {
            let mut batcher = batcher(body_bytes_max);
            let mut batches = Vec::new();
            for (i, size) in sizes.iter().enumerate() {
                let name = format!("{i}{}", "x".repeat(*size));
                batcher.push(&span(&name).encode_to_vec(), 0, Time(i as u64));
                if i % poll_every == 0 {
                    batches.extend(std::iter::from_fn(|| batcher.poll(Time(i as u64))));
                }
            }
            batches.extend(std::iter::from_fn(|| batcher.flush()));
            prop_assert!(batches.iter().all(|batch| batch.body.len() <= body_bytes_max));
            let out: Vec<_> = batches.iter().flat_map(names).map(|name| name.len()).collect();
            let expected: Vec<_> = sizes.iter().enumerate().map(|(i, n)| i.to_string().len() + n).collect();
            prop_assert_eq!(out, expected);
            prop_assert_eq!(batcher.oversized(), 0);
            // Nothing would have fitted into an earlier body.
            for pair in batches.windows(2) {
                let first = ExportTraceServiceRequest::decode(&pair[1].body[..]).unwrap();
                let first = first.resource_spans[0].scope_spans[0].spans[0].encoded_len();
                prop_assert!(pair[0].body.len() + nested_size(first) + 4 > body_bytes_max);
            }
        }
    }
}
