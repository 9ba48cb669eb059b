//! Spans that do not run away, such as those of a recording: they are sent as
//! fast as the backend takes them, through an outbox in memory.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::pack::pack;
use super::{Compression, ExportError, ExportSettings, ExportTally, Exporter};
use crate::limits::Limits;
use crate::metrics::export::ExportCounts;
use crate::net::clock::now;
use crate::store::StoreFailed;
use crate::store::outbox::{Outbox, OutboxSettings, PushError};
use crate::trace::batch::Batch;

/// How long to wait for room in the outbox before looking again.
const ROOM_WAIT: Duration = Duration::from_millis(20);

/// Spans on their way to a backend.
#[derive(Debug)]
pub struct Delivery {
    compression: Compression,
    outbox: Arc<Outbox>,
    tally: Arc<ExportTally>,
    sending: JoinHandle<Result<(), StoreFailed>>,
}

/// Not everything is delivered.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The export cannot be set up.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// What sends has ended by itself.
    #[error("the sending of spans ended unexpectedly: this is a fault of runtrail")]
    Sending,
    /// A batch that will never fit.
    #[error("a batch of spans is larger than the outbox takes: raise limits.outbox_bytes_max")]
    TooLarge,
}

impl Delivery {
    /// Begins to send. To be called within a runtime.
    pub fn start(export: ExportSettings, limits: &Limits) -> Result<Self, DeliveryError> {
        let compression = export.compression;
        let exporter = Exporter::new(export)?;
        let bounds = OutboxSettings::new(limits.outbox_bytes_max as u64, limits);
        let outbox = Outbox::in_memory(bounds).map_err(|_| DeliveryError::Sending)?;
        let outbox = Arc::new(outbox);
        let tally = Arc::new(ExportTally::default());
        let sending = exporter.run(Arc::clone(&outbox), None, Arc::clone(&tally));
        Ok(Self {
            compression,
            outbox,
            tally,
            sending: tokio::spawn(sending),
        })
    }

    /// Hands on a batch, once there is room for it. Nobody loses by waiting.
    pub async fn push(&mut self, batch: Batch) -> Result<(), DeliveryError> {
        let packed = pack(batch, self.compression);
        while let Err(refused) = self.outbox.push(&packed, 0, true, now()) {
            if refused == PushError::TooLarge {
                return Err(DeliveryError::TooLarge);
            }
            tokio::select! {
                () = tokio::time::sleep(ROOM_WAIT) => {}
                _ = &mut self.sending => return Err(DeliveryError::Sending),
            }
        }
        Ok(())
    }

    /// Waits until the backend has everything, or never will, and tells what it
    /// made of it. Waits for a backend that is away for as long as it takes.
    pub async fn end(self) -> Result<ExportCounts, DeliveryError> {
        self.outbox.close();
        match self.sending.await {
            Ok(Ok(())) => Ok(self.tally.counts()),
            _ => Err(DeliveryError::Sending),
        }
    }
}
