//! A task's events, from its start over all its attempts.

use std::time::Duration;

use akribes_types::ast::TypeRef;
use akribes_types::event::{EngineEvent, TaskEndVariant, TokenUsage};
use akribes_types::value::Value as AkribesValue;
use fastrand::Rng;
use serde_json::{Value, json};

use super::{errors, forget, typed};
use crate::{chance, words};

/// One task, with retries.
pub(super) fn strand(rng: &mut Rng) -> Vec<Value> {
    let name = words::task(rng);
    let mut events = Vec::new();
    for _ in 0..rng.usize(1..4) {
        if chance(rng, 85) {
            events.push(EngineEvent::TaskStart(
                name.clone(),
                rng.bool().then(|| words::text(rng)),
            ));
        }
        if chance(rng, 30) {
            events.push(EngineEvent::TaskPrompt(name.clone(), words::text(rng)));
        }
        let task_id = format!("t{}", rng.u8(..4));
        for _ in 0..rng.usize(..5) {
            events.push(chunk(rng, &name, &task_id));
        }
        if chance(rng, 25) {
            events.extend(tool(rng, &name));
        }
    }
    let mut events: Vec<Value> = events.iter().map(typed).collect();
    // Ends between and behind the attempts; some attempts have none.
    for _ in 0..rng.usize(..4) {
        let at = rng.usize(..=events.len());
        events.insert(at, end(rng, &name));
    }
    events
}

/// The end of an attempt.
pub(super) fn end(rng: &mut Rng, name: &str) -> Value {
    let variant = match rng.u8(..6) {
        0..3 => TaskEndVariant::Success,
        3 => TaskEndVariant::Unable,
        4 => TaskEndVariant::Failed,
        _ => TaskEndVariant::Unknown,
    };
    let value = if variant == TaskEndVariant::Failed {
        let code = errors::CODES[rng.usize(..errors::CODES.len())];
        AkribesValue::fatal_code(code, words::text(rng))
    } else {
        AkribesValue::from_json(&words::value(rng, 2))
    };
    let mut event = typed(&EngineEvent::TaskEnd {
        task: name.to_owned(),
        on_error_label: rng.bool().then(|| words::text(rng)),
        value,
        value_type: rng.bool().then(TypeRef::default),
        duration: duration(rng),
        attempt: rng.u8(1..),
        usage: chance(rng, 70).then(|| usage(rng)),
        variant,
    });
    if chance(rng, 10) {
        // A variant of a newer server.
        event["payload"]["variant"] = json!("partial");
    }
    forget(rng, &mut event, &["variant", "usage", "on_error_label"]);
    event
}

fn duration(rng: &mut Rng) -> Duration {
    let nanos = match rng.u8(..4) {
        0 => 0,
        1 => 999_999_999,
        2 => 999_999,
        _ => rng.u32(..1_000_000_000),
    };
    let secs_max = if rng.bool() { 3 } else { 1_000_000 };
    Duration::new(rng.u64(..secs_max), nanos)
}

pub(super) fn usage(rng: &mut Rng) -> TokenUsage {
    let tokens = |rng: &mut Rng| {
        let bits = rng.u8(1..41);
        rng.u64(..1 << bits)
    };
    TokenUsage {
        input_tokens: tokens(rng),
        output_tokens: tokens(rng),
        model: words::model(rng),
        provider: words::provider(rng),
        cached_input_tokens: tokens(rng),
        cache_write_input_tokens: tokens(rng),
        stop_reason: rng.bool().then(|| "end_turn".to_owned()),
        reasoning_tokens: tokens(rng),
        ..TokenUsage::default()
    }
}

fn chunk(rng: &mut Rng, name: &str, task_id: &str) -> EngineEvent {
    let task_name = name.to_owned();
    let agent_name = rng.bool().then(|| words::text(rng));
    let task_id = task_id.to_owned();
    let (schema_type, chunk) = (None, words::text(rng));
    if chance(rng, 75) {
        EngineEvent::AgentOutput {
            task_name,
            agent_name,
            task_id,
            schema_type,
            chunk,
        }
    } else {
        EngineEvent::AgentReasoning {
            task_name,
            agent_name,
            task_id,
            schema_type,
            chunk,
        }
    }
}

fn tool(rng: &mut Rng, name: &str) -> [EngineEvent; 2] {
    let tool_use_id = if rng.bool() { "call-1" } else { "" };
    [
        EngineEvent::ToolCallStart {
            task_name: name.to_owned(),
            tool_name: "search".to_owned(),
            server_name: words::text(rng),
            input: words::value(rng, 1),
            tool_use_id: tool_use_id.to_owned(),
        },
        EngineEvent::ToolCallEnd {
            task_name: name.to_owned(),
            tool_name: "search".to_owned(),
            tool_use_id: tool_use_id.to_owned(),
            output: words::value(rng, 1),
            duration: duration(rng),
        },
    ]
}
