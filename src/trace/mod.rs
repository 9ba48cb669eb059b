//! Finished nodes become OTLP spans, and spans become batches. Pure: the same
//! node gives the same bytes for ever.
//!
//! What comes in is [`crate::run::finished`]; what goes out is
//! [`batch::Batch`], a request body that is sent as it is.
//!
//! - [`span`] makes a span; [`node`], [`root`] and [`events`] say what is on it,
//!   [`verdict`] how it ended, [`semconv`] what things are called
//! - [`sheet`] and [`content`] decide what may leave; nothing passes by them
//! - [`otlp`] and [`ids`] write it down, [`batch`] packs it, [`json`] shows it,
//!   [`body`] finds the spans again

pub mod batch;
pub mod body;
pub mod content;
pub mod events;
pub mod ids;
pub mod json;
pub mod messages;
pub mod node;
pub mod openinference;
pub mod otlp;
pub mod root;
pub mod semconv;
pub mod settings;
pub mod sheet;
pub mod span;
pub mod url;
pub mod verdict;

#[cfg(test)]
mod mapping;
#[cfg(test)]
pub(crate) mod testkit;
