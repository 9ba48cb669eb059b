//! Telling equal nodes apart: the ordinal of a node among those of the same
//! path and time. What it needs to remember is only the newest moment.

use rustc_hash::FxHashMap;

use super::identity::{Identity, Path};
use crate::limits::UNTIMED_PATHS_MAX;
use crate::wire::time::Time;

/// Gives identities out.
#[derive(Debug, Default)]
pub(super) struct Ordinals {
    newest: Time,
    at_newest: FxHashMap<Path, u32>,
    /// Where times are missing the ordinal counts per path.
    untimed: FxHashMap<Path, u32>,
    untimed_more: u32,
}

impl Ordinals {
    /// The identity of the next node of this path.
    ///
    /// A time that runs back counts as the newest one: an identity that was
    /// given out is never given out again, however little is remembered.
    pub(super) fn identify(&mut self, path: Path, at: Option<Time>) -> Identity {
        let Some(at) = at else {
            return Identity {
                path,
                at: Time::ZERO,
                ordinal: self.untimed(path),
            };
        };
        if at > self.newest {
            self.newest = at;
            self.at_newest.clear();
        }
        Identity {
            path,
            at: self.newest,
            ordinal: next(self.at_newest.entry(path).or_default()),
        }
    }

    fn untimed(&mut self, path: Path) -> u32 {
        if self.untimed.len() >= UNTIMED_PATHS_MAX && !self.untimed.contains_key(&path) {
            // Counted over all further paths, far from the ordinals of the others.
            return (1 << 31) | next(&mut self.untimed_more);
        }
        next(self.untimed.entry(path).or_default())
    }
}

fn next(ordinal: &mut u32) -> u32 {
    let this = *ordinal;
    *ordinal = this.wrapping_add(1);
    this
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_nodes_of_one_moment_are_counted() {
        let mut ordinals = Ordinals::default();
        let mut ordinal = |path, at| ordinals.identify(Path(path), Some(Time(at))).ordinal;
        assert_eq!([ordinal(1, 5), ordinal(1, 5), ordinal(2, 5)], [0, 1, 0]);
        assert_eq!([ordinal(1, 6), ordinal(1, 6)], [0, 1]);
    }

    #[test]
    fn a_time_that_runs_back_gives_no_identity_twice() {
        let mut ordinals = Ordinals::default();
        let given = [5, 6, 5, 6, 4].map(|at| ordinals.identify(Path(1), Some(Time(at))));
        for (i, one) in given.iter().enumerate() {
            assert!(!given[i + 1..].contains(one), "{one:?}");
        }
    }

    #[test]
    fn without_times_the_ordinal_counts_per_path() {
        let mut ordinals = Ordinals::default();
        let mut ordinal = |path| ordinals.identify(Path(path), None).ordinal;
        assert_eq!(
            [ordinal(1), ordinal(2), ordinal(1), ordinal(2)],
            [0, 0, 1, 1]
        );
    }
}
