//! Whether spans reach the trace backend.

use super::{Alert, Severity};

pub(super) const ALERTS: &[Alert] = &[
    Alert {
        name: "RuntrailExportFailing",
        expr: r#"
            sum without (result) (increase(runtrail_export_requests_total{result=~"busy|timed_out|unreachable|failed"}[10m])) > 0
            unless sum without (result) (increase(runtrail_export_requests_total{result=~"taken|taken_with_warning|partly_taken"}[10m])) > 0
            "#,
        lasts: "10m",
        severity: Severity::Ticket,
        summary: "The trace backend of {{ $labels.job }} takes nothing",
        description: "{{ $labels.job }} {{ $labels.instance }} tried {{ $value | printf \"%.0f\" }} times in the last ten minutes to send spans, and none was taken: the backend is away, busy or failing. Spans wait in the outbox.",
    },
    Alert {
        name: "RuntrailExportRefused",
        expr: r#"
            sum without (result) (increase(runtrail_export_requests_total{result="refused_route"}[10m])) > 0
            unless sum without (result) (increase(runtrail_export_requests_total{result=~"taken|taken_with_warning|partly_taken"}[10m])) > 0
            "#,
        lasts: "5m",
        severity: Severity::Ticket,
        summary: "The trace backend refuses {{ $labels.job }}: wrong token or wrong address",
        description: "The backend refused all that {{ $labels.job }} {{ $labels.instance }} sent in the last ten minutes, because of the token, the path or the protocol. The export rests, and is tried once a minute.",
    },
    Alert {
        // From three quarters on spans are withheld, so that is what to be warned of.
        name: "RuntrailOutboxGrowing",
        expr: "
            runtrail_outbox_bytes / runtrail_outbox_limit_bytes > 0.2
            and predict_linear(runtrail_outbox_bytes[30m], 4 * 3600) > 0.75 * runtrail_outbox_limit_bytes
            ",
        lasts: "15m",
        severity: Severity::Ticket,
        summary: "The outbox of {{ $labels.job }} will be full within hours",
        description: "The outbox of {{ $labels.job }} {{ $labels.instance }} is filled to {{ $value | humanizePercentage }}, and at this pace has no room left within four hours: spans come in faster than the backend takes them.",
    },
    Alert {
        name: "RuntrailOutboxFull",
        expr: "runtrail_outbox_bytes / runtrail_outbox_limit_bytes >= 0.75",
        lasts: "5m",
        severity: Severity::Ticket,
        summary: "The outbox of {{ $labels.job }} is full: traces come later, or not at all",
        description: "The outbox of {{ $labels.job }} {{ $labels.instance }} is filled to {{ $value | humanizePercentage }}. Metrics and summaries go on; spans are not kept any more, but made again from the server's log once there is room.",
    },
    Alert {
        name: "RuntrailOutboxOld",
        expr: "time() - runtrail_outbox_oldest_timestamp_seconds > 900",
        lasts: "5m",
        severity: Severity::Ticket,
        summary: "Traces of {{ $labels.job }} are {{ $value | humanizeDuration }} late",
        description: "The oldest spans in the outbox of {{ $labels.job }} {{ $labels.instance }} have waited for {{ $value | humanizeDuration }}: what people see in the trace backend is that old.",
    },
    Alert {
        name: "RuntrailSpansRefused",
        expr: "increase(runtrail_spans_refused_total[15m]) > 0",
        lasts: "0m",
        severity: Severity::Ticket,
        summary: "Spans of {{ $labels.job }} are lost to the trace backend: {{ $labels.reason }}",
        description: "{{ $value | printf \"%.0f\" }} spans of {{ $labels.job }} {{ $labels.instance }} will never be in the trace backend (reason: {{ $labels.reason }}). Metrics and summaries have counted them.",
    },
];
