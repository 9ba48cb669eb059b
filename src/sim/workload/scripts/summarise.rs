//! A summary of a document, often one that was summed up before. Other scripts
//! call it, too.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::event::{Chunk, Event};
use super::super::model::HAIKU;
use super::super::pen::{Ended, OnError, Pen, Told};
use super::{Facts, prose};

pub(super) fn write(pen: &mut Pen, _: &Facts) -> Told<Value> {
    body(pen)
}

/// What it does, on its own or within another script.
pub(super) fn body(pen: &mut Pen) -> Told<Value> {
    let document = pen.rng.u32(1_000..9_999);
    pen.task("fetch_document", OnError::Retry, |pen| {
        let url = format!("https://docs.example.com/v2/documents/{document}");
        pen.http("fetch_document", "GET", url);
        Ok(Ended::plainly("a document"))
    })?;
    let cached = pen.chance(30);
    let summary = pen.task("draft", OnError::Retry, |pen| {
        if cached {
            return Ok(from_cache(pen));
        }
        let (input_tokens, speaks_ms) = (pen.rng.u64(2_000..9_000), pen.rng.u64(3_000..7_000));
        let call = Call {
            task: "draft",
            agent: "writer",
            model: &HAIKU,
            prompt: "Sum up the document in five sentences.",
            prose: prose::SUMMARY,
            schema: None,
            input_tokens,
            speaks_ms,
        };
        let usage = pen.ask_model(&call, &[])?;
        Ok(Ended::with("The team releases every two weeks.", usage))
    })?;
    if pen.chance(40) {
        verify(pen);
    }
    Ok(summary)
}

fn from_cache(pen: &mut Pen) -> Ended {
    let prompt = "Sum up the document in five sentences.";
    pen.say(Event::TaskPrompt("draft", prompt.into()));
    pen.beat();
    let key_prefix = format!("{:06x}", pen.rng.u32(..0x100_0000));
    pen.say(Event::TaskCacheHit {
        agent: "writer",
        key_prefix,
    });
    let task_id = pen.task_id();
    pen.say(Event::AgentOutput(Chunk {
        task_name: "draft",
        agent_name: Some("writer"),
        task_id,
        schema_type: None,
        chunk: "Result served from cache.".to_owned(),
    }));
    Ended::plainly("The team releases every two weeks.")
}

fn verify(pen: &mut Pen) {
    pen.beat();
    pen.say(Event::VerificationStart {
        workflow_name: "summarise",
    });
    let began_us = pen.now_us();
    pen.pass(60..240);
    let duration: Duration = pen.since(began_us);
    pen.say(Event::VerificationResult {
        workflow_name: "summarise",
        results: json!([{"check": "five sentences at most", "passed": true}]),
        duration,
    });
}
