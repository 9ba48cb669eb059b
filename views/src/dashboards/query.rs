//! What many queries have in common. They are written with these words in
//! capitals, which keeps them readable; here the words are written out.

const WORDS: [(&str, &str); 8] = [
    // A word stands before those that it is made of. No counter with exemplars is
    // asked: they would be drawn among those of the panel.
    (
        "BUSIEST_WORKFLOWS",
        "topk(10, sum by (project, workflow) (increase(runtrail_run_duration_seconds_count{OF_RUNS}[$__range] @ end())))",
    ),
    ("OF_RUNTRAIL", r#"OF_JOB,instance=~"$instance""#),
    (
        "OF_RUNS",
        r#"OF_JOB,system=~"$system",project=~"$project",workflow=~"$workflow""#,
    ),
    ("OF_JOB", r#"namespace=~"$namespace",job=~"$job""#),
    // As the alerts count it: a run that somebody stopped has neither failed nor
    // succeeded, nor has one that a feed which fell silent tells no end of.
    ("RUN_FAILED", r#"outcome=~"error|timeout""#),
    ("RUN_JUDGED", r#"outcome=~"success|error|timeout""#),
    ("FAILED", r#"outcome=~"failed|unable""#),
    ("EACH", "[$__rate_interval]"),
];

/// The query with these words written out.
pub(super) fn written_out(query: &str) -> String {
    let mut written = query.split_whitespace().collect::<Vec<_>>().join(" ");
    for (word, meaning) in WORDS {
        written = written.replace(word, meaning);
    }
    written
}

/// The query, which keeps `project`, with a label `name` beside it: the project's
/// name, or its id where no name is known.
pub(super) fn with_project_name(query: &str) -> String {
    // A project that was renamed has two.
    let names = "topk by (project) (1, max by (project, name) (runtrail_project_info{OF_JOB}))";
    format!(
        r#"{query} * on (project) group_left (name) {names}
        or label_replace({query} unless on (project) {names}, "name", "$1", "project", "(.*)")"#
    )
}

/// What the counter rose by in the range, with the rise from nothing of series
/// that were not there before it: `increase()` does not see how a series begins,
/// and the errors of runs begin with the first of their code, workflow by workflow.
/// Whether something is new is not asked by instance: a pod that is replaced brings
/// its counts along. Nothing is thought of as new while nobody looked.
pub(super) fn increase_from_nothing(by: &str, counter: &str, range: &str) -> String {
    const EACH: &str = "namespace, job, system, project, workflow, error_type";
    format!(
        "sum by ({by}) (
            (
                sum by ({EACH}) ({counter}) unless sum by ({EACH}) ({counter} offset {range})
                and on (namespace, job) count by (namespace, job) (runtrail_build_info offset {range})
            )
            or sum by ({EACH}) (increase({counter}[{range}]))
        )"
    )
}

/// The query, which keeps the labels of its target, of nothing but runtrails: every
/// process tells of its memory, and Prometheus of the scrapes of all its targets.
pub(super) fn only_of_runtrail(query: &str) -> String {
    format!("{query} and on (namespace, job, instance) runtrail_build_info{{OF_RUNTRAIL}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_written_out_and_lines_become_one() {
        assert_eq!(
            written_out("sum(a{OF_RUNTRAIL, FAILED}EACH)\n    / b"),
            r#"sum(a{namespace=~"$namespace",job=~"$job",instance=~"$instance", outcome=~"failed|unable"}[$__rate_interval]) / b"#
        );
        assert!(written_out("BUSIEST_WORKFLOWS").contains("{namespace=~"));
        assert!(written_out("{RUN_FAILED}").contains("timeout"));
    }
}
