//! The feed and the calls of a server that misbehaves, byte for byte.

use std::io::ErrorKind;
use std::time::Duration;

use runtrail::sim::misbehaviour::{LagSpelling, LineEnds, Malformation, Misbehaviour, Requests};
use runtrail::sim::settings::FeedSettings;
use runtrail::sim::{SimHandle, SimSettings};
use serde_json::Value;
use tokio::net::TcpStream;

use super::client::{
    Answer, End, ask, elements, feed, feed_after, has_end, json, newest_id, status, types,
};
use super::{run, settings, slow_settings, start};

/// What a client hears of one run while the server misbehaves like this.
async fn heard(misbehaviour: Misbehaviour) -> (SimHandle, Answer) {
    let server = start(settings()).await;
    server.misbehave(&misbehaviour).unwrap();
    let mut feed = feed(&server, "").await;
    run(&server, "translate").await;
    feed.read_until(|text| has_end(text) && text.ends_with(['\n', '\r']))
        .await;
    (server, feed)
}

async fn refuses(server: &SimHandle) -> bool {
    let connected = TcpStream::connect(server.addr()).await;
    connected.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[tokio::test]
async fn a_feed_is_cut_in_the_middle_now() {
    let server = start(slow_settings()).await;
    let mut feed = feed(&server, "").await;
    server.start_run("translate").unwrap();
    feed.read_until(|text| text.contains("WorkflowStart")).await;
    server.misbehave(&Misbehaviour::Cut).unwrap();
    assert_eq!(feed.read_to_end().await, End::Cut);
}

#[tokio::test]
async fn a_feed_is_cut_after_exactly_so_many_bytes_and_only_once() {
    let server = start(settings()).await;
    server
        .misbehave(&Misbehaviour::CutAfter { bytes: 1_234 })
        .unwrap();
    let mut first = feed(&server, "").await;
    run(&server, "translate").await;
    assert_eq!(first.read_to_end().await, End::Cut);
    assert_eq!(first.bytes().len(), 1_234);
    let mut second = feed_after(&server, 0).await;
    let second = second.read_until(has_end).await;
    assert!(second.len() > 1_234);
}

#[tokio::test]
async fn every_feed_is_cut_after_so_many_bytes() {
    let server = start(settings()).await;
    server
        .misbehave(&Misbehaviour::CutEvery { bytes: 99 })
        .unwrap();
    run(&server, "translate").await;
    for _ in 0..3 {
        let mut feed = feed_after(&server, 0).await;
        assert_eq!(feed.read_to_end().await, End::Cut);
        assert_eq!(feed.bytes().len(), 99);
    }
}

#[tokio::test]
async fn a_feed_comes_to_a_clean_end() {
    let server = start(settings()).await;
    let mut open = feed(&server, "").await;
    server.wait_for_feeds(1).await;
    server.misbehave(&Misbehaviour::End).unwrap();
    assert_eq!(open.read_to_end().await, End::Clean);
    // The next one is as ever.
    let mut next = feed(&server, "").await;
    run(&server, "translate").await;
    next.read_until(has_end).await;
}

#[tokio::test]
async fn a_stalled_feed_says_nothing_and_goes_on_where_it_was() {
    let mut settings = settings();
    settings.feed.keep_alive = Duration::from_millis(1);
    let server = start(settings).await;
    server.misbehave(&Misbehaviour::Stall { on: true }).unwrap();
    let mut feed = feed(&server, "").await;
    run(&server, "translate").await;
    assert_eq!(feed.bytes(), b"");
    server
        .misbehave(&Misbehaviour::Stall { on: false })
        .unwrap();
    let text = feed.read_until(has_end).await;
    assert!(
        text.starts_with("event: batch") || text.starts_with(": keep-alive"),
        "{text}"
    );
    assert_eq!(elements(&text).len() as u64, server.events());
}

#[tokio::test]
async fn lost_events_are_told_of_in_both_spellings_or_not_at_all() {
    let cases = [
        (
            Misbehaviour::Lag {
                events: 5,
                spelling: LagSpelling::Lagged,
            },
            "event: error\ndata: {\"lagged\":5}\n\n",
        ),
        (
            Misbehaviour::Lag {
                events: 5,
                spelling: LagSpelling::Dropped,
            },
            "event: lagged\ndata: {\"dropped\":5}\n\n",
        ),
        (Misbehaviour::Skip { events: 5 }, "event: batch\n"),
    ];
    for (misbehaviour, beginning) in cases {
        let server = start(settings()).await;
        let mut feed = feed(&server, "").await;
        server.wait_for_feeds(1).await;
        server.misbehave(&misbehaviour).unwrap();
        run(&server, "translate").await;
        let text = feed.read_until(has_end).await;
        assert!(text.starts_with(beginning), "{misbehaviour:?}: {text}");
        assert_eq!(elements(&text).len() as u64, server.events() - 5);
        assert!(!types(&elements(&text)).contains(&"WorkflowStart"));
    }
}

#[tokio::test]
async fn lines_end_in_every_way() {
    let (_, crlf) = heard(Misbehaviour::LineEnds {
        ends: LineEnds::Crlf,
    })
    .await;
    let bare = crlf.text().replace("\r\n", "");
    assert!(crlf.text().ends_with("\r\n\r\n") && !bare.contains(['\r', '\n']));
    let (_, cr) = heard(Misbehaviour::LineEnds { ends: LineEnds::Cr }).await;
    assert!(cr.text().ends_with("\r\r") && !cr.text().contains('\n'));
    let (_, mixed) = heard(Misbehaviour::LineEnds {
        ends: LineEnds::Mixed,
    })
    .await;
    assert!(mixed.text().contains("\r\n") && mixed.text().replace("\r\n", "").contains('\n'));
}

#[tokio::test]
async fn a_feed_begins_with_a_byte_order_mark() {
    let (_, feed) = heard(Misbehaviour::Bom { on: true }).await;
    assert!(feed.bytes().starts_with(b"\xef\xbb\xbfevent: batch"));
    assert_eq!(feed.text().matches('\u{feff}').count(), 1);
}

#[tokio::test]
async fn a_feed_comes_in_small_pieces_that_split_characters() {
    let (server, feed) = heard(Misbehaviour::Split { bytes: 5 }).await;
    assert!(
        feed.pieces
            .iter()
            .all(|piece| (1..=5).contains(&piece.len()))
    );
    let continues = |piece: &Vec<u8>| piece[0] & 0xC0 == 0x80;
    assert!(feed.pieces.iter().any(continues), "no character was split");
    assert_eq!(elements(&feed.text()).len() as u64, server.events());
}

#[tokio::test]
async fn broken_and_unknown_elements_stand_among_good_ones() {
    let shape = Malformation::WrongShape;
    let (server, feed) = heard(Misbehaviour::Malformed { every: 4, shape }).await;
    let broken = feed.text().matches(r#""project_id":"one""#).count() as u64;
    assert_eq!(broken, server.events() / 4);
    assert_eq!(
        elements(&feed.text()).len() as u64,
        server.events() + broken
    );

    let (server, feed) = heard(Misbehaviour::Unknown { every: 3 }).await;
    let count = |name: &str| feed.text().matches(name).count() as u64;
    assert_eq!(count("Weather"), server.events() / 3);
    assert_eq!(count("TaskDreamt"), server.events() / 3);

    let shape = Malformation::BrokenJson;
    let (_, feed) = heard(Misbehaviour::Malformed { every: 1, shape }).await;
    assert_eq!(elements(&feed.text()), Vec::<Value>::new());
}

#[tokio::test]
async fn what_may_be_missing_is_missing() {
    let (_, feed) = heard(Misbehaviour::NoFrameIds { on: true }).await;
    assert!(!feed.text().contains("\nid:") && feed.text().contains("\"seq\":"));
    let (_, feed) = heard(Misbehaviour::NoSeq { on: true }).await;
    assert!(!feed.text().contains("\"seq\":") && feed.text().contains("\nid:"));
    let (_, feed) = heard(Misbehaviour::NoAt { on: true }).await;
    assert!(!feed.text().contains("\"at\":"));
}

#[tokio::test]
async fn requests_are_refused_as_often_as_they_are_meant_to_be() {
    let server = start(settings()).await;
    let answer = |status, requests, to| Misbehaviour::Answer {
        status,
        retry_after: Some(7),
        requests,
        to,
    };
    server
        .misbehave(&answer(429, Some(2), Requests::All))
        .unwrap();
    for expected in [429, 429, 200] {
        let answer = ask(&server, "GET", "/projects/1", "").await;
        assert_eq!(answer.status, expected);
        assert_eq!(answer.head.contains("retry-after: 7\r\n"), expected == 429);
    }
    server
        .misbehave(&answer(401, None, Requests::Feed))
        .unwrap();
    for _ in 0..3 {
        assert_eq!(status(&server, "/events").await, 401);
        assert_eq!(status(&server, "/projects").await, 200);
    }
    server
        .misbehave(&answer(500, None, Requests::Rest))
        .unwrap();
    assert_eq!(status(&server, "/events").await, 200);
    assert_eq!(status(&server, "/projects").await, 500);
    server.misbehave(&Misbehaviour::Behave).unwrap();
    assert_eq!(status(&server, "/projects").await, 200);
}

#[tokio::test]
async fn rest_answers_are_slow_and_the_feed_is_not() {
    let server = start(settings()).await;
    server
        .misbehave(&Misbehaviour::SlowRest { ms: 3_600_000 })
        .unwrap();
    // The feed answers while a call would take an hour.
    let mut feed = feed(&server, "").await;
    run(&server, "translate").await;
    feed.read_until(has_end).await;
    let call = json(&server, "/projects");
    let waited = tokio::time::timeout(Duration::from_millis(50), call).await;
    assert!(waited.is_err(), "the call was answered");
}

#[tokio::test]
async fn a_server_that_is_down_refuses_connections_until_it_is_up() {
    let server = start(settings()).await;
    let mut open = feed(&server, "").await;
    server.wait_for_feeds(1).await;
    server.misbehave(&Misbehaviour::Down { ms: None }).unwrap();
    assert_eq!(open.read_to_end().await, End::Cut);
    while !refuses(&server).await {
        tokio::task::yield_now().await;
    }
    // Its runs go on meanwhile.
    run(&server, "translate").await;
    server.misbehave(&Misbehaviour::Up).unwrap();
    while refuses(&server).await {
        tokio::task::yield_now().await;
    }
    let mut back = feed_after(&server, 0).await;
    assert_eq!(
        elements(&back.read_until(has_end).await).len() as u64,
        server.events()
    );
}

#[tokio::test]
async fn a_server_can_be_down_from_the_beginning_and_come_up_by_itself() {
    let server = start(SimSettings {
        misbehaviours: vec![Misbehaviour::Down { ms: Some(30) }],
        ..settings()
    })
    .await;
    while refuses(&server).await {
        tokio::task::yield_now().await;
    }
    assert_eq!(status(&server, "/projects").await, 200);
}

#[tokio::test]
async fn after_a_restart_open_runs_begin_again_from_their_logs() {
    let mut settings = settings();
    settings.workload.speed = 20.0;
    let server = start(settings).await;
    let mut before = feed(&server, "").await;
    let id = server.start_run("review").unwrap();
    before
        .read_until(|text| text.contains("\"Suspended\""))
        .await;
    server.misbehave(&Misbehaviour::Restart { ms: 10 }).unwrap();
    assert_eq!(before.read_to_end().await, End::Cut);
    while refuses(&server).await {
        tokio::task::yield_now().await;
    }
    let before = before.text();
    let mut after = feed_after(&server, newest_id(&before)).await;
    after
        .read_until(|text| text.contains("\"Suspended\""))
        .await;
    server.cancel(&id);
    let after = after.read_until(has_end).await;

    let (before, after) = (elements(&before), elements(&after));
    assert_eq!(types(&after)[..2], ["WorkflowStart", "TaskStart"]);
    assert!(types(&after).contains(&"LLMReplayCacheHit"));
    assert!(
        !types(&after).contains(&"AgentOutput"),
        "a model was called again"
    );
    let ends = |elements: &[Value]| {
        types(elements)
            .iter()
            .filter(|kind| **kind == "TaskEnd")
            .count()
    };
    assert_eq!(ends(&before), ends(&after));
    let newest = |elements: &[Value]| elements.last().unwrap()["payload"]["seq"].as_u64();
    assert!(after[0]["payload"]["seq"].as_u64() > newest(&before));
    assert!(
        after
            .iter()
            .all(|element| element["payload"]["execution_id"] == id)
    );
    assert_eq!(
        json(&server, &format!("/executions/{id}")).await["status"],
        "cancelled"
    );
}

#[tokio::test]
async fn the_control_endpoint_does_the_same() {
    let server = start(SimSettings {
        control: true,
        ..settings()
    })
    .await;
    let open = feed(&server, "").await;
    server.wait_for_feeds(1).await;
    let told = json(&server, "/_sim/status").await;
    assert_eq!(told["open_feeds"], 1);
    let mut begun = ask(&server, "POST", "/_sim/runs", r#"{"script":"translate"}"#).await;
    let id = begun.json().await["execution_id"]
        .as_str()
        .unwrap()
        .to_owned();
    server.wait_for_run(&id).await;
    let cut = ask(&server, "POST", "/_sim/misbehave", r#"{"kind":"cut"}"#).await;
    assert_eq!(cut.status, 200);
    let mut open = open;
    assert_eq!(open.read_to_end().await, End::Cut);
    for (target, body, expected) in [
        ("/_sim/misbehave", r#"{"kind":"dance"}"#, 400),
        ("/_sim/misbehave", r#"{"kind":"cut_every","bytes":0}"#, 400),
        ("/_sim/runs", r#"{"script":"unheard_of"}"#, 404),
        ("/_sim/runs", "{}", 400),
        ("/_sim/nothing", "", 404),
    ] {
        assert_eq!(
            ask(&server, "POST", target, body).await.status,
            expected,
            "{target} {body}"
        );
    }
}

#[tokio::test]
async fn misbehaviour_can_begin_with_the_server() {
    let server = start(SimSettings {
        misbehaviours: vec![Misbehaviour::LineEnds { ends: LineEnds::Cr }],
        feed: FeedSettings {
            keep_alive: Duration::from_millis(1),
            ..FeedSettings::default()
        },
        ..settings()
    })
    .await;
    let mut feed = feed(&server, "").await;
    feed.read_until(|text| text.starts_with(": keep-alive\r\r"))
        .await;
}
