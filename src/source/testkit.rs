//! Settings for the tests of this folder.

use std::time::Duration;

use reqwest::Url;

use super::{FeedScope, SourceSettings};
use crate::net::backoff::BackoffSettings;
use crate::net::secret::TokenSource;
use crate::net::tls::TlsSettings;

/// One feed of all behind `https://h/api/`, with the waits of the default.
pub(super) fn settings(token: Option<TokenSource>) -> SourceSettings {
    SourceSettings {
        system: "akribes".into(),
        name: "test".into(),
        url: Url::parse("https://h/api/").unwrap(),
        token,
        feeds: vec![FeedScope::default()],
        tls: TlsSettings::default(),
        connect_time_max: Duration::from_secs(10),
        read_time_max: Duration::from_secs(60),
        backoff: BackoffSettings {
            first: Duration::from_secs(1),
            most: Duration::from_secs(30),
        },
        refused_wait: Duration::from_secs(30),
    }
}
