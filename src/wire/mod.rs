//! Bytes become events. Pure: in come bytes of a feed, out come [`event::Event`]s
//! that borrow from them, and a reason for everything that was not taken.
//!
//! Reading is liberal, bounded, and local: a broken element costs that element.
//!
//! - [`sse`] and [`lines`]: chunks become frames, or lines of NDJSON
//! - [`utf8`]: their bytes become text
//! - [`elements`]: a batch becomes its elements, of which a malformed one costs itself
//! - [`dialect`]: frames become events; [`akribes`] is one
//! - [`item`]: what a dialect makes of a frame
//! - [`event`] and [`fact`]: the one vocabulary that every dialect translates into
//! - [`rows`]: what a server tells of a run beside its events
//! - [`time`]: points in time, and how feeds write them
//! - [`rejection`]: why something was not taken

pub mod akribes;
pub mod dialect;
pub mod elements;
pub mod event;
pub mod fact;
pub mod item;
pub mod lines;
mod pull;
pub mod rejection;
pub mod rows;
mod skeleton;
mod split;
pub mod sse;
pub mod time;
pub mod utf8;
