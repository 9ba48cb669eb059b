//! Runs that wait, and for whom.

use super::{Alert, Severity};

pub(super) const ALERTS: &[Alert] = &[
    Alert {
        name: "RuntrailWaitingForPersonLong",
        expr: r#"
            time() - min by ($run, kind) (runtrail_runs_waiting_oldest_timestamp_seconds{kind=~"person|approval"})
            > scalar(runtrail:wait_for_person_seconds:limit)
            "#,
        lasts: "5m",
        severity: Severity::Ticket,
        summary: "{{ $labels.workflow }} has waited for somebody for {{ $value | humanizeDuration }}",
        description: "A run of {{ $labels.workflow }} (project {{ $labels.project }}, {{ $labels.system }}) has waited for {{ $value | humanizeDuration }} (kind of wait: {{ $labels.kind }}). It goes on when somebody answers.",
    },
    Alert {
        // Those who sell batches promise them within a day.
        name: "RuntrailWaitingForBatchLong",
        expr: r#"
            time() - min by ($run) (runtrail_runs_waiting_oldest_timestamp_seconds{kind="batch"}) > 26 * 3600
            "#,
        lasts: "5m",
        severity: Severity::Ticket,
        summary: "{{ $labels.workflow }} has waited for a batch for {{ $value | humanizeDuration }}",
        description: "A run of {{ $labels.workflow }} (project {{ $labels.project }}, {{ $labels.system }}) has waited for its batch for {{ $value | humanizeDuration }}. Providers promise batches within 24 hours.",
    },
    Alert {
        name: "RuntrailHeldLong",
        expr: r#"
            time() - min by ($run, kind) (runtrail_runs_waiting_oldest_timestamp_seconds{kind=~"breakpoint|unknown"}) > 86400
            "#,
        lasts: "5m",
        severity: Severity::Info,
        summary: "{{ $labels.workflow }} has been held for {{ $value | humanizeDuration }}",
        description: "A run of {{ $labels.workflow }} (project {{ $labels.project }}, {{ $labels.system }}) has been held for {{ $value | humanizeDuration }} (kind of wait: {{ $labels.kind }}). Perhaps somebody forgot it in a debugger.",
    },
];
