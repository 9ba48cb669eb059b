//! The network out: bodies of the outbox become OTLP requests, over HTTP or
//! gRPC, until the backend has taken each of them.

pub mod pack;
pub mod split;

use std::time::Duration;

use http::HeaderName;
use reqwest::Url;

use crate::net::backoff::BackoffSettings;
use crate::net::secret::Secret;
use crate::net::tls::TlsSettings;

/// Where spans go, and how.
#[derive(Debug, Clone)]
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

/// How OTLP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `http/protobuf`.
    HttpProtobuf,
    /// `grpc`.
    Grpc,
}

/// How bodies are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// gzip.
    Gzip,
    /// Not at all.
    None,
}
