//! The real binary between a simulated server and a real OTLP receiver, in bad
//! weather on both sides, and killed again and again: what comes of it is what
//! comes of a program that nobody disturbs.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod backend;
mod compare;
mod doubts;
mod gate;
mod load;
#[path = "../program/mod.rs"]
mod program;
#[path = "../receiver/mod.rs"]
mod receiver;
mod rounds;
mod store;
mod troubles;
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;

use self::backend::Mood;
use self::load::Pace;
use self::world::{IN_FLIGHT_MAX, World};

/// Rounds of the crash test, unless `RUNTRAIL_CRASH_ROUNDS` says otherwise.
const ROUNDS: u32 = 60;

/// What all its chance comes from, unless `RUNTRAIL_CRASH_SEED` says otherwise.
const SEED: u64 = 20_260_507;

fn number<T: std::str::FromStr>(variable: &str, default: T) -> T {
    let given = std::env::var(variable).ok();
    given.map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {text}"))
    })
}

fn pace(seed: u64) -> Pace {
    Pace {
        seed,
        speed: 60.0,
        chunks_per_second: 300.0,
        open_most: 10,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_programs_that_nobody_kills_tell_the_same() {
    let pace = pace(SEED);
    let mut world = World::new(pace).await;
    let program = world.begin(pace).await;
    for mood in [Mood::Answers(503), Mood::Takes, Mood::Away, Mood::Changes] {
        world.backend.mood(mood).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    world.calm_down().await;
    let outcome = world.settle(program).await;
    println!("{}", outcome.numbers());
    outcome.is_as_undisturbed("nothing was killed");
    assert_eq!(rounds::too_often(&outcome.backend.book(), 0), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "nothing is on disk yet"]
async fn whatever_is_killed_cut_and_away_everything_arrives_once() {
    let rounds: u32 = number("RUNTRAIL_CRASH_ROUNDS", ROUNDS);
    let seed: u64 = number("RUNTRAIL_CRASH_SEED", SEED);
    let mut rng = Rng::with_seed(seed);
    let mut phases = BTreeMap::new();
    let pace = pace(seed);
    let mut world = World::new(pace).await;
    let mut program = Some(world.begin(pace).await);
    for _ in 0..rounds {
        rounds::live(&mut world, program.take(), &mut rng, &mut phases).await;
    }
    let program = program.unwrap_or_else(|| world.live());
    world.calm_down().await;
    let damage = world.gate.damage();
    let events = world.server.events();
    let outcome = world.settle(program).await;
    let title = format!(
        "seed {seed}: {rounds} rounds, killed {phases:?}; {events} events, {damage:?}; {}",
        outcome.numbers()
    );
    println!("{title}");
    outcome.is_as_undisturbed(&title);
    assert_eq!(
        rounds::too_often(&outcome.backend.book(), IN_FLIGHT_MAX),
        [""; 0],
        "{title}"
    );
}
