//! Batches become bodies that are ready to send: compressed once, beside the
//! main loop, and put into the outbox in order. A thread of its own does that:
//! nothing that other parts wait for can be in its way.

use std::io;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::export::pack::pack;
use crate::export::{Compression, ExportTally};
use crate::limits::PACKING_BATCHES_MAX;
use crate::net::clock::now;
use crate::store::outbox::{Outbox, OutboxStatus};
use crate::trace::batch::Batch;

/// The way in, and the news that all of it is packed: when the way in is
/// dropped. Without such news the packer has died.
#[derive(Debug)]
pub struct Packer {
    /// Batches to be packed.
    pub batches: mpsc::Sender<Batch>,
    /// Whether the last of them is in the outbox.
    pub ended: oneshot::Receiver<()>,
}

/// Starts to pack. At its end the outbox is closed.
pub fn start(
    compression: Compression,
    outbox: Arc<Outbox>,
    tally: Arc<ExportTally>,
) -> io::Result<Packer> {
    let (batches, to_pack) = mpsc::channel(PACKING_BATCHES_MAX);
    let (end, ended) = oneshot::channel();
    std::thread::Builder::new()
        .name("packer".to_owned())
        .spawn(move || {
            run(to_pack, compression, &outbox, &tally);
            outbox.close();
            // Nobody may want to know.
            let _ = end.send(());
        })?;
    Ok(Packer { batches, ended })
}

fn run(
    mut batches: mpsc::Receiver<Batch>,
    compression: Compression,
    outbox: &Outbox,
    tally: &ExportTally,
) {
    let mut overflow = Overflow::default();
    while let Some(batch) = batches.blocking_recv() {
        let spans = batch.spans;
        let packed = pack(batch, compression);
        // As it was before: one large body may fill more than half of a small outbox.
        let status = outbox.status();
        match outbox.push(packed, now()) {
            Ok(()) => overflow.pushed(&status),
            Err(_) => {
                tally.drop_full(spans);
                overflow.dropped(spans);
            }
        }
    }
}

/// An outbox that is full, from the first batch that did not fit until half of it
/// is free: while it is full a small batch may slip in now and then, which is no news.
#[derive(Debug, Default)]
struct Overflow {
    spans: Option<u64>,
}

impl Overflow {
    fn dropped(&mut self, spans: u32) {
        if self.spans.is_none() {
            tracing::warn!(
                "the outbox is full, since the backend does not take spans fast enough: spans are \
                 dropped and counted; metrics and summaries go on"
            );
        }
        *self.spans.get_or_insert_default() += u64::from(spans);
    }

    fn pushed(&mut self, status: &OutboxStatus) {
        if status.bytes > status.limit_bytes / 2 {
            return;
        }
        if let Some(spans_dropped) = self.spans.take() {
            tracing::info!(spans_dropped, "the outbox has room again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(bytes: usize) -> OutboxStatus {
        OutboxStatus {
            bytes,
            limit_bytes: 100,
            ..OutboxStatus::default()
        }
    }

    #[test]
    fn an_outbox_is_full_until_half_of_it_is_free() {
        let mut overflow = Overflow::default();
        overflow.pushed(&holding(100));
        assert_eq!(overflow.spans, None);
        overflow.dropped(3);
        overflow.pushed(&holding(51));
        overflow.dropped(4);
        assert_eq!(overflow.spans, Some(7));
        overflow.pushed(&holding(50));
        assert_eq!(overflow.spans, None);
    }
}
