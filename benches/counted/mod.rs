//! Files that count what is written to them and how often they are synced, by
//! what they hold.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use runtrail::store::files::{Files, StoreFile};

/// What became of the files of one kind.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Count {
    pub(crate) bytes: u64,
    pub(crate) syncs: u64,
    pub(crate) syncing: Duration,
}

/// By kind: `journal`, `outbox` and so on; `directory` for names.
pub(crate) type Counts = BTreeMap<String, Count>;

/// Files, counted.
#[derive(Debug)]
pub(crate) struct Counted {
    files: Arc<dyn Files>,
    counts: Arc<Mutex<Counts>>,
}

impl Counted {
    pub(crate) fn new(files: Arc<dyn Files>) -> Self {
        Self {
            files,
            counts: Arc::default(),
        }
    }

    /// What was counted so far.
    pub(crate) fn counts(&self) -> Counts {
        let counts = self.counts.lock();
        counts.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn file(&self, name: &str, file: Box<dyn StoreFile>) -> Box<dyn StoreFile> {
        let kind = name.split(['-', '.']).next().unwrap_or(name).to_owned();
        let counts = Arc::clone(&self.counts);
        Box::new(CountedFile { kind, file, counts })
    }
}

fn count(counts: &Mutex<Counts>, kind: &str, add: impl FnOnce(&mut Count)) {
    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    add(counts.entry(kind.to_owned()).or_default());
}

#[expect(clippy::disallowed_methods, reason = "a bench owns a clock")]
fn sync(
    counts: &Mutex<Counts>,
    kind: &str,
    sync: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    let begin = Instant::now();
    sync()?;
    count(counts, kind, |count| {
        count.syncs += 1;
        count.syncing += begin.elapsed();
    });
    Ok(())
}

impl Files for Counted {
    fn list(&self) -> io::Result<Vec<String>> {
        self.files.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StoreFile>> {
        Ok(self.file(name, self.files.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StoreFile>> {
        Ok(self.file(name, self.files.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.files.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        sync(&self.counts, "directory", || self.files.sync_dir())
    }
}

#[derive(Debug)]
struct CountedFile {
    kind: String,
    file: Box<dyn StoreFile>,
    counts: Arc<Mutex<Counts>>,
}

impl StoreFile for CountedFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let added = bytes.len() as u64;
        count(&self.counts, &self.kind, |count| count.bytes += added);
        self.file.append(bytes)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, into)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        sync(&self.counts, &self.kind, || self.file.sync_data())
    }
}
