//! `run`, `check` and `record`: what listens to a live server; `health`, which asks
//! whether one lives; and `resend`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::chosen::{Chosen, OfHealth, OfResend, OfSidecar, OfSource};
use crate::config::{self, Config, ConfigError, Environment, RecordSettings, ResendSettings};

/// Listen to a server.
#[derive(Debug, Args)]
pub struct Run {
    /// Settings.
    #[command(flatten)]
    pub chosen: Chosen<OfSidecar>,
}

impl Run {
    /// What was chosen.
    pub fn config(&self, environment: &Environment) -> Result<Config, ConfigError> {
        Config::load(self.chosen.flags(), environment)
    }
}

/// Say what would happen.
#[derive(Debug, Args)]
pub struct Check {
    /// Print the reference of all settings as Markdown, and do nothing else.
    #[arg(long)]
    pub print_reference: bool,
    /// Settings.
    #[command(flatten)]
    pub chosen: Chosen<OfSidecar>,
}

impl Check {
    /// What was chosen.
    pub fn config(&self, environment: &Environment) -> Result<Config, ConfigError> {
        Config::load(self.chosen.flags(), environment)
    }
}

/// Ask whether a sidecar lives.
#[derive(Debug, Args)]
pub struct Health {
    /// Settings.
    #[command(flatten)]
    pub chosen: Chosen<OfHealth>,
}

impl Health {
    /// Where it listens.
    pub fn listener(&self, environment: &Environment) -> Result<SocketAddr, ConfigError> {
        config::metrics_listener(self.chosen.flags(), environment)
    }
}

/// Send again what the backend refused.
#[derive(Debug, Args)]
pub struct Resend {
    /// Settings.
    #[command(flatten)]
    pub chosen: Chosen<OfResend>,
}

impl Resend {
    /// What was chosen of the backend and the store.
    pub fn settings(&self, environment: &Environment) -> Result<ResendSettings, ConfigError> {
        ResendSettings::load(self.chosen.flags(), environment)
    }
}

/// Write a live feed into a file.
#[derive(Debug, Args)]
pub struct Record {
    /// Where to write to; `-` is standard output.
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub out: PathBuf,
    /// Stop after this time, such as 10m. Default: with Ctrl-C.
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    pub time_max: Option<Duration>,
    /// Stop before more than this is written.
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "1GiB")]
    pub max_bytes: usize,
    /// Settings.
    #[command(flatten)]
    pub chosen: Chosen<OfSource>,
}

impl Record {
    /// What was chosen of the source.
    pub fn settings(&self, environment: &Environment) -> Result<RecordSettings, ConfigError> {
        RecordSettings::load(self.chosen.flags(), environment)
    }
}

fn time(text: &str) -> Result<Duration, &'static str> {
    config::parse_time(text).ok_or("write 250ms, 10s, 5m, 1h30m or 14d")
}

fn size(text: &str) -> Result<usize, &'static str> {
    config::parse_bytes(text).ok_or("write 64MiB, 512KiB, 1GB or plain bytes")
}
