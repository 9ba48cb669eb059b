//! OTLP over gRPC, by tonic.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Request};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::codec::CompressionEncoding;
use tonic::codegen::Service;
use tonic::{Code, Response, Status};

use super::{Reply, Shared};

pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    shared: Arc<Shared>,
) {
    let server = TraceServiceServer::new(Collector(shared))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(64 << 20);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let mut server = server.clone();
        // tonic keeps what it needs of the headers to itself.
        let whole = request.headers().clone();
        request.extensions_mut().insert(whole);
        async move {
            let mut response = server.call(request).await?;
            if response.extensions().get::<Cut>().is_some() {
                let begin = Ok(Frame::data(Bytes::from_static(b"\0\0\0")));
                let parts = [begin, Err(io::Error::other("cut"))];
                let body = StreamBody::new(stream::iter(parts));
                *response.body_mut() = tonic::body::Body::new(body);
            }
            Ok::<_, Infallible>(response)
        }
    });
    let _ = http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// An answer that is to be cut.
#[derive(Clone)]
struct Cut;

struct Collector(Arc<Shared>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let headers = request.extensions().get::<HeaderMap>().cloned();
        let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
        let reply = self
            .0
            .receive(path, headers.unwrap_or_default(), request.into_inner());
        match reply {
            Reply::Take => Ok(Response::new(ExportTraceServiceResponse::default())),
            Reply::Partial(rejected_spans, message) => Ok(partial(rejected_spans, message.into())),
            Reply::Huge(size) => Ok(partial(0, "x".repeat(size))),
            Reply::Cut => {
                let mut response = Response::new(ExportTraceServiceResponse::default());
                response.extensions_mut().insert(Cut);
                Ok(response)
            }
            Reply::Status(..) => panic!("a status of HTTP, over gRPC"),
            Reply::Code(code, message, details) => Err(Status::with_details(
                Code::from_i32(code),
                message,
                details.into(),
            )),
            Reply::Never => std::future::pending().await,
        }
    }
}

fn partial(rejected_spans: i64, error_message: String) -> Response<ExportTraceServiceResponse> {
    let partial_success = Some(ExportTracePartialSuccess {
        rejected_spans,
        error_message,
    });
    Response::new(ExportTraceServiceResponse { partial_success })
}
