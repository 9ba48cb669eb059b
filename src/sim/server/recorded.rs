//! A recorded feed, as fast as it is taken.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::hub::Hub;
use super::outlet::{Gone, Outlet};
use crate::sim::settings::Recording;

/// How much is written at once.
const PIECE_BYTES: usize = 64 << 10;

/// A recording, and where its frames end.
#[derive(Debug)]
pub(super) struct Recorded {
    recording: Recording,
    /// The ids of frames, and where each frame is over. Ids that do not rise are
    /// no places to go back to.
    ids: Vec<(u64, usize)>,
}

impl Recorded {
    pub(super) fn new(recording: Recording) -> Self {
        let ids = frame_ends(&recording.bytes);
        Self { recording, ids }
    }

    /// Where to go on after a frame's id.
    fn start(&self, after: Option<u64>) -> usize {
        let Some(after) = after else { return 0 };
        let behind = self.ids.partition_point(|(id, _)| *id <= after);
        behind.checked_sub(1).map_or(0, |last| self.ids[last].1)
    }

    /// Plays it to one client.
    pub(super) async fn run(
        self: Arc<Self>,
        hub: Arc<Hub>,
        number: u64,
        after: Option<u64>,
        mut outlet: Outlet,
    ) {
        let start = self.start(after);
        let left = self.recording.bytes.slice(start..);
        // Whoever goes away early has read enough.
        let _: Result<(), Gone> = self.play(&hub, number, left, &mut outlet).await;
        hub.close_feed(number);
    }

    async fn play(
        &self,
        hub: &Arc<Hub>,
        number: u64,
        mut left: Bytes,
        outlet: &mut Outlet,
    ) -> Result<(), Gone> {
        let mut changes = hub.changes();
        let mut wrote = Instant::now();
        loop {
            changes.borrow_and_update();
            let (cut, end, manners) = hub.look(|state| {
                let orders = state.feeds.get(&number);
                let (cut, end) = orders.map_or((false, true), |orders| (orders.cut, orders.end));
                (cut, end, state.manners.feed)
            });
            if cut {
                outlet.cut();
            }
            if cut || end {
                return Ok(());
            }
            if !manners.stall && !left.is_empty() {
                let piece = left.split_to(left.len().min(PIECE_BYTES));
                outlet.write(piece, manners.split_bytes).await?;
                continue;
            }
            if left.is_empty() && !self.recording.stays_open {
                return Ok(());
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return Ok(()) },
                () = tokio::time::sleep_until(wrote + hub.settings.feed.keep_alive) => {
                    wrote = Instant::now();
                    if !manners.stall {
                        outlet.write(Bytes::from_static(b": keep-alive\n\n"), 0).await?;
                    }
                }
                () = outlet.closed() => return Err(Gone),
            }
        }
    }
}

/// The id of each frame that has one, and where the frame is over.
fn frame_ends(feed: &[u8]) -> Vec<(u64, usize)> {
    let mut ends: Vec<(u64, usize)> = Vec::new();
    let mut id = None;
    let mut at = 0;
    while at < feed.len() {
        let rest = &feed[at..];
        let Some(length) = memchr::memchr2(b'\n', b'\r', rest) else {
            break;
        };
        let line = &rest[..length];
        at += length
            + if rest[length..].starts_with(b"\r\n") {
                2
            } else {
                1
            };
        if let Some(text) = line.strip_prefix(b"id:") {
            let text = std::str::from_utf8(text).unwrap_or_default();
            id = text.trim().parse().ok().or(id);
        }
        if line.is_empty()
            && let Some(id) = id.take()
            && ends.last().is_none_or(|(newest, _)| *newest < id)
        {
            ends.push((id, at));
        }
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(feed: &'static [u8]) -> Recorded {
        Recorded::new(Recording {
            bytes: Bytes::from_static(feed),
            stays_open: false,
        })
    }

    #[test]
    fn one_goes_on_behind_the_frame_with_the_id() {
        let feed = recorded(
            b": hello\n\ndata: a\nid: 5\n\ndata: b\r\nid:9\r\n\r\ndata: c\rid: 12\r\rdata: d\n\n",
        );
        let rest = |after| {
            let bytes = &feed.recording.bytes[feed.start(after)..];
            std::str::from_utf8(bytes).unwrap()
        };
        assert!(rest(None).starts_with(": hello"));
        assert!(rest(Some(4)).starts_with(": hello"));
        for after in [5, 8] {
            assert!(rest(Some(after)).starts_with("data: b"), "{after}");
        }
        assert!(rest(Some(9)).starts_with("data: c"));
        assert_eq!(rest(Some(12)), "data: d\n\n");
        assert_eq!(rest(Some(99)), "data: d\n\n");
    }

    #[test]
    fn ids_that_do_not_rise_or_are_no_numbers_are_no_places() {
        let feed = recorded(b"id: 5\n\nid: x\n\nid: 3\n\nid: 7\n\nid: 8");
        assert_eq!(feed.ids, [(5, 7), (7, 28)]);
    }
}
