//! A store as the first format has it, written by another program from what the
//! documentation of `store/log` and `store/checkpoint` says. Every version that
//! says it reads format 1 has to read this one; nothing in it may change.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;

use runtrail::store::{Journal, JournalSettings, StoreDir, read_checkpoint};

const STORE: &str = "tests/fixtures/store-1";

fn copy_to(path: &Path) {
    for entry in fs::read_dir(STORE).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), path.join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_store_of_format_1_is_read() {
    let place = tempfile::tempdir().unwrap();
    copy_to(place.path());
    let (files, _guard) = StoreDir::open(place.path()).unwrap();

    let checkpoint = read_checkpoint(&*files).unwrap().unwrap();
    let sections: Vec<_> = checkpoint.map(|section| section.unwrap()).collect();
    let sections: Vec<_> = sections.iter().map(|s| (s.tag, &s.bytes[..])).collect();
    assert_eq!(sections, [(1, &b"state"[..]), (2, b""), (1, b"again")]);

    let settings = JournalSettings {
        limit_bytes: 1 << 20,
        record_bytes_max: 1 << 10,
    };
    let (journal, recovery) = Journal::open(files, settings).unwrap();
    let entries: Vec<_> = journal.replay(0).map(|entry| entry.unwrap()).collect();
    let entries: Vec<_> = entries.iter().map(|e| (e.number, &e.bytes[..])).collect();
    let all: Vec<u8> = (0..=255).collect();
    let expected: [(u64, &[u8]); 5] =
        [(1, b"one"), (2, b""), (3, &all), (4, b"four"), (5, b"five")];
    assert_eq!(entries, expected);
    assert_eq!((recovery.torn_bytes, recovery.corrupt), (23, 0));
}
