//! A core that outlives its process: it is saved in parts, restored from them,
//! and told again what it was told since.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::entry::{Head, Step};
use super::reader::Taker;
use super::{Core, CoreSettings, OneFeed, UnknownSystem};
use crate::run::RunSettings;
use crate::run::outputs::GapCause;
use crate::run::table::{RunTable, Unreadable};
use crate::wire::event::Event;
use crate::wire::time::Time;

/// A part of a core as it is kept on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What kind of part; see [`Core::TAGS`].
    pub tag: u16,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// A core cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// No such system.
    #[error(transparent)]
    System(#[from] UnknownSystem),
    /// Not what a core of this version wrote.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// What is there belongs to another source.
    #[error("the store belongs to the source {there:?}, not to {wanted:?}")]
    OtherSource {
        /// The source that it belongs to.
        there: String,
        /// The source that is configured.
        wanted: String,
    },
}

const HEAD: u16 = 1;
const TABLE: u16 = 2;
const RUN: u16 = 3;

/// The first part.
#[derive(Serialize, Deserialize)]
struct Saved {
    system: String,
    source: String,
    position: u64,
    /// The settings under which it went on to here.
    settings: RunSettings,
    /// The feeds, each with its project, its cursor, and whether it was away.
    feeds: Vec<(Option<i64>, String, bool)>,
}

impl Core {
    /// The tags of its parts. Others may have tags beyond them.
    pub const TAGS: std::ops::RangeInclusive<u16> = HEAD..=RUN;

    /// The parts of it, while nothing that it says is still to be taken.
    pub fn save(&self) -> impl Iterator<Item = Part> {
        let feeds = self.feeds.iter();
        let head = Saved {
            system: self.dialect.system().to_owned(),
            source: self.runs.source().to_owned(),
            position: self.position(),
            settings: self.settings.clone(),
            feeds: feeds
                .map(|feed| (feed.project, feed.cursor.clone(), feed.away))
                .collect(),
        };
        let part = |tag, bytes| Part { tag, bytes };
        // Writing what we hold into memory does not fail.
        let head = postcard::to_stdvec(&head).unwrap_or_default();
        let runs = self.runs.save_runs().map(move |run| part(RUN, run));
        [part(HEAD, head), part(TABLE, self.runs.save())]
            .into_iter()
            .chain(runs)
    }

    /// A core as it was when it was saved, which goes on as it was told to be
    /// then: until [`Self::resume`], what is configured now counts only for what
    /// spans look like.
    pub fn restore(
        settings: CoreSettings,
        parts: impl IntoIterator<Item = Part>,
    ) -> Result<Self, RestoreError> {
        let mut core = Self::new(settings)?;
        for part in parts {
            match part.tag {
                HEAD => core.restore_head(&part.bytes)?,
                TABLE => {
                    core.runs = RunTable::restore(
                        core.dialect.system(),
                        Arc::from(core.runs.source()),
                        core.settings.clone(),
                        &part.bytes,
                    )?;
                }
                RUN => core.runs.restore_run(&part.bytes)?,
                _ => {}
            }
        }
        Ok(core)
    }

    fn restore_head(&mut self, bytes: &[u8]) -> Result<(), RestoreError> {
        let saved: Saved = postcard::from_bytes(bytes).map_err(|_| Unreadable)?;
        let here = (self.dialect.system(), self.runs.source());
        if (saved.system.as_str(), saved.source.as_str()) != here {
            return Err(RestoreError::OtherSource {
                there: format!("{} {}", saved.system, saved.source),
                wanted: format!("{} {}", here.0, here.1),
            });
        }
        self.recorder.position = saved.position;
        self.settings = saved.settings;
        let feeds = saved.feeds.into_iter();
        self.feeds = feeds
            .map(|(project, cursor, away)| OneFeed {
                cursor,
                away,
                ..OneFeed::new(project, &self.settings.limits)
            })
            .collect();
        Ok(())
    }

    /// Spans born of the inputs up to this place are in safety: a replay does not
    /// make them again.
    pub const fn discard_through(&mut self, position: u64) {
        self.digest.discard_through(position);
    }

    /// Inputs up to this place have been, though nobody knows of all of them.
    pub fn begin_after(&mut self, position: u64) {
        self.recorder.position = self.position().max(position);
    }

    /// Whether inputs are written down from here on.
    pub fn record(&mut self, on: bool) {
        self.recorder.on = on;
        self.recorder.clear();
    }

    /// Takes an input that was written down. Tells whether it was taken: not, if
    /// it is older than the state.
    pub fn replay(&mut self, entry: &[u8]) -> Result<bool, Unreadable> {
        let (position, entry): (u64, _) =
            postcard::take_from_bytes(entry).map_err(|_| Unreadable)?;
        if position <= self.position() {
            return Ok(false);
        }
        let (head, steps): (Head<'_>, _) =
            postcard::take_from_bytes(entry).map_err(|_| Unreadable)?;
        // `settle` counts it.
        self.recorder.position = position - 1;
        self.digest.begin(position);
        self.replay_head(head, steps)?;
        self.recorder.position = position;
        Ok(true)
    }

    fn replay_head(&mut self, head: Head<'_>, steps: &[u8]) -> Result<(), Unreadable> {
        let feed_index = |feed: u32| feed as usize;
        match head {
            Head::Life { settings, feeds } => self.live(*settings, &feeds),
            Head::Heard { feed, now } => return self.replay_heard(feed, now, steps),
            Head::Gap { feed, cause, now } => self.handle_gap(feed_index(feed), cause, now),
            Head::Connected { feed, again, now } => self.connected(feed_index(feed), again, now),
            Head::Tick { now } => {
                self.tick(now);
                self.settle(Some(now));
            }
            Head::ClockSet { now } => self.handle_clock_set(now),
            Head::Logged { run, after, now } => {
                // All of the page or nothing, and none behind one that is damaged.
                each_step(steps, |_| {})?;
                if !self.runs.expects_page(&run, after) {
                    return Ok(());
                }
                each_step(steps, |step| match step {
                    Step::Event { event, .. } => self.runs.handle_logged_event(event),
                    Step::Rejected(rejection) => self.digest.reject(rejection),
                    Step::Page(page) => self.take_page(&run, page, now),
                    Step::BadPage => self.take_bad_page(&run, now),
                    _ => {}
                })?;
                self.settle(Some(now));
            }
            Head::LogRefused { run, why, now } => self.handle_log_refused(&run, why, now),
            Head::Row { run, row, now } => self.take_row(&run, row.map(|row| *row), now),
            Head::Facts { run, facts, now } => {
                self.take_facts(&run, facts.map(|facts| *facts), now);
            }
            Head::Rows { wish, page, now } => self.take_rows(&wish, page, now),
            Head::Room { room, now } => self.handle_room(room, now),
            Head::NoMoreAnswers { now } => self.handle_no_more_answers(now),
            Head::Unreadable { rejection, now } => self.reject_answer(rejection, now),
        }
        Ok(())
    }

    fn replay_heard(
        &mut self,
        feed: u32,
        now: Option<Time>,
        steps: &[u8],
    ) -> Result<(), Unreadable> {
        let feed = feed as usize;
        let project = self.feeds.get(feed).and_then(|feed| feed.project);
        let mut cursor = None;
        let mut taker = Taker {
            runs: &mut self.runs,
            digest: &mut self.digest,
            outputs: &mut self.outputs,
            project,
            now,
        };
        each_step(steps, |step| match step {
            Step::Cursor(place) => cursor = Some(place.into_owned()),
            step => taker.step(step),
        })?;
        if let (Some(cursor), Some(feed)) = (cursor, self.feeds.get_mut(feed)) {
            feed.cursor = cursor;
        }
        self.settle(now);
        Ok(())
    }

    /// A process begins to listen, or goes on: from here on what is configured
    /// now counts, and inputs are written down, if that is wanted. After an
    /// earlier life, what happened meanwhile is unknown.
    pub fn resume(&mut self, settings: &CoreSettings, record: bool, now: Time) {
        self.recorder.on = record;
        let had_life = self.position() > 0;
        let run_settings = RunSettings {
            limits: settings.limits.clone(),
            repair: settings.repair && self.dialect.has_log(),
            enrich: settings.enrich,
            prices: settings.prices.clone(),
        };
        self.begin(&Head::Life {
            settings: Box::new(run_settings.clone()),
            feeds: settings.feeds.clone(),
        });
        self.live(run_settings, &settings.feeds);
        if had_life {
            self.handle_clock_set(now);
            for feed in 0..self.feeds.len() {
                self.handle_gap(feed, GapCause::Restart, now);
            }
        }
    }

    /// Goes on under these settings.
    fn live(&mut self, settings: RunSettings, feeds: &[Option<i64>]) {
        let mut before = std::mem::take(&mut self.feeds);
        self.feeds = feeds
            .iter()
            .map(|project| {
                let same = before.iter().position(|feed| feed.project == *project);
                let cursor = same.map(|same| before.remove(same).cursor);
                OneFeed {
                    cursor: cursor.unwrap_or_default(),
                    ..OneFeed::new(*project, &settings.limits)
                }
            })
            .collect();
        self.runs.set_settings(settings.clone(), &mut self.outputs);
        self.runs.renew_wishes();
        self.settings = settings;
        self.settle(None);
    }
}

/// Reads steps to their end.
fn each_step(
    mut steps: &[u8],
    mut take: impl FnMut(Step<'_, Event<'_>>),
) -> Result<(), Unreadable> {
    while !steps.is_empty() {
        let (step, rest) = postcard::take_from_bytes(steps).map_err(|_| Unreadable)?;
        take(step);
        steps = rest;
    }
    Ok(())
}
