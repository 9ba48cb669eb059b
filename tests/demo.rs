//! The demo and the simulated server, as a newcomer runs them.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod program;
mod receiver;

use std::net::TcpListener;

use self::program::{Program, eventually, get, run};
use self::receiver::{Receiver, Wire};

const FAST: [&str; 4] = ["--speed", "200", "--runs-per-minute", "600"];

fn demo(further: &[&str]) -> Program {
    let arguments = [&["demo"], &FAST[..], further].concat();
    Program::start(&arguments, &[])
}

/// The address behind one of the words of the greeting.
fn address(program: &Program, word: &str) -> std::net::SocketAddr {
    let line = program.line_with(&format!("  {word} "));
    let url = line.split_ascii_whitespace().nth(1).unwrap();
    let address = url.strip_prefix("http://").unwrap().split('/').next();
    address.unwrap().parse().unwrap()
}

#[test]
fn a_demo_of_a_few_runs_shows_a_line_for_each_and_ends() {
    let ended = run(&[&["demo"], &FAST[..], &["--runs", "5"]].concat(), &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    let lines = ended.text.lines();
    let runs: Vec<_> = lines
        .filter(|line| line.starts_with(['✓', '✗', '○']))
        .collect();
    assert_eq!(runs.len(), 5, "{}", ended.text);
    for run in &runs {
        let trace_id = run.split_ascii_whitespace().find(|word| word.len() == 32);
        assert!(trace_id.is_some(), "{run}");
    }
    assert!(
        runs.iter()
            .any(|run| run.contains("AKRIBES-E-PROVIDER-RATE-LIMIT"))
    );
    assert!(runs.iter().any(|run| run.contains('$')), "what it cost");
    assert!(ended.text.contains("\n5 runs, "), "{}", ended.text);
    assert!(
        !ended.text.contains('\x1b'),
        "no colours where there is no terminal"
    );
}

#[test]
fn a_demo_ends_cleanly_with_ctrl_c_and_tells_where_to_look_before() {
    let program = demo(&[]);
    let (metrics, runs) = (address(&program, "metrics"), address(&program, "runs"));
    program.line_with("✓ ");
    assert_eq!(get(metrics, "/healthz", "").0, 200);
    let (status, page) = get(runs, "/api/runs?state=success", "");
    assert_eq!(status, 200);
    assert!(page.contains("\"trace_id\""), "{page}");
    eventually("a run is counted", || {
        let (_, page) = get(metrics, "/metrics", "");
        page.contains("runtrail_runs_finished_total{outcome=\"success\"")
            .then_some(())
    });
    eventually("what it cost is counted", || {
        let (_, page) = get(metrics, "/metrics", "");
        let mut costs = page
            .lines()
            .filter(|line| line.starts_with("runtrail_cost_usd_total{basis=\"server\""));
        costs.any(|line| !line.ends_with(" 0")).then_some(())
    });
    eventually("some runs have had their sums checked", || {
        let (_, page) = get(metrics, "/metrics", "");
        let of = |result: &str| {
            let start = format!("runtrail_runs_verified_total{{result=\"{result}\"}} ");
            let line = page.lines().find_map(|line| line.strip_prefix(&start));
            line.map_or(0, |count| count.parse::<u64>().unwrap())
        };
        assert_eq!(of("mismatch"), 0);
        (of("match") > 5 && of("unchecked") > 0).then_some(())
    });
    program.signal("INT");
    let ended = program.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert!(ended.text.contains(" runs, "), "{}", ended.text);
}

#[test]
fn a_demo_finds_other_ports_when_the_usual_ones_are_taken() {
    // Somebody else may have them already, which is as good.
    let _taken = ["127.0.0.1:9464", "127.0.0.1:9465"].map(TcpListener::bind);
    let ended = run(&[&["demo"], &FAST[..], &["--runs", "1"]].concat(), &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert!(!ended.text.contains(":9464"), "{}", ended.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_sends_its_traces_where_it_is_told() {
    let receiver = Receiver::start(Wire::Http).await;
    let program = demo(&[
        "--runs",
        "3",
        "--otlp",
        &format!("http://{}", receiver.addr),
    ]);
    receiver.spans(3).await;
    let ended = program.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    let received = receiver.received();
    let names = received.iter().flat_map(|request| request.names());
    let roots = names
        .filter(|name| name.starts_with("invoke_workflow "))
        .count();
    assert!(roots >= 3, "{roots}");
}

#[test]
fn what_is_recorded_of_a_simulated_server_can_be_replayed() {
    let server = Program::start(
        &[&["simulate", "--listen", "127.0.0.1:0"], &FAST[..]].concat(),
        &[],
    );
    let line = server.line_with("AKRIBES_URL=");
    let mut variables = line
        .split_ascii_whitespace()
        .filter_map(|word| word.split_once('='));
    let url = variables.next().unwrap();
    let token = variables.next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("feed.sse");
    let file = file.to_str().unwrap();
    let recorded = run(
        &["record", "--out", file, "--max-bytes", "300KiB"],
        &[url, token],
    );
    assert_eq!(recorded.code, Some(0), "{}", recorded.text);
    let replayed = run(&["replay", "--system", "akribes", file], &[]);
    assert_eq!(replayed.code, Some(0), "{}", replayed.text);
    assert!(
        replayed.text.contains("\"outcome\":\"success\""),
        "{}",
        replayed.text
    );
    server.signal("TERM");
    let ended = server.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert!(ended.text.contains("runs completed"), "{}", ended.text);
}

#[test]
fn a_misbehaviour_that_is_none_is_refused() {
    let ended = run(&["simulate", "--misbehave", "{\"kind\":\"dance\"}"], &[]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.text.contains("dance"), "{}", ended.text);
    assert_eq!(ended.text.lines().count(), 1, "{}", ended.text);
}
