//! What the exporter counts, in the terms of the metrics.

use crate::wire::time::Time;

/// How a request to the backend ended: the label `result`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestResult {
    /// All of it was taken.
    Taken,
    /// All of it was taken, with a warning.
    TakenWithWarning,
    /// The backend took it, but for some spans.
    PartlyTaken,
    /// The data was refused.
    RefusedData,
    /// The sender or the route was refused: token, path, protocol.
    RefusedRoute,
    /// Not now, it said.
    Busy,
    /// There was no answer in time.
    TimedOut,
    /// There was no connection, or it broke.
    Unreachable,
    /// The backend failed.
    Failed,
}

/// Why spans were given up: the label `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusalReason {
    /// The backend calls the data invalid.
    Invalid,
    /// The backend calls it too large.
    TooLarge,
    /// The backend has no resources for it, and does not say when it will.
    Exhausted,
    /// There was no answer in time, again and again, while others got theirs.
    TimedOut,
    /// The backend failed, again and again, while it took others.
    Failed,
    /// The backend took the request, but not these.
    PartialSuccess,
    /// What was on disk is damaged.
    Damaged,
    /// There was no room for them, and the server's log does not give them again.
    NotRebuilt,
}

impl RequestResult {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Taken,
        Self::TakenWithWarning,
        Self::PartlyTaken,
        Self::RefusedData,
        Self::RefusedRoute,
        Self::Busy,
        Self::TimedOut,
        Self::Unreachable,
        Self::Failed,
    ];

    /// The value of the label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::TakenWithWarning => "taken_with_warning",
            Self::PartlyTaken => "partly_taken",
            Self::RefusedData => "refused_data",
            Self::RefusedRoute => "refused_route",
            Self::Busy => "busy",
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::Failed => "failed",
        }
    }
}

impl RefusalReason {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Invalid,
        Self::TooLarge,
        Self::Exhausted,
        Self::TimedOut,
        Self::Failed,
        Self::PartialSuccess,
        Self::Damaged,
        Self::NotRebuilt,
    ];

    /// The value of the label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::TooLarge => "too_large",
            Self::Exhausted => "exhausted",
            Self::TimedOut => "timed_out",
            Self::Failed => "failed",
            Self::PartialSuccess => "partial_success",
            Self::Damaged => "damaged",
            Self::NotRebuilt => "not_rebuilt",
        }
    }
}

/// What happened since the start of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExportCounts {
    /// Requests, each in its place by [`RequestResult`].
    pub requests: [u64; RequestResult::ALL.len()],
    /// Spans that the backend has.
    pub spans_exported: u64,
    /// Spans that it will never have, each in its place by [`RefusalReason`].
    pub spans_refused: [u64; RefusalReason::ALL.len()],
    /// When it last took some.
    pub last_success: Option<Time>,
}

impl ExportCounts {
    /// Requests that ended so.
    pub const fn requests(&self, result: RequestResult) -> u64 {
        self.requests[result as usize]
    }

    /// Spans that were given up for this.
    pub const fn refused(&self, reason: RefusalReason) -> u64 {
        self.spans_refused[reason as usize]
    }
}
