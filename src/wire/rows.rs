//! What a server's REST calls tell of a run beside its events: its row, and
//! what its tasks cost. In no system's own words, and owned: it is journaled.

use serde::{Deserialize, Serialize};

use super::event::RunOutcome;
use super::time::Time;

/// A run as the server keeps it. What it does not tell is left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowOfRun {
    /// The run's own id.
    pub id: String,
    /// The project, where the system has such a thing.
    pub project: Option<i64>,
    /// The workflow's name.
    pub workflow: String,
    /// How it is.
    pub status: RowStatus,
    /// When it started.
    pub started_at: Option<Time>,
    /// When it ended.
    pub finished_at: Option<Time>,
    /// What it cost.
    pub cost_usd: Option<f64>,
    /// Tokens in.
    pub input_tokens: Option<u64>,
    /// Tokens out.
    pub output_tokens: Option<u64>,
    /// The run that started it.
    pub parent: Option<String>,
    /// Who or what started it.
    pub triggered_by: Option<String>,
    /// The channel of versions that it ran from.
    pub channel: Option<String>,
    /// The version of the workflow.
    pub version: Option<String>,
    /// Why it failed: a message, which may hold anything.
    pub error: Option<String>,
    /// What kind of failure that is.
    pub error_kind: Option<String>,
}

/// How a run is, by its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RowStatus {
    /// It is on its way.
    Open {
        /// Whether it waits for somebody or something.
        waiting: bool,
    },
    /// It ended, and this is how.
    Ended(RunOutcome),
    /// The row says something that this version does not know.
    Unknown,
}

/// The ways for a run to be open, as runs can be asked for by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OpenStatus {
    /// It is at work.
    Running,
    /// It waits.
    Suspended,
    /// It is being stopped.
    Cancelling,
}

impl OpenStatus {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Running, Self::Suspended, Self::Cancelling];
}

/// What the tasks of one name cost in one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CostOfTask {
    /// The name of the task.
    pub task: String,
    /// The model.
    pub model: Option<String>,
    /// Whose model.
    pub provider: Option<String>,
    /// What it cost.
    pub cost_usd: Option<f64>,
    /// Tokens in.
    pub input_tokens: Option<u64>,
    /// Tokens out.
    pub output_tokens: Option<u64>,
}

/// A page of a list of runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowsPage {
    /// The rows that somebody wants.
    pub rows: Vec<RowOfRun>,
    /// How many rows there were.
    pub listed: u32,
}

/// Which runs are listed, and which page of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunsAsked {
    /// The project.
    pub project: i64,
    /// Those that started then or later.
    pub since: Option<Time>,
    /// Those that are open in this way.
    pub status: Option<OpenStatus>,
    /// How many, at most.
    pub limit: usize,
    /// How many newer ones to pass over.
    pub offset: u32,
}
