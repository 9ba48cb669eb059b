//! Parts of the translation, one event or value each.

use std::time::Duration;

use serde::Deserialize;

use super::codes::documented;
use super::ends::ErrorEvent;
use super::facts::{Facts, present};
use super::forms::{Json, Num, Str};
use super::payload::*;
use crate::wire::event::{
    self, About, FactKey, FactValue, Fault, NodeEnd, NodeKind, NodeOutcome, Note, NoteKind, RunEnd,
    RunOutcome, Text, Under, What,
};

pub(super) fn run_error(error: ErrorEvent<'_>) -> RunEnd<'_> {
    let outcome = match (&*error.kind.0, &*error.code.0) {
        ("Cancelled", _) | ("", "UserCancelled" | "AKRIBES-E-USER-CANCELLED") => {
            RunOutcome::Cancelled
        }
        ("Timeout", _) => RunOutcome::Timeout,
        _ => RunOutcome::Error,
    };
    let fault = Fault {
        kind: present(error.kind),
        code: documented(error.code.0),
        message: error.message.0,
    };
    RunEnd {
        outcome,
        error: Some(fault),
        totals: None,
        output: None,
    }
}

pub(super) fn cache_planned(planned: CachePlanned<'_>, capture: bool) -> What<'_> {
    note(
        About::Agent(planned.agent.0),
        NoteKind::CachePlanned,
        Facts::new()
            .text(FactKey::Provider, planned.provider)
            .number(FactKey::Segments, planned.n_segments)
            .number(FactKey::StableSegments, planned.n_stable)
            .number(FactKey::CacheMarkers, planned.markers_placed)
            .number(FactKey::PredictedReuse, planned.predicted_reuse_count)
            .text(FactKey::CacheTtl, planned.cache_ttl)
            .content(FactKey::Reason, planned.cache_reason, capture),
    )
}

pub(super) fn context_compacted(compacted: ContextCompacted<'_>) -> What<'_> {
    note(
        About::Agent(compacted.agent.0),
        NoteKind::ContextCompacted,
        Facts::new()
            .text(FactKey::LoopId, compacted.loop_id)
            .maybe(FactKey::Turn, compacted.turn)
            .text(FactKey::Strategy, compacted.strategy)
            .number(FactKey::TokensBefore, compacted.before_tokens)
            .number(FactKey::TokensAfter, compacted.after_tokens)
            .truth(FactKey::ProviderNative, compacted.provider_native),
    )
}

pub(super) fn runtime_end(end: RuntimeEnd<'_>) -> NodeEnd<'_> {
    let failed = end.exit_code != 0;
    NodeEnd {
        under: Under::Task(end.task_name.0),
        outcome: if failed {
            NodeOutcome::Failed
        } else {
            NodeOutcome::Success
        },
        duration: millis(end.duration_ms),
        error: failed.then(|| Fault {
            kind: Some("exit_code".into()),
            ..Fault::default()
        }),
        facts: Facts::new()
            .put(FactKey::ExitCode, FactValue::Int(end.exit_code))
            .done(),
        ..ended(NodeKind::Code, None, None)
    }
}

pub(super) fn http_end(end: HttpCallEnd<'_>) -> NodeEnd<'_> {
    let answered = end.status.0 != 0;
    let error = end.is_error.then(|| Fault {
        kind: Some(if answered {
            end.status.0.to_string().into()
        } else {
            "no_answer".into()
        }),
        ..Fault::default()
    });
    NodeEnd {
        under: present(end.task_name).map_or(Under::Scope, Under::Task),
        outcome: if end.is_error {
            NodeOutcome::Failed
        } else {
            NodeOutcome::Success
        },
        duration: millis(end.duration_ms),
        error,
        facts: Facts::new()
            .maybe(FactKey::HttpStatus, answered.then_some(end.status))
            .number(FactKey::BodyBytes, end.bytes)
            .done(),
        ..ended(NodeKind::Http, None, present(end.call_id))
    }
}

pub(super) fn loop_turn(turn: LoopTurn<'_>) -> NodeEnd<'_> {
    let mut facts = Facts::new()
        .number(FactKey::Turn, turn.turn)
        .number(FactKey::ToolCalls, Num(turn.tool_calls.0.len() as u64))
        .texts(FactKey::ToolNames, turn.tool_calls.0);
    if let Some(used) = turn.usage {
        facts = facts
            .text(FactKey::Model, used.model)
            .number(FactKey::InputTokens, used.input_tokens)
            .number(FactKey::OutputTokens, used.output_tokens);
    }
    NodeEnd {
        facts: facts.done(),
        ..ended(
            NodeKind::Turn,
            Some(turn.name.0),
            Some(turn.turn.0.to_string().into()),
        )
    }
}

pub(super) fn child_result(result: SubScriptResult<'_>) -> What<'_> {
    let mut facts = Facts::new().text(FactKey::ChildRun, result.child_execution_id);
    if let Some(outcome) = result.outcome {
        facts = facts.text(FactKey::ChildOutcome, outcome.kind);
        if let Some(detail) = outcome.detail {
            facts = facts.text(FactKey::ErrorKind, detail.kind);
            if let Some(code) = documented(detail.code.0) {
                facts = facts.put(FactKey::ErrorCode, FactValue::Text(code));
            }
        }
    }
    note(About::Scope, NoteKind::ChildResult, facts)
}

pub(super) fn usage(used: Usage<'_>) -> event::Usage<'_> {
    event::Usage {
        provider: used.provider.0,
        model: used.model.0,
        input_tokens: used.input_tokens.0,
        output_tokens: used.output_tokens.0,
        cache_read_tokens: used.cached_input_tokens.0,
        cache_write_tokens: used.cache_write_input_tokens.0,
        cache_write_5m_tokens: used.cache_write_5m_input_tokens.0,
        cache_write_1h_tokens: used.cache_write_1h_input_tokens.0,
        reasoning_tokens: used.reasoning_tokens.0,
        finish_reason: present(used.raw_stop_reason).or_else(|| present(used.stop_reason)),
        cost_usd: None,
    }
}

/// What a `{"FatalError": …, "error_kind": …, "code": …}` value tells.
pub(super) fn fatal_error(value: Option<Json<'_>>) -> Option<Fault<'_>> {
    #[derive(Deserialize)]
    struct Fatal<'a> {
        #[serde(rename = "FatalError", borrow)]
        message: Str<'a>,
        #[serde(default, borrow)]
        error_kind: Str<'a>,
        #[serde(default, borrow)]
        code: Str<'a>,
    }
    let raw = value?.0;
    if !raw.starts_with('{') {
        return None;
    }
    let fatal: Fatal<'_> = serde_json::from_str(raw).ok()?;
    Some(Fault {
        kind: present(fatal.error_kind),
        code: documented(fatal.code.0),
        message: fatal.message.0,
    })
}

/// Whether a tool's output is an object with an `error` that is not null.
pub(super) fn has_error(output: Json<'_>) -> bool {
    #[derive(Deserialize)]
    struct Output<'a> {
        #[serde(default, borrow)]
        error: Option<Json<'a>>,
    }
    let raw = output.0;
    raw.starts_with('{')
        && serde_json::from_str::<Output<'_>>(raw).is_ok_and(|output| output.error.is_some())
}

/// A URL's query and fragment are private.
pub(super) fn without_query(url: Text<'_>) -> Text<'_> {
    match url.find(['?', '#']) {
        None => url,
        Some(end) => match url {
            Text::Borrowed(url) => Text::Borrowed(&url[..end]),
            Text::Owned(mut url) => {
                url.truncate(end);
                Text::Owned(url)
            }
        },
    }
}

pub(super) fn millis(ms: Option<Num>) -> Option<Duration> {
    ms.map(|ms| Duration::from_millis(ms.0))
}

/// The end of a node; the large ones are boxed, so that the many small ones move fast.
pub(super) fn node_ended(end: NodeEnd<'_>) -> What<'_> {
    What::NodeEnded(Box::new(end))
}

pub(super) fn run_ended(end: RunEnd<'_>) -> What<'_> {
    What::RunEnded(Box::new(end))
}

pub(super) fn ended<'a>(
    kind: NodeKind,
    name: Option<Text<'a>>,
    key: Option<Text<'a>>,
) -> NodeEnd<'a> {
    NodeEnd {
        kind,
        name,
        key,
        under: Under::Scope,
        outcome: NodeOutcome::Success,
        duration: None,
        attempt: None,
        usage: None,
        error: None,
        facts: Vec::new(),
    }
}

pub(super) fn note<'a>(about: About<'a>, kind: NoteKind, facts: Facts<'a>) -> What<'a> {
    What::Note(Note {
        about,
        kind,
        facts: facts.done(),
    })
}
