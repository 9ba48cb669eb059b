//! What the tests share: feeds written by hand, and traces as a person reads them.

#![allow(unreachable_pub, reason = "a module of several test files")]
#![allow(clippy::expect_used, clippy::panic, reason = "only tests use it")]
#![allow(dead_code, reason = "each test file uses its part of it")]

pub mod asked;
pub mod by_hand;
pub mod content;
pub mod trace;
pub mod workload;

use runtrail::core::{Core, CoreSettings, Selection};
use runtrail::limits::Limits;
use runtrail::trace::batch::{Batch, ResourceInfo};
use runtrail::trace::content::ContentPolicy;
use runtrail::trace::span::TraceSettings;
use serde_json::{Value, json};

/// The run of a feed that has only one.
pub const RUN: &str = "6513270e-1234-4abc-8def-0123456789ab";

/// When the feeds begin: 2026-05-07T10:00:00Z.
const BEGIN_MS: u64 = 1_778_148_000_000;

/// The settings of the tests: no capture, no markers, nobody to ask.
pub fn settings(capture: bool) -> CoreSettings {
    let limits = Limits::default();
    let rules: [&str; 0] = [];
    CoreSettings {
        system: "akribes".to_owned(),
        source: "test".to_owned(),
        resource: ResourceInfo {
            service_name: "akribes".to_owned(),
            service_instance_id: "test".to_owned(),
            attributes: Vec::new(),
        },
        trace: TraceSettings {
            openinference: false,
            content: ContentPolicy::new(capture, &rules, limits.content_bytes_max)
                .expect("the built-in rules are sound"),
        },
        markers: false,
        repair: false,
        enrich: false,
        prices: None,
        feeds: vec![None],
        selection: Selection::default(),
        limits,
    }
}

/// A core with these settings.
pub fn core(settings: CoreSettings) -> Core {
    Core::new(settings).expect("akribes is known")
}

/// All batches that are ready.
pub fn batches(core: &mut Core) -> Vec<Batch> {
    std::iter::from_fn(|| core.poll_batch()).collect()
}

/// The milliseconds since the beginning, as the server stamps them.
pub fn stamp(ms: u64) -> String {
    let nanos = (BEGIN_MS + ms) * 1_000_000;
    runtrail::wire::time::Time(nanos).to_rfc3339()
}

/// One event of a run, as it stands in a batch.
#[derive(Debug, Clone)]
pub struct Line {
    pub run: String,
    pub seq: u64,
    pub ms: u64,
    /// `{"type": .., "payload": ..}`
    pub event: Value,
}

impl Line {
    /// The hub event.
    pub fn hub(&self, script: &str) -> Value {
        json!({"type": "Execution", "payload": {
            "project_id": 1,
            "script_name": script,
            "execution_id": self.run,
            "event": self.event,
            "seq": self.seq,
            "at": stamp(self.ms),
        }})
    }

    /// The event as a page of the server's log holds it.
    pub fn logged(&self) -> Value {
        let mut event = self.event.clone();
        event["at"] = stamp(self.ms).into();
        event
    }
}

/// A feed of one run, written by hand.
#[derive(Debug, Clone)]
pub struct Feed {
    pub script: String,
    pub run: String,
    pub lines: Vec<Line>,
    ms: u64,
    scope: Option<Value>,
}

impl Feed {
    pub fn of(script: &str) -> Self {
        Self {
            script: script.to_owned(),
            run: RUN.to_owned(),
            lines: Vec::new(),
            ms: 0,
            scope: None,
        }
    }

    /// The same for another run.
    pub fn of_run(script: &str, run: &str) -> Self {
        Self {
            run: run.to_owned(),
            ..Self::of(script)
        }
    }

    /// The next events happen so many milliseconds after the beginning.
    pub fn at(&mut self, ms: u64) -> &mut Self {
        self.ms = ms;
        self
    }

    /// The next events happen in this sub-script: the outer fields of the envelope.
    pub fn inside(&mut self, scope: Option<Value>) -> &mut Self {
        self.scope = scope;
        self
    }

    pub fn event(&mut self, name: &str, payload: Value) -> &mut Self {
        let mut event = json!({"type": name, "payload": payload});
        if let Some(mut scope) = self.scope.clone() {
            scope["child"] = event;
            event = json!({"type": "SubScript", "payload": scope});
        }
        let seq = 10 + 3 * self.lines.len() as u64;
        self.lines.push(Line {
            run: self.run.clone(),
            seq,
            ms: self.ms,
            event,
        });
        self
    }

    pub fn start(&mut self) -> &mut Self {
        self.event("WorkflowStart", json!(2))
    }

    pub fn end(&mut self, totals: [u64; 3]) -> &mut Self {
        self.event(
            "WorkflowEnd",
            json!({"value": "done", "total_input_tokens": totals[0],
                   "total_output_tokens": totals[1], "total_cached_input_tokens": 0,
                   "total_thinking_tokens": 0, "total_tool_tokens": 0,
                   "total_cost_usd": 0.0, "task_count": totals[2]}),
        )
    }

    pub fn task(&mut self, name: &str) -> &mut Self {
        self.event("TaskStart", json!([name, null]))
    }

    pub fn task_end(&mut self, name: &str, ms: u64, more: Value) -> &mut Self {
        let mut payload = json!({"task": name, "on_error_label": null, "value": "secret value",
            "value_type": null, "duration": duration(ms), "attempt": 1, "usage": null,
            "variant": "success"});
        merge(&mut payload, more);
        self.event("TaskEnd", payload)
    }

    /// A model's answer comes from the log of an earlier life of the server.
    pub fn replay_hit(&mut self) -> &mut Self {
        self.event(
            "LLMReplayCacheHit",
            json!({"node_id": "n1", "call_index": 0}),
        )
    }

    pub fn chunk(&mut self, task: &str, id: &str, text: &str) -> &mut Self {
        self.event(
            "AgentOutput",
            json!({"task_name": task, "agent_name": "writer", "task_id": id,
                   "schema_type": null, "chunk": text}),
        )
    }

    pub fn tool(&mut self, task: &str, tool: &str, id: &str) -> &mut Self {
        self.event(
            "ToolCallStart",
            json!({"task_name": task, "tool_name": tool, "server_name": "web",
                   "input": {"q": "secret input"}, "tool_use_id": id}),
        )
    }

    pub fn tool_end(&mut self, task: &str, tool: &str, id: &str, output: Value) -> &mut Self {
        self.event(
            "ToolCallEnd",
            json!({"task_name": task, "tool_name": tool, "tool_use_id": id,
                   "output": output, "duration": duration(40)}),
        )
    }

    /// The feed as server-sent events, a frame of so many events each.
    pub fn sse(&self, per_frame: usize) -> Vec<u8> {
        sse(&self.script, &self.lines, per_frame)
    }
}

/// Events as server-sent events.
pub fn sse(script: &str, lines: &[Line], per_frame: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for frame in lines.chunks(per_frame.max(1)) {
        let batch: Vec<Value> = frame.iter().map(|line| line.hub(script)).collect();
        let newest = frame.iter().map(|line| line.seq).max().unwrap_or_default();
        let batch = Value::Array(batch);
        bytes
            .extend_from_slice(format!("event: batch\ndata: {batch}\nid: {newest}\n\n").as_bytes());
    }
    bytes
}

/// A duration as the server writes it.
pub fn duration(ms: u64) -> Value {
    json!({"secs": ms / 1000, "nanos": ms % 1000 * 1_000_000})
}

/// Usage of a model.
pub fn usage(input: u64, output: u64) -> Value {
    json!({"usage": {"input_tokens": input, "output_tokens": output, "model": "claude-sonnet",
        "provider": "anthropic", "cached_input_tokens": 0, "cache_write_input_tokens": 0,
        "cache_write_5m_input_tokens": 0, "cache_write_1h_input_tokens": 0,
        "stop_reason": "end_turn", "raw_stop_reason": "end_turn", "reasoning_tokens": 0}})
}

/// The fields of one object written over those of another.
pub fn merge(onto: &mut Value, fields: Value) {
    if let (Value::Object(onto), Value::Object(fields)) = (onto, fields) {
        onto.extend(fields);
    }
}
