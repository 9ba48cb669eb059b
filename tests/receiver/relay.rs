//! A relay between a client and a server, with which a network fails.

use std::net::SocketAddr;

use tokio::io::{self, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Passes on what comes, until it is told otherwise.
pub struct Relay {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Connections made before the last change swallow what comes.
    swallow: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relay {
    /// One to this server.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (swallow, changes) = watch::channel(());
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                connections.spawn(pass_on(client, server, changes.clone()));
            }
        });
        Self {
            addr,
            swallow,
            task,
        }
    }

    /// From now on nothing comes through on the connections that there are:
    /// neither bytes nor an end. New ones are well.
    pub fn swallow(&self) {
        self.swallow.send_replace(());
    }
}

async fn pass_on(client: TcpStream, server: SocketAddr, mut changes: watch::Receiver<()>) {
    changes.mark_unchanged();
    let (mut from_client, mut to_client) = client.into_split();
    let server = TcpStream::connect(server).await.unwrap();
    let (mut from_server, mut to_server) = server.into_split();
    let both = async {
        let there = io::copy(&mut from_client, &mut to_server);
        let back = io::copy(&mut from_server, &mut to_client);
        let _ = tokio::join!(there, back);
    };
    tokio::select! {
        () = both => {
            let _ = to_client.shutdown().await;
            return;
        }
        changed = changes.changed() => changed.unwrap(),
    }
    let _ = io::copy(&mut from_client, &mut io::sink()).await;
}
