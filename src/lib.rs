//! runtrail turns every run of an AI-workflow server into an OpenTelemetry
//! trace, Prometheus metrics and a run summary.
//!
//! The folders, in the order in which the data goes:
//!
//! - [`wire`]: bytes become events
//! - [`run`]: events become runs and nodes
//! - [`trace`]: finished nodes become OTLP spans, and batches of them
//! - [`metrics`]: what happened becomes series
//! - [`core`]: the above, put together
//! - [`source`]: the network in
//! - [`store`]: what waits to be sent
//! - [`export`]: the network out
//! - [`net`]: what these two and the listeners share
//! - [`config`] and [`cli`]: what people choose
//! - [`printed`]: JSON that a terminal may show
//! - [`health`]: whether a sidecar lives, asked from outside
//! - [`replay`]: a recording instead of a feed
//! - [`backfill`]: the spans of past runs, from the server's logs
//! - [`sim`]: a simulated server, for the demo, tests and load
//!
//! Everything up to and including the batches is pure: bytes and times come in,
//! values come out, and the same input gives the same output for ever.

#![forbid(unsafe_code)]

pub mod admin;
pub mod backfill;
pub mod check;
pub mod cli;
pub mod config;
pub mod core;
pub mod demo;
pub mod export;
pub mod health;
pub mod limits;
pub mod logs;
pub mod metrics;
pub mod net;
pub mod printed;
pub mod replay;
pub mod run;
pub mod self_trace;
pub mod sidecar;
pub mod sim;
pub mod source;
pub mod store;
pub mod trace;
pub mod wire;
