//! The feeds, over HTTP on the loopback: as much of an Akribes server as the SDK
//! needs to run a script and watch it. Each project has one script and one feed,
//! which begins when the script is run.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::feed::Feed;

const HEAD_BYTES_MAX: usize = 64 << 10;

/// A feed, and whether its run was begun.
#[derive(Debug)]
struct Project {
    feed: Arc<Feed>,
    begun: Semaphore,
}

/// A server on the loopback. It ends with the runtime.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
}

impl Server {
    /// Serves feeds; their projects must be different ones.
    pub async fn start(feeds: impl IntoIterator<Item = Arc<Feed>>) -> io::Result<Self> {
        let projects: Vec<_> = feeds
            .into_iter()
            .map(|feed| Project {
                feed,
                begun: Semaphore::new(0),
            })
            .collect();
        let projects = Arc::new(projects);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let projects = Arc::clone(&projects);
                // Whoever goes away early has read enough.
                tokio::spawn(async move { serve(stream, &projects).await.ok() });
            }
        });
        Ok(Self { address })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn serve(mut stream: TcpStream, projects: &[Project]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let line = request(&mut stream).await?;
    let mut words = line.split(' ');
    let (method, target) = (words.next(), words.next().unwrap_or_default());
    let id = match method {
        Some("GET") => target.strip_prefix("/events?project_id="),
        Some("POST") => target.strip_prefix("/projects/").filter(|rest| {
            let path = rest.split('?').next().unwrap_or_default();
            path.ends_with("/run")
        }),
        _ => None,
    };
    let id = id.and_then(|rest| rest.split(['/', '&']).next()?.parse::<i64>().ok());
    let project = projects
        .iter()
        .find(|project| Some(project.feed.project) == id);
    match (project, method) {
        (Some(project), Some("GET")) => events(&mut stream, project).await,
        (Some(project), _) => {
            let answer = json!({"execution_id": project.feed.execution_id}).to_string();
            respond(&mut stream, "200 OK", &answer).await?;
            project.begun.add_permits(1);
            Ok(())
        }
        (None, _) => respond(&mut stream, "404 Not Found", "{}").await,
    }
}

/// Reads a request to its end; its first line.
async fn request(stream: &mut TcpStream) -> io::Result<String> {
    let mut read = Vec::new();
    let head_bytes = loop {
        if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if read.len() > HEAD_BYTES_MAX || stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    };
    let head = String::from_utf8_lossy(&read[..head_bytes]).into_owned();
    let body_bytes = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0);
    while read.len() - head_bytes < body_bytes {
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head.lines().next().unwrap_or_default().to_owned())
}

async fn respond(stream: &mut TcpStream, status: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    let response = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    );
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await
}

/// The feed, chunk by chunk, once the run was begun.
async fn events(stream: &mut TcpStream, project: &Project) -> io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                transfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    // Closed never, so always granted.
    if let Ok(permit) = project.begun.acquire().await {
        permit.forget();
    }
    for chunk in &project.feed.chunks {
        let mut framed = format!("{:x}\r\n", chunk.len()).into_bytes();
        framed.extend_from_slice(chunk);
        framed.extend_from_slice(b"\r\n");
        stream.write_all(&framed).await?;
    }
    stream.write_all(b"0\r\n\r\n").await?;
    stream.shutdown().await
}
