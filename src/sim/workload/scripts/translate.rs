//! A translation: two halves at once under one name, then a check of the terms
//! that may have to be asked for again.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::event::Event;
use super::super::model::{FLASH, MISTRAL};
use super::super::pen::{Ended, OnError, Pen, Told};
use super::{Facts, prose};

pub(super) fn write(pen: &mut Pen, _: &Facts) -> Told<Value> {
    pen.task("split", OnError::Fail, |pen| {
        pen.pass(60..220);
        Ok(Ended::plainly(json!({"parts": 2})))
    })?;
    let words = pen.one_of(&[prose::GERMAN, prose::GERMAN, prose::JAPANESE]);
    pen.at_once(
        |pen| translate_part(pen, words).map(drop),
        |pen| translate_part(pen, words).map(drop),
    )?;
    check_terms(pen)?;
    pen.task("join", OnError::Fail, |pen| {
        pen.pass(20..80);
        Ok(Ended::plainly("joined"))
    })?;
    Ok("The translation is complete.".into())
}

/// One half of a text.
pub(super) fn translate_part(pen: &mut Pen, words: &'static [&'static str]) -> Told<Value> {
    pen.task("translate_part", OnError::Retry, |pen| {
        let (input_tokens, speaks_ms) = (pen.rng.u64(500..1_400), pen.rng.u64(3_000..8_000));
        let call = Call {
            task: "translate_part",
            agent: "translator",
            model: &MISTRAL,
            prompt: "Translate this part. Keep the terms of the glossary.",
            prose: words,
            schema: None,
            input_tokens,
            speaks_ms,
        };
        let usage = pen.ask_model(&call, &[])?;
        Ok(Ended::with("a translated part", usage))
    })
}

fn check_terms(pen: &mut Pen) -> Told<Value> {
    pen.task("check_terms", OnError::Retry, |pen| {
        let input_tokens = pen.rng.u64(1_200..2_200);
        let call = Call {
            task: "check_terms",
            agent: "editor",
            model: &FLASH,
            prompt: "Compare the text with the glossary, and answer as a list of terms.",
            prose: prose::TERMS,
            schema: Some("TermList"),
            input_tokens,
            speaks_ms: 3_000,
        };
        let mut usage = pen.ask_model(&call, &[])?;
        let mut attempt = 1;
        if pen.chance(35) {
            pen.fail_validation(&call, 1);
            pen.say(Event::LogLevel {
                level: "WARN",
                message: "check_terms: the answer is no TermList, asking again".into(),
            });
            usage = pen.ask_model(&call, &[])?;
            attempt = 2;
        }
        let mut ended = Ended::with(json!([{"term": "business day", "used": true}]), usage);
        ended.attempt = attempt;
        Ok(ended.typed("TermList"))
    })
}
