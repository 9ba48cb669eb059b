//! Bytes that change on the disk.

use super::*;
use crate::store::files::faulty::Faulty;

/// A log of three segments, and the names of their files.
fn written() -> (Faulty, Records, [String; 3]) {
    let files = Faulty::new();
    let (mut log, _) = Log::open(Arc::new(files.clone()), "test", settings()).unwrap();
    let lens = [40, 0, 30, 25, 60, 10, 33, 1, 50];
    for (number, len) in (1..).zip(lens) {
        log.append(&vec![number; len]).unwrap();
        log.commit().unwrap();
    }
    let names: Vec<_> = log
        .segments
        .iter()
        .map(|s| file_name("test", s.first))
        .collect();
    let written = records(&log, 0);
    assert_eq!(written.len(), lens.len());
    (files, written, names.try_into().unwrap())
}

fn damage(files: &Faulty, name: &str, at: usize, with: u8) {
    let mut bytes = files.content(name);
    bytes[at] ^= with;
    files.put(name, bytes);
}

fn reopen(files: &Faulty) -> (Log, Recovery) {
    Log::open(Arc::new(files.clone()), "test", settings()).unwrap()
}

#[test]
fn any_single_byte_costs_at_most_the_record_in_which_it_is() {
    let (files, written, names) = written();
    for name in &names {
        for at in 0..files.content(name).len() {
            for with in [1, 0x80, 0xff] {
                let files = files.crash(0);
                damage(&files, name, at, with);
                let (mut log, recovery) = reopen(&files);
                let found = records(&log, 0);
                let lost: Vec<_> = written.iter().filter(|r| !found.contains(r)).collect();
                assert!(lost.len() <= 1, "{name} {at}: {lost:?}");
                assert!(found.iter().all(|record| written.contains(record)));
                let is_tail = lost.first().is_some_and(|(number, _)| *number == 9);
                assert_eq!(recovery.corrupt, lost.len() as u64 - u64::from(is_tail));
                assert_eq!(recovery.torn_bytes > 0, is_tail);
                assert_eq!(recovery.records, found.len() as u64);
                // It goes on behind the damage.
                let next = log.append(b"more").unwrap();
                assert_eq!(next, if is_tail { 9 } else { 10 });
                log.commit().unwrap();
                let (log, _) = reopen(&files);
                assert_eq!(records(&log, 0).last(), Some(&(next, b"more".to_vec())));
            }
        }
    }
}

#[test]
fn a_torn_tail_is_cut_wherever_it_was_torn() {
    let (files, written, names) = written();
    let whole = files.content(&names[2]);
    let before = written.iter().filter(|(number, _)| *number < 7).count();
    for len in 0..whole.len() {
        let files = files.crash(0);
        files.put(&names[2], whole[..len].to_vec());
        let (log, recovery) = reopen(&files);
        let found = records(&log, 0);
        assert_eq!(found, written[..found.len()]);
        assert!(found.len() >= before);
        assert_eq!(recovery.corrupt, 0);
        assert_eq!(log.disk_bytes(), files.bytes_used(), "{len}");
        let cut = files.bytes_used() + recovery.torn_bytes;
        let there: usize = names[..2]
            .iter()
            .map(|name| files.content(name).len())
            .sum();
        assert_eq!(cut, (there + len) as u64);
        assert_eq!(log.next_number(), found.len() as u64 + 1);
    }
}

#[test]
fn a_newest_segment_of_zeros_was_never_counted() {
    let (files, written, names) = written();
    files.put(&names[2], vec![0; 5_000]);
    let (log, recovery) = reopen(&files);
    assert_eq!(records(&log, 0).len(), 6);
    assert_eq!(recovery.torn_bytes, 5_000);
    assert_eq!(recovery.broken_segments, 0);
    assert_eq!(log.next_number(), written[6].0);
}

#[test]
fn a_segment_without_a_header_costs_its_records_and_no_number_is_given_twice() {
    let (files, written, names) = written();
    for broken in &names {
        let files = files.crash(0);
        for at in [3, HEADER_BYTES - 3] {
            damage(&files, broken, at, 0x55);
        }
        let (mut log, recovery) = reopen(&files);
        assert_eq!(recovery.broken_segments, 1);
        let found = records(&log, 0);
        let left = found.iter().all(|record| written.contains(record));
        assert!(left && found.len() >= 5, "{found:?}");
        assert_eq!(log.disk_bytes(), files.bytes_used());
        let next = log.append(b"more").unwrap();
        assert!(next > 9);
        log.commit().unwrap();
        assert_eq!(records(&log, 10), [(next, b"more".to_vec())]);
        let (mut log, _) = reopen(&files);
        assert_eq!(records(&log, 10), [(next, b"more".to_vec())]);
        log.delete_before(next).unwrap();
        assert_eq!(log.disk_bytes(), files.bytes_used());
        assert_eq!(log.first_number(), next);
    }
}

#[test]
fn a_segment_that_is_missing_is_counted_by_its_numbers() {
    let (files, _, names) = written();
    files.remove(&names[1]).unwrap();
    let (log, recovery) = reopen(&files);
    let numbers: Vec<_> = records(&log, 0).iter().map(|(number, _)| *number).collect();
    assert_eq!(recovery.corrupt, 9 - numbers.len() as u64);
    assert!(recovery.corrupt > 0);
}

#[test]
fn a_segment_under_another_name_is_not_believed() {
    let (files, written, names) = written();
    files.rename(&names[0], &file_name("test", 3)).unwrap();
    let (log, recovery) = reopen(&files);
    assert_eq!(recovery.broken_segments, 1);
    assert!(
        records(&log, 0)
            .iter()
            .all(|record| written.contains(record))
    );
}

#[test]
fn a_segment_of_a_later_format_is_refused() {
    let (files, _, names) = written();
    let header = Header {
        version: 2,
        first: 1,
        salt: 0,
    };
    let mut bytes = header.encode().to_vec();
    bytes.extend_from_slice(b"whatever");
    files.put(&names[0], bytes);
    let error = Log::open(Arc::new(files), "test", settings()).unwrap_err();
    assert!(matches!(error, LogError::Newer { version: 2, .. }));
    assert_eq!(
        error.to_string(),
        "test-00000000000000000001.log is of format 2, which this version of runtrail \
         does not know: use the newer one again, or another store.dir"
    );
}

#[test]
fn a_record_that_holds_frames_is_not_searched_for_them() {
    let files = Faulty::new();
    let (mut log, _) = reopen(&files);
    // What somebody who knows the format and no salt would send.
    let forged: Vec<u8> = (0..4)
        .flat_map(|ordinal| {
            let frame = Frame::of(b"x", ordinal, 0).encode(0);
            frame.into_iter().chain(*b"x")
        })
        .collect();
    log.append(&forged).unwrap();
    log.append(b"true").unwrap();
    log.commit().unwrap();
    damage(&files, &file_name("test", 1), HEADER_BYTES, 1);
    let (log, recovery) = reopen(&files);
    assert_eq!(records(&log, 0), [(2, b"true".to_vec())]);
    assert_eq!(recovery.corrupt, 1);
}

#[test]
fn a_record_that_was_damaged_since_is_not_given_out_by_its_place() {
    let (files, ..) = written();
    let (log, _) = reopen(&files);
    let record = log.scan(1).next().unwrap().unwrap();
    assert_eq!(log.read(record.place).unwrap(), record.bytes);
    let at = record.place.offset as usize + FRAME_BYTES + 3;
    damage(&files, &file_name("test", 1), at, 1);
    assert!(matches!(
        log.read(record.place),
        Err(LogError::Damaged { offset: 56, .. })
    ));
}

#[test]
fn a_number_that_comes_twice_is_given_out_once() {
    let segment = |first: u64, ordinals: &[u32]| {
        let header = Header {
            version: VERSION,
            first,
            salt: 3,
        };
        let mut bytes = header.encode().to_vec();
        for ordinal in ordinals {
            let record = [first as u8, *ordinal as u8];
            bytes.extend_from_slice(&Frame::of(&record, *ordinal, 3).encode(3));
            bytes.extend_from_slice(&record);
        }
        bytes
    };
    let files = Faulty::new();
    files.put(&file_name("test", 1), segment(1, &[0, 1, 0, 1, 2]));
    files.put(&file_name("test", 2), segment(2, &[0, 1, 2]));
    let (log, recovery) = reopen(&files);
    let expected = [[1, 0], [1, 1], [1, 2], [2, 2]].map(|record| record.to_vec());
    assert_eq!(records(&log, 0), (1..).zip(expected).collect::<Records>());
    assert_eq!((recovery.records, recovery.corrupt), (4, 0));
    assert_eq!(log.next_number(), 5);
}

#[test]
fn a_segment_that_was_just_begun_does_not_hide_that_the_one_before_is_broken() {
    let (files, written, names) = written();
    for at in [3, HEADER_BYTES - 3] {
        damage(&files, &names[2], at, 0x55);
    }
    files.put(&file_name("test", 10), b"rt-lo".to_vec());
    let (mut log, recovery) = reopen(&files);
    assert_eq!((recovery.broken_segments, recovery.torn_bytes), (1, 5));
    let next = log.append(b"more").unwrap();
    assert!(next > written.len() as u64);
}
