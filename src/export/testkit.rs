//! Settings for tests.

use std::time::Duration;

use super::{Compression, ExportSettings, Protocol};
use crate::net::backoff::BackoffSettings;
use crate::net::tls::TlsSettings;

/// Plain HTTP to this address.
pub(super) fn settings(endpoint: &str) -> ExportSettings {
    ExportSettings {
        protocol: Protocol::HttpProtobuf,
        endpoint: endpoint.parse().expect("an address"),
        headers: Vec::new(),
        compression: Compression::Gzip,
        timeout: Duration::from_secs(10),
        tls: TlsSettings::default(),
        in_flight_max: 4,
        backoff: BackoffSettings {
            first: Duration::from_secs(1),
            most: Duration::from_secs(30),
        },
        probe_wait: Duration::from_secs(60),
    }
}
