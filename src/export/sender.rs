//! What sends a body: one HTTP client, made once, with what all requests share.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE};
use reqwest::{Client, Url};

use super::cause::Cause;
use super::verdict::Answer;
use super::{ExportSettings, Protocol, grpc, http as otlp_http, said};
use crate::net::clock::now;
use crate::net::loopback::client_to;
use crate::net::secret::Secret;
use crate::net::tls::{self, RenewedClient, TlsError};
use crate::store::outbox::Packed;

/// The settings cannot be used. Header values are never part of this.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A certificate or key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A header.
    #[error(
        "the value of the header {name} in OTEL_EXPORTER_OTLP_HEADERS cannot be sent: it holds line breaks or other bytes that no header carries"
    )]
    Header {
        /// Its name.
        name: HeaderName,
    },
    /// All of it together.
    #[error("cannot prepare the sending of spans: {0}")]
    Client(String),
}

/// Sends bodies to one place.
pub(super) struct Sender {
    client: RenewedClient,
    pub(super) url: Url,
    /// All headers, but for those that depend on the body.
    pub(super) headers: HeaderMap,
    settings: ExportSettings,
    /// What the other side is sent and must not be quoted with: values of headers
    /// and of the query.
    secrets: Vec<Secret>,
    /// Whether there was an answer, ever.
    was_answered: AtomicBool,
}

impl Sender {
    pub(super) fn new(settings: &ExportSettings) -> Result<Self, ExportError> {
        let mut headers = given_headers(settings)?;
        let mut url = settings.endpoint.clone();
        match settings.protocol {
            Protocol::HttpProtobuf => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(said::PROTOBUF));
            }
            Protocol::Grpc => {
                url.set_path(grpc::PATH);
                url.set_query(None);
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
                headers.insert(TE, HeaderValue::from_static("trailers"));
                headers.insert("grpc-accept-encoding", HeaderValue::from_static("identity"));
                headers.insert("grpc-timeout", grpc::timeout(settings.timeout));
            }
        }
        let of = settings.clone();
        Ok(Self {
            client: RenewedClient::new(&settings.tls, move || client(&of, of.protocol))?,
            url,
            headers,
            settings: settings.clone(),
            secrets: secrets(settings),
            was_answered: AtomicBool::new(false),
        })
    }

    /// One attempt. What is said of it holds none of our secrets.
    pub(super) async fn send(&self, packed: &Packed) -> Answer {
        let mut answer = self.attempt(packed).await;
        for secret in &self.secrets {
            secret.hide_in(&mut answer.said);
        }
        answer
    }

    async fn attempt(&self, packed: &Packed) -> Answer {
        let answer = match self.settings.protocol {
            Protocol::HttpProtobuf => otlp_http::send(self, packed, now).await,
            Protocol::Grpc => grpc::send(self, packed, now).await,
        };
        if answer.cause.is_answer() {
            self.was_answered.store(true, Relaxed);
        }
        if answer.may_be_of_certificate() {
            self.client.renew().await;
        }
        // Some servers hang up on the wrong protocol without a word.
        if answer.cause == Cause::Broken
            && !self.was_answered.load(Relaxed)
            && self.speaks_the_other_protocol().await
        {
            let cause = match self.settings.protocol {
                Protocol::HttpProtobuf => Cause::NotHttp1,
                Protocol::Grpc => Cause::NotHttp2,
            };
            return Answer::of_failure((cause, String::new()));
        }
        answer
    }

    /// The client for the next request.
    pub(super) fn client(&self) -> Client {
        self.client.get()
    }

    /// Whether the other side answers in the other protocol, and in ours does not.
    async fn speaks_the_other_protocol(&self) -> bool {
        let speaks = async |protocol| {
            let Ok(client) = client(&self.settings, protocol) else {
                return false;
            };
            // Nothing of ours is in it, and any answer will do.
            let mut url = self.url.clone();
            url.set_path("/");
            url.set_query(None);
            client.get(url).send().await.is_ok()
        };
        let (own, other) = match self.settings.protocol {
            Protocol::HttpProtobuf => (Protocol::HttpProtobuf, Protocol::Grpc),
            Protocol::Grpc => (Protocol::Grpc, Protocol::HttpProtobuf),
        };
        !speaks(own).await && speaks(other).await
    }
}

/// The rest of it, the address above all, is in the settings, which know what may
/// be shown.
impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

fn secrets(settings: &ExportSettings) -> Vec<Secret> {
    let headers = settings.headers.iter().map(|(_, secret)| secret.clone());
    let query = settings.endpoint.query_pairs();
    let query = query.map(|(_, value)| Secret::new(value));
    headers.chain(query).collect()
}

/// A client for this protocol.
fn client(settings: &ExportSettings, protocol: Protocol) -> Result<Client, ExportError> {
    let mut builder = client_to(&settings.endpoint, tls::client_builder(&settings.tls)?)
        .timeout(settings.timeout)
        // Shorter, so that one can be told from the other.
        .connect_timeout(settings.timeout / 2)
        .pool_max_idle_per_host(settings.in_flight_max);
    if protocol == Protocol::Grpc {
        let beat = beat(settings.timeout);
        builder = builder
            .http2_prior_knowledge()
            .http2_keep_alive_interval(beat)
            .http2_keep_alive_timeout(beat);
        if settings.endpoint.scheme() == "http" {
            // No proxy speaks HTTP/2 in the clear.
            builder = builder.no_proxy();
        }
    }
    builder.build().map_err(|error| {
        let (_, said) = Cause::of(error, protocol);
        ExportError::Client(said)
    })
}

fn given_headers(settings: &ExportSettings) -> Result<HeaderMap, ExportError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &settings.headers {
        let mut value = HeaderValue::from_str(value.reveal())
            .map_err(|_| ExportError::Header { name: name.clone() })?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

/// All requests share one connection of HTTP/2. When it is dead, so that their
/// time runs out, it must not be used for the next ones: so a request that waits
/// asks by and by whether the other side is still there.
fn beat(timeout: Duration) -> Duration {
    (timeout / 3).max(Duration::from_millis(1))
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;
    use crate::export::own::OwnSender;
    use crate::export::testkit::settings;

    #[test]
    fn no_debug_output_shows_a_key_in_an_address_or_a_header() {
        let mut settings = settings("https://me:hunter2@otlp.test/v1/traces?key=hunter2#hunter2");
        let name = HeaderName::from_static("x-key");
        settings.headers = vec![(name, Secret::new("hunter2"))];
        let sender = Sender::new(&settings).unwrap();
        let own = OwnSender::new(&settings).unwrap();
        for shown in [
            format!("{settings:?}"),
            format!("{sender:?}"),
            format!("{own:#?}"),
        ] {
            assert!(shown.contains("https://otlp.test/v1/traces"), "{shown}");
            assert!(shown.contains("x-key"), "{shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
