//! The metrics that queries may use.

use std::collections::{BTreeMap, BTreeSet};

use runtrail::admin::process;
use runtrail::metrics::catalogue::{CATALOGUE, Descriptor, Kind, Label};

use super::{labels, without_variables};

/// The labels that Prometheus itself puts on what it reads from a target; the last
/// one where the target is in Kubernetes.
const OF_THE_TARGET: [&str; 3] = ["instance", "job", "namespace"];

/// What Prometheus itself tells of each target.
const OF_THE_SCRAPE: [&str; 3] = ["up", "scrape_duration_seconds", "scrape_samples_scraped"];

/// The metrics that queries may use, by name.
#[derive(Debug, Clone)]
pub struct Known {
    metrics: BTreeMap<String, Metric>,
}

/// What is known of one.
#[derive(Debug, Clone)]
pub(super) struct Metric {
    pub(super) sort: Sort,
    /// With the values of those labels that have no others.
    pub(super) labels: BTreeMap<String, Option<&'static [&'static str]>>,
}

/// What may be asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// It only rises: its rate says something, itself does not.
    Counter,
    /// It says something by itself.
    Gauge,
    /// A rule made it.
    Recorded,
}

impl Known {
    /// What runtrail exports, and what Prometheus adds to it.
    pub fn exported() -> Self {
        let mut known = Self {
            metrics: BTreeMap::new(),
        };
        for descriptor in CATALOGUE {
            known.insert_exported(descriptor);
        }
        for name in process::NAMES {
            known.insert(name, Sort::by_name(name), []);
        }
        for name in OF_THE_SCRAPE {
            known.insert(name, Sort::Gauge, []);
        }
        let alert = ["alertname", "alertstate", "severity"];
        known.insert("ALERTS", Sort::Gauge, alert.map(|label| (label, None)));
        known
    }

    /// Takes what a rule records under this name for known, if its query is right.
    pub fn record(&mut self, name: &str, query: &str) -> Result<(), String> {
        let labels = self.labels_of(query)?.into_iter();
        let labels = labels.map(|label| (label, None)).collect();
        let sort = Sort::Recorded;
        self.metrics
            .insert(name.to_owned(), Metric { sort, labels });
        Ok(())
    }

    /// The labels of what the query gives; none for a number.
    pub fn labels_of(&self, query: &str) -> Result<BTreeSet<String>, String> {
        let plain = without_variables(query)?;
        let expression = promql_parser::parser::parse(&plain)
            .map_err(|error| format!("it cannot be read: {error}: {query}"))?;
        let labels = labels::of(self, &expression).map_err(|error| format!("{error}: {query}"))?;
        Ok(labels.unwrap_or_default())
    }

    pub(super) fn metric(&self, name: &str) -> Option<&Metric> {
        self.metrics.get(name)
    }

    fn insert_exported(&mut self, descriptor: &Descriptor) {
        let labels = || {
            descriptor
                .all_labels()
                .map(|label| (label.name(), values(label)))
        };
        let name = descriptor.name;
        match descriptor.kind {
            Kind::Histogram(_) => {
                let with_bound = labels().chain([("le", None)]);
                self.insert(&format!("{name}_bucket"), Sort::Counter, with_bound);
                self.insert(&format!("{name}_sum"), Sort::Counter, labels());
                self.insert(&format!("{name}_count"), Sort::Counter, labels());
            }
            Kind::Counter | Kind::Sum => self.insert(name, Sort::Counter, labels()),
            Kind::Gauge => self.insert(name, Sort::Gauge, labels()),
        }
    }

    fn insert(
        &mut self,
        name: &str,
        sort: Sort,
        labels: impl IntoIterator<Item = (&'static str, Option<&'static [&'static str]>)>,
    ) {
        let of_the_target = OF_THE_TARGET.map(|label| (label, None));
        let labels = labels.into_iter().chain(of_the_target);
        let labels = labels
            .map(|(label, values)| (label.to_owned(), values))
            .collect();
        self.metrics
            .insert(name.to_owned(), Metric { sort, labels });
    }
}

impl Sort {
    fn by_name(name: &str) -> Self {
        if name.ends_with("_total") {
            Self::Counter
        } else {
            Self::Gauge
        }
    }
}

fn values(label: &Label) -> Option<&'static [&'static str]> {
    match label {
        Label::Closed { values, .. } => Some(values),
        Label::Free(_) => None,
    }
}
