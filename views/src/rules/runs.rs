//! Workflows, runs and tasks that do not do as they used to.

use super::{Alert, Severity};

pub(super) const ALERTS: &[Alert] = &[
    Alert {
        // By the same hours of last week, so that nights and weekends are as quiet
        // as they always are; and it must have run in the last days, so that the
        // workflows of one busy week ago are not asked for. While the feed is down
        // nobody knows what runs; where several share a job, while one of theirs is.
        name: "RuntrailWorkflowStopped",
        expr: "
            (
              sum by ($run) (increase(runtrail_runs_started_total[3h] offset 1w)) >= 5
              and sum by ($run) (increase(runtrail_runs_started_total[4d])) >= 5
              unless sum by ($run) (increase(runtrail_runs_started_total[3h])) > 0
            )
            and on ($job) min by ($job) (runtrail_source_connected) == 1
            ",
        lasts: "15m",
        severity: Severity::Ticket,
        summary: "{{ $labels.workflow }} has stopped running",
        description: "No run of {{ $labels.workflow }} (project {{ $labels.project }}, {{ $labels.system }}) started in the last three hours. In the same hours a week ago {{ $value | printf \"%.0f\" }} did.",
    },
    Alert {
        // The short window is soon over once the task succeeds; the long one is
        // for tasks that run a few times a day.
        name: "RuntrailTaskFailingInARow",
        expr: r#"
            (
              sum by ($run, task) (increase(runtrail_tasks_finished_total{outcome=~"failed|unable"}[1h])) >= 5
              unless sum by ($run, task) (increase(runtrail_tasks_finished_total{outcome="success"}[1h])) > 0
            )
            or
            (
              sum by ($run, task) (increase(runtrail_tasks_finished_total{outcome=~"failed|unable"}[1d])) >= 5
              unless sum by ($run, task) (increase(runtrail_tasks_finished_total{outcome="success"}[1d])) > 0
            )
            "#,
        lasts: "0m",
        severity: Severity::Ticket,
        summary: "{{ $labels.workflow }}: task {{ $labels.task }} only fails",
        description: "Task {{ $labels.task }} of {{ $labels.workflow }} (project {{ $labels.project }}, {{ $labels.system }}) failed {{ $value | printf \"%.0f\" }} times, and did not succeed once in between.",
    },
    Alert {
        // Where a run waits, nobody can tell from here whether it is the oldest. A
        // p99 of 7200 is the last bucket's border: how long such runs take at most
        // is not known.
        name: "RuntrailRunOpenLong",
        expr: r#"
            (
              time() - min by ($run) (runtrail_runs_open_oldest_timestamp_seconds)
              > clamp_min(3 * (runtrail:run_duration_seconds:p99_3d < 7200), 600)
            )
            unless sum by ($run) (runtrail_runs_open{state="waiting"}) > 0
            "#,
        lasts: "5m",
        severity: Severity::Ticket,
        summary: "{{ $labels.workflow }}: a run has been open for {{ $value | humanizeDuration }}",
        description: "The oldest open run of {{ $labels.workflow }} (project {{ $labels.project }}, {{ $labels.system }}) started {{ $value | humanizeDuration }} ago and waits for nobody. 99 of 100 runs take less than a third of that.",
    },
    Alert {
        name: "RuntrailRunsAbandoned",
        expr: r#"sum by ($run) (increase(runtrail_runs_finished_total{outcome="abandoned"}[6h])) >= 3"#,
        lasts: "0m",
        severity: Severity::Ticket,
        summary: "{{ $labels.workflow }}: runs fall silent and never end",
        description: "{{ $value | printf \"%.0f\" }} runs of {{ $labels.workflow }} (project {{ $labels.project }}, {{ $labels.system }}) fell silent in the last six hours, and their server does not know how they ended.",
    },
];
