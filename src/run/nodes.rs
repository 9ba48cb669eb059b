//! The open nodes of one run, and how an event finds the one that it means.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::finished::COUNTS_BYTES;
use super::node::{Detail, OpenNode};
use super::standing::Waits;
use crate::limits::NODE_KEYS_MAX;
use crate::wire::event::NodeKind;
use crate::wire::time::Time;

/// The open nodes of one run.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Nodes {
    slots: Vec<Option<Box<OpenNode>>>,
    free: Vec<u32>,
    opened: u64,
    /// By scope, kind and name, in the order of opening.
    by_name: FxHashMap<u64, Vec<u32>>,
    /// By scope, kind and key: the newest.
    by_key: FxHashMap<u64, u32>,
    waits: usize,
    /// See [`Self::take_waits_moved`].
    #[serde(skip)]
    waits_moved: bool,
    bytes: usize,
}

impl Nodes {
    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// How many of them are waits.
    pub(super) const fn waits(&self) -> usize {
        self.waits
    }

    /// Since when they have waited: looked up anew each time.
    pub(super) fn oldest_waits(&self) -> Waits {
        let mut waits = Waits::default();
        if self.waits == 0 {
            return waits;
        }
        let open = self.slots.iter().flatten();
        for node in open.filter(|node| node.kind == NodeKind::Wait) {
            waits.add(node.wait_kind(), node.start);
        }
        waits
    }

    /// Whether a wait came, went, or was told of anew since this was asked last.
    pub(super) const fn take_waits_moved(&mut self) -> bool {
        std::mem::replace(&mut self.waits_moved, false)
    }

    /// Nothing that was told of waits holds any longer.
    pub(super) const fn doubt_waits(&mut self) {
        self.waits_moved = true;
    }

    /// What they hold, roughly.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a new node in.
    pub(super) fn open(&mut self, mut node: OpenNode) -> u32 {
        node.order = self.opened;
        self.opened += 1;
        let names = [Some(&node.name), node.key.as_ref(), node.under.as_ref()];
        let names = names.into_iter().flatten();
        node.bytes += size_of::<OpenNode>() + INDEX_BYTES;
        node.bytes += names.map(|name| name.len() + COUNTS_BYTES).sum::<usize>();
        self.bytes += node.bytes;
        self.waits += usize::from(node.kind == NodeKind::Wait);
        self.waits_moved |= node.kind == NodeKind::Wait;
        let by_name = place(node.scope, node.kind, node.index_name());
        node.keys = node
            .key
            .iter()
            .map(|key| place(node.scope, node.kind, key))
            .collect();
        let by_key = node.keys.first().copied();
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[index as usize] = Some(Box::new(node));
                index
            }
            None => {
                self.slots.push(Some(Box::new(node)));
                // The number of open nodes is bounded far below this.
                u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.by_name.entry(by_name).or_default().push(index);
        if let Some(by_key) = by_key {
            self.by_key.insert(by_key, index);
        }
        index
    }

    /// Takes a node out.
    pub(super) fn close(&mut self, index: u32) -> Option<OpenNode> {
        let node = *self.slots.get_mut(index as usize)?.take()?;
        self.free.push(index);
        self.bytes = self.bytes.saturating_sub(node.bytes);
        self.waits -= usize::from(node.kind == NodeKind::Wait);
        self.waits_moved |= node.kind == NodeKind::Wait;
        let by_name = place(node.scope, node.kind, node.index_name());
        if let Some(namesakes) = self.by_name.get_mut(&by_name) {
            namesakes.retain(|other| *other != index);
            if namesakes.is_empty() {
                self.by_name.remove(&by_name);
            }
        }
        for by_key in &node.keys {
            if self.by_key.get(by_key) == Some(&index) {
                self.by_key.remove(by_key);
            }
        }
        Some(node)
    }

    /// Lets the keys of another fold's node find this one, in the same scope.
    pub(super) fn rebind(&mut self, index: u32, keys: &[u64]) {
        let new = self.change(index, |node| {
            let room = NODE_KEYS_MAX.saturating_sub(node.keys.len());
            let unknown = keys.iter().filter(|key| !node.keys.contains(key));
            let new: Vec<u64> = unknown.take(room).copied().collect();
            node.keys.extend(&new);
            node.bytes += new.len() * INDEX_BYTES / 2;
            new
        });
        for key in new.into_iter().flatten() {
            self.by_key.insert(key, index);
        }
    }

    /// All open nodes, when the places are of no more use.
    pub(super) fn into_all(self) -> impl Iterator<Item = OpenNode> {
        self.slots.into_iter().flatten().map(|node| *node)
    }

    /// The node in a place.
    pub(super) fn at(&self, index: u32) -> Option<&OpenNode> {
        self.slots.get(index as usize)?.as_deref()
    }

    /// Gives up detail of all nodes. Tells how many pieces lost their own event.
    pub(super) fn give_up(&mut self, detail: Detail) -> u64 {
        let mut thinned = 0;
        for node in self.slots.iter_mut().flatten() {
            let before = node.bytes;
            thinned += node.give_up(detail);
            self.bytes = (self.bytes + node.bytes).saturating_sub(before);
        }
        thinned
    }

    /// Changes the node in a place, and keeps account of what it holds.
    pub(super) fn change<T>(
        &mut self,
        index: u32,
        change: impl FnOnce(&mut OpenNode) -> T,
    ) -> Option<T> {
        let node = self.slots.get_mut(index as usize)?.as_deref_mut()?;
        let before = node.bytes;
        let result = change(node);
        self.bytes = (self.bytes + node.bytes).saturating_sub(before);
        Some(result)
    }

    /// The open nodes of this name, oldest first.
    pub(super) fn namesakes(
        &self,
        scope: u32,
        kind: NodeKind,
        name: &str,
    ) -> impl DoubleEndedIterator<Item = (u32, &OpenNode)> {
        let places = self
            .by_name
            .get(&place(scope, kind, name))
            .map_or(&[][..], Vec::as_slice);
        places
            .iter()
            .filter_map(|index| Some((*index, self.at(*index)?)))
    }

    /// The newest open node of this key.
    pub(super) fn by_key(&self, scope: u32, kind: NodeKind, key: &str) -> Option<u32> {
        self.by_key.get(&place(scope, kind, key)).copied()
    }

    /// Lets a further key find a node, until it is closed.
    pub(super) fn bind(&mut self, index: u32, scope: u32, kind: NodeKind, key: &str) {
        let by_key = place(scope, kind, key);
        let bound = self.change(index, |node| {
            let room = node.keys.len() < NODE_KEYS_MAX;
            if room {
                node.keys.push(by_key);
                node.bytes += INDEX_BYTES / 2;
            }
            room
        });
        if bound == Some(true) {
            self.by_key.insert(by_key, index);
        }
    }

    /// The one that has been open for longest.
    pub(super) fn oldest(&self) -> Option<u32> {
        let open = (0u32..)
            .zip(&self.slots)
            .filter_map(|(i, slot)| Some((slot.as_deref()?.order, i)));
        open.min().map(|(_, index)| index)
    }

    /// All open nodes that fit, oldest first.
    pub(super) fn all(&self, fits: impl Fn(&OpenNode) -> bool) -> Vec<u32> {
        let mut found: Vec<(u64, u32)> = (0u32..)
            .zip(&self.slots)
            .filter_map(|(index, slot)| Some((slot.as_deref()?.order, index, slot.as_deref()?)))
            .filter(|(_, _, node)| fits(node))
            .map(|(order, index, _)| (order, index))
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, index)| index).collect()
    }

    /// The open namesake whose age is nearest to a reported duration, ties to
    /// the oldest; without a duration the oldest.
    pub(super) fn ending(
        &self,
        scope: u32,
        kind: NodeKind,
        name: &str,
        end: Time,
        duration: Option<std::time::Duration>,
    ) -> Option<u32> {
        let mut namesakes = self.namesakes(scope, kind, name);
        let Some(duration) = duration else {
            return namesakes.next().map(|(index, _)| index);
        };
        namesakes
            .map(|(index, node)| (end.since(node.start).abs_diff(duration), index))
            .min_by_key(|(off, _)| *off)
            .map(|(_, index)| index)
    }

    /// The namesake that a new child of this kind belongs to: the oldest that
    /// has had none yet, else the newest.
    pub(super) fn parent_for(
        &self,
        scope: u32,
        kind: NodeKind,
        name: &str,
        child: NodeKind,
    ) -> Option<u32> {
        let mut namesakes = self.namesakes(scope, kind, name);
        let newest = namesakes.next_back()?.0;
        let unserved = self
            .namesakes(scope, kind, name)
            .find(|(_, node)| node.served & served_bit(child) == 0)
            .map(|(index, _)| index);
        Some(unserved.unwrap_or(newest))
    }
}

/// The bit of a kind of children.
pub(super) const fn served_bit(kind: NodeKind) -> u16 {
    1 << kind as u16
}

/// Where the indexes keep a name or key.
fn place(scope: u32, kind: NodeKind, name: &str) -> u64 {
    xxh3_64_with_seed(name.as_bytes(), (u64::from(scope) << 8) | kind as u64)
}

/// What the indexes hold for one node, roughly.
const INDEX_BYTES: usize = 160;
