//! The real binary beside a simulated server: what its metrics say of cost is what
//! the server says, or what the configured prices make of the tokens.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod program;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use runtrail::sim::workload::{Arrivals, WorkloadSettings};
use runtrail::sim::{Misbehaviour, SimHandle, SimServer, SimSettings};
use serde_json::Value;

use self::program::{Program, eventually, get, run};

const RUNS: u64 = 40;

/// Prices of the models of the simulated server, as it has them itself; two are
/// left out.
const PRICES: &str = "
prices:
  taken: 2026-05-01
  models:
    - {model: claude-sonnet-*, input: 3, output: 15, cache_read: 0.3, cache_write_5m: 3.75}
    - {model: claude-haiku-*, input: 1, output: 5, cache_read: 0.1, cache_write_5m: 1.25}
    - {model: gpt-5-mini, provider: openai, input: 0.25, output: 2, cache_read: 0.025}
    - {model: gpt-5, provider: openai, input: 1.25, output: 10, cache_read: 0.125}
    - {model: gemini-2.5-pro, provider: gemini, input: 1.25, output: 10, cache_read: 0.31}
";
const UNPRICED: [&str; 2] = ["gemini gemini-2.5-flash", "mistral mistral-medium-latest"];

/// A server that runs so many runs once somebody listens, and no more.
async fn server() -> SimHandle {
    server_at(500.0).await
}

/// The same, so many times as fast as in earnest.
async fn server_at(speed: f64) -> SimHandle {
    let workload = WorkloadSettings {
        arrivals: Arrivals::AtOnce(10),
        runs_total: RUNS,
        speed,
        ..WorkloadSettings::default()
    };
    let settings = SimSettings {
        workload,
        waits_for_feed: true,
        ..SimSettings::default()
    };
    SimServer::start(settings).await.unwrap()
}

fn beside(server: &SimHandle, further: &[(&'static str, &str)]) -> Program {
    let url = server.url();
    let variables = [
        ("AKRIBES_URL", url.as_str()),
        ("AKRIBES_TOKEN", server.token().unwrap()),
        ("RUNTRAIL_LISTEN_METRICS", "127.0.0.1:0"),
        ("RUNTRAIL_LISTEN_LOCAL", "127.0.0.1:0"),
    ];
    Program::start(&["run"], &[&variables[..], further].concat())
}

/// A page of metrics: name and labels of each series with its value.
struct Page(Vec<(String, BTreeMap<String, String>, f64)>);

impl Page {
    fn read(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(lines.map(series).collect())
    }

    /// The sum of a metric by model, of series with these labels.
    fn by_model(&self, name: &str, labels: &[(&str, &str)]) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        let is_one = |of: &BTreeMap<String, String>| {
            let mut labels = labels.iter();
            labels.all(|(name, value)| of.get(*name).map(String::as_str) == Some(*value))
        };
        for (_, of, value) in self.0.iter().filter(|(n, of, _)| n == name && is_one(of)) {
            let word = |name: &str| of.get(name).map_or("", String::as_str);
            let model = format!("{} {}", word("provider"), word("model"));
            *sums.entry(model).or_default() += value;
        }
        sums
    }

    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.by_model(name, labels).values().sum()
    }
}

fn series(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels
        .trim_end_matches('}')
        .split("\",")
        .filter_map(|label| {
            let (name, value) = label.split_once("=\"")?;
            Some((name.to_owned(), value.trim_end_matches('"').to_owned()))
        });
    (name.to_owned(), labels.collect(), value.parse().unwrap())
}

/// The page once all runs have ended.
async fn page_at_the_end(server: &SimHandle, program: &Program) -> Page {
    server.wait_until_idle().await;
    // Some of them began others.
    let runs = server.finished_runs().len() as f64;
    let [metrics, _] = program.listeners();
    eventually("all runs are counted", || {
        let page = Page::read(&get(metrics, "/metrics", "").1);
        (page.sum("runtrail_runs_finished_total", &[]) == runs).then_some(page)
    })
}

/// What the server says of cost: of each run, and of their tasks by model.
fn told(server: &SimHandle) -> (BTreeMap<String, f64>, BTreeMap<String, f64>) {
    let token = format!("Authorization: Bearer {}\r\n", server.token().unwrap());
    let ask = |path: &str| -> Value {
        let (status, body) = get(server.addr(), path, &token);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    };
    let (mut by_run, mut by_model) = (BTreeMap::new(), BTreeMap::new());
    for run in server.finished_runs() {
        let id = run.execution_id;
        let row = ask(&format!("/executions/{id}"));
        let tasks = ask(&format!("/executions/{id}/tasks"));
        by_run.insert(id, row["cost_usd"].as_f64().unwrap());
        for task in tasks["tasks"].as_array().unwrap() {
            if let Some(usd) = task["cost_usd"].as_f64() {
                let word = |name: &str| task[name].as_str().unwrap().to_owned();
                let model = format!("{} {}", word("provider"), word("model"));
                *by_model.entry(model).or_default() += usd;
            }
        }
    }
    (by_run, by_model)
}

#[track_caller]
fn same(one: f64, other: f64, within: f64, what: &str) {
    assert!((one - other).abs() <= within, "{what}: {one} and {other}");
}

/// The cost of each run that the API shows, where it shows one: it follows the
/// summary, which has none for a run whose sub-scripts alone use models.
fn of_api(local: SocketAddr) -> BTreeMap<String, f64> {
    let (_, body) = get(local, "/api/runs?limit=100", "");
    let body: Value = serde_json::from_str(&body).unwrap();
    let runs = body["runs"].as_array().unwrap();
    let cost = |run: &Value| {
        let id = run["execution_id"].as_str().unwrap().to_owned();
        Some((id, run["cost_usd"].as_f64()?))
    };
    runs.iter().filter_map(cost).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_own_figures_are_counted_by_model() {
    let server = server().await;
    let program = beside(&server, &[]);
    let page = page_at_the_end(&server, &program).await;
    let (runs, tasks) = told(&server);
    let whole: f64 = runs.values().sum();
    assert!(whole > 0.0 && tasks.len() > 3, "{tasks:?}");
    let counted = page.by_model("runtrail_cost_usd_total", &[("basis", "server")]);
    same(counted.values().sum(), whole, 1e-6, "the whole");
    for (model, usd) in &tasks {
        same(counted[model], *usd, 1e-6, model);
    }
    let tokens = page.by_model("runtrail_tokens_total", &[]);
    assert!(
        counted.keys().eq(tokens.keys()),
        "cost by tokens is a price"
    );
    assert_eq!(
        page.sum("runtrail_cost_usd_total", &[("basis", "price_table")]),
        0.0
    );
    assert_eq!(page.sum("runtrail_tokens_unpriced_total", &[]), 0.0);
    let [_, local] = program.listeners();
    let shown = of_api(local);
    assert!(shown.len() > 10, "{shown:?}");
    for (run, usd) in shown {
        same(usd, runs[&run], 1e-9, &run);
    }
    program.signal("TERM");
    assert_eq!(program.ended().code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_them_the_configured_prices_make_the_same_of_the_tokens() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("runtrail.yaml");
    std::fs::write(&file, PRICES).unwrap();
    let file = file.to_str().unwrap();
    let program = beside(
        &server,
        &[("RUNTRAIL_CONFIG", file), ("RUNTRAIL_ENRICH", "false")],
    );
    let page = page_at_the_end(&server, &program).await;
    let (_, tasks) = told(&server);
    let counted = page.by_model("runtrail_cost_usd_total", &[("basis", "price_table")]);
    let tokens = page.by_model("runtrail_tokens_total", &[]);
    let unpriced = page.by_model("runtrail_tokens_unpriced_total", &[]);
    for (model, usd) in &tasks {
        if UNPRICED.contains(&model.as_str()) {
            assert_eq!(
                (counted[model], unpriced[model]),
                (0.0, tokens[model]),
                "{model}"
            );
        } else {
            // The server rounds each task's cost.
            same(counted[model], *usd, 2e-4, model);
            assert_eq!(unpriced[model], 0.0, "{model}");
        }
    }
    assert!(tasks.keys().any(|model| UNPRICED.contains(&model.as_str())));
    assert_eq!(
        page.sum("runtrail_cost_usd_total", &[("basis", "server")]),
        0.0
    );
    program.signal("TERM");
    assert_eq!(program.ended().code, Some(0));
}

/// The tokens in and out that the server says its runs used.
fn used(server: &SimHandle) -> [f64; 2] {
    let token = format!("Authorization: Bearer {}\r\n", server.token().unwrap());
    let row = |id: &str| -> Value {
        let (status, body) = get(server.addr(), &format!("/executions/{id}"), &token);
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    };
    let runs = server.finished_runs();
    let rows: Vec<_> = runs.iter().map(|run| row(&run.execution_id)).collect();
    ["input_tokens", "output_tokens"]
        .map(|side| rows.iter().map(|row| row[side].as_f64().unwrap()).sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_tells_again_after_it_has_crashed_is_counted_once() {
    let server = server_at(60.0).await;
    let program = beside(&server, &[]);
    let [metrics, _] = program.listeners();
    let page = || Page::read(&get(metrics, "/metrics", "").1);
    let replayed = [("type", "LLMReplayCacheHit")];
    for _ in 0..3 {
        let before = page();
        server.misbehave(&Misbehaviour::Restart { ms: 20 }).unwrap();
        eventually("more has ended", || {
            let more = |name: &str| page().sum(name, &[]) > before.sum(name, &[]);
            more("runtrail_tasks_finished_total").then_some(())
        });
    }
    let page = page_at_the_end(&server, &program).await;
    assert!(page.sum("runtrail_events_total", &replayed) > 0.0);
    let [input, output] = used(&server);
    let counted = |side| page.sum("runtrail_tokens_total", &[("direction", side)]);
    assert_eq!([counted("input"), counted("output")], [input, output]);
    let (runs, _) = told(&server);
    let cost = page.sum("runtrail_cost_usd_total", &[("basis", "server")]);
    same(cost, runs.values().sum(), 1e-6, "the cost");
    let mismatches = page.sum("runtrail_runs_verified_total", &[("result", "mismatch")]);
    assert_eq!(mismatches, 0.0);
    program.signal("TERM");
    assert_eq!(program.ended().code, Some(0));
}

#[test]
fn check_says_which_prices_are_used() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("runtrail.yaml");
    std::fs::write(&file, PRICES).unwrap();
    let variables = [
        ("AKRIBES_URL", "http://127.0.0.1:1"),
        ("RUNTRAIL_LISTEN_METRICS", "127.0.0.1:0"),
        ("RUNTRAIL_LISTEN_LOCAL", "127.0.0.1:0"),
    ];
    let checked = run(&["check", "--config", file.to_str().unwrap()], &variables);
    for said in [
        "claude-sonnet-*, claude-haiku-*, gpt-5-mini, gpt-5, gemini-2.5-pro  (from ",
        "ok    prices     5 entries, taken on 2026-05-01, for runs whose cost the server does not tell",
    ] {
        assert!(checked.text.contains(said), "{}", checked.text);
    }
    let checked = run(&["check"], &variables);
    let none = "ok    prices     none: a run costs what the server says (prices.models)";
    assert!(checked.text.contains(none), "{}", checked.text);
}
