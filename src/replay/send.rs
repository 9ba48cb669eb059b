//! `runtrail replay --otlp`: what becomes of a recording goes to a backend.

use std::io::Read;

use super::{Recording, ReplayError};
use crate::core::CoreSettings;
use crate::export::ExportSettings;
use crate::export::delivery::Delivery;
use crate::metrics::export::ExportCounts;

/// Reads the recording to its end, sends what becomes of it, and tells what the
/// backend made of that. Waits for a backend that is away for as long as it takes.
pub async fn send(
    settings: CoreSettings,
    export: ExportSettings,
    recording: impl Read,
) -> Result<ExportCounts, ReplayError> {
    let mut delivery = Delivery::start(export, &settings.limits)?;
    let mut recording = Recording::new(settings, recording)?;
    loop {
        let more = recording.step()?;
        while let Some(batch) = recording.core.poll_batch() {
            delivery.push(batch).await?;
        }
        while recording.core.poll_summary().is_some() {}
        recording.core.deltas().clear();
        if !more {
            return Ok(delivery.end().await?);
        }
    }
}
