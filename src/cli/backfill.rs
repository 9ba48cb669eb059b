//! `backfill`: the spans of past runs, from the server's logs.

use std::time::Duration;

use clap::Args;

use super::chosen::{Chosen, OfSidecar};
use crate::config::{self, Config, ConfigError, Environment};
use crate::wire::time::Time;

/// Send the spans of past runs.
#[derive(Debug, Args)]
pub struct Backfill {
    /// Runs that started then or later: 2026-05-07T10:00:00Z, 2026-05-07, or 36h for that long ago.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Moment,
    /// Runs that started then or earlier. Default: now.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<Moment>,
    /// Only runs of workflows whose name fits; `*` is any text. May be given several times.
    #[arg(long = "workflow", value_name = "GLOB")]
    pub workflows: Vec<String>,
    /// Settings.
    #[command(flatten)]
    pub chosen: Chosen<OfSidecar>,
}

impl Backfill {
    /// What was chosen.
    pub fn config(&self, environment: &Environment) -> Result<Config, ConfigError> {
        Config::load(self.chosen.flags(), environment)
    }
}

/// A time as people give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// This time.
    At(Time),
    /// So long ago.
    Ago(Duration),
}

impl Moment {
    /// Which time that is.
    pub fn time(self, now: Time) -> Time {
        match self {
            Self::At(time) => time,
            Self::Ago(span) => now.minus(span),
        }
    }
}

fn moment(text: &str) -> Result<Moment, &'static str> {
    let at =
        Time::parse_rfc3339(text).or_else(|| Time::parse_rfc3339(&format!("{text}T00:00:00Z")));
    at.map(Moment::At)
        .or_else(|| config::parse_time(text).map(Moment::Ago))
        .ok_or("write 2026-05-07T10:00:00Z, 2026-05-07 (its beginning in UTC), or 36h for that long ago")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_point_a_day_or_so_long_ago() {
        let at = |text| Time::parse_rfc3339(text).unwrap();
        let now = at("2026-05-08T12:00:00Z");
        for (text, meant) in [
            ("2026-05-07T10:00:00Z", "2026-05-07T10:00:00Z"),
            ("2026-05-07T10:00:00+02:00", "2026-05-07T08:00:00Z"),
            ("2026-05-07", "2026-05-07T00:00:00Z"),
            ("36h", "2026-05-07T00:00:00Z"),
            ("1d12h", "2026-05-07T00:00:00Z"),
        ] {
            assert_eq!(moment(text).unwrap().time(now), at(meant), "{text}");
        }
        for wrong in ["", "yesterday", "2026-13-01", "2026-05-07T10:00", "36"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }
}
