//! The readers, each of which runs in a process of its own.

use std::fmt;
use std::fs;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use akribes_sdk::AkribesClient;
use runtrail::config::{Config, Environment, Flags};
use runtrail::core::Core;
use runtrail::export::{Compression, ExportTally};
use runtrail::limits::FEED_PIECES_MAX;
use runtrail::metrics::catalogue::Group;
use runtrail::metrics::store::StoreStatus;
use runtrail::metrics::{self, Metrics};
use runtrail::sidecar::book::Book;
use runtrail::sidecar::engine::{Engine, ExportParts, Parts, Phase};
use runtrail::sidecar::packer;
use runtrail::sim::settings::DEFAULT_TOKEN;
use runtrail::source;
use runtrail::store::outbox::{Outbox, OutboxSettings};
use runtrail::store::quarantine::QuarantineSettings;
use runtrail::store::{Quarantine, StoreDir};
use runtrail::wire::dialect::Dialect;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::feed::{self, Feed};

/// As many threads as `runtrail run` has.
const WORKERS: usize = 2;

const READ_TIME_MAX: Duration = Duration::from_secs(60);

/// How often it is looked whether all events were read.
const LOOK: Duration = Duration::from_millis(20);
const EVENTS: &str = "runtrail_events_total";

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// The SDK: each event is taken from `event_stream`, and dropped.
    Sdk,
    /// The whole way, its bodies compressed and then discarded.
    Gzip,
    /// The same without compression.
    Plain,
    /// The core alone, on bytes in memory.
    Core,
}

/// What it took to read the feed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) events: u64,
    pub(crate) cpu: Duration,
    pub(crate) wall: Duration,
    /// The most that was resident, the program itself included.
    pub(crate) memory_bytes: u64,
}

impl Reader {
    pub(crate) const ALL: [Self; 4] = [Self::Sdk, Self::Gzip, Self::Plain, Self::Core];

    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reader| reader.name() == name)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sdk => "sdk",
            Self::Gzip => "gzip",
            Self::Plain => "plain",
            Self::Core => "core",
        }
    }

    /// Reads so many events of the feed, in this process.
    pub(crate) fn read(self, url: &str, events: u64) -> Reading {
        if self == Self::Core {
            let feed = Feed::generate();
            let watch = Stopwatch::start();
            feed::all(&feed);
            return watch.stop(feed.events);
        }
        let runtime = runtime();
        let reading = async {
            match self {
                Self::Gzip => ours(url, events, Compression::Gzip).await,
                Self::Plain => ours(url, events, Compression::None).await,
                Self::Sdk | Self::Core => theirs(url, events).await,
            }
        };
        // Who misses some would wait for ever.
        runtime.block_on(async { timeout(READ_TIME_MAX, reading).await.unwrap() })
    }
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .unwrap()
}

async fn theirs(url: &str, events: u64) -> Reading {
    let client = AkribesClient::builder(url).token(DEFAULT_TOKEN).build();
    let stream = client.project(1).events();
    let watch = Stopwatch::start();
    let (mut taken, _subscription) = stream.event_stream(None).await.unwrap();
    let mut count = 0;
    while count < events && taken.recv().await.is_some() {
        count += 1;
    }
    watch.stop(count)
}

/// The source, the main loop, the packer and the outbox, as `runtrail run` joins
/// them; only the exporter is another one.
async fn ours(url: &str, events: u64, compression: Compression) -> Reading {
    let variables = [
        ("AKRIBES_URL", url),
        ("AKRIBES_TOKEN", DEFAULT_TOKEN),
        ("AKRIBES_PROJECT_ID", "1"),
        // The SDK asks nothing either.
        ("RUNTRAIL_REPAIR", "false"),
        ("RUNTRAIL_ENRICH", "false"),
    ];
    let config = Config::load(&Flags::default(), &Environment::from_iter(variables)).unwrap();
    let limits = &config.limits;

    let mut metrics = Metrics::new(&metrics::Settings::new(limits, Dialect::SYSTEMS)).unwrap();
    metrics.register(Group::Export).unwrap();
    let registry = metrics.registry().clone();
    let files = StoreDir::memory();
    let settings = OutboxSettings::new(config.outbox_bytes_max() as u64, limits);
    let (outbox, found) = Outbox::open(Arc::clone(&files), settings).unwrap();
    let outbox = Arc::new(outbox);
    let settings = QuarantineSettings::new(config.store.quarantine_bytes_max as u64, limits);
    let quarantine = Arc::new(Quarantine::open(files, settings).unwrap());
    let tally = Arc::new(ExportTally::default());
    let (to_engine, from_feeds) = mpsc::channel(FEED_PIECES_MAX);
    let (stop, stopped) = watch::channel(false);
    let (_asks, asked) = mpsc::channel(1);
    let (phase, phases) = watch::channel(Phase::Running);
    let (tell_flushed, flushed) = oneshot::channel();

    let packer = packer::start(compression, Arc::clone(&outbox), Arc::clone(&tally)).unwrap();
    let discard = tokio::spawn(discard(Arc::clone(&outbox)));
    let engine = Engine::new(Parts {
        core: Core::new(config.core_settings()).unwrap(),
        metrics,
        book: Book::new(limits.recent_runs_max, limits.recent_runs_bytes_max),
        feeds: config.source.feeds.len(),
        export: Some(ExportParts {
            batches: Some(packer.batches),
            durable_through: packer.durable_through,
            found_through: found.through,
            found_batches: found.batches,
            found_damaged: found.records_damaged,
            outbox,
            quarantine,
            tally,
        }),
        asker: None,
        safety: None,
        store: StoreStatus::default(),
        given_through: 0,
        run_lines: None,
        finished: None,
        logs: None,
    });
    let engine = tokio::spawn(engine.run(from_feeds, asked, phases, tell_flushed));
    let _feeds = source::start(config.source.clone(), 1, to_engine, stopped).unwrap();

    let counted = || {
        let families = registry.gather();
        let of_events = families.iter().filter(|family| family.name() == EVENTS);
        let series = of_events.flat_map(|family| family.get_metric());
        series
            .map(|series| series.get_counter().get_value())
            .sum::<f64>() as u64
    };
    let watch = Stopwatch::start();
    while counted() < events {
        tokio::time::sleep(LOOK).await;
    }
    let _ = stop.send(true);
    flushed.await.unwrap();
    packer.ended.await.unwrap();
    discard.await.unwrap();
    let reading = watch.stop(counted());
    let _ = phase.send(Phase::End);
    engine.await.unwrap().unwrap();
    reading
}

/// Takes each body as a backend would, and that is all.
async fn discard(outbox: Arc<Outbox>) {
    while !outbox.is_drained() {
        match outbox.oldest_waiting() {
            Some(id) => outbox.acknowledge(id).unwrap(),
            None => outbox.changed().await,
        }
    }
}

/// Started when the client is made, since what TLS takes for that is not of the feed.
struct Stopwatch {
    cpu: Duration,
    wall: Instant,
}

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "a bench owns a clock")]
    fn start() -> Self {
        Self {
            cpu: cpu_time(),
            wall: Instant::now(),
        }
    }

    fn stop(self, events: u64) -> Reading {
        Reading {
            events,
            cpu: cpu_time().saturating_sub(self.cpu),
            wall: self.wall.elapsed(),
            memory_bytes: memory_peak(),
        }
    }
}

/// Of all threads, those that have ended included, in hundredths of a second.
fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    // Behind the name, which may hold anything: the state is the manual's third field.
    let fields = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace();
    let [user, system] = [14 - 3, 15 - 3].map(|place| {
        let ticks = fields.clone().nth(place).unwrap();
        ticks.parse::<u64>().unwrap()
    });
    Duration::from_millis((user + system) * 10)
}

fn memory_peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<u64>().unwrap() << 10
}

/// As one process tells it to another.
impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cpu, wall) = (self.cpu.as_nanos(), self.wall.as_nanos());
        write!(f, "{} {cpu} {wall} {}", self.events, self.memory_bytes)
    }
}

impl FromStr for Reading {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Option<Vec<u64>> = text.split_whitespace().map(|n| n.parse().ok()).collect();
        let Some([events, cpu, wall, memory_bytes]) = numbers.as_deref() else {
            return Err(format!("a reader said {text:?}"));
        };
        Ok(Self {
            events: *events,
            cpu: Duration::from_nanos(*cpu),
            wall: Duration::from_nanos(*wall),
            memory_bytes: *memory_bytes,
        })
    }
}
