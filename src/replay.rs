//! `runtrail replay`: a recording goes through the core, and what comes out is
//! printed.

mod send;

use std::io::{self, Read, Write};

use thiserror::Error;

pub use self::send::send;
use crate::cli::Emit;
use crate::core::{Core, CoreSettings, UnknownSystem};
use crate::export::delivery::DeliveryError;
use crate::limits::Limits;
use crate::metrics::catalogue::CatalogueError;
use crate::metrics::{self, Metrics};
use crate::printed::printed;
use crate::trace::json::{JsonError, to_json};
use crate::wire::dialect::Dialect;

/// Why a replay could not be done. What is behind it is its source, and is not
/// said again here.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The recording could not be read.
    #[error("cannot read the recording")]
    Read(#[source] io::Error),
    /// The result could not be written.
    #[error("cannot write the result")]
    Write(#[source] io::Error),
    /// Nothing of the recording is an event of the system.
    #[error("nothing in the recording is an event of {system}: is it a feed of that system?")]
    Nothing {
        /// The system.
        system: String,
    },
    /// There is no dialect of this name.
    #[error(transparent)]
    System(#[from] UnknownSystem),
    /// A bound leaves no room for the metrics.
    #[error(transparent)]
    Metrics(#[from] CatalogueError),
    /// A batch of our own is no export request.
    #[error("a batch could not be printed")]
    Json(#[from] JsonError),
    /// A summary could not be printed.
    #[error("a summary could not be printed")]
    Summary(#[source] serde_json::Error),
    /// Not all could be sent.
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
}

/// How much is read at once.
const READ_BYTES: usize = 64 << 10;

/// Reads the recording to its end, and prints what becomes of it.
pub fn replay(
    settings: CoreSettings,
    emit: Emit,
    recording: impl Read,
    out: &mut impl Write,
) -> Result<(), ReplayError> {
    let mut printer = Printer {
        metrics: registry(&settings.limits)?,
        emit,
        out,
    };
    let mut recording = Recording::new(settings, recording)?;
    loop {
        let more = recording.step()?;
        printer.print(&mut recording)?;
        if !more {
            return printer.finish();
        }
    }
}

/// A recording on its way through a core.
struct Recording<R> {
    from: R,
    bytes: Vec<u8>,
    core: Core,
    system: String,
    /// Events of known types.
    events: u64,
}

impl<R: Read> Recording<R> {
    fn new(settings: CoreSettings, from: R) -> Result<Self, UnknownSystem> {
        Ok(Self {
            from,
            bytes: vec![0; READ_BYTES],
            system: settings.system.clone(),
            core: Core::new(settings)?,
            events: 0,
        })
    }

    /// Reads the next piece, or ends what is open. Tells whether there is more.
    fn step(&mut self) -> Result<bool, ReplayError> {
        let read = loop {
            match self.from.read(&mut self.bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read.map_err(ReplayError::Read)?,
            }
        };
        if read > 0 {
            self.core.handle_bytes(0, &self.bytes[..read], None);
        } else {
            self.core.handle_end_of_input(0, None);
            self.core.handle_end_of_runs();
        }
        let events = &self.core.deltas().events_by_type;
        self.events += events.iter().skip(1).sum::<u64>();
        if read == 0 && self.events == 0 {
            let system = self.system.clone();
            return Err(ReplayError::Nothing { system });
        }
        Ok(read > 0)
    }
}

struct Printer<'w, W> {
    metrics: Metrics,
    emit: Emit,
    out: &'w mut W,
}

impl<W: Write> Printer<'_, W> {
    fn print<R>(&mut self, recording: &mut Recording<R>) -> Result<(), ReplayError> {
        let core = &mut recording.core;
        while let Some(batch) = core.poll_batch() {
            if self.emit == Emit::Spans {
                writeln!(self.out, "{}", to_json(&batch.body)?).map_err(ReplayError::Write)?;
            }
        }
        while let Some(summary) = core.poll_summary() {
            if self.emit == Emit::Summaries {
                let line = serde_json::to_string(&summary).map_err(ReplayError::Summary)?;
                writeln!(self.out, "{}", printed(line)).map_err(ReplayError::Write)?;
            }
        }
        let (types, now) = (core.event_types(), core.clock());
        let deltas = core.deltas();
        self.metrics.apply(deltas, types, now);
        deltas.clear();
        Ok(())
    }

    fn finish(self) -> Result<(), ReplayError> {
        if self.emit == Emit::Metrics {
            self.out
                .write_all(self.metrics.text().as_bytes())
                .map_err(ReplayError::Write)?;
        }
        self.out.flush().map_err(ReplayError::Write)
    }
}

fn registry(limits: &Limits) -> Result<Metrics, CatalogueError> {
    let settings = metrics::Settings::new(limits, Dialect::SYSTEMS);
    Metrics::of_this_build(&settings, crate::wire::time::Time::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use crate::config::Environment;
    use clap::Parser;

    /// A recording that cannot be read.
    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }

    #[test]
    fn what_went_wrong_is_said_once() {
        let cli = Cli::try_parse_from(["runtrail", "replay", "--system", "akribes", "-"]).unwrap();
        let Command::Replay(arguments) = cli.command else {
            panic!("not a replay");
        };
        let settings = arguments.settings(&Environment::default()).unwrap().core;
        let error = replay(settings, Emit::Spans, Broken, &mut Vec::new()).unwrap_err();
        assert_eq!(
            format!("{:#}", anyhow::Error::from(error)),
            "cannot read the recording: the disk is gone"
        );
    }
}
