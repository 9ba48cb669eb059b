//! What the table of runs says becomes spans, summaries and deltas.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;

use super::{CoreSettings, Selection};
use crate::metrics::delta::{Delta, Deltas, Exemplar, ModelTokens};
use crate::run::cost::RunCost;
use crate::run::finished::{FinishedNode, FinishedRun, RunMeta};
use crate::run::identity::Identity;
use crate::run::outputs::{Due, Output, RunSlot};
use crate::run::standing::WaitKind;
use crate::run::summary::RunSummary;
use crate::trace::batch::{Batch, Batcher};
use crate::trace::content::{ContentPolicy, REDACTED};
use crate::trace::ids;
use crate::trace::span::SpanMaker;
use crate::wire::event::{FactKey, FactValue, NodeKind};
use crate::wire::rejection::Rejection;
use crate::wire::time::Time;

/// Makes of outputs what leaves the core.
#[derive(Debug)]
pub(super) struct Digest {
    spans: SpanMaker,
    policy: ContentPolicy,
    batcher: Batcher,
    markers: bool,
    selection: Selection,
    /// The place of the input that is being taken, in the order of all.
    position: u64,
    /// Spans born at it or before are in safety already.
    discard_through: u64,
    pub(super) batches: VecDeque<Batch>,
    pub(super) summaries: VecDeque<RunSummary>,
    pub(super) deltas: Deltas,
}

impl Digest {
    pub(super) fn new(settings: &CoreSettings, event_types: usize) -> Self {
        Self {
            policy: settings.trace.content.clone(),
            spans: SpanMaker::new(settings.trace.clone()),
            batcher: Batcher::new(&settings.resource, &settings.limits),
            markers: settings.markers,
            selection: settings.selection.clone(),
            position: 0,
            discard_through: 0,
            batches: VecDeque::new(),
            summaries: VecDeque::new(),
            deltas: Deltas {
                events_by_type: vec![0; event_types],
                ..Deltas::default()
            },
        }
    }

    /// Takes what the table said, in order.
    pub(super) fn take(&mut self, outputs: &mut Vec<Output>, now: Time) {
        for output in outputs.drain(..) {
            self.one(output, now);
        }
        while let Some(batch) = self.batcher.poll_full() {
            self.batches.push_back(batch);
        }
    }

    /// Time goes by: a batch may be old enough.
    pub(super) fn tick(&mut self, now: Time) {
        while let Some(batch) = self.batcher.poll(now) {
            self.batches.push_back(batch);
        }
    }

    /// Closes the open batch.
    pub(super) fn flush(&mut self) {
        while let Some(batch) = self.batcher.flush() {
            self.batches.push_back(batch);
        }
    }

    /// Counts an event by its type.
    pub(super) fn count(&mut self, type_index: usize) {
        if let Some(count) = self.deltas.events_by_type.get_mut(type_index) {
            *count += 1;
        }
    }

    /// Counts what was not taken.
    pub(super) fn reject(&mut self, rejection: Rejection) {
        self.deltas.rejected[rejection as usize] += 1;
    }

    /// What may leave.
    pub(super) const fn policy(&self) -> &ContentPolicy {
        &self.policy
    }

    /// A summary as it may leave.
    pub(super) fn private(&self, summary: RunSummary) -> RunSummary {
        private(summary, &self.policy)
    }

    /// How old the newest event of a frame was.
    pub(super) fn delay(&mut self, delay: Duration) {
        self.deltas.in_order.push(Delta::FeedDelay(delay));
    }

    /// An input begins, at this place in the order of all.
    pub(super) const fn begin(&mut self, position: u64) {
        self.position = position;
    }

    /// All that comes of the input has been taken.
    pub(super) const fn settled(&mut self) {
        self.batcher.settled(self.position);
    }

    /// Spans born at this place or before it are in safety: they are not made again.
    pub(super) const fn discard_through(&mut self, position: u64) {
        self.discard_through = position;
    }

    /// Whether the spans of a run are sent, and have not been.
    fn is_sent(&self, meta: &RunMeta) -> bool {
        self.selection.has_trace(&meta.trace_id) && self.position > self.discard_through
    }

    /// What shows a span in the metrics. A span that waits for room is shown by
    /// nothing, since it may be lost; one that was sent in an earlier life is.
    fn exemplar(
        &self,
        meta: &RunMeta,
        identity: &Identity,
        at: Time,
        due: Due,
    ) -> Option<Exemplar> {
        let is_sent = due.has_span() && self.selection.has_trace(&meta.trace_id);
        is_sent.then(|| Exemplar {
            trace_id: meta.trace_id,
            span_id: ids::span_id(&meta.trace_id, identity),
            at,
        })
    }

    fn one(&mut self, output: Output, now: Time) {
        let delta = match output {
            Output::Started(run, meta, start) => Delta::RunStarted { run, meta, start },
            Output::Standing(run, standing) => Delta::RunStands { run, standing },
            Output::TaskStarted(run, task) => Delta::TaskStarted { run, task },
            Output::Progress(_, meta, start) => {
                if self.markers && self.is_sent(&meta) {
                    let span = self.spans.marker(&meta, start);
                    self.batcher.push(span, self.position, now);
                }
                return;
            }
            Output::Node(run, meta, node, due) => {
                if due.has_span() && self.is_sent(&meta) {
                    let span = self.spans.node(&meta, &node);
                    self.batcher.push(span, self.position, now);
                }
                if !due.counts() {
                    return;
                }
                let exemplar = || self.exemplar(&meta, &node.identity, node.end, due);
                match node_delta(run, &node, exemplar) {
                    Some(delta) => delta,
                    None => return,
                }
            }
            Output::Ended(run, meta, finished, due) => {
                if due.has_span() && self.is_sent(&meta) {
                    let span = self.spans.root(&meta, &finished);
                    self.batcher.push(span, self.position, now);
                }
                if !due.counts() {
                    return;
                }
                let exemplar = self.exemplar(&meta, &Identity::ROOT, finished.end, due);
                self.deltas
                    .in_order
                    .extend(cost_deltas(run, &finished.cost));
                let delta = run_delta(run, &finished, exemplar);
                // What is in safety was told, too.
                if self.position > self.discard_through {
                    let summary = private(finished.summary, &self.policy);
                    self.summaries.push_back(summary);
                }
                delta
            }
            Output::Lost(spans) => {
                self.deltas.spans_lost += spans;
                return;
            }
            Output::Repaired(repair) => Delta::RunRepaired {
                result: repair.as_str(),
            },
            Output::Gap(cause) => Delta::Gap {
                cause: cause.as_str(),
            },
            Output::Thinned(count) => {
                self.deltas.chunk_events_thinned += count;
                return;
            }
            Output::Rejected(rejection) => return self.reject(rejection),
        };
        self.deltas.in_order.push(delta);
    }
}

/// How long each token after the first one took, where the feed shows it: the
/// answer came in pieces, at once, and with nothing else in between.
fn time_per_output_token(node: &FinishedNode) -> Option<Duration> {
    // Of several attempts the chunks of the first one are known only.
    if node.cached || node.had_children || node.attempt.is_some_and(|attempt| attempt > 1) {
        return None;
    }
    let pieces = &node.streams.as_ref()?.pieces;
    if pieces.answer.count() + pieces.reasoning.count() < 2 {
        return None;
    }
    let usage = node.spending()?;
    // What was thought in silence was thought before the first chunk.
    let silent = match pieces.reasoning.count() {
        0 => usage.reasoning_tokens,
        _ => 0,
    };
    let others = usage.output_tokens.checked_sub(silent)?.checked_sub(1)?;
    let first = node.start.plus(node.time_to_first_chunk?);
    let nanos = node.end.since(first).as_nanos();
    let nanos = nanos.checked_div(u128::from(others))?;
    u64::try_from(nanos).ok().map(Duration::from_nanos)
}

/// What a finished node says to the metrics.
fn node_delta(
    run: RunSlot,
    node: &FinishedNode,
    exemplar: impl FnOnce() -> Option<Exemplar>,
) -> Option<Delta> {
    let duration = node.duration.unwrap_or_else(|| node.end.since(node.start));
    match node.kind {
        NodeKind::Task if node.end_seen => Some(Delta::TaskFinished {
            run,
            task: Arc::clone(&node.name),
            outcome: node.outcome,
            duration,
            attempts: node.attempt.unwrap_or(1),
            validation_failures: u64::from(node.validation_failures),
            escalated: node.escalated,
            cached: node.cached,
            tokens: node.spending().map(|usage| ModelTokens {
                provider: Arc::from(&*usage.provider),
                model: Arc::from(&*usage.model),
                input: usage.input_tokens,
                output: usage.output_tokens,
                cache_read: usage.cache_read_tokens,
                cache_write: usage.cache_write_tokens,
                reasoning: usage.reasoning_tokens,
            }),
            time_to_first_chunk: node.time_to_first_chunk,
            time_per_output_token: time_per_output_token(node),
            exemplar: exemplar(),
        }),
        NodeKind::Tool if node.end_seen => Some(Delta::ToolFinished {
            run,
            server: Arc::from(text(node, FactKey::ToolServer).unwrap_or_default()),
            tool: Arc::clone(&node.name),
            outcome: node.outcome,
            duration,
            exemplar: exemplar(),
        }),
        NodeKind::Wait => Some(Delta::WaitFinished {
            run,
            kind: WaitKind::told_as(text(node, FactKey::WaitKind)),
            duration,
        }),
        _ => None,
    }
}

fn run_delta(run: RunSlot, finished: &FinishedRun, exemplar: Option<Exemplar>) -> Delta {
    Delta::RunFinished {
        run,
        outcome: finished.outcome,
        error_type: finished
            .error
            .as_ref()
            .map(|fault| Arc::from(fault.error_type())),
        duration: finished.end.since(finished.start),
        tasks_passed: finished.summary.tasks.passed,
        tasks_failed: finished.summary.tasks.failed,
        verified: finished.verified,
        exemplar,
    }
}

/// What a finished run says of its cost.
fn cost_deltas(run: RunSlot, cost: &RunCost) -> impl Iterator<Item = Delta> {
    let basis = cost.total.map(|total| total.basis);
    let priced = cost.by_model.iter().filter_map(move |part| {
        Some(Delta::Cost {
            run,
            provider: Arc::clone(&part.provider),
            model: Arc::clone(&part.model),
            basis: basis?,
            usd: part.usd,
        })
    });
    let unpriced = cost.unpriced.iter().map(move |part| Delta::TokensUnpriced {
        run,
        provider: Arc::clone(&part.provider),
        model: Arc::clone(&part.model),
        tokens: part.tokens,
    });
    priced.chain(unpriced)
}

fn text(node: &FinishedNode, key: FactKey) -> Option<&str> {
    node.facts
        .iter()
        .find(|fact| fact.key == key)
        .and_then(|fact| match &fact.value {
            FactValue::Text(text) => Some(&**text),
            _ => None,
        })
}

/// A summary as it may leave: its error message and its output are redacted.
fn private(mut summary: RunSummary, policy: &ContentPolicy) -> RunSummary {
    if let Some(error) = &mut summary.error {
        error.message = policy.message(&error.message).into_owned();
    }
    summary.output = summary.output.and_then(|output| redacted(&output, policy));
    summary
}

/// JSON whose texts are redacted one by one, so that it stays JSON.
fn redacted(json: &RawValue, policy: &ContentPolicy) -> Option<Box<RawValue>> {
    let mut value: Value = serde_json::from_str(json.get()).ok()?;
    if !redact_texts(&mut value, policy) {
        return Some(json.to_owned());
    }
    serde_json::value::to_raw_value(&value).ok()
}

/// Whether anything had to be redacted. `Value` nests no deeper than its parser lets it.
fn redact_texts(value: &mut Value, policy: &ContentPolicy) -> bool {
    match value {
        Value::String(text) => {
            let safe = policy.redact(text).into_owned();
            let changed = safe != *text;
            *text = safe;
            changed
        }
        Value::Array(items) => items
            .iter_mut()
            .fold(false, |changed, item| redact_texts(item, policy) | changed),
        Value::Object(fields) => {
            let mut changed = false;
            let mut safe = serde_json::Map::new();
            for (name, mut field) in std::mem::take(fields) {
                // `"password": "…"` is a secret by its name.
                let plain = match &field {
                    Value::String(text) => Some(format!("{name}: {text}")),
                    Value::Number(number) => Some(format!("{name}: {number}")),
                    _ => None,
                };
                if plain.is_some_and(|plain| policy.redact(&plain) != plain) {
                    field = Value::String(REDACTED.to_owned());
                    changed = true;
                } else {
                    changed |= redact_texts(&mut field, policy);
                }
                let safe_name = policy.redact(&name).into_owned();
                changed |= safe_name != name;
                safe.insert(safe_name, field);
            }
            *fields = safe;
            changed
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_in_a_result_is_redacted_wherever_it_stands() {
        let rules: [&str; 0] = [];
        let policy = ContentPolicy::new(true, &rules, 1_000).unwrap();
        let json = json!({
            "sk-ant-api03-AbCdEf1234567890abcdef": 1,
            "password": 123456,
            "nested": [{"api_key": "abcdefgh12345678"}],
            "plain": "stays",
        });
        let raw = serde_json::value::to_raw_value(&json).unwrap();
        let safe = redacted(&raw, &policy).unwrap();
        for secret in ["sk-ant", "123456", "abcdefgh"] {
            assert!(!safe.get().contains(secret), "{safe}");
        }
        assert!(safe.get().contains(r#""plain":"stays""#));
        let harmless = serde_json::value::to_raw_value(&json!({"b": 1.50, "a": [null]})).unwrap();
        assert_eq!(redacted(&harmless, &policy).unwrap().get(), harmless.get());
    }
}
