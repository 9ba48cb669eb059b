//! Rounds: the program lives for a while in bad weather, and is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;

use crate::backend::{Book, Mood};
use crate::gate::Weather;
use crate::program::Program;
use crate::world::World;

/// Where the program was when it was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Before it said where it listens: start-up and recovery.
    Starting,
    /// Before the feed was there.
    Connecting,
    Running,
    /// It had been told to end.
    Draining,
    /// It ended by itself when it was told to.
    Ended,
}

/// What may go wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Troubles {
    pub(crate) kills: bool,
    pub(crate) feed: bool,
    pub(crate) backend: bool,
}

/// What is to happen in one round.
#[derive(Debug)]
struct Round {
    before: Weather,
    mood: Mood,
    /// After this long the weather changes.
    first: Duration,
    then: Weather,
    cut: bool,
    then_mood: Mood,
    second: Duration,
    end: End,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Kill,
    /// It is told to end, and killed after so long.
    TermAndKill(Duration),
    Term,
    /// It lives on.
    None,
}

/// Rounds of trouble, one after the other, and how often what was killed.
pub(crate) async fn live_through(
    world: &mut World,
    mut program: Option<Program>,
    rounds: u32,
    troubles: Troubles,
    seed: u64,
) -> (Program, BTreeMap<Phase, u32>) {
    let mut rng = Rng::with_seed(seed);
    let mut phases = BTreeMap::new();
    for _ in 0..rounds {
        program = live(world, program, Round::draw(&mut rng, troubles), &mut phases).await;
    }
    let program = program.unwrap_or_else(|| world.live());
    (program, phases)
}

async fn live(
    world: &mut World,
    program: Option<Program>,
    round: Round,
    phases: &mut BTreeMap<Phase, u32>,
) -> Option<Program> {
    world.gate.weather(round.before.clone());
    world.backend.mood(round.mood).await;
    let mut program = program.unwrap_or_else(|| world.live());
    world.note(&format!("{round:?}"));
    tokio::time::sleep(round.first).await;
    world.gate.weather(round.then.clone());
    if round.cut {
        world.gate.cut();
    }
    world.backend.mood(round.then_mood).await;
    tokio::time::sleep(round.second).await;
    assert!(
        !program.has_ended(),
        "life {} ended by itself:\n{}",
        world.lives,
        program.text()
    );
    if matches!(round.end, End::None) {
        return Some(program);
    }
    let phase = end(world, program, round.end).await;
    world.note(&format!("killed while {phase:?}"));
    *phases.entry(phase).or_default() += 1;
    None
}

async fn end(world: &mut World, mut program: Program, end: End) -> Phase {
    let phase = match end {
        End::None | End::Kill => {
            let said = program.text();
            if !said.contains("\"local\":") {
                Phase::Starting
            } else if !said.contains("connected to the event feed") {
                Phase::Connecting
            } else {
                Phase::Running
            }
        }
        End::TermAndKill(after) => {
            program.signal("TERM");
            tokio::time::sleep(after).await;
            if program.has_ended() {
                Phase::Ended
            } else {
                Phase::Draining
            }
        }
        End::Term => {
            program.signal("TERM");
            let ended = program.ended();
            world.over(&ended);
            return Phase::Ended;
        }
    };
    let ended = program.kill();
    world.over(&ended);
    phase
}

impl Round {
    fn draw(rng: &mut Rng, troubles: Troubles) -> Self {
        let mut round = Self::any(rng);
        if !troubles.feed {
            (round.before, round.then, round.cut) = Default::default();
        }
        if !troubles.backend {
            (round.mood, round.then_mood) = (Mood::Takes, Mood::Takes);
        }
        if !troubles.kills {
            round.end = End::None;
            // Who is refused tries again after a minute, or when it starts anew.
            for mood in [&mut round.mood, &mut round.then_mood] {
                if *mood == Mood::Answers(401) {
                    *mood = Mood::Answers(503);
                }
            }
        }
        round
    }

    fn any(rng: &mut Rng) -> Self {
        let ms = |rng: &mut Rng, most: u64| Duration::from_millis(rng.u64(..=most));
        // Start-up and recovery take some hundred milliseconds.
        let most = match rng.u8(..10) {
            0..3 => 150,
            3..8 => 800,
            8 => 1_500,
            _ => 3_000,
        };
        Self {
            before: weather(rng),
            mood: mood(rng),
            first: ms(rng, most / 2),
            then: weather(rng),
            cut: rng.u8(..4) == 0,
            then_mood: mood(rng),
            second: ms(rng, most / 2),
            end: match rng.u8(..20) {
                0..14 => End::Kill,
                14..19 => End::TermAndKill(ms(rng, 40)),
                _ => End::Term,
            },
        }
    }
}

fn weather(rng: &mut Rng) -> Weather {
    let mut weather = Weather {
        forgets: rng.bool(),
        ..Weather::default()
    };
    match rng.u8(..10) {
        0 => weather.shut = true,
        1 | 2 => weather.frames_lost = rng.u32(1..8),
        3 | 4 => weather.cut_after_frames = Some(rng.u32(..8)),
        5 => weather.calls_refused = rng.u32(1..6),
        6 => weather.calls_cut = rng.u32(1..3),
        _ => {}
    }
    weather
}

fn mood(rng: &mut Rng) -> Mood {
    match rng.u8(..12) {
        0..5 => Mood::Takes,
        5 => Mood::Cuts,
        6 => Mood::Hangs,
        7 => Mood::Answers(if rng.bool() { 503 } else { 401 }),
        8 | 9 => Mood::Changes,
        _ => Mood::Away,
    }
}

/// How many bodies came again after a life had been told that they were taken,
/// beyond what may be: those that were under way when it was killed.
pub(crate) fn too_often(book: &Book, in_flight_max: usize) -> Vec<String> {
    let mut of_life: BTreeMap<u32, BTreeSet<_>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (told, again, first) in &book.again {
        if told == again {
            wrong.push(format!(
                "life {told} sent the body of {first:?} again, though it was told that it is taken"
            ));
        }
        of_life.entry(*told).or_default().insert(first);
    }
    for (told, bodies) in of_life {
        if bodies.len() > in_flight_max {
            wrong.push(format!(
                "{} bodies that life {told} was told are taken came again",
                bodies.len()
            ));
        }
    }
    wrong
}
