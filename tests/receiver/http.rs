//! OTLP over HTTP/1.1.

use std::convert::Infallible;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use flate2::read::GzDecoder;
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Reply, Shared};

type Body = BoxBody<Bytes, io::Error>;

pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    shared: Arc<Shared>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(request, &shared).await) }
    });
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(request: Request<Incoming>, shared: &Shared) -> Response<Body> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return status(400, "cut");
    };
    let mut body = body.to_bytes().to_vec();
    if head
        .headers
        .get("content-encoding")
        .is_some_and(|e| e == "gzip")
    {
        let mut plain = Vec::new();
        if GzDecoder::new(&body[..]).read_to_end(&mut plain).is_err() {
            return status(400, "no gzip");
        }
        body = plain;
    }
    let Ok(request) = ExportTraceServiceRequest::decode(&body[..]) else {
        return status(400, "no protobuf");
    };
    let reply = shared.receive(head.uri.path(), head.headers, request);
    match reply {
        Reply::Take => protobuf(&ExportTraceServiceResponse::default()),
        Reply::Partial(rejected_spans, message) => partial(rejected_spans, message.into()),
        Reply::Huge(size) => partial(0, "x".repeat(size)),
        Reply::Cut => {
            let begin = Ok(Frame::data(Bytes::from_static(b"\x0a\x7f")));
            let end = async {
                // What came before leaves first.
                tokio::task::yield_now().await;
                Err(io::Error::other("cut"))
            };
            let body = StreamBody::new(stream::iter([begin]).chain(stream::once(end)));
            of_protobuf(BodyExt::boxed(body))
        }
        Reply::Status(code, headers, body) => {
            let mut response = status(code, &body);
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        }
        Reply::Code(..) => panic!("a code of gRPC, over HTTP"),
        Reply::Never => std::future::pending().await,
    }
}

fn partial(rejected_spans: i64, error_message: String) -> Response<Body> {
    let partial_success = Some(ExportTracePartialSuccess {
        rejected_spans,
        error_message,
    });
    protobuf(&ExportTraceServiceResponse { partial_success })
}

fn protobuf(response: &ExportTraceServiceResponse) -> Response<Body> {
    of_protobuf(whole(response.encode_to_vec()))
}

fn of_protobuf(body: Body) -> Response<Body> {
    Response::builder()
        .header("content-type", "application/x-protobuf")
        .body(body)
        .unwrap()
}

fn status(code: u16, text: &str) -> Response<Body> {
    let response = Response::builder().status(code);
    response.body(whole(text.to_owned())).unwrap()
}

fn whole(body: impl Into<Bytes>) -> Body {
    Full::new(body.into())
        .map_err(|never| match never {})
        .boxed()
}
