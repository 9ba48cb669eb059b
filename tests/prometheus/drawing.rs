//! Pictures of the dashboards, from a few minutes in which much goes wrong.
//! Nothing is tested: `tests/draw/run` looks at them.

use std::process::Command;
use std::time::Duration;

use runtrail::sim::Misbehaviour;
use tokio::time::sleep;

use crate::hurried::hurried;
use crate::now;
use crate::peers::Peers;
use crate::rules::shipped;
use crate::world::{Pace, World};

/// As in the demo, with more runs, and models that are not so quick.
const PACE: Pace = Pace {
    speed: 10.0,
    runs_per_minute: 90.0,
    failure_share: 0.1,
    chunks_per_second: 12.0,
    scrape_every: "2s",
};

const FEED_IS_DOWN: Duration = Duration::from_secs(20);
const BACKEND_IS_AWAY: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it takes five minutes: tests/draw/run does it"]
async fn draws_the_dashboards() {
    let peers = Peers::find().expect("Prometheus is installed");
    let python = std::env::var("RUNTRAIL_DRAW_PYTHON").expect("tests/draw/run says where it is");
    let out = std::env::var("RUNTRAIL_DRAW_OUT").unwrap_or_else(|_| "docs/pictures".to_owned());
    let world = World::start(&peers, PACE, &hurried(&shipped())).await;
    let start = now();
    much_goes_wrong(&world).await;
    let drawn = Command::new(python)
        .arg("tests/draw/draw.py")
        .arg(format!("--prometheus=http://{}", world.prometheus.addr()))
        .args([format!("--start={start}"), format!("--end={}", now())])
        .args(["--dashboards=dashboards", &format!("--out={out}")])
        .status()
        .unwrap();
    assert!(drawn.success());
}

/// All is well for a while; then the feed breaks off, then the backend.
async fn much_goes_wrong(world: &World) {
    let busy = &world.busy;
    sleep(Duration::from_secs(100)).await;
    let down = Misbehaviour::Down {
        ms: Some(FEED_IS_DOWN.as_millis() as u64),
    };
    busy.server.misbehave(&down).unwrap();
    sleep(Duration::from_secs(70)).await;
    busy.backend_is_away(true);
    sleep(BACKEND_IS_AWAY).await;
    busy.backend_is_away(false);
    sleep(Duration::from_secs(60)).await;
}
