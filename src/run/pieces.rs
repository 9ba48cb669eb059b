//! The pieces of a node's stream, thinned so that they cover the whole of it.
//!
//! A stream of any length becomes a bounded list: its first and its last piece
//! exactly, and of those between every 2^k-th by index, with the smallest k that
//! fits. What was left out is added to the kept piece before it, so counts and
//! sizes are those of the whole stream. The result depends on the stream alone,
//! not on how or when it arrived.
//!
//! Thinning bounds the state of an open run, so it lives with that state.

use serde::{Deserialize, Serialize};

use crate::wire::time::Time;

/// One piece that was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// When it came.
    pub at: Time,
    /// Its index among the pieces of its stream.
    pub index: u64,
    /// Where it begins in its stream, in bytes.
    pub offset: u64,
    /// Its own size.
    pub bytes: u64,
    /// How many pieces after it were left out.
    pub merged: u64,
    /// The size of those, together.
    pub merged_bytes: u64,
}

/// One stream, thinned.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Thinned {
    /// Every `1 << shift`-th piece but the last one.
    body: Vec<Piece>,
    last: Option<Piece>,
    shift: u32,
    count: u64,
    bytes: u64,
}

impl Thinned {
    /// Takes the next piece. `max` counts the last piece too, and is at least 2.
    pub fn push(&mut self, at: Time, bytes: u64, max: usize) {
        let piece = Piece {
            at,
            index: self.count,
            offset: self.bytes,
            bytes,
            merged: 0,
            merged_bytes: 0,
        };
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        if let Some(previous) = self.last.replace(piece) {
            self.settle(previous);
        }
        self.shrink(max);
    }

    /// Makes room, so that at most `max` pieces (at least 2) are kept.
    pub fn shrink(&mut self, max: usize) {
        while self.body.len() + 1 > max.max(2) {
            self.shift += 1;
            let mask = (1u64 << self.shift) - 1;
            let mut kept = 0;
            for i in 0..self.body.len() {
                let piece = self.body[i];
                if piece.index & mask == 0 {
                    self.body[kept] = piece;
                    kept += 1;
                } else {
                    merge(&mut self.body[kept - 1], &piece);
                }
            }
            self.body.truncate(kept);
        }
    }

    /// A piece that is no longer the last one joins the body, or the piece before it.
    fn settle(&mut self, piece: Piece) {
        let mask = (1u64 << self.shift) - 1;
        match self.body.last_mut() {
            Some(before) if piece.index & mask != 0 => merge(before, &piece),
            _ => self.body.push(piece),
        }
    }

    /// How many pieces the stream had.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// How large they were together.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The pieces that were kept, in order.
    pub fn kept(&self) -> impl Iterator<Item = &Piece> {
        self.body.iter().chain(self.last.as_ref())
    }

    /// How many were kept.
    pub fn kept_count(&self) -> usize {
        self.body.len() + usize::from(self.last.is_some())
    }
}

/// Index 0 is always kept, so there is always a piece before one that is left out.
fn merge(before: &mut Piece, left_out: &Piece) {
    before.merged += 1 + left_out.merged;
    before.merged_bytes = before
        .merged_bytes
        .saturating_add(left_out.bytes)
        .saturating_add(left_out.merged_bytes);
}

/// The answer and the reasoning of one node. They share the room: a node with
/// both gives half of it to each.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pieces {
    /// The pieces of the answer.
    pub answer: Thinned,
    /// The pieces of the reasoning.
    pub reasoning: Thinned,
}

impl Pieces {
    /// Takes the next piece of one of the streams; `max` bounds both together.
    pub fn push(&mut self, reasoning: bool, at: Time, bytes: u64, max: usize) {
        let (this, other) = if reasoning {
            (&mut self.reasoning, &mut self.answer)
        } else {
            (&mut self.answer, &mut self.reasoning)
        };
        if other.count == 0 {
            this.push(at, bytes, max);
        } else {
            other.shrink(max / 2);
            this.push(at, bytes, max / 2);
        }
    }

    /// Makes room in both streams.
    pub fn shrink(&mut self, max: usize) {
        let max = if self.answer.count > 0 && self.reasoning.count > 0 {
            max / 2
        } else {
            max
        };
        self.answer.shrink(max);
        self.reasoning.shrink(max);
    }

    /// The same, and gives back the room itself.
    pub fn shrink_to(&mut self, max: usize) {
        self.shrink(max);
        self.answer.body.shrink_to_fit();
        self.reasoning.body.shrink_to_fit();
    }

    /// What they hold, in bytes.
    pub const fn held_bytes(&self) -> usize {
        let kept = self.answer.body.capacity() + self.reasoning.body.capacity();
        kept * size_of::<Piece>()
    }

    /// Whether there was no piece yet.
    pub const fn is_empty(&self) -> bool {
        self.answer.count == 0 && self.reasoning.count == 0
    }

    /// How many pieces have no event of their own.
    pub fn left_out(&self) -> u64 {
        let kept = self.answer.kept_count() + self.reasoning.kept_count();
        self.answer.count + self.reasoning.count - kept as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream(sizes: &[u64], max: usize) -> Thinned {
        let mut thinned = Thinned::default();
        for (i, bytes) in sizes.iter().enumerate() {
            thinned.push(Time(1_000 + i as u64), *bytes, max);
        }
        thinned
    }

    proptest! {
        #[test]
        fn thinning_keeps_first_last_count_and_sizes(
            sizes in prop::collection::vec(0u64..5_000, 1..3_000),
            max in 2usize..80,
        ) {
            let thinned = stream(&sizes, max);
            let kept: Vec<_> = thinned.kept().copied().collect();
            prop_assert!(kept.len() <= max);
            prop_assert_eq!(kept[0].index, 0);
            prop_assert_eq!(kept[0].bytes, sizes[0]);
            let last = kept[kept.len() - 1];
            prop_assert_eq!(last.index, sizes.len() as u64 - 1);
            prop_assert_eq!(last.bytes, sizes[sizes.len() - 1]);
            let count: u64 = kept.iter().map(|p| 1 + p.merged).sum();
            prop_assert_eq!(count, sizes.len() as u64);
            let bytes: u64 = kept.iter().map(|p| p.bytes + p.merged_bytes).sum();
            prop_assert_eq!(bytes, sizes.iter().sum::<u64>());
            for pair in kept.windows(2) {
                prop_assert_eq!(pair[0].index + 1 + pair[0].merged, pair[1].index);
                prop_assert_eq!(pair[0].offset + pair[0].bytes + pair[0].merged_bytes, pair[1].offset);
            }
        }

        #[test]
        fn the_middle_is_every_power_of_two_th_piece_with_the_smallest_power_that_fits(
            count in 1u64..5_000,
            max in 2usize..80,
        ) {
            let thinned = stream(&vec![1; count as usize], max);
            let kept: Vec<u64> = thinned.kept().map(|p| p.index).collect();
            let fits = |shift: u32| ((count - 1).div_ceil(1 << shift) as usize) < max;
            let shift = (0..).find(|s| fits(*s)).unwrap();
            let mut expected: Vec<u64> = (0..count - 1).step_by(1 << shift).collect();
            expected.push(count - 1);
            prop_assert_eq!(kept, expected);
        }

        #[test]
        fn answer_and_reasoning_share_the_room_whatever_their_order(
            order in prop::collection::vec(any::<bool>(), 1..2_000),
        ) {
            let mut mixed = Pieces::default();
            for reasoning in &order {
                mixed.push(*reasoning, Time(5), 3, 64);
            }
            let mut sorted = Pieces::default();
            let mut ordered = order.clone();
            ordered.sort_unstable();
            for reasoning in &ordered {
                sorted.push(*reasoning, Time(5), 3, 64);
            }
            prop_assert_eq!(&mixed, &sorted);
            prop_assert!(mixed.answer.kept_count() + mixed.reasoning.kept_count() <= 64);
        }
    }
}
