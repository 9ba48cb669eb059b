//! What is kept until it is safe elsewhere: the [`outbox`], whose bodies wait
//! for the backend.
//!
//! It stands on memory. What it promises (numbers that rise, acknowledgements
//! in any order, a horizon below which everything is settled) is what a log on
//! disk needs as well.

pub mod files;
pub mod log;
pub mod outbox;

pub use self::outbox::{Outbox, OutboxStatus};
