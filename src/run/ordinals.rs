//! Telling equal nodes apart: the ordinal of a node among those of the same
//! path and time. What it needs to remember is only the newest moment.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::identity::{Identity, Path};
use crate::limits::COUNTED_PATHS_MAX;
use crate::wire::time::Time;

/// Gives identities out.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Ordinals {
    newest: Time,
    at_newest: Counted,
    /// Where times are missing the ordinal counts per path.
    untimed: Counted,
}

impl Ordinals {
    /// The identity of the next node of this path.
    ///
    /// A time that runs back counts as the newest one: an identity that was
    /// given out is never given out again, however little is remembered.
    pub(super) fn identify(&mut self, path: Path, at: Option<Time>) -> Identity {
        // The epoch stands for no time, and is none.
        let Some(at) = at.filter(|at| *at > Time::ZERO) else {
            return Identity {
                path,
                at: Time::ZERO,
                ordinal: self.untimed.next(path),
            };
        };
        if at > self.newest {
            self.newest = at;
            self.at_newest = Counted::default();
        }
        Identity {
            path,
            at: self.newest,
            ordinal: self.at_newest.next(path),
        }
    }

    /// What it holds, roughly.
    pub(super) fn bytes(&self) -> usize {
        (self.at_newest.paths.capacity() + self.untimed.paths.capacity()) * PATH_BYTES
    }
}

/// Ordinals by path, for so many paths; beyond them over all further ones.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Counted {
    paths: FxHashMap<Path, u32>,
    further: u32,
}

impl Counted {
    fn next(&mut self, path: Path) -> u32 {
        if self.paths.len() >= COUNTED_PATHS_MAX && !self.paths.contains_key(&path) {
            // Far from the ordinals of the others.
            return (1 << 31) | next(&mut self.further);
        }
        next(self.paths.entry(path).or_default())
    }
}

const PATH_BYTES: usize = size_of::<(Path, u32)>() + 1;

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
    fn the_epoch_is_no_time() {
        let mut ordinals = Ordinals::default();
        let one = ordinals.identify(Path(1), Some(Time::ZERO));
        assert_ne!(one, ordinals.identify(Path(1), None));
    }

    #[test]
    fn ever_new_paths_at_one_moment_stay_apart_within_a_bound() {
        let mut ordinals = Ordinals::default();
        let mut given = std::collections::BTreeSet::new();
        for n in 0..30_000u128 {
            let identity = ordinals.identify(Path(n % 20_000), Some(Time(7)));
            assert!(given.insert((identity.path, identity.at, identity.ordinal)));
        }
        assert!(ordinals.bytes() < 1 << 20);
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
