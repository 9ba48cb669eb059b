//! The simulated server, as a client sees it over a socket.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod client;
mod command;
mod feed;
mod misbehaviours;
mod recording;
mod rest;

use std::time::Duration;

use runtrail::net::secret::Secret;
use runtrail::sim::settings::{FeedSettings, SimSettings, SimToken};
use runtrail::sim::workload::{Arrivals, WorkloadSettings};
use runtrail::sim::{SimHandle, SimServer};

/// A server whose runs are over at once, and begin only when they are asked for.
pub(crate) fn settings() -> SimSettings {
    SimSettings {
        workload: WorkloadSettings {
            arrivals: Arrivals::None,
            speed: 2_000.0,
            failure_share: 0.0,
            chunks_per_second: 5_000.0,
            ..WorkloadSettings::default()
        },
        feed: FeedSettings {
            batch_wait: Duration::from_millis(2),
            ..FeedSettings::default()
        },
        ..SimSettings::default()
    }
}

/// The same with runs that stay where they are for a while.
pub(crate) fn slow_settings() -> SimSettings {
    let mut settings = settings();
    settings.workload.speed = 0.05;
    settings
}

pub(crate) async fn start(settings: SimSettings) -> SimHandle {
    SimServer::start(settings)
        .await
        .expect("the settings are sound")
}

/// One run of a script, begun and over.
pub(crate) async fn run(server: &SimHandle, script: &str) -> String {
    let id = server.start_run(script).expect("there is such a script");
    server.wait_for_run(&id).await;
    id
}

pub(crate) fn token(token: &str, projects: Option<&[i64]>) -> SimToken {
    SimToken {
        token: Secret::new(token),
        projects: projects.map(<[i64]>::to_vec),
    }
}
