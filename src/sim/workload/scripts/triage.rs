//! A customer's letter: a small model sorts it, a larger one where that fails;
//! then a reply, which somebody may have to approve before it is sent.

use serde_json::{Value, json};

use super::super::call::{Call, ToolCall};
use super::super::event::{Event, Suspended, Trigger, Unable, Variant};
use super::super::model::{FLASH, GPT, Model, PRO};
use super::super::pen::{Ended, OnError, Pen, Told};
use super::{Facts, prose};

const UNABLE: &str = "the letter names an invoice that does not exist";

pub(super) fn write(pen: &mut Pen, _: &Facts) -> Told<Value> {
    classify(pen)?;
    let customer = pen.rng.u32(10_000..99_999);
    pen.task("look_up_customer", OnError::Fail, |pen| {
        let tool = ToolCall {
            server: "crm",
            tool: "get_customer",
            input: json!({"id": customer}),
            output: json!({"id": customer, "plan": "team", "since": 2021}),
            takes_ms: 80..400,
        };
        pen.pass(5..20);
        let reason = "policy:read_only";
        pen.say(Event::ToolApprovalSkipped {
            execution_id: None,
            node_id: None,
            tool_ref: "crm.get_customer".into(),
            reason,
        });
        pen.use_tool("look_up_customer", &tool, String::new());
        Ok(Ended::plainly(json!({"plan": "team"})))
    })?;
    if pen.chance(12) {
        return give_up(pen);
    }
    pen.task("reply", OnError::Retry, |pen| reply(pen, customer))
}

/// By the small model; when its answers do not fit, by the large one.
fn classify(pen: &mut Pen) -> Told<Value> {
    if !pen.chance(35) {
        return pen.task("classify", OnError::Retry, |pen| {
            let call = classification(pen, "sorter", &FLASH);
            let usage = pen.ask_model(&call, &[])?;
            Ok(Ended::with(json!({"topic": "billing"}), usage).typed("Ticket"))
        });
    }
    pen.task("classify", OnError::Fail, |pen| {
        let call = classification(pen, "sorter", &FLASH);
        pen.ask_model(&call, &[])?;
        pen.fail_validation(&call, 1);
        let usage = pen.ask_model(&call, &[])?;
        pen.fail_validation(&call, 2);
        Ok(Ended {
            attempt: 2,
            variant: Variant::Failed,
            ..Ended::with(json!({"text": "billing, I think"}), usage)
        })
    })?;
    pen.beat();
    pen.say(Event::TaskEscalated {
        task: "classify",
        from_agent: "sorter",
        to_agent: "careful_sorter",
        reason: "validation failed after 2 attempt(s)".into(),
    });
    pen.task("classify", OnError::Retry, |pen| {
        let call = classification(pen, "careful_sorter", &PRO);
        let usage = pen.ask_model(&call, &[])?;
        Ok(Ended::with(json!({"topic": "billing"}), usage).typed("Ticket"))
    })
}

fn classification(pen: &mut Pen, agent: &'static str, model: &'static Model) -> Call {
    Call {
        task: "classify",
        agent,
        model,
        prompt: "What is the letter about, and how urgent is it?",
        prose: prose::CLASSES,
        schema: Some("Ticket"),
        input_tokens: pen.rng.u64(400..1_100),
        speaks_ms: 1_500,
    }
}

fn reply(pen: &mut Pen, customer: u32) -> Told<Ended> {
    let input_tokens = pen.rng.u64(900..1_900);
    let call = Call {
        task: "reply",
        agent: "correspondent",
        model: &GPT,
        prompt: "Answer the letter, in the customer's language.",
        prose: prose::REPLY,
        schema: None,
        input_tokens,
        speaks_ms: 5_000,
    };
    let usage = pen.ask_model(&call, &[])?;
    let send = ToolCall {
        server: "mail",
        tool: "send",
        input: json!({"customer": customer, "body": prose::REPLY[0]}),
        output: json!({"queued": true}),
        takes_ms: 150..500,
    };
    let id = pen.tool_id(&GPT);
    pen.start_tool("reply", &send, &id);
    let began_us = pen.now_us();
    let approved = approve(pen, &send);
    if !approved {
        let output = json!({"error": "rejected by the operator"});
        pen.end_tool("reply", &send, id, output, began_us);
        return Ok(Ended::with("kept as a draft", usage));
    }
    pen.pass(send.takes_ms.clone());
    pen.end_tool("reply", &send, id, send.output.clone(), began_us);
    Ok(Ended::with("sent", usage))
}

fn approve(pen: &mut Pen, tool: &ToolCall) -> bool {
    pen.beat();
    let token = pen.uuid();
    let node = pen.next_node();
    pen.say(Event::ToolApprovalPending {
        execution_id: None,
        node_id: Some(node),
        token: token.clone(),
        tool_ref: format!("{}.{}", tool.server, tool.tool).into(),
        args: tool.input.clone(),
    });
    pen.pass(15_000..90_000);
    let approved = pen.chance(85);
    pen.say(Event::ToolApprovalResolved {
        token,
        approved,
        reason: (!approved).then(|| "too long for a first answer".into()),
    });
    approved
}

/// The model cannot answer, and a person has to.
fn give_up(pen: &mut Pen) -> Told<Value> {
    pen.task("reply", OnError::Retry, |pen| {
        let call = Call {
            task: "reply",
            agent: "correspondent",
            model: &GPT,
            prompt: "Answer the letter, in the customer's language.",
            prose: &["I cannot find the invoice that the letter names."],
            schema: Some("Reply"),
            input_tokens: 1_204,
            speaks_ms: 1_200,
        };
        let usage = pen.ask_model(&call, &[])?;
        let unable = json!({"reason": UNABLE, "missing": ["invoice"], "category": "input_missing"});
        Ok(Ended {
            variant: Variant::Unable,
            ..Ended::with(json!({"unable": unable}), usage)
        })
    })?;
    pen.beat();
    let token = pen.uuid();
    pen.say(Event::Suspended(Box::new(Suspended {
        checkpoint_name: "answer_by_hand",
        token: token.clone(),
        prompt: "Please answer this letter.".into(),
        schema: json!({"type": "string"}),
        actor_hint: "Human",
        timeout_secs: Some(28_800),
        trigger: Trigger::AgentUnable {
            task_name: "reply",
            unable: Unable {
                reason: UNABLE.into(),
                missing: vec!["invoice"],
                category: "input_missing",
            },
        },
    })));
    pen.pass(60_000..200_000);
    pen.say(Event::Resumed {
        checkpoint_name: "answer_by_hand",
        token,
    });
    Ok("answered by hand".into())
}
