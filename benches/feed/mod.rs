//! The feed that the benches read, and the way of it through the whole core.
#![allow(dead_code, reason = "each bench uses its part of it")]

use std::fmt::Write as _;
use std::ops::Range;

use runtrail::core::{Core, CoreSettings, Selection};
use runtrail::limits::Limits;
use runtrail::metrics::{self, Metrics};
use runtrail::trace::batch::ResourceInfo;
use runtrail::trace::content::ContentPolicy;
use runtrail::trace::span::TraceSettings;
use runtrail::wire::dialect::Dialect;
use runtrail::wire::time::Time;

/// Runs in the feed.
pub(crate) const RUNS: usize = 600;
/// What is read at once.
pub(crate) const READ_BYTES: usize = 64 << 10;

const RUNS_AT_ONCE: usize = 8;
const TASKS_A_RUN: usize = 5;
const CHUNKS_A_TASK: usize = 80;
const EVENTS_A_BATCH: usize = 20;
/// Its beginning and its end, those of its tasks, their chunks and some tools.
pub(crate) const EVENTS_A_RUN: u64 = 418;

/// A feed as a server sends it.
pub(crate) struct Feed {
    pub(crate) bytes: Vec<u8>,
    pub(crate) frames: u64,
    pub(crate) events: u64,
    pub(crate) event_bytes: usize,
    pub(crate) spans: u32,
    pub(crate) runs: usize,
}

/// One open run of the feed, and what it still has to say, last first.
struct Script {
    run: usize,
    left: Vec<String>,
}

impl Feed {
    /// The same on every day.
    pub(crate) fn generate() -> Self {
        Self::of(0..RUNS)
    }

    /// The feed of these runs.
    pub(crate) fn of(runs: Range<usize>) -> Self {
        Self::begun(runs, usize::MAX)
    }

    /// The same, but of each run only the first so many events.
    pub(crate) fn begun(runs: Range<usize>, events_max: usize) -> Self {
        let mut feed = Self {
            bytes: Vec::new(),
            frames: 0,
            events: 0,
            event_bytes: 0,
            spans: 0,
            runs: runs.len(),
        };
        let mut batch = Vec::new();
        let mut coming = runs;
        let mut open: Vec<Script> = Vec::new();
        let mut at_ms = 0;
        loop {
            while open.len() < RUNS_AT_ONCE
                && let Some(run) = coming.next()
            {
                let mut script = feed.script(run);
                let left_out = script.left.len().saturating_sub(events_max);
                script.left.drain(..left_out);
                open.push(script);
            }
            if open.is_empty() {
                break;
            }
            // Runs take turns, a few events each.
            let turn = feed.events as usize / 3 % open.len();
            let script = &mut open[turn];
            let Some(event) = script.left.pop() else {
                open.remove(turn);
                continue;
            };
            at_ms += 2;
            feed.events += 1;
            let event = hub(script.run, feed.events, at_ms, &event);
            feed.event_bytes += event.len();
            batch.push(event);
            if script.left.is_empty() {
                open.remove(turn);
            }
            if batch.len() == EVENTS_A_BATCH {
                feed.send(&mut batch);
            }
        }
        feed.send(&mut batch);
        feed
    }

    /// What it is, in a line.
    pub(crate) fn describe(&self) -> String {
        let mean = self.event_bytes as f64 / self.events as f64;
        assert!(
            (361.0..=371.0).contains(&mean),
            "a mean event has {mean:.1} bytes"
        );
        format!(
            "{} events of {mean:.1} bytes on average in {} frames, {:.1} MB, {} runs",
            self.events,
            self.frames,
            self.bytes.len() as f64 / 1e6,
            self.runs
        )
    }

    fn script(&mut self, run: usize) -> Script {
        let mut events = vec![r#"{"type":"WorkflowStart","payload":5}"#.to_owned()];
        for task in 0..TASKS_A_RUN {
            let name = ["retrieve", "summarise", "critique", "revise", "publish"][task % 5];
            events.push(format!(
                r#"{{"type":"TaskStart","payload":["{name}",null]}}"#
            ));
            if task % 2 == 0 {
                events.push(format!(r#"{{"type":"ToolCallStart","payload":{{"task_name":"{name}","tool_name":"search","server_name":"library","input":{{"query":"the history of the printing press"}},"tool_use_id":"toolu_{run}_{task}"}}}}"#));
                events.push(format!(r#"{{"type":"ToolCallEnd","payload":{{"task_name":"{name}","tool_name":"search","tool_use_id":"toolu_{run}_{task}","output":{{"hits":[1,2,3]}},"duration":{{"secs":0,"nanos":81000000}}}}}}"#));
                self.spans += 1;
            }
            for chunk in 0..CHUNKS_A_TASK {
                let text = TEXTS[chunk % TEXTS.len()];
                events.push(format!(r#"{{"type":"AgentOutput","payload":{{"task_name":"{name}","agent_name":"writer","task_id":"task-{run:05}-{task}","schema_type":null,"chunk":"{text}"}}}}"#));
            }
            events.push(format!(r#"{{"type":"TaskEnd","payload":{{"task":"{name}","on_error_label":null,"value":"a result of some length, as they come","value_type":null,"duration":{{"secs":2,"nanos":150000000}},"attempt":1,"usage":{{"input_tokens":1840,"output_tokens":412,"model":"claude-sonnet-4-5","provider":"anthropic","cached_input_tokens":1024,"cache_write_input_tokens":0,"cache_write_5m_input_tokens":0,"cache_write_1h_input_tokens":0,"stop_reason":"end_turn","reasoning_tokens":96}},"variant":"success"}}}}"#));
            self.spans += 1;
        }
        events.push(r#"{"type":"WorkflowEnd","payload":{"value":"done","total_input_tokens":9200,"total_output_tokens":2060,"total_cached_input_tokens":5120,"total_thinking_tokens":480,"total_tool_tokens":0,"total_cost_usd":0.0,"task_count":5}}"#.to_owned());
        // The root. No run is open for long enough for a marker.
        self.spans += 1;
        events.reverse();
        Script { run, left: events }
    }

    fn send(&mut self, batch: &mut Vec<String>) {
        if batch.is_empty() {
            return;
        }
        let frame = format!(
            "event: batch\ndata: [{}]\nid: {}\n\n",
            batch.join(","),
            self.events
        );
        self.bytes.extend_from_slice(frame.as_bytes());
        self.frames += 1;
        batch.clear();
    }
}

/// Texts of chunks, some with escapes.
const TEXTS: [&str; 4] = [
    "The press spread from Mainz through Europe within",
    " decades, and with it the habit of \\\"citing\\\" others;",
    "\\n\\n## What changed\\n\\nScribes lost their trade, print",
    " shops gained it; Gutenberg\\u2019s own went bankrupt in",
];

fn hub(run: usize, seq: u64, at_ms: u64, event: &str) -> String {
    let at = Time((1_778_149_422_000 + at_ms) * 1_000_000).to_rfc3339();
    let mut text = String::new();
    let _ = write!(
        text,
        r#"{{"type":"Execution","payload":{{"project_id":1,"script_name":"review","execution_id":"6513270e-8a4c-4b0e-9a7e-{run:012x}","event":{event},"seq":{seq},"at":"{at}"}}}}"#
    );
    text
}

/// Bytes in; spans encoded, summaries made and metrics counted out.
pub(crate) fn all(feed: &Feed) {
    let limits = Limits::default();
    let mut metrics = Metrics::new(&metrics::Settings::new(&limits, Dialect::SYSTEMS)).unwrap();
    let mut core = Core::new(settings(limits)).unwrap();
    let (mut spans, mut summaries) = (0, 0);
    let mut take = |core: &mut Core| {
        while let Some(batch) = core.poll_batch() {
            spans += batch.spans;
        }
        while core.poll_summary().is_some() {
            summaries += 1;
        }
        let (types, now) = (core.event_types(), core.clock());
        let deltas = core.deltas();
        metrics.apply(deltas, types, now);
        deltas.clear();
    };
    for piece in feed.bytes.chunks(READ_BYTES) {
        core.handle_bytes(0, piece, None);
        take(&mut core);
    }
    core.handle_end_of_input(0, None);
    core.handle_end_of_runs();
    take(&mut core);
    assert_eq!((spans, summaries), (feed.spans, feed.runs));
}

pub(crate) fn settings(limits: Limits) -> CoreSettings {
    CoreSettings {
        system: "akribes".into(),
        source: "bench".into(),
        resource: ResourceInfo {
            service_name: "akribes".into(),
            service_instance_id: "bench".into(),
            attributes: Vec::new(),
        },
        trace: TraceSettings {
            openinference: false,
            content: ContentPolicy::new(false, &[""; 0], limits.content_bytes_max).unwrap(),
        },
        markers: true,
        repair: false,
        enrich: false,
        prices: None,
        feeds: vec![None],
        selection: Selection::default(),
        limits,
    }
}
