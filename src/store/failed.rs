//! The end of the store.

use std::fmt::Display;
use std::sync::Arc;

/// Nothing can be written any more: the program has to end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the store cannot be relied on any more: {0}; see to the disk below store.dir and start again: what was written before is kept"
)]
pub struct StoreFailed(Arc<str>);

impl StoreFailed {
    /// For this reason.
    pub fn of(error: impl Display) -> Self {
        Self(error.to_string().into())
    }
}
