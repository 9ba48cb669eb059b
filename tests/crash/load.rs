//! The server and its runs: many short ones of all scripts, for as long as a
//! test wants.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use runtrail::sim::settings::{FeedSettings, SimBounds};
use runtrail::sim::workload::{Arrivals, WorkloadSettings, script_names};
use runtrail::sim::{SimHandle, SimServer, SimSettings};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The projects to which the scripts are dealt out.
pub(crate) const PROJECTS: &str = "1,2";

/// What the runs are like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) seed: u64,
    /// How much faster than in earnest.
    pub(crate) speed: f64,
    pub(crate) chunks_per_second: f64,
    /// The least size of a piece of an answer.
    pub(crate) chunk_bytes_min: usize,
    pub(crate) open_most: usize,
}

/// A server that forgets nothing.
pub(crate) async fn server(pace: Pace) -> Arc<SimHandle> {
    let settings = SimSettings {
        workload: WorkloadSettings {
            seed: pace.seed,
            arrivals: Arrivals::None,
            speed: pace.speed,
            projects: 2,
            failure_share: 0.15,
            chunks_per_second: pace.chunks_per_second,
            chunk_bytes_min: pace.chunk_bytes_min,
            ..WorkloadSettings::default()
        },
        feed: FeedSettings {
            batch_wait: Duration::from_millis(5),
            batch_events_max: 16,
            ..FeedSettings::default()
        },
        bounds: SimBounds {
            finished_runs_max: usize::MAX,
            run_logs_bytes_max: usize::MAX,
            feed_log_bytes_max: usize::MAX,
            ..SimBounds::default()
        },
        ..SimSettings::default()
    };
    Arc::new(SimServer::start(settings).await.unwrap())
}

/// Runs that begin one after the other, until it is told to stop.
pub(crate) struct Load {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Load {
    pub(crate) fn on(server: &Arc<SimHandle>, pace: Pace) -> Self {
        let (stop, mut stopped) = watch::channel(false);
        let server = Arc::clone(server);
        let task = tokio::spawn(async move {
            let scripts: Vec<_> = script_names().collect();
            let mut rng = Rng::with_seed(pace.seed);
            let gap = Duration::from_millis(5);
            while tokio::time::timeout(gap, stopped.changed()).await.is_err() {
                if server.open_runs() < pace.open_most {
                    server.start_run(scripts[rng.usize(..scripts.len())]);
                }
            }
        });
        Self { stop, task }
    }

    /// No run begins any more.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap();
    }
}
