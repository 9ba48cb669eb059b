//! `/_sim/`: how the server is told what to do, while it runs.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::Answer;
use super::hub::Hub;
use super::rest::{self, Told};
use crate::sim::misbehaviour::Misbehaviour;

pub(super) fn answer(hub: &Arc<Hub>, method: &Method, path: &[&str], body: &Bytes) -> Told {
    match (method, path) {
        (&Method::GET, ["status"]) => Ok(status(hub)),
        (&Method::POST, ["misbehave"]) => {
            let misbehaviour: Misbehaviour = serde_json::from_slice(body)
                .map_err(|error| rest::bad(format!("no misbehaviour: {error}")))?;
            misbehaviour
                .validate()
                .map_err(|error| rest::bad(error.to_string()))?;
            hub.misbehave(&misbehaviour);
            Ok(status(hub))
        }
        (&Method::POST, ["runs"]) => begin(hub, body),
        _ => Err(rest::missing()),
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

fn begin(hub: &Arc<Hub>, body: &Bytes) -> Told {
    #[derive(Deserialize)]
    struct Asked {
        script: String,
    }
    let asked: Asked =
        serde_json::from_slice(body).map_err(|_| rest::bad("the body names no script"))?;
    let id = super::begin_anywhere(hub, &asked.script).ok_or_else(rest::missing)?;
    Ok(rest::json(StatusCode::OK, &json!({"execution_id": id})))
}
