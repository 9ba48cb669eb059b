//! Which body is sent when. Pure: time is a parameter, the bodies stay with
//! whoever asks.
//!
//! Calling order: [`Plan::next`] until it says to wait; each body that it gave
//! out comes back with [`Plan::answered`].
//!
//! - While all is well, the oldest body goes first, several at a time.
//! - When the backend is not there, not well or busy, everything rests, for a
//!   time that grows, and then a single body goes as a probe: one that was not
//!   tried yet where there is one, so that a body which the backend dies of does
//!   not stand in the way of the others. Whether it is the backend or the body
//!   shows in whether others were taken meanwhile: then only the body rests.
//! - When the sender or the route is refused, everything rests as well, and is
//!   probed in the same way at a steady pace: who answers so may mean one body
//!   alone, as a filter does that dislikes a text. It is never suspected for it.
//! - A body that the backend refuses is halved; so is one whose time runs out, or
//!   at which the backend fails, again and again while others are taken.
//! - A probe that is answered shows that all is well: everything goes on at once.

use std::collections::BTreeMap;
use std::time::Duration;

use super::verdict::Verdict;
use super::{ExportSettings, RETRY_AFTER_MAX};
use crate::metrics::export::RefusalReason;
use crate::net::backoff::{Backoff, BackoffSettings};
use crate::store::outbox::BodyId;
use crate::wire::time::Time;

/// So often may the time of a body run out, or the backend fail at it, while
/// others are taken, before it counts as refused.
const TIME_OUTS_MAX: u32 = 5;

/// The part of the settings that matters here.
#[derive(Debug, Clone, Copy)]
pub struct PlanSettings {
    /// Requests on their way at once; none would be one.
    pub in_flight_max: usize,
    /// The waits between attempts.
    pub backoff: BackoffSettings,
    /// The wait between two probes of a sender or route that was refused.
    pub probe_wait: Duration,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Send this body. One that is not the offered one was given out before.
    Send(BodyId),
    /// Nothing, until something changes, or until then.
    Wait(Option<Time>),
}

/// What becomes of a body that was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is settled.
    Taken,
    /// It is refused for this: its halves are to be tried, or it is to be dropped.
    Refused(RefusalReason),
    /// It will be sent again, and the plan says when.
    Kept,
    /// It is to be offered again.
    GivenBack,
}

/// The state of sending.
#[derive(Debug)]
pub struct Plan {
    settings: PlanSettings,
    gate: Gate,
    /// The waits while nothing goes.
    backoff: Backoff,
    /// For the waits of single bodies.
    seeds: fastrand::Rng,
    in_flight: BTreeMap<BodyId, Attempts>,
    /// Those that rest, with when they are due.
    resting: BTreeMap<BodyId, (Time, Attempts)>,
    /// How many bodies were taken.
    taken: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    /// Everything goes.
    Open,
    /// Nothing goes until then; then a probe.
    Shut(Time),
    /// This one decides.
    Probing(BodyId),
}

/// What one body has been through.
#[derive(Debug)]
struct Attempts {
    /// How many bodies had been taken when this one was first sent, or last failed.
    taken_before: u64,
    failures: u32,
    /// Failures of which it may be the reason, while others were taken.
    suspicions: u32,
    backoff: Backoff,
}

impl From<&ExportSettings> for PlanSettings {
    fn from(settings: &ExportSettings) -> Self {
        Self {
            in_flight_max: settings.in_flight_max,
            backoff: settings.backoff,
            probe_wait: settings.probe_wait,
        }
    }
}

impl Plan {
    /// Nothing was sent yet. The same seed gives the same waits.
    pub fn new(settings: PlanSettings, seed: u64) -> Self {
        Self {
            settings,
            gate: Gate::Open,
            backoff: Backoff::new(settings.backoff, seed),
            seeds: fastrand::Rng::with_seed(seed),
            in_flight: BTreeMap::new(),
            resting: BTreeMap::new(),
            taken: 0,
        }
    }

    /// What to do now. `offered` is the oldest body that was never given out, or
    /// was given back.
    pub fn next(&mut self, offered: Option<BodyId>, now: Time) -> Next {
        let chosen = match self.gate {
            Gate::Shut(until) if until > now => return Next::Wait(Some(until)),
            Gate::Probing(_) => return Next::Wait(None),
            _ if self.in_flight.len() >= self.settings.in_flight_max.max(1) => {
                return Next::Wait(None);
            }
            Gate::Shut(_) => offered.or_else(|| self.least_tried(now)),
            Gate::Open => offered.into_iter().chain(self.first_due(now)).min(),
        };
        let Some(id) = chosen else {
            let due = self.resting.values().map(|(due, _)| *due).min();
            return Next::Wait(due);
        };
        let attempts = match self.resting.remove(&id) {
            Some((_, attempts)) => attempts,
            None => self.first_attempt(),
        };
        self.in_flight.insert(id, attempts);
        if self.gate != Gate::Open {
            self.gate = Gate::Probing(id);
        }
        Next::Send(id)
    }

    /// A body was answered, or was not.
    pub fn answered(&mut self, id: BodyId, verdict: &Verdict, now: Time) -> Fate {
        let Some(attempts) = self.in_flight.remove(&id) else {
            return Fate::GivenBack;
        };
        let failure = match verdict {
            Verdict::Taken { .. } => {
                self.taken += 1;
                self.go_on_after(id, now);
                return Fate::Taken;
            }
            Verdict::RefusedData(reason) => {
                self.go_on_after(id, now);
                return Fate::Refused(*reason);
            }
            Verdict::RefusedRoute => Failure {
                wait: Some(self.settings.probe_wait),
                ..Failure::default()
            },
            Verdict::Retry { after } => Failure {
                asked: *after,
                ..Failure::default()
            },
            Verdict::TimedOut => Failure {
                suspicion: Some(RefusalReason::TimedOut),
                ..Failure::default()
            },
            Verdict::Failed => Failure {
                wait: Some(self.settings.probe_wait),
                suspicion: Some(RefusalReason::Failed),
                ..Failure::default()
            },
        };
        self.failed(id, attempts, failure, now)
    }

    /// A body whose refusal could not be recorded is sent again after a while.
    pub fn rest(&mut self, id: BodyId, now: Time) {
        let attempts = self.first_attempt();
        let due = now.plus(self.settings.probe_wait);
        self.resting.insert(id, (due, attempts));
    }

    /// A body that was given out could not be sent at all, and never will be.
    pub fn forget(&mut self, id: BodyId) {
        self.in_flight.remove(&id);
        if self.gate == Gate::Probing(id) {
            self.gate = Gate::Shut(Time::ZERO);
        }
    }

    /// Nothing more will come, and what is left should go soon: what rests
    /// is due.
    pub fn hurry(&mut self, now: Time) {
        if let Gate::Shut(until) = &mut self.gate {
            *until = now.min(*until);
        }
        self.all_due(now);
    }

    /// Whether everything rests, but for a probe.
    pub fn is_paused(&self) -> bool {
        self.gate != Gate::Open
    }

    fn first_attempt(&mut self) -> Attempts {
        Attempts {
            taken_before: self.taken,
            failures: 0,
            suspicions: 0,
            backoff: Backoff::new(self.settings.backoff, self.seeds.u64(..)),
        }
    }

    fn failed(&mut self, id: BodyId, mut attempts: Attempts, failure: Failure, now: Time) -> Fate {
        let others_pass = self.taken > attempts.taken_before;
        attempts.taken_before = self.taken;
        attempts.failures += 1;
        if let Some(reason) = failure.suspicion.filter(|_| others_pass) {
            attempts.suspicions += 1;
            if attempts.suspicions >= TIME_OUTS_MAX {
                self.go_on_after(id, now);
                return Fate::Refused(reason);
            }
        }
        // Who asks to wait asks it of all of us.
        let wait = if others_pass && failure.asked.is_none() {
            self.go_on_after(id, now);
            attempts.wait(&failure)
        } else if self.may_shut(id) {
            let own = attempts.wait(&failure);
            let wait = failure
                .wait
                .unwrap_or_else(|| self.backoff.next(failure.asked, RETRY_AFTER_MAX));
            self.gate = Gate::Shut(now.plus(wait));
            // With nothing else to try it is the next probe.
            own.min(wait)
        } else {
            if let (Gate::Shut(until), Some(asked)) = (&mut self.gate, failure.asked) {
                *until = now.plus(asked.min(RETRY_AFTER_MAX)).max(*until);
            }
            attempts.wait(&failure)
        };
        self.resting.insert(id, (now.plus(wait), attempts));
        Fate::Kept
    }

    /// This answer shows that all is well, if it is the one that was waited for.
    /// What was sent before the trouble shows nothing.
    fn go_on_after(&mut self, id: BodyId, now: Time) {
        if self.gate == Gate::Probing(id) {
            self.gate = Gate::Open;
            self.backoff.reset();
            self.all_due(now);
        }
    }

    /// Several that fail together have failed once.
    fn may_shut(&self, id: BodyId) -> bool {
        match self.gate {
            Gate::Open => true,
            Gate::Shut(_) => false,
            Gate::Probing(probe) => probe == id,
        }
    }

    fn all_due(&mut self, now: Time) {
        for (due, _) in self.resting.values_mut() {
            *due = now.min(*due);
        }
    }

    fn first_due(&self, now: Time) -> Option<BodyId> {
        let mut due = self.resting.iter().filter(|(_, (due, _))| *due <= now);
        due.next().map(|(id, _)| *id)
    }

    fn least_tried(&self, now: Time) -> Option<BodyId> {
        let due = self.resting.iter().filter(|(_, (due, _))| *due <= now);
        due.min_by_key(|(id, (_, attempts))| (attempts.failures, **id))
            .map(|(id, _)| *id)
    }
}

/// What a failure asks for.
#[derive(Debug, Default)]
struct Failure {
    /// What the backend asked for.
    asked: Option<Duration>,
    /// A steady wait, instead of one that grows.
    wait: Option<Duration>,
    /// What the body may be guilty of.
    suspicion: Option<RefusalReason>,
}

impl Attempts {
    fn wait(&mut self, failure: &Failure) -> Duration {
        let grown = self.backoff.next(failure.asked, RETRY_AFTER_MAX);
        failure.wait.unwrap_or(grown)
    }
}

#[cfg(test)]
mod tests;
