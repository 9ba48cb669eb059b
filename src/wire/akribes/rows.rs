//! Rows of runs and of their tasks, as the REST calls give them. A field of
//! another type than expected is as one that is missing; a row without an id
//! costs itself only.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};

use super::forms::{Json, Num};
use crate::limits::{
    MESSAGE_BYTES_MAX, REDACTION_MARGIN_BYTES, ROW_TEXT_BYTES_MAX, ROWS_MAX, TASK_ROWS_MAX,
};
use crate::wire::event::RunOutcome;
use crate::wire::rejection::Rejection;
use crate::wire::rows::{CostOfTask, RowOfRun, RowStatus};
use crate::wire::time::Time;
use crate::wire::utf8::text;

/// `GET /executions/{id}`.
pub(super) fn row(answer: &[u8]) -> Result<RowOfRun, Rejection> {
    let (data, _) = text(answer);
    read::<Row<'_>>(&data)?.told().ok_or(Rejection::WrongShape)
}

/// `GET /projects/{id}/executions`. What is beyond the bound, and a row that is
/// none, is left out.
pub(super) fn rows(answer: &[u8]) -> Result<Vec<RowOfRun>, Rejection> {
    let (data, _) = text(answer);
    let rows: First<'_, ROWS_MAX> = parse(&data)?;
    let rows = rows.0.into_iter();
    Ok(rows
        .filter_map(|row| read::<Row<'_>>(row.0).ok()?.told())
        .collect())
}

/// `GET /executions/{id}/tasks`: the rows, or an object that holds them.
pub(super) fn tasks(answer: &[u8]) -> Result<Vec<CostOfTask>, Rejection> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        tasks: Json<'a>,
    }
    let (data, _) = text(answer);
    let rows = match read::<Envelope<'_>>(&data) {
        Ok(envelope) => envelope.tasks.0,
        Err(_) => &data,
    };
    let rows: First<'_, TASK_ROWS_MAX> = parse(rows)?;
    let rows = rows.0.into_iter();
    Ok(rows
        .filter_map(|row| read::<TaskRow<'_>>(row.0).ok()?.told())
        .collect())
}

#[derive(Deserialize)]
struct Row<'a> {
    #[serde(default, borrow)]
    id: Option<Json<'a>>,
    #[serde(default, borrow)]
    project_id: Option<Json<'a>>,
    #[serde(default, borrow)]
    script_name: Option<Json<'a>>,
    #[serde(default, borrow)]
    status: Option<Json<'a>>,
    #[serde(default, borrow)]
    started_at: Option<Json<'a>>,
    #[serde(default, borrow)]
    finished_at: Option<Json<'a>>,
    #[serde(default, borrow)]
    version_id: Option<Json<'a>>,
    #[serde(default, borrow)]
    channel: Option<Json<'a>>,
    #[serde(default, borrow)]
    error: Option<Json<'a>>,
    #[serde(default, borrow)]
    error_kind: Option<Json<'a>>,
    #[serde(default, borrow)]
    triggered_by: Option<Json<'a>>,
    #[serde(default, borrow)]
    input_tokens: Option<Json<'a>>,
    #[serde(default, borrow)]
    output_tokens: Option<Json<'a>>,
    #[serde(default, borrow)]
    cost_usd: Option<Json<'a>>,
    #[serde(default, borrow)]
    parent_execution_id: Option<Json<'a>>,
}

impl Row<'_> {
    /// None without what a run cannot be without.
    fn told(self) -> Option<RowOfRun> {
        let error_kind = short(self.error_kind);
        Some(RowOfRun {
            id: name(self.id)?,
            project: self.project_id.and_then(number),
            workflow: name(self.script_name)?,
            status: status(self.status, error_kind.as_deref()),
            started_at: time(self.started_at),
            finished_at: time(self.finished_at),
            cost_usd: cost(self.cost_usd),
            input_tokens: count(self.input_tokens),
            output_tokens: count(self.output_tokens),
            parent: name(self.parent_execution_id),
            triggered_by: short(self.triggered_by),
            channel: short(self.channel),
            version: short(self.version_id),
            error: cut(self.error, MESSAGE_BYTES_MAX + REDACTION_MARGIN_BYTES),
            error_kind,
        })
    }
}

#[derive(Deserialize)]
struct TaskRow<'a> {
    #[serde(default, borrow)]
    task_name: Option<Json<'a>>,
    #[serde(default, borrow)]
    model: Option<Json<'a>>,
    #[serde(default, borrow)]
    provider: Option<Json<'a>>,
    #[serde(default, borrow)]
    input_tokens: Option<Json<'a>>,
    #[serde(default, borrow)]
    output_tokens: Option<Json<'a>>,
    #[serde(default, borrow)]
    cost_usd: Option<Json<'a>>,
}

impl TaskRow<'_> {
    fn told(self) -> Option<CostOfTask> {
        Some(CostOfTask {
            task: name(self.task_name)?,
            model: short(self.model),
            provider: short(self.provider),
            cost_usd: cost(self.cost_usd),
            input_tokens: count(self.input_tokens),
            output_tokens: count(self.output_tokens),
        })
    }
}

/// The row says less of an end than the run's own last event does.
fn status(status: Option<Json<'_>>, error_kind: Option<&str>) -> RowStatus {
    match short(status).as_deref() {
        Some("running" | "cancelling") => RowStatus::Open { waiting: false },
        Some("suspended") => RowStatus::Open { waiting: true },
        Some("completed") => RowStatus::Ended(RunOutcome::Success),
        Some("cancelled") => RowStatus::Ended(RunOutcome::Cancelled),
        Some("failed") => RowStatus::Ended(match error_kind {
            Some("Cancelled") => RunOutcome::Cancelled,
            Some("Timeout") => RunOutcome::Timeout,
            _ => RunOutcome::Error,
        }),
        _ => RowStatus::Unknown,
    }
}

/// A name as a whole, or none: half an id is another id.
fn name(json: Option<Json<'_>>) -> Option<String> {
    let name = words(json)?;
    (name.len() <= ROW_TEXT_BYTES_MAX).then(|| name.into_owned())
}

fn short(json: Option<Json<'_>>) -> Option<String> {
    cut(json, ROW_TEXT_BYTES_MAX)
}

fn cut(json: Option<Json<'_>>, bytes_max: usize) -> Option<String> {
    let words = words(json)?;
    let end = words.floor_char_boundary(bytes_max);
    Some(words[..end].to_owned())
}

/// A text that is not empty. A number is one too, for ids may be numbers.
fn words(json: Option<Json<'_>>) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Words<'a>(#[serde(borrow)] Cow<'a, str>);
    let raw = json?.0;
    let words = match raw.as_bytes().first()? {
        b'"' => serde_json::from_str::<Words<'_>>(raw).ok()?.0,
        b'-' | b'0'..=b'9' => Cow::Borrowed(raw),
        _ => return None,
    };
    (!words.is_empty()).then_some(words)
}

fn time(json: Option<Json<'_>>) -> Option<Time> {
    Time::parse_rfc3339(&words(json)?)
}

fn number(json: Json<'_>) -> Option<i64> {
    serde_json::from_str(json.0).ok()
}

/// A count; what is negative is none.
fn count(json: Option<Json<'_>>) -> Option<u64> {
    let raw = json?.0;
    match raw.as_bytes().first()? {
        b'0'..=b'9' => serde_json::from_str::<Num>(raw).ok().map(|n| n.0),
        _ => None,
    }
}

/// An amount of money; what is negative is none.
fn cost(json: Option<Json<'_>>) -> Option<f64> {
    // The one of the standard library reads every digit.
    let cost: f64 = json?.0.parse().ok()?;
    (cost.is_finite() && cost >= 0.0).then_some(cost)
}

/// Reads an object. A list of its fields in order is none.
pub(super) fn read<'a, T: Deserialize<'a>>(data: &'a str) -> Result<T, Rejection> {
    if data.trim_ascii_start().starts_with('[') {
        return Err(Rejection::WrongShape);
    }
    parse(data)
}

fn parse<'a, T: Deserialize<'a>>(data: &'a str) -> Result<T, Rejection> {
    serde_json::from_str(data).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Rejection::WrongShape,
        _ => Rejection::MalformedJson,
    })
}

/// The first elements of a list, as they stand in the input. The rest is read,
/// and left out.
struct First<'a, const MAX: usize>(Vec<Json<'a>>);

struct FirstVisitor<const MAX: usize>;

impl<'de, const MAX: usize> Visitor<'de> for FirstVisitor<MAX> {
    type Value = First<'de, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while elements.len() < MAX {
            match seq.next_element()? {
                Some(element) => elements.push(element),
                None => return Ok(First(elements)),
            }
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(First(elements))
    }
}

impl<'de: 'a, 'a, const MAX: usize> Deserialize<'de> for First<'a, MAX> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_seq(FirstVisitor::<MAX>)
    }
}

#[cfg(test)]
mod tests;
