//! From what an earlier life left in the store to a core and metrics that go on
//! from there.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::start::StartError;
use crate::config::Config;
use crate::core::{Core, Part, RestoreError};
use crate::metrics::catalogue::CatalogueError;
use crate::metrics::snapshot::MetricsSnapshot;
use crate::metrics::{self, Metrics};
use crate::store::files::Files;
use crate::store::outbox::Outbox;
use crate::store::{CheckpointError, Journal, JournalSettings, LogError, read_checkpoint};
use crate::trace::batch::Batch;
use crate::wire::dialect::Dialect;
use crate::wire::time::Time;

/// The part of a checkpoint that says where the journal goes on.
pub(super) const PLACE: u16 = 100;
/// The part that holds what was counted.
pub(super) const COUNTED: u16 = 101;

/// Where in the journal a checkpoint stands.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Place {
    /// The last record that it stands for.
    pub(super) record: u64,
}

/// What an entry may take beyond the frame or answer that it was made of.
const ENTRY_EXTRA_BYTES: usize = 1 << 20;

/// A core and what goes with it, as they were.
pub(super) struct Recovered {
    pub(super) core: Core,
    pub(super) metrics: Metrics,
    pub(super) journal: Option<Journal>,
    /// What the last batch that went to the packer completes.
    pub(super) given_through: u64,
    /// Entries of the journal, and records that were damaged.
    pub(super) entries: u64,
    pub(super) damaged: u64,
}

/// What an earlier life left cannot be gone on from.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The journal or the outbox.
    #[error("the store cannot be read: {0}")]
    Log(#[from] LogError),
    /// What is in them.
    #[error(
        "{0}: give each runtrail a store.dir of its own, or go on with the version that wrote it"
    )]
    Core(#[from] RestoreError),
}

/// A core and metrics that begin, or go on from what is in the store. Spans that
/// were made and not stored are made again, and go to the packer. Blocks.
pub(super) fn recover(
    config: &Config,
    files: Option<Arc<dyn Files>>,
    through: u64,
    export: Option<(&mpsc::Sender<Batch>, &Outbox)>,
    now: Time,
) -> Result<Recovered, StartError> {
    let settings = config.core_settings();
    let Some(files) = files else {
        let mut core = Core::new(settings.clone())?;
        core.resume(&settings, false, now);
        return Ok(Recovered {
            core,
            metrics: new_metrics(config, now)?,
            journal: None,
            given_through: 0,
            entries: 0,
            damaged: 0,
        });
    };
    let (mut core, mut metrics, place) = restore(config, &*files, now)?;
    core.discard_through(through);
    let limits = &config.limits;
    let journal_settings = JournalSettings {
        limit_bytes: config.store.journal_bytes_max as u64,
        record_bytes_max: limits.frame_bytes_max.max(limits.answer_bytes_max) + ENTRY_EXTRA_BYTES,
    };
    let (mut journal, found) =
        Journal::open(files, journal_settings).map_err(RecoverError::from)?;
    journal
        .begin_after(place.record)
        .map_err(RecoverError::from)?;
    journal.trim(place.record).map_err(RecoverError::from)?;
    let types = core.event_types();
    let mut given_through = 0;
    let (mut entries, mut damaged) = (0, found.corrupt + found.broken_segments);
    for record in journal.replay(place.record + 1) {
        let record = record.map_err(RecoverError::from)?;
        match core.replay(&record.bytes) {
            Ok(taken) => entries += u64::from(taken),
            Err(_) => damaged += 1,
        }
        metrics.apply(core.deltas(), types, now);
        core.deltas().clear();
        while core.poll_wish().is_some() {}
        if let Some((packer, outbox)) = export {
            while may_send(packer, outbox)
                && let Some(batch) = core.poll_batch()
            {
                given_through = given_through.max(batch.given_through());
                // The packer ends only after those that fill it.
                let _ = packer.blocking_send(batch);
            }
        } else {
            while core.poll_batch().is_some() {}
        }
    }
    // What was stored beyond the last entry was made of inputs that are lost.
    core.begin_after(through);
    core.discard_through(0);
    core.resume(&settings, true, now);
    Ok(Recovered {
        core,
        metrics,
        journal: Some(journal),
        given_through,
        entries,
        damaged,
    })
}

/// Whether the packer takes a batch soon. While the outbox is full it may take
/// none for hours: what is made then stays in the core, which withholds what it can.
fn may_send(packer: &mpsc::Sender<Batch>, outbox: &Outbox) -> bool {
    while packer.capacity() == 0 {
        if outbox.status().room_bytes == 0 {
            return false;
        }
        std::thread::sleep(PACKER_WAIT);
    }
    true
}

/// How long a packer that is at work is left to it.
const PACKER_WAIT: Duration = Duration::from_millis(2);

/// What the checkpoint holds.
fn restore(
    config: &Config,
    files: &dyn Files,
    now: Time,
) -> Result<(Core, Metrics, Place), StartError> {
    let settings = config.core_settings();
    let Some(checkpoint) = read_checkpoint(files).map_err(RecoverError::from)? else {
        return Ok((
            Core::new(settings)?,
            new_metrics(config, now)?,
            Place::default(),
        ));
    };
    let (mut place, mut counted) = (Place::default(), MetricsSnapshot::default());
    let mut parts = Vec::new();
    for section in checkpoint {
        let section = section.map_err(RecoverError::from)?;
        let damaged = |why| RecoverError::from(CheckpointError::Damaged { why });
        match section.tag {
            PLACE => {
                place = postcard::from_bytes(&section.bytes).map_err(|_| damaged("its place"))?;
            }
            COUNTED => {
                counted =
                    postcard::from_bytes(&section.bytes).map_err(|_| damaged("its counts"))?;
            }
            tag => parts.push(Part {
                tag,
                bytes: section.bytes,
            }),
        }
    }
    let core = Core::restore(settings, parts).map_err(RecoverError::from)?;
    let open = core
        .run_slots()
        .map(|(slot, run)| (slot, Arc::clone(&run.meta), run.standing()));
    let settings = metrics::Settings::new(&config.limits, Dialect::SYSTEMS);
    let (mut metrics, missing) = Metrics::restore(&settings, &counted, open, now)?;
    for missing in missing {
        tracing::warn!("{missing}");
    }
    metrics.set_build_info(env!("CARGO_PKG_VERSION"), now);
    Ok((core, metrics, place))
}

fn new_metrics(config: &Config, now: Time) -> Result<Metrics, CatalogueError> {
    let settings = metrics::Settings::new(&config.limits, Dialect::SYSTEMS);
    Metrics::of_this_build(&settings, now)
}
