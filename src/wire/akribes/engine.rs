//! Akribes' adjacent tags, `{"type": T, "payload": P}`, read in one pass: the
//! payload is read as what the tag says, straight from the input. Only when the
//! payload comes before its tag is it kept as raw text until the tag is known.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

use rustc_hash::FxHasher;
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::ends::{ErrorEvent, TaskEnd, WorkflowEnd};
use super::forms::{Json, Str};
use super::payload::*;

/// Reads `{"type": .., "payload": ..}` for one family of tags.
pub(super) trait Family<'de>: Sized {
    /// The tags of the family.
    type Tag: Copy;
    /// The tag of this name; there is always one, if only "unknown".
    fn tag(name: &str) -> Self::Tag;
    /// Reads the payload that belongs to a tag.
    fn read<D: Deserializer<'de>>(tag: Self::Tag, d: D) -> Result<Self, D::Error>;
    /// The value of a tag that came without a payload.
    fn bare(tag: Self::Tag) -> Option<Self>;
}

/// A member of a family, and the time that may stand beside its tag.
pub(super) struct Stamped<'de, F> {
    pub(super) value: F,
    pub(super) at: Option<Str<'de>>,
}

/// Reads one member of a family.
#[inline]
pub(super) fn adjacent<'de, F, D>(d: D) -> Result<Stamped<'de, F>, D::Error>
where
    F: Family<'de>,
    D: Deserializer<'de>,
{
    let mut value = None;
    let at = d.deserialize_map(AdjacentVisitor(&mut value))?;
    let value = value.ok_or_else(|| de::Error::missing_field("payload"))?;
    Ok(Stamped { value, at })
}

/// Leaves the value where it is to be, and gives the stamp back: a large value
/// that a parser hands from one call to the next is copied each time.
struct AdjacentVisitor<'s, F>(&'s mut Option<F>);

impl<'de, F: Family<'de>> Visitor<'de> for AdjacentVisitor<'_, F> {
    type Value = Option<Str<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `type` and `payload`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut at = None;
        let mut tag = None;
        let mut early: Option<&'de RawValue> = None;
        while let Some(key) = map.next_key::<Key>()? {
            match (key, tag) {
                (Key::Type, _) => tag = Some(map.next_value_seed(TagSeed::<F>::default())?),
                (Key::Payload, Some(tag)) => {
                    *self.0 = Some(map.next_value_seed(Payload::<F>(tag))?)
                }
                (Key::Payload, None) => early = Some(map.next_value()?),
                (Key::At, _) => at = map.next_value()?,
                (Key::Other, _) => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let tag: F::Tag = tag.ok_or_else(|| de::Error::missing_field("type"))?;
        if self.0.is_none() {
            *self.0 = match early {
                Some(raw) => Some(F::read(tag, raw).map_err(de::Error::custom)?),
                None => F::bare(tag),
            };
        }
        Ok(at)
    }
}

struct Payload<'de, F: Family<'de>>(F::Tag);

impl<'de, F: Family<'de>> DeserializeSeed<'de> for Payload<'de, F> {
    type Value = F;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<F, D::Error> {
        F::read(self.0, d)
    }
}

struct TagSeed<F>(PhantomData<F>);

impl<F> Default for TagSeed<F> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<'de, F: Family<'de>> DeserializeSeed<'de> for TagSeed<F> {
    type Value = F::Tag;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<F::Tag, D::Error> {
        d.deserialize_str(self)
    }
}

impl<'de, F: Family<'de>> Visitor<'de> for TagSeed<F> {
    type Value = F::Tag;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a type")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<F::Tag, E> {
        Ok(F::tag(name))
    }
}

enum Key {
    Type,
    Payload,
    At,
    Other,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl Visitor<'_> for KeyVisitor {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E: de::Error>(self, v: &str) -> Result<Key, E> {
                Ok(match v {
                    "type" => Key::Type,
                    "payload" => Key::Payload,
                    "at" => Key::At,
                    _ => Key::Other,
                })
            }
        }
        d.deserialize_identifier(KeyVisitor)
    }
}

macro_rules! engine_events {
    ($($name:ident($payload:ty),)*) => {
        /// One event of the engine.
        #[derive(Debug, Hash)]
        pub(super) enum Engine<'a> {
            $($name($payload),)*
            /// A type that this version does not know.
            Unknown,
        }

        /// The names of the types that are told apart, in the order of the tags.
        pub(super) const EVENT_TYPES: &[&str] =
            &["unknown", $(stringify!($name),)* "Registry", "Bench"];

        /// The tag of an engine event; also its place in [`EVENT_TYPES`].
        #[derive(Clone, Copy)]
        pub(super) enum EngineTag {
            Unknown,
            $($name,)*
        }

        impl Engine<'_> {
            /// A hash of what it says: see [`fingerprint`].
            pub(super) fn fingerprint(&self) -> u64 {
                match self {
                    $(Self::$name(payload) => fingerprint(EngineTag::$name, payload),)*
                    Self::Unknown => fingerprint(EngineTag::Unknown, &()),
                }
            }

            /// The place in [`EVENT_TYPES`].
            pub(super) const fn type_index(&self) -> usize {
                match self {
                    $(Self::$name(_) => EngineTag::$name as usize,)*
                    Self::Unknown => UNKNOWN,
                }
            }
        }

        impl<'de: 'a, 'a> Family<'de> for Engine<'a> {
            type Tag = EngineTag;

            fn tag(name: &str) -> EngineTag {
                match name {
                    $(stringify!($name) => EngineTag::$name,)*
                    _ => EngineTag::Unknown,
                }
            }

            fn read<D: Deserializer<'de>>(tag: EngineTag, d: D) -> Result<Self, D::Error> {
                match tag {
                    $(EngineTag::$name => Deserialize::deserialize(d).map(Engine::$name),)*
                    EngineTag::Unknown => {
                        IgnoredAny::deserialize(d)?;
                        Ok(Engine::Unknown)
                    }
                }
            }

            fn bare(tag: EngineTag) -> Option<Self> {
                match tag {
                    EngineTag::Unknown => Some(Engine::Unknown),
                    _ => None,
                }
            }
        }
    };
}

/// A hash of an event's type and payload, the same however it was written and read.
#[inline]
pub(super) fn fingerprint(tag: EngineTag, payload: &impl Hash) -> u64 {
    let mut hasher = FxHasher::default();
    (tag as usize).hash(&mut hasher);
    payload.hash(&mut hasher);
    hasher.finish()
}

/// The place of `unknown` in [`EVENT_TYPES`].
pub(super) const UNKNOWN: usize = EngineTag::Unknown as usize;
/// The place of `Registry`.
pub(super) const REGISTRY: usize = EVENT_TYPES.len() - 2;
/// The place of `Bench`.
pub(super) const BENCH: usize = EVENT_TYPES.len() - 1;

engine_events! {
    Log(Json<'a>),
    LogLevel(LogLevel<'a>),
    StateUpdate(Skipped),
    WorkflowStart(Skipped),
    TaskStart(TaskStart<'a>),
    TaskPrompt(TaskPrompt<'a>),
    TaskEnd(Box<TaskEnd<'a>>),
    AgentOutput(AgentOutput<'a>),
    AgentReasoning(AgentOutput<'a>),
    CachePlanned(Box<CachePlanned<'a>>),
    Suspended(Box<Suspended<'a>>),
    Resumed(Resumed<'a>),
    WorkflowEnd(Box<WorkflowEnd<'a>>),
    Error(ErrorEvent<'a>),
    NodeStart(Skipped),
    NodeEnd(Skipped),
    Breakpoint(Breakpoint<'a>),
    BreakpointResumed(Breakpoint<'a>),
    BatchQueued(BatchQueued<'a>),
    ToolCallStart(Box<ToolCallStart<'a>>),
    ToolCallEnd(Box<ToolCallEnd<'a>>),
    McpServerDegraded(McpServer<'a>),
    McpServerRecovered(McpServer<'a>),
    ToolApprovalPending(ToolApprovalPending<'a>),
    ToolApprovalResolved(ToolApprovalResolved<'a>),
    ToolApprovalSkipped(ToolApprovalSkipped<'a>),
    ToolReplayUncertain(ToolReplayUncertain<'a>),
    VerificationStart(Verification<'a>),
    VerificationResult(Verification<'a>),
    ValidationFailure(Box<ValidationFailure<'a>>),
    SubScript(SubScript<'a>),
    LoopStart(LoopStart<'a>),
    LoopTurn(Box<LoopTurn<'a>>),
    LoopEnd(LoopEnd<'a>),
    ContextCompacted(Box<ContextCompacted<'a>>),
    ContextOverflow(Box<ContextOverflow<'a>>),
    TaskCacheHit(TaskCacheHit<'a>),
    TaskEscalated(Box<TaskEscalated<'a>>),
    LLMResponse(Box<LlmResponse<'a>>),
    LLMReplayCacheHit(LlmReplayCacheHit<'a>),
    SubScriptSpawned(SubScriptSpawned<'a>),
    SubScriptResult(Box<SubScriptResult<'a>>),
    CheckpointResolution(Skipped),
    RuntimeStart(RuntimeStart<'a>),
    RuntimeStdout(RuntimeOutput<'a>),
    RuntimeStderr(RuntimeOutput<'a>),
    RuntimeEnd(RuntimeEnd<'a>),
    RuntimeError(RuntimeError<'a>),
    HttpCallStart(Box<HttpCallStart<'a>>),
    HttpCallEnd(Box<HttpCallEnd<'a>>),
}

/// A payload of which nothing is read.
#[derive(Debug, Hash)]
pub(super) struct Skipped;

impl<'de> Deserialize<'de> for Skipped {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(d).map(|_| Self)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Engine<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        adjacent(d).map(|stamped| stamped.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_before_its_tag_reads_the_same() {
        let read = |json: &'static str| format!("{:?}", serde_json::from_str::<Engine<'_>>(json));
        assert_eq!(
            read(r#"{"payload":["summarise",null],"type":"TaskStart"}"#),
            read(r#"{"type":"TaskStart","payload":["summarise",null],"extra":{"a":[1]}}"#),
        );
    }

    #[test]
    fn an_unknown_type_passes_with_any_payload_or_none() {
        for json in [
            r#"{"type":"Quantum","payload":{"deep":[{}]}}"#,
            r#"{"type":"Quantum"}"#,
            r#"{"payload":7,"type":"Quantum"}"#,
        ] {
            assert!(
                matches!(serde_json::from_str(json), Ok(Engine::Unknown)),
                "{json}"
            );
        }
    }

    #[test]
    fn a_known_type_without_payload_is_an_error() {
        assert!(serde_json::from_str::<Engine<'_>>(r#"{"type":"TaskStart"}"#).is_err());
        assert!(serde_json::from_str::<Engine<'_>>(r#"{"payload":1}"#).is_err());
    }
}
