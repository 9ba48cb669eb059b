//! From a configuration to a running sidecar, and from there to its end, each
//! in one straight line.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::book::Book;
use super::budget::{Budget, OverBudget};
use super::drain::{RunningExport, Started};
use super::engine::{AskerParts, Engine, ExportParts, FinishedRun, Parts, Phase};
use super::keeper::Keeper;
use super::pacing::Pacing;
use super::packer;
use super::recover::{RecoverError, Recovered, recover};
use super::safety::Safety;
use crate::admin::{Api, ApiSettings, Probes, ProbesSettings};
use crate::config::Config;
use crate::core::UnknownSystem;
use crate::export::{Compression, ExportError, ExportTally, Exporter};
use crate::limits::{ASKS_MAX, CHECKPOINT_REST_TIMES, FEED_PIECES_MAX};
use crate::logs::{LineWriter, Logs, Told};
use crate::metrics::catalogue::{CatalogueError, Group};
use crate::metrics::store::StoreStatus;
use crate::net::clock::now;
use crate::source::ask::{Asker, AskerSettings};
use crate::source::{self, SourceError};
use crate::store::files::Files;
use crate::store::log::LogError;
use crate::store::outbox::{Outbox, OutboxSettings};
use crate::store::quarantine::QuarantineSettings;
use crate::store::{Quarantine, StoreDir, StoreError};

/// What whoever starts a sidecar may want of it, beside what it does.
#[derive(Debug, Default)]
pub struct Hooks {
    /// Each finished run, as far as the channel has room.
    pub finished: Option<mpsc::Sender<FinishedRun>>,
    /// The logs of this process, to be told now and then what they held back.
    pub logs: Option<Arc<Logs>>,
}

/// Why a sidecar does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It would need more memory than it may use.
    #[error(transparent)]
    Budget(#[from] OverBudget),
    /// No such system.
    #[error(transparent)]
    System(#[from] UnknownSystem),
    /// A bound leaves no room for the metrics.
    #[error(transparent)]
    Metrics(#[from] CatalogueError),
    /// The export cannot be set up.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The source cannot be set up.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// What waits for the backend cannot be kept.
    #[error("the store cannot be used: {0}")]
    Log(#[from] LogError),
    /// The store's directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What an earlier life left there cannot be gone on from.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The system gives no thread.
    #[error("cannot start the threads of the program: {0}")]
    Thread(io::Error),
    /// A port cannot be listened to.
    #[error("cannot listen on {address}: {error}; choose another address with {key}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The key that changes it.
        key: &'static str,
        /// Why.
        error: io::Error,
    },
}

impl StartError {
    /// Whether a setting is wrong, rather than something outside.
    pub const fn is_usage(&self) -> bool {
        !matches!(
            self,
            Self::Listen { .. }
                | Self::Thread(_)
                | Self::Log(_)
                | Self::Store(_)
                | Self::Recover(_)
        )
    }
}

/// Checks, binds and starts everything. When this returns, it listens.
#[tracing::instrument(
    skip_all,
    fields(feeds = config.source.feeds.len() as i64, export = config.export.is_some())
)]
pub async fn start(config: Config, hooks: Hooks) -> Result<Started, StartError> {
    Budget::new(&config).check()?;
    let exporter = match config.export.clone() {
        Some(settings) => Some((settings.compression, Exporter::new(settings)?)),
        None => None,
    };

    let listen = &config.listen;
    let probes = bind(listen.metrics, "listen.metrics").await?;
    let local = bind(listen.local, "listen.local").await?;
    let metrics_address = probes.local_addr().unwrap_or(listen.metrics);
    let local_address = local.local_addr().unwrap_or(listen.local);

    let (files, lock) = match &config.store.dir {
        Some(dir) => {
            let (files, lock) = StoreDir::open(dir)?;
            (Some(files), Some(lock))
        }
        None => (None, None),
    };
    let (export, running) = match exporter {
        Some((compression, exporter)) => {
            let (parts, running) = start_export(exporter, compression, &config, files.clone())?;
            (Some(parts), Some(running))
        }
        None => (None, None),
    };
    let recovered = recovered(&config, files.clone(), export.as_ref()).await?;
    let store = told(&config, &recovered, export.as_ref());
    let Recovered {
        core,
        mut metrics,
        journal,
        given_through,
        ..
    } = recovered;
    if export.is_some() {
        metrics.register(Group::Export)?;
    }
    metrics.register(Group::Store)?;
    let safety = match (files, journal) {
        (Some(files), Some(journal)) => {
            let limit_bytes = journal.limit_bytes();
            let keeper = Keeper::start(files, journal).map_err(StartError::Thread)?;
            let every = config.store.checkpoint_every;
            let pacing = Pacing::new(every, CHECKPOINT_REST_TIMES, Instant::now());
            Some(Safety::new(keeper, pacing, limit_bytes))
        }
        _ => None,
    };

    let (stop_feeds, feeds_stop) = watch::channel(false);
    let (stop_listeners, listeners_stop) = watch::channel(false);
    let (phase, phases) = watch::channel(Phase::Running);
    let (tell_flushed, flushed) = oneshot::channel();
    let (asks, asked) = mpsc::channel(ASKS_MAX);
    let (to_engine, from_feeds) = mpsc::channel(FEED_PIECES_MAX);

    let asker = start_asker(&config, feeds_stop.clone())?;
    let feeds = source::start(
        config.source.clone(),
        fastrand::u64(..),
        to_engine,
        feeds_stop,
    )?;
    let ready = Arc::new(AtomicBool::new(false));
    let mut listeners = JoinSet::new();
    let shown = Probes::new(ProbesSettings {
        metrics: metrics.exposition().clone(),
        asks: asks.clone(),
        ready: Arc::clone(&ready),
    });
    listeners.spawn(shown.serve(probes, listeners_stop.clone()));
    let api = Api::new(ApiSettings {
        asks,
        resource: config.resource.clone(),
        token: listen.local_token.clone(),
    });
    listeners.spawn(api.serve(local, listeners_stop));

    let (run_lines, lines) = match config.log.runs {
        true => {
            let (writer, lines) = LineWriter::start(io::stdout(), Told::InLogs);
            (Some(writer), Some(lines))
        }
        false => (None, None),
    };
    let limits = &config.limits;
    let engine = Engine::new(Parts {
        core,
        metrics,
        book: Book::new(limits.recent_runs_max, limits.recent_runs_bytes_max),
        feeds: config.source.feeds.len(),
        export,
        asker,
        safety,
        store,
        given_through,
        run_lines,
        finished: hooks.finished,
        logs: hooks.logs,
    });
    let engine = tokio::spawn(engine.run(from_feeds, asked, phases, tell_flushed));
    ready.store(true, Ordering::Release);
    Ok(Started {
        metrics: metrics_address,
        local: local_address,
        engine,
        feeds,
        export: running,
        listeners,
        ready,
        stop_feeds,
        phase,
        flushed,
        stop_listeners,
        drain_max: config.drain_max,
        lock,
        _run_lines: lines,
    })
}

fn start_export(
    exporter: Exporter,
    compression: Compression,
    config: &Config,
    files: Option<Arc<dyn Files>>,
) -> Result<(ExportParts, RunningExport), StartError> {
    let limits = &config.limits;
    let files = files.unwrap_or_else(StoreDir::memory);
    let settings = OutboxSettings::new(config.outbox_bytes_max() as u64, limits);
    let (outbox, found) = Outbox::open(Arc::clone(&files), settings)?;
    let outbox = Arc::new(outbox);
    let settings = QuarantineSettings::new(config.store.quarantine_bytes_max as u64, limits);
    let quarantine = Arc::new(Quarantine::open(files, settings)?);
    let tally = Arc::new(ExportTally::default());
    let packer = packer::start(compression, Arc::clone(&outbox), Arc::clone(&tally));
    let packer = packer.map_err(StartError::Thread)?;
    let exporter = exporter.run(
        Arc::clone(&outbox),
        Some(Arc::clone(&quarantine)),
        Arc::clone(&tally),
    );
    let running = RunningExport {
        packed: packer.ended,
        exporter: tokio::spawn(exporter),
        outbox: Arc::clone(&outbox),
    };
    let parts = ExportParts {
        batches: Some(packer.batches),
        durable_through: packer.durable_through,
        found_through: found.through,
        found_batches: found.batches,
        found_damaged: found.records_damaged,
        outbox,
        quarantine,
        tally,
    };
    Ok((parts, running))
}

/// What asks the server, if anything is to be asked.
fn start_asker(
    config: &Config,
    stop: watch::Receiver<bool>,
) -> Result<Option<AskerParts>, StartError> {
    if !config.repair && !config.enrich {
        return Ok(None);
    }
    let (wishes, to_ask) = mpsc::channel(WISHES_ON_THEIR_WAY_MAX);
    let (answered, answers) = mpsc::channel(ANSWERS_MAX);
    let settings = AskerSettings::new(config.source.clone(), &config.limits, fastrand::u64(..));
    let running = Asker::start(settings, to_ask, answered, stop)?;
    Ok(Some(AskerParts {
        wishes,
        answers,
        _running: running,
    }))
}

/// The core and the metrics, as they were left. That takes its time.
async fn recovered(
    config: &Config,
    files: Option<Arc<dyn Files>>,
    export: Option<&ExportParts>,
) -> Result<Recovered, StartError> {
    let through = export.map_or(0, |export| export.found_through);
    let packer =
        export.and_then(|export| Some((export.batches.clone()?, Arc::clone(&export.outbox))));
    let config = config.clone();
    let recovery = tokio::task::spawn_blocking(move || {
        let export = packer.as_ref().map(|(packer, outbox)| (packer, &**outbox));
        recover(&config, files, through, export, now())
    });
    match recovery.await {
        Ok(recovered) => recovered,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Tells what was found in the store, in words and for the metrics.
fn told(config: &Config, recovered: &Recovered, export: Option<&ExportParts>) -> StoreStatus {
    let Recovered {
        entries,
        damaged: in_journal,
        ..
    } = *recovered;
    let damaged = in_journal + export.map_or(0, |export| export.found_damaged);
    if entries > 0 {
        tracing::info!(entries, "going on from what was written before");
    }
    if damaged > 0 {
        tracing::error!(
            damaged,
            "records of the store are damaged, and were left out"
        );
    }
    // Who ended in good order had nothing on its way.
    let redelivered = match (export, &config.export) {
        (Some(parts), Some(settings)) if entries > 0 => {
            parts.found_batches.min(settings.in_flight_max) as u64
        }
        _ => 0,
    };
    StoreStatus {
        corrupt_records: damaged,
        redelivered_batches: redelivered,
        ..StoreStatus::default()
    }
}

/// Wishes between the core and what asks.
const WISHES_ON_THEIR_WAY_MAX: usize = 64;

/// Answers between the two: one, since each may be large.
const ANSWERS_MAX: usize = 1;

/// Listens to an address that a key gives.
pub(crate) async fn bind(
    address: SocketAddr,
    key: &'static str,
) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|error| StartError::Listen {
            address,
            key,
            error,
        })
}
