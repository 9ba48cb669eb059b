//! Builders for the tests of this folder, and spans as tests like to read them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use super::content::ContentPolicy;
use super::span::{SpanMaker, TraceSettings};
use crate::run::finished::{
    Assembled, FinishedNode, FinishedRun, Marks, NoteRecord, Notes, RunMeta, Streams, Verified,
};
use crate::run::identity::{Identity, Path};
use crate::run::summary::{Durations, RunSummary, TaskCounts};
use crate::wire::event::{
    Content, Fact, FactKey, FactValue, Fault, NodeKind, NodeOutcome, NoteKind, RunOutcome, Usage,
};
use crate::wire::rows::{RowOfRun, RowStatus};
use crate::wire::time::Time;

pub(super) const START: Time = Time(1_778_149_422_000_000_000);

pub(super) fn at(millis: u64) -> Time {
    START.plus(Duration::from_millis(millis))
}

pub(super) fn run() -> RunMeta {
    RunMeta {
        trace_id: *b"0123456789abcdef",
        system: "akribes",
        source: "test".into(),
        project: Some(7),
        workflow: "review".into(),
        run_id: "exec-99".into(),
    }
}

pub(super) fn identity(kind: NodeKind, name: &str) -> Identity {
    Identity {
        path: Path::ROOT.step(kind, &[name]),
        at: START,
        ordinal: 0,
    }
}

pub(crate) fn node(kind: NodeKind, name: &str) -> FinishedNode {
    FinishedNode {
        identity: identity(kind, name),
        parent: Identity::ROOT,
        kind,
        name: name.into(),
        key: None,
        start: at(0),
        end: at(1_500),
        marks: Marks::default(),
        outcome: NodeOutcome::Success,
        run_outcome: None,
        duration: None,
        attempt: None,
        usage: None,
        error: None,
        facts: Vec::new(),
        streams: None,
        time_to_first_chunk: None,
        notes: Notes::default(),
        links: Vec::new(),
        cached: false,
        validation_failures: 0,
        escalated: false,
        calls: 1,
        had_children: false,
        end_seen: true,
    }
}

impl FinishedNode {
    pub(super) fn fact(mut self, key: FactKey, value: impl Into<FactValue<'static>>) -> Self {
        self.facts.push(fact(key, value));
        self
    }

    pub(super) fn key(mut self, key: &str) -> Self {
        self.key = Some(key.into());
        self
    }

    pub(super) fn failed(mut self, error: Option<Fault<'static>>) -> Self {
        self.outcome = NodeOutcome::Failed;
        self.error = error;
        self
    }

    pub(super) fn note(mut self, millis: u64, kind: NoteKind, facts: Vec<Fact<'static>>) -> Self {
        self.notes.kept.push(note(millis, kind, facts));
        self
    }

    pub(super) fn streams(mut self, streams: Streams) -> Self {
        self.streams = Some(Box::new(streams));
        self
    }

    pub(super) fn usage(mut self, usage: Usage<'static>) -> Self {
        self.usage = Some(usage);
        self
    }
}

pub(super) fn fact(key: FactKey, value: impl Into<FactValue<'static>>) -> Fact<'static> {
    Fact {
        key,
        value: value.into(),
    }
}

pub(super) fn note(millis: u64, kind: NoteKind, facts: Vec<Fact<'static>>) -> NoteRecord {
    NoteRecord {
        at: at(millis),
        kind,
        facts,
    }
}

impl From<i64> for FactValue<'static> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for FactValue<'static> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&'static str> for FactValue<'static> {
    fn from(value: &'static str) -> Self {
        Self::Text(value.into())
    }
}

impl From<&[&'static str]> for FactValue<'static> {
    fn from(values: &[&'static str]) -> Self {
        Self::Texts(values.iter().map(|value| (*value).into()).collect())
    }
}

impl From<Content<'static>> for FactValue<'static> {
    fn from(content: Content<'static>) -> Self {
        Self::Content(content)
    }
}

pub(super) fn content(text: &str) -> Content<'static> {
    Content {
        bytes: text.len() as u64,
        text: Some(text.to_owned().into()),
    }
}

pub(super) fn assembled(text: &str) -> Option<Assembled> {
    Some(Assembled {
        text: text.into(),
        truncated: false,
    })
}

pub(super) fn usage() -> Usage<'static> {
    Usage {
        provider: "gemini".into(),
        model: "flash".into(),
        input_tokens: 120,
        output_tokens: 30,
        cache_read_tokens: 100,
        cache_write_tokens: 10,
        cache_write_5m_tokens: 10,
        cache_write_1h_tokens: 0,
        reasoning_tokens: 5,
        finish_reason: Some("STOP".into()),
        cost_usd: None,
    }
}

pub(super) fn fault(kind: &'static str, code: Option<&'static str>) -> Fault<'static> {
    Fault {
        kind: Some(kind.into()),
        code: code.map(Into::into),
        message: "it broke, token=abc".into(),
    }
}

pub(super) fn finished_run(outcome: RunOutcome) -> FinishedRun {
    FinishedRun {
        facts: None,
        cost: Default::default(),
        verified: Verified::Match,
        start: at(0),
        end: at(9_000),
        marks: Marks::default(),
        outcome,
        error: None,
        output: None,
        notes: Notes::default(),
        links: Vec::new(),
        restarts: 0,
        summary: RunSummary {
            execution_id: "exec-99".into(),
            trace_id: [0; 16],
            output: None,
            cost: None,
            duration: Durations {
                total_ms: 9_000,
                per_task_ms: BTreeMap::new(),
            },
            tasks: TaskCounts::default(),
            system: "akribes",
            project: Some(7),
            workflow: Arc::from("review"),
            outcome: outcome.as_str(),
            error: None,
            started_at: Time::ZERO,
            finished_at: None,
            tokens: Vec::new(),
            verified: "match",
        },
    }
}

/// A row that tells no more than it must, and a cost that nobody knows.
pub(super) fn row() -> RowOfRun {
    RowOfRun {
        id: "exec-99".to_owned(),
        project: Some(7),
        workflow: "review".to_owned(),
        status: RowStatus::Ended(RunOutcome::Success),
        started_at: None,
        finished_at: None,
        cost_usd: Some(0.0),
        input_tokens: None,
        output_tokens: None,
        parent: None,
        triggered_by: None,
        channel: None,
        version: None,
        error: None,
        error_kind: None,
    }
}

pub(super) fn settings(capture: bool, openinference: bool) -> TraceSettings {
    TraceSettings {
        openinference,
        content: ContentPolicy::new(capture, &[] as &[&str], 16 << 10).unwrap(),
    }
}

/// The span of a node, without capture.
pub(super) fn span(node: &FinishedNode) -> Read {
    Read::new(SpanMaker::new(settings(false, false)).node(&run(), node))
}

/// The span of a node, with capture and OpenInference.
pub(super) fn captured(node: &FinishedNode) -> Read {
    Read::new(SpanMaker::new(settings(true, true)).node(&run(), node))
}

/// A span, as tests read it.
#[derive(Debug)]
pub(super) struct Read {
    pub span: Span,
    pub attributes: BTreeMap<String, String>,
}

impl Read {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let span = Span::decode(bytes).unwrap();
        Self {
            attributes: attributes(&span.attributes),
            span,
        }
    }

    /// An attribute in short: texts in quotes, numbers and lists as JSON has them.
    #[track_caller]
    pub(super) fn get(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("absent", String::as_str)
    }

    #[track_caller]
    pub(super) fn has(&self, expected: &[(&str, &str)]) -> &Self {
        for (name, value) in expected {
            assert_eq!(self.get(name), *value, "{name} in {:#?}", self.attributes);
        }
        self
    }

    #[track_caller]
    pub(super) fn lacks(&self, prefixes: &[&str]) -> &Self {
        for (name, value) in &self.attributes {
            let found = prefixes.iter().find(|prefix| name.starts_with(**prefix));
            assert_eq!(found, None, "{name} = {value}");
        }
        self
    }

    pub(super) fn event_names(&self) -> Vec<&str> {
        self.span
            .events
            .iter()
            .map(|event| event.name.as_str())
            .collect()
    }

    pub(super) fn event(&self, place: usize) -> BTreeMap<String, String> {
        attributes(&self.span.events[place].attributes)
    }

    pub(super) fn is_client(&self) -> bool {
        self.span.kind == 3
    }

    /// The status code, and its message.
    pub(super) fn status(&self) -> (i32, &str) {
        let status = self.span.status.as_ref().unwrap();
        (status.code, &status.message)
    }
}

/// Attributes by name; no name may stand twice.
pub(super) fn attributes(list: &[KeyValue]) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    for attribute in list {
        let value = short(attribute.value.as_ref().unwrap());
        let before = map.insert(attribute.key.clone(), value);
        assert_eq!(before, None, "{} stands twice", attribute.key);
    }
    map
}

fn short(value: &AnyValue) -> String {
    match value.value.as_ref().unwrap() {
        Value::StringValue(text) => format!("'{text}'"),
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(truth) => truth.to_string(),
        Value::DoubleValue(number) => format!("{number:?}"),
        Value::ArrayValue(array) => {
            let values: Vec<_> = array.values.iter().map(short).collect();
            format!("[{}]", values.join(","))
        }
        other => panic!("{other:?}"),
    }
}
