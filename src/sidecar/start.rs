//! From a configuration to a running sidecar, and from there to its end, each
//! in one straight line.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::Span;
use tracing::field::Empty;

use super::book::Book;
use super::budget::{Budget, OverBudget};
use super::clock::now;
use super::engine::{Engine, ExportParts, FinishedRun, Parts};
use super::packer;
use crate::admin::{Api, ApiSettings, Probes, ProbesSettings};
use crate::config::Config;
use crate::core::{Core, UnknownSystem};
use crate::export::{Compression, ExportError, ExportTally, Exporter};
use crate::limits::{ASKS_MAX, FEED_PIECES_MAX, PACKING_BATCHES_MAX};
use crate::logs::{LineWriter, Lines, Logs};
use crate::metrics::catalogue::{CatalogueError, Group};
use crate::metrics::{self, Metrics};
use crate::source::{self, SourceError};
use crate::store::outbox::Outbox;
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
        !matches!(self, Self::Listen { .. })
    }
}

/// A part of it ended by itself, which is a fault of ours.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0} ended unexpectedly: this is a fault of runtrail, please report it with the lines above"
)]
pub struct Died(&'static str);

/// A sidecar that runs.
#[derive(Debug)]
pub struct Started {
    /// Where metrics and probes are.
    pub metrics: SocketAddr,
    /// Where the API is.
    pub local: SocketAddr,
    engine: JoinHandle<()>,
    feeds: JoinSet<()>,
    export: Option<RunningExport>,
    listeners: JoinSet<()>,
    ready: Arc<AtomicBool>,
    stop_feeds: watch::Sender<bool>,
    hurry: watch::Sender<bool>,
    stop_listeners: watch::Sender<bool>,
    drain_max: Duration,
    /// Dropped last, so that the last run is written.
    _run_lines: Option<Lines>,
}

#[derive(Debug)]
struct RunningExport {
    packer: JoinHandle<()>,
    exporter: JoinHandle<()>,
    outbox: Arc<Outbox>,
}

/// Checks, binds and starts everything. When this returns, it listens.
#[tracing::instrument(
    skip_all,
    fields(feeds = config.source.feeds.len(), export = config.export.is_some())
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
    let addresses = [&probes, &local].map(|listener| listener.local_addr());
    let [metrics_address, local_address] =
        addresses.map(|address| address.unwrap_or(listen.metrics));

    let (stop_feeds, feeds_stop) = watch::channel(false);
    let (stop_listeners, listeners_stop) = watch::channel(false);
    let (hurry, hurry_up) = watch::channel(false);
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
            let (parts, running) = start_export(exporter, compression, &config);
            (Some(parts), Some(running))
        }
        None => (None, None),
    };
    let (run_lines, lines) = match config.log.runs {
        true => {
            let (writer, lines) = LineWriter::start(io::stdout());
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
    let engine = tokio::spawn(engine.run(from_feeds, asked, hurry_up));
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
        hurry,
        stop_listeners,
        drain_max: config.drain_max,
        _run_lines: lines,
    })
}

/// What a drain left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LeftBehind {
    /// Bodies that the backend has not taken.
    pub batches: usize,
}

impl Started {
    /// Runs until `stop` says so, and then drains: reading stops, what is
    /// finished goes out, and all of it takes no longer than `drain_max`.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<LeftBehind, Died> {
        let exporter_died = async {
            match &mut self.export {
                Some(export) => drop((&mut export.exporter).await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop => {}
            _ = &mut self.engine => return Err(Died("the main loop")),
            () = exporter_died => return Err(Died("the exporter")),
        }
        Ok(self.drain().await)
    }

    #[tracing::instrument(skip_all, fields(batches_left = Empty))]
    async fn drain(mut self) -> LeftBehind {
        let begin = Instant::now();
        self.ready.store(false, Ordering::Release);
        tracing::info!("draining: reading has stopped");
        let _ = self.stop_feeds.send(true);
        // What was read but not yet looked at has a quarter of the time.
        if timeout_at(begin + self.drain_max / 4, &mut self.engine)
            .await
            .is_err()
        {
            let _ = self.hurry.send(true);
            let _ = timeout_at(begin + self.drain_max / 2, &mut self.engine).await;
        }
        self.feeds.abort_all();
        let mut left = LeftBehind::default();
        if let Some(mut export) = self.export {
            let drained = async {
                let _ = (&mut export.packer).await;
                let _ = (&mut export.exporter).await;
            };
            if timeout_at(begin + self.drain_max, drained).await.is_err() {
                left.batches = export.outbox.status().batches;
                export.exporter.abort();
                export.packer.abort();
            }
        }
        let _ = self.stop_listeners.send(true);
        let listeners = async { while self.listeners.join_next().await.is_some() {} };
        let _ = timeout(Duration::from_millis(500), listeners).await;
        Span::current().record("batches_left", left.batches);
        match left.batches {
            0 => tracing::info!("drained: nothing is left behind"),
            batches => tracing::warn!(
                batches,
                "drain_max is over, and the backend has not taken everything: what is left is lost"
            ),
        }
        left
    }
}

fn start_export(
    exporter: Exporter,
    compression: Compression,
    config: &Config,
) -> (ExportParts, RunningExport) {
    let outbox = Arc::new(Outbox::new(config.limits.outbox_bytes_max));
    let tally = Arc::new(ExportTally::default());
    let (batches, to_pack) = mpsc::channel(PACKING_BATCHES_MAX);
    let packer = tokio::spawn(packer::run(
        to_pack,
        compression,
        Arc::clone(&outbox),
        Arc::clone(&tally),
    ));
    let exporter = tokio::spawn(exporter.run(Arc::clone(&outbox), Arc::clone(&tally)));
    let running = RunningExport {
        packer,
        exporter,
        outbox: Arc::clone(&outbox),
    };
    let parts = ExportParts {
        batches,
        outbox,
        tally,
    };
    (parts, running)
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
