//! `simulate` and `demo`: a server that is not there.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use clap::Args;
use reqwest::Url;

use super::chosen::{Chosen, OfDemo};
use crate::config::{Config, ConfigError, Environment};

/// Be a server that looks like Akribes.
#[derive(Debug, Args)]
pub struct Simulate {
    /// Where to listen; port 0 is any that is free.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3001")]
    pub listen: SocketAddr,
    /// How many projects the runs belong to.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub projects: u32,
    /// Something that it does wrong, as JSON such as `{"kind":"cut_after","bytes":4000}`;
    /// may be given often.
    #[arg(long, value_name = "JSON")]
    pub misbehave: Vec<String>,
    /// What happens on it.
    #[command(flatten)]
    pub workload: Workload,
}

/// What happens on a simulated server.
#[derive(Debug, Clone, Args)]
pub struct Workload {
    /// The same seed gives the same runs.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// How many runs begin in a minute.
    #[arg(long, value_name = "NUMBER", default_value = "20", value_parser = rate)]
    pub runs_per_minute: f64,
    /// How fast the runs go: at 10 a person who takes two minutes takes twelve seconds.
    #[arg(long, value_name = "FACTOR", default_value = "10", value_parser = speed)]
    pub speed: f64,
    /// Begin no more runs than these. Default: without end.
    #[arg(long, value_name = "NUMBER")]
    pub runs: Option<u64>,
}

/// Show all of it on a simulated server.
#[derive(Debug, Args)]
pub struct Demo {
    /// What happens on the server.
    #[command(flatten)]
    pub workload: Workload,
    /// Print without colours.
    #[arg(long)]
    pub no_color: bool,
    /// Settings.
    #[command(flatten)]
    pub chosen: Chosen<OfDemo>,
}

impl Demo {
    /// What was chosen, for a simulated server at this address.
    pub fn config(&self, environment: &Environment, server: &Url) -> Result<Config, ConfigError> {
        Config::for_demo(self.chosen.flags(), environment, server)
    }
}

fn rate(text: &str) -> Result<f64, &'static str> {
    number(text, 0.001..=1_000_000.0).ok_or("write a number from 0.001 to 1000000")
}

fn speed(text: &str) -> Result<f64, &'static str> {
    number(text, 0.01..=100_000.0).ok_or("write a number from 0.01 to 100000")
}

fn number(text: &str, within: RangeInclusive<f64>) -> Option<f64> {
    text.parse().ok().filter(|number| within.contains(number))
}
