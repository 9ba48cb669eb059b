//! The recording that ships with the project is the one that its program writes.

#[path = "../examples/record_review/recording.rs"]
mod recording;
#[path = "../examples/record_review/runs.rs"]
mod runs;

#[test]
fn the_shipped_recording_is_what_its_program_writes() {
    let written = recording::write(runs::all()).unwrap();
    let shipped = include_str!("../examples/feeds/review.sse");
    assert!(
        written == shipped,
        "to write it anew: cargo run --example record_review > examples/feeds/review.sse"
    );
}

#[test]
fn the_shipped_recording_stays_small() {
    let shipped = include_str!("../examples/feeds/review.sse");
    assert!(shipped.len() < 400_000);
}
