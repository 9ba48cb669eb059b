//! What writes the journal and the checkpoint: a thread of its own, since it
//! waits for the disk. The main loop asks, and goes on to answer meanwhile.

use std::io;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::core::Part;
use crate::store::checkpoint::PreparedCheckpoint;
use crate::store::files::Files;
use crate::store::{CheckpointError, CheckpointWriter, Journal, LogError, StoreFailed};

/// Entries as the core gave them, one behind the other.
#[derive(Debug, Default)]
pub struct Entries {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl<'e> FromIterator<&'e [u8]> for Entries {
    fn from_iter<I: IntoIterator<Item = &'e [u8]>>(entries: I) -> Self {
        let mut all = Self::default();
        for entry in entries {
            all.bytes.extend_from_slice(entry);
            all.ends.push(all.bytes.len());
        }
        all
    }
}

impl Entries {
    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> + Clone {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        let ranges = begins.zip(self.ends.iter().copied());
        ranges.map(|(begin, end)| &self.bytes[begin..end])
    }
}

/// What may come of writing.
#[derive(Debug)]
pub enum Written {
    /// It is in safety, and the journal takes so much on the disk.
    Safe {
        /// The number of the journal's last record.
        record: u64,
        /// What the journal takes on the disk.
        journal_bytes: u64,
    },
    /// There is no room for it: it is not there.
    NoRoom,
    /// Nothing can be written any more.
    Failed(StoreFailed),
}

/// A request, with where the answer goes.
enum Request {
    Append(Entries, oneshot::Sender<Written>),
    Begin,
    Part(Part),
    Prepare(oneshot::Sender<Written>),
    Install {
        /// The last record of the journal that the checkpoint stands for.
        record: u64,
        done: oneshot::Sender<Written>,
    },
}

/// The way to the thread.
#[derive(Debug, Clone)]
pub struct Keeper {
    requests: mpsc::Sender<Request>,
}

/// Parts of a checkpoint between the main loop and the disk.
const PARTS_MAX: usize = 16;

impl Keeper {
    /// Starts the thread. It ends when nobody asks any longer.
    pub fn start(files: Arc<dyn Files>, journal: Journal) -> io::Result<Self> {
        let (requests, to_do) = mpsc::channel(PARTS_MAX);
        let work = Work {
            files,
            journal,
            writer: None,
            prepared: None,
            trouble: None,
        };
        std::thread::Builder::new()
            .name("keeper".to_owned())
            .spawn(move || work.run(to_do))?;
        Ok(Self { requests })
    }

    /// Makes entries durable.
    pub async fn append(&self, entries: Entries) -> Written {
        self.ask(|done| Request::Append(entries, done)).await
    }

    /// Begins a checkpoint.
    pub async fn begin(&self) {
        // What fails here fails with the answer that is waited for.
        let _ = self.requests.send(Request::Begin).await;
    }

    /// Adds a part to it.
    pub async fn part(&self, part: Part) {
        let _ = self.requests.send(Request::Part(part)).await;
    }

    /// Makes it durable; it does not count yet.
    pub async fn prepare(&self) -> Written {
        self.ask(Request::Prepare).await
    }

    /// Lets it count, and deletes what it stands for.
    pub async fn install(&self, record: u64) -> Written {
        self.ask(|done| Request::Install { record, done }).await
    }

    async fn ask(&self, request: impl FnOnce(oneshot::Sender<Written>) -> Request) -> Written {
        let (done, answer) = oneshot::channel();
        let gone = || Written::Failed(StoreFailed::of("the thread that writes it has ended"));
        if self.requests.send(request(done)).await.is_err() {
            return gone();
        }
        answer.await.unwrap_or_else(|_| gone())
    }
}

/// The thread's own.
struct Work {
    files: Arc<dyn Files>,
    journal: Journal,
    writer: Option<CheckpointWriter>,
    prepared: Option<PreparedCheckpoint>,
    /// Why the checkpoint that was begun comes to nothing.
    trouble: Option<CheckpointError>,
}

impl Work {
    fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        while let Some(request) = requests.blocking_recv() {
            // Whoever no longer waits for an answer does not get it.
            match request {
                Request::Append(entries, done) => drop(done.send(self.append(&entries))),
                Request::Begin => self.begin(),
                Request::Part(part) => self.part(&part),
                Request::Prepare(done) => drop(done.send(self.prepare())),
                Request::Install { record, done } => drop(done.send(self.install(record))),
            }
        }
    }

    fn append(&mut self, entries: &Entries) -> Written {
        match self.journal.append_all(entries.iter()) {
            Ok(_) => self.safe(),
            Err(error) => unwritten(error),
        }
    }

    fn begin(&mut self) {
        self.prepared = None;
        self.trouble = None;
        match CheckpointWriter::begin(Arc::clone(&self.files)) {
            Ok(writer) => self.writer = Some(writer),
            Err(error) => self.fail(error),
        }
    }

    fn part(&mut self, part: &Part) {
        let written = self.writer.as_mut();
        let written = written.map(|writer| writer.section(part.tag, &part.bytes));
        if let Some(Err(error)) = written {
            self.fail(error);
        }
    }

    fn fail(&mut self, error: CheckpointError) {
        self.writer = None;
        self.trouble = Some(error);
    }

    fn prepare(&mut self) -> Written {
        match (
            self.writer.take().map(CheckpointWriter::prepare),
            self.trouble.take(),
        ) {
            (_, Some(error)) | (Some(Err(error)), None) => unkept(error),
            (Some(Ok(prepared)), None) => {
                self.prepared = Some(prepared);
                self.safe()
            }
            (None, None) => Written::Failed(StoreFailed::of("no checkpoint was begun")),
        }
    }

    fn install(&mut self, record: u64) -> Written {
        let Some(prepared) = self.prepared.take() else {
            return Written::Failed(StoreFailed::of("no checkpoint was prepared"));
        };
        if let Err(error) = prepared.install() {
            return unkept(error);
        }
        match self.journal.trim(record) {
            Ok(()) => self.safe(),
            Err(error) => unwritten(error),
        }
    }

    fn safe(&self) -> Written {
        Written::Safe {
            record: self.journal.committed(),
            journal_bytes: self.journal.bytes(),
        }
    }
}

fn unwritten(error: LogError) -> Written {
    match error {
        LogError::Full => Written::NoRoom,
        error => Written::Failed(StoreFailed::of(error)),
    }
}

fn unkept(error: CheckpointError) -> Written {
    match error {
        CheckpointError::Full => Written::NoRoom,
        error => Written::Failed(StoreFailed::of(error)),
    }
}
