//! Whether a sidecar on this machine lives: what `/healthz` of its own listener
//! says. For health checks in an image, where there is no other program to ask.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header::HOST};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::limits::HEALTH_ANSWER_BYTES_MAX;

/// Longer than the listener itself waits for its main loop.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(6);

/// It does not live, or nobody can tell.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// Which port it has is known to that process alone.
    #[error("listen.metrics has port 0, which is any that was free: give it a port to be asked at")]
    NoPort,
    /// There is nobody.
    #[error("nobody answers at {0}: is `runtrail run` running here, with the same listen.metrics?")]
    Silent(SocketAddr),
    /// Somebody else has the port, or the connection broke.
    #[error("what answers at {0} is no runtrail: is its listen.metrics the same?")]
    Strange(SocketAddr),
    /// It says so itself.
    #[error("it is not well: {0}")]
    Unwell(String),
}

/// Asks the listener of metrics and probes that is bound to this address.
pub async fn ask(bound: SocketAddr) -> Result<(), HealthError> {
    let address = reached_at(bound)?;
    match tokio::time::timeout(ANSWER_TIME_MAX, answer(address)).await {
        Ok(answered) => answered,
        Err(_) => Err(HealthError::Silent(address)),
    }
}

async fn answer(address: SocketAddr) -> Result<(), HealthError> {
    let stream = TcpStream::connect(address).await;
    let stream = stream.map_err(|_| HealthError::Silent(address))?;
    let strange = |_| HealthError::Strange(address);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(strange)?;
    // It ends with its answer, or with us.
    tokio::spawn(connection);
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = http::Uri::from_static("/healthz");
    let host = HeaderValue::from_static("localhost");
    request.headers_mut().insert(HOST, host);
    let response = sender.send_request(request).await.map_err(strange)?;
    match response.status() {
        StatusCode::OK => Ok(()),
        StatusCode::SERVICE_UNAVAILABLE => {
            Err(HealthError::Unwell(reason(response.into_body()).await))
        }
        _ => Err(HealthError::Strange(address)),
    }
}

async fn reason(body: Incoming) -> String {
    match Limited::new(body, HEALTH_ANSWER_BYTES_MAX).collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes())
            .trim()
            .escape_debug()
            .to_string(),
        Err(_) => "it does not say why".to_owned(),
    }
}

/// Where this machine reaches what is bound there.
fn reached_at(bound: SocketAddr) -> Result<SocketAddr, HealthError> {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    match bound.port() {
        0 => Err(HealthError::NoPort),
        port => Ok(SocketAddr::new(ip, port)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::sync::watch;

    use super::*;
    use crate::net::serve::{ServeLimits, WhenFull, serve, text};

    /// Whoever is asked answers like this.
    async fn answered(status: StatusCode, said: &'static str) -> Result<(), HealthError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = ServeLimits {
            connections_max: 2,
            when_full: WhenFull::CloseOldest,
            head_time_max: Duration::from_secs(5),
            request_bytes_max: 0,
            connection_time_max: None,
            keep_alive: false,
        };
        let (_stop, stopped) = watch::channel(false);
        let served = serve(listener, limits, stopped, move |_, request| async move {
            match request.uri().path() {
                "/healthz" => text(status, said),
                _ => text(StatusCode::NOT_FOUND, ""),
            }
        });
        tokio::select! {
            asked = ask(address) => asked,
            () = served => panic!("it serves until it is told to stop"),
        }
    }

    #[tokio::test]
    async fn it_lives_when_it_says_so_and_else_says_why_not() {
        answered(StatusCode::OK, "alive\n").await.unwrap();
        let unwell = answered(
            StatusCode::SERVICE_UNAVAILABLE,
            "the main loop does not answer\n",
        );
        let said = unwell.await.unwrap_err().to_string();
        assert_eq!(said, "it is not well: the main loop does not answer");
        let other = answered(StatusCode::NOT_FOUND, "").await.unwrap_err();
        assert!(other.to_string().contains("is no runtrail"), "{other}");
    }

    #[tokio::test]
    async fn what_it_says_is_bounded_and_cannot_act_on_a_terminal() {
        static LONG: &str = match str::from_utf8(&[b'a'; HEALTH_ANSWER_BYTES_MAX + 1]) {
            Ok(text) => text,
            Err(_) => "",
        };
        let long = answered(StatusCode::SERVICE_UNAVAILABLE, LONG).await;
        assert_eq!(
            long.unwrap_err().to_string(),
            "it is not well: it does not say why"
        );
        let bell = answered(StatusCode::SERVICE_UNAVAILABLE, "a\u{1b}[2J\nb").await;
        assert_eq!(
            bell.unwrap_err().to_string(),
            "it is not well: a\\u{1b}[2J\\nb"
        );
    }

    #[tokio::test]
    async fn where_nobody_listens_nobody_lives() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let said = ask(address).await.unwrap_err().to_string();
        assert!(
            said.contains(&format!("nobody answers at {address}")),
            "{said}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_the_connection_and_says_nothing_does_not_live() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = ask(address).await;
        assert!(matches!(asked, Err(HealthError::Silent(_))), "{asked:?}");
        drop(listener);
    }

    #[test]
    fn what_is_bound_everywhere_is_asked_at_loopback() {
        for (bound, reached) in [
            ("0.0.0.0:9464", "127.0.0.1:9464"),
            ("[::]:9464", "[::1]:9464"),
            ("10.1.2.3:80", "10.1.2.3:80"),
        ] {
            let at = reached_at(bound.parse().unwrap()).unwrap();
            assert_eq!(at.to_string(), reached);
        }
        let none = reached_at("127.0.0.1:0".parse().unwrap());
        assert!(matches!(none, Err(HealthError::NoPort)), "{none:?}");
    }
}
