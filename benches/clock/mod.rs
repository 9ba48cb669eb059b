//! How long something takes a thread.

use std::time::{Duration, Instant};

/// The CPU time of this thread, and the time on the wall.
#[expect(clippy::disallowed_methods, reason = "a bench owns a clock")]
pub(crate) fn measure(work: impl FnOnce()) -> (Duration, Duration) {
    let (cpu, wall) = (cpu_time(), Instant::now());
    work();
    (cpu_time().saturating_sub(cpu), wall.elapsed())
}

/// As the kernel's scheduler counts it, in nanoseconds.
pub(crate) fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}
