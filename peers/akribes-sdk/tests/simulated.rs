//! The Akribes SDK on the simulated server: it subscribes, starts runs, waits
//! for them and reads about them, and sums them up as runtrail does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this file is a test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use akribes_sdk::models::HubEvent;
use akribes_sdk::{AkribesClient, AkribesError};
use runtrail::core::{Core, CoreSettings, Selection};
use runtrail::limits::Limits;
use runtrail::run::summary::RunSummary;
use runtrail::sim::misbehaviour::{LineEnds, Malformation, Misbehaviour, Requests};
use runtrail::sim::settings::FeedSettings;
use runtrail::sim::workload::{Arrivals, WorkloadSettings, script_names};
use runtrail::sim::{SimHandle, SimServer, SimSettings};
use runtrail::trace::batch::ResourceInfo;
use runtrail::trace::content::ContentPolicy;
use runtrail::trace::span::TraceSettings;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Runs of each script.
const ROUNDS: usize = 4;

fn settings() -> SimSettings {
    SimSettings {
        workload: WorkloadSettings {
            seed: 26,
            arrivals: Arrivals::None,
            speed: 1_000.0,
            failure_share: 0.3,
            chunks_per_second: 2_000.0,
            ..WorkloadSettings::default()
        },
        feed: FeedSettings {
            batch_wait: Duration::from_millis(5),
            ..FeedSettings::default()
        },
        ..SimSettings::default()
    }
}

async fn start(settings: SimSettings) -> (SimHandle, AkribesClient) {
    let server = SimServer::start(settings).await.unwrap();
    let client = AkribesClient::builder(server.url())
        .name("peer")
        .token(server.token().unwrap())
        .build();
    (server, client)
}

/// What both sides say of a run.
#[derive(Debug, Clone, PartialEq)]
enum Said {
    Result {
        output: Value,
        by_model: Option<BTreeMap<String, u64>>,
        per_task_ms: BTreeMap<String, u128>,
        /// Passed, failed, total.
        tasks: [u64; 3],
    },
    Failed(String),
}

/// Runs a script through the SDK, and what the SDK says of it.
async fn theirs(client: AkribesClient, script: &str) -> (String, Said) {
    let executions = client.project(1).executions();
    let stream = executions.run_stream(executions.run(script)).await.unwrap();
    let id = stream.execution_id.clone();
    let said = match stream.summary().await {
        Ok(summary) => Said::Result {
            output: summary.output,
            by_model: summary.cost.map(|cost| cost.by_model.into_iter().collect()),
            per_task_ms: summary.duration.per_task_ms.into_iter().collect(),
            tasks: [
                summary.tasks.passed,
                summary.tasks.failed,
                summary.tasks.total,
            ]
            .map(|count| count as u64),
        },
        Err(
            AkribesError::Script { message, .. }
            | AkribesError::Fatal { message, .. }
            | AkribesError::Transient { message, .. },
        ) => Said::Failed(message),
        Err(other) => panic!("the SDK has lost its way: {other:?}"),
    };
    (id, said)
}

/// What runtrail says.
fn ours(summary: &RunSummary) -> Said {
    if let Some(error) = &summary.error {
        return Said::Failed(error.message.to_string());
    }
    let summary = serde_json::to_value(summary).unwrap();
    let numbers = |value: &Value| {
        let pairs = value.as_object().unwrap().iter();
        pairs
            .map(|(name, number)| (name.clone(), number.as_u64().unwrap()))
            .collect::<BTreeMap<_, _>>()
    };
    let by_model = summary["cost"].get("by_model");
    let per_task_ms = numbers(&summary["duration"]["per_task_ms"]);
    Said::Result {
        output: summary["output"].clone(),
        by_model: by_model.map(numbers),
        per_task_ms: per_task_ms
            .into_iter()
            .map(|(name, ms)| (name, u128::from(ms)))
            .collect(),
        tasks: ["passed", "failed", "total"].map(|name| summary["tasks"][name].as_u64().unwrap()),
    }
}

fn core() -> Core {
    let limits = Limits::default();
    Core::new(CoreSettings {
        system: "akribes".to_owned(),
        source: "peer".to_owned(),
        resource: ResourceInfo {
            service_name: "akribes".to_owned(),
            service_instance_id: "peer".to_owned(),
            attributes: vec![],
        },
        trace: TraceSettings {
            openinference: false,
            content: ContentPolicy::new(true, &[""; 0], limits.content_bytes_max).unwrap(),
        },
        markers: false,
        repair: false,
        enrich: false,
        prices: None,
        feeds: vec![Some(1)],
        selection: Selection::default(),
        limits,
    })
    .unwrap()
}

/// What runtrail says of these runs, over the bytes of the same feed.
async fn ours_of(server: &SimHandle, runs: usize) -> BTreeMap<String, Said> {
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    // To an old client the body comes as it is.
    let request = format!(
        "GET /events?project_id=1 HTTP/1.0\r\nAuthorization: Bearer {}\r\nLast-Event-ID: 0\r\n\r\n",
        server.token().unwrap()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut core = core();
    let mut said = BTreeMap::new();
    let mut head = Vec::new();
    let mut in_body = false;
    while said.len() < runs {
        let mut bytes = vec![0; 64 << 10];
        let count = stream.read(&mut bytes).await.unwrap();
        assert!(
            count > 0,
            "the feed ended after {} of {runs} runs",
            said.len()
        );
        bytes.truncate(count);
        if !in_body {
            head.extend_from_slice(&bytes);
            let Some(at) = head.windows(4).position(|window| window == b"\r\n\r\n") else {
                continue;
            };
            in_body = true;
            bytes = head.split_off(at + 4);
        }
        core.handle_bytes(0, &bytes, None);
        while let Some(summary) = core.poll_summary() {
            let id = summary.execution_id.to_string();
            assert_eq!(
                said.insert(id, ours(&summary)),
                None,
                "a run has one summary"
            );
        }
    }
    said
}

/// Runs every script through the SDK, and holds what it says against ours.
async fn compare(server: &SimHandle, client: &AkribesClient, rounds: usize) {
    let mut strands = JoinSet::new();
    for script in script_names() {
        let client = client.clone();
        strands.spawn(async move {
            let mut said = Vec::new();
            for _ in 0..rounds {
                said.push(theirs(client.clone(), script).await);
            }
            said
        });
    }
    let theirs = strands.join_all().await.concat();
    assert_eq!(theirs.len(), rounds * script_names().count());
    while server.open_runs() > 0 {
        tokio::task::yield_now().await;
    }
    let ours = ours_of(server, server.finished_runs().len()).await;
    for (id, said) in &theirs {
        assert_eq!(ours.get(id), Some(said), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_run_on_the_simulated_server_is_summed_up_as_the_sdk_does() {
    let (server, client) = start(settings()).await;
    compare(&server, &client, ROUNDS).await;
    let statuses: BTreeSet<_> = (server.finished_runs().iter())
        .map(|run| run.status.as_str())
        .collect();
    assert!(statuses.contains("completed") && statuses.contains("failed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_survives_what_it_can_and_so_do_we() {
    let shape = Malformation::WrongShape;
    let ends = LineEnds::Crlf;
    for misbehaviours in [
        vec![Misbehaviour::LineEnds { ends }],
        vec![Misbehaviour::Split { bytes: 9 }],
        vec![
            Misbehaviour::Malformed { every: 3, shape },
            Misbehaviour::Unknown { every: 5 },
        ],
        vec![
            Misbehaviour::NoSeq { on: true },
            Misbehaviour::NoFrameIds { on: true },
        ],
        vec![Misbehaviour::SlowRest { ms: 20 }],
        // Not before its first cursor: without one it starts anew, and waits for
        // ever for what it missed.
        vec![
            Misbehaviour::CutAfter { bytes: 4_999 },
            Misbehaviour::CutAfter { bytes: 6_001 },
            Misbehaviour::CutAfter { bytes: 7_002 },
        ],
    ] {
        let is_cut = |one: &&Misbehaviour| matches!(one, Misbehaviour::CutAfter { .. });
        let cuts = misbehaviours.iter().filter(is_cut).count() as u64;
        let mut settings = settings();
        // A run that fails early may be over before the cut.
        settings.workload.failure_share = 0.0;
        settings.misbehaviours = misbehaviours;
        settings.feed.batch_events_max = 4;
        let (server, client) = start(settings).await;
        compare(&server, &client, 1).await;
        // One feed a run, and ours; one more for each that was cut. One may have
        // been cut that had all of its run: a summary from the cache is short.
        let again = server.feeds_opened() - script_names().count() as u64 - 1;
        let expected = cuts.saturating_sub(1)..=cuts;
        assert!(expected.contains(&again), "{again} came back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_begin_again_after_a_crash_are_summed_up_as_the_sdk_does() {
    let mut settings = settings();
    settings.workload.speed = 100.0;
    settings.workload.failure_share = 0.0;
    settings.feed.batch_events_max = 4;
    let (server, client) = start(settings).await;
    let runs: Vec<_> = ["review", "research", "analyse_sales"]
        .map(|script| tokio::spawn(theirs(client.clone(), script)))
        .into();
    server.wait_for_feeds(3).await;
    server.wait_for_events(60).await;
    let crash = Misbehaviour::Restart { ms: 10 };
    server.misbehave(&crash).unwrap();
    let mut said = Vec::new();
    for run in runs {
        said.push(run.await.unwrap());
    }
    let ours = ours_of(&server, said.len()).await;
    assert_eq!(ours, said.into_iter().collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_hears_every_event_of_the_project() {
    let (server, client) = start(settings()).await;
    let events = client.project(1).events();
    let (mut heard, _subscription) = events.event_stream(None).await.unwrap();
    server.wait_for_feeds(1).await;
    for script in script_names() {
        let id = server.start_run(script).unwrap();
        server.wait_for_run(&id).await;
    }
    for _ in 0..server.events() {
        let event = heard.recv().await.unwrap();
        assert!(matches!(event, HubEvent::Execution { .. }), "{event:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_reads_about_runs_what_the_feed_told_of_them() {
    let mut settings = settings();
    settings.workload.failure_share = 0.0;
    let (server, client) = start(settings).await;
    let scoped = client.project(1).executions();
    let (id, output) = (scoped.run("release_notes").triggered_by("ines"))
        .channel("canary")
        .execute_and_await(Some(60_000))
        .await
        .unwrap();
    assert_eq!(output.status, "completed");

    let executions = client.executions();
    let row = executions.get(&id).await.unwrap().unwrap();
    assert_eq!((row.status.as_str(), row.project_id), ("completed", 1));
    assert_eq!(row.triggered_by.as_deref(), Some("ines"));
    assert_eq!(row.channel.as_deref(), Some("canary"));
    assert_eq!(row.result, output.result);

    let tasks = executions.tasks(&id).await.unwrap().unwrap().tasks;
    let spent: i64 = tasks.iter().map(|task| task.input_tokens).sum();
    assert_eq!(spent, row.input_tokens);

    let mut events = Vec::new();
    let mut after = None;
    loop {
        let page = executions
            .get_events(&id, after, Some(11), None)
            .await
            .unwrap()
            .unwrap();
        events.extend(page.events);
        after = page.next_after_id;
        if !page.has_more {
            assert!(page.complete);
            break;
        }
    }
    let finished = server.finished_runs();
    let known = finished.iter().find(|run| run.execution_id == id).unwrap();
    assert_eq!(events.len(), known.events);

    let children = executions.children(&id).await.unwrap();
    assert!(finished.len() == 1 + children.len());
    let listed = scoped
        .list("release_notes")
        .status("completed")
        .fetch()
        .await
        .unwrap();
    assert_eq!(listed.len(), 1);
    assert!(
        executions
            .get("6513270e-0000-4000-8000-000000000000")
            .await
            .unwrap()
            .is_none()
    );
    let projects = client.projects().list().await.unwrap();
    assert_eq!(projects.len(), 1);
    assert_eq!(client.project(1).scripts().list().await.unwrap().len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_stops_and_answers_runs() {
    let mut settings = settings();
    settings.workload.speed = 20.0;
    settings.workload.failure_share = 0.0;
    let (server, client) = start(settings).await;
    let scoped = client.project(1).executions();
    let id = scoped
        .run("nightly_digest")
        .execute()
        .await
        .unwrap()
        .execution_id;
    let waiting = scoped.await_execution(&id, None, Some(5)).await.unwrap();
    assert_eq!(waiting.status, "suspended");
    let events = scoped
        .get_events(&id, None, None, Some("Suspended"))
        .await
        .unwrap()
        .unwrap();
    let token = serde_json::to_value(&events.events[0]).unwrap()["payload"]["token"].clone();
    let answer = serde_json::json!({"approved": true});
    scoped
        .resume(&id, token.as_str().unwrap(), answer)
        .await
        .unwrap();
    assert!(scoped.cancel(&id).await.unwrap());
    server.wait_for_run(&id).await;
    let error = scoped
        .await_execution(&id, None, Some(5))
        .await
        .unwrap_err();
    assert!(matches!(error, AkribesError::Script { .. }), "{error:?}");
    assert!(!scoped.cancel(&id).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_reach_the_sdk_as_what_they_are() {
    let (server, client) = start(settings()).await;
    let refuse = |status| {
        let answer = Misbehaviour::Answer {
            status,
            retry_after: Some(3),
            requests: Some(1),
            to: Requests::Rest,
        };
        server.misbehave(&answer).unwrap();
    };
    refuse(429);
    match client.projects().list().await.unwrap_err() {
        AkribesError::Transient {
            retry_after,
            status,
            ..
        } => {
            assert_eq!(
                (retry_after, status),
                (Some(Duration::from_secs(3)), Some(429))
            );
        }
        other => panic!("{other:?}"),
    }
    refuse(401);
    let error = client.projects().list().await.unwrap_err();
    assert!(matches!(error, AkribesError::Fatal { .. }), "{error:?}");
    let stranger = AkribesClient::builder(server.url())
        .name("peer")
        .token("wrong")
        .build();
    let error = stranger.projects().list().await.unwrap_err();
    assert!(matches!(error, AkribesError::Fatal { .. }), "{error:?}");
}
