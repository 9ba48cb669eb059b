//! `replay`: a recording instead of a feed.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::chosen::{Chosen, OfReplay};
use crate::config::{ConfigError, Environment, ReplaySettings};
use crate::wire::dialect::Dialect;

/// Read a recorded feed.
#[derive(Debug, Args)]
pub struct Replay {
    /// The recording: bytes of server-sent events, or a line of JSON an event;
    /// `-` is standard input.
    pub file: PathBuf,
    /// The system whose feed it is.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(Dialect::SYSTEMS))]
    pub system: String,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Emit::Summaries)]
    pub emit: Emit,
    /// Also print the markers of runs that were open for longer than ten seconds.
    #[arg(long)]
    pub markers: bool,
    /// What spans say, and where they go.
    #[command(flatten)]
    pub chosen: Chosen<OfReplay>,
}

/// What to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Emit {
    /// One run summary a line.
    Summaries,
    /// One OTLP/JSON export request a line.
    Spans,
    /// The metrics, as Prometheus text.
    Metrics,
}

impl Replay {
    /// What the core needs to know, and where spans are sent, if they are.
    pub fn settings(&self, environment: &Environment) -> Result<ReplaySettings, ConfigError> {
        let mut settings = ReplaySettings::load(&self.system, self.chosen.flags(), environment)?;
        settings.core.markers = self.markers;
        Ok(settings)
    }
}
