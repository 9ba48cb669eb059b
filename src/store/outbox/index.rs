//! What the outbox knows of its bodies without reading them: which there are,
//! where they stand in the log, which of them may be sent. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::record::BodyHead;
use super::{BodyId, Compression, Packed};
use crate::store::log::Place;
use crate::wire::time::Time;

/// What stands around a body on the disk, in most cases.
const BODY_OVERHEAD_BYTES: u64 = 56;

/// All bodies that are not settled.
#[derive(Debug, Default)]
pub(super) struct Index {
    bodies: BTreeMap<BodyId, Entry>,
    /// Those that may be sent, and that nobody has taken.
    waiting: BTreeSet<BodyId>,
    /// Those of the group that is not complete yet.
    unfinished: Vec<BodyId>,
    /// Its number, which is that of its first body.
    group: u64,
    /// How many bodies stand in each segment that has any.
    by_segment: BTreeMap<u64, usize>,
    body_bytes: u64,
    /// The number of the next body.
    pub(super) next_number: u64,
    /// What the newest complete body completes.
    pub(super) through: u64,
}

/// One body. There may be many, so this is small.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) stand: Stand,
    pub(super) pushed: Time,
    pub(super) width: u64,
    pub(super) spans: u32,
    plain_bytes: u32,
    pub(super) body_bytes: u32,
    pub(super) compression: Compression,
}

/// Where a body stands in the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stand {
    /// Its record.
    pub(super) place: Place,
    /// Where in the record it begins.
    pub(super) begin: u32,
}

impl Entry {
    pub(super) fn new(head: &BodyHead, place: Place, begin: usize) -> Self {
        Self {
            stand: Stand::new(place, begin),
            pushed: head.pushed,
            width: head.width,
            spans: head.spans,
            plain_bytes: small(head.plain_bytes),
            body_bytes: small(head.body_bytes),
            compression: head.compression,
        }
    }

    /// What to write before it when it is copied forward.
    pub(super) fn head(&self, id: BodyId, group: u64) -> BodyHead {
        BodyHead {
            id,
            width: self.width,
            pushed: self.pushed,
            through: 0,
            group,
            is_last: false,
            spans: self.spans,
            plain_bytes: u64::from(self.plain_bytes),
            compression: self.compression,
            body_bytes: u64::from(self.body_bytes),
        }
    }

    /// The body, from its record.
    pub(super) fn packed(&self, record: Vec<u8>) -> Option<Packed> {
        let begin = self.stand.begin as usize;
        let end = begin.checked_add(self.body_bytes as usize)?;
        (end <= record.len()).then(|| Packed {
            body: bytes::Bytes::from(record).slice(begin..end),
            compression: self.compression,
            spans: self.spans,
            plain_bytes: self.plain_bytes as usize,
        })
    }
}

impl Stand {
    pub(super) fn new(place: Place, begin: usize) -> Self {
        Self {
            place,
            begin: small(begin as u64),
        }
    }
}

/// Nothing in the log is as large as this could tell: a record has a bound.
fn small(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

impl Index {
    pub(super) fn len(&self) -> usize {
        self.bodies.len()
    }

    pub(super) fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// What they take on the disk, roughly.
    pub(super) fn live_bytes(&self) -> u64 {
        self.body_bytes + self.bodies.len() as u64 * BODY_OVERHEAD_BYTES
    }

    pub(super) fn has(&self, id: BodyId) -> bool {
        self.bodies.contains_key(&id)
    }

    pub(super) fn entry(&self, id: BodyId) -> Option<Entry> {
        self.bodies.get(&id).copied()
    }

    pub(super) fn oldest(&self) -> Option<(BodyId, Time)> {
        let first = self.bodies.first_key_value();
        first.map(|(id, entry)| (*id, entry.pushed))
    }

    pub(super) fn oldest_waiting(&self) -> Option<BodyId> {
        self.waiting.first().copied()
    }

    /// A body that belongs to the group that is not complete yet.
    pub(super) fn add(&mut self, id: BodyId, entry: Entry, group: u64) {
        self.group = group;
        self.insert(id, entry);
        if !self.is_unfinished(id) {
            self.unfinished.push(id);
        }
        self.next_number = self.next_number.max(id.number + 1);
    }

    /// The number of the group that is not complete yet, if it has any body.
    pub(super) fn unfinished_group(&self) -> Option<u64> {
        (!self.unfinished.is_empty()).then_some(self.group)
    }

    /// The same, for a body that belongs to it.
    pub(super) fn unfinished_group_of(&self, id: BodyId) -> Option<u64> {
        self.unfinished_group().filter(|_| self.is_unfinished(id))
    }

    fn is_unfinished(&self, id: BodyId) -> bool {
        self.unfinished.contains(&id)
    }

    /// The group is complete: its bodies may be sent.
    pub(super) fn complete(&mut self, through: u64) {
        self.waiting.extend(self.unfinished.drain(..));
        self.through = self.through.max(through);
    }

    /// Those of a group that never became complete go.
    pub(super) fn drop_unfinished(&mut self) -> usize {
        let unfinished = std::mem::take(&mut self.unfinished);
        for id in &unfinished {
            self.remove(*id);
        }
        unfinished.len()
    }

    /// Somebody has it now, and it is not offered any more.
    pub(super) fn take(&mut self, id: BodyId) {
        self.waiting.remove(&id);
    }

    pub(super) fn give_back(&mut self, id: BodyId) {
        if self.has(id) && !self.is_unfinished(id) {
            self.waiting.insert(id);
        }
    }

    pub(super) fn give_back_all(&mut self) {
        let Self {
            bodies,
            waiting,
            unfinished,
            ..
        } = self;
        waiting.extend(bodies.keys().filter(|id| !unfinished.contains(id)));
    }

    pub(super) fn remove(&mut self, id: BodyId) -> Option<Entry> {
        let entry = self.bodies.remove(&id)?;
        self.waiting.remove(&id);
        self.body_bytes -= u64::from(entry.body_bytes);
        self.leave(entry.stand.place.segment);
        Some(entry)
    }

    /// These two take the place of a body, and may be sent.
    pub(super) fn replace(&mut self, id: BodyId, halves: [(BodyId, Entry); 2]) {
        self.remove(id);
        for (id, entry) in halves {
            self.put(id, entry);
        }
    }

    /// A complete body stands there, be it known or not.
    pub(super) fn put(&mut self, id: BodyId, entry: Entry) {
        self.insert(id, entry);
        self.unfinished.retain(|unfinished| *unfinished != id);
        self.waiting.insert(id);
        self.next_number = self.next_number.max(id.number + 1);
    }

    /// A body stands elsewhere now.
    pub(super) fn move_to(&mut self, id: BodyId, stand: Stand) {
        let Some(entry) = self.bodies.get_mut(&id) else {
            return;
        };
        let before = std::mem::replace(&mut entry.stand, stand);
        *self.by_segment.entry(stand.place.segment).or_default() += 1;
        self.leave(before.place.segment);
    }

    /// The first segment that has a body which is not settled.
    pub(super) fn oldest_segment(&self) -> Option<u64> {
        self.by_segment.keys().next().copied()
    }

    /// The bodies in a segment.
    pub(super) fn of_segment(&self, segment: u64) -> Vec<(BodyId, Entry)> {
        let bodies = self.bodies.iter();
        let of_segment = bodies.filter(|(_, entry)| entry.stand.place.segment == segment);
        of_segment.map(|(id, entry)| (*id, *entry)).collect()
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> impl Iterator<Item = BodyId> {
        self.bodies.keys().copied()
    }

    fn insert(&mut self, id: BodyId, entry: Entry) {
        self.remove(id);
        self.body_bytes += u64::from(entry.body_bytes);
        *self
            .by_segment
            .entry(entry.stand.place.segment)
            .or_default() += 1;
        self.bodies.insert(id, entry);
    }

    fn leave(&mut self, segment: u64) {
        if let Some(bodies) = self.by_segment.get_mut(&segment) {
            *bodies -= 1;
            if *bodies == 0 {
                self.by_segment.remove(&segment);
            }
        }
    }
}
