//! How runs become a feed: their events in the order of their times, gathered
//! into batches as the server does, with a sign of life in quiet moments.

use std::time::Duration;

use akribes_types::event::{EngineEvent, TokenUsage, WorkflowEndPayload, WorkflowTotals};
use akribes_types::value::Value;
use serde::Serialize;

/// One run, told event by event.
pub(crate) struct Run {
    workflow: &'static str,
    id: &'static str,
    /// Milliseconds since the recording began.
    now_ms: u64,
    task_start_ms: u64,
    events: Vec<(u64, EngineEvent)>,
    totals: WorkflowTotals,
}

impl Run {
    pub(crate) fn new(workflow: &'static str, id: &'static str, start_ms: u64) -> Self {
        Self {
            workflow,
            id,
            now_ms: start_ms,
            task_start_ms: start_ms,
            events: Vec::new(),
            totals: WorkflowTotals::default(),
        }
    }

    /// Time goes by.
    pub(crate) fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
    }

    /// Something happens now. The end of a task tells how long the task took
    /// that was begun last, and what it used is added up.
    pub(crate) fn say(&mut self, mut event: EngineEvent) {
        let leaf = match &mut event {
            EngineEvent::SubScript { child, .. } => child,
            event => event,
        };
        match leaf {
            EngineEvent::TaskStart(..) => self.task_start_ms = self.now_ms,
            EngineEvent::TaskEnd {
                duration, usage, ..
            } => {
                *duration = Duration::from_millis(self.now_ms - self.task_start_ms);
                self.totals.accumulate(usage.as_ref());
            }
            _ => {}
        }
        self.events.push((self.now_ms, event));
    }

    /// The same, after a while.
    pub(crate) fn after(&mut self, ms: u64, event: EngineEvent) {
        self.wait(ms);
        self.say(event);
    }

    /// A text comes word by word.
    pub(crate) fn stream(
        &mut self,
        text: &str,
        every_ms: u64,
        chunk: impl Fn(String) -> EngineEvent,
    ) {
        for word in text.split_inclusive(' ') {
            self.after(every_ms, chunk(word.to_owned()));
        }
    }

    /// Two things happen at once: the second begins where the first began, and
    /// the run goes on when both are over.
    pub(crate) fn at_once(
        &mut self,
        first: impl FnOnce(&mut Self),
        second: impl FnOnce(&mut Self),
    ) {
        let start_ms = self.now_ms;
        first(self);
        let first_end_ms = std::mem::replace(&mut self.now_ms, start_ms);
        second(self);
        self.now_ms = self.now_ms.max(first_end_ms);
    }

    /// The run ends well. The server tells what it added up.
    pub(crate) fn end(&mut self, after_ms: u64, value: Value) {
        let totals = self.totals.clone();
        self.after(
            after_ms,
            EngineEvent::WorkflowEnd(WorkflowEndPayload::with_totals(value, totals)),
        );
    }
}

/// What a model call used.
pub(crate) fn usage(
    (provider, model): (&str, &str),
    input_tokens: u64,
    output_tokens: u64,
    cached_input_tokens: u64,
    reasoning_tokens: u64,
) -> TokenUsage {
    TokenUsage {
        input_tokens,
        output_tokens,
        model: model.into(),
        provider: provider.into(),
        cached_input_tokens,
        stop_reason: Some("end_turn".into()),
        reasoning_tokens,
        ..TokenUsage::default()
    }
}

#[derive(Serialize)]
#[serde(tag = "type", content = "payload")]
enum Hub {
    Execution(Execution),
}

#[derive(Serialize)]
struct Execution {
    project_id: i64,
    script_name: &'static str,
    execution_id: &'static str,
    event: EngineEvent,
    seq: u64,
    at: String,
}

/// What the server gathers before it sends a frame.
const BATCH_MS: u64 = 250;
/// The silence after which it says that it is still there.
const KEEP_ALIVE_MS: u64 = 5_000;
/// Where the server's log stood when the recording began.
const SEQ_BEFORE: u64 = 48_200;

/// The feed of all runs together.
pub(crate) fn write(runs: Vec<Run>) -> serde_json::Result<String> {
    let mut events: Vec<(u64, Execution)> = Vec::new();
    for run in runs {
        events.extend(run.events.into_iter().map(|(ms, event)| {
            let execution = Execution {
                project_id: 7,
                script_name: run.workflow,
                execution_id: run.id,
                event,
                seq: 0,
                at: at(ms),
            };
            (ms, execution)
        }));
    }
    events.sort_by_key(|(ms, _)| *ms);

    let mut feed = String::from(": connected\n\n");
    let mut sent_ms = 0;
    let mut seq = SEQ_BEFORE;
    let mut events = events.into_iter().peekable();
    while let Some((first_ms, execution)) = events.next() {
        while first_ms > sent_ms + KEEP_ALIVE_MS {
            feed.push_str(": keep-alive\n\n");
            sent_ms += KEEP_ALIVE_MS;
        }
        let mut batch = vec![execution];
        while let Some((_, execution)) = events.next_if(|(ms, _)| *ms < first_ms + BATCH_MS) {
            batch.push(execution);
        }
        for execution in &mut batch {
            // Rows of other projects lie between ours.
            seq += 1 + seq % 3 / 2;
            execution.seq = seq;
        }
        let batch: Vec<Hub> = batch.into_iter().map(Hub::Execution).collect();
        let data = serde_json::to_string(&batch)?;
        feed.push_str(&format!("event: batch\ndata: {data}\nid: {seq}\n\n"));
        sent_ms = first_ms + BATCH_MS;
    }
    Ok(feed)
}

/// The server's clock.
fn at(ms: u64) -> String {
    let (minutes, seconds) = (23 + ms / 60_000, ms / 1_000 % 60);
    format!("2026-05-07T10:{minutes:02}:{seconds:02}.{:03}Z", ms % 1_000)
}
