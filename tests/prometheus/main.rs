//! What an operator is shown and told, on a real Prometheus and a real
//! Alertmanager that scrape and watch the real binary. `./test` installs them.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod drawing;
mod exemplars;
mod hurried;
mod pager;
mod panels;
mod peers;
#[path = "../program/mod.rs"]
mod program;
#[path = "../receiver/mod.rs"]
mod receiver;
mod rules;
mod seen;
mod world;

use runtrail::net::clock;

use self::peers::Peers;
use self::world::{Pace, World};

/// Fast enough that a minute of it is like an hour.
const QUICK: Pace = Pace {
    speed: 40.0,
    runs_per_minute: 300.0,
    failure_share: 0.2,
    chunks_per_second: 30.0,
    scrape_every: "1s",
};

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_is_shown_and_told_what_happens() {
    let Some(peers) = Peers::find() else { return };
    let shipped = rules::shipped();
    let world = World::start(&peers, QUICK, &hurried::hurried(&shipped)).await;
    let start = now();
    let mut wrong = rules::not_loaded(&world.prometheus);
    world.busy.has_failed_in_many_ways(&world.prometheus);
    wrong.extend(world.busy.page_is_not_clean(&peers));
    wrong.extend(exemplars::astray(
        &world.prometheus,
        &world.busy,
        start,
        now(),
    ));
    wrong.extend(rules::told_otherwise(&world));
    wrong.extend(panels::without_data(&world.prometheus, start, now()));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// In seconds since the epoch.
fn now() -> f64 {
    clock::now().0 as f64 / 1e9
}
