//! Writing a checkpoint.

use std::io;
use std::sync::Arc;

use super::{CheckpointError, Head, Kind, NAME, NEW_NAME, VERSION, header};
use crate::limits::STORE_READ_BYTES;
use crate::store::files::{Files, StoreFile};

/// Writes a checkpoint beside the one that there is. If it is dropped before it
/// was installed, nothing has happened.
#[derive(Debug)]
pub struct CheckpointWriter {
    draft: Draft,
    file: Box<dyn StoreFile>,
    /// What is not yet in the file.
    buffer: Vec<u8>,
    bytes: u64,
    sections: u32,
}

/// A checkpoint that is safe on the disk, and does not count yet.
#[derive(Debug)]
#[must_use = "it counts once it is installed"]
pub struct PreparedCheckpoint {
    draft: Draft,
    bytes: u64,
}

impl CheckpointWriter {
    /// Begins one.
    pub fn begin(files: Arc<dyn Files>) -> Result<Self, CheckpointError> {
        let draft = Draft {
            files,
            is_installed: false,
        };
        let file = draft.files.create(NEW_NAME).map_err(cannot_write)?;
        let buffer = header(VERSION).to_vec();
        Ok(Self {
            draft,
            file,
            bytes: buffer.len() as u64,
            buffer,
            sections: 0,
        })
    }

    /// Adds a section. Several may have the same tag.
    pub fn section(&mut self, tag: u16, bytes: &[u8]) -> Result<(), CheckpointError> {
        self.add(Kind::Section, tag, bytes)?;
        self.sections += 1;
        Ok(())
    }

    /// Ends it, and syncs it: what is slow is done now.
    pub fn prepare(mut self) -> Result<PreparedCheckpoint, CheckpointError> {
        self.add(Kind::End, 0, &self.sections.to_le_bytes())?;
        self.flush()?;
        self.file.sync_data().map_err(CheckpointError::Sync)?;
        Ok(PreparedCheckpoint {
            draft: self.draft,
            bytes: self.bytes,
        })
    }

    fn add(&mut self, kind: Kind, tag: u16, bytes: &[u8]) -> Result<(), CheckpointError> {
        let len = u32::try_from(bytes.len()).map_err(|_| {
            let too_large = io::Error::from(io::ErrorKind::FileTooLarge);
            cannot_write(too_large)
        })?;
        let head = Head { kind, tag, len };
        let mut crc = head.hasher(self.sections);
        crc.update(bytes);
        self.put(&head.encode(crc.finalize()))?;
        self.put(bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), CheckpointError> {
        self.bytes += bytes.len() as u64;
        if self.buffer.len() + bytes.len() > STORE_READ_BYTES {
            self.flush()?;
        }
        if bytes.len() > STORE_READ_BYTES {
            return self.file.append(bytes).map_err(cannot_write);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), CheckpointError> {
        self.file.append(&self.buffer).map_err(cannot_write)?;
        self.buffer.clear();
        Ok(())
    }
}

impl PreparedCheckpoint {
    /// Puts it in the place of the old one, for good, and tells its size.
    pub fn install(mut self) -> Result<u64, CheckpointError> {
        let files = &self.draft.files;
        let renamed = files.rename(NEW_NAME, NAME);
        renamed.map_err(|error| CheckpointError::of("install", error))?;
        self.draft.is_installed = true;
        self.draft.files.sync_dir().map_err(CheckpointError::Sync)?;
        Ok(self.bytes)
    }
}

fn cannot_write(error: io::Error) -> CheckpointError {
    CheckpointError::of("write", error)
}

/// A file that is removed unless it took its place: it would only take room.
#[derive(Debug)]
struct Draft {
    files: Arc<dyn Files>,
    is_installed: bool,
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_installed {
            // If it stays, the next one takes its place.
            self.files.remove(NEW_NAME).ok();
        }
    }
}
