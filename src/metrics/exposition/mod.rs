//! The page of metrics, as whoever scrapes it asks for it: the classic text of
//! Prometheus, or OpenMetrics 1.0, which has exemplars and units.
//!
//! Both are written from the cells themselves. The encoder of `prometheus` knows
//! no exemplars, and goes through a tree of owned texts, which for a full
//! registry is most of the time and of the memory. A test holds the classic form
//! against it.

#[cfg(test)]
mod tests;
mod write;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use self::write::Writer;
use super::catalogue::{Descriptor, Group, Kind};
use super::family::{Family, Reading, Series, Table};

/// One of the two text formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Prometheus text 0.0.4, which everybody reads.
    Classic,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Form {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Classic, Self::OpenMetrics];

    /// What a page of this form is called.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A figure that is no series of the registry: one without labels, read when it
/// is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// Its full name.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
    /// A counter or a gauge.
    pub kind: Kind,
    /// How much it is.
    pub value: f64,
}

/// What a scrape reads. A clone of it can be read in another thread: no lock is
/// held longer than to copy the pointers of one family.
#[derive(Clone)]
pub struct Exposition {
    /// By name.
    families: Arc<[Exposed]>,
}

struct Exposed {
    descriptor: &'static Descriptor,
    /// The labels by name, with their places.
    order: Box<[(&'static str, usize)]>,
    table: Arc<Table>,
    /// Whether the part of the program that feeds it is there.
    on: AtomicBool,
}

impl Exposition {
    /// One that shows nothing yet of these.
    pub(super) fn new(families: &[Family]) -> Self {
        let mut families: Vec<_> = families
            .iter()
            .map(|family| Exposed {
                descriptor: family.descriptor(),
                order: family.labels_by_name().into(),
                table: family.table(),
                on: AtomicBool::new(false),
            })
            .collect();
        families.sort_unstable_by_key(|family| family.descriptor.name);
        Self {
            families: families.into(),
        }
    }

    /// Shows the metrics of one part of the program from now on.
    pub(super) fn show(&self, group: Group) {
        let of_group = |family: &&Exposed| family.descriptor.group == group;
        for family in self.families.iter().filter(of_group) {
            family.on.store(true, Relaxed);
        }
    }

    /// The page, with further figures at its end. A room that fits spares it to
    /// grow.
    pub fn text(&self, form: Form, figures: &[Figure], room_bytes: usize) -> String {
        let mut writer = Writer::new(form, room_bytes);
        for family in self
            .families
            .iter()
            .filter(|family| family.on.load(Relaxed))
        {
            family.write(&mut writer);
        }
        for figure in figures {
            let Figure { name, help, .. } = *figure;
            writer.head(name, help, figure.kind);
            writer.sample(figure.value, None);
        }
        writer.finish()
    }
}

impl fmt::Debug for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let families = self.families.len();
        f.debug_struct("Exposition")
            .field("families", &families)
            .finish_non_exhaustive()
    }
}

impl Exposed {
    /// A family without series is not there.
    fn write(&self, writer: &mut Writer) {
        let mut all = self.table.shown();
        if all.is_empty() {
            return;
        }
        all.sort_unstable_by(|a, b| self.values(a).cmp(self.values(b)));
        let Descriptor {
            name, help, kind, ..
        } = *self.descriptor;
        writer.head(name, help, kind);
        for series in &all {
            let labels = self.order.iter().map(|(name, _)| *name);
            writer.labels(labels.zip(self.values(series)));
            // Before the counts, which are then not behind them.
            let exemplars = match writer.form() {
                Form::OpenMetrics => series.exemplars(),
                Form::Classic => Box::default(),
            };
            let shown = exemplars.first().and_then(Option::as_ref);
            match series.read() {
                Reading::Counter(count) => writer.sample(count as f64, shown),
                Reading::Sum(value) | Reading::Gauge(value) => writer.sample(value, None),
                Reading::Histogram(state) => writer.histogram(kind.bounds(), &state, &exemplars),
            }
        }
    }

    /// Its values in the order of its labels' names.
    fn values<'s>(&self, series: &'s Series) -> impl Iterator<Item = &'s str> {
        let values = series.values();
        self.order.iter().map(|(_, place)| &*values[*place])
    }
}
