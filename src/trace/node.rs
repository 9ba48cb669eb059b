//! The name, the kind and the attributes of a node's span: one function a row of
//! the mapping.

use std::borrow::Cow;
use std::time::Duration;

use opentelemetry::trace::SpanKind;

use super::semconv;
use super::sheet::{Captured, Sheet};
use super::url::Url;
use super::verdict::{self, Verdict};
use super::{messages, openinference};
use crate::run::finished::{Assembled, FinishedNode, Streams};
use crate::wire::event::{Content, FactKey, FactValue, Fault, NodeKind, Usage};

/// The name of the span, in two parts.
pub fn name(node: &FinishedNode) -> (&'static str, Cow<'_, str>) {
    let name = Cow::Borrowed(node.name.as_ref());
    match node.kind {
        NodeKind::Task => ("task", name),
        NodeKind::ModelCall => (semconv::CHAT, model(node).unwrap_or(&node.name).into()),
        NodeKind::Tool => (semconv::EXECUTE_TOOL, name),
        NodeKind::Wait => ("wait", name),
        NodeKind::Code => ("execute_code", name),
        NodeKind::Http => (method(node).0.unwrap_or("HTTP"), "".into()),
        NodeKind::Loop => ("loop", name),
        NodeKind::Turn => match verdict::number(&node.facts, FactKey::Turn) {
            Some(turn) => ("turn", turn.to_string().into()),
            None => ("turn", name),
        },
        NodeKind::SubRun => (semconv::INVOKE_WORKFLOW, name),
        NodeKind::Verify => ("verify", name),
    }
}

/// The kind of the span: a call that leaves the server is a client's.
pub fn kind(node: &FinishedNode) -> SpanKind {
    match node.kind {
        NodeKind::Task if node.usage.is_some() => SpanKind::Client,
        NodeKind::ModelCall | NodeKind::Http => SpanKind::Client,
        _ => SpanKind::Internal,
    }
}

/// Everything that is known of the node.
pub fn attributes(sheet: &mut Sheet<'_>, node: &FinishedNode, verdict: &Verdict<'_>) {
    of_kind(sheet, node);
    sheet.word(
        semconv::OUTCOME,
        match node.run_outcome {
            Some(outcome) => outcome.as_str(),
            None => node.outcome.as_str(),
        },
    );
    self::verdict(sheet, verdict, node.error.as_ref());
    sheet.marks(node.marks);
    if let Some(attempt) = node.attempt {
        sheet.count(semconv::ATTEMPT, attempt);
    }
    if let Some(duration) = node.duration {
        sheet.double(semconv::DURATION_REPORTED, seconds(duration));
    }
    sheet.flag(semconv::CACHED, node.cached);
    sheet.flag(semconv::ESCALATED, node.escalated);
    let failures = u64::from(node.validation_failures);
    sheet.count_if_any(semconv::VALIDATION_FAILURES, failures);
    if node.calls > 1 {
        sheet.count(semconv::CALLS, u64::from(node.calls));
    }
    if let Some(usage) = &node.usage {
        match is_model_span(node) {
            true => model_usage(sheet, usage),
            false => tokens(sheet, usage),
        }
    }
    if let Some(time) = node.time_to_first_chunk {
        let name = semconv::GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK;
        sheet.double(name, seconds(time));
    }
    if let Some(streams) = &node.streams {
        sizes(sheet, node, streams);
    }
    let contents = contents(sheet, node);
    sheet.facts(&node.facts, |key| is_told(node, verdict, key));
    if sheet.settings().openinference {
        openinference::node(sheet, node, &contents);
    }
}

/// Why it failed, or why it did not come to an end of its own.
pub fn verdict(sheet: &mut Sheet<'_>, verdict: &Verdict<'_>, fault: Option<&Fault<'_>>) {
    match verdict {
        Verdict::Failed { error_type, .. } => {
            sheet.name(semconv::ERROR_TYPE, error_type);
            // Where there is no code the kind is the type already.
            let kind = fault.and_then(|fault| fault.code.as_ref().and(fault.kind.as_deref()));
            if let Some(kind) = kind {
                sheet.name(semconv::ERROR_KIND, kind);
            }
        }
        Verdict::Fine {
            reason: Some(reason),
        } => sheet.redacted(semconv::REASON, reason),
        Verdict::Fine { reason: None } => {}
    }
}

/// Whether the span is that of a model's work, and carries its tokens.
pub fn is_model_span(node: &FinishedNode) -> bool {
    match node.kind {
        NodeKind::Task => node.usage.is_some(),
        NodeKind::ModelCall => true,
        _ => false,
    }
}

/// The model that did the work. One without a name is `unknown`.
pub fn model(node: &FinishedNode) -> Option<&str> {
    let model = match &node.usage {
        Some(usage) => Some(usage.model.as_ref()),
        None => verdict::text(&node.facts, FactKey::Model),
    };
    model.map(|model| if model.is_empty() { "unknown" } else { model })
}

/// What may leave of what went in and what came out.
#[derive(Debug, Default)]
pub struct Contents<'a> {
    /// What went in.
    pub input: Option<Captured<'a>>,
    /// What came out; of a model, its answer.
    pub output: Option<Captured<'a>>,
}

fn of_kind(sheet: &mut Sheet<'_>, node: &FinishedNode) {
    match node.kind {
        NodeKind::Task => {
            if is_model_span(node) {
                sheet.word(semconv::GEN_AI_OPERATION_NAME, semconv::CHAT);
            }
            sheet.name(semconv::TASK_NAME, &node.name);
            let streams = node.streams.as_deref();
            let key = node.key.as_deref();
            if let Some(key) = key.or_else(|| streams?.key.as_deref()) {
                sheet.name(semconv::TASK_ID, key);
            }
        }
        NodeKind::ModelCall => sheet.word(semconv::GEN_AI_OPERATION_NAME, semconv::CHAT),
        NodeKind::Tool => tool(sheet, node),
        NodeKind::Wait => sheet.name(semconv::WAIT_NAME, &node.name),
        NodeKind::Code => sheet.name(semconv::CODE_RUNTIME, &node.name),
        NodeKind::Http => http(sheet, node),
        NodeKind::Loop | NodeKind::Turn => sheet.name(semconv::LOOP_NAME, &node.name),
        NodeKind::SubRun => {
            sheet.word(semconv::GEN_AI_OPERATION_NAME, semconv::INVOKE_WORKFLOW);
            sheet.name(semconv::GEN_AI_WORKFLOW_NAME, &node.name);
        }
        NodeKind::Verify => sheet.name(semconv::VERIFY_WORKFLOW, &node.name),
    }
    let agent = node
        .streams
        .as_ref()
        .and_then(|streams| streams.agent.as_deref());
    if let Some(agent) = verdict::text(&node.facts, FactKey::Agent).or(agent) {
        sheet.name(semconv::GEN_AI_AGENT_NAME, agent);
    }
}

/// A tool that some server offers is an extension of it; any other is a function.
fn tool(sheet: &mut Sheet<'_>, node: &FinishedNode) {
    sheet.word(semconv::GEN_AI_OPERATION_NAME, semconv::EXECUTE_TOOL);
    sheet.name(semconv::GEN_AI_TOOL_NAME, &node.name);
    if let Some(key) = &node.key {
        sheet.name(semconv::GEN_AI_TOOL_CALL_ID, key);
    }
    let server = verdict::text(&node.facts, FactKey::ToolServer);
    let kind = match server.filter(|server| !server.is_empty()) {
        Some(_) => "extension",
        None => "function",
    };
    sheet.word(semconv::GEN_AI_TOOL_TYPE, kind);
}

fn http(sheet: &mut Sheet<'_>, node: &FinishedNode) {
    let (known, original) = method(node);
    sheet.word(semconv::HTTP_METHOD, known.unwrap_or(semconv::OTHER));
    if known != Some(original) {
        sheet.name(semconv::HTTP_METHOD_ORIGINAL, original);
    }
    if let Some(url) = verdict::text(&node.facts, FactKey::Url) {
        let url = Url::new(url);
        sheet.url(&url);
        if let Some(host) = url.host() {
            sheet.name(semconv::SERVER_ADDRESS, host);
        }
        if let Some(port) = url.port() {
            sheet.int(semconv::SERVER_PORT, i64::from(port));
        }
    }
    // Without an answer there is no status; some servers write 0.
    let status = verdict::number(&node.facts, FactKey::HttpStatus);
    if let Some(status) = status.filter(|status| *status > 0) {
        sheet.int(semconv::HTTP_STATUS, status);
    }
}

/// The method as the conventions know it, if they do, and as it was written.
fn method(node: &FinishedNode) -> (Option<&'static str>, &str) {
    let original = verdict::text(&node.facts, FactKey::HttpMethod).unwrap_or(&node.name);
    (semconv::http_method(original), original)
}

/// Tokens stand once in a trace: here.
fn model_usage(sheet: &mut Sheet<'_>, usage: &Usage<'_>) {
    sheet.name(
        semconv::GEN_AI_PROVIDER_NAME,
        semconv::provider(&usage.provider),
    );
    let model = usage.model.as_ref();
    let model = if model.is_empty() { "unknown" } else { model };
    sheet.name(semconv::GEN_AI_REQUEST_MODEL, model);
    sheet.count(semconv::GEN_AI_USAGE_INPUT, usage.input_tokens);
    sheet.count(semconv::GEN_AI_USAGE_OUTPUT, usage.output_tokens);
    sheet.count_if_any(semconv::GEN_AI_USAGE_CACHE_READ, usage.cache_read_tokens);
    sheet.count_if_any(
        semconv::GEN_AI_USAGE_CACHE_CREATION,
        usage.cache_write_tokens,
    );
    sheet.count_if_any(semconv::GEN_AI_USAGE_REASONING, usage.reasoning_tokens);
    sheet.count_if_any(semconv::TOKENS_CACHE_WRITE_5M, usage.cache_write_5m_tokens);
    sheet.count_if_any(semconv::TOKENS_CACHE_WRITE_1H, usage.cache_write_1h_tokens);
    if let Some(reason) = usage.finish_reason.as_deref() {
        let name = semconv::GEN_AI_RESPONSE_FINISH_REASONS;
        sheet.names(name, std::iter::once(reason));
    }
    if let Some(cost) = usage.cost_usd {
        sheet.double(semconv::COST_USD, cost);
    }
}

/// The same spending seen again, under names that nobody adds up.
fn tokens(sheet: &mut Sheet<'_>, usage: &Usage<'_>) {
    sheet.count(semconv::TOKENS_INPUT, usage.input_tokens);
    sheet.count(semconv::TOKENS_OUTPUT, usage.output_tokens);
    sheet.count_if_any(semconv::TOKENS_CACHE_READ, usage.cache_read_tokens);
    sheet.count_if_any(semconv::TOKENS_CACHE_WRITE, usage.cache_write_tokens);
    sheet.count_if_any(semconv::TOKENS_REASONING, usage.reasoning_tokens);
}

fn sizes(sheet: &mut Sheet<'_>, node: &FinishedNode, streams: &Streams) {
    let (answer, reasoning) = (&streams.pieces.answer, &streams.pieces.reasoning);
    if answer.count() > 0 || is_model_span(node) {
        sheet.count(semconv::CHUNKS_COUNT, answer.count());
        sheet.count(semconv::CHUNKS_BYTES, answer.bytes());
    }
    if reasoning.count() > 0 {
        sheet.count(semconv::REASONING_COUNT, reasoning.count());
        sheet.count(semconv::REASONING_BYTES, reasoning.bytes());
    }
    for (count, bytes, tally) in [
        (semconv::STDOUT_COUNT, semconv::STDOUT_BYTES, streams.stdout),
        (semconv::STDERR_COUNT, semconv::STDERR_BYTES, streams.stderr),
    ] {
        if tally.count > 0 {
            sheet.count(count, tally.count);
            sheet.count(bytes, tally.bytes);
        }
    }
}

/// What went in and what came out: always the sizes, the texts with capture.
fn contents<'n>(sheet: &mut Sheet<'_>, node: &'n FinishedNode) -> Contents<'n> {
    let input = private(node, FactKey::Input);
    let output = private(node, FactKey::Output);
    for (content, key) in [(input, FactKey::Input), (output, FactKey::Output)] {
        if let Some(content) = content {
            sheet.count(semconv::fact(key).bytes, content.bytes);
        }
    }
    if !sheet.settings().content.captures() {
        return Contents::default();
    }
    let input = input.and_then(|input| sheet.capture(input));
    let output = output.and_then(|output| sheet.capture(output));
    if let Some(input) = &input {
        match node.kind {
            NodeKind::Tool => sheet.captured(semconv::GEN_AI_TOOL_CALL_ARGUMENTS, &input.text),
            _ if is_model_span(node) => {
                sheet.captured(
                    semconv::GEN_AI_INPUT_MESSAGES,
                    &messages::input(&input.text),
                );
            }
            _ => sheet.captured(semconv::fact(FactKey::Input).value, &input.text),
        }
    }
    if let Some(output) = &output {
        match node.kind {
            NodeKind::Tool => sheet.captured(semconv::GEN_AI_TOOL_CALL_RESULT, &output.text),
            _ => sheet.captured(semconv::fact(FactKey::Output).value, &output.text),
        }
    }
    let streamed = node
        .streams
        .as_deref()
        .and_then(|streams| streamed(sheet, node, streams));
    Contents {
        input,
        output: streamed.or(output),
    }
}

/// The assembled streams of a node. Gives what came out.
fn streamed<'n>(
    sheet: &mut Sheet<'_>,
    node: &FinishedNode,
    streams: &'n Streams,
) -> Option<Captured<'n>> {
    let policy = &sheet.settings().content;
    let leaves = |stream: &'n Option<Assembled>| {
        // A text that was given up as a whole is no empty answer.
        let given_up = |text: &&Assembled| text.truncated && text.text.is_empty();
        let stream = stream.as_ref().filter(|text| !given_up(text))?;
        let (text, cut) = policy.content(&stream.text, stream.truncated);
        Some(Captured { text, cut })
    };
    let (answer, reasoning) = (leaves(&streams.answer), leaves(&streams.reasoning));
    let output = leaves(&streams.output);
    let text = |captured: &Option<Captured<'n>>| captured.as_ref().map(|c| c.text.to_string());
    if answer.is_some() || reasoning.is_some() {
        let finish_reason = node
            .usage
            .as_ref()
            .and_then(|usage| usage.finish_reason.as_deref());
        let (reasoning, answer) = (text(&reasoning), text(&answer));
        let messages = messages::output(reasoning.as_deref(), answer.as_deref(), finish_reason);
        sheet.captured(semconv::GEN_AI_OUTPUT_MESSAGES, &messages);
    }
    if let Some(output) = &output {
        sheet.captured(semconv::CODE_OUTPUT, &output.text);
    }
    answer.or(output)
}

/// The number nearest to a duration in seconds. `as_secs_f64` adds two numbers
/// up, and makes 1.6480000000000001 of 1.648.
fn seconds(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e9
}

fn private(node: &FinishedNode, key: FactKey) -> Option<&Content<'static>> {
    node.facts.iter().rev().find_map(|fact| match &fact.value {
        FactValue::Content(content) if fact.key == key => Some(content),
        _ => None,
    })
}

/// Whether a fact is told in another way: an attribute stands once.
fn is_told(node: &FinishedNode, verdict: &Verdict<'_>, key: FactKey) -> bool {
    let has_usage = node.usage.is_some();
    match key {
        FactKey::Agent => true,
        FactKey::Input | FactKey::Output => private(node, key).is_some(),
        FactKey::Attempt => node.attempt.is_some(),
        FactKey::Model | FactKey::Provider => has_usage && is_model_span(node),
        // What a replay tells as a whole is not what counts of it.
        FactKey::InputTokens | FactKey::OutputTokens => has_usage && node.replay_of().is_none(),
        FactKey::HttpMethod | FactKey::Url | FactKey::HttpStatus => node.kind == NodeKind::Http,
        FactKey::ErrorKind => {
            let fault = node.error.as_ref();
            matches!(verdict, Verdict::Failed { .. }) && fault.is_some_and(|f| f.kind.is_some())
        }
        FactKey::Reason => matches!(verdict, Verdict::Fine { reason: Some(_) }),
        _ => false,
    }
}
