//! The task that sends: it does what the plan says, and tells the outbox what
//! became of each body.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::ExportSettings;
use super::plan::{Fate, Next, Plan, PlanSettings};
use super::report::Report;
use super::sender::{ExportError, Sender};
use super::settle::{self, Settled};
use super::tally::ExportTally;
use super::verdict::{Answer, Verdict};
use crate::metrics::export::RefusalReason;
use crate::net::clock::now;
use crate::net::steady::SteadyClock;
use crate::store::outbox::{BodyId, Packed, TakeError};
use crate::store::{Outbox, Quarantine, StoreFailed};
use crate::wire::time::Time;

/// Everything that is needed to send, found to be sound.
#[derive(Debug)]
pub struct Exporter {
    settings: ExportSettings,
    sender: Arc<Sender>,
}

/// A disk that is full is tried again after this.
const DISK_WAIT: Duration = Duration::from_secs(5);

impl Exporter {
    /// Reads the certificates and makes the client.
    pub fn new(settings: ExportSettings) -> Result<Self, ExportError> {
        let sender = Arc::new(Sender::new(&settings)?);
        Ok(Self { settings, sender })
    }

    /// Sends what is in the outbox until it is closed and drained, or the store
    /// fails. Whoever calls sets the time that this may take: what is dropped on
    /// the way stays in the outbox, to be sent by another call.
    ///
    /// What is refused for good is set aside, if there is where.
    pub async fn run(
        self,
        outbox: Arc<Outbox>,
        quarantine: Option<Arc<Quarantine>>,
        tally: Arc<ExportTally>,
    ) -> Result<(), StoreFailed> {
        outbox.give_back_all();
        let mut work = Work {
            plan: Plan::new(PlanSettings::from(&self.settings), fastrand::u64(..)),
            in_flight_max: self.settings.in_flight_max.max(1),
            report: Report::new(self.settings),
            sender: self.sender,
            flights: JoinSet::new(),
            settling: JoinSet::new(),
            halving: Arc::default(),
            disk_due: None,
            clock: SteadyClock::start(),
            outbox,
            quarantine,
            tally,
        };
        let mut is_closing = false;
        // What became of the last ones is counted and told as well.
        while !(work.outbox.is_drained() && work.settling.is_empty()) {
            if !is_closing && work.outbox.is_closed() {
                is_closing = true;
                work.plan.hurry(work.clock.now());
            }
            work.step().await?;
        }
        Ok(())
    }
}

struct Work {
    plan: Plan,
    in_flight_max: usize,
    sender: Arc<Sender>,
    flights: JoinSet<Flight>,
    /// Bodies that were answered, of which that is not on disk yet. Until it is
    /// they count as on their way: so no more than those are ever sent twice.
    settling: JoinSet<Result<Settled, StoreFailed>>,
    /// Held by whoever halves a body.
    halving: Arc<Mutex<()>>,
    /// When a full disk is tried again.
    disk_due: Option<Time>,
    outbox: Arc<Outbox>,
    quarantine: Option<Arc<Quarantine>>,
    tally: Arc<ExportTally>,
    report: Report,
    clock: SteadyClock,
}

/// A request that has come to its end, or that did not begin.
struct Flight {
    id: BodyId,
    end: Result<(Packed, Answer), TakeError>,
}

impl Work {
    /// Sends all that may be sent, and waits for what happens next.
    async fn step(&mut self) -> Result<(), StoreFailed> {
        let disk_due = self.try_disk();
        let until = loop {
            if self.flights.len() + self.settling.len() >= self.in_flight_max {
                break None;
            }
            match self
                .plan
                .next(self.outbox.oldest_waiting(), self.clock.now())
            {
                Next::Send(id) => self.send(id),
                Next::Wait(until) => break until,
            }
        };
        let until = until.into_iter().chain(disk_due).min();
        tokio::select! {
            failed = self.outbox.failed() => return Err(failed),
            Some(settled) = self.settling.join_next() => {
                if let Some(settled) = joined(settled) {
                    self.settled(settled?);
                }
            }
            Some(flight) = self.flights.join_next() => {
                if let Some(flight) = joined(flight) {
                    self.landed(flight)?;
                }
            }
            () = self.outbox.changed() => {}
            () = self.clock.wait_for(until) => {}
        }
        Ok(())
    }

    /// While the disk is full, somebody has to find out when it is not any more.
    fn try_disk(&mut self) -> Option<Time> {
        if !self.outbox.status().is_full_disk {
            self.disk_due = None;
            return None;
        }
        let now = self.clock.now();
        if self.disk_due.is_some_and(|due| due <= now) {
            self.disk_due = None;
            self.settling
                .spawn(settle::try_disk_again(Arc::clone(&self.outbox)));
        }
        let due = *self.disk_due.get_or_insert_with(|| now.plus(DISK_WAIT));
        Some(due)
    }

    fn send(&mut self, id: BodyId) {
        self.outbox.claim(id);
        let sender = Arc::clone(&self.sender);
        let outbox = Arc::clone(&self.outbox);
        self.flights.spawn(async move {
            // Reading may have to wait for the disk.
            let taken = settle::blocking(move || outbox.take(id)).await;
            let end = match taken {
                Ok(Some(packed)) => {
                    let answer = send_in_span(&sender, &packed).await;
                    Ok((packed, answer))
                }
                // Nobody else removes bodies, so it is there.
                Ok(None) => Err(TakeError::Damaged("it is not there".into())),
                Err(error) => Err(error),
            };
            Flight { id, end }
        });
    }

    fn landed(&mut self, flight: Flight) -> Result<(), StoreFailed> {
        let Flight { id, end } = flight;
        let (packed, answer) = match end {
            Ok(end) => end,
            Err(TakeError::Failed(failed)) => return Err(failed),
            Err(error @ TakeError::Damaged(_)) => {
                self.damaged(id, &error);
                return Ok(());
            }
        };
        let now = self.clock.now();
        let fate = self.plan.answered(id, &answer.verdict, now);
        self.tally.request(answer.result());
        let is_paused = self.plan.is_paused();
        self.report.answered(&answer, packed.spans, is_paused, now);
        let outbox = Arc::clone(&self.outbox);
        match fate {
            Fate::Taken => {
                self.count_taken(&answer, packed.spans);
                self.settling.spawn(settle::acknowledge(outbox, id));
            }
            Fate::Refused(reason) => {
                let quarantine = self.quarantine.clone();
                let halving = Arc::clone(&self.halving);
                let refused = settle::Refused {
                    id,
                    packed,
                    reason,
                    answer,
                };
                self.settling
                    .spawn(settle::halve(outbox, quarantine, halving, refused));
            }
            Fate::Kept => {}
            Fate::GivenBack => self.outbox.give_back(id),
        }
        Ok(())
    }

    /// What came of an answer is on disk.
    fn settled(&mut self, settled: Settled) {
        let now = self.clock.now();
        match settled {
            Settled::Done => {}
            Settled::NotRecorded(id) => self.plan.rest(id, now),
            Settled::GivenUp {
                answer,
                reason,
                spans,
                is_kept,
            } => {
                self.tally.refused(reason, spans);
                self.report.refused(&answer, reason, spans, is_kept, now);
            }
        }
    }

    /// It was good when it was written: the disk has lost it.
    fn damaged(&mut self, id: BodyId, error: &TakeError) {
        self.plan.forget(id);
        let spans = self.outbox.spans_of(id);
        tracing::error!(spans, "spans are lost: {error}");
        self.tally.refused(RefusalReason::Damaged, spans);
        let outbox = Arc::clone(&self.outbox);
        self.settling.spawn(settle::acknowledge(outbox, id));
    }

    fn count_taken(&self, answer: &Answer, spans: u32) {
        let rejected = match answer.verdict {
            Verdict::Taken { rejected } => u32::try_from(rejected).unwrap_or(u32::MAX).min(spans),
            _ => 0,
        };
        self.tally.exported(spans - rejected, now());
        self.tally.refused(RefusalReason::PartialSuccess, rejected);
    }
}

/// What a task gave. None that was told to end gives anything.
fn joined<T>(ended: Result<T, JoinError>) -> Option<T> {
    match ended {
        Ok(value) => Some(value),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => None,
        },
    }
}

async fn send_in_span(sender: &Sender, packed: &Packed) -> Answer {
    let span = own_span(packed);
    let answer = sender.send(packed).instrument(span.clone()).await;
    span.record("result", answer.result().as_str());
    if !matches!(answer.verdict, Verdict::Taken { .. }) {
        span.record("otel.status_code", "ERROR");
    }
    answer
}

/// A request in our own traces: what it carries is counted, never told. Numbers
/// are signed, since others become texts there.
fn own_span(packed: &Packed) -> Span {
    tracing::info_span!(
        parent: None,
        "send spans",
        otel.kind = "client",
        otel.status_code = Empty,
        spans = i64::from(packed.spans),
        bytes = packed.body.len() as i64,
        result = Empty,
    )
}
