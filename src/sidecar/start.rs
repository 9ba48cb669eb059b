//! From a configuration to a running sidecar, and from there to its end, each
//! in one straight line.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::book::Book;
use super::budget::{Budget, OverBudget};
use super::drain::{RunningExport, Started};
use super::engine::{Engine, ExportParts, FinishedRun, Parts, Phase};
use super::packer;
use crate::admin::{Api, ApiSettings, Probes, ProbesSettings};
use crate::config::Config;
use crate::core::{Core, UnknownSystem};
use crate::export::{Compression, ExportError, ExportTally, Exporter};
use crate::limits::{ASKS_MAX, FEED_PIECES_MAX};
use crate::logs::{LineWriter, Logs, Told};
use crate::metrics::catalogue::{CatalogueError, Group};
use crate::metrics::{self, Metrics};
use crate::net::clock::now;
use crate::source::{self, SourceError};
use crate::store::log::LogError;
use crate::store::outbox::{Outbox, OutboxSettings};
use crate::wire::dialect::Dialect;

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
    #[error(transparent)]
    Store(#[from] LogError),
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
        !matches!(self, Self::Listen { .. } | Self::Thread(_) | Self::Store(_))
    }
}

/// Checks, binds and starts everything. When this returns, it listens.
#[tracing::instrument(
    skip_all,
    fields(feeds = config.source.feeds.len() as i64, export = config.export.is_some())
)]
pub async fn start(config: Config, hooks: Hooks) -> Result<Started, StartError> {
    Budget::new(&config).check()?;
    let core = Core::new(config.core_settings())?;
    let mut metrics = registry(&config)?;
    let exporter = match config.export.clone() {
        Some(settings) => Some((settings.compression, Exporter::new(settings)?)),
        None => None,
    };

    let listen = &config.listen;
    let probes = bind(listen.metrics, "listen.metrics").await?;
    let local = bind(listen.local, "listen.local").await?;
    let metrics_address = probes.local_addr().unwrap_or(listen.metrics);
    let local_address = local.local_addr().unwrap_or(listen.local);

    let (stop_feeds, feeds_stop) = watch::channel(false);
    let (stop_listeners, listeners_stop) = watch::channel(false);
    let (phase, phases) = watch::channel(Phase::Running);
    let (tell_flushed, flushed) = oneshot::channel();
    let (asks, asked) = mpsc::channel(ASKS_MAX);
    let (to_engine, from_feeds) = mpsc::channel(FEED_PIECES_MAX);

    let feeds = source::start(
        config.source.clone(),
        fastrand::u64(..),
        to_engine,
        feeds_stop,
    )?;
    let ready = Arc::new(AtomicBool::new(false));
    let mut listeners = JoinSet::new();
    let shown = Probes::new(ProbesSettings {
        registry: metrics.registry().clone(),
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

    let (export, running) = match exporter {
        Some((compression, exporter)) => {
            metrics.register(Group::Export)?;
            let (parts, running) = start_export(exporter, compression, &config)?;
            (Some(parts), Some(running))
        }
        None => (None, None),
    };
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
        _run_lines: lines,
    })
}

fn start_export(
    exporter: Exporter,
    compression: Compression,
    config: &Config,
) -> Result<(ExportParts, RunningExport), StartError> {
    let limits = &config.limits;
    let settings = OutboxSettings::new(limits.outbox_bytes_max as u64, limits);
    let outbox = Arc::new(Outbox::in_memory(settings)?);
    let tally = Arc::new(ExportTally::default());
    let packer = packer::start(compression, Arc::clone(&outbox), Arc::clone(&tally));
    let packer = packer.map_err(StartError::Thread)?;
    let exporter = tokio::spawn(exporter.run(Arc::clone(&outbox), None, Arc::clone(&tally)));
    let running = RunningExport {
        packed: packer.ended,
        exporter,
        outbox: Arc::clone(&outbox),
    };
    let parts = ExportParts {
        batches: Some(packer.batches),
        outbox,
        tally,
    };
    Ok((parts, running))
}

fn registry(config: &Config) -> Result<Metrics, CatalogueError> {
    let settings = metrics::Settings::new(&config.limits, Dialect::SYSTEMS);
    let mut metrics = Metrics::new(&settings)?;
    metrics.set_build_info(env!("CARGO_PKG_VERSION"), now());
    Ok(metrics)
}

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
