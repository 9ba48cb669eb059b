//! What an operator looks at, and what wakes one: the dashboards, the alerts and
//! their recording rules, each written once, as data.
//!
//! The files in `dashboards/` and `deploy/prometheus/`, and their copies in the Helm
//! chart, are written from here by
//! `cargo run -p runtrail-views`. A test fails when one of them is not what this
//! writes, or when a query uses a metric or a label that runtrail does not export.

pub mod chart;
pub mod dashboards;
pub mod promql;
pub mod rules;

use std::path::PathBuf;

/// One file that is written from here, by its path in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Where it lies.
    pub path: PathBuf,
    /// What is in it.
    pub text: String,
}

/// All of them.
pub fn files() -> anyhow::Result<Vec<Written>> {
    let mut files = dashboards::files()?;
    files.extend(rules::files()?);
    files.extend(chart::copies(&files));
    Ok(files)
}
