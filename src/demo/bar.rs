//! A run's time as a small bar: each cell shows what was most at work then.

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;

/// What was at work in a cell, by how much it says: more specific things hide
/// the task that they belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cell {
    /// Nothing that is told of.
    Idle,
    /// A task: mostly a model that answers.
    Task,
    /// A task that failed.
    FailedTask,
    /// A tool, a program or an HTTP call.
    Work,
    /// A person, or somebody else who is waited for.
    Wait,
}

/// A stretch of time in which something was at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) what: Cell,
}

/// The stretches of a run, from its encoded spans.
pub(super) fn stretches<'s>(spans: impl Iterator<Item = &'s [u8]>) -> Vec<Stretch> {
    let spans = spans.filter_map(|span| Span::decode(span).ok());
    spans
        .filter_map(|span| {
            Some(Stretch {
                start: span.start_time_unix_nano,
                end: span.end_time_unix_nano,
                what: what(&span)?,
            })
        })
        .collect()
}

/// Loops and sub-runs show by what is in them, the root by the whole bar.
fn what(span: &Span) -> Option<Cell> {
    let failed = span
        .status
        .as_ref()
        .is_some_and(|status| status.code() == StatusCode::Error);
    let (kind, rest) = span.name.split_once(' ').unwrap_or((&span.name, ""));
    Some(match kind {
        "task" if failed => Cell::FailedTask,
        "task" => Cell::Task,
        "wait" => Cell::Wait,
        "execute_tool" | "execute_code" => Cell::Work,
        // An HTTP call is named by its method alone.
        method
            if rest.is_empty()
                && !method.is_empty()
                && method.bytes().all(|byte| byte.is_ascii_uppercase()) =>
        {
            Cell::Work
        }
        _ => return None,
    })
}

/// The bar of a run from `start` to `end`. A stretch shows in at least one cell.
pub(super) fn cells(start: u64, end: u64, stretches: &[Stretch], width: usize) -> Vec<Cell> {
    let mut cells = vec![Cell::Idle; width];
    let length = end.saturating_sub(start).max(1);
    let place = |time: u64| {
        let share = u128::from(time.clamp(start, end) - start) * width as u128;
        (share / u128::from(length)) as usize
    };
    for stretch in stretches {
        let first = place(stretch.start).min(width.saturating_sub(1));
        let last = place(stretch.end).max(first + 1).min(width);
        for cell in &mut cells[first..last] {
            *cell = (*cell).max(stretch.what);
        }
    }
    cells
}

impl Cell {
    /// How it looks.
    pub(super) const fn glyph(self) -> char {
        match self {
            Self::Idle => ' ',
            Self::Task => '█',
            Self::FailedTask => '×',
            Self::Work => '▒',
            Self::Wait => '·',
        }
    }

    /// Its colour, as a terminal's escape code takes it.
    pub(super) const fn colour(self) -> &'static str {
        match self {
            Self::Idle => "0",
            Self::Task => "36",
            Self::FailedTask => "31",
            Self::Work => "33",
            Self::Wait => "90",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(stretches: &[(u64, u64, Cell)]) -> String {
        let stretches: Vec<_> = stretches
            .iter()
            .map(|&(start, end, what)| Stretch { start, end, what })
            .collect();
        let cells = cells(1_000, 2_000, &stretches, 10);
        cells.into_iter().map(Cell::glyph).collect()
    }

    #[test]
    fn a_cell_shows_what_was_most_at_work_then() {
        assert_eq!(bar(&[]), "          ");
        assert_eq!(bar(&[(1_000, 2_000, Cell::Task)]), "██████████");
        assert_eq!(
            bar(&[
                (1_000, 1_600, Cell::Task),
                (1_200, 1_400, Cell::Work),
                (1_700, 2_000, Cell::Wait)
            ]),
            "██▒▒██ ···"
        );
    }

    #[test]
    fn what_is_short_or_out_of_the_run_still_shows_once() {
        assert_eq!(bar(&[(1_500, 1_500, Cell::Task)]), "     █    ");
        assert_eq!(bar(&[(2_000, 2_000, Cell::Task)]), "         █");
        assert_eq!(bar(&[(0, 5_000, Cell::Task)]), "██████████");
        assert_eq!(
            cells(
                5,
                5,
                &[Stretch {
                    start: 5,
                    end: 5,
                    what: Cell::Task
                }],
                3
            )[0],
            Cell::Task
        );
        assert!(cells(5, 9, &[], 0).is_empty());
    }

    #[test]
    fn spans_are_told_apart_by_their_names() {
        let named = |name: &str, code: StatusCode| {
            let mut span = Span {
                name: name.into(),
                ..Span::default()
            };
            span.status.get_or_insert_default().code = code as i32;
            stretches(std::iter::once(&*span.encode_to_vec()))
                .first()
                .map(|stretch| stretch.what)
        };
        let unset = StatusCode::Unset;
        assert_eq!(named("task review", unset), Some(Cell::Task));
        assert_eq!(
            named("task review", StatusCode::Error),
            Some(Cell::FailedTask)
        );
        assert_eq!(named("wait approve", unset), Some(Cell::Wait));
        assert_eq!(named("execute_tool search", unset), Some(Cell::Work));
        assert_eq!(named("GET", unset), Some(Cell::Work));
        for other in [
            "invoke_workflow review",
            "loop search",
            "run started review",
            "",
        ] {
            assert_eq!(named(other, unset), None, "{other}");
        }
    }
}
