//! All that there is: three systems that are watched, and those who watch.
//!
//! - `busy` has all workflows but one, of which some runs fail; its backend can
//!   go away for a while.
//! - `failing` has one workflow, and every run of it fails; its backend refuses
//!   every span, and its feed is not free of faults.
//! - `waiting` has one run, which has been waiting for a person for days.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use runtrail::net::clock;
use runtrail::sim::misbehaviour::{Malformation, Misbehaviour};
use runtrail::sim::settings::Recording;
use runtrail::sim::workload::{Arrivals, WorkloadSettings, script_names};
use runtrail::sim::{SimHandle, SimServer, SimSettings};
use serde_json::json;
use tempfile::TempDir;

use crate::pager::Pager;
use crate::peers::{Alertmanager, Duties, Peers, Prometheus};
use crate::program::Program;
use crate::receiver::{Receiver, Reply, Wire};

/// The workflow of which every run fails.
pub(crate) const FAILING: &str = "release_notes";
/// The workflow that waits.
pub(crate) const WAITING: &str = "contract_review";

/// The failing one asks its server for no cost, and does not know all prices.
const PRICES: &str = "\
enrich: false
prices:
  taken: 2026-05-01
  models:
    - { model: claude-*, input: 1, output: 5, cache_read: 0.1 }
";

const HOUR: Duration = Duration::from_secs(3_600);

/// How fast all goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// How much faster than in earnest.
    pub(crate) speed: f64,
    pub(crate) runs_per_minute: f64,
    /// The part of the busy one's runs that fail.
    pub(crate) failure_share: f64,
    pub(crate) chunks_per_second: f64,
    /// How often Prometheus scrapes.
    pub(crate) scrape_every: &'static str,
}

/// A server, the program beside it, and the backend of its traces.
pub(crate) struct Watched {
    /// What its instance is called.
    pub(crate) name: &'static str,
    pub(crate) server: SimHandle,
    pub(crate) program: Program,
    pub(crate) backend: Receiver,
    backend_is_away: Arc<AtomicBool>,
    _dir: TempDir,
}

/// All of it. What ends first stands first.
pub(crate) struct World {
    pub(crate) prometheus: Prometheus,
    _alertmanager: Alertmanager,
    pub(crate) pager: Pager,
    pub(crate) busy: Watched,
    pub(crate) failing: Watched,
    _waiting: Watched,
}

impl World {
    pub(crate) async fn start(peers: &Peers, pace: Pace, rules: &str) -> Self {
        let busy = Watched::start("busy", busy(pace), Reply::Take, "").await;
        let failing = Watched::start("failing", failing(pace), Reply::status(400), PRICES).await;
        let waiting = Watched::start("waiting", waiting(), Reply::Take, "").await;
        let targets = [&busy, &failing, &waiting].map(|one| (one.name, one.metrics()));
        let pager = Pager::start();
        let alertmanager = Alertmanager::start(peers, pager.addr);
        let duties = Duties {
            targets: &targets,
            rules,
            alertmanager: &alertmanager,
            every: pace.scrape_every,
        };
        let prometheus = Prometheus::start(peers, &duties);
        Self {
            prometheus,
            _alertmanager: alertmanager,
            pager,
            busy,
            failing,
            _waiting: waiting,
        }
    }
}

impl Watched {
    async fn start(name: &'static str, settings: SimSettings, reply: Reply, config: &str) -> Self {
        let server = SimServer::start(settings).await.unwrap();
        let backend_is_away = Arc::new(AtomicBool::new(false));
        let away = Arc::clone(&backend_is_away);
        let backend = Receiver::scripted(Wire::Http, move |_| match away.load(Ordering::Relaxed) {
            true => Reply::status(503),
            false => reply.clone(),
        });
        let backend = backend.await;
        let dir = TempDir::with_prefix("runtrail-watched-").unwrap();
        let [store, file] = ["store", "config.yaml"].map(|name| dir.path().join(name));
        std::fs::write(&file, config).unwrap();
        let variables = [
            ("AKRIBES_URL", &*server.url()),
            ("AKRIBES_TOKEN", server.token().unwrap()),
            ("RUNTRAIL_LISTEN_METRICS", "127.0.0.1:0"),
            ("RUNTRAIL_LISTEN_LOCAL", "127.0.0.1:0"),
            ("RUNTRAIL_CONFIG", file.to_str().unwrap()),
            ("RUNTRAIL_STORE_DIR", store.to_str().unwrap()),
            ("RUNTRAIL_STORE_CHECKPOINT_EVERY", "5s"),
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                &*format!("http://{}", backend.addr),
            ),
        ];
        let program = Program::start(&["run"], &variables);
        Self {
            name,
            server,
            program,
            backend,
            backend_is_away,
            _dir: dir,
        }
    }

    pub(crate) fn metrics(&self) -> SocketAddr {
        let [metrics, _] = self.program.listeners();
        metrics
    }

    pub(crate) fn backend_is_away(&self, is_away: bool) {
        self.backend_is_away.store(is_away, Ordering::Relaxed);
    }
}

fn busy(pace: Pace) -> SimSettings {
    let scripts = script_names().filter(|name| *name != FAILING);
    SimSettings {
        workload: WorkloadSettings {
            arrivals: Arrivals::PerMinute(pace.runs_per_minute),
            speed: pace.speed,
            scripts: scripts.map(str::to_owned).collect(),
            failure_share: pace.failure_share,
            chunks_per_second: pace.chunks_per_second,
            projects: 2,
            ..WorkloadSettings::default()
        },
        waits_for_feed: true,
        ..SimSettings::default()
    }
}

fn failing(pace: Pace) -> SimSettings {
    SimSettings {
        workload: WorkloadSettings {
            arrivals: Arrivals::PerMinute(pace.runs_per_minute / 10.0),
            speed: pace.speed,
            scripts: vec![FAILING.to_owned()],
            failure_share: 1.0,
            ..WorkloadSettings::default()
        },
        waits_for_feed: true,
        misbehaviours: vec![Misbehaviour::Malformed {
            every: 100,
            shape: Malformation::default(),
        }],
        ..SimSettings::default()
    }
}

/// A feed that was written down three days ago, and is still open.
fn waiting() -> SimSettings {
    let begin = clock::now().minus(72 * HOUR);
    let suspended = json!({
        "checkpoint_name": "sign", "token": "t-1", "prompt": "May this be signed?",
        "schema": {"type": "boolean"}, "actor_hint": "Human", "timeout_secs": null,
        "trigger": {"kind": "DagPosition"},
    });
    let events = [("WorkflowStart", json!(1)), ("Suspended", suspended)];
    let mut elements = Vec::new();
    for (seq, (kind, payload)) in (1_u64..).zip(events) {
        let at = begin.plus(Duration::from_secs(seq)).to_rfc3339();
        elements.push(json!({"type": "Execution", "payload": {
            "project_id": 2, "script_name": WAITING,
            "execution_id": "0b1f0a34-7d0e-4a5c-9b7e-2f8c1d6e5a01",
            "event": {"type": kind, "payload": payload}, "seq": seq, "at": at,
        }}));
    }
    let feed = format!(
        ": connected\n\nevent: batch\ndata: {}\nid: 2\n\n",
        json!(elements)
    );
    SimSettings {
        recording: Some(Recording {
            bytes: Bytes::from(feed),
            stays_open: true,
        }),
        ..SimSettings::default()
    }
}
