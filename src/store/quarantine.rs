//! Bodies that the backend refused for good, in a log of their own: they are
//! listed by `runtrail check` and sent again by `runtrail resend`.
//!
//! - What was set aside is on disk when [`Quarantine::set_aside`] comes back.
//! - The log never takes more than its bound: the oldest go, a segment at a time,
//!   and are counted.
//! - A record is, as `encoded` says, of kind 1 with [`About`] as
//!   its head and the body behind it, or of kind 2, and says by its number which
//!   one was removed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::encoded::{decode, encode};
use super::failed::StoreFailed;
use super::files::Files;
use super::log::{
    Log, LogError, LogSettings, RECORD_HEADER_BYTES, Record, SEGMENT_HEADER_BYTES, Scan,
};
use super::outbox::{Compression, Packed};
use crate::limits::{Limits, MESSAGE_BYTES_MAX, SPAN_BYTES_MAX};
use crate::wire::time::Time;

/// The name of the log.
const NAME: &str = "quarantine";

/// Bounds of a quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuarantineSettings {
    /// What it may take on disk, all included.
    pub limit_bytes: u64,
    /// The largest body. A larger one is not kept.
    pub body_bytes_max: usize,
}

/// What is known of a body beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// When it was set aside.
    pub when: Time,
    /// Why: as the metrics say it.
    pub reason: String,
    /// What the backend said of it.
    pub said: String,
    /// How many spans it holds.
    pub spans: u32,
    plain_bytes: u64,
    compression: Compression,
}

/// A body that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    number: u64,
    segment: u64,
    /// What is known of it.
    pub about: About,
    /// The body, as it was to be sent.
    pub packed: Packed,
}

/// Why a body is not set aside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetAsideError {
    /// The disk is full.
    #[error("the disk has no room for what the backend refused")]
    Full,
    /// It is larger than the quarantine takes.
    #[error("a batch is larger than store.quarantine_bytes_max allows")]
    TooLarge,
    /// The store has failed.
    #[error(transparent)]
    Failed(#[from] StoreFailed),
}

/// What the quarantine holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuarantineStatus {
    /// How many bodies.
    pub batches: u64,
    /// Spans in them.
    pub spans: u64,
    /// Bytes that it takes on disk.
    pub disk_bytes: u64,
    /// Bytes that it may take on disk.
    pub limit_bytes: u64,
    /// Bodies that had to go since it was opened, as there were too many.
    pub dropped_batches: u64,
}

/// The quarantine. It is shared.
#[derive(Debug)]
pub struct Quarantine {
    limit_bytes: u64,
    /// What bodies may take of it; the rest is for the records of what was removed.
    bodies_bytes_max: u64,
    /// Locked before the counts, and for as long as the disk takes.
    log: Mutex<Log>,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// What each segment holds; those that hold nothing are left out.
    held: BTreeMap<u64, Held>,
    /// Removed, but still in a segment.
    removed: BTreeSet<u64>,
    disk_bytes: u64,
    dropped_batches: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Held {
    batches: u64,
    spans: u64,
}

const SET_ASIDE: u8 = 1;
const REMOVED: u8 = 2;

/// More than the head of a record is long.
const HEAD_BYTES_MAX: usize = MESSAGE_BYTES_MAX + 256;

impl QuarantineSettings {
    /// For bodies as these limits allow them.
    pub fn new(limit_bytes: u64, limits: &Limits) -> Self {
        Self {
            limit_bytes,
            body_bytes_max: limits.batch_bytes_max.max(2 * SPAN_BYTES_MAX),
        }
    }

    fn log(self) -> LogSettings {
        LogSettings {
            segment_bytes: self.limit_bytes / 8,
            record_bytes_max: self.body_bytes_max + HEAD_BYTES_MAX,
        }
    }
}

impl About {
    /// Of a body that was refused for this. A longer answer is cut.
    pub fn new(when: Time, reason: &str, said: &str, packed: &Packed) -> Self {
        let cut = said.floor_char_boundary(MESSAGE_BYTES_MAX);
        Self {
            when,
            reason: reason.to_owned(),
            said: said[..cut].to_owned(),
            spans: packed.spans,
            plain_bytes: packed.plain_bytes as u64,
            compression: packed.compression,
        }
    }
}

impl Quarantine {
    /// Opens the log and counts what is in it.
    pub fn open(files: Arc<dyn Files>, settings: QuarantineSettings) -> Result<Self, LogError> {
        let (log, _) = Log::open(files, NAME, settings.log())?;
        let mut counts = Counts::default();
        let mut places = BTreeMap::new();
        for record in log.scan(log.first_number()) {
            let record = record?;
            match Read::of(&record) {
                Some(Read::SetAside(about, _)) => {
                    places.insert(record.number, (record.place.segment, about.spans));
                    counts.add(record.place.segment, about.spans);
                }
                Some(Read::Removed(number)) => {
                    if let Some((segment, spans)) = places.remove(&number) {
                        counts.remove(number, segment, spans);
                    }
                }
                None => {}
            }
        }
        counts.disk_bytes = log.disk_bytes();
        Ok(Self {
            limit_bytes: settings.limit_bytes,
            bodies_bytes_max: settings.limit_bytes - settings.limit_bytes / 16,
            log: Mutex::new(log),
            counts: Mutex::new(counts),
        })
    }

    /// What it holds. Never waits for the disk.
    pub fn status(&self) -> QuarantineStatus {
        let counts = self.counts();
        let held = || counts.held.values();
        QuarantineStatus {
            batches: held().map(|held| held.batches).sum(),
            spans: held().map(|held| held.spans).sum(),
            disk_bytes: counts.disk_bytes,
            limit_bytes: self.limit_bytes,
            dropped_batches: counts.dropped_batches,
        }
    }

    /// Keeps a body, which is on disk when this comes back. The oldest make room
    /// for it. Blocks.
    pub fn set_aside(&self, about: &About, packed: &Packed) -> Result<(), SetAsideError> {
        let record = encode(SET_ASIDE, about, &[&packed.body]);
        let mut log = self.log();
        let least = SEGMENT_HEADER_BYTES + RECORD_HEADER_BYTES + record.len() as u64;
        if least > self.bodies_bytes_max {
            return Err(SetAsideError::TooLarge);
        }
        while log.disk_bytes_with(record.len()) > self.bodies_bytes_max {
            self.drop_oldest(&mut log)?;
        }
        let place = log.append_placed(&record).map(|(_, place)| place);
        let place = place.and_then(|place| log.commit().map(|()| place))?;
        let mut counts = self.counts();
        counts.add(place.segment, about.spans);
        counts.disk_bytes = log.disk_bytes();
        Ok(())
    }

    /// All bodies that are there now, the oldest first. Reads them one by one.
    pub fn bodies(&self) -> impl Iterator<Item = Result<SetAside, LogError>> {
        let log = self.log();
        let removed = self.counts().removed.clone();
        bodies(log.scan(log.first_number()), removed)
    }

    /// Removes a body that was listed. Blocks.
    pub fn remove(&self, body: &SetAside) -> Result<(), SetAsideError> {
        let mut log = self.log();
        let record = encode(REMOVED, &body.number, &[]);
        if log.disk_bytes_with(record.len()) > self.limit_bytes {
            return Err(SetAsideError::Full);
        }
        log.append(&record).and_then(|_| log.commit())?;
        self.counts()
            .remove(body.number, body.segment, body.about.spans);
        self.delete_empty(&mut log)
    }

    /// The oldest bodies go, with the segment in which they stand.
    fn drop_oldest(&self, log: &mut Log) -> Result<(), SetAsideError> {
        let mut counts = self.counts();
        if let Some((_, held)) = counts.held.pop_first() {
            counts.dropped_batches += held.batches;
        }
        drop(counts);
        self.delete_empty(log)
    }

    /// Segments without a body go from the front.
    fn delete_empty(&self, log: &mut Log) -> Result<(), SetAsideError> {
        let first = self.counts().held.keys().next().copied();
        let before = match first {
            Some(segment) => segment,
            None => {
                log.roll()?;
                log.next_number()
            }
        };
        log.delete_before(before)?;
        let first = log.first_number();
        let mut counts = self.counts();
        counts.removed = counts.removed.split_off(&first);
        counts.disk_bytes = log.disk_bytes();
        Ok(())
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<LogError> for SetAsideError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Full => Self::Full,
            LogError::TooLarge { .. } => Self::TooLarge,
            error => Self::Failed(StoreFailed::of(error)),
        }
    }
}

impl Counts {
    fn add(&mut self, segment: u64, spans: u32) {
        let held = self.held.entry(segment).or_default();
        held.batches += 1;
        held.spans += u64::from(spans);
    }

    fn remove(&mut self, number: u64, segment: u64, spans: u32) {
        if let Some(held) = self.held.get_mut(&segment)
            && self.removed.insert(number)
        {
            held.batches -= 1;
            held.spans -= u64::from(spans);
            if held.batches == 0 {
                self.held.remove(&segment);
            }
        }
    }
}

/// A record that was read.
enum Read {
    /// With where the body begins.
    SetAside(About, usize),
    Removed(u64),
}

impl Read {
    fn of(record: &Record) -> Option<Self> {
        match *record.bytes.first()? {
            SET_ASIDE => decode(&record.bytes).map(|(about, begin)| Self::SetAside(about, begin)),
            REMOVED => decode(&record.bytes).map(|(number, _)| Self::Removed(number)),
            _ => None,
        }
    }
}

fn bodies(scan: Scan, removed: BTreeSet<u64>) -> impl Iterator<Item = Result<SetAside, LogError>> {
    scan.filter_map(move |record| {
        let record = match record {
            Ok(record) => record,
            Err(error) => return Some(Err(error)),
        };
        let Some(Read::SetAside(about, begin)) = Read::of(&record) else {
            return None;
        };
        let packed = Packed {
            body: Bytes::from(record.bytes).slice(begin..),
            compression: about.compression,
            spans: about.spans,
            plain_bytes: about.plain_bytes as usize,
        };
        let is_there = !removed.contains(&record.number);
        is_there.then_some(Ok(SetAside {
            number: record.number,
            segment: record.place.segment,
            about,
            packed,
        }))
    })
}

/// What is in a quarantine, for somebody who only looks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// How many bodies.
    pub batches: u64,
    /// Spans in them.
    pub spans: u64,
    /// Bytes of their bodies, as they are kept.
    pub bytes: u64,
    /// When the first was set aside.
    pub oldest: Option<Time>,
    /// When the last was.
    pub newest: Option<Time>,
    /// Spans by why they were set aside, with what was last said of it.
    pub by_reason: BTreeMap<String, (u64, String)>,
}

/// Lists a quarantine without changing it, be it in use or not.
pub fn list(files: Arc<dyn Files>) -> Result<Listing, LogError> {
    let (scan, _) = Log::look(Arc::clone(&files), NAME)?;
    let mut removed = BTreeSet::new();
    for record in scan {
        if let Some(Read::Removed(number)) = Read::of(&record?) {
            removed.insert(number);
        }
    }
    let (scan, _) = Log::look(files, NAME)?;
    let mut listing = Listing::default();
    for body in bodies(scan, removed) {
        let SetAside { about, packed, .. } = body?;
        listing.batches += 1;
        listing.spans += u64::from(about.spans);
        listing.bytes += packed.body.len() as u64;
        listing.oldest.get_or_insert(about.when);
        listing.newest = Some(about.when);
        let of_reason = listing.by_reason.entry(about.reason).or_default();
        of_reason.0 += u64::from(about.spans);
        of_reason.1 = about.said;
    }
    Ok(listing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::files::faulty::{Fault, Faulty, Operation};

    const SETTINGS: QuarantineSettings = QuarantineSettings {
        limit_bytes: 16 << 10,
        body_bytes_max: 500,
    };

    fn open(files: &Faulty) -> Quarantine {
        Quarantine::open(Arc::new(files.clone()), SETTINGS).unwrap()
    }

    fn packed(body: &[u8]) -> Packed {
        Packed {
            body: Bytes::copy_from_slice(body),
            compression: Compression::Gzip,
            spans: 2,
            plain_bytes: 9,
        }
    }

    fn set_aside(quarantine: &Quarantine, when: u64, body: &[u8]) -> Result<(), SetAsideError> {
        let packed = packed(body);
        let about = About::new(Time(when), "invalid", "too odd", &packed);
        quarantine.set_aside(&about, &packed)
    }

    fn bodies(quarantine: &Quarantine) -> Vec<SetAside> {
        quarantine.bodies().map(Result::unwrap).collect()
    }

    fn listing(files: &Faulty) -> Listing {
        list(Arc::new(files.clone())).unwrap()
    }

    #[test]
    fn what_was_set_aside_is_there_after_a_loss_of_power() {
        let files = Faulty::new();
        let quarantine = open(&files);
        set_aside(&quarantine, 3, b"a").unwrap();
        set_aside(&quarantine, 5, b"bc").unwrap();
        let files = files.crash(1);
        let quarantine = open(&files);
        let status = quarantine.status();
        assert_eq!((status.batches, status.spans), (2, 4));
        assert_eq!(status.disk_bytes, files.bytes_used());
        let found = bodies(&quarantine);
        assert_eq!(found[0].packed, packed(b"a"));
        assert_eq!(found[1].packed, packed(b"bc"));
        assert_eq!(found[1].about.when, Time(5));
        assert_eq!(found[1].about.said, "too odd");
    }

    #[test]
    fn the_oldest_make_room_and_are_counted() {
        let files = Faulty::new();
        let quarantine = open(&files);
        for when in 0..200 {
            set_aside(&quarantine, when, &[when as u8; 500]).unwrap();
            assert!(files.bytes_used() <= SETTINGS.limit_bytes);
        }
        let status = quarantine.status();
        assert_eq!(status.disk_bytes, files.bytes_used());
        assert_eq!(status.batches + status.dropped_batches, 200);
        assert!((15..30).contains(&status.batches), "{status:?}");
        let newest = bodies(&quarantine);
        assert_eq!(newest.len() as u64, status.batches);
        assert_eq!(newest.last().map(|body| body.about.when), Some(Time(199)));
        assert_eq!(open(&files).status().batches, status.batches);
    }

    #[test]
    fn a_body_larger_than_all_of_it_is_not_kept() {
        let quarantine = open(&Faulty::new());
        let large = vec![0; 17 << 10];
        assert_eq!(
            set_aside(&quarantine, 1, &large),
            Err(SetAsideError::TooLarge)
        );
        let large = vec![0; 8 << 10];
        assert_eq!(
            set_aside(&quarantine, 1, &large),
            Err(SetAsideError::TooLarge)
        );
        assert_eq!(set_aside(&quarantine, 1, b"a"), Ok(()));
    }

    #[test]
    fn what_was_removed_is_gone_for_good_and_all_of_it_leaves_nothing() {
        let files = Faulty::new();
        let quarantine = open(&files);
        for when in 0..20 {
            set_aside(&quarantine, when, &[when as u8; 400]).unwrap();
        }
        let found = bodies(&quarantine);
        for body in found.iter().skip(1).step_by(2) {
            quarantine.remove(body).unwrap();
            quarantine.remove(body).unwrap();
        }
        let files = files.crash(1);
        let quarantine = open(&files);
        assert_eq!(quarantine.status().batches, 10);
        let left = bodies(&quarantine);
        let times: Vec<_> = left.iter().map(|body| body.about.when.0).collect();
        assert_eq!(times, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]);
        assert_eq!(listing(&files).batches, 10);
        for body in &left {
            quarantine.remove(body).unwrap();
        }
        let status = quarantine.status();
        assert_eq!(
            (status.batches, status.spans, status.dropped_batches),
            (0, 0, 0)
        );
        assert!(files.bytes_used() < 100, "{}", files.bytes_used());
        assert_eq!(bodies(&open(&files.crash(2))), []);
    }

    #[test]
    fn a_listing_tells_all_and_changes_nothing() {
        let files = Faulty::new();
        assert_eq!(listing(&files), Listing::default());
        let quarantine = open(&files);
        set_aside(&quarantine, 3, b"a").unwrap();
        let large = packed(b"large");
        let about = About::new(Time(7), "too_large", &"é".repeat(MESSAGE_BYTES_MAX), &large);
        quarantine.set_aside(&about, &large).unwrap();
        let changes = files.done(Operation::Append);
        let found = listing(&files);
        assert_eq!((found.batches, found.spans, found.bytes), (2, 4, 6));
        assert_eq!((found.oldest, found.newest), (Some(Time(3)), Some(Time(7))));
        assert_eq!(found.by_reason["invalid"], (2, "too odd".to_owned()));
        assert_eq!(found.by_reason["too_large"].1.len(), MESSAGE_BYTES_MAX);
        assert_eq!(files.done(Operation::Append), changes);
    }

    #[test]
    fn a_full_disk_takes_nothing_and_a_failed_sync_is_the_end() {
        let files = Faulty::new();
        let quarantine = open(&files);
        set_aside(&quarantine, 1, b"a").unwrap();
        files.bound(files.bytes_used());
        assert_eq!(set_aside(&quarantine, 1, b"b"), Err(SetAsideError::Full));
        files.heal();
        assert_eq!(set_aside(&quarantine, 1, b"b"), Ok(()));
        files.fail(Operation::SyncData, 1, Fault::Fail { kept: 0 });
        let failed = set_aside(&quarantine, 1, b"c");
        assert!(matches!(failed, Err(SetAsideError::Failed(_))));
        assert_eq!(quarantine.status().batches, 2);
    }
}
