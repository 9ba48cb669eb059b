//! What happens within tasks: calls of models, tools, programs and servers.

use std::ops::Range;

use serde_json::{Value, json};

use super::event::{CachePlanned, Chunk, Event, Origin, Text, ToolUse, Usage, ValidationFailure};
use super::failure::Trouble;
use super::model::Model;
use super::pen::{Pen, Told};

/// A task's call of a model.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) task: &'static str,
    pub(super) agent: &'static str,
    pub(super) model: &'static Model,
    pub(super) prompt: &'static str,
    /// The sentences that it answers with.
    pub(super) prose: &'static [&'static str],
    /// The type that the answer is to have.
    pub(super) schema: Option<&'static str>,
    /// How many tokens it reads.
    pub(super) input_tokens: u64,
    /// How long it speaks, in earnest.
    pub(super) speaks_ms: u64,
}

/// A call of a tool.
#[derive(Debug, Clone)]
pub(super) struct ToolCall {
    pub(super) server: &'static str,
    pub(super) tool: &'static str,
    pub(super) input: Value,
    pub(super) output: Value,
    /// How long it takes, in earnest.
    pub(super) takes_ms: Range<u64>,
}

/// What identifies the calls of one task.
#[derive(Debug, Clone)]
pub(super) struct Talk {
    pub(super) call: Call,
    pub(super) task_id: String,
    node: String,
    calls: u32,
}

const THOUGHTS: &[&str] = &[
    "Let me look at what is asked first.",
    "There are two ways to read this; the second fits the context better.",
    "I should check the numbers before I rely on them.",
    "The earlier part already answers half of it.",
    "What is missing is a source for the last claim.",
];

impl Pen {
    /// Calls a model with these tools at hand, and waits for its answer.
    pub(super) fn ask_model(&mut self, call: &Call, tools: &[ToolCall]) -> Told<Usage> {
        let mut talk = self.begin_talk(call);
        let mut usage = None;
        if !tools.is_empty() {
            self.think(&talk);
            let asked = self.ask_for_tools(&mut talk, tools);
            for (tool, id) in tools.iter().zip(asked.ids) {
                self.use_tool(call.task, tool, id);
            }
            usage = Some(asked.usage);
        }
        let answered = self.answer(&mut talk)?;
        Ok(match usage {
            Some(before) => sum(before, answered),
            None => answered,
        })
    }

    /// The prompt goes out.
    pub(super) fn begin_talk(&mut self, call: &Call) -> Talk {
        self.beat();
        self.say(Event::TaskPrompt(call.task, Text::Borrowed(call.prompt)));
        self.beat();
        self.plan_cache(call);
        Talk {
            call: *call,
            task_id: self.task_id(),
            node: self.next_node().to_string(),
            calls: 0,
        }
    }

    fn plan_cache(&mut self, call: &Call) {
        let marked = call.model.provider == "anthropic";
        let reuse = self.rng.usize(..4);
        self.say(Event::CachePlanned(Box::new(CachePlanned {
            agent: call.agent,
            n_segments: 4,
            n_stable: 2,
            longest_stable_prefix_len_chars: 1_840,
            markers_placed: usize::from(marked),
            markers_placed_at: if marked { vec![1] } else { Vec::new() },
            provider: call.model.provider,
            tools_marker_placed: marked,
            system_marker_placed: marked,
            predicted_reuse_count: reuse,
            cache_ttl: if reuse > 2 { "1h" } else { "5m" },
            cache_reason: Text::Borrowed(if reuse > 2 {
                "read again soon by later tasks"
            } else {
                "no near reuse predicted"
            }),
        })));
    }

    fn think(&mut self, talk: &Talk) {
        self.pass(450..1_600);
        if talk.call.model.thinks && self.chance(70) {
            self.stream(talk, THOUGHTS, 1_500, Event::AgentReasoning);
        }
    }

    fn ask_for_tools(&mut self, talk: &mut Talk, tools: &[ToolCall]) -> AskedFor {
        let ids: Vec<_> = tools
            .iter()
            .map(|_| self.tool_id(talk.call.model))
            .collect();
        let output = 40 + 25 * tools.len() as u64;
        let model = talk.call.model;
        let usage = model.usage(&mut self.rng, talk.call.input_tokens, output, 0);
        let uses = tools.iter().zip(&ids).map(|(tool, id)| ToolUse {
            tool_use_id: id.clone(),
            name: tool.tool,
            args: tool.input.clone(),
        });
        let uses = uses.collect();
        self.respond(talk, String::new(), uses, &usage);
        AskedFor { ids, usage }
    }

    /// The id that a provider gives to a call of a tool.
    pub(super) fn tool_id(&mut self, model: &Model) -> String {
        let prefix = match model.provider {
            "anthropic" => "toolu_01",
            _ => "call_",
        };
        let tail: String = (0..20).map(|_| self.rng.alphanumeric()).collect();
        format!("{prefix}{tail}")
    }

    /// One call of a tool.
    pub(super) fn use_tool(&mut self, task_name: &'static str, call: &ToolCall, id: String) {
        self.beat();
        self.start_tool(task_name, call, &id);
        let began_us = self.now_us();
        self.pass(call.takes_ms.clone());
        self.end_tool(task_name, call, id, call.output.clone(), began_us);
    }

    pub(super) fn start_tool(&mut self, task_name: &'static str, call: &ToolCall, id: &str) {
        self.say(Event::ToolCallStart {
            task_name,
            tool_name: call.tool,
            server_name: call.server,
            input: call.input.clone(),
            tool_use_id: id.to_owned(),
        });
    }

    pub(super) fn end_tool(
        &mut self,
        task_name: &'static str,
        call: &ToolCall,
        id: String,
        output: Value,
        began_us: u64,
    ) {
        self.say(Event::ToolCallEnd {
            task_name,
            tool_name: call.tool,
            tool_use_id: id,
            output,
            duration: self.since(began_us),
        });
    }

    /// The model answers, unless something goes wrong.
    pub(super) fn answer(&mut self, talk: &mut Talk) -> Told<Usage> {
        let trouble = self.strike();
        if let Some(trouble) = trouble
            && trouble.passes()
            && trouble != Trouble::Network
        {
            self.pass(300..1_200);
            return trouble.stop(talk.origin());
        }
        let thinks = talk.calls == 0;
        if thinks {
            self.think(talk);
        } else {
            self.pass(400..1_200);
        }
        let call = talk.call;
        if let Some(trouble) = trouble {
            self.stream(talk, call.prose, call.speaks_ms / 3, Event::AgentOutput);
            return self.go_wrong(talk, trouble);
        }
        let text = self.stream(talk, call.prose, call.speaks_ms, Event::AgentOutput);
        Ok(self.end_answer(talk, text))
    }

    fn end_answer(&mut self, talk: &mut Talk, text: String) -> Usage {
        self.beat();
        let call = talk.call;
        let output = call.speaks_ms / 18 + self.rng.u64(..40);
        let thought = match call.model.thinks {
            true => output / 3,
            false => 0,
        };
        let usage = call
            .model
            .usage(&mut self.rng, call.input_tokens, output, thought);
        self.respond(talk, text, Vec::new(), &usage);
        usage
    }

    fn respond(&mut self, talk: &mut Talk, text: String, uses: Vec<ToolUse>, usage: &Usage) {
        self.say(Event::LLMResponse {
            node_id: talk.node.clone(),
            call_index: talk.calls,
            text,
            tool_calls: uses,
            usage: Some(usage.clone()),
        });
        talk.calls += 1;
    }

    /// In the middle of an answer.
    fn go_wrong(&mut self, talk: &Talk, trouble: Trouble) -> Told<Usage> {
        let call = talk.call;
        match trouble {
            Trouble::Timeout => self.pass(45_000..70_000),
            Trouble::WrongShape => {
                for attempt in 1..=3 {
                    self.fail_validation(&call, attempt);
                    self.pass(900..2_000);
                }
            }
            Trouble::Tool => {
                let tool = ToolCall {
                    server: "workspace",
                    tool: "write_file",
                    input: json!({"path": "reports/today.md"}),
                    output: json!({"error": "permission denied"}),
                    takes_ms: 200..600,
                };
                let id = self.tool_id(call.model);
                self.use_tool(call.task, &tool, id);
            }
            _ => self.beat(),
        }
        trouble.stop(talk.origin())
    }

    /// An answer does not fit its type.
    pub(super) fn fail_validation(&mut self, call: &Call, attempt: u32) {
        let response = "{\"text\": \"Certainly! Here is the result you asked for.\"}";
        self.say(Event::ValidationFailure(Box::new(ValidationFailure {
            task_name: call.task,
            attempt,
            model_response: Text::Borrowed(response),
            truncated: false,
            total_length: response.len() as u64,
            missing_fields: vec!["/items"],
            extra_fields: vec!["/text"],
            type_errors: Vec::new(),
            stop_reason: Some(call.model.stop_reason),
        })));
    }

    /// A text comes piece by piece. What was said.
    pub(super) fn stream(
        &mut self,
        talk: &Talk,
        prose: &'static [&'static str],
        takes_ms: u64,
        event: fn(Chunk) -> Event,
    ) -> String {
        let takes_us = takes_ms as f64 * 1_000.0 / self.settings.speed;
        let chunks = (takes_us / 1e6 * self.settings.chunks_per_second).ceil() as u64;
        let chunks = chunks.clamp(2, CHUNKS_MAX);
        let each_us = (takes_us / chunks as f64) as u64;
        let mut words = Words::from(prose, self.rng.usize(..prose.len().max(1)));
        let mut said = String::new();
        for _ in 0..chunks {
            let uneven = self.rng.u64(70..130);
            self.pass_written_us(each_us * uneven / 100);
            let count = self.rng.usize(1..=3);
            let chunk = words.next_piece(count, self.settings.chunk_bytes_min);
            if said.len() + chunk.len() < RESPONSE_BYTES_MAX {
                said.push_str(&chunk);
            }
            self.say(event(Chunk {
                task_name: talk.call.task,
                agent_name: Some(talk.call.agent),
                task_id: talk.task_id.clone(),
                schema_type: talk.call.schema,
                chunk,
            }));
        }
        said
    }

    /// A request to another server.
    pub(super) fn http(&mut self, task_name: &'static str, method: &'static str, url: String) {
        self.beat();
        let call_id = self.uuid();
        self.say(Event::HttpCallStart {
            call_id: call_id.clone(),
            task_name,
            method,
            url,
        });
        let began_us = self.now_us();
        self.pass(90..700);
        let bytes = self.rng.u64(400..60_000);
        self.say(Event::HttpCallEnd {
            call_id,
            task_name,
            status: if method == "POST" { 201 } else { 200 },
            duration_ms: self.since(began_us).as_millis() as u64,
            bytes,
            is_error: false,
        });
    }
}

/// A longer answer than this many pieces is cut off by its provider.
const CHUNKS_MAX: u64 = 20_000;
/// What the engine keeps of an answer for a replay.
const RESPONSE_BYTES_MAX: usize = 32 << 10;

struct AskedFor {
    ids: Vec<String>,
    usage: Usage,
}

impl Talk {
    fn origin(&self) -> Origin {
        Origin {
            task: Some(self.call.task),
            agent: Some(self.call.agent),
            provider: Some(self.call.model.provider),
            model: Some(self.call.model.name),
            tool_ref: None,
        }
    }
}

/// What two calls of one model used together.
fn sum(a: Usage, b: Usage) -> Usage {
    Usage {
        input_tokens: a.input_tokens + b.input_tokens,
        output_tokens: a.output_tokens + b.output_tokens,
        cached_input_tokens: a.cached_input_tokens + b.cached_input_tokens,
        cache_write_input_tokens: a.cache_write_input_tokens + b.cache_write_input_tokens,
        cache_write_5m_input_tokens: a.cache_write_5m_input_tokens + b.cache_write_5m_input_tokens,
        reasoning_tokens: a.reasoning_tokens + b.reasoning_tokens,
        ..b
    }
}

/// The words of some sentences, one after the other and again from the start.
struct Words {
    prose: &'static [&'static str],
    sentence: usize,
    left: std::str::SplitInclusive<'static, char>,
}

impl Words {
    fn from(prose: &'static [&'static str], sentence: usize) -> Self {
        let first = prose.get(sentence).copied().unwrap_or("…");
        Self {
            prose,
            sentence,
            left: first.split_inclusive(' '),
        }
    }

    fn next_piece(&mut self, words: usize, bytes_min: usize) -> String {
        let mut piece = String::new();
        let mut taken = 0;
        while taken < words || piece.len() < bytes_min {
            match self.left.next() {
                Some(word) => piece.push_str(word),
                None => {
                    piece.push(' ');
                    self.sentence = (self.sentence + 1) % self.prose.len().max(1);
                    *self = Self::from(self.prose, self.sentence);
                }
            }
            taken += 1;
        }
        piece
    }
}
