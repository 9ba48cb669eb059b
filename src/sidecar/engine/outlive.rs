//! The main loop over a disk that dies, loses what was not synced, or is full:
//! the spans of a feed are all there in the end, each once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Amount, Engine, ExportParts, Parts};
use crate::config::{Config, Environment, Flags};
use crate::export::{Compression, ExportTally};
use crate::metrics::store::StoreStatus;
use crate::net::clock::now;
use crate::sidecar::book::Book;
use crate::sidecar::keeper::Keeper;
use crate::sidecar::pacing::Pacing;
use crate::sidecar::packer;
use crate::sidecar::recover::recover;
use crate::sidecar::safety::Safety;
use crate::source::{FeedNews, FromFeed};
use crate::store::files::Files;
use crate::store::files::faulty::{Fault, Faulty};
use crate::store::outbox::{Outbox, OutboxSettings};
use crate::store::quarantine::QuarantineSettings;
use crate::store::{Quarantine, StoreFailed};
use crate::trace::body::spans;

const FEED: &str = include_str!("../../../examples/feeds/review.sse");

/// The frames of the feed, each with its id.
pub(super) fn frames() -> Vec<(String, Bytes)> {
    let frames = FEED.split_inclusive("\n\n");
    frames
        .map(|frame| {
            let id = frame.lines().find_map(|line| line.strip_prefix("id: "));
            let id = id.unwrap_or_default().to_owned();
            (id, Bytes::copy_from_slice(frame.as_bytes()))
        })
        .collect()
}

/// Without anybody to ask: whatever is missed then is missed for good.
fn config() -> Config {
    let variables = Environment::from_iter([
        ("AKRIBES_URL", "http://localhost:1"),
        ("RUNTRAIL_STORE_DIR", "/none"),
        ("RUNTRAIL_REPAIR", "false"),
        ("RUNTRAIL_ENRICH", "false"),
        ("RUNTRAIL_LIMITS_BATCH_AGE_MAX", "10ms"),
    ]);
    Config::load(&Flags::default(), &variables).unwrap()
}

/// One life of the program, without a backend that would take anything.
pub(super) struct Life {
    pub(super) engine: Engine,
    outbox: Arc<Outbox>,
    asks: mpsc::Receiver<crate::admin::Ask>,
    news: mpsc::Receiver<FromFeed>,
}

impl Life {
    pub(super) async fn begin(files: &(impl Files + Clone + 'static)) -> Result<Self, String> {
        let config = config();
        let files: Arc<dyn Files> = Arc::new(files.clone());
        let limits = &config.limits;
        let told = |error: &dyn std::error::Error| error.to_string();
        let settings = OutboxSettings::new(8 << 20, limits);
        let (outbox, found) =
            Outbox::open(Arc::clone(&files), settings).map_err(|error| told(&error))?;
        let outbox = Arc::new(outbox);
        let settings = QuarantineSettings::new(8 << 20, limits);
        let quarantine =
            Quarantine::open(Arc::clone(&files), settings).map_err(|error| told(&error))?;
        let tally = Arc::new(ExportTally::default());
        let packer = packer::start(Compression::None, Arc::clone(&outbox), Arc::clone(&tally));
        let packer = packer.unwrap();
        let batches = packer.batches.clone();
        let (for_recovery, of_recovery) = (config.clone(), Arc::clone(&files));
        let of_outbox = Arc::clone(&outbox);
        let recovered = tokio::task::spawn_blocking(move || {
            let packer = Some((&batches, &*of_outbox));
            recover(
                &for_recovery,
                Some(of_recovery),
                found.through,
                packer,
                now(),
            )
        });
        let recovered = recovered.await.unwrap().map_err(|error| told(&error))?;
        let journal = recovered.journal.unwrap();
        let limit_bytes = journal.limit_bytes();
        let keeper = Keeper::start(files, journal).unwrap();
        let (_, asks) = mpsc::channel(1);
        let (_, news) = mpsc::channel(1);
        let engine = Engine::new(Parts {
            core: recovered.core,
            metrics: recovered.metrics,
            book: Book::new(10, 1 << 20),
            feeds: 1,
            export: Some(ExportParts {
                batches: Some(packer.batches),
                durable_through: packer.durable_through,
                found_through: found.through,
                found_batches: found.batches,
                found_damaged: found.records_damaged,
                outbox: Arc::clone(&outbox),
                quarantine: Arc::new(quarantine),
                tally,
            }),
            asker: None,
            // A checkpoint whenever there is something to be kept.
            safety: Some(Safety::new(
                keeper,
                Pacing::new(Duration::ZERO, 0, Instant::now()),
                limit_bytes,
            )),
            store: StoreStatus::default(),
            given_through: recovered.given_through,
            run_lines: None,
            finished: None,
            logs: None,
        });
        Ok(Self {
            engine,
            outbox,
            asks,
            news,
        })
    }

    /// Hears the frames from where it left off, as far as it comes. The numbers
    /// say where flushing is worth a thought.
    async fn hear(&mut self, frames: &[(String, Bytes)]) -> Result<(), StoreFailed> {
        self.hear_one(FeedNews::Connected).await?;
        let cursor = self.engine.parts.core.last_event_id(0).to_owned();
        let place = frames.iter().position(|(id, _)| *id == cursor);
        let begin = place.map_or(0, |place| place + 1);
        for (n, (_, frame)) in frames.iter().enumerate().skip(begin) {
            self.hear_one(FeedNews::Bytes(frame.clone())).await?;
            if n % 3 == 0 {
                self.engine.parts.core.handle_drain();
                self.settle().await?;
            }
        }
        Ok(())
    }

    pub(super) async fn hear_one(&mut self, news: FeedNews) -> Result<(), StoreFailed> {
        self.engine
            .hear_all(FromFeed { feed: 0, news }, &mut self.news);
        self.settle().await
    }

    async fn settle(&mut self) -> Result<(), StoreFailed> {
        self.engine.tick();
        self.engine.settle(&mut self.asks).await
    }

    /// Gives everything away, and waits until it is stored.
    async fn finish(&mut self) -> Result<(), StoreFailed> {
        self.engine.parts.core.handle_drain();
        self.engine.keep(&mut self.asks).await?;
        self.engine.give_out(Amount::All).await;
        let through = self.engine.given_through;
        let mut durable = self.outbox.durable_through();
        tokio::select! {
            _ = durable.wait_for(|durable| *durable >= through) => Ok(()),
            failed = self.outbox.failed() => Err(failed),
        }
    }
}

/// The spans that the outbox holds, and how often.
fn stored(outbox: &Outbox) -> BTreeMap<Vec<u8>, usize> {
    let mut found = BTreeMap::new();
    while let Some(id) = outbox.oldest_waiting() {
        let packed = outbox.take(id).unwrap().unwrap();
        outbox.claim(id);
        for span in spans(&packed.body) {
            // Whether a short run is noticed while it is open is a matter of moments.
            let name = Span::decode(span.bytes).unwrap().name;
            if name.starts_with("run started ") {
                continue;
            }
            *found.entry(span.bytes.to_vec()).or_default() += 1;
        }
    }
    found
}

/// The names of spans, with how often each is there, for people.
fn told(spans: &BTreeMap<Vec<u8>, usize>) -> Vec<String> {
    let name = |(bytes, count): (&Vec<u8>, &usize)| {
        let span = Span::decode(bytes.as_slice()).unwrap();
        format!("{count} {} {}", span.name, span.start_time_unix_nano)
    };
    let mut names: Vec<String> = spans.iter().map(name).collect();
    names.sort();
    names
}

/// What comes of the feed when nothing goes wrong.
async fn undisturbed(frames: &[(String, Bytes)]) -> BTreeMap<Vec<u8>, usize> {
    let mut life = Life::begin(&Faulty::new()).await.unwrap();
    life.hear(frames).await.unwrap();
    life.finish().await.unwrap();
    stored(&life.outbox)
}

#[tokio::test]
async fn whatever_the_disk_loses_when_the_power_goes_every_span_is_stored_once() {
    let frames = frames();
    let expected = undisturbed(&frames).await;
    assert!(expected.len() > 10, "{}", expected.len());
    assert!(expected.values().all(|count| *count == 1));
    let mut deaths = 0;
    for seed in 0..24u64 {
        let mut files = Faulty::new();
        // The first lives end at some write, the last one does not.
        for life in 0..4u64 {
            if life < 3 {
                let nth = 1 + (seed * 7 + life * 31) % 97;
                files.fail_change(
                    nth,
                    Fault::Die {
                        kept: (seed % 50) as usize,
                    },
                );
            }
            let outcome = match Life::begin(&files).await {
                Ok(mut life) => {
                    let heard = life.hear(&frames).await;
                    match heard {
                        Ok(()) => life.finish().await.map_err(|failed| failed.to_string()),
                        Err(failed) => Err(failed.to_string()),
                    }
                }
                Err(error) => Err(error),
            };
            if outcome.is_err() {
                deaths += 1;
                files = match seed % 2 {
                    0 => files.crash(seed + life),
                    _ => files.crash_with_holes(seed + life),
                };
            } else {
                files.heal();
            }
        }
        let limits = config().limits;
        let settings = OutboxSettings::new(8 << 20, &limits);
        let (outbox, _) = Outbox::open(Arc::new(files.clone()), settings).unwrap();
        let found = stored(&outbox);
        assert_eq!(told(&found), told(&expected), "seed {seed}");
        assert_eq!(found, expected, "seed {seed}");
    }
    assert!(deaths > 24, "only {deaths} lives were ended by the disk");
}

#[tokio::test(start_paused = true)]
async fn with_a_full_disk_it_goes_on_and_with_room_again_nothing_is_unwritten() {
    let frames = frames();
    let files = Faulty::new();
    let mut life = Life::begin(&files).await.unwrap();
    let (first, rest) = frames.split_at(20);
    life.hear(first).await.unwrap();
    files.bound(files.bytes_used() + 100);
    for (_, frame) in &rest[..10] {
        life.hear_one(FeedNews::Bytes(frame.clone())).await.unwrap();
    }
    let suspended = |life: &Life| life.engine.parts.safety.as_ref().unwrap().is_suspended();
    assert!(suspended(&life));
    // It has heard all of it all the same.
    assert_eq!(life.engine.parts.core.last_event_id(0), rest[9].0);

    files.heal();
    for _ in 0..100 {
        if !suspended(&life) {
            break;
        }
        tokio::time::advance(std::time::Duration::from_secs(6)).await;
        life.outbox.try_disk_again().unwrap();
        life.settle().await.unwrap();
    }
    assert!(!suspended(&life));
    for (_, frame) in &rest[10..] {
        life.hear_one(FeedNews::Bytes(frame.clone())).await.unwrap();
    }
    // Whoever goes on from here knows all of it.
    let heard = life.engine.parts.core.last_event_id(0).to_owned();
    drop(life);
    let life = Life::begin(&files).await.unwrap();
    assert_eq!(life.engine.parts.core.last_event_id(0), heard);
}
