//! How fast runs fail against the objective, which stands in [`super::limits`].
//!
//! A run failed when its outcome is `error` or `timeout`. One that somebody
//! cancelled tells nothing of the workflow, and of one that was abandoned nobody
//! knows the end: perhaps only the feed was lost. Neither counts as failed nor as
//! run; `RuntrailRunsAbandoned` tells of the latter.
//!
//! The alerts are those of the SRE workbook: as many times faster than allowed,
//! over a long window so that it matters, and over a twelfth of it so that it
//! ends soon after the failures do. Beside the ratio they ask for a number of
//! failed runs, since of few runs one alone is a large share. With an objective
//! of 99 % kept just so, and as few runs as could cross the ratio, chance alone
//! gives five failed of 34 in an hour once in 50,000 such hours, and ten of 166
//! in six hours once in 100,000.

use super::{Alert, Group, Recording, Severity, query};

/// All windows up to six hours.
pub(super) fn fast() -> Group {
    let mut recordings = ["5m", "30m", "2h"].map(ratio).to_vec();
    recordings.extend(["1h", "6h"].into_iter().flat_map(long));
    Group {
        name: "runtrail-slo",
        interval: None,
        recordings,
        alerts: ALERTS,
    }
}

/// What reads days of samples, and need not be of this minute. Not rarer than
/// every few minutes: beyond five Prometheus takes the last value for stale.
pub(super) fn slow() -> Group {
    let mut recordings: Vec<_> = ["1d", "3d"].into_iter().flat_map(long).collect();
    recordings.push(Recording {
        name: "runtrail:run_duration_seconds:p99_3d".to_owned(),
        about: "Of workflows with at least 20 successful runs; a p99 of fewer is the slowest run.",
        expr: query(
            r#"
            histogram_quantile(0.99,
              sum by ($run, le) (rate(runtrail_run_duration_seconds_bucket{outcome="success"}[3d]))
            )
            and sum by ($run) (increase(runtrail_run_duration_seconds_count{outcome="success"}[3d])) >= 20
            "#,
        ),
    });
    Group {
        name: "runtrail-slow",
        interval: Some("2m"),
        recordings,
        alerts: &[],
    }
}

/// A window that must hold a number of failures.
fn long(window: &'static str) -> [Recording; 2] {
    [failed(window), ratio(window)]
}

fn failed(window: &str) -> Recording {
    Recording {
        name: format!("runtrail:runs_failed:increase{window}"),
        about: "",
        expr: query(FAILED).replace("$window", window),
    }
}

fn ratio(window: &str) -> Recording {
    Recording {
        name: format!("runtrail:runs_failed:ratio{window}"),
        about: "",
        expr: format!("{}\n/\n({} > 0)", query(FAILED), query(COUNTED)).replace("$window", window),
    }
}

const FAILED: &str =
    r#"sum by ($run) (increase(runtrail_runs_finished_total{outcome=~"error|timeout"}[$window]))"#;
const COUNTED: &str = r#"sum by ($run) (increase(runtrail_runs_finished_total{outcome=~"success|error|timeout"}[$window]))"#;

/// Over both windows more fails than the objective allows at this pace, and over
/// the long one at least so many runs. Where the objective allows so many failures
/// that no ratio is beyond it, nine of ten are.
macro_rules! burns {
    ($long:literal, $short:literal, $pace:literal, $least:literal) => {
        concat!(
            "runtrail:runs_failed:ratio",
            $long,
            " > scalar(clamp_max(",
            $pace,
            ", 0.9))\n",
            "and runtrail:runs_failed:ratio",
            $short,
            " > scalar(clamp_max(",
            $pace,
            ", 0.9))\n",
            "and runtrail:runs_failed:increase",
            $long,
            " >= ",
            $least
        )
    };
}

const ALERTS: &[Alert] = &[
    Alert {
        name: "RuntrailErrorBudgetBurn1h",
        expr: burns!(
            "1h",
            "5m",
            "14.4 * (1 - runtrail:slo_success:objective)",
            "5"
        ),
        lasts: "2m",
        severity: Severity::Page,
        summary: "{{ $labels.workflow }}: {{ $value | humanizePercentage }} of its runs fail",
        description: "In the last hour {{ $value | humanizePercentage }} of the runs of {{ $labels.workflow }} (project {{ $labels.project }}, {{ $labels.system }}) failed, and it goes on. The failures that the objective allows for 30 days are used up in two days.",
    },
    Alert {
        name: "RuntrailErrorBudgetBurn6h",
        expr: burns!(
            "6h",
            "30m",
            "6 * (1 - runtrail:slo_success:objective)",
            "10"
        ),
        lasts: "5m",
        severity: Severity::Page,
        summary: "{{ $labels.workflow }}: {{ $value | humanizePercentage }} of its runs fail, for hours",
        description: "In the last six hours {{ $value | humanizePercentage }} of the runs of {{ $labels.workflow }} (project {{ $labels.project }}, {{ $labels.system }}) failed, and it goes on. The failures that the objective allows for 30 days are used up in five days.",
    },
    Alert {
        name: "RuntrailErrorBudgetBurn1d",
        expr: burns!("1d", "2h", "3 * (1 - runtrail:slo_success:objective)", "5"),
        lasts: "15m",
        severity: Severity::Ticket,
        summary: "{{ $labels.workflow }}: {{ $value | humanizePercentage }} of its runs failed within a day",
        description: "In the last day {{ $value | humanizePercentage }} of the runs of {{ $labels.workflow }} (project {{ $labels.project }}, {{ $labels.system }}) failed, and it goes on. The failures that the objective allows for 30 days are used up in ten days.",
    },
    Alert {
        name: "RuntrailErrorBudgetBurn3d",
        expr: burns!("3d", "6h", "1 - runtrail:slo_success:objective", "5"),
        lasts: "1h",
        severity: Severity::Ticket,
        summary: "{{ $labels.workflow }}: more of its runs fail than the objective allows",
        description: "In the last three days {{ $value | humanizePercentage }} of the runs of {{ $labels.workflow }} (project {{ $labels.project }}, {{ $labels.system }}) failed, and it goes on. The objective is being missed.",
    },
];
