//! A run in numbers, by the rules of the Akribes SDKs' `RunSummary`, and ours
//! beside them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;

/// A run in numbers, as the API and `replay --emit summaries` give it.
#[derive(Debug, Clone, Serialize)]
pub struct RunSummary {
    /// The run's id.
    pub execution_id: Arc<str>,
    /// The trace that tells all of it, in hexadecimal.
    pub trace_id: String,
    /// What the run returned; null unless content may leave.
    pub output: Option<Box<RawValue>>,
    /// Tokens by model; null without usage, and for test providers.
    pub cost: Option<Cost>,
    /// How long it took.
    pub duration: Durations,
    /// How its tasks ended.
    pub tasks: TaskCounts,
    /// The kind of server.
    pub system: &'static str,
    /// The project's id.
    pub project: Option<i64>,
    /// The workflow's name.
    pub workflow: Arc<str>,
    /// How the run ended; `running` or `waiting` while it has not.
    pub outcome: &'static str,
    /// Why it failed.
    pub error: Option<ErrorSummary>,
    /// When it started, RFC 3339.
    pub started_at: String,
    /// When it ended, RFC 3339; null while it has not.
    pub finished_at: Option<String>,
    /// Tokens by provider and model, sub-runs included.
    pub tokens: Vec<ModelTokens>,
    /// Whether our sums agree with the server's.
    pub verified: &'static str,
}

/// The SDK's cost: tokens by model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cost {
    /// US dollars; 0 when nobody told.
    pub total_usd: f64,
    /// Input plus output tokens, by model.
    pub by_model: BTreeMap<Arc<str>, u64>,
}

/// How long a run and its tasks took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Durations {
    /// From start to end.
    pub total_ms: u64,
    /// The tasks' own durations, by name, over all attempts.
    pub per_task_ms: BTreeMap<Arc<str>, u64>,
}

/// How a run's tasks ended, by name: the latest end counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct TaskCounts {
    /// Those that succeeded.
    pub passed: u64,
    /// Those that did not.
    pub failed: u64,
    /// All.
    pub total: u64,
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorSummary {
    /// The stable code, else the kind.
    #[serde(rename = "type")]
    pub error_type: String,
    /// The message, redacted and cut.
    pub message: String,
}

/// The tokens of one model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelTokens {
    /// Who served it.
    pub provider: Arc<str>,
    /// The model.
    pub model: Arc<str>,
    /// Tokens in.
    pub input: u64,
    /// Tokens out.
    pub output: u64,
    /// Of the input, read from a cache.
    pub cache_read: u64,
    /// Of the input, written to a cache.
    pub cache_write: u64,
    /// Of the output, reasoning.
    pub reasoning: u64,
}
