//! The files in the repository are those that are written from here.

#![allow(clippy::expect_used, reason = "a test that cannot go on should stop")]

use std::path::Path;

#[test]
fn every_file_is_as_it_is_written_from_here() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for file in runtrail_views::files().expect("they can be written") {
        let there = std::fs::read_to_string(repository.join(&file.path)).unwrap_or_default();
        assert!(
            there == file.text,
            "{} is not up to date: cargo run -p runtrail-views",
            file.path.display()
        );
    }
}
