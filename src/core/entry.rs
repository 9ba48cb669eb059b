//! What a core was told, as it is kept in the journal: enough to tell it again.
//!
//! An entry is one input: a head that says what came and when, and the steps
//! that follow from it, to its end. Events are in normalised form, so what must
//! not leave the process is not among them. All of it is written with postcard;
//! kinds are only ever added at the end of their lists.

use std::borrow::Cow;
use std::time::Duration;

use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

use crate::run::RunSettings;
use crate::run::finished::RunFacts;
use crate::run::outputs::{GapCause, Wish};
use crate::run::table::NoAnswer;
use crate::wire::event::RunRef;
use crate::wire::item::LogPage;
use crate::wire::rejection::Rejection;
use crate::wire::rows::{RowOfRun, RowsPage};
use crate::wire::time::Time;

/// How an entry begins.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Head<'a> {
    /// A process began to listen, under these settings.
    Life {
        settings: Box<RunSettings>,
        feeds: Vec<Option<i64>>,
    },
    /// A piece of a feed; steps follow.
    Heard { feed: u32, now: Option<Time> },
    /// A feed may have lost something.
    Gap {
        feed: u32,
        cause: GapCause,
        now: Time,
    },
    /// A feed was connected.
    Connected {
        feed: u32,
        again: bool,
        now: Option<Time>,
    },
    /// Time went by, and something was due.
    Tick { now: Time },
    /// The clock was set.
    ClockSet { now: Time },
    /// A part of the server's log of a run; steps follow.
    Logged {
        #[serde(borrow)]
        run: RunRef<'a>,
        after: u64,
        now: Time,
    },
    /// The server does not give a run's log.
    LogRefused {
        #[serde(borrow)]
        run: RunRef<'a>,
        why: NoAnswer,
        now: Time,
    },
    /// What the server says of a run.
    Row {
        #[serde(borrow)]
        run: RunRef<'a>,
        row: Option<Box<RowOfRun>>,
        now: Time,
    },
    /// What else the server knows of a run that has ended.
    Facts {
        #[serde(borrow)]
        run: RunRef<'a>,
        facts: Option<Box<RunFacts>>,
        now: Time,
    },
    /// A page of a list of runs.
    Rows {
        wish: Wish,
        page: Option<RowsPage>,
        now: Time,
    },
    /// There is room for spans, or none.
    Room { room: bool, now: Time },
    /// The server answered what cannot be read.
    Unreadable { rejection: Rejection, now: Time },
    /// No answer will come any more.
    NoMoreAnswers { now: Time },
}

/// What follows from a head, one after the other.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Step<'a, E> {
    /// An event, of this type.
    Event { type_index: u16, event: E },
    /// Something that is counted by its type, and no more.
    Counted { type_index: u16 },
    /// The server dropped events.
    Lost,
    /// Something was not taken.
    Rejected(Rejection),
    /// How old the newest event of a frame was.
    Delay(Duration),
    /// The place to go on from, behind all that is above.
    #[serde(borrow)]
    Cursor(Cow<'a, str>),
    /// The end of a page of a run's log.
    Page(LogPage),
    /// A page of a run's log that cannot be read.
    BadPage,
}

/// Entries that have been written, and the one that is being written.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    /// Whether anybody wants them.
    pub(super) on: bool,
    /// The place of the last whole entry in the order of all.
    pub(super) position: u64,
    bytes: Vec<u8>,
    /// Where each whole entry ends.
    ends: Vec<usize>,
    /// Where the steps of the one that is being written begin.
    steps: usize,
}

/// A step makes an entry larger than this: the next one goes into a new entry.
/// Entries far beyond it there are only of single events as large.
const ENTRY_BYTES: usize = 256 << 10;

impl Recorder {
    /// The place of the entry that is being written.
    pub(super) const fn current(&self) -> u64 {
        self.position + 1
    }

    /// An entry begins.
    pub(super) fn begin(&mut self, head: &Head<'_>) {
        if self.on {
            let position = self.current();
            self.write(&position);
            self.write(head);
            self.steps = self.bytes.len();
        }
    }

    /// It goes on.
    pub(super) fn step<E: Serialize>(&mut self, step: &Step<'_, E>) {
        if self.on {
            self.write(step);
        }
    }

    /// Whether the entry is large enough to be ended before the next step.
    pub(super) fn is_large(&self) -> bool {
        self.bytes.len() - self.begun() > ENTRY_BYTES
    }

    /// Whether steps have been written since it began.
    pub(super) const fn has_steps(&self) -> bool {
        self.bytes.len() > self.steps
    }

    /// The entry is whole.
    pub(super) fn end(&mut self) {
        self.position += 1;
        if self.on {
            self.ends.push(self.bytes.len());
        }
    }

    /// The entry said nothing.
    pub(super) fn forget(&mut self) {
        self.bytes.truncate(self.begun());
    }

    /// The whole entries that have not been taken, each with its place before it.
    pub(super) fn entries(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        let ranges = begins.zip(&self.ends);
        ranges.map(|(begin, end)| &self.bytes[begin..*end])
    }

    /// They are in safety.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(4 * ENTRY_BYTES);
        self.ends.clear();
    }

    fn begun(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    fn write(&mut self, value: &(impl Serialize + ?Sized)) {
        // Writing what we hold into memory does not fail.
        let _ = postcard::serialize_with_flavor(value, Behind(&mut self.bytes));
    }
}

/// Writes behind what is there.
struct Behind<'v>(&'v mut Vec<u8>);

impl Flavor for Behind<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
