//! Our own traces, when they are asked for: spans of `tracing` become spans of
//! the service `runtrail` at the same backend as those of runs. They never go
//! through the outbox.
//!
//! They do not feed on themselves: only spans of this program's own modules are
//! taken, and what sends them runs where nobody listens to spans.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing::Level;
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;

use crate::export::own::OwnSender;
use crate::export::{ExportError, ExportSettings};
use crate::logs::FurtherLayer;
use crate::trace::semconv;

/// Our own traces cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SelfTraceError {
    /// The way to the backend.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// What encodes them.
    #[error("our own traces cannot be set up: {0}")]
    Build(#[from] ExporterBuildError),
}

/// What keeps our own traces going.
#[derive(Debug)]
pub struct SelfTrace(SdkTracerProvider);

/// How long the last ones may take.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The spans that are taken: this program's, from `info` on.
const OWN_MODULES: &str = "runtrail";

/// Sets our own traces up, in the name of this source. The layer makes spans of
/// what it is told. To be called within a runtime.
pub fn start(
    export: &ExportSettings,
    source: &str,
) -> Result<(SelfTrace, FurtherLayer), SelfTraceError> {
    let client = Client {
        sender: OwnSender::new(export)?,
        runtime: Handle::current(),
    };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        // The client knows better; this only has to be an address.
        .with_endpoint("http://localhost/v1/traces")
        .with_timeout(export.timeout)
        .build()?;
    let resource = Resource::builder_empty()
        .with_attributes([
            KeyValue::new(semconv::SERVICE_NAME, "runtrail"),
            KeyValue::new(semconv::SERVICE_INSTANCE_ID, source.to_owned()),
        ])
        .build();
    let provider = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_batch_exporter(exporter)
        .build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("runtrail"))
        .with_filter(filter_fn(|metadata| {
            metadata.is_span()
                && *metadata.level() <= Level::INFO
                && metadata.target().split("::").next() == Some(OWN_MODULES)
        }));
    Ok((SelfTrace(provider), Box::new(layer)))
}

impl SelfTrace {
    /// Sends what is left, within reason. Blocks.
    pub fn end(self) {
        let _ = self.0.shutdown_with_timeout(LAST_WORDS);
    }
}

/// Sends by the exporter's own way, whatever the protocol is.
#[derive(Debug)]
struct Client {
    sender: OwnSender,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sender = self.sender.clone();
        // The thread that asks has no runtime.
        let sending = self.runtime.spawn(
            async move { sender.send(request.into_body().to_vec()).await }
                .with_subscriber(NoSubscriber::default()),
        );
        sending.await??;
        Ok(Response::new(Bytes::new()))
    }
}
