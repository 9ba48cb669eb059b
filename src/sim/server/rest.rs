//! What the REST calls answer.

use std::sync::Arc;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::Answer;
use super::hub::Hub;
use super::request::Wanted;
use super::runs::Run;
use crate::net::serve;
use crate::sim::workload::event::Text;
use crate::wire::time::Time;

/// A request is refused.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    message: Text,
}

/// An answer, or none.
pub(super) type Told = Result<Answer, Refused>;

/// Rows of a page of runs, unless somebody asks for another number, and at most.
const RUNS_PAGE: usize = 50;
const RUNS_PAGE_MAX: usize = 200;
/// Events of a page of a run's log.
const LOG_PAGE: usize = 500;
const LOG_PAGE_MAX: usize = 1_000;

/// A list of runs.
pub(super) fn runs(hub: &Hub, wanted: &Wanted, project_id: i64, script: Option<&str>) -> Told {
    let limit = wanted.number("limit").map_err(bad)?.unwrap_or(RUNS_PAGE);
    let offset = wanted.number("offset").map_err(bad)?.unwrap_or(0);
    let (since, until) = (time(wanted, "since")?, time(wanted, "until")?);
    let is_wanted = |run: &&Run| {
        run.project_id == project_id
            && script.is_none_or(|script| script == run.script)
            && wanted
                .query("status")
                .is_none_or(|status| status == run.status.as_str())
            && wanted
                .query("channel")
                .is_none_or(|channel| channel == run.channel())
            && since.is_none_or(|since| run.started_at >= since)
            && until.is_none_or(|until| run.started_at <= until)
    };
    hub.look(|state| {
        let found = state.runs.newest_first().filter(is_wanted);
        let page = found.skip(offset).take(limit.min(RUNS_PAGE_MAX));
        let rows: Vec<_> = page.map(Run::row).collect();
        Ok(json(StatusCode::OK, &rows))
    })
}

fn time(wanted: &Wanted, name: &str) -> Result<Option<Time>, Refused> {
    let Some(text) = wanted.query(name) else {
        return Ok(None);
    };
    let time = Time::parse_rfc3339(text);
    time.map(Some)
        .ok_or_else(|| bad(format!("{name} is no RFC 3339 time")))
}

/// A run.
pub(super) fn run(run: &Run) -> Answer {
    json(StatusCode::OK, &run.row())
}

/// What came of a run.
pub(super) fn output(run: &Run) -> Answer {
    let mut row = serde_json::to_value(run.row()).unwrap_or_default();
    let mut field = |name: &str| row[name].take();
    let output = json!({
        "status": field("status"),
        "error": field("error"),
        "error_kind": field("error_kind"),
        "result": field("result"),
    });
    json(StatusCode::OK, &output)
}

/// The tasks of a run.
pub(super) fn tasks(run: &Run) -> Answer {
    let tasks = json!({"execution_id": &*run.id, "tasks": run.tasks()});
    json(StatusCode::OK, &tasks)
}

/// The runs that a run spawned.
pub(super) fn children(hub: &Hub, ids: &[String]) -> Answer {
    #[derive(Serialize)]
    struct Child {
        id: serde_json::Value,
        parent_node_id: serde_json::Value,
        status: serde_json::Value,
        started_at: serde_json::Value,
        finished_at: serde_json::Value,
        script_name: serde_json::Value,
    }
    let child = |id: &String| {
        let mut row = hub.with_run(id, |run| serde_json::to_value(run.row()).ok())??;
        let mut field = |name: &str| row[name].take();
        Some(Child {
            id: field("id"),
            parent_node_id: field("parent_node_id"),
            status: field("status"),
            started_at: field("started_at"),
            finished_at: field("finished_at"),
            script_name: field("script_name"),
        })
    };
    let children: Vec<_> = ids.iter().filter_map(child).collect();
    json(StatusCode::OK, &children)
}

/// A page of a run's log.
pub(super) fn log(run: &Run, wanted: &Wanted) -> Told {
    #[derive(Serialize)]
    struct Page<'a> {
        execution_id: &'a str,
        status: super::runs::Status,
        complete: bool,
        events: Vec<Box<RawValue>>,
        next_after_id: Option<u64>,
        has_more: bool,
    }
    let after = wanted.number("after_id").map_err(bad)?.unwrap_or(0);
    let limit = wanted.number("limit").map_err(bad)?.unwrap_or(LOG_PAGE);
    let limit = limit.clamp(1, LOG_PAGE_MAX);
    let types: Option<Vec<&str>> = wanted
        .query("types")
        .map(|types| types.split(',').collect());
    let first = run.log.partition_point(|entry| entry.seq <= after);
    let mut matching = run.log[first..].iter().filter(|entry| {
        types
            .as_ref()
            .is_none_or(|types| types.contains(&entry.event_type()))
    });
    let mut events = Vec::new();
    let mut next_after_id = None;
    for entry in matching.by_ref().take(limit) {
        events.extend(stamped(&entry.event, entry.at));
        next_after_id = Some(entry.seq);
    }
    Ok(json(
        StatusCode::OK,
        &Page {
            execution_id: &run.id,
            status: run.status,
            complete: run.status.is_final(),
            events,
            next_after_id,
            has_more: matching.next().is_some(),
        },
    ))
}

/// An event with the time at which it happened.
fn stamped(event: &RawValue, at: Time) -> Option<Box<RawValue>> {
    let open = event.get().strip_suffix('}')?;
    RawValue::from_string(format!("{open},\"at\":\"{}\"}}", at.to_rfc3339())).ok()
}

/// Begins a run.
pub(super) fn begin(hub: &Arc<Hub>, wanted: &Wanted, project_id: i64, script: &str) -> Told {
    #[derive(Default, Deserialize)]
    struct Asked {
        triggered_by: Option<String>,
    }
    let asked: Asked = match &wanted.body {
        body if body.is_empty() => Asked::default(),
        body => serde_json::from_slice(body).map_err(|_| bad("the body is no JSON of a run"))?,
    };
    if hub.is_full() {
        let message = "too many runs are open";
        return Err(refused(StatusCode::SERVICE_UNAVAILABLE, message));
    }
    let mut plan = hub.plan(project_id, script).ok_or_else(missing)?;
    if let Some(channel) = wanted.query("channel") {
        channel.clone_into(&mut plan.channel);
    }
    if let Some(triggered_by) = asked.triggered_by {
        plan.triggered_by = triggered_by;
    }
    let answer = json(StatusCode::OK, &json!({"execution_id": plan.execution_id}));
    hub.begin(plan);
    Ok(answer)
}

/// Stops a run.
pub(super) fn cancel(hub: &Hub, id: &str) -> Told {
    match hub.cancel(id) {
        true => Ok(json(StatusCode::OK, &json!({"status": "cancelling"}))),
        false => Err(missing()),
    }
}

/// Stops all open runs of a script.
pub(super) fn cancel_all(hub: &Hub, project_id: i64, script: &str) -> Told {
    let ids: Vec<_> = hub.look(|state| {
        let open = state.runs.newest_first().filter(|run| {
            run.project_id == project_id && run.script == script && !run.status.is_final()
        });
        open.map(|run| Arc::clone(&run.id)).collect()
    });
    let cancelled = ids.iter().filter(|id| hub.cancel(id)).count();
    match cancelled {
        0 => Err(missing()),
        _ => Ok(json(StatusCode::OK, &json!({"cancelled": cancelled}))),
    }
}

/// Answers what a run waits for.
pub(super) fn resume(hub: &Hub, wanted: &Wanted, id: &str) -> Told {
    #[derive(Deserialize)]
    struct Resumption {
        token: String,
    }
    let resumption: Resumption =
        serde_json::from_slice(&wanted.body).map_err(|_| bad("the body has no token"))?;
    match hub.resume(id, &resumption.token) {
        true => Ok(json(StatusCode::OK, &json!({"status": "resumed"}))),
        false => Err(missing()),
    }
}

/// Some JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    // Plain structures are always written.
    serve::json(status, serde_json::to_vec(value).unwrap_or_default())
}

/// An error, in words.
pub(super) fn refused(status: StatusCode, message: impl Into<Text>) -> Refused {
    Refused {
        status,
        message: message.into(),
    }
}

/// There is no such thing, or none that this token may see.
pub(super) fn missing() -> Refused {
    refused(StatusCode::NOT_FOUND, "not found")
}

/// A request that makes no sense.
pub(super) fn bad(message: impl Into<Text>) -> Refused {
    refused(StatusCode::BAD_REQUEST, message)
}

impl From<Refused> for Answer {
    fn from(refused: Refused) -> Self {
        json(refused.status, &json!({"error": refused.message}))
    }
}
