//! Whoever Alertmanager calls: it writes down what it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// A webhook that listens for as long as the test lasts.
pub(crate) struct Pager {
    pub(crate) addr: SocketAddr,
    alerts: Arc<Mutex<Vec<Value>>>,
}

impl Pager {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let alerts = Arc::default();
        let to = Arc::clone(&alerts);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let to = Arc::clone(&to);
                // A call that breaks off is made again.
                std::thread::spawn(move || answer(stream, &to));
            }
        });
        Self { addr, alerts }
    }

    /// All alerts that it was told to be firing, the oldest first.
    pub(crate) fn firing(&self) -> Vec<Value> {
        let alerts = self.alerts.lock().unwrap();
        let firing = alerts.iter().filter(|alert| alert["status"] == "firing");
        firing.cloned().collect()
    }
}

fn answer(stream: TcpStream, alerts: &Mutex<Vec<Value>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut told: Value = serde_json::from_slice(&body).ok()?;
    if let Value::Array(told) = told["alerts"].take() {
        alerts.lock().unwrap().extend(told);
    }
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    reader.get_mut().write_all(answer).ok()
}
