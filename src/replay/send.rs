//! `runtrail replay --otlp`: what becomes of a recording goes to a backend.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use super::{Recording, ReplayError};
use crate::core::CoreSettings;
use crate::export::pack::pack;
use crate::export::{ExportSettings, ExportTally, Exporter};
use crate::metrics::export::ExportCounts;
use crate::net::clock::now;
use crate::store::outbox::{Outbox, OutboxSettings, PushError};

/// How long to wait for room in the outbox before looking again.
const ROOM_WAIT: Duration = Duration::from_millis(20);

/// Reads the recording to its end, sends what becomes of it, and tells what the
/// backend made of that. Waits for a backend that is away for as long as it takes.
pub async fn send(
    settings: CoreSettings,
    export: ExportSettings,
    recording: impl Read,
) -> Result<ExportCounts, ReplayError> {
    let compression = export.compression;
    let exporter = Exporter::new(export)?;
    let limits = &settings.limits;
    let bounds = OutboxSettings::new(limits.outbox_bytes_max as u64, limits);
    let outbox = Outbox::in_memory(bounds).map_err(|_| ReplayError::Sending)?;
    let outbox = Arc::new(outbox);
    let tally = Arc::new(ExportTally::default());
    let mut recording = Recording::new(settings, recording)?;
    let mut sending = tokio::spawn(exporter.run(Arc::clone(&outbox), None, Arc::clone(&tally)));
    loop {
        let more = recording.step()?;
        while let Some(batch) = recording.core.poll_batch() {
            let packed = pack(batch, compression);
            // Nobody loses by waiting here: the recording does not run away.
            while let Err(refused) = outbox.push(&packed, 0, true, now()) {
                if refused == PushError::TooLarge {
                    return Err(ReplayError::TooLarge);
                }
                tokio::select! {
                    () = tokio::time::sleep(ROOM_WAIT) => {}
                    _ = &mut sending => return Err(ReplayError::Sending),
                }
            }
        }
        while recording.core.poll_summary().is_some() {}
        recording.core.deltas().clear();
        if !more {
            break;
        }
    }
    outbox.close();
    // It ends once the backend has everything, or never will.
    match sending.await {
        Ok(Ok(())) => Ok(tally.counts()),
        _ => Err(ReplayError::Sending),
    }
}
