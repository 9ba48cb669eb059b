//! What was given out of a run, so that a rebuild does not give it out again.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::finished::FinishedNode;
use super::identity::{Identity, Path};
use crate::wire::time::Time;

/// The finished nodes of one run that were given out.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Published {
    ends: FxHashMap<Identity, Time>,
    /// Something was given out that a rebuild could not find again.
    lost_track: bool,
}

impl Published {
    /// A node is to be given out. Not if one of its identity was: where a log
    /// contradicts what came live, the same node may end a second time.
    pub(super) fn add(&mut self, identity: Identity, end: Time, nodes_max: usize) -> bool {
        if self.ends.contains_key(&identity) {
            return false;
        }
        // Without a time an identity counts on everything before it.
        if identity.at == Time::ZERO || self.ends.len() >= nodes_max {
            self.lost_track = true;
        } else if !self.lost_track {
            self.ends.insert(identity, end);
        }
        true
    }

    /// Whether a rebuild can tell what was given out.
    pub(super) const fn can_repair(&self) -> bool {
        !self.lost_track
    }

    /// What it holds, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.ends.capacity() * (size_of::<(Identity, Time)>() + 1)
    }

    /// Of a run's nodes, those that were not given out.
    ///
    /// A node was given out when its identity was. Where the earlier fold saw
    /// only a part, it may have known the node under another identity: then one
    /// of the same path and end stands for it.
    pub(super) fn unsent(&self, nodes: Vec<FinishedNode>) -> Vec<FinishedNode> {
        let mut left = self.ends.clone();
        let unknown: Vec<FinishedNode> = nodes
            .into_iter()
            .filter(|node| left.remove(&node.identity).is_none())
            .collect();
        let mut stand_ins: FxHashMap<(Path, Time), u32> = FxHashMap::default();
        for (identity, end) in left {
            *stand_ins.entry((identity.path, end)).or_default() += 1;
        }
        unknown
            .into_iter()
            .filter(
                |node| match stand_ins.get_mut(&(node.identity.path, node.end)) {
                    Some(count) if *count > 0 => {
                        *count -= 1;
                        false
                    }
                    _ => true,
                },
            )
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(at: u64) -> Identity {
        Identity {
            path: Path(7),
            at: Time(at),
            ordinal: 0,
        }
    }

    #[test]
    fn a_node_is_given_out_once_however_often_it_ends() {
        let mut published = Published::default();
        assert!(published.add(node(1), Time(5), 2));
        assert!(!published.add(node(1), Time(6), 2));
        assert!(published.add(node(2), Time(6), 2));
        assert!(published.can_repair());
    }

    #[test]
    fn what_was_given_out_is_known_even_when_there_is_no_room_for_more() {
        let mut published = Published::default();
        assert!(published.add(node(1), Time(5), 1));
        assert!(published.add(node(2), Time(5), 1));
        assert!(!published.can_repair());
        assert!(!published.add(node(1), Time(6), 1));
    }
}
