//! A small HTTP/1.1 server: for the two listeners, and for the simulated server.
//!
//! Bounded in every direction: connections, the size of a head and of a body,
//! and the time that a head may take. A handler is an async function of a
//! request; what a path means is its business.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
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
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// The body of an answer.
pub type Body = BoxBody<Bytes, std::io::Error>;

/// Bounds of one listener.
#[derive(Debug, Clone, Copy)]
pub struct ServeLimits {
    /// Connections at once.
    pub connections_max: usize,
    /// What becomes of a further one.
    pub when_full: WhenFull,
    /// How long the head of a request may take.
    pub head_time_max: Duration,
    /// The largest body of a request.
    pub request_bytes_max: usize,
    /// How long one connection may last, whatever it does: for clients that
    /// read slowly or not at all. Without it, as long as it likes.
    pub connection_time_max: Option<Duration>,
    /// Whether a connection may carry several requests.
    pub keep_alive: bool,
}

/// What becomes of a connection beyond the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// It waits in the kernel's queue.
    Wait,
    /// It takes the place of the oldest one of the address that has the most, so
    /// that one client cannot keep the others out. For listeners whose answers
    /// are quick: the oldest is then one that asks for nothing.
    CloseOldest,
}

/// Ends a connection from elsewhere. Each request has it among its extensions.
#[derive(Debug, Clone)]
pub struct Hangup(Arc<watch::Sender<bool>>);

impl Hangup {
    /// With what is told by it, and lives until the connection has ended.
    pub(crate) fn channel() -> (Self, watch::Receiver<bool>) {
        let (hangup, hung_up) = watch::channel(false);
        (Self(Arc::new(hangup)), hung_up)
    }

    /// It ends as it is, with whatever is on its way.
    pub fn hang_up(&self) {
        self.0.send_replace(true);
    }

    /// Whether it has ended, and holds nothing any longer.
    pub fn is_done(&self) -> bool {
        self.0.is_closed()
    }

    /// Waits until it has.
    pub async fn done(&self) {
        self.0.closed().await;
    }
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections_max: 64,
            when_full: WhenFull::Wait,
            head_time_max: Duration::from_secs(10),
            request_bytes_max: 64 << 10,
            connection_time_max: None,
            keep_alive: true,
        }
    }
}

/// The largest head of a request, and the buffer that a connection reads into.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Serves until `stop` says so; then takes no more, answers what is on its way,
/// and ends. Whoever calls sets the time that this may take.
pub async fn serve<H, F>(
    listener: TcpListener,
    limits: ServeLimits,
    mut stop: watch::Receiver<bool>,
    handler: H,
) where
    H: Fn(SocketAddr, Request<Bytes>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let mut connections = Connections::default();
    loop {
        tokio::select! {
            () = connections.room(limits) => {}
            () = stopped(&mut stop) => break,
        }
        let accepted = tokio::select! {
            accepted = accept(&listener) => accepted,
            () = stopped(&mut stop) => break,
        };
        let Some((stream, peer)) = accepted else {
            continue;
        };
        let client = peer.ip().to_canonical();
        let (handler, stop) = (handler.clone(), stop.clone());
        connections.add(client, converse(stream, peer, limits, stop, handler));
    }
    drop(listener);
    connections.ended().await;
}

/// One connection, to its end: how it ends is its client's affair.
async fn converse<H, F>(
    stream: TcpStream,
    peer: SocketAddr,
    limits: ServeLimits,
    mut stop: watch::Receiver<bool>,
    handler: H,
) where
    H: Fn(SocketAddr, Request<Bytes>) -> F + Clone,
    F: Future<Output = Response<Body>>,
{
    let (hangup, mut hung_up) = Hangup::channel();
    // Dropped before `hung_up` is: whoever hung up may count on that.
    {
        let service = service_fn(move |mut request: Request<Incoming>| {
            let handler = handler.clone();
            request.extensions_mut().insert(hangup.clone());
            async move { Ok::<_, Infallible>(answer(peer, request, limits, handler).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_time_max)
            .max_buf_size(HEAD_BYTES_MAX)
            .keep_alive(limits.keep_alive)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        tokio::select! {
            _ = &mut connection => {}
            () = over(limits.connection_time_max) => {}
            () = stopped(&mut hung_up) => {}
            () = stopped(&mut stop) => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    }
    drop(hung_up);
}

/// The connections that are open, the oldest first, each with its client. Those
/// that have ended leave their handles until there is need for room.
#[derive(Debug, Default)]
struct Connections {
    tasks: JoinSet<()>,
    order: VecDeque<(IpAddr, AbortHandle)>,
}

impl Connections {
    fn add(&mut self, client: IpAddr, connection: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(connection);
        self.order.push_back((client, task));
    }

    /// Waits for room, or makes it.
    async fn room(&mut self, limits: ServeLimits) {
        while self.tasks.try_join_next().is_some() {}
        while self.tasks.len() >= limits.connections_max {
            if limits.when_full == WhenFull::CloseOldest {
                self.order.retain(|(_, task)| !task.is_finished());
                if let Some((_, task)) =
                    self.place_to_give_up().and_then(|at| self.order.remove(at))
                {
                    task.abort();
                }
            }
            self.tasks.join_next().await;
        }
        if self.order.len() > 2 * limits.connections_max {
            self.order.retain(|(_, task)| !task.is_finished());
        }
    }

    /// The oldest of the client that has the most; of several such, the oldest of all.
    fn place_to_give_up(&self) -> Option<usize> {
        let mut counts = BTreeMap::new();
        for (client, _) in &self.order {
            *counts.entry(client).or_insert(0) += 1;
        }
        let most = counts.values().max()?;
        let mut clients = self.order.iter().map(|(client, _)| client);
        clients.position(|client| counts.get(client) == Some(most))
    }

    /// Waits for all of them.
    async fn ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn over(time_max: Option<Duration>) {
    match time_max {
        Some(time_max) => tokio::time::sleep(time_max).await,
        None => std::future::pending().await,
    }
}

/// Ends when it is time to stop, or nobody is left to say so.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn accept(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    match listener.accept().await {
        Ok((stream, peer)) => {
            // Without it, small answers wait for an acknowledgement.
            let _ = stream.set_nodelay(true);
            Some((stream, peer))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_of_who_has_the_most_makes_room() {
        let mut connections = Connections::default();
        let client = |n: u8| IpAddr::from([10, 0, 0, n]);
        assert_eq!(connections.place_to_give_up(), None);
        for (n, place) in [(1, 0), (2, 0), (2, 1), (3, 1), (1, 0), (1, 0)] {
            connections.add(client(n), std::future::pending());
            assert_eq!(connections.place_to_give_up(), Some(place), "{n}");
        }
    }
}
