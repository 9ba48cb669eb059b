//! What an answer means for the spans that were sent. Pure: the statuses and
//! codes are those of section 6 of the design, and one that is not named there
//! condemns no data.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::cause::{Cause, TlsTrouble};
use super::{RETRY_AFTER_MAX, grpc, said};
use crate::metrics::export::{RefusalReason, RequestResult};
use crate::net::retry_after::retry_after;
use crate::net::tls::may_be_of_certificate;
use crate::wire::time::Time;

/// What becomes of the spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The backend has them, but for so many.
    Taken {
        /// Spans that it will never take. It is not asked again.
        rejected: u64,
    },
    /// It will not have these, however often they are sent.
    RefusedData(RefusalReason),
    /// It will have nothing from us, or not there: that says nothing of the data.
    RefusedRoute,
    /// Another time.
    Retry {
        /// How long it asks us to wait.
        after: Option<Duration>,
    },
    /// There was no answer in time, for which these spans may be the reason.
    TimedOut,
    /// The backend is not well, for which these spans may be the reason.
    Failed,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What becomes of the spans.
    pub verdict: Verdict,
    /// What the verdict was made of.
    pub cause: Cause,
    /// What was said of it, in one short line; may be empty.
    pub said: String,
}

/// What came of a gRPC call that was answered.
#[derive(Debug, Default)]
pub(super) struct GrpcAnswer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) trailers: Option<HeaderMap>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// What an answer of OTLP over HTTP means.
    pub(super) fn of_http(status: StatusCode, headers: &HeaderMap, body: &[u8], now: Time) -> Self {
        if said::is_of_type(headers, GRPC) {
            return Self::bare(Verdict::RefusedRoute, Cause::NotHttp);
        }
        if status.is_success() {
            return Self::of_http_success(status, headers, body);
        }
        if let Some(refused) = Self::of_certificate(status, headers, body) {
            return refused;
        }
        let said = said::in_error_body(headers, body);
        let verdict = match status.as_u16() {
            400 if said::wants_tls(headers, body) => Verdict::RefusedRoute,
            // A page for people is mostly a proxy's, which knows nothing of the data;
            // but some backends answer bad data so. Which it is shows in whether
            // others are taken.
            400 if said::is_of_type(headers, said::HTML) => Verdict::Failed,
            400 | 422 => Verdict::RefusedData(RefusalReason::Invalid),
            413 => Verdict::RefusedData(RefusalReason::TooLarge),
            401 | 403 | 404 | 405 | 407 | 300..=399 => Verdict::RefusedRoute,
            408 | 425 | 429 | 502 | 503 | 504 => Verdict::Retry {
                after: retry_after(headers, now).map(bounded),
            },
            _ => Verdict::Failed,
        };
        Self {
            verdict,
            cause: Cause::Status(status.as_u16()),
            said,
        }
    }

    /// What it means when our certificate, or the lack of one, is complained of in
    /// an answer, instead of before it.
    fn of_certificate(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        let verdict = match status.as_u16() {
            // A page may repeat what it was sent, so the words alone prove nothing.
            400 if said::doubts_certificate(headers, body) => Verdict::Failed,
            495 | 496 => Verdict::RefusedRoute,
            _ => return None,
        };
        Some(Self {
            verdict,
            cause: Cause::Tls(TlsTrouble::ClientCertificate),
            said: status.as_str().to_owned(),
        })
    }

    fn of_http_success(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        if said::is_of_type(headers, said::HTML) {
            return Self::bare(Verdict::RefusedRoute, Cause::WebPage);
        }
        let (rejected, said) = match said::is_of_type(headers, said::PROTOBUF) {
            true => said::partial_success(body),
            false => Default::default(),
        };
        Self {
            verdict: Verdict::Taken { rejected },
            cause: Cause::Status(status.as_u16()),
            said,
        }
    }

    /// What an answer of gRPC means.
    pub(super) fn of_grpc(answer: &GrpcAnswer, now: Time) -> Self {
        // An answer without a body has its status among the headers.
        let places = [answer.trailers.as_ref(), Some(&answer.headers)];
        let mut places = places.into_iter().flatten();
        let Some(place) = places.find(|headers| headers.contains_key(GRPC_STATUS)) else {
            return Self::without_grpc_status(answer, now);
        };
        let code = place[GRPC_STATUS].to_str().ok();
        let code = code.and_then(|code| code.parse().ok()).unwrap_or(UNKNOWN);
        if code == OK {
            let message = grpc::message(&answer.body).unwrap_or_default();
            let (rejected, said) = said::partial_success(message);
            return Self {
                verdict: Verdict::Taken { rejected },
                cause: Cause::Code(code),
                said,
            };
        }
        let after = said::retry_info(place).map(bounded);
        Self {
            verdict: of_code(code, after),
            cause: Cause::Code(code),
            said: said::grpc_message(place),
        }
    }

    /// Something between us and the backend has answered, or the answer was cut.
    fn without_grpc_status(answer: &GrpcAnswer, now: Time) -> Self {
        let is_grpc = said::is_of_type(&answer.headers, GRPC);
        if is_grpc && answer.status == StatusCode::OK {
            return Self::bare(Verdict::Retry { after: None }, Cause::Broken);
        }
        let certificate = Self::of_certificate(answer.status, &answer.headers, &answer.body);
        if let Some(refused) = certificate {
            return refused;
        }
        // How gRPC wants a status of HTTP to be understood; a success is none.
        let verdict = match answer.status.as_u16() {
            429 | 502 | 503 | 504 => Verdict::Retry {
                after: retry_after(&answer.headers, now).map(bounded),
            },
            400 | 500 | 501 | 505..=599 => Verdict::Failed,
            _ => Verdict::RefusedRoute,
        };
        Self {
            verdict,
            cause: Cause::NotGrpc(answer.status.as_u16()),
            said: said::in_error_body(&answer.headers, &answer.body),
        }
    }

    /// What it means that there is no answer.
    pub(super) fn of_failure((cause, said): (Cause, String)) -> Self {
        let verdict = match cause {
            Cause::TimedOut => Verdict::TimedOut,
            Cause::NotHttp1 | Cause::NotHttp2 => Verdict::RefusedRoute,
            _ => Verdict::Retry { after: None },
        };
        Self {
            verdict,
            cause,
            said: said::printable(&said),
        }
    }

    const fn bare(verdict: Verdict, cause: Cause) -> Self {
        Self {
            verdict,
            cause,
            said: String::new(),
        }
    }

    /// Whether our certificate may be the reason: then it is worth a look whether
    /// there is another one now.
    pub(super) const fn may_be_of_certificate(&self) -> bool {
        match self.cause {
            Cause::Status(status) | Cause::NotGrpc(status) => may_be_of_certificate(status),
            // PERMISSION_DENIED, UNAUTHENTICATED
            Cause::Code(code) => matches!(code, 7 | 16),
            cause => !cause.is_answer(),
        }
    }

    /// As what it is counted.
    pub fn result(&self) -> RequestResult {
        match self.verdict {
            Verdict::Taken { rejected: 0 } if self.said.is_empty() => RequestResult::Taken,
            Verdict::Taken { rejected: 0 } => RequestResult::TakenWithWarning,
            Verdict::Taken { .. } => RequestResult::PartlyTaken,
            Verdict::RefusedData(_) => RequestResult::RefusedData,
            Verdict::RefusedRoute => RequestResult::RefusedRoute,
            Verdict::TimedOut => RequestResult::TimedOut,
            Verdict::Failed => RequestResult::Failed,
            Verdict::Retry { .. } if self.cause.is_answer() => RequestResult::Busy,
            Verdict::Retry { .. } => RequestResult::Unreachable,
        }
    }
}

/// The type of gRPC, and of its kinds.
const GRPC: &str = "application/grpc";
const GRPC_STATUS: &str = "grpc-status";

const OK: i32 = 0;
const UNKNOWN: i32 = 2;

fn of_code(code: i32, after: Option<Duration>) -> Verdict {
    match code {
        // INVALID_ARGUMENT
        3 => Verdict::RefusedData(RefusalReason::Invalid),
        // DEADLINE_EXCEEDED: ours, since we sent it along.
        4 => Verdict::TimedOut,
        // NOT_FOUND, PERMISSION_DENIED, UNIMPLEMENTED, UNAUTHENTICATED
        5 | 7 | 12 | 16 => Verdict::RefusedRoute,
        // RESOURCE_EXHAUSTED: for now, or for good.
        8 if after.is_none() => Verdict::RefusedData(RefusalReason::Exhausted),
        // CANCELLED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS
        1 | 8 | 10 | 11 | 14 | 15 => Verdict::Retry { after },
        // UNKNOWN, INTERNAL, and those that a backend of OTLP has no use for.
        _ => Verdict::Failed,
    }
}

fn bounded(asked: Duration) -> Duration {
    asked.min(RETRY_AFTER_MAX)
}

#[cfg(test)]
mod tests;
