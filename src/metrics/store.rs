//! What the store tells, in the terms of the metrics.

use crate::wire::time::Time;

/// How the store fares. What is counted is counted since the start of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreStatus {
    /// Bytes of the journal.
    pub journal_bytes: u64,
    /// Bytes that it takes.
    pub journal_limit_bytes: u64,
    /// When a checkpoint was last written.
    pub checkpoint_last_success: Option<Time>,
    /// Whether the disk takes nothing more.
    pub suspended: bool,
    /// Batches that were set aside.
    pub quarantine_batches: u64,
    /// Those of them that had to go, as there were too many.
    pub quarantine_dropped_batches: u64,
    /// Ended runs whose spans are to be rebuilt.
    pub runs_owed: u64,
    /// Those of them that were given up, as there were too many.
    pub runs_given_up: u64,
    /// Batches that may have been sent twice because of a restart.
    pub redelivered_batches: u64,
    /// Damaged records that were found and left out.
    pub corrupt_records: u64,
}
