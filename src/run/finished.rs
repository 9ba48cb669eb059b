//! What leaves the fold: nodes and runs that are finished, as the domain sees
//! them. `trace` makes spans of them, `metrics` counts them.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cost::RunCost;
use super::identity::Identity;
use super::kept;
use super::pieces::Pieces;
use super::replays::Repeat;
use super::summary::RunSummary;
use super::trace_id::run_trace_id;
use crate::limits::LINKS_MAX;
use crate::wire::event::{
    Content, Fact, FactKey, FactValue, Fault, NodeKind, NodeOutcome, NoteKind, RunOutcome, Usage,
};
use crate::wire::rows::{CostOfTask, RowOfRun};
use crate::wire::time::Time;

/// The name of a kind of server. Not written out where it is kept on disk, since
/// serde would borrow it from there.
pub type SystemName = &'static str;

/// Who a run is. The same for all its spans and metrics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunMeta {
    /// The trace id.
    pub trace_id: [u8; 16],
    /// The kind of server, such as `akribes`.
    #[serde(deserialize_with = "kept::system")]
    pub system: SystemName,
    /// The configured name of the source that the run was seen at.
    pub source: Arc<str>,
    /// The project, where the system has such a thing.
    pub project: Option<i64>,
    /// The workflow's name.
    pub workflow: Arc<str>,
    /// The run's id as the server writes it.
    pub run_id: Arc<str>,
}

/// What is not quite as the feed said, or was not said at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Marks {
    /// The start was not seen: it is inferred.
    pub start_inferred: bool,
    /// The end was not seen: it is inferred.
    pub end_inferred: bool,
    /// A time was moved so that the end is not before the start.
    pub time_adjusted: bool,
    /// It was still open when what encloses it ended.
    pub incomplete: bool,
}

/// A link to another span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Link {
    /// To another node of this run, for this reason.
    Node(Identity, LinkReason),
    /// To the root of another run.
    Run([u8; 16], LinkReason),
}

/// Why there is a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkReason {
    /// The attempt that this one replaces.
    EscalatedFrom,
    /// A run that this one started.
    ChildRun,
    /// The run that started this one.
    ParentRun,
    /// The task whose end this one repeats, from an earlier life of the server.
    ReplayOf,
}

impl LinkReason {
    /// The value of `runtrail.link.reason`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EscalatedFrom => "escalated_from",
            Self::ChildRun => "child_run",
            Self::ParentRun => "parent_run",
            Self::ReplayOf => "replay_of",
        }
    }
}

/// Something said of a node at some time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NoteRecord {
    /// When.
    pub at: Time,
    /// What kind of thing.
    pub kind: NoteKind,
    /// What is known.
    #[serde(deserialize_with = "kept::facts")]
    pub facts: Vec<Fact<'static>>,
}

/// Notes of one node, bounded, with the count of those that found no room.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Notes {
    /// Those that were kept, in order.
    pub kept: Vec<NoteRecord>,
    /// How many were not.
    pub dropped: u32,
}

/// The streams of one node.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Streams {
    /// Pieces of answer and reasoning, thinned.
    pub pieces: Pieces,
    /// What a program wrote: pieces and bytes.
    pub stdout: Tally,
    /// What a program complained about.
    pub stderr: Tally,
    /// The agent that speaks, where it is known.
    pub agent: Option<Arc<str>>,
    /// The id that the chunks carry.
    pub key: Option<Arc<str>>,
    /// The answer, assembled, with content capture.
    pub answer: Option<Assembled>,
    /// The reasoning, assembled, with content capture.
    pub reasoning: Option<Assembled>,
    /// The program's output, assembled, with content capture.
    pub output: Option<Assembled>,
}

impl Streams {
    /// What they hold beside themselves, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let names = [&self.agent, &self.key];
        let names = names.iter().filter_map(|name| name.as_deref());
        let texts = [&self.answer, &self.reasoning, &self.output];
        let texts = texts.iter().filter_map(|text| text.as_ref());
        self.pieces.held_bytes()
            + names.map(|name| name.len() + COUNTS_BYTES).sum::<usize>()
            + texts.map(|text| text.text.capacity()).sum::<usize>()
    }

    /// Leaves no text, and says so where there was one.
    pub(super) fn drop_texts(&mut self) {
        let texts = [&mut self.answer, &mut self.reasoning, &mut self.output];
        for text in texts.into_iter().flatten() {
            if !text.text.is_empty() {
                *text = Assembled {
                    text: String::new(),
                    truncated: true,
                };
            }
        }
    }
}

/// What an [`Arc`] holds beside its text.
pub(super) const COUNTS_BYTES: usize = 16;

/// A count and a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// How large, together.
    pub bytes: u64,
}

impl Tally {
    /// One more, of this size.
    pub const fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// A text put together from pieces, up to a bound.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Assembled {
    /// The text, or its beginning.
    pub text: String,
    /// Whether there was more.
    pub truncated: bool,
}

/// A node that is finished.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FinishedNode {
    /// Who it is, for ever.
    pub identity: Identity,
    /// What it hangs under.
    pub parent: Identity,
    /// Its kind.
    pub kind: NodeKind,
    /// Its name.
    pub name: Arc<str>,
    /// The id that the server gave it (call id, token).
    pub key: Option<Arc<str>>,
    /// When it started.
    pub start: Time,
    /// When it ended; never before the start.
    pub end: Time,
    /// What was inferred.
    pub marks: Marks,
    /// How it ended.
    pub outcome: NodeOutcome,
    /// How the sub-run ended, for one.
    pub run_outcome: Option<RunOutcome>,
    /// How long it took, by the server's own measure.
    pub duration: Option<Duration>,
    /// Which attempt.
    pub attempt: Option<u64>,
    /// What it used; counts towards sums.
    #[serde(deserialize_with = "kept::usage")]
    pub usage: Option<Usage<'static>>,
    /// Why it failed.
    #[serde(deserialize_with = "kept::fault")]
    pub error: Option<Fault<'static>>,
    /// What else is known.
    #[serde(deserialize_with = "kept::facts")]
    pub facts: Vec<Fact<'static>>,
    /// Its streams, if it had any.
    pub streams: Option<Box<Streams>>,
    /// From the start to the first piece of answer or reasoning.
    pub time_to_first_chunk: Option<Duration>,
    /// What was said of it.
    pub notes: Notes,
    /// Where it points to.
    pub links: Vec<Link>,
    /// Its result came from a cache.
    pub cached: bool,
    /// Answers of its model that did not fit.
    pub validation_failures: u32,
    /// It is a second attempt by a stronger agent.
    pub escalated: bool,
    /// It stands for more than one call that could not be told apart.
    pub calls: u32,
    /// Whether there was anything below it: tools, turns, waits.
    pub had_children: bool,
    /// Whether an end was seen for it, as tasks count.
    pub end_seen: bool,
}

impl FinishedNode {
    /// What it used, if that counts: no other node tells of the same spending.
    pub fn spending(&self) -> Option<&Usage<'static>> {
        let counts = self.kind == NodeKind::Task && self.end_seen;
        self.usage.as_ref().filter(|_| counts)
    }

    /// The task whose end it repeats, from an earlier life of the server.
    pub fn replay_of(&self) -> Option<Identity> {
        self.links.iter().find_map(|link| match link {
            Link::Node(of, LinkReason::ReplayOf) => Some(*of),
            _ => None,
        })
    }

    /// It repeats the end of another task: only what it used beyond that counts.
    /// Gives what it told.
    pub(super) fn repeats(&mut self, repeat: Repeat) -> Option<Usage<'static>> {
        self.links.push(Link::Node(repeat.of, LinkReason::ReplayOf));
        self.facts.push(Fact {
            key: FactKey::Replayed,
            value: FactValue::Bool(true),
        });
        let told = self.tell_usage();
        self.usage = repeat.beyond;
        told
    }

    /// What it used was counted elsewhere.
    pub(super) fn count_no_usage(&mut self) -> Option<Usage<'static>> {
        match self.replay_of() {
            // It tells the whole already.
            Some(_) => self.usage.take(),
            None => self.tell_usage(),
        }
    }

    /// What another task tells of counted with this one.
    pub(super) fn spend(&mut self, more: &Usage<'static>) {
        let Some(usage) = &mut self.usage else {
            self.usage = Some(more.clone());
            return;
        };
        for (tokens, more) in usage.tokens_mut().into_iter().zip(more.tokens()) {
            *tokens = tokens.saturating_add(more);
        }
    }

    /// Tells what it used under names that nobody adds up.
    fn tell_usage(&mut self) -> Option<Usage<'static>> {
        let usage = self.usage.take()?;
        let tokens = [
            (FactKey::InputTokens, usage.input_tokens),
            (FactKey::OutputTokens, usage.output_tokens),
            (FactKey::CacheReadTokens, usage.cache_read_tokens),
            (FactKey::CacheWriteTokens, usage.cache_write_tokens),
            (FactKey::ReasoningTokens, usage.reasoning_tokens),
        ];
        let parts = |(key, tokens): &(FactKey, u64)| {
            *tokens > 0 || matches!(key, FactKey::InputTokens | FactKey::OutputTokens)
        };
        let facts = tokens.into_iter().filter(parts).map(|(key, tokens)| Fact {
            key,
            value: FactValue::Int(i64::try_from(tokens).unwrap_or(i64::MAX)),
        });
        self.facts.extend(facts);
        Some(usage)
    }
}

/// Whether our sums agree with the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verified {
    /// They do.
    Match,
    /// They do not.
    Mismatch,
    /// The server gave none.
    Unchecked,
}

impl Verified {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Match, Self::Mismatch, Self::Unchecked];

    /// The value on the root and in the summary.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Match => "match",
            Self::Mismatch => "mismatch",
            Self::Unchecked => "unchecked",
        }
    }
}

/// What a server tells of a run beside its events.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunFacts {
    /// Its row.
    pub row: Option<RowOfRun>,
    /// What its tasks cost.
    pub tasks: Vec<CostOfTask>,
}

/// A run that is finished.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FinishedRun {
    /// When it started.
    pub start: Time,
    /// When it ended; never before the start.
    pub end: Time,
    /// What was inferred.
    pub marks: Marks,
    /// How it ended.
    pub outcome: RunOutcome,
    /// Why it failed.
    #[serde(deserialize_with = "kept::fault")]
    pub error: Option<Fault<'static>>,
    /// What it returned.
    #[serde(deserialize_with = "kept::content")]
    pub output: Option<Content<'static>>,
    /// What was said of it.
    pub notes: Notes,
    /// Where it points to.
    pub links: Vec<Link>,
    /// How often the server began it again.
    pub restarts: u32,
    /// Whether the sums agree with the server's.
    pub verified: Verified,
    /// What the server's row and tasks tell of it, when that was asked for.
    pub facts: Option<Box<RunFacts>>,
    /// What it cost. It is found out when the run is sealed, and not kept before.
    #[serde(skip)]
    pub cost: RunCost,
    /// The sums, as people read them.
    #[serde(with = "kept::summary")]
    pub summary: RunSummary,
}

impl FinishedRun {
    /// What it holds, roughly, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let output = self.output.as_ref().and_then(|output| output.text.as_ref());
        // The summary holds it once more.
        size_of::<Self>() + 2 * output.map_or(0, |text| text.len()) + self.notes.kept.len() * 256
    }

    /// Takes what the server tells beside the events.
    pub(super) fn learn(&mut self, facts: RunFacts, meta: &RunMeta) {
        let row = facts.row.as_ref();
        if let Some(parent) = row.and_then(|row| row.parent.as_deref()) {
            let trace = run_trace_id(parent, &meta.source, "", meta.project);
            if self.links.len() < LINKS_MAX {
                self.links.push(Link::Run(trace, LinkReason::ParentRun));
            }
        }
        self.facts = Some(Box::new(facts));
    }

    /// Takes what it cost. Where the summary tells no cost, it goes on so.
    pub(super) fn price(&mut self, cost: RunCost) {
        if let Some(told) = &mut self.summary.cost {
            told.total_usd = cost.total.map_or(0.0, |total| total.usd);
        }
        self.cost = cost;
    }
}
