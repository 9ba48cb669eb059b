//! One connection: from the request to the head of the answer.

use http::header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Response, Url};

use super::answer::{Failure, judge};
use super::server::{self, Server};
use super::wording::Asked;
use super::{FeedScope, LossKind, SourceError, SourceSettings};
use crate::net::clock::now;
use crate::net::secret::Secret;
use crate::net::tls::RenewedClient;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Makes the connections of all feeds of a source.
#[derive(Debug)]
pub(super) struct Connector {
    client: RenewedClient,
    /// With the address of each.
    feeds: Vec<(FeedScope, Url)>,
    pub(super) server: Server,
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
        let server = Server::new(&settings)?;
        if settings.feeds.is_empty() {
            return Err(SourceError::NoFeed);
        }
        let (tls, url) = (settings.tls.clone(), settings.url.clone());
        let client = RenewedClient::new(&settings.tls, move || {
            let builder = server::client_builder(&tls, &url)?
                // A connection each, so that TCP holds back one feed and not the
                // others; and a new one each time, not one that died in a pool.
                .pool_max_idle_per_host(0);
            builder.build().map_err(SourceError::Client)
        })?;
        let address = |scope: &FeedScope| {
            let target = (server.dialect).feed_target(scope.project, scope.script.as_deref());
            server.address(&target)
        };
        let feeds = settings.feeds.iter();
        Ok(Self {
            feeds: feeds.map(|scope| (scope.clone(), address(scope))).collect(),
            client,
            server,
            settings,
        })
    }

    /// What a feed tells of.
    pub(super) fn scope(&self, feed: usize) -> &FeedScope {
        &self.feeds[feed].0
    }

    /// Asks for a feed, from behind the cursor on. Ends within `connect_time_max`.
    pub(super) async fn connect(&self, feed: usize, cursor: &str) -> Attempt {
        let url = &self.feeds[feed].1;
        let asked = self.asked(feed, None);
        let token = match self.server.token().await {
            Ok(token) => token,
            Err(error) => {
                let failure = Failure::new(LossKind::Token, asked.token(&error));
                return Attempt {
                    answer: Err(failure),
                    token: None,
                };
            }
        };
        let asked = self.asked(feed, token.as_ref());
        Attempt {
            answer: self.ask(asked, url, cursor).await,
            token,
        }
    }

    /// What sentences about a feed are made of.
    pub(super) fn asked<'a>(&'a self, feed: usize, token: Option<&'a Secret>) -> Asked<'a> {
        Asked {
            settings: &self.settings,
            scope: self.scope(feed),
            token,
        }
    }

    async fn ask(&self, asked: Asked<'_>, url: &Url, cursor: &str) -> Result<Response, Failure> {
        let unreachable = |message| Failure::new(LossKind::Unreachable, message);
        let within = self.settings.connect_time_max;
        let request = self.client.get().get(url.clone());
        let request = request.headers(head(asked.token, cursor));
        let sent = tokio::time::timeout(within, request.send())
            .await
            .map_err(|_| unreachable(asked.no_answer(within)))?;
        self.client.renew_after(&sent).await;
        let response = sent.map_err(|error| unreachable(asked.unreachable(&error)))?;
        judge(asked, response.status(), response.headers(), now())?;
        Ok(response)
    }
}

fn head(token: Option<&Secret>, cursor: &str) -> HeaderMap {
    let mut head = HeaderMap::new();
    head.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    head.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    head.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    server::authorize(&mut head, token);
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
    use http::header::AUTHORIZATION;

    use super::*;

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
