//! A running sidecar, and its end.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::Span;
use tracing::field::Empty;

use super::engine::Phase;
use super::packer::PackerEnd;
use crate::logs::Lines;
use crate::store::outbox::Outbox;
use crate::store::{LockGuard, StoreFailed};

/// A part of it ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Died {
    /// Which is a fault of ours.
    #[error(
        "{0} ended unexpectedly: this is a fault of runtrail, please report it with the lines above"
    )]
    Part(&'static str),
    /// Since the store has failed.
    #[error(transparent)]
    Store(#[from] StoreFailed),
}

/// A sidecar that runs.
#[derive(Debug)]
pub struct Started {
    /// Where metrics and probes are.
    pub metrics: SocketAddr,
    /// Where the API is.
    pub local: SocketAddr,
    pub(super) engine: JoinHandle<Result<(), StoreFailed>>,
    pub(super) feeds: JoinSet<()>,
    pub(super) export: Option<RunningExport>,
    pub(super) listeners: JoinSet<()>,
    pub(super) ready: Arc<AtomicBool>,
    pub(super) stop_feeds: watch::Sender<bool>,
    pub(super) phase: watch::Sender<Phase>,
    /// Whether the main loop has given away all that it had.
    pub(super) flushed: oneshot::Receiver<()>,
    pub(super) stop_listeners: watch::Sender<bool>,
    pub(super) drain_max: Duration,
    /// Whose store it is, as long as this lives.
    pub(super) lock: Option<LockGuard>,
    /// Dropped last, so that the last run is written.
    pub(super) _run_lines: Option<Lines>,
}

/// The parts that send.
#[derive(Debug)]
pub(super) struct RunningExport {
    /// Whether the last body is in the outbox.
    pub(super) packed: oneshot::Receiver<PackerEnd>,
    pub(super) exporter: JoinHandle<Result<(), StoreFailed>>,
    pub(super) outbox: Arc<Outbox>,
}

/// What a drain left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LeftBehind {
    /// Bodies that the backend has not taken.
    pub batches: usize,
    /// Whether events that were read, or spans made of them, did not even get
    /// as far as the outbox.
    pub unread: bool,
    /// Whether the store keeps it all for the next start.
    pub is_kept: bool,
}

impl LeftBehind {
    /// Whether nothing was.
    pub const fn is_nothing(self) -> bool {
        self.batches == 0 && !self.unread
    }

    /// Whether something is lost by it.
    pub const fn is_loss(self) -> bool {
        !self.is_nothing() && !self.is_kept
    }
}

/// How long answers that are on their way may take at the very end.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

impl Started {
    /// Runs until `stop` says so, and then drains: reading stops, what is
    /// finished goes out, and all of it takes no longer than `drain_max`.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<LeftBehind, Died> {
        tokio::select! {
            () = stop => {}
            ended = &mut self.engine => return Err(engine_died(ended)),
            died = export_died(&mut self.export) => return Err(died),
            Some(_) = self.feeds.join_next() => return Err(Died::Part("the reading of a feed")),
            Some(_) = self.listeners.join_next() => return Err(Died::Part("a listener")),
        }
        self.drain().await
    }

    #[tracing::instrument(skip_all, fields(batches_left = Empty))]
    async fn drain(mut self) -> Result<LeftBehind, Died> {
        let begin = Instant::now();
        self.ready.store(false, Ordering::Release);
        tracing::info!("draining: reading has stopped");
        let _ = self.stop_feeds.send(true);
        let mut left = LeftBehind {
            is_kept: self.lock.is_some(),
            ..LeftBehind::default()
        };
        // What was read but not yet looked at has a quarter of the time.
        let in_time = timeout_at(begin + self.drain_max / 4, &mut self.flushed).await;
        let flushed = match in_time {
            Ok(flushed) => flushed,
            Err(_) => {
                left.unread = true;
                let _ = self.phase.send(Phase::Hurry);
                if let Some(export) = &self.export {
                    export.outbox.give_up_waiting();
                }
                let late = timeout_at(begin + self.drain_max / 2, &mut self.flushed).await;
                late.unwrap_or(Ok(()))
            }
        };
        if flushed.is_err() {
            return Err(engine_died((&mut self.engine).await));
        }
        if let Some(export) = self.export.take() {
            deliver(export, begin + self.drain_max, &mut left).await?;
        }
        // Until here it has answered who asks, and told what is sent.
        let _ = self.phase.send(Phase::End);
        // The last checkpoint saves the next start work, and nothing else.
        let until = (begin + self.drain_max).max(Instant::now() + LAST_ANSWERS);
        if let Ok(ended) = timeout_at(until, &mut self.engine).await {
            ended.map_err(|_| Died::Part("the main loop"))??;
        }
        let _ = self.stop_listeners.send(true);
        let listeners = async { while self.listeners.join_next().await.is_some() {} };
        let _ = timeout(LAST_ANSWERS, listeners).await;
        Span::current().record("batches_left", left.batches as i64);
        tell(left);
        Ok(left)
    }
}

/// Waits until the backend has everything, or the time is over.
async fn deliver(
    mut export: RunningExport,
    until: Instant,
    left: &mut LeftBehind,
) -> Result<(), Died> {
    match timeout_at(until, &mut export.packed).await {
        Ok(packed) => {
            let end = packed.map_err(|_| Died::Part("the packing of spans"))?;
            left.unread |= end == PackerEnd::GaveUp;
        }
        Err(_) => {
            left.unread = true;
            export.outbox.give_up_waiting();
        }
    }
    match timeout_at(until, &mut export.exporter).await {
        Ok(Ok(ended)) => ended?,
        Ok(Err(error)) if error.is_panic() => return Err(Died::Part("the exporter")),
        Ok(Err(_)) => {}
        Err(_) => export.exporter.abort(),
    }
    left.batches = export.outbox.status().batches;
    Ok(())
}

/// How the main loop has died.
fn engine_died(ended: Result<Result<(), StoreFailed>, JoinError>) -> Died {
    match ended {
        Ok(Err(failed)) => failed.into(),
        _ => Died::Part("the main loop"),
    }
}

/// How the export has died, if it does.
async fn export_died(export: &mut Option<RunningExport>) -> Died {
    let Some(export) = export else {
        return std::future::pending().await;
    };
    tokio::select! {
        // When the store fails, the others end as well.
        biased;
        failed = export.outbox.failed() => failed.into(),
        ended = &mut export.exporter => match ended {
            Ok(Err(failed)) => failed.into(),
            _ => Died::Part("the exporter"),
        },
        _ = &mut export.packed => Died::Part("the packing of spans"),
    }
}

fn tell(left: LeftBehind) {
    if left.is_nothing() {
        tracing::info!("drained: nothing is left behind");
        return;
    }
    if left.is_kept {
        tracing::info!(
            batches = left.batches,
            "drained: the store keeps what the backend has not taken, for the next start"
        );
        return;
    }
    if left.unread {
        tracing::warn!("drain_max is too short for what was read: some of it was not looked at");
    }
    if left.batches > 0 {
        tracing::warn!(
            batches = left.batches,
            "drain_max is over, and the backend has not taken everything: what is left is lost"
        );
    }
}
