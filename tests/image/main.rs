//! The image as the manifest of the stand-alone pod runs it: as 65532, without
//! capabilities, on a read-only root, with a volume for the store and a limit of
//! memory. `tests/image/build` builds it, and `./test` says how it can be started.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

#[path = "../common/mod.rs"]
mod common;
mod names;
mod pod;
#[path = "../program/mod.rs"]
mod program;
#[path = "../receiver/mod.rs"]
mod receiver;
#[path = "../scripted/mod.rs"]
mod scripted;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use runtrail::sim::workload::{Arrivals, WorkloadSettings};
use runtrail::sim::{SimServer, SimSettings};

use self::common::{batch, end, hub, opening, task_end, text};
use self::names::Names;
use self::pod::{Pod, USER};
use self::program::eventually;
use self::receiver::tls::Authority;
use self::receiver::{Receiver, Wire, hex};
use self::scripted::{Server, only_feeds, soon};

/// As many runs as may be open.
const OPEN_RUNS: u32 = 10_000;

/// Runs that begin by themselves, and so many of them at once.
const RUNS: u64 = 1_200;
const RUNS_AT_ONCE: usize = 300;

fn busy_server() -> SimSettings {
    SimSettings {
        waits_for_feed: true,
        workload: WorkloadSettings {
            arrivals: Arrivals::AtOnce(RUNS_AT_ONCE),
            runs_total: RUNS,
            speed: 60.0,
            ..WorkloadSettings::default()
        },
        ..SimSettings::default()
    }
}

/// The trace ids of all roots that were taken, each of which came once.
fn roots(receiver: &Receiver) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    let mut roots = BTreeSet::new();
    for received in receiver.received() {
        for span in received.spans() {
            let id = (span.trace_id.clone(), span.span_id.clone());
            assert!(ids.insert(id), "{} came twice", span.name);
            if span.parent_span_id.is_empty() {
                roots.insert(hex(&span.trace_id));
            }
        }
    }
    roots
}

/// Everything below a directory belongs to the user, and to nobody else.
fn belongs_to_the_user(dir: &Path) -> usize {
    let entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let of_entry = |path: std::path::PathBuf| {
        let about = fs::symlink_metadata(&path).unwrap();
        assert_eq!(about.uid(), USER, "{}", path.display());
        assert_eq!(
            about.mode() & 0o077,
            0,
            "{}: {:o}",
            path.display(),
            about.mode()
        );
        if about.is_dir() {
            belongs_to_the_user(&path)
        } else {
            1
        }
    };
    entries.map(of_entry).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_and_through_a_restart_it_delivers_every_run_as_the_manifest_has_it() {
    let server = SimServer::start(busy_server()).await.unwrap();
    let receiver = Receiver::start(Wire::Http).await;
    let Some(pod) = Pod::between(&server.url(), &format!("http://{}", receiver.addr)) else {
        return;
    };
    pod.mount("token", server.token().unwrap());

    let first = pod.run("first");
    first.is_as_the_manifest_wants_it();
    let healthy = pod.ask("health", &["health"]);
    assert_eq!(healthy.code, Some(0), "{}", healthy.text);
    server.wait_for_finished(RUNS as usize / 3).await;
    let finished = || pod.counted("runtrail_runs_finished_total");
    eventually("runs are counted", || (finished() > 0).then_some(()));
    let ended = first.terminate(pod.grace()).await;
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert!(belongs_to_the_user(&pod.volume.path().join("store")) > 0);

    let unhealthy = pod.ask("ill", &["health"]);
    assert_eq!(unhealthy.code, Some(1), "{}", unhealthy.text);
    let second = pod.run("second");
    server.wait_until_idle().await;
    let expected: BTreeSet<_> = server
        .finished_runs()
        .iter()
        .map(|run| run.execution_id.replace('-', ""))
        .collect();
    assert!(expected.len() as u64 >= RUNS);
    eventually("each run has its root", || {
        (roots(&receiver) == expected).then_some(())
    });
    eventually("both lives count together", || {
        (finished() == expected.len() as u64).then_some(())
    });
    let ended = second.terminate(pod.grace()).await;
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert_eq!(roots(&receiver), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_as_many_open_runs_as_may_be_it_stays_within_the_memory_of_the_manifest() {
    let server = Server::new().await;
    let receiver = Receiver::start(Wire::Http).await;
    let backend = format!("http://{}", receiver.addr);
    let Some(mut pod) = Pod::between(server.url().as_str(), &backend) else {
        return;
    };
    pod.mount("token", "any");
    pod.add("RUNTRAIL_CAPTURE_CONTENT", "true");
    let mut feeds = only_feeds(server);
    let container = pod.run("full");
    let mut feed = soon(feeds.recv()).await.unwrap();
    // Three times what all open runs together may hold of texts.
    let texts: Vec<String> = (0..8).map(|n| text(n, 2_500)).collect();
    for run in 0..OPEN_RUNS {
        let said = opening(run, &texts);
        let said: Vec<_> = said.iter().map(|event| hub(run, run, event)).collect();
        feed.send(batch(&said)).await;
    }
    eventually("all are open", || {
        (pod.counted("runtrail_runs_open") == u64::from(OPEN_RUNS)).then_some(())
    });
    let open = container.peak_bytes();
    for run in 0..OPEN_RUNS {
        let said = [task_end("write"), end()].map(|event| hub(run, run, &event));
        feed.send(batch(&said)).await;
    }
    eventually("each has its root", || {
        (roots(&receiver).len() == OPEN_RUNS as usize).then_some(())
    });
    let peak = container.peak_bytes();
    println!(
        "{} MiB resident when all were open, {} at most",
        open >> 20,
        peak >> 20
    );
    assert!(peak < pod.memory_bytes(), "{peak}");
    let ended = container.terminate(pod.grace()).await;
    assert_eq!(ended.code, Some(0), "{}", ended.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_finds_server_and_backend_by_the_names_of_a_cluster_and_trusts_an_authority_of_ours() {
    let server = SimServer::start(SimSettings {
        waits_for_feed: true,
        workload: WorkloadSettings {
            arrivals: Arrivals::AtOnce(1),
            runs_total: 1,
            speed: 600.0,
            ..WorkloadSettings::default()
        },
        ..SimSettings::default()
    });
    let server = server.await.unwrap();
    let authority = Authority::new();
    let receiver = Receiver::over_tls(Wire::Grpc, authority.server("collector.telemetry")).await;
    let names = Names::serve(&[
        "akribes.flows.svc.cluster.local",
        "collector.telemetry.svc.cluster.local",
    ]);
    let port = server.url().rsplit(':').next().unwrap().to_owned();
    let Some(mut pod) = Pod::between(
        &format!("http://akribes:{port}"),
        &format!("https://collector.telemetry:{}", receiver.addr.port()),
    ) else {
        return;
    };
    pod.mount("token", server.token().unwrap());
    let trusted = fs::read_to_string(authority.client().ca_file.unwrap()).unwrap();
    let trusted = pod.mount("ca.pem", &trusted);
    pod.add("OTEL_EXPORTER_OTLP_CERTIFICATE", &trusted);
    pod.add("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    pod.resolves_by(&names.resolver());
    let container = pod.run("named");
    server.wait_for_finished(1).await;
    eventually("its root has come", || {
        (roots(&receiver).len() == 1).then_some(())
    });
    let asked = names.asked();
    assert!(
        asked.contains("akribes.flows.svc.cluster.local"),
        "{asked:?}"
    );
    let ended = container.terminate(pod.grace()).await;
    assert_eq!(ended.code, Some(0), "{}", ended.text);
}
