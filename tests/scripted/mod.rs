//! A server over loopback that does, byte for byte, what a test says: it takes
//! connections one by one, shows what was asked, and answers what it is told.

#![allow(unreachable_pub, reason = "a module of several test files")]
#![allow(clippy::expect_used, clippy::panic, reason = "only tests use it")]
#![allow(dead_code, reason = "each test file uses its part of it")]

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use reqwest::Url;
use runtrail::net::backoff::BackoffSettings;
use runtrail::net::tls::TlsSettings;
use runtrail::source::{FeedNews, FeedScope, FromFeed, Loss, Resume, SourceSettings, start};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

/// Longer than this nothing takes, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(180);

/// The head of a feed whose end is the end of the connection.
pub const FEED: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

/// The same, in chunks.
pub const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// What is waited for, or the test fails.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(PATIENCE, what).await;
    result.expect("it comes in time")
}

/// A server.
pub struct Server {
    listener: TcpListener,
}

/// One connection to it.
pub struct Connection<S = TcpStream> {
    pub stream: S,
    read: Vec<u8>,
}

/// What was asked.
#[derive(Debug)]
pub struct Request {
    /// The method, target and version.
    pub line: String,
    /// The headers, with names in small letters.
    pub headers: Vec<(String, String)>,
}

impl Request {
    /// A header, if there is exactly one of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(n, _)| n == name);
        let (_, value) = found.next()?;
        found.next().is_none().then_some(value)
    }
}

impl Server {
    pub async fn new() -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into())
            .await
            .expect("loopback is there")
    }

    pub async fn at(address: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self { listener })
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("it is bound")
    }

    pub fn url(&self) -> Url {
        let url = format!("http://{}", self.address());
        Url::parse(&url).expect("an address makes a URL")
    }

    pub async fn accept(&self) -> Connection {
        let (stream, _) = soon(self.listener.accept()).await.expect("a connection");
        Connection::new(stream)
    }

    /// The same, however long it takes.
    pub async fn accept_ever(&self) -> Connection {
        let (stream, _) = self.listener.accept().await.expect("a connection");
        Connection::new(stream)
    }

    /// Whether nobody comes.
    pub async fn is_untouched(&self) -> bool {
        let a_while = Duration::from_millis(100);
        let accepted = tokio::time::timeout(a_while, self.listener.accept());
        accepted.await.is_err()
    }

    /// Takes one connection, and answers its request.
    pub async fn answer(&self, bytes: impl AsRef<[u8]>) -> (Request, Connection) {
        let mut connection = self.accept().await;
        let request = connection.request().await;
        connection.send(bytes).await;
        (request, connection)
    }
}

/// The feeds that are opened at a server that has nothing else.
pub fn only_feeds(server: Server) -> mpsc::Receiver<Connection> {
    const NOTHING: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
    let (opened, feeds) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let mut connection = server.accept_ever().await;
            let opened = opened.clone();
            tokio::spawn(async move {
                while let Some(request) = connection.next_request().await {
                    if request.header("accept") == Some("text/event-stream") {
                        connection.send(FEED).await;
                        return drop(opened.send(connection).await);
                    }
                    connection.send(NOTHING).await;
                }
            });
        }
    });
    feeds
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub const fn new(stream: S) -> Self {
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// The head of the next request.
    pub async fn request(&mut self) -> Request {
        let request = soon(self.next_request()).await;
        request.expect("the request is not cut off")
    }

    /// The same, however long it takes, unless the other side is gone.
    pub async fn next_request(&mut self) -> Option<Request> {
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end;
            }
            let read = self.stream.read_buf(&mut self.read).await;
            read.ok().filter(|read| *read > 0)?;
        };
        let head = String::from_utf8(self.read.drain(..end + 4).collect()).expect("a head is text");
        let mut lines = head.lines();
        let line = lines.next().unwrap_or_default().to_owned();
        let headers = lines.filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_ascii_lowercase(), value.to_owned()))
        });
        Some(Request {
            line,
            headers: headers.collect(),
        })
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // Whether the other side still wants it is its affair.
        let _ = soon(self.stream.write_all(bytes.as_ref())).await;
        let _ = soon(self.stream.flush()).await;
    }

    /// The same, as one chunk of a body in chunks.
    pub async fn send_chunk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.send(format!("{:x}\r\n", bytes.len())).await;
        self.send(bytes).await;
        self.send("\r\n").await;
    }

    /// Waits until the other side is gone.
    pub async fn closed(mut self) {
        let mut sink = [0; 1_024];
        while let Ok(1..) = soon(self.stream.read(&mut sink)).await {}
    }
}

/// Settings for one feed of all behind this address, with waits that nobody notices.
pub fn settings(url: Url) -> SourceSettings {
    SourceSettings {
        system: "akribes".to_owned(),
        name: "test".to_owned(),
        url,
        token: None,
        feeds: vec![FeedScope::default()],
        tls: TlsSettings::default(),
        connect_time_max: PATIENCE,
        read_time_max: PATIENCE,
        backoff: BackoffSettings {
            first: Duration::from_millis(1),
            most: Duration::from_millis(2),
        },
        refused_wait: Duration::from_millis(1),
    }
}

/// A source at work.
pub struct Source {
    pub news: mpsc::Receiver<FromFeed>,
    pub stop: watch::Sender<bool>,
    pub tasks: JoinSet<()>,
}

impl Source {
    pub fn new(settings: SourceSettings) -> Self {
        Self::with_room(settings, 16)
    }

    /// With a channel for so much news.
    pub fn with_room(settings: SourceSettings, room: usize) -> Self {
        let (to, news) = mpsc::channel(room);
        let (stop, stopped) = watch::channel(false);
        let tasks = start(settings, 1, to, stopped).expect("the settings are sound");
        Self { news, stop, tasks }
    }

    /// The next news of any feed.
    pub async fn next(&mut self) -> FromFeed {
        soon(self.news.recv()).await.expect("the feeds go on")
    }

    /// The next news, of the only feed.
    pub async fn news(&mut self) -> FeedNews {
        self.next().await.news
    }

    /// It asks where to go on from.
    pub async fn asked(&mut self) -> oneshot::Sender<Resume> {
        match self.news().await {
            FeedNews::Resume(answer) => answer,
            other => panic!("it does not ask, but: {other:?}"),
        }
    }

    /// It asks, and is told.
    pub async fn resume(&mut self, cursor: &str) {
        let answer = self.asked().await.send(Resume {
            cursor: cursor.to_owned(),
            retry: None,
        });
        answer.expect("it waits for an answer");
    }

    /// It is connected.
    pub async fn connected(&mut self) {
        let news = self.news().await;
        assert!(matches!(news, FeedNews::Connected), "{news:?}");
    }

    /// All its bytes, until it is lost.
    pub async fn bytes_and_loss(&mut self) -> (Vec<u8>, Loss) {
        let mut bytes = Vec::new();
        loop {
            match self.news().await {
                FeedNews::Bytes(more) => bytes.extend_from_slice(&more),
                FeedNews::Lost(loss) => return (bytes, loss),
                other => panic!("neither bytes nor a loss: {other:?}"),
            }
        }
    }

    /// Its bytes, until there are so many.
    pub async fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            match self.news().await {
                FeedNews::Bytes(more) => bytes.extend_from_slice(&more),
                other => panic!("no bytes: {other:?}"),
            }
        }
        bytes
    }

    /// It could not connect.
    pub async fn refused(&mut self) -> Loss {
        match self.news().await {
            FeedNews::Lost(loss) => loss,
            other => panic!("it is not refused: {other:?}"),
        }
    }
}
