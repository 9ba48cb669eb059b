//! What makes the main loop's state outlive the process: inputs are in the
//! journal before anything that came of them is given away, and now and then all
//! of the state is in a checkpoint, which stands for the inputs before it.
//!
//! A checkpoint counts once all spans that were made before it are stored. When
//! the disk is full, nothing is written until a checkpoint can be: the program
//! goes on, and what it learns meanwhile has to be asked for again after a crash.

use std::time::Duration;

use tokio::time::Instant;

use super::keeper::{Entries, Keeper, Written};
use super::pacing::Pacing;
use super::recover::{COUNTED, PLACE, Place};
use crate::core::{Core, Part};
use crate::metrics::Metrics;
use crate::store::StoreFailed;
use crate::wire::time::Time;

/// How long a full disk is left alone before it is tried again.
const REST: Duration = Duration::from_secs(5);

/// The state of the journal and the checkpoint.
#[derive(Debug)]
pub struct Safety {
    keeper: Keeper,
    pacing: Pacing,
    journal_limit_bytes: u64,
    journal_bytes: u64,
    /// The number of the journal's last record.
    record: u64,
    /// Whether there is anything that the last checkpoint does not hold.
    is_behind: bool,
    last_success: Option<Time>,
    pending: Option<Pending>,
    /// Since when the disk is full, or was tried again.
    suspended: Option<Instant>,
}

/// A checkpoint that is written and does not count yet.
#[derive(Debug, Clone, Copy)]
struct Pending {
    /// All spans up to here have to be stored first.
    through: u64,
    /// The last record of the journal that it stands for.
    record: u64,
}

impl Safety {
    /// Nothing has been written yet.
    pub const fn new(keeper: Keeper, pacing: Pacing, journal_limit_bytes: u64) -> Self {
        Self {
            keeper,
            pacing,
            journal_limit_bytes,
            journal_bytes: 0,
            record: 0,
            // What was recovered is worth one at once.
            is_behind: true,
            last_success: None,
            pending: None,
            suspended: None,
        }
    }

    /// The way to the disk.
    pub fn keeper(&self) -> Keeper {
        self.keeper.clone()
    }

    /// Bytes of the journal, and how many it takes.
    pub const fn journal_bytes(&self) -> (u64, u64) {
        (self.journal_bytes, self.journal_limit_bytes)
    }

    /// When a checkpoint last came to count.
    pub const fn last_success(&self) -> Option<Time> {
        self.last_success
    }

    /// Whether the disk takes nothing more.
    pub const fn is_suspended(&self) -> bool {
        self.suspended.is_some()
    }

    /// Entries were written, or were not.
    pub fn appended(&mut self, written: Written, core: &mut Core) -> Result<(), StoreFailed> {
        core.clear_entries();
        self.is_behind = true;
        match self.took(written)? {
            true => {}
            false => self.suspend(core),
        }
        Ok(())
    }

    /// Whether a checkpoint is to be begun.
    pub fn is_due(&self, now: Instant) -> bool {
        match self.suspended {
            Some(since) => now.duration_since(since) >= REST,
            None => {
                let is_large = self.journal_bytes > self.journal_limit_bytes / 2;
                let is_due = is_large || self.pacing.is_time(now);
                self.pending.is_none() && self.is_behind && is_due
            }
        }
    }

    /// Whether no more is to be read until a checkpoint counts: there would be no
    /// room left to write it down. What is not written down needs none.
    pub const fn is_crowded(&self) -> bool {
        let writes = self.suspended.is_none() || self.pending.is_some();
        writes && self.journal_bytes > self.journal_limit_bytes / 8 * 7
    }

    /// Writes a checkpoint of what the core and the metrics hold now, while there
    /// is nothing left in the core that it has to say. All spans up to `through`
    /// have been given away.
    pub async fn save(
        &mut self,
        core: &mut Core,
        metrics: &Metrics,
        through: u64,
    ) -> Result<(), StoreFailed> {
        let begun = Instant::now();
        self.pending = None;
        let keeper = self.keeper();
        keeper.begin().await;
        let record = self.record;
        // Writing what we hold into memory does not fail.
        let own = [
            (PLACE, postcard::to_stdvec(&Place { record })),
            (COUNTED, postcard::to_stdvec(&metrics.snapshot())),
        ];
        for (tag, bytes) in own {
            let bytes = bytes.unwrap_or_default();
            keeper.part(Part { tag, bytes }).await;
        }
        for part in core.save() {
            keeper.part(part).await;
        }
        let written = keeper.prepare().await;
        self.pacing.wrote(begun, Instant::now());
        if self.took(written)? {
            self.pending = Some(Pending { through, record });
            self.is_behind = false;
        } else {
            self.suspend(core);
        }
        Ok(())
    }

    /// Lets the checkpoint count, if all that it needs is stored.
    pub async fn install(
        &mut self,
        durable_through: u64,
        core: &mut Core,
        now: Time,
    ) -> Result<(), StoreFailed> {
        let Some(pending) = self.pending.filter(|it| it.through <= durable_through) else {
            // On a full disk there is no journal that would hold what comes meanwhile.
            if self.suspended.is_some() && self.pending.take().is_some() {
                self.suspended = Some(Instant::now());
            }
            return Ok(());
        };
        self.pending = None;
        let begun = Instant::now();
        let written = self.keeper.install(pending.record).await;
        self.pacing.worked(begun, Instant::now());
        if !self.took(written)? {
            self.suspend(core);
            return Ok(());
        }
        self.last_success = Some(now);
        if self.suspended.take().is_some() {
            core.record(true);
            tracing::info!("the disk takes data again: nothing is left unwritten");
        }
        Ok(())
    }

    /// Gathers what the core was told since the last time.
    pub fn entries(core: &Core) -> Entries {
        core.entries().collect()
    }

    fn suspend(&mut self, core: &mut Core) {
        core.record(false);
        if self.suspended.replace(Instant::now()).is_none() {
            tracing::error!(
                "the disk below store.dir is full: metrics and summaries go on, spans are made from the server's log once there is room, and until then a crash costs what was counted meanwhile"
            );
        }
    }

    /// Whether it was written.
    fn took(&mut self, written: Written) -> Result<bool, StoreFailed> {
        match written {
            Written::Safe {
                record,
                journal_bytes,
            } => {
                self.record = record;
                self.journal_bytes = journal_bytes;
                Ok(true)
            }
            Written::NoRoom => Ok(false),
            Written::Failed(failed) => Err(failed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Journal, JournalSettings, StoreDir};

    const LIMIT_BYTES: u64 = 1 << 20;

    #[test]
    fn a_journal_that_is_half_full_does_not_wait_for_the_rest_after_a_checkpoint() {
        let files = StoreDir::memory();
        let settings = JournalSettings {
            limit_bytes: LIMIT_BYTES,
            record_bytes_max: 1 << 10,
        };
        let (journal, _) = Journal::open(files.clone(), settings).unwrap();
        let keeper = Keeper::start(files, journal).unwrap();
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut safety = Safety::new(keeper, Pacing::new(second, 10, now), LIMIT_BYTES);
        safety.pacing.wrote(now, now + second);
        let due = |safety: &Safety| [2, 11].map(|n| safety.is_due(now + n * second));
        safety.journal_bytes = LIMIT_BYTES / 2;
        assert_eq!(due(&safety), [false, true]);
        safety.journal_bytes += 1;
        assert_eq!(due(&safety), [true, true]);
        safety.is_behind = false;
        assert_eq!(due(&safety), [false, false], "there is nothing to write");
    }
}
