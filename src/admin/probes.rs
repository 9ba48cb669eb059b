//! `/metrics`, `/healthz`, `/readyz`, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::VARY;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};

use super::page::{Crowded, Page};
use super::{Ask, accept};
use crate::limits::ADMIN_CONNECTIONS_MAX;
use crate::metrics::exposition::{Exposition, Form};
use crate::net::serve::{Body, Hangup, ServeLimits, WhenFull, serve, text, whole};
use crate::net::steady::SteadyClock;

/// What the listener shows.
#[derive(Debug)]
pub struct ProbesSettings {
    /// Where the metrics are.
    pub metrics: Exposition,
    /// Whom to ask whether the main loop lives.
    pub asks: mpsc::Sender<Ask>,
    /// Whether everything is configured and listening.
    pub ready: Arc<AtomicBool>,
}

/// The listener of metrics and probes.
#[derive(Debug, Clone)]
pub struct Probes {
    page: Arc<Page>,
    clock: SteadyClock,
    asks: mpsc::Sender<Ask>,
    ready: Arc<AtomicBool>,
}

/// A probe or a scrape is done far sooner.
const HEAD_TIME_MAX: Duration = Duration::from_secs(5);
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(60);

/// Slow readers of old pages are gone far sooner.
const PAGE_TIME_MAX: Duration = Duration::from_secs(5);

/// How long until it is seen that a reader is done, and has left room.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A main loop that takes longer than this to answer counts as hung.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

impl Probes {
    /// One that shows these.
    pub fn new(settings: ProbesSettings) -> Self {
        Self {
            page: Arc::new(Page::new(settings.metrics)),
            clock: SteadyClock::start(),
            asks: settings.asks,
            ready: settings.ready,
        }
    }

    /// Serves until it is told to stop.
    pub async fn serve(self, listener: TcpListener, stop: watch::Receiver<bool>) {
        let limits = ServeLimits {
            connections_max: ADMIN_CONNECTIONS_MAX,
            when_full: WhenFull::CloseOldest,
            head_time_max: HEAD_TIME_MAX,
            request_bytes_max: 0,
            connection_time_max: Some(CONNECTION_TIME_MAX),
            // A connection that is kept would take the place of a probe.
            keep_alive: false,
        };
        serve(listener, limits, stop, move |_, request| {
            let probes = self.clone();
            async move { probes.answer(&request).await }
        })
        .await;
    }

    async fn answer(&self, request: &Request<Bytes>) -> Response<Body> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        }
        match request.uri().path() {
            "/metrics" => self.metrics(request).await,
            "/healthz" => self.health().await,
            "/readyz" if self.ready.load(Ordering::Acquire) => text(StatusCode::OK, "ready\n"),
            "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            _ => text(
                StatusCode::NOT_FOUND,
                "there are /metrics, /healthz and /readyz\n",
            ),
        }
    }

    async fn metrics(&self, request: &Request<Bytes>) -> Response<Body> {
        let form = accept::form(request.headers());
        let reader = request.extensions().get();
        let reader: Hangup = reader.cloned().unwrap_or_else(|| Hangup::channel().0);
        let page = tokio::time::timeout(PAGE_TIME_MAX, self.page(form, &reader));
        let mut response = match page.await.ok().flatten() {
            Some(page) => whole(StatusCode::OK, form.content_type(), page),
            None => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many pages are on their way to readers that are too slow\n",
            ),
        };
        let headers = response.headers_mut();
        headers.insert(VARY, HeaderValue::from_static("Accept"));
        response
    }

    /// The page, once there is room for it: those who have read theirs for longest
    /// make it.
    async fn page(&self, form: Form, reader: &Hangup) -> Option<Bytes> {
        loop {
            let (page, clock, reader) = (Arc::clone(&self.page), self.clock, reader.clone());
            let text = move || page.text(form, || clock.now(), &reader);
            // A page that panics is none.
            match tokio::task::spawn_blocking(text).await.ok()? {
                Ok(page) => return Some(page),
                // Some may be done before.
                Err(Crowded::For(time)) => tokio::time::sleep(time.min(LOOK_AGAIN)).await,
                Err(Crowded::Until(readers)) => {
                    tracing::debug!("readers of a page of metrics are too slow, and make room");
                    for slow in &readers {
                        slow.hang_up();
                    }
                    for slow in &readers {
                        slow.done().await;
                    }
                    // Whoever has the page for a moment without reading it.
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    async fn health(&self) -> Response<Body> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.asks.send(Ask::Alive(reply)).await.ok()?;
            answer.await.ok()
        };
        match tokio::time::timeout(ANSWER_TIME_MAX, asked).await {
            Ok(Some(())) => text(StatusCode::OK, "alive\n"),
            _ => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "the main loop does not answer\n",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT, CONTENT_TYPE};
    use http_body_util::BodyExt;
    use tokio::time::Instant;

    use super::*;
    use crate::limits::Limits;
    use crate::metrics::{Metrics, Settings};

    fn metrics() -> Exposition {
        let settings = Settings::new(&Limits::default(), &["akribes"]);
        Metrics::new(&settings).unwrap().exposition().clone()
    }

    fn probes() -> (Probes, mpsc::Receiver<Ask>, Arc<AtomicBool>) {
        let (asks, asked) = mpsc::channel(1);
        let ready = Arc::new(AtomicBool::new(false));
        let probes = Probes::new(ProbesSettings {
            metrics: metrics(),
            asks,
            ready: Arc::clone(&ready),
        });
        (probes, asked, ready)
    }

    async fn status(probes: &Probes, method: Method, path: &str) -> StatusCode {
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Bytes::new()).unwrap();
        probes.answer(&request).await.status()
    }

    #[tokio::test(start_paused = true)]
    async fn a_main_loop_that_does_not_answer_is_dead() {
        let (probes, mut asked, _) = probes();
        let hung = status(&probes, Method::GET, "/healthz").await;
        assert_eq!(hung, StatusCode::SERVICE_UNAVAILABLE);
        // The question that nobody took still stands in the queue.
        asked.recv().await;
        let loop_of_its_own = tokio::spawn(async move {
            let Some(Ask::Alive(reply)) = asked.recv().await else {
                panic!("no other question was asked");
            };
            reply.send(()).unwrap();
            asked
        });
        assert_eq!(
            status(&probes, Method::GET, "/healthz").await,
            StatusCode::OK
        );
        drop(loop_of_its_own.await.unwrap());
        let gone = status(&probes, Method::GET, "/healthz").await;
        assert_eq!(gone, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test]
    async fn it_is_ready_when_it_says_so_and_no_longer_while_it_drains() {
        let (probes, _asked, ready) = probes();
        for (is_ready, expected) in [
            (false, StatusCode::SERVICE_UNAVAILABLE),
            (true, StatusCode::OK),
            (false, StatusCode::SERVICE_UNAVAILABLE),
        ] {
            ready.store(is_ready, Ordering::Release);
            assert_eq!(status(&probes, Method::GET, "/readyz").await, expected);
        }
    }

    #[tokio::test]
    async fn the_page_is_in_the_form_that_was_asked_for_and_says_so() {
        let (probes, _asked, _) = probes();
        for (accept, content_type, is_open) in [
            (
                "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                true,
            ),
            ("*/*", "text/plain; version=0.0.4; charset=utf-8", false),
        ] {
            let request = Request::get("/metrics").header(ACCEPT, accept);
            let answer = probes.answer(&request.body(Bytes::new()).unwrap()).await;
            assert_eq!(answer.headers()[CONTENT_TYPE], content_type);
            assert_eq!(answer.headers()[VARY], "Accept");
            let page = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(page.ends_with(b"\n# EOF\n"), is_open);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_wants_a_page_waits_until_slow_readers_have_had_their_time() {
        let (probes, _asked, _) = probes();
        let begin = Instant::now();
        let (first, mut hung_up) = Hangup::channel();
        let first = probes.page(Form::OpenMetrics, &first).await.unwrap();
        tokio::time::advance(Duration::from_millis(260)).await;
        let (second, kept) = Hangup::channel();
        let second = probes.page(Form::OpenMetrics, &second).await.unwrap();
        let cut = tokio::spawn(async move {
            hung_up.wait_for(|hung_up| *hung_up).await.unwrap();
            drop(first);
            Instant::now()
        });
        let (reader, _kept) = Hangup::channel();
        assert!(probes.page(Form::Classic, &reader).await.is_some());
        assert!(cut.await.unwrap() >= begin + Duration::from_secs(2));
        assert!(!*kept.borrow(), "the other one reads on");
        drop(second);
    }

    #[tokio::test]
    async fn there_is_nothing_else_and_nothing_to_change() {
        let (probes, _asked, _) = probes();
        let other = status(&probes, Method::GET, "/api/runs").await;
        assert_eq!(other, StatusCode::NOT_FOUND);
        let post = status(&probes, Method::POST, "/metrics").await;
        assert_eq!(post, StatusCode::METHOD_NOT_ALLOWED);
        let metrics = status(&probes, Method::GET, "/metrics").await;
        assert_eq!(metrics, StatusCode::OK);
    }
}
