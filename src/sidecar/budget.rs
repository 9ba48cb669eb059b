//! The memory budget: what each part of the program may use at worst, added up
//! before anything starts. A sum beyond `memory_max` is refused.

use std::fmt;

use crate::config::Config;
use crate::limits::{
    ADMIN_CONNECTIONS_MAX, API_CONNECTIONS_MAX, FEED_PIECE_BYTES_MAX, FEED_PIECES_MAX,
    FEED_READ_BYTES_MAX, HEARD_BYTES_MAX, LOG_LINES_BYTES_MAX, OUTBOX_BODIES_MAX,
    PACKING_BATCHES_MAX, PAGES_MAX, SPAN_BYTES_MAX, WITHHELD_BATCHES_MAX,
};

/// The sum, line by line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    lines: Vec<Line>,
    memory_max: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    what: &'static str,
    bytes: usize,
    /// The key that changes it.
    key: &'static str,
}

/// The parts need more than they are given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "memory_max is {}, but the bounds add up to {}: raise memory_max to {}MiB (and the container's limit with it), or lower {largest}, which takes {}",
    Size(*.memory_max), Size(*.sum), .sum.div_ceil(1 << 20), Size(*.largest_bytes)
)]
pub struct OverBudget {
    memory_max: usize,
    sum: usize,
    largest: &'static str,
    largest_bytes: usize,
}

/// The program, its threads, TLS, and what the allocator keeps: measured at
/// 12 MiB when idle, of which 10 MiB are the program's own file.
const BASE_BYTES: usize = 20 << 20;
/// What a series (a line of the page) takes with its labels: measured at 0.85 KiB
/// with names as long as they may be, and 50 bytes of the span that shows it.
const SERIES_BYTES: usize = 950;
/// What a series takes on a page of metrics: measured at 200 bytes with names of
/// forty characters, and at 390 with names as long as they may be; an exemplar
/// has 110.
const SERIES_TEXT_BYTES: usize = 510;
/// What a connection to a listener takes.
const CONNECTION_BYTES: usize = 24 << 10;
/// What one remembered name of a sealed run takes.
const SEALED_RUN_BYTES: usize = 64;
/// What a body takes beside its bytes: where it is, and what it holds.
const BODY_INDEX_BYTES: usize = 200;
/// What a series takes in a checkpoint, with its labels.
const SERIES_STORED_BYTES: usize = 200;
/// A piece of a checkpoint on its way to the disk, and records that are gathered
/// for one write.
const STORE_BUFFER_BYTES: usize = 1 << 20;

impl Budget {
    /// Adds up.
    pub fn new(config: &Config) -> Self {
        let limits = &config.limits;
        let feeds = config.source.feeds.len();
        let line = |what, bytes, key| Line { what, bytes, key };
        let mut lines = vec![
            line("the program itself", BASE_BYTES, ""),
            line(
                "open runs",
                // Rough accounting, and what an allocator wastes.
                limits.open_runs_bytes_max / 4 * 5,
                "limits.open_runs_bytes_max",
            ),
            line(
                "runs that are remembered as ended",
                limits.sealed_runs_max * SEALED_RUN_BYTES,
                "limits.sealed_runs_max",
            ),
            line(
                "frames of the feed",
                // A line and a frame for each feed, and one element taken apart.
                feeds * (limits.line_bytes_max + limits.frame_bytes_max) + limits.frame_bytes_max,
                "limits.frame_bytes_max",
            ),
            line(
                "bytes of the feed on their way",
                FEED_PIECES_MAX * FEED_PIECE_BYTES_MAX + feeds * FEED_READ_BYTES_MAX,
                "source.projects",
            ),
            line(
                "spans on their way to the outbox",
                // Pending, closed, being packed, and twice as a record.
                (WITHHELD_BATCHES_MAX + PACKING_BATCHES_MAX + 4) * limits.batch_bytes_max
                    + 2 * SPAN_BYTES_MAX,
                "limits.batch_bytes_max",
            ),
            line(
                "recent runs",
                limits.recent_runs_bytes_max,
                "limits.recent_runs_bytes_max",
            ),
            line(
                "series of metrics",
                limits.metric_series_max * SERIES_BYTES,
                "limits.metric_series_max",
            ),
            line(
                "pages of metrics",
                // Those that are being read, and one that is being made: it stands
                // twice where it moves in order to grow.
                (PAGES_MAX + 2) * SERIES_TEXT_BYTES * limits.metric_series_max,
                "limits.metric_series_max",
            ),
            line("answers of the API", API_CONNECTIONS_MAX * (1 << 20), ""),
            line(
                "connections",
                (ADMIN_CONNECTIONS_MAX + API_CONNECTIONS_MAX) * CONNECTION_BYTES,
                "",
            ),
            line("lines of logs", LOG_LINES_BYTES_MAX, ""),
        ];
        if config.repair {
            lines.push(line(
                "owed runs, and those that are being paid",
                limits.owed_runs_bytes_max + limits.open_runs_bytes_max / 4,
                "limits.owed_runs_bytes_max",
            ));
        }
        if config.repair || config.enrich {
            lines.push(line(
                "answers of the server",
                // As they came, and taken apart.
                2 * limits.asks_in_flight_max * limits.answer_bytes_max,
                "limits.answer_bytes_max",
            ));
        }
        if config.store.dir.is_some() {
            lines.push(line(
                "records on their way to the disk",
                // One as it is and one as it is written; a checkpoint's metrics are one.
                2 * (limits.frame_bytes_max.max(limits.answer_bytes_max) + HEARD_BYTES_MAX)
                    + STORE_BUFFER_BYTES,
                "limits.frame_bytes_max",
            ));
            lines.push(line(
                "metrics on their way to the disk",
                limits.metric_series_max * SERIES_STORED_BYTES,
                "limits.metric_series_max",
            ));
        }
        if let Some(export) = &config.export {
            lines.push(line(
                "places of bodies in the outbox",
                OUTBOX_BODIES_MAX * BODY_INDEX_BYTES,
                "",
            ));
            if config.store.dir.is_none() {
                lines.push(line(
                    "the outbox",
                    limits.outbox_bytes_max,
                    "limits.outbox_bytes_max",
                ));
            }
            lines.push(line(
                "requests and answers of the backend",
                export.memory_max(limits.batch_bytes_max),
                "export.in_flight_max",
            ));
        }
        Self {
            lines,
            memory_max: config.memory_max,
        }
    }

    /// The most that all parts together use.
    pub fn sum(&self) -> usize {
        self.lines.iter().map(|line| line.bytes).sum()
    }

    /// Whether it is within `memory_max`.
    pub fn check(&self) -> Result<(), OverBudget> {
        let sum = self.sum();
        if sum <= self.memory_max {
            return Ok(());
        }
        let with_key = self.lines.iter().filter(|line| !line.key.is_empty());
        let largest = with_key.max_by_key(|line| line.bytes);
        Err(OverBudget {
            memory_max: self.memory_max,
            sum,
            largest: largest.map_or("the limits", |line| line.key),
            largest_bytes: largest.map_or(0, |line| line.bytes),
        })
    }
}

impl Budget {
    /// The parts in one line, for a log.
    pub fn parts(&self) -> String {
        let part = |line: &Line| format!("{}: {}", line.what, Size(line.bytes));
        let parts: Vec<_> = self.lines.iter().map(part).collect();
        parts.join(", ")
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "  {:>10}  {}", Size(line.bytes).to_string(), line.what)?;
        }
        let (sum, max) = (Size(self.sum()), Size(self.memory_max));
        write!(
            f,
            "  {:>10}  in all, of {max} (memory_max)",
            sum.to_string()
        )
    }
}

/// The most that the store takes on its volume: one of its checkpoints is written
/// while the one before it is still there.
pub const fn store_bytes_max(config: &Config) -> usize {
    let store = &config.store;
    store.journal_bytes_max
        + store.outbox_bytes_max
        + store.quarantine_bytes_max
        + 2 * checkpoint_bytes_max(config)
}

/// The most that one checkpoint takes. Open runs are smaller there than in memory,
/// but for what rough accounting may miss.
pub const fn checkpoint_bytes_max(config: &Config) -> usize {
    let limits = &config.limits;
    limits.open_runs_bytes_max / 4 * 5
        + limits.sealed_runs_max * SEALED_RUN_BYTES
        + limits.metric_series_max * SERIES_STORED_BYTES
        + limits.owed_runs_bytes_max
}

/// A number of bytes, for people.
#[derive(Debug, Clone, Copy)]
pub struct Size(pub usize);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0;
        match bytes {
            0..0x400 => write!(f, "{bytes} B"),
            0x400..0x10_0000 => write!(f, "{:.1} KiB", bytes as f64 / 1024.0),
            _ => write!(f, "{:.1} MiB", bytes as f64 / 1_048_576.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Environment, Flags};

    use super::*;

    fn config(variables: &[(&str, &str)]) -> Config {
        let common = [
            ("AKRIBES_URL", "http://localhost:3001"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318"),
        ];
        let variables = common.iter().chain(variables).copied();
        Config::load(&Flags::default(), &Environment::from_iter(variables)).unwrap()
    }

    #[test]
    fn what_nobody_has_changed_fits() {
        let budget = Budget::new(&config(&[]));
        budget.check().unwrap();
        assert!(
            budget.sum() > budget.memory_max / 2,
            "it is no guess at random"
        );
    }

    #[test]
    fn a_sum_beyond_the_bound_is_refused_and_says_what_is_largest() {
        let config = config(&[("RUNTRAIL_LIMITS_OPEN_RUNS_BYTES_MAX", "1GiB")]);
        let error = Budget::new(&config).check().unwrap_err().to_string();
        for part in [
            "memory_max is 384.0 MiB",
            "raise memory_max to",
            "limits.open_runs_bytes_max",
            "1280.0 MiB",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn each_feed_has_its_share() {
        let one = Budget::new(&config(&[("AKRIBES_PROJECT_ID", "1")])).sum();
        let three = Budget::new(&config(&[("AKRIBES_PROJECT_ID", "1,2,3")])).sum();
        assert!(three - one >= 2 * (16 << 20));
    }

    #[test]
    fn an_outbox_on_disk_takes_memory_for_its_places_only() {
        let on_disk = |size| {
            Budget::new(&config(&[
                ("RUNTRAIL_STORE_DIR", "/var/lib/runtrail"),
                ("RUNTRAIL_STORE_OUTBOX_BYTES_MAX", size),
                ("RUNTRAIL_LIMITS_OUTBOX_BYTES_MAX", size),
            ]))
        };
        on_disk("64GiB").check().unwrap();
        assert_eq!(on_disk("64GiB"), on_disk("64MiB"));
        let in_memory = config(&[("RUNTRAIL_LIMITS_OUTBOX_BYTES_MAX", "64GiB")]);
        assert!(Budget::new(&in_memory).check().is_err());
    }

    #[test]
    fn only_who_asks_the_server_has_room_for_its_answers() {
        let with = |repair, enrich| {
            let switches = [("RUNTRAIL_REPAIR", repair), ("RUNTRAIL_ENRICH", enrich)];
            Budget::new(&config(&switches)).sum()
        };
        let neither = with("false", "false");
        assert_eq!(with("false", "true"), neither + (32 << 20));
        // Who asks for logs may owe as well.
        assert_eq!(with("true", "false"), neither + (56 << 20));
        assert_eq!(with("true", "true"), with("true", "false"));
    }

    #[test]
    fn a_store_takes_its_parts_and_two_checkpoints() {
        let store = config(&[
            ("RUNTRAIL_STORE_DIR", "/var/lib/runtrail"),
            ("RUNTRAIL_STORE_JOURNAL_BYTES_MAX", "100MiB"),
            ("RUNTRAIL_STORE_OUTBOX_BYTES_MAX", "200MiB"),
            ("RUNTRAIL_STORE_QUARANTINE_BYTES_MAX", "300MiB"),
        ]);
        let checkpoint = checkpoint_bytes_max(&store);
        assert!((64 << 20..100 << 20).contains(&checkpoint), "{checkpoint}");
        assert_eq!(store_bytes_max(&store), (600 << 20) + 2 * checkpoint);
    }

    #[test]
    fn without_a_backend_there_is_no_outbox() {
        let without = config(&[("OTEL_TRACES_EXPORTER", "none")]);
        assert!(Budget::new(&without).sum() + (32 << 20) < Budget::new(&config(&[])).sum());
    }
}
