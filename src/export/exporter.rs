//! The task that sends: it does what the plan says, and tells the outbox what
//! became of each body.

use std::sync::Arc;

use tokio::task::{JoinError, JoinSet};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::ExportSettings;
use super::clock::Clock;
use super::pack::bisect;
use super::plan::{Fate, Next, Plan, PlanSettings};
use super::report::Report;
use super::sender::{ExportError, Sender};
use super::tally::ExportTally;
use super::verdict::{Answer, Verdict};
use crate::metrics::export::RefusalReason;
use crate::net::clock::now;
use crate::store::Outbox;
use crate::store::outbox::{BodyId, Packed};

/// Everything that is needed to send, found to be sound.
#[derive(Debug)]
pub struct Exporter {
    settings: ExportSettings,
    sender: Arc<Sender>,
}

impl Exporter {
    /// Reads the certificates and makes the client.
    pub fn new(settings: ExportSettings) -> Result<Self, ExportError> {
        let sender = Arc::new(Sender::new(&settings)?);
        Ok(Self { settings, sender })
    }

    /// Sends what is in the outbox until it is closed and drained. Whoever calls
    /// sets the time that this may take: what is dropped on the way stays in the
    /// outbox, to be sent by another call.
    pub async fn run(self, outbox: Arc<Outbox>, tally: Arc<ExportTally>) {
        outbox.give_back_all();
        let mut work = Work {
            plan: Plan::new(PlanSettings::from(&self.settings), fastrand::u64(..)),
            report: Report::new(self.settings),
            sender: self.sender,
            flights: JoinSet::new(),
            clock: Clock::start(),
            outbox,
            tally,
        };
        let mut is_closing = false;
        while !work.outbox.is_drained() {
            if !is_closing && work.outbox.is_closed() {
                is_closing = true;
                work.plan.hurry(work.clock.now());
            }
            work.step().await;
        }
    }
}

struct Work {
    plan: Plan,
    sender: Arc<Sender>,
    flights: JoinSet<Flight>,
    outbox: Arc<Outbox>,
    tally: Arc<ExportTally>,
    report: Report,
    clock: Clock,
}

/// A request that has come to its end.
struct Flight {
    id: BodyId,
    packed: Packed,
    answer: Answer,
}

impl Work {
    /// Sends all that may be sent, and waits for what happens next.
    async fn step(&mut self) {
        let until = loop {
            match self
                .plan
                .next(self.outbox.oldest_waiting(), self.clock.now())
            {
                Next::Send(id) => self.send(id),
                Next::Wait(until) => break until,
            }
        };
        tokio::select! {
            Some(flight) = self.flights.join_next() => self.settle(flight).await,
            () = self.outbox.changed() => {}
            () = self.clock.wait_for(until) => {}
        }
    }

    fn send(&mut self, id: BodyId) {
        // Nobody else removes bodies, so it is there.
        let Some(packed) = self.outbox.take(id) else {
            return;
        };
        let sender = Arc::clone(&self.sender);
        let span = own_span(&packed);
        let flight = async move {
            let answer = sender.send(&packed).await;
            let span = Span::current();
            span.record("result", answer.result().as_str());
            if !matches!(answer.verdict, Verdict::Taken { .. }) {
                span.record("otel.status_code", "ERROR");
            }
            Flight { id, packed, answer }
        };
        self.flights.spawn(flight.instrument(span));
    }

    async fn settle(&mut self, flight: Result<Flight, JoinError>) {
        let Flight { id, packed, answer } = match flight {
            Ok(flight) => flight,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => return,
            },
        };
        let now = self.clock.now();
        let fate = self.plan.answered(id, &answer.verdict, now);
        self.tally.request(answer.result());
        let is_paused = self.plan.is_paused();
        self.report.answered(&answer, packed.spans, is_paused, now);
        match fate {
            Fate::Taken => {
                self.count_taken(&answer, packed.spans);
                self.outbox.acknowledge(id);
            }
            Fate::Refused(reason) => self.halve(id, packed, reason, &answer).await,
            Fate::Kept => {}
            Fate::GivenBack => self.outbox.give_back(id),
        }
    }

    fn count_taken(&self, answer: &Answer, spans: u32) {
        let rejected = match answer.verdict {
            Verdict::Taken { rejected } => u32::try_from(rejected).unwrap_or(u32::MAX).min(spans),
            _ => 0,
        };
        self.tally.exported(spans - rejected, now());
        self.tally.refused(RefusalReason::PartialSuccess, rejected);
    }

    /// The halves of a body take its place. What has none is lost.
    async fn halve(&mut self, id: BodyId, packed: Packed, reason: RefusalReason, answer: &Answer) {
        let spans = packed.spans;
        // Megabytes are unpacked and packed here, for which others must not wait.
        let halves = tokio::task::spawn_blocking(move || bisect(&packed)).await;
        if let Some(halves) = halves.ok().flatten() {
            self.outbox.replace(id, halves);
            return;
        }
        self.tally.refused(reason, spans);
        self.report.dropped(answer, reason, spans, self.clock.now());
        self.outbox.acknowledge(id);
    }
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
