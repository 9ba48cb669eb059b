//! The one place where the program looks at the clock on the wall.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::wire::time::Time;

/// The time now. A clock before 1970 counts as 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that owns the clock"
)]
pub fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = since.unwrap_or_default().as_nanos();
    Time(u64::try_from(nanos).unwrap_or(u64::MAX))
}
