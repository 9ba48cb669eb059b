//! `process_*`: what the system says of this process, read when it is asked for.
//! Where there is no `/proc` there is nothing to tell.

use std::fs;

use crate::metrics::catalogue::Kind;
use crate::metrics::exposition::Figure;

/// The names of all that is told.
pub const NAMES: [&str; 7] = [
    "process_cpu_seconds_total",
    "process_start_time_seconds",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_threads",
    "process_open_fds",
    "process_max_fds",
];

/// Linux counts times in hundredths of a second for everybody who asks.
const TICKS_PER_SECOND: f64 = 100.0;

/// What is read of the process.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stat {
    cpu_seconds: f64,
    start_seconds: f64,
    resident_bytes: u64,
    virtual_bytes: u64,
    threads: u64,
}

/// The figures, none of them when the system does not tell.
pub(super) fn figures() -> Vec<Figure> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let (stat, all) = (read("/proc/self/stat"), read("/proc/stat"));
    let Some(stat) = stat_of(&stat, &all) else {
        return Vec::new();
    };
    let mut figures = shown(stat);
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        // One of them is the folder itself, which is open while it is read.
        let open = entries.count().saturating_sub(1) as f64;
        let help = "Number of open file descriptors.";
        figures.push(gauge("process_open_fds", help, open));
    }
    if let Some(max) = fds_max(&read("/proc/self/limits")) {
        let help = "Maximum number of open file descriptors.";
        figures.push(gauge("process_max_fds", help, max));
    }
    figures
}

/// Reads `/proc/self/stat` and the time of the boot from `/proc/stat`.
fn stat_of(stat: &str, all: &str) -> Option<Stat> {
    // The name, in brackets, may hold anything; what follows it is numbers.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    // Counted from the state, which is the third field of the manual.
    let field = |manual: usize| fields.get(manual - 3)?.parse::<u64>().ok();
    let boot = all.lines().find_map(|line| line.strip_prefix("btime "))?;
    let boot: u64 = boot.trim().parse().ok()?;
    Some(Stat {
        cpu_seconds: (field(14)? + field(15)?) as f64 / TICKS_PER_SECOND,
        start_seconds: boot as f64 + field(22)? as f64 / TICKS_PER_SECOND,
        resident_bytes: field(24)? * page_bytes(),
        virtual_bytes: field(23)?,
        threads: field(20)?,
    })
}

fn fds_max(limits: &str) -> Option<f64> {
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))?;
    line.split_ascii_whitespace().nth(3)?.parse().ok()
}

/// The size of a page of memory, told by the kernel through the auxiliary vector.
fn page_bytes() -> u64 {
    const AT_PAGESZ: u64 = 6;
    let vector = fs::read("/proc/self/auxv").unwrap_or_default();
    let mut words = vector.chunks_exact(8).map(|word| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(word);
        u64::from_ne_bytes(bytes)
    });
    while let (Some(key), Some(value)) = (words.next(), words.next()) {
        if key == AT_PAGESZ {
            return value;
        }
    }
    4096
}

fn shown(stat: Stat) -> Vec<Figure> {
    vec![
        Figure {
            name: "process_cpu_seconds_total",
            help: "Total user and system CPU time spent in seconds.",
            kind: Kind::Sum,
            value: stat.cpu_seconds,
        },
        gauge(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            stat.start_seconds,
        ),
        gauge(
            "process_resident_memory_bytes",
            "Resident memory size in bytes.",
            stat.resident_bytes as f64,
        ),
        gauge(
            "process_virtual_memory_bytes",
            "Virtual memory size in bytes.",
            stat.virtual_bytes as f64,
        ),
        gauge(
            "process_threads",
            "Number of OS threads in the process.",
            stat.threads as f64,
        ),
    ]
}

const fn gauge(name: &'static str, help: &'static str, value: f64) -> Figure {
    Figure {
        name,
        help,
        kind: Kind::Gauge,
        value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "7 (a) b) S 1 7 7 0 -1 0 9 0 0 0 150 50 0 0 20 0 3 0 200 1000000 5 0 0";

    #[test]
    fn the_figures_stand_behind_a_name_that_may_hold_anything() {
        let figures = stat_of(STAT, "cpu 1\nbtime 1000\n").unwrap();
        assert_eq!(figures.cpu_seconds, 2.0);
        assert_eq!(figures.start_seconds, 1_002.0);
        assert_eq!(figures.resident_bytes, 5 * page_bytes());
        assert_eq!((figures.virtual_bytes, figures.threads), (1_000_000, 3));
    }

    #[test]
    fn what_is_no_such_file_gives_no_figures() {
        for stat in ["", "7 (x", "7 (x) S", "7 (x) S a b c"] {
            assert_eq!(stat_of(stat, "btime 1\n"), None);
        }
        assert_eq!(stat_of(STAT, "cpu\n"), None);
    }

    #[test]
    fn this_process_uses_memory_and_descriptors() {
        let figures = figures();
        let names: Vec<_> = figures.iter().map(|figure| figure.name).collect();
        assert_eq!(names, NAMES);
        for figure in &figures {
            assert!(figure.value >= 0.0, "{figure:?}");
            let is_total = figure.name.ends_with("_total");
            assert_eq!(is_total, figure.kind == Kind::Sum, "{figure:?}");
        }
    }
}
