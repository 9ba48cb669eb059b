//! What a feed says of a node beside the fields that every node has.

use serde::{Deserialize, Serialize};

use super::event::{Content, Text, own};

/// One fact beside the fixed fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fact<'a> {
    /// Which.
    pub key: FactKey,
    /// Its value.
    #[serde(borrow)]
    pub value: FactValue<'a>,
}

/// The facts that are told apart. Each has its attribute name in `trace`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FactKey {
    /// The agent (text).
    Agent,
    /// The agent before an escalation (text).
    FromAgent,
    /// The agent after an escalation (text).
    ToAgent,
    /// A short reason (text: a code or a phrase of the server's own).
    Reason,
    /// What to do on an error (text).
    OnError,
    /// Which attempt (number).
    Attempt,
    /// The id of a node in the server's graph (text).
    GraphNode,
    /// The index of a model call in its node (number).
    CallIndex,
    /// Tokens in, seen again elsewhere (number).
    InputTokens,
    /// Tokens out, seen again elsewhere (number).
    OutputTokens,
    /// The model (text).
    Model,
    /// The provider (text).
    Provider,
    /// Why the model stopped (text).
    StopReason,
    /// How many tools were called (number).
    ToolCalls,
    /// Which tools were called (texts).
    ToolNames,
    /// The server that offers a tool (text).
    ToolServer,
    /// What went into a node (content).
    Input,
    /// What came out of a node (content).
    Output,
    /// What kind of wait (text: person, approval, breakpoint, batch).
    WaitKind,
    /// Why it waits (text).
    WaitTrigger,
    /// How long it may wait, in seconds (number).
    TimeoutSeconds,
    /// Whether it was approved (bool).
    Approved,
    /// The language of code (text).
    Language,
    /// A program's exit code (number).
    ExitCode,
    /// An HTTP method (text).
    HttpMethod,
    /// A URL (text; without its query unless content may leave).
    Url,
    /// An HTTP status; absent when there was no answer (number).
    HttpStatus,
    /// The size of a body (number).
    BodyBytes,
    /// The most turns a loop may take (number).
    TurnsMax,
    /// The turns a loop took (number).
    Turns,
    /// Which turn (number).
    Turn,
    /// Required fields that were absent (number).
    MissingFields,
    /// Fields that were too many (number).
    ExtraFields,
    /// Values of a wrong type (number).
    TypeErrors,
    /// The names of the fields above (content).
    FieldNames,
    /// A level of a log line (text).
    Level,
    /// A cache's key, shortened (text).
    CacheKey,
    /// A cache's time to live (text).
    CacheTtl,
    /// Marks set for a prompt cache (number).
    CacheMarkers,
    /// Segments of a prompt (number).
    Segments,
    /// Segments of a prompt that stay the same (number).
    StableSegments,
    /// How often a prefix will be used again (number).
    PredictedReuse,
    /// A strategy's name (text).
    Strategy,
    /// Strategies that were tried (texts).
    Strategies,
    /// Tokens before (number).
    TokensBefore,
    /// Tokens after (number).
    TokensAfter,
    /// A limit in tokens (number).
    TokensMax,
    /// Whether the provider did it itself (bool).
    ProviderNative,
    /// Whether the author ended it on purpose (bool).
    HardError,
    /// A run started by this one (text).
    ChildRun,
    /// How that run ended (text).
    ChildOutcome,
    /// A coarse error kind (text).
    ErrorKind,
    /// A stable error code (text).
    ErrorCode,
    /// The id of a loop (text).
    LoopId,
    /// The name of a call on the caller's side (text).
    Call,
    /// The call site (number).
    CallSite,
    /// Of the tokens in, those read from a cache, seen again elsewhere (number).
    CacheReadTokens,
    /// Of the tokens in, those written to a cache, seen again elsewhere (number).
    CacheWriteTokens,
    /// Of the tokens out, reasoning, seen again elsewhere (number).
    ReasoningTokens,
    /// What was used was told before, in an earlier life of the server (bool).
    Replayed,
}

/// The value of a fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FactValue<'a> {
    /// A number.
    Int(i64),
    /// A truth.
    Bool(bool),
    /// A text that may always leave: a name, a code, a phrase of the server's own.
    #[serde(borrow)]
    Text(Text<'a>),
    /// Several of these.
    Texts(Vec<Text<'a>>),
    /// A text that is private.
    Content(Content<'a>),
}

impl Fact<'_> {
    /// The same fact, owning its texts.
    pub fn into_owned(self) -> Fact<'static> {
        let value = match self.value {
            FactValue::Int(n) => FactValue::Int(n),
            FactValue::Bool(b) => FactValue::Bool(b),
            FactValue::Text(t) => FactValue::Text(own(t)),
            FactValue::Texts(ts) => FactValue::Texts(ts.into_iter().map(own).collect()),
            FactValue::Content(c) => FactValue::Content(c.into_owned()),
        };
        Fact {
            key: self.key,
            value,
        }
    }
}
