//! `backfill`: the spans of past runs.

use std::io;

use anyhow::anyhow;
use runtrail::backfill::{self, BackfillSettings, Window};
use runtrail::cli::Backfill;
use runtrail::config::Environment;
use runtrail::core::Selection;
use runtrail::net::clock::now;
use runtrail::{export, logs};
use tokio::sync::watch;

use super::{Failure, runtime, told_to_stop, warn};

/// Sends the spans of past runs.
pub(crate) fn backfill(arguments: &Backfill, environment: &Environment) -> Result<(), Failure> {
    let mut config = arguments.config(environment)?;
    warn(&config.warnings);
    let Some(export) = config.export.take() else {
        let why = config.no_export.unwrap_or_default();
        return Err(Failure::asked_wrongly(anyhow!(
            "there is no backend to send to: {why}"
        )));
    };
    let now = now();
    let window = Window {
        since: arguments.since.time(now),
        until: arguments.until.map(|until| until.time(now)),
    };
    let workflows = Selection::new(&arguments.workflows, &[], 1.0);
    let workflows = workflows.map_err(Failure::asked_wrongly)?;
    let _logs = logs::start(&config.log, None)?;
    runtime()?.block_on(async {
        let (stop, stopped) = watch::channel(false);
        let told = told_to_stop()?;
        tokio::spawn(async move {
            told.await;
            let _ = stop.send(true);
        });
        // A backend that is not there would be waited for without end.
        export::probe(&export).await.map_err(anyhow::Error::from)?;
        let seed = fastrand::u64(..);
        let settings = BackfillSettings::new(&config, export, window, workflows, seed);
        let done = backfill::backfill(settings, io::stdout(), stopped).await;
        match done {
            Ok(done) if done.is_whole() => Ok(()),
            Ok(done) if done.stopped => Err(anyhow!("it was stopped before the end").into()),
            Ok(_) => Err(anyhow!("not all runs were sent").into()),
            Err(error) if error.is_usage() => Err(Failure::asked_wrongly(error)),
            Err(error) => Err(Failure::from(anyhow::Error::from(error))),
        }
    })
}
