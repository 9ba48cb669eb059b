//! The events of a span: chunks, notes and the exception, in the order of time,
//! within their budget. Of what does not fit, notes go first; the exception never.

use super::content::cut;
use super::ids::{self, TraceId};
use super::otlp::{Attributes, Reach, SpanWriter};
use super::semconv;
use super::settings::TraceSettings;
use super::sheet::Sheet;
use super::verdict::Verdict;
use crate::limits::{NAME_BYTES_MAX, SPAN_CONTENT_BYTES_MAX, SPAN_EVENTS_MAX, SPAN_LINKS_MAX};
use crate::run::finished::{Link, NoteRecord, Notes, Streams};
use crate::run::identity::Identity;
use crate::run::pieces::Piece;
use crate::wire::time::Time;

/// Writes the events of spans; keeps its room from one to the next.
#[derive(Debug, Default)]
pub struct EventWriter {
    order: Vec<Entry>,
    /// What all chunks of one span have in common, encoded once.
    speaker: Vec<u8>,
}

/// What happened during a span.
#[derive(Debug, Clone, Copy)]
pub struct Happened<'a> {
    /// Its streams.
    pub streams: Option<&'a Streams>,
    /// What was said of it.
    pub notes: &'a Notes,
    /// How it ended.
    pub verdict: &'a Verdict<'a>,
    /// When.
    pub end: Time,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    at: Time,
    /// Tells apart what happened at one time: by kind, then by index.
    rank: (u8, u64),
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Chunk(Piece),
    Reasoning(Piece),
    Note(usize),
    Exception,
}

impl EventWriter {
    /// Writes the events, and how many there were besides.
    pub fn write(
        &mut self,
        span: &mut SpanWriter<'_>,
        settings: &TraceSettings,
        happened: &Happened<'_>,
    ) {
        let mut dropped = self.arrange(happened);
        self.encode_speaker(happened.streams);
        for entry in &self.order {
            match entry.what {
                What::Chunk(piece) => self.chunk(span, semconv::AGENT_CHUNK, &piece),
                What::Reasoning(piece) => self.chunk(span, semconv::AGENT_REASONING, &piece),
                What::Note(_) if span.len() > SPAN_CONTENT_BYTES_MAX => dropped += 1,
                What::Note(place) => note(span, settings, &happened.notes.kept[place]),
                What::Exception => exception(span, happened),
            }
        }
        span.dropped_events(u32::try_from(dropped).unwrap_or(u32::MAX));
    }

    /// Puts what fits in order, and counts the rest.
    fn arrange(&mut self, happened: &Happened<'_>) -> u64 {
        self.order.clear();
        let mut dropped = u64::from(happened.notes.dropped);
        let mut room = SPAN_EVENTS_MAX;
        if let Verdict::Failed { told: true, .. } = happened.verdict {
            self.order
                .push(Entry::new(happened.end, 3, 0, What::Exception));
            room -= 1;
        }
        if let Some(streams) = happened.streams {
            let pieces = &streams.pieces;
            let answer = pieces
                .answer
                .kept()
                .map(|piece| (0, What::Chunk(*piece), piece));
            let reasoning = pieces
                .reasoning
                .kept()
                .map(|piece| (1, What::Reasoning(*piece), piece));
            let kept = pieces.answer.kept_count() + pieces.reasoning.kept_count();
            for (kind, what, piece) in answer.chain(reasoning).take(room) {
                self.order
                    .push(Entry::new(piece.at, kind, piece.index, what));
            }
            dropped = dropped.saturating_add(pieces.left_out());
            dropped = dropped.saturating_add(kept.saturating_sub(room) as u64);
            room = room.saturating_sub(kept);
        }
        let notes = &happened.notes.kept;
        for (place, note) in notes.iter().enumerate().take(room) {
            self.order
                .push(Entry::new(note.at, 2, place as u64, What::Note(place)));
        }
        self.order
            .sort_unstable_by_key(|entry| (entry.at, entry.rank));
        dropped.saturating_add(notes.len().saturating_sub(room) as u64)
    }

    fn encode_speaker(&mut self, streams: Option<&Streams>) {
        self.speaker.clear();
        let Some(streams) = streams else { return };
        let mut speaker = Attributes::of_event(&mut self.speaker);
        if let Some(agent) = &streams.agent {
            speaker.text(semconv::GEN_AI_AGENT_NAME, cut(agent, NAME_BYTES_MAX));
        }
        if let Some(key) = &streams.key {
            speaker.text(semconv::TASK_ID, cut(key, NAME_BYTES_MAX));
        }
    }

    fn chunk(&self, span: &mut SpanWriter<'_>, name: &str, piece: &Piece) {
        span.event(piece.at, name, |to| {
            to.count(semconv::CHUNK_INDEX, piece.index);
            to.count(semconv::CHUNK_BYTES, piece.bytes);
            to.count(semconv::CHUNK_OFFSET, piece.offset);
            if piece.merged > 0 {
                to.count(semconv::CHUNK_MERGED_COUNT, piece.merged);
                to.count(semconv::CHUNK_MERGED_BYTES, piece.merged_bytes);
            }
            to.encoded(&self.speaker);
        });
    }
}

/// Writes the links, and how many there were besides.
pub fn links(span: &mut SpanWriter<'_>, trace_id: &TraceId, links: &[Link]) {
    for link in links.iter().take(SPAN_LINKS_MAX) {
        let (trace_id, identity, reach, reason) = match link {
            Link::Node(identity, reason) => (trace_id, identity, Reach::Local, reason),
            Link::Run(other, reason) => (other, &Identity::ROOT, Reach::Remote, reason),
        };
        let span_id = ids::span_id(trace_id, identity);
        span.link(trace_id, span_id, reach, |to| {
            to.text(semconv::LINK_REASON, reason.as_str());
        });
    }
    let dropped = links.len().saturating_sub(SPAN_LINKS_MAX);
    span.dropped_links(u32::try_from(dropped).unwrap_or(u32::MAX));
}

impl Entry {
    fn new(at: Time, kind: u8, index: u64, what: What) -> Self {
        Self {
            at,
            rank: (kind, index),
            what,
        }
    }
}

fn note(span: &mut SpanWriter<'_>, settings: &TraceSettings, note: &NoteRecord) {
    span.event(note.at, semconv::note(note.kind), |to| {
        Sheet::new(to.reborrow(), settings).facts(&note.facts, |_| false);
    });
}

fn exception(span: &mut SpanWriter<'_>, happened: &Happened<'_>) {
    let Verdict::Failed {
        error_type,
        message,
        ..
    } = happened.verdict
    else {
        return;
    };
    span.event(happened.end, semconv::EXCEPTION, |to| {
        to.text(semconv::EXCEPTION_TYPE, cut(error_type, NAME_BYTES_MAX));
        if let Some(message) = message {
            to.text(semconv::EXCEPTION_MESSAGE, message);
        }
    });
}
