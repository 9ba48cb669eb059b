//! A batch becomes a body that is sent as it is, each time; and a body that
//! was refused becomes two.

use std::io::{self, Read, Write};

use bytes::Bytes;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::Compression;
use super::split::{Half, halves};
use crate::store::outbox::Packed;
use crate::trace::batch::Batch;

/// Packs a batch for the outbox.
pub fn pack(batch: Batch, compression: Compression) -> Packed {
    let plain_bytes = batch.body.len();
    // Writing into memory does not fail; if it did, a body may go out as it is.
    let (body, compression) = match compression {
        Compression::Gzip => gzip(&batch.body).map_or((batch.body, Compression::None), |body| {
            (body, Compression::Gzip)
        }),
        Compression::None => (batch.body, Compression::None),
    };
    Packed {
        // What a body keeps in memory is what it is counted with.
        body: Bytes::from(body.into_boxed_slice()),
        compression,
        spans: batch.spans,
        plain_bytes,
    }
}

/// The halves of a body, packed as it is. `None` when it holds a single span,
/// or is no body at all.
pub fn bisect(packed: &Packed) -> Option<[Packed; 2]> {
    let halves = match packed.compression {
        Compression::Gzip => halves(&gunzip(packed).ok()?)?,
        Compression::None => halves(&packed.body)?,
    };
    Some(halves.map(|Half { body, spans }| pack(Batch::new(body, spans), packed.compression)))
}

/// Fast rather than small: names repeat so much that little is left either way.
fn gzip(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain)?;
    encoder.finish()
}

/// Never more than was packed.
fn gunzip(packed: &Packed) -> io::Result<Vec<u8>> {
    let mut plain = Vec::with_capacity(packed.plain_bytes);
    GzDecoder::new(&packed.body[..])
        .take(packed.plain_bytes as u64)
        .read_to_end(&mut plain)?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::Span;
    use prost::Message;

    use super::*;
    use crate::limits::Limits;
    use crate::trace::batch::{Batcher, ResourceInfo};
    use crate::trace::body::spans;
    use crate::wire::time::Time;

    fn batch(count: u32) -> Batch {
        let mut batcher = Batcher::new(&ResourceInfo::default(), &Limits::default());
        for n in 0..count {
            let span = Span {
                name: format!("span {n}"),
                ..Span::default()
            };
            batcher.push(&span.encode_to_vec(), 0, Time::ZERO);
        }
        batcher.flush().unwrap()
    }

    fn plain(packed: &Packed) -> Vec<u8> {
        match packed.compression {
            Compression::Gzip => gunzip(packed).unwrap(),
            Compression::None => packed.body.to_vec(),
        }
    }

    #[test]
    fn what_is_packed_is_the_batch_and_smaller_with_gzip() {
        for compression in [Compression::Gzip, Compression::None] {
            let packed = pack(batch(100), compression);
            assert_eq!(packed.compression, compression);
            assert_eq!(plain(&packed), batch(100).body);
            assert_eq!(
                (packed.spans, packed.plain_bytes),
                (100, batch(100).body.len())
            );
            let is_small = packed.body.len() < packed.plain_bytes / 2;
            assert_eq!(is_small, compression == Compression::Gzip);
        }
    }

    #[test]
    fn the_same_batch_is_packed_into_the_same_bytes() {
        let packed = || pack(batch(100), Compression::Gzip);
        assert_eq!(packed(), packed());
    }

    #[test]
    fn halves_are_packed_as_the_whole_was() {
        for compression in [Compression::Gzip, Compression::None] {
            let halves = bisect(&pack(batch(5), compression)).unwrap();
            assert_eq!(halves.each_ref().map(|half| half.spans), [3, 2]);
            assert!(halves.iter().all(|half| half.compression == compression));
            let found = halves.iter().map(|half| spans(&plain(half)).count());
            assert_eq!(found.collect::<Vec<_>>(), [3, 2]);
            assert_eq!(bisect(&pack(batch(1), compression)), None);
        }
    }

    #[test]
    fn what_is_not_what_it_says_has_no_halves_and_takes_no_memory() {
        let mut packed = pack(batch(1_000), Compression::Gzip);
        packed.plain_bytes = 10;
        assert_eq!(bisect(&packed), None, "longer than it says");
        packed.body = Bytes::from_static(b"no gzip");
        assert_eq!(bisect(&packed), None);
    }
}
