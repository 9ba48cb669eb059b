//! A run that is held: what came live since the gap, and its rebuild from the
//! server's log.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::finished::{FinishedNode, FinishedRun, RunMeta, Streams};
use super::fold::{Fold, Moment, Step};
use super::identity::Identity;
use super::node::Room;
use super::outputs::Wish;
use super::published::Published;
use crate::limits::{FINGERPRINTS_MAX, Limits};
use crate::wire::event::Event;
use crate::wire::item::LogPage;
use crate::wire::time::Time;

/// The state of a held run beside its fold.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) since: Time,
    /// What is to be asked for, when the hold began in the middle of an event.
    pub(super) first_wish: Option<Wish>,
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
}

/// The run, folded again from the beginning of its log.
#[derive(Debug)]
struct Rebuilt {
    fold: Fold,
    nodes: Vec<FinishedNode>,
    run: Option<Box<FinishedRun>>,
    /// The newest events of the log, by time and fingerprint.
    newest: VecDeque<(Option<Time>, u64)>,
}

/// A rebuilt run, ready to go on live.
pub(super) struct Adopted {
    pub(super) fold: Fold,
    pub(super) nodes: Vec<FinishedNode>,
    pub(super) ended: Option<Box<FinishedRun>>,
}

impl Hold {
    pub(super) const fn new(since: Time) -> Self {
        Self {
            since,
            first_wish: None,
            nodes: Vec::new(),
            nodes_bytes: 0,
            run: None,
            live: VecDeque::new(),
            live_bytes: 0,
            live_from: None,
            rebuilt: None,
        }
    }

    /// What it holds, roughly.
    pub(super) fn bytes(&self) -> usize {
        let rebuilt = self.rebuilt.as_ref().map_or(0, |rebuilt| {
            rebuilt.fold.bytes() + rebuilt.nodes.iter().map(node_bytes).sum::<usize>()
        });
        size_of::<Self>() + self.nodes_bytes + self.live_bytes + rebuilt
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
                run: None,
                newest: VecDeque::new(),
            })
        });
        rebuilt.apply(event, moment, room);
    }

    /// Where to read on, if the log has not yet reached what came live.
    pub(super) fn next_page(&self, page: LogPage) -> Option<u64> {
        let ended = self
            .rebuilt
            .as_ref()
            .is_some_and(|rebuilt| rebuilt.run.is_some());
        let after = page.next_after?;
        if ended || (page.complete && !page.has_more) {
            return None;
        }
        let reached = match (self.live.is_empty(), self.live_from) {
            // The page was asked for after the gap: whatever it does not hold is still to come.
            (true, _) => true,
            (false, Some(from)) => after >= from,
            // Without places there is no telling: the log is read to the run's end.
            (false, None) => false,
        };
        (page.has_more || !reached).then_some(after)
    }

    /// The rebuilt run takes the place of the live one.
    pub(super) fn adopt(
        self,
        mut live: Fold,
        page: LogPage,
        room: Room,
        published: &Published,
    ) -> Adopted {
        let Some(mut rebuilt) = self.rebuilt else {
            // The log is empty: what came live is all there is.
            return Adopted {
                fold: live,
                nodes: published.unsent(self.nodes),
                ended: self.run,
            };
        };
        // A log that keeps no pieces of streams must not cost those that came live.
        // One that keeps them knows better than a feed with gaps.
        let logged_streams = rebuilt.fold.streamed();
        for kept in &self.live {
            let Ok(event) = postcard::from_bytes::<Event<'_>>(kept) else {
                continue;
            };
            if rebuilt.run.is_none() && !rebuilt.has(&event, page.next_after) {
                let time = event.at.unwrap_or_else(|| rebuilt.fold.last());
                let moment = Moment { at: event.at, time };
                rebuilt.apply(event, moment, room);
            }
        }
        let Rebuilt {
            mut fold,
            nodes,
            run,
            ..
        } = *rebuilt;
        let mut nodes = published.unsent(nodes);
        if !logged_streams {
            let mut streams: FxHashMap<Identity, Box<Streams>> = FxHashMap::default();
            for mut node in self.nodes {
                if let Some(lent) = node.streams.take() {
                    streams.insert(node.identity, lent);
                }
            }
            let mut lend = |identity| {
                streams
                    .remove(&identity)
                    .or_else(|| live.take_streams(identity))
            };
            for node in nodes.iter_mut().filter(|node| node.streams.is_none()) {
                node.streams = lend(node.identity);
            }
            fold.lend_streams(lend);
        }
        Adopted {
            fold,
            nodes,
            ended: run,
        }
    }

    /// The rebuild is given up: what came live goes out as it is.
    pub(super) fn give_up(self) -> (Vec<FinishedNode>, Option<Box<FinishedRun>>) {
        (self.nodes, self.run)
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
        let step = self
            .fold
            .apply(&event.scope, event.what, moment, room, &mut self.nodes);
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

fn node_bytes(node: &FinishedNode) -> usize {
    let streams = node.streams.as_ref().map_or(0, |streams| {
        let texts = [&streams.answer, &streams.reasoning, &streams.output];
        let kept = streams.pieces.answer.kept_count() + streams.pieces.reasoning.kept_count();
        size_of::<Streams>()
            + kept * size_of::<super::pieces::Piece>()
            + texts
                .iter()
                .filter_map(|text| text.as_ref())
                .map(|text| text.text.len())
                .sum::<usize>()
    });
    size_of::<FinishedNode>() + (node.facts.len() + 2 * node.notes.kept.len()) * 64 + streams
}
