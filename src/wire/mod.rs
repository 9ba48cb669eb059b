//! Bytes become events. Pure: in come bytes of a feed, out come [`event::Event`]s
//! that borrow from them, and a reason for everything that was not taken.
//!
//! Reading is liberal, bounded, and local: a broken element costs that element.

/// The one vocabulary that every dialect translates into.
pub mod event;
/// Lines of NDJSON.
pub mod lines;
/// Why something was not taken.
pub mod rejection;
mod split;
/// Frames of server-sent events.
pub mod sse;
/// Points in time, and how feeds write them.
pub mod time;
/// Bytes as text.
pub mod utf8;
