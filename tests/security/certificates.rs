//! Certificates of our own, and what becomes of those that are changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use runtrail::net::tls::TlsSettings;
use runtrail::source::LossKind;
use runtrail::source::ask::Reply;
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

#[tokio::test]
async fn a_feed_is_read_over_tls_and_changed_certificates_need_no_restart() {
    let (authority, former) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let server = Server::new().await;
    let acceptor = TlsAcceptor::from(Arc::new(authority.strict_server("localhost")));
    let url = format!("https://localhost:{}", server.address().port());
    let mut settings = settings(Url::parse(&url).unwrap());
    settings.tls = mount(&former, folder.path());
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
    let (authority, former) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let server = Server::new().await;
    let acceptor = TlsAcceptor::from(Arc::new(authority.strict_server("localhost")));
    let url = format!("https://localhost:{}", server.address().port());
    let mut settings = settings(Url::parse(&url).unwrap());
    settings.tls = mount(&former, folder.path());
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
