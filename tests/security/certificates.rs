//! Certificates of our own, and what becomes of those that are changed.

use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use reqwest::Url;
use runtrail::metrics::export::{RefusalReason, RequestResult};
use runtrail::net::tls::TlsSettings;
use runtrail::source::ask::Reply;
use runtrail::source::{LossKind, SourceSettings};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::backend::{Bench, settings_to};
use crate::receiver::tls::Authority;
use crate::receiver::{Receiver, Wire};
use crate::scripted::{Connection, FEED, Server, Source, settings};
use crate::server::{Asking, OK};

/// Puts the certificates of an authority where a client looks for them, as a
/// mounted secret that is changed does.
fn mount(authority: &Authority, folder: &Path) -> TlsSettings {
    let known = authority.known_client();
    let put = |from: Option<PathBuf>, name: &str| {
        let to = folder.join(name);
        fs::copy(from.unwrap(), &to).unwrap();
        Some(to)
    };
    TlsSettings {
        ca_file: put(known.ca_file, "ca.pem"),
        client_certificate_file: put(known.client_certificate_file, "client.pem"),
        client_key_file: put(known.client_key_file, "client.key"),
    }
}

/// A server that wants certificates of this authority, and a client that has those of
/// another one in the folder.
async fn with_former_certificates(
    authority: &Authority,
    folder: &Path,
) -> (Server, TlsAcceptor, SourceSettings) {
    let server = Server::new().await;
    let acceptor = TlsAcceptor::from(Arc::new(authority.strict_server("localhost")));
    let url = format!("https://localhost:{}", server.address().port());
    let mut settings = settings(Url::parse(&url).unwrap());
    settings.tls = mount(&Authority::new(), folder);
    (server, acceptor, settings)
}

#[tokio::test]
async fn a_feed_is_read_over_tls_and_changed_certificates_need_no_restart() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let (server, acceptor, settings) = with_former_certificates(&authority, folder.path()).await;
    let mut source = Source::new(settings);

    source.resume("").await;
    let stream = server.accept().await.stream;
    assert!(acceptor.accept(stream).await.is_err(), "nobody knows it");
    let loss = source.refused().await;
    assert_eq!(loss.kind, LossKind::Unreachable);
    assert!(
        loss.message.contains("RUNTRAIL_SOURCE_CA_FILE"),
        "{}",
        loss.message
    );

    // What is half written is left alone until it can be used.
    fs::write(folder.path().join("client.pem"), "half").unwrap();
    source.resume("").await;
    let stream = server.accept().await.stream;
    assert!(acceptor.accept(stream).await.is_err());
    source.refused().await;

    mount(&authority, folder.path());
    // That of before is tried once more, and then those that are there now.
    source.resume("").await;
    let stream = server.accept().await.stream;
    assert!(acceptor.accept(stream).await.is_err());
    source.refused().await;
    source.resume("").await;
    let stream = server.accept().await.stream;
    let mut connection = Connection::new(acceptor.accept(stream).await.unwrap());
    connection.request().await;
    connection.send(FEED).await;
    source.connected().await;
}

#[tokio::test]
async fn what_is_asked_for_comes_once_the_certificates_were_changed() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let (server, acceptor, settings) = with_former_certificates(&authority, folder.path()).await;
    let mut asking = Asking::of(settings, Duration::from_secs(60));
    asking.ask().await;
    let stream = server.accept().await.stream;
    mount(&authority, folder.path());
    assert!(acceptor.accept(stream).await.is_err());
    let stream = server.accept().await.stream;
    let mut connection = Connection::new(acceptor.accept(stream).await.unwrap());
    connection.request().await;
    connection.send(OK).await;
    assert!(matches!(asking.reply().await, Reply::Row(_)));
}

/// What nginx says to whose certificate it does not know, once TLS is made.
const CERTIFICATE_PAGE: &str = "<html><head><title>400 The SSL certificate error</title></head><body><center><h1>400 Bad Request</h1></center><center>The SSL certificate error</center></body></html>";

/// A proxy that asks for certificates as nginx does, with a server and a backend
/// behind it that answer everything. It ends with the test.
async fn proxy(authority: Arc<Authority>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut config = authority.lenient_server("localhost");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, authority) = (acceptor.clone(), Arc::clone(&authority));
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.unwrap();
                let is_known = authority.knows(stream.get_ref().1.peer_certificates());
                let service = service_fn(move |request: Request<Incoming>| async move {
                    let (head, body) = request.into_parts();
                    let _ = body.collect().await;
                    Ok::<_, Infallible>(behind_the_proxy(&head.headers, is_known))
                });
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    addr
}

fn behind_the_proxy(asked: &HeaderMap, is_known: bool) -> Response<Full<Bytes>> {
    let response = Response::builder();
    let has = |name, value| asked.get(name).is_some_and(|given| given == value);
    let (response, body) = if !is_known {
        let response = response.status(400).header("content-type", "text/html");
        (response, CERTIFICATE_PAGE)
    } else if has("content-type", "application/grpc") {
        let response = response.header("content-type", "application/grpc");
        (response.header("grpc-status", "0"), "")
    } else if has("accept", "text/event-stream") {
        (response.header("content-type", "text/event-stream"), "")
    } else {
        (response.header("content-type", "application/json"), "{}")
    };
    response.body(Full::new(body.into())).unwrap()
}

/// Trusts one authority, and presents a certificate of another.
fn mount_half(authority: &Authority, former: &Authority, folder: &Path) -> TlsSettings {
    let settings = mount(former, folder);
    fs::copy(authority.client().ca_file.unwrap(), folder.join("ca.pem")).unwrap();
    settings
}

#[tokio::test]
async fn a_proxy_that_refuses_a_certificate_by_a_page_costs_no_span_and_needs_no_restart() {
    let (authority, former) = (Arc::new(Authority::new()), Authority::new());
    let addr = proxy(Arc::clone(&authority)).await;
    for wire in [Wire::Http, Wire::Grpc] {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings_to(wire, &format!("https://localhost:{}", addr.port()));
        settings.tls = mount_half(&authority, &former, folder.path());
        let bench = Bench::start(settings);
        mount(&authority, folder.path());
        bench.push("a");
        let counts = bench.finish().await;
        assert_eq!(counts.spans_exported, 1, "{wire:?}");
        assert_eq!(counts.requests(RequestResult::Failed), 1, "{wire:?}");
    }
}

#[tokio::test]
async fn however_long_a_certificate_is_refused_by_a_page_no_span_is_lost() {
    let (authority, former) = (Arc::new(Authority::new()), Authority::new());
    let addr = proxy(Arc::clone(&authority)).await;
    for wire in [Wire::Http, Wire::Grpc] {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings_to(wire, &format!("https://localhost:{}", addr.port()));
        settings.tls = mount_half(&authority, &former, folder.path());
        let bench = Bench::start(settings);
        for name in ["a", "b", "c"] {
            bench.push(name);
        }
        // Far more than what condemns a body while others are taken.
        while bench.attempts() < 40 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        mount(&authority, folder.path());
        let counts = bench.finish().await;
        assert_eq!(counts.spans_exported, 3, "{wire:?}");
        for reason in RefusalReason::ALL {
            assert_eq!(counts.refused(reason), 0, "{wire:?} {reason:?}");
        }
    }
}

#[tokio::test]
async fn a_feed_and_what_is_asked_for_come_after_such_a_page_with_other_certificates() {
    let (authority, former) = (Arc::new(Authority::new()), Authority::new());
    let addr = proxy(Arc::clone(&authority)).await;
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(Url::parse(&format!("https://localhost:{}", addr.port())).unwrap());
    settings.tls = mount_half(&authority, &former, folder.path());
    let mut source = Source::new(settings.clone());
    let mut asking = Asking::of(settings, Duration::from_secs(60));
    mount(&authority, folder.path());
    source.resume("").await;
    let loss = source.refused().await;
    assert_eq!(loss.kind, LossKind::Refused(400));
    assert!(
        loss.message
            .contains("RUNTRAIL_SOURCE_CLIENT_CERTIFICATE_FILE"),
        "{}",
        loss.message
    );
    source.resume("").await;
    source.connected().await;

    asking.ask().await;
    assert_eq!(asking.reply().await, Reply::Unusable);
    asking.ask().await;
    assert!(matches!(asking.reply().await, Reply::Row(_)));
}

#[tokio::test]
async fn spans_are_sent_with_certificates_that_were_changed_meanwhile() {
    for wire in [Wire::Http, Wire::Grpc] {
        let (authority, former) = (Authority::new(), Authority::new());
        let folder = tempfile::tempdir().unwrap();
        let receiver = Receiver::over_tls(wire, authority.strict_server("localhost")).await;
        let origin = format!("https://localhost:{}", receiver.addr.port());
        let mut settings = settings_to(wire, &origin);
        settings.tls = mount(&former, folder.path());
        let bench = Bench::start(settings);
        bench.push("a");
        while bench.attempts() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        mount(&authority, folder.path());
        assert_eq!(bench.finish().await.spans_exported, 1, "{wire:?}");
    }
}
