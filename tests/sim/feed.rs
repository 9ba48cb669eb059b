//! The feed of a server that behaves.

use std::time::Duration;

use runtrail::core::{Core, CoreSettings, Selection};
use runtrail::limits::Limits;
use runtrail::sim::Misbehaviour;
use runtrail::sim::workload::Arrivals;
use runtrail::trace::batch::ResourceInfo;
use runtrail::trace::content::ContentPolicy;
use runtrail::trace::span::TraceSettings;

use super::client::{End, elements, feed, feed_after, has_end, newest_id, types};
use super::{run, settings, start, token};

#[tokio::test]
async fn a_client_hears_a_run_from_its_beginning_to_its_end() {
    let server = start(settings()).await;
    let mut feed = feed(&server, "?project_id=1").await;
    assert!(feed.head.contains("content-type: text/event-stream"));
    run(&server, "translate").await;
    let text = feed.read_until(has_end).await;
    let elements = elements(&text);
    assert_eq!(elements.len() as u64, server.events());
    assert_eq!(types(&elements)[0], "WorkflowStart");
    assert_eq!(types(&elements).last(), Some(&"WorkflowEnd"));
    let seqs: Vec<_> = elements
        .iter()
        .map(|e| e["payload"]["seq"].as_u64().unwrap())
        .collect();
    assert!(seqs.is_sorted_by(|a, b| a < b));
    assert!(
        seqs.windows(2).any(|pair| pair[1] > pair[0] + 1),
        "there are no holes"
    );
    assert_eq!(newest_id(&text), *seqs.last().unwrap());
}

#[tokio::test]
async fn a_client_that_comes_back_gets_the_rest_and_nothing_twice() {
    let server = start(settings()).await;
    let mut whole = feed(&server, "").await;
    run(&server, "triage").await;
    let whole = elements(&whole.read_until(has_end).await);
    for cut in [1, whole.len() / 2, whole.len() - 1] {
        let id = whole[cut - 1]["payload"]["seq"].as_u64().unwrap();
        let mut rest = feed_after(&server, id).await;
        let rest = elements(&rest.read_until(has_end).await);
        assert_eq!(rest, whole[cut..], "after {cut} events");
    }
}

#[tokio::test]
async fn a_server_that_only_logs_the_cursor_begins_with_what_comes_next() {
    let mut settings = settings();
    settings.feed.replays = false;
    let server = start(settings).await;
    run(&server, "translate").await;
    let before = server.events();
    let mut late = feed_after(&server, 0).await;
    run(&server, "translate").await;
    let late = elements(&late.read_until(has_end).await);
    assert_eq!(late.len() as u64, server.events() - before);
}

#[tokio::test]
async fn what_is_no_longer_kept_cannot_be_gone_back_to() {
    let mut settings = settings();
    settings.bounds.feed_log_bytes_max = 4_000;
    let server = start(settings).await;
    run(&server, "translate").await;
    let mut late = feed_after(&server, 0).await;
    let late = late.read_until(has_end).await;
    assert!(!late.contains("lagged"), "{late}");
    assert!((elements(&late).len() as u64) < server.events());
    assert_eq!(types(&elements(&late)).last(), Some(&"WorkflowEnd"));
}

#[tokio::test]
async fn a_client_hears_of_the_projects_and_the_script_that_it_asked_for() {
    let mut settings = settings();
    settings.workload.projects = 2;
    settings.tokens = vec![token("all", None), token("second", Some(&[2]))];
    let server = start(settings).await;
    // Scripts are dealt out: `review` is in the first project, `translate` in the second.
    let mut all = feed(&server, "").await;
    let mut first = feed(&server, "?project_id=1").await;
    let mut script = feed(&server, "?project_id=1&script_name=research").await;
    let headers = "Authorization: Bearer second\r\n";
    let mut second = super::client::request(&server, "GET", "/events", headers, "").await;
    for script in ["translate", "review", "research"] {
        run(&server, script).await;
    }
    let ends = |text: &str| {
        elements(text)
            .iter()
            .filter(|e| e["payload"]["event"]["type"] == "WorkflowEnd")
            .count()
    };
    let scripts = |text: &str| {
        let mut scripts: Vec<_> = elements(text)
            .iter()
            .map(|element| {
                element["payload"]["script_name"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        scripts.dedup();
        scripts
    };
    let all = all.read_until(|text| ends(text) == 3).await;
    assert_eq!(scripts(&all), ["translate", "review", "research"]);
    let first = first.read_until(|text| ends(text) == 2).await;
    assert_eq!(scripts(&first), ["review", "research"]);
    assert_eq!(
        scripts(&script.read_until(|text| ends(text) == 1).await),
        ["research"]
    );
    assert_eq!(
        scripts(&second.read_until(|text| ends(text) == 1).await),
        ["translate"]
    );
}

#[tokio::test]
async fn a_client_that_is_too_slow_misses_events_and_is_told_how_many() {
    let mut settings = settings();
    settings.feed.behind_events_max = 10;
    settings.feed.batch_events_max = 4;
    let server = start(settings).await;
    let mut slow = feed(&server, "").await;
    server.misbehave(&Misbehaviour::Stall { on: true }).unwrap();
    run(&server, "translate").await;
    server
        .misbehave(&Misbehaviour::Stall { on: false })
        .unwrap();
    let text = slow.read_until(has_end).await;
    let missed = server.events() - 10;
    assert!(
        text.starts_with(&format!("event: error\ndata: {{\"lagged\":{missed}}}\n\n")),
        "{text}"
    );
    assert_eq!(elements(&text).len(), 10);
}

#[tokio::test]
async fn in_silence_there_are_signs_of_life() {
    let mut settings = settings();
    settings.feed.keep_alive = Duration::from_millis(5);
    let server = start(settings).await;
    let mut feed = feed(&server, "").await;
    let text = feed.read_until(|text| text.len() > 40).await;
    assert!(text.starts_with(": keep-alive\n\n: keep-alive\n\n"));
}

#[tokio::test]
async fn a_frame_has_no_more_events_than_it_may() {
    let mut settings = settings();
    settings.feed.batch_events_max = 3;
    let server = start(settings).await;
    let mut feed = feed(&server, "").await;
    run(&server, "translate").await;
    let text = feed.read_until(has_end).await;
    let sizes = text
        .lines()
        .filter(|line| line.starts_with("data: "))
        .map(|line| elements(line).len());
    assert_eq!(sizes.max(), Some(3));
}

#[tokio::test]
async fn a_server_that_stops_ends_its_feeds_and_frees_its_port() {
    let server = start(settings()).await;
    let mut open = feed(&server, "").await;
    server.wait_for_feeds(1).await;
    let address = server.addr();
    server.stop().await;
    assert_eq!(open.read_to_end().await, End::Clean);
    tokio::net::TcpListener::bind(address).await.unwrap();
}

#[tokio::test]
async fn runs_begin_by_themselves_until_there_were_enough() {
    let mut settings = settings();
    settings.workload.arrivals = Arrivals::PerMinute(60_000.0);
    settings.workload.runs_total = 12;
    settings.workload.failure_share = 0.5;
    let server = start(settings).await;
    server.wait_until_idle().await;
    // And those that some of them spawned.
    assert!(server.finished_runs().len() >= 12);
    assert_eq!(server.open_runs(), 0);
}

#[tokio::test]
async fn so_many_runs_are_open_at_once_as_are_wanted_and_no_more_than_may_be() {
    for (wanted, most, open) in [(5, 100, 5), (50, 7, 7)] {
        let mut settings = super::slow_settings();
        settings.workload.arrivals = Arrivals::AtOnce(wanted);
        settings.bounds.open_runs_max = most;
        let server = start(settings).await;
        while server.open_runs() < open {
            tokio::task::yield_now().await;
        }
        assert_eq!(server.start_run("review").is_some(), open < most);
    }
}

/// What the core makes of the server's feed: every run, and the server's own sums.
#[tokio::test]
async fn the_sums_of_the_core_are_those_of_the_server() {
    let mut settings = settings();
    settings.workload.arrivals = Arrivals::PerMinute(60_000.0);
    settings.workload.runs_total = 60;
    settings.workload.failure_share = 0.2;
    let server = start(settings).await;
    server.wait_until_idle().await;
    let runs = server.finished_runs();
    let mut feed = feed_after(&server, 0).await;
    let events = server.events() as usize;
    let text = feed.read_until(|text| elements(text).len() == events).await;

    let mut core = core();
    core.handle_bytes(0, text.as_bytes(), None);
    let mut verified = 0;
    for run in &runs {
        let summary = core.poll_summary().expect("every run has a summary");
        assert_eq!(*summary.execution_id, *run.execution_id);
        let outcome = match run.status.as_str() {
            "completed" => "success",
            "cancelled" => "cancelled",
            _ if summary.outcome == "timeout" => "timeout",
            _ => "error",
        };
        assert_eq!(summary.outcome, outcome);
        let verdict = serde_json::to_value(&summary).unwrap()["verified"].clone();
        assert_ne!(verdict, "mismatch", "{} {}", run.script, run.execution_id);
        verified += usize::from(verdict == "match");
    }
    assert_eq!(core.open_runs(), 0);
    assert!(verified > 30, "{verified}");
}

fn core() -> Core {
    let limits = Limits::default();
    Core::new(CoreSettings {
        system: "akribes".to_owned(),
        source: "test".to_owned(),
        resource: ResourceInfo {
            service_name: "akribes".to_owned(),
            service_instance_id: "test".to_owned(),
            attributes: Vec::new(),
        },
        trace: TraceSettings {
            openinference: false,
            content: ContentPolicy::new(false, &[""; 0], limits.content_bytes_max).unwrap(),
        },
        markers: false,
        repair: false,
        enrich: false,
        prices: None,
        feeds: vec![None],
        selection: Selection::default(),
        limits,
    })
    .unwrap()
}
