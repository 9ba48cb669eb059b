//! `runtrail resend`: what was refused for good goes once more, the oldest first
//! and one at a time.

use std::fmt;

use super::advice;
use super::sender::{ExportError, Sender};
use super::verdict::{Answer, Verdict};
use super::{ExportSettings, RETRY_AFTER_MAX};
use crate::net::backoff::Backoff;
use crate::store::log::LogError;
use crate::store::outbox::Packed;
use crate::store::quarantine::{Quarantine, SetAsideError};

/// So often is a body sent to a backend that is busy or away.
const ATTEMPTS_MAX: u32 = 5;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resent {
    /// Bodies that the backend has now.
    pub taken: u64,
    /// Spans in them.
    pub spans_taken: u64,
    /// Spans in them that it left out.
    pub spans_rejected: u64,
    /// Bodies that it does not have.
    pub left: u64,
    /// Why not, in a sentence: of those that it refused the last.
    pub why: Option<String>,
}

/// Why nothing more can be sent.
#[derive(Debug, thiserror::Error)]
pub enum ResendError {
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] ExportError),
    /// The quarantine cannot be read.
    #[error(transparent)]
    Read(#[from] LogError),
    /// What was taken cannot be removed from it.
    #[error("what the backend has taken cannot be removed from the quarantine: {0}")]
    Remove(#[from] SetAsideError),
}

/// Sends all of it. What is refused again stays; when the backend is not there,
/// or refuses us, all that was not sent yet stays as well.
pub async fn resend(
    settings: &ExportSettings,
    quarantine: &Quarantine,
) -> Result<Resent, ResendError> {
    let sender = Sender::new(settings)?;
    let mut resent = Resent::default();
    for body in quarantine.bodies() {
        let body = body?;
        let answer = send(&sender, settings, &body.packed).await;
        match answer.verdict {
            Verdict::Taken { rejected } if rejected < u64::from(body.packed.spans.max(1)) => {
                quarantine.remove(&body)?;
                resent.taken += 1;
                resent.spans_taken += u64::from(body.packed.spans) - rejected;
                resent.spans_rejected += rejected;
            }
            // These are about the body, and the next may fare better.
            Verdict::Taken { .. }
            | Verdict::RefusedData(_)
            | Verdict::TimedOut
            | Verdict::Failed => {
                resent.why = Some(why(settings, &answer));
            }
            Verdict::RefusedRoute | Verdict::Retry { .. } => {
                resent.why = Some(why(settings, &answer));
                break;
            }
        }
    }
    resent.left = quarantine.status().batches;
    Ok(resent)
}

/// What is said of a request that was taken without its spans stands alone.
fn why(settings: &ExportSettings, answer: &Answer) -> String {
    match answer.verdict {
        Verdict::Taken { .. } => format!("the backend left the spans out: {:?}", answer.said),
        _ => advice::sentence(settings, answer),
    }
}

/// Sends a body until it is answered, within reason.
async fn send(sender: &Sender, settings: &ExportSettings, packed: &Packed) -> Answer {
    let mut backoff = Backoff::new(settings.backoff, fastrand::u64(..));
    let mut attempt = 1;
    loop {
        let answer = sender.send(packed).await;
        let asked = match answer.verdict {
            Verdict::Retry { after } => after,
            Verdict::TimedOut | Verdict::Failed => None,
            _ => return answer,
        };
        if attempt == ATTEMPTS_MAX {
            return answer;
        }
        attempt += 1;
        tokio::time::sleep(backoff.next(asked, RETRY_AFTER_MAX)).await;
    }
}

impl fmt::Display for Resent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            taken,
            spans_taken,
            spans_rejected,
            left,
            ..
        } = self;
        write!(
            f,
            "batches taken: {taken}, with spans: {spans_taken}; batches left: {left}"
        )?;
        match spans_rejected {
            0 => Ok(()),
            rejected => write!(f, "; spans that the backend left out: {rejected}"),
        }
    }
}
