//! What is done on disk with a body that was answered. Each of these is a task
//! of its own, so that several are recorded by one sync.

use std::sync::{Arc, Mutex, PoisonError};

use super::pack::bisect;
use super::verdict::Answer;
use crate::metrics::export::RefusalReason;
use crate::net::clock::now;
use crate::store::StoreFailed;
use crate::store::outbox::{BodyId, Outbox, Packed, PushError};
use crate::store::quarantine::{About, Quarantine, SetAsideError};

/// What came of it.
#[derive(Debug)]
pub(super) enum Settled {
    /// It is on disk.
    Done,
    /// There was no room to record it: the body is as it was before.
    NotRecorded(BodyId),
    /// The backend will never have these spans.
    GivenUp {
        answer: Answer,
        reason: RefusalReason,
        spans: u32,
        /// Whether they are in quarantine.
        is_kept: bool,
    },
}

/// A body that was refused for good.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) id: BodyId,
    pub(super) packed: Packed,
    pub(super) reason: RefusalReason,
    pub(super) answer: Answer,
}

/// The backend has it.
pub(super) async fn acknowledge(outbox: Arc<Outbox>, id: BodyId) -> Result<Settled, StoreFailed> {
    blocking(move || outbox.acknowledge(id)).await?;
    Ok(Settled::Done)
}

/// The disk may have room again.
pub(super) async fn try_disk_again(outbox: Arc<Outbox>) -> Result<Settled, StoreFailed> {
    blocking(move || outbox.try_disk_again()).await?;
    Ok(Settled::Done)
}

/// The halves of a body take its place. What has none is set aside.
///
/// Of several bodies `one_by_one` lets one be unpacked at a time: it takes memory
/// several times over.
pub(super) async fn halve(
    outbox: Arc<Outbox>,
    quarantine: Option<Arc<Quarantine>>,
    one_by_one: Arc<Mutex<()>>,
    refused: Refused,
) -> Result<Settled, StoreFailed> {
    // Megabytes are unpacked and packed here, for which others must not wait.
    blocking(move || {
        let _turn = one_by_one.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(halves) = bisect(&refused.packed) {
            match outbox.replace(refused.id, &halves) {
                Ok(()) => return Ok(Settled::Done),
                Err(PushError::Failed(failed)) => return Err(failed),
                Err(PushError::Full) => return Ok(Settled::NotRecorded(refused.id)),
                // Halves that no record holds: all of it goes the way of a single span.
                Err(PushError::TooLarge | PushError::Closed) => {}
            }
        }
        give_up(&outbox, quarantine.as_deref(), refused)
    })
    .await
}

fn give_up(
    outbox: &Outbox,
    quarantine: Option<&Quarantine>,
    refused: Refused,
) -> Result<Settled, StoreFailed> {
    let Refused {
        id,
        packed,
        reason,
        answer,
    } = refused;
    let is_kept = match quarantine {
        None => false,
        Some(quarantine) => {
            let about = About::new(now(), reason.as_str(), &answer.said, &packed);
            match quarantine.set_aside(&about, &packed) {
                Ok(()) => true,
                Err(SetAsideError::TooLarge) => false,
                Err(SetAsideError::Full) => return Ok(Settled::NotRecorded(id)),
                Err(SetAsideError::Failed(failed)) => return Err(failed),
            }
        }
    };
    outbox.acknowledge(id)?;
    Ok(Settled::GivenUp {
        answer,
        reason,
        spans: packed.spans,
        is_kept,
    })
}

/// Does what may wait for the disk where nobody else waits for it.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The program ends, and nobody waits for this any more.
            Err(_) => std::future::pending().await,
        },
    }
}
