//! What happens in the recording: eight runs of five workflows, in two minutes.
//! The texts carry the names of spices and fruits, so that a test can look for
//! them where no text may be.

use std::time::Duration;

use akribes_types::ast::ActorHint;
use akribes_types::error::{ErrorCode, ErrorKind, ErrorSource};
use akribes_types::event::{EngineEvent, SuspendTrigger, TaskEndVariant, TokenUsage};
use akribes_types::value::Value;
use serde_json::json;

use super::recording::{Run, usage};

const SONNET: (&str, &str) = ("anthropic", "claude-sonnet-4-5");
const FLASH: (&str, &str) = ("gemini", "gemini-2.5-flash");
const PRO: (&str, &str) = ("gemini", "gemini-2.5-pro");
const GPT: (&str, &str) = ("openai", "gpt-5-mini");
const MISTRAL: (&str, &str) = ("mistral", "mistral-medium-latest");

/// All runs.
pub(crate) fn all() -> Vec<Run> {
    vec![
        review(),
        escalated_summary(),
        rate_limited_translation(),
        research(),
        release_notes(),
        cached_summary(),
        cancelled_research(),
        waiting_review(),
    ]
}

/// A code review: a call, a model with tools, a person's yes, and a comment.
fn review() -> Run {
    let mut run = Run::new("review", "6513270e-4c6f-4b0e-9a55-1f0c2d7be001", 400);
    run.say(EngineEvent::WorkflowStart(3));
    fetch_diff(&mut run, 412);
    run.after(40, start("find_faults", Some("retry(2)")));
    run.after(5, prompt("find_faults", "You review code. Mind the walnut rule: no secret in a repository. Here is the diff of pull request 412."));
    run.wait(900);
    run.stream(
        "The diff touches the pool of connections. A periwinkle thread may return one twice. I should read the file before I say so.",
        45,
        |chunk| reasoning("find_faults", "reviewer", "t-1", chunk),
    );
    tool(
        &mut run,
        ToolCall {
            task: "find_faults",
            server: "repository",
            tool: "read_file",
            id: "toolu_01",
            input: json!({"path": "src/juniper/pool.rs"}),
            output: json!("pub fn release(&self) { self.free.push(self.id) } // saffron"),
            ms: 320,
        },
    );
    tool(
        &mut run,
        ToolCall {
            task: "find_faults",
            server: "repository",
            tool: "search",
            id: "toolu_02",
            input: json!({"query": "fn release"}),
            output: json!({"error": "the index is being rebuilt"}),
            ms: 1_480,
        },
    );
    run.wait(600);
    run.stream(
        "Three findings. First, `release` may be called twice for the same connection, since nothing marks it as returned: a marmalade of two callers would then write to one socket. Keep a flag, or take `self` by value, so that the compiler forbids it. Second, line 57 holds a credential in plain text: password = \"kumquat-4711\" must go to the secret store, and the old one must be revoked. Third, the time-out of the pool is given in seconds, but its name does not say so; `idle_max_seconds` would. The tests cover the new path, the naming is consistent – gut gemacht – and apart from these points the change can go in.",
        38,
        |chunk| output("find_faults", "reviewer", "t-1", chunk),
    );
    run.after(
        30,
        end(
            "find_faults",
            "three findings",
            Some(usage(SONNET, 8_421, 512, 6_144, 96)),
        ),
    );
    run.after(
        15,
        EngineEvent::StateUpdate("findings".into(), Value::Int(3)),
    );
    run.after(
        60,
        suspended(
            "approve_comments",
            "tok-review-1",
            "Post these comments? (cinnamon)",
        ),
    );
    run.after(
        38_000,
        EngineEvent::CheckpointResolution {
            checkpoint_id: "approve_comments".into(),
            payload: json!({"approved": true}),
        },
    );
    run.after(12, resumed("approve_comments", "tok-review-1"));
    run.after(25, start("write_comment", None));
    run.after(
        4,
        prompt(
            "write_comment",
            "Write one comment on the pull request, friendly and short.",
        ),
    );
    run.wait(700);
    run.stream(
        "Thank you for this change! Two things before it goes in: please make `release` take `self`, and move the credential on line 57 to the secret store. The third remark is a matter of taste.",
        40,
        |chunk| output("write_comment", "reviewer", "t-2", chunk),
    );
    let input = json!({"body": "Thank you for this change!", "pull_request": 412});
    run.after(
        20,
        EngineEvent::ToolCallStart {
            task_name: "write_comment".into(),
            tool_name: "post_comment".into(),
            server_name: "repository".into(),
            input: input.clone(),
            tool_use_id: "toolu_03".into(),
        },
    );
    run.after(
        8,
        EngineEvent::ToolApprovalPending {
            execution_id: None,
            node_id: Some(9),
            token: "tok-review-2".into(),
            tool_ref: "repository.post_comment".into(),
            args: input,
        },
    );
    run.after(
        6_200,
        EngineEvent::ToolApprovalResolved {
            token: "tok-review-2".into(),
            approved: true,
            args_override: None,
            reason: None,
        },
    );
    run.after(
        410,
        EngineEvent::ToolCallEnd {
            task_name: "write_comment".into(),
            tool_name: "post_comment".into(),
            tool_use_id: "toolu_03".into(),
            output: json!({"comment_id": 99_120}),
            duration: Duration::from_millis(404),
        },
    );
    run.after(
        30,
        end(
            "write_comment",
            "posted",
            Some(usage(SONNET, 2_210, 148, 1_024, 0)),
        ),
    );
    run.end(
        20,
        Value::String("The review is posted. (tangerine)".into()),
    );
    run
}

/// A summary whose first model answers in the wrong shape, gives up, and is
/// replaced by a larger one.
fn escalated_summary() -> Run {
    let mut run = Run::new("summarise", "0b9f7c52-7c0d-4f37-8d5e-52a0c4f3e002", 2_100);
    run.say(EngineEvent::WorkflowStart(1));
    run.after(10, start("draft", Some("escalate")));
    run.after(
        3,
        prompt(
            "draft",
            "Summarise the minutes of the meeting in five sentences.",
        ),
    );
    run.wait(480);
    run.stream(
        "The meeting began with the plan for autumn. The team wants to release every two weeks, and to write down what changes for whom.",
        30,
        |chunk| output("draft", "quick_writer", "t-11", chunk),
    );
    run.after(
        20,
        EngineEvent::ValidationFailure {
            task_name: "draft".into(),
            attempt: 1,
            model_response: "{\"summary\": \"The meeting began… (fennel)\"}".into(),
            truncated: false,
            total_length: 43,
            missing_fields: vec!["decisions".into()],
            extra_fields: vec![],
            type_errors: vec!["summary: expected a list of sentences".into()],
            stop_reason: Some("end_turn".into()),
        },
    );
    run.wait(350);
    run.stream(
        "I cannot tell the decisions from the proposals: the minutes do not mark them.",
        30,
        |chunk| output("draft", "quick_writer", "t-11", chunk),
    );
    run.after(
        10,
        EngineEvent::TaskEnd {
            task: "draft".into(),
            on_error_label: Some("escalate".into()),
            value: Value::String("no decisions found".into()),
            value_type: None,
            duration: Duration::ZERO,
            attempt: 2,
            usage: Some(usage(FLASH, 3_002, 118, 0, 0)),
            variant: TaskEndVariant::Failed,
        },
    );
    run.after(
        5,
        EngineEvent::TaskEscalated {
            task: "draft".into(),
            from_agent: "quick_writer".into(),
            to_agent: "careful_writer".into(),
            reason: "validation".into(),
        },
    );
    run.after(5, start("draft", None));
    run.after(
        3,
        prompt(
            "draft",
            "Summarise the minutes of the meeting in five sentences.",
        ),
    );
    run.wait(1_350);
    run.stream(
        "The team releases every two weeks from September on. Each release says what changes for whom. Support gets a week's notice of anything that breaks. The old API stays until the end of the year. Who writes the announcement is decided next time.",
        36,
        |chunk| output("draft", "careful_writer", "t-12", chunk),
    );
    run.after(
        25,
        end(
            "draft",
            "five sentences",
            Some(usage(PRO, 3_002, 231, 0, 64)),
        ),
    );
    run.end(
        10,
        Value::String("The team releases every two weeks.".into()),
    );
    run
}

/// Two parts are translated at once; for one of them the provider has no room.
fn rate_limited_translation() -> Run {
    let mut run = Run::new("translate", "c2f4d1aa-90be-4c1b-b7a4-3de8f5a6e003", 4_000);
    run.say(EngineEvent::WorkflowStart(3));
    run.after(8, start("split", None));
    run.after(210, end("split", "2 parts", None));
    run.at_once(
        |run| {
            run.after(10, start("translate_part", None));
            run.wait(520);
            run.stream(
                "Die Lieferung erfolgt am nächsten Werktag, wenn die Bestellung bis zwölf Uhr eingeht.",
                33,
                |chunk| output("translate_part", "translator", "t-21", chunk),
            );
            run.after(20, end("translate_part", "part 1", Some(usage(MISTRAL, 640, 74, 0, 0))));
        },
        |run| {
            run.after(12, start("translate_part", None));
            run.wait(640);
            run.stream("Die Rückgabe ist innerhalb", 33, |chunk| {
                output("translate_part", "translator", "t-22", chunk)
            });
            run.wait(4_000);
            let message = "mistral answered 429: requests per minute exceeded";
            run.say(EngineEvent::TaskEnd {
                task: "translate_part".into(),
                on_error_label: None,
                value: Value::FatalError {
                    message: message.into(),
                    kind: ErrorKind::RateLimit,
                    code: ErrorCode::ProviderRateLimit,
                    user_message: "The provider has no room at the moment.".into(),
                    retry_after_ms: Some(20_000),
                    source: ErrorSource::default(),
                },
                value_type: None,
                duration: Duration::ZERO,
                attempt: 1,
                usage: None,
                variant: TaskEndVariant::Failed,
            });
            run.after(6, EngineEvent::Error {
                message: message.into(),
                kind: ErrorKind::RateLimit,
                code: ErrorCode::ProviderRateLimit,
                user_message: "The provider has no room at the moment.".into(),
                retry_after_ms: Some(20_000),
                source: ErrorSource {
                    task: Some("translate_part".into()),
                    provider: Some("mistral".into()),
                    ..ErrorSource::default()
                },
            });
        },
    );
    run
}

/// A model in a loop, with tools, until it knows enough.
fn research() -> Run {
    let mut run = Run::new("research", "f81d4fae-7dec-4d0a-a765-00a0c91e6004", 5_200);
    run.say(EngineEvent::WorkflowStart(2));
    run.after(10, start("gather", None));
    run.after(
        3,
        prompt("gather", "Find out how tall the towers of the bridge are."),
    );
    run.after(
        5,
        EngineEvent::LoopStart {
            name: "gather".into(),
            max_turns: 6,
        },
    );
    run.wait(1_100);
    tool(
        &mut run,
        web(
            "search",
            "call_1",
            json!({"query": "height bridge towers"}),
            json!(["https://bridges.example/towers"]),
            640,
        ),
    );
    run.after(
        25,
        turn("gather", 1, &["search"], usage(GPT, 1_020, 64, 0, 32)),
    );
    run.wait(900);
    tool(
        &mut run,
        web(
            "fetch",
            "call_2",
            json!({"url": "https://bridges.example/towers"}),
            json!("The towers are 227 metres tall."),
            870,
        ),
    );
    tool(
        &mut run,
        web(
            "fetch",
            "call_3",
            json!({"url": "https://bridges.example/history"}),
            json!({"error": "404"}),
            310,
        ),
    );
    run.after(
        25,
        turn(
            "gather",
            2,
            &["fetch", "fetch"],
            usage(GPT, 1_890, 81, 1_024, 32),
        ),
    );
    run.wait(800);
    run.after(25, turn("gather", 3, &[], usage(GPT, 2_240, 40, 1_792, 0)));
    run.after(
        5,
        EngineEvent::LoopEnd {
            name: "gather".into(),
            turn_count: 3,
            value: Value::String("227 metres".into()),
        },
    );
    run.after(
        10,
        end(
            "gather",
            "227 metres",
            Some(usage(GPT, 5_150, 185, 2_816, 64)),
        ),
    );
    run.after(12, start("report", None));
    run.wait(450);
    run.stream(
        "The towers of the bridge are 227 metres tall, measured from the water. Older books say 746 feet, which is the same. One page that was cited is gone, so the year of the measurement could not be checked.",
        28,
        |chunk| output("report", "writer", "t-31", chunk),
    );
    run.after(
        20,
        end(
            "report",
            "a short report",
            Some(usage(GPT, 1_312, 96, 0, 0)),
        ),
    );
    run.end(8, Value::String("227 metres".into()));
    run
}

/// A script that runs code, calls another workflow, and publishes.
fn release_notes() -> Run {
    let mut run = Run::new(
        "release_notes",
        "9a1de644-815e-46d1-bb8f-aa1837f8e005",
        6_600,
    );
    run.say(EngineEvent::WorkflowStart(2));
    run.after(6, start("collect", None));
    run.after(
        20,
        EngineEvent::RuntimeStart {
            task_name: "collect".into(),
            runtime_name: "sandbox".into(),
            language: "python".into(),
        },
    );
    run.after(
        700,
        EngineEvent::RuntimeStdout {
            task_name: "collect".into(),
            chunk: "17 commits since v2.3.0 (cardamom)\n".into(),
        },
    );
    run.after(
        90,
        EngineEvent::RuntimeEnd {
            task_name: "collect".into(),
            exit_code: 0,
            duration_ms: 802,
        },
    );
    run.after(10, end("collect", "17 commits", None));
    let mut within = |ms, child| run.after(ms, nested(child));
    within(30, EngineEvent::WorkflowStart(1));
    within(10, start("draft", None));
    within(
        4,
        prompt(
            "draft",
            "Summarise the commits for those who use the program.",
        ),
    );
    within(
        600,
        output("draft", "quick_writer", "t-41", "Version ".into()),
    );
    let text = "2.4 starts faster, reads its configuration from one place, and says in plain words what is wrong with it. The command `check` is new. Nothing that worked before has to be changed.";
    for word in text.split_inclusive(' ') {
        within(32, output("draft", "quick_writer", "t-41", word.to_owned()));
    }
    within(
        20,
        end(
            "draft",
            "release notes",
            Some(usage(FLASH, 2_480, 102, 0, 0)),
        ),
    );
    within(
        5,
        EngineEvent::WorkflowEnd(Value::String("Version 2.4 starts faster.".into()).into()),
    );
    run.after(
        15,
        EngineEvent::LogLevel {
            level: "info".into(),
            message: "the notes are ready (nutmeg)".into(),
        },
    );
    run.after(10, start("publish", None));
    http(
        &mut run,
        "publish",
        "h-51",
        (
            "POST",
            "https://notes.example.com/v1/releases?draft=rhubarb",
        ),
        201,
        640,
    );
    run.after(10, end("publish", "published", None));
    run.end(6, Value::String("Version 2.4 starts faster.".into()));
    run
}

/// The same question as before: the answer is there already, and is verified.
fn cached_summary() -> Run {
    let mut run = Run::new("summarise", "7d444840-9dc0-41d1-b245-5ffdce74e006", 31_000);
    run.say(EngineEvent::WorkflowStart(1));
    run.after(8, start("draft", Some("escalate")));
    run.after(
        3,
        prompt(
            "draft",
            "Summarise the minutes of the meeting in five sentences.",
        ),
    );
    run.after(
        4,
        EngineEvent::TaskCacheHit {
            agent: "quick_writer".into(),
            key_prefix: "9f3a61".into(),
        },
    );
    run.after(
        2,
        output(
            "draft",
            "quick_writer",
            "t-61",
            "Result served from cache.".into(),
        ),
    );
    run.after(2, end("draft", "five sentences", None));
    run.after(
        5,
        EngineEvent::VerificationStart {
            workflow_name: "summarise".into(),
        },
    );
    run.after(
        180,
        EngineEvent::VerificationResult {
            workflow_name: "summarise".into(),
            results: json!([{"name": "five sentences", "passed": true}]),
            duration: Duration::from_millis(178),
        },
    );
    run.end(
        4,
        Value::String("The team releases every two weeks.".into()),
    );
    run
}

/// Somebody finds the answer elsewhere.
fn cancelled_research() -> Run {
    let mut run = Run::new("research", "1b4e28ba-2fa1-41d2-883f-0016d3cce007", 42_000);
    run.say(EngineEvent::WorkflowStart(2));
    run.after(10, start("gather", None));
    run.after(
        5,
        EngineEvent::LoopStart {
            name: "gather".into(),
            max_turns: 6,
        },
    );
    run.wait(980);
    tool(
        &mut run,
        web(
            "search",
            "call_1",
            json!({"query": "ferry timetable"}),
            json!([]),
            700,
        ),
    );
    run.after(
        25,
        turn("gather", 1, &["search"], usage(GPT, 990, 58, 0, 0)),
    );
    run.after(
        2_400,
        EngineEvent::Error {
            message: "the run was cancelled by its owner".into(),
            kind: ErrorKind::Cancelled,
            code: ErrorCode::UserCancelled,
            user_message: "Cancelled.".into(),
            retry_after_ms: None,
            source: ErrorSource::default(),
        },
    );
    run
}

/// A review that still waits for a person when the recording ends.
fn waiting_review() -> Run {
    let mut run = Run::new("review", "3f2504e0-4f89-41d3-9a0c-0305e82ce008", 44_300);
    run.say(EngineEvent::WorkflowStart(3));
    fetch_diff(&mut run, 413);
    run.after(40, start("find_faults", Some("retry(2)")));
    run.after(
        5,
        prompt(
            "find_faults",
            "You review code. Here is the diff of pull request 413.",
        ),
    );
    run.wait(1_250);
    run.stream(
        "No findings of weight. The new test waits for a fixed time, which makes it slow on a busy machine: let it wait for the line in the log instead, with a bound. The rest reads well, and the documentation was changed together with the code.",
        41,
        |chunk| output("find_faults", "reviewer", "t-81", chunk),
    );
    run.after(
        30,
        end(
            "find_faults",
            "one finding",
            Some(usage(SONNET, 7_904, 121, 6_144, 0)),
        ),
    );
    run.after(
        60,
        suspended("approve_comments", "tok-review-3", "Post this comment?"),
    );
    // Somebody else's log line is the last that is recorded.
    run.after(
        70_000,
        EngineEvent::Log("still waiting for approve_comments".into()),
    );
    run
}

fn fetch_diff(run: &mut Run, pull_request: u32) {
    run.after(12, start("fetch_diff", None));
    let url = format!("https://git.example.com/api/pulls/{pull_request}/diff");
    http(run, "fetch_diff", "h-1", ("GET", &url), 200, 260);
    run.after(15, end("fetch_diff", "a diff", None));
}

fn start(task: &str, on_error: Option<&str>) -> EngineEvent {
    EngineEvent::TaskStart(task.into(), on_error.map(str::to_owned))
}

fn prompt(task: &str, text: &str) -> EngineEvent {
    EngineEvent::TaskPrompt(task.into(), text.into())
}

fn output(task: &str, agent: &str, task_id: &str, chunk: String) -> EngineEvent {
    EngineEvent::AgentOutput {
        task_name: task.into(),
        agent_name: Some(agent.into()),
        task_id: task_id.into(),
        schema_type: None,
        chunk,
    }
}

fn reasoning(task: &str, agent: &str, task_id: &str, chunk: String) -> EngineEvent {
    EngineEvent::AgentReasoning {
        task_name: task.into(),
        agent_name: Some(agent.into()),
        task_id: task_id.into(),
        schema_type: None,
        chunk,
    }
}

fn end(task: &str, value: &str, usage: Option<TokenUsage>) -> EngineEvent {
    EngineEvent::TaskEnd {
        task: task.into(),
        on_error_label: None,
        value: Value::String(value.into()),
        value_type: None,
        duration: Duration::ZERO,
        attempt: 1,
        usage,
        variant: TaskEndVariant::Success,
    }
}

fn suspended(checkpoint: &str, token: &str, prompt: &str) -> EngineEvent {
    EngineEvent::Suspended {
        checkpoint_name: checkpoint.into(),
        token: token.into(),
        prompt: prompt.into(),
        schema: json!({"type": "boolean"}),
        actor_hint: ActorHint::Human,
        timeout_secs: Some(86_400),
        trigger: SuspendTrigger::DagPosition,
        loop_context: None,
    }
}

fn resumed(checkpoint: &str, token: &str) -> EngineEvent {
    EngineEvent::Resumed {
        checkpoint_name: checkpoint.into(),
        token: token.into(),
    }
}

fn turn(name: &str, turn: u32, tools: &[&str], usage: TokenUsage) -> EngineEvent {
    EngineEvent::LoopTurn {
        name: name.into(),
        turn,
        tool_calls: tools.iter().copied().map(str::to_owned).collect(),
        usage: Some(usage),
    }
}

/// Something that happens in the workflow that the release notes call.
fn nested(child: EngineEvent) -> EngineEvent {
    EngineEvent::SubScript {
        script_name: "summarise".into(),
        parent_task: "notes".into(),
        parent_node_id: Some(4),
        attempt: Some(1),
        parent_path: vec![],
        child: Box::new(child),
    }
}

struct ToolCall {
    task: &'static str,
    server: &'static str,
    tool: &'static str,
    id: &'static str,
    input: serde_json::Value,
    output: serde_json::Value,
    ms: u64,
}

fn web(
    tool: &'static str,
    id: &'static str,
    input: serde_json::Value,
    output: serde_json::Value,
    ms: u64,
) -> ToolCall {
    ToolCall {
        task: "gather",
        server: "web",
        tool,
        id,
        input,
        output,
        ms,
    }
}

fn tool(run: &mut Run, call: ToolCall) {
    run.after(
        30,
        EngineEvent::ToolCallStart {
            task_name: call.task.into(),
            tool_name: call.tool.into(),
            server_name: call.server.into(),
            input: call.input,
            tool_use_id: call.id.into(),
        },
    );
    run.after(
        call.ms,
        EngineEvent::ToolCallEnd {
            task_name: call.task.into(),
            tool_name: call.tool.into(),
            tool_use_id: call.id.into(),
            output: call.output,
            duration: Duration::from_millis(call.ms),
        },
    );
}

fn http(run: &mut Run, task: &str, id: &str, (method, url): (&str, &str), status: u16, ms: u64) {
    run.after(
        8,
        EngineEvent::HttpCallStart {
            call_id: id.into(),
            task_name: task.into(),
            method: method.into(),
            url: url.into(),
        },
    );
    run.after(
        ms,
        EngineEvent::HttpCallEnd {
            call_id: id.into(),
            task_name: task.into(),
            status,
            duration_ms: ms,
            bytes: 18_240,
            is_error: status >= 400,
        },
    );
}
