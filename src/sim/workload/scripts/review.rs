//! A code review: a diff is fetched, two models look at it, a person agrees,
//! and a comment is posted.

use serde_json::{Value, json};

use super::super::call::{Call, ToolCall};
use super::super::event::{Event, Text};
use super::super::model::{HAIKU, SONNET};
use super::super::pen::{Ended, OnError, Pen, Told};
use super::{Facts, prose};

pub(super) fn write(pen: &mut Pen, _: &Facts) -> Told<Value> {
    let pull_request = pen.rng.u32(300..900);
    pen.task("fetch_diff", OnError::Retry, |pen| {
        let url = format!("https://git.example.com/api/pulls/{pull_request}/diff");
        pen.http("fetch_diff", "GET", url);
        Ok(Ended::plainly("a diff of 214 lines"))
    })?;
    pen.at_once(
        |pen| find_faults(pen).map(drop),
        |pen| check_style(pen).map(drop),
    )?;
    let findings = pen.rng.u32(1..6);
    pen.say(Event::StateUpdate("findings", findings.into()));
    let question = format!("Post {findings} findings on pull request {pull_request}?");
    if !pen.ask_person("approve_comments", Text::Owned(question)) {
        return Ok("not posted: the reviewer wants to look again".into());
    }
    pen.task("write_comment", OnError::Retry, |pen| {
        let input_tokens = pen.rng.u64(1_400..2_600);
        let call = Call {
            task: "write_comment",
            agent: "reviewer",
            model: &SONNET,
            prompt: "Write one comment on the pull request, friendly and short.",
            prose: prose::COMMENT,
            schema: None,
            input_tokens,
            speaks_ms: 3_500,
        };
        let usage = pen.ask_model(&call, &[])?;
        let url = format!("https://git.example.com/api/pulls/{pull_request}/comments");
        pen.http("write_comment", "POST", url);
        Ok(Ended::with("posted", usage))
    })?;
    Ok(json!({"findings": findings, "pull_request": pull_request}))
}

fn find_faults(pen: &mut Pen) -> Told<Value> {
    pen.task("find_faults", OnError::Retry, |pen| {
        let (input_tokens, speaks_ms) = (pen.rng.u64(5_000..14_000), pen.rng.u64(7_000..16_000));
        let call = Call {
            task: "find_faults",
            agent: "reviewer",
            model: &SONNET,
            prompt: "You review code. Name faults of weight, with the line and a way to mend it.",
            prose: prose::REVIEW,
            schema: Some("Review"),
            input_tokens,
            speaks_ms,
        };
        let tools = tools(pen.chance(15));
        let usage = pen.ask_model(&call, &tools)?;
        Ok(Ended::with(json!({"faults": ["release runs twice"]}), usage).typed("Review"))
    })
}

fn tools(search_fails: bool) -> [ToolCall; 2] {
    let read = ToolCall {
        server: "repository",
        tool: "read_file",
        input: json!({"path": "src/pool.rs"}),
        output: json!("pub fn release(&self) { self.free.push(self.id) }"),
        takes_ms: 120..500,
    };
    let search = ToolCall {
        server: "repository",
        tool: "search",
        input: json!({"query": "fn release"}),
        output: match search_fails {
            true => json!({"error": "the index is being rebuilt"}),
            false => json!({"hits": ["src/pool.rs:57", "src/worker.rs:102"]}),
        },
        takes_ms: 300..1_800,
    };
    [read, search]
}

fn check_style(pen: &mut Pen) -> Told<Value> {
    pen.task("check_style", OnError::Retry, |pen| {
        let input_tokens = pen.rng.u64(4_000..9_000);
        let call = Call {
            task: "check_style",
            agent: "stylist",
            model: &HAIKU,
            prompt: "You look at names and comments only.",
            prose: prose::STYLE,
            schema: None,
            input_tokens,
            speaks_ms: 4_000,
        };
        let usage = pen.ask_model(&call, &[])?;
        Ok(Ended::with("two remarks", usage))
    })
}
