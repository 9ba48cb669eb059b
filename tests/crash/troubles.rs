//! A backend that is away for long, refuses us, or cannot stand a span.

use std::sync::OnceLock;

use crate::backend::{Ids, Mood};
use crate::compare;
use crate::load::Pace;
use crate::program::{Program, eventually, run};
use crate::rounds;
use crate::world::{self, IN_FLIGHT_MAX, World, borrowed, sum};

const SEED: u64 = 7;

fn quick() -> Pace {
    Pace {
        seed: SEED,
        speed: 200.0,
        chunks_per_second: 1_000.0,
        chunk_bytes_min: 0,
        open_most: 10,
    }
}

/// Runs with so much in them that the smallest outbox is soon full.
fn large() -> Pace {
    Pace {
        chunk_bytes_min: 600,
        ..quick()
    }
}

/// What the smallest outbox holds is full within seconds.
fn small_outbox(world: &mut World) {
    world.more = vec![
        ("RUNTRAIL_STORE_OUTBOX_BYTES_MAX", "8MiB".to_owned()),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "none".to_owned()),
    ];
}

/// The metrics of a program, whose outbox is within its bound.
fn bounded_page(program: &Program) -> String {
    let page = world::page(program);
    let of = |metric| compare::sum(&page, metric);
    let (bytes, limit) = (
        of("runtrail_outbox_bytes"),
        of("runtrail_outbox_limit_bytes"),
    );
    assert!(bytes <= limit, "{bytes} of {limit}");
    page
}

/// Runs are owed, and metrics go on all the same.
async fn fills_the_outbox(world: &mut World, program: &Program) {
    world.backend.mood(Mood::Away).await;
    let reaches = |metric: &str, least: f64| {
        eventually(metric, || {
            let so_far = compare::sum(&bounded_page(program), metric);
            (so_far >= least).then_some(so_far)
        })
    };
    reaches("runtrail_runs_owed", 1.0);
    let before = reaches("runtrail_runs_finished_total", 1.0);
    reaches("runtrail_runs_finished_total", before + 50.0);
    assert!(sum(program, "runtrail_runs_owed") > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_is_away_until_the_outbox_is_full_gets_everything_later() {
    let mut world = World::new(large()).await;
    small_outbox(&mut world);
    let program = world.begin(large()).await;
    fills_the_outbox(&mut world, &program).await;
    world.calm_down().await;
    let outcome = world.settle(program).await;
    println!("{}", outcome.numbers());
    outcome.is_as_undisturbed("the outbox was full");
    assert_eq!(rounds::too_often(&outcome.backend.book(), 0), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_owed_is_paid_by_who_comes_after_the_one_that_was_killed() {
    let mut world = World::new(large()).await;
    small_outbox(&mut world);
    let program = world.begin(large()).await;
    fills_the_outbox(&mut world, &program).await;
    world.over(&program.kill());
    let program = world.live();
    eventually("what is owed is known again", || {
        (sum(&program, "runtrail_runs_owed") > 0.0).then_some(())
    });
    world.calm_down().await;
    let outcome = world.settle(program).await;
    println!("{}", outcome.numbers());
    outcome.is_as_undisturbed("killed with a full outbox");
    assert_eq!(
        rounds::too_often(&outcome.backend.book(), IN_FLIGHT_MAX),
        [""; 0]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_for_long_condemns_nothing() {
    let mut world = World::new(quick()).await;
    world.backend.mood(Mood::Answers(401)).await;
    let mut program = world.begin(quick()).await;
    let mut before = 0;
    for status in [401, 403, 401] {
        eventually("it has tried", || {
            let tried = world.backend.book().requests > before;
            (tried && sum(&program, "runtrail_outbox_batches") > 3.0).then_some(())
        });
        assert_eq!(sum(&program, "runtrail_spans_refused_total"), 0.0);
        assert_eq!(sum(&program, "runtrail_quarantine_batches"), 0.0);
        // Who starts anew need not wait for the next probe.
        world.over(&program.kill());
        before = world.backend.book().requests;
        world.backend.mood(Mood::Answers(status)).await;
        program = world.live();
    }
    world.over(&program.kill());
    world.backend.mood(Mood::Takes).await;
    let program = world.live();
    world.calm_down().await;
    let outcome = world.settle(program).await;
    println!("{}", outcome.numbers());
    outcome.is_as_undisturbed("the token was refused");
    let quarantined = compare::sum(&outcome.pages[0], "runtrail_quarantine_batches");
    assert_eq!(quarantined, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_span_that_the_backend_cannot_stand_costs_that_span_only() {
    static POISON: OnceLock<Ids> = OnceLock::new();
    let mut world = World::new(quick()).await;
    world.lacks = 1;
    world.backend.poison(|span| {
        let ids = Ids(span.trace_id.clone(), span.span_id.clone());
        span.name.starts_with("execute_tool ") && *POISON.get_or_init(|| ids.clone()) == ids
    });
    let program = world.begin(quick()).await;
    eventually("it is set aside", || {
        (sum(&program, "runtrail_quarantine_batches") > 0.0).then_some(())
    });
    world.calm_down().await;
    let variables = world.variables();
    let outcome = world.settle(program).await;
    let poison = format!("missing: {:?}", POISON.get().unwrap());
    let differences = outcome.differences();
    assert_eq!(differences.len(), 1, "{}", differences.join("\n"));
    assert!(differences[0].starts_with(&poison), "{}", differences[0]);

    let checked = run(&["check"], &borrowed(&variables));
    assert!(checked.text.contains("quarantine"), "{}", checked.text);
    outcome.backend.heal();
    let sent = run(&["resend"], &borrowed(&variables));
    assert_eq!(sent.code, Some(0), "{}", sent.text);
    outcome.is_as_undisturbed("what was set aside was sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_told_to_end_and_killed_at_once_loses_nothing() {
    let mut world = World::new(quick()).await;
    let mut program = world.begin(quick()).await;
    for _ in 0..8 {
        let before = world.backend.book().requests;
        eventually("it sends", || {
            (world.backend.book().requests > before).then_some(())
        });
        program.signal("TERM");
        world.over(&program.kill());
        program = world.live();
    }
    world.calm_down().await;
    let outcome = world.settle(program).await;
    println!("{}", outcome.numbers());
    outcome.is_as_undisturbed("told to end, and killed at once");
    assert_eq!(
        rounds::too_often(&outcome.backend.book(), IN_FLIGHT_MAX),
        [""; 0]
    );
}
