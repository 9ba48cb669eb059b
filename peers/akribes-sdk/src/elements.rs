//! What stands around events in a batch, and what is no event.

use fastrand::Rng;
use serde_json::{Value, json};

use crate::{chance, words};

/// Who an event is of.
#[derive(Debug, Clone)]
pub struct Owner {
    /// The project.
    pub project: i64,
    /// The script.
    pub script: String,
    /// The run; older servers do not say it.
    pub execution_id: Option<String>,
}

/// The clock and the log of the server.
#[derive(Debug)]
pub struct Stamps {
    seq: i64,
    millis: u64,
}

impl Stamps {
    /// Anywhere in the log.
    pub fn any(rng: &mut Rng) -> Self {
        Self {
            seq: rng.i64(1..1 << 40),
            millis: rng.u64(..3_600_000),
        }
    }

    /// The newest place in the log.
    pub const fn seq(&self) -> i64 {
        self.seq
    }

    /// An event of a run as it stands in a batch.
    pub fn element(&mut self, rng: &mut Rng, owner: &Owner, event: Value) -> Value {
        self.seq += rng.i64(1..4);
        self.millis += rng.u64(..500) * u64::from(rng.bool());
        let mut payload = json!({
            "project_id": owner.project,
            "script_name": owner.script,
            "event": event,
        });
        if let Some(id) = &owner.execution_id {
            payload["execution_id"] = json!(id);
        }
        match rng.u8(..20) {
            0 => {}
            1 => payload["seq"] = Value::Null,
            _ => payload["seq"] = json!(self.seq),
        }
        match rng.u8(..20) {
            0 => {}
            1 => payload["at"] = Value::Null,
            2 => payload["at"] = json!("just now"),
            _ => payload["at"] = json!(self.at()),
        }
        if chance(rng, 5) {
            payload["of_tomorrow"] = json!([{}]);
        }
        json!({"type": "Execution", "payload": payload})
    }

    fn at(&self) -> String {
        let (seconds, millis) = (self.millis / 1000, self.millis % 1000);
        let (minutes, seconds) = (seconds / 60, seconds % 60);
        let (hours, minutes) = (8 + minutes / 60, minutes % 60);
        format!("2026-05-07T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}Z")
    }
}

/// An element that is of no run: other hub events, unknown ones, wrong shapes.
/// Those that look like an event of a run name the one that is watched.
pub fn foreign(rng: &mut Rng, owner: &Owner) -> Value {
    let (script, id) = (&owner.script, &owner.execution_id);
    let of_run = |event: Value| {
        json!({"type": "Execution", "payload": {
            "project_id": owner.project, "script_name": script, "execution_id": id, "event": event,
        }})
    };
    match rng.u8(..24) {
        0 => json!({"type": "Registry", "payload": {"type": "ScriptUpdated", "payload": {
            "project_id": owner.project, "script_name": script, "version_id": 3, "channel": null,
        }}}),
        1 => json!({"type": "Registry", "payload": {"type": "OfTomorrow", "payload": {}}}),
        2 => json!({"type": "Bench", "payload": {"type": "RunFinished", "payload": {
            "project_id": owner.project, "script_name": script, "run": {"id": 4},
        }}}),
        3 => json!({"type": "Bench", "payload": 3}),
        4 => json!({"type": "OfTomorrow", "payload": {"execution_id": id, "script_name": script}}),
        5 => json!(7),
        6 => json!("text"),
        7 => json!(null),
        8 => json!([1, 2]),
        9 => json!({}),
        10 => json!({"type": "Execution"}),
        11 => json!({"type": "Execution", "payload": null}),
        12 => json!({"type": 7, "payload": {}}),
        13 => {
            json!({"payload": {"script_name": script, "event": {"type": "WorkflowEnd", "payload": 1}}})
        }
        14 => json!({"type": "Execution", "payload": {
            "project_id": owner.project, "execution_id": id,
            "event": {"type": "WorkflowEnd", "payload": "no script"},
        }}),
        15 => of_run(json!(null)),
        16 => of_run(json!("WorkflowEnd")),
        17 => of_run(json!({"type": "TaskEnd"})),
        18 => of_run(json!({"type": "TaskEnd", "payload": 3})),
        19 => of_run(json!({"type": "TaskEnd", "payload": {"duration": {"secs": 1, "nanos": 0}}})),
        20 => of_run(json!({"type": "TaskEnd", "payload": {"task": {"name": "x"}, "value": 1}})),
        21 => of_run(json!({"type": "OfTomorrow", "payload": {"task": words::task(rng)}})),
        22 => {
            of_run(json!({"type": "AgentOutput", "payload": {"task_name": "review", "chunk": 3}}))
        }
        _ => of_run(json!({"type": "TaskStart", "payload": 3})),
    }
}
