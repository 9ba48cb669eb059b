//! What the log promises, rule by rule.

mod damage;
mod model;

use super::frame::{Frame, Header, VERSION};
use super::*;
use crate::store::files::Memory;
use crate::store::files::faulty::{Fault, Faulty, Operation};

fn settings() -> LogSettings {
    LogSettings {
        segment_bytes: 200,
        record_bytes_max: 100,
    }
}

fn open(files: &Memory) -> (Log, Recovery) {
    Log::open(Arc::new(files.clone()), "test", settings()).unwrap()
}

type Records = Vec<(u64, Vec<u8>)>;

fn records(log: &Log, from: u64) -> Records {
    let records = log.scan(from).map(Result::unwrap);
    records
        .map(|record| (record.number, record.bytes))
        .collect()
}

#[test]
fn what_was_committed_is_there_after_reopening() {
    let files = Memory::new();
    let (mut log, recovery) = open(&files);
    assert_eq!(
        recovery,
        Recovery {
            next_number: 1,
            ..Recovery::default()
        }
    );
    for number in 1..=20 {
        assert_eq!(log.append(&[number; 50]).unwrap(), u64::from(number));
        if number % 3 == 0 {
            log.commit().unwrap();
        }
    }
    assert_eq!(log.committed(), 18);
    let all: Vec<_> = (1..=18).map(|n| (n, vec![n as u8; 50])).collect();
    assert_eq!(records(&log, 0), all);
    let bytes = log.disk_bytes();
    drop(log);
    let (log, recovery) = open(&files);
    assert_eq!(log.next_number(), 19);
    assert_eq!(log.disk_bytes(), bytes);
    assert_eq!(recovery.records, 18);
    assert_eq!(records(&log, 0), all);
    assert_eq!(records(&log, 7), all[6..]);
}

#[test]
fn a_scan_begins_at_the_number_that_is_asked_for() {
    let files = Memory::new();
    let (mut log, _) = open(&files);
    for number in 1..=9 {
        log.append(&[number; 50]).unwrap();
    }
    log.commit().unwrap();
    for from in 0..=10_u64 {
        let found: Vec<_> = records(&log, from)
            .iter()
            .map(|(number, _)| *number)
            .collect();
        assert_eq!(found, (from.max(1)..=9).collect::<Vec<_>>());
    }
}

#[test]
fn one_commit_is_one_write_and_one_sync_and_a_new_segment_two() {
    let files = Faulty::new();
    let (mut log, _) = Log::open(Arc::new(files.clone()), "test", settings()).unwrap();
    let opened = files.done(Operation::SyncDir);
    log.append(&[1; 10]).unwrap();
    log.commit().unwrap();
    let done = || {
        let [append, sync_data] = [Operation::Append, Operation::SyncData].map(|o| files.done(o));
        [append, sync_data, files.done(Operation::SyncDir) - opened]
    };
    assert_eq!(done(), [1, 1, 1]);
    for _ in 0..3 {
        log.append(&[2; 10]).unwrap();
    }
    log.commit().unwrap();
    assert_eq!(done(), [2, 2, 1]);
    log.append(&[3; 100]).unwrap();
    log.commit().unwrap();
    assert_eq!(done(), [3, 3, 2]);
    log.commit().unwrap();
    assert_eq!(done(), [3, 3, 2], "nothing to do");
}

#[test]
fn a_record_of_the_largest_size_is_taken_and_a_larger_one_refused() {
    let files = Memory::new();
    let settings = LogSettings {
        segment_bytes: 10,
        record_bytes_max: 100,
    };
    let (mut log, _) = Log::open(Arc::new(files), "test", settings).unwrap();
    log.append(&[1; 100]).unwrap();
    let error = log.append(&[2; 101]).unwrap_err();
    assert!(matches!(
        error,
        LogError::TooLarge {
            bytes: 101,
            bytes_max: 100
        }
    ));
    assert_eq!(log.append(&[3; 100]).unwrap(), 2);
    log.commit().unwrap();
    let all = [(1, vec![1; 100]), (2, vec![3; 100])];
    assert_eq!(records(&log, 0), all);
    assert_eq!(log.segments.len(), 2);
}

#[test]
fn records_of_an_earlier_larger_bound_can_still_be_read() {
    let files = Memory::new();
    let (mut log, _) = open(&files);
    log.append(&[1; 100]).unwrap();
    log.commit().unwrap();
    let settings = LogSettings {
        segment_bytes: 10,
        record_bytes_max: 10,
    };
    let (mut log, _) = Log::open(Arc::new(files), "test", settings).unwrap();
    log.append(&[2; 10]).unwrap();
    log.commit().unwrap();
    assert_eq!(records(&log, 0), [(1, vec![1; 100]), (2, vec![2; 10])]);
}

#[test]
fn what_was_discarded_leaves_its_numbers_and_nothing_else() {
    let files = Memory::new();
    let (mut log, _) = open(&files);
    assert_eq!(log.append(&[1; 90]).unwrap(), 1);
    assert_eq!(log.append(&[1; 90]).unwrap(), 2);
    log.discard();
    assert_eq!(log.append(&[2; 9]).unwrap(), 1);
    log.commit().unwrap();
    assert_eq!(records(&log, 0), [(1, vec![2; 9])]);
    assert_eq!(log.committed(), 1);
}

#[test]
fn whole_segments_are_deleted_and_never_the_newest() {
    let files = Memory::new();
    let (mut log, _) = open(&files);
    for number in 1..=6 {
        log.append(&[number; 50]).unwrap();
    }
    log.commit().unwrap();
    let firsts = |log: &Log| log.segments.iter().map(|s| s.first).collect::<Vec<_>>();
    assert_eq!(firsts(&log), [1, 3, 5]);
    assert_eq!(log.delete_before(2).unwrap(), 0);
    assert_eq!(log.delete_before(3).unwrap(), 56 + 2 * 66);
    assert_eq!(firsts(&log), [3, 5]);
    assert_eq!(log.first_number(), 3);
    log.delete_before(100).unwrap();
    assert_eq!(firsts(&log), [5]);
    let (log, _) = open(&files);
    assert_eq!(log.next_number(), 7);
    assert_eq!(records(&log, 0).len(), 2);
}

#[test]
fn after_a_roll_all_records_can_be_deleted_and_numbers_go_on() {
    let files = Memory::new();
    let (mut log, _) = open(&files);
    log.append(b"one").unwrap();
    log.roll().unwrap();
    assert_eq!(log.committed(), 1, "what was pending is committed");
    log.roll().unwrap();
    assert_eq!(
        log.segments.len(),
        2,
        "an empty one is not followed by another"
    );
    log.delete_before(2).unwrap();
    assert_eq!(log.disk_bytes(), SEGMENT_HEADER_BYTES);
    drop(log);
    let (mut log, recovery) = open(&files);
    assert_eq!(recovery.corrupt, 0);
    assert_eq!(log.append(b"two").unwrap(), 2);
    log.commit().unwrap();
    assert_eq!(records(&log, 0), [(2, b"two".to_vec())]);
}

#[test]
fn numbers_that_somebody_else_knows_of_are_skipped() {
    let files = Memory::new();
    let (mut log, _) = open(&files);
    log.append(b"one").unwrap();
    log.skip_to(7).unwrap();
    assert_eq!(log.next_number(), 7);
    log.skip_to(3).unwrap();
    assert_eq!(log.next_number(), 7, "it never goes back");
    drop(log);
    let (mut log, _) = open(&files);
    assert_eq!(log.append(b"seven").unwrap(), 7);
    log.commit().unwrap();
    assert_eq!(
        records(&log, 0),
        [(1, b"one".to_vec()), (7, b"seven".to_vec())]
    );
}

#[test]
fn a_full_disk_keeps_nothing_of_a_commit_that_went_over_segments() {
    let files = Faulty::new();
    let (mut log, _) = Log::open(Arc::new(files.clone()), "test", settings()).unwrap();
    log.append(b"there").unwrap();
    log.commit().unwrap();
    let before = files.bytes_used();
    files.bound(before + 400);
    for number in 0..5 {
        log.append(&[number; 90]).unwrap();
    }
    assert!(matches!(log.commit(), Err(LogError::Full)));
    assert_eq!(files.bytes_used(), before);
    assert_eq!(log.append(b"small").unwrap(), 2);
    log.commit().unwrap();
    let crashed = files.crash(3);
    let (log, _) = Log::open(Arc::new(crashed), "test", settings()).unwrap();
    assert_eq!(
        records(&log, 0),
        [(1, b"there".to_vec()), (2, b"small".to_vec())]
    );
}

#[test]
fn a_look_changes_nothing_and_finds_what_is_whole() {
    let files = Faulty::new();
    let (mut log, _) = Log::open(Arc::new(files.clone()), "test", settings()).unwrap();
    for number in 1..=6 {
        log.append(&[number; 50]).unwrap();
    }
    log.commit().unwrap();
    let name = file_name("test", 5);
    let mut bytes = files.content(&name);
    bytes.extend_from_slice(b"torn");
    files.put(&name, bytes);
    let before = (files.bytes_used(), files.done(Operation::SyncDir));
    let (scan, recovery) = Log::look(Arc::new(files.clone()), "test").unwrap();
    let found: Vec<_> = scan.map(|record| record.unwrap().number).collect();
    assert_eq!(found, [1, 2, 3, 4, 5, 6]);
    assert_eq!((recovery.records, recovery.torn_bytes), (6, 4));
    assert_eq!((files.bytes_used(), files.done(Operation::SyncDir)), before);
}

#[test]
fn what_is_deleted_during_a_scan_is_left_out() {
    let files = Memory::new();
    let (mut log, _) = open(&files);
    for number in 1..=6 {
        log.append(&[number; 50]).unwrap();
    }
    log.commit().unwrap();
    let mut scan = log.scan(0);
    assert_eq!(scan.next().unwrap().unwrap().number, 1);
    log.delete_before(5).unwrap();
    let rest: Vec<_> = scan.map(|record| record.unwrap().number).collect();
    assert_eq!(rest, [2, 5, 6], "what is open stays readable");
}

#[test]
fn a_scan_that_cannot_read_says_so_and_ends() {
    let files = Faulty::new();
    let (mut log, _) = Log::open(Arc::new(files.clone()), "test", settings()).unwrap();
    log.append(b"one").unwrap();
    log.commit().unwrap();
    files.fail(Operation::Read, 1, Fault::Fail { kept: 0 });
    let mut scan = log.scan(0);
    assert!(matches!(scan.next(), Some(Err(LogError::Io { .. }))));
    assert!(scan.next().is_none());
}

#[test]
fn what_a_killed_program_left_unsynced_is_synced_before_it_counts() {
    let files = Faulty::new();
    let (mut log, _) = Log::open(Arc::new(files.clone()), "test", settings()).unwrap();
    log.append(b"one").unwrap();
    files.fail(Operation::SyncData, 1, Fault::Die { kept: 0 });
    assert!(matches!(log.commit(), Err(LogError::Sync(_))));
    files.heal();
    let (log, _) = Log::open(Arc::new(files.clone()), "test", settings()).unwrap();
    assert_eq!(log.committed(), 1, "it can be read");
    for seed in 0..20 {
        let crashed = files.crash(seed);
        let (log, _) = Log::open(Arc::new(crashed), "test", settings()).unwrap();
        assert_eq!(log.committed(), 1);
    }
}

#[test]
fn other_files_and_other_logs_are_left_alone() {
    let files = Memory::new();
    for name in [
        "test-1.log",
        "test-0000000000000000000x.log",
        "best-00000000000000000001.log",
    ] {
        files.create(name).unwrap();
    }
    let (log, recovery) = open(&files);
    assert_eq!(recovery.bytes, 0);
    assert_eq!(log.next_number(), 1);
    assert_eq!(files.list().unwrap().len(), 3);
}

#[test]
fn what_is_written_is_format_1_to_the_byte() {
    let salt = 0x1234_abcd;
    let header = Header {
        version: VERSION,
        first: 1,
        salt,
    };
    let mut bytes = header.encode().to_vec();
    let all: Vec<u8> = (0..=255).collect();
    for (ordinal, record) in (0..).zip([&b"one"[..], b"", &all]) {
        bytes.extend_from_slice(&Frame::of(record, ordinal, salt).encode(salt));
        bytes.extend_from_slice(record);
    }
    let name = file_name("journal", 1);
    let path = format!(
        "{}/tests/fixtures/store-1/{name}",
        env!("CARGO_MANIFEST_DIR")
    );
    assert_eq!(bytes, std::fs::read(path).unwrap());
}
