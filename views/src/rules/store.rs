//! What is kept on the disk until it is safe elsewhere.

use super::{Alert, Severity};

pub(super) const ALERTS: &[Alert] = &[
    Alert {
        name: "RuntrailStoreSuspended",
        expr: "runtrail_store_suspended == 1",
        lasts: "5m",
        severity: Severity::Page,
        summary: "The disk of runtrail is full ({{ $labels.job }})",
        description: "{{ $labels.job }} {{ $labels.instance }} can write nothing to its volume. It goes on, but what it learns now is lost from memory with a crash, and has to be asked of the server again.",
    },
    Alert {
        // A feed that says nothing leaves nothing to write down.
        name: "RuntrailCheckpointOld",
        expr: "
            (time() - runtrail_checkpoint_last_success_timestamp_seconds > 900)
            and on ($instance) sum by ($instance) (increase(runtrail_events_total[10m])) > 0
            ",
        lasts: "10m",
        severity: Severity::Ticket,
        summary: "runtrail has not saved its state for {{ $value | humanizeDuration }} ({{ $labels.job }})",
        description: "The last checkpoint of {{ $labels.job }} {{ $labels.instance }} is {{ $value | humanizeDuration }} old, though events come in. Nothing is lost, but the journal grows, and at its limit nothing more is read.",
    },
    Alert {
        // Damage is found at a start, before the first scrape, and often in a new
        // pod: no series is ever seen to rise. But the count itself was kept. So it
        // is held against the last one that was seen until an hour ago, perhaps long
        // before: of the same address, or, in a new pod, of its job. Not against the
        // sum of a job, in which pods that are gone would count as well.
        name: "RuntrailStoreDamaged",
        expr: "
            sum by ($job) (
              runtrail_store_corrupt_records_total
              - last_over_time(runtrail_store_corrupt_records_total[1d] offset 1h)
              > 0
            )
            or
            (
              max by ($job) (runtrail_store_corrupt_records_total)
              - max by ($job) (last_over_time(runtrail_store_corrupt_records_total[1d] offset 1h))
              > 0
            )
            ",
        lasts: "0m",
        severity: Severity::Ticket,
        summary: "Something on the disk of runtrail is damaged ({{ $labels.job }})",
        description: "{{ $labels.job }} found {{ $value | printf \"%.0f\" }} damaged records on its volume in the last hour and left them out.",
    },
    Alert {
        name: "RuntrailQuarantined",
        expr: "runtrail_quarantine_batches > 0",
        lasts: "15m",
        severity: Severity::Info,
        summary: "{{ $value }} batches of spans are set aside ({{ $labels.job }})",
        description: "The trace backend refused {{ $value }} batches of {{ $labels.job }} {{ $labels.instance }} for good. They are kept until somebody has looked at them.",
    },
    Alert {
        name: "RuntrailQuarantineDropped",
        expr: "increase(runtrail_quarantine_dropped_batches_total[1h]) > 0",
        lasts: "0m",
        severity: Severity::Ticket,
        summary: "Too many batches were set aside, and the oldest are gone ({{ $labels.job }})",
        description: "{{ $labels.job }} {{ $labels.instance }} dropped {{ $value | printf \"%.0f\" }} batches in the last hour that the trace backend had refused, because there was no more room to keep them.",
    },
    Alert {
        name: "RuntrailRunsOwedLong",
        expr: "runtrail_runs_owed > 0",
        lasts: "1h",
        severity: Severity::Ticket,
        summary: "The traces of {{ $value }} runs have been missing for an hour ({{ $labels.job }})",
        description: "{{ $labels.job }} {{ $labels.instance }} still owes the spans of {{ $value }} ended runs, for which there was no room. They are made from the server's log when the outbox is half empty.",
    },
    Alert {
        name: "RuntrailRunsGivenUp",
        expr: "increase(runtrail_runs_given_up_total[1h]) > 0",
        lasts: "0m",
        severity: Severity::Ticket,
        summary: "Runs of {{ $labels.job }} will have no trace",
        description: "{{ $labels.job }} {{ $labels.instance }} gave up the traces of {{ $value | printf \"%.0f\" }} runs in the last hour: too many were owed already. Metrics have counted them.",
    },
];
