//! One run's events, in their real types; raw JSON only says what these cannot.

pub mod errors;
mod others;
mod task;

use akribes_types::error::ErrorKind;
use akribes_types::event::{EngineEvent, SubScriptFrame, WorkflowEndPayload, WorkflowTotals};
use akribes_types::value::Value as AkribesValue;
use fastrand::Rng;
use serde_json::{Value, json};

use crate::{chance, interleave, words};

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With a result.
    Result,
    /// With an error of this kind.
    Error(ErrorKind),
    /// The feed breaks off.
    None,
}

/// The events of one run, in order.
#[derive(Debug)]
pub struct Run {
    /// Up to and with the last one that counts.
    pub events: Vec<Value>,
    /// What a server may still send then.
    pub late: Vec<Value>,
    /// How it ends.
    pub ending: Ending,
}

impl Run {
    /// One at random.
    pub fn any(rng: &mut Rng) -> Self {
        let mut events = Vec::new();
        if chance(rng, 92) {
            events.push(typed(&EngineEvent::WorkflowStart(rng.usize(..9))));
        }
        events.extend(body(rng));
        if chance(rng, 6) {
            // The server begins the run again, and goes over some of it once more.
            let again = rng.usize(..=events.len());
            events.push(typed(&EngineEvent::WorkflowStart(3)));
            events.extend_from_within(..again);
            events.extend(body(rng));
        }
        let ending = match rng.u8(..100) {
            0..68 => Ending::Result,
            68..90 => Ending::Error(errors::KINDS[rng.usize(..errors::KINDS.len())]),
            _ => Ending::None,
        };
        let mut late = Vec::new();
        match ending {
            Ending::Result => events.push(workflow_end(rng)),
            Ending::Error(kind) => events.push(error(rng, kind)),
            Ending::None if events.is_empty() => events.push(task::end(rng, "only")),
            Ending::None => {}
        }
        if ending != Ending::None && chance(rng, 20) {
            late.push(task::end(rng, "late"));
            late.push(workflow_end(rng));
        }
        Self {
            events,
            late,
            ending,
        }
    }
}

/// Tasks, sub-scripts and other things that go on at the same time.
fn body(rng: &mut Rng) -> Vec<Value> {
    let mut strands: Vec<Vec<Value>> = (0..rng.usize(..5)).map(|_| task::strand(rng)).collect();
    if chance(rng, 35) {
        strands.push(sub_script(rng));
    }
    strands.push((0..rng.usize(..4)).map(|_| others::any(rng)).collect());
    interleave(rng, strands)
}

/// A sub-run with tasks and an end of its own, as deep as it may be.
fn sub_script(rng: &mut Rng) -> Vec<Value> {
    let frame = |rng: &mut Rng| SubScriptFrame {
        script_name: words::text(rng),
        parent_task: words::task(rng),
        parent_node_id: rng.bool().then(|| rng.u64(..9)),
        attempt: rng.bool().then(|| rng.u8(1..4)),
    };
    let me = frame(rng);
    let path: Vec<_> = (0..rng.usize(..4)).map(|_| frame(rng)).collect();
    let nested = chance(rng, 25);
    let mut inner = vec![typed(&EngineEvent::WorkflowStart(2))];
    inner.extend(task::strand(rng));
    inner.push(if rng.bool() {
        workflow_end(rng)
    } else {
        error(rng, ErrorKind::ScriptError)
    });
    let wrap = |child: Value| {
        let parent_path = if nested { vec![] } else { path.clone() };
        let mut event = enclosed(&me, parent_path, child);
        if nested {
            // The old form: one in the other.
            for frame in path.iter().rev() {
                event = enclosed(frame, vec![], event);
            }
        }
        event
    };
    inner.into_iter().map(wrap).collect()
}

fn enclosed(me: &SubScriptFrame, parent_path: Vec<SubScriptFrame>, child: Value) -> Value {
    let mut event = typed(&EngineEvent::SubScript {
        script_name: me.script_name.clone(),
        parent_task: me.parent_task.clone(),
        parent_node_id: me.parent_node_id,
        attempt: me.attempt,
        parent_path,
        child: Box::new(EngineEvent::Log(String::new())),
    });
    // Children are JSON by now.
    event["payload"]["child"] = child;
    event
}

/// The end with a result, in all its forms.
fn workflow_end(rng: &mut Rng) -> Value {
    let result = words::value(rng, 4);
    match rng.u8(..6) {
        0 | 1 => json!({"type": "WorkflowEnd", "payload": result}),
        2 => json!({"type": "WorkflowEnd", "payload": {"value": result}}),
        3 => json!({"type": "WorkflowEnd", "payload": {"total_input_tokens": 3, "a": result}}),
        4 => json!({"type": "WorkflowEnd", "payload": {"value": result, "task_count": 1}}),
        _ => {
            let totals = WorkflowTotals {
                total_input_tokens: rng.u64(..9_000),
                total_output_tokens: rng.u64(..9_000),
                total_cost_usd: 0.25,
                task_count: rng.u32(..9),
                ..WorkflowTotals::default()
            };
            let value = AkribesValue::from_json(&result);
            let payload = WorkflowEndPayload::with_totals(value, totals);
            typed(&EngineEvent::WorkflowEnd(payload))
        }
    }
}

fn error(rng: &mut Rng, kind: ErrorKind) -> Value {
    let mut event = typed(&EngineEvent::Error {
        message: words::text(rng),
        kind,
        code: errors::CODES[rng.usize(..errors::CODES.len())],
        user_message: words::text(rng),
        retry_after_ms: rng.bool().then_some(250),
        source: akribes_types::error::ErrorSource::empty().with_task(words::task(rng)),
    });
    forget(rng, &mut event, &["code", "user_message", "source"]);
    event
}

/// Leaves out fields that an older server does not know, and adds one that a newer one may.
fn forget(rng: &mut Rng, event: &mut Value, optional: &[&str]) {
    if let Some(fields) = event["payload"].as_object_mut() {
        for name in optional {
            if chance(rng, 15) {
                fields.remove(*name);
            }
        }
        if chance(rng, 10) {
            fields.insert("of_tomorrow".to_owned(), json!({"payload": [1]}));
        }
    }
}

/// An event as the server writes it.
#[expect(clippy::expect_used, reason = "derived for types whose keys are texts")]
fn typed(event: &EngineEvent) -> Value {
    serde_json::to_value(event).expect("an event is JSON")
}
