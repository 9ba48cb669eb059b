//! The outbox on files that fail, fill up and lose what was not synced.

mod model;

use std::sync::Arc;

use futures_util::FutureExt;

use super::*;
use crate::store::files::faulty::{Fault, Faulty, Operation};

pub(super) const SETTINGS: OutboxSettings = OutboxSettings {
    limit_bytes: 24 << 10,
    body_bytes_max: 400,
};

pub(super) fn packed(body: &[u8]) -> Packed {
    Packed {
        body: Bytes::copy_from_slice(body),
        compression: Compression::None,
        spans: body.len() as u32,
        plain_bytes: body.len(),
    }
}

pub(super) fn open(files: &Faulty) -> (Outbox, OutboxRecovery) {
    Outbox::open(Arc::new(files.clone()), SETTINGS).unwrap()
}

/// All bodies that are offered, in their order; afterwards all of them wait.
pub(super) fn offered(outbox: &Outbox) -> Vec<Vec<u8>> {
    let next = || {
        let id = outbox.oldest_waiting()?;
        Some(outbox.take(id).unwrap().unwrap().body.to_vec())
    };
    let offered = std::iter::from_fn(next).collect();
    outbox.give_back_all();
    offered
}

/// Pushes a body that is a group of its own.
fn push(outbox: &Outbox, body: &[u8]) -> Result<(), PushError> {
    outbox.push(&packed(body), 0, true, Time(1))
}

fn take_oldest(outbox: &Outbox) -> BodyId {
    let id = outbox.oldest_waiting().unwrap();
    outbox.take(id).unwrap();
    id
}

/// Pushes until there is no room.
fn fill(outbox: &Outbox) -> usize {
    let pushed = (0..).take_while(|n| push(outbox, &[*n as u8; 400]).is_ok());
    pushed.count()
}

#[test]
fn what_does_not_fit_is_refused_and_what_was_acknowledged_makes_room() {
    let outbox = Outbox::in_memory(SETTINGS).unwrap();
    let bodies = fill(&outbox);
    assert!(
        bodies as u64 * 400 > SETTINGS.limit_bytes / 3 * 2,
        "{bodies}"
    );
    let status = outbox.status();
    assert!(status.disk_bytes <= SETTINGS.limit_bytes);
    assert_eq!((status.batches, status.bytes), (bodies, bodies * 400));
    assert!(status.room_bytes < 500 && !status.is_full_disk);
    let first = take_oldest(&outbox);
    assert_eq!(
        push(&outbox, &[0; 400]),
        Err(PushError::Full),
        "on its way is not gone"
    );
    outbox.acknowledge(first).unwrap();
    for _ in 0..4 {
        outbox.acknowledge(take_oldest(&outbox)).unwrap();
    }
    assert_eq!(push(&outbox, &[0; 400]), Ok(()));
    assert_eq!(outbox.horizon(), 5);
}

#[test]
fn a_body_that_never_fits_is_told_from_one_that_does_not_fit_now() {
    let outbox = Outbox::in_memory(SETTINGS).unwrap();
    assert_eq!(push(&outbox, &[0; 1_200]), Err(PushError::TooLarge));
    assert_eq!(push(&outbox, &[0; 400]), Ok(()));
    let small = OutboxSettings {
        limit_bytes: 500,
        ..SETTINGS
    };
    let outbox = Outbox::in_memory(small).unwrap();
    assert_eq!(push(&outbox, &[0; 400]), Err(PushError::TooLarge));
}

#[test]
fn the_smallest_outbox_takes_one_large_body_after_the_other() {
    let limits = Limits::default();
    let settings = OutboxSettings::new(4 << 20, &limits);
    let outbox = Outbox::in_memory(settings).unwrap();
    let body = vec![7; limits.batch_bytes_max];
    for _ in 0..5 {
        assert_eq!(push(&outbox, &body), Ok(()));
        assert!(outbox.status().disk_bytes <= 4 << 20);
        outbox.acknowledge(take_oldest(&outbox)).unwrap();
        assert!(
            outbox.status().room_bytes > 3 << 20,
            "{:?}",
            outbox.status()
        );
    }
}

#[test]
fn a_body_is_offered_once_until_it_is_given_back() {
    let outbox = Outbox::in_memory(SETTINGS).unwrap();
    push(&outbox, &[1]).unwrap();
    let id = outbox.oldest_waiting().unwrap();
    assert_eq!(outbox.take(id).unwrap(), Some(packed(&[1])));
    assert_eq!(outbox.oldest_waiting(), None);
    assert!(outbox.take(id).unwrap().is_some(), "for another attempt");
    assert_eq!(outbox.oldest_waiting(), None);
    outbox.give_back(id);
    assert_eq!(outbox.oldest_waiting(), Some(id));
    outbox.claim(id);
    assert_eq!(outbox.oldest_waiting(), None);
    assert_eq!(outbox.spans_of(id), 1);
    outbox.acknowledge(id).unwrap();
    outbox.give_back(id);
    assert_eq!(outbox.oldest_waiting(), None, "it is gone");
    assert_eq!(outbox.take(id), Ok(None));
    outbox.acknowledge(id).unwrap();
}

#[test]
fn a_closed_outbox_takes_nothing_and_is_drained_when_it_is_empty() {
    let outbox = Outbox::in_memory(SETTINGS).unwrap();
    push(&outbox, &[1]).unwrap();
    assert!(!outbox.is_closed());
    outbox.close();
    assert!(outbox.is_closed() && !outbox.is_drained());
    assert_eq!(push(&outbox, &[2]), Err(PushError::Closed));
    outbox.acknowledge(take_oldest(&outbox)).unwrap();
    assert!(outbox.is_drained());
}

#[test]
fn news_are_waited_for_and_none_is_missed() {
    let outbox = Outbox::in_memory(SETTINGS).unwrap();
    let has_news = || outbox.changed().now_or_never().is_some();
    assert!(!has_news());
    push(&outbox, &[1]).unwrap();
    assert!(has_news());
    assert!(!has_news());
    outbox.close();
    assert!(has_news());
}

#[test]
fn a_group_is_offered_when_its_last_body_is_on_disk() {
    let files = Faulty::new();
    let (outbox, _) = open(&files);
    let through = outbox.durable_through();
    outbox.push(&packed(b"a"), 5, false, Time(1)).unwrap();
    outbox.push(&packed(b"b"), 5, false, Time(2)).unwrap();
    outbox.give_back_all();
    assert_eq!(outbox.oldest_waiting(), None);
    assert_eq!((outbox.status().batches, *through.borrow()), (2, 0));
    outbox.push(&packed(b"c"), 5, true, Time(3)).unwrap();
    assert_eq!(offered(&outbox), [b"a", b"b", b"c"]);
    assert_eq!(*through.borrow(), 5);
    outbox.push(&packed(b"d"), 7, false, Time(4)).unwrap();
    outbox.complete(7).unwrap();
    assert_eq!((offered(&outbox).len(), *through.borrow()), (4, 7));
    let (outbox, recovery) = open(&files.crash(1));
    assert_eq!((recovery.through, recovery.batches), (7, 4));
    assert_eq!(offered(&outbox).len(), 4);
    assert_eq!(outbox.status().oldest, Some(Time(1)));
}

#[test]
fn what_is_left_of_a_group_after_a_crash_goes_for_good() {
    let files = Faulty::new();
    let (outbox, _) = open(&files);
    outbox.push(&packed(b"a"), 5, true, Time(1)).unwrap();
    outbox.push(&packed(b"b"), 6, false, Time(2)).unwrap();
    drop(outbox);
    let (outbox, recovery) = open(&files);
    assert_eq!((recovery.through, recovery.batches), (5, 1));
    assert_eq!(recovery.batches_unfinished, 1);
    // It is made again, cut otherwise.
    outbox.push(&packed(b"c"), 6, false, Time(3)).unwrap();
    outbox.push(&packed(b"d"), 6, true, Time(3)).unwrap();
    assert_eq!(offered(&outbox), [b"a", b"c", b"d"]);
    let (outbox, recovery) = open(&files);
    assert_eq!((recovery.through, recovery.batches), (6, 3));
    assert_eq!(offered(&outbox), [b"a", b"c", b"d"]);
}

#[test]
fn a_group_that_is_not_complete_stays_together_when_it_is_copied_forward() {
    let files = Faulty::new();
    let (outbox, _) = open(&files);
    outbox.push(&packed(b"first"), 1, false, Time(1)).unwrap();
    // It fills the disk with what is settled, which no push may do meanwhile.
    for through in 0..40 {
        outbox
            .push(&packed(&[1; 400]), through, false, Time(1))
            .unwrap();
    }
    let filler: Vec<BodyId> = outbox.lock().index.all().skip(1).collect();
    for id in filler {
        outbox.acknowledge(id).unwrap();
    }
    let segment = outbox.lock().index.oldest_segment().unwrap();
    assert!(segment > 1, "it was copied forward");
    outbox.push(&packed(b"second"), 1, false, Time(1)).unwrap();
    let (_, recovery) = open(&files.crash(3));
    assert_eq!(recovery.batches, 0);
    outbox.push(&packed(b"last"), 1, true, Time(1)).unwrap();
    let (outbox, recovery) = open(&files.crash(3));
    assert_eq!(recovery.through, 1);
    assert_eq!(offered(&outbox), [&b"first"[..], b"second", b"last"]);
}

#[test]
fn how_far_it_was_outlasts_the_segments_that_told_of_it() {
    let files = Faulty::new();
    let (outbox, _) = open(&files);
    for round in 0..200 {
        outbox
            .push(&packed(&[1; 300]), 10 + round, true, Time(1))
            .unwrap();
        outbox.acknowledge(take_oldest(&outbox)).unwrap();
        let (crashed, recovery) = open(&files.crash(round));
        assert_eq!((recovery.through, recovery.batches), (10 + round, 0));
        assert_eq!(crashed.horizon(), round + 1, "numbers are not given twice");
    }
    assert!(files.bytes_used() <= SETTINGS.limit_bytes);
    // Nothing but halves and acknowledgements since.
    outbox.push(&packed(&[1; 400]), 300, true, Time(1)).unwrap();
    for _ in 0..100 {
        let id = take_oldest(&outbox);
        outbox
            .replace(id, &[packed(&[1; 399]), packed(b"x")])
            .unwrap();
        outbox
            .replace(id, &[packed(&[1; 390]), packed(b"y")])
            .unwrap();
        while let Some(id) = outbox.oldest_waiting() {
            outbox.acknowledge(id).unwrap();
        }
        outbox.push(&packed(&[1; 400]), 0, true, Time(1)).unwrap();
    }
    assert_eq!(open(&files.crash(1)).1.through, 300);
}

#[test]
fn halves_are_in_the_place_of_the_whole_after_a_restart() {
    let files = Faulty::new();
    let (outbox, _) = open(&files);
    for body in [b"abcd", b"efgh"] {
        outbox.push(&packed(body), 1, true, Time(9)).unwrap();
    }
    let id = take_oldest(&outbox);
    outbox.replace(id, &[packed(b"ab"), packed(b"cd")]).unwrap();
    let files = files.crash(2);
    let (outbox, _) = open(&files);
    assert_eq!(offered(&outbox), [&b"ab"[..], b"cd", b"efgh"]);
    let first = take_oldest(&outbox);
    let second = take_oldest(&outbox);
    outbox
        .replace(second, &[packed(b"c"), packed(b"d")])
        .unwrap();
    outbox.acknowledge(first).unwrap();
    let (outbox, recovery) = open(&files.crash(2));
    assert_eq!(recovery.batches, 3);
    assert_eq!(offered(&outbox), [&b"c"[..], b"d", b"efgh"]);
    assert_eq!(
        (outbox.horizon(), outbox.status().oldest),
        (0, Some(Time(9)))
    );
}

#[test]
fn a_body_that_rests_at_the_front_does_not_hold_back_the_rest() {
    let files = Faulty::new();
    let (outbox, _) = open(&files);
    push(&outbox, b"resting").unwrap();
    let resting = take_oldest(&outbox);
    for round in 0..300 {
        assert_eq!(push(&outbox, &[round as u8; 400]), Ok(()), "{round}");
        outbox.acknowledge(take_oldest(&outbox)).unwrap();
        assert!(files.bytes_used() <= SETTINGS.limit_bytes);
        assert_eq!(files.bytes_used(), outbox.status().disk_bytes);
    }
    assert_eq!(outbox.take(resting).unwrap(), Some(packed(b"resting")));
    assert_eq!(outbox.horizon(), 0);
    let (outbox, _) = open(&files.crash(4));
    assert_eq!(offered(&outbox), [b"resting"]);
}

#[test]
fn many_bodies_that_rest_at_the_front_are_copied_in_one_go() {
    let files = Faulty::new();
    let (outbox, _) = open(&files);
    let bodies = fill(&outbox);
    let ids: Vec<BodyId> = (0..bodies).map(|_| take_oldest(&outbox)).collect();
    // All but ten are settled at once.
    outbox.lock().settling.extend(&ids[10..bodies - 1]);
    outbox.acknowledge(ids[bodies - 1]).unwrap();
    let status = outbox.status();
    assert_eq!(status.batches, 10);
    let garbage = status.disk_bytes - status.bytes as u64;
    assert!(garbage < SETTINGS.limit_bytes / 2 + 1_000, "{status:?}");
    assert_eq!(offered(&open(&files.crash(1)).0).len(), 10);
}

#[test]
fn halves_leave_room_to_copy_what_rests_at_the_front() {
    let outbox = Outbox::in_memory(SETTINGS).unwrap();
    fill(&outbox);
    let halve = |id| outbox.replace(id, &[packed(&[1; 200]), packed(&[2; 200])]);
    while halve(take_oldest(&outbox)).is_ok() {}
    let status = outbox.status();
    assert!(status.disk_bytes > outbox.bounds.push, "{status:?}");
    assert!(status.disk_bytes <= outbox.bounds.replace, "{status:?}");
    assert!(outbox.bounds.replace < SETTINGS.limit_bytes);
}

#[test]
fn what_alone_tells_how_far_it_was_is_not_deleted() {
    let files = Faulty::new();
    let arc: Arc<dyn Files> = Arc::new(files.clone());
    let bounds = Bounds::new(SETTINGS).log;
    let (mut log, _) = super::super::log::Log::open(arc, "outbox", bounds).unwrap();
    let mark = Mark {
        through: 9,
        next_number: 4,
        completes: None,
    };
    log.append(&record::mark(mark)).unwrap();
    // A segment whose own mark was lost.
    log.roll().unwrap();
    log.append(&record::settled(&[])).unwrap();
    log.commit().unwrap();
    drop(log);
    let (outbox, _) = open(&files);
    outbox.reclaim(&mut outbox.lock_writer()).unwrap();
    let (outbox, recovery) = open(&files);
    assert_eq!((recovery.through, outbox.horizon()), (9, 4));
}

#[test]
fn several_acknowledgements_that_wait_take_one_sync() {
    let files = Faulty::new();
    let (outbox, _) = open(&files);
    let ids: Vec<BodyId> = (0..3)
        .map(|n| {
            push(&outbox, &[n]).unwrap();
            take_oldest(&outbox)
        })
        .collect();
    let before = files.done(Operation::SyncData);
    std::thread::scope(|scope| {
        let writer = outbox.lock_writer();
        for id in &ids {
            scope.spawn(|| outbox.acknowledge(*id).unwrap());
        }
        while outbox.lock().settling.len() < ids.len() {
            std::thread::yield_now();
        }
        assert_eq!(outbox.status().batches, 3, "who looks does not wait");
        drop(writer);
    });
    assert_eq!(files.done(Operation::SyncData), before + 1);
    assert_eq!(open(&files.crash(1)).1.batches, 0);
}

#[test]
fn a_full_disk_refuses_pushes_and_keeps_acknowledgements_in_memory() {
    let files = Faulty::new();
    let (outbox, _) = open(&files);
    for n in 0..10 {
        push(&outbox, &[n; 300]).unwrap();
    }
    files.bound(files.bytes_used() + 5);
    assert_eq!(push(&outbox, &[10; 300]), Err(PushError::Full));
    let status = outbox.status();
    assert!(status.is_full_disk && status.room_bytes == 0);
    outbox.acknowledge(take_oldest(&outbox)).unwrap();
    outbox.try_disk_again().unwrap();
    assert!(outbox.status().is_full_disk, "nothing was freed yet");
    assert_eq!(outbox.status().batches, 9);
    assert_eq!(open(&files.crash(1)).1.batches, 10, "it is not recorded");
    let halves = [packed(&[0; 150]), packed(&[0; 150])];
    let id = take_oldest(&outbox);
    assert_eq!(outbox.replace(id, &halves), Err(PushError::Full));
    outbox.give_back(id);
    assert_eq!(offered(&outbox).len(), 9, "all is as it was");

    // Once a segment is settled it is deleted, and then there is room.
    for _ in 0..6 {
        outbox.acknowledge(take_oldest(&outbox)).unwrap();
    }
    outbox.try_disk_again().unwrap();
    assert!(!outbox.status().is_full_disk);
    assert_eq!(push(&outbox, &[11; 100]), Ok(()));
    let (crashed, recovery) = open(&files.crash(1));
    assert_eq!(recovery.batches, 4);
    assert_eq!(offered(&crashed)[3], [11; 100]);
}

#[test]
fn what_was_deleted_needs_no_record_and_to_delete_takes_no_room() {
    let files = Faulty::new();
    let (outbox, _) = open(&files);
    for n in 0..10 {
        push(&outbox, &[n; 300]).unwrap();
    }
    let before = files.bytes_used();
    files.bound(0);
    for _ in 0..10 {
        outbox.acknowledge(take_oldest(&outbox)).unwrap();
    }
    assert!(outbox.status().is_full_disk && files.bytes_used() < before / 2);
    let unrecorded = outbox.lock().unrecorded.len();
    assert!((1..5).contains(&unrecorded), "{unrecorded}");
    assert_eq!(open(&files.crash(1)).1.batches, unrecorded);
}

#[test]
fn a_disk_with_room_again_is_noticed_without_a_push() {
    let files = Faulty::new();
    let (outbox, _) = open(&files);
    push(&outbox, &[1; 300]).unwrap();
    let _ = outbox.changed().now_or_never();
    files.bound(0);
    assert_eq!(push(&outbox, &[2; 300]), Err(PushError::Full));
    assert!(
        outbox.changed().now_or_never().is_some(),
        "who sends is told"
    );
    outbox.acknowledge(take_oldest(&outbox)).unwrap();
    outbox.try_disk_again().unwrap();
    assert!(outbox.status().is_full_disk);
    files.heal();
    outbox.try_disk_again().unwrap();
    assert!(!outbox.status().is_full_disk && outbox.status().room_bytes > 0);
    assert_eq!(open(&files.crash(1)).1.batches, 0, "it is recorded now");
}

#[test]
fn who_waits_for_room_goes_on_when_there_is_some_and_when_told_to_give_up() {
    let outbox = Outbox::in_memory(SETTINGS).unwrap();
    fill(&outbox);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            while push(&outbox, &[9; 400]) == Err(PushError::Full) {
                assert!(outbox.wait_for_room());
            }
        });
        while outbox.status().room_bytes > 0 {
            std::thread::yield_now();
        }
        while !waiting.is_finished() {
            if let Some(id) = outbox.oldest_waiting() {
                outbox.acknowledge(id).unwrap();
            }
        }
        assert!(
            outbox.status().room_bytes > 0,
            "nobody waits with something that did not fit"
        );
        let waiting = scope.spawn(|| while outbox.wait_for_room() {});
        outbox.give_up_waiting();
        waiting.join().unwrap();
    });
}

#[test]
fn a_sync_that_fails_is_the_end_and_everybody_is_told() {
    let files = Faulty::new();
    let (outbox, _) = open(&files);
    push(&outbox, b"before").unwrap();
    assert!(outbox.failed().now_or_never().is_none());
    files.fail(Operation::SyncData, 1, Fault::Fail { kept: 0 });
    let Err(PushError::Failed(failed)) = push(&outbox, b"lost") else {
        panic!("it cannot be relied on");
    };
    assert!(failed.to_string().contains("store.dir"), "{failed}");
    assert_eq!(outbox.failed().now_or_never(), Some(failed));
    assert!(matches!(push(&outbox, b"more"), Err(PushError::Failed(_))));
    assert!(outbox.acknowledge(take_oldest(&outbox)).is_err());
    assert!(!outbox.wait_for_room());
    let (outbox, recovery) = open(&files.crash(1));
    assert!(recovery.batches >= 1);
    assert_eq!(offered(&outbox)[0], b"before");
}

#[test]
fn a_body_that_is_damaged_is_told_and_the_others_are_sent() {
    let files = Faulty::new();
    let (outbox, _) = open(&files);
    for body in [[1; 50], [2; 50], [3; 50]] {
        push(&outbox, &body).unwrap();
    }
    let name = files.list().unwrap().remove(0);
    let mut bytes = files.content(&name);
    let at = bytes.windows(50).position(|part| part == [2; 50]).unwrap();
    bytes[at + 7] ^= 1;
    files.put(&name, bytes);
    take_oldest(&outbox);
    let damaged = outbox.oldest_waiting().unwrap();
    assert!(matches!(outbox.take(damaged), Err(TakeError::Damaged(_))));
    outbox.acknowledge(damaged).unwrap();
    assert_eq!(offered(&outbox), [[3; 50]]);
    let (outbox, recovery) = open(&files);
    assert_eq!(recovery.records_damaged, 1);
    assert_eq!(offered(&outbox), [[1; 50], [3; 50]]);
}

#[test]
fn a_read_that_fails_condemns_nothing() {
    let files = Faulty::new();
    let (outbox, _) = open(&files);
    push(&outbox, b"a").unwrap();
    let id = outbox.oldest_waiting().unwrap();
    files.fail(Operation::Read, 1, Fault::Fail { kept: 0 });
    assert!(matches!(outbox.take(id), Err(TakeError::Failed(_))));
    assert_eq!(offered(&open(&files).0), [b"a"]);
}
