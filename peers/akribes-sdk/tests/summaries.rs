//! Runtrail's summaries against those of the Akribes SDK, over the same bytes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this file is a test"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use akribes_sdk::{AkribesClient, AkribesError};
use akribes_types::error::ErrorKind;
use runtrail::core::{Core, CoreSettings, Selection};
use runtrail::limits::Limits;
use runtrail::trace::batch::ResourceInfo;
use runtrail::trace::content::ContentPolicy;
use runtrail::trace::span::TraceSettings;
use runtrail_peer_akribes_sdk::events::Ending;
use runtrail_peer_akribes_sdk::feed::Feed;
use runtrail_peer_akribes_sdk::server::Server;
use serde_json::Value;
use tokio::task::JoinSet;

const SEEDS: u64 = 400;
const AT_ONCE: u64 = 16;

/// What both sides can say of a run.
#[derive(Debug, Clone, PartialEq)]
enum Said {
    Result(Box<Numbers>),
    Failed {
        message: String,
        outcome: &'static str,
    },
    Abandoned,
}

#[derive(Debug, Clone, PartialEq)]
struct Numbers {
    output: Value,
    by_model: Option<BTreeMap<String, u128>>,
    per_task_ms: BTreeMap<String, u128>,
    /// Passed, failed, total.
    tasks: [u64; 3],
}

fn named<N: Into<u128>>(
    map: impl IntoIterator<Item = (impl AsRef<str>, N)>,
) -> BTreeMap<String, u128> {
    let pairs = map
        .into_iter()
        .map(|(name, n)| (name.as_ref().to_owned(), n.into()));
    pairs.collect()
}

/// What the SDK says. It does not tell how a run failed but for a class of errors,
/// so that the outcome comes from the kind of error that was sent.
async fn theirs(client: AkribesClient, feed: &Feed) -> Said {
    let executions = client.project(feed.project).executions();
    let stream = executions
        .run_stream(executions.run(&feed.script))
        .await
        .unwrap();
    assert_eq!(stream.execution_id, feed.execution_id);
    let message = match stream.summary().await {
        Ok(summary) => {
            assert_eq!(summary.execution_id, feed.execution_id);
            let tasks = summary.tasks;
            return Said::Result(Box::new(Numbers {
                output: summary.output,
                by_model: summary.cost.map(|cost| named(cost.by_model)),
                per_task_ms: named(summary.duration.per_task_ms),
                tasks: [tasks.passed, tasks.failed, tasks.total].map(|n| n as u64),
            }));
        }
        Err(AkribesError::Other(message)) => {
            assert!(
                message.ends_with("ended without a terminal event"),
                "{message}"
            );
            return Said::Abandoned;
        }
        Err(
            AkribesError::Script { message, .. }
            | AkribesError::Fatal { message, .. }
            | AkribesError::Transient { message, .. },
        ) => message,
        Err(other) => panic!("the SDK has lost its way: {other:?}"),
    };
    let outcome = match feed.ending {
        Ending::Error(ErrorKind::Cancelled) => "cancelled",
        Ending::Error(ErrorKind::Timeout) => "timeout",
        Ending::Error(_) => "error",
        Ending::Result | Ending::None => panic!("no error was sent, but the SDK says {message:?}"),
    };
    Said::Failed { message, outcome }
}

/// What runtrail says.
fn ours<'c>(feed: &Feed, chunks: impl IntoIterator<Item = &'c [u8]>) -> Option<Said> {
    let limits = Limits::default();
    let mut core = Core::new(CoreSettings {
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
        markers: true,
        repair: false,
        enrich: false,
        prices: None,
        feeds: vec![None],
        selection: Selection::default(),
        limits,
    })
    .unwrap();
    for chunk in chunks {
        core.handle_bytes(0, chunk, None);
        while core.poll_batch().is_some() {}
    }
    core.handle_end_of_input(0, None);
    core.handle_end_of_runs();
    let summaries = std::iter::from_fn(|| core.poll_summary());
    let mut summaries = summaries.filter(|summary| *summary.execution_id == *feed.execution_id);
    let summary = summaries.next()?;
    assert!(summaries.next().is_none(), "a run has one summary");
    Some(match summary.outcome {
        "success" => Said::Result(Box::new(Numbers {
            output: summary.output.map_or(Value::Null, |json| {
                serde_json::from_str(json.get()).unwrap()
            }),
            by_model: summary.cost.map(|cost| named(cost.by_model)),
            per_task_ms: named(summary.duration.per_task_ms),
            tasks: [
                summary.tasks.passed,
                summary.tasks.failed,
                summary.tasks.total,
            ],
        })),
        "abandoned" => Said::Abandoned,
        outcome => Said::Failed {
            message: summary.error.unwrap().message,
            outcome,
        },
    })
}

async fn served(seeds: impl IntoIterator<Item = u64>) -> (Vec<Arc<Feed>>, AkribesClient) {
    let feeds: Vec<_> = seeds
        .into_iter()
        .map(|seed| Arc::new(Feed::from_seed(seed)))
        .collect();
    let server = Server::start(feeds.iter().cloned()).await.unwrap();
    let client = AkribesClient::builder(server.url())
        .name("peer")
        .token("t")
        .build();
    (feeds, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_run_is_summed_up_as_the_sdk_does() {
    let (feeds, client) = served(0..SEEDS).await;
    let mut strands = JoinSet::new();
    for first in 0..AT_ONCE {
        let (feeds, client) = (feeds.clone(), client.clone());
        strands.spawn(async move {
            let mut differences = Vec::new();
            for seed in (first..SEEDS).step_by(AT_ONCE as usize) {
                let feed = &feeds[seed as usize];
                let theirs = theirs(client.clone(), feed).await;
                let ours = ours(feed, feed.chunks.iter().map(Vec::as_slice));
                if ours.as_ref() != Some(&theirs) {
                    differences.push(format!("seed {seed}:\n  SDK: {theirs:?}\n  ours: {ours:?}"));
                }
            }
            differences
        });
    }
    let differences = strands.join_all().await.concat();
    let count = differences.len();
    assert!(
        count == 0,
        "{count} of {SEEDS} differ:\n{}",
        differences.join("\n")
    );
}

/// The places of the digits of all whole seconds that are written plainly.
fn digits_of_seconds(bytes: &[u8]) -> Vec<usize> {
    const NAME: &[u8] = b"\"secs\":";
    (NAME.len()..bytes.len())
        .filter(|at| bytes[at - NAME.len()..*at] == *NAME && bytes[*at].is_ascii_digit())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_wrong_digit_in_a_duration_is_a_difference() {
    let (feeds, client) = served(0..6).await;
    let mut seen = 0;
    for feed in &feeds {
        let theirs = theirs(client.clone(), feed).await;
        let bytes = feed.bytes();
        assert_eq!(ours(feed, [&*bytes]), Some(theirs.clone()));
        seen += digits_of_seconds(&bytes)
            .into_iter()
            .filter(|at| {
                let mut flipped = bytes.clone();
                flipped[*at] ^= 1;
                ours(feed, [&*flipped]) != Some(theirs.clone())
            })
            .count();
    }
    assert!(seen >= 5, "{seen} flipped digits were seen");
}

/// The generator may change, but not so far that a case is not there any more.
#[test]
fn the_feeds_have_every_kind_of_case() {
    let feeds: Vec<_> = (0..SEEDS).map(Feed::from_seed).collect();
    let said: Vec<_> = feeds
        .iter()
        .filter_map(|feed| ours(feed, [&*feed.bytes()]))
        .collect();
    let count = |is: &dyn Fn(&Said) -> bool| said.iter().filter(|said| is(said)).count();
    let numbers = |is: &dyn Fn(&Numbers) -> bool| {
        count(&|said| matches!(said, Said::Result(numbers) if is(numbers)))
    };
    let failed =
        |how: &str| count(&|said| matches!(said, Said::Failed { outcome, .. } if *outcome == how));
    let cut_within_a_character = |feed: &&Feed| {
        let mut chunks = feed.chunks.iter().skip(1);
        chunks.any(|chunk| chunk.first().is_some_and(|byte| byte & 0xC0 == 0x80))
    };
    let cases = [
        ("no cost", numbers(&|n| n.by_model.is_none())),
        ("a cost", numbers(&|n| n.by_model.is_some())),
        (
            "no name of a model",
            numbers(&|n| {
                n.by_model
                    .as_ref()
                    .is_some_and(|models| models.contains_key("unknown"))
            }),
        ),
        ("tasks that failed", numbers(&|n| n.tasks[1] > 0)),
        ("no tasks", numbers(&|n| n.tasks[2] == 0)),
        ("an object", numbers(&|n| n.output.is_object())),
        ("null", numbers(&|n| n.output.is_null())),
        ("an error", failed("error")),
        ("cancelled", failed("cancelled")),
        ("timeout", failed("timeout")),
        ("abandoned", count(&|said| *said == Said::Abandoned)),
        (
            "a character in two",
            feeds.iter().filter(cut_within_a_character).count(),
        ),
    ];
    for (case, count) in cases {
        assert!(count >= 3, "{case}: {count}");
    }
}
