//! What the exporter tells, on the page.

use super::super::catalogue::Group;
use super::super::export::{ExportCounts, RefusalReason, RequestResult};
use super::Bench;
use crate::store::OutboxStatus;
use crate::wire::time::Time;

fn counts(factor: u64) -> ExportCounts {
    let mut counts = ExportCounts {
        spans_exported: 100 * factor,
        ..ExportCounts::default()
    };
    counts.requests[RequestResult::Taken as usize] = 5 * factor;
    counts.requests[RequestResult::Busy as usize] = 2 * factor;
    counts.spans_refused[RefusalReason::Damaged as usize] = 7 * factor;
    counts
}

impl Bench {
    fn export(&mut self, counts: &ExportCounts, outbox: &OutboxStatus) {
        self.metrics.apply_export(counts, outbox, self.now);
    }
}

#[test]
fn nothing_of_the_export_is_shown_while_nobody_exports() {
    let mut bench = Bench::new();
    bench.export(&counts(1), &OutboxStatus::default());
    let text = bench.metrics.text();
    for word in ["runtrail_outbox", "export", "quarantine"] {
        assert!(!text.contains(word), "{word}");
    }
    bench.metrics.register(Group::Export).unwrap();
    let text = bench.metrics.text();
    assert!(text.contains("runtrail_outbox") && text.contains("export"));
    assert!(!text.contains("quarantine"), "nobody feeds it");
}

#[test]
fn counts_of_the_exporter_are_those_since_its_start() {
    let mut bench = Bench::new();
    bench.metrics.register(Group::Export).unwrap();
    bench.expect(&[
        ("export_requests_total{result=\"taken\"}", 0.0),
        ("export_requests_total{result=\"failed\"}", 0.0),
        ("spans_refused_total{reason=\"damaged\"}", 0.0),
        ("spans_refused_total{reason=\"partial_success\"}", 0.0),
        ("spans_exported_total", 0.0),
    ]);
    for factor in [1, 1, 3] {
        bench.export(&counts(factor), &OutboxStatus::default());
        let factor = factor as f64;
        bench.expect(&[
            ("export_requests_total{result=\"taken\"}", 5.0 * factor),
            ("export_requests_total{result=\"busy\"}", 2.0 * factor),
            ("export_requests_total{result=\"failed\"}", 0.0),
            ("spans_refused_total{reason=\"damaged\"}", 7.0 * factor),
            ("spans_refused_total{reason=\"invalid\"}", 0.0),
            ("spans_exported_total", 100.0 * factor),
        ]);
    }
}

#[test]
fn a_time_that_there_is_not_is_not_shown() {
    let mut bench = Bench::new();
    bench.metrics.register(Group::Export).unwrap();
    let times = [
        "runtrail_outbox_oldest_timestamp_seconds",
        "runtrail_export_last_success_timestamp_seconds",
    ];
    let series = bench.series();
    bench.export(&ExportCounts::default(), &OutboxStatus::default());
    assert_eq!(times.map(|time| bench.value(time)), [None, None]);
    let outbox = OutboxStatus {
        bytes: 10,
        limit_bytes: 100,
        batches: 2,
        oldest: Some(Time(3_500_000_000)),
        ..OutboxStatus::default()
    };
    let counts = ExportCounts {
        last_success: Some(Time(4_000_000_000)),
        ..ExportCounts::default()
    };
    bench.export(&counts, &outbox);
    assert_eq!(times.map(|time| bench.value(time)), [Some(3.5), Some(4.0)]);
    bench.expect(&[
        ("outbox_bytes", 10.0),
        ("outbox_limit_bytes", 100.0),
        ("outbox_batches", 2.0),
    ]);
    bench.export(&counts, &OutboxStatus::default());
    assert_eq!(times.map(|time| bench.value(time)), [None, Some(4.0)]);
    assert_eq!(bench.series(), series + 1);
}
