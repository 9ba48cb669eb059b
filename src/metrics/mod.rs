//! What happened becomes series: deltas are applied to a registry whose size is
//! bounded, whatever names the workflows use.

pub mod delta;
