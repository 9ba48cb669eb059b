//! Content as chat messages, in the JSON that the GenAI conventions define for
//! `gen_ai.input.messages` and `gen_ai.output.messages`.

use serde::Serialize;

/// One message of a person or a program to a model.
pub fn input(text: &str) -> String {
    json(&[Message {
        role: "user",
        parts: vec![Part {
            kind: "text",
            content: text,
        }],
        finish_reason: None,
    }])
}

/// One answer of a model, with its reasoning where it was told.
pub fn output(
    reasoning: Option<&str>,
    answer: Option<&str>,
    finish_reason: Option<&str>,
) -> String {
    let reasoning = reasoning.map(|content| Part {
        kind: "reasoning",
        content,
    });
    let answer = answer.map(|content| Part {
        kind: "text",
        content,
    });
    json(&[Message {
        role: "assistant",
        parts: reasoning.into_iter().chain(answer).collect(),
        // The schema wants one.
        finish_reason: Some(finish_reason.unwrap_or("unknown")),
    }])
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    parts: Vec<Part<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_reason: Option<&'a str>,
}

#[derive(Serialize)]
struct Part<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    content: &'a str,
}

/// Texts in a vector cannot fail to become JSON.
fn json(messages: &[Message<'_>]) -> String {
    serde_json::to_string(messages).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_assistant_message_with_its_reasoning_before_its_text() {
        assert_eq!(
            output(Some("hm"), Some("a \"b\"\n"), Some("stop")),
            r#"[{"role":"assistant","parts":[{"type":"reasoning","content":"hm"},{"type":"text","content":"a \"b\"\n"}],"finish_reason":"stop"}]"#
        );
        assert_eq!(
            output(None, Some("x"), None),
            r#"[{"role":"assistant","parts":[{"type":"text","content":"x"}],"finish_reason":"unknown"}]"#
        );
    }

    #[test]
    fn a_prompt_is_one_user_message() {
        assert_eq!(
            input("hi"),
            r#"[{"role":"user","parts":[{"type":"text","content":"hi"}]}]"#
        );
    }
}
