//! A recorded feed.

use bytes::Bytes;
use runtrail::sim::settings::Recording;
use runtrail::sim::{Misbehaviour, SimHandle};

use super::client::{End, feed, feed_after, newest_id};
use super::{settings, start};

const FEED: &[u8] = include_bytes!("../../examples/feeds/review.sse");

async fn recorded(stays_open: bool) -> SimHandle {
    let mut settings = settings();
    settings.recording = Some(Recording {
        bytes: Bytes::from_static(FEED),
        stays_open,
    });
    start(settings).await
}

#[tokio::test]
async fn a_recording_is_served_byte_for_byte_to_every_client() {
    let server = recorded(false).await;
    for _ in 0..2 {
        let mut feed = feed(&server, "?project_id=7").await;
        assert_eq!(feed.read_to_end().await, End::Clean);
        assert_eq!(feed.bytes(), FEED);
    }
}

#[tokio::test]
async fn wherever_it_is_cut_the_rest_follows_after_the_last_frame() {
    let server = recorded(false).await;
    for bytes in (1_000..FEED.len() as u64).step_by(9_973) {
        server.misbehave(&Misbehaviour::CutAfter { bytes }).unwrap();
        let mut first = feed(&server, "").await;
        assert_eq!(first.read_to_end().await, End::Cut);
        assert_eq!(first.bytes(), FEED[..bytes as usize]);
        // What came of the last frame is not whole.
        let text = first.text();
        let whole = text.rfind("\n\n").map_or(0, |at| at + 2);
        let frames = &text[..whole];
        if !frames.contains("\nid: ") {
            continue;
        }
        let mut second = feed_after(&server, newest_id(frames)).await;
        assert_eq!(second.read_to_end().await, End::Clean);
        let rest = &FEED[FEED.len() - second.bytes().len()..];
        assert_eq!(second.bytes(), rest);
        let frames = frames.trim_end_matches(": keep-alive\n\n");
        assert_eq!(frames.len() + rest.len(), FEED.len());
    }
}

#[tokio::test]
async fn a_recording_can_stay_open_at_its_end() {
    let server = recorded(true).await;
    let mut feed = feed(&server, "").await;
    feed.read_until(|text| text.len() == FEED.len()).await;
    assert_eq!(server.open_feeds(), 1);
    server.misbehave(&Misbehaviour::Cut).unwrap();
    assert_eq!(feed.read_to_end().await, End::Cut);
}
