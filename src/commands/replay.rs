//! `replay`: a recording instead of a feed.

use std::fs::File;
use std::io::{self, BufWriter, Read};
use std::path::Path;

use anyhow::{Context, anyhow};
use runtrail::cli::Replay;
use runtrail::config::{Environment, LogFormat, LogSettings};
use runtrail::replay::{self, ReplayError};
use runtrail::{export, logs};

use super::{Failure, runtime, warn};

/// Reads a recording, and prints or sends what becomes of it.
pub(crate) fn replay(arguments: &Replay, environment: &Environment) -> Result<(), Failure> {
    let settings = arguments.settings(environment)?;
    warn(&settings.warnings);
    let recording = open(&arguments.file)?;
    if let Some(export) = settings.export {
        // What a backend says of the spans stands in the logs.
        let _logs = logs::start(&logs_of_trouble(), None)?;
        return runtime()?.block_on(async {
            // A backend that is not there would be waited for without end.
            export::probe(&export).await.map_err(anyhow::Error::from)?;
            let sent = replay::send(settings.core, export, recording).await;
            let counts = sent.map_err(anyhow::Error::from)?;
            let refused: u64 = counts.spans_refused.iter().sum();
            eprintln!("runtrail: {} spans sent", counts.spans_exported);
            match refused {
                0 => Ok(()),
                refused => Err(anyhow!("the backend refused {refused} spans").into()),
            }
        });
    }
    let mut out = BufWriter::new(io::stdout().lock());
    match replay::replay(settings.core, arguments.emit, recording, &mut out) {
        // Whoever reads has seen enough.
        Err(ReplayError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done.map_err(anyhow::Error::from)?),
    }
}

fn logs_of_trouble() -> LogSettings {
    LogSettings {
        format: Some(LogFormat::Text),
        filter: "warn".to_owned(),
        runs: false,
    }
}

fn open(path: &Path) -> anyhow::Result<Box<dyn Read>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    Ok(Box::new(file))
}
