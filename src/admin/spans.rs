//! Kept spans as OTLP/JSON, a request a line: piece by piece, so that however
//! many spans a run has, few of them are in memory in this form.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Frame;

use crate::limits::Limits;
use crate::net::serve::Body;
use crate::trace::batch::{Batcher, ResourceInfo};
use crate::trace::json::to_json;
use crate::wire::time::Time;

/// How large a request of a line is before it becomes JSON. A larger span has
/// a line of its own.
const LINE_BYTES: usize = 64 << 10;

/// The lines to come.
struct Lines {
    spans: std::vec::IntoIter<Arc<[u8]>>,
    batcher: Batcher,
}

/// An answer of lines.
pub(super) fn lines(resource: &ResourceInfo, spans: Vec<Arc<[u8]>>) -> Response<Body> {
    let limits = Limits {
        batch_bytes_max: LINE_BYTES,
        ..Limits::default()
    };
    let lines = Lines {
        spans: spans.into_iter(),
        batcher: Batcher::new(resource, &limits),
    };
    let body = lines.map_err(|never: Infallible| match never {});
    let mut response = Response::new(body.boxed());
    *response.status_mut() = StatusCode::OK;
    let ndjson = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(CONTENT_TYPE, ndjson);
    response
}

impl Lines {
    fn next_line(&mut self) -> Option<String> {
        loop {
            let batch = match self.spans.next() {
                Some(span) => {
                    self.batcher.push(&span, 0, Time::ZERO);
                    // Age plays no part: only a full one comes.
                    self.batcher.poll_full()
                }
                None => Some(self.batcher.flush()?),
            };
            if let Some(batch) = batch {
                // What we encoded we can decode.
                let mut line = to_json(&batch.body).unwrap_or_default();
                line.push('\n');
                return Some(line);
            }
        }
    }
}

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let line = self.next_line();
        Poll::Ready(line.map(|line| Ok(Frame::data(Bytes::from(line)))))
    }
}
