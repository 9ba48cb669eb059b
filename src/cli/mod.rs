//! The command line: what may be said, and what it means.
//!
//! Flags that stand for keys of the configuration come from the table of keys
//! (`chosen`), so that flags, variables and file cannot drift apart. A token is
//! never a flag: every process of the machine could read it.

mod backfill;
mod chosen;
mod live;
mod replay;
mod simulate;

use std::ffi::OsString;

use clap::{Parser, Subcommand};

pub use self::backfill::{Backfill, Moment};
pub use self::chosen::{Chosen, OfDemo, OfHealth, OfReplay, OfResend, OfSidecar, OfSource, Part};
pub use self::live::{Check, Health, Record, Resend, Run};
pub use self::replay::{Emit, Replay};
pub use self::simulate::{Demo, Simulate, Workload};

/// Turns every run of an AI-workflow server into an OpenTelemetry trace,
/// Prometheus metrics and a run summary.
#[derive(Debug, Parser)]
#[command(name = "runtrail", version, max_term_width = 100)]
#[command(after_help = "\
To see what it does:    runtrail demo
Beside a server:        AKRIBES_URL=http://localhost:3001 runtrail run
What would happen:      runtrail check")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Listen to a server, and send what becomes of its runs.
    ///
    /// Settings come from flags first, then from the environment, then from the
    /// file. Ends with SIGTERM or Ctrl-C, once what is on its way is sent.
    Run(Run),
    /// Say what `run` would do, and try the server and the backend.
    ///
    /// Prints each setting with where it comes from. Exits with 0 when all is
    /// well, with 1 when a server cannot be used, and with 2 when a setting is
    /// wrong; each time in one sentence.
    Check(Check),
    /// Ask the sidecar that runs here whether it lives.
    ///
    /// For the health check of a container: the same settings as of `run` say where
    /// it listens. Exits with 0 when its main loop answers, else with 1.
    Health(Health),
    /// Send again what the backend refused for good and the store has kept.
    ///
    /// What the backend takes now leaves the quarantine. The store must not be in
    /// use: stop the sidecar first. Exits with 0 when all was taken, else with 1.
    Resend(Resend),
    /// Show all of it on a simulated server, in one process.
    ///
    /// Prints where to look, and each finished run. Traces go nowhere else unless
    /// `--otlp` says so. Ends with Ctrl-C.
    Demo(Demo),
    /// Read a recorded feed and print what becomes of it.
    ///
    /// Prints JSON lines, or Prometheus text. Runs still open at the end of the
    /// recording are closed as abandoned.
    Replay(Replay),
    /// Send the spans of past runs, made from the server's logs.
    ///
    /// They are the spans that `run` sends, with the same ids; metrics stay as they
    /// are. Runs that are still open are left alone. Exits with 0 when all runs
    /// that were found are sent, and with 1 when some are not.
    Backfill(Backfill),
    /// Write a live feed into a file that `replay` reads.
    ///
    /// The bytes are written as they come, so the file holds all content of the
    /// feed: prompts, answers, inputs and outputs of tools.
    Record(Record),
    /// Be a server that looks like Akribes, and behaves as badly as it is told.
    Simulate(Simulate),
}

/// Reads the command line.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(arguments)
}

#[cfg(test)]
mod tests;
