//! Batches become bodies that are ready to send: compressed once, beside the
//! main loop, and put into the outbox in order.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::export::pack::pack;
use crate::export::{Compression, ExportTally};
use crate::net::clock::now;
use crate::store::outbox::{Outbox, OutboxStatus};
use crate::trace::batch::Batch;

/// Packs until no batch will come any more.
pub(super) async fn run(
    mut batches: mpsc::Receiver<Batch>,
    compression: Compression,
    outbox: Arc<Outbox>,
    tally: Arc<ExportTally>,
) {
    let mut overflow = Overflow::default();
    while let Some(batch) = batches.recv().await {
        let spans = batch.spans;
        let packing = tokio::task::spawn_blocking(move || pack(batch, compression));
        // A packing that panics would be a fault of ours; its spans are counted as lost.
        let pushed = match packing.await {
            Ok(packed) => outbox.push(packed, now()).is_ok(),
            Err(_) => false,
        };
        if pushed {
            overflow.pushed(&outbox.status());
        } else {
            tally.drop_full(spans);
            overflow.dropped(spans);
        }
    }
    outbox.close();
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
