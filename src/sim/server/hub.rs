//! What the server knows, and what is told when it changes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::value::RawValue;
use tokio::sync::{mpsc, watch};

use super::feed::{Lack, Orders};
use super::log::{Entry, Log};
use super::player::{self, ORDERS_MAX, Order};
use super::runs::{Run, Runs};
use crate::sim::misbehaviour::{FeedManners, Manners, Misbehaviour, Refusal};
use crate::sim::settings::SimSettings;
use crate::sim::workload::{Arrival, Plan, Step, Workload};
use crate::wire::time::Time;

/// The heart of a simulated server.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) settings: SimSettings,
    state: Mutex<State>,
    /// Rises with every change.
    changed: watch::Sender<u64>,
    stop: watch::Receiver<bool>,
    /// Whether connections are taken.
    is_up: watch::Sender<bool>,
}

/// What it knows.
#[derive(Debug)]
pub(super) struct State {
    workload: Workload,
    pub(super) log: Log,
    pub(super) runs: Runs,
    pub(super) manners: Manners,
    pub(super) feeds: BTreeMap<u64, Orders>,
    feeds_opened: u64,
    /// Where the log stands.
    seq: u64,
    /// Whether the process is lost for now.
    pub(super) is_away: bool,
    /// How often it went down or away: who brings it back must be the one who meant this time.
    absences: u64,
    arrivals_over: bool,
}

/// Where the log of a server stands that has been running for a while.
const SEQ_BEFORE: u64 = 48_200;

impl State {
    /// Whether a run has ended, or was forgotten since.
    pub(super) fn is_over(&self, id: &str) -> bool {
        self.runs.get(id).is_none_or(|run| run.status.is_final())
    }

    pub(super) fn is_idle(&self) -> bool {
        self.arrivals_over && self.runs.open() == 0
    }
}

impl Hub {
    pub(super) fn new(settings: SimSettings, stop: watch::Receiver<bool>) -> Arc<Self> {
        let bounds = &settings.bounds;
        let state = State {
            workload: Workload::new(settings.workload.clone()),
            log: Log::new(bounds.feed_log_bytes_max),
            runs: Runs::new(bounds, settings.log_keeps_chunks),
            manners: Manners::default(),
            feeds: BTreeMap::new(),
            feeds_opened: 0,
            seq: SEQ_BEFORE,
            is_away: false,
            absences: 0,
            arrivals_over: false,
        };
        Arc::new(Self {
            settings,
            state: Mutex::new(state),
            changed: watch::Sender::new(0),
            stop,
            is_up: watch::Sender::new(true),
        })
    }

    /// Looks at what is known.
    pub(super) fn look<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        // Nothing in here leaves it half changed.
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = self.look(change);
        self.changed.send_modify(|count| *count += 1);
        result
    }

    /// Tells of changes from now on.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Ends when something is so.
    pub(super) async fn until(&self, is_so: impl Fn(&State) -> bool) {
        let mut changes = self.changes();
        while !self.look(|state| is_so(state)) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Ends when the server stops.
    pub(super) async fn stopped(&self) {
        let _ = self.stop.clone().wait_for(|stop| *stop).await;
    }

    /// Whether connections are taken.
    pub(super) fn is_up(&self) -> bool {
        *self.is_up.borrow()
    }

    /// Ends when connections are taken, or are not.
    pub(super) async fn until_up(&self, up: bool) {
        let _ = self.is_up.subscribe().wait_for(|is_up| *is_up == up).await;
    }

    pub(super) fn next_arrival(&self) -> Option<Arrival> {
        self.look(|state| state.workload.arrive())
    }

    pub(super) fn end_arrivals(&self) {
        self.change(|state| state.arrivals_over = true);
    }

    pub(super) fn has_script(&self, project_id: i64, script: &str) -> bool {
        self.look(|state| {
            state
                .workload
                .scripts_of(project_id)
                .any(|name| name == script)
        })
    }

    pub(super) fn scripts_of(&self, project_id: i64) -> Vec<&'static str> {
        self.look(|state| state.workload.scripts_of(project_id).collect())
    }

    /// A run that somebody asks for; `None` when there is no such script.
    pub(super) fn plan(&self, project_id: i64, script: &str) -> Option<Plan> {
        self.look(|state| state.workload.plan_for(project_id, script))
    }

    pub(super) fn is_full(&self) -> bool {
        self.look(|state| state.runs.open() >= self.settings.bounds.open_runs_max)
    }

    /// A run begins.
    pub(super) fn begin(self: &Arc<Self>, plan: Plan) {
        let at = now();
        let (orders, taken) = mpsc::channel(ORDERS_MAX);
        let id = self.change(|state| state.runs.begin(&plan, orders, at));
        tokio::spawn(player::play(Arc::clone(self), id, plan, taken, at));
    }

    /// A run says something.
    pub(super) fn say(&self, id: &Arc<str>, step: &Step, at: Time) {
        // Plain structures are always written.
        let Ok(raw) = serde_json::to_string(&step.event).and_then(RawValue::from_string) else {
            return;
        };
        self.change(|state| {
            let Some(run) = state.runs.get(id) else {
                return;
            };
            // Rows of other servers lie between ours.
            state.seq += 1 + state.seq % 3 / 2;
            let entry = Arc::new(Entry {
                seq: state.seq,
                project_id: run.project_id,
                script: run.script,
                run: Arc::clone(id),
                at,
                event: raw,
            });
            state.runs.take(&entry, step);
            state.log.push(entry);
        });
    }

    /// Wants a run to stop. False when it is over.
    pub(super) fn cancel(&self, id: &str) -> bool {
        self.change(|state| {
            let Some(run) = state.runs.get_mut(id) else {
                return false;
            };
            let obeyed = run.order(Order::Cancel);
            if obeyed {
                run.status = super::runs::Status::Cancelling;
            }
            obeyed
        })
    }

    /// What a run waits for is there. False when it does not wait for that.
    pub(super) fn resume(&self, id: &str, token: &str) -> bool {
        self.look(|state| {
            let run = state.runs.get(id).filter(|run| run.waits_for(token));
            run.is_some_and(|run| run.order(Order::Resume))
        })
    }

    pub(super) fn feed_manners(&self) -> FeedManners {
        self.look(|state| state.manners.feed)
    }

    pub(super) fn refusal(&self, of_feed: bool) -> Option<Refusal> {
        self.look(|state| state.manners.refusal(of_feed))
    }

    pub(super) fn rest_delay(&self) -> Duration {
        Duration::from_millis(self.look(|state| state.manners.rest_delay_ms))
    }

    /// A feed was opened: its number, and the bytes after which it is cut.
    pub(super) fn open_feed(&self) -> (u64, Option<u64>) {
        self.change(|state| {
            state.feeds_opened += 1;
            state.feeds.insert(state.feeds_opened, Orders::default());
            (state.feeds_opened, state.manners.next_cut())
        })
    }

    pub(super) fn close_feed(&self, number: u64) {
        self.change(|state| state.feeds.remove(&number));
    }

    pub(super) fn feeds_opened(&self) -> u64 {
        self.look(|state| state.feeds_opened)
    }

    /// Misbehaves. What is to be undone later is.
    pub(super) fn misbehave(self: &Arc<Self>, misbehaviour: &Misbehaviour) {
        if self.change(|state| state.manners.adopt(misbehaviour)) {
            if *misbehaviour == Misbehaviour::Behave {
                self.come_back(None);
            }
            return;
        }
        match *misbehaviour {
            Misbehaviour::Cut => self.order_feeds(|orders| orders.cut = true),
            Misbehaviour::End => self.order_feeds(|orders| orders.end = true),
            Misbehaviour::Skip { events } => self.order_feeds(|orders| {
                orders.lacks.push_back(Lack::new(events, None));
            }),
            Misbehaviour::Lag { events, spelling } => self.order_feeds(|orders| {
                orders.lacks.push_back(Lack::new(events, Some(spelling)));
            }),
            Misbehaviour::Down { ms } => self.go_away(false, ms),
            Misbehaviour::Restart { ms } => {
                self.go_away(true, Some(ms));
                self.look(|state| state.runs.order_all(&Order::Restart { ms }));
            }
            Misbehaviour::Up => self.come_back(None),
            _ => {}
        }
    }

    fn order_feeds(&self, order: impl Fn(&mut Orders)) {
        self.change(|state| state.feeds.values_mut().for_each(&order));
    }

    fn go_away(self: &Arc<Self>, process_too: bool, ms: Option<u64>) {
        let absence = self.change(|state| {
            state.is_away = process_too;
            state.absences += 1;
            state.absences
        });
        self.is_up.send_replace(false);
        self.order_feeds(|orders| orders.cut = true);
        if let Some(ms) = ms {
            let hub = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                hub.come_back(Some(absence));
            });
        }
    }

    /// Comes back, if nothing else happened since this absence.
    fn come_back(&self, absence: Option<u64>) {
        let meant = self.change(|state| {
            let meant = absence.is_none_or(|absence| absence == state.absences);
            if meant {
                state.is_away = false;
            }
            meant
        });
        if meant {
            self.is_up.send_replace(true);
        }
    }

    /// The server stops: nobody plays any more.
    pub(super) fn abandon(&self) {
        self.change(|state| {
            state.runs.abandon();
            state
                .feeds
                .values_mut()
                .for_each(|orders| orders.end = true);
        });
    }

    pub(super) fn with_run<T>(&self, id: &str, read: impl FnOnce(&Run) -> T) -> Option<T> {
        self.look(|state| state.runs.get(id).map(read))
    }
}

/// The server's clock, as exact as it writes it.
#[expect(
    clippy::disallowed_methods,
    reason = "a server stamps its events; this one owns the clock"
)]
pub(super) fn now() -> Time {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Time::ZERO.plus(Duration::from_millis(since.as_millis() as u64))
}
