//! What a simulated server is to be like.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;

use super::misbehaviour::{Misbehaviour, MisbehaviourError};
use super::workload::{Arrivals, WorkloadSettings, script_names};
use crate::net::secret::Secret;

/// The token of a server that was given none. It opens a made-up server only.
pub const DEFAULT_TOKEN: &str = "sim-token";

/// What a simulated server is to be like. The default is that of the demo: a
/// steady, varied stream of runs, ten times as fast as in earnest.
#[derive(Debug, Clone)]
pub struct SimSettings {
    /// Where it listens; port 0 is any that is free.
    pub listen: SocketAddr,
    /// Who may read what; empty is everybody, everything.
    pub tokens: Vec<SimToken>,
    /// Whether `/_sim/` answers: to whoever can reach the port, without a token.
    pub control: bool,
    /// What runs there are.
    pub workload: WorkloadSettings,
    /// Whether the first run begins only once somebody listens.
    pub waits_for_feed: bool,
    /// How the feed tells of them.
    pub feed: FeedSettings,
    /// Whether a run's durable log keeps the pieces of answers.
    pub log_keeps_chunks: bool,
    /// What it keeps.
    pub bounds: SimBounds,
    /// How it misbehaves from the beginning.
    pub misbehaviours: Vec<Misbehaviour>,
    /// Instead of its own feed: bytes of a recorded one, as fast as they are taken.
    pub recording: Option<Recording>,
}

/// A token, and what it opens.
#[derive(Debug, Clone)]
pub struct SimToken {
    /// The token.
    pub token: Secret,
    /// The projects that it reaches; `None` is all.
    pub projects: Option<Vec<i64>>,
}

/// How the feed tells of runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedSettings {
    /// How long events are gathered before a frame goes out.
    pub batch_wait: Duration,
    /// Events in one frame.
    pub batch_events_max: usize,
    /// The silence after which it says that it is still there.
    pub keep_alive: Duration,
    /// Whether it goes on after a client's `Last-Event-ID`, as far back as it
    /// can; otherwise it begins with what happens next.
    pub replays: bool,
    /// Events by which a client may be behind; a slower one misses some, and is told.
    pub behind_events_max: u64,
}

/// What a simulated server keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimBounds {
    /// Connections at once.
    pub connections_max: usize,
    /// Runs open at once; further ones begin later, or are refused.
    pub open_runs_max: usize,
    /// Finished runs; beyond it the oldest are forgotten.
    pub finished_runs_max: usize,
    /// The logs of all runs. Beyond it finished runs are forgotten, and then no
    /// more pieces of answers are kept.
    pub run_logs_bytes_max: usize,
    /// What a client can go back to with `Last-Event-ID`.
    pub feed_log_bytes_max: usize,
}

/// A recorded feed that is served instead of a live one.
#[derive(Debug, Clone)]
pub struct Recording {
    /// The bytes of the feed.
    pub bytes: Bytes,
    /// Whether the connection stays open at its end.
    pub stays_open: bool,
}

impl Default for SimSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tokens: vec![SimToken {
                token: Secret::new(DEFAULT_TOKEN),
                projects: None,
            }],
            control: false,
            workload: WorkloadSettings::default(),
            waits_for_feed: false,
            feed: FeedSettings::default(),
            log_keeps_chunks: true,
            bounds: SimBounds::default(),
            misbehaviours: Vec::new(),
            recording: None,
        }
    }
}

impl Default for FeedSettings {
    fn default() -> Self {
        Self {
            batch_wait: Duration::from_millis(50),
            batch_events_max: 256,
            keep_alive: Duration::from_secs(15),
            replays: true,
            behind_events_max: 16_384,
        }
    }
}

impl Default for SimBounds {
    fn default() -> Self {
        Self {
            connections_max: 1_024,
            open_runs_max: 10_000,
            finished_runs_max: 2_000,
            run_logs_bytes_max: 256 << 20,
            feed_log_bytes_max: 64 << 20,
        }
    }
}

/// What was asked for cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SimSettingsError {
    /// There is no such script.
    #[error("there is no script {0:?}: known are {known}", known = script_names().collect::<Vec<_>>().join(", "))]
    UnknownScript(String),
    /// A number is out of its range.
    #[error("{what} must be {range}, not {given}")]
    OutOfRange {
        /// Which number.
        what: &'static str,
        /// What it may be.
        range: &'static str,
        /// What it is.
        given: f64,
    },
    /// `/_sim/` would be open to others.
    #[error(
        "{0} can be reached by others, and /_sim/ asks nobody for a token: listen on 127.0.0.1"
    )]
    OpenControl(SocketAddr),
    /// A misbehaviour is none.
    #[error(transparent)]
    Misbehaviour(#[from] MisbehaviourError),
}

impl SimSettings {
    /// Whether all of it can be.
    pub fn validate(&self) -> Result<(), SimSettingsError> {
        let workload = &self.workload;
        if let Some(unknown) = (workload.scripts.iter())
            .find(|script| !script_names().any(|known| known == script.as_str()))
        {
            return Err(SimSettingsError::UnknownScript(unknown.clone()));
        }
        let checks = [
            (
                "speed",
                "from 0.01 to 100000",
                workload.speed,
                0.01..=100_000.0,
            ),
            (
                "failure share",
                "from 0 to 1",
                workload.failure_share,
                0.0..=1.0,
            ),
            (
                "chunks per second",
                "from 0.1 to 1000000",
                workload.chunks_per_second,
                0.1..=1_000_000.0,
            ),
            (
                "chunk size",
                "at most 1048576 bytes",
                workload.chunk_bytes_min as f64,
                0.0..=1_048_576.0,
            ),
            (
                "number of projects",
                "from 1 to 10000",
                f64::from(workload.projects),
                1.0..=10_000.0,
            ),
            match workload.arrivals {
                Arrivals::PerMinute(rate) => (
                    "runs per minute",
                    "above 0 and at most 1000000",
                    rate,
                    0.001..=1_000_000.0,
                ),
                Arrivals::AtOnce(count) => {
                    ("runs at once", "at least 1", count as f64, 1.0..=f64::MAX)
                }
                Arrivals::None => ("", "", 0.0, 0.0..=0.0),
            },
            (
                "events in a frame",
                "at least 1",
                self.feed.batch_events_max as f64,
                1.0..=f64::MAX,
            ),
        ];
        for (what, range, given, allowed) in checks {
            // A number that is none is in no range.
            if !allowed.contains(&given) {
                return Err(SimSettingsError::OutOfRange { what, range, given });
            }
        }
        if self.control && !self.listen.ip().is_loopback() {
            return Err(SimSettingsError::OpenControl(self.listen));
        }
        for misbehaviour in &self.misbehaviours {
            misbehaviour.validate()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut SimSettings)) -> String {
        let mut settings = SimSettings::default();
        change(&mut settings);
        settings.validate().unwrap_err().to_string()
    }

    #[test]
    fn the_default_can_be() {
        assert_eq!(SimSettings::default().validate(), Ok(()));
    }

    #[test]
    fn what_cannot_be_is_said_in_a_sentence() {
        assert_eq!(
            refusal(|s| s.workload.scripts = vec!["revue".into()]),
            "there is no script \"revue\": known are review, translate, summarise, triage, \
             research, analyse_sales, release_notes, nightly_digest"
        );
        assert_eq!(
            refusal(|s| s.workload.speed = f64::NAN),
            "speed must be from 0.01 to 100000, not NaN"
        );
        assert_eq!(
            refusal(|s| s.workload.failure_share = 12.0),
            "failure share must be from 0 to 1, not 12"
        );
        assert_eq!(
            refusal(|s| s.workload.arrivals = Arrivals::PerMinute(0.0)),
            "runs per minute must be above 0 and at most 1000000, not 0"
        );
        assert_eq!(
            refusal(|s| {
                s.control = true;
                s.listen = SocketAddr::from(([0, 0, 0, 0], 80));
            }),
            "0.0.0.0:80 can be reached by others, and /_sim/ asks nobody for a token: \
             listen on 127.0.0.1"
        );
        assert_eq!(
            refusal(|s| s.misbehaviours = vec![Misbehaviour::CutEvery { bytes: 0 }]),
            "to cut every 0 bytes would let nothing through"
        );
    }
}
