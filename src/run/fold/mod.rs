//! One run, folded: events go in, finished nodes come out, and at the end the
//! finished run. The fold knows what the run's own events say and nothing else:
//! not how they arrived, nor what was sent of them.

mod close;
mod open;
mod say;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cost::RunCost;
use super::finished::{FinishedNode, FinishedRun, Link, Marks, Notes, RunMeta};
use super::identity::Identity;
use super::node::{Detail, OpenNode, Room, bounded_content, bounded_fault};
use super::nodes::Nodes;
use super::ordinals::Ordinals;
use super::outputs::open_state;
use super::replays::Replays;
use super::scope::{Scopes, TOP};
use super::standing::Waits;
use super::summary::{RunSummary, TaskCounts};
use super::sums::{Closing, Sums};
use crate::limits::{Limits, OUTPUT_BYTES_MAX};
use crate::wire::event::{Content, Fault, NodeKind, RunEnd, RunOutcome, SubRunRef, Totals, What};
use crate::wire::rejection::Rejection;
use crate::wire::time::Time;

/// What came of an event.
#[derive(Debug)]
pub(super) enum Step {
    /// The run goes on.
    Going,
    /// The run has ended.
    Ended(Box<FinishedRun>),
    /// The event fits nothing.
    Refused(Rejection),
}

/// The moment of an event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// By the server's clock, if it told.
    pub(super) at: Option<Time>,
    /// The same, or what stands in for it.
    pub(super) time: Time,
}

/// The state of one run.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Fold {
    meta: Arc<RunMeta>,
    /// When the run was seen to start.
    begun: Option<Time>,
    first: Time,
    last: Time,
    restarts: u32,
    scopes: Scopes,
    nodes: Nodes,
    ordinals: Ordinals,
    sums: Sums,
    notes: Notes,
    links: Vec<Link>,
    own_bytes: usize,
    open_nodes_max: usize,
    summary_names_max: usize,
    thinned: u64,
    /// Whether any piece of a stream was seen.
    streamed: bool,
    /// Kept on disk apart from it: see `table::saved`.
    #[serde(skip)]
    replays: Replays,
}

impl Fold {
    /// A run of which nothing is known but who it is.
    pub(super) fn new(meta: Arc<RunMeta>, first: Time, limits: &Limits) -> Self {
        Self {
            meta,
            begun: None,
            first,
            last: first,
            restarts: 0,
            scopes: Scopes::new(),
            nodes: Nodes::default(),
            ordinals: Ordinals::default(),
            sums: Sums::default(),
            notes: Notes::default(),
            links: Vec::new(),
            own_bytes: 0,
            open_nodes_max: limits.open_nodes_max.max(1),
            summary_names_max: limits.summary_names_max,
            thinned: 0,
            streamed: false,
            replays: Replays::default(),
        }
    }

    /// Takes the next event of the run.
    pub(super) fn apply(
        &mut self,
        scope: &[SubRunRef<'_>],
        what: What<'_>,
        moment: Moment,
        room: Room,
        out: &mut Vec<FinishedNode>,
    ) -> Step {
        let before = self.last;
        self.last = self.last.max(moment.time);
        self.first = self.first.min(moment.time);
        if matches!(what, What::Counted) {
            return Step::Going;
        }
        let scope = match scope {
            [] => {
                match what {
                    What::RunStarted => {
                        self.begin(moment, before, out);
                        return Step::Going;
                    }
                    What::RunEnded(end) => return Step::Ended(self.end(*end, moment, room, out)),
                    _ => {}
                }
                TOP
            }
            path => self.scope(path, &what, moment, room, out),
        };
        let refused = match what {
            What::RunStarted => {
                self.begin_sub_run(scope);
                None
            }
            What::RunEnded(end) => {
                self.end_sub_run(scope, *end, moment, room, out);
                None
            }
            What::NodeStarted(start) => {
                self.start_node(scope, start, moment, room, out);
                None
            }
            What::NodeEnded(end) => self.end_node(scope, *end, moment, room, out).err(),
            What::Chunk(chunk) => self.chunk(scope, &chunk, moment, room, out).err(),
            What::Note(note) => {
                self.note(scope, note, moment, room);
                None
            }
            What::RunLinked { child } => {
                self.link_child(&child);
                None
            }
            What::Counted => None,
        };
        refused.map_or(Step::Going, Step::Refused)
    }

    /// Ends the run without an event that says so.
    pub(super) fn give_up(
        &mut self,
        outcome: RunOutcome,
        error: Option<Fault<'static>>,
        out: &mut Vec<FinishedNode>,
    ) -> Box<FinishedRun> {
        let end = self.last;
        self.close_all(end, out);
        self.finished(outcome, error, None, None, end, true)
    }

    /// The run went on until then, though no event says so.
    pub(super) fn lasted(&mut self, until: Time) {
        self.last = self.last.max(until);
    }

    /// Whether somebody or something is being waited for.
    pub(super) const fn waiting(&self) -> bool {
        self.nodes.waits() > 0
    }

    /// Since when.
    pub(super) fn waits(&self) -> Waits {
        self.nodes.oldest_waits()
    }

    /// Whether that may have changed since this was asked last.
    pub(super) const fn take_waits_moved(&mut self) -> bool {
        self.nodes.take_waits_moved()
    }

    /// It takes the place of another fold, of which other waits were told.
    pub(super) const fn doubt_waits(&mut self) {
        self.nodes.doubt_waits();
    }

    /// When the run started, or was first seen.
    pub(super) fn start(&self) -> Time {
        self.begun.map_or(self.first, |begun| begun.min(self.first))
    }

    /// When its last event was.
    pub(super) const fn last(&self) -> Time {
        self.last
    }

    /// How its tasks ended so far, and the tokens in and out.
    pub(super) fn so_far(&self) -> (TaskCounts, (u64, u64)) {
        (self.sums.tasks(), self.sums.tokens())
    }

    /// The summary as it stands while the run goes on.
    pub(super) fn summary_so_far(&self) -> RunSummary {
        let closing = Closing {
            start: self.start(),
            end: self.last,
            outcome: RunOutcome::Success,
            error: None,
            output: None,
            totals: None,
        };
        RunSummary {
            outcome: open_state(self.waiting()),
            finished_at: None,
            ..self.sums.summary(&self.meta, &closing)
        }
    }

    /// What it holds, roughly, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let scopes = self.scopes.len() * SCOPE_BYTES;
        size_of::<Self>()
            + self.nodes.bytes()
            + self.own_bytes
            + self.sums.bytes()
            + self.ordinals.bytes()
            + self.replays.bytes()
            + scopes
    }

    /// What it remembers of ends that may be told once more.
    pub(super) const fn replays(&self) -> &Replays {
        &self.replays
    }

    /// It was read from disk, and remembers this.
    pub(super) fn set_replays(&mut self, replays: Replays) {
        self.replays = replays;
    }

    /// Gives up detail of what is open.
    pub(super) fn give_up_detail(&mut self, detail: Detail) {
        match detail {
            Detail::Texts | Detail::Events => self.thinned += self.nodes.give_up(detail),
            Detail::Ends => self.replays.forget(),
        }
    }

    /// Chunk events that were left out since this was asked last.
    pub(super) fn take_thinned(&mut self) -> u64 {
        std::mem::take(&mut self.thinned)
    }

    /// Whether any piece of a stream was seen.
    pub(super) const fn streamed(&self) -> bool {
        self.streamed
    }

    /// The open nodes, when nothing else of the run is of use.
    pub(super) fn into_nodes(self) -> impl Iterator<Item = OpenNode> {
        self.nodes.into_all()
    }

    /// Gives an open node without streams what another fold knows of them.
    pub(super) fn lend_streams(&mut self, from: OpenNode) {
        let same = |node: &OpenNode| node.identity == from.identity && node.streams.is_none();
        let Some(index) = self.nodes.all(same).first().copied() else {
            return;
        };
        let Some(streams) = from.streams else { return };
        let key = streams.key.clone();
        let scope = self.nodes.change(index, |node| {
            node.lend(streams);
            node.time_to_first_chunk = from.time_to_first_chunk;
            node.cached |= from.cached;
            node.scope
        });
        match (scope, key) {
            (Some(scope), _) if scope == from.scope => self.nodes.rebind(index, &from.keys),
            (Some(scope), Some(key)) => self.nodes.bind(index, scope, from.kind, &key),
            _ => {}
        }
    }

    /// The open tasks that fit, oldest first.
    fn open_tasks(&self, fits: impl Fn(&OpenNode) -> bool) -> Vec<Identity> {
        let tasks = |node: &OpenNode| node.kind == NodeKind::Task && fits(node);
        let tasks = self.nodes.all(tasks).into_iter();
        let tasks = tasks.filter_map(|index| self.nodes.at(index));
        tasks.map(|node| node.identity).collect()
    }

    /// The server began the run, or began it again.
    fn begin(&mut self, moment: Moment, before: Time, out: &mut Vec<FinishedNode>) {
        let open = self.open_tasks(|_| true);
        self.replays.begin(open.iter().map(|task| task.path));
        if self.begun.is_none() {
            self.begun = Some(moment.time);
            return;
        }
        // What was open died with the server's earlier life.
        self.close_all(before, out);
        self.sums.restart();
        self.restarts = self.restarts.saturating_add(1);
    }

    fn end(
        &mut self,
        end: RunEnd<'_>,
        moment: Moment,
        room: Room,
        out: &mut Vec<FinishedNode>,
    ) -> Box<FinishedRun> {
        self.close_all(moment.time, out);
        // A result is kept whole or not at all: half a JSON text is none.
        let output = end.output.map(|output| {
            let text_bytes_max = OUTPUT_BYTES_MAX;
            let whole = output.bytes <= text_bytes_max as u64;
            bounded_content(
                output,
                Room {
                    texts: room.texts && whole,
                    text_bytes_max,
                    ..room
                },
            )
        });
        let error = end.error.map(bounded_fault);
        self.finished(end.outcome, error, end.totals, output, moment.time, false)
    }

    fn finished(
        &mut self,
        outcome: RunOutcome,
        error: Option<Fault<'static>>,
        totals: Option<Totals>,
        output: Option<Content<'static>>,
        end: Time,
        end_inferred: bool,
    ) -> Box<FinishedRun> {
        let start = self.start();
        let closing = Closing {
            start,
            end: end.max(start),
            outcome,
            error: error.as_ref(),
            output: output.as_ref().and_then(|output| output.text.as_deref()),
            totals,
        };
        let summary = self.sums.summary(&self.meta, &closing);
        Box::new(FinishedRun {
            start,
            end: closing.end,
            marks: Marks {
                start_inferred: self.begun.is_none(),
                end_inferred,
                time_adjusted: end < start,
                incomplete: end_inferred,
            },
            outcome,
            verified: self.sums.verify(totals),
            summary,
            error,
            output,
            notes: std::mem::take(&mut self.notes),
            links: std::mem::take(&mut self.links),
            restarts: self.restarts,
            facts: None,
            cost: RunCost::default(),
        })
    }
}

/// What one open sub-run holds beside its node, roughly.
const SCOPE_BYTES: usize = 256;
