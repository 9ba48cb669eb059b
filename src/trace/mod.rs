//! Finished nodes become OTLP spans, and spans become batches. Pure: the same
//! node gives the same bytes for ever.

pub mod content;
pub mod ids;
pub mod otlp;
