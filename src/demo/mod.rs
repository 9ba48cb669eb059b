//! `runtrail demo`: a simulated server and the sidecar beside it, in one
//! process, and a readable line for each finished run.

mod bar;
mod line;

use std::future::Future;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};

use tokio::sync::mpsc;

use self::line::{heading, legend, line};
use crate::config::Config;
use crate::export::advice::shown;
use crate::net::secret::{Secret, TokenSource};
use crate::sidecar::engine::FinishedRun;
use crate::sidecar::{self, Died, Hooks, StartError, Started};
use crate::sim::SimHandle;

pub use self::line::Look;

/// What a demo is to be like.
#[derive(Debug, Clone, Copy)]
pub struct DemoSettings {
    /// How lines look.
    pub look: Look,
    /// It ends by itself after so many runs.
    pub runs_max: Option<u64>,
}

/// Why a demo was not shown, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The sidecar.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The same, later.
    #[error(transparent)]
    Died(#[from] Died),
    /// Nobody reads the lines any longer.
    #[error("cannot write")]
    Write(#[from] io::Error),
}

/// Finished runs on their way to the screen.
const FINISHED_MAX: usize = 4_096;

/// Shows runs of this server until `stop` says so, or there were enough.
pub async fn demo(
    server: SimHandle,
    mut config: Config,
    settings: DemoSettings,
    mut out: impl Write,
    stop: impl Future<Output = ()>,
) -> Result<(), DemoError> {
    let token = server.token().map(Secret::new);
    config.source.token = token.map(TokenSource::Value);
    let (finished, mut lines) = mpsc::channel(FINISHED_MAX);
    let to = config.export.as_ref().map(|export| shown(&export.endpoint));
    let started = start(config, finished).await?;
    greet(&mut out, &server, &started, to.as_deref(), settings.look)?;
    let mut sums = Sums::default();
    let show = async {
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => return Ok(()),
                run = lines.recv() => match run {
                    Some(run) => {
                        writeln!(out, "{}", line(&run, settings.look))?;
                        out.flush()?;
                        sums.add(&run);
                    }
                    None => return Ok(()),
                },
            }
            if settings.runs_max.is_some_and(|max| sums.runs >= max) {
                return Ok::<_, io::Error>(());
            }
        }
    };
    // The sidecar drains as soon as showing ends, for whatever reason.
    let mut shown = Ok(());
    let ran = started.run(async { shown = show.await }).await;
    server.stop().await;
    shown?;
    ran?;
    writeln!(out, "\n{sums}")?;
    Ok(())
}

/// The usual ports, or any that are free: a demo should not fail for these.
async fn start(
    mut config: Config,
    finished: mpsc::Sender<FinishedRun>,
) -> Result<Started, StartError> {
    loop {
        let hooks = Hooks {
            finished: Some(finished.clone()),
            logs: None,
        };
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        match sidecar::start(config.clone(), hooks).await {
            Err(StartError::Listen { address, .. }) if address.port() != 0 => {
                if config.listen.metrics == address {
                    config.listen.metrics = any;
                }
                if config.listen.local == address {
                    config.listen.local = any;
                }
            }
            started => return started,
        }
    }
}

fn greet(
    out: &mut impl Write,
    server: &SimHandle,
    started: &Started,
    to: Option<&str>,
    look: Look,
) -> io::Result<()> {
    let traces = match to {
        Some(endpoint) => format!("go to {endpoint}"),
        None => "stay in the API; send them to a backend with --otlp URL".to_owned(),
    };
    writeln!(
        out,
        "runtrail listens to a simulated Akribes server ({}).\n",
        server.url()
    )?;
    writeln!(out, "  metrics   http://{}/metrics", started.metrics)?;
    writeln!(out, "  runs      http://{}/api/runs", started.local)?;
    writeln!(out, "  traces    {traces}")?;
    writeln!(out, "  end       Ctrl-C\n")?;
    writeln!(out, "{}", legend(look))?;
    writeln!(out, "\n{}", heading())?;
    out.flush()
}

/// What was shown.
#[derive(Debug, Default)]
struct Sums {
    runs: u64,
    failed: u64,
    tokens: u64,
}

impl Sums {
    fn add(&mut self, run: &FinishedRun) {
        self.runs += 1;
        self.failed += u64::from(run.summary.outcome != "success");
        for model in &run.summary.tokens {
            self.tokens = self.tokens.saturating_add(model.input + model.output);
        }
    }
}

impl std::fmt::Display for Sums {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            runs,
            failed,
            tokens,
        } = self;
        write!(
            f,
            "{runs} runs, {failed} of them not successful, {tokens} tokens."
        )
    }
}
