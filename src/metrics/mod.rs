//! What happened becomes series: deltas are applied to a registry whose size is
//! bounded, whatever names the workflows use.
//!
//! In come [`delta::Deltas`] and the time; out comes a page of metrics. Nothing
//! that was counted is lost at a bound: it is counted as `__other__`.

mod bounded;
pub mod catalogue;
pub mod delta;
pub mod export;
pub mod exposition;
mod family;
mod histogram;
mod oldest;
mod registry;
mod scope;
pub mod snapshot;
mod space;
pub mod store;
#[cfg(test)]
mod tests;

pub use bounded::Settings;
pub use registry::Metrics;
pub use space::OTHER;
