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

use std::time::Duration;

use self::backend::Mood;
use self::load::Pace;
use self::rounds::Troubles;
use self::world::{IN_FLIGHT_MAX, World};

/// Rounds of the crash test, unless `RUNTRAIL_CRASH_ROUNDS` says otherwise.
const ROUNDS: u32 = 60;

/// Rounds with a part of its troubles.
const PART_ROUNDS: u32 = 20;

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
        chunk_bytes_min: 0,
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

/// As many rounds of these troubles; then everything calms down.
async fn survives(rounds: u32, troubles: Troubles) {
    let seed: u64 = number("RUNTRAIL_CRASH_SEED", SEED);
    let pace = pace(seed);
    let mut world = World::new(pace).await;
    let program = Some(world.begin(pace).await);
    let (program, phases) = rounds::live_through(&mut world, program, rounds, troubles, seed).await;
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
    let most = if troubles.kills { IN_FLIGHT_MAX } else { 0 };
    let too_often = rounds::too_often(&outcome.backend.book(), most);
    assert_eq!(too_often, [""; 0], "{title}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_cut_and_away_everything_arrives_once() {
    let troubles = Troubles {
        kills: true,
        feed: true,
        backend: true,
    };
    survives(number("RUNTRAIL_CRASH_ROUNDS", ROUNDS), troubles).await;
}

// The same in parts, so that it is seen where it breaks.

#[tokio::test(flavor = "multi_thread")]
async fn what_the_feed_loses_is_found_in_the_log() {
    let troubles = Troubles {
        kills: false,
        feed: true,
        backend: false,
    };
    survives(PART_ROUNDS, troubles).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_killed_goes_on_where_it_was() {
    let troubles = Troubles {
        kills: true,
        feed: false,
        backend: false,
    };
    survives(PART_ROUNDS, troubles).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_in_trouble_gets_everything() {
    let troubles = Troubles {
        kills: false,
        feed: false,
        backend: true,
    };
    survives(PART_ROUNDS, troubles).await;
}
