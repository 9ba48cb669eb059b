//! A client that sees every byte: the pieces in which a body came, and how it ended.

use runtrail::sim::SimHandle;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer, its body read as far as it was asked for.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    stream: TcpStream,
    /// Bytes that were read and not yet understood.
    raw: Vec<u8>,
    /// The chunks of the body, as they came.
    pub(crate) pieces: Vec<Vec<u8>>,
    /// How the body ended, when it did.
    pub(crate) end: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Clean,
    Cut,
}

/// Asks, with the server's own token.
pub(crate) async fn ask(server: &SimHandle, method: &str, target: &str, body: &str) -> Answer {
    let token = server.token().unwrap_or_default();
    let headers = format!("Authorization: Bearer {token}\r\n");
    request(server, method, target, &headers, body).await
}

pub(crate) async fn request(
    server: &SimHandle,
    method: &str,
    target: &str,
    headers: &str,
    body: &str,
) -> Answer {
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: sim\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut raw = Vec::new();
    let head_bytes = loop {
        if let Some(at) = raw.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        assert!(stream.read_buf(&mut raw).await.unwrap() > 0, "no answer");
    };
    let head = String::from_utf8(raw.drain(..head_bytes).collect()).unwrap();
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_ascii_lowercase(),
        stream,
        raw,
        pieces: Vec::new(),
        end: None,
    }
}

/// A feed, from here on.
pub(crate) async fn feed(server: &SimHandle, query: &str) -> Answer {
    let answer = ask(server, "GET", &format!("/events{query}"), "").await;
    assert_eq!(answer.status, 200, "{}", answer.head);
    answer
}

/// A feed that goes on after a place.
pub(crate) async fn feed_after(server: &SimHandle, id: u64) -> Answer {
    let token = server.token().unwrap_or_default();
    let headers = format!("Authorization: Bearer {token}\r\nLast-Event-ID: {id}\r\n");
    request(server, "GET", "/events", &headers, "").await
}

/// What a JSON call answers.
pub(crate) async fn json(server: &SimHandle, target: &str) -> Value {
    let mut answer = ask(server, "GET", target, "").await;
    assert_eq!(answer.status, 200, "{target}: {}", answer.head);
    answer.json().await
}

pub(crate) async fn status(server: &SimHandle, target: &str) -> u16 {
    ask(server, "GET", target, "").await.status
}

impl Answer {
    /// The body of a short answer.
    pub(crate) async fn json(&mut self) -> Value {
        let length = self.head.split("content-length: ").nth(1).unwrap();
        let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
        while self.raw.len() < length {
            assert!(self.stream.read_buf(&mut self.raw).await.unwrap() > 0);
        }
        serde_json::from_slice(&self.raw[..length]).unwrap()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.pieces.concat()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// Reads until it is so. A body that ends before is a failure.
    pub(crate) async fn read_until(&mut self, is_so: impl Fn(&str) -> bool) -> String {
        while !is_so(&self.text()) {
            assert_eq!(self.end, None, "the feed ended with {:?}", self.text());
            self.read_more().await;
        }
        self.text()
    }

    /// Reads to the end.
    pub(crate) async fn read_to_end(&mut self) -> End {
        loop {
            if let Some(end) = self.end {
                return end;
            }
            self.read_more().await;
        }
    }

    /// Reads some more, and takes it out of its chunks.
    async fn read_more(&mut self) {
        match self.stream.read_buf(&mut self.raw).await {
            Ok(0) | Err(_) => self.end = Some(End::Cut),
            Ok(_) => {}
        }
        while let Some(at) = self.raw.windows(2).position(|window| window == b"\r\n") {
            let size = std::str::from_utf8(&self.raw[..at]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            let over = at + 2 + size + 2;
            if self.raw.len() < over {
                return;
            }
            let piece = self.raw[at + 2..at + 2 + size].to_vec();
            self.raw.drain(..over);
            match size {
                0 => self.end = Some(End::Clean),
                _ => self.pieces.push(piece),
            }
        }
    }
}

/// The elements of all whole batches in a feed, written with plain line ends.
pub(crate) fn elements(feed: &str) -> Vec<Value> {
    let lines = feed.lines().filter_map(|line| line.strip_prefix("data: ["));
    let batches =
        lines.filter_map(|rest| serde_json::from_str::<Vec<Value>>(&format!("[{rest}")).ok());
    batches.flatten().collect()
}

/// The newest place that a feed told of.
pub(crate) fn newest_id(feed: &str) -> u64 {
    let ids = feed.lines().filter_map(|line| line.strip_prefix("id: "));
    ids.filter_map(|id| id.parse().ok()).max().unwrap()
}

/// The type of each engine event.
pub(crate) fn types(elements: &[Value]) -> Vec<&str> {
    let types = elements
        .iter()
        .filter_map(|element| element["payload"]["event"]["type"].as_str());
    types.collect()
}

/// Whether a run's end was told.
pub(crate) fn has_end(feed: &str) -> bool {
    feed.contains("\"event\":{\"type\":\"WorkflowEnd\"")
        || feed.contains("\"event\":{\"type\":\"Error\"")
}
