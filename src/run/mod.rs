//! Events become runs. Pure: in come events and times, out come finished nodes,
//! finished runs and wishes. What a run is, is decided here and nowhere else.

pub mod finished;
pub mod identity;
pub mod pieces;
pub mod summary;
