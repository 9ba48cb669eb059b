//! What is kept until it is safe elsewhere.
//!
//! - [`dir`]: the directory, its lock and its format
//! - [`files`]: files on a disk, or in memory when there is no directory
//! - [`log`]: records in segments, on such files
//! - [`journal`]: a log of what was accepted, until a checkpoint holds it
//! - [`checkpoint`]: what came of it, in one file
//! - [`outbox`]: bodies that wait for the backend
//! - [`quarantine`]: bodies that it refused for good
//!
//! What was committed is there after any crash; what was not may be, as a whole
//! or in part, but is never changed, and nothing is there that nobody put there.

pub mod checkpoint;
pub mod dir;
mod encoded;
mod failed;
pub mod files;
pub mod journal;
pub mod log;
pub mod outbox;
pub mod quarantine;

pub use self::checkpoint::{Checkpoint, CheckpointError, CheckpointWriter, read_checkpoint};
pub use self::dir::{LockGuard, StoreDir, StoreError};
pub use self::failed::StoreFailed;
pub use self::journal::{Journal, JournalSettings};
pub use self::log::{Log, LogError, LogSettings};
pub use self::outbox::{Outbox, OutboxStatus};
pub use self::quarantine::Quarantine;
