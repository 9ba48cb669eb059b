//! A run that says something private wherever it can.

use serde_json::json;

use super::{Feed, merge, usage};

/// A run with content wherever there can be some; each piece says `private`.
pub fn talkative() -> Feed {
    talkative_as("review", super::RUN)
}

/// The same, of this script and with this id.
pub fn talkative_as(script: &str, run: &str) -> Feed {
    let mut feed = Feed::of_run(script, run);
    feed.start().at(5).task("a");
    feed.event("TaskPrompt", json!(["a", "private prompt"]));
    feed.chunk("a", "t1", "private chunk");
    feed.event(
        "AgentReasoning",
        json!({"task_name": "a", "agent_name": "writer", "task_id": "t1",
               "schema_type": null, "chunk": "private reasoning"}),
    );
    feed.event(
        "LLMResponse",
        json!({"node_id": "n", "call_index": 1, "text": "private response", "tool_calls": []}),
    );
    feed.event(
        "ToolCallStart",
        json!({"task_name": "a", "tool_name": "search", "server_name": "web",
               "input": {"q": "private input"}, "tool_use_id": "c1"}),
    );
    feed.tool_end("a", "search", "c1", json!({"found": "private output"}));
    feed.event(
        "HttpCallStart",
        json!({"call_id": "h1", "task_name": "a", "method": "GET",
               "url": "https://me:private-word@example.com/path?q=private-query"}),
    );
    feed.event("Log", json!("private log"));
    feed.event(
        "LogLevel",
        json!({"level": "info", "message": "private level"}),
    );
    feed.event(
        "RuntimeStart",
        json!({"task_name": "a", "runtime_name": "r", "language": "python"}),
    );
    feed.event(
        "RuntimeStdout",
        json!({"task_name": "a", "chunk": "private stdout", "line": "private stdout",
               "data": "private stdout"}),
    );
    feed.event(
        "Suspended",
        json!({"checkpoint_name": "ask", "token": "tok", "prompt": "private question",
               "schema": {"private": 1}, "actor_hint": "Human", "timeout_secs": 5}),
    );
    feed.event("StateUpdate", json!(["x", "private state"]));
    feed.event(
        "TaskEscalated",
        json!({"task": "a", "from_agent": "x", "to_agent": "y", "reason": "private reason"}),
    );
    let mut end = usage(1, 2);
    merge(&mut end, json!({"value": "private value"}));
    feed.at(500).task_end("a", 495, end);
    feed
}
