//! The ends of tasks and runs, which came in other shapes from older servers.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use super::forms::{Json, Num, Span, Str};
use super::payload::Usage;

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
        let text: &'de str = whole.0;
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
    serde_json::from_str(json.0).unwrap_or_default()
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
