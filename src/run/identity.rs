//! Who a node is: its path, the time of the first event that names it, and its
//! ordinal among equals. Nothing else, so that a replay finds the same node.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::wire::event::NodeKind;
use crate::wire::time::Time;

/// The path of a node from the root, as a stable hash of its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Path(pub u128);

impl Path {
    /// The root's path: no steps.
    pub const ROOT: Self = Self(0);

    /// The path one step further down. The parts are length-prefixed, so that
    /// no two lists of parts read alike.
    pub fn step(self, kind: NodeKind, parts: &[&str]) -> Self {
        let mut hash = Xxh3::new();
        hash.update(&self.0.to_be_bytes());
        for part in std::iter::once(kind.tag()).chain(parts.iter().copied()) {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        Self(hash.digest128())
    }
}

/// Who a node is, within its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// Its path.
    pub path: Path,
    /// The time of the first event that named it, or zero where times are missing.
    pub at: Time,
    /// How many nodes of the same path and time came before it.
    pub ordinal: u32,
}

impl Identity {
    /// The root of the run.
    pub const ROOT: Self = Self {
        path: Path::ROOT,
        at: Time::ZERO,
        ordinal: 0,
    };
}
