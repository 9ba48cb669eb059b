//! A run in numbers, by the rules of the Akribes SDKs' `RunSummary`, and ours
//! beside them.

use std::collections::BTreeMap;
use std::sync::Arc;

use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::trace_id::{self, TraceId};
use crate::wire::time::Time;

/// A run in numbers, as the API and `replay --emit summaries` give it.
#[derive(Debug, Clone, Serialize)]
pub struct RunSummary {
    /// The run's id.
    pub execution_id: Arc<str>,
    /// The trace that tells all of it, in hexadecimal.
    #[serde(serialize_with = "as_hex")]
    pub trace_id: TraceId,
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
    #[serde(serialize_with = "as_rfc3339")]
    pub started_at: Time,
    /// When it ended, RFC 3339; null while it has not.
    #[serde(serialize_with = "as_rfc3339_or_null")]
    pub finished_at: Option<Time>,
    /// Tokens by provider and model, sub-runs included.
    pub tokens: Vec<ModelTokens>,
    /// Whether our sums agree with the server's.
    pub verified: &'static str,
}

/// The SDK's cost: tokens by model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// US dollars; 0 when nobody told.
    pub total_usd: f64,
    /// Input plus output tokens, by model.
    pub by_model: BTreeMap<Arc<str>, u64>,
}

/// How long a run and its tasks took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Durations {
    /// From start to end.
    pub total_ms: u64,
    /// The tasks' own durations, by name, over all attempts.
    pub per_task_ms: BTreeMap<Arc<str>, u64>,
}

/// How a run's tasks ended, by name: the latest end counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TaskCounts {
    /// Those that succeeded.
    pub passed: u64,
    /// Those that did not.
    pub failed: u64,
    /// All.
    pub total: u64,
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorSummary {
    /// The stable code, else the kind.
    #[serde(rename = "type")]
    pub error_type: String,
    /// The message, redacted and cut.
    pub message: String,
}

/// The tokens of one model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// Whole milliseconds.
pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn as_hex<S: Serializer>(id: &TraceId, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&trace_id::hex(id))
}

pub(crate) fn as_rfc3339<S: Serializer>(time: &Time, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&time.to_rfc3339())
}

pub(crate) fn as_rfc3339_or_null<S: Serializer>(
    time: &Option<Time>,
    to: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => as_rfc3339(time, to),
        None => to.serialize_none(),
    }
}
