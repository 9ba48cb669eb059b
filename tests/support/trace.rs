//! Traces as a person reads them: a tree of spans with times and attributes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use runtrail::trace::batch::Batch;

/// The spans of batches, in the order in which they were sent.
pub fn spans(batches: &[Batch]) -> Vec<Span> {
    let mut spans = Vec::new();
    for batch in batches {
        let request = ExportTraceServiceRequest::decode(&batch.body[..]).expect("a request");
        for resource in request.resource_spans {
            for scope in resource.scope_spans {
                spans.extend(scope.spans);
            }
        }
    }
    assert_eq!(
        spans.len() as u32,
        batches.iter().map(|b| b.spans).sum::<u32>()
    );
    spans
}

/// What must be true of any set of spans.
pub fn check(spans: &[Span]) {
    let ids: BTreeSet<(&[u8], &[u8])> = spans
        .iter()
        .map(|span| (&span.trace_id[..], &span.span_id[..]))
        .collect();
    assert_eq!(ids.len(), spans.len(), "no id twice");
    for span in spans {
        assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
        assert!(
            span.start_time_unix_nano <= span.end_time_unix_nano,
            "{}",
            span.name
        );
        assert!(span.events.len() <= 128, "{}", span.name);
        let root = span.parent_span_id.is_empty();
        let has_parent = ids.contains(&(&span.trace_id[..], &span.parent_span_id[..]));
        assert!(root || has_parent, "{} has no parent", span.name);
    }
}

/// The attribute of a span as text, if it has it.
pub fn attribute(span: &Span, key: &str) -> Option<String> {
    span.attributes
        .iter()
        .find(|a| a.key == key)
        .map(|a| text(a.value.as_ref()))
}

/// The spans as trees, one a trace, children in the order of their starts.
pub fn tree(spans: &[Span]) -> String {
    let begin = spans
        .iter()
        .map(|span| span.start_time_unix_nano)
        .min()
        .unwrap_or_default();
    let mut children: BTreeMap<&[u8], Vec<&Span>> = BTreeMap::new();
    let mut names: BTreeMap<&[u8], &str> = BTreeMap::new();
    for span in spans {
        children.entry(&span.parent_span_id).or_default().push(span);
        names.insert(&span.span_id, &span.name);
    }
    for siblings in children.values_mut() {
        siblings.sort_by_key(|span| (span.start_time_unix_nano, span.name.clone(), &span.span_id));
    }
    let mut out = String::new();
    let tree = Tree {
        begin,
        children,
        names,
    };
    for root in tree.children.get(&[][..]).into_iter().flatten() {
        let trace: String = root.trace_id.iter().map(|b| format!("{b:02x}")).collect();
        writeln!(out, "trace {trace}").expect("a text takes it");
        tree.write(root, 0, &mut out);
    }
    out
}

struct Tree<'s> {
    begin: u64,
    children: BTreeMap<&'s [u8], Vec<&'s Span>>,
    names: BTreeMap<&'s [u8], &'s str>,
}

impl Tree<'_> {
    fn write(&self, span: &Span, depth: usize, out: &mut String) {
        let pad = "  ".repeat(depth);
        let kind = if span.kind == 3 { " CLIENT" } else { "" };
        let status = match span.status.as_ref().map(|s| (s.code, s.message.as_str())) {
            None | Some((0, "")) => String::new(),
            Some((2, message)) => format!(" ERROR {message:?}"),
            Some((code, message)) => format!(" {code} {message:?}"),
        };
        let times = format!(
            "{} .. {}",
            self.ms(span.start_time_unix_nano),
            self.ms(span.end_time_unix_nano)
        );
        writeln!(out, "{pad}{}{kind}  [{times}]{status}", span.name).expect("a text takes it");
        write_attributes(&span.attributes, &format!("{pad}    "), out);
        for event in &span.events {
            let at = self.ms(event.time_unix_nano);
            write!(out, "{pad}    * {at} {}", event.name).expect("a text takes it");
            let told: Vec<String> = event
                .attributes
                .iter()
                .map(|a| format!("{}={}", a.key, text(a.value.as_ref())))
                .collect();
            let told = told.join(" ");
            writeln!(out, "{}{told}", if told.is_empty() { "" } else { ": " })
                .expect("a text takes it");
        }
        if span.dropped_events_count > 0 {
            writeln!(out, "{pad}    ({} more events)", span.dropped_events_count)
                .expect("a text takes it");
        }
        for link in &span.links {
            let to = self
                .names
                .get(&link.span_id[..])
                .copied()
                .unwrap_or("another trace");
            let why: Vec<String> = link
                .attributes
                .iter()
                .map(|a| text(a.value.as_ref()))
                .collect();
            writeln!(out, "{pad}    -> {to} ({})", why.join(" ")).expect("a text takes it");
        }
        for child in self.children.get(&span.span_id[..]).into_iter().flatten() {
            self.write(child, depth + 1, out);
        }
    }

    fn ms(&self, nanos: u64) -> String {
        let ms = (nanos - self.begin.min(nanos)) / 1_000_000;
        format!("{}.{:03}s", ms / 1000, ms % 1000)
    }
}

fn write_attributes(attributes: &[KeyValue], pad: &str, out: &mut String) {
    for attribute in attributes {
        writeln!(
            out,
            "{pad}{} = {}",
            attribute.key,
            text(attribute.value.as_ref())
        )
        .expect("a text takes it");
    }
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(n)) => n.to_string(),
        Some(Value::DoubleValue(n)) => n.to_string(),
        Some(Value::BoolValue(b)) => b.to_string(),
        Some(Value::ArrayValue(list)) => {
            let items: Vec<String> = list.values.iter().map(|item| text(Some(item))).collect();
            format!("[{}]", items.join(", "))
        }
        other => format!("{other:?}"),
    }
}
