//! One connection: from the request to the head of the answer.

use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue,
};
use reqwest::{Client, Response, Url};

use super::answer::{Failure, judge};
use super::wording::Asked;
use super::{FeedScope, LossKind, SourceError, SourceSettings};
use crate::core::UnknownSystem;
use crate::net::clock::now;
use crate::net::secret::{Secret, TokenError, TokenSource};
use crate::net::tls::client_builder;
use crate::wire::dialect::Dialect;

/// When the kernel asks whether the other side is still there.
const TCP_KEEPALIVE: std::time::Duration = std::time::Duration::from_secs(30);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Makes the connections of all feeds of a source.
#[derive(Debug)]
pub(super) struct Connector {
    client: Client,
    /// With the address of each.
    feeds: Vec<(FeedScope, Url)>,
    pub(super) settings: SourceSettings,
}

/// What came of trying to connect.
pub(super) struct Attempt {
    pub(super) answer: Result<Response, Failure>,
    /// The token that was sent; none where none could be read.
    pub(super) token: Option<Secret>,
}

impl Connector {
    pub(super) fn new(settings: SourceSettings) -> Result<Self, SourceError> {
        let dialect = Dialect::of(&settings.system, false)
            .ok_or_else(|| UnknownSystem(settings.system.clone()))?;
        if settings.feeds.is_empty() {
            return Err(SourceError::NoFeed);
        }
        check(&settings.url)?;
        let client = client_builder(&settings.tls)?
            // A connection each, so that TCP holds back one feed and not the
            // others; and a new one each time, not one that died in a pool.
            .http1_only()
            .pool_max_idle_per_host(0)
            .tcp_keepalive(TCP_KEEPALIVE)
            .build()
            .map_err(SourceError::Client)?;
        let address = |scope: &FeedScope| {
            let target = dialect.feed_target(scope.project, scope.script.as_deref());
            behind(&settings.url, &target)
        };
        let feeds = settings.feeds.iter();
        Ok(Self {
            feeds: feeds.map(|scope| (scope.clone(), address(scope))).collect(),
            client,
            settings,
        })
    }

    /// What a feed tells of.
    pub(super) fn scope(&self, feed: usize) -> &FeedScope {
        &self.feeds[feed].0
    }

    /// Asks for a feed, from behind the cursor on. Ends within `connect_time_max`.
    pub(super) async fn connect(&self, feed: usize, cursor: &str) -> Attempt {
        let (scope, url) = &self.feeds[feed];
        let asked = Asked {
            settings: &self.settings,
            scope,
        };
        let token = match self.token().await {
            Ok(token) => token,
            Err(error) => {
                let failure = Failure::new(LossKind::Token, asked.token(&error));
                return Attempt {
                    answer: Err(failure),
                    token: None,
                };
            }
        };
        Attempt {
            answer: self.ask(asked, url, token.as_ref(), cursor).await,
            token,
        }
    }

    async fn ask(
        &self,
        asked: Asked<'_>,
        url: &Url,
        token: Option<&Secret>,
        cursor: &str,
    ) -> Result<Response, Failure> {
        let unreachable = |message| Failure::new(LossKind::Unreachable, message);
        let within = self.settings.connect_time_max;
        let request = self.client.get(url.clone()).headers(head(token, cursor));
        let response = tokio::time::timeout(within, request.send())
            .await
            .map_err(|_| unreachable(asked.no_answer(within)))?
            .map_err(|error| unreachable(asked.unreachable(&error)))?;
        judge(asked, response.status(), response.headers(), now())?;
        Ok(response)
    }

    /// The token as it is now. Reading a file may take its time, on a disk that hangs.
    async fn token(&self) -> Result<Option<Secret>, TokenError> {
        match &self.settings.token {
            None => Ok(None),
            Some(value @ TokenSource::Value(_)) => value.read().map(Some),
            Some(file @ TokenSource::File(path)) => {
                let (file, path) = (file.clone(), path.clone());
                let read = tokio::task::spawn_blocking(move || file.read());
                let unreadable = |error| TokenError::Unreadable { path, error };
                match tokio::time::timeout(self.settings.connect_time_max, read).await {
                    Ok(Ok(token)) => token.map(Some),
                    // That happens only when the runtime is about to end.
                    Ok(Err(error)) => Err(unreadable(std::io::Error::other(error))),
                    Err(_) => Err(unreadable(std::io::ErrorKind::TimedOut.into())),
                }
            }
        }
    }

    /// Whether the token is another one than that which was sent.
    pub(super) async fn has_other_token(&self, sent: Option<&Secret>) -> bool {
        self.token().await.is_ok_and(|token| token.as_ref() != sent)
    }

    /// Whether the token can change by itself.
    pub(super) const fn token_may_change(&self) -> bool {
        matches!(self.settings.token, Some(TokenSource::File(_)))
    }
}

/// What a URL must be to be the base of a feed.
fn check(url: &Url) -> Result<(), SourceError> {
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(SourceError::Url("must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(SourceError::Url(
            "holds a user or a password, which nobody would read: give a token instead",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(SourceError::Url(
            "has a `?` or a `#`: it is the base that paths are added to, and a token never stands in it",
        ));
    }
    Ok(())
}

/// The address of a target behind a base URL, whatever the base ends with.
fn behind(base: &Url, target: &str) -> Url {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url.set_query(query);
    url
}

fn head(token: Option<&Secret>, cursor: &str) -> HeaderMap {
    let mut head = HeaderMap::new();
    head.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    head.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    head.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // What a token source gives, a header can carry.
    if let Some(Ok(mut bearer)) =
        token.map(|token| HeaderValue::try_from(format!("Bearer {}", token.reveal())))
    {
        bearer.set_sensitive(true);
        head.insert(AUTHORIZATION, bearer);
    }
    // A cursor that no header can carry is as good as none.
    if let Ok(cursor) = HeaderValue::from_bytes(cursor.as_bytes())
        && !cursor.is_empty()
    {
        head.insert(LAST_EVENT_ID, cursor);
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_goes_behind_the_whole_base() {
        for (base, address) in [
            ("https://h", "https://h/events?project_id=7"),
            ("https://h/", "https://h/events?project_id=7"),
            ("http://h:81/api", "http://h:81/api/events?project_id=7"),
            (
                "http://h:81/api/v1//",
                "http://h:81/api/v1/events?project_id=7",
            ),
            (
                "http://[::1]:81/a%20b",
                "http://[::1]:81/a%20b/events?project_id=7",
            ),
        ] {
            let base = Url::parse(base).unwrap();
            assert_eq!(behind(&base, "/events?project_id=7").as_str(), address);
        }
        let base = Url::parse("https://h").unwrap();
        assert_eq!(behind(&base, "/events").as_str(), "https://h/events");
    }

    #[test]
    fn a_base_that_would_hide_a_secret_or_lose_a_part_is_none() {
        for wrong in [
            "ftp://h",
            "unix:/run/server.sock",
            "http://user@h",
            "http://user:hunter2@h",
            "http://h/?token=hunter2",
            "http://h/#a",
        ] {
            let error = check(&Url::parse(wrong).unwrap()).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        assert!(check(&Url::parse("https://h/api/").unwrap()).is_ok());
    }

    #[test]
    fn a_token_is_marked_as_one_and_a_cursor_that_no_header_carries_is_left_out() {
        let token = Secret::new("hunter2");
        let head_with = |cursor| head(Some(&token), cursor);
        assert_eq!(head_with("7")[AUTHORIZATION], "Bearer hunter2");
        assert!(!format!("{:?}", head_with("7")).contains("hunter2"));
        assert_eq!(head_with("7")[LAST_EVENT_ID], "7");
        assert_eq!(head_with("ü")[LAST_EVENT_ID], "ü".as_bytes());
        for none in ["", "a\u{1}b"] {
            assert!(!head_with(none).contains_key(LAST_EVENT_ID), "{none:?}");
        }
        assert!(!head(None, "").contains_key(AUTHORIZATION));
    }
}
