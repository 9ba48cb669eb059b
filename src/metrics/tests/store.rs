//! What the store tells, on the page.

use super::super::catalogue::Group;
use super::super::store::StoreStatus;
use super::Bench;
use crate::wire::time::Time;

const CHECKPOINT: &str = "runtrail_checkpoint_last_success_timestamp_seconds";

fn status() -> StoreStatus {
    StoreStatus {
        journal_bytes: 1,
        journal_limit_bytes: 2,
        checkpoint_last_success: Some(Time(3_500_000_000)),
        suspended: true,
        quarantine_batches: 4,
        quarantine_dropped_batches: 5,
        runs_owed: 6,
        runs_given_up: 7,
        redelivered_batches: 8,
        corrupt_records: 9,
    }
}

#[test]
fn the_store_is_shown_once_somebody_feeds_it() {
    let mut bench = Bench::new();
    bench.metrics.apply_store(&status(), bench.now);
    let words = ["journal", "quarantine", "checkpoint", "runs_owed", "store_"];
    for word in words {
        assert!(!bench.metrics.text().contains(word), "{word}");
    }
    bench.metrics.register(Group::Store).unwrap();
    for word in words {
        assert!(bench.metrics.text().contains(word), "{word}");
    }
}

#[test]
fn each_number_of_the_store_has_its_place() {
    let mut bench = Bench::new();
    bench.metrics.register(Group::Store).unwrap();
    bench.expect(&[
        ("store_suspended", 0.0),
        ("store_corrupt_records_total", 0.0),
        ("export_redelivered_batches_total", 0.0),
        ("quarantine_dropped_batches_total", 0.0),
        ("runs_given_up_total", 0.0),
    ]);
    assert_eq!(bench.value(CHECKPOINT), None);
    bench.metrics.apply_store(&status(), bench.now);
    bench.expect(&[
        ("journal_bytes", 1.0),
        ("journal_limit_bytes", 2.0),
        ("checkpoint_last_success_timestamp_seconds", 3.5),
        ("store_suspended", 1.0),
        ("quarantine_batches", 4.0),
        ("quarantine_dropped_batches_total", 5.0),
        ("runs_owed", 6.0),
        ("runs_given_up_total", 7.0),
        ("export_redelivered_batches_total", 8.0),
        ("store_corrupt_records_total", 9.0),
    ]);
}

#[test]
fn what_the_store_counts_is_counted_once_and_the_rest_is_as_it_is_now() {
    let mut bench = Bench::new();
    bench.metrics.register(Group::Store).unwrap();
    bench.metrics.apply_store(&status(), bench.now);
    bench.metrics.apply_store(&status(), bench.now);
    let later = StoreStatus {
        runs_owed: 0,
        runs_given_up: 10,
        suspended: false,
        ..status()
    };
    bench.metrics.apply_store(&later, bench.now);
    bench.expect(&[
        ("runs_owed", 0.0),
        ("runs_given_up_total", 10.0),
        ("store_suspended", 0.0),
        ("store_corrupt_records_total", 9.0),
    ]);
}
