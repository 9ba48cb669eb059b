//! Files that fail when a test wants it, and that know what a loss of power
//! would leave of them.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use fastrand::Rng;

use super::{Files, StoreFile};

/// A directory in memory. Its clones are the same directory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faulty(Arc<Mutex<State>>);

/// What may be told to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    Append,
    Truncate,
    SyncData,
    SyncDir,
    Create,
    Open,
    Read,
    Rename,
    Remove,
}

/// How it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// With an error; of an append so many bytes are there all the same.
    Fail { kept: usize },
    /// The same, and from then on nothing works: the program was killed.
    Die { kept: usize },
}

#[derive(Debug, Default)]
struct State {
    contents: BTreeMap<u64, Content>,
    names: BTreeMap<String, u64>,
    synced_names: BTreeMap<String, u64>,
    /// Since the directory was synced.
    renamings: Vec<Renaming>,
    next_file: u64,
    done: BTreeMap<Operation, u64>,
    /// What fails, by how often the operation was done when it does; without an
    /// operation, by how many changes were made in all.
    faults: Vec<(Option<Operation>, u64, Fault)>,
    room_bytes: Option<u64>,
    is_dead: bool,
}

#[derive(Debug, Clone, Default)]
struct Content {
    bytes: Vec<u8>,
    synced: Vec<u8>,
    /// What made the one of the other.
    edits: Vec<Edit>,
}

#[derive(Debug, Clone)]
enum Edit {
    Append(Vec<u8>),
    Truncate(usize),
}

#[derive(Debug, Clone)]
enum Renaming {
    Create(String, u64),
    Rename(String, String),
    Remove(String),
}

impl Faulty {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The n-th operation of this kind from now on fails; the next is the first.
    pub(crate) fn fail(&self, operation: Operation, nth: u64, fault: Fault) {
        let mut state = self.lock();
        let at = state.done.get(&operation).copied().unwrap_or(0) + nth;
        state.faults.push((Some(operation), at, fault));
    }

    /// The n-th operation from now on that would change something fails.
    pub(crate) fn fail_change(&self, nth: u64, fault: Fault) {
        let mut state = self.lock();
        let at = state.changes() + nth;
        state.faults.push((None, at, fault));
    }

    /// Nothing fails any more, nor is there a bound on the room; what is there, is there.
    pub(crate) fn heal(&self) {
        let mut state = self.lock();
        state.faults.clear();
        state.room_bytes = None;
        state.is_dead = false;
    }

    /// What all files together may hold. Beyond it there is no room.
    pub(crate) fn bound(&self, room_bytes: u64) {
        self.lock().room_bytes = Some(room_bytes);
    }

    /// How often this was done.
    pub(crate) fn done(&self, operation: Operation) -> u64 {
        self.lock().done.get(&operation).copied().unwrap_or(0)
    }

    /// Whether nothing works any more.
    pub(crate) fn is_dead(&self) -> bool {
        self.lock().is_dead
    }

    /// What all files together hold.
    pub(crate) fn bytes_used(&self) -> u64 {
        self.lock().bytes_used()
    }

    /// What is in a file.
    pub(crate) fn content(&self, name: &str) -> Vec<u8> {
        let state = self.lock();
        state.contents[&state.names[name]].bytes.clone()
    }

    /// Puts something else into a file, as if it had always been there.
    pub(crate) fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.lock();
        let id = state.next_file;
        state.next_file += 1;
        let synced = bytes.clone();
        let edits = Vec::new();
        let content = Content {
            bytes,
            synced,
            edits,
        };
        state.contents.insert(id, content);
        state.names.insert(name.to_owned(), id);
        state.synced_names.insert(name.to_owned(), id);
    }

    /// The directory after a loss of power: what was synced, and of what was not,
    /// by the seed, as much as the disk happened to take. Of what was appended
    /// that is the beginning.
    pub(crate) fn crash(&self, seed: u64) -> Self {
        self.after_crash(&mut Rng::with_seed(seed), false)
    }

    /// The same, but an append may also be there with a hole of zeros in it.
    pub(crate) fn crash_with_holes(&self, seed: u64) -> Self {
        self.after_crash(&mut Rng::with_seed(seed), true)
    }

    fn after_crash(&self, rng: &mut Rng, with_holes: bool) -> Self {
        let state = self.lock();
        let mut names = state.synced_names.clone();
        for renaming in &state.renamings {
            if rng.bool() {
                renaming.apply(&mut names);
            }
        }
        let crashed = Self::new();
        for (name, id) in names {
            let bytes = state.contents[&id].after_crash(rng, with_holes);
            crashed.put(&name, bytes);
        }
        crashed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl Renaming {
    /// As far as there is something to rename.
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Create(name, id) => {
                names.insert(name.clone(), *id);
            }
            Self::Rename(from, to) => {
                if let Some(id) = names.remove(from) {
                    names.insert(to.clone(), id);
                }
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

impl Content {
    fn after_crash(&self, rng: &mut Rng, with_holes: bool) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        let whole = rng.usize(..=self.edits.len());
        for (place, edit) in self.edits.iter().enumerate().take(whole + 1) {
            match edit {
                Edit::Truncate(len) if place < whole => bytes.truncate(*len),
                Edit::Truncate(_) => {}
                Edit::Append(more) => {
                    let kept = if place < whole {
                        more.len()
                    } else {
                        rng.usize(..=more.len())
                    };
                    let start = bytes.len();
                    bytes.extend_from_slice(&more[..kept]);
                    if with_holes && rng.bool() {
                        let hole = start + rng.usize(..=kept)..;
                        let len = rng.usize(..=bytes.len() - hole.start);
                        bytes[hole][..len].fill(0);
                    }
                }
            }
        }
        bytes
    }
}

impl State {
    fn changes(&self) -> u64 {
        let reads = [Operation::Open, Operation::Read];
        let changes = self.done.iter().filter(|(done, _)| !reads.contains(done));
        changes.map(|(_, times)| times).sum()
    }

    fn bytes_used(&self) -> u64 {
        let files = self.names.values();
        files.map(|id| self.contents[id].bytes.len() as u64).sum()
    }

    /// Counts the operation; if it fails, how much of it happens all the same.
    fn begin(&mut self, operation: Operation) -> Result<(), (usize, io::Error)> {
        let gone = || io::Error::other("a fault that a test asked for");
        if self.is_dead {
            return Err((0, gone()));
        }
        *self.done.entry(operation).or_default() += 1;
        let times = self.done[&operation];
        let is_change = !matches!(operation, Operation::Open | Operation::Read);
        let changes = self.changes();
        let due = self.faults.iter().position(|(what, at, _)| match what {
            Some(what) => *what == operation && *at == times,
            None => is_change && *at == changes,
        });
        let Some(due) = due else {
            return Ok(());
        };
        match self.faults.remove(due).2 {
            Fault::Fail { kept } => Err((kept, gone())),
            Fault::Die { kept } => {
                self.is_dead = true;
                Err((kept, gone()))
            }
        }
    }

    fn append(&mut self, id: u64, bytes: &[u8]) -> io::Result<()> {
        let mut result = Ok(());
        let mut kept = bytes.len();
        if let Err((part, error)) = self.begin(Operation::Append) {
            kept = part.min(bytes.len());
            result = Err(error);
        }
        if let Some(room) = self.room_bytes {
            let left = room.saturating_sub(self.bytes_used()) as usize;
            if left < kept {
                kept = left;
                result = Err(io::ErrorKind::StorageFull.into());
            }
        }
        let content = self.contents.entry(id).or_default();
        content.bytes.extend_from_slice(&bytes[..kept]);
        content.edits.push(Edit::Append(bytes[..kept].to_vec()));
        result
    }
}

fn whole(begun: Result<(), (usize, io::Error)>) -> io::Result<()> {
    begun.map_err(|(_, error)| error)
}

impl Files for Faulty {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StoreFile>> {
        let mut state = self.lock();
        whole(state.begin(Operation::Create))?;
        let id = state.next_file;
        state.next_file += 1;
        state.contents.insert(id, Content::default());
        let renaming = Renaming::Create(name.to_owned(), id);
        renaming.apply(&mut state.names);
        state.renamings.push(renaming);
        Ok(Box::new(FaultyFile(self.clone(), id)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StoreFile>> {
        let mut state = self.lock();
        whole(state.begin(Operation::Open))?;
        let id = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(FaultyFile(self.clone(), id)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        whole(state.begin(Operation::Rename))?;
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let renaming = Renaming::Rename(from.to_owned(), to.to_owned());
        renaming.apply(&mut state.names);
        state.renamings.push(renaming);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        whole(state.begin(Operation::Remove))?;
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let renaming = Renaming::Remove(name.to_owned());
        renaming.apply(&mut state.names);
        state.renamings.push(renaming);
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.lock();
        whole(state.begin(Operation::SyncDir))?;
        state.synced_names = state.names.clone();
        state.renamings.clear();
        Ok(())
    }
}

#[derive(Debug)]
struct FaultyFile(Faulty, u64);

impl StoreFile for FaultyFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.lock().append(self.1, bytes)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let mut state = self.0.lock();
        whole(state.begin(Operation::Read))?;
        let bytes = &state.contents[&self.1].bytes;
        let wanted = bytes.get(offset as usize..offset as usize + into.len());
        into.copy_from_slice(wanted.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().contents[&self.1].bytes.len() as u64)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let mut state = self.0.lock();
        whole(state.begin(Operation::Truncate))?;
        let content = state.contents.entry(self.1).or_default();
        content.bytes.truncate(len as usize);
        content.edits.push(Edit::Truncate(len as usize));
        Ok(())
    }

    fn sync_data(&mut self) -> io::Result<()> {
        let mut state = self.0.lock();
        whole(state.begin(Operation::SyncData))?;
        let content = state.contents.entry(self.1).or_default();
        content.synced = content.bytes.clone();
        content.edits.clear();
        Ok(())
    }
}
