//! What one replica carries: the real program, with a store on disk, between a
//! server over loopback that says what it is told to say and a backend that takes
//! everything. How fast it goes, what it costs at a steady pace, and what it takes
//! of memory and disk.
//!
//! `cargo bench --bench replica`. `RUNTRAIL_BENCH_PROGRAM` names another program
//! than the one that was just built, such as that of an image. Server and backend
//! are in this process and share the processors with it; their time is not counted.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on may stop")]
#![expect(clippy::disallowed_methods, reason = "a bench owns a clock")]

mod between;
mod feed;

use std::path::Path;
use std::time::{Duration, Instant};

use self::between::{Backend, Replica, Server};
use self::feed::Feed;

const ROUNDS: usize = 5;
const RUNS: usize = 1_800;
const IDLE: Duration = Duration::from_secs(20);
const STEADY: Duration = Duration::from_secs(30);
const EVENTS_A_SECOND: [u32; 2] = [100, 1_000];
const OPEN_RUNS: usize = 10_000;
/// A task that has ended and another that writes.
const EVENTS_OF_OPEN_RUN: usize = 100;

fn main() {
    idle();
    for events_a_second in EVENTS_A_SECOND {
        steady(events_a_second);
    }
    as_fast_as_it_goes();
    full();
}

/// One program, from its start on.
struct Trial {
    server: Server,
    replica: Replica,
    store: tempfile::TempDir,
    _backend: Backend,
}

impl Trial {
    fn start() -> Self {
        let (server, backend) = (Server::start(), Backend::start());
        let store = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let replica = Replica::start(server.address, backend.address, store.path());
        server.has_reader();
        Self {
            server,
            replica,
            store,
            _backend: backend,
        }
    }

    /// CPU time and time on the wall, until this metric has come so far.
    fn measure(&self, metric: &str, wanted: u64, work: impl FnOnce(&Server)) -> (f64, f64) {
        let (cpu, wall) = (self.replica.cpu_seconds(), Instant::now());
        work(&self.server);
        self.replica.wait_until(metric, wanted);
        let cpu = self.replica.cpu_seconds() - cpu;
        (cpu, wall.elapsed().as_secs_f64())
    }
}

fn idle() {
    let trial = Trial::start();
    let cpu = trial.replica.cpu_seconds();
    std::thread::sleep(IDLE);
    let cpu = (trial.replica.cpu_seconds() - cpu) / IDLE.as_secs_f64();
    let resident = trial.replica.memory_mib("VmRSS:");
    println!("idle              {cpu:.4} of a core, {resident:.1} MiB resident");
}

fn steady(events_a_second: u32) {
    let events = u64::from(events_a_second) * STEADY.as_secs();
    let feed = Feed::of(0..(events / feed::EVENTS_A_RUN) as usize);
    let trial = Trial::start();
    let (cpu, wall) = trial.measure("runtrail_runs_finished_total", feed.runs as u64, |server| {
        server.say(&feed.bytes, Some(feed.frames as f64 / STEADY.as_secs_f64()));
    });
    println!(
        "{events_a_second:>5} events/s    {:.4} of a core, {:.1} MiB resident at most",
        cpu / wall,
        trial.replica.memory_mib("VmHWM:"),
    );
}

fn as_fast_as_it_goes() {
    let feed = Feed::of(0..RUNS);
    println!("\n{}", feed.describe());
    println!(
        "cpu s   wall s   events/s (cpu)   (wall)   MiB at most   written B/event   MiB on disk"
    );
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let trial = Trial::start();
        let written = trial.replica.written_bytes();
        let (cpu, wall) = trial.measure(
            "runtrail_spans_exported_total",
            feed.spans.into(),
            |server| {
                server.say(&feed.bytes, None);
            },
        );
        let written = trial.replica.written_bytes() - written;
        let events = feed.events as f64;
        rounds.push([
            cpu,
            wall,
            events / cpu,
            events / wall,
            trial.replica.memory_mib("VmHWM:"),
            written as f64 / events,
            bytes_below(trial.store.path()) as f64 / f64::from(1 << 20),
        ]);
    }
    let [cpu, wall, by_cpu, by_wall, memory, written, disk] = medians(&rounds);
    println!(
        "{cpu:>5.2} {wall:>8.2} {by_cpu:>16.0} {by_wall:>8.0} {memory:>13.1} {written:>17.1} {disk:>13.1}"
    );
}

/// As many runs as may be open, then the time until an unexpected end is made good.
fn full() {
    let feed = Feed::begun(0..OPEN_RUNS, EVENTS_OF_OPEN_RUN);
    let mut trial = Trial::start();
    let (cpu, wall) = trial.measure("runtrail_runs_open", OPEN_RUNS as u64, |server| {
        server.say(&feed.bytes, None);
    });
    println!(
        "\n{OPEN_RUNS} open runs of {EVENTS_OF_OPEN_RUN} events: {cpu:.2} s of CPU time in {wall:.2} s, {:.1} MiB resident at most, {:.1} MiB on disk",
        trial.replica.memory_mib("VmHWM:"),
        bytes_below(trial.store.path()) as f64 / f64::from(1 << 20),
    );
    let wall = Instant::now();
    trial.replica.kill_and_start_again();
    let wall = wall.elapsed().as_secs_f64();
    println!("killed, it listens again after {wall:.2} s");
}

fn medians<const N: usize>(rounds: &[[f64; N]]) -> [f64; N] {
    std::array::from_fn(|column| {
        let mut values: Vec<f64> = rounds.iter().map(|round| round[column]).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    })
}

fn bytes_below(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).unwrap();
    let sizes = entries.map(|entry| {
        let entry = entry.unwrap();
        // What is deleted while we look takes no room.
        match entry.metadata() {
            Ok(about) if about.is_dir() => bytes_below(&entry.path()),
            Ok(about) => about.len(),
            Err(_) => 0,
        }
    });
    sizes.sum()
}
