//! What the log says: which bodies there are, and how far the outbox was.

use std::sync::Arc;

use super::OutboxRecovery;
use super::index::{Entry, Index};
use super::record::{self, Record};
use super::room::Bounds;
use super::writer::{Told, Writer};
use crate::store::files::Files;
use crate::store::log::{self, Log, LogError};

/// The name of the log.
const NAME: &str = "outbox";

/// Opens the log and reads it from its beginning to its end.
pub(super) fn recover(
    files: Arc<dyn Files>,
    bounds: &Bounds,
) -> Result<(Writer, Index, OutboxRecovery), LogError> {
    let (log, found) = Log::open(files, NAME, bounds.log)?;
    let mut reading = Reading::default();
    for record in log.scan(log.first_number()) {
        reading.read(&record?);
    }
    let Reading {
        mut index,
        told,
        mut unfinished,
        unknown,
    } = reading;
    unfinished += index.drop_unfinished();
    let recovery = OutboxRecovery {
        through: index.through,
        batches: index.len(),
        batches_unfinished: unfinished,
        records_damaged: found.corrupt + unknown,
    };
    Ok((Writer::new(log, told), index, recovery))
}

#[derive(Debug, Default)]
struct Reading {
    index: Index,
    told: Option<Told>,
    unfinished: usize,
    unknown: u64,
}

impl Reading {
    fn read(&mut self, found: &log::Record) {
        let place = found.place;
        match record::read(&found.bytes) {
            Some(Record::Body(head, bytes)) => {
                // A crash came before the last body of the group that was before.
                if self.index.unfinished_group() != Some(head.group) {
                    self.unfinished += self.index.drop_unfinished();
                }
                let entry = Entry::new(&head, place, bytes.start);
                self.index.add(head.id, entry, head.group);
                if head.is_last {
                    self.index.complete(head.through);
                    self.tells(found);
                }
            }
            Some(Record::Moved(head, bytes)) => {
                self.index
                    .put(head.id, Entry::new(&head, place, bytes.start));
            }
            Some(Record::Replaced(id, halves)) => {
                let halves =
                    halves.map(|(head, bytes)| (head.id, Entry::new(&head, place, bytes.start)));
                self.index.replace(id, halves);
            }
            Some(Record::Settled(ids)) => {
                for id in ids {
                    self.index.remove(id);
                }
            }
            Some(Record::Mark(mark)) => {
                if mark.completes.is_some() && mark.completes == self.index.unfinished_group() {
                    self.index.complete(mark.through);
                }
                self.index.through = self.index.through.max(mark.through);
                self.index.next_number = self.index.next_number.max(mark.next_number);
                self.tells(found);
            }
            None => self.unknown += 1,
        }
    }

    fn tells(&mut self, found: &log::Record) {
        self.told = Some(Told {
            record: found.number,
            segment: found.place.segment,
        });
    }
}
