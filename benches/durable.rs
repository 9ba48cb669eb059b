//! What durability costs: the whole way from the bytes of a feed to spans that
//! a backend has taken, with a store on the disk, with one in memory, and
//! without one; then how long a start takes that reads a full journal, and what
//! a checkpoint of many open runs takes.
//!
//! `cargo bench --bench durable`. It is the real main loop with its keeper, its
//! packer and its outbox; only the socket in front and the backend behind are
//! not there. The store is a directory below `target/`, so the time on the wall
//! is that of the disk on which it is. What is read again at a start was written
//! just before, so it is in the memory of the system.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on may stop")]

mod counted;
mod feed;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use runtrail::config::{Config, Environment, Flags};
use runtrail::core::Core;
use runtrail::export::ExportTally;
use runtrail::limits::{CHECKPOINT_REST_TIMES, FEED_PIECES_MAX};
use runtrail::metrics::store::StoreStatus;
use runtrail::metrics::{self, Metrics};
use runtrail::net::clock::now;
use runtrail::sidecar::book::Book;
use runtrail::sidecar::engine::{Engine, ExportParts, Parts, Phase};
use runtrail::sidecar::keeper::Keeper;
use runtrail::sidecar::pacing::Pacing;
use runtrail::sidecar::safety::Safety;
use runtrail::sidecar::{self, Hooks, packer};
use runtrail::source::{FeedNews, FromFeed};
use runtrail::store::files::Files;
use runtrail::store::outbox::{Compression, Outbox, OutboxSettings};
use runtrail::store::quarantine::QuarantineSettings;
use runtrail::store::{Journal, JournalSettings, LogError, Quarantine, StoreDir};
use runtrail::wire::dialect::Dialect;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot, watch};

use self::counted::{Count, Counted, Counts};
use self::feed::{Feed, READ_BYTES};

const ROUNDS: usize = 5;
/// Enough that the clock of CPU time, which goes by 10 ms, is fine enough, and
/// that the journal gets full.
const RUNS: usize = 1_800;
const OPEN_RUNS: usize = 10_000;
/// A task that writes, a tool that it called, and some of its chunks.
const EVENTS_OF_OPEN_RUN: usize = 40;

fn main() {
    let feed = Feed::of(0..RUNS);
    println!("{}\n", feed.describe());
    costs(&feed);
    starts(&feed);
    checkpoints();
}

/// Where what was accepted is kept.
#[derive(Debug, Clone, Copy)]
enum Kept {
    Nowhere,
    InMemory,
    OnDisk,
}

/// One time through the whole feed.
struct Round {
    cpu: Duration,
    wall: Duration,
    counts: Counts,
}

fn costs(feed: &Feed) {
    let ways = [Kept::Nowhere, Kept::InMemory, Kept::OnDisk];
    let mut rounds = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        for (way, rounds) in ways.iter().zip(&mut rounds) {
            rounds.push(whole_way(feed, *way));
        }
    }
    let median = |of: fn(&Round) -> Duration| {
        let of_way = |rounds: &Vec<Round>| middle(rounds.iter().map(of).collect());
        rounds.each_ref().map(of_way)
    };
    let (cpus, walls) = (median(|round| round.cpu), median(|round| round.wall));
    println!("store        cpu s  ratio   wall s  ratio   events/s (cpu)  (wall)");
    for ((name, cpu), wall) in ["none", "in memory", "on disk"].iter().zip(cpus).zip(walls) {
        println!(
            "{name:<10} {:>7.2} {:>6.2} {:>8.2} {:>6.2} {:>16.0} {:>7.0}",
            cpu.as_secs_f64(),
            cpu.as_secs_f64() / cpus[0].as_secs_f64(),
            wall.as_secs_f64(),
            wall.as_secs_f64() / walls[0].as_secs_f64(),
            feed.events as f64 / cpu.as_secs_f64(),
            feed.events as f64 / wall.as_secs_f64(),
        );
    }
    let on_disk = rounds[2].last().unwrap();
    println!("\nwritten      bytes/event   syncs   syncs/s   ms/sync");
    for (kind, count) in &on_disk.counts {
        let Count {
            bytes,
            syncs,
            syncing,
        } = *count;
        println!(
            "{kind:<12} {:>11.1} {syncs:>7} {:>9.1} {:>9.2}",
            bytes as f64 / feed.events as f64,
            syncs as f64 / on_disk.wall.as_secs_f64(),
            syncing.as_secs_f64() * 1e3 / syncs.max(1) as f64,
        );
    }
}

/// From the first byte to the last acknowledgement and the last checkpoint.
fn whole_way(feed: &Feed, kept: Kept) -> Round {
    let dir = new_dir();
    let config = config(matches!(kept, Kept::OnDisk).then(|| dir.path()));
    let (files, _lock) = match &config.store.dir {
        Some(dir) => {
            let (files, lock) = StoreDir::open(dir).unwrap();
            (files, Some(lock))
        }
        None => (StoreDir::memory(), None),
    };
    let files = Arc::new(Counted::new(files));
    let bytes = Bytes::copy_from_slice(&feed.bytes);
    let runtime = runtime();
    let mut spans = 0;
    let (cpu, wall) = measure(|| {
        let keeps = !matches!(kept, Kept::Nowhere);
        spans = runtime.block_on(read_all(bytes, &config, Arc::clone(&files) as _, keeps));
    });
    assert_eq!(spans, feed.spans);
    Round {
        cpu,
        wall,
        counts: files.counts(),
    }
}

/// The sidecar between the socket and the backend. Tells how many spans came.
async fn read_all(mut feed: Bytes, config: &Config, files: Arc<dyn Files>, keeps: bool) -> u32 {
    let limits = &config.limits;
    let settings = OutboxSettings::new(config.outbox_bytes_max() as u64, limits);
    let (outbox, found) = Outbox::open(Arc::clone(&files), settings).unwrap();
    let outbox = Arc::new(outbox);
    let settings = QuarantineSettings::new(config.store.quarantine_bytes_max as u64, limits);
    let quarantine = Arc::new(Quarantine::open(Arc::clone(&files), settings).unwrap());
    let tally = Arc::new(ExportTally::default());
    let packer = packer::start(Compression::Gzip, Arc::clone(&outbox), Arc::clone(&tally)).unwrap();
    let backend = tokio::spawn(take_all(Arc::clone(&outbox)));
    let engine = Engine::new(Parts {
        core: core(config, keeps),
        metrics: metrics(config),
        book: Book::new(limits.recent_runs_max, limits.recent_runs_bytes_max),
        feeds: 1,
        export: Some(ExportParts {
            batches: Some(packer.batches),
            durable_through: packer.durable_through,
            found_through: found.through,
            found_batches: 0,
            found_damaged: 0,
            outbox,
            quarantine,
            tally,
        }),
        asker: None,
        safety: keeps.then(|| safety(config, files)),
        given_through: 0,
        store: StoreStatus::default(),
        run_lines: None,
        finished: None,
        logs: None,
    });
    let (pieces, from_feeds) = mpsc::channel(FEED_PIECES_MAX);
    let (_asks, asked) = mpsc::channel(1);
    let (phase, phases) = watch::channel(Phase::Running);
    let (tell_flushed, _flushed) = oneshot::channel();
    let engine = tokio::spawn(engine.run(from_feeds, asked, phases, tell_flushed));
    let told = |news| FromFeed { feed: 0, news };
    pieces.send(told(FeedNews::Connected)).await.unwrap();
    while !feed.is_empty() {
        let piece = feed.split_to(feed.len().min(READ_BYTES));
        pieces.send(told(FeedNews::Bytes(piece))).await.unwrap();
    }
    drop(pieces);
    let spans = backend.await.unwrap();
    phase.send(Phase::End).unwrap();
    engine.await.unwrap().unwrap();
    spans
}

/// A backend that takes everything at once.
async fn take_all(outbox: Arc<Outbox>) -> u32 {
    let mut spans = 0;
    while !outbox.is_drained() {
        let Some(id) = outbox.oldest_waiting() else {
            outbox.changed().await;
            continue;
        };
        let outbox = Arc::clone(&outbox);
        let taken = tokio::task::spawn_blocking(move || {
            let body = outbox.take(id).unwrap().unwrap();
            outbox.acknowledge(id).unwrap();
            body.spans
        });
        spans += taken.await.unwrap();
    }
    spans
}

/// How long a start takes that finds a full journal and no checkpoint.
fn starts(feed: &Feed) {
    let dir = new_dir();
    let config_here = config(Some(dir.path()));
    let (events, journal_bytes) = fill_journal(feed, &config_here).unwrap();
    println!(
        "\na full journal: {:.1} MiB, {events} events, {:.1} bytes/event",
        journal_bytes as f64 / f64::from(1 << 20),
        journal_bytes as f64 / events as f64
    );
    for (all_stored, what) in [
        (true, "its spans are in the outbox already"),
        (false, "all its spans are made again, packed and stored"),
    ] {
        if all_stored {
            // There are more events than inputs.
            store_through(&config_here, events);
        }
        let starts = (0..ROUNDS).map(|_| start(dir.path()));
        println!("read again in {:.2?}: {what}", middle(starts.collect()));
        if all_stored {
            forget_outbox(dir.path());
        }
    }
}

/// Writes down what the core is told until the journal takes no more. Tells its
/// events and bytes; nothing if the feed is too short for that.
fn fill_journal(feed: &Feed, config: &Config) -> Option<(u64, u64)> {
    let (files, _lock) = StoreDir::open(config.store.dir.as_deref().unwrap()).unwrap();
    let mut journal = journal(config, files);
    let mut core = core(config, true);
    let mut events = 0;
    for piece in feed.bytes.chunks(READ_BYTES) {
        core.handle_bytes(0, piece, Some(now()));
        let entries: Vec<&[u8]> = core.entries().collect();
        let appended = journal.append_all(entries.into_iter());
        if matches!(appended, Err(LogError::Full)) {
            return Some((events, journal.bytes()));
        }
        appended.unwrap();
        core.clear_entries();
        while core.poll_batch().is_some() || core.poll_summary().is_some() {}
        events += core.deltas().events_by_type.iter().sum::<u64>();
        core.deltas().clear();
    }
    None
}

/// The outbox says that all spans up to there were taken.
fn store_through(config: &Config, through: u64) {
    let (files, _lock) = StoreDir::open(config.store.dir.as_deref().unwrap()).unwrap();
    let settings = OutboxSettings::new(config.outbox_bytes_max() as u64, &config.limits);
    let (outbox, _) = Outbox::open(files, settings).unwrap();
    outbox.complete(through).unwrap();
}

fn forget_outbox(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().starts_with("outbox") {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
}

/// The time until a sidecar listens that finds this store. It gets a copy.
#[expect(clippy::disallowed_methods, reason = "a bench owns a clock")]
fn start(store: &Path) -> Duration {
    let dir = new_dir();
    for entry in std::fs::read_dir(store).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    let config = config(Some(dir.path()));
    let runtime = runtime();
    let begin = Instant::now();
    let started = runtime.block_on(sidecar::start(config, Hooks::default()));
    let took = begin.elapsed();
    drop(started.unwrap());
    runtime.shutdown_timeout(Duration::from_secs(5));
    took
}

/// What a checkpoint of many open runs takes.
#[expect(clippy::disallowed_methods, reason = "a bench owns a clock")]
fn checkpoints() {
    let dir = new_dir();
    let config = config(Some(dir.path()));
    let (files, _lock) = StoreDir::open(dir.path()).unwrap();
    let files = Arc::new(Counted::new(files));
    let mut core = core(&config, true);
    for first in (0..OPEN_RUNS).step_by(1_000) {
        let feed = Feed::begun(first..first + 1_000, EVENTS_OF_OPEN_RUN);
        core.handle_bytes(0, &feed.bytes, Some(now()));
        core.clear_entries();
    }
    core.handle_drain();
    while core.poll_batch().is_some() {}
    assert_eq!(core.open_runs(), OPEN_RUNS);
    let metrics = metrics(&config);
    let mut safety = safety(&config, Arc::clone(&files) as _);
    let mut saved = Vec::new();
    runtime().block_on(async {
        for _ in 0..ROUNDS {
            let begin = Instant::now();
            safety.save(&mut core, &metrics, 0).await.unwrap();
            safety.install(u64::MAX, &mut core, now()).await.unwrap();
            saved.push(begin.elapsed());
        }
    });
    let written = files.counts()["checkpoint"].bytes / ROUNDS as u64;
    println!(
        "\na checkpoint of {OPEN_RUNS} open runs of {EVENTS_OF_OPEN_RUN} events: {:.1} MiB, {} bytes/run, {:.2?}",
        written as f64 / f64::from(1 << 20),
        written / OPEN_RUNS as u64,
        middle(saved)
    );
}

/// Nothing listens at these addresses, and nothing is asked.
fn config(store: Option<&Path>) -> Config {
    let nowhere = "http://127.0.0.1:1";
    let mut variables = vec![
        ("AKRIBES_URL", nowhere),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", nowhere),
        ("RUNTRAIL_LISTEN_METRICS", "127.0.0.1:0"),
        ("RUNTRAIL_LISTEN_LOCAL", "127.0.0.1:0"),
        ("RUNTRAIL_REPAIR", "false"),
        ("RUNTRAIL_ENRICH", "false"),
        ("RUNTRAIL_MARKERS", "false"),
    ];
    if let Some(dir) = store {
        variables.push(("RUNTRAIL_STORE_DIR", dir.to_str().unwrap()));
    }
    Config::load(&Flags::default(), &Environment::from_iter(variables)).unwrap()
}

fn core(config: &Config, keeps: bool) -> Core {
    let settings = config.core_settings();
    let mut core = Core::new(settings.clone()).unwrap();
    core.resume(&settings, keeps, now());
    core
}

fn metrics(config: &Config) -> Metrics {
    Metrics::new(&metrics::Settings::new(&config.limits, Dialect::SYSTEMS)).unwrap()
}

fn journal(config: &Config, files: Arc<dyn Files>) -> Journal {
    let limits = &config.limits;
    let settings = JournalSettings {
        limit_bytes: config.store.journal_bytes_max as u64,
        record_bytes_max: limits.frame_bytes_max.max(limits.answer_bytes_max) + (1 << 20),
    };
    Journal::open(files, settings).unwrap().0
}

fn safety(config: &Config, files: Arc<dyn Files>) -> Safety {
    let journal = journal(config, Arc::clone(&files));
    let limit_bytes = journal.limit_bytes();
    let keeper = Keeper::start(files, journal).unwrap();
    let every = config.store.checkpoint_every;
    let pacing = Pacing::new(every, CHECKPOINT_REST_TIMES, tokio::time::Instant::now());
    Safety::new(keeper, pacing, limit_bytes)
}

fn new_dir() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

/// The CPU time of all threads, and the time on the wall.
#[expect(clippy::disallowed_methods, reason = "a bench owns a clock")]
fn measure(work: impl FnOnce()) -> (Duration, Duration) {
    let (cpu, wall) = (cpu_time(), Instant::now());
    work();
    (cpu_time().saturating_sub(cpu), wall.elapsed())
}

/// As the kernel counts it for the process, threads that have ended included.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_ascii_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
