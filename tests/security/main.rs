//! What each side may try to do to us, and what comes of it. `SECURITY.md` names
//! these tests, beside those of the single parts.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

mod author;
mod backend;
mod certificates;
mod disk;
mod flood;
mod neighbour;
#[path = "../program/mod.rs"]
mod program;
#[path = "../receiver/mod.rs"]
mod receiver;
#[path = "../scripted/mod.rs"]
mod scripted;
mod server;
#[path = "../support/mod.rs"]
mod support;

/// What a program uses at most while somebody floods it: far less than it may.
const FLOODED_BYTES_MAX: usize = 128 << 20;

/// Variables for a program on ports that are free.
fn listening(url: &str) -> Vec<(&str, &str)> {
    vec![
        ("AKRIBES_URL", url),
        ("RUNTRAIL_LISTEN_METRICS", "127.0.0.1:0"),
        ("RUNTRAIL_LISTEN_LOCAL", "127.0.0.1:0"),
    ]
}
