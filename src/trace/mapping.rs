//! The mapping, row by row: what becomes of each kind of node and of a run.

use std::time::Duration;

use super::content::ContentPolicy;
use super::ids;
use super::span::SpanMaker;
use super::testkit::*;
use crate::limits::{
    FACT_VALUES_MAX, FACTS_MAX, MESSAGE_BYTES_MAX, SPAN_BYTES_MAX, SPAN_EVENTS_MAX, SPAN_LINKS_MAX,
};
use crate::run::cost::{CostBasis, TotalCost};
use crate::run::finished::{Link, LinkReason, Marks, RunFacts, Streams, Tally};
use crate::run::identity::Identity;
use crate::run::summary::{ModelTokens, TaskCounts};
use crate::wire::event::{
    Content, FactKey, Fault, NodeKind, NodeOutcome, NoteKind, RunOutcome, Usage,
};
use crate::wire::rows::RowOfRun;

fn root(outcome: RunOutcome, change: impl FnOnce(&mut crate::run::finished::FinishedRun)) -> Read {
    let mut run_ended = finished_run(outcome);
    change(&mut run_ended);
    Read::new(SpanMaker::new(settings(true, true)).root(&run(), &run_ended))
}

#[test]
fn a_run_becomes_the_root_span_with_its_sums() {
    let read = root(RunOutcome::Success, |ended| {
        ended.restarts = 2;
        ended.output = Some(content(r#"{"a":1}"#));
        ended.summary.tasks = TaskCounts {
            passed: 3,
            failed: 1,
            total: 4,
        };
        ended.cost.total = Some(TotalCost {
            usd: 0.25,
            basis: CostBasis::PriceTable,
        });
        ended.cost.unpriced_tokens = 70;
        for model in ["flash", "pro"] {
            ended.summary.tokens.push(ModelTokens {
                provider: "gemini".into(),
                model: model.into(),
                input: 10,
                output: 2,
                cache_read: 5,
                cache_write: 0,
                reasoning: 1,
            });
        }
    });
    let span = &read.span;
    assert_eq!(span.name, "invoke_workflow review");
    assert_eq!(span.kind, 1);
    assert_eq!(span.trace_id, run().trace_id);
    assert_eq!(span.span_id, ids::span_id(&run().trace_id, &Identity::ROOT));
    assert!(span.parent_span_id.is_empty());
    assert_eq!(
        (span.start_time_unix_nano, span.end_time_unix_nano),
        (at(0).0, at(9_000).0)
    );
    assert_eq!(read.status(), (0, ""));
    assert!(span.events.is_empty());
    read.has(&[
        ("gen_ai.operation.name", "'invoke_workflow'"),
        ("gen_ai.workflow.name", "'review'"),
        ("runtrail.system", "'akribes'"),
        ("runtrail.project.id", "7"),
        ("runtrail.run.id", "'exec-99'"),
        ("runtrail.outcome", "'success'"),
        ("runtrail.tasks.passed", "3"),
        ("runtrail.tasks.failed", "1"),
        ("runtrail.tasks.total", "4"),
        ("runtrail.tokens.input", "20"),
        ("runtrail.tokens.output", "4"),
        ("runtrail.tokens.cache_read", "10"),
        ("runtrail.tokens.reasoning", "2"),
        ("runtrail.cost.usd", "0.25"),
        ("runtrail.cost.basis", "'price_table'"),
        ("runtrail.tokens.unpriced", "70"),
        ("runtrail.run.verified", "'match'"),
        ("runtrail.run.restarts", "2"),
        ("runtrail.output", r#"'{"a":1}'"#),
        ("runtrail.output.bytes", "7"),
        ("openinference.span.kind", "'CHAIN'"),
        ("session.id", "'exec-99'"),
        ("output.value", r#"'{"a":1}'"#),
        ("output.mime_type", "'application/json'"),
    ])
    .lacks(&[
        "gen_ai.usage",
        "llm.token_count",
        "error",
        "runtrail.start",
        "runtrail.end",
        "runtrail.tokens.cache_write",
    ]);
}

#[test]
fn a_run_that_failed_has_status_error_its_code_and_an_exception() {
    let read = root(RunOutcome::Error, |ended| {
        ended.error = Some(fault("ScriptError", Some("AKRIBES-E-SCRIPT-DEPTH")));
    });
    assert_eq!(read.status(), (2, "it broke, token=[redacted]"));
    read.has(&[
        ("error.type", "'AKRIBES-E-SCRIPT-DEPTH'"),
        ("runtrail.error.kind", "'ScriptError'"),
        ("runtrail.outcome", "'error'"),
    ]);
    assert_eq!(read.event_names(), ["exception"]);
    assert_eq!(read.span.events[0].time_unix_nano, at(9_000).0);
    let exception = read.event(0);
    assert_eq!(exception["exception.type"], "'AKRIBES-E-SCRIPT-DEPTH'");
    assert_eq!(
        exception["exception.message"],
        "'it broke, token=[redacted]'"
    );
    assert_eq!(exception.len(), 2);
}

#[test]
fn a_run_that_was_cancelled_or_abandoned_did_not_fail() {
    let read = root(RunOutcome::Cancelled, |ended| {
        ended.error = Some(fault("Cancelled", None))
    });
    assert_eq!(read.status(), (0, ""));
    assert!(read.span.events.is_empty());
    read.has(&[
        ("runtrail.outcome", "'cancelled'"),
        ("runtrail.reason", "'it broke, token=[redacted]'"),
    ])
    .lacks(&["error"]);
    let read = root(RunOutcome::Abandoned, |ended| {
        ended.marks.end_inferred = true
    });
    assert_eq!(read.status(), (0, ""));
    read.has(&[
        ("runtrail.outcome", "'abandoned'"),
        ("runtrail.end.inferred", "true"),
    ]);
}

#[test]
fn a_run_that_timed_out_failed_with_timeout_unless_the_server_has_a_code() {
    let read = root(RunOutcome::Timeout, |_| {});
    assert_eq!(read.status(), (2, ""));
    read.has(&[
        ("error.type", "'timeout'"),
        ("runtrail.outcome", "'timeout'"),
    ]);
    assert!(read.span.events.is_empty());
    let read = root(RunOutcome::Timeout, |ended| {
        ended.error = Some(fault("Timeout", None))
    });
    read.has(&[("error.type", "'Timeout'")]);
}

#[test]
fn a_run_without_cost_or_project_does_not_claim_them() {
    let mut meta = run();
    meta.project = None;
    let ended = finished_run(RunOutcome::Success);
    let read = Read::new(SpanMaker::new(settings(false, false)).root(&meta, &ended));
    read.lacks(&[
        "runtrail.cost",
        "runtrail.project",
        "runtrail.run.restarts",
        "openinference",
        "session",
    ]);
}

#[test]
fn what_the_server_knows_beside_the_events_stands_on_the_root() {
    let told = |row: RowOfRun| {
        root(RunOutcome::Success, |ended| {
            ended.facts = Some(Box::new(RunFacts {
                row: Some(row),
                tasks: Vec::new(),
            }));
        })
    };
    told(RowOfRun {
        triggered_by: Some("schedule".to_owned()),
        channel: Some("stable".to_owned()),
        version: Some("17".to_owned()),
        error: Some("never leaves".to_owned()),
        ..row()
    })
    .has(&[
        ("runtrail.workflow.version", "'17'"),
        ("runtrail.run.channel", "'stable'"),
        ("runtrail.run.triggered_by", "'schedule'"),
    ])
    .lacks(&["runtrail.run.error"]);
    told(row()).lacks(&[
        "runtrail.cost",
        "runtrail.workflow",
        "runtrail.run.channel",
        "runtrail.run.triggered_by",
    ]);
}

#[test]
fn the_marker_has_no_length_and_hangs_under_the_root_to_come() {
    let mut maker = SpanMaker::new(settings(false, true));
    let read = Read::new(maker.marker(&run(), at(5)));
    let span = &read.span;
    assert_eq!(span.name, "run started review");
    assert_eq!(
        span.parent_span_id,
        ids::span_id(&run().trace_id, &Identity::ROOT)
    );
    assert_eq!(span.span_id, ids::marker_id(&run().trace_id));
    assert_eq!(
        (span.start_time_unix_nano, span.end_time_unix_nano),
        (at(5).0, at(5).0)
    );
    read.has(&[
        ("runtrail.marker", "true"),
        ("runtrail.run.id", "'exec-99'"),
    ]);
}

#[test]
fn a_task_with_usage_is_the_model_span_and_carries_the_tokens() {
    let mut task = node(NodeKind::Task, "summarise")
        .usage(usage())
        .fact(FactKey::Agent, "writer")
        .fact(FactKey::OnError, "retry")
        .fact(FactKey::Model, "told twice")
        .key("task-1");
    task.attempt = Some(2);
    task.time_to_first_chunk = Some(Duration::from_millis(250));
    task.duration = Some(Duration::from_millis(1_250));
    let read = span(&task);
    assert_eq!(read.span.name, "task summarise");
    assert!(read.is_client());
    assert_eq!(
        read.span.span_id,
        ids::span_id(&run().trace_id, &task.identity)
    );
    assert_eq!(
        read.span.parent_span_id,
        ids::span_id(&run().trace_id, &Identity::ROOT)
    );
    read.has(&[
        ("gen_ai.operation.name", "'chat'"),
        ("gen_ai.provider.name", "'gcp.gemini'"),
        ("gen_ai.request.model", "'flash'"),
        ("gen_ai.agent.name", "'writer'"),
        ("gen_ai.usage.input_tokens", "120"),
        ("gen_ai.usage.output_tokens", "30"),
        ("gen_ai.usage.cache_read.input_tokens", "100"),
        ("gen_ai.usage.cache_creation.input_tokens", "10"),
        ("gen_ai.usage.reasoning.output_tokens", "5"),
        ("gen_ai.response.finish_reasons", "['STOP']"),
        ("gen_ai.response.time_to_first_chunk", "0.25"),
        ("runtrail.task.name", "'summarise'"),
        ("runtrail.task.id", "'task-1'"),
        ("runtrail.task.on_error", "'retry'"),
        ("runtrail.outcome", "'success'"),
        ("runtrail.attempt", "2"),
        ("runtrail.duration.reported", "1.25"),
        ("runtrail.tokens.cache_write_5m", "10"),
    ])
    .lacks(&["llm.", "openinference", "runtrail.tokens.input"]);
}

#[test]
fn a_task_without_usage_is_internal_and_no_model_span() {
    let read = span(&node(NodeKind::Task, "plan"));
    assert!(!read.is_client());
    read.lacks(&["gen_ai."])
        .has(&[("runtrail.task.name", "'plan'")]);
}

#[test]
fn a_model_without_a_name_is_unknown() {
    let nameless = Usage {
        model: "".into(),
        provider: "".into(),
        ..usage()
    };
    let read = span(&node(NodeKind::Task, "t").usage(nameless));
    read.has(&[
        ("gen_ai.request.model", "'unknown'"),
        ("gen_ai.provider.name", "absent"),
    ]);
}

#[test]
fn a_task_that_failed_has_an_error_and_one_that_was_unable_has_none() {
    let read = span(&node(NodeKind::Task, "t").failed(Some(fault("ParseError", None))));
    assert_eq!(read.status().0, 2);
    read.has(&[
        ("error.type", "'ParseError'"),
        ("runtrail.outcome", "'failed'"),
    ]);
    assert_eq!(read.event_names(), ["exception"]);

    let read = span(&node(NodeKind::Task, "t").failed(None));
    assert_eq!(read.status(), (2, ""));
    read.has(&[("error.type", "'_OTHER'")]);
    assert!(read.span.events.is_empty());

    for outcome in [NodeOutcome::Unable, NodeOutcome::Unknown] {
        let mut task = node(NodeKind::Task, "t");
        task.outcome = outcome;
        let read = span(&task);
        assert_eq!(read.status().0, 0);
        read.has(&[("runtrail.outcome", &format!("'{}'", outcome.as_str()))])
            .lacks(&["error"]);
    }
}

#[test]
fn marks_and_counts_stand_only_when_there_is_something_to_say() {
    let plain = span(&node(NodeKind::Task, "t"));
    plain.lacks(&[
        "runtrail.start",
        "runtrail.end",
        "runtrail.time",
        "runtrail.incomplete",
        "runtrail.cached",
        "runtrail.calls",
        "runtrail.escalated",
        "runtrail.validation",
    ]);
    let mut task = node(NodeKind::Task, "t");
    task.marks = Marks {
        start_inferred: true,
        end_inferred: true,
        time_adjusted: true,
        incomplete: true,
    };
    (
        task.cached,
        task.escalated,
        task.calls,
        task.validation_failures,
    ) = (true, true, 3, 2);
    span(&task).has(&[
        ("runtrail.start.inferred", "true"),
        ("runtrail.end.inferred", "true"),
        ("runtrail.time.adjusted", "true"),
        ("runtrail.incomplete", "true"),
        ("runtrail.cached", "true"),
        ("runtrail.escalated", "true"),
        ("runtrail.calls", "3"),
        ("runtrail.validation.failures", "2"),
    ]);
}

#[test]
fn a_model_call_is_named_after_its_model() {
    let read = span(&node(NodeKind::ModelCall, "call 1").usage(usage()));
    assert_eq!(read.span.name, "chat flash");
    assert!(read.is_client());
    read.has(&[
        ("gen_ai.operation.name", "'chat'"),
        ("gen_ai.usage.input_tokens", "120"),
    ]);
    let told = node(NodeKind::ModelCall, "call 1").fact(FactKey::Model, "pro");
    assert_eq!(span(&told).span.name, "chat pro");
}

#[test]
fn a_tool_call_becomes_execute_tool_and_its_contents_stay_private() {
    let tool = node(NodeKind::Tool, "search")
        .key("call_1")
        .fact(FactKey::ToolServer, "web")
        .fact(FactKey::Input, content(r#"{"q":"x","api_key":"abc"}"#))
        .fact(FactKey::Output, content("ok"))
        .failed(None);
    let read = span(&tool);
    assert_eq!(read.span.name, "execute_tool search");
    assert!(!read.is_client());
    assert_eq!(read.status().0, 2);
    read.has(&[
        ("gen_ai.operation.name", "'execute_tool'"),
        ("gen_ai.tool.name", "'search'"),
        ("gen_ai.tool.call.id", "'call_1'"),
        ("gen_ai.tool.type", "'extension'"),
        ("runtrail.tool.server", "'web'"),
        ("runtrail.input.bytes", "25"),
        ("runtrail.output.bytes", "2"),
    ])
    .lacks(&[
        "gen_ai.tool.call.arguments",
        "gen_ai.tool.call.result",
        "tool.name",
        "input.",
    ]);
    captured(&tool).has(&[
        (
            "gen_ai.tool.call.arguments",
            r#"'{"q":"x","api_key":"[redacted]"}'"#,
        ),
        ("gen_ai.tool.call.result", "'ok'"),
        ("openinference.span.kind", "'TOOL'"),
        ("tool.name", "'search'"),
        ("input.value", r#"'{"q":"x","api_key":"[redacted]"}'"#),
        ("input.mime_type", "'application/json'"),
        ("output.value", "'ok'"),
        ("output.mime_type", "'text/plain'"),
    ]);
    span(&node(NodeKind::Tool, "local")).has(&[("gen_ai.tool.type", "'function'")]);
}

#[test]
fn a_wait_tells_what_it_waited_for_but_not_its_token() {
    let wait = node(NodeKind::Wait, "sign-off")
        .key("the-token-resumes-it")
        .fact(FactKey::WaitKind, "approval")
        .fact(FactKey::TimeoutSeconds, 60)
        .fact(FactKey::Approved, false);
    let read = span(&wait);
    assert_eq!(read.span.name, "wait sign-off");
    read.has(&[
        ("runtrail.wait.name", "'sign-off'"),
        ("runtrail.wait.kind", "'approval'"),
        ("runtrail.wait.timeout_seconds", "60"),
        ("runtrail.wait.approved", "false"),
    ]);
    assert!(!format!("{read:?}").contains("the-token-resumes-it"));
}

#[test]
fn code_tells_its_language_exit_code_and_the_sizes_of_what_it_wrote() {
    let code = node(NodeKind::Code, "python-3")
        .fact(FactKey::Language, "python")
        .fact(FactKey::ExitCode, 1)
        .failed(Some(fault("OutOfMemory", None)))
        .streams(Streams {
            stdout: Tally {
                count: 2,
                bytes: 30,
            },
            stderr: Tally { count: 1, bytes: 4 },
            output: assembled("hello"),
            ..Streams::default()
        });
    let read = span(&code);
    assert_eq!(read.span.name, "execute_code python-3");
    read.has(&[
        ("runtrail.code.runtime", "'python-3'"),
        ("runtrail.code.language", "'python'"),
        ("process.exit.code", "1"),
        ("error.type", "'OutOfMemory'"),
        ("runtrail.stdout.count", "2"),
        ("runtrail.stdout.bytes", "30"),
        ("runtrail.stderr.count", "1"),
        ("runtrail.stderr.bytes", "4"),
        ("runtrail.code.output", "absent"),
    ])
    .lacks(&["runtrail.chunks"]);
    captured(&code).has(&[
        ("runtrail.code.output", "'hello'"),
        ("output.value", "'hello'"),
    ]);
}

#[test]
fn an_http_call_is_a_client_span_without_user_and_query() {
    let call = node(NodeKind::Http, "GET")
        .fact(FactKey::HttpMethod, "GET")
        .fact(FactKey::Url, "https://me:pw@api.example.com/v1/x?key=1")
        .fact(FactKey::HttpStatus, 200)
        .fact(FactKey::BodyBytes, 512);
    let read = span(&call);
    assert_eq!(read.span.name, "GET");
    assert!(read.is_client());
    assert_eq!(read.status().0, 0);
    read.has(&[
        ("http.request.method", "'GET'"),
        ("url.full", "'https://api.example.com/v1/x'"),
        ("server.address", "'api.example.com'"),
        ("server.port", "443"),
        ("http.response.status_code", "200"),
        ("http.response.body.size", "512"),
    ])
    .lacks(&["http.request.method_original", "error"]);
    captured(&call).has(&[("url.full", "'https://api.example.com/v1/x?key=1'")]);
}

#[test]
fn an_http_call_that_failed_is_named_by_its_status_or_its_error() {
    let call = |status| node(NodeKind::Http, "get").fact(FactKey::HttpStatus, status);
    let read = span(&call(404));
    assert_eq!(read.status(), (2, ""));
    assert_eq!(read.span.name, "GET");
    read.has(&[
        ("error.type", "'404'"),
        ("http.request.method_original", "'get'"),
    ]);
    let read = span(&call(0).failed(Some(fault("NetworkError", None))));
    read.has(&[
        ("error.type", "'NetworkError'"),
        ("http.response.status_code", "absent"),
    ]);
    let read = span(&node(NodeKind::Http, "PURGE"));
    assert_eq!(read.span.name, "HTTP");
    read.has(&[
        ("http.request.method", "'_OTHER'"),
        ("http.request.method_original", "'PURGE'"),
    ]);
}

#[test]
fn loops_and_their_turns_tell_tokens_that_nobody_adds_up() {
    let read = span(
        &node(NodeKind::Loop, "research")
            .fact(FactKey::TurnsMax, 8)
            .usage(usage()),
    );
    assert_eq!(read.span.name, "loop research");
    assert!(!read.is_client());
    read.has(&[
        ("runtrail.loop.name", "'research'"),
        ("runtrail.loop.turns_max", "8"),
        ("runtrail.tokens.input", "120"),
    ])
    .lacks(&["gen_ai.usage", "llm."]);

    let turn = node(NodeKind::Turn, "research")
        .fact(FactKey::Turn, 3)
        .fact(FactKey::ToolCalls, 2)
        .fact(FactKey::ToolNames, &["search", "read"][..])
        .fact(FactKey::InputTokens, 10);
    let read = span(&turn);
    assert_eq!(read.span.name, "turn 3");
    read.has(&[
        ("runtrail.loop.turn", "3"),
        ("runtrail.tool_calls.count", "2"),
        ("runtrail.tool_calls.names", "['search','read']"),
        ("runtrail.tokens.input", "10"),
    ])
    .lacks(&["gen_ai.usage"]);
}

#[test]
fn a_sub_run_is_a_nested_workflow_with_an_outcome_of_its_own() {
    let mut sub = node(NodeKind::SubRun, "child");
    sub.attempt = Some(1);
    sub.run_outcome = Some(RunOutcome::Cancelled);
    sub.outcome = NodeOutcome::Failed;
    let read = span(&sub);
    assert_eq!(read.span.name, "invoke_workflow child");
    assert_eq!(read.status().0, 0);
    read.has(&[
        ("gen_ai.operation.name", "'invoke_workflow'"),
        ("gen_ai.workflow.name", "'child'"),
        ("runtrail.outcome", "'cancelled'"),
        ("runtrail.attempt", "1"),
    ]);
    sub.run_outcome = Some(RunOutcome::Error);
    assert_eq!(span(&sub).status().0, 2);
    captured(&sub).has(&[("openinference.span.kind", "'CHAIN'")]);
}

#[test]
fn a_verification_is_a_span() {
    let read = span(&node(NodeKind::Verify, "review"));
    assert_eq!(read.span.name, "verify review");
    read.has(&[("runtrail.verify.workflow", "'review'")]);
}

#[test]
fn links_lead_to_nodes_of_this_run_and_to_roots_of_others() {
    let other = [9; 16];
    let earlier = identity(NodeKind::Task, "first try");
    let mut task = node(NodeKind::Task, "t");
    task.links = vec![
        Link::Node(earlier, LinkReason::EscalatedFrom),
        Link::Run(other, LinkReason::ChildRun),
    ];
    let read = span(&task);
    let [first, second] = &read.span.links[..] else {
        panic!("{read:?}")
    };
    assert_eq!(first.trace_id, run().trace_id);
    assert_eq!(first.span_id, ids::span_id(&run().trace_id, &earlier));
    assert_eq!(
        attributes(&first.attributes)["runtrail.link.reason"],
        "'escalated_from'"
    );
    assert_eq!(second.trace_id, other);
    assert_eq!(second.span_id, ids::span_id(&other, &Identity::ROOT));
    assert_eq!(
        attributes(&second.attributes)["runtrail.link.reason"],
        "'child_run'"
    );

    task.links = vec![Link::Run(other, LinkReason::ChildRun); SPAN_LINKS_MAX + 3];
    let read = span(&task);
    assert_eq!(read.span.links.len(), SPAN_LINKS_MAX);
    assert_eq!(read.span.dropped_links_count, 3);
}

fn spoken(chunks: u64, reasoning: u64) -> Streams {
    let mut streams = Streams {
        agent: Some("writer".into()),
        key: Some("task-1".into()),
        ..Streams::default()
    };
    for i in 0..chunks {
        streams.pieces.push(false, at(10 * i), 4, 64);
    }
    for i in 0..reasoning {
        streams.pieces.push(true, at(10 * i), 7, 64);
    }
    streams
}

#[test]
fn chunks_are_events_with_their_place_and_the_sizes_of_the_whole() {
    let read = span(
        &node(NodeKind::Task, "t")
            .usage(usage())
            .streams(spoken(3, 1)),
    );
    assert_eq!(
        read.event_names(),
        [
            "agent.chunk",
            "agent.reasoning",
            "agent.chunk",
            "agent.chunk"
        ]
    );
    assert_eq!(read.span.events[2].time_unix_nano, at(10).0);
    let chunk = read.event(2);
    for (name, value) in [
        ("runtrail.chunk.index", "1"),
        ("runtrail.chunk.bytes", "4"),
        ("runtrail.chunk.offset", "4"),
        ("gen_ai.agent.name", "'writer'"),
        ("runtrail.task.id", "'task-1'"),
    ] {
        assert_eq!(chunk[name], value, "{name}");
    }
    assert_eq!(chunk.len(), 5, "{chunk:?}");
    read.has(&[
        ("runtrail.chunks.count", "3"),
        ("runtrail.chunks.bytes", "12"),
        ("runtrail.reasoning.count", "1"),
        ("runtrail.reasoning.bytes", "7"),
        ("gen_ai.agent.name", "'writer'"),
        ("runtrail.task.id", "'task-1'"),
    ]);
    assert_eq!(read.span.dropped_events_count, 0);
}

#[test]
fn thinned_chunks_say_what_they_stand_for_and_the_rest_is_counted() {
    let read = span(&node(NodeKind::Task, "t").streams(spoken(200, 0)));
    let kept = read.span.events.len();
    assert!(kept <= 64);
    assert_eq!(u64::from(read.span.dropped_events_count), 200 - kept as u64);
    let merged = read.event(0);
    assert_eq!(merged["runtrail.chunk.merged_count"], "3");
    assert_eq!(merged["runtrail.chunk.merged_bytes"], "12");
    read.has(&[
        ("runtrail.chunks.count", "200"),
        ("runtrail.chunks.bytes", "800"),
    ]);
}

#[test]
fn events_stand_in_the_order_of_time_whatever_they_are() {
    let task = node(NodeKind::Task, "t")
        .streams(spoken(2, 1))
        .note(10, NoteKind::CacheHit, vec![fact(FactKey::CacheKey, "k")])
        .note(
            5,
            NoteKind::Prompt,
            vec![fact(FactKey::Input, content("private"))],
        )
        .failed(Some(fault("ParseError", None)));
    let read = span(&task);
    assert_eq!(
        read.event_names(),
        [
            "agent.chunk",
            "agent.reasoning",
            "prompt",
            "agent.chunk",
            "task.cache_hit",
            "exception"
        ]
    );
    assert_eq!(read.event(2)["runtrail.input.bytes"], "7");
    assert_eq!(read.event(2).len(), 1);
    assert_eq!(read.event(4)["runtrail.cache.key"], "'k'");
    assert_eq!(captured(&task).event(2)["runtrail.input"], "'private'");
}

#[test]
fn beyond_the_budget_notes_go_and_are_counted_but_the_exception_stays() {
    let mut task = node(NodeKind::Task, "t")
        .streams(spoken(1_000, 1_000))
        .failed(Some(fault("ParseError", None)));
    let chunks = task.streams.as_ref().unwrap().pieces.clone();
    let kept = chunks.answer.kept_count() + chunks.reasoning.kept_count();
    for i in 0..200 {
        task = task.note(i, NoteKind::Log, vec![]);
    }
    task.notes.dropped = 7;
    let read = span(&task);
    assert_eq!(read.span.events.len(), SPAN_EVENTS_MAX);
    let count = |name| read.event_names().iter().filter(|n| **n == name).count();
    assert_eq!(count("exception"), 1);
    assert_eq!(count("agent.chunk") + count("agent.reasoning"), kept);
    let dropped = 2_000 + 200 + 7 + 1 - SPAN_EVENTS_MAX;
    assert_eq!(read.span.dropped_events_count as usize, dropped);
}

#[test]
fn the_answer_stands_once_assembled_as_messages_with_capture() {
    let mut streams = spoken(2, 1);
    streams.answer = assembled("the key is sk-abcdefghijklmnop");
    streams.reasoning = assembled("hm");
    let task = node(NodeKind::Task, "t")
        .usage(usage())
        .fact(FactKey::Input, content("do it"))
        .streams(streams);
    span(&task)
        .lacks(&["gen_ai.output", "gen_ai.input", "input", "output"])
        .has(&[("runtrail.input.bytes", "5")]);
    captured(&task).has(&[
        (
            "gen_ai.output.messages",
            r#"'[{"role":"assistant","parts":[{"type":"reasoning","content":"hm"},{"type":"text","content":"the key is [redacted]"}],"finish_reason":"STOP"}]'"#,
        ),
        (
            "gen_ai.input.messages",
            r#"'[{"role":"user","parts":[{"type":"text","content":"do it"}]}]'"#,
        ),
        ("openinference.span.kind", "'LLM'"),
        ("llm.model_name", "'flash'"),
        ("llm.provider", "'google'"),
        ("llm.token_count.prompt", "120"),
        ("llm.token_count.completion", "30"),
        ("llm.token_count.prompt_details.cache_read", "100"),
        ("llm.token_count.prompt_details.cache_write", "10"),
        ("llm.token_count.completion_details.reasoning", "5"),
        ("input.value", "'do it'"),
        ("output.value", "'the key is [redacted]'"),
    ]);
    let agent = captured(&node(NodeKind::Task, "t"));
    agent
        .has(&[("openinference.span.kind", "'AGENT'")])
        .lacks(&["llm."]);
}

#[test]
fn every_kind_of_note_has_its_event_name() {
    let kinds = [
        (NoteKind::Prompt, "prompt"),
        (NoteKind::ModelResponse, "llm.response"),
        (NoteKind::ValidationFailure, "validation.failure"),
        (NoteKind::Escalated, "task.escalated"),
        (NoteKind::CacheHit, "task.cache_hit"),
        (NoteKind::CachePlanned, "cache.planned"),
        (NoteKind::ReplayCacheHit, "llm.replay_cache_hit"),
        (NoteKind::ContextCompacted, "context.compacted"),
        (NoteKind::ContextOverflow, "context.overflow"),
        (NoteKind::ToolServerDegraded, "mcp.server.degraded"),
        (NoteKind::ToolServerRecovered, "mcp.server.recovered"),
        (NoteKind::ToolReplayUncertain, "tool.replay_uncertain"),
        (NoteKind::ApprovalSkipped, "tool.approval_skipped"),
        (NoteKind::Log, "log"),
        (NoteKind::ChildResult, "child_run.result"),
    ];
    let mut task = node(NodeKind::Task, "t");
    for (i, (kind, _)) in kinds.iter().enumerate() {
        task = task.note(i as u64, *kind, vec![]);
    }
    let names: Vec<_> = kinds.iter().map(|(_, name)| *name).collect();
    assert_eq!(span(&task).event_names(), names);
}

#[test]
fn of_two_facts_with_one_key_the_later_one_counts_and_long_ones_are_cut() {
    let long = "x".repeat(MESSAGE_BYTES_MAX + 1).leak() as &'static str;
    let read = span(
        &node(NodeKind::Task, "t")
            .fact(FactKey::GraphNode, "first")
            .fact(FactKey::GraphNode, "second")
            .fact(FactKey::Strategy, long)
            .fact(FactKey::Reason, "because password=abc"),
    );
    read.has(&[
        ("runtrail.graph.node", "'second'"),
        ("runtrail.reason", "'because password=[redacted]'"),
    ]);
    assert_eq!(
        read.get("runtrail.context.strategy").len(),
        MESSAGE_BYTES_MAX + 2
    );
}

#[test]
fn no_content_leaves_without_capture() {
    let secret = || Content {
        bytes: 3,
        text: Some("xyzzy".into()),
    };
    for kind in [
        NodeKind::Task,
        NodeKind::ModelCall,
        NodeKind::Tool,
        NodeKind::Wait,
        NodeKind::Code,
        NodeKind::Http,
        NodeKind::Loop,
        NodeKind::Turn,
        NodeKind::SubRun,
        NodeKind::Verify,
    ] {
        let mut all = node(kind, "n").usage(usage());
        for key in super::semconv::FACT_KEYS {
            all = all.fact(*key, secret());
            all = all.note(1, NoteKind::Log, vec![fact(*key, secret())]);
        }
        let mut streams = spoken(1, 1);
        streams.answer = assembled("xyzzy");
        streams.reasoning = assembled("xyzzy");
        streams.output = assembled("xyzzy");
        let all = all.fact(FactKey::Url, "http://h/?q=xyzzy").streams(streams);
        let mut maker = SpanMaker::new(settings(false, true));
        let bytes = maker.node(&run(), &all);
        let leaked = bytes.windows(5).any(|window| window == b"xyzzy");
        assert!(!leaked, "{:#?}", Read::new(bytes));
    }
}

#[test]
fn the_largest_node_there_can_be_still_fits_a_span() {
    let text = "\u{1}".repeat(64 << 10);
    let name = text.clone().leak() as &'static str;
    let mut facts = Vec::new();
    for (i, key) in super::semconv::FACT_KEYS.iter().take(FACTS_MAX).enumerate() {
        facts.push(match i % 3 {
            0 => fact(*key, content(&text)),
            1 => fact(*key, name),
            _ => fact(*key, &[name; FACT_VALUES_MAX][..]),
        });
    }
    for kind in [
        NodeKind::Task,
        NodeKind::Tool,
        NodeKind::Http,
        NodeKind::Code,
    ] {
        let mut largest = node(kind, name)
            .usage(usage())
            .key(name)
            .failed(Some(Fault {
                kind: Some(name.into()),
                code: Some(name.into()),
                message: name.into(),
            }));
        largest.facts = facts.clone();
        largest.links = vec![Link::Run([1; 16], LinkReason::ChildRun); 1_000];
        for i in 0..1_000 {
            largest = largest.note(i, NoteKind::Log, facts.clone());
        }
        let mut streams = spoken(1_000, 1_000);
        (streams.agent, streams.key) = (Some(name.into()), Some(name.into()));
        (streams.answer, streams.reasoning) = (assembled(&text), assembled(&text));
        let mut large = settings(true, true);
        large.content = ContentPolicy::new(true, &[] as &[&str], 1 << 20).unwrap();
        let mut maker = SpanMaker::new(large);
        let bytes = maker.node(&run(), &largest.streams(streams));
        assert!(bytes.len() <= SPAN_BYTES_MAX, "{} bytes", bytes.len());
        let read = Read::new(bytes);
        assert_eq!(
            read.event_names()
                .iter()
                .filter(|name| **name == "exception")
                .count(),
            1
        );
        assert!(read.span.dropped_events_count > 0);
    }
}

#[test]
fn the_same_node_gives_the_same_bytes_whatever_came_before_it() {
    let task = node(NodeKind::Task, "t")
        .usage(usage())
        .streams(spoken(100, 3));
    let other = node(NodeKind::Tool, "u").failed(Some(fault("Timeout", None)));
    let mut maker = SpanMaker::new(settings(false, false));
    let first = maker.node(&run(), &task).to_vec();
    maker.node(&run(), &other);
    maker.marker(&run(), at(1));
    assert_eq!(maker.node(&run(), &task), first);
}
