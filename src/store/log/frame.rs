//! The bytes of a segment: its header, and the frame around each record.

use crc32fast::Hasher;

/// What the header and each of its copies begin with.
const MAGIC: [u8; 8] = *b"rt-log\r\n";

/// The format that is written.
pub(super) const VERSION: u32 = 1;

/// One copy of the header.
const COPY_BYTES: usize = 28;

/// The header: two copies of the same.
pub(super) const HEADER_BYTES: usize = 2 * COPY_BYTES;

/// What stands before a record's bytes.
pub(super) const FRAME_BYTES: usize = 16;

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) first: u64,
    pub(super) salt: u32,
}

impl Header {
    pub(super) fn encode(self) -> [u8; HEADER_BYTES] {
        let mut copy = [0; COPY_BYTES];
        copy[..8].copy_from_slice(&MAGIC);
        copy[8..12].copy_from_slice(&self.version.to_le_bytes());
        copy[12..20].copy_from_slice(&self.first.to_le_bytes());
        copy[20..24].copy_from_slice(&self.salt.to_le_bytes());
        let crc = crc32fast::hash(&copy[..24]);
        copy[24..].copy_from_slice(&crc.to_le_bytes());
        let mut header = [0; HEADER_BYTES];
        header[..COPY_BYTES].copy_from_slice(&copy);
        header[COPY_BYTES..].copy_from_slice(&copy);
        header
    }

    /// From whichever copy is whole.
    pub(super) fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let (first, second) = bytes.split_at(COPY_BYTES);
        Self::decode_copy(first).or_else(|| Self::decode_copy(second))
    }

    fn decode_copy(copy: &[u8]) -> Option<Self> {
        let (said, crc) = copy.split_at(24);
        let is_whole = said.starts_with(&MAGIC) && crc32fast::hash(said) == u32_at(crc, 0);
        is_whole.then(|| Self {
            version: u32_at(said, 8),
            first: u64::from(u32_at(said, 12)) | u64::from(u32_at(said, 16)) << 32,
            salt: u32_at(said, 20),
        })
    }
}

/// What stands before a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) len: u32,
    /// The record's number, counted from the first of the segment.
    pub(super) ordinal: u32,
    record_crc: u32,
}

impl Frame {
    pub(super) fn of(record: &[u8], ordinal: u32, salt: u32) -> Self {
        Self {
            // A log takes no record that is larger than a segment, which is less than 4 GiB.
            len: record.len() as u32,
            ordinal,
            record_crc: crc(record, salt),
        }
    }

    pub(super) fn encode(self, salt: u32) -> [u8; FRAME_BYTES] {
        let mut bytes = [0; FRAME_BYTES];
        bytes[..4].copy_from_slice(&self.len.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.ordinal.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.record_crc.to_le_bytes());
        let crc = crc(&bytes[..12], salt);
        bytes[12..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8], salt: u32) -> Option<Self> {
        let (said, checked) = bytes.split_at_checked(12)?;
        let is_whole = checked.len() == 4 && crc(said, salt) == u32_at(checked, 0);
        is_whole.then(|| Self {
            len: u32_at(said, 0),
            ordinal: u32_at(said, 4),
            record_crc: u32_at(said, 8),
        })
    }

    pub(super) fn fits(self, record: &[u8], salt: u32) -> bool {
        record.len() == self.len as usize && crc(record, salt) == self.record_crc
    }
}

fn crc(bytes: &[u8], salt: u32) -> u32 {
    let mut hasher = Hasher::new_with_initial(salt);
    hasher.update(bytes);
    hasher.finalize()
}

/// The caller has four bytes there.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
