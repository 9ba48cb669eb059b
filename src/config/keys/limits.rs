//! The bounds that configuration may change: [`crate::limits::Limits`].
//!
//! Their defaults stand there too; a test holds the two against each other.

use std::time::Duration;

use super::super::kinds::{Bytes, Count, Time};
use super::{AnyKey, Key, TUNER, key, keys};
use crate::limits::{SPAN_BYTES_MAX, SPAN_CONTENT_BYTES_MAX, SPAN_EVENTS_MAX};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;
const DAY: u64 = 86_400;

/// What a batch holds beside its spans: the resource and the scope.
pub const BATCH_FRAME_BYTES_MAX: usize = 64 * KIB;

/// An exception's event has room beside the chunks.
const CHUNK_EVENTS_MOST: usize = SPAN_EVENTS_MAX - 1;

/// The first and the last chunk of an answer, and of reasoning.
const CHUNK_EVENTS_LEAST: usize = 4;

const fn bytes(least: usize, most: usize) -> Bytes {
    Bytes { least, most }
}

const fn count(least: usize, most: usize) -> Count {
    Count { least, most }
}

const fn seconds(least: u64, most: u64) -> Time {
    Time {
        least: Duration::from_secs(least),
        most: Duration::from_secs(most),
    }
}

keys! {
    LINE_BYTES_MAX: Bytes = key("limits.line_bytes_max", bytes(64 * KIB, 64 * MIB))
        .default("8MiB")
        .effect("One line of a feed. A longer one is dropped and counted. At most `limits.frame_bytes_max`.")
        .changed_by(TUNER);
    FRAME_BYTES_MAX: Bytes = key("limits.frame_bytes_max", bytes(64 * KIB, 64 * MIB))
        .default("8MiB")
        .effect("One frame of a feed, all its lines together. A longer one is dropped and counted.")
        .changed_by(TUNER);
    OPEN_RUNS_MAX: Count = key("limits.open_runs_max", count(1, 1_000_000))
        .default("10000")
        .effect("Runs open at once. Beyond it the longest silent one is closed.")
        .changed_by(TUNER);
    OPEN_RUNS_BYTES_MAX: Bytes = key("limits.open_runs_bytes_max", bytes(MIB, 64 * GIB))
        .default("64MiB")
        .effect("What all open runs together may hold. Beyond it chunk texts go first, then chunk events and notes, then what is remembered of ended tasks, then the longest silent run is closed.")
        .changed_by(TUNER);
    OPEN_NODES_MAX: Count = key("limits.open_nodes_max", count(16, 1_000_000))
        .default("4096")
        .effect("Nodes open at once in one run. Beyond it the oldest is closed as incomplete.")
        .changed_by(TUNER);
    PUBLISHED_NODES_MAX: Count = key("limits.published_nodes_max", count(1, 10_000_000))
        .default("65536")
        .effect("Finished nodes that an open run remembers for a repair. Beyond it the run is not repaired any more.")
        .changed_by(TUNER);
    SEALED_RUNS_MAX: Count = key("limits.sealed_runs_max", count(1, 10_000_000))
        .default("65536")
        .effect("Ended runs that are remembered, so that a late event does not open them again.")
        .changed_by(TUNER);
    CHUNK_EVENTS_MAX: Count = key("limits.chunk_events_max", count(CHUNK_EVENTS_LEAST, CHUNK_EVENTS_MOST))
        .default("64")
        .effect("Chunk and reasoning events that one span carries. More are thinned evenly, and counted.")
        .changed_by("whoever reads the traces");
    CONTENT_BYTES_MAX: Bytes = key("limits.content_bytes_max", bytes(16, SPAN_CONTENT_BYTES_MAX))
        .default("16KiB")
        .effect("One piece of content on a span: a text, an input, an output. A longer one is cut, after redaction.")
        .changed_by("whoever reads the traces");
    SUMMARY_NAMES_MAX: Count = key("limits.summary_names_max", count(1, 100_000))
        .default("1000")
        .effect("Models, tasks and errors that one run's summary tells apart; further ones are `__other__`.")
        .changed_by(TUNER);
    HELD_EVENTS_BYTES_MAX: Bytes = key("limits.held_events_bytes_max", bytes(4 * KIB, GIB))
        .default("256KiB")
        .effect("Live events that a run under repair keeps until the log reaches them.")
        .changed_by(TUNER);
    BATCH_BYTES_MAX: Bytes = key("limits.batch_bytes_max", bytes(SPAN_BYTES_MAX + BATCH_FRAME_BYTES_MAX, 3 * MIB))
        .default("3MiB")
        .effect("One OTLP request before compression. The largest span fits into the smallest batch.")
        .changed_by("whoever runs a backend that takes less");
    BATCH_AGE_MAX: Time = key("limits.batch_age_max", Time { least: Duration::from_millis(10), most: Duration::from_secs(60) })
        .default("1s")
        .effect("The age at which a batch that is not full is sent.")
        .changed_by(TUNER);
    PROGRESS_AFTER: Time = key("limits.progress_after", seconds(0, 30 * DAY))
        .default("10s")
        .effect("A run open for longer than this sends a marker span, if `markers` is on.")
        .changed_by("whoever reads the traces");
    RUN_IDLE_MAX: Time = key("limits.run_idle_max", seconds(1, 366 * DAY))
        .default("1h")
        .effect("A run without an event for longer than this is asked about, then abandoned.")
        .changed_by("whoever knows how long a run may be silent");
    RUN_WAIT_MAX: Time = key("limits.run_wait_max", seconds(1, 366 * DAY))
        .default("14d")
        .effect("The same for a run that waits for a person or a batch.")
        .changed_by("whoever knows how long people take");
    REPAIR_WAIT_MAX: Time = key("limits.repair_wait_max", seconds(1, DAY))
        .default("5m")
        .effect("How long a run waits for its repair before it goes out without.")
        .changed_by(TUNER);
    REPAIR_MARGIN: Time = key("limits.repair_margin", seconds(0, DAY))
        .default("60s")
        .effect("How far before the last known time runs are listed again after a gap, since a server may tell of a run later than it began.")
        .changed_by("whoever runs a server that tells of runs late");
    ENRICH_WAIT_MAX: Time = key("limits.enrich_wait_max", Time { least: Duration::from_millis(10), most: Duration::from_secs(600) })
        .default("5s")
        .effect("How long an ended run waits for what the server knows of it, if `enrich` is on. Then its root goes out without.")
        .changed_by("whoever runs a slow server");
    ASKS_IN_FLIGHT_MAX: Count = key("limits.asks_in_flight_max", count(1, 16))
        .default("2")
        .effect("Questions to the server on their way at once. Further ones wait.")
        .changed_by("whoever runs the server");
    ASKS_PER_SECOND_MAX: Count = key("limits.asks_per_second_max", count(1, 10_000))
        .default("100")
        .effect("Questions to the server within a second. Further ones wait.")
        .changed_by("whoever runs the server");
    ANSWER_BYTES_MAX: Bytes = key("limits.answer_bytes_max", bytes(64 * KIB, 64 * MIB))
        .default("8MiB")
        .effect("One answer of the server. A longer one is not read to its end, and counts as none.")
        .changed_by(TUNER);
    OWED_RUNS_MAX: Count = key("limits.owed_runs_max", count(1, 1_000_000))
        .default("10000")
        .effect("Ended runs whose spans found no room in the outbox, and are rebuilt from the server's log once there is some. A further one is given up, and counted.")
        .changed_by("whoever knows how long the backend may be away");
    OWED_RUNS_BYTES_MAX: Bytes = key("limits.owed_runs_bytes_max", bytes(64 * KIB, GIB))
        .default("8MiB")
        .effect("What is remembered of these. As above.")
        .changed_by(TUNER);
    OUTBOX_BYTES_MAX: Bytes = key("limits.outbox_bytes_max", bytes(4 * MIB, 64 * GIB))
        .default("32MiB")
        .effect("Batches that wait for the backend in memory, compressed, when there is no `store.dir`; with it `store.outbox_bytes_max` counts. When it is full, metrics and summaries go on; runs that end meanwhile are rebuilt from the server's log once there is room.")
        .changed_by("whoever knows how long the backend may be away");
    RECENT_RUNS_MAX: Count = key("limits.recent_runs_max", count(1, 1_000_000))
        .default("1000")
        .effect("Finished runs that the API remembers.")
        .changed_by(TUNER);
    RECENT_RUNS_BYTES_MAX: Bytes = key("limits.recent_runs_bytes_max", bytes(MIB, 64 * GIB))
        .default("8MiB")
        .effect("What these may hold, with their spans.")
        .changed_by(TUNER);
    METRIC_SERIES_MAX: Count = key("limits.metric_series_max", count(1, 10_000_000))
        .default("20000")
        .effect("Series of all metrics together. Further label sets become `__other__`, and are counted.")
        .changed_by("whoever runs Prometheus");
    LABEL_VALUES_MAX: Count = key("limits.label_values_max", count(1, 1_000_000))
        .default("200")
        .effect("Values that one label takes. Further ones become `__other__`, and are counted.")
        .changed_by("whoever runs Prometheus");
    SERIES_IDLE_MAX: Time = key("limits.series_idle_max", seconds(60, 366 * DAY))
        .default("7d")
        .effect("A series idle for longer than this, with no open run, is removed.")
        .changed_by("whoever runs Prometheus");
}
