//! Events that say nothing to a summary: waits, loops, programs, calls, caches,
//! logs, and types that nobody knows.

use std::time::Duration;

use akribes_types::ast::{ActorHint, Span};
use akribes_types::event::{CacheTtl, ChildOutcome, EngineEvent, SuspendTrigger};
use akribes_types::value::Value as AkribesValue;
use fastrand::Rng;
use serde_json::{Value, json};

use super::{task::usage, typed};
use crate::words;

/// One of them.
pub(super) fn any(rng: &mut Rng) -> Value {
    let task_name = words::task(rng);
    let text = words::text(rng);
    let value = words::value(rng, 2);
    let akribes = AkribesValue::from_json(&value);
    let node_id = rng.usize(..9);
    let span = Span {
        line: 1,
        col: 1,
        end_line: 1,
        end_col: 2,
    };
    let token = format!("w{}", rng.u8(..3));
    let duration = Duration::from_micros(rng.u64(..9_000_000));
    let execution_id = rng
        .bool()
        .then(|| "6513270e-269e-4d37-b2a7-4de452e6b438".to_owned());
    typed(&match rng.u8(..44) {
        0 => EngineEvent::Log(text),
        1 => EngineEvent::LogLevel {
            level: "WARN".to_owned(),
            message: text,
        },
        2 => EngineEvent::StateUpdate(task_name, akribes),
        3 => EngineEvent::CachePlanned {
            agent: text,
            n_segments: 3,
            n_stable: 2,
            longest_stable_prefix_len_chars: 9,
            markers_placed: 1,
            markers_placed_at: vec![1],
            provider: "anthropic".to_owned(),
            tools_marker_placed: true,
            system_marker_placed: false,
            predicted_reuse_count: 4,
            cache_ttl: CacheTtl::OneHour,
            cache_reason: String::new(),
        },
        4..7 => EngineEvent::Suspended {
            checkpoint_name: task_name,
            token,
            prompt: text,
            schema: value,
            actor_hint: ActorHint::Human,
            timeout_secs: rng.bool().then_some(30),
            trigger: SuspendTrigger::DagPosition,
            loop_context: None,
        },
        7 | 8 => EngineEvent::Resumed {
            checkpoint_name: task_name,
            token,
        },
        9 => EngineEvent::NodeStart(node_id, span),
        10 => EngineEvent::NodeEnd {
            node_id,
            span,
            target_var: Some(text),
            value: Some(akribes),
            duration,
        },
        11 => EngineEvent::Breakpoint {
            node_id,
            span,
            token,
            env_snapshot: [(text, akribes)].into_iter().collect(),
        },
        12 => EngineEvent::BreakpointResumed { node_id, token },
        13 => EngineEvent::BatchQueued {
            token,
            provider: "openai".to_owned(),
            model: text,
            node_id: "n".to_owned(),
            structured: true,
        },
        14 => EngineEvent::McpServerDegraded {
            alias: task_name,
            reason: text,
        },
        15 => EngineEvent::McpServerRecovered { alias: task_name },
        16 => EngineEvent::ToolApprovalPending {
            execution_id,
            node_id: None,
            token,
            tool_ref: "srv.search".to_owned(),
            args: value,
        },
        17 => EngineEvent::ToolApprovalResolved {
            token,
            approved: rng.bool(),
            args_override: None,
            reason: Some(text),
        },
        18 => EngineEvent::ToolApprovalSkipped {
            execution_id,
            node_id: None,
            tool_ref: task_name,
            reason: text,
        },
        19 => EngineEvent::ToolReplayUncertain {
            execution_id,
            tool_use_id: "call-1".to_owned(),
            tool_name: "search".to_owned(),
            args: value,
        },
        20 => EngineEvent::VerificationStart {
            workflow_name: text,
        },
        21 => EngineEvent::VerificationResult {
            workflow_name: text,
            results: value,
            duration,
        },
        22 => EngineEvent::ValidationFailure {
            task_name,
            attempt: 1,
            model_response: text,
            truncated: false,
            total_length: 4,
            missing_fields: vec!["/a".to_owned()],
            extra_fields: vec![],
            type_errors: vec![],
            stop_reason: None,
        },
        23 => EngineEvent::LoopStart {
            name: task_name,
            max_turns: 4,
        },
        24 | 25 => EngineEvent::LoopTurn {
            name: task_name,
            turn: rng.u32(1..5),
            tool_calls: vec![text],
            usage: Some(usage(rng)),
        },
        26 => EngineEvent::LoopEnd {
            name: task_name,
            turn_count: 2,
            value: akribes,
        },
        27 => EngineEvent::ContextCompacted {
            agent: text,
            loop_id: None,
            turn: Some(1),
            threshold_pct: Some(80),
            threshold_abs: None,
            strategy: "drop_thinking_blocks".to_owned(),
            before_tokens: 9,
            after_tokens: 4,
            provider_native: false,
            cache_ttl: None,
        },
        28 => EngineEvent::ContextOverflow {
            agent: text,
            attempted_strategies: vec![task_name],
            configured_cap_tokens: 4,
            model_context_window: 8,
            terminated_by_hard_error: true,
        },
        29 => EngineEvent::TaskCacheHit {
            agent: text,
            key_prefix: "c0ffee".to_owned(),
        },
        30 => EngineEvent::TaskEscalated {
            task: task_name,
            from_agent: text.clone(),
            to_agent: "strong".to_owned(),
            reason: text,
        },
        31 => EngineEvent::LLMResponse {
            node_id: "n1".to_owned(),
            call_index: 0,
            text,
            tool_calls: vec![],
            usage: Some(usage(rng)),
        },
        32 => EngineEvent::LLMReplayCacheHit {
            node_id: "n1".to_owned(),
            call_index: 0,
        },
        33 => EngineEvent::SubScriptSpawned {
            child_execution_id: "child-1".to_owned(),
            parent_node_id: "n1".to_owned(),
            args: value,
        },
        34 => EngineEvent::SubScriptResult {
            parent_node_id: "n1".to_owned(),
            child_execution_id: "child-1".to_owned(),
            outcome: ChildOutcome::Ok { value },
        },
        35 => EngineEvent::CheckpointResolution {
            checkpoint_id: "c".to_owned(),
            payload: value,
        },
        36 => EngineEvent::RuntimeStart {
            task_name,
            runtime_name: text,
            language: "python".to_owned(),
        },
        37 => EngineEvent::RuntimeStdout {
            task_name,
            chunk: text,
        },
        38 => EngineEvent::RuntimeStderr {
            task_name,
            chunk: text,
        },
        39 => EngineEvent::RuntimeEnd {
            task_name,
            exit_code: rng.i32(-1..3),
            duration_ms: 7,
        },
        40 => EngineEvent::RuntimeError {
            task_name,
            kind: "Timeout".to_owned(),
            message: text,
        },
        41 => EngineEvent::HttpCallStart {
            call_id: token,
            task_name,
            method: "GET".to_owned(),
            url: "https://example.com/a".to_owned(),
        },
        42 => EngineEvent::HttpCallEnd {
            call_id: token,
            task_name,
            status: 0,
            duration_ms: 3,
            bytes: 0,
            is_error: true,
        },
        _ => return json!({"type": "OfTomorrow", "payload": {"task": task_name, "value": value}}),
    })
}
