//! One request: from the address to the last byte of the answer.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderValue, LOCATION};
use reqwest::Response;

use super::AskerSettings;
use super::said::Trouble;
use crate::net::clock::now;
use crate::net::retry_after::retry_after;
use crate::net::secret::Secret;
use crate::net::tls::RenewedClient;
use crate::source::server::{self, Server};
use crate::source::wording::{self, Asked};
use crate::source::{FeedScope, SourceError, SourceSettings};

/// How long a connection is kept for the next request.
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);

/// Asks one server, over connections of its own.
#[derive(Debug)]
pub(super) struct Caller {
    client: RenewedClient,
    pub(super) server: Server,
    source: SourceSettings,
    bytes_max: usize,
}

/// What came of asking.
#[derive(Debug)]
pub(super) enum Got {
    Answer(Bytes),
    /// 404: there is none, or none that may be seen.
    Gone,
    /// 401, 403.
    Forbidden(Complaint),
    /// The answer is larger than may be.
    TooLarge,
    /// The answer is none, and asking again would not help.
    Unusable(Complaint),
    /// This failed; another request may not. How long to wait, where it is told.
    Failed(Option<Duration>),
    /// The server is to be left alone, for so long where it is told.
    Away(Complaint, Option<Duration>),
}

/// What is wrong, in a sentence.
#[derive(Debug)]
pub(super) struct Complaint {
    pub(super) trouble: Trouble,
    pub(super) message: String,
}

impl Caller {
    pub(super) fn new(settings: &AskerSettings) -> Result<Self, SourceError> {
        let source = settings.source.clone();
        let server = Server::new(&source)?;
        let (tls, url) = (source.tls.clone(), source.url.clone());
        let in_flight_max = settings.in_flight_max;
        let connect_time_max = source.connect_time_max;
        let client = RenewedClient::new(&source.tls, move || {
            let builder = server::client_builder(&tls, &url)?
                .connect_timeout(connect_time_max)
                .pool_max_idle_per_host(in_flight_max)
                .pool_idle_timeout(IDLE_TIME_MAX);
            builder.build().map_err(SourceError::Client)
        })?;
        Ok(Self {
            client,
            server,
            source,
            bytes_max: settings.answer_bytes_max,
        })
    }

    /// Asks, and reads the answer to its end, within a time.
    pub(super) async fn call(&self, target: &str, project: Option<i64>, within: Duration) -> Got {
        let scope = FeedScope {
            project,
            script: None,
        };
        let asked = Asked {
            settings: &self.source,
            scope: &scope,
            token: None,
        };
        let answer = tokio::time::timeout(within, self.ask(target, asked));
        answer.await.unwrap_or(Got::Failed(None))
    }

    async fn ask(&self, target: &str, asked: Asked<'_>) -> Got {
        let mut sent = None;
        loop {
            let token = match self.server.token().await {
                Ok(token) => token,
                Err(error) => return away(asked.token(&error)),
            };
            let asked = Asked {
                token: token.as_ref(),
                ..asked
            };
            let got = self.ask_with(target, asked).await;
            // One that was changed while it was on its way is no wrong one.
            let is_refused = matches!(
                &got,
                Got::Forbidden(complaint) if complaint.trouble == Trouble::Refused(401)
            );
            let is_first = sent.replace(()).is_none();
            if !is_refused || !is_first || !self.has_other_token(token.as_ref()).await {
                return got;
            }
        }
    }

    async fn has_other_token(&self, sent: Option<&Secret>) -> bool {
        self.server.token_may_change() && self.server.has_other_token(sent).await
    }

    async fn ask_with(&self, target: &str, asked: Asked<'_>) -> Got {
        let url = self.server.address(target);
        let request = self.client.get().get(url).headers(head(asked.token));
        let sent = request.send().await;
        self.client.renew_after(&sent).await;
        match sent {
            Ok(response) => match judge(asked, response.status(), response.headers()) {
                Ok(()) => self.body(response, asked).await,
                Err(got) => got,
            },
            Err(error) if error.is_connect() => away(asked.unreachable(&error)),
            Err(_) => Got::Failed(None),
        }
    }

    /// Reads no further than it must: what is too large is let go of.
    async fn body(&self, mut response: Response, asked: Asked<'_>) -> Got {
        let told = response.content_length().unwrap_or(0);
        let Some(room) = usize::try_from(told).ok().filter(|n| *n <= self.bytes_max) else {
            return Got::TooLarge;
        };
        let mut body = Vec::with_capacity(room);
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > self.bytes_max => {
                    return Got::TooLarge;
                }
                Ok(Some(chunk)) => {
                    make_room(&mut body, chunk.len(), self.bytes_max);
                    body.extend_from_slice(&chunk);
                }
                Ok(None) => break,
                Err(_) => return Got::Failed(None),
            }
        }
        if !matches!(body.trim_ascii_start().first(), Some(b'{' | b'[')) {
            return strange(Trouble::Strange, asked.no_json());
        }
        Got::Answer(body.into())
    }
}

/// Room for so much more. It doubles as a vector's does, but never beyond the
/// bound, since that is what is counted with.
fn make_room(body: &mut Vec<u8>, more: usize, bytes_max: usize) {
    let needed = body.len() + more;
    if needed > body.capacity() {
        let room = (2 * body.capacity()).clamp(needed, bytes_max.max(needed));
        body.reserve_exact(room - body.len());
    }
}

fn head(token: Option<&Secret>) -> HeaderMap {
    let mut head = HeaderMap::new();
    head.insert(ACCEPT, HeaderValue::from_static("application/json"));
    head.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    server::authorize(&mut head, token);
    head
}

/// Whether this is the head of an answer.
fn judge(asked: Asked<'_>, status: StatusCode, headers: &HeaderMap) -> Result<(), Got> {
    let code = status.as_u16();
    let forbidden = |message| {
        Got::Forbidden(Complaint {
            trouble: Trouble::Refused(code),
            message,
        })
    };
    let wait = || retry_after(headers, now());
    let busy = |message| {
        let trouble = Trouble::Busy;
        Got::Away(Complaint { trouble, message }, wait())
    };
    Err(match code {
        200 => match headers.get(CONTENT_ENCODING) {
            Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") => {
                strange(Trouble::Strange, asked.no_json())
            }
            _ => return Ok(()),
        },
        404 | 410 => Got::Gone,
        401 => forbidden(asked.unauthorized()),
        403 => forbidden(asked.may_not_read()),
        429 => busy(wording::too_many_requests()),
        503 => busy(wording::busy(code)),
        408 | 425 | 500.. => Got::Failed(wait()),
        300..=399 => {
            let location = asked.header(headers, LOCATION);
            let message = asked.redirected(code, location.as_deref());
            strange(Trouble::Refused(code), message)
        }
        _ => strange(Trouble::Refused(code), asked.refused(code)),
    })
}

fn away(message: String) -> Got {
    let trouble = Trouble::Away;
    Got::Away(Complaint { trouble, message }, None)
}

const fn strange(trouble: Trouble, message: String) -> Got {
    Got::Unusable(Complaint { trouble, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_takes_no_more_room_than_an_answer_may_have() {
        let mut body = Vec::new();
        let mut grown = 0;
        while body.len() < 100_000 {
            let before = body.capacity();
            make_room(&mut body, 100, 100_000);
            grown += u32::from(body.capacity() != before);
            body.extend_from_slice(&[0; 100]);
        }
        assert_eq!(body.capacity(), 100_000);
        assert!(grown < 15, "{grown}");
    }
}
