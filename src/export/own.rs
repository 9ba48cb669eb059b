//! Our own traces, once they are encoded: they go where the spans of runs go,
//! by the same client, but once, unkept and uncounted.

use std::sync::Arc;

use super::pack::pack;
use super::sender::{ExportError, Sender};
use super::verdict::Verdict;
use super::{Compression, ExportSettings};
use crate::trace::batch::Batch;

/// Sends a body once.
#[derive(Debug, Clone)]
pub struct OwnSender {
    sender: Arc<Sender>,
    compression: Compression,
}

impl OwnSender {
    /// Reads the certificates and makes a client.
    pub fn new(settings: &ExportSettings) -> Result<Self, ExportError> {
        Ok(Self {
            sender: Arc::new(Sender::new(settings)?),
            compression: settings.compression,
        })
    }

    /// Sends an encoded `ExportTraceServiceRequest`. When the backend does not
    /// take it, what it said is told.
    pub async fn send(&self, body: Vec<u8>) -> Result<(), String> {
        let packed = pack(Batch::new(body, 0), self.compression);
        let answer = self.sender.send(&packed).await;
        match answer.verdict {
            Verdict::Taken { .. } => Ok(()),
            _ => Err(answer.said),
        }
    }
}
