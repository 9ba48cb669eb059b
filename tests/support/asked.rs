//! A server that can be asked, what came of a feed, and the difference between
//! two of those.

use std::borrow::Cow;
use std::collections::BTreeMap;

use opentelemetry_proto::tonic::trace::v1::Span;
use runtrail::core::Core;
use runtrail::metrics::delta::{Delta, Exemplar};
use runtrail::run::outputs::Wish;
use runtrail::wire::event::RunRef;
use runtrail::wire::time::Time;
use serde_json::{Value, json};

use super::workload::{Step, run, run_id};
use super::{Feed, Line, batches, core, settings, sse};

/// Spans by id, and no id twice.
pub fn by_id(spans: Vec<Span>) -> ById {
    let count = spans.len();
    let map: BTreeMap<_, _> = spans
        .into_iter()
        .map(|span| ((span.trace_id.clone(), span.span_id.clone()), span))
        .collect();
    assert_eq!(map.len(), count, "an id was sent twice");
    map
}

/// The first difference between two sets of spans, in few words.
pub fn difference(one: &ById, other: &ById) -> Option<String> {
    let told = |span: &Span| {
        super::trace::tree(&[Span {
            parent_span_id: vec![],
            ..span.clone()
        }])
    };
    let missing = |from: &ById, id, whose| {
        let span: &Span = &from[id];
        Some(format!(
            "only in {whose}, from {}: {}",
            span.start_time_unix_nano,
            told(span)
        ))
    };
    if let Some(id) = one.keys().find(|id| !other.contains_key(*id)) {
        return missing(one, id, "the first");
    }
    if let Some(id) = other.keys().find(|id| !one.contains_key(*id)) {
        return missing(other, id, "the second");
    }
    let id = one.keys().find(|id| one[*id] != other[*id])?;
    Some(format!(
        "first: {}second: {}",
        told(&one[id]),
        told(&other[id])
    ))
}

pub type ById = BTreeMap<(Vec<u8>, Vec<u8>), Span>;

pub fn feeds(runs: &[Vec<Step>]) -> Vec<Feed> {
    runs.iter()
        .enumerate()
        .map(|(n, steps)| run(&run_id(n), steps))
        .collect()
}

/// How a feed with gaps comes, and what the server's log is like.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// Events on a page of the log.
    pub page: usize,
    /// A page arrives when more has happened since it was asked for.
    pub late: bool,
    /// Whether gaps are noticed.
    pub noticed: bool,
    /// Whether anything is really lost in a gap.
    pub loses: bool,
    /// Whether events tell their place in the log; if not, only frames do.
    pub places: bool,
    /// Whether the log keeps the pieces of streams.
    pub chunks: bool,
}

pub const WAY: Way = Way {
    page: 5,
    late: false,
    noticed: true,
    loses: true,
    places: true,
    chunks: true,
};

/// A server with a log of each run.
pub struct Server<'f> {
    pub feeds: &'f [Feed],
    /// How many events of each run have happened.
    pub happened: BTreeMap<String, usize>,
    pub way: Way,
    /// Pages on their way.
    pub sent: Vec<(String, u64, String)>,
}

impl Server<'_> {
    pub fn feed_of(&self, run: &str) -> &Feed {
        self.feeds
            .iter()
            .find(|feed| feed.run == run)
            .expect("a run of the workload")
    }

    /// Answers what the core asks for, from what has happened so far.
    pub fn answer(&mut self, core: &mut Core, now: Time) {
        if !self.way.late {
            self.read(core, now);
        }
        self.deliver(core, now);
        self.read(core, now);
    }

    /// Answers until nothing is asked for any more.
    pub fn answer_all(&mut self, core: &mut Core, now: Time) {
        for _ in 0..10_000 {
            self.read(core, now);
            if self.sent.is_empty() {
                return;
            }
            self.deliver(core, now);
        }
        panic!("the core asks for ever");
    }

    pub fn read(&mut self, core: &mut Core, now: Time) {
        while let Some(wish) = core.poll_wish() {
            match &wish {
                Wish::ReadLog { run_id, after, .. } => {
                    let page = self.page(run_id, *after);
                    self.sent.push((run_id.to_string(), *after, page));
                }
                Wish::ListRuns { offset, .. } => {
                    let rows = self.rows(*offset as usize);
                    core.handle_rows(&wish, Some(rows.as_bytes()), now);
                }
                // It knows no more than its log does.
                Wish::AskFacts { run_id, .. } => {
                    core.handle_facts(&named(run_id), None, None, now);
                }
                Wish::AskRow { .. } => {}
            }
        }
    }

    /// The runs that have begun, but for so many, two a page.
    pub fn rows(&self, offset: usize) -> String {
        let begun = self
            .feeds
            .iter()
            .filter(|feed| self.happened[&feed.run] > 0);
        let row = |feed: &Feed| {
            let ended = self.happened[&feed.run] == feed.lines.len();
            json!({
                "id": feed.run,
                "project_id": 1,
                "script_name": feed.script,
                "status": if ended { "completed" } else { "running" },
            })
        };
        let page = begun.skip(offset).take(2);
        Value::Array(page.map(row).collect()).to_string()
    }

    pub fn deliver(&mut self, core: &mut Core, now: Time) {
        for (run_id, after, page) in std::mem::take(&mut self.sent) {
            core.handle_log_page(&named(&run_id), after, page.as_bytes(), now);
        }
    }

    pub fn page(&self, run_id: &str, after: u64) -> String {
        let feed = self.feed_of(run_id);
        let log = &feed.lines[..self.happened[run_id]];
        let kept = |line: &&Line| self.way.chunks || line.event["type"] != "AgentOutput";
        let page: Vec<&Line> = log
            .iter()
            .filter(|line| line.seq > after)
            .take(self.way.page)
            .collect();
        let next = page.last().map_or(after, |line| line.seq);
        let events: Vec<Value> = page
            .into_iter()
            .filter(kept)
            .map(|line| line.logged())
            .collect();
        json!({
            "execution_id": run_id,
            "status": "running",
            "complete": log.len() == feed.lines.len(),
            "events": events,
            "next_after_id": next,
            "has_more": log.last().is_some_and(|line| line.seq > next),
        })
        .to_string()
    }
}

fn named(run_id: &str) -> RunRef<'_> {
    RunRef {
        project: Some(1),
        workflow: Cow::Borrowed("random"),
        id: Some(Cow::Borrowed(run_id)),
        epoch: None,
    }
}

/// What came of a feed: its spans, the summaries, and what the metrics were told.
pub struct Came {
    pub spans: Vec<Span>,
    pub summaries: BTreeMap<String, String>,
    pub counted: Vec<String>,
}

pub fn feed_bytes(lines: &[Line], way: Way) -> Vec<u8> {
    let bytes = sse("random", lines, 1);
    if way.places {
        return bytes;
    }
    String::from_utf8(bytes)
        .expect("a feed is text")
        .replace("\"seq\":", "\"was\":")
        .into_bytes()
}

pub fn came(mut core: Core) -> Came {
    core.handle_end_of_input(0, None);
    core.handle_end_of_runs();
    let spans = super::trace::spans(&batches(&mut core));
    check_exemplars(&core.deltas().in_order, &spans);
    let mut counted = counted(&mut core);
    counted.sort();
    Came {
        summaries: summaries(&mut core).collect(),
        spans,
        counted,
    }
}

/// What shows a task, a tool call or a run in the metrics is its very span.
fn check_exemplars(deltas: &[Delta], spans: &[Span]) {
    let is_of = |span: &Span, exemplar: &Exemplar| {
        (&span.trace_id[..], &span.span_id[..]) == (&exemplar.trace_id, &exemplar.span_id)
    };
    for delta in deltas {
        let (name, exemplar) = match delta {
            Delta::TaskFinished { task, exemplar, .. } => (format!("task {task}"), exemplar),
            Delta::ToolFinished { tool, exemplar, .. } => {
                (format!("execute_tool {tool}"), exemplar)
            }
            Delta::RunFinished { exemplar, .. } => ("invoke_workflow random".to_owned(), exemplar),
            _ => continue,
        };
        let exemplar = exemplar.as_ref().expect("all spans are sent");
        let span = spans.iter().find(|span| is_of(span, exemplar));
        let span = span.expect("what is shown was sent");
        assert_eq!(span.name, name);
        assert_eq!(span.end_time_unix_nano, exemplar.at.0, "{name}");
    }
}

/// The summaries of runs that ended, by run.
pub fn summaries(core: &mut Core) -> impl Iterator<Item = (String, String)> {
    std::iter::from_fn(|| core.poll_summary()).map(|summary| {
        let line = serde_json::to_string(&summary).expect("a summary is JSON");
        (summary.execution_id.to_string(), line)
    })
}

/// What the metrics are told of runs since they were told last.
pub fn counted(core: &mut Core) -> Vec<String> {
    // What a place in the table says differs with the order of things.
    let counted = core
        .deltas()
        .in_order
        .iter()
        .filter(|delta| {
            matches!(
                delta,
                Delta::TaskFinished { .. }
                    | Delta::ToolFinished { .. }
                    | Delta::WaitFinished { .. }
                    | Delta::RunFinished { .. }
            )
        })
        .map(|delta| format!("{delta:?}").replace(|c: char| c.is_ascii_whitespace(), ""))
        .map(|delta| {
            delta
                .split_once(',')
                .map_or(String::new(), |(_, rest)| rest.to_owned())
        })
        .collect();
    core.deltas().clear();
    counted
}

/// What comes of the whole feed.
pub fn whole(lines: &[Line], way: Way) -> Came {
    let mut core = core(settings(false));
    core.handle_bytes(0, &feed_bytes(lines, way), None);
    came(core)
}

/// The same steps, each at a moment of its own.
pub fn apart(runs: &[Vec<Step>]) -> Vec<Vec<Step>> {
    runs.iter()
        .map(|run| run.iter().map(|(a, b, ms)| (*a, *b, ms + 1)).collect())
        .collect()
}
