//! A flat directory of files, as far as the store needs one, behind a small
//! trait: on [`Disk`], in [`Memory`] when no directory was given, and in tests
//! on a twin that fails when it is told to and forgets what was not synced.
//!
//! What is promised after a crash is what POSIX promises: a file's bytes are
//! there once [`StoreFile::sync_data`] came back, and its name once
//! [`Files::sync_dir`] did. Anything else may be there, in part or not at all.

mod disk;
#[cfg(test)]
pub(crate) mod faulty;
mod memory;

use std::fmt::Debug;
use std::io;

pub use self::disk::Disk;
pub use self::memory::Memory;

/// A directory that holds files and nothing else.
pub trait Files: Send + Sync + Debug {
    /// The names of all files, in no order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// A new and empty file; one of that name is emptied.
    fn create(&self, name: &str) -> io::Result<Box<dyn StoreFile>>;
    /// A file that is there.
    fn open(&self, name: &str) -> io::Result<Box<dyn StoreFile>>;
    /// Gives a file another name, and takes the place of what had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file. Who has it open may go on reading.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes names that came, changed or went outlast a crash.
    fn sync_dir(&self) -> io::Result<()>;
}

/// A file that grows at its end.
pub trait StoreFile: Send + Sync + Debug {
    /// Adds to the end. After an error any part of the bytes may be there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Fills the whole of `into`, or fails.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;
    /// How long it is.
    fn len(&self) -> io::Result<u64>;
    /// Whether there is nothing in it.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts it to a length that it has already.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
    /// Makes what is in it, and its length, outlast a crash.
    fn sync_data(&mut self) -> io::Result<()>;
}
