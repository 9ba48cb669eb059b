//! The source against a server that does what it is told, over real sockets.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop"
)]

mod scripted;

use std::io;
use std::net::Ipv6Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use runtrail::net::secret::{Secret, TokenSource};
use runtrail::source::{FeedNews, FeedScope, LossKind, Resume, SourceError, start, try_once};
use scripted::{CHUNKED, Connection, FEED, Server, Source, settings, soon};
use tokio::sync::{mpsc, watch};

const TOKEN: &str = "tok-hunter2";

/// An answer without a body.
fn status(line: &str, headers: &str) -> String {
    format!("HTTP/1.1 {line}\r\n{headers}content-length: 0\r\n\r\n")
}

#[tokio::test]
async fn a_feed_is_asked_for_as_one_and_handed_on_as_it_comes() {
    let server = Server::new().await;
    let mut settings = settings(server.url().join("/api/").unwrap());
    settings.feeds = vec![FeedScope {
        project: Some(7),
        script: Some("a b".to_owned()),
    }];
    settings.token = Some(TokenSource::Value(Secret::new(TOKEN)));
    let mut source = Source::new(settings);
    source.resume("").await;
    let (request, connection) = server.answer(format!("{FEED}: hello\n\ndata: 1\n\n")).await;
    assert_eq!(
        request.line,
        "GET /api/events?project_id=7&script_name=a%20b HTTP/1.1"
    );
    let expected = [
        ("accept", Some("text/event-stream")),
        ("accept-encoding", Some("identity")),
        ("cache-control", Some("no-cache")),
        ("authorization", Some("Bearer tok-hunter2")),
        ("last-event-id", None),
    ];
    for (name, value) in expected {
        assert_eq!(request.header(name), value, "{name}");
    }
    source.connected().await;
    drop(connection);
    let (bytes, loss) = source.bytes_and_loss().await;
    assert_eq!(bytes, b": hello\n\ndata: 1\n\n");
    assert!(loss.was_connected);
    assert_eq!(loss.kind, LossKind::Ended);
    assert_eq!(loss.message, "the server ended the feed");
}

#[tokio::test]
async fn a_connection_goes_on_from_where_it_is_told() {
    let server = Server::new().await;
    let mut source = Source::new(settings(server.url()));
    for cursor in ["", "1234", "", "a-b"] {
        source.resume(cursor).await;
        let (request, _) = server.answer(FEED).await;
        let sent = request.header("last-event-id").unwrap_or_default();
        assert_eq!(sent, cursor);
        source.connected().await;
        source.bytes_and_loss().await;
    }
}

#[tokio::test]
async fn each_feed_of_a_source_has_a_connection_of_its_own() {
    let server = Server::new().await;
    let mut settings = settings(server.url());
    settings.feeds = [7, 8]
        .map(|project| FeedScope {
            project: Some(project),
            script: None,
        })
        .to_vec();
    let mut source = Source::new(settings);
    let mut connections = Vec::new();
    for _ in 0..2 {
        let next = source.next().await;
        let FeedNews::Resume(answer) = next.news else {
            panic!("no question: {next:?}");
        };
        let cursor = next.feed.to_string();
        answer
            .send(Resume {
                cursor,
                retry: None,
            })
            .unwrap();
    }
    for _ in 0..2 {
        let (request, mut connection) = server.answer(FEED).await;
        let feed = if request.line.contains("project_id=7 ") {
            "0"
        } else {
            "1"
        };
        assert_eq!(request.header("last-event-id"), Some(feed), "{request:?}");
        connection.send(feed).await;
        connections.push(connection);
    }
    let mut heard = Vec::new();
    while heard.len() < 2 {
        let next = source.next().await;
        if let FeedNews::Bytes(bytes) = next.news {
            assert_eq!(bytes, next.feed.to_string());
            heard.push(next.feed);
        }
    }
    heard.sort_unstable();
    assert_eq!(heard, [0, 1]);
}

#[tokio::test]
async fn a_token_file_is_read_again_for_each_connection() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let server = Server::new().await;
    let mut settings = settings(server.url());
    settings.token = Some(TokenSource::File(path.clone()));
    let mut source = Source::new(settings);

    source.resume("").await;
    let loss = source.refused().await;
    assert_eq!(loss.kind, LossKind::Token);
    let named = format!("cannot read the token file {}", path.display());
    assert!(loss.message.starts_with(&named), "{}", loss.message);
    assert!(server.is_untouched().await, "nothing is asked without it");

    std::fs::write(&path, "first\n").unwrap();
    for token in ["first", "second"] {
        std::fs::write(&path, token).unwrap();
        source.resume("").await;
        let (request, _) = server.answer(FEED).await;
        let bearer = format!("Bearer {token}");
        assert_eq!(request.header("authorization"), Some(&*bearer));
        source.connected().await;
        source.bytes_and_loss().await;
    }
}

#[tokio::test]
async fn each_answer_that_is_no_feed_is_told_by_its_kind_and_tried_again() {
    use LossKind::{Busy, Ended, Refused};
    let server = Server::new().await;
    let mut source = Source::new(settings(server.url()));
    let html = "content-type: text/html\r\n";
    let gzip = "content-type: text/event-stream\r\ncontent-encoding: gzip\r\n";
    for (answer, kind, message) in [
        (
            status("401 Unauthorized", ""),
            Refused(401),
            "wants a token (401)",
        ),
        (status("403 Forbidden", ""), Refused(403), "(403)"),
        (
            status("404 Not Found", ""),
            Refused(404),
            "no event feed behind http://127.0.0.1",
        ),
        (status("429 Too Many Requests", ""), Busy(429), "(429)"),
        (status("500 Oh", ""), Busy(500), "(500)"),
        (status("503 Oh", ""), Busy(503), "(503)"),
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), Ended, "(204)"),
        (status("200 OK", html), Refused(200), "this is a web page"),
        (status("200 OK", gzip), Refused(200), "compressed (gzip)"),
    ] {
        source.resume("").await;
        let (_, _connection) = server.answer(&answer).await;
        let loss = source.refused().await;
        assert_eq!(loss.kind, kind, "{answer}");
        assert!(!loss.was_connected);
        assert!(loss.message.contains(message), "{}", loss.message);
    }
    source.resume("").await;
    let _connection = server.answer(FEED).await;
    source.connected().await;
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_the_other_place_sees_no_token() {
    let (server, other) = (Server::new().await, Server::new().await);
    let mut settings = settings(server.url());
    settings.token = Some(TokenSource::Value(Secret::new(TOKEN)));
    let mut source = Source::new(settings);
    for code in [
        "301 Moved",
        "302 Found",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        source.resume("").await;
        let location = format!("location: {}events\r\n", other.url());
        let (_, _connection) = server.answer(status(code, &location)).await;
        let loss = source.refused().await;
        assert!(matches!(loss.kind, LossKind::Refused(300..=399)));
        let named = format!("redirects to {}events", other.url());
        assert!(loss.message.contains(&named), "{}", loss.message);
    }
    assert!(other.is_untouched().await);
}

#[tokio::test]
async fn what_the_server_asks_us_to_wait_is_waited() {
    let server = Server::new().await;
    let mut source = Source::new(settings(server.url()));
    source.resume("").await;
    let (_, _connection) = server
        .answer(status("503 Oh", "retry-after: 3000\r\n"))
        .await;
    source.refused().await;
    let retry = Some(Duration::ZERO);
    let cursor = String::new();
    source.asked().await.send(Resume { cursor, retry }).unwrap();
    // Its own waits are of two milliseconds at most.
    let next = tokio::time::timeout(Duration::from_millis(200), source.news.recv()).await;
    assert!(next.is_err(), "it does not wait: {next:?}");
    assert!(server.is_untouched().await);
}

#[tokio::test]
async fn what_a_retry_field_asked_for_is_waited_from_this_loss_on() {
    let server = Server::new().await;
    let mut source = Source::new(settings(server.url()));
    source.resume("").await;
    server.answer(FEED).await;
    source.connected().await;
    source.bytes_and_loss().await;
    let retry = Some(Duration::from_secs(3_000));
    let cursor = "7".to_owned();
    source.asked().await.send(Resume { cursor, retry }).unwrap();
    let next = tokio::time::timeout(Duration::from_millis(200), source.news.recv()).await;
    assert!(next.is_err(), "it does not wait: {next:?}");
    assert!(server.is_untouched().await);
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_given_up() {
    let server = Server::new().await;
    let mut settings = settings(server.url());
    settings.read_time_max = Duration::from_millis(100);
    let mut source = Source::new(settings);
    source.resume("").await;
    let (_, connection) = server.answer(format!("{FEED}: hello\n\n")).await;
    source.connected().await;
    let (bytes, loss) = source.bytes_and_loss().await;
    assert_eq!(bytes, b": hello\n\n");
    assert_eq!((loss.kind, loss.was_connected), (LossKind::Silent, true));
    assert!(
        loss.message.starts_with("nothing came for 100ms"),
        "{}",
        loss.message
    );
    connection.closed().await;
}

#[tokio::test]
async fn a_server_that_takes_but_does_not_answer_is_given_up() {
    let server = Server::new().await;
    let mut settings = settings(server.url());
    settings.connect_time_max = Duration::from_millis(100);
    let mut source = Source::new(settings);
    source.resume("").await;
    let connection = server.accept().await;
    let loss = source.refused().await;
    assert_eq!(
        (loss.kind, loss.was_connected),
        (LossKind::Unreachable, false)
    );
    assert!(
        loss.message.contains("did not answer within 100ms"),
        "{}",
        loss.message
    );
    connection.closed().await;
}

#[tokio::test]
async fn a_connection_may_break_anywhere() {
    let server = Server::new().await;
    let mut source = Source::new(settings(server.url()));
    // In the head.
    for head in [
        "",
        "HTTP/1.1 2",
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-st",
    ] {
        source.resume("").await;
        server.answer(head).await;
        let loss = source.refused().await;
        assert_eq!(
            (loss.kind, loss.was_connected),
            (LossKind::Unreachable, false)
        );
    }
    // In a frame, and in a character of it.
    for body in [&b"data: [{\"a\""[..], b"data: \xC3"] {
        source.resume("").await;
        server.answer([FEED.as_bytes(), body].concat()).await;
        source.connected().await;
        let (bytes, loss) = source.bytes_and_loss().await;
        assert_eq!(bytes, body);
        assert_eq!((loss.kind, loss.was_connected), (LossKind::Ended, true));
    }
    // In a chunk of the transfer.
    source.resume("").await;
    let (_, mut connection) = server.answer(CHUNKED).await;
    connection.send_chunk("data: 1\n\n").await;
    connection.send("ff\r\ndata").await;
    drop(connection);
    source.connected().await;
    let (bytes, loss) = source.bytes_and_loss().await;
    assert_eq!(bytes, b"data: 1\n\ndata");
    assert!(
        loss.message.starts_with("the connection broke ("),
        "{}",
        loss.message
    );
}

#[tokio::test]
async fn a_chunked_feed_that_ends_as_it_should_has_ended() {
    let server = Server::new().await;
    let mut source = Source::new(settings(server.url()));
    source.resume("").await;
    let (_, mut connection) = server.answer(CHUNKED).await;
    connection.send_chunk("data: ").await;
    connection.send_chunk("1\n\n").await;
    connection.send("0\r\n\r\n").await;
    source.connected().await;
    let (bytes, loss) = source.bytes_and_loss().await;
    assert_eq!(bytes, b"data: 1\n\n");
    assert_eq!(loss.message, "the server ended the feed");
}

#[tokio::test]
async fn where_nothing_listens_it_says_so() {
    let server = Server::new().await;
    let url = server.url();
    drop(server);
    let loss = try_once(&settings(url.clone())).await.unwrap_err();
    assert_eq!(loss.kind, LossKind::Unreachable);
    let expected = format!(
        "cannot connect to {} (Connection refused (os error 111)): is the server up, and the port in the URL right?",
        url.as_str().trim_end_matches('/')
    );
    if cfg!(target_os = "linux") {
        assert_eq!(loss.message, expected);
    }
}

#[tokio::test]
async fn a_name_that_is_none_is_told() {
    let url = "http://no-such-host.invalid:8080/".parse().unwrap();
    let loss = try_once(&settings(url)).await.unwrap_err();
    assert_eq!(loss.kind, LossKind::Unreachable);
    assert!(
        loss.message.ends_with("is the name in the URL right?"),
        "{}",
        loss.message
    );
}

#[tokio::test]
async fn what_speaks_something_else_is_told() {
    let server = Server::new().await;
    let plain = settings(server.url());
    let trying = tokio::spawn(async move { try_once(&plain).await });
    server.answer(b"\x15\x03\x01\x00\x02\x02\x0A").await;
    let loss = trying.await.unwrap().unwrap_err();
    assert!(
        loss.message
            .ends_with("or should the URL begin with https?"),
        "{}",
        loss.message
    );

    let https = server
        .url()
        .as_str()
        .replace("http:", "https:")
        .parse()
        .unwrap();
    let secure = settings(https);
    let trying = tokio::spawn(async move { try_once(&secure).await });
    let mut connection = server.accept().await;
    connection.send("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let loss = trying.await.unwrap().unwrap_err();
    assert!(
        loss.message.ends_with("or should the URL begin with http?"),
        "{}",
        loss.message
    );
}

#[tokio::test]
async fn a_try_wants_each_feed_and_nothing_of_it() {
    let server = Server::new().await;
    let mut settings = settings(server.url());
    settings.feeds = [7, 8]
        .map(|project| FeedScope {
            project: Some(project),
            script: None,
        })
        .to_vec();
    let tried = settings.clone();
    let trying = tokio::spawn(async move { try_once(&tried).await });
    let (_, first) = server.answer(FEED).await;
    let (_, second) = server.answer(FEED).await;
    assert_eq!(trying.await.unwrap(), Ok(()));
    first.closed().await;
    second.closed().await;

    let trying = tokio::spawn(async move { try_once(&settings).await });
    let (_, _first) = server.answer(FEED).await;
    let (_, _second) = server.answer(status("403 Forbidden", "")).await;
    let loss = trying.await.unwrap().unwrap_err();
    assert_eq!(loss.kind, LossKind::Refused(403));
    assert!(loss.message.contains("project 8"), "{}", loss.message);
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_at_once() {
    let (to, _news) = mpsc::channel(1);
    let (_stop, stopped) = watch::channel(false);
    let url: reqwest::Url = "http://127.0.0.1:1".parse().unwrap();
    let error = |change: fn(&mut runtrail::source::SourceSettings)| {
        let mut settings = settings(url.clone());
        change(&mut settings);
        start(settings, 1, to.clone(), stopped.clone()).expect_err("it cannot work")
    };
    let wrong = error(|s| s.system = "nothing".to_owned());
    assert!(matches!(wrong, SourceError::System(_)), "{wrong}");
    let wrong = error(|s| s.feeds.clear());
    assert!(matches!(wrong, SourceError::NoFeed), "{wrong}");
    let wrong = error(|s| s.url = "http://a:b@h".parse().unwrap());
    assert!(matches!(wrong, SourceError::Url(_)), "{wrong}");
    let wrong = error(|s| s.tls.ca_file = Some("/nowhere".into()));
    assert!(matches!(wrong, SourceError::Tls(_)), "{wrong}");
    let tried = settings({
        let mut url = url.clone();
        url.set_query(Some("token=hunter2"));
        url
    });
    let loss = try_once(&tried).await.unwrap_err();
    assert!(!loss.message.contains("hunter2"), "{}", loss.message);
}

#[tokio::test]
async fn ipv6_is_an_address_like_any_other() {
    let Ok(server) = Server::at((Ipv6Addr::LOCALHOST, 0).into()).await else {
        eprintln!("skipped: there is no IPv6 loopback here");
        return;
    };
    let mut source = Source::new(settings(server.url()));
    source.resume("").await;
    let (request, _connection) = server.answer(FEED).await;
    let host = request.header("host").unwrap();
    assert!(host.starts_with("[::1]:"), "{host}");
    source.connected().await;
}

#[tokio::test]
async fn when_nobody_takes_the_server_cannot_send() {
    let server = Server::new().await;
    let mut source = Source::with_room(settings(server.url()), 2);
    source.resume("").await;
    let (_, mut connection) = server.answer(FEED).await;
    let part = vec![b':'; 1 << 20];
    let mut sent = 0;
    // The kernel's buffers and ours take some; then it stalls. What is sent
    // without end would be 256 MiB.
    while sent < 256 << 20 {
        use tokio::io::AsyncWriteExt;
        let write = connection.stream.write(&part);
        match tokio::time::timeout(Duration::from_millis(500), write).await {
            Ok(written) => sent += written.unwrap(),
            Err(_) => break,
        }
    }
    assert!(sent < 256 << 20, "all of it was taken");
    drop(connection);
    source.connected().await;
    let mut taken = 0;
    loop {
        match source.news().await {
            FeedNews::Bytes(bytes) => {
                assert!(bytes.len() <= runtrail::limits::FEED_PIECE_BYTES_MAX);
                taken += bytes.len();
            }
            FeedNews::Lost(_) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(taken, sent, "and nothing of it was lost");
}

#[tokio::test]
async fn a_word_ends_it_whatever_it_is_doing() {
    let server = Server::new().await;
    let mut waiting = settings(server.url());
    waiting.refused_wait = Duration::from_secs(3_000);
    let stopped = async |mut source: Source| {
        source.stop.send(true).unwrap();
        while soon(source.tasks.join_next()).await.is_some() {}
        while soon(source.news.recv()).await.is_some() {}
    };
    // Asking.
    stopped(Source::new(waiting.clone())).await;
    // Connecting.
    let mut source = Source::new(waiting.clone());
    source.resume("").await;
    let connection = server.accept().await;
    stopped(source).await;
    connection.closed().await;
    // Reading.
    let mut source = Source::new(waiting.clone());
    source.resume("").await;
    let (_, connection) = server.answer(FEED).await;
    source.connected().await;
    stopped(source).await;
    connection.closed().await;
    // Handing on to nobody.
    let mut source = Source::with_room(waiting.clone(), 1);
    source.resume("").await;
    let (_, _connection) = server
        .answer(format!("{FEED}{}", ":".repeat(1 << 20)))
        .await;
    stopped(source).await;
    // Waiting.
    let mut source = Source::new(waiting.clone());
    source.resume("").await;
    let (_, _connection) = server.answer(status("403 Forbidden", "")).await;
    source.refused().await;
    source.resume("").await;
    stopped(source).await;
}

#[tokio::test]
async fn it_ends_by_itself_when_nobody_listens_or_could_stop_it() {
    let server = Server::new().await;
    let Source {
        news,
        stop,
        mut tasks,
    } = Source::new(settings(server.url()));
    drop(news);
    while soon(tasks.join_next()).await.is_some() {}
    drop(stop);
    let Source {
        news: _news,
        stop,
        mut tasks,
    } = Source::new(settings(server.url()));
    drop(stop);
    while soon(tasks.join_next()).await.is_some() {}
}

/// What a subscriber writes, for a look at it.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[tokio::test]
async fn the_log_tells_what_is_wrong_and_never_the_token() {
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let server = Server::new().await;
    let mut settings = settings(server.url());
    settings.token = Some(TokenSource::Value(Secret::new(TOKEN)));
    settings.feeds[0].project = Some(7);
    assert!(!format!("{settings:?}").contains("hunter2"));
    let mut source = Source::new(settings);
    for answer in ["401 Unauthorized", "401 Unauthorized", "503 Oh"] {
        source.resume("a cursor").await;
        let (request, _connection) = server.answer(status(answer, "")).await;
        assert!(!request.line.contains("hunter2"), "it is in a header only");
        let loss = source.refused().await;
        assert!(!format!("{loss:?}").contains("hunter2"));
    }
    source.resume("").await;
    let (_, _connection) = server.answer(FEED).await;
    source.connected().await;

    let log = written.text();
    assert!(!log.contains("hunter2"), "{log}");
    let count = |level: &str, text: &str| {
        let lines = log
            .lines()
            .filter(|line| line.contains(level) && line.contains(text));
        lines.count()
    };
    assert_eq!(count(" WARN ", "is AKRIBES_TOKEN current?"), 1, "{log}");
    assert_eq!(count("DEBUG ", "is AKRIBES_TOKEN current?"), 1, "{log}");
    assert_eq!(count(" WARN ", "project=7"), 2, "{log}");
    assert_eq!(count(" WARN ", "(503)"), 1, "{log}");
    assert_eq!(count(" INFO ", "connected to the event feed"), 1, "{log}");
}

mod tls {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

    use super::*;

    /// An acceptor with a certificate for 127.0.0.1, and the authority's as PEM.
    fn acceptor() -> (TlsAcceptor, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap();
        let issuer = Issuer::from_params(&params, &key);
        let own_key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let own = own.signed_by(&own_key, &issuer).unwrap();
        let own_key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own_key.serialize_der()));
        let provider = tokio_rustls::rustls::crypto::ring::default_provider();
        let mut config = ServerConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.der().clone()], own_key)
            .unwrap();
        // A server that would rather speak HTTP/2, which this one cannot.
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        (TlsAcceptor::from(Arc::new(config)), authority.pem())
    }

    #[tokio::test]
    async fn an_authority_that_was_given_is_trusted_and_no_other() {
        let (acceptor, authority) = acceptor();
        let folder = tempfile::tempdir().unwrap();
        let ca_file = folder.path().join("ca.pem");
        std::fs::write(&ca_file, authority).unwrap();
        let server = Server::new().await;
        let url = server.url().as_str().replace("http:", "https:");
        let mut settings = settings(url.parse().unwrap());

        let stranger = settings.clone();
        let trying = tokio::spawn(async move { try_once(&stranger).await });
        let stream = server.accept().await.stream;
        assert!(soon(acceptor.accept(stream)).await.is_err());
        let loss = trying.await.unwrap().unwrap_err();
        assert_eq!(loss.kind, LossKind::Unreachable);
        assert!(
            loss.message
                .ends_with("is its authority in the file that RUNTRAIL_SOURCE_CA_FILE names?"),
            "{}",
            loss.message
        );

        settings.tls.ca_file = Some(ca_file);
        let mut source = Source::new(settings);
        source.resume("").await;
        let stream = server.accept().await.stream;
        let stream = soon(acceptor.accept(stream)).await.unwrap();
        let mut connection = Connection::new(stream);
        connection.request().await;
        connection.send(format!("{FEED}data: 1\n\n")).await;
        source.connected().await;
        assert_eq!(source.bytes(9).await, b"data: 1\n\n");
    }
}

mod proxy {
    use super::*;

    /// Tries the feed that the environment names. Run by the test below, in a
    /// process of its own, since proxies come from the environment.
    #[tokio::test]
    #[ignore = "part of another test"]
    async fn child() {
        let url = std::env::var("TEST_FEED_URL").unwrap().parse().unwrap();
        let result = try_once(&settings(url)).await;
        println!("result: {result:?}");
    }

    #[tokio::test]
    async fn a_proxy_of_the_environment_is_used() {
        let proxy = Server::new().await;
        let program = std::env::current_exe().unwrap();
        let run = |answer: &'static str| {
            let mut command = std::process::Command::new(&program);
            command
                .args(["--exact", "proxy::child", "--ignored", "--nocapture"])
                .env("TEST_FEED_URL", "http://no-such-host.invalid/api")
                .env("http_proxy", proxy.url().as_str())
                .env_remove("no_proxy")
                .env_remove("NO_PROXY");
            let proxy = &proxy;
            async move {
                let output = tokio::task::spawn_blocking(move || command.output());
                let (request, connection) = proxy.answer(answer).await;
                drop(connection);
                let output = output.await.unwrap().unwrap();
                (request, String::from_utf8(output.stdout).unwrap())
            }
        };
        let (request, printed) = run(FEED).await;
        assert_eq!(
            request.line,
            "GET http://no-such-host.invalid/api/events HTTP/1.1"
        );
        assert!(printed.contains("result: Ok(())"), "{printed}");
        let (_, printed) = run("HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n").await;
        assert!(
            printed.contains("the proxy wants a name and a password"),
            "{printed}"
        );
    }
}
