//! What a dialect is: the one place where a system's own words are known.
//!
//! A further system is one new file beside this one, one line in [`Dialect::of`],
//! and its fixtures.

use super::akribes::Akribes;
use super::event::RunRef;
use super::item::{LogPage, Sink};
use super::rejection::Rejection;
use super::rows::{CostOfTask, RowOfRun, RunsAsked};
use super::sse::Frame;

/// One system's way to write its events.
#[derive(Debug)]
pub enum Dialect {
    /// The Akribes workflow server.
    Akribes(Akribes),
}

impl Dialect {
    /// The dialect of a system. `capture` tells whether private texts may leave.
    pub fn of(system: &str, capture: bool) -> Option<Self> {
        match system {
            "akribes" => Some(Self::Akribes(Akribes::new(capture))),
            _ => None,
        }
    }

    /// The systems that there is a dialect of.
    pub const SYSTEMS: &'static [&'static str] = &["akribes"];

    /// The system's name, as on spans and metrics.
    pub const fn system(&self) -> &'static str {
        match self {
            Self::Akribes(_) => "akribes",
        }
    }

    /// The names of the types that are told apart; the first is `unknown`.
    pub const fn event_types(&self) -> &'static [&'static str] {
        match self {
            Self::Akribes(_) => Akribes::EVENT_TYPES,
        }
    }

    /// Whether the system keeps a log of each run, from which one can be repaired.
    pub const fn has_log(&self) -> bool {
        match self {
            Self::Akribes(_) => true,
        }
    }

    /// Where the event feed is: the path and query behind the server's base URL,
    /// for one project or all, and one workflow or all.
    pub fn feed_target(&self, project: Option<i64>, workflow: Option<&str>) -> String {
        match self {
            Self::Akribes(_) => Akribes::feed_target(project, workflow),
        }
    }

    /// Where a page of at most `limit` events of a run's log is, from after a
    /// place on; behind the base URL, as all of these.
    pub fn log_target(&self, run_id: &str, after: u64, limit: usize) -> String {
        match self {
            Self::Akribes(_) => Akribes::log_target(run_id, after, limit),
        }
    }

    /// Where a run's row is.
    pub fn row_target(&self, run_id: &str) -> String {
        match self {
            Self::Akribes(_) => Akribes::row_target(run_id),
        }
    }

    /// Where it is told what a run's tasks cost.
    pub fn tasks_target(&self, run_id: &str) -> String {
        match self {
            Self::Akribes(_) => Akribes::tasks_target(run_id),
        }
    }

    /// Where a page of a project's runs is, newest first.
    pub fn runs_target(&self, asked: &RunsAsked) -> String {
        match self {
            Self::Akribes(_) => Akribes::runs_target(asked),
        }
    }

    /// Reads the row of a run.
    pub fn read_row(&self, answer: &[u8]) -> Result<RowOfRun, Rejection> {
        match self {
            Self::Akribes(_) => Akribes::read_row(answer),
        }
    }

    /// Reads a page of a list of runs, at most
    /// [`ROWS_MAX`](crate::limits::ROWS_MAX) of it. A row that is none is left out,
    /// and a server may have a smaller page: the list is at its end when a page
    /// is empty, and the next page begins as many rows later as this one gave.
    pub fn read_rows(&self, answer: &[u8]) -> Result<Vec<RowOfRun>, Rejection> {
        match self {
            Self::Akribes(_) => Akribes::read_rows(answer),
        }
    }

    /// Reads what a run's tasks cost, at most
    /// [`TASK_ROWS_MAX`](crate::limits::TASK_ROWS_MAX) of them.
    pub fn read_tasks(&self, answer: &[u8]) -> Result<Vec<CostOfTask>, Rejection> {
        match self {
            Self::Akribes(_) => Akribes::read_tasks(answer),
        }
    }

    /// Reads one frame of the feed.
    pub fn read(&mut self, frame: &Frame<'_>, sink: &mut Sink<'_>) {
        match self {
            Self::Akribes(dialect) => dialect.read(frame, sink),
        }
    }

    /// Reads one page of the server's log of a run.
    pub fn read_log(
        &mut self,
        run: &RunRef<'_>,
        page: &[u8],
        sink: &mut Sink<'_>,
    ) -> Result<LogPage, Rejection> {
        match self {
            Self::Akribes(dialect) => dialect.read_log(run, page, sink),
        }
    }
}
