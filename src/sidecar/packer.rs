//! Batches become bodies that are ready to send: compressed once, beside the
//! main loop, and put into the outbox in order. A thread of its own does that:
//! it waits for the disk, and for room in the outbox, and nothing that other
//! parts wait for can be in its way.

use std::io;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use crate::export::pack::pack;
use crate::export::{Compression, ExportTally};
use crate::limits::PACKING_BATCHES_MAX;
use crate::metrics::export::RefusalReason;
use crate::net::clock::now;
use crate::store::outbox::{Outbox, OutboxStatus, PushError};
use crate::trace::batch::Batch;

/// The way in, and the news that all of it is packed: when the way in is
/// dropped. Without such news the packer has died.
#[derive(Debug)]
pub struct Packer {
    /// Batches to be packed.
    pub batches: mpsc::Sender<Batch>,
    /// How it ended.
    pub ended: oneshot::Receiver<PackerEnd>,
    /// What the newest batch completes that is in the outbox, and on disk.
    pub durable_through: watch::Receiver<u64>,
}

/// How the packing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackerEnd {
    /// All of it is in the outbox.
    Stored,
    /// There was no room for some, and no time to wait for it: that, and what
    /// came behind it, is not in the outbox.
    GaveUp,
}

/// Starts to pack. At its end the outbox is closed.
///
/// While the outbox is full it waits, and takes no more batches: until there is
/// room, or [`Outbox::give_up_waiting`] says that there is no time left.
pub fn start(
    compression: Compression,
    outbox: Arc<Outbox>,
    tally: Arc<ExportTally>,
) -> io::Result<Packer> {
    let (batches, to_pack) = mpsc::channel(PACKING_BATCHES_MAX);
    let (end, ended) = oneshot::channel();
    let durable_through = outbox.durable_through();
    std::thread::Builder::new()
        .name("packer".to_owned())
        .spawn(move || {
            let how = run(to_pack, compression, &outbox, &tally);
            outbox.close();
            // Nobody may want to know.
            let _ = end.send(how);
        })?;
    Ok(Packer {
        batches,
        ended,
        durable_through,
    })
}

fn run(
    mut batches: mpsc::Receiver<Batch>,
    compression: Compression,
    outbox: &Outbox,
    tally: &ExportTally,
) -> PackerEnd {
    let mut overflow = Overflow::default();
    let mut end = PackerEnd::Stored;
    while let Some(batch) = batches.blocking_recv() {
        // What comes behind a batch that is not stored must not be stored either:
        // it would complete what is not complete.
        if end == PackerEnd::Stored && !store(batch, compression, outbox, tally, &mut overflow) {
            end = PackerEnd::GaveUp;
        }
    }
    end
}

/// Whether it is in the outbox in the end.
fn store(
    batch: Batch,
    compression: Compression,
    outbox: &Outbox,
    tally: &ExportTally,
    overflow: &mut Overflow,
) -> bool {
    let Batch {
        spans,
        through,
        is_last,
        ..
    } = batch;
    let packed = pack(batch, compression);
    let mut is_dropped = spans == 0;
    loop {
        let pushed = match (is_dropped, is_last) {
            (false, _) => outbox.push(&packed, through, is_last, now()),
            (true, true) => outbox.complete(through),
            (true, false) => Ok(()),
        };
        match pushed {
            Ok(()) => {
                overflow.pushed(&outbox.status());
                return true;
            }
            Err(PushError::Full) => {
                overflow.waits();
                if !outbox.wait_for_room() {
                    return false;
                }
            }
            Err(PushError::TooLarge) => {
                tracing::warn!(
                    spans,
                    bytes = packed.body.len(),
                    "a batch is larger than the outbox takes, and dropped: raise store.outbox_bytes_max, or limits.outbox_bytes_max without a store"
                );
                tally.refused(RefusalReason::TooLarge, spans);
                is_dropped = true;
            }
            // Whoever runs all of this sees it as well, and ends.
            Err(PushError::Failed(_) | PushError::Closed) => return false,
        }
    }
}

/// An outbox that is full, from the first batch that did not fit until there is
/// some room: while it is full a small batch may slip in now and then, which is
/// no news.
#[derive(Debug, Default)]
struct Overflow {
    is_told: bool,
}

impl Overflow {
    fn waits(&mut self) {
        if !self.is_told {
            self.is_told = true;
            tracing::warn!(
                "the outbox is full, since the backend does not take spans fast enough or the disk \
                 is full: what did not fit waits, and where no log can be read nothing is read \
                 until there is room"
            );
        }
    }

    fn pushed(&mut self, status: &OutboxStatus) {
        if self.is_told && status.disk_bytes <= status.limit_bytes as u64 / 4 * 3 {
            self.is_told = false;
            tracing::info!("the outbox has room again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(disk_bytes: u64) -> OutboxStatus {
        OutboxStatus {
            disk_bytes,
            limit_bytes: 100,
            ..OutboxStatus::default()
        }
    }

    #[test]
    fn an_outbox_is_full_until_there_is_some_room() {
        let mut overflow = Overflow::default();
        overflow.pushed(&holding(100));
        assert!(!overflow.is_told);
        overflow.waits();
        overflow.pushed(&holding(76));
        assert!(overflow.is_told);
        overflow.pushed(&holding(75));
        assert!(!overflow.is_told);
    }
}
