//! The one vocabulary: what any workflow server can say of its runs.
//!
//! A dialect translates into it and knows nothing behind it; nothing behind it
//! knows a dialect. Texts borrow from the input where they can. The types are
//! serializable, so that an accepted event can be kept and folded again later.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use super::fact::{Fact, FactKey, FactValue};
use super::time::Time;

/// A text that borrows from the input unless it held an escape.
pub type Text<'a> = Cow<'a, str>;

/// One thing that happened in one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event<'a> {
    /// The run it happened in.
    #[serde(borrow)]
    pub run: RunRef<'a>,
    /// When it happened, by the server's clock.
    pub at: Option<Time>,
    /// Its place in the server's log, which rises within a run; a repeated
    /// event may come without it.
    pub seq: Option<u64>,
    /// A place in the server's log that it does not lie beyond.
    pub log_position: Option<u64>,
    /// A hash of the payload: tells a repeated event from a new one.
    pub fingerprint: u64,
    /// The sub-runs it happened in, outermost first; empty at the top level.
    pub scope: Vec<SubRunRef<'a>>,
    /// What happened.
    pub what: What<'a>,
}

/// How a feed names a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunRef<'a> {
    /// The project, where the system has such a thing.
    pub project: Option<i64>,
    /// The workflow's name.
    #[serde(borrow)]
    pub workflow: Text<'a>,
    /// The run's own id; old servers leave it out.
    pub id: Option<Text<'a>>,
    /// Which life of the server the id belongs to, where ids begin again.
    pub epoch: Option<Text<'a>>,
}

/// One step of the way from a run down to a sub-run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubRunRef<'a> {
    /// The workflow that was called.
    #[serde(borrow)]
    pub workflow: Text<'a>,
    /// The name of the call on the caller's side.
    pub call: Text<'a>,
    /// The call site, where the system tells it.
    pub site: Option<u64>,
    /// Which attempt at this call site.
    pub attempt: Option<u64>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum What<'a> {
    /// The run (or, in a scope, the sub-run) started, or started over.
    RunStarted,
    /// The run (or, in a scope, the sub-run) ended.
    #[serde(borrow)]
    RunEnded(Box<RunEnd<'a>>),
    /// A node started.
    NodeStarted(NodeStart<'a>),
    /// A node ended.
    NodeEnded(Box<NodeEnd<'a>>),
    /// A piece of a stream.
    Chunk(Chunk<'a>),
    /// Something else is said of a node or of the run.
    Note(Note<'a>),
    /// This run started another run.
    RunLinked {
        /// The other run's id.
        child: Text<'a>,
    },
    /// Known, and of no further interest here.
    Counted,
}

/// The kinds of nodes that a run is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NodeKind {
    /// A step of the workflow; the one that carries usage, where tasks call models.
    Task,
    /// A call of a model, where the system tells it apart from its task.
    ModelCall,
    /// A call of a tool.
    Tool,
    /// A wait for a person, an approval, a debugger or a batch.
    Wait,
    /// Code that ran in a sandbox.
    Code,
    /// A call over HTTP.
    Http,
    /// A loop of model turns.
    Loop,
    /// One turn of a loop.
    Turn,
    /// A workflow called by a workflow, within the same run.
    SubRun,
    /// A check of a workflow's results.
    Verify,
}

impl NodeKind {
    /// A stable short name, part of a node's identity.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::ModelCall => "model",
            Self::Tool => "tool",
            Self::Wait => "wait",
            Self::Code => "code",
            Self::Http => "http",
            Self::Loop => "loop",
            Self::Turn => "turn",
            Self::SubRun => "sub",
            Self::Verify => "verify",
        }
    }
}

/// Where a new node hangs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Under<'a> {
    /// Right under the (sub-)run.
    #[default]
    Scope,
    /// Under the open task, or the turn of the open loop, of this name.
    #[serde(borrow)]
    Task(Text<'a>),
    /// Under the open tool call of this name.
    Tool(Text<'a>),
}

/// A node started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeStart<'a> {
    /// Its kind.
    pub kind: NodeKind,
    /// Its name.
    #[serde(borrow)]
    pub name: Text<'a>,
    /// An id that its other events repeat.
    pub key: Option<Text<'a>>,
    /// Where it hangs.
    pub under: Under<'a>,
    /// What else is known.
    pub facts: Vec<Fact<'a>>,
}

/// A node ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeEnd<'a> {
    /// Its kind.
    pub kind: NodeKind,
    /// Its name; some ends tell only the key.
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    /// The id that its start had.
    pub key: Option<Text<'a>>,
    /// Where it hangs, for an end whose start was not seen.
    pub under: Under<'a>,
    /// How it ended.
    pub outcome: NodeOutcome,
    /// How long it took, by the server's own measure.
    pub duration: Option<Duration>,
    /// Which attempt succeeded or gave up, counted from one.
    pub attempt: Option<u64>,
    /// What the model calls of this node used.
    pub usage: Option<Usage<'a>>,
    /// Why it failed.
    pub error: Option<Fault<'a>>,
    /// What else is known.
    pub facts: Vec<Fact<'a>>,
}

/// How a node ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NodeOutcome {
    /// It did what it was for.
    Success,
    /// The model said that it could not.
    Unable,
    /// It failed.
    Failed,
    /// The server said something that this version does not know.
    Unknown,
}

impl NodeOutcome {
    /// All of them, in the order in which they are exported.
    pub const ALL: [Self; 4] = [Self::Success, Self::Unable, Self::Failed, Self::Unknown];

    /// The value on spans and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Unable => "unable",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// The run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunEnd<'a> {
    /// How.
    pub outcome: RunOutcome,
    /// Why, when it failed.
    #[serde(borrow)]
    pub error: Option<Fault<'a>>,
    /// The server's own sums.
    pub totals: Option<Totals>,
    /// What the run returned, as JSON.
    pub output: Option<Content<'a>>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RunOutcome {
    /// It returned a result.
    Success,
    /// It failed.
    Error,
    /// Somebody stopped it.
    Cancelled,
    /// It ran past its time.
    Timeout,
    /// It fell silent, and nobody knows.
    Abandoned,
}

impl RunOutcome {
    /// All of them, in the order in which they are exported.
    pub const ALL: [Self; 5] = [
        Self::Success,
        Self::Error,
        Self::Cancelled,
        Self::Timeout,
        Self::Abandoned,
    ];

    /// The value on spans, metrics and summaries.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
            Self::Timeout => "timeout",
            Self::Abandoned => "abandoned",
        }
    }
}

/// The server's own sums over a run, sub-runs included.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Tokens in, cached ones included.
    pub input_tokens: u64,
    /// Tokens out, reasoning included.
    pub output_tokens: u64,
    /// Of the input, what came from a cache.
    pub cache_read_tokens: u64,
    /// Of the output, what was reasoning.
    pub reasoning_tokens: u64,
    /// Ends of tasks that the sums cover.
    pub tasks: u64,
    /// What it cost; 0 when the server does not know.
    pub cost_usd: f64,
}

impl Totals {
    /// Whether the server left every count empty, which then says nothing. The cost
    /// is no count: it may come from elsewhere.
    pub fn is_unfilled(&self) -> bool {
        let unfilled = Self {
            cost_usd: self.cost_usd,
            ..Self::default()
        };
        *self == unfilled
    }
}

/// What one node's model calls used. Parts are included in their wholes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Usage<'a> {
    /// Who served the model.
    #[serde(borrow)]
    pub provider: Text<'a>,
    /// The model; may be empty.
    pub model: Text<'a>,
    /// Tokens in, the cached and cache-written ones included.
    pub input_tokens: u64,
    /// Tokens out, reasoning included.
    pub output_tokens: u64,
    /// Of the input, read from a cache.
    pub cache_read_tokens: u64,
    /// Of the input, written to a cache.
    pub cache_write_tokens: u64,
    /// Of the cache writes, those kept for five minutes.
    pub cache_write_5m_tokens: u64,
    /// Of the cache writes, those kept for an hour.
    pub cache_write_1h_tokens: u64,
    /// Of the output, reasoning.
    pub reasoning_tokens: u64,
    /// Why the model stopped, in the provider's own word where known.
    pub finish_reason: Option<Text<'a>>,
    /// What it cost, where the feed itself tells.
    pub cost_usd: Option<f64>,
}

impl Usage<'_> {
    /// All counts of tokens, wholes before their parts.
    pub const fn tokens(&self) -> [u64; 7] {
        [
            self.input_tokens,
            self.output_tokens,
            self.cache_read_tokens,
            self.cache_write_tokens,
            self.cache_write_5m_tokens,
            self.cache_write_1h_tokens,
            self.reasoning_tokens,
        ]
    }

    /// The same, to be changed.
    pub const fn tokens_mut(&mut self) -> [&mut u64; 7] {
        [
            &mut self.input_tokens,
            &mut self.output_tokens,
            &mut self.cache_read_tokens,
            &mut self.cache_write_tokens,
            &mut self.cache_write_5m_tokens,
            &mut self.cache_write_1h_tokens,
            &mut self.reasoning_tokens,
        ]
    }
}

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fault<'a> {
    /// The coarse kind.
    #[serde(borrow)]
    pub kind: Option<Text<'a>>,
    /// The stable code.
    pub code: Option<Text<'a>>,
    /// The message for a person.
    pub message: Text<'a>,
}

impl Fault<'_> {
    /// The value of `error.type`: the stable code, else the kind.
    pub fn error_type(&self) -> &str {
        self.code
            .as_deref()
            .or(self.kind.as_deref())
            .unwrap_or("_OTHER")
    }

    /// The same fault, owning its texts.
    pub fn into_owned(self) -> Fault<'static> {
        Fault {
            kind: self.kind.map(own),
            code: self.code.map(own),
            message: own(self.message),
        }
    }
}

/// A piece of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chunk<'a> {
    /// The kind of node that it belongs to.
    pub kind: NodeKind,
    /// The node's name.
    #[serde(borrow)]
    pub name: Text<'a>,
    /// An id that tells concurrent nodes of one name apart.
    pub key: Option<Text<'a>>,
    /// The agent that speaks.
    pub agent: Option<Text<'a>>,
    /// Which of the node's streams.
    pub stream: Stream,
    /// The piece.
    pub content: Content<'a>,
}

/// The streams of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stream {
    /// A model's answer.
    Answer,
    /// A model's reasoning.
    Reasoning,
    /// What a program wrote.
    Stdout,
    /// What a program complained about.
    Stderr,
}

/// Private text: always a size, the text itself only with content capture.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Content<'a> {
    /// The size of the text in UTF-8.
    pub bytes: u64,
    /// The text, when it may leave.
    #[serde(borrow)]
    pub text: Option<Text<'a>>,
}

/// Something said of a node or of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Note<'a> {
    /// Of what.
    #[serde(borrow)]
    pub about: About<'a>,
    /// What kind of thing.
    pub kind: NoteKind,
    /// What is known.
    pub facts: Vec<Fact<'a>>,
}

/// What a note is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum About<'a> {
    /// The (sub-)run.
    Scope,
    /// The open task of this name.
    #[serde(borrow)]
    Task(Text<'a>),
    /// The open task that this agent works on.
    Agent(Text<'a>),
    /// An open tool call, by name and perhaps id.
    Tool {
        /// The tool's name.
        name: Text<'a>,
        /// The call's id.
        key: Option<Text<'a>>,
    },
}

/// The kinds of notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NoteKind {
    /// A task's prompt is ready.
    Prompt,
    /// A model answered.
    ModelResponse,
    /// A model's answer did not fit its schema.
    ValidationFailure,
    /// A failed task is tried again by a stronger agent.
    Escalated,
    /// A task's result came from a cache.
    CacheHit,
    /// A provider's prompt cache was planned.
    CachePlanned,
    /// A model's answer came from the log of an earlier life of the server.
    ReplayCacheHit,
    /// A context was made shorter.
    ContextCompacted,
    /// A context grew too long.
    ContextOverflow,
    /// A tool server is not well.
    ToolServerDegraded,
    /// A tool server is well again.
    ToolServerRecovered,
    /// After a crash it is not known whether a tool ran.
    ToolReplayUncertain,
    /// A tool needed no approval.
    ApprovalSkipped,
    /// A log line.
    Log,
    /// A run started by this one ended.
    ChildResult,
}

impl Content<'_> {
    /// The same content, owning its text.
    pub fn into_owned(self) -> Content<'static> {
        Content {
            bytes: self.bytes,
            text: self.text.map(own),
        }
    }
}

/// The same text, owned.
pub fn own(text: Text<'_>) -> Text<'static> {
    Cow::Owned(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_that_count_nothing_are_unfilled_whatever_they_cost() {
        let cost_only = Totals {
            cost_usd: 0.25,
            ..Totals::default()
        };
        assert!(Totals::default().is_unfilled() && cost_only.is_unfilled());
        let one_task = Totals {
            tasks: 1,
            ..Totals::default()
        };
        assert!(!one_task.is_unfilled());
    }
}
