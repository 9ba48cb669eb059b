//! One attempt over gRPC: a unary call, which is a POST over HTTP/2 with a frame
//! around the message, and the verdict in the trailers. That is all that is
//! needed of gRPC here, and the bytes of the outbox are sent as they are.

use std::time::Duration;

use http::HeaderValue;
use http_body_util::BodyExt;

use super::cause::Cause;
use super::sender::Sender;
use super::verdict::{Answer, GrpcAnswer};
use super::{ANSWER_BYTES_MAX, Compression, Protocol};
use crate::store::outbox::Packed;
use crate::wire::time::Time;

/// The method.
pub(super) const PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// How long the server may take, as gRPC writes it: milliseconds, in eight digits.
pub(super) fn timeout(timeout: Duration) -> HeaderValue {
    let millis = timeout.as_millis().clamp(1, 99_999_999);
    HeaderValue::try_from(format!("{millis}m")).unwrap_or(HeaderValue::from_static("1S"))
}

pub(super) async fn send(sender: &Sender, packed: &Packed, now: fn() -> Time) -> Answer {
    let mut headers = sender.headers.clone();
    match packed.compression {
        Compression::Gzip => {
            headers.insert("grpc-encoding", HeaderValue::from_static("gzip"));
        }
        Compression::None => {
            headers.remove("grpc-encoding");
        }
    }
    let request = sender.client().post(sender.url.clone()).headers(headers);
    let answer = match request.body(framed(packed)).send().await {
        Ok(response) => read(response.into()).await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(answer) => Answer::of_grpc(&answer, now()),
        Err(error) => Answer::of_failure(Cause::of(error, Protocol::Grpc)),
    }
}

/// A message: whether it is compressed, its length, and itself.
fn framed(packed: &Packed) -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAME_HEAD_BYTES + packed.body.len());
    frame.push(u8::from(packed.compression == Compression::Gzip));
    // Bodies are megabytes at most.
    let length = u32::try_from(packed.body.len()).unwrap_or(u32::MAX);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&packed.body);
    frame
}

const FRAME_HEAD_BYTES: usize = 5;

/// Reads to the trailers, since the verdict is there. What is beyond the bound
/// is passed over; the time-out sees to it that this comes to an end.
async fn read(response: http::Response<reqwest::Body>) -> Result<GrpcAnswer, reqwest::Error> {
    let (head, mut body) = response.into_parts();
    let mut bytes = Vec::new();
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            // The status tells enough of an answer that is not one of gRPC.
            Err(_) if !head.status.is_success() => break,
            Err(error) => return Err(error),
        };
        match frame.into_data() {
            Ok(data) if bytes.len() + data.len() <= ANSWER_BYTES_MAX => {
                bytes.extend_from_slice(&data);
            }
            Ok(_) => {}
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok(GrpcAnswer {
        status: head.status,
        headers: head.headers,
        trailers,
        body: bytes,
    })
}

/// The first message of a body, if it is whole and not compressed, for which
/// nobody asked.
pub(super) fn message(body: &[u8]) -> Option<&[u8]> {
    let (head, rest) = body.split_first_chunk::<FRAME_HEAD_BYTES>()?;
    let [0, length @ ..] = *head else {
        return None;
    };
    rest.get(..usize::try_from(u32::from_be_bytes(length)).ok()?)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_time_out_is_written_as_grpc_wants_it() {
        assert_eq!(timeout(Duration::from_secs(10)), "10000m");
        assert_eq!(timeout(Duration::ZERO), "1m");
        assert_eq!(timeout(Duration::MAX), "99999999m");
    }

    #[test]
    fn a_message_has_its_flag_and_its_length_before_it() {
        let packed = |compression| Packed {
            body: Bytes::from_static(b"abc"),
            compression,
            spans: 1,
            plain_bytes: 3,
        };
        assert_eq!(framed(&packed(Compression::None)), b"\0\0\0\0\x03abc");
        assert_eq!(framed(&packed(Compression::Gzip)), b"\x01\0\0\0\x03abc");
    }

    #[test]
    fn only_a_whole_and_plain_message_is_read() {
        assert_eq!(message(b"\0\0\0\0\x03abcd"), Some(&b"abc"[..]));
        assert_eq!(message(b"\0\0\0\0\0"), Some(&b""[..]));
        for none in [
            &b""[..],
            b"\0\0\0\0",
            b"\0\0\0\0\x03ab",
            b"\x01\0\0\0\x03abc",
        ] {
            assert_eq!(message(none), None);
        }
        assert_eq!(message(b"\0\xff\xff\xff\xffabc"), None);
    }
}
