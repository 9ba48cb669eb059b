//! Akribes' events in the words of the vocabulary.

use super::content::{json_content, text_content};
use super::ends::{TaskEnd, WorkflowEnd};
use super::engine::{Engine, EngineTag};
use super::facts::{Facts, present};
use super::forms::{List, Num, Piece, Str};
use super::parts::{
    cache_planned, child_result, context_compacted, ended, fatal_error, has_error, http_end,
    loop_turn, millis, node_ended, note, run_ended, run_error, runtime_end, usage, without_query,
};
use super::payload::*;
use crate::limits::SCOPE_DEPTH_MAX;
use crate::wire::event::{
    About, Chunk, Content, FactKey, FactValue, Fault, NodeEnd, NodeKind, NodeOutcome, NodeStart,
    NoteKind, RunEnd, RunOutcome, Stream, SubRunRef, Text, Totals, Under, What,
};
use crate::wire::rejection::Rejection;

/// What an event says, and in which sub-runs.
pub(super) struct Translated<'a> {
    pub(super) type_index: usize,
    pub(super) scope: Vec<SubRunRef<'a>>,
    pub(super) what: What<'a>,
}

/// An event, however it was read.
pub(super) trait Told<'a> {
    /// A hash of what it says: see [`super::engine::fingerprint`].
    fn fingerprint(&self) -> u64;
    /// What it means. `capture` tells whether private texts may leave.
    fn translate(self, capture: bool) -> Result<Translated<'a>, Rejection>;
}

impl<'a> Told<'a> for Engine<'a> {
    fn fingerprint(&self) -> u64 {
        Engine::fingerprint(self)
    }

    fn translate(self, capture: bool) -> Result<Translated<'a>, Rejection> {
        let (scope, leaf) = flatten(self);
        let type_index = leaf.type_index();
        let what = Translator { capture }.leaf(leaf)?;
        Ok(Translated {
            type_index,
            scope,
            what,
        })
    }
}

/// What the piece of a stream says, at the top level of its run.
#[inline(always)]
pub(super) fn chunk(
    tag: EngineTag,
    output: AgentOutput<'_>,
    stream: Stream,
    capture: bool,
) -> Result<Translated<'_>, Rejection> {
    Ok(Translated {
        type_index: tag as usize,
        scope: Vec::new(),
        what: Translator { capture }.agent(output, stream)?,
    })
}

/// Takes an event out of its sub-scripts, in the flat and in the old nested form.
fn flatten(engine: Engine<'_>) -> (Vec<SubRunRef<'_>>, Engine<'_>) {
    let mut scope = Vec::new();
    let mut engine = engine;
    while let Engine::SubScript(sub) = engine {
        scope.extend(
            sub.parent_path
                .into_iter()
                .flatten()
                .map(|frame| SubRunRef {
                    workflow: frame.script_name.0,
                    call: frame.parent_task.0,
                    site: frame.parent_node_id.map(|n| n.0),
                    attempt: frame.attempt.map(|n| n.0),
                }),
        );
        scope.push(SubRunRef {
            workflow: sub.script_name.0,
            call: sub.parent_task.0,
            site: sub.parent_node_id.map(|n| n.0),
            attempt: sub.attempt.map(|n| n.0),
        });
        engine = *sub.child;
    }
    if scope.len() > SCOPE_DEPTH_MAX {
        // The innermost one is kept: it is the one that the event is about.
        scope.drain(SCOPE_DEPTH_MAX - 1..scope.len() - 1);
    }
    (scope, engine)
}

struct Translator {
    capture: bool,
}

impl Translator {
    fn leaf<'a>(&self, engine: Engine<'a>) -> Result<What<'a>, Rejection> {
        Ok(match engine {
            Engine::WorkflowStart(_) => What::RunStarted,
            Engine::WorkflowEnd(end) => run_ended(self.workflow_end(*end)),
            Engine::Error(error) => run_ended(run_error(error)),

            Engine::TaskStart(start) => What::NodeStarted(NodeStart {
                kind: NodeKind::Task,
                name: start.name.0,
                key: None,
                under: Under::Scope,
                facts: Facts::new().text(FactKey::OnError, start.on_error).done(),
            }),
            Engine::TaskEnd(end) => node_ended(self.task_end(*end)),
            Engine::TaskPrompt(prompt) => note(
                About::Task(prompt.task.0),
                NoteKind::Prompt,
                Facts::new().content(FactKey::Input, prompt.prompt, self.capture),
            ),
            Engine::ValidationFailure(failure) => self.validation_failure(*failure),
            Engine::TaskEscalated(escalated) => note(
                About::Task(escalated.task.0),
                NoteKind::Escalated,
                Facts::new()
                    .text(FactKey::FromAgent, escalated.from_agent)
                    .text(FactKey::ToAgent, escalated.to_agent)
                    .content(FactKey::Reason, escalated.reason, self.capture),
            ),
            Engine::TaskCacheHit(hit) => note(
                About::Agent(hit.agent.0),
                NoteKind::CacheHit,
                Facts::new().text(FactKey::CacheKey, hit.key_prefix),
            ),

            Engine::AgentOutput(output) => self.agent(output, Stream::Answer)?,
            Engine::AgentReasoning(output) => self.agent(output, Stream::Reasoning)?,
            Engine::LLMResponse(response) => self.llm_response(*response),
            Engine::LLMReplayCacheHit(hit) => note(
                About::Scope,
                NoteKind::ReplayCacheHit,
                Facts::new()
                    .text(FactKey::GraphNode, hit.node_id)
                    .number(FactKey::CallIndex, hit.call_index),
            ),
            Engine::CachePlanned(planned) => cache_planned(*planned, self.capture),
            Engine::ContextCompacted(compacted) => context_compacted(*compacted),
            Engine::ContextOverflow(overflow) => note(
                About::Agent(overflow.agent.0),
                NoteKind::ContextOverflow,
                Facts::new()
                    .texts(FactKey::Strategies, overflow.attempted_strategies.0)
                    .number(FactKey::TokensMax, overflow.configured_cap_tokens)
                    .truth(FactKey::HardError, overflow.terminated_by_hard_error),
            ),

            Engine::ToolCallStart(start) => What::NodeStarted(NodeStart {
                kind: NodeKind::Tool,
                name: start.tool_name.0,
                key: present(start.tool_use_id),
                under: Under::Task(start.task_name.0),
                facts: Facts::new()
                    .text(FactKey::ToolServer, start.server_name)
                    .json(FactKey::Input, start.input, self.capture)
                    .done(),
            }),
            Engine::ToolCallEnd(end) => node_ended(self.tool_end(*end)),
            Engine::ToolApprovalPending(pending) => What::NodeStarted(NodeStart {
                kind: NodeKind::Wait,
                name: pending.tool_ref.0.clone(),
                key: present(pending.token),
                under: Under::Tool(pending.tool_ref.0),
                facts: Facts::new()
                    .word(FactKey::WaitKind, "approval")
                    .json(FactKey::Input, pending.args, self.capture)
                    .done(),
            }),
            Engine::ToolApprovalResolved(resolved) => node_ended(NodeEnd {
                facts: Facts::new()
                    .truth(FactKey::Approved, resolved.approved)
                    .content(FactKey::Output, resolved.reason, self.capture)
                    .done(),
                ..ended(NodeKind::Wait, None, present(resolved.token))
            }),
            Engine::ToolApprovalSkipped(skipped) => note(
                About::Tool { name: skipped.tool_ref.0, key: None },
                NoteKind::ApprovalSkipped,
                Facts::new().text(FactKey::Reason, skipped.reason),
            ),
            Engine::ToolReplayUncertain(uncertain) => note(
                About::Tool { name: uncertain.tool_name.0, key: present(uncertain.tool_use_id) },
                NoteKind::ToolReplayUncertain,
                Facts::new(),
            ),
            Engine::McpServerDegraded(server) => note(
                About::Scope,
                NoteKind::ToolServerDegraded,
                Facts::new()
                    .text(FactKey::ToolServer, server.alias)
                    .content(FactKey::Reason, server.reason, self.capture),
            ),
            Engine::McpServerRecovered(server) => note(
                About::Scope,
                NoteKind::ToolServerRecovered,
                Facts::new().text(FactKey::ToolServer, server.alias),
            ),

            Engine::Suspended(suspended) => What::NodeStarted(self.suspended(*suspended)),
            Engine::Resumed(resumed) => node_ended(ended(
                NodeKind::Wait,
                present(resumed.checkpoint_name),
                present(resumed.token),
            )),
            Engine::Breakpoint(breakpoint) => What::NodeStarted(NodeStart {
                kind: NodeKind::Wait,
                name: "breakpoint".into(),
                key: present(breakpoint.token),
                under: Under::Scope,
                facts: Facts::new()
                    .word(FactKey::WaitKind, "breakpoint")
                    .scalar(FactKey::GraphNode, breakpoint.node_id)
                    .done(),
            }),
            Engine::BreakpointResumed(breakpoint) => {
                node_ended(ended(NodeKind::Wait, None, present(breakpoint.token)))
            }
            Engine::BatchQueued(batch) => What::NodeStarted(NodeStart {
                kind: NodeKind::Wait,
                name: "batch".into(),
                key: present(batch.token),
                under: Under::Scope,
                facts: Facts::new()
                    .word(FactKey::WaitKind, "batch")
                    .text(FactKey::Provider, batch.provider)
                    .text(FactKey::Model, batch.model)
                    .done(),
            }),

            Engine::RuntimeStart(start) => What::NodeStarted(NodeStart {
                kind: NodeKind::Code,
                name: start.runtime_name.0,
                key: None,
                under: Under::Task(start.task_name.0),
                facts: Facts::new().text(FactKey::Language, start.language).done(),
            }),
            Engine::RuntimeStdout(output) => self.runtime_output(output, Stream::Stdout)?,
            Engine::RuntimeStderr(output) => self.runtime_output(output, Stream::Stderr)?,
            Engine::RuntimeEnd(end) => node_ended(runtime_end(end)),
            Engine::RuntimeError(error) => node_ended(NodeEnd {
                under: Under::Task(error.task_name.0),
                outcome: NodeOutcome::Failed,
                error: Some(Fault {
                    kind: present(error.kind),
                    code: None,
                    message: error.message.0,
                }),
                ..ended(NodeKind::Code, None, None)
            }),
            Engine::HttpCallStart(start) => What::NodeStarted(self.http_start(*start)),
            Engine::HttpCallEnd(end) => node_ended(http_end(*end)),

            Engine::LoopStart(start) => What::NodeStarted(NodeStart {
                kind: NodeKind::Loop,
                under: Under::Task(start.name.0.clone()),
                name: start.name.0,
                key: None,
                facts: Facts::new().maybe(FactKey::TurnsMax, start.max_turns).done(),
            }),
            Engine::LoopTurn(turn) => node_ended(loop_turn(*turn)),
            Engine::LoopEnd(end) => node_ended(self.loop_end(end)),

            Engine::SubScriptSpawned(spawned) => {
                What::RunLinked { child: spawned.child_execution_id.0 }
            }
            Engine::SubScriptResult(result) => child_result(*result),
            Engine::VerificationStart(verification) => What::NodeStarted(NodeStart {
                kind: NodeKind::Verify,
                name: verification.workflow_name.0,
                key: None,
                under: Under::Scope,
                facts: Vec::new(),
            }),
            Engine::VerificationResult(verification) => node_ended(NodeEnd {
                duration: verification.duration.0,
                facts: Facts::new()
                    .json(FactKey::Output, verification.results, self.capture)
                    .done(),
                ..ended(NodeKind::Verify, present(verification.workflow_name), None)
            }),

            Engine::Log(message) => note(
                About::Scope,
                NoteKind::Log,
                Facts::new().content(FactKey::Output, Some(message), self.capture),
            ),
            Engine::LogLevel(log) => note(
                About::Scope,
                NoteKind::Log,
                Facts::new()
                    .text(FactKey::Level, log.level)
                    .content(FactKey::Output, log.message, self.capture),
            ),

            Engine::StateUpdate(_)
            | Engine::NodeStart(_)
            | Engine::NodeEnd(_)
            | Engine::CheckpointResolution(_)
            | Engine::Unknown
            // Flattening leaves none.
            | Engine::SubScript(_) => What::Counted,
        })
    }

    fn workflow_end<'a>(&self, end: WorkflowEnd<'a>) -> RunEnd<'a> {
        RunEnd {
            outcome: RunOutcome::Success,
            error: None,
            totals: end.totals.map(|t| Totals {
                input_tokens: t.input_tokens,
                output_tokens: t.output_tokens,
                cache_read_tokens: t.cached_input_tokens,
                reasoning_tokens: t.thinking_tokens,
                tasks: t.task_count,
                cost_usd: t.cost_usd,
            }),
            output: end.value.map(|value| json_content(value, self.capture)),
        }
    }

    fn task_end<'a>(&self, end: TaskEnd<'a>) -> NodeEnd<'a> {
        let outcome = match &*end.variant.0 {
            "" | "success" => NodeOutcome::Success,
            "unable" => NodeOutcome::Unable,
            "failed" => NodeOutcome::Failed,
            _ => NodeOutcome::Unknown,
        };
        let error = match outcome {
            NodeOutcome::Success => None,
            NodeOutcome::Failed => Some(fatal_error(end.value).unwrap_or_default()),
            NodeOutcome::Unable | NodeOutcome::Unknown => fatal_error(end.value),
        };
        NodeEnd {
            outcome,
            duration: end.duration.0,
            attempt: end.attempt.map(|n| n.0),
            usage: end.usage.map(usage),
            error,
            facts: Facts::new()
                .json(FactKey::Output, end.value, self.capture)
                .done(),
            ..ended(NodeKind::Task, Some(end.task.0), None)
        }
    }

    #[inline(always)]
    fn agent<'a>(&self, output: AgentOutput<'a>, stream: Stream) -> Result<What<'a>, Rejection> {
        Ok(What::Chunk(Chunk {
            kind: NodeKind::Task,
            name: output.task_name.0,
            key: present(output.task_id),
            agent: present(output.agent_name),
            stream,
            content: self.piece(output.chunk)?,
        }))
    }

    fn runtime_output<'a>(
        &self,
        output: RuntimeOutput<'a>,
        stream: Stream,
    ) -> Result<What<'a>, Rejection> {
        Ok(What::Chunk(Chunk {
            kind: NodeKind::Code,
            name: output.task_name.0,
            key: None,
            agent: None,
            stream,
            content: self.piece(output.chunk)?,
        }))
    }

    /// A piece of a stream is a text and nothing else.
    #[inline(always)]
    fn piece<'a>(&self, piece: Piece<'a>) -> Result<Content<'a>, Rejection> {
        let bytes = piece.text_bytes.ok_or(Rejection::WrongShape)?;
        Ok(text_content(piece.json, bytes, self.capture))
    }

    fn validation_failure<'a>(&self, failure: ValidationFailure<'a>) -> What<'a> {
        let count = |list: &List<'_>| Num(list.0.len() as u64);
        let lists = [
            &failure.missing_fields,
            &failure.extra_fields,
            &failure.type_errors,
        ];
        let names: Vec<&str> = lists
            .iter()
            .flat_map(|list| list.0.iter())
            .map(|name| &*name.0)
            .collect();
        let names = names.join("\n");
        let names = Content {
            bytes: names.len() as u64,
            text: self.capture.then_some(Text::Owned(names)),
        };
        note(
            About::Task(failure.task_name.0),
            NoteKind::ValidationFailure,
            Facts::new()
                .number(FactKey::Attempt, failure.attempt)
                .number(FactKey::MissingFields, count(&failure.missing_fields))
                .number(FactKey::ExtraFields, count(&failure.extra_fields))
                .number(FactKey::TypeErrors, count(&failure.type_errors))
                .text(FactKey::StopReason, failure.stop_reason)
                .put(FactKey::FieldNames, FactValue::Content(names))
                .content(FactKey::Output, failure.model_response, self.capture),
        )
    }

    fn llm_response<'a>(&self, response: LlmResponse<'a>) -> What<'a> {
        let calls = response.tool_calls.unwrap_or_default();
        let used = response.usage.unwrap_or_default();
        note(
            About::Scope,
            NoteKind::ModelResponse,
            Facts::new()
                .text(FactKey::GraphNode, response.node_id)
                .number(FactKey::CallIndex, response.call_index)
                .number(FactKey::ToolCalls, Num(calls.len() as u64))
                .texts(
                    FactKey::ToolNames,
                    calls.into_iter().map(|call| call.name).collect(),
                )
                .text(FactKey::Provider, used.provider)
                .text(FactKey::Model, used.model)
                .number(FactKey::InputTokens, used.input_tokens)
                .number(FactKey::OutputTokens, used.output_tokens)
                .content(FactKey::Output, response.text, self.capture),
        )
    }

    fn tool_end<'a>(&self, end: ToolCallEnd<'a>) -> NodeEnd<'a> {
        let failed = end.output.is_some_and(has_error);
        NodeEnd {
            under: Under::Task(end.task_name.0),
            outcome: if failed {
                NodeOutcome::Failed
            } else {
                NodeOutcome::Success
            },
            duration: end.duration.0.or(millis(end.duration_ms)),
            // What the tool says of its error is part of its output, and private.
            error: failed.then(|| Fault {
                kind: Some("tool_error".into()),
                ..Fault::default()
            }),
            facts: Facts::new()
                .json(FactKey::Output, end.output, self.capture)
                .done(),
            ..ended(
                NodeKind::Tool,
                Some(end.tool_name.0),
                present(end.tool_use_id),
            )
        }
    }

    fn suspended<'a>(&self, suspended: Suspended<'a>) -> NodeStart<'a> {
        let (trigger, task) = match suspended.trigger {
            Some(trigger) => (trigger.kind, present(trigger.task_name)),
            None => (Str::default(), None),
        };
        let in_loop = suspended
            .loop_context
            .and_then(|context| present(context.loop_name));
        NodeStart {
            kind: NodeKind::Wait,
            name: suspended.checkpoint_name.0,
            key: present(suspended.token),
            under: task.or(in_loop).map_or(Under::Scope, Under::Task),
            facts: Facts::new()
                .word(FactKey::WaitKind, "person")
                .text(FactKey::WaitTrigger, trigger)
                .maybe(FactKey::TimeoutSeconds, suspended.timeout_secs)
                .content(FactKey::Input, suspended.prompt, self.capture)
                .done(),
        }
    }

    fn http_start<'a>(&self, start: HttpCallStart<'a>) -> NodeStart<'a> {
        let mut url = start.url.0;
        if !self.capture {
            url = without_query(url);
        }
        NodeStart {
            kind: NodeKind::Http,
            name: start.method.0.clone(),
            key: present(start.call_id),
            under: present(start.task_name).map_or(Under::Scope, Under::Task),
            facts: Facts::new()
                .text(FactKey::HttpMethod, start.method)
                .put(FactKey::Url, FactValue::Text(url))
                .done(),
        }
    }

    fn loop_end<'a>(&self, end: LoopEnd<'a>) -> NodeEnd<'a> {
        let error = fatal_error(end.value);
        NodeEnd {
            outcome: if error.is_some() {
                NodeOutcome::Failed
            } else {
                NodeOutcome::Success
            },
            error,
            facts: Facts::new()
                .maybe(FactKey::Turns, end.turn_count)
                .json(FactKey::Output, end.value, self.capture)
                .done(),
            ..ended(NodeKind::Loop, Some(end.name.0), None)
        }
    }
}
