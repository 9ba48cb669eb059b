//! What a query uses, held against what runtrail exports.
//!
//! A query is parsed, and the labels of its result are worked out from the inside
//! out: so a label is refused not only where no metric has it, but also where a
//! sum before has taken it away. A typo in a name, a label or a value of a label
//! gives no error on Prometheus: it gives an empty panel, or an alert that never
//! fires. Here it gives an error.

mod known;
mod labels;

use std::collections::BTreeSet;

pub use self::known::Known;

/// Whether every metric, label and known value that the query uses is exported.
pub fn check(query: &str) -> Result<(), String> {
    labels_of(query).map(|_| ())
}

/// The labels of what the query gives; none for a number.
pub fn labels_of(query: &str) -> Result<BTreeSet<String>, String> {
    Known::exported().labels_of(query)
}

/// What Grafana puts into a query before Prometheus sees it, by what may stand
/// there instead while the query is checked. Longer names stand first.
const VARIABLES: [(&str, &str); 12] = [
    ("$__rate_interval_ms", "300000"),
    ("$__rate_interval", "5m"),
    ("$__interval", "1m"),
    ("$__range_s", "21600"),
    ("$__range", "6h"),
    ("$system", ".*"),
    ("$project", ".*"),
    ("$workflow", ".*"),
    ("$namespace", ".*"),
    ("$job", ".*"),
    ("$instance", ".*"),
    // Not a variable: what a pattern has found.
    ("\"$1\"", "\"-\""),
];

/// The query as Prometheus may see it.
fn without_variables(query: &str) -> Result<String, String> {
    let mut plain = query.to_owned();
    for (variable, value) in VARIABLES {
        plain = plain.replace(variable, value);
    }
    if plain.contains('$') {
        return Err(format!("it has a variable that is not known: {query}"));
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(query: &str) -> Vec<String> {
        labels_of(query)
            .unwrap_or_else(|error| panic!("{error}"))
            .into_iter()
            .collect()
    }

    fn refused(query: &str) -> String {
        check(query).expect_err(query)
    }

    #[test]
    fn a_query_of_what_is_exported_passes() {
        for query in [
            "sum by (workflow) (rate(runtrail_runs_finished_total{outcome=~\"error|timeout\"}[5m]))",
            "histogram_quantile(0.9, sum by (le) (rate(runtrail_run_duration_seconds_bucket[5m])))",
            "rate(runtrail_task_duration_seconds_sum[5m]) / rate(runtrail_task_duration_seconds_count[5m])",
            "process_resident_memory_bytes{job=\"runtrail\"}",
            "up{job=\"runtrail\", instance=\"a\"} == 0",
            "time() - runtrail_outbox_oldest_timestamp_seconds",
            "vector(1)",
            "absent(runtrail_source_connected{instance=\"a\"})",
        ] {
            check(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        }
    }

    #[test]
    fn variables_of_grafana_are_known_and_others_are_not() {
        check("rate(runtrail_runs_started_total{workflow=~\"$workflow\"}[$__rate_interval])")
            .unwrap();
        assert!(refused("runtrail_runs_open{workflow=~\"$wrkflow\"}").contains("variable"));
    }

    #[test]
    fn a_metric_that_is_not_exported_is_refused() {
        for query in [
            "runtrail_runs_opened",
            "sum(rate(runtrail_run_finished_total[5m]))",
            // A histogram is its buckets, its sum and its count; nothing else has these.
            "runtrail_run_duration_seconds",
            "runtrail_runs_open_bucket",
            "up / process_memory_bytes",
        ] {
            assert!(refused(query).contains("is not exported"), "{query}");
        }
        assert!(refused("{workflow=\"a\"}").contains("name"));
    }

    #[test]
    fn a_label_that_the_metric_lacks_is_refused_wherever_it_stands() {
        for query in [
            "runtrail_runs_open{task=\"a\"}",
            "sum by (task) (runtrail_runs_open)",
            "sum without (task) (runtrail_runs_open)",
            "topk by (task) (3, runtrail_runs_open)",
            "sum by (le) (rate(runtrail_run_duration_seconds_sum[5m]))",
            "sum by (workflow) (sum by (project) (runtrail_runs_open))",
            "runtrail_runs_open * on (name) group_left () runtrail_runs_owed",
            "runtrail_runs_open * on (project) group_left (task) runtrail_project_info",
            "histogram_quantile(0.9, sum by (workflow) (rate(runtrail_run_duration_seconds_bucket[5m])))",
            "label_replace(runtrail_runs_open, \"x\", \"$1\", \"task\", \"(.*)\")",
        ] {
            assert!(refused(query).contains("has no label"), "{query}");
        }
    }

    #[test]
    fn a_value_that_a_closed_label_never_has_is_refused() {
        for query in [
            "runtrail_runs_finished_total{outcome=\"failure\"}",
            "runtrail_runs_finished_total{outcome!=\"succes\"}",
            "runtrail_runs_finished_total{outcome=~\"error|timed_out\"}",
            "runtrail_runs_finished_total{outcome!~\"succes|cancelled\"}",
        ] {
            assert!(refused(query).contains("never has the value"), "{query}");
        }
        check("runtrail_runs_finished_total{outcome=~\"err.*\", workflow=\"any\"}").unwrap();
    }

    #[test]
    fn a_rate_is_of_a_counter_and_a_trend_of_a_gauge() {
        assert!(refused("rate(runtrail_runs_open[5m])").contains("gauge"));
        assert!(refused("increase(process_threads[5m])").contains("gauge"));
        assert!(refused("predict_linear(runtrail_tokens_total[1h], 60)").contains("counter"));
        check("increase(process_cpu_seconds_total[5m])").unwrap();
        check("deriv(runtrail_outbox_bytes[5m])").unwrap();
    }

    #[test]
    fn two_sides_that_can_never_match_are_refused() {
        for query in [
            "sum by (workflow) (runtrail_runs_open) / sum(runtrail_runs_open)",
            "sum by (workflow) (runtrail_runs_open) and sum(runtrail_runs_open)",
            "sum by (workflow) (runtrail_runs_open) / ignoring (workflow) sum by (project) (runtrail_runs_open)",
        ] {
            assert!(refused(query).contains("never match"), "{query}");
        }
        check("sum by (workflow) (runtrail_runs_open) / ignoring (workflow) group_left () sum(runtrail_runs_open)").unwrap();
        check(
            "sum by (workflow) (runtrail_runs_open) / on () group_left () sum(runtrail_runs_open)",
        )
        .unwrap();
    }

    #[test]
    fn the_labels_of_a_result_are_worked_out() {
        let open = "sum by (project, workflow) (runtrail_runs_open)";
        assert_eq!(labels(open), ["project", "workflow"]);
        assert_eq!(
            labels(&format!("sum without (project) ({open})")),
            ["workflow"]
        );
        assert_eq!(labels(&format!("topk(3, {open})")), ["project", "workflow"]);
        assert_eq!(labels(&format!("sum({open})")), [""; 0]);
        assert_eq!(
            labels(&format!("({open}) > 3 or vector(0)")),
            ["project", "workflow"]
        );
        assert_eq!(
            labels(&format!("{open} unless on (workflow) {open}")),
            ["project", "workflow"]
        );
        assert_eq!(
            labels(&format!("{open} - on (workflow) {open}")),
            ["workflow"]
        );
        assert_eq!(
            labels(&format!("{open} - ignoring (workflow) {open}")),
            ["project"]
        );
        let names = "max by (project, name) (runtrail_project_info)";
        assert_eq!(
            labels(&format!("{open} * on (project) group_left (name) {names}")),
            ["name", "project", "workflow"]
        );
        assert_eq!(
            labels(
                "histogram_quantile(0.5, sum by (le, workflow) (rate(runtrail_run_duration_seconds_bucket[5m])))"
            ),
            ["workflow"]
        );
        assert_eq!(labels("count_values(\"version\", up)"), ["version"]);
        assert_eq!(labels("absent(up{job=\"a\", instance=~\"b\"})"), ["job"]);
        assert_eq!(
            labels("label_replace(up, \"node\", \"-\", \"instance\", \".*\")"),
            ["instance", "job", "namespace", "node"]
        );
        assert_eq!(labels("scalar(up)"), [""; 0]);
        assert_eq!(labels("max_over_time(sum by (job) (up)[1h:5m])"), ["job"]);
        assert_eq!(labels("-up"), ["instance", "job", "namespace"]);
    }

    #[test]
    fn what_a_rule_records_is_known_once_it_was_told() {
        let mut known = Known::exported();
        assert!(known.labels_of("workflow:open:sum").is_err());
        known
            .record(
                "workflow:open:sum",
                "sum by (workflow) (runtrail_runs_open)",
            )
            .unwrap();
        assert!(known.labels_of("workflow:open:sum{workflow=\"a\"}").is_ok());
        assert!(known.labels_of("workflow:open:sum{project=\"a\"}").is_err());
        assert!(known.record("wrong", "runtrail_nothing").is_err());
    }
}
