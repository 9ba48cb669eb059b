//! The shapes of Akribes' payloads, as far as anything is read from them.
//!
//! A struct is read from an object and, as older servers sent some of them,
//! from an array of its fields in order. What may be missing has a default;
//! fields that are not named here are skipped without being looked at.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::engine::Engine;

/// A name or another short text. `null` reads as the empty text.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub(super) struct Str<'a>(pub(super) Cow<'a, str>);

/// Any JSON, as it stands in the input.
#[derive(Debug, Clone, Copy)]
pub(super) struct Json<'a>(pub(super) &'a RawValue);

/// A whole number; a fraction is cut, what is negative or `null` reads as 0.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Num(pub(super) u64);

/// `{"secs":1,"nanos":250000000}`, or a plain number of milliseconds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Span(pub(super) Option<Duration>);

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

/// The old array is `[task, on_error_label, value, duration, usage]`.
#[derive(Debug, Hash)]
pub(super) struct TaskEnd<'a> {
    pub(super) task: Str<'a>,
    pub(super) value: Option<Json<'a>>,
    pub(super) duration: Span,
    pub(super) attempt: Option<Num>,
    pub(super) usage: Option<Usage<'a>>,
    pub(super) variant: Str<'a>,
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
    pub(super) chunk: Json<'a>,
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
    pub(super) cache_reason: Str<'a>,
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

/// Either the bare output, or the output beside the server's sums.
#[derive(Debug, Hash)]
pub(super) struct WorkflowEnd<'a> {
    pub(super) value: Option<Json<'a>>,
    pub(super) totals: Option<WorkflowTotals>,
}

#[derive(Debug, Default)]
pub(super) struct WorkflowTotals {
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    pub(super) cached_input_tokens: u64,
    pub(super) thinking_tokens: u64,
    pub(super) task_count: u64,
    pub(super) cost_usd: f64,
}

/// An object, or the bare message.
#[derive(Debug, Hash)]
pub(super) struct ErrorEvent<'a> {
    pub(super) message: Str<'a>,
    pub(super) kind: Str<'a>,
    pub(super) code: Str<'a>,
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
    pub(super) reason: Str<'a>,
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
    pub(super) reason: Str<'a>,
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
    pub(super) chunk: Json<'a>,
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

/// A list of texts, of which `null` is the empty one.
#[derive(Debug, Default, Hash)]
pub(super) struct List<'a>(pub(super) Vec<Str<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for List<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self(
            Option::<Vec<Str<'a>>>::deserialize(d)?.unwrap_or_default(),
        ))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        <&'de RawValue>::deserialize(d).map(Json)
    }
}

impl Hash for Json<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.get().hash(state);
    }
}

impl Hash for WorkflowTotals {
    fn hash<H: Hasher>(&self, state: &mut H) {
        [
            self.input_tokens,
            self.output_tokens,
            self.cached_input_tokens,
            self.thinking_tokens,
            self.task_count,
            self.cost_usd.to_bits(),
        ]
        .hash(state);
    }
}

struct StrVisitor;

impl<'de> Visitor<'de> for StrVisitor {
    type Value = Str<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E: de::Error>(self, v: &'de str) -> Result<Self::Value, E> {
        Ok(Str(Cow::Borrowed(v)))
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<Self::Value, E> {
        Ok(Str(Cow::Owned(v.to_owned())))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Str::default())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Str<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(StrVisitor)
    }
}

struct NumVisitor;

impl Visitor<'_> for NumVisitor {
    type Value = Num;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_u64<E: de::Error>(self, v: u64) -> Result<Num, E> {
        Ok(Num(v))
    }

    fn visit_i64<E: de::Error>(self, v: i64) -> Result<Num, E> {
        Ok(Num(u64::try_from(v).unwrap_or(0)))
    }

    fn visit_f64<E: de::Error>(self, v: f64) -> Result<Num, E> {
        // The cast saturates at both ends, and takes what is no number as 0.
        Ok(Num(v as u64))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Num, E> {
        Ok(Num(0))
    }
}

impl<'de> Deserialize<'de> for Num {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(NumVisitor)
    }
}

struct SpanVisitor;

impl<'de> Visitor<'de> for SpanVisitor {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration")
    }

    fn visit_u64<E: de::Error>(self, v: u64) -> Result<Span, E> {
        Ok(Span(Some(Duration::from_millis(v))))
    }

    fn visit_i64<E: de::Error>(self, v: i64) -> Result<Span, E> {
        self.visit_u64(u64::try_from(v).unwrap_or(0))
    }

    fn visit_f64<E: de::Error>(self, v: f64) -> Result<Span, E> {
        Ok(Span(Duration::try_from_secs_f64(v / 1e3).ok()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Span, E> {
        Ok(Span(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Span, A::Error> {
        #[derive(Deserialize)]
        struct Parts {
            #[serde(default)]
            secs: Num,
            #[serde(default)]
            nanos: Num,
        }
        let parts = Parts::deserialize(de::value::MapAccessDeserializer::new(map))?;
        let span = Duration::from_secs(parts.secs.0);
        Ok(Span(Some(
            span.saturating_add(Duration::from_nanos(parts.nanos.0)),
        )))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(SpanVisitor)
    }
}

struct TaskEndVisitor;

impl<'de> Visitor<'de> for TaskEndVisitor {
    type Value = TaskEnd<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the end of a task")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        #[derive(Deserialize)]
        struct Fields<'a> {
            #[serde(borrow, alias = "name")]
            task: Str<'a>,
            #[serde(default, borrow)]
            value: Option<Json<'a>>,
            #[serde(default)]
            duration: Span,
            #[serde(default)]
            attempt: Option<Num>,
            #[serde(default, borrow)]
            usage: Option<Usage<'a>>,
            #[serde(default, borrow)]
            variant: Str<'a>,
        }
        let f = Fields::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok(TaskEnd {
            task: f.task,
            value: f.value,
            duration: f.duration,
            attempt: f.attempt,
            usage: f.usage,
            variant: f.variant,
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let task = seq
            .next_element()?
            .ok_or_else(|| de::Error::invalid_length(0, &self))?;
        let _on_error: Option<de::IgnoredAny> = seq.next_element()?;
        let value = seq.next_element()?;
        let duration = seq.next_element()?.unwrap_or_default();
        let usage = seq.next_element::<Option<Usage<'de>>>()?.flatten();
        while seq.next_element::<de::IgnoredAny>()?.is_some() {}
        Ok(TaskEnd {
            task,
            value,
            duration,
            attempt: None,
            usage,
            variant: Str::default(),
        })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for TaskEnd<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(TaskEndVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for WorkflowEnd<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Summed<'a> {
            #[serde(borrow)]
            value: Json<'a>,
            #[serde(borrow)]
            total_input_tokens: Option<Json<'a>>,
            #[serde(borrow)]
            total_output_tokens: Option<Json<'a>>,
            #[serde(borrow)]
            total_cached_input_tokens: Option<Json<'a>>,
            #[serde(borrow)]
            total_thinking_tokens: Option<Json<'a>>,
            #[serde(borrow)]
            total_tool_tokens: Option<Json<'a>>,
            #[serde(borrow)]
            total_cost_usd: Option<Json<'a>>,
            #[serde(borrow)]
            task_count: Option<Json<'a>>,
        }
        let whole = Json::deserialize(d)?;
        let text: &'de str = whole.0.get();
        let summed: Option<Summed<'de>> = if text.starts_with('{') {
            serde_json::from_str(text).ok()
        } else {
            None
        };
        let bare = Self {
            value: Some(whole),
            totals: None,
        };
        let Some(s) = summed else { return Ok(bare) };
        let sums = [
            s.total_input_tokens,
            s.total_output_tokens,
            s.total_cached_input_tokens,
            s.total_thinking_tokens,
            s.total_tool_tokens,
            s.total_cost_usd,
            s.task_count,
        ];
        if sums.iter().all(Option::is_none) {
            return Ok(bare);
        }
        let number = |n: Option<Json<'de>>| n.map_or(0, |n| read_or_default::<Num>(n).0);
        Ok(Self {
            value: Some(s.value),
            totals: Some(WorkflowTotals {
                input_tokens: number(s.total_input_tokens),
                output_tokens: number(s.total_output_tokens),
                cached_input_tokens: number(s.total_cached_input_tokens),
                thinking_tokens: number(s.total_thinking_tokens),
                task_count: number(s.task_count),
                cost_usd: s.total_cost_usd.map_or(0.0, read_or_default),
            }),
        })
    }
}

/// A sum of a wrong type says nothing, as in the SDKs.
fn read_or_default<'a, T: Deserialize<'a> + Default>(json: Json<'a>) -> T {
    serde_json::from_str(json.0.get()).unwrap_or_default()
}

struct ErrorVisitor;

impl<'de> Visitor<'de> for ErrorVisitor {
    type Value = ErrorEvent<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an error")
    }

    fn visit_borrowed_str<E: de::Error>(self, v: &'de str) -> Result<Self::Value, E> {
        Ok(bare_error(Str(Cow::Borrowed(v))))
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<Self::Value, E> {
        Ok(bare_error(Str(Cow::Owned(v.to_owned()))))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        #[derive(Deserialize)]
        struct Fields<'a> {
            #[serde(default, borrow)]
            message: Str<'a>,
            #[serde(default, borrow)]
            kind: Str<'a>,
            #[serde(default, borrow)]
            code: Str<'a>,
        }
        let f = Fields::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok(ErrorEvent {
            message: f.message,
            kind: f.kind,
            code: f.code,
        })
    }
}

fn bare_error(message: Str<'_>) -> ErrorEvent<'_> {
    ErrorEvent {
        message,
        kind: Str::default(),
        code: Str::default(),
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for ErrorEvent<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(ErrorVisitor)
    }
}
