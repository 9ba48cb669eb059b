//! Bodies that wait for the backend. One side pushes, the other takes the
//! oldest, sends it, and acknowledges it once the backend has it: until then a
//! body stays, and counts, be it on its way or not.
//!
//! Each push gets the next number. A body that was refused may be replaced by
//! its halves, which share its number and its place in the order: a number is
//! settled when nothing of it is left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// gzip.
    Gzip,
    /// Not at all.
    None,
}

/// There is no room for a body, or nothing more was to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the outbox is full")]
pub struct Full;

/// What the outbox holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboxStatus {
    /// Bytes of all bodies.
    pub bytes: usize,
    /// Bytes that it takes.
    pub limit_bytes: usize,
    /// How many bodies.
    pub batches: usize,
    /// When the oldest of them was pushed.
    pub oldest: Option<Time>,
}

/// Names a body in the outbox. They are in the order in which they were pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BodyId {
    number: u64,
    /// Where it begins in what was pushed, if that is `u32::MAX + 1` long.
    place: u32,
}

/// The outbox. It is shared: one pushes, one sends, and anybody may look.
#[derive(Debug)]
pub struct Outbox {
    limit_bytes: usize,
    state: Mutex<State>,
    /// For the one that sends.
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<BodyId, Entry>,
    /// Those that nobody has taken.
    waiting: BTreeSet<BodyId>,
    bytes: usize,
    next_number: u64,
    closed: bool,
}

#[derive(Debug)]
struct Entry {
    packed: Packed,
    pushed: Time,
    /// How much of what was pushed it is, as [`BodyId::place`] counts.
    width: u64,
}

impl Outbox {
    /// An empty one, which takes so many bytes of bodies. The halves of a
    /// refused body may go beyond that by what stands around their spans.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            limit_bytes: bytes_max,
            state: Mutex::default(),
            news: Notify::new(),
        }
    }

    /// Takes a body, unless it does not fit or the outbox was closed.
    pub fn push(&self, packed: Packed, now: Time) -> Result<(), Full> {
        {
            let mut state = self.lock();
            if state.closed || state.bytes + packed.body.len() > self.limit_bytes {
                return Err(Full);
            }
            let id = BodyId {
                number: state.next_number,
                place: 0,
            };
            state.next_number += 1;
            let entry = Entry {
                packed,
                pushed: now,
                width: 1 << 32,
            };
            state.insert(id, entry);
        }
        self.news.notify_one();
        Ok(())
    }

    /// Nothing more will come.
    pub fn close(&self) {
        self.lock().closed = true;
        self.news.notify_one();
    }

    /// What it holds.
    pub fn status(&self) -> OutboxStatus {
        let state = self.lock();
        OutboxStatus {
            bytes: state.bytes,
            limit_bytes: self.limit_bytes,
            batches: state.entries.len(),
            oldest: state.entries.values().next().map(|entry| entry.pushed),
        }
    }

    /// Whether nothing more will come.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Whether nothing is left, and nothing more will come.
    pub fn is_drained(&self) -> bool {
        let state = self.lock();
        state.closed && state.entries.is_empty()
    }

    /// The lowest number that is not settled; everything below is.
    pub fn horizon(&self) -> u64 {
        let state = self.lock();
        let lowest = state.entries.keys().next();
        lowest.map_or(state.next_number, |id| id.number)
    }

    /// Waits until something was pushed, or the outbox was closed, since this
    /// was last waited for. For the one that sends.
    pub async fn changed(&self) {
        self.news.notified().await;
    }

    /// The oldest body that nobody has taken.
    pub fn oldest_waiting(&self) -> Option<BodyId> {
        self.lock().waiting.first().copied()
    }

    /// Takes a body, which waits no more; it stays until it is acknowledged.
    /// Who has taken it may take it again.
    pub fn take(&self, id: BodyId) -> Option<Packed> {
        let mut state = self.lock();
        state.waiting.remove(&id);
        state.entries.get(&id).map(|entry| entry.packed.clone())
    }

    /// A body that was taken waits again, at its old place.
    pub fn give_back(&self, id: BodyId) {
        let mut state = self.lock();
        if state.entries.contains_key(&id) {
            state.waiting.insert(id);
        }
    }

    /// All that was taken waits again: whoever took it is gone.
    pub fn give_back_all(&self) {
        let mut state = self.lock();
        let State {
            entries, waiting, ..
        } = &mut *state;
        waiting.extend(entries.keys());
    }

    /// A body is settled: the backend has it, or never will.
    pub fn acknowledge(&self, id: BodyId) {
        self.lock().remove(id);
    }

    /// The halves of a body take its place, and wait.
    pub fn replace(&self, id: BodyId, halves: [Packed; 2]) {
        let mut state = self.lock();
        let Some(Entry { pushed, width, .. }) = state.remove(id) else {
            return;
        };
        // Of 2^32 parts one half has 2^31: a body has far fewer spans than could
        // make this come to nothing.
        let width = width / 2;
        let second = BodyId {
            number: id.number,
            place: id.place.saturating_add(width as u32),
        };
        for (id, packed) in [id, second].into_iter().zip(halves) {
            let entry = Entry {
                packed,
                pushed,
                width,
            };
            state.insert(id, entry);
        }
    }

    /// Each change under the lock is whole, so a thread that panicked leaves no half of one.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn insert(&mut self, id: BodyId, entry: Entry) {
        self.bytes += entry.packed.body.len();
        self.entries.insert(id, entry);
        self.waiting.insert(id);
    }

    fn remove(&mut self, id: BodyId) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.waiting.remove(&id);
        self.bytes -= entry.packed.body.len();
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use proptest::prelude::*;

    use super::*;

    fn packed(body: &[u8]) -> Packed {
        Packed {
            body: Bytes::copy_from_slice(body),
            compression: Compression::None,
            spans: body.len() as u32,
            plain_bytes: body.len(),
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_what_was_acknowledged_makes_room() {
        let outbox = Outbox::new(10);
        assert_eq!(outbox.push(packed(&[1; 6]), Time(1)), Ok(()));
        assert_eq!(outbox.push(packed(&[2; 5]), Time(2)), Err(Full));
        assert_eq!(outbox.push(packed(&[3; 4]), Time(3)), Ok(()));
        let first = outbox.oldest_waiting().unwrap();
        assert_eq!(outbox.take(first), Some(packed(&[1; 6])));
        assert_eq!(
            outbox.push(packed(&[4]), Time(4)),
            Err(Full),
            "on its way is not gone"
        );
        outbox.acknowledge(first);
        let status = OutboxStatus {
            bytes: 4,
            limit_bytes: 10,
            batches: 1,
            oldest: Some(Time(3)),
        };
        assert_eq!(outbox.status(), status);
        assert_eq!(outbox.push(packed(&[4; 6]), Time(4)), Ok(()));
    }

    #[test]
    fn a_body_is_offered_once_until_it_is_given_back() {
        let outbox = Outbox::new(10);
        outbox.push(packed(&[1]), Time(1)).unwrap();
        let id = outbox.oldest_waiting().unwrap();
        assert!(outbox.take(id).is_some());
        assert_eq!(outbox.oldest_waiting(), None);
        assert!(outbox.take(id).is_some(), "for another attempt");
        assert_eq!(outbox.oldest_waiting(), None);
        outbox.give_back(id);
        assert_eq!(outbox.oldest_waiting(), Some(id));
        outbox.take(id);
        outbox.acknowledge(id);
        outbox.give_back(id);
        assert_eq!(outbox.oldest_waiting(), None, "it is gone");
        assert_eq!(outbox.take(id), None);
    }

    #[test]
    fn a_closed_outbox_takes_nothing_and_is_drained_when_it_is_empty() {
        let outbox = Outbox::new(10);
        outbox.push(packed(&[1]), Time(1)).unwrap();
        assert!(!outbox.is_closed());
        outbox.close();
        assert!(outbox.is_closed() && !outbox.is_drained());
        assert_eq!(outbox.push(packed(&[2]), Time(2)), Err(Full));
        outbox.acknowledge(outbox.oldest_waiting().unwrap());
        assert!(outbox.is_drained());
    }

    #[test]
    fn news_are_waited_for_and_none_is_missed() {
        let outbox = Outbox::new(10);
        let has_news = || outbox.changed().now_or_never().is_some();
        assert!(!has_news());
        outbox.push(packed(&[1]), Time(1)).unwrap();
        assert!(has_news());
        assert!(!has_news());
        outbox.close();
        assert!(has_news());
    }

    /// An outbox as a plain list.
    #[derive(Debug, Default)]
    struct Model {
        bodies: Vec<(u64, Vec<u8>, Taken)>,
        next_number: u64,
    }

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Taken {
        No,
        As(BodyId),
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push(Vec<u8>),
        Take,
        GiveBack(usize),
        GiveBackAll,
        Acknowledge(usize),
        Halve(usize),
    }

    const LIMIT_BYTES: usize = 40;

    impl Model {
        fn bytes(&self) -> usize {
            self.bodies.iter().map(|(_, body, _)| body.len()).sum()
        }

        /// Where the n-th of those that were taken stands.
        fn taken(&self, n: usize) -> Option<(usize, BodyId)> {
            let taken = self.bodies.iter().enumerate();
            let taken: Vec<_> = taken
                .filter_map(|(place, (_, _, taken))| match taken {
                    Taken::As(id) => Some((place, *id)),
                    Taken::No => None,
                })
                .collect();
            (!taken.is_empty()).then(|| taken[n % taken.len()])
        }

        fn step(&mut self, step: &Step, outbox: &Outbox) {
            match step {
                Step::Push(body) => {
                    let fits = self.bytes() + body.len() <= LIMIT_BYTES;
                    let now = Time(self.next_number);
                    assert_eq!(outbox.push(packed(body), now).is_ok(), fits);
                    if fits {
                        let number = self.next_number;
                        self.bodies.push((number, body.clone(), Taken::No));
                        self.next_number += 1;
                    }
                }
                Step::Take => {
                    let oldest = self.bodies.iter_mut().find(|b| b.2 == Taken::No);
                    let id = outbox.oldest_waiting();
                    assert_eq!(oldest.is_some(), id.is_some());
                    if let (Some(oldest), Some(id)) = (oldest, id) {
                        assert_eq!(outbox.take(id), Some(packed(&oldest.1)));
                        oldest.2 = Taken::As(id);
                    }
                }
                Step::GiveBack(n) => {
                    if let Some((place, id)) = self.taken(*n) {
                        outbox.give_back(id);
                        self.bodies[place].2 = Taken::No;
                    }
                }
                Step::GiveBackAll => {
                    outbox.give_back_all();
                    for body in &mut self.bodies {
                        body.2 = Taken::No;
                    }
                }
                Step::Acknowledge(n) => {
                    if let Some((place, id)) = self.taken(*n) {
                        outbox.acknowledge(id);
                        self.bodies.remove(place);
                    }
                }
                Step::Halve(n) => {
                    let taken = self.taken(*n);
                    let taken = taken.filter(|(place, _)| self.bodies[*place].1.len() > 1);
                    if let Some((place, id)) = taken {
                        let (number, body, _) = self.bodies.remove(place);
                        let halves = body.split_at(body.len() / 2);
                        outbox.replace(id, [halves.0, halves.1].map(packed));
                        for half in [halves.1, halves.0] {
                            let half = (number, half.to_vec(), Taken::No);
                            self.bodies.insert(place, half);
                        }
                    }
                }
            }
        }
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => prop::collection::vec(any::<u8>(), 0..20).prop_map(Step::Push),
            4 => Just(Step::Take),
            1 => any::<usize>().prop_map(Step::GiveBack),
            1 => Just(Step::GiveBackAll),
            2 => any::<usize>().prop_map(Step::Acknowledge),
            2 => any::<usize>().prop_map(Step::Halve),
        ];
        prop::collection::vec(step, 0..80)
    }

    proptest! {
        #[test]
        fn it_does_what_a_plain_list_does(steps in steps()) {
            let outbox = Outbox::new(LIMIT_BYTES);
            let mut model = Model::default();
            for step in &steps {
                model.step(step, &outbox);
                let oldest = model.bodies.first().map(|(number, ..)| *number);
                let status = OutboxStatus {
                    bytes: model.bytes(),
                    limit_bytes: LIMIT_BYTES,
                    batches: model.bodies.len(),
                    oldest: oldest.map(Time),
                };
                prop_assert_eq!(outbox.status(), status);
                prop_assert_eq!(outbox.horizon(), oldest.unwrap_or(model.next_number));
            }
        }
    }
}
