//! The attributes of a run's root span, and of the marker that announces it.

use super::semconv;
use super::sheet::Sheet;
use super::verdict::Verdict;
use super::{node, openinference};
use crate::run::cost::RunCost;
use crate::run::finished::{FinishedRun, RunMeta};
use crate::run::summary::ModelTokens;
use crate::wire::event::FactKey;

/// Who the run is, how it ended, and its sums.
pub fn attributes(
    sheet: &mut Sheet<'_>,
    run: &RunMeta,
    finished: &FinishedRun,
    verdict: &Verdict<'_>,
) {
    sheet.word(semconv::GEN_AI_OPERATION_NAME, semconv::INVOKE_WORKFLOW);
    identity(sheet, run);
    sheet.word(semconv::OUTCOME, finished.outcome.as_str());
    node::verdict(sheet, verdict, finished.error.as_ref());
    sheet.marks(finished.marks);
    sheet.count_if_any(semconv::RUN_RESTARTS, u64::from(finished.restarts));
    sums(sheet, finished);
    cost(sheet, &finished.cost);
    told_by_server(sheet, finished);
    let output = finished.output.as_ref();
    let captured = output.and_then(|output| sheet.private(semconv::fact(FactKey::Output), output));
    if sheet.settings().openinference {
        openinference::root(sheet, run, captured.as_ref());
    }
}

/// Who the run is.
pub fn marker_attributes(sheet: &mut Sheet<'_>, run: &RunMeta) {
    sheet.flag(semconv::MARKER, true);
    identity(sheet, run);
    if sheet.settings().openinference {
        openinference::marker(sheet);
    }
}

fn identity(sheet: &mut Sheet<'_>, run: &RunMeta) {
    sheet.name(semconv::GEN_AI_WORKFLOW_NAME, &run.workflow);
    sheet.word(semconv::SYSTEM, run.system);
    if let Some(project) = run.project {
        sheet.int(semconv::PROJECT_ID, project);
    }
    sheet.name(semconv::RUN_ID, &run.run_id);
}

fn sums(sheet: &mut Sheet<'_>, finished: &FinishedRun) {
    let summary = &finished.summary;
    sheet.count(semconv::TASKS_PASSED, summary.tasks.passed);
    sheet.count(semconv::TASKS_FAILED, summary.tasks.failed);
    sheet.count(semconv::TASKS_TOTAL, summary.tasks.total);
    let sum = |part: fn(&ModelTokens) -> u64| {
        summary.tokens.iter().map(part).fold(0, u64::saturating_add)
    };
    sheet.count(semconv::TOKENS_INPUT, sum(|tokens| tokens.input));
    sheet.count(semconv::TOKENS_OUTPUT, sum(|tokens| tokens.output));
    sheet.count_if_any(semconv::TOKENS_CACHE_READ, sum(|tokens| tokens.cache_read));
    sheet.count_if_any(
        semconv::TOKENS_CACHE_WRITE,
        sum(|tokens| tokens.cache_write),
    );
    sheet.count_if_any(semconv::TOKENS_REASONING, sum(|tokens| tokens.reasoning));
    sheet.word(semconv::RUN_VERIFIED, summary.verified);
}

/// What it cost, and who says so.
fn cost(sheet: &mut Sheet<'_>, cost: &RunCost) {
    if let Some(total) = cost.total {
        sheet.double(semconv::COST_USD, total.usd);
        sheet.word(semconv::COST_BASIS, total.basis.as_str());
    }
    sheet.count_if_any(semconv::TOKENS_UNPRICED, cost.unpriced_tokens);
}

/// What the events do not say: where the run came from.
fn told_by_server(sheet: &mut Sheet<'_>, finished: &FinishedRun) {
    let row = finished.facts.as_ref().and_then(|facts| facts.row.as_ref());
    let Some(row) = row else { return };
    for (name, text) in [
        (semconv::WORKFLOW_VERSION, &row.version),
        (semconv::RUN_CHANNEL, &row.channel),
        (semconv::RUN_TRIGGERED_BY, &row.triggered_by),
    ] {
        if let Some(text) = text {
            sheet.name(name, text);
        }
    }
}
