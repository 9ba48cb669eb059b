//! The sidecar: feed in, spans, metrics and answers out, from start to drain.
//!
//! - [`engine`]: the main loop, which owns the core and the metrics
//! - [`book`]: recent runs, for the API
//! - [`budget`]: what all of it may use
//! - [`safety`] and [`keeper`]: what makes the state outlive the process, [`pacing`]:
//!   how often, and `recover`: how it goes on from there
//!
//! One task owns all that is decided. Around it: a task a feed, one that packs
//! batches, one that exports them, and the listeners. They are joined by
//! bounded channels, and end when what feeds them ends.

pub mod book;
pub mod budget;
mod drain;
pub mod engine;
pub mod keeper;
pub mod pacing;
pub mod packer;
mod recover;
pub mod safety;
mod start;

pub use self::drain::{Died, LeftBehind, Started};
pub use self::recover::RecoverError;
pub(crate) use self::start::bind;
pub use self::start::{Hooks, StartError, start};
