//! How fast the core is on one core of the machine: a recorded feed, bytes in;
//! spans encoded, summaries made and metrics counted out.
//!
//! `cargo bench --bench core`. The stages are prefixes of one another, run side
//! by side on the same bytes, so their shares can be told:
//!
//! - *sse*: bytes become frames
//! - *events*: frames become events, which are counted and forgotten
//! - *fold*: events become runs and finished nodes, which are dropped
//! - *all*: and those become batches of spans, summaries and series
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on may stop")]

mod clock;
mod feed;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use runtrail::limits::Limits;
use runtrail::run::RunSettings;
use runtrail::run::table::RunTable;
use runtrail::wire::dialect::Dialect;
use runtrail::wire::item::Item;
use runtrail::wire::sse::{SseDecoder, SseItem};

use self::clock::measure;
use self::feed::{Feed, READ_BYTES, RUNS, all};

const ROUNDS: usize = 9;

/// A prefix of the way through the core.
type Stage = fn(&Feed);

fn main() {
    let feed = Feed::generate();
    println!("{}", feed.describe());

    let stages: [(&str, Stage); 4] = [
        ("sse", sse),
        ("events", events),
        ("fold", fold),
        ("all", all),
    ];
    let mut times = [const { Vec::new() }; 4];
    for _ in 0..ROUNDS {
        for ((_, stage), times) in stages.iter().zip(&mut times) {
            times.push(measure(|| stage(&feed)));
        }
    }
    let medians = times.map(median);
    let (whole, _) = medians[3];
    let mut before = Duration::ZERO;
    println!("stage    events/s (cpu)  (wall)      MB/s   ns/event  share of all");
    for ((name, _), (cpu, wall)) in stages.iter().zip(medians) {
        println!(
            "{name:<8} {:>11.0} {:>11.0} {:>9.0} {:>10.0} {:>8.1} %",
            feed.events as f64 / cpu.as_secs_f64(),
            feed.events as f64 / wall.as_secs_f64(),
            feed.bytes.len() as f64 / 1e6 / cpu.as_secs_f64(),
            cpu.as_nanos() as f64 / feed.events as f64,
            100.0 * cpu.saturating_sub(before).as_secs_f64() / whole.as_secs_f64(),
        );
        before = cpu;
    }
}

/// Bytes become frames.
fn sse(feed: &Feed) {
    let limits = Limits::default();
    let mut decoder = SseDecoder::new(limits.line_bytes_max, limits.frame_bytes_max);
    let mut frames = 0u64;
    for mut piece in feed.bytes.chunks(READ_BYTES) {
        while let Some(item) = decoder.next(&mut piece) {
            if let SseItem::Frame(frame) = item {
                frames += black_box(frame.data.len() as u64).min(1);
            }
        }
    }
    assert_eq!(frames, feed.frames);
}

/// Frames become events.
fn events(feed: &Feed) {
    let mut events = 0;
    read(feed, |item| {
        if let Item::Event { event, .. } = item {
            black_box(&event);
            events += 1;
        }
    });
    assert_eq!(events, feed.events);
}

/// Events become runs.
fn fold(feed: &Feed) {
    let settings = RunSettings {
        limits: Limits::default(),
        repair: false,
        enrich: false,
        prices: None,
    };
    let mut runs = RunTable::new("akribes", Arc::from("bench"), settings);
    let mut outputs = Vec::new();
    let mut said = 0;
    read(feed, |item| {
        if let Item::Event { event, .. } = item {
            runs.handle_event(event, None, &mut outputs);
            said += outputs.len();
            outputs.clear();
        }
    });
    assert!(runs.is_empty() && said > RUNS);
}

fn read(feed: &Feed, mut sink: impl FnMut(Item<'_>)) {
    let limits = Limits::default();
    let mut decoder = SseDecoder::new(limits.line_bytes_max, limits.frame_bytes_max);
    let mut dialect = Dialect::of("akribes", false).unwrap();
    for mut piece in feed.bytes.chunks(READ_BYTES) {
        while let Some(item) = decoder.next(&mut piece) {
            if let SseItem::Frame(frame) = item {
                dialect.read(&frame, &mut sink);
            }
        }
    }
}

fn median(mut times: Vec<(Duration, Duration)>) -> (Duration, Duration) {
    times.sort_unstable();
    times[times.len() / 2]
}
