//! Golden traces: what becomes of situations that everybody has met.

mod support;

use serde_json::json;
use support::{Feed, batches, core, settings, usage};

/// The trace of a feed, as a person reads it, after the checks that hold for any.
fn trace_of(feed: &Feed) -> String {
    let mut core = core(settings(false));
    core.handle_bytes(0, &feed.sse(3), None);
    core.handle_end_of_input(0, None);
    core.handle_end_of_runs();
    let spans = support::trace::spans(&batches(&mut core));
    support::trace::check(&spans);
    let tree = support::trace::tree(&spans);
    assert!(!tree.contains("secret"), "private texts stay: {tree}");
    tree
}

#[test]
fn a_plain_run_is_a_root_and_a_task_with_its_tokens() {
    let mut feed = Feed::of("summarise-pr");
    feed.start().at(20).task("summarise");
    feed.event("TaskPrompt", json!(["summarise", "secret prompt"]));
    for (i, text) in ["The ", "change ", "is fine.\n"].iter().enumerate() {
        feed.at(400 + 50 * i as u64).chunk("summarise", "t1", text);
    }
    feed.at(900).task_end("summarise", 880, usage(120, 12));
    feed.at(905).end([120, 12, 1]);
    insta::assert_snapshot!(trace_of(&feed));
}

#[test]
fn a_retry_is_a_failed_task_beside_a_good_one() {
    let mut feed = Feed::of("extract");
    feed.start().at(5).task("extract");
    feed.at(300).event(
        "ValidationFailure",
        json!({"task_name": "extract", "attempt": 1, "model_response": "secret {", "truncated": false,
               "total_length": 1, "missing_fields": ["/name"], "extra_fields": [],
               "type_errors": ["expected string"], "stop_reason": "max_tokens"}),
    );
    let mut failed = usage(100, 5);
    support::merge(
        &mut failed,
        json!({"variant": "failed", "attempt": 3, "value":
            {"FatalError": "the provider said no", "error_kind": "ParseError", "code": "ProviderParse"}}),
    );
    feed.at(800).task_end("extract", 795, failed);
    feed.at(810).task("extract");
    feed.at(1200).task_end("extract", 390, usage(100, 7));
    feed.at(1210).end([200, 12, 2]);
    insta::assert_snapshot!(trace_of(&feed));
}

#[test]
fn an_escalated_attempt_points_to_the_one_it_replaces() {
    let mut feed = Feed::of("classify");
    feed.start().at(5).task("classify");
    feed.at(500)
        .task_end("classify", 495, json!({"variant": "failed"}));
    feed.event(
        "TaskEscalated",
        json!({"task": "classify", "from_agent": "cheap", "to_agent": "strong",
               "reason": "validation failed after 3 attempt(s)"}),
    );
    feed.at(510).task("classify");
    feed.at(1500).task_end("classify", 990, usage(50, 5));
    feed.at(1500).end([50, 5, 2]);
    insta::assert_snapshot!(trace_of(&feed));
}

#[test]
fn two_open_namesakes_keep_their_chunks_and_ends_apart() {
    let mut feed = Feed::of("map");
    feed.start().at(10).task("page").at(10).task("page");
    feed.at(100)
        .chunk("page", "a", "one")
        .at(110)
        .chunk("page", "b", "two!");
    feed.at(120)
        .chunk("page", "b", "two!")
        .at(130)
        .chunk("page", "a", "one");
    // The second one ends first: its duration tells.
    feed.at(200).task("page");
    feed.at(700).task_end("page", 500, usage(1, 2));
    feed.at(900).task_end("page", 890, usage(3, 4));
    feed.at(950).task_end("page", 940, usage(5, 6));
    feed.at(960).end([9, 12, 3]);
    insta::assert_snapshot!(trace_of(&feed));
}

#[test]
fn a_wait_for_a_person_and_an_approval_are_spans() {
    let mut feed = Feed::of("release");
    feed.start().at(10).task("draft");
    feed.at(50).tool("draft", "send", "tu_1");
    feed.at(60).event(
        "ToolApprovalPending",
        json!({"execution_id": null, "node_id": 4, "token": "tok-1", "tool_ref": "web.send",
               "args": {"to": "secret"}}),
    );
    feed.at(9_060).event(
        "ToolApprovalResolved",
        json!({"token": "tok-1", "approved": true, "reason": "secret reason"}),
    );
    feed.at(9_100)
        .tool_end("draft", "send", "tu_1", json!({"ok": true}));
    feed.at(9_200).task_end("draft", 9_190, usage(10, 10));
    feed.event(
        "Suspended",
        json!({"checkpoint_name": "sign-off", "token": "tok-2", "prompt": "secret?", "schema": {},
               "actor_hint": "Human", "timeout_secs": 86400, "trigger": {"kind": "DagPosition"}}),
    );
    feed.at(3_609_200).event(
        "Resumed",
        json!({"checkpoint_name": "sign-off", "token": "tok-2"}),
    );
    feed.at(3_609_300).end([10, 10, 1]);
    insta::assert_snapshot!(trace_of(&feed));
}

#[test]
fn a_failure_says_what_failed_and_why() {
    let mut feed = Feed::of("translate");
    feed.start().at(10).task("translate");
    feed.at(20).tool("translate", "lookup", "");
    feed.at(60)
        .tool_end("translate", "lookup", "", json!({"error": "secret detail"}));
    feed.at(70).event(
        "HttpCallStart",
        json!({"call_id": "h1", "task_name": "translate", "method": "GET",
               "url": "https://user:pw@api.example.com:8443/v1/words?key=secret#x"}),
    );
    feed.at(170).event(
        "HttpCallEnd",
        json!({"call_id": "h1", "task_name": "translate", "status": 503, "duration_ms": 100,
               "bytes": 17, "is_error": true}),
    );
    feed.event(
        "RuntimeStart",
        json!({"task_name": "translate", "runtime_name": "py", "language": "python"}),
    );
    feed.at(180).event(
        "RuntimeStdout",
        json!({"task_name": "translate", "chunk": "secret\n"}),
    );
    feed.at(190).event(
        "RuntimeEnd",
        json!({"task_name": "translate", "exit_code": 3, "duration_ms": 20}),
    );
    feed.at(500).event(
        "Error",
        json!({"message": "rate limited; api_key=sk-abcdefghijklmnopqrstuvwxyz012345", "kind": "RateLimit",
               "code": "ProviderRateLimit", "user_message": "wait", "retry_after_ms": 2000}),
    );
    insta::assert_snapshot!(trace_of(&feed));
}

#[test]
fn nested_sub_scripts_are_runs_within_the_run() {
    let frame =
        json!({"script_name": "child", "parent_task": "result", "parent_node_id": 7, "attempt": 1});
    let mut feed = Feed::of("parent");
    feed.start().at(10);
    feed.inside(Some(frame.clone()))
        .start()
        .at(20)
        .task("inner");
    let mut deeper = json!({"script_name": "grandchild", "parent_task": "<anonymous>"});
    deeper["parent_path"] = json!([frame.clone()]);
    feed.inside(Some(deeper)).at(30).start().at(40).task("deep");
    feed.at(140).task_end("deep", 100, usage(5, 1));
    feed.at(150).end([5, 1, 1]);
    // The old form nests the envelopes.
    let mut old = frame.clone();
    old["child"] = json!(null);
    feed.inside(Some(frame)).at(160).event(
        "SubScript",
        json!({"script_name": "old-style", "parent_task": "x",
               "child": {"type": "TaskEnd", "payload": ["legacy", null, "secret", {"secs": 0, "nanos": 5000000}]}}),
    );
    feed.at(200).task_end("inner", 180, usage(7, 2));
    feed.at(210)
        .event("Error", json!("old servers send a bare message"));
    feed.inside(None).at(220).end([12, 3, 3]);
    insta::assert_snapshot!(trace_of(&feed));
}

#[test]
fn a_loop_has_its_turns_and_a_turn_its_tools() {
    let mut feed = Feed::of("agent");
    feed.start()
        .at(10)
        .event("LoopStart", json!({"name": "solve", "max_turns": 8}));
    feed.at(100)
        .tool("solve", "search", "s1")
        .at(140)
        .tool_end("solve", "search", "s1", json!([]));
    feed.at(200).event(
        "LoopTurn",
        json!({"name": "solve", "turn": 1, "tool_calls": ["search"], "usage": usage(70, 7)["usage"]}),
    );
    feed.at(250)
        .tool("solve", "edit", "e1")
        .at(290)
        .tool_end("solve", "edit", "e1", json!({}));
    feed.at(300).event(
        "LoopTurn",
        json!({"name": "solve", "turn": 2, "tool_calls": ["edit", "return"]}),
    );
    feed.event(
        "ContextCompacted",
        json!({"agent": "solver", "loop_id": null, "turn": 2, "threshold_pct": 80, "threshold_abs": null,
               "strategy": "drop_oldest_tool_results", "before_tokens": 9000, "after_tokens": 4000,
               "provider_native": false}),
    );
    feed.at(310).event(
        "LoopEnd",
        json!({"name": "solve", "turn_count": 2, "value": "secret"}),
    );
    feed.at(320).end([0, 0, 0]);
    insta::assert_snapshot!(trace_of(&feed));
}

#[test]
fn a_run_that_never_ends_is_abandoned_where_it_fell_silent() {
    let mut feed = Feed::of("stuck");
    feed.start().at(10).task("think");
    feed.at(500).chunk("think", "t", "hm");
    feed.at(600).event("Log", json!("secret log line"));
    feed.event(
        "LogLevel",
        json!({"level": "WARN", "message": "secret warning"}),
    );
    insta::assert_snapshot!(trace_of(&feed));
}

#[test]
fn a_feed_that_starts_in_the_middle_shows_what_it_can() {
    let mut feed = Feed::of("late");
    feed.at(1_000).chunk("write", "t9", "and so on");
    feed.at(1_100)
        .tool_end("write", "save", "tu_5", json!({"ok": true}));
    feed.at(2_000).task_end("write", 1_700, usage(40, 4));
    feed.at(2_500)
        .task_end("check", 300, json!({"variant": "unable"}));
    feed.at(2_600).end([90, 9, 4]);
    insta::assert_snapshot!(trace_of(&feed));
}

#[test]
fn a_run_that_the_server_began_again_stays_one_run() {
    let mut feed = Feed::of("durable");
    feed.start().at(10).task("one");
    feed.at(200).task_end("one", 190, usage(10, 1));
    feed.at(210).task("two").at(300).chunk("two", "t2", "half");
    feed.at(60_000).start();
    feed.at(60_010).task("one").replay_hit();
    feed.at(60_020).task_end("one", 10, usage(10, 1));
    feed.at(60_030).task("two");
    feed.at(61_000).task_end("two", 970, usage(20, 2));
    feed.at(61_010).end([30, 3, 2]);
    insta::assert_snapshot!(trace_of(&feed));
}

#[test]
fn a_result_from_a_cache_is_no_first_chunk() {
    let mut feed = Feed::of("cached");
    feed.start()
        .at(10)
        .task("plan")
        .at(12)
        .event("TaskPrompt", json!(["plan", "secret"]));
    feed.at(13).event(
        "TaskCacheHit",
        json!({"agent": "planner", "key_prefix": "f7d3a9"}),
    );
    feed.at(14).event(
        "AgentOutput",
        json!({"task_name": "plan", "agent_name": "planner", "task_id": "t", "schema_type": null,
               "chunk": "Result served from cache."}),
    );
    feed.at(15).task_end("plan", 5, json!({}));
    feed.at(20).event(
        "BatchQueued",
        json!({"token": "b1", "provider": "anthropic", "model": "claude", "node_id": "3", "structured": true}),
    );
    feed.at(21).event(
        "Suspended",
        json!({"checkpoint_name": "batch:3", "token": "b1", "prompt": "", "schema": null, "actor_hint": "Any",
               "timeout_secs": null}),
    );
    feed.at(600_000).event(
        "Resumed",
        json!({"checkpoint_name": "batch:3", "token": "b1"}),
    );
    feed.at(600_010).event(
        "SubScriptSpawned",
        json!({"child_execution_id": "0a0b0c0d-0000-4000-8000-000000000001",
        "parent_node_id": "n", "args": {}}),
    );
    feed.at(600_020).event(
        "Error",
        json!({"message": "stopped", "kind": "Cancelled", "code": "UserCancelled"}),
    );
    insta::assert_snapshot!(trace_of(&feed));
}
