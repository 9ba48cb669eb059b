//! The API of runs, for the machine it runs on, and for whoever has the token.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde::Serialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};

use super::spans::lines;
use super::{Ask, RunDetail, RunsQuery};
use crate::limits::API_CONNECTIONS_MAX;
use crate::net::loopback::is_loopback;
use crate::net::secret::TokenSource;
use crate::net::serve::{Body, ServeLimits, WhenFull, json, serve};
use crate::printed::printed;
use crate::trace::batch::ResourceInfo;

/// What the API needs to know.
#[derive(Debug)]
pub struct ApiSettings {
    /// Whom to ask.
    pub asks: mpsc::Sender<Ask>,
    /// Whose spans they are.
    pub resource: ResourceInfo,
    /// What it asks for; without it only this machine may ask.
    pub token: Option<TokenSource>,
}

/// The API.
#[derive(Debug, Clone)]
pub struct Api(Arc<ApiSettings>);

/// A reader that takes longer than this for an answer does not get the rest.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(120);

/// How long the main loop may take to answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// Runs on one page, unless told, and at most.
const RUNS_PER_PAGE: usize = 50;
const RUNS_PER_PAGE_MAX: usize = 500;

const ROUTES: &str =
    "there are /api/runs, /api/runs/{id}, /api/runs/{id}/summary and /api/runs/{id}/spans";

impl Api {
    /// One that asks there.
    pub fn new(settings: ApiSettings) -> Self {
        Self(Arc::new(settings))
    }

    /// Serves until it is told to stop.
    pub async fn serve(self, listener: TcpListener, stop: watch::Receiver<bool>) {
        let limits = ServeLimits {
            connections_max: API_CONNECTIONS_MAX,
            when_full: WhenFull::CloseOldest,
            request_bytes_max: 0,
            connection_time_max: Some(CONNECTION_TIME_MAX),
            keep_alive: false,
            ..ServeLimits::default()
        };
        serve(listener, limits, stop, move |_, request| {
            let api = self.clone();
            async move { api.answer(&request).await }
        })
        .await;
    }

    async fn answer(&self, request: &Request<Bytes>) -> Response<Body> {
        if let Err(refusal) = self.admit(request) {
            return *refusal;
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return problem(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
        }
        let path = request.uri().path();
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        match parts[..] {
            ["api", "runs"] => match query(request.uri().query().unwrap_or_default()) {
                Ok(query) => self.runs(query).await,
                Err(message) => problem(StatusCode::BAD_REQUEST, &message),
            },
            ["api", "runs", id] => self.run(id, detail).await,
            ["api", "runs", id, "summary"] => {
                let summary =
                    |run: RunDetail| json(StatusCode::OK, run.summary.as_bytes().to_vec());
                self.run(id, summary).await
            }
            ["api", "runs", id, "spans"] => {
                let resource = &self.0.resource;
                self.run(id, |run| lines(resource, run.spans.spans)).await
            }
            _ => problem(StatusCode::NOT_FOUND, ROUTES),
        }
    }

    /// With a token: whoever has it. Without one: this machine, and no web page
    /// that a browser on it happens to show under another name.
    fn admit(&self, request: &Request<Bytes>) -> Result<(), Box<Response<Body>>> {
        let Some(token) = &self.0.token else {
            let host = request.headers().get(HOST);
            return match host.is_none_or(names_loopback) {
                true => Ok(()),
                false => Err(Box::new(problem(
                    StatusCode::FORBIDDEN,
                    "ask for localhost, 127.0.0.1 or [::1]",
                ))),
            };
        };
        let presented = request.headers().get(AUTHORIZATION);
        let presented = presented.and_then(|value| {
            let (scheme, token) = value.as_bytes().split_at_checked(7)?;
            scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
        });
        match (token.read(), presented) {
            (Ok(token), Some(presented)) if token.is(presented) => Ok(()),
            (Err(error), _) => {
                tracing::warn!(%error, "the API has no token to compare with, so it answers nobody");
                Err(Box::new(problem(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "no token is configured that can be read",
                )))
            }
            _ => {
                let mut refusal = problem(StatusCode::UNAUTHORIZED, "a bearer token is needed");
                refusal
                    .headers_mut()
                    .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                Err(Box::new(refusal))
            }
        }
    }

    async fn runs(&self, query: RunsQuery) -> Response<Body> {
        match self.ask(|reply| Ask::Runs(query, reply)).await {
            Some(page) => shown(&page),
            None => silent(),
        }
    }

    async fn run(
        &self,
        id: &str,
        show: impl FnOnce(RunDetail) -> Response<Body>,
    ) -> Response<Body> {
        match self.ask(|reply| Ask::Run(id.to_owned(), reply)).await {
            Some(Some(run)) => show(run),
            Some(None) => problem(
                StatusCode::NOT_FOUND,
                "no such run is open, or ended lately enough to be remembered",
            ),
            None => silent(),
        }
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.0.asks.send(ask(reply)).await.ok()?;
            answer.await.ok()
        };
        tokio::time::timeout(ANSWER_TIME_MAX, asked).await.ok()?
    }
}

/// One run: its line, and where the rest is.
fn detail(run: RunDetail) -> Response<Body> {
    #[derive(Serialize)]
    struct Detail<'a> {
        #[serde(flatten)]
        row: &'a crate::sidecar::book::RunRow,
        spans: usize,
        spans_forgotten: u64,
    }
    shown(&Detail {
        row: &run.row,
        spans: run.spans.spans.len(),
        spans_forgotten: run.spans.forgotten,
    })
}

fn query(text: &str) -> Result<RunsQuery, String> {
    let mut query = RunsQuery {
        state: None,
        workflow: None,
        limit: RUNS_PER_PAGE,
    };
    let address = format!("http://localhost/?{text}");
    let pairs = reqwest::Url::parse(&address).map_err(|_| "the query cannot be read".to_owned())?;
    for (key, value) in pairs.query_pairs() {
        match &*key {
            "state" => query.state = Some(value.into_owned()),
            "workflow" => query.workflow = Some(value.into_owned()),
            "limit" => {
                query.limit = value
                    .parse()
                    .ok()
                    .filter(|limit| (1..=RUNS_PER_PAGE_MAX).contains(limit))
                    .ok_or(format!("limit must be between 1 and {RUNS_PER_PAGE_MAX}"))?;
            }
            _ => return Err("the query may have state, workflow and limit".to_owned()),
        }
    }
    Ok(query)
}

fn names_loopback(host: &HeaderValue) -> bool {
    let host = host.to_str().ok();
    let authority = host.and_then(|host| host.parse::<http::uri::Authority>().ok());
    authority.is_some_and(|authority| is_loopback(authority.host()))
}

fn shown(value: &impl Serialize) -> Response<Body> {
    // Our own values have no key that is no text.
    let text = serde_json::to_string(value).unwrap_or_default();
    json(StatusCode::OK, printed(text))
}

fn silent() -> Response<Body> {
    problem(
        StatusCode::SERVICE_UNAVAILABLE,
        "the main loop does not answer",
    )
}

fn problem(status: StatusCode, message: &str) -> Response<Body> {
    json(status, json!({ "error": message }).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_narrows_and_what_it_does_not_know_is_refused() {
        let all = query("state=open&workflow=a%20b&limit=3").unwrap();
        assert_eq!(all.state.as_deref(), Some("open"));
        assert_eq!(all.workflow.as_deref(), Some("a b"));
        assert_eq!(all.limit, 3);
        assert_eq!(query("").unwrap().limit, RUNS_PER_PAGE);
        for wrong in ["limit=0", "limit=501", "limit=x", "colour=red"] {
            assert!(query(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for host in [
            "localhost",
            "LocalHost:9465",
            "127.0.0.1:9465",
            "[::1]:9465",
            "127.9.9.9",
        ] {
            assert!(
                names_loopback(&HeaderValue::from_str(host).unwrap()),
                "{host}"
            );
        }
        for host in [
            "example.com",
            "localhost.example.com",
            "10.0.0.1:9465",
            "",
            "a b",
        ] {
            assert!(
                !names_loopback(&HeaderValue::from_str(host).unwrap()),
                "{host}"
            );
        }
    }
}
