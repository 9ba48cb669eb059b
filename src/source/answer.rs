//! What the head of an answer means: a feed, or a reason why not.

use std::time::Duration;

use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, LOCATION};

use super::LossKind;
use super::wording::{self, Asked};
use crate::net::retry_after::retry_after;
use crate::wire::time::Time;

/// Why there is no feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: LossKind,
    pub(super) message: String,
    /// How long the server asked to wait.
    pub(super) retry_after: Option<Duration>,
}

impl Failure {
    pub(super) const fn new(kind: LossKind, message: String) -> Self {
        Self {
            kind,
            message,
            retry_after: None,
        }
    }
}

/// Whether this is the head of a feed. `now` is for servers that name a time to
/// come back at, but not their own.
pub(super) fn judge(
    asked: Asked<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    now: Time,
) -> Result<(), Failure> {
    let verdict = if status == StatusCode::OK {
        content(asked, headers)
    } else {
        Err(no_feed(asked, status, headers))
    };
    verdict.map_err(|(kind, message)| Failure {
        kind,
        message,
        retry_after: retry_after(headers, now),
    })
}

fn no_feed(asked: Asked<'_>, status: StatusCode, headers: &HeaderMap) -> (LossKind, String) {
    let code = status.as_u16();
    match code {
        204 => (LossKind::Ended, wording::no_content()),
        401 => (LossKind::Refused(code), asked.unauthorized()),
        403 => (LossKind::Refused(code), asked.forbidden()),
        404 => (LossKind::Refused(code), asked.not_found()),
        407 => (LossKind::Refused(code), wording::proxy_refuses()),
        429 => (LossKind::Busy(code), wording::too_many_requests()),
        408 | 425 | 500.. => (LossKind::Busy(code), wording::busy(code)),
        300..=399 => {
            let location = asked.header(headers, LOCATION);
            let message = asked.redirected(code, location.as_deref());
            (LossKind::Refused(code), message)
        }
        400..=499 => (LossKind::Refused(code), asked.refused(code)),
        _ => (LossKind::Refused(code), asked.other_success(code)),
    }
}

/// The answer is a success: is it a feed too?
fn content(asked: Asked<'_>, headers: &HeaderMap) -> Result<(), (LossKind, String)> {
    let refused = |message| Err((LossKind::Refused(StatusCode::OK.as_u16()), message));
    let kind = asked.header(headers, CONTENT_TYPE);
    let essence = kind
        .as_deref()
        .and_then(|whole| whole.split(';').next())
        .map(|essence| essence.trim().to_ascii_lowercase());
    if essence.as_deref() != Some("text/event-stream") {
        return refused(asked.other_content(essence.as_deref()));
    }
    match headers.get(CONTENT_ENCODING) {
        Some(coded) if !coded.as_bytes().eq_ignore_ascii_case(b"identity") => {
            let encoding = asked.header(headers, CONTENT_ENCODING);
            refused(asked.encoded(encoding.as_deref().unwrap_or_default()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
