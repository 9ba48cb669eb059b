//! The tickets of a day, summed up at night by a provider's batch, at half the price.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::event::{Event, Suspended, Trigger};
use super::super::model::{GPT_MINI, HAIKU};
use super::super::pen::{Ended, OnError, Pen, Told};
use super::{Facts, prose};

pub(super) fn write(pen: &mut Pen, _: &Facts) -> Told<Value> {
    pen.task("load_tickets", OnError::Retry, |pen| {
        let url = "https://desk.example.com/tickets?since=yesterday".to_owned();
        pen.http("load_tickets", "GET", url);
        Ok(Ended::plainly(json!({"tickets": 41})))
    })?;
    for _ in 0..2 {
        pen.task("sum_up_topic", OnError::Fail, |pen| {
            let prompt = "Sum up the tickets of this topic.";
            pen.say(Event::TaskPrompt("sum_up_topic", prompt.into()));
            wait_for_batch(pen);
            let input = pen.rng.u64(6_000..15_000);
            let usage = HAIKU.usage(&mut pen.rng, input, 240, 0);
            Ok(Ended::with("a paragraph", usage))
        })?;
    }
    pen.task("write_digest", OnError::Retry, |pen| {
        let input_tokens = pen.rng.u64(900..1_600);
        let call = Call {
            task: "write_digest",
            agent: "editor",
            model: &GPT_MINI,
            prompt: "Write the digest for the morning.",
            prose: prose::DIGEST,
            schema: None,
            input_tokens,
            speaks_ms: 5_000,
        };
        let usage = pen.ask_model(&call, &[])?;
        Ok(Ended::with("a digest", usage))
    })
}

fn wait_for_batch(pen: &mut Pen) {
    pen.beat();
    let token = pen.uuid();
    let node_id = pen.next_node().to_string();
    pen.say(Event::BatchQueued {
        token: token.clone(),
        provider: HAIKU.provider,
        model: HAIKU.name,
        node_id,
        structured: false,
    });
    pen.beat();
    pen.say(Event::Suspended(Box::new(Suspended {
        checkpoint_name: "provider_batch",
        token: token.clone(),
        prompt: "waiting for the provider's batch".into(),
        schema: json!({}),
        actor_hint: "Any",
        timeout_secs: None,
        trigger: Trigger::DagPosition,
    })));
    pen.pass(60_000..200_000);
    pen.say(Event::Resumed {
        checkpoint_name: "provider_batch",
        token,
    });
}
