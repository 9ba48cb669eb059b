//! The simulated server as a command. It prints nothing: it gives what to print.

use std::fmt;
use std::io;

use tokio::sync::watch;

use super::server::{SimServer, Status};
use super::settings::{DEFAULT_TOKEN, SimSettings};

/// Where the server is, and how to reach it: a few lines for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// Its address.
    pub url: String,
    /// What opens it, if that is no secret.
    token: Token,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    None,
    Default,
    Own,
}

/// What a server did until it was stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimReport {
    /// Runs that ended well, failed, and were cancelled, as far as remembered.
    pub completed: usize,
    /// Those that failed.
    pub failed: usize,
    /// Those that were cancelled.
    pub cancelled: usize,
    /// Those that were still open.
    pub open: usize,
    /// Events that were said.
    pub events: u64,
    /// Feeds that were opened.
    pub feeds: u64,
}

/// Runs a server until it is told to stop. `greet` is called once, when it listens.
pub async fn simulate(
    settings: SimSettings,
    mut stop: watch::Receiver<bool>,
    greet: impl FnOnce(&Greeting),
) -> io::Result<SimReport> {
    let token = match settings.tokens.first() {
        None => Token::None,
        Some(first) if first.token.is(DEFAULT_TOKEN.as_bytes()) => Token::Default,
        Some(_) => Token::Own,
    };
    let handle = SimServer::start(settings).await?;
    greet(&Greeting {
        url: handle.url(),
        token,
    });
    // Nobody left to say so is the same as somebody who says so.
    let _ = stop.wait_for(|stop| *stop).await;
    let finished = handle.finished_runs();
    let count = |status| finished.iter().filter(|run| run.status == status).count();
    let report = SimReport {
        completed: count(Status::Completed),
        failed: count(Status::Failed),
        cancelled: count(Status::Cancelled),
        open: handle.open_runs(),
        events: handle.events(),
        feeds: handle.feeds_opened(),
    };
    handle.stop().await;
    Ok(report)
}

impl fmt::Display for Greeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "A simulated Akribes server is at {}. To listen to it:",
            self.url
        )?;
        write!(f, "  AKRIBES_URL={}", self.url)?;
        match self.token {
            Token::None => {}
            Token::Default => write!(f, " AKRIBES_TOKEN={DEFAULT_TOKEN}")?,
            Token::Own => write!(f, " AKRIBES_TOKEN=<the token that you gave>")?,
        }
        f.write_str(" runtrail run")
    }
}

impl fmt::Display for SimReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            completed,
            failed,
            cancelled,
            open,
            events,
            feeds,
        } = self;
        write!(
            f,
            "{completed} runs completed, {failed} failed, {cancelled} were cancelled and {open} \
             were still open; {events} events went to {feeds} feeds"
        )
    }
}
