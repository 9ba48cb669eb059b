//! Starts: new nodes and sub-runs, and what they hang under.

use std::sync::Arc;

use super::{Fold, Moment};
use crate::run::finished::{FinishedNode, Link, LinkReason, Notes};
use crate::run::identity::{Identity, Path};
use crate::run::names;
use crate::run::node::{OpenNode, Room};
use crate::run::nodes::served_bit;
use crate::run::scope::{Scope, TOP};
use crate::wire::event::{
    Fact, FactKey, FactValue, NodeKind, NodeStart, SubRunRef, Text, Under, What,
};

/// What a new node hangs under.
pub(super) struct Parent {
    identity: Identity,
    index: Option<u32>,
}

/// A node about to be opened.
pub(super) struct Opening<'a> {
    pub(super) kind: NodeKind,
    pub(super) name: &'a str,
    pub(super) key: Option<&'a str>,
    pub(super) under: Option<&'a str>,
    pub(super) inferred: bool,
}

impl Fold {
    /// A node starts.
    pub(super) fn start_node(
        &mut self,
        scope: u32,
        start: NodeStart<'_>,
        moment: Moment,
        room: Room,
        out: &mut Vec<FinishedNode>,
    ) {
        let name = names::bounded(&start.name);
        let key = start.key.as_deref().map(names::bounded);
        if start.kind == NodeKind::Wait {
            let same = key
                .as_deref()
                .and_then(|key| self.nodes.by_key(scope, start.kind, key));
            if let Some(index) = same {
                self.refine_wait(index, &name, start.facts, room);
                return;
            }
        }
        let parent = self.parent(scope, &start.under, start.kind);
        let under = match &start.under {
            Under::Scope => None,
            Under::Task(under) | Under::Tool(under) => Some(names::bounded(under)),
        };
        let opening = Opening {
            kind: start.kind,
            name: &name,
            key: key.as_deref(),
            under: under.as_deref(),
            inferred: false,
        };
        let index = self.open(scope, parent, opening, moment, out);
        self.nodes
            .change(index, |node| node.tell(start.facts, room));
        match start.kind {
            NodeKind::Task => self.link_escalation(scope, index, &name),
            NodeKind::Loop => self.open_turn(index, moment, out),
            _ => {}
        }
    }

    /// Takes a node in; makes room for it first.
    pub(super) fn open(
        &mut self,
        scope: u32,
        parent: Parent,
        opening: Opening<'_>,
        moment: Moment,
        out: &mut Vec<FinishedNode>,
    ) -> u32 {
        while self.nodes.len() >= self.open_nodes_max {
            self.close_oldest(moment.time, out);
        }
        if let Some(index) = parent.index {
            self.nodes
                .change(index, |node| node.served |= served_bit(opening.kind));
        }
        let path = parent.identity.path.step(opening.kind, &[opening.name]);
        let identity = self.ordinals.identify(path, moment.at);
        self.nodes
            .open(new_node(scope, identity, parent.identity, opening, moment))
    }

    /// The (sub-)run as a parent.
    pub(super) fn scope_parent(&self, scope: u32) -> Parent {
        let scope = self.scopes.at(scope);
        Parent {
            identity: scope.map_or(Identity::ROOT, |scope| scope.identity),
            index: scope.and_then(|scope| scope.node),
        }
    }

    /// What a node hangs under, by what is said of it.
    pub(super) fn parent(&self, scope: u32, under: &Under<'_>, child: NodeKind) -> Parent {
        let index = match under {
            Under::Scope => None,
            Under::Task(name) => {
                let name = names::bounded(name);
                self.open_turn_of(scope, &name, child)
                    .or_else(|| self.nodes.parent_for(scope, NodeKind::Task, &name, child))
            }
            Under::Tool(name) => self.tool_named(scope, name),
        };
        let node = index.and_then(|index| self.nodes.at(index));
        match node {
            Some(node) => Parent {
                identity: node.identity,
                index,
            },
            None => self.scope_parent(scope),
        }
    }

    /// The newest open tool call that a reference means: by its name, or by
    /// the part of the reference after the server's name.
    pub(super) fn tool_named(&self, scope: u32, reference: &str) -> Option<u32> {
        let bare = reference.rsplit_once('.').map(|(_, name)| name);
        std::iter::once(reference).chain(bare).find_map(|name| {
            let name = names::bounded(name);
            self.nodes
                .namesakes(scope, NodeKind::Tool, &name)
                .next_back()
                .map(|(index, _)| index)
        })
    }

    /// The open turn of an open loop. A loop is not its own child.
    fn open_turn_of(&self, scope: u32, name: &str, child: NodeKind) -> Option<u32> {
        if child == NodeKind::Loop {
            return None;
        }
        let (_, node) = self
            .nodes
            .namesakes(scope, NodeKind::Loop, name)
            .next_back()?;
        node.turn
    }

    /// A turn begins where the loop or the turn before it left off.
    pub(super) fn open_turn(&mut self, of: u32, moment: Moment, out: &mut Vec<FinishedNode>) {
        let Some(node) = self.nodes.at(of) else {
            return;
        };
        let (scope, name) = (node.scope, Arc::clone(&node.name));
        let parent = Parent {
            identity: node.identity,
            index: None,
        };
        let opening = Opening {
            kind: NodeKind::Turn,
            name: &name,
            key: None,
            under: None,
            inferred: false,
        };
        let turn = self.open(scope, parent, opening, moment, out);
        // To make room for its turn, the loop itself may have been closed.
        if self
            .nodes
            .change(of, |node| node.turn = Some(turn))
            .is_none()
        {
            self.nodes.close(turn);
        }
    }

    /// A wait is told of twice: as a batch, and as the checkpoint that it waits at.
    fn refine_wait(&mut self, index: u32, name: &str, facts: Vec<Fact<'_>>, room: Room) {
        self.nodes.change(index, |node| {
            if &*node.name == "batch" && name != "batch" {
                node.title = Some(Arc::from(name));
            }
            node.tell(facts, room);
        });
        self.nodes.doubt_waits();
    }

    /// A second attempt points to the first.
    fn link_escalation(&mut self, scope: u32, index: u32, name: &str) {
        let Some(scope) = self.scopes.at_mut(scope) else {
            return;
        };
        if let Some(replaced) = scope.replaced(name) {
            self.nodes.change(index, |node| {
                node.escalated = true;
                node.links
                    .push(Link::Node(replaced, LinkReason::EscalatedFrom));
            });
        }
    }

    /// The scope of an event, opened along its path where it is not open.
    pub(super) fn scope(
        &mut self,
        path: &[SubRunRef<'_>],
        what: &What<'_>,
        moment: Moment,
        room: Room,
        out: &mut Vec<FinishedNode>,
    ) -> u32 {
        let mut scope = TOP;
        for (depth, step) in path.iter().enumerate() {
            let parent = self.scopes.at(scope).map_or(Path::ROOT, |scope| scope.path);
            let path_below = sub_path(parent, step);
            scope = match self.scopes.find(path_below) {
                Some(found) => found,
                None => {
                    let leaf = depth + 1 == path.len();
                    let inferred = !(leaf && matches!(what, What::RunStarted));
                    self.open_sub_run(scope, path_below, step, inferred, moment, room, out)
                }
            };
        }
        scope
    }

    #[expect(clippy::too_many_arguments, reason = "they are the event, taken apart")]
    fn open_sub_run(
        &mut self,
        parent: u32,
        path: Path,
        step: &SubRunRef<'_>,
        inferred: bool,
        moment: Moment,
        room: Room,
        out: &mut Vec<FinishedNode>,
    ) -> u32 {
        while self.nodes.len() >= self.open_nodes_max {
            self.close_oldest(moment.time, out);
        }
        // Making room may have closed the enclosing sub-run.
        let parent = if self.scopes.at(parent).is_some() {
            parent
        } else {
            TOP
        };
        let hangs = self.scope_parent(parent);
        let identity = self.ordinals.identify(path, moment.at);
        let name = names::bounded(&step.workflow);
        let opening = Opening {
            kind: NodeKind::SubRun,
            name: &name,
            key: None,
            under: None,
            inferred,
        };
        let mut node = new_node(parent, identity, hangs.identity, opening, moment);
        node.calls_open = u32::from(inferred);
        let mut facts = vec![Fact {
            key: FactKey::Call,
            value: FactValue::Text(Text::Borrowed(&step.call)),
        }];
        let numbers = [
            (FactKey::CallSite, step.site),
            (FactKey::Attempt, step.attempt),
        ];
        facts.extend(numbers.into_iter().filter_map(|(key, n)| {
            let n = i64::try_from(n?).unwrap_or(i64::MAX);
            Some(Fact {
                key,
                value: FactValue::Int(n),
            })
        }));
        node.tell(facts, room);
        let index = self.nodes.open(node);
        self.scopes
            .open(Scope::new(path, identity, Some(parent), Some(index)))
    }

    /// A sub-run starts. Parallel calls under one name cannot be told apart:
    /// they share a span, which ends with the last of them.
    pub(super) fn begin_sub_run(&mut self, scope: u32) {
        let node = self.scopes.at(scope).and_then(|scope| scope.node);
        if let Some(index) = node {
            self.nodes.change(index, |node| {
                if node.start_inferred && node.calls_open == 1 && node.calls == 1 {
                    // It was opened by one of its own events: this is its start.
                    node.start_inferred = false;
                } else {
                    node.calls_open = node.calls_open.saturating_add(1);
                    node.calls = node.calls.max(node.calls_open);
                }
            });
        }
    }
}

/// The path of a sub-run: what is called, from where, and which attempt.
fn sub_path(parent: Path, step: &SubRunRef<'_>) -> Path {
    let number = |n: Option<u64>| n.map_or_else(String::new, |n| n.to_string());
    parent.step(
        NodeKind::SubRun,
        &[
            &names::bounded(&step.workflow),
            &names::bounded(&step.call),
            &number(step.site),
            &number(step.attempt),
        ],
    )
}

fn new_node(
    scope: u32,
    identity: Identity,
    parent: Identity,
    opening: Opening<'_>,
    moment: Moment,
) -> OpenNode {
    OpenNode {
        identity,
        parent,
        scope,
        order: 0,
        kind: opening.kind,
        name: Arc::from(opening.name),
        title: None,
        key: opening.key.map(Arc::from),
        keys: Vec::new(),
        under: opening.under.map(Arc::from),
        start: moment.time,
        start_inferred: opening.inferred,
        facts: Vec::new(),
        streams: None,
        time_to_first_chunk: None,
        notes: Notes::default(),
        links: Vec::new(),
        cached: false,
        validation_failures: 0,
        escalated: false,
        prompted: false,
        calls: 1,
        calls_open: 1,
        served: 0,
        turn: None,
        bytes: 0,
    }
}
