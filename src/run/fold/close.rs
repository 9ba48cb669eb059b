//! Ends: which node an end means, and what is closed with it.

use super::open::Opening;
use super::{Fold, Moment};
use crate::run::finished::FinishedNode;
use crate::run::names;
use crate::run::node::{Ending, Room, bounded_fault, bounded_usage};
use crate::run::scope::TOP;
use crate::wire::event::{
    Fact, FactKey, FactValue, NodeEnd, NodeKind, NodeOutcome, RunEnd, RunOutcome, Under, Usage,
};
use crate::wire::rejection::Rejection;
use crate::wire::time::Time;

impl Fold {
    /// A node ends.
    pub(super) fn end_node(
        &mut self,
        scope: u32,
        end: NodeEnd<'_>,
        moment: Moment,
        room: Room,
        out: &mut Vec<FinishedNode>,
    ) -> Result<(), Rejection> {
        let found = match end.kind {
            NodeKind::Turn => self.turn_ending(scope, &end),
            _ => self.ending(scope, &end, moment.time),
        };
        let index = match found {
            Some(index) => index,
            None => self
                .unseen(scope, &end, moment, out)
                .ok_or(Rejection::UnmatchedEnd)?,
        };
        let of_loop = self
            .nodes
            .at(index)
            .filter(|node| node.kind == NodeKind::Loop);
        if let Some(turn) = of_loop.and_then(|node| node.turn) {
            self.close_turn(turn, moment.time, out);
        }
        let ending = Ending {
            outcome: Some(end.outcome),
            run_outcome: None,
            duration: end.duration,
            attempt: end.attempt,
            usage: end.usage.map(bounded_usage),
            error: end.error.map(bounded_fault),
            incomplete: false,
            end_inferred: false,
            end_seen: true,
            remembered: room.ends,
        };
        self.nodes.change(index, |node| node.tell(end.facts, room));
        let enclosing = (end.kind == NodeKind::Turn)
            .then(|| self.loop_of(scope, index))
            .flatten();
        self.close(index, moment.time, ending, out);
        if let Some(of) = enclosing {
            self.open_turn(of, moment, out);
        }
        Ok(())
    }

    /// The open node that an end means.
    fn ending(&self, scope: u32, end: &NodeEnd<'_>, time: Time) -> Option<u32> {
        if let Some(key) = end.key.as_deref() {
            let found = self.nodes.by_key(scope, end.kind, &names::bounded(key));
            if found.is_some() {
                return found;
            }
        }
        let keyless = |key: &Option<std::sync::Arc<str>>| end.key.is_none() || key.is_none();
        let under = match &end.under {
            Under::Scope => None,
            Under::Task(name) | Under::Tool(name) => Some(names::bounded(name)),
        };
        match end.kind {
            NodeKind::Task | NodeKind::ModelCall => {
                let name = names::bounded(end.name.as_deref().unwrap_or_default());
                self.nodes
                    .ending(scope, end.kind, &name, time, end.duration)
            }
            NodeKind::Code | NodeKind::Http => {
                let name = under.unwrap_or_default();
                let mut namesakes = self.nodes.namesakes(scope, end.kind, &name);
                namesakes
                    .find(|(_, node)| keyless(&node.key))
                    .map(|(index, _)| index)
            }
            _ => {
                let name = names::bounded(end.name.as_deref()?);
                let mut namesakes = self.nodes.namesakes(scope, end.kind, &name);
                let fits = |of: Option<&str>| under.is_none() || under.as_deref() == of;
                namesakes
                    .find(|(_, node)| keyless(&node.key) && fits(node.under.as_deref()))
                    .map(|(index, _)| index)
            }
        }
    }

    /// The open turn of the loop that a turn's end names.
    fn turn_ending(&self, scope: u32, end: &NodeEnd<'_>) -> Option<u32> {
        let name = names::bounded(end.name.as_deref()?);
        let (_, node) = self.nodes.namesakes(scope, NodeKind::Loop, &name).next()?;
        node.turn
    }

    fn loop_of(&self, scope: u32, turn: u32) -> Option<u32> {
        let name = &self.nodes.at(turn)?.name;
        let mut loops = self.nodes.namesakes(scope, NodeKind::Loop, name);
        loops
            .find(|(_, node)| node.turn == Some(turn))
            .map(|(index, _)| index)
    }

    /// Opens a node whose start was not seen, so that its end has something to end.
    fn unseen(
        &mut self,
        scope: u32,
        end: &NodeEnd<'_>,
        moment: Moment,
        out: &mut Vec<FinishedNode>,
    ) -> Option<u32> {
        let name = names::bounded(end.name.as_deref()?);
        let key = end.key.as_deref().map(names::bounded);
        let parent = self.parent(scope, &end.under, end.kind);
        let opening = Opening {
            kind: end.kind,
            name: &name,
            key: key.as_deref().filter(|_| end.kind != NodeKind::Turn),
            under: None,
            inferred: true,
        };
        Some(self.open(scope, parent, opening, moment, out))
    }

    /// Closes a node, counts it, and gives it out.
    pub(super) fn close(
        &mut self,
        index: u32,
        end: Time,
        ending: Ending,
        out: &mut Vec<FinishedNode>,
    ) {
        let Some(node) = self.nodes.close(index) else {
            return;
        };
        let scope = node.scope;
        let remembered = ending.remembered;
        let mut finished = node.finish(end, ending);
        if finished.marks.start_inferred {
            self.begin_no_later(scope, finished.start);
        }
        let told = self.take_repeated(&mut finished, remembered);
        if finished.end_seen {
            let top_level = scope == TOP;
            self.sums
                .add(&finished, told.as_ref(), top_level, self.summary_names_max);
            if let Some(usage) = &finished.usage {
                self.scopes
                    .spend(scope, usage.input_tokens, usage.output_tokens);
            }
            if finished.kind == NodeKind::Task
                && finished.outcome == NodeOutcome::Failed
                && let Some(scope) = self.scopes.at_mut(scope)
            {
                scope.failed(&finished.name, finished.identity);
            }
        }
        out.push(finished);
    }

    /// Takes from a task what the server has told of before: it is paid once. Gives
    /// what the task told, if that is not what counts.
    fn take_repeated(
        &mut self,
        task: &mut FinishedNode,
        remembered: bool,
    ) -> Option<Usage<'static>> {
        if task.kind != NodeKind::Task {
            return None;
        }
        let repeat = match task.spending() {
            Some(usage) => self.replays.ended(task.identity, usage, remembered),
            None => {
                self.replays.closed(&task.identity);
                None
            }
        };
        repeat.and_then(|repeat| task.repeats(repeat))
    }

    /// What encloses a node began no later than the node itself: an inferred
    /// start moves what encloses it if that start was not seen either.
    fn begin_no_later(&mut self, scope: u32, start: Time) {
        let mut next = Some(scope);
        while let Some(scope) = next.and_then(|index| self.scopes.at(index)) {
            if let Some(node) = scope.node {
                self.nodes.change(node, |node| {
                    if node.start_inferred {
                        node.start = node.start.min(start);
                    }
                });
            }
            next = scope.parent;
        }
        if self.begun.is_none() {
            self.first = self.first.min(start);
        }
    }

    /// A turn that was begun but never told of was none, unless something
    /// already hangs under it.
    fn close_turn(&mut self, turn: u32, end: Time, out: &mut Vec<FinishedNode>) {
        let served = self.nodes.at(turn).is_some_and(|node| node.served != 0);
        if served {
            let ending = Ending {
                incomplete: true,
                end_inferred: true,
                ..Ending::default()
            };
            self.close(turn, end, ending, out);
        } else {
            self.nodes.close(turn);
        }
    }

    /// Closes a node whose end did not come.
    fn close_incomplete(&mut self, index: u32, end: Time, out: &mut Vec<FinishedNode>) {
        let Some(node) = self.nodes.at(index) else {
            return;
        };
        match (node.kind, node.turn) {
            (NodeKind::Turn, _) => return self.close_turn(index, end, out),
            (NodeKind::Loop, Some(turn)) => self.close_turn(turn, end, out),
            _ => {}
        }
        let ending = Ending {
            incomplete: true,
            end_inferred: true,
            ..Ending::default()
        };
        self.close(index, end, ending, out);
    }

    /// Closes everything that is open, innermost first.
    pub(super) fn close_all(&mut self, end: Time, out: &mut Vec<FinishedNode>) {
        for scope in self.scopes.inside(TOP) {
            self.close_scope(scope, end, None, out);
        }
        for index in self.nodes.all(|_| true).into_iter().rev() {
            self.close_incomplete(index, end, out);
        }
    }

    /// Closes the oldest node, to make room.
    pub(super) fn close_oldest(&mut self, end: Time, out: &mut Vec<FinishedNode>) {
        let Some(oldest) = self.nodes.oldest() else {
            return;
        };
        let of_scope = self.scopes.of_node(oldest);
        match of_scope {
            Some(scope) => {
                for inner in self.scopes.inside(scope) {
                    self.close_scope(inner, end, None, out);
                }
                self.close_scope(scope, end, None, out);
            }
            None => self.close_incomplete(oldest, end, out),
        }
    }

    /// A sub-run ends: with its last call, if several shared its name.
    pub(super) fn end_sub_run(
        &mut self,
        scope: u32,
        end: RunEnd<'_>,
        moment: Moment,
        room: Room,
        out: &mut Vec<FinishedNode>,
    ) {
        let Some(index) = self.scopes.at(scope).and_then(|scope| scope.node) else {
            return;
        };
        let error = end.error.map(bounded_fault);
        let last = self.nodes.change(index, |node| {
            node.calls_open = node.calls_open.saturating_sub(1);
            if let Some(output) = end.output {
                let fact = Fact {
                    key: FactKey::Output,
                    value: FactValue::Content(output),
                };
                node.tell(vec![fact], room);
            }
            node.calls_open == 0
        });
        if last == Some(true) {
            for inner in self.scopes.inside(scope) {
                self.close_scope(inner, moment.time, None, out);
            }
            let ending = Ending {
                outcome: Some(match end.outcome {
                    RunOutcome::Success => NodeOutcome::Success,
                    _ => NodeOutcome::Failed,
                }),
                run_outcome: Some(end.outcome),
                error,
                end_seen: true,
                ..Ending::default()
            };
            self.close_scope(scope, moment.time, Some(ending), out);
        }
    }

    /// Closes a sub-run and the nodes in it; those inside are closed already.
    fn close_scope(
        &mut self,
        index: u32,
        end: Time,
        ending: Option<Ending>,
        out: &mut Vec<FinishedNode>,
    ) {
        for node in self.nodes.all(|node| node.scope == index).into_iter().rev() {
            self.close_incomplete(node, end, out);
        }
        let Some(scope) = self.scopes.close(index) else {
            return;
        };
        let Some(node) = scope.node else { return };
        let spent = [
            (FactKey::InputTokens, scope.input_tokens),
            (FactKey::OutputTokens, scope.output_tokens),
        ];
        let facts = spent.map(|(key, n)| Fact {
            key,
            value: FactValue::Int(i64::try_from(n).unwrap_or(i64::MAX)),
        });
        self.nodes.change(node, |node| node.facts.extend(facts));
        let ending = ending.unwrap_or_else(|| Ending {
            incomplete: true,
            end_inferred: true,
            ..Ending::default()
        });
        self.close(node, end, ending, out);
    }
}
