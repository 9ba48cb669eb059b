//! Alerts, and the recording rules that they are made from.
//!
//! One source, two files: the plain one that Prometheus reads, and the same as a
//! `PrometheusRule` for its operator. What an alert means and what to do about it
//! stands in `docs/runbook.md`, in a section of its name.
//!
//! In the queries here, `$run`, `$instance` and `$job` stand for the labels by
//! which series are told apart; see [`query`].

mod export;
mod feed;
mod models;
mod runs;
mod slo;
mod store;
mod waits;
mod yaml;

use std::path::PathBuf;

use crate::Written;

/// Rules that are evaluated one after the other.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its name.
    pub name: &'static str,
    /// How often, where that is not how often Prometheus does by itself.
    pub interval: Option<&'static str>,
    /// What is worked out first.
    pub recordings: Vec<Recording>,
    /// What wakes somebody.
    pub alerts: &'static [Alert],
}

/// A number that others are made from, or that people may change.
#[derive(Debug, Clone)]
pub struct Recording {
    /// The metric under which it is kept.
    pub name: String,
    /// What is said of it in the file, if anything.
    pub about: &'static str,
    /// The query.
    pub expr: String,
}

/// Something that somebody should know.
#[derive(Debug, Clone, Copy)]
pub struct Alert {
    /// Its name, which is also that of its section in the runbook.
    pub name: &'static str,
    /// The query, with what [`query`] replaces.
    pub expr: &'static str,
    /// How long it has to be true, `0m` for at once.
    pub lasts: &'static str,
    /// How soon somebody should look.
    pub severity: Severity,
    /// What is wrong, in a line.
    pub summary: &'static str,
    /// What that means, with the numbers.
    pub description: &'static str,
}

/// How soon somebody should look: the label `severity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Now, even at night.
    Page,
    /// Within a working day.
    Ticket,
    /// When there is time.
    Info,
}

impl Severity {
    /// The value of the label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Ticket => "ticket",
            Self::Info => "info",
        }
    }
}

impl Alert {
    /// The query as Prometheus gets it.
    pub fn query(&self) -> String {
        query(self.expr)
    }

    /// Where it is explained.
    pub fn runbook(&self) -> String {
        format!("{RUNBOOK}#{}", self.name.to_lowercase())
    }
}

/// All rules.
pub fn groups() -> Vec<Group> {
    vec![
        limits(),
        slo::fast(),
        slo::slow(),
        alerts("runtrail-runs", runs::ALERTS),
        alerts("runtrail-waits", waits::ALERTS),
        alerts("runtrail-models", models::ALERTS),
        alerts("runtrail-feed", feed::ALERTS),
        alerts("runtrail-export", export::ALERTS),
        alerts("runtrail-store", store::ALERTS),
    ]
}

/// They as files: the plain one, and the operator's.
pub fn files() -> anyhow::Result<Vec<Written>> {
    let groups = groups();
    Ok(vec![
        Written {
            path: PathBuf::from("deploy/prometheus/rules.yaml"),
            text: yaml::plain(&groups),
        },
        Written {
            path: PathBuf::from("deploy/prometheus/prometheusrule.yaml"),
            text: yaml::operator(&groups),
        },
    ])
}

/// Where the alerts are explained: a path in the repository. Whoever keeps the
/// runbook elsewhere replaces it in the files; deploy/prometheus/README.md says how.
const RUNBOOK: &str = "docs/runbook.md";

/// The labels that tell apart what is counted by run. Those of the pod are not
/// among them, so that a new pod goes on where the old one ended; two servers
/// that know the same project and workflow differ by `job` or `namespace`.
const RUN: [&str; 5] = ["namespace", "job", "system", "project", "workflow"];
/// The labels that tell one runtrail from another.
const INSTANCE: [&str; 3] = ["namespace", "job", "instance"];
/// The labels that stay when its pod is replaced.
const JOB: [&str; 2] = ["namespace", "job"];

/// A query with its labels put in, and without the margin that it has in here.
fn query(text: &str) -> String {
    let lines = text.trim_matches('\n').trim_end();
    let margin = lines
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| line.len() - line.trim_start().len())
        .min()
        .unwrap_or(0);
    let lines: Vec<_> = lines
        .lines()
        .map(|line| line.get(margin..).unwrap_or("").trim_end())
        .collect();
    lines
        .join("\n")
        .replace("$run", &RUN.join(", "))
        .replace("$instance", &INSTANCE.join(", "))
        .replace("$job", &JOB.join(", "))
}

fn alerts(name: &'static str, alerts: &'static [Alert]) -> Group {
    Group {
        name,
        interval: None,
        recordings: Vec::new(),
        alerts,
    }
}

/// The numbers that people change.
fn limits() -> Group {
    let limit = |name: &str, about, value: &str| Recording {
        name: name.to_owned(),
        about,
        expr: format!("vector({value})"),
    };
    Group {
        name: "runtrail-limits",
        interval: None,
        recordings: vec![
            limit(
                "runtrail:slo_success:objective",
                "The share of runs that should succeed. Change it here.",
                "0.99",
            ),
            limit(
                "runtrail:cost_usd_per_day:ceiling",
                "What models may cost in a day, in US dollars, all projects together. Change it here.",
                "100",
            ),
            limit(
                "runtrail:wait_for_person_seconds:limit",
                "How long a run may wait for a person, in seconds. Change it here.",
                "14400",
            ),
        ],
        alerts: &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_loses_its_margin_and_gets_its_labels() {
        let written = "
            sum by ($job) (
              up
            )
        ";
        assert_eq!(query(written), "sum by (namespace, job) (\n  up\n)");
    }

    #[test]
    fn an_alert_points_to_the_section_of_its_name() {
        let alert = groups().into_iter().find_map(|group| group.alerts.first());
        let runbook = alert.map(Alert::runbook).unwrap_or_default();
        assert_eq!(runbook, "docs/runbook.md#runtrailerrorbudgetburn1h");
    }
}
