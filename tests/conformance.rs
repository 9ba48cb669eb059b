//! Every variant of the real `EngineEvent`, written by its own crate, goes in
//! and does what the mapping says. A variant that a new version of the crate
//! adds does not compile here until somebody has decided about it.

#![allow(clippy::expect_used, reason = "a test that cannot go on should stop")]

mod support;

use std::collections::BTreeMap as Map;
use std::time::Duration;

use akribes_types::ast::{ActorHint, Span as Place};
use akribes_types::error::{ErrorCode, ErrorKind};
use akribes_types::event::{
    CacheTtl, CachedToolCall, ChildOutcome, EngineEvent, SubScriptFrame, SuspendTrigger,
    TaskEndVariant, TokenUsage, WorkflowEndPayload, WorkflowTotals,
};
use akribes_types::value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::json;
use support::trace::attribute;
use support::{batches, core, settings, stamp};

const RUN: &str = support::RUN;

/// What a variant becomes.
enum Becomes {
    /// The run's start, which is the root's start.
    Root,
    /// The run's end: the root with this outcome.
    RootEnds(&'static str),
    /// A span of this name.
    Span(&'static str),
    /// An event of this name on the span of that name.
    Event(&'static str, &'static str),
    /// An attribute on the span of that name.
    Attribute(&'static str, &'static str),
    /// A link on the root.
    Link,
    /// Nothing but a count.
    Counted,
}

/// The decision about each variant. There is no wildcard, on purpose.
fn decided(event: &EngineEvent) -> Becomes {
    use Becomes::*;
    const ROOT: &str = "invoke_workflow conform";
    match event {
        EngineEvent::WorkflowStart(_) => Root,
        EngineEvent::WorkflowEnd(_) => RootEnds("success"),
        EngineEvent::Error { .. } => RootEnds("error"),
        EngineEvent::TaskStart(..) | EngineEvent::TaskEnd { .. } => Span("task write"),
        EngineEvent::AgentOutput { .. } => Event("agent.chunk", "task write"),
        EngineEvent::AgentReasoning { .. } => Event("agent.reasoning", "task write"),
        EngineEvent::TaskPrompt(..) => Attribute("runtrail.input.bytes", "task write"),
        EngineEvent::ValidationFailure { .. } => Event("validation.failure", "task write"),
        EngineEvent::TaskEscalated { .. } => Event("task.escalated", ROOT),
        EngineEvent::TaskCacheHit { .. } => Event("task.cache_hit", "task write"),
        EngineEvent::CachePlanned { .. } => Event("cache.planned", "task write"),
        EngineEvent::ContextCompacted { .. } => Event("context.compacted", "task write"),
        EngineEvent::ContextOverflow { .. } => Event("context.overflow", "task write"),
        EngineEvent::ToolCallStart { .. } | EngineEvent::ToolCallEnd { .. } => {
            Span("execute_tool search")
        }
        EngineEvent::ToolApprovalPending { .. } | EngineEvent::ToolApprovalResolved { .. } => {
            Span("wait web.search")
        }
        EngineEvent::ToolApprovalSkipped { .. } => Event("tool.approval_skipped", ROOT),
        EngineEvent::ToolReplayUncertain { .. } => Event("tool.replay_uncertain", ROOT),
        EngineEvent::McpServerDegraded { .. } => Event("mcp.server.degraded", ROOT),
        EngineEvent::McpServerRecovered { .. } => Event("mcp.server.recovered", ROOT),
        EngineEvent::Suspended { .. } | EngineEvent::Resumed { .. } => Span("wait approve"),
        EngineEvent::Breakpoint { .. } | EngineEvent::BreakpointResumed { .. } => {
            Span("wait breakpoint")
        }
        EngineEvent::BatchQueued { .. } => Span("wait batch"),
        EngineEvent::RuntimeStart { .. }
        | EngineEvent::RuntimeEnd { .. }
        | EngineEvent::RuntimeError { .. } => Span("execute_code sandbox"),
        EngineEvent::RuntimeStdout { .. } => {
            Attribute("runtrail.stdout.bytes", "execute_code sandbox")
        }
        EngineEvent::RuntimeStderr { .. } => {
            Attribute("runtrail.stderr.bytes", "execute_code sandbox")
        }
        EngineEvent::HttpCallStart { .. } | EngineEvent::HttpCallEnd { .. } => Span("POST"),
        EngineEvent::LoopStart { .. } | EngineEvent::LoopEnd { .. } => Span("loop solve"),
        EngineEvent::LoopTurn { .. } => Span("turn 1"),
        EngineEvent::SubScript { .. } => Span("invoke_workflow child"),
        EngineEvent::SubScriptSpawned { .. } => Link,
        EngineEvent::SubScriptResult { .. } => Event("child_run.result", ROOT),
        EngineEvent::LLMResponse { .. } => Event("llm.response", ROOT),
        EngineEvent::LLMReplayCacheHit { .. } => Event("llm.replay_cache_hit", ROOT),
        EngineEvent::VerificationStart { .. } | EngineEvent::VerificationResult { .. } => {
            Span("verify conform")
        }
        EngineEvent::Log(_) | EngineEvent::LogLevel { .. } => Event("log", ROOT),
        EngineEvent::StateUpdate(..)
        | EngineEvent::NodeStart(..)
        | EngineEvent::NodeEnd { .. }
        | EngineEvent::CheckpointResolution { .. } => Counted,
    }
}

/// Every variant, in a row that a run could really send.
fn every_variant() -> Vec<EngineEvent> {
    let text = String::from;
    let place = || Place {
        line: 1,
        col: 1,
        end_line: 1,
        end_col: 9,
    };
    let took = Duration::from_millis(2);
    let usage = TokenUsage {
        input_tokens: 100,
        output_tokens: 20,
        model: text("m"),
        provider: text("google"),
        cached_input_tokens: 40,
        cache_write_input_tokens: 6,
        cache_write_5m_input_tokens: 2,
        cache_write_1h_input_tokens: 4,
        stop_reason: Some(text("stop")),
        raw_stop_reason: Some(text("STOP")),
        reasoning_tokens: 5,
    };
    let sub = |child: EngineEvent| EngineEvent::SubScript {
        script_name: text("child"),
        parent_task: text("x"),
        parent_node_id: Some(3),
        attempt: Some(1),
        parent_path: vec![SubScriptFrame {
            script_name: text("middle"),
            parent_task: text("y"),
            parent_node_id: None,
            attempt: None,
        }],
        child: Box::new(child),
    };
    vec![
        EngineEvent::WorkflowStart(1),
        EngineEvent::Log(text("hello")),
        EngineEvent::LogLevel {
            level: text("WARN"),
            message: text("careful"),
        },
        EngineEvent::StateUpdate(text("x"), Value::Int(1)),
        EngineEvent::NodeStart(1, place()),
        EngineEvent::TaskStart(text("write"), Some(text("retry"))),
        EngineEvent::TaskPrompt(text("write"), text("a prompt")),
        EngineEvent::CachePlanned {
            agent: text("writer"),
            n_segments: 3,
            n_stable: 2,
            longest_stable_prefix_len_chars: 10,
            markers_placed: 1,
            markers_placed_at: vec![1],
            provider: text("anthropic"),
            tools_marker_placed: true,
            system_marker_placed: true,
            predicted_reuse_count: 4,
            cache_ttl: CacheTtl::OneHour,
            cache_reason: text("reused"),
        },
        EngineEvent::TaskCacheHit {
            agent: text("writer"),
            key_prefix: text("f7d3a9"),
        },
        EngineEvent::AgentReasoning {
            task_name: text("write"),
            agent_name: Some(text("writer")),
            task_id: text("t"),
            schema_type: None,
            chunk: text("hm"),
        },
        EngineEvent::AgentOutput {
            task_name: text("write"),
            agent_name: Some(text("writer")),
            task_id: text("t"),
            schema_type: None,
            chunk: text("hello"),
        },
        EngineEvent::ContextCompacted {
            agent: text("writer"),
            loop_id: None,
            turn: None,
            threshold_pct: Some(80),
            threshold_abs: None,
            strategy: text("s"),
            before_tokens: 9,
            after_tokens: 4,
            provider_native: true,
            cache_ttl: None,
        },
        EngineEvent::ContextOverflow {
            agent: text("writer"),
            attempted_strategies: vec![text("s")],
            configured_cap_tokens: 8,
            model_context_window: 9,
            terminated_by_hard_error: true,
        },
        EngineEvent::validation_failure(
            "write",
            1,
            text("{"),
            vec![text("/a")],
            vec![],
            vec![text("/b")],
            None,
        ),
        EngineEvent::LLMResponse {
            node_id: text("n"),
            call_index: 0,
            text: text("hello"),
            tool_calls: vec![CachedToolCall {
                tool_use_id: text("u"),
                name: text("search"),
                args: json!({}),
            }],
            usage: Some(usage.clone()),
        },
        EngineEvent::LLMReplayCacheHit {
            node_id: text("n"),
            call_index: 1,
        },
        EngineEvent::ToolCallStart {
            task_name: text("write"),
            tool_name: text("search"),
            server_name: text("web"),
            input: json!({"q": 1}),
            tool_use_id: text("u"),
        },
        EngineEvent::ToolApprovalPending {
            execution_id: Some(text(RUN)),
            node_id: Some(1),
            token: text("tok-a"),
            tool_ref: text("web.search"),
            args: json!({}),
        },
        EngineEvent::ToolApprovalResolved {
            token: text("tok-a"),
            approved: true,
            args_override: None,
            reason: Some(text("fine")),
        },
        EngineEvent::ToolCallEnd {
            task_name: text("write"),
            tool_name: text("search"),
            tool_use_id: text("u"),
            output: json!({"hits": 1}),
            duration: took,
        },
        EngineEvent::ToolApprovalSkipped {
            execution_id: None,
            node_id: None,
            tool_ref: text("web.list"),
            reason: text("policy:read_only"),
        },
        EngineEvent::ToolReplayUncertain {
            execution_id: None,
            tool_use_id: text("u"),
            tool_name: text("send"),
            args: json!({}),
        },
        EngineEvent::McpServerDegraded {
            alias: text("web"),
            reason: text("slow"),
        },
        EngineEvent::McpServerRecovered { alias: text("web") },
        EngineEvent::RuntimeStart {
            task_name: text("write"),
            runtime_name: text("sandbox"),
            language: text("python"),
        },
        EngineEvent::RuntimeStdout {
            task_name: text("write"),
            chunk: text("out\n"),
        },
        EngineEvent::RuntimeStderr {
            task_name: text("write"),
            chunk: text("err\n"),
        },
        EngineEvent::RuntimeEnd {
            task_name: text("write"),
            exit_code: 0,
            duration_ms: 2,
        },
        EngineEvent::RuntimeStart {
            task_name: text("write"),
            runtime_name: text("sandbox"),
            language: text("bash"),
        },
        EngineEvent::RuntimeError {
            task_name: text("write"),
            kind: text("OomKilled"),
            message: text("too big"),
        },
        EngineEvent::HttpCallStart {
            call_id: text("h"),
            task_name: text("write"),
            method: text("POST"),
            url: text("https://api.example.com/v1?x=***"),
        },
        EngineEvent::HttpCallEnd {
            call_id: text("h"),
            task_name: text("write"),
            status: 0,
            duration_ms: 2,
            bytes: 0,
            is_error: true,
        },
        EngineEvent::TaskEnd {
            task: text("write"),
            on_error_label: None,
            value: Value::fatal_error(),
            value_type: None,
            duration: took,
            attempt: 2,
            usage: Some(usage),
            variant: TaskEndVariant::Failed,
        },
        EngineEvent::TaskEscalated {
            task: text("write"),
            from_agent: text("cheap"),
            to_agent: text("strong"),
            reason: text("validation"),
        },
        EngineEvent::Suspended {
            checkpoint_name: text("approve"),
            token: text("tok"),
            prompt: text("ok?"),
            schema: json!({}),
            actor_hint: ActorHint::Human,
            timeout_secs: Some(60),
            trigger: SuspendTrigger::DagPosition,
            loop_context: None,
        },
        EngineEvent::CheckpointResolution {
            checkpoint_id: text("c"),
            payload: json!(true),
        },
        EngineEvent::Resumed {
            checkpoint_name: text("approve"),
            token: text("tok"),
        },
        EngineEvent::Breakpoint {
            node_id: 1,
            span: place(),
            token: text("tok-b"),
            env_snapshot: Default::default(),
        },
        EngineEvent::BreakpointResumed {
            node_id: 1,
            token: text("tok-b"),
        },
        EngineEvent::BatchQueued {
            token: text("tok-q"),
            provider: text("openai"),
            model: text("m"),
            node_id: text("n"),
            structured: false,
        },
        EngineEvent::LoopStart {
            name: text("solve"),
            max_turns: 3,
        },
        EngineEvent::LoopTurn {
            name: text("solve"),
            turn: 1,
            tool_calls: vec![text("search")],
            usage: None,
        },
        EngineEvent::LoopEnd {
            name: text("solve"),
            turn_count: 1,
            value: Value::Null,
        },
        sub(EngineEvent::WorkflowStart(1)),
        sub(EngineEvent::WorkflowEnd(WorkflowEndPayload::new(
            Value::Null,
        ))),
        EngineEvent::SubScriptSpawned {
            child_execution_id: text("0a0b0c0d-0000-4000-8000-000000000001"),
            parent_node_id: text("n"),
            args: json!({}),
        },
        EngineEvent::SubScriptResult {
            parent_node_id: text("n"),
            child_execution_id: text("0a0b0c0d-0000-4000-8000-000000000001"),
            outcome: ChildOutcome::Err {
                kind: text("Timeout"),
                message: text("late"),
                code: None,
            },
        },
        EngineEvent::VerificationStart {
            workflow_name: text("conform"),
        },
        EngineEvent::VerificationResult {
            workflow_name: text("conform"),
            results: json!([]),
            duration: took,
        },
        EngineEvent::NodeEnd {
            node_id: 1,
            span: place(),
            target_var: None,
            value: None,
            duration: took,
        },
        EngineEvent::WorkflowEnd(WorkflowEndPayload::with_totals(
            Value::String(text("done")),
            WorkflowTotals {
                total_input_tokens: 100,
                total_output_tokens: 20,
                total_cached_input_tokens: 40,
                total_thinking_tokens: 5,
                total_tool_tokens: 0,
                total_cost_usd: 0.5,
                task_count: 1,
            },
        )),
    ]
}

trait Fatal {
    fn fatal_error() -> Self;
}

impl Fatal for Value {
    fn fatal_error() -> Self {
        Value::FatalError {
            message: "no quota".to_owned(),
            kind: ErrorKind::RateLimit,
            code: ErrorCode::ProviderRateLimit,
            user_message: String::new(),
            retry_after_ms: None,
            source: Default::default(),
        }
    }
}

fn hub(events: &[EngineEvent]) -> Vec<u8> {
    let batch: Vec<serde_json::Value> = events
        .iter()
        .zip(1u64..)
        .map(|(event, seq)| {
            json!({"type": "Execution", "payload": {"project_id": 1, "script_name": "conform",
                "execution_id": RUN, "event": event, "seq": seq, "at": stamp(seq)}})
        })
        .collect();
    format!(
        "event: batch\ndata: {}\n\n",
        serde_json::Value::Array(batch)
    )
    .into_bytes()
}

/// The spans of these events, how many of each type were counted, and what was refused.
fn spans_of(events: &[EngineEvent]) -> (Vec<Span>, Map<&'static str, u64>, u64) {
    let mut core = core(settings(false));
    core.handle_bytes(0, &hub(events), None);
    core.handle_end_of_runs();
    let types = core.event_types();
    let counts = types
        .iter()
        .copied()
        .zip(core.deltas().events_by_type.iter().copied())
        .collect();
    let refused = core.deltas().rejected.iter().sum();
    let spans = support::trace::spans(&batches(&mut core));
    support::trace::check(&spans);
    (spans, counts, refused)
}

#[test]
fn every_variant_does_what_the_mapping_says() {
    let events = every_variant();
    let (spans, counts, refused) = spans_of(&events);
    assert_eq!(refused, 0, "nothing of a current server is refused");
    let named = |name: &str| {
        spans
            .iter()
            .filter(|span| span.name == name)
            .collect::<Vec<_>>()
    };
    let root = named("invoke_workflow conform")[0];
    for event in &events {
        let variant = serde_json::to_value(event).expect("an event is JSON")["type"].clone();
        let variant = variant.as_str().expect("a type is a text");
        let has_event = |span: &Span, name: &str| span.events.iter().any(|e| e.name == name);
        let done = match decided(event) {
            Becomes::Root => attribute(root, "runtrail.start.inferred").is_none(),
            Becomes::RootEnds(outcome) => {
                attribute(root, "runtrail.outcome").as_deref() == Some(outcome)
            }
            Becomes::Span(name) => !named(name).is_empty(),
            Becomes::Event(event, span) => named(span).iter().any(|span| has_event(span, event)),
            Becomes::Attribute(key, span) => named(span)
                .iter()
                .any(|span| attribute(span, key).is_some()),
            Becomes::Link => root.links.len() == 1,
            Becomes::Counted => true,
        };
        assert!(done, "{variant}: {}", support::trace::tree(&spans));
        // An event in a sub-script counts as what it is.
        assert!(
            variant == "SubScript" || counts[variant] > 0,
            "{variant} is not counted"
        );
    }
    assert_eq!(
        attribute(root, "runtrail.run.verified").as_deref(),
        Some("match")
    );
}

#[test]
fn the_row_holds_every_type_that_is_told_apart() {
    let mut types: Vec<String> = every_variant()
        .iter()
        .map(|event| serde_json::to_value(event).expect("JSON")["type"].to_string())
        .chain([r#""Error""#.to_owned(), r#""unknown""#.to_owned()])
        .chain([r#""Registry""#.to_owned(), r#""Bench""#.to_owned()])
        .collect();
    types.sort();
    types.dedup();
    let mut known: Vec<String> = core(settings(false))
        .event_types()
        .iter()
        .map(|name| format!("{name:?}"))
        .collect();
    known.sort();
    assert_eq!(types, known);
}

#[test]
fn the_numbers_and_names_of_a_task_are_those_of_its_end() {
    let (spans, ..) = spans_of(&every_variant());
    let task = spans
        .iter()
        .find(|span| span.name == "task write")
        .expect("the task");
    let expected = [
        ("gen_ai.provider.name", "gcp.gemini"),
        ("gen_ai.request.model", "m"),
        ("gen_ai.usage.input_tokens", "100"),
        ("gen_ai.usage.output_tokens", "20"),
        ("gen_ai.usage.cache_read.input_tokens", "40"),
        ("gen_ai.usage.cache_creation.input_tokens", "6"),
        ("gen_ai.usage.reasoning.output_tokens", "5"),
        ("gen_ai.response.finish_reasons", "[STOP]"),
        ("gen_ai.agent.name", "writer"),
        ("error.type", "AKRIBES-E-PROVIDER-RATE-LIMIT"),
        ("runtrail.outcome", "failed"),
        ("runtrail.attempt", "2"),
        ("runtrail.chunks.count", "1"),
        ("runtrail.chunks.bytes", "5"),
    ];
    for (key, value) in expected {
        assert_eq!(attribute(task, key).as_deref(), Some(value), "{key}");
    }
    let with_usage: Vec<&str> = spans
        .iter()
        .filter(|span| {
            span.attributes
                .iter()
                .any(|a| a.key.starts_with("gen_ai.usage"))
        })
        .map(|span| span.name.as_str())
        .collect();
    assert_eq!(with_usage, ["task write"], "tokens stand once");
}

#[test]
fn every_kind_of_error_ends_the_run_as_its_kind_says() {
    use ErrorKind::*;
    for kind in [
        RateLimit,
        AuthError,
        TokenLimit,
        ServerError500,
        BadGateway502,
        ServiceUnavailable503,
        GatewayTimeout504,
        NetworkError,
        ParseError,
        Cancelled,
        Timeout,
        ScriptError,
        AuthorRaise,
        ScriptDepthExceeded,
        Panic,
        Internal,
    ] {
        // A new kind does not compile here until its outcome is decided.
        let outcome = match kind {
            Cancelled => "cancelled",
            Timeout => "timeout",
            RateLimit
            | AuthError
            | TokenLimit
            | ServerError500
            | BadGateway502
            | ServiceUnavailable503
            | GatewayTimeout504
            | NetworkError
            | ParseError
            | ScriptError
            | AuthorRaise
            | ScriptDepthExceeded
            | Panic
            | Internal => "error",
        };
        let error = EngineEvent::Error {
            message: "boom".to_owned(),
            kind,
            code: ErrorCode::Other,
            user_message: String::new(),
            retry_after_ms: None,
            source: Default::default(),
        };
        let (spans, ..) = spans_of(&[EngineEvent::WorkflowStart(0), error]);
        assert_eq!(
            attribute(&spans[0], "runtrail.outcome").as_deref(),
            Some(outcome),
            "{kind:?}"
        );
        let status = spans[0].status.as_ref().map_or(0, |status| status.code);
        assert_eq!(status == 2, outcome != "cancelled", "{kind:?}");
        let error_type = attribute(&spans[0], "error.type");
        assert_eq!(
            error_type.as_deref(),
            (outcome != "cancelled").then(|| kind.as_wire())
        );
    }
}
