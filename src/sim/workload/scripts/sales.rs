//! Figures are looked at by a program that a model writes.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::event::Event;
use super::super::model::{FLASH, GPT_MINI, PRO};
use super::super::pen::{Ended, OnError, Pen, Told};
use super::{Facts, prose};

pub(super) fn write(pen: &mut Pen, _: &Facts) -> Told<Value> {
    let week = pen.rng.u32(20..50);
    pen.task("load_figures", OnError::Retry, |pen| {
        let url = format!("https://figures.example.com/sales?week={week}");
        pen.http("load_figures", "GET", url);
        Ok(Ended::plainly(json!({"rows": 1_204})))
    })?;
    pen.say(Event::Log(format!("figures of week {week} loaded").into()));
    pen.task("write_program", OnError::Retry, |pen| {
        let input_tokens = pen.rng.u64(1_000..2_000);
        let call = Call {
            task: "write_program",
            agent: "programmer",
            model: &PRO,
            prompt: "Write a program that prints the median total of each region.",
            prose: prose::CODE,
            schema: None,
            input_tokens,
            speaks_ms: 6_000,
        };
        let usage = pen.ask_model(&call, &[])?;
        Ok(Ended::with("a program of 9 lines", usage))
    })?;
    if pen.chance(25) {
        mend(pen)?;
    }
    pen.task("run_program", OnError::Fail, |pen| {
        run(pen, None);
        Ok(Ended::plainly(json!({"north": 1204.0, "south": 1187.0})))
    })?;
    pen.task("explain", OnError::Retry, |pen| {
        let input_tokens = pen.rng.u64(800..1_500);
        let call = Call {
            task: "explain",
            agent: "analyst",
            model: &GPT_MINI,
            prompt: "Explain the figures to somebody who has two minutes.",
            prose: prose::FINDINGS,
            schema: None,
            input_tokens,
            speaks_ms: 7_000,
        };
        let usage = pen.ask_model(&call, &[])?;
        Ok(Ended::with("four sentences", usage))
    })
}

/// The program fails, and is mended.
fn mend(pen: &mut Pen) -> Told<Value> {
    pen.task("run_program", OnError::Fail, |pen| {
        run(
            pen,
            Some("ValueError: could not convert string to float: 'n/a'\n"),
        );
        Ok(Ended::plainly(json!({"exit_code": 1})))
    })?;
    pen.task("mend_program", OnError::Retry, |pen| {
        let call = Call {
            task: "mend_program",
            agent: "programmer",
            model: &FLASH,
            prompt: "The program failed. Mend it.",
            prose: prose::CODE,
            schema: None,
            input_tokens: 1_380,
            speaks_ms: 4_000,
        };
        let usage = pen.ask_model(&call, &[])?;
        Ok(Ended::with("a program of 11 lines", usage))
    })
}

fn run(pen: &mut Pen, error: Option<&'static str>) {
    const TASK: &str = "run_program";
    pen.beat();
    pen.say(Event::RuntimeStart {
        task_name: TASK,
        runtime_name: "figures",
        language: "python",
    });
    let began_us = pen.now_us();
    pen.pass(600..2_500);
    pen.say(Event::RuntimeStdout {
        task_name: TASK,
        chunk: "north 1204.0\n".into(),
    });
    pen.beat();
    match error {
        None => pen.say(Event::RuntimeStdout {
            task_name: TASK,
            chunk: "south 1187.0\n".into(),
        }),
        Some(error) => pen.say(Event::RuntimeStderr {
            task_name: TASK,
            chunk: error.into(),
        }),
    }
    pen.beat();
    if error.is_some() && pen.chance(30) {
        return pen.say(Event::RuntimeError {
            task_name: TASK,
            kind: "OomKilled",
            message: "the container hit its memory cap of 256 MiB".into(),
        });
    }
    pen.say(Event::RuntimeEnd {
        task_name: TASK,
        exit_code: i32::from(error.is_some()),
        duration_ms: pen.since(began_us).as_millis() as u64,
    });
}
