//! Events as Akribes sends them, and a core that reads them.
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use runtrail::core::{Core, CoreSettings, Selection};
use runtrail::limits::Limits;
use runtrail::trace::batch::ResourceInfo;
use runtrail::trace::content::ContentPolicy;
use runtrail::trace::span::TraceSettings;

/// A core with these bounds.
pub(crate) fn core(limits: Limits, repair: bool) -> Core {
    Core::new(settings(limits, repair, false)).unwrap()
}

/// The same, which may capture content, and asks nobody.
pub(crate) fn core_that_captures(limits: Limits, capture: bool) -> Core {
    Core::new(settings(limits, false, capture)).unwrap()
}

fn settings(limits: Limits, repair: bool, capture: bool) -> CoreSettings {
    CoreSettings {
        system: "akribes".into(),
        source: "test".into(),
        resource: ResourceInfo {
            service_name: "akribes".into(),
            service_instance_id: "test".into(),
            attributes: Vec::new(),
        },
        trace: TraceSettings {
            openinference: false,
            content: ContentPolicy::new(capture, &[""; 0], limits.content_bytes_max).unwrap(),
        },
        markers: false,
        repair,
        enrich: false,
        prices: None,
        feeds: vec![None],
        selection: Selection::default(),
        limits,
    }
}

/// The id of a run.
pub(crate) fn run_id(run: u32) -> String {
    format!("6513270e-8a4c-4b0e-9a7e-{run:012x}")
}

/// An element of a batch: an engine event of a run, at so many milliseconds.
pub(crate) fn hub(run: u32, at_ms: u32, event: &str) -> String {
    let (s, ms) = (at_ms / 1_000 % 60, at_ms % 1_000);
    hub_at(run, &format!("2026-05-07T10:23:{s:02}.{ms:03}Z"), event)
}

/// The same with any `at`.
pub(crate) fn hub_at(run: u32, at: &str, event: &str) -> String {
    let id = run_id(run);
    format!(
        r#"{{"type":"Execution","payload":{{"project_id":1,"script_name":"review","execution_id":"{id}","event":{event},"at":"{at}"}}}}"#
    )
}

/// `{"type":…,"payload":…}`
pub(crate) fn event(name: &str, payload: &str) -> String {
    format!(r#"{{"type":"{name}","payload":{payload}}}"#)
}

pub(crate) fn start() -> String {
    event("WorkflowStart", "1")
}

pub(crate) fn end() -> String {
    event("WorkflowEnd", "\"done\"")
}

pub(crate) fn task_start(name: &str) -> String {
    event("TaskStart", &format!(r#"["{name}",null]"#))
}

/// A piece of what a task's agent says.
pub(crate) fn chunk_of(task: &str, text: &str) -> String {
    let payload = format!(
        r#"{{"task_name":"{task}","agent_name":"writer","task_id":"task-1","schema_type":null,"chunk":"{text}"}}"#
    );
    event("AgentOutput", &payload)
}

pub(crate) fn task_end(name: &str) -> String {
    event(
        "TaskEnd",
        &format!(
            r#"{{"task":"{name}","value":"v","duration":{{"secs":0,"nanos":5000000}},"attempt":1,"variant":"success"}}"#
        ),
    )
}

/// A frame with these elements.
pub(crate) fn batch(elements: &[String]) -> String {
    format!("event: batch\ndata: [{}]\n\n", elements.join(","))
}

/// Text that does not compress much, the same on every day.
pub(crate) fn text(seed: u32, bytes: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 .";
    let mut random = fastrand::Rng::with_seed(seed.into());
    (0..bytes)
        .map(|_| char::from(LETTERS[random.usize(..64)]))
        .collect()
}

/// A piece of what the task `write` of this run says.
pub(crate) fn chunk(run: u32, text: &str) -> String {
    let payload = format!(
        r#"{{"task_name":"write","agent_name":"writer","task_id":"task-{run}","schema_type":null,"chunk":"{text}"}}"#
    );
    event("AgentOutput", &payload)
}

/// How a run begins whose one task says these texts, and does not end yet.
pub(crate) fn opening(run: u32, texts: &[String]) -> Vec<String> {
    let mut events = vec![start(), task_start("write")];
    events.extend(texts.iter().map(|text| chunk(run, text)));
    events
}
