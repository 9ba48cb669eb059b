//! What was given out of a run, so that a rebuild does not give it out again.

use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};

use super::finished::FinishedNode;
use super::identity::{Identity, Path};
use super::outputs::Due;
use crate::wire::time::Time;

/// The finished nodes of one run that were given out.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Published {
    nodes: FxHashMap<Identity, Given>,
    /// How many of them have been counted only.
    withheld: u64,
    /// Something was given out that a rebuild could not find again.
    lost_track: bool,
}

/// What was given out of a node.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Given {
    end: Time,
    /// Its span too, rather than its count alone.
    sent: bool,
}

/// A node of a rebuilt run whose span was not given out.
#[derive(Debug)]
pub(super) struct Unsent {
    pub(super) node: FinishedNode,
    /// Whether it was counted under another identity.
    pub(super) counted: bool,
}

impl From<FinishedNode> for Unsent {
    fn from(node: FinishedNode) -> Self {
        Self {
            node,
            counted: false,
        }
    }
}

impl Published {
    /// A node is to be given out: what of it is due? Nothing if it was given out
    /// already: where a log contradicts what came live, the same node may end a
    /// second time.
    ///
    /// Its span is withheld only if a rebuild can find the node again.
    pub(super) fn give(
        &mut self,
        node: &FinishedNode,
        counted: bool,
        withhold: bool,
        nodes_max: usize,
    ) -> Option<Due> {
        if let Some(given) = self.nodes.get_mut(&node.identity) {
            if given.sent || withhold {
                return None;
            }
            given.sent = true;
            self.withheld -= 1;
            return Some(Due::Span);
        }
        // Without a time an identity counts on everything before it.
        let trackable = node.identity.at != Time::ZERO && self.nodes.len() < nodes_max;
        self.lost_track |= !trackable;
        let withhold = withhold && !self.lost_track;
        if !self.lost_track {
            let given = Given {
                end: node.end,
                sent: !withhold,
            };
            self.nodes.insert(node.identity, given);
            self.withheld += u64::from(withhold);
        }
        match (withhold, counted) {
            (true, true) => None,
            (true, false) => Some(Due::Count),
            (false, true) => Some(Due::Span),
            (false, false) => Some(Due::All),
        }
    }

    /// Whether a rebuild can tell what was given out.
    pub(super) const fn can_repair(&self) -> bool {
        !self.lost_track
    }

    /// How many spans of what was counted have not been given out.
    pub(super) const fn withheld(&self) -> u64 {
        self.withheld
    }

    /// What is withheld cannot be found again: how many spans that are.
    pub(super) fn lose_withheld(&mut self) -> u64 {
        for given in self.nodes.values_mut() {
            given.sent = true;
        }
        std::mem::take(&mut self.withheld)
    }

    /// A rebuild has given out all that there is: what is still withheld was
    /// known under another identity.
    pub(super) fn forget_withheld(&mut self) {
        self.nodes.retain(|_, given| given.sent);
        self.withheld = 0;
    }

    /// What it holds, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.nodes.capacity() * (size_of::<(Identity, Given)>() + 1)
    }

    /// Of a run's nodes, those whose spans were not given out.
    ///
    /// A span was given out when its node's identity was. Where the earlier fold
    /// saw only a part, it may have known the node under another identity: then
    /// one of the same path and end stands for it.
    pub(super) fn unsent(&self, nodes: Vec<FinishedNode>) -> Vec<Unsent> {
        let repeats = nodes.iter();
        let repeats = repeats.filter_map(|node| Some((node.identity, node.replay_of()?)));
        let repeats: Vec<_> = repeats.collect();
        let mut unsent = self.not_sent(nodes);
        count_once(&mut unsent, &repeats);
        unsent
    }

    fn not_sent(&self, nodes: Vec<FinishedNode>) -> Vec<Unsent> {
        let mut left = self.nodes.clone();
        let mut unsent = Vec::new();
        let mut unknown = Vec::new();
        for node in nodes {
            match left.remove(&node.identity) {
                Some(given) if given.sent => {}
                Some(_) => unsent.push((unsent.len() + unknown.len(), Unsent::from(node))),
                None => unknown.push((unsent.len() + unknown.len(), node)),
            }
        }
        let mut stand_ins: FxHashMap<(Path, Time), [u32; 2]> = FxHashMap::default();
        for (identity, given) in left {
            stand_ins.entry((identity.path, given.end)).or_default()[usize::from(given.sent)] += 1;
        }
        for (place, node) in unknown {
            let [counted, sent] = stand_ins
                .get_mut(&(node.identity.path, node.end))
                .map_or([None, None], |kinds| kinds.each_mut().map(Some));
            match (sent, counted) {
                (Some(sent), _) if *sent > 0 => *sent -= 1,
                (_, Some(counted)) if *counted > 0 => {
                    *counted -= 1;
                    unsent.push((
                        place,
                        Unsent {
                            node,
                            counted: true,
                        },
                    ));
                }
                _ => unsent.push((place, Unsent::from(node))),
            }
        }
        unsent.sort_unstable_by_key(|(place, _)| *place);
        unsent.into_iter().map(|(_, unsent)| unsent).collect()
    }
}

/// Where a repeat was given out before the end that it repeats was known, it was
/// taken for the first, and has counted: then that end does not.
fn count_once(unsent: &mut [Unsent], repeats: &[(Identity, Identity)]) {
    if repeats.is_empty() {
        return;
    }
    let new: FxHashSet<Identity> = unsent
        .iter()
        .filter(|unsent| !unsent.counted)
        .map(|unsent| unsent.node.identity)
        .collect();
    let counted = repeats.iter().filter(|(repeat, _)| !new.contains(repeat));
    let counted: FxHashSet<Identity> = counted.map(|(_, of)| *of).collect();
    for unsent in unsent {
        if !unsent.counted && counted.contains(&unsent.node.identity) {
            unsent.node.count_no_usage();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::finished::{Link, LinkReason};
    use crate::trace::testkit::node;
    use crate::wire::event::{NodeKind, Usage};

    fn at(at: u64, end: u64) -> FinishedNode {
        FinishedNode {
            identity: Identity {
                path: Path(7),
                at: Time(at),
                ordinal: 0,
            },
            end: Time(end),
            ..node(NodeKind::Task, "read")
        }
    }

    fn give(published: &mut Published, node: &FinishedNode, withhold: bool) -> Option<Due> {
        published.give(node, false, withhold, 2)
    }

    #[test]
    fn a_node_is_given_out_once_however_often_it_ends() {
        let mut published = Published::default();
        assert_eq!(give(&mut published, &at(1, 5), false), Some(Due::All));
        assert_eq!(give(&mut published, &at(1, 6), false), None);
        assert_eq!(give(&mut published, &at(2, 6), false), Some(Due::All));
        assert!(published.can_repair());
    }

    #[test]
    fn what_was_given_out_is_known_even_when_there_is_no_room_for_more() {
        let mut published = Published::default();
        for n in 1..=3 {
            assert_eq!(give(&mut published, &at(n, 5), false), Some(Due::All));
        }
        assert!(!published.can_repair());
        assert_eq!(give(&mut published, &at(1, 6), false), None);
    }

    #[test]
    fn what_is_withheld_counts_at_once_and_its_span_comes_later_once() {
        let mut published = Published::default();
        assert_eq!(give(&mut published, &at(1, 5), true), Some(Due::Count));
        assert_eq!(give(&mut published, &at(1, 5), true), None);
        assert_eq!(published.withheld(), 1);
        assert_eq!(give(&mut published, &at(1, 5), false), Some(Due::Span));
        assert_eq!(give(&mut published, &at(1, 5), false), None);
        assert_eq!(published.withheld(), 0);
    }

    #[test]
    fn what_is_lost_is_not_given_out_later() {
        let mut published = Published::default();
        assert_eq!(give(&mut published, &at(1, 5), true), Some(Due::Count));
        assert_eq!(published.lose_withheld(), 1);
        assert_eq!(published.withheld(), 0);
        assert_eq!(give(&mut published, &at(1, 5), false), None);
    }

    #[test]
    fn nothing_is_withheld_that_could_not_be_found_again() {
        let mut published = Published::default();
        assert_eq!(give(&mut published, &at(0, 5), true), Some(Due::All));
        assert_eq!(give(&mut published, &at(1, 5), true), Some(Due::All));
        assert_eq!(published.withheld(), 0);
    }

    #[test]
    fn an_end_counts_no_tokens_when_its_repeat_was_taken_for_the_first() {
        let repeat = |from, end| FinishedNode {
            links: vec![Link::Node(at(1, 5).identity, LinkReason::ReplayOf)],
            ..at(from, end)
        };
        let first = FinishedNode {
            usage: Some(Usage::default()),
            ..at(1, 5)
        };
        let counts = |published: &Published| -> Vec<(u64, bool)> {
            let nodes = vec![first.clone(), repeat(8, 9)];
            let unsent = published.unsent(nodes);
            let of = |unsent: &Unsent| (unsent.node.identity.at.0, unsent.node.usage.is_some());
            unsent.iter().map(of).collect()
        };
        let mut published = Published::default();
        assert_eq!(counts(&published), [(1, true), (8, false)]);
        published.give(&repeat(8, 9), false, false, 9);
        assert_eq!(counts(&published), [(1, false)]);
        // It was known when the first went out.
        let mut published = Published::default();
        published.give(&first, false, false, 9);
        assert_eq!(counts(&published), [(8, false)]);
    }

    #[test]
    fn of_a_rebuilt_run_what_was_sent_is_left_out_and_what_was_counted_is_known() {
        let mut published = Published::default();
        for (node, withhold) in [(at(1, 5), false), (at(2, 6), true)] {
            published.give(&node, false, withhold, 9);
        }
        // The second is known to the log under another identity.
        let unsent = published.unsent(vec![at(1, 5), at(3, 6), at(4, 7)]);
        let found: Vec<_> = unsent
            .iter()
            .map(|u| (u.node.identity.at.0, u.counted))
            .collect();
        assert_eq!(found, [(3, true), (4, false)]);
        published.forget_withheld();
        assert_eq!(published.withheld(), 0);
        assert_eq!(published.unsent(vec![at(1, 5)]).len(), 0);
    }
}
