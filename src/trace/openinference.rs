//! OpenInference's attributes, for backends that read those: beside ours, never
//! instead of them.

use serde::de::IgnoredAny;

use super::node::{self, Contents};
use super::sheet::{Captured, Sheet};
use crate::run::finished::{FinishedNode, RunMeta};
use crate::wire::event::NodeKind;

/// Of a node's span.
pub fn node(sheet: &mut Sheet<'_>, node: &FinishedNode, contents: &Contents<'_>) {
    let kind = match node.kind {
        _ if node::is_model_span(node) => "LLM",
        NodeKind::Task => "AGENT",
        NodeKind::Tool => "TOOL",
        _ => "CHAIN",
    };
    sheet.word(SPAN_KIND, kind);
    if node.kind == NodeKind::Tool {
        sheet.name("tool.name", &node.name);
    }
    if node::is_model_span(node) {
        if let Some(model) = node::model(node) {
            sheet.name("llm.model_name", model);
        }
        if let Some(usage) = &node.usage {
            sheet.name("llm.provider", provider(&usage.provider));
            sheet.count(PROMPT, usage.input_tokens);
            sheet.count(COMPLETION, usage.output_tokens);
            sheet.count_if_any(CACHE_READ, usage.cache_read_tokens);
            sheet.count_if_any(CACHE_WRITE, usage.cache_write_tokens);
            sheet.count_if_any(REASONING, usage.reasoning_tokens);
        }
    }
    value(
        sheet,
        ("input.value", "input.mime_type"),
        contents.input.as_ref(),
    );
    value(sheet, OUTPUT, contents.output.as_ref());
}

/// Of a run's root span.
pub fn root(sheet: &mut Sheet<'_>, run: &RunMeta, output: Option<&Captured<'_>>) {
    sheet.word(SPAN_KIND, "CHAIN");
    sheet.name("session.id", &run.run_id);
    value(sheet, OUTPUT, output);
}

/// Of the span that says that a run has started.
pub fn marker(sheet: &mut Sheet<'_>) {
    sheet.word(SPAN_KIND, "CHAIN");
}

const SPAN_KIND: &str = "openinference.span.kind";
const COMPLETION: &str = "llm.token_count.completion";
const PROMPT: &str = "llm.token_count.prompt";
const CACHE_READ: &str = "llm.token_count.prompt_details.cache_read";
const CACHE_WRITE: &str = "llm.token_count.prompt_details.cache_write";
const REASONING: &str = "llm.token_count.completion_details.reasoning";
const OUTPUT: (&str, &str) = ("output.value", "output.mime_type");

/// OpenInference's well-known value for a provider, else its name as it is.
fn provider(name: &str) -> &str {
    match super::semconv::provider(name) {
        "gcp.gemini" | "gcp.vertex_ai" => "google",
        "aws.bedrock" => "aws",
        "azure.ai.openai" | "azure.ai.inference" => "azure",
        "mistral_ai" => "mistralai",
        "x_ai" => "xai",
        other => other,
    }
}

fn value(sheet: &mut Sheet<'_>, (name, mime_type): (&str, &str), content: Option<&Captured<'_>>) {
    let Some(content) = content else { return };
    sheet.captured(name, &content.text);
    sheet.word(
        mime_type,
        if is_json(content) {
            "application/json"
        } else {
            "text/plain"
        },
    );
}

/// What was cut is no JSON any more, and what begins like JSON need not be.
fn is_json(content: &Captured<'_>) -> bool {
    !content.cut
        && content.text.trim_start().starts_with(['{', '[', '"'])
        && serde_json::from_str::<IgnoredAny>(&content.text).is_ok()
}
