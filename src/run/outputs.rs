//! What the table of runs says: to the spans, to the metrics, and to whoever
//! can ask the server.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::finished::{FinishedNode, FinishedRun, RunMeta};
use super::standing::{Standing, Waits};
use super::summary::TaskCounts;
use crate::wire::rejection::Rejection;
use crate::wire::rows::OpenStatus;
use crate::wire::time::Time;

/// The place of an open run in the table; used again after the run's end.
pub type RunSlot = u32;

/// Something became true.
#[derive(Debug)]
pub enum Output {
    /// A run was seen for the first time, and started then; the slot stands for
    /// it until its end.
    Started(RunSlot, Arc<RunMeta>, Time),
    /// Since when a run has been open, or has waited, is not what it was.
    Standing(RunSlot, Standing),
    /// A task of a run starts: its name.
    TaskStarted(RunSlot, Arc<str>),
    /// A run has been open for a while: who looks for it should find something.
    Progress(RunSlot, Arc<RunMeta>, Time),
    /// A node is finished.
    Node(RunSlot, Arc<RunMeta>, Box<FinishedNode>, Due),
    /// A run is finished; its slot is free.
    Ended(RunSlot, Arc<RunMeta>, Box<FinishedRun>, Due),
    /// Spans that were held back for want of room can not be had any more.
    Lost(u64),
    /// A repair came to its end.
    Repaired(Repair),
    /// The feed lost something.
    Gap(GapCause),
    /// Chunk events were left out.
    Thinned(u64),
    /// Something was not taken.
    Rejected(Rejection),
}

/// What of something finished is still due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// All of it.
    All,
    /// It counts now; its span has to wait for room.
    Count,
    /// It was counted when there was no room for its span.
    Span,
}

impl Due {
    /// Whether it is to be counted and told.
    pub const fn counts(self) -> bool {
        !matches!(self, Self::Span)
    }

    /// Whether its span is to be made.
    pub const fn has_span(self) -> bool {
        !matches!(self, Self::Count)
    }
}

/// An open run, as somebody who looks at it sees it.
#[derive(Debug, Clone)]
pub struct OpenRun {
    /// Who it is.
    pub meta: Arc<RunMeta>,
    /// When it started, or was first seen.
    pub start: Time,
    /// When its last event was.
    pub last: Time,
    /// Whether it waits for somebody or something.
    pub waiting: bool,
    /// Since when.
    pub waits: Waits,
    /// Whether it is held until it has been repaired.
    pub held: bool,
    /// Whether it has ended, and the server is asked what else it knows of it.
    pub ending: bool,
    /// How its tasks ended so far.
    pub tasks: TaskCounts,
    /// Tokens in so far, sub-runs included.
    pub input_tokens: u64,
    /// Tokens out so far, sub-runs included.
    pub output_tokens: u64,
}

impl OpenRun {
    /// Since when it has been open, and waited.
    pub const fn standing(&self) -> Standing {
        Standing {
            start: self.start,
            waits: self.waits,
        }
    }

    /// Its state, as the API and its summary have it.
    pub const fn state(&self) -> &'static str {
        open_state(self.waiting)
    }
}

/// The state of a run that has not ended.
pub(super) const fn open_state(waiting: bool) -> &'static str {
    if waiting { "waiting" } else { "running" }
}

/// How a repair ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// The run was rebuilt from the server's log.
    Repaired,
    /// The server would not, or could not, tell.
    Unavailable,
    /// It took too long.
    GaveUp,
}

impl Repair {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Repaired, Self::Unavailable, Self::GaveUp];

    /// The value of the label `result`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Repaired => "repaired",
            Self::Unavailable => "unavailable",
            Self::GaveUp => "gave_up",
        }
    }
}

/// Why something of the feed may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum GapCause {
    /// The connection was lost.
    Disconnect,
    /// This program was not running.
    Restart,
    /// The server said that it dropped events.
    Lagged,
    /// A run was on its way when it was first seen.
    JoinedLate,
    /// A run's sums do not agree with the server's.
    Totals,
}

impl GapCause {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Disconnect,
        Self::Restart,
        Self::Lagged,
        Self::JoinedLate,
        Self::Totals,
    ];

    /// The value of the label `cause`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disconnect => "disconnect",
            Self::Restart => "restart",
            Self::Lagged => "lagged",
            Self::JoinedLate => "joined_late",
            Self::Totals => "totals",
        }
    }
}

/// Something that the core would like to know from the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wish {
    /// A page of the run's log, from after this place.
    ReadLog {
        /// Its project.
        project: Option<i64>,
        /// The run.
        run_id: Arc<str>,
        /// The place.
        after: u64,
    },
    /// How the run is: it has been silent for long.
    AskRow {
        /// Its project.
        project: Option<i64>,
        /// The run.
        run_id: Arc<str>,
    },
    /// What else the server knows of a run that has ended.
    AskFacts {
        /// Its project.
        project: Option<i64>,
        /// The run.
        run_id: Arc<str>,
    },
    /// Runs of a project that may have been missed, a page of them.
    ListRuns {
        /// The project.
        project: i64,
        /// Those that started then or later.
        since: Option<Time>,
        /// Those in this state.
        status: Option<OpenStatus>,
        /// How many of the newest are left out.
        offset: u32,
    },
}

/// What the server says of a run that was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunStatus {
    /// It is still on its way.
    Open,
    /// It ended, and this is how.
    Ended(crate::wire::event::RunOutcome),
    /// The server does not know it, or may not tell.
    Unknown,
}
