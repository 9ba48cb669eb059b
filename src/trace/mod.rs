//! Finished nodes become OTLP spans, and spans become batches. Pure: the same
//! node gives the same bytes for ever.

pub mod batch;
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
pub mod sheet;
pub mod span;
pub mod url;
pub mod verdict;

#[cfg(test)]
mod mapping;
#[cfg(test)]
mod testkit;
