//! Rows of runs and of their tasks: what the SDK reads of an answer is what we do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "all of this file is a test"
)]

use akribes_sdk::models::{ExecutionStatus, ExecutionTasksResponse};
use runtrail::wire::dialect::Dialect;
use runtrail::wire::event::RunOutcome;
use runtrail::wire::rows::{CostOfTask, RowOfRun, RowStatus};
use runtrail::wire::time::Time;
use serde_json::{Value, json};

const STATUSES: [(&str, RowStatus); 7] = [
    ("running", RowStatus::Open { waiting: false }),
    ("suspended", RowStatus::Open { waiting: true }),
    ("cancelling", RowStatus::Open { waiting: false }),
    ("completed", RowStatus::Ended(RunOutcome::Success)),
    ("failed", RowStatus::Ended(RunOutcome::Error)),
    ("cancelled", RowStatus::Ended(RunOutcome::Cancelled)),
    ("paused", RowStatus::Unknown),
];

/// A row in which each field that may be missing is missing, null or there.
fn random_row(random: &mut fastrand::Rng, status: &str) -> Value {
    let mut row = json!({
        "id": format!("run-{}", random.u32(..)), "project_id": random.i64(-5..5),
        "script_name": "a \"b\" é", "status": status,
    });
    let whole = json!({
        "started_at": "2026-05-07T10:23:42.187Z", "finished_at": "2026-05-07T10:24:00.000Z",
        "version_id": random.i64(0..100), "channel": "stable", "error": "no\nroute",
        "error_kind": "NetworkError", "result": {"deep": [[[1]]]}, "documents": [],
        "triggered_by": "cron", "input_tokens": random.u32(..), "output_tokens": random.u32(..),
        "tool_tokens": 1, "cost_usd": random.f64(), "parent_execution_id": "77aa",
        "parent_node_id": "n1", "models_used": ["m"],
    });
    let counts = [
        "input_tokens",
        "output_tokens",
        "tool_tokens",
        "models_used",
    ];
    for (field, value) in whole.as_object().unwrap() {
        match random.u8(..3) {
            0 => {}
            1 if !counts.contains(&field.as_str()) => row[field] = Value::Null,
            _ => row[field] = value.clone(),
        }
    }
    row
}

/// What the SDK makes of a row, in our terms. It takes 0 for tokens that are not told.
fn by_sdk(row: ExecutionStatus, status: RowStatus) -> RowOfRun {
    let time = |text: Option<String>| text.and_then(|text| Time::parse_rfc3339(&text));
    RowOfRun {
        id: row.id,
        project: Some(row.project_id),
        workflow: row.script_name,
        status,
        started_at: time(row.started_at),
        finished_at: time(row.finished_at),
        cost_usd: row.cost_usd,
        input_tokens: u64::try_from(row.input_tokens).ok(),
        output_tokens: u64::try_from(row.output_tokens).ok(),
        parent: row.parent_execution_id,
        triggered_by: row.triggered_by,
        channel: row.channel,
        version: row.version_id.map(|version| version.to_string()),
        error: row.error,
        error_kind: row.error_kind,
    }
}

fn with_zeros(row: RowOfRun) -> RowOfRun {
    RowOfRun {
        input_tokens: row.input_tokens.or(Some(0)),
        output_tokens: row.output_tokens.or(Some(0)),
        ..row
    }
}

#[test]
fn a_row_is_what_the_sdk_reads_and_what_it_writes() {
    let dialect = Dialect::of("akribes", false).unwrap();
    let read = |json: &Value| dialect.read_row(json.to_string().as_bytes()).unwrap();
    let mut random = fastrand::Rng::with_seed(4);
    let mut all = Vec::new();
    for round in 0..700 {
        let (name, status) = STATUSES[round % STATUSES.len()];
        let json = random_row(&mut random, name);
        let sdk: ExecutionStatus = serde_json::from_value(json.clone()).unwrap();
        let written = serde_json::to_value(&sdk).unwrap();
        let expected = by_sdk(sdk, status);
        assert_eq!(with_zeros(read(&json)), expected, "{json}");
        assert_eq!(read(&written), expected, "{written}");
        all.push((json, expected));
    }
    for page in all.chunks(200) {
        let list: Vec<&Value> = page.iter().map(|(json, _)| json).collect();
        let list = serde_json::to_vec(&list).unwrap();
        let rows = dialect
            .read_rows(&list)
            .unwrap()
            .into_iter()
            .map(with_zeros);
        let expected = page.iter().map(|(_, row)| row.clone());
        assert!(rows.eq(expected));
    }
}

#[test]
fn what_tasks_cost_is_what_the_sdk_reads() {
    let dialect = Dialect::of("akribes", false).unwrap();
    let mut random = fastrand::Rng::with_seed(4);
    let mut maybe = |value: Value| if random.bool() { value } else { Value::Null };
    let tasks: Vec<Value> = (0..100)
        .map(|number| {
            json!({
                "task_name": format!("task {number}"), "model": maybe("m".into()),
                "provider": maybe("p".into()), "input_tokens": number, "output_tokens": 2 * number,
                "cached_input_tokens": 0, "cache_write_input_tokens": 0,
                "cost_usd": maybe(0.25.into()), "duration_ms": maybe(7.into()), "attempt": 1,
                "finished_at": "2026-05-07T10:24:00.000Z",
            })
        })
        .collect();
    let answer = json!({"execution_id": "x", "tasks": tasks});
    let sdk: ExecutionTasksResponse = serde_json::from_value(answer.clone()).unwrap();
    let expected: Vec<CostOfTask> = sdk
        .tasks
        .into_iter()
        .map(|task| CostOfTask {
            task: task.task_name,
            model: task.model,
            provider: task.provider,
            cost_usd: task.cost_usd,
            input_tokens: u64::try_from(task.input_tokens).ok(),
            output_tokens: u64::try_from(task.output_tokens).ok(),
        })
        .collect();
    let read = dialect.read_tasks(answer.to_string().as_bytes()).unwrap();
    assert_eq!(read, expected);
}
