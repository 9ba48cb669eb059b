//! The sub-runs of a run: which are open, and what is remembered in each.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::identity::{Identity, Path};
use crate::limits::SCOPE_NAMES_MAX;

/// The top level of a run.
pub(super) const TOP: u32 = 0;

/// One sub-run that is open, or the top level.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Scope {
    pub(super) path: Path,
    /// Who it is: the parent of what has no other parent.
    pub(super) identity: Identity,
    pub(super) parent: Option<u32>,
    /// Its open node; the top level has none.
    pub(super) node: Option<u32>,
    /// The task whose prompt came last.
    pub(super) last_prompted: Option<u32>,
    /// Agents whose cached result is still to come.
    pub(super) cached_agents: Vec<Arc<str>>,
    /// The last failed end of each task.
    last_failed: FxHashMap<Arc<str>, Identity>,
    /// Tasks whose next start replaces a failed attempt.
    escalated: FxHashMap<Arc<str>, Identity>,
    /// Tokens of its tasks and of its sub-runs' tasks.
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
}

impl Scope {
    pub(super) fn new(
        path: Path,
        identity: Identity,
        parent: Option<u32>,
        node: Option<u32>,
    ) -> Self {
        Self {
            path,
            identity,
            parent,
            node,
            last_prompted: None,
            cached_agents: Vec::new(),
            last_failed: FxHashMap::default(),
            escalated: FxHashMap::default(),
            input_tokens: 0,
            output_tokens: 0,
        }
    }

    /// A task failed: a stronger agent may take over.
    pub(super) fn failed(&mut self, task: &Arc<str>, attempt: Identity) {
        if self.last_failed.len() >= SCOPE_NAMES_MAX {
            self.last_failed.clear();
        }
        self.last_failed.insert(Arc::clone(task), attempt);
    }

    /// A stronger agent takes over.
    pub(super) fn escalate(&mut self, task: &str) {
        if self.escalated.len() >= SCOPE_NAMES_MAX {
            self.escalated.clear();
        }
        if let Some((task, attempt)) = self.last_failed.remove_entry(task) {
            self.escalated.insert(task, attempt);
        }
    }

    /// The attempt that the next start of this task replaces.
    pub(super) fn replaced(&mut self, task: &str) -> Option<Identity> {
        if self.escalated.is_empty() {
            None
        } else {
            self.escalated.remove(task)
        }
    }

    /// A cached result of this agent is about to come.
    pub(super) fn expect_cached(&mut self, agent: Arc<str>) {
        if self.cached_agents.len() < SCOPE_NAMES_MAX {
            self.cached_agents.push(agent);
        }
    }

    /// Whether a cached result of this agent was about to come.
    pub(super) fn take_cached(&mut self, agent: Option<&str>) -> bool {
        let Some(agent) = agent.filter(|_| !self.cached_agents.is_empty()) else {
            return false;
        };
        let found = self
            .cached_agents
            .iter()
            .position(|expected| **expected == *agent);
        found.map(|at| self.cached_agents.remove(at)).is_some()
    }
}

/// The open sub-runs of a run.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Scopes {
    slots: Vec<Option<Scope>>,
    free: Vec<u32>,
    by_path: FxHashMap<Path, u32>,
}

impl Scopes {
    /// Only the top level.
    pub(super) fn new() -> Self {
        Self {
            slots: vec![Some(Scope::new(Path::ROOT, Identity::ROOT, None, None))],
            free: Vec::new(),
            by_path: FxHashMap::default(),
        }
    }

    /// How many are open, the top level included.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The open sub-run of this path.
    pub(super) fn find(&self, path: Path) -> Option<u32> {
        self.by_path.get(&path).copied()
    }

    /// Takes a sub-run in.
    pub(super) fn open(&mut self, scope: Scope) -> u32 {
        let path = scope.path;
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[index as usize] = Some(scope);
                index
            }
            None => {
                self.slots.push(Some(scope));
                // There are no more of them than open nodes.
                u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.by_path.insert(path, index);
        index
    }

    /// Takes a sub-run out; the top level stays.
    pub(super) fn close(&mut self, index: u32) -> Option<Scope> {
        if index == TOP {
            return None;
        }
        let scope = self.slots.get_mut(index as usize)?.take()?;
        self.free.push(index);
        self.by_path.remove(&scope.path);
        Some(scope)
    }

    /// The sub-run whose open node this is.
    pub(super) fn of_node(&self, node: u32) -> Option<u32> {
        let mut open = (0u32..).zip(&self.slots);
        open.find(|(_, slot)| slot.as_ref().is_some_and(|scope| scope.node == Some(node)))
            .map(|(index, _)| index)
    }

    pub(super) fn at(&self, index: u32) -> Option<&Scope> {
        self.slots.get(index as usize)?.as_ref()
    }

    pub(super) fn at_mut(&mut self, index: u32) -> Option<&mut Scope> {
        self.slots.get_mut(index as usize)?.as_mut()
    }

    /// Whether one is the other, or lies in it.
    pub(super) fn within(&self, inner: u32, outer: u32) -> bool {
        std::iter::successors(Some(inner), |index| self.at(*index)?.parent).any(|i| i == outer)
    }

    /// The sub-runs that lie in this one, innermost first.
    pub(super) fn inside(&self, outer: u32) -> Vec<u32> {
        let depth = |index: u32| {
            std::iter::successors(Some(index), |index| self.at(*index)?.parent).count()
        };
        let mut found: Vec<u32> = (0u32..)
            .zip(&self.slots)
            .filter(|(index, slot)| slot.is_some() && *index != outer)
            .map(|(index, _)| index)
            .filter(|index| self.within(*index, outer))
            .collect();
        found.sort_unstable_by_key(|index| (std::cmp::Reverse(depth(*index)), *index));
        found
    }

    /// Adds tokens to a sub-run and to all that enclose it.
    pub(super) fn spend(&mut self, index: u32, input: u64, output: u64) {
        let mut next = Some(index);
        while let Some(scope) = next.and_then(|index| self.at_mut(index)) {
            scope.input_tokens = scope.input_tokens.saturating_add(input);
            scope.output_tokens = scope.output_tokens.saturating_add(output);
            next = scope.parent;
        }
    }
}
