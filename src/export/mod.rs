//! The network out: bodies of the outbox become OTLP requests, over HTTP or
//! gRPC, until the backend has taken each of them.
//!
//! In comes an [`Outbox`](crate::store::Outbox); what leaves it was taken by the
//! backend, or refused for good, counted and set aside. A sender or route that is
//! refused condemns no data.
//!
//! - [`pack`] and [`split`]: a batch becomes a body, a refused body two
//! - `http` and `grpc`: one attempt; [`cause`] is how it ended, [`verdict`]
//!   what that means for the spans, [`advice`] what a person can do
//! - [`plan`]: what is sent when; pure, like all of the above but the attempts
//! - [`exporter`]: the task that does it, [`tally`] what it counts
//! - [`resend`]: what was refused for good goes once more
//! - [`delivery`]: the whole of it, for spans that do not run away
//! - [`probe`](fn@probe): whether it would work, for `runtrail check`

pub mod advice;
pub mod cause;
pub mod delivery;
pub mod exporter;
mod grpc;
mod http;
pub mod own;
pub mod pack;
pub mod plan;
mod probe;
mod report;
pub mod resend;
mod said;
mod sender;
mod settle;
pub mod split;
pub mod tally;
#[cfg(test)]
mod testkit;
pub mod verdict;

use std::fmt;
use std::time::Duration;

use ::http::HeaderName;
use reqwest::Url;

pub use self::exporter::Exporter;
pub use self::probe::{ProbeAnswer, ProbeError, probe};
pub use self::sender::ExportError;
pub use self::tally::ExportTally;
pub use crate::store::outbox::Compression;

use crate::net::backoff::BackoffSettings;
use crate::net::secret::Secret;
use crate::net::tls::TlsSettings;

/// A backend that asks for a longer wait is asked again after this.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// A longer answer is not read to its end: its status says enough.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Where spans go, and how.
#[derive(Clone)]
pub struct ExportSettings {
    /// How to speak.
    pub protocol: Protocol,
    /// HTTP: the whole address, path included. gRPC: the server's origin.
    pub endpoint: Url,
    /// Further headers, or metadata.
    pub headers: Vec<(HeaderName, Secret)>,
    /// How bodies are compressed.
    pub compression: Compression,
    /// How long one request may take.
    pub timeout: Duration,
    /// Certificates.
    pub tls: TlsSettings,
    /// Requests on their way at once.
    pub in_flight_max: usize,
    /// The waits between attempts.
    pub backoff: BackoffSettings,
    /// The wait between two probes of a sender or route that was refused.
    pub probe_wait: Duration,
}

impl ExportSettings {
    /// What the exporter may use beside the outbox, in bytes: for each request
    /// its body with a frame around it and the answer, and once a body that is
    /// halved, whole and in halves, with the record of these twice.
    pub const fn memory_max(&self, batch_bytes_max: usize) -> usize {
        let request = batch_bytes_max.saturating_add(ANSWER_BYTES_MAX);
        let requests = request.saturating_mul(self.in_flight_max);
        requests.saturating_add(batch_bytes_max.saturating_mul(5))
    }
}

/// An address may hold a key: only what may be shown of it is.
impl fmt::Debug for ExportSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            protocol,
            endpoint,
            headers,
            compression,
            timeout,
            tls,
            in_flight_max,
            backoff,
            probe_wait,
        } = self;
        f.debug_struct("ExportSettings")
            .field("protocol", protocol)
            .field("endpoint", &advice::shown(endpoint))
            .field("headers", headers)
            .field("compression", compression)
            .field("timeout", timeout)
            .field("tls", tls)
            .field("in_flight_max", in_flight_max)
            .field("backoff", backoff)
            .field("probe_wait", probe_wait)
            .finish()
    }
}

/// How OTLP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `http/protobuf`.
    HttpProtobuf,
    /// `grpc`.
    Grpc,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HttpProtobuf => "http/protobuf",
            Self::Grpc => "grpc",
        })
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::None => "none",
        })
    }
}
