//! What the main loop answers to who asks: whether it lives, and about runs.

use std::sync::Arc;

use super::Engine;
use crate::admin::{Ask, RunDetail, RunsPage, RunsQuery};
use crate::net::clock::now;
use crate::printed::printed;
use crate::run::outputs::OpenRun;
use crate::run::trace_id;
use crate::sidecar::book::{Finished, RunRow};
use crate::wire::time::Time;

/// A run on a page of the API.
enum Listed<'b> {
    Open(OpenRun),
    Finished(&'b Finished),
}

impl Engine {
    pub(super) fn answer(&self, ask: Ask) {
        // Whoever no longer waits for the answer does not get it.
        match ask {
            Ask::Alive(reply) => drop(reply.send(())),
            Ask::Runs(query, reply) => drop(reply.send(self.runs(&query))),
            Ask::Run(id, reply) => drop(reply.send(self.run_detail(&id))),
        }
    }

    fn runs(&self, query: &RunsQuery) -> RunsPage {
        let now = now();
        let fits = |state: &str, workflow: &str, open: bool| {
            let by_state = match query.state.as_deref() {
                None => true,
                Some("open") => open,
                Some("finished") => !open,
                Some(wanted) => state == wanted,
            };
            by_state
                && query
                    .workflow
                    .as_deref()
                    .is_none_or(|wanted| workflow == wanted)
        };
        let core = &self.parts.core;
        let open = core.runs();
        let open = open.filter(|run| fits(run.state(), &run.meta.workflow, true));
        let finished = self.parts.book.all_finished();
        let finished = finished.filter(|run| fits(run.row.state, &run.row.workflow, false));
        // A page is short, and the rows of all runs are not: only those on it are made.
        let mut all: Vec<(Time, Listed<'_>)> = open
            .map(|run| (run.start, Listed::Open(run)))
            .chain(finished.map(|run| (run.row.started_at, Listed::Finished(run))))
            .collect();
        all.sort_unstable_by_key(|(start, _)| std::cmp::Reverse(*start));
        all.truncate(query.limit);
        let row = |listed: Listed<'_>| match listed {
            Listed::Open(run) => RunRow::of_open(&run, now),
            Listed::Finished(run) => run.row.clone(),
        };
        RunsPage {
            open: core.open_runs(),
            finished: self.parts.book.all_finished().count(),
            runs: all.into_iter().map(|(_, listed)| row(listed)).collect(),
        }
    }

    fn run_detail(&self, id: &str) -> Option<RunDetail> {
        let (core, book) = (&self.parts.core, &self.parts.book);
        let by_trace = trace_id::parse(id);
        let open = by_trace.and_then(|trace_id| core.run(&trace_id));
        if let Some(run) = open.or_else(|| core.runs().find(|run| *run.meta.run_id == *id)) {
            let summary = core.summary_so_far(&run.meta.trace_id)?;
            return Some(RunDetail {
                row: RunRow::of_open(&run, now()),
                summary: Arc::from(printed(serde_json::to_string(&summary).ok()?)),
                spans: book.spans(&run.meta.trace_id),
            });
        }
        let finished = match by_trace.and_then(|trace_id| book.finished(&trace_id)) {
            Some(finished) => finished,
            None => book
                .all_finished()
                .find(|run| *run.row.execution_id == *id)?,
        };
        Some(RunDetail {
            row: finished.row.clone(),
            summary: Arc::clone(&finished.summary),
            spans: book.spans(&finished.row.trace_id),
        })
    }
}
