//! The listeners: what the program tells those who ask.
//!
//! | listener | path | tells |
//! |---|---|---|
//! | metrics | `/metrics` | the metrics, as Prometheus text, or as OpenMetrics to those who ask for it |
//! | metrics | `/healthz` | 200 when the main loop answers, else 503 |
//! | metrics | `/readyz` | 200 once everything is configured and listening |
//! | local | `/api/runs` | open and recent runs, newest first; `state`, `workflow`, `limit` narrow it |
//! | local | `/api/runs/{id}` | one run, by its id or trace id |
//! | local | `/api/runs/{id}/summary` | its summary |
//! | local | `/api/runs/{id}/spans` | its spans, an OTLP/JSON export request a line |
//!
//! Nothing here decides anything about runs: questions go to the main loop as
//! [`Ask`]s, and a loop that does not answer shows.

mod accept;
mod api;
mod page;
mod probes;
pub mod process;
mod spans;

use std::sync::Arc;

use tokio::sync::oneshot;

pub use self::api::{Api, ApiSettings};
pub use self::probes::{Probes, ProbesSettings};
use crate::sidecar::book::{KeptSpans, RunRow};

/// A question to the main loop.
#[derive(Debug)]
pub enum Ask {
    /// Is anybody there?
    Alive(oneshot::Sender<()>),
    /// Which runs are there?
    Runs(RunsQuery, oneshot::Sender<RunsPage>),
    /// What of this run?
    Run(String, oneshot::Sender<Option<RunDetail>>),
}

/// Which runs somebody wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunsQuery {
    /// `open`, `finished`, or one state, such as `waiting` or `error`.
    pub state: Option<String>,
    /// One workflow.
    pub workflow: Option<String>,
    /// How many at most.
    pub limit: usize,
}

/// Open and recent runs.
#[derive(Debug, Clone, serde::Serialize)]
pub struct RunsPage {
    /// How many are open.
    pub open: usize,
    /// How many that ended are remembered.
    pub finished: usize,
    /// Those that were asked for, the newest first.
    pub runs: Vec<RunRow>,
}

/// All that is known of one run.
#[derive(Debug, Clone)]
pub struct RunDetail {
    /// In one line.
    pub row: RunRow,
    /// Its summary, as JSON.
    pub summary: Arc<str>,
    /// Its spans.
    pub spans: KeptSpans,
}
