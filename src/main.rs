//! runtrail, the program: the command line is read, the command is done, and
//! how it went becomes the exit code: 0 done, 1 not done, 2 asked wrongly.

#![forbid(unsafe_code)]

mod commands;

use std::process::ExitCode;

use runtrail::cli::{self, Command};
use runtrail::config::Environment;

use self::commands::{
    Failure, backfill, check, demo, health, record, replay, resend, run, simulate,
};

fn main() -> ExitCode {
    let arguments = match cli::parse(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let environment = Environment::of_process();
    let done = match arguments.command {
        Command::Run(arguments) => run(&arguments, &environment),
        Command::Check(arguments) => check(&arguments, &environment),
        Command::Health(arguments) => health(&arguments, &environment),
        Command::Resend(arguments) => resend(&arguments, &environment),
        Command::Demo(arguments) => demo(&arguments, &environment),
        Command::Replay(arguments) => replay(&arguments, &environment),
        Command::Backfill(arguments) => backfill(&arguments, &environment),
        Command::Record(arguments) => record(&arguments, &environment),
        Command::Simulate(arguments) => simulate(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, error }) => {
            eprintln!("runtrail: {error:#}");
            ExitCode::from(code)
        }
    }
}
