//! The exporter against real sockets: a receiver that takes, refuses, is busy,
//! is slow, breaks, lies, goes away and comes back.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

mod receiver;

use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use runtrail::export::pack::pack;
use runtrail::export::{Compression, ExportSettings, ExportTally, Exporter, probe};
use runtrail::limits::Limits;
use runtrail::metrics::export::{ExportCounts, RefusalReason, RequestResult};
use runtrail::net::secret::Secret;
use runtrail::net::tls::TlsSettings;
use runtrail::store::files::{Disk, Files, Memory, StoreFile};
use runtrail::store::outbox::OutboxSettings;
use runtrail::store::quarantine::{self, QuarantineSettings};
use runtrail::store::{Outbox, Quarantine, StoreFailed};
use runtrail::trace::batch::{Batcher, ResourceInfo};
use runtrail::wire::time::Time;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use receiver::logs::Logs;
use receiver::relay::Relay;
use receiver::tls::Authority;
use receiver::{Received, Receiver, Reply, Wire, settings_to};

/// For this receiver, in the clear, with waits that a test need not notice.
fn settings(wire: Wire, receiver: &Receiver) -> ExportSettings {
    settings_to(wire, &format!("http://{}", receiver.addr))
}

fn span(name: &str) -> Span {
    Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: name.to_owned(),
        ..Span::default()
    }
}

/// An exporter at work.
struct Bench {
    outbox: Arc<Outbox>,
    tally: Arc<ExportTally>,
    compression: Compression,
    task: JoinHandle<Result<(), StoreFailed>>,
}

/// An outbox on these files.
fn outbox(files: Arc<dyn Files>) -> Arc<Outbox> {
    let settings = OutboxSettings::new(64 << 20, &Limits::default());
    Arc::new(Outbox::open(files, settings).unwrap().0)
}

impl Bench {
    fn start(settings: ExportSettings) -> Self {
        Self::start_with(settings, outbox(Arc::new(Memory::new())))
    }

    fn start_with(settings: ExportSettings, outbox: Arc<Outbox>) -> Self {
        Self::start_beside(settings, outbox, None)
    }

    fn start_beside(
        settings: ExportSettings,
        outbox: Arc<Outbox>,
        quarantine: Option<Arc<Quarantine>>,
    ) -> Self {
        let tally = Arc::new(ExportTally::default());
        let compression = settings.compression;
        let exporter = Exporter::new(settings).expect("sound settings");
        let task = tokio::spawn(exporter.run(Arc::clone(&outbox), quarantine, Arc::clone(&tally)));
        Self {
            outbox,
            tally,
            compression,
            task,
        }
    }

    /// One batch of spans with these names.
    fn push(&self, names: &[&str]) {
        let mut batcher = Batcher::new(&ResourceInfo::default(), &Limits::default());
        for name in names {
            batcher.push(&span(name).encode_to_vec(), 0, Time(1));
        }
        let packed = pack(batcher.flush().unwrap(), self.compression);
        self.outbox.push(&packed, 1, true, Time(1)).unwrap();
    }

    /// Waits until everything was sent, and tells what was counted.
    async fn finish(self) -> ExportCounts {
        self.outbox.close();
        let end = tokio::time::timeout(Duration::from_secs(60), self.task);
        end.await
            .expect("it comes to an end")
            .expect("it ends well")
            .expect("the store holds");
        assert!(self.outbox.is_drained());
        self.tally.counts()
    }
}

/// Sends one batch to a receiver that answers so first, and then takes it.
async fn sent_twice(wire: Wire, first: Reply) -> (ExportCounts, Vec<Received>) {
    let receiver = Receiver::scripted(wire, move |request| match request.number {
        0 => first.clone(),
        _ => Reply::Take,
    })
    .await;
    let bench = Bench::start(settings(wire, &receiver));
    bench.push(&["a", "b"]);
    let counts = bench.finish().await;
    (counts, receiver.received())
}

/// What a batch of four spans comes to, when one of them is refused so.
async fn with_a_guilty_span(wire: Wire, refusal: Reply) -> (ExportCounts, Vec<String>) {
    let receiver = Receiver::scripted(wire, move |request| {
        match request.names().contains(&"guilty") {
            true => refusal.clone(),
            false => Reply::Take,
        }
    })
    .await;
    let bench = Bench::start(settings(wire, &receiver));
    bench.push(&["a", "b", "guilty", "c"]);
    let counts = bench.finish().await;
    let mut names: Vec<_> = receiver
        .spans(3)
        .await
        .into_iter()
        .map(|s| s.name)
        .collect();
    names.sort();
    (counts, names)
}

#[tokio::test]
async fn spans_arrive_as_they_were_however_they_travel() {
    let authority = Authority::new();
    for wire in [Wire::Http, Wire::Grpc] {
        for compression in [Compression::Gzip, Compression::None] {
            for tls in ["none", "server", "both"] {
                let (receiver, settings) = match tls {
                    "none" => {
                        let receiver = Receiver::start(wire).await;
                        let settings = settings(wire, &receiver);
                        (receiver, settings)
                    }
                    _ => {
                        let (server, client) = match tls {
                            "server" => (authority.server("localhost"), authority.client()),
                            _ => (
                                authority.strict_server("localhost"),
                                authority.known_client(),
                            ),
                        };
                        let receiver = Receiver::over_tls(wire, server).await;
                        let origin = format!("https://localhost:{}", receiver.addr.port());
                        let settings = settings_to(wire, &origin);
                        (
                            receiver,
                            ExportSettings {
                                tls: client,
                                ..settings
                            },
                        )
                    }
                };
                let bench = Bench::start(ExportSettings {
                    compression,
                    ..settings
                });
                bench.push(&["a", "b"]);
                bench.push(&["c"]);
                let counts = bench.finish().await;
                let case = format!("{wire:?} {compression:?} {tls}");
                let mut spans = receiver.spans(3).await;
                spans.sort_by(|a, b| a.name.cmp(&b.name));
                assert_eq!(spans, ["a", "b", "c"].map(span), "{case}");
                assert_eq!(counts.spans_exported, 3, "{case}");
                assert_eq!(counts.requests(RequestResult::Taken), 2, "{case}");
                assert!(counts.last_success.is_some(), "{case}");
            }
        }
    }
}

#[tokio::test]
async fn a_request_says_what_it_is() {
    for (wire, compression, path, expected) in [
        (
            Wire::Http,
            Compression::Gzip,
            "/v1/traces",
            &[
                ("content-type", "application/x-protobuf"),
                ("content-encoding", "gzip"),
            ][..],
        ),
        (
            Wire::Http,
            Compression::None,
            "/v1/traces",
            &[
                ("content-type", "application/x-protobuf"),
                ("content-encoding", ""),
            ][..],
        ),
        (
            Wire::Grpc,
            Compression::Gzip,
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            &[
                ("content-type", "application/grpc"),
                ("grpc-encoding", "gzip"),
                ("grpc-accept-encoding", "identity"),
                ("grpc-timeout", "30000m"),
                ("te", "trailers"),
            ][..],
        ),
        (
            Wire::Grpc,
            Compression::None,
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            &[("content-type", "application/grpc"), ("grpc-encoding", "")][..],
        ),
    ] {
        let receiver = Receiver::start(wire).await;
        let headers = [("x-tenant", "acme"), ("content-type", "text/plain")];
        let headers = headers.map(|(name, value)| (name.parse().unwrap(), Secret::new(value)));
        let bench = Bench::start(ExportSettings {
            compression,
            headers: headers.into(),
            ..settings(wire, &receiver)
        });
        bench.push(&["a"]);
        bench.finish().await;
        let request = receiver.requests(1).await.remove(0);
        assert_eq!(request.path, path);
        assert_eq!(request.header("x-tenant"), "acme");
        assert_eq!(request.headers.get_all("content-type").iter().count(), 1);
        assert!(request.header("user-agent").starts_with("runtrail/"));
        for (name, value) in expected {
            assert_eq!(request.header(name), *value, "{wire:?} {name}");
        }
    }
}

#[tokio::test]
async fn what_is_refused_for_now_is_sent_again() {
    for (status, result) in [
        (408, RequestResult::Busy),
        (429, RequestResult::Busy),
        (502, RequestResult::Busy),
        (503, RequestResult::Busy),
        (504, RequestResult::Busy),
        (500, RequestResult::Failed),
        (501, RequestResult::Failed),
        (302, RequestResult::RefusedRoute),
        (401, RequestResult::RefusedRoute),
        (403, RequestResult::RefusedRoute),
        (404, RequestResult::RefusedRoute),
        (405, RequestResult::RefusedRoute),
    ] {
        let (counts, received) = sent_twice(Wire::Http, Reply::status(status)).await;
        assert_eq!(counts.requests(result), 1, "{status}");
        assert_eq!((received.len(), counts.spans_exported), (2, 2), "{status}");
        assert_eq!(received[0].request, received[1].request, "{status}");
    }
    for (code, result) in [
        (1, RequestResult::Busy),
        (2, RequestResult::Failed),
        (4, RequestResult::TimedOut),
        (5, RequestResult::RefusedRoute),
        (6, RequestResult::Failed),
        (7, RequestResult::RefusedRoute),
        (9, RequestResult::Failed),
        (10, RequestResult::Busy),
        (11, RequestResult::Busy),
        (12, RequestResult::RefusedRoute),
        (13, RequestResult::Failed),
        (14, RequestResult::Busy),
        (15, RequestResult::Busy),
        (16, RequestResult::RefusedRoute),
    ] {
        let (counts, received) = sent_twice(Wire::Grpc, Reply::code(code)).await;
        assert_eq!(counts.requests(result), 1, "{code}");
        assert_eq!((received.len(), counts.spans_exported), (2, 2), "{code}");
        assert_eq!(received[0].request, received[1].request, "{code}");
    }
}

#[tokio::test]
async fn of_refused_data_only_the_span_at_fault_is_lost() {
    for (wire, refusal, reason) in [
        (Wire::Http, Reply::status(400), RefusalReason::Invalid),
        (Wire::Http, Reply::status(422), RefusalReason::Invalid),
        (Wire::Http, Reply::status(413), RefusalReason::TooLarge),
        (Wire::Grpc, Reply::code(3), RefusalReason::Invalid),
        (Wire::Grpc, Reply::code(8), RefusalReason::Exhausted),
    ] {
        let (counts, names) = with_a_guilty_span(wire, refusal.clone()).await;
        assert_eq!(names, ["a", "b", "c"], "{refusal:?}");
        assert_eq!(counts.refused(reason), 1, "{refusal:?}");
        assert_eq!(counts.spans_exported, 3, "{refusal:?}");
        // The four, then the two, then the one.
        assert_eq!(
            counts.requests(RequestResult::RefusedData),
            3,
            "{refusal:?}"
        );
    }
}

#[tokio::test]
async fn a_body_that_is_answered_by_a_page_stands_in_nobodys_way_and_only_its_span_is_set_aside() {
    // Both as a proxy says it of our certificate, and as a framework says it of data.
    for page in [
        "<html>400 Bad Request",
        "<html>400 The SSL certificate error",
    ] {
        let receiver = Receiver::scripted(Wire::Http, move |request| {
            let html = vec![("content-type", "text/html".to_owned())];
            match request.names().contains(&"guilty") {
                true => Reply::Status(400, html, page.to_owned()),
                false => Reply::Take,
            }
        })
        .await;
        let bench = Bench::start(settings(Wire::Http, &receiver));
        bench.push(&["a", "guilty"]);
        receiver.requests(1).await;
        for sent in 1.. {
            assert!(sent < 10_000, "it is never found out");
            bench.push(&["other"]);
            receiver.spans(sent).await;
            if bench.tally.counts().refused(RefusalReason::Failed) > 0 {
                break;
            }
        }
        let counts = bench.finish().await;
        assert_eq!(counts.refused(RefusalReason::Failed), 1, "{page}");
        assert_eq!(counts.requests(RequestResult::RefusedRoute), 0, "{page}");
        let spans = receiver.spans(1).await;
        let alone = spans.iter().filter(|span| span.name == "a");
        assert_eq!(alone.count(), 1, "{page}");
    }
}

/// `google.rpc.Status` with a `RetryInfo` of no time at all.
fn retry_info() -> Vec<u8> {
    let type_url = b"type.googleapis.com/google.rpc.RetryInfo";
    let mut detail = vec![0x0a, type_url.len() as u8];
    detail.extend_from_slice(type_url);
    detail.extend_from_slice(&[0x12, 2, 0x0a, 0]);
    let mut status = vec![0x1a, detail.len() as u8];
    status.extend(detail);
    status
}

#[tokio::test]
async fn who_says_when_to_come_again_is_asked_again() {
    let exhausted = Reply::Code(8, String::new(), retry_info());
    let (counts, _) = sent_twice(Wire::Grpc, exhausted).await;
    assert_eq!(counts.requests(RequestResult::Busy), 1);
    assert_eq!(counts.spans_exported, 2);
    for date in ["0", "Wed, 21 Oct 2015 07:28:00 GMT"] {
        let headers = vec![("retry-after", date.to_owned())];
        let busy = Reply::Status(503, headers, "busy".to_owned());
        let (counts, _) = sent_twice(Wire::Http, busy).await;
        assert_eq!(counts.requests(RequestResult::Busy), 1);
        assert_eq!(counts.spans_exported, 2);
    }
}

#[tokio::test]
async fn a_partial_success_is_counted_and_told_and_not_sent_again() {
    for wire in [Wire::Http, Wire::Grpc] {
        let logs = Logs::catch(tracing::Level::INFO);
        let (counts, received) = sent_twice(wire, Reply::Partial(1, "too\nold")).await;
        assert_eq!(received.len(), 1);
        assert_eq!(counts.requests(RequestResult::PartlyTaken), 1);
        assert_eq!(counts.spans_exported, 1);
        assert_eq!(counts.refused(RefusalReason::PartialSuccess), 1);
        let lines = logs.lines();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("\"too old\" rejected=1"), "{lines:?}");
    }
}

#[tokio::test]
async fn a_warning_is_told_and_costs_nothing() {
    for wire in [Wire::Http, Wire::Grpc] {
        let logs = Logs::catch(tracing::Level::INFO);
        let (counts, received) = sent_twice(wire, Reply::Partial(0, "mind the gap")).await;
        assert_eq!(received.len(), 1);
        assert_eq!(counts.requests(RequestResult::TakenWithWarning), 1);
        assert_eq!(counts.spans_exported, 2);
        assert!(logs.lines()[0].contains("mind the gap"));
    }
}

#[tokio::test]
async fn no_more_spans_are_rejected_than_there_were() {
    let (counts, _) = sent_twice(Wire::Http, Reply::Partial(i64::MAX, "all")).await;
    assert_eq!(counts.spans_exported, 0);
    assert_eq!(counts.refused(RefusalReason::PartialSuccess), 2);
}

#[tokio::test]
async fn a_request_that_is_not_answered_in_time_is_sent_again() {
    for wire in [Wire::Http, Wire::Grpc] {
        let receiver = Receiver::scripted(wire, |request| match request.number {
            0 => Reply::Never,
            _ => Reply::Take,
        })
        .await;
        let bench = Bench::start(ExportSettings {
            timeout: Duration::from_millis(300),
            ..settings(wire, &receiver)
        });
        bench.push(&["a"]);
        let counts = bench.finish().await;
        assert_eq!(counts.requests(RequestResult::TimedOut), 1, "{wire:?}");
        assert_eq!(counts.spans_exported, 1, "{wire:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_counts_if_its_verdict_had_come() {
    let (counts, received) = sent_twice(Wire::Http, Reply::Cut).await;
    assert_eq!(received.len(), 1, "the status stands before the body");
    assert_eq!(counts.spans_exported, 2);
    let (counts, received) = sent_twice(Wire::Grpc, Reply::Cut).await;
    assert_eq!(received.len(), 2, "the status stands behind the body");
    assert_eq!(counts.requests(RequestResult::Unreachable), 1);
    assert_eq!(counts.spans_exported, 2);
}

#[tokio::test]
async fn an_answer_of_a_hundred_megabytes_is_not_kept() {
    for wire in [Wire::Http, Wire::Grpc] {
        let (counts, received) = sent_twice(wire, Reply::Huge(100 << 20)).await;
        assert_eq!(received.len(), 1, "{wire:?}");
        assert_eq!(counts.requests(RequestResult::Taken), 1, "{wire:?}");
        assert_eq!(counts.spans_exported, 2, "{wire:?}");
    }
}

#[tokio::test]
async fn an_outage_is_a_few_lines_and_nothing_is_lost() {
    for wire in [Wire::Http, Wire::Grpc] {
        let logs = Logs::catch(tracing::Level::INFO);
        let mut receiver = Receiver::start(wire).await;
        let addr = receiver.addr;
        let bench = Bench::start(settings(wire, &receiver));
        bench.push(&["before"]);
        receiver.spans(1).await;
        receiver.stop().await;
        for name in ["a", "b", "c", "d", "e"] {
            bench.push(&[name]);
        }
        while bench.tally.counts().requests(RequestResult::Unreachable) < 20 {
            tokio::task::yield_now().await;
        }
        assert!(bench.outbox.status().batches >= 5);
        let receiver = Receiver::listen(addr, wire, None, |_| Reply::Take).await;
        let counts = bench.finish().await;
        let mut names: Vec<_> = receiver
            .spans(5)
            .await
            .into_iter()
            .map(|s| s.name)
            .collect();
        names.sort();
        assert_eq!(names, ["a", "b", "c", "d", "e"]);
        assert_eq!(counts.spans_exported, 6);
        let lines = logs.lines();
        let outage = lines
            .iter()
            .filter(|l| l.contains("nothing listens at http://127.0.0.1"));
        assert_eq!(outage.count(), 1, "{lines:#?}");
        assert!(
            lines.last().unwrap().contains("takes spans again"),
            "{lines:#?}"
        );
        assert!(lines.len() <= 4, "{lines:#?}");
    }
}

#[tokio::test]
async fn a_dropped_span_is_told_once_with_the_reason() {
    let logs = Logs::catch(tracing::Level::INFO);
    let bad = Reply::Status(400, Vec::new(), "span too odd".to_owned());
    let receiver = Receiver::scripted(Wire::Http, move |_| bad.clone()).await;
    let bench = Bench::start(settings(Wire::Http, &receiver));
    bench.push(&["a", "b", "c", "d"]);
    let counts = bench.finish().await;
    assert_eq!(counts.refused(RefusalReason::Invalid), 4);
    let lines = logs.lines();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("span too odd") && lines[0].contains("invalid"));
}

fn quarantine_in(files: &Arc<dyn Files>) -> Arc<Quarantine> {
    let settings = QuarantineSettings::new(64 << 20, &Limits::default());
    Arc::new(Quarantine::open(Arc::clone(files), settings).unwrap())
}

#[tokio::test]
async fn a_refused_span_is_in_quarantine_and_not_in_the_outbox_after_a_restart() {
    let logs = Logs::catch(tracing::Level::INFO);
    let directory = tempfile::tempdir().unwrap();
    let files: Arc<dyn Files> = Arc::new(Disk::open(directory.path()).unwrap());
    let receiver = Receiver::scripted(Wire::Http, |request| {
        match request.names().contains(&"guilty") {
            true => Reply::Status(400, Vec::new(), "span too odd".to_owned()),
            false => Reply::Take,
        }
    })
    .await;
    let quarantine = quarantine_in(&files);
    let settings = settings(Wire::Http, &receiver);
    let bench = Bench::start_beside(settings, outbox(Arc::clone(&files)), Some(quarantine));
    bench.push(&["a", "guilty", "b"]);
    assert_eq!(bench.finish().await.refused(RefusalReason::Invalid), 1);
    assert!(logs.lines()[0].contains("runtrail resend"));

    let listing = quarantine::list(Arc::clone(&files)).unwrap();
    assert_eq!((listing.batches, listing.spans), (1, 1));
    assert_eq!(listing.by_reason["invalid"], (1, "span too odd".to_owned()));
    let kept: Vec<_> = quarantine_in(&files).bodies().collect();
    let packed = &kept[0].as_ref().unwrap().packed;
    assert_eq!((kept.len(), packed.spans), (1, 1));
    assert_eq!(outbox(files).status().batches, 0);
}

#[tokio::test]
async fn what_was_not_taken_is_sent_after_a_restart_and_what_was_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let files: Arc<dyn Files> = Arc::new(Disk::open(directory.path()).unwrap());
    let receiver = Receiver::scripted(Wire::Grpc, |request| match request.number {
        1 => Reply::Never,
        _ => Reply::Take,
    })
    .await;
    let one_by_one = ExportSettings {
        in_flight_max: 1,
        ..settings(Wire::Grpc, &receiver)
    };
    let bench = Bench::start_with(one_by_one.clone(), outbox(Arc::clone(&files)));
    for name in ["a", "b", "c"] {
        bench.push(&[name]);
    }
    // The first was acknowledged before the second was sent.
    receiver.requests(2).await;
    bench.task.abort();
    let _ = bench.task.await;
    drop(bench.outbox);
    let bench = Bench::start_with(one_by_one, outbox(files));
    assert_eq!(bench.finish().await.spans_exported, 2);
    let names = receiver.received();
    let names: Vec<_> = names.iter().flat_map(|r| r.names()).collect();
    assert_eq!(
        names,
        ["a", "b", "b", "c"],
        "what was on its way is sent again"
    );
}

/// Files whose syncs wait while the gate is shut.
#[derive(Debug, Default)]
struct Slow {
    files: Memory,
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    is_shut: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn shut(&self, is_shut: bool) {
        *self.is_shut.lock().unwrap() = is_shut;
        self.opened.notify_all();
    }
}

impl Slow {
    fn slow(&self, file: Box<dyn StoreFile>) -> Box<dyn StoreFile> {
        Box::new(SlowFile(file, Arc::clone(&self.gate)))
    }
}

impl Files for Slow {
    fn list(&self) -> io::Result<Vec<String>> {
        self.files.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StoreFile>> {
        Ok(self.slow(self.files.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StoreFile>> {
        Ok(self.slow(self.files.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.files.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.files.sync_dir()
    }
}

#[derive(Debug)]
struct SlowFile(Box<dyn StoreFile>, Arc<Gate>);

impl StoreFile for SlowFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.append(bytes)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, into)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.truncate(len)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        let shut = self.1.is_shut.lock().unwrap();
        let _open = self.1.opened.wait_while(shut, |shut| *shut).unwrap();
        self.0.sync_data()
    }
}

#[tokio::test]
async fn what_was_taken_counts_as_on_its_way_until_that_is_on_disk() {
    let receiver = Receiver::start(Wire::Http).await;
    let files = Slow::default();
    let gate = Arc::clone(&files.gate);
    let two_at_once = settings(Wire::Http, &receiver);
    let bench = Bench::start_with(two_at_once, outbox(Arc::new(files)));
    bench.push(&["first"]);
    receiver.requests(1).await;
    while bench.outbox.status().batches > 0 {
        tokio::task::yield_now().await;
    }
    for name in ["a", "b", "c", "d"] {
        bench.push(&[name]);
    }
    gate.shut(true);
    while bench.tally.counts().requests(RequestResult::Taken) < 3 {
        tokio::task::yield_now().await;
    }
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(receiver.received().len(), 3, "there is no place for more");
    assert_eq!(bench.outbox.status().batches, 4);
    gate.shut(false);
    assert_eq!(bench.finish().await.spans_exported, 5);
}

#[tokio::test]
async fn nothing_that_is_logged_holds_a_header_or_a_span() {
    let logs = Logs::catch(tracing::Level::TRACE);
    for wire in [Wire::Http, Wire::Grpc] {
        let receiver = Receiver::scripted(wire, move |request| match (request.number, wire) {
            (0, Wire::Http) => Reply::status(401),
            (0, Wire::Grpc) => Reply::code(16),
            _ => Reply::Take,
        })
        .await;
        let settings = settings(wire, &receiver);
        assert!(!format!("{settings:?}").contains("hunter2"));
        let bench = Bench::start(ExportSettings {
            headers: vec![(
                "authorization".parse().unwrap(),
                Secret::new("Bearer hunter2"),
            )],
            ..settings
        });
        bench.push(&["private"]);
        bench.finish().await;
        assert_eq!(
            receiver.requests(2).await[1].header("authorization"),
            "Bearer hunter2"
        );
    }
    let all = logs.all();
    assert!(all.contains("OTEL_EXPORTER_OTLP_HEADERS"), "{all}");
    for secret in ["hunter2", "private"] {
        let line = all.lines().find(|line| line.contains(secret));
        assert_eq!(line, None);
    }
}

#[tokio::test]
async fn a_connection_that_is_dead_is_not_used_again() {
    for wire in [Wire::Http, Wire::Grpc] {
        let receiver = Receiver::start(wire).await;
        let relay = Relay::to(receiver.addr).await;
        let bench = Bench::start(ExportSettings {
            timeout: Duration::from_millis(300),
            ..settings_to(wire, &format!("http://{}", relay.addr))
        });
        bench.push(&["a"]);
        receiver.spans(1).await;
        relay.swallow();
        bench.push(&["b"]);
        let counts = bench.finish().await;
        assert_eq!(counts.spans_exported, 2, "{wire:?}");
        assert!(counts.requests(RequestResult::TimedOut) >= 1, "{wire:?}");
    }
}

#[tokio::test]
async fn no_more_requests_are_on_their_way_than_allowed() {
    let receiver = Receiver::scripted(Wire::Http, |request| match request.number {
        0..4 => Reply::Never,
        _ => Reply::Take,
    })
    .await;
    let bench = Bench::start(ExportSettings {
        timeout: Duration::from_millis(500),
        ..settings(Wire::Http, &receiver)
    });
    for name in ["a", "b", "c", "d"] {
        bench.push(&[name]);
    }
    receiver.requests(2).await;
    // Two more would have come with these.
    assert_eq!(bench.tally.counts().requests(RequestResult::TimedOut), 0);
    assert_eq!(receiver.received().len(), 2);
    let counts = bench.finish().await;
    assert_eq!(counts.spans_exported, 4);
}

#[tokio::test]
async fn what_was_not_sent_stays_for_another_exporter() {
    let receiver = Receiver::scripted(Wire::Grpc, |request| match request.number {
        0 => Reply::Never,
        _ => Reply::Take,
    })
    .await;
    let bench = Bench::start(settings(Wire::Grpc, &receiver));
    bench.push(&["a"]);
    receiver.requests(1).await;
    bench.task.abort();
    let _ = bench.task.await;
    assert_eq!(bench.outbox.status().batches, 1);
    let bench = Bench::start_with(settings(Wire::Grpc, &receiver), bench.outbox);
    assert_eq!(bench.finish().await.spans_exported, 1);
}

#[tokio::test]
async fn at_the_end_a_paused_exporter_tries_once_more_at_once() {
    let receiver = Receiver::scripted(Wire::Http, |request| match request.number {
        0 => Reply::status(401),
        _ => Reply::Take,
    })
    .await;
    let bench = Bench::start(ExportSettings {
        probe_wait: Duration::from_secs(86_400),
        ..settings(Wire::Http, &receiver)
    });
    bench.push(&["a"]);
    while bench.tally.counts().requests(RequestResult::RefusedRoute) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.finish().await.spans_exported, 1);
}

/// What `runtrail check` says.
async fn said(settings: ExportSettings) -> String {
    match probe(&settings).await {
        Ok(answer) => format!("ok: {}", answer.remark.unwrap_or_default()),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_probe_finds_a_backend_that_takes_spans() {
    for wire in [Wire::Http, Wire::Grpc] {
        let receiver = Receiver::start(wire).await;
        let settings = settings(wire, &receiver);
        let answer = probe(&settings).await.unwrap();
        let endpoint = settings.endpoint.to_string();
        assert_eq!(answer.endpoint, endpoint.trim_end_matches('/'));
        assert_eq!(answer.remark, None);
        let received = receiver.received();
        assert_eq!((received.len(), received[0].spans().count()), (1, 0));
    }
    let receiver = Receiver::scripted(Wire::Http, |_| Reply::status(400)).await;
    let said = said(settings(Wire::Http, &receiver)).await;
    assert!(
        said.starts_with("ok: it does not take a request without spans"),
        "{said}"
    );
}

#[tokio::test]
async fn a_probe_says_that_nothing_listens_or_that_there_is_no_such_host() {
    let mut receiver = Receiver::start(Wire::Http).await;
    receiver.stop().await;
    for wire in [Wire::Http, Wire::Grpc] {
        let settings = settings(wire, &receiver);
        let endpoint = settings.endpoint.to_string();
        let expected = format!(
            "nothing listens at {}: start the backend, or correct OTEL_EXPORTER_OTLP_ENDPOINT",
            endpoint.trim_end_matches('/')
        );
        assert_eq!(said(settings).await, expected);
        assert_eq!(
            said(settings_to(wire, "http://nowhere.invalid:4318")).await,
            "the name nowhere.invalid does not resolve: correct OTEL_EXPORTER_OTLP_ENDPOINT, or see to the DNS"
        );
    }
}

#[tokio::test]
async fn a_probe_says_what_is_wrong_with_tls() {
    let authority = Authority::new();
    for wire in [Wire::Http, Wire::Grpc] {
        let plain = Receiver::start(wire).await;
        let strict = Receiver::over_tls(wire, authority.strict_server("localhost")).await;
        let open = Receiver::over_tls(wire, authority.server("localhost")).await;
        let other = Receiver::over_tls(wire, authority.server("other.test")).await;
        for (receiver, tls, problem, remedy) in [
            (
                &open,
                TlsSettings::default(),
                "is not trusted",
                "OTEL_EXPORTER_OTLP_CERTIFICATE",
            ),
            (
                &other,
                authority.client(),
                "for another name",
                "OTEL_EXPORTER_OTLP_ENDPOINT",
            ),
            (
                &strict,
                authority.client(),
                "client certificate",
                "OTEL_EXPORTER_OTLP_CLIENT_KEY",
            ),
            (&plain, authority.client(), "does not speak TLS", "http://"),
        ] {
            let origin = format!("https://localhost:{}", receiver.addr.port());
            let settings = settings_to(wire, &origin);
            let said = said(ExportSettings { tls, ..settings }).await;
            let (before, after) = said.split_once(": ").unwrap();
            assert!(
                before.contains(problem) && after.contains(remedy),
                "{wire:?}: {said}"
            );
        }
    }
}

#[tokio::test]
async fn a_probe_names_the_protocol_that_the_backend_speaks() {
    let authority = Authority::new();
    for (speaks, spoken, name) in [
        (
            Wire::Http,
            Wire::Grpc,
            "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
        ),
        (Wire::Grpc, Wire::Http, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"),
    ] {
        let receiver = Receiver::start(speaks).await;
        let sentence = said(settings(spoken, &receiver)).await;
        assert!(sentence.contains(name), "{sentence}");

        let receiver = Receiver::over_tls(speaks, authority.server("localhost")).await;
        let origin = format!("https://localhost:{}", receiver.addr.port());
        let settings = settings_to(spoken, &origin);
        let tls = authority.client();
        let sentence = said(ExportSettings { tls, ..settings }).await;
        assert!(sentence.contains(name), "{sentence}");
    }
}

#[tokio::test]
async fn a_backend_that_speaks_both_and_breaks_is_not_told_to_speak_the_other() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(async |request: Request<Incoming>| match *request.method() {
                Method::GET => Ok(Response::new(String::new())),
                _ => Err(std::io::Error::other("broken")),
            });
            connections.spawn(async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    for wire in [Wire::Http, Wire::Grpc] {
        let sentence = said(settings_to(wire, &format!("http://{addr}"))).await;
        assert!(sentence.contains("broke the connection"), "{sentence}");
    }
    server.abort();
}

#[tokio::test]
async fn a_probe_says_who_is_refused_and_where() {
    let token = "OTEL_EXPORTER_OTLP_HEADERS";
    for (wire, reply, expected) in [
        (Wire::Http, Reply::status(401), token),
        (Wire::Http, Reply::status(403), token),
        (Wire::Grpc, Reply::code(16), token),
        (Wire::Grpc, Reply::code(7), token),
        (Wire::Http, Reply::status(302), "redirect"),
        (Wire::Http, Reply::status(503), "503 Service Unavailable"),
        (Wire::Grpc, Reply::code(14), "UNAVAILABLE"),
        (Wire::Grpc, Reply::code(12), "takes no OTLP traces"),
    ] {
        let receiver = Receiver::scripted(wire, move |_| reply.clone()).await;
        let sentence = said(settings(wire, &receiver)).await;
        assert!(sentence.contains(expected), "{sentence}");
    }
    let receiver = Receiver::scripted(Wire::Http, |_| Reply::status(404)).await;
    let mut settings = settings(Wire::Http, &receiver);
    settings.endpoint.set_path("/api/otel");
    let sentence = said(settings).await;
    let meant = format!("did you mean http://{}/api/otel/v1/traces?", receiver.addr);
    assert!(sentence.ends_with(&meant), "{sentence}");
}

#[tokio::test]
async fn a_probe_does_not_wait_for_ever() {
    for wire in [Wire::Http, Wire::Grpc] {
        let receiver = Receiver::scripted(wire, |_| Reply::Never).await;
        let settings = ExportSettings {
            timeout: Duration::from_millis(200),
            ..settings(wire, &receiver)
        };
        let sentence = said(settings).await;
        assert!(
            sentence.contains("has not answered within 200ms"),
            "{sentence}"
        );
    }
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_told_before_anything_is_sent() {
    let authority = Authority::new();
    let garbage = authority.file("garbage.pem", "no certificate");
    let base = settings_to(Wire::Http, "https://localhost:1");
    let cases = [
        (
            TlsSettings {
                ca_file: Some(garbage.clone()),
                ..TlsSettings::default()
            },
            "holds no PEM certificate",
        ),
        (
            TlsSettings {
                ca_file: Some("/nowhere/ca.pem".into()),
                ..TlsSettings::default()
            },
            "cannot read /nowhere/ca.pem",
        ),
        (
            TlsSettings {
                client_key_file: None,
                ..authority.known_client()
            },
            "belong together",
        ),
        (
            TlsSettings {
                client_key_file: Some(garbage),
                ..authority.known_client()
            },
            "holds no PEM certificate with its key",
        ),
    ];
    for (tls, expected) in cases {
        let settings = ExportSettings {
            tls,
            ..base.clone()
        };
        let error = Exporter::new(settings).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let headers = vec![("x-key".parse().unwrap(), Secret::new("hunter2\r\nx: y"))];
    let error = Exporter::new(ExportSettings { headers, ..base })
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("x-key") && !error.contains("hunter2"),
        "{error}"
    );
}
