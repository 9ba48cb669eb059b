//! One run as the table keeps it: its fold, and what was given out of it.
//!
//! A run is *live* when its events are folded and given out as they come. After
//! a gap it is *held*: it is folded on, but nothing is given out until its log
//! has been read, or nobody waits any longer. At its end it *ends*: the server is
//! asked what else it knows of it. Once its end is given out, it is sealed, and
//! the table forgets all but its name.
//!
//! While there is no room for spans, a run *withholds* them: what finishes counts,
//! and its span is made from the log once there is room.

mod ending;
mod held;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::ending::Ending;
use super::cost::Spent;
use super::finished::RunMeta;
use super::fold::{Fold, Moment, Step};
use super::hold::Hold;
use super::names;
use super::node::{Detail, Room};
use super::outputs::{OpenRun, Output, RunSlot, Wish};
use super::owed::Owed;
use super::prices::PriceTable;
use super::published::{Published, Unsent};
use super::repeats::Repeats;
use super::replays::Replays;
use super::standing::{Standing, Waits};
use super::summary::RunSummary;
use crate::limits::Limits;
use crate::wire::event::{Event, NodeKind, What};
use crate::wire::rejection::Rejection;
use crate::wire::time::Time;

/// What of the configuration concerns a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSettings {
    /// The bounds.
    pub limits: Limits,
    /// Whether the server's log can be asked for.
    pub repair: bool,
    /// Whether the server is asked what else it knows of a run that has ended.
    pub enrich: bool,
    /// What models cost, where the server does not say it.
    pub prices: Option<Arc<PriceTable>>,
}

/// A run in the table.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TrackedRun {
    slot: RunSlot,
    meta: Arc<RunMeta>,
    fold: Fold,
    hold: Option<Box<Hold>>,
    published: Published,
    repeats: Repeats,
    /// When something was last heard of it, by arrival.
    pub(super) heard: Time,
    /// When the server was asked how it is.
    pub(super) asked: Option<Time>,
    waiting: bool,
    /// Where the first piece of a stream lies in the server's log, or 0.
    streamed_from: Option<u64>,
    progress_told: bool,
    /// Its end was doubted once, which is enough.
    repair_tried: bool,
    /// A repair failed: nothing can be said of its sums.
    doubtful: bool,
    /// Its feed is away: it cannot be heard.
    away: bool,
    /// There is no room for its spans.
    withholding: bool,
    /// Its end, while what else the server knows of it is being asked for.
    ending: Option<Box<Ending>>,
    /// It is owed, once it is sealed.
    owed: Option<Box<Owed>>,
    /// What was counted of it that costs something.
    pub(super) spent: Spent,
    /// What it would like to know.
    #[serde(skip)]
    wish: Option<Wish>,
    /// What was told of how it stands.
    #[serde(skip)]
    told: Standing,
}

/// Whether the run is still in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Open,
    Sealed,
}

impl TrackedRun {
    pub(super) fn new(slot: RunSlot, meta: Arc<RunMeta>, first: Time, limits: &Limits) -> Self {
        Self {
            slot,
            fold: Fold::new(Arc::clone(&meta), first, limits),
            meta,
            hold: None,
            published: Published::default(),
            repeats: Repeats::default(),
            heard: first,
            asked: None,
            waiting: false,
            streamed_from: None,
            progress_told: false,
            repair_tried: false,
            doubtful: false,
            away: false,
            withholding: false,
            ending: None,
            owed: None,
            spent: Spent::default(),
            wish: None,
            told: Standing {
                start: first,
                waits: Waits::default(),
            },
        }
    }

    /// What its fold remembers of ends, and that of its log while it is being read.
    pub(super) fn replays(&self) -> [Option<&Replays>; 2] {
        let rebuilt = self.hold.as_ref().and_then(|hold| hold.replays());
        [Some(self.fold.replays()), rebuilt]
    }

    /// They were read from disk, and remember this.
    pub(super) fn set_replays(&mut self, [live, rebuilt]: [Option<Replays>; 2]) {
        self.fold.set_replays(live.unwrap_or_default());
        if let (Some(hold), Some(rebuilt)) = (&mut self.hold, rebuilt) {
            hold.set_replays(rebuilt);
        }
    }

    /// It was read from disk: whoever asks is told how it stands.
    pub(super) fn restored(&mut self) {
        self.told = self.standing();
    }

    fn standing(&self) -> Standing {
        Standing {
            start: self.fold.start(),
            waits: self.fold.waits(),
        }
    }

    pub(super) const fn slot(&self) -> RunSlot {
        self.slot
    }

    pub(super) const fn meta(&self) -> &Arc<RunMeta> {
        &self.meta
    }

    pub(super) const fn waiting(&self) -> bool {
        self.waiting
    }

    /// When it started, or was first seen.
    pub(super) fn start(&self) -> Time {
        self.fold.start()
    }

    /// What somebody who looks at it sees.
    pub(super) fn view(&self) -> OpenRun {
        let (tasks, (input_tokens, output_tokens)) = self.fold.so_far();
        let Standing { start, waits } = self.standing();
        OpenRun {
            meta: Arc::clone(&self.meta),
            start,
            last: self.fold.last(),
            waiting: self.waiting,
            waits,
            held: self.hold.is_some(),
            ending: self.ending.is_some(),
            tasks,
            input_tokens,
            output_tokens,
        }
    }

    /// The summary as it stands.
    pub(super) fn summary_so_far(&self) -> RunSummary {
        self.fold.summary_so_far()
    }

    /// Since when it has been held.
    pub(super) fn held_since(&self) -> Option<Time> {
        self.hold.as_ref().map(|hold| hold.since)
    }

    /// Since when what else the server knows of its end has been waited for.
    pub(super) fn ending_since(&self) -> Option<Time> {
        self.ending.as_ref().map(|ending| ending.since)
    }

    /// What it would like to know.
    pub(super) const fn take_wish(&mut self) -> Option<Wish> {
        self.wish.take()
    }

    /// What is owed of it, once it is sealed.
    pub(super) fn take_owed(&mut self) -> Option<Box<Owed>> {
        self.owed.take()
    }

    /// Who was asked for a page of the log is gone.
    pub(super) fn forget_asking(&mut self) {
        if let Some(hold) = &mut self.hold {
            hold.asking = false;
        }
    }

    /// Asks once more for what was asked for, beside the log: who was asked is gone.
    pub(super) fn renew_wish(&mut self) {
        if self.ending.is_some() {
            self.ask_facts();
        } else if self.asked.is_some() {
            self.ask_row();
        }
    }

    /// What it holds, roughly, in bytes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.fold.bytes()
            + self.published.bytes()
            + self.repeats.bytes()
            + self.spent.bytes()
            + self.hold.as_ref().map_or(0, |hold| hold.bytes())
            + self.ending.as_ref().map_or(0, |ending| ending.run.bytes())
    }

    /// Gives up detail of what is open.
    pub(super) fn give_up(&mut self, detail: Detail, out: &mut Vec<Output>) {
        self.fold.give_up_detail(detail);
        if let (Detail::Ends, Some(hold)) = (detail, &mut self.hold) {
            hold.forget_ends();
        }
        self.tell_thinned(out);
    }

    /// The connection was made anew: the server may repeat what it sent.
    pub(super) fn expect_repeats(&mut self) {
        self.repeats.expect();
    }

    /// Neither its silence nor its waiting until now counts.
    pub(super) fn count_from(&mut self, now: Time) {
        self.heard = now;
        if let Some(hold) = &mut self.hold {
            hold.since = now;
        }
        if let Some(ending) = &mut self.ending {
            ending.since = now;
        }
        self.asked = self.asked.map(|_| now);
    }

    /// Its feed is away, or there again. What was missed meanwhile is in its log,
    /// from when the feed is there on.
    pub(super) fn set_away(&mut self, away: bool) {
        self.away = away;
        if !away {
            if let Some(hold) = &mut self.hold {
                hold.drop_live();
            }
            self.ask_log();
        }
    }

    /// There is no room for spans, or there is again: what was withheld is then
    /// made from the log.
    pub(super) fn set_withholding(&mut self, withholding: bool, now: Time, settings: &RunSettings) {
        self.withholding = withholding;
        if !withholding && self.published.withheld() > 0 {
            self.hold(now, settings);
        }
    }

    /// Takes the next event of the feed.
    pub(super) fn accept(
        &mut self,
        event: Event<'_>,
        moment: Moment,
        now: Time,
        room: Room,
        settings: &RunSettings,
        out: &mut Vec<Output>,
    ) -> Fate {
        self.heard = now;
        self.asked = None;
        if self.repeats.is_repeat(&event) {
            out.push(Output::Rejected(Rejection::Duplicate));
            return Fate::Open;
        }
        if self.ending.is_some() {
            out.push(Output::Rejected(Rejection::AfterEnd));
            return Fate::Open;
        }
        if let Some(hold) = &mut self.hold {
            hold.keep_live(&event, settings.limits.held_events_bytes_max);
        }
        if self.streamed_from.is_none() && matches!(event.what, What::Chunk(_)) {
            self.streamed_from = event.log_position.or(Some(0));
        }
        let task = started_task(&event.what);
        self.hear_cost(&event);
        let mut nodes = Vec::new();
        let step = self
            .fold
            .apply(&event.scope, event.what, moment, room, &mut nodes);
        self.tell_thinned(out);
        out.extend(task.map(|name| Output::TaskStarted(self.slot, name)));
        if let Step::Ended(run) = &step {
            // What is closed with the run must wait, if the run must.
            self.doubt(run, now, settings, out);
        }
        self.give_out(nodes.into_iter().map(Unsent::from), settings, out);
        match step {
            Step::Going => self.tell_progress(settings, out),
            Step::Refused(rejection) => out.push(Output::Rejected(rejection)),
            Step::Ended(run) => return self.ended(run, now, settings, out),
        }
        Fate::Open
    }

    /// The end of a run may tell what it cost.
    fn hear_cost(&mut self, event: &Event<'_>) {
        if let What::RunEnded(end) = &event.what
            && event.scope.is_empty()
            && let Some(totals) = end.totals
        {
            self.spent.tell(totals.cost_usd);
        }
    }

    /// Asks the server how the run is.
    pub(super) fn ask_row(&mut self) {
        self.wish = Some(Wish::AskRow {
            project: self.meta.project,
            run_id: Arc::clone(&self.meta.run_id),
        });
    }

    /// Gives nodes out, or keeps them while the run is held.
    fn give_out(
        &mut self,
        nodes: impl IntoIterator<Item = Unsent>,
        settings: &RunSettings,
        out: &mut Vec<Output>,
    ) {
        if let Some(hold) = &mut self.hold {
            hold.keep(nodes.into_iter().map(|unsent| unsent.node).collect());
        } else {
            for unsent in nodes {
                // Nobody remembers more of a run that cannot be repaired.
                let nodes_max = match settings.repair {
                    true => settings.limits.published_nodes_max,
                    false => 0,
                };
                let due = (self.published).give(&unsent, self.withholding, nodes_max);
                if let Some(due) = due {
                    let node = unsent.node;
                    if let Some(usage) = node.spending().filter(|_| due.counts()) {
                        (self.spent).add(usage, settings.limits.summary_names_max);
                    }
                    let meta = Arc::clone(&self.meta);
                    out.push(Output::Node(self.slot, meta, Box::new(node), due));
                }
            }
        }
        self.tell_standing(out);
    }

    /// Tells since when it has been open and waited, if that has changed. Its
    /// waits are looked through when one came or went, and not at each event.
    fn tell_standing(&mut self, out: &mut Vec<Output>) {
        let moved = self.fold.take_waits_moved();
        if !moved && self.told.start == self.fold.start() {
            return;
        }
        self.waiting = self.fold.waiting();
        let standing = self.standing();
        if standing != self.told {
            self.told = standing;
            out.push(Output::Standing(self.slot, standing));
        }
    }

    /// Says once that the run has been open for a while.
    fn tell_progress(&mut self, settings: &RunSettings, out: &mut Vec<Output>) {
        self.tell_progress_at(self.fold.last(), settings, out);
    }

    /// The same, by the feed's clock rather than the run's own.
    pub(super) fn tell_progress_at(
        &mut self,
        time: Time,
        settings: &RunSettings,
        out: &mut Vec<Output>,
    ) {
        let open_for = time.since(self.fold.start());
        let told = self.progress_told || self.hold.is_some() || self.withholding;
        if told || open_for <= settings.limits.progress_after {
            return;
        }
        self.progress_told = true;
        out.push(Output::Progress(
            self.slot,
            Arc::clone(&self.meta),
            self.fold.start(),
        ));
    }

    fn tell_thinned(&mut self, out: &mut Vec<Output>) {
        let thinned = self.fold.take_thinned();
        if thinned > 0 {
            out.push(Output::Thinned(thinned));
        }
    }
}

/// The name of the task that starts with an event.
fn started_task(what: &What<'_>) -> Option<Arc<str>> {
    match what {
        What::NodeStarted(start) if start.kind == NodeKind::Task => Some(names::kept(&start.name)),
        _ => None,
    }
}
