//! The commands, each in one straight line.

mod backfill;
mod demo;
mod health;
mod live;
mod replay;
mod resend;

use std::future::Future;

use anyhow::Context;
use runtrail::config::ConfigError;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

pub(crate) use self::backfill::backfill;
pub(crate) use self::demo::{demo, simulate};
pub(crate) use self::health::health;
pub(crate) use self::live::{check, record, run};
pub(crate) use self::replay::replay;
pub(crate) use self::resend::resend;

/// A command that was not done.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What becomes of the process.
    pub(crate) code: u8,
    /// Why, in a sentence.
    pub(crate) error: anyhow::Error,
}

/// What went wrong while it was done.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { code: 1, error }
    }
}

/// What was asked for cannot be meant.
impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::asked_wrongly(error)
    }
}

impl Failure {
    fn asked_wrongly(error: impl Into<anyhow::Error>) -> Self {
        Self {
            code: 2,
            error: error.into(),
        }
    }
}

/// One thread decides, one does the rest.
const WORKERS: usize = 2;

/// Names are looked up and token files read on threads of their own, each for as
/// long as that takes: a name server that does not answer must not be in the way
/// of a page of metrics. They are there only while there is something to do.
const BLOCKING_THREADS_MAX: usize = 64;

fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .context("cannot start the threads of the program")
}

/// Ends with SIGTERM or Ctrl-C. Who says it twice means at once.
fn told_to_stop() -> anyhow::Result<impl Future<Output = ()>> {
    let listen = |kind| signal(kind).context("cannot listen for signals");
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            eprintln!("runtrail: told twice: ending at once");
            std::process::exit(1);
        });
    })
}

/// The same, as a flag that rises.
fn stop_flag() -> anyhow::Result<watch::Receiver<bool>> {
    let told = told_to_stop()?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        told.await;
        let _ = stop.send(true);
    });
    Ok(stopped)
}

/// Tells what is odd, where no log is set up.
fn warn(warnings: &[String]) {
    for warning in warnings {
        eprintln!("runtrail: warning: {warning}");
    }
}
