//! runtrail, the program: the command line is read, the command is done, and
//! how it went becomes the exit code: 0 done, 1 not done, 2 asked wrongly.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, BufWriter, Read};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use runtrail::cli::{self, Command, Replay};
use runtrail::config::{self, Environment};
use runtrail::replay::{ReplayError, replay};

fn main() -> ExitCode {
    let arguments = match cli::parse(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let environment = Environment::of_process();
    match arguments.command {
        Command::Replay(arguments) => run_replay(&arguments, &environment),
        command => unwired(&command, &environment),
    }
}

/// The commands that listen to something: read, and not done yet.
fn unwired(command: &Command, environment: &Environment) -> ExitCode {
    let read = match command {
        Command::Check(check) if check.print_reference => {
            print!("{}", config::reference());
            return ExitCode::SUCCESS;
        }
        Command::Run(run) => run.config(environment).map(drop),
        Command::Check(check) => check.config(environment).map(|config| {
            print!("{}", config.render());
            let odd = config.warnings.iter().chain(&config.no_export);
            odd.for_each(|warning| eprintln!("runtrail: {warning}"));
        }),
        Command::Record(record) => record.settings(environment).map(drop),
        Command::Replay(_) | Command::Simulate(_) | Command::Demo(_) => Ok(()),
    };
    match read {
        Ok(()) => fail(1, &anyhow::anyhow!("this command has no edges yet")),
        Err(error) => fail(2, &error.into()),
    }
}

fn run_replay(arguments: &Replay, environment: &Environment) -> ExitCode {
    let settings = match arguments.settings(environment) {
        Ok(settings) => settings,
        Err(error) => return fail(2, &error.into()),
    };
    for warning in &settings.warnings {
        eprintln!("runtrail: warning: {warning}");
    }
    let recording = match open(&arguments.file) {
        Ok(recording) => recording,
        Err(error) => return fail(1, &error),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    match replay(settings.core, arguments.emit, recording, &mut out) {
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
