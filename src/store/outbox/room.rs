//! Makes room in the log: what is settled is recorded, whole segments go from
//! the front, and bodies that rest there for long are copied forward.

use std::sync::MutexGuard;

use super::index::{Entry, Stand};
use super::record::{self, Mark};
use super::writer::{MARK_DISK_BYTES, Refused, WriteError, Writer};
use super::{BodyId, Outbox, OutboxSettings, PushError, State};
use crate::store::failed::StoreFailed;
use crate::store::log::{LogError, LogSettings, Place, RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES};

/// How large the log may be, after which kind of writing.
///
/// ```text
/// 0 ────────────── push ──────── replace ──────── limit
///   bodies            room to halve   room to copy a segment
///                     a body          forward, and to settle
/// ```
///
/// In an outbox of less than some thirty times the largest body what is set
/// aside is less, and then a body that rests at the front may hold it up until
/// it is settled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) limit: u64,
    pub(super) push: u64,
    pub(super) replace: u64,
    pub(super) log: LogSettings,
}

impl Bounds {
    pub(super) fn new(settings: OutboxSettings) -> Self {
        let OutboxSettings {
            limit_bytes: limit,
            body_bytes_max,
        } = settings;
        // Halves are a little larger than the whole: each has the resource.
        let record_bytes_max = body_bytes_max + body_bytes_max / 8 + 2 * record::HEAD_BYTES_MAX;
        let record = record_bytes_max as u64 + RECORD_HEADER_BYTES;
        let segment = (limit / SEGMENTS).max(record + SEGMENT_HEADER_BYTES + MARK_DISK_BYTES);
        Self {
            limit,
            push: limit - (segment + record).min(limit / 8),
            replace: limit - segment.min(limit / 16),
            log: LogSettings {
                segment_bytes: segment,
                record_bytes_max,
            },
        }
    }

    /// Whether a pushed record will ever fit.
    pub(super) fn takes(&self, record_bytes: usize) -> bool {
        self.fits(record_bytes, self.push)
    }

    /// The same of a record of halves.
    pub(super) fn takes_halves(&self, record_bytes: usize) -> bool {
        self.fits(record_bytes, self.replace)
    }

    fn fits(&self, record_bytes: usize, bytes_max: u64) -> bool {
        let bytes = record_bytes as u64 + RECORD_HEADER_BYTES;
        // A mark of its own stands in each segment, and one may go with the record.
        let around = SEGMENT_HEADER_BYTES + 2 * MARK_DISK_BYTES;
        record_bytes <= self.log.record_bytes_max && bytes + around <= bytes_max
    }
}

/// Of so many segments does a log consist, unless one would be too small.
const SEGMENTS: u64 = 32;

/// So many settled bodies does one record tell of.
const SETTLED_IDS_MAX: usize = 1_000;

impl Outbox {
    /// Writes a record within a bound. `tells` is what it says that it completes.
    pub(super) fn write(
        &self,
        writer: &mut Writer,
        record: &[u8],
        tells: bool,
        bytes_max: u64,
    ) -> Result<Place, Refused> {
        let mark = self.lock().mark();
        let written = writer.write(record, tells, mark, bytes_max);
        self.wrote(writer, written)
    }

    fn wrote<T>(&self, writer: &Writer, written: Result<T, WriteError>) -> Result<T, Refused> {
        let mut state = self.lock();
        state.disk_bytes = writer.disk_bytes();
        match written {
            Ok(value) => {
                state.is_full_disk = false;
                Ok(value)
            }
            Err(WriteError::Bound) => Err(Refused::Full),
            Err(WriteError::Log(LogError::Full)) => {
                let is_news = !std::mem::replace(&mut state.is_full_disk, true);
                drop(state);
                if is_news {
                    self.news.notify_one();
                }
                Err(Refused::Full)
            }
            Err(WriteError::Log(error)) => {
                drop(state);
                Err(Refused::Failed(self.fail(error)))
            }
        }
    }

    /// Makes sure that a push of this size fits.
    pub(super) fn make_room(&self, writer: &mut Writer, record: usize) -> Result<(), PushError> {
        let fits = |writer: &Writer| writer.fits(record, self.bounds.push);
        if fits(writer) {
            return Ok(());
        }
        self.reclaim_to(writer, 0)?;
        match fits(writer) {
            true => Ok(()),
            false => Err(PushError::Full),
        }
    }

    /// Gives back what is settled, as far as that is worth the work.
    pub(super) fn reclaim(&self, writer: &mut Writer) -> Result<(), StoreFailed> {
        self.reclaim_to(writer, self.bounds.limit / 4)
    }

    /// `idle_bytes` is what an empty outbox may keep on the disk.
    fn reclaim_to(&self, writer: &mut Writer, idle_bytes: u64) -> Result<(), StoreFailed> {
        self.delete_front(writer)?;
        // In one round of copying forward all that is settled goes.
        for _ in 0..2 * SEGMENTS {
            let (is_empty, disk_bytes, garbage) = {
                let state = self.lock();
                let garbage = state.disk_bytes.saturating_sub(state.index.live_bytes());
                (state.index.len() == 0, state.disk_bytes, garbage)
            };
            let done = if is_empty && disk_bytes > idle_bytes.max(EMPTY_LOG_BYTES) {
                self.begin_segment(writer)
            } else if !is_empty && garbage > self.bounds.limit / 2 {
                self.copy_front_forward(writer)
            } else {
                return Ok(());
            };
            match done {
                Ok(()) => self.delete_front(writer)?,
                Err(Refused::Full) => return Ok(()),
                Err(Refused::Failed(failed)) => return Err(failed),
            }
        }
        Ok(())
    }

    fn begin_segment(&self, writer: &mut Writer) -> Result<(), Refused> {
        let mark = self.lock().mark();
        let begun = writer.begin_segment(mark, self.bounds.limit);
        self.wrote(writer, begun)
    }

    /// Bodies at the front hold back all that is behind them.
    fn copy_front_forward(&self, writer: &mut Writer) -> Result<(), Refused> {
        let Some(segment) = self.lock().index.oldest_segment() else {
            return Ok(());
        };
        if writer.is_newest(segment) {
            self.begin_segment(writer)?;
        }
        let bodies = self.lock().index.of_segment(segment);
        for (id, entry) in bodies {
            self.copy_forward(writer, id, &entry)?;
        }
        Ok(())
    }

    fn copy_forward(&self, writer: &mut Writer, id: BodyId, entry: &Entry) -> Result<(), Refused> {
        let record = match writer.read(&entry.stand) {
            Ok(record) => record,
            // It stays where it is, until whoever sends it finds that out as well.
            Err(LogError::Damaged { .. }) => return Err(Refused::Full),
            Err(error) => return Err(self.fail(error).into()),
        };
        let Some(packed) = entry.packed(record) else {
            return Err(Refused::Full);
        };
        let group = self.lock().index.unfinished_group_of(id);
        let head = entry.head(id, group.unwrap_or(id.number));
        let copy = match group {
            Some(_) => record::body(&head, &packed.body),
            None => record::moved(&head, &packed.body),
        };
        let place = self.write(writer, &copy, false, self.bounds.limit)?;
        let stand = Stand::new(place, copy.len() - packed.body.len());
        self.lock().index.move_to(id, stand);
        Ok(())
    }

    /// Records all that is settled. What finds no room is kept in memory.
    pub(super) fn settle(&self, writer: &mut Writer) -> Result<(), StoreFailed> {
        if let Some(failed) = self.failed.borrow().clone() {
            return Err(failed);
        }
        let ids = self.lock().settled();
        for ids in ids.chunks(SETTLED_IDS_MAX) {
            match self.write(writer, &record::settled(ids), false, self.bounds.limit) {
                Ok(_) => self.lock().recorded(ids),
                Err(Refused::Full) => break,
                Err(Refused::Failed(failed)) => return Err(failed),
            }
        }
        self.lock().remember_unrecorded();
        Ok(())
    }

    /// Deletes the segments of which nothing is needed any more.
    fn delete_front(&self, writer: &mut Writer) -> Result<(), StoreFailed> {
        let oldest = self.lock().index.oldest_segment();
        if let Err(error) = writer.delete_before(oldest) {
            return Err(self.fail(error));
        }
        let first = writer.first_segment();
        let mut state = self.lock();
        state.disk_bytes = writer.disk_bytes();
        state.unrecorded.retain(|(segment, _)| *segment >= first);
        state.changes += 1;
        self.wake_who_waits_for_room(state);
        Ok(())
    }

    fn wake_who_waits_for_room(&self, state: MutexGuard<'_, State>) {
        drop(state);
        self.room.notify_all();
    }
}

/// What a log takes in which nothing but a mark stands.
const EMPTY_LOG_BYTES: u64 = SEGMENT_HEADER_BYTES + MARK_DISK_BYTES;

impl State {
    /// How far the outbox is.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            through: self.index.through,
            next_number: self.index.next_number,
            completes: None,
        }
    }

    /// What is settled and not recorded.
    fn settled(&self) -> Vec<BodyId> {
        let unrecorded = self.unrecorded.iter().map(|(_, id)| *id);
        unrecorded.chain(self.settling.iter().copied()).collect()
    }

    fn recorded(&mut self, ids: &[BodyId]) {
        for id in ids {
            self.index.remove(*id);
        }
        // They were listed in this order, and nobody has added any at their front.
        let unrecorded = ids.len().min(self.unrecorded.len());
        self.unrecorded.drain(..unrecorded);
        self.settling.drain(..ids.len() - unrecorded);
    }

    /// All of them had a chance: those that are not on disk are kept here.
    fn remember_unrecorded(&mut self) {
        for id in std::mem::take(&mut self.settling) {
            if let Some(entry) = self.index.remove(id) {
                self.unrecorded.push((entry.stand.place.segment, id));
            }
        }
    }
}
