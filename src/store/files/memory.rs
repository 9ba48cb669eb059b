//! Files in memory, for those who give no directory: the same code runs on
//! them, and a restart begins with nothing.
//!
//! A file is kept in blocks, so that one that grows is never copied, and takes
//! at most one block more than it holds.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Files, StoreFile};
use crate::limits::MEMORY_FILE_BLOCK_BYTES as BLOCK_BYTES;

/// A directory in memory. Its clones are the same directory.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    files: Arc<Mutex<BTreeMap<String, MemoryFile>>>,
}

impl Memory {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, MemoryFile>> {
        lock(&self.files)
    }
}

/// Each change under a lock is whole, so a thread that panicked leaves no half of one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Files for Memory {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StoreFile>> {
        let file = MemoryFile::default();
        self.lock().insert(name.to_owned(), file.clone());
        Ok(Box::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StoreFile>> {
        let file = self.lock().get(name).cloned();
        let file = file.ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.lock();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let removed = self.lock().remove(name);
        removed.map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, Clone, Default)]
struct MemoryFile(Arc<Mutex<Blocks>>);

impl StoreFile for MemoryFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        lock(&self.0).append(bytes);
        Ok(())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        lock(&self.0).read_at(offset, into)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.0).len())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        lock(&self.0).truncate(len);
        Ok(())
    }

    fn sync_data(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// All are full but the last, which is never empty.
#[derive(Debug, Default)]
struct Blocks(Vec<Vec<u8>>);

impl Blocks {
    fn len(&self) -> u64 {
        let last = self.0.last().map_or(0, Vec::len);
        (self.0.len().saturating_sub(1) * BLOCK_BYTES + last) as u64
    }

    fn append(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let mut block = match self.0.pop() {
                Some(block) if block.len() < BLOCK_BYTES => block,
                full => {
                    self.0.extend(full);
                    Vec::with_capacity(BLOCK_BYTES)
                }
            };
            let fits = bytes.len().min(BLOCK_BYTES - block.len());
            block.extend_from_slice(&bytes[..fits]);
            bytes = &bytes[fits..];
            self.0.push(block);
        }
    }

    fn read_at(&self, offset: u64, mut into: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(into.len() as u64);
        if end.is_none_or(|end| end > self.len()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut offset = offset as usize;
        while !into.is_empty() {
            let block = &self.0[offset / BLOCK_BYTES][offset % BLOCK_BYTES..];
            let fits = into.len().min(block.len());
            let (now, later) = into.split_at_mut(fits);
            now.copy_from_slice(&block[..fits]);
            into = later;
            offset += fits;
        }
        Ok(())
    }

    fn truncate(&mut self, len: u64) {
        let len = len.min(self.len()) as usize;
        self.0.truncate(len.div_ceil(BLOCK_BYTES));
        if let Some(last) = self.0.last_mut()
            && !len.is_multiple_of(BLOCK_BYTES)
        {
            last.truncate(len % BLOCK_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::files::Disk;

    #[derive(Debug, Clone)]
    enum Step {
        Append { len: usize },
        Truncate { share: f64 },
        Read { from: f64, to: f64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..3 * BLOCK_BYTES).prop_map(|len| Step::Append { len }),
            Just(Step::Append { len: BLOCK_BYTES }),
            (0.0..1.0).prop_map(|share| Step::Truncate { share }),
            (0.0..1.0, 0.0..1.1).prop_map(|(from, to)| Step::Read { from, to }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(50))]

        #[test]
        fn a_file_in_memory_and_one_on_the_disk_are_the_same(
            steps in prop::collection::vec(step(), 0..12)
        ) {
            let directory = tempfile::tempdir().unwrap();
            let disk = Disk::open(directory.path()).unwrap();
            let mut files = [disk.create("file").unwrap(), Memory::new().create("file").unwrap()];
            for (serial, step) in steps.into_iter().enumerate() {
                let len = files[0].len().unwrap();
                let results = files.each_mut().map(|file| match step {
                    Step::Append { len } => {
                        file.append(&vec![serial as u8; len]).unwrap();
                        Ok(Vec::new())
                    }
                    Step::Truncate { share } => {
                        file.truncate((len as f64 * share) as u64).unwrap();
                        Ok(Vec::new())
                    }
                    Step::Read { from, to } => {
                        let from = (len as f64 * from) as u64;
                        let to = (len as f64 * to) as u64;
                        let mut into = vec![0; to.saturating_sub(from) as usize];
                        let read = file.read_at(from, &mut into);
                        read.map(|()| into).map_err(|error| error.kind())
                    }
                });
                prop_assert!(results[0] == results[1]);
                prop_assert_eq!(files[0].len().unwrap(), files[1].len().unwrap());
            }
        }
    }

    #[test]
    fn names_are_those_of_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        let disk: Box<dyn Files> = Box::new(Disk::open(directory.path()).unwrap());
        for files in [disk, Box::new(Memory::new())] {
            let missing = |result: io::Result<()>| {
                assert_eq!(result.unwrap_err().kind(), io::ErrorKind::NotFound);
            };
            missing(files.open("a").map(drop));
            missing(files.remove("a"));
            missing(files.rename("a", "b"));
            files.create("a").unwrap().append(b"one").unwrap();
            files.create("b").unwrap().append(b"two").unwrap();
            let open = files.open("b").unwrap();
            files.rename("a", "b").unwrap();
            assert_eq!(files.list().unwrap(), ["b"]);
            let mut bytes = [0; 3];
            files.open("b").unwrap().read_at(0, &mut bytes).unwrap();
            assert_eq!(&bytes, b"one");
            open.read_at(0, &mut bytes).unwrap();
            assert_eq!(&bytes, b"two", "who has it open may go on");
            files.create("b").unwrap();
            assert!(files.open("b").unwrap().is_empty().unwrap());
            files.remove("b").unwrap();
            files.sync_dir().unwrap();
            assert!(files.list().unwrap().is_empty());
        }
    }
}
