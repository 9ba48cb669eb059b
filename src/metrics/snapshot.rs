//! All that was counted, in words, so that it outlives the process: metrics,
//! labels and values by name, independent of internal numbers and of the order
//! in which they came.
//!
//! What a later version, or a configuration with other bounds, can still take is
//! added to its own series by the way of every new label set. So a counter's sum
//! stays what it was, wherever its parts may stand now.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::bounded::Bounded;
use super::catalogue::{CATALOGUE, Descriptor, Id, Kind, Label};
use super::family::{Key, Reading};
use super::space::ValueId;
use crate::wire::time::Time;

/// All that was counted.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MetricsSnapshot {
    /// Each value of a label once; the series tell its place.
    texts: Vec<Arc<str>>,
    families: Vec<FamilySnapshot>,
}

/// One metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct FamilySnapshot {
    name: String,
    labels: Vec<String>,
    /// Of the buckets, if it is a histogram.
    bounds: Vec<f64>,
    /// The one that was used last in front: where there is less room now, it
    /// keeps its name.
    series: Vec<SeriesSnapshot>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SeriesSnapshot {
    /// A place among the texts for each label.
    values: Vec<u32>,
    used: Time,
    reading: Reading,
}

/// What of a snapshot could not be taken over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NotRestored {
    /// The metric.
    pub metric: String,
    /// Why not.
    pub why: WhyNot,
}

/// Why a metric, or some of its series, could not be taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WhyNot {
    /// There is no such metric any more.
    NoSuchMetric,
    /// It has a label that it had not, or is of another kind.
    OtherShape,
    /// Its buckets are others.
    OtherBuckets,
    /// A label has a value that is none any more.
    NoSuchValue,
}

impl fmt::Display for NotRestored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.why {
            WhyNot::NoSuchMetric => "there is no such metric any more",
            WhyNot::OtherShape => "it has other labels now, or is of another kind",
            WhyNot::OtherBuckets => "its buckets are others now",
            WhyNot::NoSuchValue => "one of its labels has no such value any more",
        };
        write!(f, "{} begins at zero: {why}", self.metric)
    }
}

/// What outlives the process: all that counts, the name of each project, and that
/// there are runs of a workflow, though not how many of them are open. The other
/// gauges say how things are now.
fn is_kept(descriptor: &Descriptor) -> bool {
    descriptor.kind != Kind::Gauge || matches!(descriptor.id, Id::RunsOpen | Id::ProjectInfo)
}

impl MetricsSnapshot {
    pub(super) fn of(bounded: &Bounded) -> Self {
        let mut snapshot = Self::default();
        let mut texts = Texts::default();
        for family in bounded.families().filter(|f| is_kept(f.descriptor())) {
            let descriptor = family.descriptor();
            let mut series = family.all();
            series.sort_unstable_by(|a, b| {
                let order = (Reverse(a.used()), a.values());
                order.cmp(&(Reverse(b.used()), b.values()))
            });
            let series = series.iter().map(|series| SeriesSnapshot {
                values: series.values().iter().map(|v| texts.place(v)).collect(),
                used: series.used(),
                reading: match descriptor.id {
                    // The runs themselves tell how many of them are open.
                    Id::RunsOpen => Reading::Gauge(0.0),
                    _ => series.read(),
                },
            });
            snapshot.families.push(FamilySnapshot {
                name: descriptor.name.to_owned(),
                labels: descriptor
                    .all_labels()
                    .map(|l| l.name().to_owned())
                    .collect(),
                bounds: descriptor.kind.bounds().to_vec(),
                series: series.collect(),
            });
        }
        snapshot.texts = texts.all;
        snapshot
    }

    /// Adds all of it to a registry, and tells once a metric what does not fit.
    pub(super) fn restore(&self, bounded: &mut Bounded) -> Vec<NotRestored> {
        let mut missing = BTreeSet::new();
        for family in &self.families {
            let mut miss = |why| {
                missing.insert(NotRestored {
                    metric: family.name.clone(),
                    why,
                });
            };
            let (descriptor, places) = match family.shape() {
                Ok(shape) => shape,
                Err(why) => {
                    miss(why);
                    continue;
                }
            };
            for series in &family.series {
                if let Err(why) = self.restore_one(series, descriptor, &places, bounded) {
                    miss(why);
                }
            }
        }
        missing.into_iter().collect()
    }

    fn restore_one(
        &self,
        series: &SeriesSnapshot,
        descriptor: &'static Descriptor,
        places: &[usize],
        bounded: &mut Bounded,
    ) -> Result<(), WhyNot> {
        let mut texts = Vec::with_capacity(places.len());
        for place in places {
            let text = series.values.get(*place);
            let text = text.and_then(|text| self.texts.get(*text as usize));
            texts.push(&**text.ok_or(WhyNot::NoSuchValue)?);
        }
        let key = admit(descriptor, &texts, bounded)?;
        let restored = bounded
            .series(descriptor.id, key, series.used)
            .restore(&series.reading);
        for (place, label) in descriptor.all_labels().enumerate() {
            if let Label::Free(label) = label {
                bounded.drop_unused(*label, key[place]);
            }
        }
        match restored {
            true => Ok(()),
            false => Err(WhyNot::OtherShape),
        }
    }
}

/// The numbers of these values. A value that is not known any more counts as
/// unknown, where there is such a thing.
fn admit(descriptor: &Descriptor, texts: &[&str], bounded: &mut Bounded) -> Result<Key, WhyNot> {
    let mut key = Key::default();
    // The closed ones first: what they refuse has admitted nothing.
    for (place, (label, text)) in descriptor.all_labels().zip(texts).enumerate() {
        if let Label::Closed { values, .. } = label {
            let find = |text: &str| values.iter().position(|value| *value == text);
            let value = find(text).or_else(|| find("unknown"));
            key[place] = value.ok_or(WhyNot::NoSuchValue)? as ValueId;
        }
    }
    for (place, (label, text)) in descriptor.all_labels().zip(texts).enumerate() {
        if let Label::Free(label) = label {
            key[place] = bounded.admit(*label, text);
        }
    }
    Ok(key)
}

impl FamilySnapshot {
    /// The metric that it is now, and for each of its labels the place here. A
    /// label that is no more is left out: what it told apart is added up.
    fn shape(&self) -> Result<(&'static Descriptor, Vec<usize>), WhyNot> {
        let descriptor = CATALOGUE.iter().find(|known| known.name == self.name);
        let descriptor = descriptor.ok_or(WhyNot::NoSuchMetric)?;
        let place = |label: &Label| self.labels.iter().position(|name| name == label.name());
        let places: Option<Vec<_>> = descriptor.all_labels().map(place).collect();
        let places = places.ok_or(WhyNot::OtherShape)?;
        if matches!(descriptor.kind, Kind::Histogram(now) if now != self.bounds) {
            return Err(WhyNot::OtherBuckets);
        }
        Ok((descriptor, places))
    }
}

/// Texts, each once.
#[derive(Default)]
struct Texts {
    all: Vec<Arc<str>>,
    places: FxHashMap<Arc<str>, u32>,
}

impl Texts {
    fn place(&mut self, text: &Arc<str>) -> u32 {
        if let Some(place) = self.places.get(text) {
            return *place;
        }
        // There are fewer texts than series, and these are counted in memory.
        let place = self.all.len() as u32;
        self.all.push(Arc::clone(text));
        self.places.insert(Arc::clone(text), place);
        place
    }
}

#[cfg(test)]
impl MetricsSnapshot {
    /// As a version would have written it that had other names and buckets.
    pub(super) fn rename(&mut self, metric: &str, change: impl FnOnce(&mut FamilyChange<'_>)) {
        let family = self.families.iter_mut().find(|f| f.name == metric);
        let FamilySnapshot {
            name,
            labels,
            bounds,
            ..
        } = family.unwrap();
        change(&mut FamilyChange {
            name,
            labels,
            bounds,
        });
    }

    /// As above, with another value of a label.
    pub(super) fn rename_value(&mut self, from: &str, to: &str) {
        let text = self.texts.iter_mut().find(|text| &***text == from);
        *text.unwrap() = Arc::from(to);
    }
}

/// What a test may change of a family.
#[cfg(test)]
pub(super) struct FamilyChange<'s> {
    pub(super) name: &'s mut String,
    pub(super) labels: &'s mut Vec<String>,
    pub(super) bounds: &'s mut Vec<f64>,
}
