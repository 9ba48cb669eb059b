//! A finished run as one readable line.

use super::bar::{Cell, cells, stretches};
use crate::run::summary::RunSummary;
use crate::run::trace_id::hex;
use crate::sidecar::engine::FinishedRun;

/// How lines look.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Whether there are colours.
    pub colours: bool,
}

const BAR_WIDTH: usize = 24;
const NAME_WIDTH: usize = 18;
const WHY_WIDTH: usize = 60;

/// The words above the columns.
pub(super) fn heading() -> String {
    format!(
        "  {:<NAME_WIDTH$} {:>7}  {:<BAR_WIDTH$}  {:<10} {:>8}  {:>8}  trace id",
        "workflow", "took", "", "tasks", "tokens", "cost"
    )
}

/// What the cells of a bar mean.
pub(super) fn legend(look: Look) -> String {
    let meanings = [
        (Cell::Task, "a task"),
        (Cell::FailedTask, "one that failed"),
        (Cell::Work, "a tool, program or HTTP call"),
        (Cell::Wait, "waiting for somebody"),
    ];
    let parts: Vec<_> = meanings
        .iter()
        .map(|(cell, meaning)| format!("{} {meaning}", look.paint(cell.glyph(), cell.colour())))
        .collect();
    format!("  {}", parts.join("   "))
}

/// The line of a run.
pub(super) fn line(run: &FinishedRun, look: Look) -> String {
    let summary = &run.summary;
    let (mark, colour) = match summary.outcome {
        "success" => ('✓', "32"),
        "cancelled" => ('○', "90"),
        _ => ('✗', "31"),
    };
    let mut line = format!(
        "{} {:<NAME_WIDTH$} {:>7}  {}  {:<10} {:>8}  {:>8}  {}",
        look.paint(mark, colour),
        cut(&summary.workflow, NAME_WIDTH),
        took(summary.duration.total_ms),
        bar(run, look),
        tasks(summary),
        tokens(summary),
        cost(summary),
        hex(&summary.trace_id),
    );
    if summary.outcome != "success" {
        let why = summary
            .error
            .as_ref()
            .map(|error| cut(&error.error_type, WHY_WIDTH));
        let why = why.filter(|why| *why != summary.outcome);
        let text = match why {
            Some(why) => format!("  {}: {why}", summary.outcome),
            None => format!("  {}", summary.outcome),
        };
        line.push_str(&look.paint(text, colour));
    }
    line
}

impl Look {
    pub(super) fn paint(self, text: impl std::fmt::Display, colour: &str) -> String {
        match self.colours {
            true => format!("\x1b[{colour}m{text}\x1b[0m"),
            false => text.to_string(),
        }
    }
}

fn bar(run: &FinishedRun, look: Look) -> String {
    let start = run.summary.started_at;
    let end = run.summary.finished_at.unwrap_or(start);
    let stretches = stretches(run.spans.iter().map(|span| &**span));
    let mut bar = String::new();
    let cells = cells(start.0, end.0, &stretches, BAR_WIDTH);
    for same in cells.chunk_by(|a, b| a == b) {
        let Some(cell) = same.first() else { continue };
        let glyphs: String = same.iter().map(|cell| cell.glyph()).collect();
        bar.push_str(&look.paint(glyphs, cell.colour()));
    }
    bar
}

fn tasks(summary: &RunSummary) -> String {
    match summary.tasks.failed {
        0 => format!("{} ok", summary.tasks.passed),
        failed => format!("{} ok {failed} bad", summary.tasks.passed),
    }
}

fn tokens(summary: &RunSummary) -> String {
    let models = summary.tokens.iter();
    let sum = models.fold(0u64, |sum, model| {
        sum.saturating_add(model.input).saturating_add(model.output)
    });
    match sum {
        0 => "-".to_owned(),
        1..10_000 => sum.to_string(),
        10_000..10_000_000 => format!("{:.1}k", sum as f64 / 1e3),
        _ => format!("{:.1}M", sum as f64 / 1e6),
    }
}

fn cost(summary: &RunSummary) -> String {
    let usd = summary.cost.as_ref().map(|cost| cost.total_usd);
    match usd.filter(|usd| *usd > 0.0) {
        Some(usd) => format!("${usd:.4}"),
        None => "-".to_owned(),
    }
}

fn took(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{:.1} s", ms as f64 / 1e3),
        _ => format!("{}m{:02}s", ms / 60_000, ms / 1_000 % 60),
    }
}

/// A name of somebody else's, cut, and without what would upset a terminal.
fn cut(text: &str, width: usize) -> String {
    let clean = || text.chars().filter(|c| !c.is_control());
    match clean().count() <= width {
        true => clean().collect(),
        false => clean().take(width - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use opentelemetry_proto::tonic::trace::v1::Span;
    use prost::Message;

    use crate::run::summary::{Cost, Durations, ErrorSummary, ModelTokens, TaskCounts};
    use crate::run::trace_id::parse;

    use crate::wire::time::Time;

    use super::*;

    fn run(outcome: &'static str) -> FinishedRun {
        let start = Time::parse_rfc3339("2026-05-07T10:00:00Z").unwrap().0;
        let span = |name: &str, from: u64, to: u64| {
            let span = Span {
                name: name.into(),
                start_time_unix_nano: start + from * 1_000_000_000,
                end_time_unix_nano: start + to * 1_000_000_000,
                ..Span::default()
            };
            Arc::from(span.encode_to_vec())
        };
        FinishedRun {
            spans: vec![span("task find", 0, 6), span("wait approve", 6, 12)],
            summary: RunSummary {
                execution_id: "1".into(),
                trace_id: parse("6513270e4c6f4b0e9a551f0c2d7be001").unwrap(),
                output: None,
                cost: Some(Cost {
                    total_usd: 0.0421,
                    by_model: BTreeMap::new(),
                }),
                duration: Durations {
                    total_ms: 12_000,
                    per_task_ms: BTreeMap::new(),
                },
                tasks: TaskCounts {
                    passed: 2,
                    failed: u64::from(outcome == "error"),
                    total: 3,
                },
                system: "akribes",
                project: Some(1),
                workflow: "review_of_a_pull_request".into(),
                outcome,
                error: (outcome == "error").then(|| ErrorSummary {
                    error_type: "RateLimit".into(),
                    message: "too many".into(),
                }),
                started_at: Time(start),
                finished_at: Time::parse_rfc3339("2026-05-07T10:00:12.000Z"),
                tokens: vec![ModelTokens {
                    provider: "p".into(),
                    model: "m".into(),
                    input: 10_631,
                    output: 660,
                    cache_read: 0,
                    cache_write: 0,
                    reasoning: 0,
                }],
                verified: "match",
            },
        }
    }

    const PLAIN: Look = Look { colours: false };

    #[test]
    fn a_run_that_went_well_is_one_line_in_columns() {
        assert_eq!(
            line(&run("success"), PLAIN),
            "✓ review_of_a_pull_…  12.0 s  ████████████············  2 ok          11.3k   $0.0421  \
             6513270e4c6f4b0e9a551f0c2d7be001"
        );
        let columns = |text: &str| {
            text.find("trace id")
                .or(text.find("6513"))
                .map(|at| text[..at].chars().count())
        };
        assert_eq!(columns(&heading()), columns(&line(&run("success"), PLAIN)));
    }

    #[test]
    fn a_run_that_failed_says_why() {
        let text = line(&run("error"), PLAIN);
        assert!(text.starts_with('✗'), "{text}");
        assert!(text.contains("2 ok 1 bad"), "{text}");
        assert!(text.ends_with("error: RateLimit"), "{text}");
    }

    #[test]
    fn names_cannot_speak_to_the_terminal_or_begin_a_line() {
        let mut run = run("error");
        run.summary.workflow = "a\x1b[2Jb\r\n\u{9b}c".into();
        if let Some(error) = &mut run.summary.error {
            error.error_type = "x\x1b]0;title\x07\ny".into();
        }
        let text = line(&run, PLAIN);
        assert!(text.contains(" a[2Jbc "), "{text}");
        assert!(text.ends_with("error: x]0;titley"), "{text}");
    }

    #[test]
    fn colours_change_nothing_but_the_colour() {
        let painted = line(&run("error"), Look { colours: true });
        assert!(painted.contains("\x1b[31m✗\x1b[0m"));
        let mut plain = String::new();
        let mut rest = painted.as_str();
        while let Some((before, after)) = rest.split_once('\x1b') {
            plain.push_str(before);
            rest = after.split_once('m').unwrap().1;
        }
        plain.push_str(rest);
        assert_eq!(plain, line(&run("error"), PLAIN));
    }
}
