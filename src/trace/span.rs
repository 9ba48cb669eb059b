//! Makes one OTLP span of one finished node, of a finished run, or of the start
//! of a run.

use opentelemetry::trace::SpanKind;

use super::content::cut;
use super::events::{self, EventWriter, Happened};
use super::node;
use super::otlp::{Head, SpanWriter, Status};
use super::root;
pub use super::settings::TraceSettings;
use super::sheet::Sheet;
use super::verdict::Verdict;
use super::{ids, semconv};
use crate::limits::{NAME_BYTES_MAX, SPAN_BYTES_MAX};
use crate::run::finished::{FinishedNode, FinishedRun, RunMeta};
use crate::run::identity::Identity;
use crate::wire::time::Time;

/// Makes spans, each as one encoded `Span` message without a tag around it. What
/// it returns stands until the next call.
#[derive(Debug)]
pub struct SpanMaker {
    settings: TraceSettings,
    out: Vec<u8>,
    events: EventWriter,
}

impl SpanMaker {
    /// A maker with empty buffers.
    pub fn new(settings: TraceSettings) -> Self {
        Self {
            settings,
            out: Vec::new(),
            events: EventWriter::default(),
        }
    }

    /// The span of a node.
    pub fn node(&mut self, run: &RunMeta, node: &FinishedNode) -> &[u8] {
        let verdict = Verdict::of_node(node, &self.settings.content);
        let (prefix, name) = node::name(node);
        let mut span = SpanWriter::begin(
            &mut self.out,
            &Head {
                trace_id: &run.trace_id,
                span_id: ids::span_id(&run.trace_id, &node.identity),
                parent: Some(ids::span_id(&run.trace_id, &node.parent)),
                name: &title(prefix, &name),
                kind: node::kind(node),
                start: node.start,
                end: node.end,
            },
        );
        let mut sheet = Sheet::new(span.attributes(), &self.settings);
        node::attributes(&mut sheet, node, &verdict);
        let dropped = sheet.dropped();
        span.dropped_attributes(dropped);
        let happened = Happened {
            streams: node.streams.as_deref(),
            notes: &node.notes,
            verdict: &verdict,
            end: node.end,
        };
        self.events.write(&mut span, &self.settings, &happened);
        events::links(&mut span, &run.trace_id, &node.links);
        span.finish(verdict.status());
        self.finished()
    }

    /// The root span of a run.
    pub fn root(&mut self, run: &RunMeta, finished: &FinishedRun) -> &[u8] {
        let verdict = Verdict::of_run(finished, &self.settings.content);
        let mut span = SpanWriter::begin(
            &mut self.out,
            &Head {
                trace_id: &run.trace_id,
                span_id: ids::span_id(&run.trace_id, &Identity::ROOT),
                parent: None,
                name: &title(semconv::INVOKE_WORKFLOW, &run.workflow),
                kind: SpanKind::Internal,
                start: finished.start,
                end: finished.end,
            },
        );
        let mut sheet = Sheet::new(span.attributes(), &self.settings);
        root::attributes(&mut sheet, run, finished, &verdict);
        let dropped = sheet.dropped();
        span.dropped_attributes(dropped);
        let happened = Happened {
            streams: None,
            notes: &finished.notes,
            verdict: &verdict,
            end: finished.end,
        };
        self.events.write(&mut span, &self.settings, &happened);
        events::links(&mut span, &run.trace_id, &finished.links);
        span.finish(verdict.status());
        self.finished()
    }

    /// The span without length that says that a run has started.
    pub fn marker(&mut self, run: &RunMeta, start: Time) -> &[u8] {
        let mut span = SpanWriter::begin(
            &mut self.out,
            &Head {
                trace_id: &run.trace_id,
                span_id: ids::marker_id(&run.trace_id),
                parent: Some(ids::span_id(&run.trace_id, &Identity::ROOT)),
                name: &title("run started", &run.workflow),
                kind: SpanKind::Internal,
                start,
                end: start,
            },
        );
        root::marker_attributes(&mut Sheet::new(span.attributes(), &self.settings), run);
        span.finish(Status::Unset);
        self.finished()
    }

    fn finished(&self) -> &[u8] {
        debug_assert!(self.out.len() <= SPAN_BYTES_MAX, "{} bytes", self.out.len());
        &self.out
    }
}

/// A span's name in parts: what it does, and to what, where that is known.
fn title<'a>(prefix: &'a str, name: &'a str) -> [&'a str; 3] {
    match (prefix, name) {
        (prefix, "") => [prefix, "", ""],
        ("", name) => [cut(name, NAME_BYTES_MAX), "", ""],
        (prefix, name) => [prefix, " ", cut(name, NAME_BYTES_MAX)],
    }
}
