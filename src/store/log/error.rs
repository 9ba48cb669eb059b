//! What can go wrong with a log.

use std::io;

/// Why a log does not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk, the quota or the bound of the log is full. Nothing was kept of
    /// what was not committed; the numbers of these records are given again.
    #[error("there is no room left for the store")]
    Full,
    /// A record that no segment takes.
    #[error("a record of {bytes} bytes is larger than the {bytes_max} that a log takes")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// What is taken.
        bytes_max: usize,
    },
    /// A sync failed: what is on the disk is not known any more. Every later
    /// call is refused; the program should end, and begin again with recovery.
    #[error("the disk did not confirm what was written to the store: {0}")]
    Sync(io::Error),
    /// After such a failure, or one that could not be undone.
    #[error(
        "nothing is written to the store any more since it failed before: restart runtrail, which repairs it"
    )]
    Stopped,
    /// Anything else that the disk refused. What was not committed is dropped, as above.
    #[error("cannot {what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        error: io::Error,
    },
    /// A later version has written this.
    #[error(
        "{file} is of format {version}, which this version of runtrail does not know: use the newer one again, or another store.dir"
    )]
    Newer {
        /// The segment.
        file: String,
        /// Its format.
        version: u32,
    },
    /// The bytes at a place are not the record that was put there.
    #[error("a record of the store is damaged in {file} at {offset}")]
    Damaged {
        /// The segment.
        file: String,
        /// Where in it.
        offset: u64,
    },
}

impl LogError {
    /// Of an operation other than a sync.
    pub(super) fn of(what: impl Into<String>, error: io::Error) -> Self {
        if is_full(&error) {
            return Self::Full;
        }
        Self::Io {
            what: what.into(),
            error,
        }
    }
}

/// Whether the disk or a quota has no room.
pub(in crate::store) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
