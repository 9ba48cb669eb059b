//! Whether runtrail is there, and hears what it should.

use super::{Alert, Severity};

pub(super) const ALERTS: &[Alert] = &[
    Alert {
        // Whatever the job is called: something that was runtrail within a day and
        // cannot be scraped, or that nobody tries to scrape any more. A pod that
        // was replaced is neither, since its job is still there.
        name: "RuntrailDown",
        expr: "
            (
              max by ($instance) (up) == 0
              and on ($instance) last_over_time(runtrail_build_info[1d])
            )
            or
            (
              count by ($job) (last_over_time(runtrail_build_info[1d]))
              unless on ($job) max by ($job) (up)
            )
            ",
        lasts: "5m",
        severity: Severity::Page,
        summary: "runtrail is down ({{ $labels.job }})",
        description: "{{ $labels.job }} {{ $labels.instance }} was runtrail within the last day, and cannot be scraped now. Until it is back no other alert about its runs can fire.",
    },
    Alert {
        name: "RuntrailAbsent",
        expr: "absent(last_over_time(runtrail_build_info[1d]))",
        lasts: "15m",
        severity: Severity::Ticket,
        summary: "There is no runtrail to be seen",
        description: "These rules are loaded, but no metric of runtrail has reached this Prometheus for a day: no other of the alerts can fire.",
    },
    Alert {
        name: "RuntrailFeedDown",
        expr: "runtrail_source_connected == 0",
        lasts: "5m",
        severity: Severity::Page,
        summary: "runtrail hears nothing: the feed of {{ $labels.job }} is down",
        description: "{{ $labels.job }} {{ $labels.instance }} has had no connection to its server's feed for five minutes. What happens meanwhile shows nowhere; it is asked for once the feed is back.",
    },
    Alert {
        name: "RuntrailFeedPaused",
        expr: r#"runtrail_source_paused{reason!="refused"} == 1"#,
        lasts: "15m",
        severity: Severity::Ticket,
        summary: "runtrail does not read the feed of {{ $labels.job }}: {{ $labels.reason }}",
        description: "{{ $labels.job }} {{ $labels.instance }} has not read its feed for 15 minutes, since it has no room for what it would read (reason: {{ $labels.reason }}).",
    },
    Alert {
        // By the same hour of last week: at night and at weekends feeds are silent.
        // A process that was told nothing yet has been silent since its start. Both
        // are asked by job: of several that share one, it does not show any more
        // which of them was busy then, since pods change their addresses.
        name: "RuntrailFeedSilent",
        expr: "
            (
              time()
              - max by ($job) (
                (runtrail_source_last_event_timestamp_seconds or on ($instance) process_start_time_seconds)
                and on ($instance) runtrail_source_connected
              )
              > 1800
            )
            and on ($job) min by ($job) (runtrail_source_connected) == 1
            and on ($job) sum by ($job) (increase(runtrail_events_total[1h] offset 1w)) >= 100
            ",
        lasts: "10m",
        severity: Severity::Ticket,
        summary: "The feed of {{ $labels.job }} is connected, but silent for {{ $value | humanizeDuration }}",
        description: "{{ $labels.job }} is connected to its server, and has heard nothing for {{ $value | humanizeDuration }}. At this hour a week ago the feed was busy.",
    },
    Alert {
        name: "RuntrailRepairsFailing",
        expr: r#"
            sum without (result) (increase(runtrail_runs_repaired_total{result=~"unavailable|gave_up"}[1h])) >= 3
            "#,
        lasts: "0m",
        severity: Severity::Ticket,
        summary: "runtrail cannot repair what the feed of {{ $labels.job }} lost",
        description: "The feed of {{ $labels.job }} {{ $labels.instance }} lost something of {{ $value | printf \"%.0f\" }} runs in the last hour, and their server's log could not be read. These runs are shown as they came: parts may be missing.",
    },
    Alert {
        name: "RuntrailVerificationMismatch",
        expr: r#"
            sum without (result) (increase(runtrail_runs_verified_total{result="mismatch"}[6h])) >= 3
            and
              sum without (result) (increase(runtrail_runs_verified_total{result="mismatch"}[6h]))
              > 0.01 * sum without (result) (increase(runtrail_runs_verified_total{result=~"match|mismatch"}[6h]))
            "#,
        lasts: "0m",
        severity: Severity::Ticket,
        summary: "runtrail and the server of {{ $labels.job }} count differently",
        description: "For {{ $value | printf \"%.0f\" }} runs of {{ $labels.job }} {{ $labels.instance }} in the last six hours, tokens or tasks as counted here are not those that the server told at the end.",
    },
    Alert {
        name: "RuntrailSeriesOverflow",
        expr: "sum without (metric) (increase(runtrail_series_overflow_total[1h])) > 0",
        lasts: "15m",
        severity: Severity::Ticket,
        summary: "runtrail has no room for new names: they are counted as __other__",
        description: "{{ $labels.job }} {{ $labels.instance }} counted {{ $value | humanize }} samples as __other__ in the last hour. Sums are right, but new workflows, tasks or models have no series of their own, and alerts by workflow do not see them.",
    },
];
