//! What a hostile side sends: much of it, or nearly none.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::scripted::Connection;

/// What the kernel may take on the way, beside what is read.
pub(crate) const ON_THE_WAY_BYTES_MAX: u64 = 16 << 20;

pub(crate) const GIB: u64 = 1 << 30;

/// Heads of answers that are none.
pub(crate) const BOMBS: [Bomb; 3] = [Bomb::ManyHeaders, Bomb::HugeHeader, Bomb::EndlessHead];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bomb {
    /// Ten thousand small headers.
    ManyHeaders,
    /// One header of eight megabytes.
    HugeHeader,
    /// A head that does not end.
    EndlessHead,
}

impl Bomb {
    /// Throws it, and tells how many bytes were taken.
    pub(crate) async fn throw<S>(self, connection: &mut Connection<S>) -> u64
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        connection.send("HTTP/1.1 200 OK\r\n").await;
        match self {
            Self::ManyHeaders => {
                let headers = "x-header: value\r\n".repeat(10_000);
                pour(connection, headers.as_bytes(), headers.len() as u64).await
            }
            Self::HugeHeader => {
                connection.send("x-header: ").await;
                pour(connection, &[b'x'; 64 << 10], 8 << 20).await
            }
            Self::EndlessHead => {
                let headers = "x-header: value\r\n".repeat(1_000);
                pour(connection, headers.as_bytes(), GIB).await
            }
        }
    }
}

/// Writes this again and again, until there were so many bytes or nobody takes
/// them: how many there were.
pub(crate) async fn pour<S>(connection: &mut Connection<S>, piece: &[u8], bytes_max: u64) -> u64
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut poured = 0;
    while poured < bytes_max && connection.stream.write_all(piece).await.is_ok() {
        poured += piece.len() as u64;
    }
    poured
}

/// Writes a byte now and then, until the other side is gone.
pub(crate) async fn trickle<S>(connection: &mut Connection<S>, byte: u8)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    while connection.stream.write_all(&[byte]).await.is_ok() {
        pace.tick().await;
    }
}

/// A gigabyte of spaces, in as many parts as it has megabytes.
pub(crate) fn gzip_bomb() -> Vec<u8> {
    gzip(&[b' '; 1 << 20]).repeat(1 << 10)
}

/// So small a text, packed.
pub(crate) fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}
