//! How fast the core is on one core of the machine: a recorded feed, bytes in;
//! spans encoded, summaries made and metrics counted out.
//!
//! `cargo bench --bench core`. The stages are prefixes of one another, run side
//! by side on the same bytes, so their shares can be told:
//!
//! - *sse*: bytes become frames
//! - *events*: frames become events, which are counted and forgotten
//! - *fold*: events become runs and finished nodes, which are dropped
//! - *all*: and those become batches of spans, summaries and series
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on may stop")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use runtrail::core::{Core, CoreSettings, Selection};
use runtrail::limits::Limits;
use runtrail::metrics::{self, Metrics};
use runtrail::run::RunSettings;
use runtrail::run::table::RunTable;
use runtrail::trace::batch::ResourceInfo;
use runtrail::trace::content::ContentPolicy;
use runtrail::trace::span::TraceSettings;
use runtrail::wire::dialect::Dialect;
use runtrail::wire::item::Item;
use runtrail::wire::sse::{SseDecoder, SseItem};
use runtrail::wire::time::Time;

const RUNS: usize = 600;
const RUNS_AT_ONCE: usize = 8;
const TASKS_A_RUN: usize = 5;
const CHUNKS_A_TASK: usize = 80;
const EVENTS_A_BATCH: usize = 20;
const READ_BYTES: usize = 64 << 10;
const ROUNDS: usize = 9;

/// A prefix of the way through the core.
type Stage = fn(&Feed);

fn main() {
    let feed = Feed::generate();
    let mean = feed.event_bytes as f64 / feed.events as f64;
    assert!(
        (361.0..=371.0).contains(&mean),
        "a mean event has {mean:.1} bytes"
    );
    println!(
        "{} events of {mean:.1} bytes on average, {:.1} MB, {RUNS} runs",
        feed.events,
        feed.bytes.len() as f64 / 1e6
    );

    let stages: [(&str, Stage); 4] = [
        ("sse", sse),
        ("events", events),
        ("fold", fold),
        ("all", all),
    ];
    let mut times = [const { Vec::new() }; 4];
    for _ in 0..ROUNDS {
        for ((_, stage), times) in stages.iter().zip(&mut times) {
            times.push(measure(|| stage(&feed)));
        }
    }
    let medians = times.map(median);
    let (whole, _) = medians[3];
    let mut before = Duration::ZERO;
    println!("stage    events/s (cpu)  (wall)      MB/s   ns/event  share of all");
    for ((name, _), (cpu, wall)) in stages.iter().zip(medians) {
        println!(
            "{name:<8} {:>11.0} {:>11.0} {:>9.0} {:>10.0} {:>8.1} %",
            feed.events as f64 / cpu.as_secs_f64(),
            feed.events as f64 / wall.as_secs_f64(),
            feed.bytes.len() as f64 / 1e6 / cpu.as_secs_f64(),
            cpu.as_nanos() as f64 / feed.events as f64,
            100.0 * cpu.saturating_sub(before).as_secs_f64() / whole.as_secs_f64(),
        );
        before = cpu;
    }
}

/// Bytes become frames.
fn sse(feed: &Feed) {
    let limits = Limits::default();
    let mut decoder = SseDecoder::new(limits.line_bytes_max, limits.frame_bytes_max);
    let mut frames = 0u64;
    for mut piece in feed.bytes.chunks(READ_BYTES) {
        while let Some(item) = decoder.next(&mut piece) {
            if let SseItem::Frame(frame) = item {
                frames += black_box(frame.data.len() as u64).min(1);
            }
        }
    }
    assert_eq!(frames, feed.frames);
}

/// Frames become events.
fn events(feed: &Feed) {
    let mut events = 0;
    read(feed, |item| {
        if let Item::Event { event, .. } = item {
            black_box(&event);
            events += 1;
        }
    });
    assert_eq!(events, feed.events);
}

/// Events become runs.
fn fold(feed: &Feed) {
    let settings = RunSettings {
        limits: Limits::default(),
        repair: false,
    };
    let mut runs = RunTable::new("akribes", Arc::from("bench"), settings);
    let mut outputs = Vec::new();
    let mut said = 0;
    read(feed, |item| {
        if let Item::Event { event, .. } = item {
            runs.handle_event(event, None, &mut outputs);
            said += outputs.len();
            outputs.clear();
        }
    });
    assert!(runs.is_empty() && said > RUNS);
}

/// And everything else.
fn all(feed: &Feed) {
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
    assert_eq!((spans, summaries), (feed.spans, RUNS));
}

fn read(feed: &Feed, mut sink: impl FnMut(Item<'_>)) {
    let limits = Limits::default();
    let mut decoder = SseDecoder::new(limits.line_bytes_max, limits.frame_bytes_max);
    let mut dialect = Dialect::of("akribes", false).unwrap();
    for mut piece in feed.bytes.chunks(READ_BYTES) {
        while let Some(item) = decoder.next(&mut piece) {
            if let SseItem::Frame(frame) = item {
                dialect.read(&frame, &mut sink);
            }
        }
    }
}

fn settings(limits: Limits) -> CoreSettings {
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
        feeds: vec![None],
        selection: Selection::default(),
        limits,
    }
}

/// The CPU time of this thread, and the time on the wall.
#[expect(clippy::disallowed_methods, reason = "a bench owns a clock")]
fn measure(work: impl FnOnce()) -> (Duration, Duration) {
    let (cpu, wall) = (cpu_time(), Instant::now());
    work();
    (cpu_time().saturating_sub(cpu), wall.elapsed())
}

/// As the kernel's scheduler counts it, in nanoseconds.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

fn median(mut times: Vec<(Duration, Duration)>) -> (Duration, Duration) {
    times.sort_unstable();
    times[times.len() / 2]
}

/// A feed as a server sends it, the same on every day.
struct Feed {
    bytes: Vec<u8>,
    frames: u64,
    events: u64,
    event_bytes: usize,
    spans: u32,
}

/// One open run of the feed, and what it still has to say, last first.
struct Script {
    run: usize,
    left: Vec<String>,
}

impl Feed {
    fn generate() -> Self {
        let mut feed = Self {
            bytes: Vec::new(),
            frames: 0,
            events: 0,
            event_bytes: 0,
            spans: 0,
        };
        let mut batch = Vec::new();
        let mut coming = 0..RUNS;
        let mut open: Vec<Script> = Vec::new();
        let mut at_ms = 0;
        loop {
            while open.len() < RUNS_AT_ONCE
                && let Some(run) = coming.next()
            {
                open.push(feed.script(run));
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
            events.push(format!(r#"{{"type":"TaskEnd","payload":{{"task":"{name}","on_error_label":null,"value":"a result of some length, as they come","value_type":"string","duration":{{"secs":2,"nanos":150000000}},"attempt":1,"usage":{{"input_tokens":1840,"output_tokens":412,"model":"claude-sonnet-4-5","provider":"anthropic","cached_input_tokens":1024,"cache_write_input_tokens":0,"cache_write_5m_input_tokens":0,"cache_write_1h_input_tokens":0,"stop_reason":"end_turn","reasoning_tokens":96}},"variant":"success"}}}}"#));
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
