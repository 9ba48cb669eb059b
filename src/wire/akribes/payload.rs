//! The shapes of Akribes' payloads, as far as anything is read from them.
//!
//! A struct is read from an object and, as older servers sent some of them,
//! from an array of its fields in order. What may be missing has a default;
//! fields that are not named here are skipped without being looked at.

use serde::Deserialize;

use super::engine::Engine;
use super::forms::{Json, List, Num, Piece, Span, Str};

#[derive(Debug, Hash, Deserialize)]
pub(super) struct LogLevel<'a> {
    #[serde(default, borrow)]
    pub(super) level: Str<'a>,
    #[serde(default, borrow)]
    pub(super) message: Option<Json<'a>>,
}

/// `["summarise", null]`, or an object.
#[derive(Debug, Hash, Deserialize)]
pub(super) struct TaskStart<'a> {
    #[serde(borrow, alias = "task")]
    pub(super) name: Str<'a>,
    #[serde(default, borrow)]
    pub(super) on_error: Str<'a>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct TaskPrompt<'a> {
    #[serde(borrow, alias = "task_name")]
    pub(super) task: Str<'a>,
    #[serde(default, borrow)]
    pub(super) prompt: Option<Json<'a>>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct AgentOutput<'a> {
    #[serde(borrow)]
    pub(super) task_name: Str<'a>,
    #[serde(default, borrow)]
    pub(super) agent_name: Str<'a>,
    #[serde(default, borrow)]
    pub(super) task_id: Str<'a>,
    #[serde(borrow)]
    pub(super) chunk: Piece<'a>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct CachePlanned<'a> {
    #[serde(default, borrow)]
    pub(super) agent: Str<'a>,
    #[serde(default)]
    pub(super) n_segments: Num,
    #[serde(default)]
    pub(super) n_stable: Num,
    #[serde(default)]
    pub(super) markers_placed: Num,
    #[serde(default, borrow)]
    pub(super) provider: Str<'a>,
    #[serde(default)]
    pub(super) predicted_reuse_count: Num,
    #[serde(default, borrow)]
    pub(super) cache_ttl: Str<'a>,
    #[serde(default, borrow)]
    pub(super) cache_reason: Option<Json<'a>>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct Suspended<'a> {
    #[serde(default, borrow)]
    pub(super) checkpoint_name: Str<'a>,
    #[serde(default, borrow)]
    pub(super) token: Str<'a>,
    #[serde(default, borrow)]
    pub(super) prompt: Option<Json<'a>>,
    #[serde(default, borrow)]
    _schema: Option<Json<'a>>,
    #[serde(default, borrow)]
    _actor_hint: Option<Json<'a>>,
    #[serde(default)]
    pub(super) timeout_secs: Option<Num>,
    #[serde(default, borrow)]
    pub(super) trigger: Option<Trigger<'a>>,
    #[serde(default, borrow)]
    pub(super) loop_context: Option<LoopContext<'a>>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct Trigger<'a> {
    #[serde(default, borrow)]
    pub(super) kind: Str<'a>,
    #[serde(default, borrow)]
    pub(super) task_name: Str<'a>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct LoopContext<'a> {
    #[serde(default, borrow)]
    pub(super) loop_name: Str<'a>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct Resumed<'a> {
    #[serde(default, borrow)]
    pub(super) checkpoint_name: Str<'a>,
    #[serde(default, borrow)]
    pub(super) token: Str<'a>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct Breakpoint<'a> {
    #[serde(default, borrow)]
    pub(super) token: Str<'a>,
    #[serde(default, borrow)]
    pub(super) node_id: Option<Json<'a>>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct BatchQueued<'a> {
    #[serde(default, borrow)]
    pub(super) token: Str<'a>,
    #[serde(default, borrow)]
    pub(super) provider: Str<'a>,
    #[serde(default, borrow)]
    pub(super) model: Str<'a>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct ToolCallStart<'a> {
    #[serde(borrow)]
    pub(super) task_name: Str<'a>,
    #[serde(borrow)]
    pub(super) tool_name: Str<'a>,
    #[serde(default, borrow)]
    pub(super) server_name: Str<'a>,
    #[serde(default, borrow)]
    pub(super) input: Option<Json<'a>>,
    #[serde(default, borrow)]
    pub(super) tool_use_id: Str<'a>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct ToolCallEnd<'a> {
    #[serde(borrow)]
    pub(super) task_name: Str<'a>,
    #[serde(borrow)]
    pub(super) tool_name: Str<'a>,
    #[serde(default, borrow)]
    pub(super) tool_use_id: Str<'a>,
    #[serde(default, borrow)]
    pub(super) output: Option<Json<'a>>,
    #[serde(default)]
    pub(super) duration: Span,
    #[serde(default)]
    pub(super) duration_ms: Option<Num>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct McpServer<'a> {
    #[serde(default, borrow)]
    pub(super) alias: Str<'a>,
    #[serde(default, borrow)]
    pub(super) reason: Option<Json<'a>>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct ToolApprovalPending<'a> {
    #[serde(default, borrow)]
    pub(super) token: Str<'a>,
    #[serde(default, borrow)]
    pub(super) tool_ref: Str<'a>,
    #[serde(default, borrow)]
    pub(super) args: Option<Json<'a>>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct ToolApprovalResolved<'a> {
    #[serde(default, borrow)]
    pub(super) token: Str<'a>,
    #[serde(default)]
    pub(super) approved: bool,
    #[serde(default, borrow)]
    pub(super) reason: Option<Json<'a>>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct ToolApprovalSkipped<'a> {
    #[serde(default, borrow)]
    pub(super) tool_ref: Str<'a>,
    #[serde(default, borrow)]
    pub(super) reason: Str<'a>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct ToolReplayUncertain<'a> {
    #[serde(default, borrow)]
    pub(super) tool_use_id: Str<'a>,
    #[serde(default, borrow)]
    pub(super) tool_name: Str<'a>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct Verification<'a> {
    #[serde(default, borrow)]
    pub(super) workflow_name: Str<'a>,
    #[serde(default, borrow)]
    pub(super) results: Option<Json<'a>>,
    #[serde(default)]
    pub(super) duration: Span,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct ValidationFailure<'a> {
    #[serde(borrow)]
    pub(super) task_name: Str<'a>,
    #[serde(default)]
    pub(super) attempt: Num,
    #[serde(default, borrow)]
    pub(super) model_response: Option<Json<'a>>,
    #[serde(default, borrow)]
    pub(super) missing_fields: List<'a>,
    #[serde(default, borrow)]
    pub(super) extra_fields: List<'a>,
    #[serde(default, borrow)]
    pub(super) type_errors: List<'a>,
    #[serde(default, borrow)]
    pub(super) stop_reason: Str<'a>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct SubScript<'a> {
    #[serde(borrow)]
    pub(super) script_name: Str<'a>,
    #[serde(default, borrow)]
    pub(super) parent_task: Str<'a>,
    #[serde(default)]
    pub(super) parent_node_id: Option<Num>,
    #[serde(default)]
    pub(super) attempt: Option<Num>,
    #[serde(default, borrow)]
    pub(super) parent_path: Option<Vec<SubScriptFrame<'a>>>,
    #[serde(borrow)]
    pub(super) child: Box<Engine<'a>>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct SubScriptFrame<'a> {
    #[serde(borrow)]
    pub(super) script_name: Str<'a>,
    #[serde(default, borrow)]
    pub(super) parent_task: Str<'a>,
    #[serde(default)]
    pub(super) parent_node_id: Option<Num>,
    #[serde(default)]
    pub(super) attempt: Option<Num>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct LoopStart<'a> {
    #[serde(borrow)]
    pub(super) name: Str<'a>,
    #[serde(default)]
    pub(super) max_turns: Option<Num>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct LoopTurn<'a> {
    #[serde(borrow)]
    pub(super) name: Str<'a>,
    #[serde(default)]
    pub(super) turn: Num,
    #[serde(default, borrow)]
    pub(super) tool_calls: List<'a>,
    #[serde(default, borrow)]
    pub(super) usage: Option<Usage<'a>>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct LoopEnd<'a> {
    #[serde(borrow)]
    pub(super) name: Str<'a>,
    #[serde(default)]
    pub(super) turn_count: Option<Num>,
    #[serde(default, borrow)]
    pub(super) value: Option<Json<'a>>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct ContextCompacted<'a> {
    #[serde(default, borrow)]
    pub(super) agent: Str<'a>,
    #[serde(default, borrow)]
    pub(super) loop_id: Str<'a>,
    #[serde(default)]
    pub(super) turn: Option<Num>,
    #[serde(default, borrow)]
    pub(super) strategy: Str<'a>,
    #[serde(default)]
    pub(super) before_tokens: Num,
    #[serde(default)]
    pub(super) after_tokens: Num,
    #[serde(default)]
    pub(super) provider_native: bool,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct ContextOverflow<'a> {
    #[serde(default, borrow)]
    pub(super) agent: Str<'a>,
    #[serde(default, borrow)]
    pub(super) attempted_strategies: List<'a>,
    #[serde(default)]
    pub(super) configured_cap_tokens: Num,
    #[serde(default)]
    pub(super) terminated_by_hard_error: bool,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct TaskCacheHit<'a> {
    #[serde(default, borrow)]
    pub(super) agent: Str<'a>,
    #[serde(default, borrow)]
    pub(super) key_prefix: Str<'a>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct TaskEscalated<'a> {
    #[serde(borrow)]
    pub(super) task: Str<'a>,
    #[serde(default, borrow)]
    pub(super) from_agent: Str<'a>,
    #[serde(default, borrow)]
    pub(super) to_agent: Str<'a>,
    #[serde(default, borrow)]
    pub(super) reason: Option<Json<'a>>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct LlmResponse<'a> {
    #[serde(default, borrow)]
    pub(super) node_id: Str<'a>,
    #[serde(default)]
    pub(super) call_index: Num,
    #[serde(default, borrow)]
    pub(super) text: Option<Json<'a>>,
    #[serde(default, borrow)]
    pub(super) tool_calls: Option<Vec<CachedToolCall<'a>>>,
    #[serde(default, borrow)]
    pub(super) usage: Option<Usage<'a>>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct CachedToolCall<'a> {
    #[serde(default, borrow)]
    pub(super) name: Str<'a>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct LlmReplayCacheHit<'a> {
    #[serde(default, borrow)]
    pub(super) node_id: Str<'a>,
    #[serde(default)]
    pub(super) call_index: Num,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct SubScriptSpawned<'a> {
    #[serde(borrow)]
    pub(super) child_execution_id: Str<'a>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct SubScriptResult<'a> {
    #[serde(borrow)]
    pub(super) child_execution_id: Str<'a>,
    #[serde(default, borrow)]
    pub(super) outcome: Option<ChildOutcome<'a>>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct ChildOutcome<'a> {
    #[serde(default, borrow)]
    pub(super) kind: Str<'a>,
    #[serde(default, borrow)]
    pub(super) detail: Option<ChildDetail<'a>>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct ChildDetail<'a> {
    #[serde(default, borrow)]
    pub(super) kind: Str<'a>,
    #[serde(default, borrow)]
    pub(super) code: Str<'a>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct RuntimeStart<'a> {
    #[serde(borrow)]
    pub(super) task_name: Str<'a>,
    #[serde(default, borrow)]
    pub(super) runtime_name: Str<'a>,
    #[serde(default, borrow)]
    pub(super) language: Str<'a>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct RuntimeOutput<'a> {
    #[serde(borrow)]
    pub(super) task_name: Str<'a>,
    #[serde(borrow)]
    pub(super) chunk: Piece<'a>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct RuntimeEnd<'a> {
    #[serde(borrow)]
    pub(super) task_name: Str<'a>,
    #[serde(default)]
    pub(super) exit_code: i64,
    #[serde(default)]
    pub(super) duration_ms: Option<Num>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct RuntimeError<'a> {
    #[serde(borrow)]
    pub(super) task_name: Str<'a>,
    #[serde(default, borrow)]
    pub(super) kind: Str<'a>,
    #[serde(default, borrow)]
    pub(super) message: Str<'a>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct HttpCallStart<'a> {
    #[serde(default, borrow)]
    pub(super) call_id: Str<'a>,
    #[serde(default, borrow)]
    pub(super) task_name: Str<'a>,
    #[serde(default, borrow)]
    pub(super) method: Str<'a>,
    #[serde(default, borrow)]
    pub(super) url: Str<'a>,
}

#[derive(Debug, Hash, Deserialize)]
pub(super) struct HttpCallEnd<'a> {
    #[serde(default, borrow)]
    pub(super) call_id: Str<'a>,
    #[serde(default, borrow)]
    pub(super) task_name: Str<'a>,
    #[serde(default)]
    pub(super) status: Num,
    #[serde(default)]
    pub(super) duration_ms: Option<Num>,
    #[serde(default)]
    pub(super) bytes: Num,
    #[serde(default)]
    pub(super) is_error: bool,
}

#[derive(Debug, Default, Hash, Deserialize)]
pub(super) struct Usage<'a> {
    #[serde(default)]
    pub(super) input_tokens: Num,
    #[serde(default)]
    pub(super) output_tokens: Num,
    #[serde(default, borrow)]
    pub(super) model: Str<'a>,
    #[serde(default, borrow)]
    pub(super) provider: Str<'a>,
    #[serde(default)]
    pub(super) cached_input_tokens: Num,
    #[serde(default)]
    pub(super) cache_write_input_tokens: Num,
    #[serde(default)]
    pub(super) cache_write_5m_input_tokens: Num,
    #[serde(default)]
    pub(super) cache_write_1h_input_tokens: Num,
    #[serde(default, borrow)]
    pub(super) stop_reason: Str<'a>,
    #[serde(default, borrow)]
    pub(super) raw_stop_reason: Str<'a>,
    #[serde(default)]
    pub(super) reasoning_tokens: Num,
}
