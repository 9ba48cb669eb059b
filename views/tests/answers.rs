//! What the queries that are easily got wrong answer, by Prometheus's own engine:
//! `promtool test rules` on series written by hand. Debian has it in `prometheus`.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop"
)]

use std::path::Path;
use std::process::Command;

use runtrail_views::dashboards::all;
use serde_json::{Value, json};

/// What Grafana would put in: ten minutes are shown, rates are of five.
const SHOWN: [(&str, &str); 9] = [
    ("$__rate_interval_ms", "300000"),
    ("$__rate_interval", "5m"),
    ("$__range", "10m"),
    ("$system", ".*"),
    ("$project", ".*"),
    ("$workflow", ".*"),
    ("$namespace", ".*"),
    ("$job", ".*"),
    ("$instance", ".*"),
];

/// The dashboard, the panel and the legend of a query; with the series that there
/// are, minute by minute; and what is answered after twenty minutes.
struct Case {
    query: [&'static str; 3],
    series: &'static [(&'static str, &'static str)],
    answer: &'static [(&'static str, f64)],
}

const CASES: &[Case] = &[
    // Of 20 runs in ten minutes 5 failed, and 10 were cancelled beside.
    Case {
        query: ["runs", "Share that failed, in all", "failed"],
        series: &[
            (
                r#"runtrail_runs_finished_total{outcome="success",workflow="a"}"#,
                "0+1.5x20",
            ),
            (
                r#"runtrail_runs_finished_total{outcome="error",workflow="a"}"#,
                "0+0.25x20",
            ),
            (
                r#"runtrail_runs_finished_total{outcome="timeout",workflow="b"}"#,
                "0+0.25x20",
            ),
            (
                r#"runtrail_runs_finished_total{outcome="cancelled",workflow="b"}"#,
                "0+1x20",
            ),
        ],
        answer: &[("{}", 0.25)],
    },
    // None ended: no share, and none of zero.
    Case {
        query: ["runs", "Share that failed, in all", "failed"],
        series: &[
            (r#"runtrail_runs_finished_total{outcome="success"}"#, "7x20"),
            (r#"runtrail_runs_finished_total{outcome="error"}"#, "2x20"),
        ],
        answer: &[],
    },
    // A code that was there before, and one whose first error lies in the time shown.
    Case {
        query: ["runs", "Errors, most frequent first", "Failed"],
        series: &[
            (r#"runtrail_build_info{version="1"}"#, "1x20"),
            (
                r#"runtrail_run_errors_total{error_type="OLD",workflow="a"}"#,
                "40x11 42x9",
            ),
            (
                r#"runtrail_run_errors_total{error_type="NEW",workflow="a"}"#,
                "_x15 1 1 3 3 3 3",
            ),
            (
                r#"runtrail_run_errors_total{error_type="QUIET",workflow="a"}"#,
                "5x20",
            ),
        ],
        answer: &[
            (r#"{error_type="NEW",workflow="a"}"#, 3.0),
            (r#"{error_type="OLD",workflow="a"}"#, 2.0),
        ],
    },
    // Its pod was replaced: an old count under a new address is no new error.
    Case {
        query: ["runs", "Errors, most frequent first", "Failed"],
        series: &[
            (r#"runtrail_build_info{instance="a"}"#, "1x20"),
            (
                r#"runtrail_run_errors_total{instance="a",error_type="OLD",workflow="a"}"#,
                "40x12 stale",
            ),
            (
                r#"runtrail_run_errors_total{instance="b",error_type="OLD",workflow="a"}"#,
                "_x14 40x6",
            ),
        ],
        answer: &[],
    },
    // Nobody looked before: what was counted meanwhile is not of the time shown.
    Case {
        query: ["runs", "Errors, most frequent first", "Failed"],
        series: &[
            (r#"runtrail_build_info{version="1"}"#, "_x15 1x5"),
            (
                r#"runtrail_run_errors_total{error_type="OLD",workflow="a"}"#,
                "_x15 40x5",
            ),
        ],
        answer: &[],
    },
    // The first error of a code in the last five minutes is a fifth of one a minute.
    Case {
        query: ["runs", "Failed runs by error", "{{error_type}}"],
        series: &[
            (r#"runtrail_build_info{version="1"}"#, "1x20"),
            (
                r#"runtrail_run_errors_total{error_type="NEW",workflow="a"}"#,
                "_x18 1 1 1",
            ),
        ],
        answer: &[(r#"{error_type="NEW"}"#, 0.2)],
    },
    // The first error of a code is one in each workflow, also where another had it.
    Case {
        query: ["runs", "Failed runs by error", "{{error_type}}"],
        series: &[
            (r#"runtrail_build_info{version="1"}"#, "1x20"),
            (
                r#"runtrail_run_errors_total{error_type="E",workflow="a"}"#,
                "7x20",
            ),
            (
                r#"runtrail_run_errors_total{error_type="E",workflow="b"}"#,
                "_x18 1 1 1",
            ),
            (
                r#"runtrail_run_errors_total{error_type="E",workflow="c"}"#,
                "_x19 1 1",
            ),
        ],
        answer: &[(r#"{error_type="E"}"#, 0.4)],
    },
    // Another job was there before: what this one brings along is not new.
    Case {
        query: ["runs", "Failed runs by error", "{{error_type}}"],
        series: &[
            (r#"runtrail_build_info{job="other"}"#, "1x20"),
            (r#"runtrail_build_info{job="r"}"#, "_x18 1 1 1"),
            (
                r#"runtrail_run_errors_total{job="r",error_type="E",workflow="a"}"#,
                "_x18 40 40 40",
            ),
        ],
        answer: &[(r#"{error_type="E"}"#, 0.0)],
    },
    // Two projects have a workflow and a task of one name.
    Case {
        query: ["runs", "Tasks, worst first", "Failed"],
        series: &[
            (
                r#"runtrail_tasks_finished_total{project="1",workflow="a",task="t",outcome="failed"}"#,
                "0+1x20",
            ),
            (
                r#"runtrail_tasks_finished_total{project="2",workflow="a",task="t",outcome="failed"}"#,
                "0+2x20",
            ),
        ],
        answer: &[
            (r#"{name="1",project="1",task="t",workflow="a"}"#, 10.0),
            (r#"{name="2",project="2",task="t",workflow="a"}"#, 20.0),
        ],
    },
    // Other processes and targets have these metrics too.
    Case {
        query: ["runtrail", "Memory", "{{instance}}"],
        series: &[
            (
                r#"runtrail_build_info{job="r",instance="a",version="1"}"#,
                "1x20",
            ),
            (
                r#"process_resident_memory_bytes{job="r",instance="a"}"#,
                "7x20",
            ),
            (
                r#"process_resident_memory_bytes{job="node",instance="a"}"#,
                "9x20",
            ),
        ],
        answer: &[(
            r#"process_resident_memory_bytes{instance="a",job="r"}"#,
            7.0,
        )],
    },
    Case {
        query: ["runtrail", "Series on the page", "{{instance}}"],
        series: &[
            (
                r#"runtrail_build_info{job="r",instance="a",version="1"}"#,
                "1x20",
            ),
            (r#"scrape_samples_scraped{job="r",instance="a"}"#, "7x20"),
            (r#"scrape_samples_scraped{job="r",instance="b"}"#, "9x20"),
        ],
        answer: &[(r#"scrape_samples_scraped{instance="a",job="r"}"#, 7.0)],
    },
    // A project with two names gives no second row, and one without any is its id.
    // Of two names either may come: here one of them weighs less, for the test.
    Case {
        query: ["runs", "Workflows, worst first", "Failed"],
        series: &[
            (r#"runtrail_project_info{project="1",name="Sales"}"#, "1x20"),
            (
                r#"runtrail_project_info{project="1",name="Marketing"}"#,
                "0.5x20",
            ),
            (
                r#"runtrail_runs_finished_total{project="1",workflow="a",outcome="error"}"#,
                "0+1x20",
            ),
            (
                r#"runtrail_runs_finished_total{project="2",workflow="a",outcome="error"}"#,
                "0+2x20",
            ),
        ],
        answer: &[
            (r#"{name="2",project="2",workflow="a"}"#, 20.0),
            (r#"{name="Sales",project="1",workflow="a"}"#, 10.0),
        ],
    },
    // No run of it has ended in the time shown: its slowness is not a number.
    Case {
        query: ["runs", "Workflows, slowest first", "Half"],
        series: &[
            (
                r#"runtrail_run_duration_seconds_bucket{workflow="a",project="1",le="1"}"#,
                "5x20",
            ),
            (
                r#"runtrail_run_duration_seconds_bucket{workflow="a",project="1",le="+Inf"}"#,
                "5x20",
            ),
        ],
        answer: &[],
    },
    // One model has a cache, the other never told of one.
    Case {
        query: ["models", "From the provider's cache, by model", "{{model}}"],
        series: &[
            (
                r#"runtrail_tokens_total{model="a",direction="input"}"#,
                "0+100x20",
            ),
            (
                r#"runtrail_tokens_total{model="b",direction="input"}"#,
                "0+100x20",
            ),
            (
                r#"runtrail_tokens_total{model="a",direction="output"}"#,
                "0+100x20",
            ),
            (
                r#"runtrail_token_details_total{model="a",direction="input",detail="cache_read"}"#,
                "0+40x20",
            ),
            (
                r#"runtrail_token_details_total{model="a",direction="input",detail="cache_write"}"#,
                "0+50x20",
            ),
        ],
        answer: &[(r#"{model="a"}"#, 0.4), (r#"{model="b"}"#, 0.0)],
    },
    // 20 attempts of 10 tasks: 10 further ones. A restart of one side is no less.
    Case {
        query: [
            "models",
            "Tasks asked again, worst first",
            "Further attempts",
        ],
        series: &[
            (
                r#"runtrail_task_attempts_total{workflow="a",task="t"}"#,
                "0+2x20",
            ),
            (
                r#"runtrail_tasks_finished_total{workflow="a",task="t",outcome="success"}"#,
                "0+1x20",
            ),
            (
                r#"runtrail_task_attempts_total{workflow="a",task="u"}"#,
                "0+1x20",
            ),
            (
                r#"runtrail_tasks_finished_total{workflow="a",task="u",outcome="failed"}"#,
                "0+2x20",
            ),
        ],
        answer: &[
            (r#"{task="t",workflow="a"}"#, 10.0),
            (r#"{task="u",workflow="a"}"#, 0.0),
        ],
    },
    // All tokens take at most 10 ms; nobody streams from the other model.
    Case {
        query: [
            "models",
            "Output: half of the answers are quicker than",
            "{{model}}",
        ],
        series: &[
            (
                r#"runtrail_time_per_output_token_seconds_bucket{model="a",le="0.01"}"#,
                "0+1x20",
            ),
            (
                r#"runtrail_time_per_output_token_seconds_bucket{model="a",le="+Inf"}"#,
                "0+1x20",
            ),
            (
                r#"runtrail_time_per_output_token_seconds_bucket{model="b",le="0.01"}"#,
                "3x20",
            ),
            (
                r#"runtrail_time_per_output_token_seconds_bucket{model="b",le="+Inf"}"#,
                "3x20",
            ),
        ],
        answer: &[(r#"{model="a"}"#, 200.0)],
    },
    // 60 dollars in ten minutes, of 30 runs.
    Case {
        query: ["models", "Cost of a run, on average", "cost"],
        series: &[
            (
                r#"runtrail_cost_usd_total{model="a",basis="server"}"#,
                "0+2x20",
            ),
            (
                r#"runtrail_cost_usd_total{model="b",basis="price_table"}"#,
                "0+4x20",
            ),
            (
                r#"runtrail_runs_finished_total{outcome="success"}"#,
                "0+3x20",
            ),
        ],
        answer: &[("{}", 2.0)],
    },
    // The version stands beside how long it has been up.
    Case {
        query: ["runtrail", "Who runs", "Up for"],
        series: &[
            (r#"process_start_time_seconds{instance="a"}"#, "600x20"),
            (
                r#"runtrail_build_info{instance="a",version="1.2.3"}"#,
                "1x20",
            ),
        ],
        answer: &[(r#"{instance="a",version="1.2.3"}"#, 600.0)],
    },
    // What could not be checked is neither right nor wrong.
    Case {
        query: ["runtrail", "Sums that agree", "agree"],
        series: &[
            (r#"runtrail_runs_verified_total{result="match"}"#, "0+3x20"),
            (
                r#"runtrail_runs_verified_total{result="mismatch"}"#,
                "0+1x20",
            ),
            (
                r#"runtrail_runs_verified_total{result="unchecked"}"#,
                "0+9x20",
            ),
        ],
        answer: &[("{}", 0.75)],
    },
    // A reason is as bad as another: one runtrail that rests is one.
    Case {
        query: ["runtrail", "Do not read", "resting"],
        series: &[
            (
                r#"runtrail_source_paused{job="r",instance="a",reason="refused"}"#,
                "1x20",
            ),
            (
                r#"runtrail_source_paused{job="r",instance="a",reason="disk_full"}"#,
                "1x20",
            ),
            (
                r#"runtrail_source_paused{job="r",instance="b",reason="disk_full"}"#,
                "0x20",
            ),
        ],
        answer: &[("{}", 1.0)],
    },
];

/// The same with twelve hours for a minute: what is answered after ten days.
const CASES_OF_DAYS: &[Case] = &[
    // Twice as much as on the same day of last week.
    Case {
        query: ["models", "Against a week ago", "more"],
        series: &[(r#"runtrail_cost_usd_total{model="a"}"#, "0+1x18 20 22")],
        answer: &[("{}", 1.0)],
    },
    // Half of that day was seen: that is no day.
    Case {
        query: ["models", "Against a week ago", "more"],
        series: &[(r#"runtrail_cost_usd_total{model="a"}"#, "_x5 0+1x15")],
        answer: &[],
    },
];

#[test]
fn the_queries_that_are_easily_got_wrong_answer_what_was_worked_out_by_hand() {
    if Command::new("promtool").arg("--version").output().is_err() {
        let required = std::env::var("RUNTRAIL_TEST_PEERS").is_ok_and(|peers| peers == "required");
        assert!(!required, "there is no promtool: install prometheus");
        eprintln!("skipped: there is no promtool; Debian has it in prometheus");
        return;
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("answers.json");
    let tests = CASES.iter().map(|case| case.as_test("1m", "20m"));
    let of_days = CASES_OF_DAYS.iter().map(|case| case.as_test("12h", "10d"));
    let tests: Vec<_> = tests.chain(of_days).collect();
    let file = json!({"rule_files": [], "evaluation_interval": "1m", "tests": tests});
    std::fs::write(&path, file.to_string()).unwrap();
    let tool = Command::new("promtool")
        .args(["test", "rules"])
        .arg(&path)
        .output();
    let tool = tool.expect("promtool starts");
    let said = String::from_utf8_lossy(&tool.stdout) + String::from_utf8_lossy(&tool.stderr);
    assert!(tool.status.success(), "{said}");
    assert!(said.contains("SUCCESS"), "{said}");
}

impl Case {
    fn as_test(&self, step: &str, end: &str) -> Value {
        let series = self.series.iter();
        let series: Vec<_> = series
            .map(|(series, values)| json!({"series": series, "values": values}))
            .collect();
        let samples = self.answer.iter();
        let samples: Vec<_> = samples
            .map(|(labels, value)| json!({"labels": labels, "value": value}))
            .collect();
        json!({
            "interval": step,
            "input_series": series,
            "promql_expr_test": [
                {"expr": self.expr(), "eval_time": end, "exp_samples": samples},
            ],
        })
    }

    /// The query as it stands in the dashboard.
    fn expr(&self) -> String {
        let [name, title, legend] = self.query;
        let dashboards = all();
        let dashboard = dashboards.iter().find(|d| d.name == name).expect(name);
        let panels = dashboard.rows.iter().flat_map(|row| &row.panels);
        let mut queries = panels
            .filter(|p| p.title == title)
            .flat_map(|panel| &panel.queries);
        let query = queries.find(|query| query.legend == legend).expect(title);
        let shown = SHOWN.iter();
        shown.fold(query.expr.clone(), |expr, (variable, value)| {
            expr.replace(variable, value)
        })
    }
}
