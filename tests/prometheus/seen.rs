//! What is on the page of the busy one.

use std::fs::File;
use std::io::Write as _;
use std::process::Command;

use tempfile::NamedTempFile;

use crate::peers::{Peers, Prometheus};
use crate::program::{eventually, get};
use crate::world::Watched;

/// Reads a page and prints how many exemplars it has.
const READER: &str = "
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
page = sys.stdin.buffer.read().decode('utf-8')
families = text_string_to_metric_families(page)
print(sum(sample.exemplar is not None for family in families for sample in family.samples))
";

impl Watched {
    /// Waits until there is something to see of every kind.
    pub(crate) fn has_failed_in_many_ways(&self, prometheus: &Prometheus) {
        let enough = [
            "count(count by (error_type) (runtrail_run_errors_total{OF} > 0)) >= 5",
            "count(count by (workflow) (runtrail_runs_finished_total{outcome='success',OF} > 0)) >= 5",
            "count(count by (model) (runtrail_tokens_total{OF} > 0)) >= 5",
            "sum(runtrail_run_wait_seconds_total{OF}) > 0",
            "sum(runtrail_tool_calls_total{outcome='failed',OF}) > 0",
            "sum(runtrail_validation_failures_total{OF}) > 0",
            "sum(runtrail_task_escalations_total{OF}) > 0",
            "sum(runtrail_cost_usd_total{OF}) > 0",
        ];
        let of = format!("instance='{}'", self.name);
        let enough = enough.map(|query| query.replace("OF", &of));
        for query in enough {
            eventually(&query, || {
                (!prometheus.query(&query).is_empty()).then_some(())
            });
        }
    }

    /// What promtool has to say of the page, and what a parser of OpenMetrics has.
    pub(crate) fn page_is_not_clean(&self, peers: &Peers) -> Vec<String> {
        let mut wrong = Vec::new();
        let checked = peers.promtool(&["check", "metrics"], self.page("").path());
        let said = String::from_utf8([checked.stdout, checked.stderr].concat()).unwrap();
        if !checked.status.success() || !said.is_empty() {
            wrong.push(format!("promtool says of the page: {said}"));
        }
        let page = std::fs::read_to_string(self.page("").path()).unwrap();
        for line in page.lines().filter(|line| line.ends_with(" NaN")) {
            wrong.push(format!("the page has a series that says nothing: {line}"));
        }
        // `./test` says which Python has the parser, and then it must be there.
        let Some(python) = std::env::var_os("RUNTRAIL_TEST_PYTHON") else {
            eprintln!("skipped: nobody says which Python reads OpenMetrics; ./test does");
            return wrong;
        };
        let page = self.page("Accept: application/openmetrics-text;version=1.0.0\r\n");
        let read = Command::new(python)
            .args(["-c", READER])
            .stdin(File::open(page.path()).unwrap())
            .output()
            .unwrap();
        let exemplars = String::from_utf8(read.stdout).unwrap();
        if !exemplars.trim().parse().is_ok_and(|count: u32| count > 0) {
            let said = String::from_utf8_lossy(&read.stderr);
            wrong.push(format!(
                "as OpenMetrics it has {exemplars:?} exemplars: {said}"
            ));
        }
        wrong
    }

    /// The page as a file, asked for with these headers.
    fn page(&self, headers: &str) -> NamedTempFile {
        let (status, page) = get(self.metrics(), "/metrics", headers);
        assert_eq!(status, 200, "{page}");
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(page.as_bytes()).unwrap();
        file
    }
}
