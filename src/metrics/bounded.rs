//! The bound on series. Two things are bounded: the values of each free label,
//! counted over all metrics together, and the series of the whole page, where a
//! histogram counts as its buckets and three more.
//!
//! What finds no room goes, in this order, to
//!
//! 1. the series with `__other__` in just those labels whose values found none;
//! 2. if there is no room for a new series, one that exists with the same run
//!    labels and `__other__` in the metric's own free labels;
//! 3. the series with `__other__` in all free labels. Room for these is set
//!    aside at the start, so this never fails and nothing is lost.
//!
//! Closed labels and `system` keep their values always. Every sample that goes
//! to a series with `__other__` in it is counted in `series_overflow_total`.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounter, Registry};
use rustc_hash::FxHashMap;

use super::catalogue::{
    CATALOGUE, CatalogueError, Descriptor, FreeLabel, Group, Id, Kind, Label, RUN_LABELS,
};
use super::exposition::Exposition;
use super::family::{Family, Key, LABELS_MAX, Series};
use super::space::{OTHER_ID, Space, ValueId};
use crate::limits::{EVENT_TYPES_MAX, Limits};
use crate::wire::time::Time;

/// The values of [`RUN_LABELS`].
pub(super) type RunKey = [ValueId; RUN_LABELS.len()];

/// What the bound is.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The kinds of servers that are read; another one would be `__other__`.
    pub systems: Vec<&'static str>,
    /// Series of all metrics together.
    pub metric_series_max: usize,
    /// Values of one free label.
    pub label_values_max: usize,
    /// The age at which an unused series of no open run is removed.
    pub series_idle_max: Duration,
}

/// All series, and the room for them.
pub(super) struct Bounded {
    registry: Registry,
    exposition: Exposition,
    /// By [`Id`].
    families: Vec<Family>,
    /// By [`FreeLabel`].
    spaces: Vec<Space>,
    /// By [`Id`], and there by label: the texts of closed labels.
    closed: Vec<Vec<Vec<Arc<str>>>>,
    /// By [`Id`]: what counts the samples without room.
    overflow: Vec<Option<IntCounter>>,
    idle_max: Duration,
    /// Room for series that are not set aside, and how much of it is in use.
    room: usize,
    taken: usize,
}

impl Settings {
    /// The bounds as configured, for these kinds of servers.
    pub fn new(limits: &Limits, systems: &[&'static str]) -> Self {
        Self {
            systems: systems.to_vec(),
            metric_series_max: limits.metric_series_max,
            label_values_max: limits.label_values_max,
            series_idle_max: limits.series_idle_max,
        }
    }
}

impl Bounded {
    /// An empty registry with the room for what must always fit.
    pub(super) fn new(settings: &Settings) -> Result<Self, CatalogueError> {
        let spaces = FreeLabel::ALL.map(|label| {
            Space::new(match label {
                FreeLabel::System => settings.systems.len(),
                FreeLabel::EventType => EVENT_TYPES_MAX,
                FreeLabel::Metric => CATALOGUE.len(),
                _ => settings.label_values_max,
            })
        });
        let set_aside = series_set_aside(settings.systems.len());
        let room = settings.metric_series_max.checked_sub(set_aside).ok_or(
            CatalogueError::TooFewSeries {
                max: settings.metric_series_max,
                least: set_aside,
            },
        )?;
        let families: Vec<_> = CATALOGUE
            .iter()
            .map(Family::new)
            .collect::<Result<_, _>>()?;
        let mut bounded = Self {
            registry: Registry::new(),
            exposition: Exposition::new(&families),
            families,
            spaces: spaces.into(),
            closed: CATALOGUE.iter().map(closed_texts).collect(),
            overflow: vec![None; CATALOGUE.len()],
            idle_max: settings.series_idle_max,
            room,
            taken: 0,
        };
        for system in &settings.systems {
            let id = bounded.admit(FreeLabel::System, system);
            bounded.hold(FreeLabel::System, id);
        }
        bounded.start_overflow_counters();
        Ok(bounded)
    }

    /// Shows the metrics of one part of the program from now on.
    pub(super) fn register(&self, group: Group) -> Result<(), CatalogueError> {
        self.families
            .iter()
            .filter(|family| family.descriptor().group == group)
            .try_for_each(|family| family.register(&self.registry))?;
        self.exposition.show(group);
        Ok(())
    }

    /// A value's number. What is admitted is to be used at once, held, or given
    /// back with [`Self::drop_unused`].
    pub(super) fn admit(&mut self, label: FreeLabel, text: &str) -> ValueId {
        self.spaces[label as usize].admit(text)
    }

    /// Gives the value's place back unless a series or a holder uses it.
    pub(super) fn drop_unused(&mut self, label: FreeLabel, id: ValueId) {
        self.spaces[label as usize].drop_unused(id);
    }

    /// Keeps a value without a series.
    pub(super) fn hold(&mut self, label: FreeLabel, id: ValueId) {
        self.spaces[label as usize].hold(id);
    }

    /// Ends what [`Self::hold`] began.
    pub(super) fn let_go(&mut self, label: FreeLabel, id: ValueId) {
        self.spaces[label as usize].let_go(id);
    }

    /// The series of this label set, or the one that stands in for it.
    pub(super) fn series(&mut self, id: Id, key: Key, now: Time) -> Arc<Series> {
        if let Some(series) = self.families[id as usize].find(&key) {
            series.touch(now);
            return series;
        }
        let descriptor = id.descriptor();
        if is_set_aside(descriptor, &key) {
            return self.create(id, key, now);
        }
        if self.taken + descriptor.weight() <= self.room {
            self.taken += descriptor.weight();
            return self.create(id, key, now);
        }
        let own = fold(
            descriptor,
            &key,
            descriptor.all_labels().count() - descriptor.labels.len(),
        );
        if let Some(series) = self.families[id as usize].find(&own) {
            series.touch(now);
            return series;
        }
        // Its room is set aside, so this goes no deeper.
        self.series(id, fold(descriptor, &key, 0), now)
    }

    /// Whether there is room for those of these series that do not exist yet.
    pub(super) fn fits(&self, wanted: impl Iterator<Item = (Id, Key)>) -> bool {
        let missing: usize = wanted
            .filter(|(id, key)| {
                !is_set_aside(id.descriptor(), key)
                    && self.families[*id as usize].find(key).is_none()
            })
            .map(|(id, _)| id.descriptor().weight())
            .sum();
        self.taken + missing <= self.room
    }

    /// Removes the series that were idle for too long and belong to no open
    /// run, and tells how many. Series with the same free labels are idle
    /// together: a task that succeeds keeps its count of failures. Those whose
    /// room is set aside stay: their removal would make no room, and they
    /// belong to every run.
    pub(super) fn sweep(&mut self, now: Time, is_open: impl Fn(&RunKey) -> bool) -> usize {
        let idle_max = self.idle_max;
        let is_old = |used: Time| now.since(used) > idle_max;
        let mut newest: FxHashMap<_, Time> = FxHashMap::default();
        for family in self.families.iter().filter(|f| f.descriptor().of_runs) {
            family.each(|series| {
                let used = newest
                    .entry(names_of(family.descriptor(), &series.key))
                    .or_default();
                *used = series.used().max(*used);
            });
        }
        let mut removed: Vec<(Id, Key)> = Vec::new();
        for family in self.families.iter().filter(|f| f.descriptor().of_runs) {
            let descriptor = family.descriptor();
            let gone = family.retain(|series| {
                let used = newest.get(&names_of(descriptor, &series.key));
                used.is_none_or(|used| !is_old(*used))
                    || is_set_aside(descriptor, &series.key)
                    || is_open(&run_of(&series.key))
            });
            removed.extend(gone.into_iter().map(|key| (descriptor.id, key)));
        }
        let mut count = removed.len();
        self.forget(removed);
        // A project's name stays as long as anything else speaks of the project.
        let projects = &self.spaces[FreeLabel::Project as usize];
        let gone = self.families[Id::ProjectInfo as usize]
            .retain(|series| !is_old(series.used()) || projects.uses(series.key[0]) > 1);
        count += gone.len();
        self.forget(gone.into_iter().map(|key| (Id::ProjectInfo, key)));
        count
    }

    /// Removes the series of one metric that are not to stay.
    pub(super) fn retain(&mut self, id: Id, stays: impl Fn(&Key) -> bool) {
        let gone = self.families[id as usize].retain(|series| stays(&series.key));
        self.forget(gone.into_iter().map(|key| (id, key)));
    }

    fn create(&mut self, id: Id, key: Key, now: Time) -> Arc<Series> {
        let descriptor = id.descriptor();
        let mut values = Vec::with_capacity(LABELS_MAX);
        for (place, label) in descriptor.all_labels().enumerate() {
            values.push(match label {
                Label::Free(label) => {
                    self.spaces[*label as usize].hold(key[place]);
                    self.spaces[*label as usize].text(key[place]).clone()
                }
                Label::Closed { .. } => {
                    self.closed[id as usize][place][key[place] as usize].clone()
                }
            });
        }
        let overflow = if has_other(descriptor, &key) {
            self.overflow[id as usize].clone()
        } else {
            None
        };
        self.families[id as usize].add(key, values.into(), overflow, now)
    }

    fn forget(&mut self, removed: impl IntoIterator<Item = (Id, Key)>) {
        for (id, key) in removed {
            let descriptor = id.descriptor();
            if !is_set_aside(descriptor, &key) {
                self.taken -= descriptor.weight();
            }
            for (label, value) in free_values(descriptor, &key) {
                self.spaces[label as usize].let_go(value);
            }
        }
    }

    /// Gauges are left out: what moves them is counted elsewhere.
    fn start_overflow_counters(&mut self) {
        for descriptor in CATALOGUE {
            let free = descriptor.all_labels().any(|l| matches!(l, Label::Free(_)));
            if !free || descriptor.kind == Kind::Gauge || descriptor.id == Id::SeriesOverflow {
                continue;
            }
            let metric = self.admit(FreeLabel::Metric, descriptor.name);
            let series = self.series(Id::SeriesOverflow, key(&[metric]), Time::ZERO);
            self.drop_unused(FreeLabel::Metric, metric);
            self.overflow[descriptor.id as usize] = series.counter().cloned();
        }
    }

    /// The age at which an unused series of no open run is removed.
    pub(super) const fn idle_max(&self) -> Duration {
        self.idle_max
    }

    /// All metrics, in the order of the catalogue.
    pub(super) fn families(&self) -> impl Iterator<Item = &Family> {
        self.families.iter()
    }

    /// What a scrape reads; it may be cloned and read in another thread.
    pub(super) const fn exposition(&self) -> &Exposition {
        &self.exposition
    }

    /// The same for whoever has an encoder of his own.
    pub(super) const fn registry(&self) -> &Registry {
        &self.registry
    }
}

#[cfg(test)]
impl Bounded {
    /// The room that series of runs take, and the values that they use.
    pub(super) fn leftovers(&self) -> (usize, usize) {
        let others = self.families.iter().filter(|f| !f.descriptor().of_runs);
        let others = others.map(|family| {
            let descriptor = family.descriptor();
            let mut count = 0;
            family.each(|series| count += usize::from(!is_set_aside(descriptor, &series.key)));
            count * descriptor.weight()
        });
        let names = [
            FreeLabel::Project,
            FreeLabel::Workflow,
            FreeLabel::Task,
            FreeLabel::Server,
            FreeLabel::Tool,
            FreeLabel::Provider,
            FreeLabel::Model,
            FreeLabel::ErrorType,
        ];
        let values = names.map(|label| self.spaces[label as usize].len());
        (self.taken - others.sum::<usize>(), values.iter().sum())
    }
}

/// The key of these values.
pub(super) fn key(values: &[ValueId]) -> Key {
    let mut key = Key::default();
    key[..values.len()].copy_from_slice(values);
    key
}

/// The key of these values of a metric of runs.
pub(super) fn run_key(run: RunKey, rest: &[ValueId]) -> Key {
    let mut key = Key::default();
    key[..run.len()].copy_from_slice(&run);
    key[run.len()..run.len() + rest.len()].copy_from_slice(rest);
    key
}

fn run_of(key: &Key) -> RunKey {
    [key[0], key[1], key[2]]
}

/// The free labels, as bits, and their values.
fn names_of(descriptor: &Descriptor, key: &Key) -> (u32, Key) {
    let mut labels = 0;
    let mut values = Key::default();
    for (place, (label, value)) in free_values(descriptor, key).enumerate() {
        labels |= 1 << label as u32;
        values[place] = value;
    }
    (labels, values)
}

/// The key with `__other__` in the free labels from this place on.
fn fold(descriptor: &Descriptor, key: &Key, from: usize) -> Key {
    let mut folded = *key;
    for (place, label) in descriptor.all_labels().enumerate().skip(from) {
        if may_fold(label) {
            folded[place] = OTHER_ID;
        }
    }
    folded
}

/// The key of the series that stands in for this one when there is no room.
pub(super) fn stand_in(id: Id, key: &Key) -> Key {
    fold(id.descriptor(), key, 0)
}

fn is_set_aside(descriptor: &Descriptor, key: &Key) -> bool {
    fold(descriptor, key, 0) == *key
}

fn has_other(descriptor: &Descriptor, key: &Key) -> bool {
    free_values(descriptor, key).any(|(_, value)| value == OTHER_ID)
}

/// The number of systems is known at the start, so no sum by system is ever blurred.
const fn may_fold(label: &Label) -> bool {
    matches!(label, Label::Free(label) if !matches!(label, FreeLabel::System))
}

fn free_values(descriptor: &Descriptor, key: &Key) -> impl Iterator<Item = (FreeLabel, ValueId)> {
    descriptor
        .all_labels()
        .zip(key)
        .filter_map(|(label, value)| match label {
            Label::Free(label) => Some((*label, *value)),
            Label::Closed { .. } => None,
        })
}

/// The series for which room is always kept: for each metric, every
/// combination of closed values with `__other__` in the free labels.
fn series_set_aside(systems: usize) -> usize {
    let combinations = |descriptor: &Descriptor| -> usize {
        descriptor
            .all_labels()
            .map(|label| match label {
                Label::Closed { values, .. } => values.len(),
                Label::Free(FreeLabel::System) => systems + 1,
                Label::Free(_) => 1,
            })
            .product()
    };
    CATALOGUE.iter().map(|d| combinations(d) * d.weight()).sum()
}

fn closed_texts(descriptor: &Descriptor) -> Vec<Vec<Arc<str>>> {
    descriptor
        .all_labels()
        .map(|label| match label {
            Label::Closed { values, .. } => values.iter().map(|v| Arc::from(*v)).collect(),
            Label::Free(_) => Vec::new(),
        })
        .collect()
}
