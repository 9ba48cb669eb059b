//! What is on the page of the busy one.

use std::io::Write as _;

use tempfile::NamedTempFile;

use crate::peers::{Peers, Prometheus};
use crate::program::{eventually, get};
use crate::world::Watched;

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

    /// What promtool has to say of the page.
    pub(crate) fn page_is_not_clean(&self, peers: &Peers) -> Vec<String> {
        let (status, page) = get(self.metrics(), "/metrics", "");
        assert_eq!(status, 200, "{page}");
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(page.as_bytes()).unwrap();
        let checked = peers.promtool(&["check", "metrics"], file.path());
        let said = [checked.stdout, checked.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        match checked.status.success() && said.is_empty() {
            true => Vec::new(),
            false => vec![format!("promtool says of the page: {said}")],
        }
    }
}
