//! Release notes: changes are collected, summed up by another script, translated
//! by a run of their own, and published.

use serde_json::{Value, json};

use super::super::event::Event;
use super::super::failure::Fate;
use super::super::pen::{Ended, OnError, Pen, Told, uuid};
use super::{Facts, TRANSLATE, prose, summarise, translate};

pub(super) fn write(pen: &mut Pen, facts: &Facts) -> Told<Value> {
    let minor = pen.rng.u32(1..30);
    pen.task("collect_changes", OnError::Retry, |pen| {
        let url = format!(
            "https://git.example.com/api/compare/v2.{}...v2.{minor}",
            minor - 1
        );
        pen.http("collect_changes", "GET", url);
        Ok(Ended::plainly(json!({"features": 4, "fixes": 11})))
    })?;
    pen.sub_script("summarise", "features", 2, summarise::body)?;
    pen.sub_script("summarise", "fixes", 2, |pen| {
        let summary = summarise::body(pen)?;
        if pen.chance(40) {
            pen.sub_script("translate", "german", 1, |pen| {
                translate::translate_part(pen, prose::GERMAN)
            })?;
        }
        Ok(summary)
    })?;
    if pen.chance(60) {
        let child = translation(pen, facts);
        pen.spawn(
            child,
            json!({"language": "ja", "document": format!("v2.{minor}")}),
        );
    }
    pen.task("publish", OnError::Retry, |pen| {
        let url = "https://notes.example.com/v1/releases".to_owned();
        pen.http("publish", "POST", url);
        Ok(Ended::plainly("published"))
    })?;
    pen.say(Event::LogLevel {
        level: "INFO",
        message: format!("the notes of version 2.{minor} are out").into(),
    });
    Ok(json!({"version": format!("2.{minor}"), "languages": ["en", "ja"]}))
}

/// A run of its own.
fn translation(pen: &mut Pen, facts: &Facts) -> super::Plan {
    let mut rng = pen.rng.fork();
    let node = pen.next_node().to_string();
    let child = Facts {
        execution_id: uuid(&mut rng),
        parent: Some((facts.execution_id.clone(), node)),
        triggered_by: format!("execution:{}", facts.execution_id),
        ..facts.clone()
    };
    TRANSLATE.plan(child, rng, pen.settings.clone(), Fate::Well)
}
