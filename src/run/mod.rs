//! Events become runs. Pure: in come events and times, out come finished nodes,
//! finished runs and wishes. What a run is, is decided here and nowhere else.
//!
//! - [`table`]: which run an event belongs to; silence, repair, bounds
//! - `tracked`: one run in the table: live, held, ending or sealed
//! - `owed`: runs whose spans wait for room; `lists`: runs that were missed
//! - `fold`: the events of one run become nodes
//! - [`cost`], [`prices`]: what it cost
//! - [`finished`], [`summary`], [`outputs`]: what comes out

pub mod cost;
pub mod finished;
mod fold;
mod hold;
pub mod identity;
mod kept;
mod lists;
mod measure;
mod names;
mod node;
mod nodes;
mod ordinals;
pub mod outputs;
mod owed;
pub mod pieces;
pub mod prices;
mod published;
mod repeats;
mod replays;
mod scope;
mod sealed;
pub mod standing;
pub mod summary;
mod sums;
pub mod table;
pub mod trace_id;
mod tracked;

pub use node::Room;
pub use tracked::RunSettings;
