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
