//! A node that is still open: what is known of it so far.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::finished::{Assembled, FinishedNode, Link, Marks, NoteRecord, Notes, Streams};
use super::identity::Identity;
use super::standing::WaitKind;
use super::{kept, names};
use crate::limits::{FACTS_MAX, MESSAGE_BYTES_MAX, REDACTION_MARGIN_BYTES, SPAN_EVENTS_MAX};
use crate::wire::event::{
    Chunk, Content, Fact, FactKey, FactValue, Fault, NodeKind, NodeOutcome, RunOutcome, Stream,
    Text, Usage,
};
use crate::wire::time::Time;

/// How much an open run may hold of what can be given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Chunk and reasoning events a node.
    pub chunk_events_max: usize,
    /// Bytes of one text, before redaction and cut.
    pub text_bytes_max: usize,
    /// Whether chunk texts are taken at all.
    pub texts: bool,
    /// Whether notes are taken, or only counted.
    pub notes: bool,
    /// Whether ends of tasks are remembered, in case that they are told once more.
    pub ends: bool,
}

/// What open runs give up before one of them is given up, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// The texts of chunks.
    Texts,
    /// The events of chunks, down to [`CHUNK_EVENTS_LEAST`].
    Events,
    /// The ends of tasks: one that is told once more counts once more.
    Ends,
}

/// Chunk and reasoning events that a node keeps even when room is short.
pub(super) const CHUNK_EVENTS_LEAST: usize = 4;

/// An open node.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OpenNode {
    pub(super) identity: Identity,
    pub(super) parent: Identity,
    pub(super) scope: u32,
    /// Its place in the order of all openings.
    pub(super) order: u64,
    pub(super) kind: NodeKind,
    pub(super) name: Arc<str>,
    /// A better name, told later; the first one stays the identity.
    pub(super) title: Option<Arc<str>>,
    pub(super) key: Option<Arc<str>>,
    /// Where the index of keys has it.
    pub(super) keys: Vec<u64>,
    /// The task that it was said to hang under.
    pub(super) under: Option<Arc<str>>,
    pub(super) start: Time,
    pub(super) start_inferred: bool,
    #[serde(deserialize_with = "kept::facts")]
    pub(super) facts: Vec<Fact<'static>>,
    pub(super) streams: Option<Box<Streams>>,
    pub(super) time_to_first_chunk: Option<Duration>,
    pub(super) notes: Notes,
    pub(super) links: Vec<Link>,
    pub(super) cached: bool,
    pub(super) validation_failures: u32,
    pub(super) escalated: bool,
    pub(super) prompted: bool,
    /// Calls that it stands for, and those of them that are open.
    pub(super) calls: u32,
    pub(super) calls_open: u32,
    /// The kinds of children that it has had, one bit each.
    pub(super) served: u16,
    /// The open turn of a loop.
    pub(super) turn: Option<u32>,
    /// What it holds, roughly, in bytes.
    pub(super) bytes: usize,
}

/// How a node ends.
#[derive(Debug, Default)]
pub(super) struct Ending {
    pub(super) outcome: Option<NodeOutcome>,
    pub(super) run_outcome: Option<RunOutcome>,
    pub(super) duration: Option<Duration>,
    pub(super) attempt: Option<u64>,
    pub(super) usage: Option<Usage<'static>>,
    pub(super) error: Option<Fault<'static>>,
    pub(super) incomplete: bool,
    pub(super) end_inferred: bool,
    pub(super) end_seen: bool,
    /// Whether it is known when it is told once more.
    pub(super) remembered: bool,
}

impl OpenNode {
    /// Adds what is known of it; a fact that is known already stays as it was.
    pub(super) fn tell(&mut self, facts: Vec<Fact<'_>>, room: Room) {
        for fact in facts {
            let known = self.facts.iter().any(|known| known.key == fact.key);
            if !known && self.facts.len() < FACTS_MAX {
                let fact = bounded_fact(fact, room);
                self.bytes += fact_bytes(&fact);
                self.facts.push(fact);
            }
        }
    }

    /// Says something of it. What finds no room is counted.
    pub(super) fn note(&mut self, note: NoteRecord, room: Room) {
        self.bytes += push_note(&mut self.notes, note, room);
    }

    /// Takes a piece of one of its streams. Tells how many pieces lost their
    /// own event by it.
    pub(super) fn chunk(&mut self, chunk: &Chunk<'_>, time: Time, room: Room) -> u64 {
        let at = time.max(self.start);
        let streams = streams(&mut self.streams, &mut self.bytes);
        let bytes_before = streams.bytes();
        if let Some(agent) = chunk.agent.as_deref()
            && streams.agent.is_none()
        {
            streams.agent = Some(names::kept(agent));
        }
        let reasoning = chunk.stream == Stream::Reasoning;
        let mut thinned = 0;
        let text = match chunk.stream {
            Stream::Answer | Stream::Reasoning => {
                if streams.pieces.is_empty() && !self.cached && !self.start_inferred {
                    self.time_to_first_chunk = Some(at.since(self.start));
                }
                let before = streams.pieces.left_out();
                streams
                    .pieces
                    .push(reasoning, at, chunk.content.bytes, room.chunk_events_max);
                thinned = streams.pieces.left_out() - before;
                if reasoning {
                    &mut streams.reasoning
                } else {
                    &mut streams.answer
                }
            }
            Stream::Stdout => {
                streams.stdout.add(chunk.content.bytes);
                &mut streams.output
            }
            Stream::Stderr => {
                streams.stderr.add(chunk.content.bytes);
                &mut streams.output
            }
        };
        if let Some(piece) = chunk.content.text.as_deref() {
            assemble(text.get_or_insert_default(), piece, room);
        }
        self.bytes = (self.bytes + streams.bytes()).saturating_sub(bytes_before);
        thinned
    }

    /// Gives up detail of its streams. Tells how many pieces lost their own
    /// event by it.
    pub(super) fn give_up(&mut self, detail: Detail) -> u64 {
        let Some(streams) = self.streams.as_deref_mut() else {
            return 0;
        };
        let before = (streams.bytes(), streams.pieces.left_out());
        match detail {
            Detail::Texts => streams.drop_texts(),
            Detail::Events => streams.pieces.shrink_to(CHUNK_EVENTS_LEAST),
            // No node has them.
            Detail::Ends => {}
        }
        self.bytes = (self.bytes + streams.bytes()).saturating_sub(before.0);
        streams.pieces.left_out() - before.1
    }

    /// Takes streams that were recorded elsewhere.
    pub(super) fn lend(&mut self, lent: Box<Streams>) {
        let streams = streams(&mut self.streams, &mut self.bytes);
        let bytes_before = streams.bytes();
        *streams = *lent;
        self.bytes = (self.bytes + streams.bytes()).saturating_sub(bytes_before);
    }

    /// Its chunks carry this id.
    pub(super) fn bound_to(&mut self, key: &str) {
        streams(&mut self.streams, &mut self.bytes).key = Some(Arc::from(key));
    }

    /// What it waits for, if it is a wait.
    pub(super) fn wait_kind(&self) -> WaitKind {
        let of_kind = self.facts.iter().find(|fact| fact.key == FactKey::WaitKind);
        WaitKind::told_as(of_kind.and_then(|fact| match &fact.value {
            FactValue::Text(text) => Some(&**text),
            _ => None,
        }))
    }

    /// The name by which its end finds it.
    pub(super) fn index_name(&self) -> &str {
        match (self.kind, &self.under) {
            // Their ends tell only the task.
            (NodeKind::Code | NodeKind::Http, Some(task)) => task,
            (NodeKind::Code | NodeKind::Http, None) => "",
            _ => &self.name,
        }
    }

    /// Closes it. Its end is never before its start.
    pub(super) fn finish(self, end: Time, ending: Ending) -> FinishedNode {
        // A reported duration knows better than an inferred start.
        let start = match ending.duration {
            Some(duration) if self.start_inferred => self.start.min(end.minus(duration)),
            _ => self.start,
        };
        FinishedNode {
            identity: self.identity,
            parent: self.parent,
            kind: self.kind,
            name: self.title.unwrap_or(self.name),
            key: self.key,
            start,
            end: end.max(start),
            marks: Marks {
                start_inferred: self.start_inferred,
                end_inferred: ending.end_inferred,
                time_adjusted: end < start,
                incomplete: ending.incomplete,
            },
            outcome: ending.outcome.unwrap_or(NodeOutcome::Unknown),
            run_outcome: ending.run_outcome,
            duration: ending.duration,
            attempt: ending.attempt,
            usage: ending.usage,
            error: ending.error,
            facts: self.facts,
            streams: self.streams,
            time_to_first_chunk: self.time_to_first_chunk.filter(|_| !self.cached),
            notes: self.notes,
            links: self.links,
            cached: self.cached,
            validation_failures: self.validation_failures,
            escalated: self.escalated,
            calls: self.calls,
            had_children: self.served != 0,
            end_seen: ending.end_seen,
        }
    }
}

/// A node's streams, and the account of what they will hold.
fn streams<'n>(streams: &'n mut Option<Box<Streams>>, bytes: &mut usize) -> &'n mut Streams {
    streams.get_or_insert_with(|| {
        *bytes += size_of::<Streams>();
        Box::default()
    })
}

/// Adds a note if there is room; tells how many bytes that took.
pub(super) fn push_note(notes: &mut Notes, note: NoteRecord, room: Room) -> usize {
    // One event is left for the exception.
    if notes.kept.len() >= SPAN_EVENTS_MAX - 1 || !room.notes {
        notes.dropped = notes.dropped.saturating_add(1);
        return 0;
    }
    let bytes = NOTE_BYTES + note.facts.iter().map(fact_bytes).sum::<usize>();
    notes.kept.push(note);
    bytes
}

/// A fact to be kept: its texts are bounded.
pub(super) fn bounded_fact(fact: Fact<'_>, room: Room) -> Fact<'static> {
    let value = match fact.value {
        FactValue::Int(n) => FactValue::Int(n),
        FactValue::Bool(b) => FactValue::Bool(b),
        // A sentence may be longer than a name.
        FactValue::Text(text) if matches!(fact.key, FactKey::Reason | FactKey::Url) => {
            FactValue::Text(cut(text))
        }
        FactValue::Text(text) => FactValue::Text(Text::Owned(names::bounded(&text).into_owned())),
        FactValue::Texts(texts) => FactValue::Texts(
            texts
                .iter()
                .map(|text| Text::Owned(names::bounded(text).into_owned()))
                .collect(),
        ),
        FactValue::Content(content) => FactValue::Content(bounded_content(content, room)),
    };
    Fact {
        key: fact.key,
        value,
    }
}

/// Content to be kept: its text is bounded, its size stays that of the whole.
pub(super) fn bounded_content(content: Content<'_>, room: Room) -> Content<'static> {
    let text = content.text.filter(|_| room.texts).map(|text| {
        let end = text.floor_char_boundary(room.text_bytes_max);
        if end < text.len() {
            Text::Owned(text[..end].to_owned())
        } else {
            Text::Owned(text.into_owned())
        }
    });
    Content {
        bytes: content.bytes,
        text,
    }
}

/// A fault to be kept: its texts are bounded.
pub(super) fn bounded_fault(fault: Fault<'_>) -> Fault<'static> {
    let name = |text: Text<'_>| Text::Owned(names::bounded(&text).into_owned());
    Fault {
        kind: fault.kind.map(name),
        code: fault.code.map(name),
        message: cut(fault.message),
    }
}

/// Usage to be kept: its names are bounded, and an empty model has a name.
pub(super) fn bounded_usage(usage: Usage<'_>) -> Usage<'static> {
    let name = |text: &str| match text {
        "" => Text::Borrowed("unknown"),
        text => Text::Owned(names::bounded(text).into_owned()),
    };
    Usage {
        provider: name(&usage.provider),
        model: name(&usage.model),
        input_tokens: usage.input_tokens,
        output_tokens: usage.output_tokens,
        cache_read_tokens: usage.cache_read_tokens,
        cache_write_tokens: usage.cache_write_tokens,
        cache_write_5m_tokens: usage.cache_write_5m_tokens,
        cache_write_1h_tokens: usage.cache_write_1h_tokens,
        reasoning_tokens: usage.reasoning_tokens,
        finish_reason: usage.finish_reason.as_deref().map(name),
        cost_usd: usage.cost_usd,
    }
}

/// What may leave and a margin, so that redaction sees a secret at the cut whole.
fn cut(text: Text<'_>) -> Text<'static> {
    let end = text.floor_char_boundary(MESSAGE_BYTES_MAX + REDACTION_MARGIN_BYTES);
    if end < text.len() {
        Text::Owned(text[..end].to_owned())
    } else {
        Text::Owned(text.into_owned())
    }
}

/// Adds to a text what finds room. It never holds more room than it may fill.
fn assemble(whole: &mut Assembled, piece: &str, room: Room) {
    let left = if room.texts {
        room.text_bytes_max.saturating_sub(whole.text.len())
    } else {
        0
    };
    let end = piece.floor_char_boundary(left);
    if whole.truncated || end < piece.len() {
        // Nothing is taken after a gap: the text is a beginning, not a patchwork.
        let end = if whole.truncated { 0 } else { end };
        whole.truncated = true;
        push(&mut whole.text, &piece[..end], room.text_bytes_max);
        return;
    }
    push(&mut whole.text, piece, room.text_bytes_max);
}

/// A text grows twofold, as any does, but not beyond what it may become.
fn push(text: &mut String, piece: &str, bytes_max: usize) {
    let needed = text.len() + piece.len();
    if needed > text.capacity() {
        let room = (2 * text.capacity()).min(bytes_max).max(needed);
        text.reserve_exact(room - text.len());
    }
    text.push_str(piece);
}

fn fact_bytes(fact: &Fact<'_>) -> usize {
    let text = match &fact.value {
        FactValue::Int(_) | FactValue::Bool(_) => 0,
        FactValue::Text(text) => text.len(),
        FactValue::Texts(texts) => texts.iter().map(|text| text.len() + 24).sum(),
        FactValue::Content(content) => content.text.as_ref().map_or(0, |text| text.len()),
    };
    size_of::<Fact<'static>>() + text
}

const NOTE_BYTES: usize = size_of::<NoteRecord>();
