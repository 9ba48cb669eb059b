//! `run`, `check` and `record`: what listens to a live server.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use runtrail::check::{self, Verdict};
use runtrail::cli::{Check, Record, Run};
use runtrail::config::{Config, Environment, reference};
use runtrail::export::advice::shown;
use runtrail::limits::Limits;
use runtrail::logs::{self, LogError};
use runtrail::net::clock::now;
use runtrail::self_trace::{self, SelfTrace, SelfTraceError};
use runtrail::sidecar::budget::Budget;
use runtrail::sidecar::{self, Hooks, LeftBehind, StartError};
use runtrail::source::record::{self, RecordError};

use super::{Failure, runtime, stop_flag, told_to_stop, warn};

/// Listens to a server until it is told to stop.
pub(crate) fn run(arguments: &Run, environment: &Environment) -> Result<(), Failure> {
    let config = arguments.config(environment)?;
    let runtime = runtime()?;
    let own_traces = runtime.block_on(async { own_traces(&config) })?;
    let (self_trace, layer) = own_traces.unzip();
    let logs = Arc::new(logs::start(&config.log, layer)?);
    tell(&config);
    let ended = runtime.block_on(async {
        let stop = told_to_stop()?;
        let hooks = Hooks {
            logs: Some(Arc::clone(&logs)),
            ..Hooks::default()
        };
        let started = sidecar::start(config, hooks).await?;
        tracing::info!(
            metrics = %started.metrics,
            local = %started.local,
            "listening: /metrics, /healthz and /readyz; and the API at /api/runs"
        );
        let left = started.run(stop).await.map_err(anyhow::Error::from)?;
        match left {
            left if !left.is_loss() => Ok(()),
            LeftBehind { batches: 0, .. } => Err(Failure::from(anyhow!(
                "some of what was read was left behind: drain_max is too short for it"
            ))),
            LeftBehind { batches, .. } => Err(Failure::from(anyhow!(
                "{batches} batches of spans were left behind: the backend did not take them within drain_max"
            ))),
        }
    });
    if let Some(self_trace) = self_trace {
        self_trace.end();
    }
    // Its last lines are written when nobody holds it any longer.
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    ended
}

/// Tries what `run` would do.
pub(crate) fn check(arguments: &Check, environment: &Environment) -> Result<(), Failure> {
    if arguments.print_reference {
        print!("{}", reference());
        return Ok(());
    }
    let config = arguments.config(environment)?;
    warn(&config.warnings);
    let mut out = io::stdout().lock();
    let checked = (|| {
        writeln!(
            out,
            "{}\nmemory, at worst:\n{}\n",
            config.render(),
            Budget::new(&config)
        )?;
        runtime()?.block_on(async { Ok(check::check(&config, &mut out).await?) })
    })();
    match checked.map_err(|error: anyhow::Error| error.context("the check was not done"))? {
        Verdict::Sound => Ok(()),
        Verdict::Unsound {
            usage: true,
            message,
        } => Err(Failure::asked_wrongly(anyhow!(message))),
        Verdict::Unsound {
            usage: false,
            message,
        } => Err(Failure::from(anyhow!(message))),
    }
}

/// Writes a live feed into a file.
pub(crate) fn record(arguments: &Record, environment: &Environment) -> Result<(), Failure> {
    let settings = arguments.settings(environment)?;
    let _logs = logs::start(&settings.log, None)?;
    warn(&settings.warnings);
    let out = create(&arguments.out)?;
    let recorded = runtime()?.block_on(async {
        let stopped = stop_flag()?;
        let settings = record::RecordSettings {
            source: settings.source,
            limits: Limits::default(),
            time_max: arguments.time_max,
            bytes_max: Some(arguments.max_bytes as u64),
            seed: fastrand::u64(..),
        };
        record::record(settings, now(), out, stopped)
            .await
            .map_err(anyhow::Error::from)
    })?;
    eprintln!("runtrail: {recorded}");
    Ok(())
}

fn create(path: &Path) -> anyhow::Result<Box<dyn Write + Send>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdout()));
    }
    // A feed holds all that its runs say: a new file is its owner's alone.
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let file = options.open(path);
    Ok(Box::new(file.with_context(|| {
        format!("cannot write {}", path.display())
    })?))
}

fn own_traces(config: &Config) -> Result<Option<(SelfTrace, logs::FurtherLayer)>, SelfTraceError> {
    match &config.export {
        Some(export) if config.self_trace => {
            self_trace::start(export, &config.source.name).map(Some)
        }
        _ => Ok(None),
    }
}

/// What whoever reads the logs at three in the morning wants to see first.
fn tell(config: &Config) {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    match (&config.export, &config.no_export) {
        (Some(export), _) => tracing::info!(
            endpoint = %shown(&export.endpoint),
            protocol = %export.protocol,
            compression = %export.compression,
            "spans go to the backend"
        ),
        (None, Some(why)) => tracing::warn!("{why}"),
        (None, None) => tracing::warn!("there is no OTLP endpoint: traces stay in the local API"),
    }
    match &config.store.dir {
        Some(dir) => tracing::info!(dir = %dir.display(), "what was read is kept on disk"),
        None => tracing::warn!(
            "nothing is kept on disk: a restart loses the runs that are open, the spans that wait and all counts; give a directory on a volume with store.dir"
        ),
    }
    let budget = Budget::new(config);
    tracing::info!(
        most_bytes = budget.sum(),
        memory_max = config.memory_max,
        parts = budget.parts(),
        "memory is bounded"
    );
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error.is_usage() {
            true => Self::asked_wrongly(error),
            false => Self::from(anyhow::Error::from(error)),
        }
    }
}

impl From<SelfTraceError> for Failure {
    fn from(error: SelfTraceError) -> Self {
        Self::asked_wrongly(error)
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        Self::asked_wrongly(error)
    }
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        Self::from(anyhow::Error::from(error))
    }
}
