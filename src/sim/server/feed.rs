//! `GET /events`: what happens, to one client.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::frames::FrameWriter;
use super::hub::{Hub, State};
use super::log::Entry;
use super::outlet::{Gone, Outlet};
use crate::sim::misbehaviour::LagSpelling;

/// What a client wants to hear of.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    /// Only these projects, if not all.
    pub(super) projects: Option<Vec<i64>>,
    /// Only this script, if not all.
    pub(super) script: Option<String>,
}

impl Scope {
    fn has(&self, entry: &Entry) -> bool {
        let projects = self.projects.as_ref();
        projects.is_none_or(|projects| projects.contains(&entry.project_id))
            && self
                .script
                .as_ref()
                .is_none_or(|script| script == entry.script)
    }
}

/// What open feeds are to do, once.
#[derive(Debug, Default)]
pub(super) struct Orders {
    pub(super) cut: bool,
    pub(super) end: bool,
    pub(super) lacks: VecDeque<Lack>,
}

/// Events that a feed misses.
#[derive(Debug)]
pub(super) struct Lack {
    left: u64,
    events: u64,
    /// How the client is told, if it is.
    told: Option<LagSpelling>,
}

impl Lack {
    pub(super) const fn new(events: u64, told: Option<LagSpelling>) -> Self {
        Self {
            left: events,
            events,
            told,
        }
    }
}

/// One client of the feed.
pub(super) struct Feed {
    hub: Arc<Hub>,
    number: u64,
    scope: Scope,
    /// Where it is in the log, and where the log ended when it came.
    position: u64,
    joined: u64,
    writer: FrameWriter,
    begun: bool,
}

enum Next {
    Items(Vec<Item>),
    Nothing,
    Cut,
    End,
}

enum Item {
    Event(Arc<Entry>),
    Lost(u64, LagSpelling),
}

impl Feed {
    /// A client that goes on after this place. Where that is, is known before
    /// anybody is told that the feed is open: who then begins a run is heard.
    pub(super) fn new(hub: Arc<Hub>, scope: Scope, after: Option<u64>) -> Self {
        let (position, joined) = hub.look(|state| {
            let end = state.log.end();
            let after = after.filter(|_| hub.settings.feed.replays);
            (after.map_or(end, |seq| state.log.position_after(seq)), end)
        });
        Self {
            hub,
            number: 0,
            scope,
            position,
            joined,
            writer: FrameWriter::default(),
            begun: false,
        }
    }

    /// Tells it everything, as the feed of this number, until one of both is gone.
    pub(super) async fn run(mut self, number: u64, mut outlet: Outlet) {
        self.number = number;
        let told = self.tell(&mut outlet).await;
        self.hub.close_feed(self.number);
        drop(told);
    }

    async fn tell(&mut self, outlet: &mut Outlet) -> Result<(), Gone> {
        let settings = self.hub.settings.feed.clone();
        let mut changes = self.hub.changes();
        let mut wrote = Instant::now();
        loop {
            changes.borrow_and_update();
            match self.next() {
                Next::Items(items) => {
                    self.write(&items, outlet).await?;
                    wrote = Instant::now();
                    continue;
                }
                Next::Cut => {
                    outlet.cut();
                    return Ok(());
                }
                Next::End => return Ok(()),
                Next::Nothing => {}
            }
            tokio::select! {
                changed = changes.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    tokio::time::sleep(settings.batch_wait).await;
                }
                () = tokio::time::sleep_until(wrote + settings.keep_alive) => {
                    wrote = Instant::now();
                    let manners = self.hub.feed_manners();
                    if !manners.stall {
                        let sign = self.writer.keep_alive(&manners);
                        outlet.write(self.begin(sign), manners.split_bytes).await?;
                    }
                }
                () = outlet.closed() => return Err(Gone),
            }
        }
    }

    async fn write(&mut self, items: &[Item], outlet: &mut Outlet) -> Result<(), Gone> {
        let manners = self.hub.feed_manners();
        let mut batch = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Item::Event(entry) => batch.push(Arc::clone(entry)),
                Item::Lost(count, spelling) => {
                    if !batch.is_empty() {
                        let frame = self.writer.batch(&std::mem::take(&mut batch), &manners);
                        outlet.write(self.begin(frame), manners.split_bytes).await?;
                    }
                    let frame = self.writer.lag(*count, *spelling, &manners);
                    outlet.write(self.begin(frame), manners.split_bytes).await?;
                }
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        let frame = self.writer.batch(&batch, &manners);
        outlet.write(self.begin(frame), manners.split_bytes).await
    }

    /// The first bytes may have a mark before them.
    fn begin(&mut self, frame: Bytes) -> Bytes {
        if std::mem::replace(&mut self.begun, true) || !self.hub.feed_manners().bom {
            return frame;
        }
        let mut marked = BytesMut::from("\u{feff}".as_bytes());
        marked.extend_from_slice(&frame);
        marked.freeze()
    }

    /// What comes next for it.
    fn next(&mut self) -> Next {
        let hub = Arc::clone(&self.hub);
        hub.look(|state| {
            let State {
                feeds,
                log,
                manners,
                ..
            } = state;
            let Some(orders) = feeds.get_mut(&self.number) else {
                return Next::End;
            };
            if orders.cut {
                return Next::Cut;
            }
            if orders.end {
                return Next::End;
            }
            if manners.feed.stall {
                return Next::Nothing;
            }
            let mut items = Vec::new();
            // What it asked to go back to is not what it is too slow for.
            let behind = log
                .end()
                .saturating_sub(hub.settings.feed.behind_events_max);
            let oldest = if self.position < self.joined {
                log.first()
            } else {
                log.first().max(behind)
            };
            if oldest > self.position {
                let missed = oldest - self.position;
                if self.position >= self.joined {
                    items.push(Item::Lost(missed, LagSpelling::Lagged));
                }
                self.position = oldest;
            }
            while items.len() < hub.settings.feed.batch_events_max {
                let Some(entry) = log.get(self.position) else {
                    break;
                };
                self.position += 1;
                if self.scope.has(entry) {
                    items.extend(orders.pass(entry));
                }
            }
            if items.is_empty() {
                Next::Nothing
            } else {
                Next::Items(items)
            }
        })
    }
}

impl Orders {
    /// What the client gets of an event.
    fn pass(&mut self, entry: &Arc<Entry>) -> Option<Item> {
        let Some(lack) = self.lacks.front_mut() else {
            return Some(Item::Event(Arc::clone(entry)));
        };
        lack.left = lack.left.saturating_sub(1);
        if lack.left > 0 {
            return None;
        }
        let lack = self.lacks.pop_front()?;
        lack.told.map(|spelling| Item::Lost(lack.events, spelling))
    }
}
