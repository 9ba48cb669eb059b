//! The trace backend: it remembers each span by its id, and is not always well.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use fastrand::Rng;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::receiver::{Received, Receiver, Reply, Wire};

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Takes,
    /// It takes the data, and breaks off in its answer.
    Cuts,
    /// All requests are answered with this status.
    Answers(u16),
    Hangs,
    /// One request so, the next one so.
    Changes,
    /// Nothing listens.
    Away,
}

/// A span's trace id and id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ids(pub(crate) Vec<u8>, pub(crate) Vec<u8>);

impl fmt::Debug for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |f: &mut fmt::Formatter<'_>, bytes: &[u8]| {
            bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        };
        hex(f, &self.0)?;
        f.write_str("/")?;
        hex(f, &self.1)
    }
}

/// A span as it came, with what it was of.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) span: Span,
    pub(crate) around: Arc<str>,
    /// Whether the backend has it: it came in a request that was not refused.
    pub(crate) is_held: bool,
    /// The life of the program that was last told so.
    answered_in: Option<u32>,
    /// The life in which it first came.
    first_in: u32,
}

/// Tells a span that the backend cannot stand.
type Poison = Box<dyn Fn(&Span) -> bool + Send>;

/// All that came.
#[derive(Default)]
pub(crate) struct Book {
    pub(crate) spans: BTreeMap<Ids, Seen>,
    pub(crate) requests: u64,
    /// Ids that came with two contents: the first span, and the other.
    pub(crate) two_contents: Vec<(Ids, Seen, Seen)>,
    /// Bodies that came again though a life had been told that they were taken:
    /// that life, the one in which they came again, and the first span.
    pub(crate) again: BTreeSet<(u32, u32, Ids)>,
    pub(crate) mood: Option<Mood>,
    poison: Option<Poison>,
}

/// The backend, at an address that it keeps.
pub(crate) struct Backend {
    pub(crate) addr: SocketAddr,
    receiver: Option<Receiver>,
    book: Arc<Mutex<Book>>,
}

impl Backend {
    pub(crate) async fn start() -> Self {
        let book = Arc::new(Mutex::new(Book::default()));
        let receiver = listen("127.0.0.1:0".parse().unwrap(), &book).await;
        Self {
            addr: receiver.addr,
            receiver: Some(receiver),
            book,
        }
    }

    /// From now on it is so.
    pub(crate) async fn mood(&mut self, mood: Mood) {
        self.book().mood = Some(mood);
        match (mood, &mut self.receiver) {
            (Mood::Away, Some(receiver)) => {
                receiver.stop().await;
                self.receiver = None;
            }
            (Mood::Away, None) | (_, Some(_)) => {}
            (_, None) => self.receiver = Some(listen(self.addr, &self.book).await),
        }
    }

    /// From now on it refuses each request that holds such a span.
    pub(crate) fn poison(&self, poison: impl Fn(&Span) -> bool + Send + 'static) {
        self.book().poison = Some(Box::new(poison));
    }

    /// From now on it stands all of them again.
    pub(crate) fn heal(&self) {
        self.book().poison = None;
    }

    /// The variables that lead a life of the program here.
    pub(crate) fn variables(&self, life: u32) -> Vec<(&'static str, String)> {
        vec![
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                format!("http://{}", self.addr),
            ),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000".to_owned()),
            ("OTEL_EXPORTER_OTLP_HEADERS", format!("x-life={life}")),
        ]
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }
}

async fn listen(addr: SocketAddr, book: &Arc<Mutex<Book>>) -> Receiver {
    let book = Arc::clone(book);
    let script = move |received: &Received| book.lock().unwrap().receive(received);
    Receiver::listen(addr, Wire::Http, None, script).await
}

impl Book {
    /// The spans that the backend has, but for markers: when these are sent
    /// depends on when somebody looks.
    pub(crate) fn held(&self) -> BTreeMap<Ids, Seen> {
        let held = self.spans.iter().filter(|(_, seen)| seen.is_held);
        held.filter(|(_, seen)| !is_marker(&seen.span))
            .map(|(ids, seen)| (ids.clone(), seen.clone()))
            .collect()
    }

    /// How many these are.
    pub(crate) fn held_count(&self) -> usize {
        let held = self.spans.values().filter(|seen| seen.is_held);
        held.filter(|seen| !is_marker(&seen.span)).count()
    }

    /// How many runs have their root.
    pub(crate) fn roots(&self) -> usize {
        let held = self.spans.values().filter(|seen| seen.is_held);
        held.filter(|seen| seen.span.parent_span_id.is_empty())
            .count()
    }

    /// Notes a request, and tells what to answer.
    pub(crate) fn receive(&mut self, received: &Received) -> Reply {
        self.requests += 1;
        let life = received.header("x-life").parse().unwrap();
        let reply = self.reply(received);
        let answered = matches!(reply, Reply::Take);
        let held = answered || matches!(reply, Reply::Cut);
        let mut first = None;
        for of_resource in &received.request.resource_spans {
            for of_scope in &of_resource.scope_spans {
                let around = format!("{:?} {:?}", of_resource.resource, of_scope.scope);
                let around: Arc<str> = around.into();
                for span in &of_scope.spans {
                    let ids = Ids(span.trace_id.clone(), span.span_id.clone());
                    let first = first.get_or_insert_with(|| ids.clone());
                    self.note(ids, span, &around, life, first);
                }
            }
        }
        for span in received.spans() {
            let ids = Ids(span.trace_id.clone(), span.span_id.clone());
            let seen = self.spans.get_mut(&ids).unwrap();
            seen.is_held |= held;
            if answered {
                seen.answered_in = Some(life);
            }
        }
        reply
    }

    fn note(&mut self, ids: Ids, span: &Span, around: &Arc<str>, life: u32, first: &Ids) {
        let new = Seen {
            span: span.clone(),
            around: Arc::clone(around),
            is_held: false,
            answered_in: None,
            first_in: life,
        };
        let Some(old) = self.spans.get(&ids) else {
            self.spans.insert(ids, new);
            return;
        };
        if let Some(told) = old.answered_in {
            self.again.insert((told, life, first.clone()));
        }
        let is_same =
            old.around == new.around && old.span.encode_to_vec() == new.span.encode_to_vec();
        if !is_same {
            self.two_contents.push((ids, old.clone(), new));
        }
    }

    fn reply(&self, received: &Received) -> Reply {
        if let Some(poison) = &self.poison
            && received.spans().any(poison)
        {
            return Reply::Status(400, Vec::new(), "a span is unbearable".to_owned());
        }
        match self.mood.unwrap_or(Mood::Takes) {
            Mood::Takes | Mood::Away => Reply::Take,
            Mood::Cuts => Reply::Cut,
            Mood::Answers(status) => Reply::status(status),
            Mood::Hangs => Reply::Never,
            Mood::Changes => match Rng::with_seed(self.requests).u8(..10) {
                0 => Reply::Cut,
                1 => Reply::Never,
                2 => Reply::status(503),
                3 => Reply::Status(429, vec![("retry-after", "1".to_owned())], String::new()),
                _ => Reply::Take,
            },
        }
    }
}

impl Seen {
    /// The life in which it first came.
    pub(crate) const fn first_in(&self) -> u32 {
        self.first_in
    }
}

pub(crate) fn is_marker(span: &Span) -> bool {
    span.name.starts_with("run started ")
}
