//! The body of a feed: pieces of it go out as they come, each on its own, and
//! can be cut in the middle.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Frame;
use tokio::sync::mpsc;

use crate::net::serve;

/// Pieces that wait for the client to take them.
const PIECES_MAX: usize = 2;

/// Where a feed is written to.
#[derive(Debug)]
pub(super) struct Outlet {
    pieces: mpsc::Sender<Bytes>,
    is_cut: Arc<AtomicBool>,
    /// The bytes that still go out before it is cut.
    cut_in: Option<u64>,
    /// Pieces written so far, so that no two cuts of one text are alike.
    count: usize,
}

/// There is nobody to write to any more.
#[derive(Debug)]
pub(super) struct Gone;

/// An outlet, and the body that comes out of it.
pub(super) fn outlet(cut_in: Option<u64>) -> (Outlet, serve::Body) {
    let (pieces, taken) = mpsc::channel(PIECES_MAX);
    let is_cut = Arc::new(AtomicBool::new(false));
    let body = Pieces {
        pieces: taken,
        is_cut: Arc::clone(&is_cut),
        breathe: false,
    };
    let outlet = Outlet {
        pieces,
        is_cut,
        cut_in,
        count: 0,
    };
    (outlet, body.boxed())
}

impl Outlet {
    /// Writes all of it, in pieces of at most so many bytes (0: whole).
    pub(super) async fn write(&mut self, mut bytes: Bytes, split: usize) -> Result<(), Gone> {
        while !bytes.is_empty() {
            let mut size = bytes.len();
            if split > 0 {
                self.count += 1;
                size = size.min(1 + self.count * 7 % split);
            }
            if let Some(left) = &mut self.cut_in {
                size = size.min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= size as u64;
            }
            if size > 0 {
                let piece = bytes.split_to(size);
                self.pieces.send(piece).await.map_err(|_| Gone)?;
            }
            if self.cut_in == Some(0) {
                self.cut();
                return Err(Gone);
            }
        }
        Ok(())
    }

    /// What was written is the last, and no proper end.
    pub(super) fn cut(&self) {
        self.is_cut.store(true, Ordering::Release);
    }

    /// Ends when the client is gone.
    pub(super) async fn closed(&self) {
        self.pieces.closed().await;
    }
}

/// The body. After each piece it waits for one turn, in which the connection
/// writes out what it has: so pieces stay pieces, and what comes before a cut
/// is not lost with it.
struct Pieces {
    pieces: mpsc::Receiver<Bytes>,
    is_cut: Arc<AtomicBool>,
    breathe: bool,
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        if std::mem::take(&mut this.breathe) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let piece = ready!(this.pieces.poll_recv(context));
        Poll::Ready(match piece {
            Some(piece) => {
                this.breathe = true;
                Some(Ok(Frame::data(piece)))
            }
            None if this.is_cut.load(Ordering::Acquire) => {
                Some(Err(io::ErrorKind::ConnectionAborted.into()))
            }
            None => None,
        })
    }
}
