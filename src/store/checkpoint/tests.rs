//! What a checkpoint promises.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::store::files::faulty::{Fault, Faulty, Operation};
use crate::store::files::{Files, Memory};

type Sections = Vec<(u16, Vec<u8>)>;

fn prepare(files: &Faulty, sections: &Sections) -> Result<PreparedCheckpoint, CheckpointError> {
    let mut writer = CheckpointWriter::begin(Arc::new(files.clone()))?;
    for (tag, bytes) in sections {
        writer.section(*tag, bytes)?;
    }
    writer.prepare()
}

fn write(files: &Faulty, sections: &Sections) -> Result<u64, CheckpointError> {
    prepare(files, sections)?.install()
}

fn read(files: &dyn Files) -> Result<Option<Sections>, CheckpointError> {
    let Some(checkpoint) = read_checkpoint(files)? else {
        return Ok(None);
    };
    let sections = checkpoint.map(|section| section.map(|section| (section.tag, section.bytes)));
    sections.collect::<Result<_, _>>().map(Some)
}

fn some_sections() -> Sections {
    vec![(7, b"seven".to_vec()), (1, Vec::new()), (7, vec![9; 300])]
}

#[test]
fn sections_come_back_in_their_order() {
    let files = Faulty::new();
    assert_eq!(read(&files).unwrap(), None);
    let bytes = write(&files, &some_sections()).unwrap();
    assert_eq!(read(&files).unwrap(), Some(some_sections()));
    assert_eq!(files.bytes_used(), bytes);
    write(&files, &Vec::new()).unwrap();
    assert_eq!(
        read(&files).unwrap(),
        Some(Vec::new()),
        "the new one took its place"
    );
}

#[test]
fn what_is_written_is_format_1_to_the_byte() {
    let files = Faulty::new();
    let sections = [(1, &b"state"[..]), (2, b""), (1, b"again")];
    write(
        &files,
        &sections.map(|(tag, bytes)| (tag, bytes.to_vec())).to_vec(),
    )
    .unwrap();
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/store-1/checkpoint"
    );
    assert_eq!(files.content(NAME), std::fs::read(path).unwrap());
}

#[test]
fn a_section_larger_than_what_is_read_at_once_comes_back() {
    let files = Memory::new();
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n >> 9) as u8).collect();
    let mut writer = CheckpointWriter::begin(Arc::new(files.clone())).unwrap();
    for (tag, bytes) in [(1, &b"before"[..]), (2, &large), (3, b"after")] {
        writer.section(tag, bytes).unwrap();
    }
    writer.prepare().unwrap().install().unwrap();
    let expected = vec![(1, b"before".to_vec()), (2, large), (3, b"after".to_vec())];
    assert!(read(&files).unwrap() == Some(expected));
}

#[test]
fn what_was_not_installed_counts_for_nothing_and_leaves_nothing() {
    let files = Faulty::new();
    write(&files, &some_sections()).unwrap();
    let before = files.bytes_used();
    let mut writer = CheckpointWriter::begin(Arc::new(files.clone())).unwrap();
    writer.section(1, b"begun").unwrap();
    drop(writer);
    drop(prepare(&files, &Vec::new()).unwrap());
    assert_eq!(files.bytes_used(), before);
    assert_eq!(read(&files).unwrap(), Some(some_sections()));
}

#[test]
fn what_a_killed_program_left_of_a_new_one_is_removed() {
    let files = Faulty::new();
    write(&files, &some_sections()).unwrap();
    files.put(NEW_NAME, b"rt-che".to_vec());
    assert_eq!(read(&files).unwrap(), Some(some_sections()));
    assert_eq!(files.list().unwrap(), [NAME]);
}

#[test]
fn any_byte_that_changed_or_is_missing_makes_it_damaged() {
    let files = Faulty::new();
    write(&files, &some_sections()).unwrap();
    let whole = files.content(NAME);
    for at in 0..whole.len() {
        for with in [1, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= with;
            files.put(NAME, bytes);
            let error = read(&files).unwrap_err();
            assert!(matches!(error, CheckpointError::Damaged { .. }), "{at}");
        }
        files.put(NAME, whole[..at].to_vec());
        let error = read(&files).unwrap_err();
        assert!(matches!(error, CheckpointError::Damaged { .. }), "{at}");
    }
    files.put(NAME, [&whole[..], b"more"].concat());
    assert_eq!(
        read(&files).unwrap_err().to_string(),
        "the checkpoint is damaged (something stands behind its end): remove the file \
         `checkpoint` in store.dir to go on without what it held"
    );
}

#[test]
fn sections_cannot_change_places() {
    let files = Faulty::new();
    write(&files, &vec![(1, b"one".to_vec()), (1, b"two".to_vec())]).unwrap();
    let mut bytes = files.content(NAME);
    let (first, second) = (HEADER_BYTES, HEADER_BYTES + HEAD_BYTES + 3);
    for at in 0..HEAD_BYTES + 3 {
        bytes.swap(first + at, second + at);
    }
    files.put(NAME, bytes);
    assert!(matches!(read(&files), Err(CheckpointError::Damaged { .. })));
}

#[test]
fn a_checkpoint_of_a_later_format_is_refused() {
    let files = Faulty::new();
    files.put(NAME, header(2).to_vec());
    assert_eq!(
        read(&files).unwrap_err().to_string(),
        "the checkpoint is of format 2, which this version of runtrail does not know: \
         use the newer one again, or another store.dir"
    );
}

#[test]
fn a_full_disk_leaves_the_old_one_and_no_rest_of_the_new() {
    let files = Faulty::new();
    write(&files, &some_sections()).unwrap();
    let before = files.bytes_used();
    files.bound(before + 100);
    assert!(matches!(
        write(&files, &some_sections()),
        Err(CheckpointError::Full)
    ));
    assert_eq!(files.bytes_used(), before);
    assert_eq!(read(&files).unwrap(), Some(some_sections()));
}

#[test]
fn a_sync_that_failed_is_told_apart() {
    for operation in [Operation::SyncData, Operation::SyncDir] {
        let files = Faulty::new();
        files.fail(operation, 1, Fault::Fail { kept: 0 });
        let written = write(&files, &some_sections());
        assert!(matches!(written, Err(CheckpointError::Sync(_))));
    }
}

#[test]
fn one_that_was_read_outlasts_a_loss_of_power() {
    let files = Faulty::new();
    write(&files, &Vec::new()).unwrap();
    files.fail(Operation::SyncDir, 1, Fault::Die { kept: 0 });
    write(&files, &some_sections()).unwrap_err();
    files.heal();
    assert_eq!(read(&files).unwrap(), Some(some_sections()));
    for seed in 0..20 {
        let crashed = files.crash(seed);
        assert_eq!(read(&crashed).unwrap(), Some(some_sections()));
    }
}

proptest! {
    #[test]
    fn after_a_crash_at_any_moment_the_old_one_is_there_or_the_new(
        old in prop::option::of(Just(some_sections())),
        nth in 1..8_u64,
        kept in 0..500_usize,
        seed in any::<u64>(),
        with_holes in any::<bool>(),
    ) {
        let files = Faulty::new();
        if let Some(old) = &old {
            write(&files, old).unwrap();
        }
        let new = vec![(3, vec![3; 200])];
        files.fail_change(nth, Fault::Die { kept });
        let installed = write(&files, &new).is_ok();
        let crashed = if with_holes {
            files.crash_with_holes(seed)
        } else {
            files.crash(seed)
        };
        let found = read(&crashed).unwrap();
        prop_assert!(found.as_ref() == Some(&new) || !installed && found == old);
        files.heal();
        let found = read(&files).unwrap();
        prop_assert!(found.as_ref() == Some(&new) || !installed && found == old);
    }
}
