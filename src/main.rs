//! runtrail, the program: the command line is read, the command is done, and
//! how it went becomes the exit code: 0 done, 1 not done, 2 asked wrongly.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, BufWriter, Read};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use runtrail::cli::{self, Command, Replay};
use runtrail::replay::{ReplayError, replay};

fn main() -> ExitCode {
    let arguments = match cli::parse(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    match arguments.command {
        Command::Replay(arguments) => run_replay(&arguments),
    }
}

fn run_replay(arguments: &Replay) -> ExitCode {
    let settings = match arguments.core_settings() {
        Ok(settings) => settings,
        Err(error) => return fail(2, &error.into()),
    };
    let recording = match open(&arguments.file) {
        Ok(recording) => recording,
        Err(error) => return fail(1, &error),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    match replay(settings, arguments.emit, recording, &mut out) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough.
        Err(ReplayError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => fail(1, &error.into()),
    }
}

fn open(path: &Path) -> anyhow::Result<Box<dyn Read>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    Ok(Box::new(file))
}

fn fail(code: u8, error: &anyhow::Error) -> ExitCode {
    eprintln!("runtrail: {error:#}");
    ExitCode::from(code)
}
