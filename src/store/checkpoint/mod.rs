//! The checkpoint: one file of sections, which is there as a whole or not at
//! all. A new one is written beside the old one, synced, and takes its place.
//!
//! # Format, version 1
//!
//! All numbers are little-endian; a CRC is that of IEEE 802.3 (zlib's).
//!
//! ```text
//! file     header section* end
//! header   magic:8 "rt-check"  version:u32  crc:u32 over the bytes before it
//! section  kind:u8 1  tag:u16  len:u32  crc:u32  bytes:len
//! end      kind:u8 2  tag:u16  len:u32  crc:u32  count:u32 of sections
//! ```
//!
//! The CRC of a section is over its place among the sections (u32, from nought),
//! its kind, tag and length, and its bytes; that of the end likewise.
//!
//! A section has less than 4 GiB. Whoever writes one sets its bound, and whoever
//! reads one holds no more than that one in memory.

mod read;
mod write;

use std::io;

use crc32fast::Hasher;

pub use self::read::{Checkpoint, Section, read_checkpoint};
pub use self::write::{CheckpointWriter, PreparedCheckpoint};

/// The file, and the one that will take its place.
pub(super) const NAME: &str = "checkpoint";
const NEW_NAME: &str = "checkpoint.new";

const MAGIC: [u8; 8] = *b"rt-check";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 16;
const HEAD_BYTES: usize = 11;

/// Why there is no checkpoint to be read, or none can be written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The disk or the quota is full. The old checkpoint is as it was.
    #[error("there is no room left for the checkpoint")]
    Full,
    /// A sync failed, which is fatal: see [`super::log::LogError::Sync`].
    #[error("the disk did not confirm what was written to the store: {0}")]
    Sync(io::Error),
    /// Anything else that the disk refused. The old checkpoint is as it was.
    #[error("cannot {what} the checkpoint: {error}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why not.
        error: io::Error,
    },
    /// A later version has written it.
    #[error(
        "the checkpoint is of format {version}, which this version of runtrail does not know: use the newer one again, or another store.dir"
    )]
    Newer {
        /// Its format.
        version: u32,
    },
    /// It is not as it was written.
    #[error(
        "the checkpoint is damaged ({why}): remove the file `checkpoint` in store.dir to go on without what it held"
    )]
    Damaged {
        /// In what way.
        why: &'static str,
    },
}

impl CheckpointError {
    fn of(what: &'static str, error: io::Error) -> Self {
        if super::log::is_full(&error) {
            return Self::Full;
        }
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Self::Damaged {
                why: "it ends too early",
            };
        }
        Self::Io { what, error }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Section = 1,
    End = 2,
}

/// What stands before the bytes of a section.
#[derive(Debug, Clone, Copy)]
struct Head {
    kind: Kind,
    tag: u16,
    len: u32,
}

impl Head {
    fn encode(self, crc: u32) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[0] = self.kind as u8;
        bytes[1..3].copy_from_slice(&self.tag.to_le_bytes());
        bytes[3..7].copy_from_slice(&self.len.to_le_bytes());
        bytes[7..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// With the CRC that it tells.
    fn decode(bytes: [u8; HEAD_BYTES]) -> Option<(Self, u32)> {
        let [kind, tag @ .., a, b, c, d, e, f, g, h] = bytes;
        let kind = match kind {
            1 => Kind::Section,
            2 => Kind::End,
            _ => return None,
        };
        let head = Self {
            kind,
            tag: u16::from_le_bytes(tag),
            len: u32::from_le_bytes([a, b, c, d]),
        };
        Some((head, u32::from_le_bytes([e, f, g, h])))
    }

    /// A CRC that is still to see the bytes.
    fn hasher(self, place: u32) -> Hasher {
        let mut hasher = Hasher::new();
        hasher.update(&place.to_le_bytes());
        hasher.update(&self.encode(0)[..7]);
        hasher
    }
}

fn header(version: u32) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&version.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..12]);
    bytes[12..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The version, unless the header is damaged.
fn version(bytes: &[u8; HEADER_BYTES]) -> Option<u32> {
    let [.., a, b, c, d, _, _, _, _] = *bytes;
    let version = u32::from_le_bytes([a, b, c, d]);
    (*bytes == header(version)).then_some(version)
}

#[cfg(test)]
mod tests;
