//! `runtrail backfill`: the spans of past runs, made from the server's logs and
//! sent to the backend. They are the spans that were sent, or would have been,
//! while the runs went on: the same core makes them, with the same ids.
//! Metrics stay as they are.
//!
//! - `listing`: which runs (pure)
//! - `fold`: one run, from its row and its log (pure)
//! - `work`: the asker, the folds and the exporter, put together

mod fold;
mod listing;
mod work;

use std::fmt;
use std::io::{self, Write};

use tokio::sync::watch;

use self::work::Work;
use crate::config::Config;
use crate::core::{CoreSettings, Selection, UnknownSystem};
use crate::export::ExportSettings;
use crate::export::delivery::DeliveryError;
use crate::source::SourceError;
use crate::source::ask::AskerSettings;
use crate::wire::rows::RowOfRun;
use crate::wire::time::Time;

/// What to send again, from where, and to where.
#[derive(Debug, Clone)]
pub struct BackfillSettings {
    /// Whom to ask.
    pub asker: AskerSettings,
    /// What makes the spans.
    pub core: CoreSettings,
    /// Where they go.
    pub export: ExportSettings,
    /// When the runs started.
    pub window: Window,
    /// Of which workflows they are, of those that are told of at all.
    pub workflows: Selection,
}

/// From when to when, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The beginning.
    pub since: Time,
    /// The end; without it there is none.
    pub until: Option<Time>,
}

impl Window {
    /// Whether a run started in it. One that does not say so was listed as one.
    fn has(&self, row: &RowOfRun) -> bool {
        row.started_at
            .is_none_or(|at| at >= self.since && self.until.is_none_or(|until| at <= until))
    }
}

impl BackfillSettings {
    /// As a sidecar with this configuration would do it.
    pub fn new(
        config: &Config,
        export: ExportSettings,
        window: Window,
        workflows: Selection,
        seed: u64,
    ) -> Self {
        let asker = AskerSettings::new(config.source.clone(), &config.limits, seed);
        Self {
            asker: AskerSettings {
                // Nobody waits for them here.
                facts_time_max: asker.wish_time_max,
                ..asker
            },
            core: CoreSettings {
                markers: false,
                repair: true,
                ..config.core_settings()
            },
            export,
            window,
            workflows,
        }
    }
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backfilled {
    /// Runs that had ended.
    pub found: u64,
    /// Runs that had not, and are left alone.
    pub open: u64,
    /// Runs whose spans went out.
    pub sent: u64,
    /// Runs that the server does not know any more.
    pub gone: u64,
    /// Runs whose log could not be had, or not be read.
    pub failed: u64,
    /// Spans that the backend took.
    pub spans: u64,
    /// Spans that it refused.
    pub spans_refused: u64,
    /// It was told to stop before the end.
    pub stopped: bool,
}

impl Backfilled {
    /// Whether everything that was found is now where it belongs.
    pub const fn is_whole(&self) -> bool {
        self.sent == self.found && self.spans_refused == 0 && !self.stopped
    }

    const fn read(&self) -> u64 {
        self.sent + self.gone + self.failed
    }
}

impl fmt::Display for Backfilled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sent,
            gone,
            failed,
            spans,
            spans_refused,
            ..
        } = self;
        write!(
            f,
            "{sent} runs sent ({spans} spans), {gone} gone, {failed} failed"
        )?;
        match spans_refused {
            0 => Ok(()),
            refused => write!(f, ", {refused} spans refused by the backend"),
        }
    }
}

/// Why nothing, or not all, was sent.
#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    /// Runs are listed by project.
    #[error(
        "runs are listed by project, and none is named: set {variable}_PROJECT_ID or source.projects"
    )]
    NoProject {
        /// How the variables of the system begin.
        variable: String,
    },
    /// A window that is none.
    #[error("--until is before --since: no run can have started then")]
    NoTime,
    /// There are more runs than are kept in mind at once.
    #[error(
        "there are more than {0} runs in that time: give a shorter one, with --since and --until"
    )]
    TooMany(usize),
    /// There is no list.
    #[error("the list of runs of project {project} cannot be read: {why}")]
    NoList {
        /// Whose.
        project: i64,
        /// In plain words.
        why: &'static str,
    },
    /// There is no dialect of this name.
    #[error(transparent)]
    System(#[from] UnknownSystem),
    /// The server cannot be asked.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Not all could be sent.
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
    /// Progress could not be written.
    #[error("cannot write how far it is")]
    Write(#[source] io::Error),
}

impl BackfillError {
    /// Whether it was asked for wrongly.
    pub const fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::NoProject { .. } | Self::NoTime | Self::TooMany(_)
        )
    }
}

/// Sends the spans of the past runs, and says how far it is. Ends early, with
/// what it has, when `stop` says so. Waits for a backend that is away for as
/// long as it takes.
pub async fn backfill(
    settings: BackfillSettings,
    out: impl Write,
    stop: watch::Receiver<bool>,
) -> Result<Backfilled, BackfillError> {
    let window = settings.window;
    if window.until.is_some_and(|until| until < window.since) {
        return Err(BackfillError::NoTime);
    }
    let mut work = Work::start(settings, out, stop)?;
    let rows = work.list().await?;
    work.send(rows).await?;
    work.end().await
}
