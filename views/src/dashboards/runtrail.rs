//! Whether runtrail itself is well: what it reads, sends, keeps and uses.

use super::model::{Colour, Dashboard, Look, Panel, Row, Thresholds, Unit, Variable};
use super::query::only_of_runtrail;

const ANY: Thresholds = &[(1.0, Colour::Bad)];
const SOME: Thresholds = &[(1.0, Colour::Uneasy)];
const FULL: Thresholds = &[(0.5, Colour::Uneasy), (0.9, Colour::Bad)];
const MINUTE: f64 = 60.0;
const BEHIND: Thresholds = &[(10.0, Colour::Uneasy), (MINUTE, Colour::Bad)];
const OLD: Thresholds = &[(5.0 * MINUTE, Colour::Uneasy), (30.0 * MINUTE, Colour::Bad)];

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        name: "runtrail",
        title: "runtrail: itself",
        question: "Whether runtrail is well: is it connected, has it missed anything, do spans arrive, and is there room.",
        variables: Variable::of_runtrail(),
        rows: vec![now(), feed(), truth(), export(), store(), process()],
    }
}

fn now() -> Row {
    let numbers = |title, says| Panel::new(Look::Numbers, title, says);
    Row {
        title: "Now",
        panels: vec![
            numbers(
                "Feed",
                "Whether every runtrail that is chosen is connected to its feed. If not: is the server up, is the token still good? Its log says what it was told.",
            )
            .nothing("runtrail is down")
            .word(0.0, "not connected", Colour::Bad)
            .word(1.0, "connected", Colour::Good)
            .query("feed", "min(runtrail_source_connected{OF_RUNTRAIL})"),
            numbers(
                "Since the last event",
                "How long ago the newest event arrived. Long, and connected: nothing runs, or the server has stopped telling.",
            )
            .unit(Unit::Seconds)
            .nothing("no event yet")
            .query("newest", "time() - max(runtrail_source_last_event_timestamp_seconds{OF_RUNTRAIL})"),
            numbers(
                "Since spans were taken",
                "How long ago the trace backend last took a batch. Long, while batches wait: look at the row \"Spans to the backend\".",
            )
            .unit(Unit::Seconds)
            .nothing("none was taken yet")
            .query("taken", "time() - max(runtrail_export_last_success_timestamp_seconds{OF_RUNTRAIL})"),
            numbers(
                "Outbox full",
                "How full the room is for what waits to be sent. When it is full, runs are still counted, and their spans are made later from the server's log.",
            )
            .unit(Unit::Share)
            .thresholds(FULL)
            .max(1.0)
            .nothing("nothing is sent")
            .query(
                "full",
                "max(runtrail_outbox_bytes{OF_RUNTRAIL} / (runtrail_outbox_limit_bytes{OF_RUNTRAIL} > 0))",
            ),
            numbers(
                "Do not read",
                "How many runtrails do not read their feed now, and why is told below: refused by the server, outbox full, disk full.",
            )
            .thresholds(ANY)
            .nothing("runtrail is down")
            .query("resting", "sum(max by (namespace, job, instance) (runtrail_source_paused{OF_RUNTRAIL}))"),
            numbers(
                "Disk takes nothing",
                "How many runtrails cannot write to their store. Make room on the volume: nothing is lost until the process ends.",
            )
            .thresholds(ANY)
            .nothing("runtrail is down")
            .query("full", "sum(runtrail_store_suspended{OF_RUNTRAIL})"),
            Panel::new(
                Look::Table { worst_by: 0 },
                "Alerts that fire",
                "Those of our rules that fire now. Each has a section in the runbook.",
            )
            .size(12, 6)
            .nothing("none fires")
            .column(
                "Firing",
                Unit::Count,
                r#"count by (alertname, severity) (ALERTS{alertname=~"Runtrail.+", alertstate="firing"})"#,
            ),
            Panel::new(
                Look::Table { worst_by: 0 },
                "Who runs",
                "Every runtrail that is scraped, its version, and for how long it has been up. Two on one feed count every run twice.",
            )
            .size(12, 6)
            .nothing("runtrail is down")
            .column(
                "Up for",
                Unit::Seconds,
                "(time() - max by (instance) (process_start_time_seconds{OF_RUNTRAIL}))
                * on (instance) group_right () max by (instance, version) (runtrail_build_info{OF_RUNTRAIL})",
            ),
        ],
    }
}

fn feed() -> Row {
    let delay = |quantile: &str| {
        format!(
            "histogram_quantile({quantile}, sum by (le) (rate(runtrail_feed_delay_seconds_bucket{{OF_RUNTRAIL}}EACH)))"
        )
    };
    Row {
        title: "Feed",
        panels: vec![
            Panel::new(
                Look::Lines,
                "Connected",
                "1 while the feed is connected. What happens while it is not is fetched from the server's log later.",
            )
            .size(8, 7)
            .max(1.0)
            .nothing("runtrail is down")
            .query("{{instance}}", "runtrail_source_connected{OF_RUNTRAIL}"),
            Panel::new(
                Look::Lines,
                "Delay",
                "How old events are when they arrive: half of them, and 99 of 100, are younger. A delay that grows: the server, the network or runtrail cannot keep up. One that is the same for all: the clocks differ.",
            )
            .size(8, 7)
            .unit(Unit::Seconds)
            .thresholds(BEHIND)
            .nothing("no event yet")
            .query("half", &delay("0.5"))
            .query("99 of 100", &delay("0.99")),
            Panel::new(
                Look::Stacked,
                "Events",
                "Events a second, by type. An `unknown` type: the server is newer than this runtrail; nothing breaks, but it is not told of.",
            )
            .size(8, 7)
            .unit(Unit::PerSecond)
            .nothing("no event yet")
            .query("{{type}}", "sum by (type) (rate(runtrail_events_total{OF_RUNTRAIL}EACH)) > 0"),
            Panel::new(
                Look::Bars,
                "Gaps and reconnects",
                "Times a minute that the feed lost something, by cause, and that it was connected again. `lagged`: the server dropped what we did not read in time.",
            )
            .size(8, 7)
            .unit(Unit::PerMinute)
            .nothing("none yet")
            .query("{{cause}}", "sum by (cause) (rate(runtrail_feed_gaps_total{OF_RUNTRAIL}EACH)) * 60")
            .query("connected again", "sum(rate(runtrail_source_reconnects_total{OF_RUNTRAIL}EACH)) * 60"),
            Panel::new(
                Look::Bars,
                "Not taken",
                "Parts of the feed a minute that were not taken, or not as they were, by reason. `duplicate` is harmless: it follows a reconnect.",
            )
            .size(8, 7)
            .unit(Unit::PerMinute)
            .nothing("all were taken")
            .query(
                "{{reason}}",
                "sum by (reason) (rate(runtrail_events_rejected_total{OF_RUNTRAIL}EACH)) * 60 > 0",
            ),
            Panel::new(
                Look::Lines,
                "Reading rests, by reason",
                "1 while the feed is not read, by reason. `refused`: the server turns us away, see the token. `outbox_full`, `disk_full`: make room.",
            )
            .size(8, 7)
            .max(1.0)
            .nothing("runtrail is down")
            .query("{{reason}}", "max by (reason) (runtrail_source_paused{OF_RUNTRAIL})"),
        ],
    }
}

fn truth() -> Row {
    Row {
        title: "Is it true",
        panels: vec![
            Panel::new(
                Look::Numbers,
                "Sums that agree",
                "Of the runs in the time shown that could be checked, the share whose sums agree with the server's own. Less than all: something was missed, or the server counts otherwise.",
            )
            .size(6, 7)
            .unit(Unit::Share)
            .thresholds(&[
                (f64::NEG_INFINITY, Colour::Bad),
                (0.99, Colour::Uneasy),
                (0.999, Colour::Good),
            ])
            .max(1.0)
            .nothing("no run could be checked")
            .query(
                "agree",
                r#"sum(increase(runtrail_runs_verified_total{OF_RUNTRAIL, result="match"}[$__range]))
                / (sum(increase(runtrail_runs_verified_total{OF_RUNTRAIL, result=~"match|mismatch"}[$__range])) > 0)"#,
            ),
            Panel::new(
                Look::Bars,
                "Our sums against the server's",
                "Runs a minute that ended, by whether our sums agree with the server's. `unchecked`: the server told none, or the run's log could not be had.",
            )
            .size(9, 7)
            .unit(Unit::PerMinute)
            .nothing("no run ended")
            .query(
                "{{result}}",
                "sum by (result) (rate(runtrail_runs_verified_total{OF_RUNTRAIL}EACH)) * 60",
            )
            .colour("match", Colour::Good)
            .colour("mismatch", Colour::Bad)
            .colour("unchecked", Colour::Plain),
            Panel::new(
                Look::Bars,
                "Repairs",
                "Runs a minute that the feed had lost something of, by how their repair went. `gave_up` or `unavailable`: these traces may lack something.",
            )
            .size(9, 7)
            .unit(Unit::PerMinute)
            .nothing("none was needed")
            .query(
                "{{result}}",
                "sum by (result) (rate(runtrail_runs_repaired_total{OF_RUNTRAIL}EACH)) * 60",
            )
            .colour("repaired", Colour::Good)
            .colour("gave_up", Colour::Bad)
            .colour("unavailable", Colour::Uneasy),
        ],
    }
}

fn export() -> Row {
    let lines = |look, title, says| {
        Panel::new(look, title, says)
            .size(8, 7)
            .nothing("nothing is sent")
    };
    Row {
        title: "Spans to the backend",
        panels: vec![
            lines(
                Look::Stacked,
                "Requests, by result",
                "Requests a minute to the trace backend. `refused_route`: the address or the token is wrong, and nothing is sent until it is right. `refused_data`: the backend does not take some spans, which are set aside.",
            )
            .unit(Unit::PerMinute)
            .query(
                "{{result}}",
                "sum by (result) (rate(runtrail_export_requests_total{OF_RUNTRAIL}EACH)) * 60 > 0",
            )
            .colour("taken", Colour::Good)
            .colour("refused_route", Colour::Bad)
            .colour("refused_data", Colour::Bad),
            lines(
                Look::Lines,
                "Spans taken",
                "Spans a second that the backend has taken. Zero while runs end: look at the requests beside it.",
            )
            .unit(Unit::PerSecond)
            .query("taken", "sum(rate(runtrail_spans_exported_total{OF_RUNTRAIL}EACH))"),
            lines(
                Look::Bars,
                "Spans that the backend will never have",
                "Spans a minute, by reason. Those that were refused are in quarantine: `runtrail check` lists them, `runtrail resend` sends them again.",
            )
            .unit(Unit::PerMinute)
            .nothing("none")
            .colour("invalid", Colour::Bad)
            .query(
                "{{reason}}",
                "sum by (reason) (rate(runtrail_spans_refused_total{OF_RUNTRAIL}EACH)) * 60 > 0",
            ),
            lines(
                Look::Lines,
                "Outbox",
                "Bytes that wait to be sent. Rising: the backend is slower than the runs, or away.",
            )
            .unit(Unit::Bytes)
            .query("{{instance}}", "runtrail_outbox_bytes{OF_RUNTRAIL}"),
            lines(
                Look::Lines,
                "Oldest batch that waits",
                "How long the oldest batch has been waiting. Minutes: the backend is slow. An hour: it is away.",
            )
            .unit(Unit::Seconds)
            .thresholds(OLD)
            .nothing("nothing waits")
            .query("{{instance}}", "time() - runtrail_outbox_oldest_timestamp_seconds{OF_RUNTRAIL}"),
            lines(
                Look::Lines,
                "Batches that wait",
                "Batches that wait to be sent, and batches set aside because the backend refused them for good.",
            )
            .query("waiting {{instance}}", "runtrail_outbox_batches{OF_RUNTRAIL}")
            .query("in quarantine {{instance}}", "runtrail_quarantine_batches{OF_RUNTRAIL}"),
        ],
    }
}

fn store() -> Row {
    let numbers = |title, says| {
        Panel::new(Look::Numbers, title, says)
            .size(4, 5)
            .nothing("runtrail is down")
    };
    Row {
        title: "Store",
        panels: vec![
            numbers(
                "Journal full",
                "How full the room is for accepted events whose spans are not safe yet. Without a store there is none: what runs is lost with the process.",
            )
            .unit(Unit::Share)
            .thresholds(FULL)
            .max(1.0)
            .nothing("no store")
            .query(
                "full",
                "max(runtrail_journal_bytes{OF_RUNTRAIL} / (runtrail_journal_limit_bytes{OF_RUNTRAIL} > 0))",
            ),
            numbers(
                "Since the last checkpoint",
                "How long ago the state of the open runs was last written to disk, where something happened since. The longer, the longer a start takes.",
            )
            .unit(Unit::Seconds)
            .thresholds(OLD)
            .nothing("nothing to save")
            .query(
                "checkpoint",
                "time() - min(runtrail_checkpoint_last_success_timestamp_seconds{OF_RUNTRAIL} and on (namespace, job, instance) sum by (namespace, job, instance) (increase(runtrail_events_total{OF_RUNTRAIL}[10m])) > 0)",
            ),
            numbers(
                "Owed",
                "Ended runs whose spans are made from the server's log once there is room. They are counted already.",
            )
            .thresholds(SOME)
            .query("owed", "sum(runtrail_runs_owed{OF_RUNTRAIL})"),
            numbers(
                "Given up",
                "Ended runs in the time shown whose spans will not be made, because too many were owed. `runtrail backfill` makes them.",
            )
            .thresholds(ANY)
            .query("given up", "round(sum(increase(runtrail_runs_given_up_total{OF_RUNTRAIL}[$__range])))"),
            numbers(
                "In quarantine",
                "Batches set aside because the backend refused them for good. `runtrail check` lists them.",
            )
            .thresholds(SOME)
            .query("batches", "sum(runtrail_quarantine_batches{OF_RUNTRAIL})"),
            numbers(
                "Dropped from quarantine",
                "Batches in the time shown that had to go because too many were set aside.",
            )
            .thresholds(ANY)
            .query(
                "dropped",
                "round(sum(increase(runtrail_quarantine_dropped_batches_total{OF_RUNTRAIL}[$__range])))",
            ),
            numbers(
                "Damaged records",
                "Records on disk in the time shown that were damaged and left out. Any: look at the disk.",
            )
            .thresholds(ANY)
            .query(
                "damaged",
                "round(sum(increase(runtrail_store_corrupt_records_total{OF_RUNTRAIL}[$__range])))",
            ),
            numbers(
                "Perhaps sent twice",
                "Batches in the time shown that may have been sent twice after a crash. Backends know a span by its id.",
            )
            .query(
                "batches",
                "round(sum(increase(runtrail_export_redelivered_batches_total{OF_RUNTRAIL}[$__range])))",
            ),
            Panel::new(
                Look::Lines,
                "Journal",
                "Bytes of accepted events that are kept until their spans are safe. Whole files of it go with a checkpoint, so it rises for a while and falls at once.",
            )
            .size(16, 5)
            .unit(Unit::Bytes)
            .nothing("no store")
            .query("{{instance}}", "runtrail_journal_bytes{OF_RUNTRAIL}"),
        ],
    }
}

fn process() -> Row {
    let lines = |title, says| {
        Panel::new(Look::Lines, title, says)
            .size(6, 7)
            .nothing("runtrail is down")
    };
    Row {
        title: "Metrics and process",
        panels: vec![
            lines(
                "Samples without a series of their own",
                "Samples a minute that went to `__other__` because a label or all labels had no room, by metric. Raise `metric_series_max`, or tell fewer workflows by `include`.",
            )
            .unit(Unit::PerMinute)
            .nothing("every sample has its series")
            .query(
                "{{metric}}",
                "sum by (metric) (rate(runtrail_series_overflow_total{OF_RUNTRAIL}EACH)) * 60 > 0",
            ),
            lines(
                "Chunks left out of spans",
                "Chunk and reasoning events a minute that were left out to keep spans in bounds. Their sizes are on the spans nevertheless.",
            )
            .unit(Unit::PerMinute)
            .query("left out", "sum(rate(runtrail_chunk_events_thinned_total{OF_RUNTRAIL}EACH)) * 60"),
            lines(
                "Series on the page",
                "How many samples Prometheus reads of each runtrail. `metric_series_max` bounds it.",
            )
            .query("{{instance}}", &only_of_runtrail("scrape_samples_scraped{OF_RUNTRAIL}")),
            lines("A scrape takes", "How long Prometheus waits for the page.")
                .unit(Unit::Seconds)
                .query("{{instance}}", &only_of_runtrail("scrape_duration_seconds{OF_RUNTRAIL}")),
            lines(
                "Memory",
                "What the process holds of real memory. It is bounded: the start-up log tells the bound, `memory_max` sets it.",
            )
            .unit(Unit::Bytes)
            .size(8, 7)
                .query("{{instance}}", &only_of_runtrail("process_resident_memory_bytes{OF_RUNTRAIL}")),
            lines("CPU", "Of one core, 100 % is all of it.")
                .unit(Unit::Share)
                .size(8, 7)
                .query("{{instance}}", &only_of_runtrail("rate(process_cpu_seconds_total{OF_RUNTRAIL}EACH)")),
            lines(
                "Files and threads",
                "Open files and sockets, and threads.",
            )
            .size(8, 7)
                .query("files {{instance}}", &only_of_runtrail("process_open_fds{OF_RUNTRAIL}"))
            .query("threads {{instance}}", &only_of_runtrail("process_threads{OF_RUNTRAIL}")),
        ],
    }
}
