//! What is said of nodes: pieces of their streams, and notes.

use super::open::Opening;
use super::{Fold, Moment};
use crate::limits::{FACTS_MAX, LINKS_MAX};
use crate::run::finished::{FinishedNode, Link, LinkReason, NoteRecord};
use crate::run::names;
use crate::run::node::{OpenNode, Room, bounded_fact, push_note};
use crate::run::trace_id::run_trace_id;
use crate::wire::event::{About, Chunk, NodeKind, Note, NoteKind};
use crate::wire::rejection::Rejection;

impl Fold {
    /// A piece of a stream.
    pub(super) fn chunk(
        &mut self,
        scope: u32,
        chunk: &Chunk<'_>,
        moment: Moment,
        room: Room,
        out: &mut Vec<FinishedNode>,
    ) -> Result<(), Rejection> {
        let index = match self.speaker(scope, chunk) {
            Some(index) => index,
            // Only an answer says enough of its node to open one.
            None if chunk.kind == NodeKind::Code => return Err(Rejection::UnmatchedEnd),
            None => self.implied(scope, chunk, moment, out),
        };
        self.streamed = true;
        let agent = chunk.agent.as_deref();
        let cached = self
            .scopes
            .at_mut(scope)
            .is_some_and(|scope| scope.take_cached(agent));
        let thinned = self.nodes.change(index, |node| {
            node.cached |= cached;
            node.chunk(chunk, moment.time, room)
        });
        self.thinned += thinned.unwrap_or_default();
        Ok(())
    }

    /// The open node that a piece belongs to: by its id; an unknown id is bound
    /// to the oldest namesake that has none.
    fn speaker(&mut self, scope: u32, chunk: &Chunk<'_>) -> Option<u32> {
        let key = chunk.key.as_deref().map(names::bounded);
        if let Some(key) = key.as_deref()
            && let Some(index) = self.nodes.by_key(scope, chunk.kind, key)
        {
            return Some(index);
        }
        let name = names::bounded(&chunk.name);
        let namesakes = || self.nodes.namesakes(scope, chunk.kind, &name);
        let (oldest, _) = namesakes().next()?;
        let Some(key) = key else { return Some(oldest) };
        let unbound = namesakes()
            .find(|(_, node)| node.keys.is_empty())
            .map(|(index, _)| index);
        let index = unbound.unwrap_or(oldest);
        self.nodes.bind(index, scope, chunk.kind, &key);
        if unbound.is_some() {
            self.nodes.change(index, |node| node.bound_to(&key));
        }
        Some(index)
    }

    /// Opens the node of a piece whose start was not seen.
    fn implied(
        &mut self,
        scope: u32,
        chunk: &Chunk<'_>,
        moment: Moment,
        out: &mut Vec<FinishedNode>,
    ) -> u32 {
        let name = names::bounded(&chunk.name);
        let key = chunk.key.as_deref().map(names::bounded);
        let opening = Opening {
            kind: chunk.kind,
            name: &name,
            key: None,
            under: None,
            inferred: true,
        };
        let parent = self.scope_parent(scope);
        let index = self.open(scope, parent, opening, moment, out);
        if let Some(key) = key.as_deref() {
            self.nodes.bind(index, scope, chunk.kind, key);
            self.nodes.change(index, |node| node.bound_to(key));
        }
        index
    }

    /// Something is said of a node, or of the (sub-)run.
    pub(super) fn note(&mut self, scope: u32, note: Note<'_>, moment: Moment, room: Room) {
        let about = self.about(scope, &note.about, note.kind);
        match note.kind {
            NoteKind::Prompt => {
                // The size of the prompt is a fact of the task, not an event.
                if let Some(index) = about {
                    self.nodes.change(index, |node| {
                        node.prompted = true;
                        node.tell(note.facts, room);
                    });
                    if let Some(scope) = self.scopes.at_mut(scope) {
                        scope.last_prompted = Some(index);
                    }
                }
                return;
            }
            NoteKind::Escalated => {
                if let (About::Task(task), Some(scope)) = (&note.about, self.scopes.at_mut(scope)) {
                    scope.escalate(&names::bounded(task));
                }
            }
            NoteKind::ReplayCacheHit if self.replays.may_come() => {
                let open = self.open_tasks(|node| node.scope == scope);
                self.replays.replayed(&open);
            }
            NoteKind::CacheHit if about.is_none() => {
                if let (About::Agent(agent), Some(scope)) = (&note.about, self.scopes.at_mut(scope))
                {
                    scope.expect_cached(names::kept(agent));
                }
            }
            _ => {}
        }
        let record = NoteRecord {
            at: moment.time,
            kind: note.kind,
            facts: note
                .facts
                .into_iter()
                .take(FACTS_MAX)
                .map(|f| bounded_fact(f, room))
                .collect(),
        };
        let of = about.or_else(|| self.scopes.at(scope).and_then(|scope| scope.node));
        let Some(index) = of else {
            self.own_bytes += push_note(&mut self.notes, record, room);
            return;
        };
        self.nodes.change(index, |node| {
            match record.kind {
                NoteKind::CacheHit if about.is_some() => {
                    node.cached = true;
                    node.time_to_first_chunk = None;
                }
                NoteKind::ValidationFailure => {
                    node.validation_failures = node.validation_failures.saturating_add(1);
                }
                _ => {}
            }
            node.note(record, room);
        });
    }

    /// The open node that a note is about; none means the (sub-)run.
    fn about(&self, scope: u32, about: &About<'_>, kind: NoteKind) -> Option<u32> {
        match about {
            About::Scope => None,
            About::Task(name) => {
                let name = names::bounded(name);
                let namesakes = || self.nodes.namesakes(scope, NodeKind::Task, &name);
                // Namesakes are prompted one after the other.
                let unprompted =
                    namesakes().find(|(_, node)| kind == NoteKind::Prompt && !node.prompted);
                unprompted
                    .or_else(|| namesakes().next())
                    .map(|(index, _)| index)
            }
            About::Agent(agent) => self.task_of_agent(scope, &names::bounded(agent)),
            About::Tool { name, key } => key
                .as_deref()
                .and_then(|key| {
                    self.nodes
                        .by_key(scope, NodeKind::Tool, &names::bounded(key))
                })
                .or_else(|| self.tool_named(scope, name)),
        }
    }

    /// The open task that an agent works on: the one it is known to speak in;
    /// else, of those whose agent is not known, the one prompted last, or the
    /// only one.
    fn task_of_agent(&self, scope: u32, agent: &str) -> Option<u32> {
        let speaks = |node: &OpenNode| {
            node.streams
                .as_ref()
                .and_then(|streams| streams.agent.as_deref().map(str::to_owned))
        };
        let tasks = self
            .nodes
            .all(|node| node.scope == scope && node.kind == NodeKind::Task);
        let agent_of = |index: &u32| self.nodes.at(*index).and_then(speaks);
        if let Some(index) = tasks
            .iter()
            .find(|index| agent_of(index).as_deref() == Some(agent))
        {
            return Some(*index);
        }
        let mut unknown = tasks.into_iter().filter(|index| agent_of(index).is_none());
        let prompted = self.scopes.at(scope).and_then(|scope| scope.last_prompted);
        let candidates: Vec<u32> = unknown.by_ref().collect();
        match candidates.as_slice() {
            [only] => Some(*only),
            many => prompted.filter(|prompted| many.contains(prompted)),
        }
    }

    /// The run points to a run that it started.
    pub(super) fn link_child(&mut self, child: &str) {
        let meta = &self.meta;
        let trace = run_trace_id(child, &meta.source, "", meta.project);
        let link = Link::Run(trace, LinkReason::ChildRun);
        if self.links.len() < LINKS_MAX && !self.links.contains(&link) {
            self.links.push(link);
            self.own_bytes += size_of::<Link>();
        }
    }
}
