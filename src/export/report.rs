//! What the exporter logs: when sending comes to rest and when it goes on, and
//! what is lost. An outage of an hour is a few lines, not one for each attempt.
//! No line holds a header, or anything of a span.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cause::Cause;
use super::verdict::{Answer, Verdict};
use super::{ExportSettings, advice};
use crate::metrics::export::RefusalReason;
use crate::wire::time::Time;

/// What was said is not said again for so long.
const SILENCE: Duration = Duration::from_secs(600);

/// Says what happens, and remembers what it said.
#[derive(Debug)]
pub(super) struct Report {
    settings: ExportSettings,
    /// Why everything rests, and whether anybody was told.
    rest: Option<(Cause, bool)>,
    /// There are as many topics as there are causes and reasons.
    told: BTreeMap<Topic, Time>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    Rest(Cause),
    Refused(RefusalReason),
    Rejected,
    Warning,
}

impl Report {
    pub(super) const fn new(settings: ExportSettings) -> Self {
        Self {
            settings,
            rest: None,
            told: BTreeMap::new(),
        }
    }

    /// A request was answered, or was not, and everything rests now or does not.
    pub(super) fn answered(&mut self, answer: &Answer, spans: u32, is_paused: bool, now: Time) {
        let result = answer.result().as_str();
        tracing::debug!(result, spans, "a request to the trace backend ended");
        match (is_paused, answer.verdict) {
            (false, _) => self.goes_on(),
            (true, Verdict::Taken { .. } | Verdict::RefusedData(_)) => {}
            (true, _) => self.rests(answer, now),
        }
        if let Verdict::Taken { rejected } = answer.verdict {
            self.taken(rejected, &answer.said, now);
        }
    }

    /// The backend will never take these spans; they are set aside, or lost.
    pub(super) fn refused(
        &mut self,
        answer: &Answer,
        reason: RefusalReason,
        spans: u32,
        is_kept: bool,
        now: Time,
    ) {
        if self.is_news(Topic::Refused(reason), now) {
            let sentence = advice::sentence(&self.settings, answer);
            let reason = reason.as_str();
            let fate = match is_kept {
                true => "set aside (runtrail check lists them, runtrail resend sends them again)",
                false => "dropped",
            };
            tracing::warn!(
                reason,
                spans,
                "spans are refused for good, and {fate}: {sentence}"
            );
        }
    }

    fn rests(&mut self, answer: &Answer, now: Time) {
        if self.rest.is_some_and(|(cause, _)| cause == answer.cause) {
            return;
        }
        let is_news = self.is_news(Topic::Rest(answer.cause), now);
        if is_news {
            let sentence = advice::sentence(&self.settings, answer);
            tracing::warn!("spans wait for the trace backend: {sentence}");
        }
        let was_told = self.rest.is_some_and(|(_, told)| told);
        self.rest = Some((answer.cause, is_news || was_told));
    }

    fn goes_on(&mut self) {
        if let Some((_, true)) = self.rest.take() {
            tracing::info!("the trace backend takes spans again");
        }
    }

    fn taken(&mut self, rejected: u64, said: &str, now: Time) {
        if rejected > 0 && self.is_news(Topic::Rejected, now) {
            tracing::warn!(rejected, "the trace backend takes not all spans: {said:?}");
        } else if rejected == 0 && !said.is_empty() && self.is_news(Topic::Warning, now) {
            tracing::warn!("the trace backend takes spans with a warning: {said:?}");
        }
    }

    fn is_news(&mut self, topic: Topic, now: Time) -> bool {
        let last = self.told.get(&topic);
        let is_news = last.is_none_or(|last| now.since(*last) >= SILENCE);
        if is_news {
            self.told.insert(topic, now);
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::export::testkit::settings;

    const START: Time = Time(1_000_000_000_000);
    const SPAN: u32 = 1;

    fn answer(verdict: Verdict, cause: Cause) -> Answer {
        Answer {
            verdict,
            cause,
            said: String::new(),
        }
    }

    fn refused(status: u16) -> Answer {
        answer(Verdict::RefusedRoute, Cause::Status(status))
    }

    fn taken() -> Answer {
        answer(Verdict::Taken { rejected: 0 }, Cause::Status(200))
    }

    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines that people see, cut to their first word and what is to be in them.
    fn lines(work: impl FnOnce(&mut Report)) -> Vec<String> {
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let writer = Arc::clone(&written);
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || Written(Arc::clone(&writer)))
            .with_max_level(tracing::Level::INFO)
            .with_ansi(false)
            .with_target(false)
            .without_time()
            .finish();
        let mut report = Report::new(settings("http://otlp.test/v1/traces"));
        tracing::subscriber::with_default(subscriber, || work(&mut report));
        let written = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        written.lines().map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn a_pause_is_told_once_and_again_when_its_reason_changes() {
        let lines = lines(|report| {
            let mut now = START;
            for status in [401, 401, 404, 404] {
                report.answered(&refused(status), SPAN, true, now);
                now = now.plus(Duration::from_secs(3_600));
            }
            report.answered(&taken(), SPAN, true, now);
            report.answered(&taken(), SPAN, false, now);
            report.answered(&taken(), SPAN, false, now);
        });
        assert_eq!(lines.len(), 3, "{lines:#?}");
        assert!(lines[0].starts_with("WARN") && lines[0].contains("401"));
        assert!(lines[1].starts_with("WARN") && lines[1].contains("404"));
        assert!(lines[2].starts_with("INFO") && lines[2].contains("takes spans again"));
    }

    #[test]
    fn a_backend_that_comes_and_goes_is_told_of_now_and_then() {
        let lines = lines(|report| {
            for second in 0..SILENCE.as_secs() + 1 {
                let now = START.plus(Duration::from_secs(second));
                report.answered(&refused(503), SPAN, true, now);
                report.answered(&taken(), SPAN, false, now);
            }
        });
        assert_eq!(lines.len(), 4, "{lines:#?}");
    }

    #[test]
    fn while_others_pass_a_failure_is_no_news() {
        let lines = lines(|report| report.answered(&refused(503), SPAN, false, START));
        assert_eq!(lines, [""; 0]);
    }

    #[test]
    fn refusals_are_told_by_reason_now_and_then() {
        let lines = lines(|report| {
            let invalid = answer(
                Verdict::RefusedData(RefusalReason::Invalid),
                Cause::Status(400),
            );
            for seconds in [0, 1, SILENCE.as_secs() - 1, SILENCE.as_secs()] {
                let now = START.plus(Duration::from_secs(seconds));
                report.refused(&invalid, RefusalReason::Invalid, SPAN, true, now);
            }
            report.refused(&invalid, RefusalReason::TooLarge, SPAN, false, START);
        });
        assert_eq!(lines.len(), 3, "{lines:#?}");
    }
}
