//! `/_sim/`: how the server is told what to do, while it runs.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::Answer;
use super::hub::Hub;
use super::rest;
use crate::sim::misbehaviour::Misbehaviour;

pub(super) fn answer(hub: &Arc<Hub>, method: &Method, path: &[&str], body: &Bytes) -> Answer {
    match (method, path) {
        (&Method::GET, ["status"]) => status(hub),
        (&Method::POST, ["misbehave"]) => match serde_json::from_slice::<Misbehaviour>(body) {
            Ok(misbehaviour) => match misbehaviour.validate() {
                Ok(()) => {
                    hub.misbehave(&misbehaviour);
                    status(hub)
                }
                Err(error) => rest::bad(error.to_string()),
            },
            Err(error) => rest::bad(format!("no misbehaviour: {error}")),
        },
        (&Method::POST, ["runs"]) => begin(hub, body),
        _ => rest::missing(),
    }
}

fn status(hub: &Hub) -> Answer {
    let status = hub.look(|state| {
        json!({
            "open_runs": state.runs.open(),
            "finished_runs": state.runs.finished().count(),
            "open_feeds": state.feeds.len(),
            "events": state.log.end(),
        })
    });
    rest::json(StatusCode::OK, &status)
}

fn begin(hub: &Arc<Hub>, body: &Bytes) -> Answer {
    #[derive(Deserialize)]
    struct Asked {
        script: String,
    }
    let Ok(asked) = serde_json::from_slice::<Asked>(body) else {
        return rest::bad("the body names no script".to_owned());
    };
    match super::begin_anywhere(hub, &asked.script) {
        Some(id) => rest::json(StatusCode::OK, &json!({"execution_id": id})),
        None => rest::missing(),
    }
}
