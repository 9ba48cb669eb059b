//! `runtrail resend` and the listing of `runtrail check`, as the real binary.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod program;
mod receiver;

use std::path::Path;

use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use runtrail::export::Compression;
use runtrail::export::pack::pack;
use runtrail::limits::Limits;
use runtrail::store::StoreDir;
use runtrail::store::quarantine::{About, Quarantine, QuarantineSettings};
use runtrail::trace::batch::{Batcher, ResourceInfo};
use runtrail::wire::time::Time;

use self::program::{Ended, run};
use self::receiver::{Receiver, Reply, Wire};

/// A store in whose quarantine these spans are, one a batch.
fn store(names: &[&str]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let (files, _lock) = StoreDir::open(directory.path()).unwrap();
    let settings = QuarantineSettings::new(16 << 20, &Limits::default());
    let quarantine = Quarantine::open(files, settings).unwrap();
    for name in names {
        let mut batcher = Batcher::new(&ResourceInfo::default(), &Limits::default());
        let span = Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            name: (*name).to_owned(),
            ..Span::default()
        };
        batcher.push(&span.encode_to_vec(), 0, Time(1));
        let packed = pack(batcher.flush().unwrap(), Compression::Gzip);
        let about = About::new(
            Time(1_700_000_000_000_000_000),
            "invalid",
            "too odd",
            &packed,
        );
        quarantine.set_aside(&about, &packed).unwrap();
    }
    directory
}

async fn called(command: &'static str, store: &Path, backend: &Receiver) -> Ended {
    let store = store.to_str().unwrap().to_owned();
    let endpoint = format!("http://{}", backend.addr);
    let called = tokio::task::spawn_blocking(move || {
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
            ("AKRIBES_URL", "http://127.0.0.1:1"),
            ("RUNTRAIL_LISTEN_METRICS", "127.0.0.1:0"),
            ("RUNTRAIL_LISTEN_LOCAL", "127.0.0.1:0"),
        ];
        run(&[command, "--store-dir", &store], &variables)
    });
    called.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_backend_takes_now_leaves_the_quarantine() {
    let store = store(&["a", "guilty", "b"]);
    let strict = Receiver::scripted(Wire::Http, |request| {
        match request.names().contains(&"guilty") {
            true => Reply::Status(400, Vec::new(), "still odd".to_owned()),
            false => Reply::Take,
        }
    })
    .await;
    let listed = called("check", store.path(), &strict).await;
    let expected = "batches 3, spans 3";
    assert!(listed.text.contains(expected), "{}", listed.text);
    assert!(
        listed
            .text
            .contains("to 2023-11-14T22:13:20.000Z (invalid: spans 3, last said \"too odd\")"),
        "{}",
        listed.text
    );

    let ended = called("resend", store.path(), &strict).await;
    assert_eq!(ended.code, Some(1), "{}", ended.text);
    let said = "batches taken: 2, with spans: 2; batches left: 1";
    assert!(ended.text.contains(said), "{}", ended.text);
    assert!(ended.text.contains("still odd"), "{}", ended.text);

    let lenient = Receiver::start(Wire::Http).await;
    let ended = called("resend", store.path(), &lenient).await;
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    let received = lenient.received();
    assert_eq!((received.len(), received[0].names()), (1, vec!["guilty"]));
    let ended = called("resend", store.path(), &lenient).await;
    assert_eq!((ended.code, lenient.received().len()), (Some(0), 1));
    let listed = called("check", store.path(), &lenient).await;
    assert!(
        listed.text.contains("nothing was refused"),
        "{}",
        listed.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_refuses_us_ends_it_and_condemns_nothing() {
    let store = store(&["a", "b"]);
    let receiver = Receiver::scripted(Wire::Http, |_| Reply::status(401)).await;
    let ended = called("resend", store.path(), &receiver).await;
    assert_eq!(ended.code, Some(1), "{}", ended.text);
    let last = ended.text.lines().last().unwrap();
    assert!(last.contains("2 stay in quarantine: "), "{last}");
    assert!(last.contains("401"), "{last}");
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_is_busy_for_a_moment_is_asked_again() {
    let store = store(&["a"]);
    let receiver = Receiver::scripted(Wire::Http, |request| match request.number {
        0 => Reply::status(503),
        _ => Reply::Take,
    })
    .await;
    let ended = called("resend", store.path(), &receiver).await;
    assert_eq!(ended.code, Some(0), "{}", ended.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leaves_out_every_span_has_taken_none() {
    let store = store(&["a"]);
    let receiver = Receiver::scripted(Wire::Http, |_| Reply::Partial(1, "no room")).await;
    let ended = called("resend", store.path(), &receiver).await;
    assert_eq!(ended.code, Some(1), "{}", ended.text);
    assert!(ended.text.contains("no room"), "{}", ended.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_use_or_none_at_all_is_told_in_a_sentence() {
    let store = store(&["a"]);
    let receiver = Receiver::start(Wire::Http).await;
    let used = StoreDir::open(store.path()).unwrap();
    let ended = called("resend", store.path(), &receiver).await;
    assert_eq!(ended.code, Some(1), "{}", ended.text);
    assert!(ended.text.contains("is in use"), "{}", ended.text);
    let listed = called("check", store.path(), &receiver).await;
    assert!(
        listed.text.contains("batches 1, spans 1"),
        "{}",
        listed.text
    );
    drop(used);
    let ended = tokio::task::spawn_blocking(|| run(&["resend"], &[]))
        .await
        .unwrap();
    assert_eq!(ended.code, Some(2), "{}", ended.text);
    assert!(ended.text.contains("--store-dir"), "{}", ended.text);
    // What a check sends holds none.
    let received = receiver.received();
    assert!(received.iter().all(|request| request.names().is_empty()));
}
