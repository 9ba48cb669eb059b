//! A wrong set-up says so: the real binary, with everything that people get
//! wrong. `check` finds each thing before `run` does, in the same words.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod program;
mod receiver;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};

use runtrail::net::secret::Secret;
use runtrail::sim::settings::{Recording, SimToken};
use runtrail::sim::{SimHandle, SimServer, SimSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use self::program::{Program, eventually, get};
use self::receiver::tls::Authority;
use self::receiver::{Receiver, Reply, Wire};

type Variables = Vec<(&'static str, String)>;

const URL: &str = "AKRIBES_URL";
const TOKEN: &str = "AKRIBES_TOKEN";
const TOKEN_FILE: &str = "AKRIBES_TOKEN_FILE";
const PROJECT: &str = "AKRIBES_PROJECT_ID";
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";

/// What a program that has ended said.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn said(arguments: &[&str], variables: &Variables) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_runtrail"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().map(|(name, value)| (*name, value)))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Said {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Said {
    /// What the steps that failed say.
    fn failed(&self) -> Vec<&str> {
        let failed = self.out.lines().filter_map(|line| {
            let (_, step) = line.split_once("  FAIL  ")?;
            Some(step.get(10..).unwrap().trim())
        });
        failed.collect()
    }
}

fn start(variables: &Variables) -> Program {
    let variables: Vec<_> = variables.iter().map(|(n, v)| (*n, &**v)).collect();
    Program::start(&["run"], &variables)
}

/// Free ports, a quick end, and these.
fn with(variables: &[(&'static str, String)]) -> Variables {
    let mut all = vec![
        ("RUNTRAIL_LISTEN_METRICS", "127.0.0.1:0".to_owned()),
        ("RUNTRAIL_LISTEN_LOCAL", "127.0.0.1:0".to_owned()),
        ("RUNTRAIL_DRAIN_MAX", "1s".to_owned()),
    ];
    all.extend_from_slice(variables);
    all
}

fn pairs(variables: &[(&'static str, &str)]) -> Variables {
    let owned = variables
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()));
    owned.collect()
}

/// A server with one token for everything, and one for project 1 alone.
async fn server() -> SimHandle {
    let token = |token, projects| SimToken {
        token: Secret::new(token),
        projects,
    };
    let settings = SimSettings {
        tokens: vec![token("good", None), token("narrow", Some(vec![1]))],
        ..SimSettings::default()
    };
    SimServer::start(settings).await.unwrap()
}

/// A server that plays a recording, so that there are spans at once.
async fn recorded() -> SimHandle {
    let bytes = fs::read("examples/feeds/review.sse").unwrap();
    let settings = SimSettings {
        recording: Some(Recording {
            bytes: bytes.into(),
            stays_open: true,
        }),
        ..SimSettings::default()
    };
    SimServer::start(settings).await.unwrap()
}

/// Says this to whatever it is asked.
async fn web(answer: &'static str) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut head = [0; 4_096];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    address
}

/// A port at which nobody listens.
fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn what_cannot_be_meant_ends_both_with_2_and_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| file(folder.path(), name, text);
    let empty = file("empty", "\n");
    let words = file("words", "hunter2 hunter2\n");
    let misspelt = file("a.yaml", "source:\n  url: http://a\nlisten:\n  metric: 1\n");
    let list = file("b.yaml", "source:\n  url: [1]\n");
    let indented = file("c.yaml", "source:\n url: http://a\n  projects: 1\n");
    let amount = file("d.yaml", "memory_max: lots\nsource:\n  url: http://a\n");
    let a = (URL, "http://akribes:3001");
    let otlp = (ENDPOINT, "http://collector:4318");
    let config = "RUNTRAIL_CONFIG";
    for (variables, sentence) in [
        (
            &[][..],
            "source.url is not set: give it with --url, AKRIBES_URL, or in the file",
        ),
        (
            &[(URL, "akribes:3001")],
            "source.url (from AKRIBES_URL): is no URL: write http:// or https://",
        ),
        (
            &[(URL, "http://")],
            "source.url (from AKRIBES_URL): is no URL",
        ),
        (
            &[(URL, "ftp://akribes")],
            "it must begin with http:// or https://",
        ),
        (
            &[(URL, "http://me:hunter2@akribes")],
            "holds a user or password",
        ),
        (
            &[(URL, "http://akribes/?token=hunter2")],
            "write the server's base address only",
        ),
        (
            &[a, (PROJECT, "sales")],
            "`sales` is no project id: write a number, several, or all",
        ),
        (
            &[a, (TOKEN, "hunter2 hunter2")],
            "source.token (from AKRIBES_TOKEN): is no token",
        ),
        (
            &[a, (TOKEN_FILE, "/nowhere/token")],
            "cannot read the token file /nowhere/token: No such file",
        ),
        (
            &[a, (TOKEN_FILE, "/")],
            "cannot read the token file /: Is a directory",
        ),
        (&[a, (TOKEN_FILE, &empty)], "/empty is empty"),
        (
            &[a, (TOKEN_FILE, &words)],
            "/words is no token: it has spaces",
        ),
        (
            &[a, (TOKEN_FILE, &words), (TOKEN, "x")],
            "one of them is enough",
        ),
        (
            &[(config, &misspelt)],
            "a.yaml:4:3: there is no key `listen.metric`: did you mean `listen.metrics`?",
        ),
        (
            &[(config, &list)],
            "b.yaml:2:8: source.url: one value must stand here",
        ),
        (&[(config, &indented)], "c.yaml:3:11: this is no YAML"),
        (&[(config, &amount)], "memory_max (from "),
        (
            &[(config, &amount)],
            "d.yaml:1:1): `lots` is no size: write 64MiB",
        ),
        (
            &[(config, "/nowhere.yaml")],
            "cannot read the configuration file /nowhere.yaml",
        ),
        (
            &[a, ("RUNTRAIL_REDACT", "(")],
            "the redaction rule `(` is not a regular expression",
        ),
        (
            &[a, ("RUST_LOG", "loud")],
            "log.level (from RUST_LOG): `loud` is no level: write one of off, error",
        ),
        (&[a, ("RUST_LOG", "inof")], "did you mean `info`?"),
        (&[a, ("RUST_LOG", "a=b=c")], "`a=b=c` is no filter of logs"),
        (
            &[a, ("RUNTRAIL_SOURCE_CA_FILE", "/nowhere.pem")],
            "source.ca_file (from RUNTRAIL_SOURCE_CA_FILE): cannot read /nowhere.pem",
        ),
        (
            &[a, ("RUNTRAIL_SOURCE_CA_FILE", &words)],
            "/words holds no PEM certificate",
        ),
        (
            &[a, ("RUNTRAIL_SOURCE_CLIENT_CERTIFICATE_FILE", &words)],
            "give source.client_key_file too",
        ),
        (
            &[a, otlp, ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere.pem")],
            "export.ca_file (from OTEL_EXPORTER_OTLP_CERTIFICATE): cannot read",
        ),
        (
            &[a, otlp, ("OTEL_EXPORTER_OTLP_CERTIFICATE", &words)],
            "holds no PEM certificate",
        ),
        (
            &[a, otlp, ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &words)],
            "give export.client_key_file too",
        ),
        (
            &[a, otlp, ("OTEL_EXPORTER_OTLP_CLIENT_KEY", &words)],
            "give export.client_certificate_file too",
        ),
        (
            &[a, (ENDPOINT, "collector:4318")],
            "export.endpoint (from OTEL_EXPORTER_OTLP_ENDPOINT): is no URL",
        ),
        (
            &[a, otlp, (PROTOCOL, "http/json")],
            "`http/json` is not spoken here: use `http/protobuf`",
        ),
        (
            &[a, otlp, (PROTOCOL, "grcp")],
            "`grcp` is none of `http/protobuf`, `grpc`",
        ),
        (
            &[a, otlp, ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2")],
            "entry 1 is no `key=value`",
        ),
        (
            &[a, ("RUNTRAIL_LISTEN_METRICS", "9464")],
            "listen.metrics (from RUNTRAIL_LISTEN_METRICS)",
        ),
        (
            &[a, ("RUNTRAIL_LISTEN_METRICS", "127.0.0.1:9465")],
            "127.0.0.1:9465 is taken by listen.metrics (127.0.0.1:9465): give each a port of its own",
        ),
        (
            &[a, ("RUNTRAIL_LISTEN_METRICS", "0.0.0.0:9465")],
            "127.0.0.1:9465 is taken by listen.metrics (0.0.0.0:9465)",
        ),
        (
            &[a, ("RUNTRAIL_LISTEN_LOCAL", "0.0.0.0:9465")],
            "the API needs a token: set listen.local_token_file",
        ),
        (
            &[a, ("RUNTRAIL_SOURCE_SYSTEM", "axon")],
            "`axon` is no system that is known: known are `akribes`",
        ),
    ] {
        for command in ["check", "run"] {
            let said = said(&[command], &pairs(variables));
            assert_eq!(
                said.code,
                Some(2),
                "{variables:?}: {}{}",
                said.out,
                said.err
            );
            assert!(said.err.starts_with("runtrail: "), "{}", said.err);
            assert!(said.err.contains(sentence), "{sentence}: {}", said.err);
            assert_eq!(said.err.lines().count(), 1, "{}", said.err);
            assert_eq!(said.out, "");
            assert!(!said.err.contains("hunter2"), "{}", said.err);
        }
    }
}

#[test]
fn a_flag_that_there_is_not_ends_both_with_2_and_names_the_one_that_there_is() {
    for command in ["check", "run"] {
        let said = said(&[command, "--tokn-file", "x"], &Vec::new());
        assert_eq!(said.code, Some(2));
        assert!(said.err.contains("'--token-file'"), "{}", said.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_beyond_memory_max_end_both_with_2_and_say_what_would_do() {
    let server = server().await;
    let memory = |max: &str| {
        with(&pairs(&[
            (URL, &server.url()),
            (TOKEN, "good"),
            ("RUNTRAIL_MEMORY_MAX", max),
        ]))
    };
    let checked = said(&["check"], &memory("32MiB"));
    let ran = said(&["run"], &memory("32MiB"));
    for said in [&checked, &ran] {
        assert_eq!(said.code, Some(2), "{}", said.err);
    }
    let [sentence] = checked.failed()[..] else {
        panic!("{}", checked.out);
    };
    assert_eq!(checked.err, format!("runtrail: {sentence}\n"));
    assert_eq!(ran.err.lines().last(), checked.err.lines().last());
    // What it asks for is enough.
    let (_, rest) = sentence.split_once("raise memory_max to ").unwrap();
    let (enough, _) = rest.split_once(' ').unwrap();
    let checked = said(&["check"], &memory(enough));
    assert_eq!(checked.code, Some(0), "{}", checked.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_set_up_is_told_back_and_leaves_nothing_behind() {
    let server = server().await;
    let receiver = Receiver::start(Wire::Http).await;
    let variables = with(&pairs(&[
        (URL, &server.url()),
        (TOKEN, "good"),
        (ENDPOINT, &format!("http://{}", receiver.addr)),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=Bearer%20hunter2",
        ),
    ]));
    let said = said(&["check"], &variables);
    assert_eq!((said.code, &*said.err), (Some(0), ""), "{}", said.out);
    for line in [
        format!("source.url       {}  (from AKRIBES_URL)", server.url()),
        "source.token     [secret]  (from AKRIBES_TOKEN)".to_owned(),
        "export.headers   authorization=[secret]  (from OTEL_EXPORTER_OTLP_HEADERS)".to_owned(),
        format!("  ok    server     {} sends its feed", server.url()),
        format!(
            "  ok    backend    http://{}/v1/traces takes spans",
            receiver.addr
        ),
        "all is well: `runtrail run` would work".to_owned(),
    ] {
        let is_it = |said: &str| said.split_whitespace().eq(line.split_whitespace());
        assert!(said.out.lines().any(is_it), "{line}: {}", said.out);
    }
    assert!(!said.out.contains("hunter2") && !said.out.contains("good"));
    assert!(!said.out.contains("\n\n\n"), "{}", said.out);
    server.wait_for_feeds(0).await;
    let [probe] = &receiver.received()[..] else {
        panic!("one request is enough to know");
    };
    assert_eq!(probe.spans().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_ends_both_with_1_and_names_the_key() {
    let server = server().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for (variable, key) in [
        ("RUNTRAIL_LISTEN_METRICS", "listen.metrics"),
        ("RUNTRAIL_LISTEN_LOCAL", "listen.local"),
    ] {
        let mut variables = with(&pairs(&[(URL, &server.url()), (TOKEN, "good")]));
        variables.push((variable, address.to_string()));
        let sentence = format!(
            "cannot listen on {address}: Address already in use (os error 98); choose another address with {key}"
        );
        let checked = said(&["check"], &variables);
        assert_eq!(checked.code, Some(1), "{}", checked.out);
        assert_eq!(checked.failed(), [&*sentence]);
        assert_eq!(checked.err, format!("runtrail: {sentence}\n"));
        let ran = said(&["run"], &variables);
        assert_eq!(ran.code, Some(1), "{}", ran.err);
        assert_eq!(
            ran.err.lines().last(),
            Some(&*format!("runtrail: {sentence}"))
        );
    }
}

/// `check` finds it, and ends with 1; `run` says the same once, and goes on
/// listening: the program as it runs then.
fn is_found_and_survived(variables: &Variables, sentence: &str) -> (Program, SocketAddr) {
    let checked = said(&["check"], variables);
    assert_eq!(
        checked.code,
        Some(1),
        "{sentence}: {}{}",
        checked.out,
        checked.err
    );
    let [failed] = checked.failed()[..] else {
        panic!("{sentence}: {}", checked.out);
    };
    assert!(failed.contains(sentence), "{sentence}: {failed}");
    assert_eq!(checked.err, format!("runtrail: {failed}\n"));

    let program = start(variables);
    let line = program.line_with("\"level\":\"WARN\",\"message\":\"no event feed");
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["message"], format!("no event feed: {failed}"));
    let [metrics, _] = program.listeners();
    assert_eq!(get(metrics, "/readyz", "").0, 200);
    (program, metrics)
}

fn shows(metrics: SocketAddr, line: &str) {
    eventually(line, || {
        let (_, page) = get(metrics, "/metrics", "");
        page.lines().any(|shown| shown == line).then_some(())
    });
}

fn ends(program: Program, sentence: &str, code: i32) {
    program.signal("TERM");
    let ended = program.ended();
    assert_eq!(ended.code, Some(code), "{}", ended.text);
    let times = ended
        .text
        .lines()
        .filter(|line| line.contains(sentence) && line.contains("WARN"));
    assert_eq!(times.count(), 1, "{}", ended.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_with_the_server_is_found_by_check_and_survived_by_run() {
    let server = server().await;
    let missing =
        web("HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
    let page = web("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/html\r\ncontent-length: 5\r\n\r\nhello").await;
    let authority = Authority::new();
    let tls = Receiver::over_tls(Wire::Http, authority.server("localhost")).await;
    let hanging_up = web("").await;
    let (url, nobody) = (server.url(), nobody());
    let [at_nobody, at_missing, at_page, at_hanging_up] =
        [nobody, missing, page, hanging_up].map(|a| format!("http://{a}"));
    let not_tls = url.replace("http:", "https:");
    let (with_tls, without_tls) = (
        format!("https://localhost:{}", tls.addr.port()),
        format!("http://localhost:{}", tls.addr.port()),
    );
    let refused = "runtrail_source_paused{reason=\"refused\"} 1";
    let waits = "runtrail_source_paused{reason=\"refused\"} 0";
    for (variables, sentence, paused) in [
        (
            vec![(URL, &*at_nobody)],
            "is the server up, and the port in the URL right?",
            waits,
        ),
        (
            vec![(URL, "http://akribes.invalid")],
            "is the name in the URL right?",
            waits,
        ),
        (
            vec![(URL, &at_missing)],
            "(404): is that the base URL of the server?",
            refused,
        ),
        (
            vec![(URL, &at_page)],
            "this is a web page, not an event feed",
            refused,
        ),
        (
            vec![(URL, &url)],
            "wants a token (401), and none is given: set AKRIBES_TOKEN or AKRIBES_TOKEN_FILE",
            refused,
        ),
        (
            vec![(URL, &url), (TOKEN, "hunter2")],
            "refuses the token (401): is AKRIBES_TOKEN current?",
            refused,
        ),
        (
            vec![(URL, &url), (TOKEN, "narrow"), (PROJECT, "2")],
            "refuses project 2 to this token (403)",
            refused,
        ),
        (
            vec![(URL, &url), (TOKEN, "good"), (PROJECT, "99")],
            "no event feed of project 99",
            refused,
        ),
        (
            vec![(URL, &not_tls)],
            "should the URL begin with http?",
            waits,
        ),
        (
            vec![(URL, &with_tls)],
            "the file that RUNTRAIL_SOURCE_CA_FILE names?",
            waits,
        ),
        (
            vec![(URL, &at_hanging_up)],
            "should the URL begin with https?",
            waits,
        ),
        (
            vec![(URL, &without_tls)],
            "should the URL begin with https?",
            waits,
        ),
    ] {
        let (program, metrics) = is_found_and_survived(&with(&pairs(&variables)), sentence);
        shows(metrics, "runtrail_source_connected 0");
        shows(metrics, paused);
        assert!(!program.text().contains("hunter2"));
        ends(program, "no event feed: ", 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_token_in_the_file_ends_a_refusal() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let token = file(folder.path(), "token", "hunter2\n");
    let variables = with(&pairs(&[(URL, &server.url()), (TOKEN_FILE, &token)]));
    let sentence = format!("refuses the token (401): is the one in {token} current?");
    let (program, metrics) = is_found_and_survived(&variables, &sentence);
    shows(metrics, "runtrail_source_paused{reason=\"refused\"} 1");
    fs::write(&token, "good\n").unwrap();
    program.line_with("connected to the event feed");
    shows(metrics, "runtrail_source_connected 1");
    shows(metrics, "runtrail_source_paused{reason=\"refused\"} 0");
    ends(program, "no event feed: ", 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_later_is_found() {
    let address = nobody();
    let url = format!("http://{address}");
    let variables = with(&pairs(&[(URL, &url), (TOKEN, "sim-token")]));
    let (program, metrics) = is_found_and_survived(&variables, "is the server up");
    let settings = SimSettings {
        listen: address,
        ..SimSettings::default()
    };
    let server = SimServer::start(settings).await.unwrap();
    program.line_with("connected to the event feed");
    shows(metrics, "runtrail_source_connected 1");
    ends(program, "no event feed: ", 0);
    server.stop().await;
}

/// `check` finds it, and ends with 1; `run` says the same once when it has a
/// span to send, and keeps it.
fn backend_is_found_and_survived(server: &str, variables: &[(&'static str, &str)], sentence: &str) {
    let mut all = with(&pairs(&[(URL, server), (TOKEN, "sim-token")]));
    all.extend(pairs(variables));
    let checked = said(&["check"], &all);
    assert_eq!(
        checked.code,
        Some(1),
        "{sentence}: {}{}",
        checked.out,
        checked.err
    );
    let [failed] = checked.failed()[..] else {
        panic!("{sentence}: {}", checked.out);
    };
    assert!(failed.contains(sentence), "{sentence}: {failed}");
    assert_eq!(checked.err, format!("runtrail: {failed}\n"));

    let program = start(&all);
    let line = program.line_with("spans wait for the trace backend: ");
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&line["level"], &line["message"]),
        (
            &"WARN".into(),
            &format!("spans wait for the trace backend: {failed}").into()
        )
    );
    let [metrics, _] = program.listeners();
    assert_eq!(get(metrics, "/readyz", "").0, 200);
    shows(metrics, "runtrail_source_connected 1");
    program.signal("TERM");
    let ended = program.ended();
    assert_eq!(ended.code, Some(1), "{}", ended.text);
    assert_eq!(
        ended
            .text
            .matches("spans wait for the trace backend")
            .count(),
        1,
        "{}",
        ended.text
    );
    assert!(
        ended.text.lines().last().unwrap().contains("left behind"),
        "{}",
        ended.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_with_the_backend_is_found_by_check_and_survived_by_run() {
    let server = recorded().await;
    let refusing = Receiver::scripted(Wire::Http, |_| Reply::status(401)).await;
    let missing =
        web("HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
    let page = web("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/html\r\ncontent-length: 5\r\n\r\nhello").await;
    let [http, grpc] = [
        Receiver::start(Wire::Http).await,
        Receiver::start(Wire::Grpc).await,
    ];
    let authority = Authority::new();
    let tls = Receiver::over_tls(Wire::Http, authority.server("localhost")).await;
    let at = |address: SocketAddr| format!("http://{address}");
    let at_tls = |receiver: &Receiver| format!("https://localhost:{}", receiver.addr.port());
    // Each has to wait for spans, and then for a drain.
    let mut rows = JoinSet::new();
    for (endpoint, protocol, sentence) in [
        (
            at(nobody()),
            "http/protobuf",
            "start the backend, or correct OTEL_EXPORTER_OTLP_ENDPOINT",
        ),
        (
            at(nobody()),
            "grpc",
            "start the backend, or correct OTEL_EXPORTER_OTLP_ENDPOINT",
        ),
        (
            "http://collector.invalid:4318".to_owned(),
            "http/protobuf",
            "the name collector.invalid does not resolve",
        ),
        (
            at(refusing.addr),
            "http/protobuf",
            "answers 401 Unauthorized: check the token in OTEL_EXPORTER_OTLP_HEADERS",
        ),
        (
            at(missing),
            "http/protobuf",
            "answers 404 Not Found: correct the host and the path",
        ),
        (at(page), "http/protobuf", "answers with a web page"),
        (
            at(grpc.addr),
            "http/protobuf",
            "so set OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
        ),
        (
            at(http.addr),
            "grpc",
            "so set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
        ),
        (at_tls(&tls), "http/protobuf", "is not trusted"),
        (
            at_tls(&http).replace("localhost", "127.0.0.1"),
            "http/protobuf",
            "does not speak TLS",
        ),
    ] {
        let url = server.url();
        rows.spawn_blocking(move || {
            let variables = [(ENDPOINT, &*endpoint), (PROTOCOL, protocol)];
            backend_is_found_and_survived(&url, &variables, sentence);
        });
    }
    rows.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_wants_a_certificate_is_told_of_by_check() {
    let server = recorded().await;
    let authority = Authority::new();
    let ca = authority.client().ca_file.unwrap().display().to_string();
    for (wire, protocol) in [(Wire::Http, "http/protobuf"), (Wire::Grpc, "grpc")] {
        let strict = Receiver::over_tls(wire, authority.strict_server("localhost")).await;
        let variables = with(&pairs(&[
            (URL, &server.url()),
            (TOKEN, "sim-token"),
            (
                ENDPOINT,
                &format!("https://localhost:{}", strict.addr.port()),
            ),
            (PROTOCOL, protocol),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", &ca),
        ]));
        let checked = said(&["check"], &variables);
        assert_eq!(checked.code, Some(1), "{}", checked.out);
        // TLS 1.3 refuses late: some clients see the reason, some a broken connection.
        assert!(
            checked.err.contains(
                "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY"
            ),
            "{}",
            checked.err
        );
    }
}
