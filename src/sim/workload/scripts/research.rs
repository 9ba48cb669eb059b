//! A question is looked into: a plan, a loop of turns with tools, a report.

use serde_json::{Value, json};

use super::super::call::{Call, ToolCall};
use super::super::event::{ContextCompacted, Event, Usage};
use super::super::model::{GPT, GPT_MINI, PRO};
use super::super::pen::{Ended, OnError, Pen, Told};
use super::{Facts, prose};

const TURNS_MAX: u32 = 8;

pub(super) fn write(pen: &mut Pen, _: &Facts) -> Told<Value> {
    pen.task("plan", OnError::Retry, |pen| {
        let input_tokens = pen.rng.u64(700..1_300);
        let call = Call {
            task: "plan",
            agent: "planner",
            model: &GPT,
            prompt: "Plan how to find out why the lake's level fell.",
            prose: prose::PLAN,
            schema: Some("Plan"),
            input_tokens,
            speaks_ms: 4_000,
        };
        let usage = pen.ask_model(&call, &[])?;
        Ok(Ended::with(json!({"steps": 3}), usage).typed("Plan"))
    })?;
    pen.task("gather", OnError::Fail, gather)?;
    pen.task("report", OnError::Retry, |pen| {
        let (input_tokens, speaks_ms) = (pen.rng.u64(3_000..6_000), pen.rng.u64(8_000..14_000));
        let call = Call {
            task: "report",
            agent: "writer",
            model: &PRO,
            prompt: "Write a short report with its sources.",
            prose: prose::REPORT,
            schema: None,
            input_tokens,
            speaks_ms,
        };
        let usage = pen.ask_model(&call, &[])?;
        Ok(Ended::with("a report of one page", usage))
    })
}

fn gather(pen: &mut Pen) -> Told<Ended> {
    pen.beat();
    pen.say(Event::LoopStart {
        name: "gather",
        max_turns: TURNS_MAX,
    });
    let turns = pen.rng.u32(2..6);
    let mut spent: Option<Usage> = None;
    for turn in 1..=turns {
        let usage = take_turn(pen, turn)?;
        spent = Some(match spent {
            None => usage,
            Some(before) => Usage {
                input_tokens: before.input_tokens + usage.input_tokens,
                output_tokens: before.output_tokens + usage.output_tokens,
                cached_input_tokens: before.cached_input_tokens + usage.cached_input_tokens,
                ..usage
            },
        });
        if turn == 3 {
            compact(pen, turn);
        }
    }
    pen.beat();
    pen.say(Event::LoopEnd {
        name: "gather",
        turn_count: turns,
        value: json!({"sources": turns}),
    });
    Ok(Ended {
        usage: spent,
        ..Ended::plainly(json!({"sources": turns}))
    })
}

fn take_turn(pen: &mut Pen, turn: u32) -> Told<Usage> {
    let mut called = Vec::new();
    let calls = pen.rng.usize(1..=3);
    pen.pass(500..1_500);
    for _ in 0..calls {
        let tool = web(pen);
        called.push(tool.tool);
        let id = pen.tool_id(&GPT_MINI);
        pen.use_tool("gather", &tool, id);
    }
    if pen.chance(6) {
        pen.say(Event::McpServerDegraded {
            alias: "web",
            reason: "5 calls in a row timed out".into(),
        });
        pen.pass(1_000..3_000);
        pen.say(Event::McpServerRecovered { alias: "web" });
    }
    let call = Call {
        task: "gather",
        agent: "researcher",
        model: &GPT_MINI,
        prompt: "Go on with the plan. Call `return` when you know enough.",
        prose: prose::REPORT,
        schema: None,
        input_tokens: 800 + u64::from(turn) * pen.rng.u64(600..1_100),
        speaks_ms: 1_800,
    };
    let usage = pen.ask_model(&call, &[])?;
    pen.say(Event::LoopTurn {
        name: "gather",
        turn,
        tool_calls: called,
        usage: Some(usage.clone()),
    });
    Ok(usage)
}

fn web(pen: &mut Pen) -> ToolCall {
    if pen.chance(50) {
        return ToolCall {
            server: "web",
            tool: "search",
            input: json!({"query": "lake level since 1950 northern gauge"}),
            output: json!([
                "https://water.example.org/levels",
                "https://lake.example.net/history"
            ]),
            takes_ms: 300..1_200,
        };
    }
    ToolCall {
        server: "web",
        tool: "fetch",
        input: json!({"url": "https://water.example.org/levels"}),
        output: match pen.chance(20) {
            true => json!({"error": "404 Not Found"}),
            false => json!("Year;Level\n1982;395.61\n1984;395.24"),
        },
        takes_ms: 400..2_200,
    }
}

fn compact(pen: &mut Pen, turn: u32) {
    pen.beat();
    let loop_id = pen.uuid();
    pen.say(Event::ContextCompacted(Box::new(ContextCompacted {
        agent: "researcher",
        loop_id: Some(loop_id),
        turn: Some(turn),
        threshold_pct: Some(80),
        threshold_abs: None,
        strategy: "drop_oldest_tool_results",
        before_tokens: 104_210,
        after_tokens: 61_870,
        provider_native: false,
    })));
}
