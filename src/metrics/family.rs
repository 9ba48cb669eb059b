//! All series of one metric, as the `prometheus` registry collects them.
//!
//! The cells are those of `prometheus` (but see `histogram`), the table of label
//! sets is ours. Its vectors find a series by a hash over the label values set end
//! to end: there project 1 with workflow `2go` and project 12 with workflow `go`
//! are one series. Here a label set is a key of numbers, and it is compared whole.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use prometheus::core::{Collector, Desc, Metric};
use prometheus::proto::{self, LabelPair, MetricFamily, MetricType};
use prometheus::{Counter, Gauge, IntCounter};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::catalogue::{CatalogueError, Descriptor, Kind, Label};
use super::delta::Exemplar;
use super::histogram::{Histogram, HistogramState};
use super::space::ValueId;
use crate::wire::time::Time;

/// Labels of the metric that has most of them.
pub(super) const LABELS_MAX: usize = 7;

/// A label set: for each label its value's number, the rest zero.
pub(super) type Key = [ValueId; LABELS_MAX];

/// One series. Holding one does not keep it on the page: see `scope` for
/// which ones may be held.
pub(super) struct Series {
    pub(super) key: Key,
    cell: Cell,
    values: Box<[Arc<str>]>,
    /// When it was last used, in nanoseconds.
    used: AtomicU64,
    /// Counts what comes here for want of room, for a series with `__other__` in it.
    overflow: Option<IntCounter>,
    /// The newest spans that show it: one of a counter, one a bucket of a
    /// histogram; nothing until there is any. They end with the process: they are
    /// samples, and whoever scrapes has kept the ones of before.
    shown: Mutex<Option<Box<[Option<Shown>]>>>,
}

/// A span, and what it added to the series that it shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shown {
    pub(super) exemplar: Exemplar,
    pub(super) value: f64,
}

/// One metric's series.
pub(super) struct Family {
    descriptor: &'static Descriptor,
    table: Arc<Table>,
    /// Stands in if a cell could not be made; [`Family::new`] has made one from
    /// the same constants, so that does not happen.
    spare: Cell,
}

#[derive(Clone)]
enum Cell {
    Counter(IntCounter),
    Sum(Counter),
    Gauge(Gauge),
    Histogram(Arc<Histogram>),
}

/// What a series says, to be said again by another process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Reading {
    Counter(u64),
    Sum(f64),
    Gauge(f64),
    Histogram(HistogramState),
}

/// The label sets of one metric.
#[derive(Default)]
pub(super) struct Table(RwLock<FxHashMap<Key, Arc<Series>>>);

/// What the registry holds of a family.
struct Collected {
    descriptor: &'static Descriptor,
    desc: Desc,
    /// The labels by name, as the exposition sorts them, with their places.
    order: Vec<(&'static str, usize)>,
    table: Arc<Table>,
}

impl Family {
    /// A family without series.
    pub(super) fn new(descriptor: &'static Descriptor) -> Result<Self, CatalogueError> {
        Ok(Self {
            descriptor,
            table: Arc::default(),
            spare: Cell::new(descriptor.kind).map_err(|e| row_error(descriptor, &e))?,
        })
    }

    /// Lets a registry collect this family from now on.
    pub(super) fn register(&self, registry: &prometheus::Registry) -> Result<(), CatalogueError> {
        let names = || self.descriptor.all_labels().map(Label::name);
        let desc = Desc::new(
            self.descriptor.name.to_owned(),
            self.descriptor.help.to_owned(),
            names().map(str::to_owned).collect(),
            Default::default(),
        );
        let collected = Collected {
            descriptor: self.descriptor,
            desc: desc.map_err(|e| row_error(self.descriptor, &e))?,
            order: self.labels_by_name(),
            table: self.table.clone(),
        };
        registry
            .register(Box::new(collected))
            .map_err(|e| row_error(self.descriptor, &e))
    }

    /// A new series, in the place of any that has this key.
    pub(super) fn add(
        &self,
        key: Key,
        values: Box<[Arc<str>]>,
        overflow: Option<IntCounter>,
        now: Time,
    ) -> Arc<Series> {
        let series = Arc::new(Series {
            key,
            cell: Cell::new(self.descriptor.kind).unwrap_or_else(|_| self.spare.clone()),
            values,
            used: AtomicU64::new(now.0),
            overflow,
            shown: Mutex::default(),
        });
        self.table.write(|table| table.insert(key, series.clone()));
        series
    }

    /// Removes the series that are not to stay, and tells their keys.
    pub(super) fn retain(&self, stays: impl Fn(&Series) -> bool) -> Vec<Key> {
        self.table.write(|table| {
            table
                .extract_if(|_, series| !stays(series))
                .map(|(key, _)| key)
                .collect()
        })
    }

    /// The series of this label set, if there is one.
    pub(super) fn find(&self, key: &Key) -> Option<Arc<Series>> {
        self.table.read(|table| table.get(key).cloned())
    }

    /// Shows all of its series.
    pub(super) fn each(&self, f: impl FnMut(&Series)) {
        self.table
            .read(|table| table.values().map(Arc::as_ref).for_each(f));
    }

    /// All of its series, as they are now.
    pub(super) fn all(&self) -> Vec<Arc<Series>> {
        self.table.all()
    }

    /// Its series, to be read elsewhere.
    pub(super) fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table)
    }

    /// Its labels as the exposition sorts them, with their places.
    pub(super) fn labels_by_name(&self) -> Vec<(&'static str, usize)> {
        let names = self.descriptor.all_labels().map(Label::name);
        let mut labels: Vec<_> = names.enumerate().map(|(i, name)| (name, i)).collect();
        labels.sort_unstable();
        labels
    }

    /// What it is.
    pub(super) const fn descriptor(&self) -> &'static Descriptor {
        self.descriptor
    }
}

/// A call that does not fit the kind does nothing: the callers are in this
/// folder, and the tests see each of them.
impl Series {
    /// Counts whole things. A counter that would overflow stands still rather
    /// than go back.
    pub(super) fn add(&self, count: u64, now: Time) {
        if let Cell::Counter(cell) = &self.cell {
            cell.inc_by(count.min(u64::MAX - cell.get()));
        }
        if count > 0 {
            self.count_overflow();
        }
        self.touch(now);
    }

    /// Adds seconds or money; nothing that is not a number, and never less than nothing.
    pub(super) fn add_sum(&self, amount: f64, now: Time) {
        if amount.is_finite() && amount > 0.0 {
            if let Cell::Sum(cell) = &self.cell {
                cell.inc_by(amount);
            }
            self.count_overflow();
        }
        self.touch(now);
    }

    /// Puts a time into a histogram.
    pub(super) fn observe(&self, duration: Duration, now: Time) {
        if let Cell::Histogram(cell) = &self.cell {
            cell.observe(duration.as_secs_f64());
        }
        self.count_overflow();
        self.touch(now);
    }

    /// Puts a time into a histogram, and shows it by this span.
    pub(super) fn observe_shown(&self, duration: Duration, by: Option<Exemplar>, now: Time) {
        self.observe(duration, now);
        self.show(by, duration.as_secs_f64(), now);
    }

    /// What was added was shown by this span, unless a newer one shows it already.
    /// A clock that is ahead of ours makes nothing newer than now: it would stay.
    pub(super) fn show(&self, by: Option<Exemplar>, value: f64, now: Time) {
        let Some(mut exemplar) = by else { return };
        exemplar.at = exemplar.at.min(now);
        let (place, places) = match &self.cell {
            Cell::Counter(_) => (0, 1),
            Cell::Histogram(cell) => (cell.place(value), cell.bounds().len() + 1),
            Cell::Sum(_) | Cell::Gauge(_) => return,
        };
        let mut shown = self.shown();
        let all = shown.get_or_insert_with(|| vec![None; places].into());
        // The places are as many for the whole life of a series.
        if let Some(shown) = all.get_mut(place)
            && shown.is_none_or(|older| older.exemplar.at <= exemplar.at)
        {
            *shown = Some(Shown { exemplar, value });
        }
    }

    /// The spans that show it, by bucket; none of them if nothing does.
    pub(super) fn exemplars(&self) -> Box<[Option<Shown>]> {
        self.shown().clone().unwrap_or_default()
    }

    /// A thread that panicked while it held the lock leaves a span or none.
    fn shown(&self) -> MutexGuard<'_, Option<Box<[Option<Shown>]>>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets a gauge.
    pub(super) fn set(&self, value: f64, now: Time) {
        if let Cell::Gauge(cell) = &self.cell {
            cell.set(value);
        }
        self.touch(now);
    }

    /// Sets a gauge to a time, in seconds since the Unix epoch; to none, and it is
    /// not shown.
    pub(super) fn set_time(&self, time: Option<Time>, now: Time) {
        self.set(time.map_or(f64::NAN, |time| time.0 as f64 / 1e9), now);
    }

    /// Whether it says anything.
    fn is_shown(&self) -> bool {
        !matches!(&self.cell, Cell::Gauge(cell) if cell.get().is_nan())
    }

    /// Moves a gauge.
    pub(super) fn shift(&self, by: f64, now: Time) {
        if let Cell::Gauge(cell) = &self.cell {
            cell.add(by);
        }
        self.touch(now);
    }

    /// It is in use. Time does not go back here, whatever the clock does.
    pub(super) fn touch(&self, now: Time) {
        if now.0 > self.used.load(Relaxed) {
            self.used.store(now.0, Relaxed);
        }
    }

    fn count_overflow(&self) {
        if let Some(overflow) = &self.overflow {
            overflow.inc();
        }
    }

    /// What it says.
    pub(super) fn read(&self) -> Reading {
        match &self.cell {
            Cell::Counter(cell) => Reading::Counter(cell.get()),
            Cell::Sum(cell) => Reading::Sum(cell.get()),
            Cell::Gauge(cell) => Reading::Gauge(cell.get()),
            Cell::Histogram(cell) => Reading::Histogram(cell.read()),
        }
    }

    /// Adds what another process counted; whether it is of this kind. This is no
    /// sample, so it does not count as one that found no room.
    pub(super) fn restore(&self, reading: &Reading) -> bool {
        match (&self.cell, reading) {
            (Cell::Counter(cell), Reading::Counter(count)) => {
                cell.inc_by((*count).min(u64::MAX - cell.get()));
                true
            }
            (Cell::Sum(cell), Reading::Sum(sum)) => {
                if sum.is_finite() && *sum > 0.0 {
                    cell.inc_by(*sum);
                }
                true
            }
            (Cell::Histogram(cell), Reading::Histogram(counted)) => cell.restore(counted),
            (Cell::Gauge(cell), Reading::Gauge(value)) => {
                cell.set(*value);
                true
            }
            _ => false,
        }
    }

    /// The values of its labels.
    pub(super) fn values(&self) -> &[Arc<str>] {
        &self.values
    }

    /// When it was last used.
    pub(super) fn used(&self) -> Time {
        Time(self.used.load(Relaxed))
    }

    /// The counter behind it, if it is one.
    pub(super) fn counter(&self) -> Option<&IntCounter> {
        match &self.cell {
            Cell::Counter(cell) => Some(cell),
            _ => None,
        }
    }
}

impl Cell {
    /// The family has the name, the help and the labels; a cell needs none of its own.
    fn new(kind: Kind) -> prometheus::Result<Self> {
        Ok(match kind {
            Kind::Counter => Self::Counter(IntCounter::new("x", "x")?),
            Kind::Sum => Self::Sum(Counter::new("x", "x")?),
            Kind::Gauge => Self::Gauge(Gauge::new("x", "x")?),
            Kind::Histogram(buckets) => Self::Histogram(Arc::new(Histogram::new(buckets))),
        })
    }

    fn metric(&self) -> proto::Metric {
        match self {
            Self::Counter(cell) => cell.metric(),
            Self::Sum(cell) => cell.metric(),
            Self::Gauge(cell) => cell.metric(),
            Self::Histogram(cell) => cell.metric(),
        }
    }
}

impl Table {
    /// The series that say something now.
    pub(super) fn shown(&self) -> Vec<Arc<Series>> {
        let mut all = self.all();
        all.retain(|series| series.is_shown());
        all
    }

    /// All series, as they are now. The lock is held for a copy of pointers only:
    /// a scrape must not keep the fold waiting.
    fn all(&self) -> Vec<Arc<Series>> {
        self.read(|table| table.values().cloned().collect())
    }

    /// A thread that panicked while it held the lock leaves a whole table: each
    /// change of it is one call.
    fn read<T>(&self, f: impl FnOnce(&FxHashMap<Key, Arc<Series>>) -> T) -> T {
        f(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, f: impl FnOnce(&mut FxHashMap<Key, Arc<Series>>) -> T) -> T {
        f(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Collector for Collected {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let table = self.table.shown();
        let metrics = table
            .iter()
            .map(|series| {
                let mut metric = series.cell.metric();
                metric.set_label(
                    self.order
                        .iter()
                        .map(|(name, i)| pair(name, &series.values[*i]))
                        .collect(),
                );
                metric
            })
            .collect();
        let mut family = MetricFamily::default();
        family.set_name(self.descriptor.name.to_owned());
        family.set_help(self.descriptor.help.to_owned());
        family.set_field_type(match self.descriptor.kind {
            Kind::Counter | Kind::Sum => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
            Kind::Histogram(_) => MetricType::HISTOGRAM,
        });
        family.set_metric(metrics);
        vec![family]
    }
}

fn pair(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

fn row_error(descriptor: &'static Descriptor, error: &prometheus::Error) -> CatalogueError {
    CatalogueError::Row {
        name: descriptor.name,
        reason: error.to_string(),
    }
}
