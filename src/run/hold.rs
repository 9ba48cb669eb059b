//! A run that is held: what came live since the gap, and its rebuild from the
//! server's log.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::finished::{FinishedNode, FinishedRun, RunMeta, Streams};
use super::fold::{Fold, Moment, Step};
use super::identity::Identity;
use super::node::{Detail, OpenNode, Room};
use super::published::{Published, Unsent};
use super::replays::Replays;
use crate::limits::{FINGERPRINTS_MAX, Limits};
use crate::wire::event::{Event, RunOutcome, What};
use crate::wire::item::LogPage;
use crate::wire::time::Time;

/// The state of a held run beside its fold.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hold {
    pub(super) since: Time,
    /// What the live fold finished: it goes out if the rebuild fails.
    nodes: Vec<FinishedNode>,
    nodes_bytes: usize,
    run: Option<Box<FinishedRun>>,
    /// Live events in one piece, serialized: the newest ones.
    live: VecDeque<Box<[u8]>>,
    live_bytes: usize,
    /// Where the first of them lies in the server's log.
    live_from: Option<u64>,
    rebuilt: Option<Box<Rebuilt>>,
    /// What came live is in one piece only since after the last page was asked
    /// for: that page cannot be the last one.
    broken: bool,
    /// From where on the next page of the log is to be read.
    pub(super) asked_after: u64,
    /// Whether it has been asked for.
    pub(super) asking: bool,
    /// How the run ended and when, by its row: in case its log does not tell.
    pub(super) row_end: Option<(RunOutcome, Option<Time>)>,
}

/// The run, folded again from the beginning of its log.
#[derive(Debug, Serialize, Deserialize)]
struct Rebuilt {
    fold: Fold,
    nodes: Vec<FinishedNode>,
    nodes_bytes: usize,
    run: Option<Box<FinishedRun>>,
    /// The newest events of the log, by time and fingerprint.
    newest: VecDeque<(Option<Time>, u64)>,
}

/// A rebuilt run, ready to go on live.
pub(super) struct Adopted {
    pub(super) fold: Fold,
    pub(super) nodes: Vec<Unsent>,
    pub(super) ended: Option<Box<FinishedRun>>,
    /// The newest events of the log.
    pub(super) newest: VecDeque<(Option<Time>, u64)>,
}

impl Hold {
    pub(super) const fn new(since: Time) -> Self {
        Self {
            since,
            nodes: Vec::new(),
            nodes_bytes: 0,
            run: None,
            live: VecDeque::new(),
            live_bytes: 0,
            live_from: None,
            rebuilt: None,
            broken: false,
            asked_after: 0,
            asking: false,
            row_end: None,
        }
    }

    /// What it holds, roughly.
    pub(super) fn bytes(&self) -> usize {
        let rebuilt = self.rebuilt.as_ref().map_or(0, |rebuilt| {
            rebuilt.fold.bytes() + rebuilt.nodes_bytes + run_bytes(rebuilt.run.as_deref())
        });
        let run = run_bytes(self.run.as_deref());
        size_of::<Self>() + self.nodes_bytes + self.live_bytes + run + rebuilt
    }

    /// What the fold of the log remembers of ends.
    pub(super) fn replays(&self) -> Option<&Replays> {
        self.rebuilt.as_ref().map(|rebuilt| rebuilt.fold.replays())
    }

    /// It was read from disk, and remembers this.
    pub(super) fn set_replays(&mut self, replays: Replays) {
        if let Some(rebuilt) = &mut self.rebuilt {
            rebuilt.fold.set_replays(replays);
        }
    }

    /// The fold of the log need not remember ends of tasks.
    pub(super) fn forget_ends(&mut self) {
        if let Some(rebuilt) = &mut self.rebuilt {
            rebuilt.fold.give_up_detail(Detail::Ends);
        }
    }

    /// Keeps what the live fold finished.
    pub(super) fn keep(&mut self, nodes: Vec<FinishedNode>) {
        self.nodes_bytes += nodes.iter().map(node_bytes).sum::<usize>();
        self.nodes.extend(nodes);
    }

    /// The live fold saw the end.
    pub(super) fn ended(&mut self, run: Box<FinishedRun>) {
        self.run = Some(run);
    }

    /// Keeps a live event for the time when the log has been read.
    pub(super) fn keep_live(&mut self, event: &Event<'_>, bytes_max: usize) {
        let Ok(kept) = postcard::to_stdvec(event) else {
            return;
        };
        if self.live_bytes + kept.len() > bytes_max {
            self.drop_live();
        }
        if kept.len() > bytes_max {
            return;
        }
        if self.live.is_empty() {
            self.live_from = event.log_position;
        }
        self.live_bytes += kept.len();
        self.live.push_back(kept.into_boxed_slice());
    }

    /// What came live is no longer in one piece: the log must be read further.
    pub(super) fn drop_live(&mut self) {
        self.broken = self.asking;
        self.live.clear();
        self.live_bytes = 0;
        self.live_from = None;
    }

    /// Folds an event of the log.
    pub(super) fn rebuild(
        &mut self,
        event: Event<'_>,
        moment: Moment,
        room: Room,
        meta: &Arc<RunMeta>,
        limits: &Limits,
    ) {
        let rebuilt = self.rebuilt.get_or_insert_with(|| {
            Box::new(Rebuilt {
                fold: Fold::new(Arc::clone(meta), moment.time, limits),
                nodes: Vec::new(),
                nodes_bytes: 0,
                run: None,
                newest: VecDeque::new(),
            })
        });
        rebuilt.apply(event, moment, room);
    }

    /// Where to read on, if the log has not yet reached what came live. While
    /// nothing can be heard live it cannot, unless the run has ended.
    pub(super) fn next_page(&mut self, page: LogPage, away: bool) -> Option<u64> {
        self.asking = false;
        let broken = std::mem::take(&mut self.broken) || away;
        let ended = self
            .rebuilt
            .as_ref()
            .is_some_and(|rebuilt| rebuilt.run.is_some());
        if ended || (page.complete && !page.has_more) {
            return None;
        }
        let Some(after) = page.next_after else {
            // There is nothing behind what was read before, or not yet.
            return broken.then_some(self.asked_after);
        };
        let reached = match (self.live.is_empty(), self.live_from) {
            _ if broken => false,
            // The page was asked for after the gap: whatever it does not hold is still to come.
            (true, _) => true,
            (false, Some(from)) => after >= from,
            // Without places there is no telling: the log is read to the run's end.
            (false, None) => false,
        };
        (page.has_more || !reached).then_some(after)
    }

    /// How far the log has been read with this page: an empty one does not say.
    pub(super) fn read_to(&self, page: LogPage) -> Option<u64> {
        let before = (self.asked_after > 0).then_some(self.asked_after);
        page.next_after.or(before)
    }

    /// The rebuilt run takes the place of the live one. Its log has been read up
    /// to this place.
    pub(super) fn adopt(
        self,
        live: Fold,
        read_to: Option<u64>,
        room: Room,
        published: &Published,
        streamed_from: Option<u64>,
    ) -> Adopted {
        let Some(mut rebuilt) = self.rebuilt else {
            // The log is empty: what came live is all there is.
            let nodes = published.unsent(self.nodes);
            return Adopted {
                fold: live,
                nodes,
                ended: self.run,
                newest: VecDeque::new(),
            };
        };
        // A log that keeps no pieces of streams, though some came live from where it
        // has been read, must not cost those. One that keeps them knows better than
        // a feed with gaps.
        let read = |from: u64| read_to.is_none_or(|to| from <= to);
        let logged_streams = rebuilt.fold.streamed() || !streamed_from.is_some_and(read);
        for kept in &self.live {
            let Ok(event) = postcard::from_bytes::<Event<'_>>(kept) else {
                continue;
            };
            let lent = !logged_streams && matches!(event.what, What::Chunk(_));
            if rebuilt.run.is_none() && !lent && !rebuilt.has(&event, read_to) {
                let time = event.at.unwrap_or_else(|| rebuilt.fold.last());
                let moment = Moment { at: event.at, time };
                rebuilt.apply(event, moment, room);
            }
        }
        // Whatever was left out, was left out and counted when it came live.
        rebuilt.fold.take_thinned();
        let Rebuilt {
            mut fold,
            nodes,
            run,
            newest,
            ..
        } = *rebuilt;
        let mut nodes = published.unsent(nodes);
        if !logged_streams {
            lend(live, self.nodes, &mut nodes, &mut fold);
        }
        Adopted {
            fold,
            nodes,
            ended: run,
            newest,
        }
    }

    /// The rebuild is given up: what came live goes out as it is.
    pub(super) fn give_up(self) -> (Vec<Unsent>, Option<Box<FinishedRun>>) {
        let nodes = self.nodes.into_iter().map(Unsent::from);
        (nodes.collect(), self.run)
    }
}

impl Rebuilt {
    fn apply(&mut self, event: Event<'_>, moment: Moment, room: Room) {
        if self.run.is_some() {
            return;
        }
        if self.newest.len() >= FINGERPRINTS_MAX {
            self.newest.pop_front();
        }
        self.newest.push_back((event.at, event.fingerprint));
        let known = self.nodes.len();
        let step = self
            .fold
            .apply(&event.scope, event.what, moment, room, &mut self.nodes);
        self.nodes_bytes += self.nodes[known..].iter().map(node_bytes).sum::<usize>();
        if let Step::Ended(run) = step {
            self.run = Some(run);
        }
    }

    /// Whether the log, read up to this place, already held a live event.
    fn has(&self, event: &Event<'_>, read_to: Option<u64>) -> bool {
        match (event.seq.or(event.log_position), read_to) {
            (Some(place), Some(read_to)) if place <= read_to => true,
            // The newest event of its frame lies beyond; it itself may not.
            _ if event.seq.is_none() => self.newest.contains(&(event.at, event.fingerprint)),
            _ => false,
        }
    }
}

/// Gives what came live of the streams to the nodes of a rebuilt run.
fn lend(live: Fold, held: Vec<FinishedNode>, nodes: &mut [Unsent], fold: &mut Fold) {
    let mut open: FxHashMap<Identity, OpenNode> = live
        .into_nodes()
        .map(|node| (node.identity, node))
        .collect();
    let mut finished: FxHashMap<Identity, FinishedNode> =
        held.into_iter().map(|node| (node.identity, node)).collect();
    for Unsent { node, .. } in nodes {
        let (streams, first, cached) = match finished.remove(&node.identity) {
            Some(held) => (held.streams, held.time_to_first_chunk, held.cached),
            None => match open.remove(&node.identity) {
                Some(open) => (open.streams, open.time_to_first_chunk, open.cached),
                None => continue,
            },
        };
        if streams.is_some() {
            node.streams = streams;
            node.time_to_first_chunk = first;
            node.cached |= cached;
        }
    }
    for node in open.into_values() {
        fold.lend_streams(node);
    }
}

fn run_bytes(run: Option<&FinishedRun>) -> usize {
    run.map_or(0, FinishedRun::bytes)
}

fn node_bytes(node: &FinishedNode) -> usize {
    let streams = node.streams.as_ref();
    let streams = streams.map_or(0, |streams| size_of::<Streams>() + streams.bytes());
    size_of::<FinishedNode>() + (node.facts.len() + 2 * node.notes.kept.len()) * 64 + streams
}
