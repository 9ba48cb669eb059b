//! What runs, how often it fails and why, how long it takes, and what waits.

use super::model::{Colour, Dashboard, Look, Panel, Row, Thresholds, Unit, Variable};
use super::query::{increase_from_nothing, with_project_name};

const FAILED_SHARE: Thresholds = &[(0.01, Colour::Uneasy), (0.05, Colour::Bad)];
const ERRORS: &str = "runtrail_run_errors_total{OF_RUNS}";
const FAILED: Thresholds = &[(1.0, Colour::Bad)];
const HOUR: f64 = 3_600.0;
const WAITED: Thresholds = &[(HOUR, Colour::Uneasy), (24.0 * HOUR, Colour::Bad)];

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        name: "runs",
        title: "runtrail: runs",
        question: "What runs, how often it fails and why, how long it takes, and what waits for somebody.",
        variables: Variable::of_runs(),
        rows: vec![now(), failures(), durations(), waits(), tasks(), tools()],
    }
}

fn now() -> Row {
    Row {
        title: "Now",
        panels: vec![
            Panel::new(
                Look::Numbers,
                "At work",
                "Runs that are open and not waiting. Zero while you expect work: see whether the feed is connected, on the dashboard of runtrail itself.",
            )
            .nothing("no run yet")
            .query("at work", r#"sum(runtrail_runs_open{OF_RUNS, state="running"})"#),
            Panel::new(
                Look::Numbers,
                "Waiting",
                "Runs that are open and wait: for a person, an approval, a debugger or a batch. The row \"Waits\" tells which.",
            )
            .nothing("no run yet")
            .query("waiting", r#"sum(runtrail_runs_open{OF_RUNS, state="waiting"})"#),
            Panel::new(
                Look::Numbers,
                "Oldest open run",
                "How long the oldest run that is open now has been open. Far more than such runs take, and not waiting: it hangs. The table beside it tells the workflow.",
            )
            .unit(Unit::Seconds)
            .nothing("none is open")
            .query("oldest", "time() - min(runtrail_runs_open_oldest_timestamp_seconds{OF_RUNS})"),
            Panel::new(Look::Numbers, "Ended", "Runs that ended in the time shown, however they ended.")
                .nothing("none ended")
                .query("ended", "round(sum(increase(runtrail_runs_finished_total{OF_RUNS}[$__range])))"),
            Panel::new(
                Look::Numbers,
                "Failed",
                "Runs that ended in an error or ran past their time, in the time shown. The row \"Failures\" tells why.",
            )
            .thresholds(FAILED)
            .nothing("none ended")
            .query("failed", "round(sum(increase(runtrail_runs_finished_total{OF_RUNS, RUN_FAILED}[$__range])))"),
            Panel::new(
                Look::Numbers,
                "Share that failed, in all",
                "Of the runs in the time shown that succeeded or failed, the share that failed, as the alerts count it. Cancelled and abandoned runs are neither.",
            )
            .unit(Unit::Share)
            .thresholds(FAILED_SHARE)
            .nothing("none ended")
            .query(
                "failed",
                "sum(increase(runtrail_runs_finished_total{OF_RUNS, RUN_FAILED}[$__range]))
                / (sum(increase(runtrail_runs_finished_total{OF_RUNS, RUN_JUDGED}[$__range])) > 0)",
            ),
            Panel::new(
                Look::Stacked,
                "Open runs",
                "How many runs were open, and how many of them waited. A line that only rises: runs start and do not end.",
            )
            .size(9, 8)
            .nothing("no run yet")
            .query("at work", r#"sum(runtrail_runs_open{OF_RUNS, state="running"})"#)
            .query("waiting", r#"sum(runtrail_runs_open{OF_RUNS, state="waiting"})"#)
            .colour("at work", Colour::Good)
            .colour("waiting", Colour::Uneasy),
            Panel::new(
                Look::Gauges,
                "Longest wait now",
                "For how long the longest of the waits that are open now has lasted, by what it is for. A person who does not know of it will not answer.",
            )
            .size(5, 8)
            .unit(Unit::Seconds)
            .thresholds(WAITED)
            .nothing("nothing waits")
            .query(
                "{{kind}}",
                "time() - min by (kind) (runtrail_runs_waiting_oldest_timestamp_seconds{OF_RUNS})",
            ),
            open_longest(),
        ],
    }
}

fn open_longest() -> Panel {
    let age = "(time() - min by (project, workflow) (runtrail_runs_open_oldest_timestamp_seconds{OF_RUNS}))";
    Panel::new(
        Look::Table { worst_by: 0 },
        "Open longest",
        "By workflow, how long its oldest open run has been open, beside what 99 of 100 of its runs took in the time shown. An age far beyond it is a run that hangs or waits.",
    )
    .size(10, 8)
    .nothing("none is open")
    .column("Oldest", Unit::Seconds, &with_project_name(age))
    .column(
        "99 of 100 took less than",
        Unit::Seconds,
        "histogram_quantile(0.99, sum by (le, project, workflow) (increase(runtrail_run_duration_seconds_bucket{OF_RUNS}[$__range]))) >= 0
        and on (project, workflow) sum by (project, workflow) (runtrail_runs_open{OF_RUNS}) > 0",
    )
    .column(
        "Open",
        Unit::Count,
        "sum by (project, workflow) (runtrail_runs_open{OF_RUNS}) > 0",
    )
}

fn failures() -> Row {
    Row {
        title: "Failures",
        panels: vec![
            Panel::new(
                Look::Lines,
                "Share that failed",
                "Of the runs that succeeded or failed, the share that failed. Each diamond is one run that did: click it, and open its trace.",
            )
            .unit(Unit::Share)
            .max(1.0)
            .thresholds(FAILED_SHARE)
            .nothing("no run ended")
            .query(
                "failed",
                "sum(rate(runtrail_runs_finished_total{OF_RUNS, RUN_FAILED}EACH))
                / (sum(rate(runtrail_runs_finished_total{OF_RUNS, RUN_JUDGED}EACH)) > 0)",
            )
            .exemplars()
            .colour("failed", Colour::Bad),
            Panel::new(
                Look::Bars,
                "Failed runs by error",
                "Failed runs a minute by the error's code. One code that stands out is one cause: open the trace of one of its diamonds.",
            )
            .unit(Unit::PerMinute)
            .nothing("no run failed yet")
            .query(
                "{{error_type}}",
                &format!(
                    "{} * 60000 / $__rate_interval_ms",
                    increase_from_nothing("error_type", ERRORS, "$__rate_interval")
                ),
            )
            .exemplars(),
            workflows_worst_first(),
            tasks_worst_first(),
            errors_worst_first(),
            Panel::new(
                Look::Bars,
                "How runs ended",
                "Runs that ended a minute, by outcome. Abandoned are those that no end was ever told of.",
            )
            .unit(Unit::PerMinute)
            .nothing("no run ended yet")
            .query(
                "{{outcome}}",
                "sum by (outcome) (rate(runtrail_runs_finished_total{OF_RUNS}EACH)) * 60",
            )
            .exemplars()
            .colour("success", Colour::Good)
            .colour("error", Colour::Bad)
            .colour("timeout", Colour::Uneasy),
        ],
    }
}

fn workflows_worst_first() -> Panel {
    let failed = "round(sum by (project, workflow) (increase(runtrail_runs_finished_total{OF_RUNS, RUN_FAILED}[$__range])))";
    Panel::new(
        Look::Table { worst_by: 0 },
        "Workflows, worst first",
        "Runs that failed in the time shown, by workflow, and their share of those that succeeded or failed. Click a workflow to see only its runs.",
    )
    .nothing("no run ended")
    .column("Failed", Unit::Count, &with_project_name(failed))
    .column_thresholds(FAILED)
    .column(
        "Ended",
        Unit::Count,
        "round(sum by (project, workflow) (increase(runtrail_runs_finished_total{OF_RUNS}[$__range])))",
    )
    .column(
        "Share",
        Unit::Share,
        "sum by (project, workflow) (increase(runtrail_runs_finished_total{OF_RUNS, RUN_FAILED}[$__range]))
        / (sum by (project, workflow) (increase(runtrail_runs_finished_total{OF_RUNS, RUN_JUDGED}[$__range])) > 0)",
    )
    .column_thresholds(FAILED_SHARE)
}

fn tasks_worst_first() -> Panel {
    Panel::new(
        Look::Table { worst_by: 0 },
        "Tasks, worst first",
        "Ends of tasks that failed, or that could not do what was asked, in the time shown. The task at the top is where to begin.",
    )
    .nothing("no task ended")
    .column(
        "Failed",
        Unit::Count,
        &with_project_name("round(sum by (project, workflow, task) (increase(runtrail_tasks_finished_total{OF_RUNS, FAILED}[$__range])))"),
    )
    .column_thresholds(FAILED)
    .column(
        "Ended",
        Unit::Count,
        "round(sum by (project, workflow, task) (increase(runtrail_tasks_finished_total{OF_RUNS}[$__range])))",
    )
    .column(
        "Share",
        Unit::Share,
        "sum by (project, workflow, task) (increase(runtrail_tasks_finished_total{OF_RUNS, FAILED}[$__range]))
        / (sum by (project, workflow, task) (increase(runtrail_tasks_finished_total{OF_RUNS}[$__range])) > 0)",
    )
    .column_thresholds(FAILED_SHARE)
}

fn errors_worst_first() -> Panel {
    Panel::new(
        Look::Table { worst_by: 0 },
        "Errors, most frequent first",
        "Failed runs in the time shown by the error's code and the workflow. Codes of providers (rate limits, time-outs) are not your workflow's fault.",
    )
    .nothing("no run failed")
    .column(
        "Failed",
        Unit::Count,
        &with_project_name(&format!(
            "(round({}) > 0)",
            increase_from_nothing("error_type, project, workflow", ERRORS, "$__range")
        )),
    )
    .column_thresholds(FAILED)
}

fn durations() -> Row {
    Row {
        title: "Duration",
        panels: vec![
            duration_by_workflow(
                "Half of the runs take less than",
                "The median duration of runs, waits included, of the ten busiest workflows. Diamonds are single runs, each with its trace.",
                "0.5",
            ),
            duration_by_workflow(
                "95 of 100 runs take less than",
                "What the slow runs take, waits included, of the ten busiest workflows. Rising while the median does not: a few runs are slow, open the trace of a high diamond.",
                "0.95",
            ),
            duration_by_workflow(
                "99 of 100 runs take less than",
                "What the slowest runs take, waits included, of the ten busiest workflows. With few runs this is the slowest one.",
                "0.99",
            ),
            Panel::new(
                Look::Heatmap,
                "Durations",
                "How many runs took how long, waits included. Two bands are two kinds of runs, as of failed and successful ones. Diamonds are single runs, each with its trace.",
            )
            .unit(Unit::Seconds)
            .nothing("no run ended")
            .query(
                "{{le}}",
                "sum by (le) (increase(runtrail_run_duration_seconds_bucket{OF_RUNS}EACH))",
            )
            .exemplars(),
            slowest_workflows(),
        ],
    }
}

fn duration_by_workflow(title: &'static str, says: &'static str, quantile: &str) -> Panel {
    Panel::new(Look::Lines, title, says)
        .size(8, 8)
        .unit(Unit::Seconds)
        .nothing("no run ended")
        .query(
            "{{workflow}} ({{project}})",
            &format!(
                "histogram_quantile({quantile}, sum by (le, project, workflow) (rate(runtrail_run_duration_seconds_bucket{{OF_RUNS}}EACH)))
                and on (project, workflow) BUSIEST_WORKFLOWS"
            ),
        )
        .exemplars()
}

fn slowest_workflows() -> Panel {
    let quantile = |quantile: &str| {
        format!(
            "histogram_quantile({quantile}, sum by (le, project, workflow) (increase(runtrail_run_duration_seconds_bucket{{OF_RUNS}}[$__range]))) >= 0"
        )
    };
    let slowest = quantile("0.95");
    Panel::new(
        Look::Table { worst_by: 1 },
        "Workflows, slowest first",
        "How long runs took in the time shown, waits included: half of them, 95 and 99 of 100 took less. The last bucket ends at two hours: what took longer shows as that.",
    )
    .nothing("no run ended")
    .column("Half", Unit::Seconds, &quantile("0.5"))
    .column("95 of 100", Unit::Seconds, &with_project_name(&format!("({slowest})")))
    .column("99 of 100", Unit::Seconds, &quantile("0.99"))
}

fn waits() -> Row {
    Row {
        title: "Waits",
        panels: vec![
            Panel::new(
                Look::Gauges,
                "Time spent waiting",
                "How long runs waited in the time shown, by what for. A wait is counted when it ends.",
            )
            .size(6, 8)
            .unit(Unit::Seconds)
            .nothing("nothing waited")
            .query(
                "{{kind}}",
                "sum by (kind) (increase(runtrail_run_wait_seconds_total{OF_RUNS}[$__range]))",
            ),
            Panel::new(
                Look::Numbers,
                "Waiting, of all the time",
                "The share of the runs' time that they spent waiting, in the time shown. Much of it: faster models will not make these runs faster.",
            )
            .size(6, 8)
            .unit(Unit::Share)
            .nothing("no run ended")
            .query(
                "waiting",
                "clamp_max((sum(increase(runtrail_run_wait_seconds_total{OF_RUNS}[$__range])) or vector(0))
                / (sum(increase(runtrail_run_duration_seconds_sum{OF_RUNS}[$__range])) > 0), 1)",
            ),
            waits_worst_first(),
        ],
    }
}

fn waits_worst_first() -> Panel {
    let since = "(time() - min by (project, workflow, kind) (runtrail_runs_waiting_oldest_timestamp_seconds{OF_RUNS}))";
    Panel::new(
        Look::Table { worst_by: 0 },
        "Waiting longest",
        "By workflow and what for: how long the longest wait that is open now has lasted, and how long runs waited in the time shown.",
    )
    .nothing("nothing waits")
    .column("Longest now", Unit::Seconds, since)
    .column_thresholds(WAITED)
    .column(
        "In the time shown",
        Unit::Seconds,
        "sum by (project, workflow, kind) (increase(runtrail_run_wait_seconds_total{OF_RUNS}[$__range])) > 0",
    )
}

fn tasks() -> Row {
    Row {
        title: "Tasks",
        panels: vec![
            Panel::new(
                Look::Lines,
                "95 of 100 ends of a task took less than",
                "How long tasks take, of the ten that took most time in the time shown. Diamonds are single tasks, each with its run's trace.",
            )
            .unit(Unit::Seconds)
            .nothing("no task ended")
            .query(
                "{{workflow}} / {{task}} ({{project}})",
                "histogram_quantile(0.95, sum by (le, project, workflow, task) (rate(runtrail_task_duration_seconds_bucket{OF_RUNS}EACH)))
                and on (project, workflow, task) topk(10, sum by (project, workflow, task) (increase(runtrail_task_duration_seconds_sum{OF_RUNS}[$__range] @ end())))",
            )
            .exemplars(),
            Panel::new(
                Look::Bars,
                "Tasks that failed",
                "Ends of tasks that failed, or could not do what was asked, a minute. Diamonds lead to the traces. A task may fail without its run failing.",
            )
            .unit(Unit::PerMinute)
            .nothing("no task ended")
            .query(
                "{{workflow}} / {{task}} ({{project}})",
                "sum by (project, workflow, task) (rate(runtrail_tasks_finished_total{OF_RUNS, FAILED}EACH)) * 60
                and on (project, workflow, task) sum by (project, workflow, task) (increase(runtrail_tasks_finished_total{OF_RUNS, FAILED}[$__range] @ end())) > 0",
            )
            .exemplars(),
            Panel::new(
                Look::Table { worst_by: 0 },
                "Tasks, by the time they took",
                "All the time that a task took in the time shown, what one end took on average and the slow ones, and how many came from a cache. To make runs faster, begin at the top.",
            )
            .size(24, 8)
            .nothing("no task ended")
            .column(
                "In all",
                Unit::Seconds,
                &with_project_name("sum by (project, workflow, task) (increase(runtrail_task_duration_seconds_sum{OF_RUNS}[$__range]))"),
            )
            .column(
                "On average",
                Unit::Seconds,
                "sum by (project, workflow, task) (increase(runtrail_task_duration_seconds_sum{OF_RUNS}[$__range]))
                / (sum by (project, workflow, task) (increase(runtrail_task_duration_seconds_count{OF_RUNS}[$__range])) > 0)",
            )
            .column(
                "95 of 100",
                Unit::Seconds,
                "histogram_quantile(0.95, sum by (le, project, workflow, task) (increase(runtrail_task_duration_seconds_bucket{OF_RUNS}[$__range]))) >= 0",
            )
            .column(
                "Ended",
                Unit::Count,
                "round(sum by (project, workflow, task) (increase(runtrail_tasks_finished_total{OF_RUNS}[$__range])))",
            )
            .column(
                "From a cache",
                Unit::Count,
                "round(sum by (project, workflow, task) (increase(runtrail_task_cache_hits_total{OF_RUNS}[$__range])))",
            ),
        ],
    }
}

fn tools() -> Row {
    Row {
        title: "Tools",
        panels: vec![
            Panel::new(
                Look::Lines,
                "95 of 100 calls of a tool took less than",
                "How long calls take, of the ten tools that took most time in the time shown. Diamonds are single calls, each with its run's trace.",
            )
            .unit(Unit::Seconds)
            .nothing("no tool was called")
            .query(
                "{{server}} / {{tool}}",
                "histogram_quantile(0.95, sum by (le, server, tool) (rate(runtrail_tool_duration_seconds_bucket{OF_RUNS}EACH)))
                and on (server, tool) topk(10, sum by (server, tool) (increase(runtrail_tool_duration_seconds_sum{OF_RUNS}[$__range] @ end())))",
            )
            .exemplars(),
            Panel::new(
                Look::Table { worst_by: 0 },
                "Tools, worst first",
                "Calls that failed in the time shown. A tool that always fails is down, or its token has run out; one that fails now and then costs tokens, since the model tries again.",
            )
            .nothing("no tool was called")
            .column(
                "Failed",
                Unit::Count,
                "round(sum by (server, tool) (increase(runtrail_tool_calls_total{OF_RUNS, FAILED}[$__range])))",
            )
            .column_thresholds(FAILED)
            .column(
                "Calls",
                Unit::Count,
                "round(sum by (server, tool) (increase(runtrail_tool_calls_total{OF_RUNS}[$__range])))",
            )
            .column(
                "Share",
                Unit::Share,
                "sum by (server, tool) (increase(runtrail_tool_calls_total{OF_RUNS, FAILED}[$__range]))
                / (sum by (server, tool) (increase(runtrail_tool_calls_total{OF_RUNS}[$__range])) > 0)",
            )
            .column_thresholds(FAILED_SHARE)
            .column(
                "95 of 100 took less than",
                Unit::Seconds,
                "histogram_quantile(0.95, sum by (le, server, tool) (increase(runtrail_tool_duration_seconds_bucket{OF_RUNS}[$__range]))) >= 0",
            ),
        ],
    }
}
