//! What was given out of a run, so that a rebuild does not give it out again.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::finished::FinishedNode;
use super::identity::{Identity, Path};
use super::measure::table_bytes;
use super::outputs::Due;
use crate::wire::event::Usage;
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
    what: What,
}

/// In this order, since the first two were once kept as `false` and `true`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum What {
    /// Its count alone.
    Count,
    /// Its span too.
    Span,
    /// Its count alone, without its usage: that had counted with a repeat of it.
    CountUnpaid,
}

/// A node of a rebuilt run whose span was not given out.
#[derive(Debug)]
pub(super) struct Unsent {
    pub(super) node: FinishedNode,
    /// Whether it was counted under another identity.
    pub(super) counted: bool,
    /// Its usage was taken from it, since it had counted with a repeat of it.
    pub(super) unpaid: bool,
}

impl From<FinishedNode> for Unsent {
    fn from(node: FinishedNode) -> Self {
        Self {
            node,
            counted: false,
            unpaid: false,
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
        unsent: &Unsent,
        withhold: bool,
        nodes_max: usize,
    ) -> Option<Due> {
        let Unsent { node, counted, .. } = unsent;
        if let Some(given) = self.nodes.get_mut(&node.identity) {
            if given.what == What::Span || withhold {
                return None;
            }
            given.what = What::Span;
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
                what: match (withhold, unsent.unpaid) {
                    (false, _) => What::Span,
                    (true, false) => What::Count,
                    (true, true) => What::CountUnpaid,
                },
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
            given.what = What::Span;
        }
        std::mem::take(&mut self.withheld)
    }

    /// A rebuild has given out all that there is: what is still withheld was
    /// known under another identity.
    pub(super) fn forget_withheld(&mut self) {
        self.nodes.retain(|_, given| given.what == What::Span);
        self.nodes.shrink_to_fit();
        self.withheld = 0;
    }

    /// What it holds, roughly.
    pub(super) fn bytes(&self) -> usize {
        table_bytes(self.nodes.len(), size_of::<(Identity, Given)>())
    }

    /// Of a run's nodes, those whose spans were not given out.
    ///
    /// A span was given out when its node's identity was. Where the earlier fold
    /// saw only a part, it may have known the node under another identity: then
    /// one of the same path and end stands for it.
    pub(super) fn unsent(&self, nodes: Vec<FinishedNode>) -> Vec<Unsent> {
        let mut told: FxHashMap<Identity, Vec<Identity>> = FxHashMap::default();
        for node in &nodes {
            if let Some(first) = node.replay_of() {
                let ends = told.entry(first);
                ends.or_insert_with(|| vec![first]).push(node.identity);
            }
        }
        let mut unsent = self.not_sent(nodes);
        if !told.is_empty() {
            let places = unsent.iter().zip(0..);
            let places = places.map(|(unsent, place)| (unsent.node.identity, place));
            let places = places.collect();
            for ends in told.values() {
                self.pay_once(ends, &places, &mut unsent);
            }
        }
        unsent
    }

    /// Of the ends that tell the same spending, in their order, the first that was
    /// heard counted all that was told until then, be it a repeat: what was found
    /// before it later does not count. Its span tells that usage, if it is still to go.
    fn pay_once(
        &self,
        ends: &[Identity],
        places: &FxHashMap<Identity, usize>,
        unsent: &mut [Unsent],
    ) {
        let counted = |end: &Identity, unsent: &[Unsent]| {
            let place = places.get(end);
            self.nodes.contains_key(end) || place.is_none_or(|place| unsent[*place].counted)
        };
        let heard = ends.iter().rposition(|end| counted(end, unsent));
        let mut paid: Vec<Usage<'static>> = Vec::new();
        for (n, end) in ends.iter().enumerate() {
            let counted = counted(end, unsent);
            let Some(unsent) = places.get(end).map(|place| &mut unsent[*place]) else {
                paid.clear();
                continue;
            };
            let missed = !counted && heard.is_some_and(|heard| n < heard);
            let given = self.nodes.get(end).map(|given| given.what);
            unsent.unpaid = missed || given == Some(What::CountUnpaid);
            if unsent.unpaid {
                paid.extend(unsent.node.count_no_usage());
            } else if counted {
                for usage in paid.drain(..) {
                    unsent.node.spend(&usage);
                }
            }
        }
    }

    fn not_sent(&self, nodes: Vec<FinishedNode>) -> Vec<Unsent> {
        let mut left = self.nodes.clone();
        let mut unsent = Vec::new();
        let mut unknown = Vec::new();
        for node in nodes {
            match left.remove(&node.identity) {
                Some(given) if given.what == What::Span => {}
                Some(_) => unsent.push((unsent.len() + unknown.len(), Unsent::from(node))),
                None => unknown.push((unsent.len() + unknown.len(), node)),
            }
        }
        let mut stand_ins: FxHashMap<(Path, Time), [u32; 2]> = FxHashMap::default();
        for (identity, given) in left {
            let sent = usize::from(given.what == What::Span);
            stand_ins.entry((identity.path, given.end)).or_default()[sent] += 1;
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
                            counted: true,
                            ..Unsent::from(node)
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
        published.give(&node.clone().into(), withhold, 2)
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

    /// What began at this time and ended one later, and used so many tokens.
    fn used(from: u64, input_tokens: Option<u64>) -> FinishedNode {
        FinishedNode {
            usage: input_tokens.map(|input_tokens| Usage {
                input_tokens,
                ..Usage::default()
            }),
            ..at(from, from + 1)
        }
    }

    /// The same as a repeat of what began at 1, of which so many are new.
    fn repeat(from: u64, beyond: Option<u64>) -> FinishedNode {
        FinishedNode {
            links: vec![Link::Node(at(1, 2).identity, LinkReason::ReplayOf)],
            ..used(from, beyond)
        }
    }

    /// Of these nodes of a log, what spans are still to go, and the tokens on each.
    fn to_go(published: &Published, log: &[FinishedNode]) -> Vec<(u64, Option<u64>)> {
        let unsent = published.unsent(log.to_vec());
        let usage = |node: &FinishedNode| node.usage.as_ref().map(|usage| usage.input_tokens);
        let of = |unsent: &Unsent| (unsent.node.identity.at.0, usage(&unsent.node));
        unsent.iter().map(of).collect()
    }

    #[test]
    fn an_end_counts_no_tokens_when_its_repeat_was_taken_for_the_first() {
        let log = [used(1, Some(100)), repeat(8, None)];
        let mut published = Published::default();
        assert_eq!(to_go(&published, &log), [(1, Some(100)), (8, None)]);
        give(&mut published, &log[1], false);
        assert_eq!(to_go(&published, &log), [(1, None)]);
        // It was known when the first went out.
        let mut published = Published::default();
        give(&mut published, &log[0], false);
        assert_eq!(to_go(&published, &log), [(8, None)]);
    }

    #[test]
    fn a_withheld_repeat_that_was_taken_for_the_first_keeps_the_tokens_that_it_counted() {
        let log = [used(1, Some(100)), repeat(8, None)];
        // It is known as it is in the log, or began later for who heard it live.
        for heard in [used(8, Some(100)), at(7, 9)] {
            let mut published = Published::default();
            give(&mut published, &heard, true);
            assert_eq!(to_go(&published, &log), [(1, None), (8, Some(100))]);
            let nodes = published.unsent(log.to_vec());
            let due = nodes.iter().map(|unsent| published.give(unsent, false, 9));
            assert_eq!(due.collect::<Vec<_>>(), [Some(Due::All), Some(Due::Span)]);
        }
    }

    #[test]
    fn an_end_that_counted_keeps_its_tokens_though_both_spans_are_still_to_go() {
        let log = [used(1, Some(100)), repeat(8, Some(80))];
        let mut published = Published::default();
        for node in &log {
            give(&mut published, node, true);
        }
        assert_eq!(to_go(&published, &log), [(1, Some(100)), (8, Some(80))]);
        // The second went out when it was heard, and the first has to wait still.
        give(&mut published, &log[1], false);
        assert_eq!(to_go(&published, &log), [(1, Some(100))]);
    }

    #[test]
    fn an_end_that_did_not_count_has_no_tokens_either_when_its_span_comes_later() {
        let log = [used(1, Some(100)), repeat(8, None)];
        for heard_sent in [true, false] {
            let mut published = Published::default();
            give(&mut published, &log[1], !heard_sent);
            // There is no room when the log is read, and then there is.
            for unsent in published.unsent(log.to_vec()) {
                published.give(&unsent, true, 9);
            }
            let later = to_go(&published, &log);
            match heard_sent {
                true => assert_eq!(later, [(1, None)]),
                false => assert_eq!(later, [(1, None), (8, Some(100))]),
            }
        }
    }

    #[test]
    fn of_several_repeats_what_was_told_before_the_one_that_was_heard_does_not_count() {
        // It went further in its second life, and the third told it all once more.
        let log = [
            used(1, Some(100)),
            repeat(8, Some(80)),
            repeat(20, None),
            repeat(30, Some(5)),
        ];
        let after = |heard: &[usize], withhold| {
            let mut published = Published::default();
            for heard in heard {
                published.give(&log[*heard].clone().into(), withhold, 9);
            }
            to_go(&published, &log)
        };
        let [first, second] = [(1, None), (8, None)];
        assert_eq!(after(&[2], false), [first, second, (30, Some(5))]);
        let whole = (20, Some(180));
        assert_eq!(after(&[2], true), [first, second, whole, (30, Some(5))]);
        assert_eq!(after(&[0, 2], false), [second, (30, Some(5))]);
        assert_eq!(after(&[0, 3], false), [second, (20, None)]);
    }

    #[test]
    fn a_store_that_told_only_whether_a_span_was_sent_is_read() {
        let of = |bytes: &[u8]| postcard::from_bytes::<What>(bytes).unwrap();
        let kept = [false, true].map(|sent| postcard::to_stdvec(&sent).unwrap());
        assert_eq!(kept.map(|kept| of(&kept)), [What::Count, What::Span]);
    }

    #[test]
    fn of_a_rebuilt_run_what_was_sent_is_left_out_and_what_was_counted_is_known() {
        let mut published = Published::default();
        for (node, withhold) in [(at(1, 5), false), (at(2, 6), true)] {
            published.give(&node.into(), withhold, 9);
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
