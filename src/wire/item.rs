//! What a dialect makes of a frame, or of a page of a server's log.

use serde::{Deserialize, Serialize};

use super::event::Event;
use super::rejection::Rejection;

/// What a dialect makes of a frame.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is the common one, and none is kept"
)]
pub enum Item<'a> {
    /// Something happened in a run.
    Event {
        /// The type's place in [`super::dialect::Dialect::event_types`].
        type_index: usize,
        /// What happened.
        event: Event<'a>,
    },
    /// Something happened that belongs to no run.
    Other {
        /// The type's place in [`super::dialect::Dialect::event_types`].
        type_index: usize,
    },
    /// The server dropped events on this connection.
    Lost {
        /// How many, where it says so.
        count: Option<u64>,
    },
    /// Something was not taken.
    Rejected(Rejection),
}

/// What takes the items, in order.
pub type Sink<'s> = dyn FnMut(Item<'_>) + 's;

/// What a page of a server's log of one run says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPage {
    /// The place in the log after the page's last event.
    pub next_after: Option<u64>,
    /// Whether there is more at this moment.
    pub has_more: bool,
    /// Whether the run has ended, and its log with it.
    pub complete: bool,
}
