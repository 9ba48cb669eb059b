//! A small HTTP/1.1 server: for the two listeners, and for the simulated server.
//!
//! Bounded in every direction: connections, the size of a head and of a body,
//! and the time that a head may take. A handler is an async function of a
//! request; what a path means is its business.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// The body of an answer.
pub type Body = BoxBody<Bytes, std::io::Error>;

/// Bounds of one listener.
#[derive(Debug, Clone, Copy)]
pub struct ServeLimits {
    /// Connections at once; further ones wait in the kernel's queue.
    pub connections_max: usize,
    /// How long the head of a request may take.
    pub head_time_max: Duration,
    /// The largest body of a request.
    pub request_bytes_max: usize,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections_max: 64,
            head_time_max: Duration::from_secs(10),
            request_bytes_max: 64 << 10,
        }
    }
}

/// The largest head of a request, and the buffer that a connection reads into.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Serves until `stop` says so; then answers what is on its way, and ends.
/// What takes longer than its client cares for ends with the process.
pub async fn serve<H, F>(
    listener: TcpListener,
    limits: ServeLimits,
    mut stop: watch::Receiver<bool>,
    handler: H,
) where
    H: Fn(SocketAddr, Request<Bytes>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(limits.connections_max));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &room) => accepted,
            () = stopped(&mut stop) => return,
        };
        let Some((stream, peer, permit)) = accepted else {
            continue;
        };
        let handler = handler.clone();
        let mut stop = stop.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let handler = handler.clone();
                async move { Ok::<_, Infallible>(answer(peer, request, limits, handler).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits.head_time_max)
                .max_buf_size(HEAD_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), service);
            tokio::pin!(connection);
            // How a connection ends is its client's affair.
            tokio::select! {
                _ = &mut connection => {}
                () = stopped(&mut stop) => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
            drop(permit);
        });
    }
}

/// Ends when it is time to stop, or nobody is left to say so.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(
    tokio::net::TcpStream,
    SocketAddr,
    tokio::sync::OwnedSemaphorePermit,
)> {
    // The semaphore is never closed.
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            // Without it, small answers wait for an acknowledgement.
            let _ = stream.set_nodelay(true);
            Some((stream, peer, permit))
        }
        Err(error) => {
            // Out of descriptors, most likely: trying at once would spin.
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

async fn answer<H, F>(
    peer: SocketAddr,
    request: Request<Incoming>,
    limits: ServeLimits,
    handler: H,
) -> Response<Body>
where
    H: Fn(SocketAddr, Request<Bytes>) -> F,
    F: Future<Output = Response<Body>>,
{
    let (head, body) = request.into_parts();
    let body = Limited::new(body, limits.request_bytes_max).collect();
    match tokio::time::timeout(limits.head_time_max, body).await {
        Ok(Ok(body)) => handler(peer, Request::from_parts(head, body.to_bytes())).await,
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            text(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large\n")
        }
        Ok(Err(_)) => text(StatusCode::BAD_REQUEST, "the body cannot be read\n"),
        Err(_) => text(StatusCode::REQUEST_TIMEOUT, "the body took too long\n"),
    }
}

/// An answer of plain text.
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    whole(status, "text/plain; charset=utf-8", body)
}

/// An answer of JSON.
pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    whole(status, "application/json", body)
}

/// An answer that is there as a whole.
pub fn whole(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Body> {
    let body = Full::new(body.into()).map_err(|never| match never {});
    let mut response = Response::new(body.boxed());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
