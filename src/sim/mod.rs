//! A simulated Akribes server.

pub mod workload;
