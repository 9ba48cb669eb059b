//! Engine events, written as the Akribes engine writes them.
//!
//! This mirrors as much of `akribes_types::event` as the workload uses; tests
//! hold each generated event against that crate, byte for byte.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

/// A text that is fixed, or made up.
pub type Text = Cow<'static, str>;

/// What an engine says.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", content = "payload")]
#[expect(missing_docs, reason = "the names are those of the wire")]
pub enum Event {
    Log(Text),
    LogLevel {
        level: &'static str,
        message: Text,
    },
    StateUpdate(&'static str, Value),
    WorkflowStart(usize),
    TaskStart(&'static str, Option<&'static str>),
    TaskPrompt(&'static str, Text),
    TaskEnd(Box<TaskEnd>),
    AgentOutput(Chunk),
    AgentReasoning(Chunk),
    CachePlanned(Box<CachePlanned>),
    Suspended(Box<Suspended>),
    Resumed {
        checkpoint_name: &'static str,
        token: String,
    },
    WorkflowEnd(Box<WorkflowEnd>),
    Error(Box<Failure>),
    BatchQueued {
        token: String,
        provider: &'static str,
        model: &'static str,
        node_id: String,
        structured: bool,
    },
    ToolCallStart {
        task_name: &'static str,
        tool_name: &'static str,
        server_name: &'static str,
        input: Value,
        tool_use_id: String,
    },
    ToolCallEnd {
        task_name: &'static str,
        tool_name: &'static str,
        tool_use_id: String,
        output: Value,
        duration: Duration,
    },
    McpServerDegraded {
        alias: &'static str,
        reason: Text,
    },
    McpServerRecovered {
        alias: &'static str,
    },
    ToolApprovalPending {
        execution_id: Option<String>,
        node_id: Option<u64>,
        token: String,
        tool_ref: Text,
        args: Value,
    },
    ToolApprovalResolved {
        token: String,
        approved: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<Text>,
    },
    ToolApprovalSkipped {
        execution_id: Option<String>,
        node_id: Option<u64>,
        tool_ref: Text,
        reason: &'static str,
    },
    ToolReplayUncertain {
        execution_id: Option<String>,
        tool_use_id: String,
        tool_name: &'static str,
        args: Value,
    },
    VerificationStart {
        workflow_name: &'static str,
    },
    VerificationResult {
        workflow_name: &'static str,
        results: Value,
        duration: Duration,
    },
    ValidationFailure(Box<ValidationFailure>),
    SubScript {
        script_name: &'static str,
        parent_task: &'static str,
        parent_node_id: Option<u64>,
        attempt: Option<u8>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        parent_path: Vec<Frame>,
        child: Box<Event>,
    },
    LoopStart {
        name: &'static str,
        max_turns: u32,
    },
    LoopTurn {
        name: &'static str,
        turn: u32,
        tool_calls: Vec<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        usage: Option<Usage>,
    },
    LoopEnd {
        name: &'static str,
        turn_count: u32,
        value: Value,
    },
    ContextCompacted(Box<ContextCompacted>),
    TaskCacheHit {
        agent: &'static str,
        key_prefix: String,
    },
    TaskEscalated {
        task: &'static str,
        from_agent: &'static str,
        to_agent: &'static str,
        reason: Text,
    },
    LLMResponse {
        node_id: String,
        call_index: u32,
        text: String,
        tool_calls: Vec<ToolUse>,
        usage: Option<Usage>,
    },
    LLMReplayCacheHit {
        node_id: String,
        call_index: u32,
    },
    SubScriptSpawned {
        child_execution_id: String,
        parent_node_id: String,
        args: Value,
    },
    SubScriptResult {
        parent_node_id: String,
        child_execution_id: String,
        outcome: ChildOutcome,
    },
    CheckpointResolution {
        checkpoint_id: &'static str,
        payload: Value,
    },
    RuntimeStart {
        task_name: &'static str,
        runtime_name: &'static str,
        language: &'static str,
    },
    RuntimeStdout {
        task_name: &'static str,
        chunk: Text,
    },
    RuntimeStderr {
        task_name: &'static str,
        chunk: Text,
    },
    RuntimeEnd {
        task_name: &'static str,
        exit_code: i32,
        duration_ms: u64,
    },
    RuntimeError {
        task_name: &'static str,
        kind: &'static str,
        message: Text,
    },
    HttpCallStart {
        call_id: String,
        task_name: &'static str,
        method: &'static str,
        url: String,
    },
    HttpCallEnd {
        call_id: String,
        task_name: &'static str,
        status: u16,
        duration_ms: u64,
        bytes: u64,
        is_error: bool,
    },
}

/// The end of a task.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names are those of the wire")]
pub struct TaskEnd {
    pub task: &'static str,
    pub on_error_label: Option<&'static str>,
    pub value: Value,
    pub value_type: Option<TypeRef>,
    pub duration: Duration,
    pub attempt: u8,
    pub usage: Option<Usage>,
    pub variant: Variant,
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are those of the wire")]
pub enum Variant {
    Success,
    Unable,
    Failed,
}

/// The declared type of a task's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names are those of the wire")]
pub struct TypeRef {
    pub name: &'static str,
    pub inner: Option<Box<TypeRef>>,
    pub choices: Option<Vec<&'static str>>,
    pub span: Span,
}

/// A place in a script's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[expect(missing_docs, reason = "the names are those of the wire")]
pub struct Span {
    pub line: usize,
    pub col: usize,
    pub end_line: usize,
    pub end_col: usize,
}

/// A piece of what a model says or thinks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names are those of the wire")]
pub struct Chunk {
    pub task_name: &'static str,
    pub agent_name: Option<&'static str>,
    pub task_id: String,
    pub schema_type: Option<&'static str>,
    pub chunk: String,
}

/// What a model call used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names are those of the wire")]
pub struct Usage {
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub model: &'static str,
    pub provider: &'static str,
    pub cached_input_tokens: u64,
    pub cache_write_input_tokens: u64,
    pub cache_write_5m_input_tokens: u64,
    pub cache_write_1h_input_tokens: u64,
    pub stop_reason: Option<&'static str>,
    pub raw_stop_reason: Option<&'static str>,
    pub reasoning_tokens: u64,
}

/// What the engine asked a provider to cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names are those of the wire")]
pub struct CachePlanned {
    pub agent: &'static str,
    pub n_segments: usize,
    pub n_stable: usize,
    pub longest_stable_prefix_len_chars: usize,
    pub markers_placed: usize,
    pub markers_placed_at: Vec<usize>,
    pub provider: &'static str,
    pub tools_marker_placed: bool,
    pub system_marker_placed: bool,
    pub predicted_reuse_count: usize,
    pub cache_ttl: &'static str,
    pub cache_reason: Text,
}

/// A run stops and waits for somebody.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names are those of the wire")]
pub struct Suspended {
    pub checkpoint_name: &'static str,
    pub token: String,
    pub prompt: Text,
    pub schema: Value,
    pub actor_hint: &'static str,
    pub timeout_secs: Option<u64>,
    pub trigger: Trigger,
}

/// Why it waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind")]
#[expect(missing_docs, reason = "the names are those of the wire")]
pub enum Trigger {
    DagPosition,
    AgentUnable {
        task_name: &'static str,
        unable: Unable,
    },
}

/// An agent says that it cannot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names are those of the wire")]
pub struct Unable {
    pub reason: Text,
    pub missing: Vec<&'static str>,
    pub category: &'static str,
}

/// The end of a run, with the server's own sums.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names are those of the wire")]
pub struct WorkflowEnd {
    pub value: Value,
    #[serde(flatten)]
    pub totals: Totals,
}

/// The server's sums over all ends of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[expect(missing_docs, reason = "the names are those of the wire")]
pub struct Totals {
    pub total_input_tokens: u64,
    pub total_output_tokens: u64,
    pub total_cached_input_tokens: u64,
    pub total_thinking_tokens: u64,
    pub total_tool_tokens: u64,
    pub total_cost_usd: f64,
    pub task_count: u32,
}

/// A run fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names are those of the wire")]
pub struct Failure {
    pub message: Text,
    pub kind: &'static str,
    pub code: &'static str,
    pub user_message: Text,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Origin::is_empty")]
    pub source: Origin,
}

/// Where a failure comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[expect(missing_docs, reason = "the names are those of the wire")]
pub struct Origin {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_ref: Option<&'static str>,
}

impl Origin {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// An answer has the wrong shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names are those of the wire")]
pub struct ValidationFailure {
    pub task_name: &'static str,
    pub attempt: u32,
    pub model_response: Text,
    pub truncated: bool,
    pub total_length: u64,
    pub missing_fields: Vec<&'static str>,
    pub extra_fields: Vec<&'static str>,
    pub type_errors: Vec<Text>,
    pub stop_reason: Option<&'static str>,
}

/// A script that called another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names are those of the wire")]
pub struct Frame {
    pub script_name: &'static str,
    pub parent_task: &'static str,
    pub parent_node_id: Option<u64>,
    pub attempt: Option<u8>,
}

/// A conversation was made shorter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names are those of the wire")]
pub struct ContextCompacted {
    pub agent: &'static str,
    pub loop_id: Option<String>,
    pub turn: Option<u32>,
    pub threshold_pct: Option<u8>,
    pub threshold_abs: Option<u32>,
    pub strategy: &'static str,
    pub before_tokens: u32,
    pub after_tokens: u32,
    pub provider_native: bool,
}

/// A tool that a model asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names are those of the wire")]
pub struct ToolUse {
    pub tool_use_id: String,
    pub name: &'static str,
    pub args: Value,
}

/// How a spawned run ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", content = "detail")]
#[expect(missing_docs, reason = "the names are those of the wire")]
pub enum ChildOutcome {
    Ok {
        value: Value,
    },
    Err {
        kind: String,
        message: String,
        code: Option<String>,
    },
}

impl Event {
    /// The event that was said, within whatever sub-script.
    pub fn leaf(&self) -> &Self {
        match self {
            Self::SubScript { child, .. } => child.leaf(),
            event => event,
        }
    }

    /// The end of a task that this is, in the run or in one of its sub-scripts.
    pub fn task_end(&self) -> Option<&TaskEnd> {
        match self.leaf() {
            Self::TaskEnd(end) => Some(end),
            _ => None,
        }
    }

    /// Whether the run is over with this.
    pub const fn ends_run(&self) -> bool {
        matches!(self, Self::WorkflowEnd(_) | Self::Error(_))
    }
}

impl Totals {
    /// Adds what a task used.
    pub fn add(&mut self, end: &TaskEnd) {
        self.task_count += 1;
        if let Some(usage) = &end.usage {
            self.total_input_tokens += usage.input_tokens;
            self.total_output_tokens += usage.output_tokens;
            self.total_cached_input_tokens += usage.cached_input_tokens;
            self.total_thinking_tokens += usage.reasoning_tokens;
        }
    }
}
