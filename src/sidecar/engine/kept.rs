//! How the main loop keeps what it was told, and what it has come to.

use std::collections::VecDeque;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Amount, Engine};
use crate::admin::Ask;
use crate::limits::ASKS_MAX;
use crate::net::clock::now;
use crate::sidecar::safety::Safety;
use crate::store::StoreFailed;

/// Waits for this. The disk may take its time, and others want to know that we
/// live.
async fn alive_during<T>(
    asks: &mut mpsc::Receiver<Ask>,
    done: impl Future<Output = T>,
    mut hear: impl FnMut(Ask),
) -> T {
    tokio::pin!(done);
    loop {
        tokio::select! {
            done = &mut done => break done,
            Some(ask) = asks.recv() => hear(ask),
        }
    }
}

/// Questions about what is just being written down: they wait until it is.
#[derive(Debug, Default)]
struct PutOff {
    asks: VecDeque<Ask>,
}

impl PutOff {
    fn hear(&mut self, ask: Ask) {
        match ask {
            // Whoever no longer waits for the answer does not get it.
            Ask::Alive(reply) => drop(reply.send(())),
            Ask::Runs(..) | Ask::Run(..) => {
                if self.asks.len() >= ASKS_MAX {
                    self.asks.pop_front();
                }
                self.asks.push_back(ask);
            }
        }
    }
}

impl Engine {
    /// What the core was told is in the journal when this returns.
    pub(super) async fn keep(&mut self, asks: &mut mpsc::Receiver<Ask>) -> Result<(), StoreFailed> {
        let Some(safety) = &self.parts.safety else {
            self.parts.core.clear_entries();
            return Ok(());
        };
        let entries = Safety::entries(&self.parts.core);
        if entries.is_empty() {
            return Ok(());
        }
        let keeper = safety.keeper();
        let append = async move { keeper.append(entries).await };
        let written = alive_during(asks, append, |ask| self.answer(ask)).await;
        let parts = &mut self.parts;
        match &mut parts.safety {
            Some(safety) => safety.appended(written, &mut parts.core),
            None => Ok(()),
        }
    }

    /// Writes a checkpoint when there is one to be written, and lets one count
    /// when it may.
    pub(super) async fn checkpoint(
        &mut self,
        asks: &mut mpsc::Receiver<Ask>,
    ) -> Result<(), StoreFailed> {
        let mut put_off = PutOff::default();
        let safety = self.parts.safety.as_ref();
        let is_due = safety.is_some_and(|safety| safety.is_due(Instant::now()));
        if is_due && self.room_to_pack().is_none() {
            self.parts.core.handle_drain();
            self.give_out(Amount::AsFits).await;
            let parts = &mut self.parts;
            // What is still to be packed would be missing from it: next time.
            if let Some(safety) = &mut parts.safety
                && parts.core.batches() == 0
            {
                let through = self.given_through;
                let saved = safety.save(&mut parts.core, &parts.metrics, through);
                alive_during(asks, saved, |ask| put_off.hear(ask)).await?;
            }
        }
        let durable = self.durable_through();
        let parts = &mut self.parts;
        if let Some(safety) = &mut parts.safety {
            let installed = safety.install(durable, &mut parts.core, now());
            alive_during(asks, installed, |ask| put_off.hear(ask)).await?;
        }
        for ask in put_off.asks {
            self.answer(ask);
        }
        Ok(())
    }

    /// Gives the last batches away, whose packer may have to wait for the disk.
    pub(super) async fn give_all(&mut self, asks: &mut mpsc::Receiver<Ask>) {
        let mut put_off = PutOff::default();
        let given = self.give_out(Amount::All);
        alive_during(asks, given, |ask| put_off.hear(ask)).await;
        for ask in put_off.asks {
            self.answer(ask);
        }
    }

    /// The last checkpoint, if all that it needs is stored: it saves the next
    /// start the reading of the journal. Questions about runs come too late.
    pub(super) async fn save_last(
        &mut self,
        asks: &mut mpsc::Receiver<Ask>,
    ) -> Result<(), StoreFailed> {
        let mut put_off = PutOff::default();
        alive_during(asks, self.write_last(), |ask| put_off.hear(ask)).await
    }

    async fn write_last(&mut self) -> Result<(), StoreFailed> {
        let durable = self.durable_through();
        let parts = &mut self.parts;
        let Some(safety) = &mut parts.safety else {
            return Ok(());
        };
        if durable < self.given_through {
            return Ok(());
        }
        let entries = Safety::entries(&parts.core);
        if !entries.is_empty() {
            let written = safety.keeper().append(entries).await;
            safety.appended(written, &mut parts.core)?;
        }
        let through = self.given_through;
        safety
            .save(&mut parts.core, &parts.metrics, through)
            .await?;
        safety.install(durable, &mut parts.core, now()).await
    }

    /// What of the order of inputs is complete on disk.
    fn durable_through(&self) -> u64 {
        match &self.parts.export {
            Some(export) => *export.durable_through.borrow(),
            None => u64::MAX,
        }
    }

    pub(super) fn is_crowded(&self) -> bool {
        self.parts.safety.as_ref().is_some_and(Safety::is_crowded)
    }
}
