//! Every bound in the program, in one place. Units stand last in the name.
//!
//! A bound that a person may change is a field of [`Limits`], with its default
//! in [`Limits::default`]; the others are constants. What happens at a bound
//! is said beside it: nothing in the program grows without one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Bounds that belong to a protocol or to the program's shape.
///
/// A longer name is cut and gets a hash of the whole, so that two long names
/// that begin alike stay two names.
pub const NAME_BYTES_MAX: usize = 200;

/// A longer error message or other text that always leaves is cut here.
pub const MESSAGE_BYTES_MAX: usize = 2_048;

/// Events that one span carries; the rest is in `dropped_events_count`.
pub const SPAN_EVENTS_MAX: usize = 128;

/// Links that one span carries; the rest is in `dropped_links_count`.
pub const SPAN_LINKS_MAX: usize = 128;

/// One encoded span. Contents are left out first, then notes, so that it fits.
pub const SPAN_BYTES_MAX: usize = 1 << 20;

/// Once a span is larger than this, no content and no note joins it. What may
/// still come (names, facts, chunk events, an exception, links) fits in the rest.
pub const SPAN_CONTENT_BYTES_MAX: usize = SPAN_BYTES_MAX / 2;

/// Sub-runs deeper than this are folded into the deepest one kept.
pub const SCOPE_DEPTH_MAX: usize = 64;

/// Facts that one node or note carries; more are left out.
pub const FACTS_MAX: usize = 32;

/// Values of one fact that is a list (tools of a turn, fields of a validation failure).
pub const FACT_VALUES_MAX: usize = 32;

/// The name or id of a frame. A longer one is ignored.
pub const FRAME_FIELD_BYTES_MAX: usize = 4_096;

/// A piece of a feed on its way from the network to the core. How many there
/// may be is the room of the channel.
pub const FEED_PIECE_BYTES_MAX: usize = 64 << 10;

/// What is heard of the feeds before it is written down in one go, if so much
/// waits; then those that are behind wait for their turn. The larger, the fewer
/// syncs a busy feed costs. It is what the pieces on their way may hold.
pub const HEARD_BYTES_MAX: usize = FEED_PIECES_MAX * FEED_PIECE_BYTES_MAX;

/// What the HTTP client reads ahead of that for each feed: `hyper` reads up to
/// 408 KiB at once, and pieces on their way may keep one more such buffer alive.
pub const FEED_READ_BYTES_MAX: usize = 2 * (408 << 10);

/// Names that one (sub-)run remembers for escalations and cached results.
pub const SCOPE_NAMES_MAX: usize = 256;

/// Runs that one run points to.
pub const LINKS_MAX: usize = 128;

/// Paths of a run whose nodes are counted one by one, at one moment or without times.
pub const COUNTED_PATHS_MAX: usize = 4_096;

/// Keys that find one open node: a task whose chunks carry ever new ids.
pub const NODE_KEYS_MAX: usize = 64;

/// Events of one run at one moment that are told apart when a server repeats
/// what it sent before a reconnect.
pub const FINGERPRINTS_MAX: usize = 256;

/// Rows of a page of a server's list of runs; more are left out.
pub const ROWS_MAX: usize = 200;

/// Rows of the tasks of one run; more are left out.
pub const TASK_ROWS_MAX: usize = 1_000;

/// One text of a row of a run or task. A row with a longer id or name is left
/// out; another text is cut.
pub const ROW_TEXT_BYTES_MAX: usize = 4_096;

/// Runs of one list that are read, newest first. What is beyond was missed for
/// too long.
pub const LISTED_RUNS_MAX: u32 = 10_000;

/// Runs that wait for their logs, beyond which no further page of a list is asked
/// for: the next one has its turn when some of them are done.
pub const HELD_FOR_LISTS_MAX: usize = 400;

/// How long a list of runs that could not be had is left alone, at first and at
/// last: twice as long each time.
pub const LISTS_AGAIN_AFTER_MIN: Duration = Duration::from_secs(60);
/// See [`LISTS_AGAIN_AFTER_MIN`].
pub const LISTS_AGAIN_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// Projects whose runs are listed after a gap. Further ones are not.
pub const LISTED_PROJECTS_MAX: usize = 1_000;

/// Owed runs whose logs are being read at once.
pub const DEBTS_MAX: usize = 4;

/// Prices of models that a configuration may hold. A longer list is refused: all
/// of it is written down with each start, and looked through for each model.
pub const PRICE_ENTRIES_MAX: usize = 500;

/// A run's result that a summary may hold; a longer one is left out of it.
pub const OUTPUT_BYTES_MAX: usize = 256 << 10;

/// Types of events that the metrics tell apart; a dialect lists fewer.
pub const EVENT_TYPES_MAX: usize = 256;

/// Room that redaction needs beyond the content limit, so that a secret which
/// straddles the cut is seen whole.
pub const REDACTION_MARGIN_BYTES: usize = 4_096;

/// Pieces of the feed between the network and the core. Beyond it nothing is
/// read, and the server notices by TCP.
pub const FEED_PIECES_MAX: usize = 16;

/// Closed batches that wait to be compressed. Beyond it the feed waits.
pub const PACKING_BATCHES_MAX: usize = 1;

/// Closed batches that wait for that while there is no room for spans, and runs
/// are owed. Beyond it the feed waits.
pub const WITHHELD_BATCHES_MAX: usize = 2;

/// Connections to the listener of metrics and probes; a further one takes the
/// place of the oldest of the address that has the most.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;

/// What a listener says of its health; more than that is not read, and then it does
/// not say why it is not well.
pub const HEALTH_ANSWER_BYTES_MAX: usize = 1024;

/// Bodies in the outbox, of each of which the place is kept in memory: beyond it
/// the outbox is full, as it is at its bytes.
pub const OUTBOX_BODIES_MAX: usize = 65_536;

/// Pages of metrics that are being read at once. Beyond it the newest one serves for
/// longer; then those who have read theirs for longest are cut off, unless that is very short.
pub const PAGES_MAX: usize = 2;

/// Connections to the API; as above.
pub const API_CONNECTIONS_MAX: usize = 4;

/// Questions that wait for the main loop. A further one waits at the listener. As
/// many are put off while a checkpoint is written; beyond it the oldest gets no answer.
pub const ASKS_MAX: usize = 32;

/// Lines of logs that wait to be written. Beyond it lines are dropped and counted:
/// nobody who reads logs slowly may slow the program.
pub const LOG_LINES_BYTES_MAX: usize = 2 << 20;

/// Events that one place in the code may log within ten seconds; the rest is counted.
pub const LOG_BURST_MAX: u32 = 20;

/// What is read at once of a file of the store; more only for a larger record.
pub const STORE_READ_BYTES: usize = 256 << 10;

/// How many times as long as the last checkpoint took the rest after it is at least,
/// so that no more than an eleventh of the time goes into them.
pub const CHECKPOINT_REST_TIMES: u32 = 10;

/// The longest such rest. Then the next one is begun, however long the last one took,
/// so that a start after a crash does not have ever more to read. A journal that is
/// half full does not wait for it either.
pub const CHECKPOINT_REST_MAX: Duration = Duration::from_secs(300);

/// Files that are kept in memory grow by so much.
pub const MEMORY_FILE_BLOCK_BYTES: usize = 64 << 10;

/// Ends of tasks that an open run remembers, so that one which its server tells once
/// more after a crash does not count twice. Further ones count each time.
pub const TOLD_ENDS_MAX: usize = 8_192;

/// How long one answer may take. Then it has failed, and is asked for again.
pub const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// Events of a page of a run's log that is asked for.
pub const LOG_PAGE_EVENTS_MAX: usize = 500;

/// Wishes that wait to be asked for. Further ones wait in their channel.
pub const WISHES_MAX: usize = 16_384;

/// Past runs that one backfill sends. For more of them it is asked for in parts.
pub const BACKFILL_RUNS_MAX: usize = 100_000;

/// Past runs that are read at once, which share what open runs may hold.
pub const BACKFILL_FOLDS_MAX: usize = 4;

/// Bounds with a default that configuration may change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// One line of a feed. A longer one is dropped, to its end, and counted.
    pub line_bytes_max: usize,
    /// One frame of a feed, all its data lines together. As above.
    pub frame_bytes_max: usize,
    /// Runs open at once. Beyond it the longest silent one is closed.
    pub open_runs_max: usize,
    /// What all open runs together may hold. Beyond it chunk texts go first,
    /// then chunk events are thinned, then what is remembered of ended tasks, then
    /// the longest silent run is closed.
    pub open_runs_bytes_max: usize,
    /// Nodes open at once in one run. Beyond it the oldest is closed as incomplete.
    pub open_nodes_max: usize,
    /// Finished nodes that an open run remembers, so that a repair does not
    /// send one twice. Beyond it the run is not repaired any more.
    pub published_nodes_max: usize,
    /// Ended runs that are remembered, so that a late event does not open them again.
    pub sealed_runs_max: usize,
    /// Chunk and reasoning events that one span carries.
    pub chunk_events_max: usize,
    /// One piece of content (a text, an input, an output) on a span.
    pub content_bytes_max: usize,
    /// Models, tasks and errors that one run's summary tells apart; the rest is `__other__`.
    pub summary_names_max: usize,
    /// Live events that a run under repair keeps until the log reaches them.
    pub held_events_bytes_max: usize,
    /// One OTLP request body before compression.
    pub batch_bytes_max: usize,
    /// The age at which a batch that is not full is closed.
    pub batch_age_max: Duration,
    /// A run open for longer than this, by event time, sends a marker span.
    pub progress_after: Duration,
    /// A run without an event for longer than this is asked about, then abandoned.
    pub run_idle_max: Duration,
    /// The same for a run that waits for a person or a batch.
    pub run_wait_max: Duration,
    /// How long a held run waits for its repair.
    pub repair_wait_max: Duration,
    /// How far before the last known time runs are listed again: a run may have
    /// begun before that time, and be seen by its server after it.
    pub repair_margin: Duration,
    /// How long an ended run waits for what the server knows of it beside its
    /// events. Then its root goes out without.
    pub enrich_wait_max: Duration,
    /// Questions to the server on their way at once. A further one waits.
    pub asks_in_flight_max: usize,
    /// Questions to the server within a second. As above.
    pub asks_per_second_max: usize,
    /// One answer of the server. A longer one is not read to its end: a page of a
    /// log is asked for again with fewer events, anything else counts as none.
    pub answer_bytes_max: usize,
    /// Ended runs whose spans found no room, and are rebuilt once there is some.
    /// A further one is given up, and counted.
    pub owed_runs_max: usize,
    /// What is remembered of these. As above.
    pub owed_runs_bytes_max: usize,
    /// Bodies that wait for the backend, compressed, in memory: without a store.
    /// When they are full, metrics and summaries go on, and runs that end are owed:
    /// their spans are made from the server's log once there is room.
    pub outbox_bytes_max: usize,
    /// Finished runs that the API remembers. Beyond it the oldest is forgotten.
    pub recent_runs_max: usize,
    /// What these may hold, with their spans. As above.
    pub recent_runs_bytes_max: usize,
    /// Series of all metrics together; further label sets become `__other__`.
    pub metric_series_max: usize,
    /// Values that one label takes; further ones become `__other__`.
    pub label_values_max: usize,
    /// A series idle for longer than this, with no open run, is removed.
    pub series_idle_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line_bytes_max: 8 << 20,
            frame_bytes_max: 8 << 20,
            open_runs_max: 10_000,
            open_runs_bytes_max: 64 << 20,
            open_nodes_max: 4_096,
            published_nodes_max: 65_536,
            sealed_runs_max: 65_536,
            chunk_events_max: 64,
            content_bytes_max: 16 << 10,
            summary_names_max: 1_000,
            held_events_bytes_max: 256 << 10,
            batch_bytes_max: 3 << 20,
            batch_age_max: Duration::from_secs(1),
            progress_after: Duration::from_secs(10),
            run_idle_max: Duration::from_secs(3_600),
            run_wait_max: Duration::from_secs(14 * 86_400),
            repair_wait_max: Duration::from_secs(300),
            repair_margin: Duration::from_secs(60),
            enrich_wait_max: Duration::from_secs(5),
            asks_in_flight_max: 2,
            asks_per_second_max: 100,
            answer_bytes_max: 8 << 20,
            owed_runs_max: 10_000,
            owed_runs_bytes_max: 8 << 20,
            outbox_bytes_max: 32 << 20,
            recent_runs_max: 1_000,
            recent_runs_bytes_max: 8 << 20,
            metric_series_max: 20_000,
            label_values_max: 200,
            series_idle_max: Duration::from_secs(7 * 86_400),
        }
    }
}
