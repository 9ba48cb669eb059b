//! Plays runs: what their plans say comes when its time is there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::crash::History;
use super::hub::Hub;
use crate::sim::workload::event::{Event, Failure, Origin};
use crate::sim::workload::{Arrivals, Plan, Step};
use crate::wire::time::Time;

/// What somebody wants of a run.
#[derive(Debug, Clone)]
pub(super) enum Order {
    /// It is to stop.
    Cancel,
    /// What it waits for is there.
    Resume,
    /// Its process is lost, and is back after so many milliseconds.
    Restart { ms: u64 },
}

/// Orders that a run has not yet looked at.
pub(super) const ORDERS_MAX: usize = 8;

/// Begins runs by themselves, until there are no more or the server stops.
pub(super) async fn begin_runs(hub: Arc<Hub>) {
    if hub.settings.waits_for_feed {
        tokio::select! {
            () = hub.until(|state| !state.feeds.is_empty()) => {}
            () = hub.stopped() => return,
        }
    }
    while let Some(arrival) = hub.next_arrival() {
        tokio::select! {
            () = tokio::time::sleep(arrival.after) => {}
            () = hub.stopped() => return,
        }
        let may_begin = hub.until(|state| {
            let most = match hub.settings.workload.arrivals {
                Arrivals::AtOnce(count) => count.min(hub.settings.bounds.open_runs_max),
                _ => hub.settings.bounds.open_runs_max,
            };
            state.runs.open() < most && !state.is_away
        });
        tokio::select! {
            () = may_begin => hub.begin(arrival.plan),
            () = hub.stopped() => return,
        }
    }
    hub.end_arrivals();
}

/// Plays one run to its end, or until nobody wants it any more.
pub(super) async fn play(
    hub: Arc<Hub>,
    id: Arc<str>,
    plan: Plan,
    mut orders: mpsc::Receiver<Order>,
    begun_at: Time,
) {
    let mut player = Player {
        begun: Instant::now(),
        to_come: plan.steps.into(),
        history: History::default(),
        earlier_ms: 0,
    };
    while let Some(step) = player.to_come.front() {
        let child = match &step.event {
            Event::SubScriptResult {
                child_execution_id, ..
            } => Some(child_execution_id.clone()),
            _ => None,
        };
        let due = player.due(step);
        let its_time = async {
            tokio::time::sleep_until(due).await;
            // A spawned run that was held up holds up its parent.
            if let Some(child) = child {
                hub.until(|state| state.is_over(&child)).await;
            }
        };
        tokio::select! {
            biased;
            order = orders.recv() => match order {
                Some(order) => player.obey(order),
                None => return,
            },
            () = its_time => player.say(&hub, &id, begun_at),
        }
    }
}

struct Player {
    begun: Instant,
    to_come: VecDeque<Step>,
    history: History,
    /// How much earlier things happen than was planned.
    earlier_ms: u64,
}

impl Player {
    fn due(&self, step: &Step) -> Instant {
        let ms = step.at_ms.saturating_sub(self.earlier_ms);
        self.begun + Duration::from_millis(ms)
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn say(&mut self, hub: &Arc<Hub>, id: &Arc<str>, begun_at: Time) {
        let Some(mut step) = self.to_come.pop_front() else {
            return;
        };
        let ms = step.at_ms.saturating_sub(self.earlier_ms);
        hub.say(id, &step, begun_at.plus(Duration::from_millis(ms)));
        if let Some(child) = step.child.take() {
            hub.begin(*child);
        }
        self.history.take(step);
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Resume => {
                if let Some(step) = self.to_come.front() {
                    let planned_ms = step.at_ms.saturating_sub(self.earlier_ms);
                    self.earlier_ms += planned_ms.saturating_sub(self.elapsed_ms());
                }
            }
            Order::Cancel => {
                let now_ms = self.elapsed_ms() + self.earlier_ms;
                self.to_come = VecDeque::from([Step {
                    at_ms: now_ms,
                    part: 0,
                    event: Event::Error(Box::new(cancelled())),
                    child: None,
                }]);
            }
            Order::Restart { ms } => {
                let now_ms = self.elapsed_ms() + self.earlier_ms + ms;
                let history = std::mem::take(&mut self.history);
                let to_come = std::mem::take(&mut self.to_come);
                self.to_come = history.begin_again(now_ms, to_come).into();
            }
        }
    }
}

fn cancelled() -> Failure {
    Failure {
        message: "execution cancelled by user".into(),
        kind: "Cancelled",
        code: "UserCancelled",
        user_message: "The execution was cancelled.".into(),
        retry_after_ms: None,
        source: Origin::default(),
    }
}
