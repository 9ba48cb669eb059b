//! The Akribes workflow server: batches of hub events over SSE, and pages of a
//! run's log over REST, in the vocabulary of [`super::event`].
//!
//! `payload`, `ends` and `forms` hold the shapes, `engine` the tags, `translate` the meaning;
//! `requests` is what is asked of the server, `rows` what its REST calls answer.
//! Old forms are read as well as new ones; unknown types pass and are counted.

mod codes;
mod content;
mod ends;
mod engine;
mod facts;
mod forms;
mod hot;
mod parts;
mod payload;
mod requests;
mod rows;
mod translate;

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};

use self::engine::{Engine, Family, Stamped, adjacent};
use self::forms::{Json, Num, Str};
use self::translate::Told;
use super::elements::Batch;
use super::event::{Event, RunRef};
use super::item::{Item, LogPage, Sink};
use super::rejection::Rejection;
use super::rows::{CostOfTask, RowOfRun, RunsAsked};
use super::sse::Frame;
use super::time::Time;
use super::utf8::text;

/// The dialect. It keeps nothing from one frame to the next.
#[derive(Debug)]
pub struct Akribes {
    capture: bool,
}

impl Akribes {
    /// The types that are told apart.
    pub const EVENT_TYPES: &'static [&'static str] = engine::EVENT_TYPES;

    /// A reader that keeps private texts only if they may leave.
    pub const fn new(capture: bool) -> Self {
        Self { capture }
    }

    /// The path and query of the event feed, behind the server's base URL.
    pub fn feed_target(project: Option<i64>, script: Option<&str>) -> String {
        requests::feed(project, script)
    }

    /// The path and query of a page of a run's log.
    pub fn log_target(run_id: &str, after: u64, limit: usize) -> String {
        requests::log(run_id, after, limit)
    }

    /// The path of a run's row.
    pub fn row_target(run_id: &str) -> String {
        requests::row(run_id)
    }

    /// The path of what a run's tasks cost.
    pub fn tasks_target(run_id: &str) -> String {
        requests::tasks(run_id)
    }

    /// The path and query of a page of a project's runs.
    pub fn runs_target(asked: &RunsAsked) -> String {
        requests::runs(asked)
    }

    /// Reads a run's row.
    pub fn read_row(answer: &[u8]) -> Result<RowOfRun, Rejection> {
        rows::row(answer)
    }

    /// Reads a page of a project's runs.
    pub fn read_rows(answer: &[u8]) -> Result<Vec<RowOfRun>, Rejection> {
        rows::rows(answer)
    }

    /// Reads what a run's tasks cost.
    pub fn read_tasks(answer: &[u8]) -> Result<Vec<CostOfTask>, Rejection> {
        rows::tasks(answer)
    }

    /// Reads one frame of the feed.
    pub fn read(&mut self, frame: &Frame<'_>, sink: &mut Sink<'_>) {
        let (data, replaced) = text(frame.data);
        if replaced {
            sink(Item::Rejected(Rejection::InvalidUtf8));
        }
        match frame.event {
            b"" | b"batch" | b"message" => self.batch(&data, frame_position(frame), sink),
            b"error" | b"lagged" => sink(lag_notice(&data)),
            _ => sink(Item::Rejected(Rejection::UnknownFrame)),
        }
    }

    /// Reads one page of `GET /executions/{id}/events`.
    pub fn read_log(
        &mut self,
        run: &RunRef<'_>,
        page: &[u8],
        sink: &mut Sink<'_>,
    ) -> Result<LogPage, Rejection> {
        #[derive(Deserialize)]
        struct Page<'a> {
            #[serde(borrow)]
            events: Json<'a>,
            #[serde(default)]
            complete: bool,
            #[serde(default)]
            next_after_id: Option<Num>,
            #[serde(default)]
            has_more: bool,
        }
        let (data, _) = text(page);
        let page: Page<'_> = rows::read(&data)?;
        if !page.events.0.starts_with('[') {
            return Err(Rejection::WrongShape);
        }
        let mut elements = Batch::new(page.events.0);
        while let Some(element) = elements.next::<LogElement<'_>>() {
            match element {
                Ok(LogElement(stamped)) => self.execution(
                    Execution {
                        project_id: run.project,
                        script_name: Str(Cow::Borrowed(&run.workflow)),
                        execution_id: Str(run.id.as_deref().unwrap_or_default().into()),
                        event: stamped.value,
                        seq: None,
                        at: stamped.at,
                    },
                    None,
                    sink,
                ),
                Err(malformed) => sink(Item::Rejected(malformed.rejection)),
            }
        }
        Ok(LogPage {
            next_after: page.next_after_id.map(|n| n.0),
            has_more: page.has_more,
            complete: page.complete,
        })
    }

    fn batch(&self, data: &str, position: Option<u64>, sink: &mut Sink<'_>) {
        let mut elements = Batch::new(data);
        while elements.offer(|text| self.hot(text, position, sink))
            || self.element(&mut elements, position, sink)
        {}
    }

    /// Reads an element in the plain form in which most come, and tells how many
    /// bytes it took.
    #[inline(always)]
    fn hot(&self, text: &str, position: Option<u64>, sink: &mut Sink<'_>) -> Option<usize> {
        let (execution, bytes) = hot::execution(text)?;
        self.execution(execution, position, sink);
        Some(bytes)
    }

    /// Reads the next element, whatever it is, and tells whether there was one.
    fn element(
        &self,
        elements: &mut Batch<'_>,
        position: Option<u64>,
        sink: &mut Sink<'_>,
    ) -> bool {
        let Some(element) = elements.next::<Hub<'_>>() else {
            return false;
        };
        match element {
            Ok(Hub::Execution(execution)) => self.execution(execution, position, sink),
            Ok(Hub::Registry(_)) => sink(Item::Other {
                type_index: engine::REGISTRY,
            }),
            Ok(Hub::Bench(_)) => sink(Item::Other {
                type_index: engine::BENCH,
            }),
            Ok(Hub::Unknown) => sink(Item::Other {
                type_index: engine::UNKNOWN,
            }),
            Err(malformed) => sink(Item::Rejected(malformed.rejection)),
        }
        true
    }

    /// `position` is that of the newest event of the frame: it stands in where
    /// the event does not tell its own.
    #[inline(always)]
    fn execution<'a>(
        &self,
        execution: Execution<'a, impl Told<'a>>,
        position: Option<u64>,
        sink: &mut Sink<'_>,
    ) {
        let Execution {
            project_id,
            script_name,
            execution_id,
            event,
            seq,
            at,
        } = execution;
        let fingerprint = event.fingerprint();
        let at = at.and_then(|at| {
            let time = Time::parse_rfc3339(&at.0);
            if time.is_none() {
                sink(Item::Rejected(Rejection::InvalidTime));
            }
            time
        });
        match event.translate(self.capture) {
            Ok(translated) => sink(Item::Event {
                type_index: translated.type_index,
                event: Event {
                    run: RunRef {
                        project: project_id,
                        workflow: script_name.0,
                        id: (!execution_id.0.is_empty()).then_some(execution_id.0),
                        epoch: None,
                    },
                    at,
                    seq: seq.map(|n| n.0),
                    log_position: seq.map(|n| n.0).or(position),
                    fingerprint,
                    scope: translated.scope,
                    what: translated.what,
                },
            }),
            Err(rejection) => sink(Item::Rejected(rejection)),
        }
    }
}

/// The cursor of a frame, if it is a place in the server's log.
fn frame_position(frame: &Frame<'_>) -> Option<u64> {
    if frame.id_in_frame {
        frame.id.parse().ok()
    } else {
        None
    }
}

/// `{"lagged":5}` or `{"dropped":5}`; anything else under these names is unknown.
fn lag_notice(data: &str) -> Item<'static> {
    #[derive(Deserialize)]
    struct Notice {
        #[serde(alias = "dropped")]
        lagged: Option<Num>,
    }
    match serde_json::from_str::<Notice>(data) {
        Ok(Notice {
            lagged: Some(count),
        }) => Item::Lost {
            count: Some(count.0),
        },
        _ => Item::Rejected(Rejection::UnknownFrame),
    }
}

/// One element of a batch.
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is the common one, and none is kept"
)]
enum Hub<'a> {
    Execution(Execution<'a>),
    Registry(IgnoredAny),
    Bench(IgnoredAny),
    Unknown,
}

#[derive(Debug, Deserialize)]
struct Execution<'a, E = Engine<'a>> {
    #[serde(default)]
    project_id: Option<i64>,
    #[serde(borrow)]
    script_name: Str<'a>,
    #[serde(default, borrow)]
    execution_id: Str<'a>,
    event: E,
    #[serde(default)]
    seq: Option<Num>,
    #[serde(default, borrow)]
    at: Option<Str<'a>>,
}

#[derive(Clone, Copy)]
enum HubTag {
    Execution,
    Registry,
    Bench,
    Unknown,
}

impl<'de: 'a, 'a> Family<'de> for Hub<'a> {
    type Tag = HubTag;

    fn tag(name: &str) -> HubTag {
        match name {
            "Execution" => HubTag::Execution,
            "Registry" => HubTag::Registry,
            "Bench" => HubTag::Bench,
            _ => HubTag::Unknown,
        }
    }

    fn read<D: Deserializer<'de>>(tag: HubTag, d: D) -> Result<Self, D::Error> {
        Ok(match tag {
            HubTag::Execution => Hub::Execution(Execution::deserialize(d)?),
            HubTag::Registry => Hub::Registry(IgnoredAny::deserialize(d)?),
            HubTag::Bench => Hub::Bench(IgnoredAny::deserialize(d)?),
            HubTag::Unknown => {
                IgnoredAny::deserialize(d)?;
                Hub::Unknown
            }
        })
    }

    fn bare(tag: HubTag) -> Option<Self> {
        matches!(tag, HubTag::Unknown).then_some(Hub::Unknown)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Hub<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        adjacent(d).map(|stamped| stamped.value)
    }
}

/// An engine event of a log page, with the server's stamp beside its tag.
struct LogElement<'a>(Stamped<'a, Engine<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for LogElement<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        adjacent(d).map(LogElement)
    }
}
