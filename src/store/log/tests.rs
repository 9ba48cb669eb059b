//! What the log promises, rule by rule.

use super::*;
use crate::store::files::Memory;

fn settings() -> LogSettings {
    LogSettings {
        segment_bytes: 200,
        record_bytes_max: 100,
    }
}

fn open(files: &Memory) -> (Log, Recovery) {
    Log::open(Arc::new(files.clone()), "test", settings()).unwrap()
}

fn records(log: &Log, from: u64) -> Vec<(u64, Vec<u8>)> {
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
