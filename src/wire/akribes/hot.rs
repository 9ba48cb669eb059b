//! The elements that a feed mostly consists of, read in one pass by
//! [`crate::wire::pull`]. What it gives up on is read by `serde_json` through the
//! shapes' own `Deserialize`, which says what is right: here is nothing but the
//! same again, for the plain form in which servers write.

use super::Execution;
use super::ends::TaskEnd;
use super::engine::{Engine, EngineTag, fingerprint};
use super::forms::{Json, Num, Piece, Span, Str};
use super::payload::{
    AgentOutput, SubScript, SubScriptFrame, TaskPrompt, TaskStart, ToolCallEnd, ToolCallStart,
    Usage,
};
use super::translate::{Told, Translated, chunk};
use crate::wire::event::Stream;
use crate::wire::pull::Pull;
use crate::wire::rejection::Rejection;

/// Reads an element from the front of a text, and tells how many bytes it took.
#[inline(always)]
pub(super) fn execution(text: &str) -> Option<(HotExecution<'_>, usize)> {
    let mut json = Pull::new(text);
    json.expect(r#"{"type":"Execution","payload":"#)?;
    let execution = Hot::read(&mut json)?;
    json.expect("}")?;
    Some((execution, text.len() - json.rest().len()))
}

/// An execution of which the event was read here.
pub(super) type HotExecution<'a> = Execution<'a, HotEvent<'a>>;

/// An event: the pieces of streams, of which there are most, apart from all
/// others, so that they need not be moved in and out of a large enum.
#[derive(Debug)]
pub(super) enum HotEvent<'a> {
    Answer(AgentOutput<'a>),
    Reasoning(AgentOutput<'a>),
    Other(Box<Engine<'a>>),
}

impl<'a> Told<'a> for HotEvent<'a> {
    #[inline(always)]
    fn fingerprint(&self) -> u64 {
        match self {
            Self::Answer(output) => fingerprint(EngineTag::AgentOutput, output),
            Self::Reasoning(output) => fingerprint(EngineTag::AgentReasoning, output),
            Self::Other(engine) => engine.fingerprint(),
        }
    }

    #[inline(always)]
    fn translate(self, capture: bool) -> Result<Translated<'a>, Rejection> {
        match self {
            Self::Answer(output) => chunk(EngineTag::AgentOutput, output, Stream::Answer, capture),
            Self::Reasoning(output) => chunk(
                EngineTag::AgentReasoning,
                output,
                Stream::Reasoning,
                capture,
            ),
            Self::Other(engine) => engine.translate(capture),
        }
    }
}

/// What is read in its plain form.
trait Hot<'a>: Sized {
    fn read(json: &mut Pull<'a>) -> Option<Self>;
}

/// Reads a struct from an object. The keys are looked for in the order in which
/// they are given here, as servers write them: that is fast; then in any order.
/// `after` names a key that is known and skipped. A key that comes twice gives up.
macro_rules! hot_structs {
    ($($name:ident { $(
        $field:ident $(| $alias:ident)? = $if_absent:ident $(after $skipped:ident)?,
    )* })*) => {$(
        impl<'a> Hot<'a> for $name<'a> {
            #[inline(always)]
            fn read(json: &mut Pull<'a>) -> Option<Self> {
                $(let mut $field = None;)*
                json.expect("{")?;
                let mut more = !json.takes("}");
                $(
                    $(if more && json.takes(concat!("\"", stringify!($skipped), "\":")) {
                        json.skip()?;
                        more = json.more()?;
                    })?
                    if more && json.takes(concat!("\"", stringify!($field), "\":")) {
                        $field = Some(Hot::read(json)?);
                        more = json.more()?;
                    }
                )*
                while more {
                    let key = json.plain()?;
                    json.expect(":")?;
                    match key {
                        $(stringify!($field) $(| stringify!($alias))? => {
                            let again = $field.replace(Hot::read(json)?);
                            again.is_none().then_some(())?;
                        })*
                        _ => json.skip()?,
                    }
                    more = json.more()?;
                }
                Some(Self { $($field: $if_absent($field)?,)* })
            }
        }
    )*};
}

hot_structs! {
    HotExecution {
        project_id = default,
        script_name = refuse,
        execution_id = default,
        event = refuse,
        seq = default,
        at = default,
    }
    AgentOutput {
        task_name = refuse,
        agent_name = default,
        task_id = default,
        chunk = refuse after schema_type,
    }
    TaskEnd {
        task | name = refuse,
        value = default after on_error_label,
        duration = default after value_type,
        attempt = default,
        usage = default,
        variant = default,
    }
    Usage {
        input_tokens = default,
        output_tokens = default,
        model = default,
        provider = default,
        cached_input_tokens = default,
        cache_write_input_tokens = default,
        cache_write_5m_input_tokens = default,
        cache_write_1h_input_tokens = default,
        stop_reason = default,
        raw_stop_reason = default,
        reasoning_tokens = default,
    }
    ToolCallStart {
        task_name = refuse,
        tool_name = refuse,
        server_name = default,
        input = default,
        tool_use_id = default,
    }
    ToolCallEnd {
        task_name = refuse,
        tool_name = refuse,
        tool_use_id = default,
        output = default,
        duration = default,
        duration_ms = default,
    }
    SubScript {
        script_name = refuse,
        parent_task = default,
        parent_node_id = default,
        attempt = default,
        parent_path = default,
        child = refuse,
    }
    SubScriptFrame {
        script_name = refuse,
        parent_task = default,
        parent_node_id = default,
        attempt = default,
    }
}

fn refuse<T>(field: Option<T>) -> Option<T> {
    field
}

fn default<T: Default>(field: Option<T>) -> Option<T> {
    Some(field.unwrap_or_default())
}

impl<'a> Hot<'a> for HotEvent<'a> {
    #[inline(always)]
    fn read(json: &mut Pull<'a>) -> Option<Self> {
        let event: fn(AgentOutput<'a>) -> Self =
            if json.takes(r#"{"type":"AgentOutput","payload":"#) {
                Self::Answer
            } else if json.takes(r#"{"type":"AgentReasoning","payload":"#) {
                Self::Reasoning
            } else {
                return other(json).map(Self::Other);
            };
        let output = Hot::read(json)?;
        json.expect("}")?;
        Some(event(output))
    }
}

#[inline(never)]
fn other<'a>(json: &mut Pull<'a>) -> Option<Box<Engine<'a>>> {
    Hot::read(json)
}

impl<'a> Hot<'a> for Engine<'a> {
    fn read(json: &mut Pull<'a>) -> Option<Self> {
        json.expect(r#"{"type":"#)?;
        let tag = json.plain()?;
        json.expect(r#","payload":"#)?;
        let engine = match tag {
            "AgentOutput" => Engine::AgentOutput(Hot::read(json)?),
            "AgentReasoning" => Engine::AgentReasoning(Hot::read(json)?),
            "TaskStart" => Engine::TaskStart(Hot::read(json)?),
            "TaskPrompt" => Engine::TaskPrompt(Hot::read(json)?),
            "TaskEnd" => Engine::TaskEnd(Hot::read(json)?),
            "ToolCallStart" => Engine::ToolCallStart(Hot::read(json)?),
            "ToolCallEnd" => Engine::ToolCallEnd(Hot::read(json)?),
            "SubScript" => {
                json.deepen()?;
                Engine::SubScript(Hot::read(json)?)
            }
            _ => return None,
        };
        json.expect("}")?;
        Some(engine)
    }
}

/// The form of a list.
impl<'a> Hot<'a> for TaskStart<'a> {
    fn read(json: &mut Pull<'a>) -> Option<Self> {
        json.expect("[")?;
        let name = Hot::read(json)?;
        json.expect(",")?;
        let on_error = Hot::read(json)?;
        json.expect("]")?;
        Some(Self { name, on_error })
    }
}

/// The form of a list.
impl<'a> Hot<'a> for TaskPrompt<'a> {
    fn read(json: &mut Pull<'a>) -> Option<Self> {
        json.expect("[")?;
        let task = Hot::read(json)?;
        json.expect(",")?;
        let prompt = Hot::read(json)?;
        json.expect("]")?;
        Some(Self { task, prompt })
    }
}

impl<'a> Hot<'a> for Span {
    fn read(json: &mut Pull<'a>) -> Option<Self> {
        if json.takes("null") {
            return Some(Self::default());
        }
        if !json.takes("{\"secs\":") {
            return json.number().map(Self::of_millis);
        }
        let secs = Hot::read(json)?;
        json.expect(",\"nanos\":")?;
        let nanos = Hot::read(json)?;
        json.expect("}")?;
        Some(Self::of_parts(secs, nanos))
    }
}

impl<'a> Hot<'a> for Str<'a> {
    #[inline(always)]
    fn read(json: &mut Pull<'a>) -> Option<Self> {
        let text: Option<&str> = Hot::read(json)?;
        Some(Self(text.unwrap_or_default().into()))
    }
}

impl<'a> Hot<'a> for &'a str {
    #[inline(always)]
    fn read(json: &mut Pull<'a>) -> Option<Self> {
        json.plain()
    }
}

impl<'a> Hot<'a> for Json<'a> {
    #[inline(always)]
    fn read(json: &mut Pull<'a>) -> Option<Self> {
        json.raw().map(Self)
    }
}

impl<'a> Hot<'a> for Piece<'a> {
    #[inline(always)]
    fn read(json: &mut Pull<'a>) -> Option<Self> {
        let (raw, bytes) = json.measured()?;
        Some(Self {
            json: Json(raw),
            text_bytes: Some(bytes as u64),
        })
    }
}

impl<'a> Hot<'a> for Num {
    #[inline(always)]
    fn read(json: &mut Pull<'a>) -> Option<Self> {
        let number: Option<u64> = Hot::read(json)?;
        Some(Self(number.unwrap_or_default()))
    }
}

impl<'a> Hot<'a> for u64 {
    #[inline(always)]
    fn read(json: &mut Pull<'a>) -> Option<Self> {
        json.number()
    }
}

impl<'a> Hot<'a> for i64 {
    #[inline(always)]
    fn read(json: &mut Pull<'a>) -> Option<Self> {
        Self::try_from(json.number()?).ok()
    }
}

impl<'a, T: Hot<'a>> Hot<'a> for Option<T> {
    #[inline(always)]
    fn read(json: &mut Pull<'a>) -> Option<Self> {
        if json.peek() == Some(b'n') {
            json.expect("null")?;
            return Some(None);
        }
        T::read(json).map(Some)
    }
}

impl<'a, T: Hot<'a>> Hot<'a> for Box<T> {
    fn read(json: &mut Pull<'a>) -> Option<Self> {
        T::read(json).map(Self::new)
    }
}

impl<'a, T: Hot<'a>> Hot<'a> for Vec<T> {
    fn read(json: &mut Pull<'a>) -> Option<Self> {
        let mut values = Self::new();
        json.array(|json| {
            values.push(T::read(json)?);
            Some(())
        })?;
        Some(values)
    }
}

#[cfg(test)]
mod tests;
