//! Bodies that wait for the backend, in a log. One side pushes, the other takes
//! the oldest, sends it, and acknowledges it once the backend has it: until then
//! a body stays, and counts, be it on its way or not.
//!
//! Each push gets the next number. A body that was refused may be replaced by
//! its halves, which share its number and its place in the order: a number is
//! settled when nothing of it is left.
//!
//! - **What was pushed is on disk** when [`Outbox::push`] comes back, and what
//!   was acknowledged or replaced stays so. Bodies are not kept in memory: an
//!   index of where they stand is.
//! - **Groups.** A body says what it completes, `through`, and whether it is the
//!   last of its group. Nothing of a group is offered before its last body is on
//!   disk, and at recovery what is left of a group without its last body goes: so
//!   it is here as a whole or not at all, and nothing of it was sent before.
//! - **Room.** The log never takes more than its bound. Whole segments go from
//!   the front once all their bodies are settled; a body that rests there for
//!   long is copied forward when too much behind it is settled (`room`). Some room
//!   is set aside for that, so no push can take what is needed to make room.
//! - **A full disk** refuses pushes. Acknowledgements are then kept in memory, and
//!   recorded when there is room: to delete segments nothing needs to be written.
//! - **A failed write or sync is the end**: [`Outbox::failed`] says so, and every
//!   later call does.
//!
//! [`Outbox::status`] and all that only looks never wait for the disk. What reads
//! or writes it blocks: [`Outbox::push`], [`take`](Outbox::take),
//! [`acknowledge`](Outbox::acknowledge), [`replace`](Outbox::replace).

mod index;
mod record;
mod recover;
mod room;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use self::index::{Entry, Index};
use self::record::{BodyHead, Mark};
use self::room::Bounds;
use self::writer::{Refused, Writer};
use super::failed::StoreFailed;
use super::files::{Files, Memory};
use super::log::{LogError, LogReader};
use crate::limits::{Limits, OUTBOX_BODIES_MAX, SPAN_BYTES_MAX};
use crate::wire::time::Time;

/// A request body as it is sent, unchanged, each time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// An encoded `ExportTraceServiceRequest`, compressed or not.
    pub body: Bytes,
    /// Which of the two.
    pub compression: Compression,
    /// How many spans it holds.
    pub spans: u32,
    /// How large it is without compression.
    pub plain_bytes: usize,
}

/// How bodies are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compression {
    /// gzip.
    Gzip,
    /// Not at all.
    None,
}

/// Bounds of an outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxSettings {
    /// What it may take on disk, all included.
    pub limit_bytes: u64,
    /// The largest body. A larger one is refused.
    pub body_bytes_max: usize,
}

impl OutboxSettings {
    /// For bodies as these limits allow them.
    pub fn new(limit_bytes: u64, limits: &Limits) -> Self {
        Self {
            limit_bytes,
            // A span that is larger than a body may be travels alone, with what
            // stands around it.
            body_bytes_max: limits.batch_bytes_max.max(2 * SPAN_BYTES_MAX),
        }
    }
}

/// What was found in the log when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboxRecovery {
    /// All spans born at or before this are in the outbox, or were.
    pub through: u64,
    /// Bodies that are still to be sent.
    pub batches: usize,
    /// Bodies of a group that never became complete; they are made again.
    pub batches_unfinished: usize,
    /// Records that are damaged, or that this version does not know.
    pub records_damaged: u64,
}

/// Why a body is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// There is no room now.
    #[error("the outbox is full")]
    Full,
    /// There never will be: it is larger than the outbox takes.
    #[error("a batch is larger than the outbox takes")]
    TooLarge,
    /// Nothing more was to come.
    #[error("the outbox is closed")]
    Closed,
    /// The store has failed.
    #[error(transparent)]
    Failed(#[from] StoreFailed),
}

/// A body that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TakeError {
    /// Its bytes are damaged. It will never be sent.
    #[error("a batch in the outbox is damaged: {0}")]
    Damaged(Arc<str>),
    /// The store has failed.
    #[error(transparent)]
    Failed(#[from] StoreFailed),
}

/// What the outbox holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboxStatus {
    /// Bytes of all bodies.
    pub bytes: usize,
    /// Bytes that it takes on disk, with what is settled but not deleted yet.
    pub disk_bytes: u64,
    /// Bytes that it may take on disk.
    pub limit_bytes: usize,
    /// Bytes that a push may take on disk now. With a full disk there are none,
    /// nor while what did not fit still waits.
    pub room_bytes: u64,
    /// How many bodies.
    pub batches: usize,
    /// When the oldest of them was pushed.
    pub oldest: Option<Time>,
    /// Whether the disk had no room for the last write.
    pub is_full_disk: bool,
}

/// Names a body in the outbox. They are in the order in which they were pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BodyId {
    number: u64,
    /// Where it begins in what was pushed, if that is `u32::MAX + 1` long.
    place: u32,
}

/// The whole of what was pushed, as [`BodyId::place`] counts.
const WHOLE: u64 = 1 << 32;

/// The outbox. It is shared: one pushes, one sends, and anybody may look.
#[derive(Debug)]
pub struct Outbox {
    bounds: Bounds,
    /// Locked before the state, and for as long as the disk takes.
    writer: Mutex<Writer>,
    /// Locked for moments only.
    state: Mutex<State>,
    /// Reads bodies beside the writer.
    reader: LogReader,
    /// For the one that sends.
    news: Notify,
    /// For the one that waits for room.
    room: Condvar,
    through: watch::Sender<u64>,
    failed: watch::Sender<Option<StoreFailed>>,
}

#[derive(Debug, Default)]
struct State {
    index: Index,
    /// Settled, and to be recorded by whoever writes next.
    settling: Vec<BodyId>,
    /// Settled, but there was no room to record it. With the segments where
    /// these bodies stand: once they are deleted nothing needs to be recorded.
    unrecorded: Vec<(u64, BodyId)>,
    disk_bytes: u64,
    is_full_disk: bool,
    closed: bool,
    /// Somebody found no room, and still has what did not fit.
    is_short: bool,
    /// Nobody is to wait for room any more.
    is_given_up: bool,
    /// Counts what may have made room.
    changes: u64,
}

impl Outbox {
    /// Opens the log and finds what is in it.
    pub fn open(
        files: Arc<dyn Files>,
        settings: OutboxSettings,
    ) -> Result<(Self, OutboxRecovery), LogError> {
        let bounds = Bounds::new(settings);
        let (writer, index, recovery) = recover::recover(files, &bounds)?;
        let state = State {
            disk_bytes: writer.disk_bytes(),
            index,
            ..State::default()
        };
        let outbox = Self {
            bounds,
            reader: writer.reader(),
            writer: Mutex::new(writer),
            state: Mutex::new(state),
            news: Notify::new(),
            room: Condvar::new(),
            through: watch::Sender::new(recovery.through),
            failed: watch::Sender::new(None),
        };
        Ok((outbox, recovery))
    }

    /// An empty one that a restart forgets.
    pub fn in_memory(settings: OutboxSettings) -> Result<Self, LogError> {
        Ok(Self::open(Arc::new(Memory::new()), settings)?.0)
    }

    /// Takes a body, which is on disk when this comes back. Blocks.
    ///
    /// All spans born at or before `through` are in it and in those before it,
    /// if it `is_last`; else more of the same follows.
    pub fn push(
        &self,
        packed: &Packed,
        through: u64,
        is_last: bool,
        now: Time,
    ) -> Result<(), PushError> {
        let mut writer = self.lock_writer();
        let (number, group) = {
            let state = self.lock();
            if state.closed {
                return Err(PushError::Closed);
            }
            if state.index.len() >= OUTBOX_BODIES_MAX {
                return Err(PushError::Full);
            }
            let number = state.index.next_number;
            (number, state.index.unfinished_group().unwrap_or(number))
        };
        let id = BodyId { number, place: 0 };
        let head = BodyHead {
            id,
            width: WHOLE,
            pushed: now,
            through,
            group,
            is_last,
            spans: packed.spans,
            plain_bytes: packed.plain_bytes as u64,
            compression: packed.compression,
            body_bytes: packed.body.len() as u64,
        };
        let record = record::body(&head, &packed.body);
        if !self.bounds.takes(record.len()) {
            return Err(PushError::TooLarge);
        }
        self.make_room(&mut writer, record.len())?;
        let place = self.write(&mut writer, &record, is_last, self.bounds.push)?;
        let begin = record.len() - packed.body.len();
        let mut state = self.lock();
        state.index.add(id, Entry::new(&head, place, begin), group);
        state.is_short = false;
        if is_last {
            self.completed(state, through);
        }
        Ok(())
    }

    /// The group is complete without a further body: `through` has nothing more
    /// to be sent. Blocks.
    pub fn complete(&self, through: u64) -> Result<(), PushError> {
        let mut writer = self.lock_writer();
        let mark = {
            let state = self.lock();
            let completes = state.index.unfinished_group();
            Mark {
                through: through.max(state.index.through),
                completes,
                ..state.mark()
            }
        };
        let record = record::mark(mark);
        self.make_room(&mut writer, record.len())?;
        self.write(&mut writer, &record, true, self.bounds.limit)?;
        let mut state = self.lock();
        state.is_short = false;
        self.completed(state, through);
        Ok(())
    }

    /// Nothing more will come.
    pub fn close(&self) {
        self.lock().closed = true;
        self.news.notify_one();
    }

    /// Waits until there may be room, and says whether there is any use in trying
    /// again. Blocks; a full disk is tried again after a while.
    pub fn wait_for_room(&self) -> bool {
        let mut state = self.lock();
        state.is_short = true;
        let seen = state.changes;
        let same = |state: &mut State| state.changes == seen && !state.is_given_up;
        let waited = self.room.wait_timeout_while(state, ROOM_WAIT, same);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !state.is_given_up
    }

    /// Whoever waits for room goes without it, from now on.
    pub fn give_up_waiting(&self) {
        self.lock().is_given_up = true;
        self.room.notify_all();
    }

    /// What the newest complete body on disk completes.
    pub fn durable_through(&self) -> watch::Receiver<u64> {
        self.through.subscribe()
    }

    /// Ends when the store has failed, and says why.
    pub async fn failed(&self) -> StoreFailed {
        let mut failed = self.failed.subscribe();
        loop {
            if let Some(failure) = failed.borrow_and_update().clone() {
                return failure;
            }
            if failed.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// What it holds.
    pub fn status(&self) -> OutboxStatus {
        let state = self.lock();
        let is_crowded =
            state.is_full_disk || state.is_short || state.index.len() >= OUTBOX_BODIES_MAX;
        OutboxStatus {
            bytes: state.index.body_bytes() as usize,
            disk_bytes: state.disk_bytes,
            limit_bytes: self.bounds.limit as usize,
            room_bytes: match is_crowded {
                true => 0,
                false => {
                    let by_bytes = self.bounds.push.saturating_sub(state.disk_bytes);
                    // Bodies may be small, and their number has a bound as well.
                    let left = (OUTBOX_BODIES_MAX - state.index.len()) as u64;
                    by_bytes.min(self.bounds.limit * left / OUTBOX_BODIES_MAX as u64)
                }
            },
            batches: state.index.len(),
            oldest: state.index.oldest().map(|(_, pushed)| pushed),
            is_full_disk: state.is_full_disk,
        }
    }

    /// Whether nothing more will come.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Whether nothing is left, and nothing more will come.
    pub fn is_drained(&self) -> bool {
        let state = self.lock();
        state.closed && state.index.oldest().is_none()
    }

    /// The lowest number that is not settled; everything below is.
    pub fn horizon(&self) -> u64 {
        let state = self.lock();
        let lowest = state.index.oldest();
        lowest.map_or(state.index.next_number, |(id, _)| id.number)
    }

    /// Waits until something was pushed, or the outbox was closed, since this
    /// was last waited for. For the one that sends.
    pub async fn changed(&self) {
        self.news.notified().await;
    }

    /// The oldest body that may be sent and that nobody has taken.
    pub fn oldest_waiting(&self) -> Option<BodyId> {
        self.lock().index.oldest_waiting()
    }

    /// A body waits no more: somebody is about to take it.
    pub fn claim(&self, id: BodyId) {
        self.lock().index.take(id);
    }

    /// Takes a body, which waits no more; it stays until it is acknowledged.
    /// Who has taken it may take it again. Blocks.
    pub fn take(&self, id: BodyId) -> Result<Option<Packed>, TakeError> {
        loop {
            let entry = {
                let mut state = self.lock();
                state.index.take(id);
                state.index.entry(id)
            };
            let Some(entry) = entry else {
                return Ok(None);
            };
            let error = match self.reader.read(entry.stand.place) {
                Ok(record) => {
                    let short = || TakeError::Damaged("its record is too short".into());
                    return entry.packed(record).ok_or_else(short).map(Some);
                }
                Err(error) => error,
            };
            let stands = self.lock().index.entry(id).map(|entry| entry.stand.place);
            // It was copied forward meanwhile, and its segment deleted.
            if stands != Some(entry.stand.place) {
                continue;
            }
            return Err(match error {
                LogError::Damaged { .. } => TakeError::Damaged(error.to_string().into()),
                error => self.fail(error).into(),
            });
        }
    }

    /// How many spans a body holds.
    pub fn spans_of(&self, id: BodyId) -> u32 {
        self.lock().index.entry(id).map_or(0, |entry| entry.spans)
    }

    /// A body that was taken waits again, at its old place.
    pub fn give_back(&self, id: BodyId) {
        self.lock().index.give_back(id);
    }

    /// All that was taken waits again: whoever took it is gone.
    pub fn give_back_all(&self) {
        self.lock().index.give_back_all();
    }

    /// A body is settled: the backend has it, or never will. Blocks until that
    /// is on disk; several that wait are recorded together.
    pub fn acknowledge(&self, id: BodyId) -> Result<(), StoreFailed> {
        {
            let mut state = self.lock();
            if !state.index.has(id) {
                return Ok(());
            }
            state.settling.push(id);
        }
        let mut writer = self.lock_writer();
        self.settle(&mut writer)?;
        self.reclaim(&mut writer)
    }

    /// The halves of a body take its place, and wait. Blocks.
    pub fn replace(&self, id: BodyId, halves: &[Packed; 2]) -> Result<(), PushError> {
        let mut writer = self.lock_writer();
        let Some(whole) = self.lock().index.entry(id) else {
            return Ok(());
        };
        let heads = heads_of_halves(id, &whole, halves);
        let record = record::replaced(id, &heads, halves);
        if !self.bounds.takes_halves(record.len()) {
            return Err(PushError::TooLarge);
        }
        let place = self.write(&mut writer, &record, false, self.bounds.replace)?;
        let [first, second] = halves.each_ref().map(|half| half.body.len());
        let begins = [record.len() - second - first, record.len() - second];
        let [a, b] = [0, 1].map(|n: usize| {
            let entry = Entry::new(&heads[n], place, begins[n]);
            (heads[n].id, entry)
        });
        self.lock().index.replace(id, [a, b]);
        self.news.notify_one();
        Ok(self.reclaim(&mut writer)?)
    }

    /// Whether a disk that was full has room again. Blocks.
    pub fn try_disk_again(&self) -> Result<(), StoreFailed> {
        let mut writer = self.lock_writer();
        if !self.lock().is_full_disk {
            return Ok(());
        }
        let mark = record::mark(self.lock().mark());
        match self.write(&mut writer, &mark, true, self.bounds.limit) {
            Ok(_) => self.settle(&mut writer)?,
            Err(Refused::Full) => {}
            Err(Refused::Failed(failed)) => return Err(failed),
        }
        self.reclaim(&mut writer)
    }

    /// The group is complete and on disk.
    fn completed(&self, mut state: MutexGuard<'_, State>, through: u64) {
        state.index.complete(through);
        let through = state.index.through;
        drop(state);
        self.through.send_replace(through);
        self.news.notify_one();
    }

    /// The store has failed: everybody is told.
    fn fail(&self, error: impl std::fmt::Display) -> StoreFailed {
        let failed = StoreFailed::of(error);
        self.failed.send_if_modified(|told| {
            let is_first = told.is_none();
            told.get_or_insert_with(|| failed.clone());
            is_first
        });
        self.lock().is_given_up = true;
        self.room.notify_all();
        self.news.notify_one();
        failed
    }

    /// Each change under the lock is whole, so a thread that panicked leaves no half of one.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log drops what was not committed.
    fn lock_writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever waits for room looks again after this: what fills a disk may be
/// deleted by others.
const ROOM_WAIT: Duration = Duration::from_secs(1);

impl From<Refused> for PushError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::Full,
            Refused::Failed(failed) => Self::Failed(failed),
        }
    }
}

/// What to write before the halves of a body.
fn heads_of_halves(id: BodyId, whole: &Entry, halves: &[Packed; 2]) -> [BodyHead; 2] {
    // Of 2^32 parts one half has 2^31: a body has far fewer spans than could
    // make this come to nothing.
    let width = whole.width / 2;
    let second = BodyId {
        number: id.number,
        place: id.place.saturating_add(width as u32),
    };
    let [first_half, second_half] = halves;
    [(id, first_half), (second, second_half)].map(|(id, half)| BodyHead {
        id,
        width,
        pushed: whole.pushed,
        through: 0,
        group: id.number,
        is_last: false,
        spans: half.spans,
        plain_bytes: half.plain_bytes as u64,
        compression: half.compression,
        body_bytes: half.body.len() as u64,
    })
}
