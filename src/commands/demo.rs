//! `demo` and `simulate`: a server that is not there.

use std::io::{self, IsTerminal};

use anyhow::{Context, anyhow};
use runtrail::cli::{Demo, Simulate, Workload};
use runtrail::config::{Config, Environment, LogSettings, Origin, Setting};
use runtrail::demo::{self, DemoError, DemoSettings, Look};
use runtrail::logs;
use runtrail::sim::workload::{Arrivals, WorkloadSettings};
use runtrail::sim::{self, Misbehaviour, SimServer, SimSettings};

use super::{Failure, runtime, stop_flag, told_to_stop};

/// Shows all of it, until Ctrl-C.
pub(crate) fn demo(arguments: &Demo, environment: &Environment) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let stop = told_to_stop()?;
        let settings = SimSettings {
            // So that each run that begins is seen from its beginning.
            waits_for_feed: true,
            workload: WorkloadSettings {
                totals_tell_cost: true,
                ..workload(&arguments.workload)
            },
            ..SimSettings::default()
        };
        let server = SimServer::start(settings).await;
        let server = server.context("cannot start the simulated server")?;
        let address = server
            .url()
            .parse()
            .context("a server without an address")?;
        let config = arguments.config(environment, &address)?;
        let _logs = logs::start(&log(&config), None)?;
        let settings = DemoSettings {
            look: Look {
                colours: !arguments.no_color
                    && io::stdout().is_terminal()
                    && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty()),
            },
            runs_max: arguments.workload.runs,
        };
        let shown = demo::demo(server, config, settings, io::stdout(), stop).await;
        match shown {
            // Whoever reads has seen enough.
            Err(DemoError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(DemoError::Start(error)) => Err(error.into()),
            done => Ok(done.map_err(anyhow::Error::from)?),
        }
    })
}

/// Between the lines of a demo only trouble has a place, unless more is wanted.
fn log(config: &Config) -> LogSettings {
    let mut log = config.log.clone();
    let is_chosen =
        |setting: &Setting| setting.key == "log.level" && setting.origin != Origin::Default;
    if !config.settings.iter().any(is_chosen) {
        log.filter = "warn".to_owned();
    }
    log
}

/// Is a server until Ctrl-C.
pub(crate) fn simulate(arguments: &Simulate) -> Result<(), Failure> {
    let misbehaviours: Result<Vec<Misbehaviour>, _> = (arguments.misbehave.iter())
        .map(|json| {
            let wrong = |error| anyhow!("--misbehave {json}: {error}");
            serde_json::from_str(json).map_err(wrong)
        })
        .collect();
    let settings = SimSettings {
        listen: arguments.listen,
        control: true,
        workload: WorkloadSettings {
            projects: arguments.projects,
            ..workload(&arguments.workload)
        },
        misbehaviours: misbehaviours.map_err(Failure::asked_wrongly)?,
        ..SimSettings::default()
    };
    settings.validate().map_err(Failure::asked_wrongly)?;
    let address = settings.listen;
    runtime()?.block_on(async {
        let stopped = stop_flag()?;
        let report = sim::simulate(settings, stopped, |greeting| println!("{greeting}")).await;
        let report = report.with_context(|| format!("cannot listen on {address}"))?;
        println!("{report}");
        Ok(())
    })
}

fn workload(arguments: &Workload) -> WorkloadSettings {
    WorkloadSettings {
        seed: arguments.seed,
        arrivals: Arrivals::PerMinute(arguments.runs_per_minute),
        runs_total: arguments.runs.unwrap_or(0),
        speed: arguments.speed,
        ..WorkloadSettings::default()
    }
}
