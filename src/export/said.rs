//! What a backend says beside its verdict: messages, partial success, and when
//! to come again. All of it comes from outside: it is read with care, cut, and
//! made fit to be printed.

use std::time::Duration;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;

use crate::net::percent::percent_decoded;
use crate::net::secret::CUT_MARK;

/// A longer message is cut here.
const SAID_CHARS_MAX: usize = 200;

/// A longer header with details is not read.
const DETAILS_BYTES_MAX: usize = 16 << 10;

/// A message on one line, cut, without what would upset a terminal.
pub(super) fn printable(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(4 * SAID_CHARS_MAX)
        .collect();
    let mut words = String::new();
    for word in clean.split_whitespace() {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
    }
    match words.char_indices().nth(SAID_CHARS_MAX) {
        Some((cut, _)) => format!("{}{CUT_MARK}", &words[..cut]),
        None => words,
    }
}

/// Whether an answer says that it is of this type, parameters aside.
pub(super) fn is_of_type(headers: &HeaderMap, wanted: &str) -> bool {
    let given = headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    given
        .and_then(|given| given.get(..wanted.len()))
        .is_some_and(|given| given.eq_ignore_ascii_case(wanted.as_bytes()))
}

/// The message of an HTTP answer that is no success.
pub(super) fn in_error_body(headers: &HeaderMap, body: &[u8]) -> String {
    if is_of_type(headers, PROTOBUF) {
        let status = RpcMessage::decode(body).unwrap_or_default();
        return printable(&status.message);
    }
    if is_of_type(headers, HTML) {
        return String::new();
    }
    // A character has four bytes at most; white space is passed over.
    let begin = &body[..body.len().min(8 * SAID_CHARS_MAX)];
    printable(&String::from_utf8_lossy(begin))
}

/// Whether a server of TLS complains that somebody speaks without, with a status
/// that else is about the data. Go's says nothing but this, and not of what type;
/// others send a page.
pub(super) fn wants_tls(headers: &HeaderMap, body: &[u8]) -> bool {
    let said = body.trim_ascii_end();
    said == b"Client sent an HTTP request to an HTTPS server."
        && !headers.contains_key(CONTENT_TYPE)
}

/// Whether a proxy complains of our certificate, or of the lack of one, with a
/// status that else is about the data. These are the words of nginx, in a page:
/// elsewhere they are somebody's who repeats what he was sent.
pub(super) fn doubts_certificate(headers: &HeaderMap, body: &[u8]) -> bool {
    let begin = &body[..body.len().min(8 * SAID_CHARS_MAX)];
    let mut phrases = ["SSL certificate error", "required SSL certificate"].iter();
    is_of_type(headers, HTML)
        && phrases.any(|words| memchr::memmem::find(begin, words.as_bytes()).is_some())
}

/// The type of a page for people.
pub(super) const HTML: &str = "text/html";

/// The type of OTLP over HTTP.
pub(super) const PROTOBUF: &str = "application/x-protobuf";

/// How many spans of a request were not taken, and what is said of it.
pub(super) fn partial_success(response: &[u8]) -> (u64, String) {
    let response = ExportTraceServiceResponse::decode(response).unwrap_or_default();
    let partial = response.partial_success.unwrap_or_default();
    let rejected = u64::try_from(partial.rejected_spans).unwrap_or_default();
    (rejected, printable(&partial.error_message))
}

/// `grpc-message`, which is percent-encoded.
pub(super) fn grpc_message(headers: &HeaderMap) -> String {
    let Some(value) = headers.get("grpc-message") else {
        return String::new();
    };
    printable(&percent_decoded(value))
}

/// The delay of a `google.rpc.RetryInfo` in `grpc-status-details-bin`.
pub(super) fn retry_info(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-status-details-bin")?.as_bytes();
    let value = value.get(..DETAILS_BYTES_MAX.min(value.len()))?;
    let status = RpcStatus::decode(&base64(value)?[..]).ok()?;
    let info = status
        .details
        .iter()
        .find(|detail| detail.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(&info.value[..])
        .ok()?
        .retry_delay
        .unwrap_or_default();
    let seconds = u64::try_from(delay.seconds).unwrap_or_default();
    let nanos = u32::try_from(delay.nanos)
        .unwrap_or_default()
        .min(999_999_999);
    Some(Duration::new(seconds, nanos))
}

/// With or without the padding.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.trim_ascii_end();
    let unpadded = text
        .iter()
        .rposition(|byte| *byte != b'=')
        .map_or(0, |last| last + 1);
    let mut bytes = Vec::with_capacity(unpadded * 3 / 4);
    let (mut bits, mut count) = (0u32, 0);
    for character in &text[..unpadded] {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

/// `google.rpc.Status` without its details: two bytes of these become fifty of
/// memory, and a body has room for millions.
#[derive(Clone, PartialEq, Message)]
struct RpcMessage {
    #[prost(string, tag = "2")]
    message: String,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Detail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Detail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;
    use proptest::prelude::*;

    use super::*;

    fn headers(name: &'static str, value: &[u8]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_bytes(value).unwrap();
        headers.insert(HeaderName::from_static(name), value);
        headers
    }

    #[test]
    fn a_message_is_one_short_line() {
        assert_eq!(printable(" a\r\n\u{1b}[31mb\t c "), "a [31mb c");
        assert_eq!(printable(&"ä".repeat(200)), "ä".repeat(200));
        assert_eq!(printable(&"ä".repeat(201)), format!("{}…", "ä".repeat(200)));
        assert_eq!(printable(&"\n".repeat(100_000)), "");
    }

    #[test]
    fn the_message_of_a_protobuf_body_is_that_of_its_status() {
        let status = RpcStatus {
            message: "no such\ntenant".into(),
            details: Vec::new(),
        };
        let type_of = |value: &str| headers("content-type", value.as_bytes());
        let body = status.encode_to_vec();
        assert_eq!(
            in_error_body(&type_of("application/x-protobuf"), &body),
            "no such tenant"
        );
        assert_eq!(
            in_error_body(&type_of("application/x-protobuf"), b"\xff"),
            ""
        );
        assert_eq!(
            in_error_body(&type_of("Text/HTML; charset=x"), b"<html>"),
            ""
        );
        assert_eq!(in_error_body(&type_of("application/json"), b"{}"), "{}");
        assert_eq!(
            in_error_body(&HeaderMap::new(), b" a\xff\xfe b"),
            "a\u{fffd}\u{fffd} b"
        );
    }

    #[test]
    fn a_body_of_empty_details_is_read_without_making_room_for_them() {
        let details = [0x1a, 0].repeat(1 << 20);
        let body = [&details[..], b"\x12\x02no"].concat();
        let read = RpcMessage::decode(&body[..]).unwrap();
        assert_eq!(read.message, "no");
        assert_eq!(read.encoded_len(), 4, "nothing else of it is kept");
    }

    #[test]
    fn a_partial_success_tells_how_many_and_why() {
        let response = |rejected_spans, error_message: &str| {
            let partial_success = Some(ExportTracePartialSuccess {
                rejected_spans,
                error_message: error_message.into(),
            });
            ExportTraceServiceResponse { partial_success }.encode_to_vec()
        };
        assert_eq!(partial_success(&response(3, "old")), (3, "old".to_owned()));
        assert_eq!(partial_success(&response(-3, "")), (0, String::new()));
        assert_eq!(partial_success(&[]), (0, String::new()));
        assert_eq!(partial_success(b"<html>"), (0, String::new()));
    }

    #[test]
    fn a_grpc_message_is_percent_decoded_where_that_makes_sense() {
        let message = |text: &str| grpc_message(&headers("grpc-message", text.as_bytes()));
        assert_eq!(message("no%20room: %C3%A4"), "no room: ä");
        assert_eq!(message("100% %zz %4"), "100% %zz %4");
        assert_eq!(message("%0a%1b"), "");
        assert_eq!(grpc_message(&HeaderMap::new()), "");
    }

    fn details(type_url: &str, delay: Option<Delay>) -> Vec<u8> {
        let value = RetryInfo { retry_delay: delay }.encode_to_vec();
        let other = Detail {
            type_url: "type.googleapis.com/google.rpc.Help".into(),
            value: vec![1, 2, 3],
        };
        let info = Detail {
            type_url: type_url.into(),
            value,
        };
        let status = RpcStatus {
            message: String::new(),
            details: vec![other, info],
        };
        status.encode_to_vec()
    }

    fn encode_base64(bytes: &[u8], padded: bool) -> String {
        const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for group in bytes.chunks(3) {
            let bits = group.iter().fold(0u32, |bits, b| bits << 8 | u32::from(*b));
            let bits = bits << (8 * (3 - group.len()));
            for place in 0..4 {
                if place <= group.len() {
                    text.push(DIGITS[(bits >> (18 - 6 * place)) as usize & 63] as char);
                } else if padded {
                    text.push('=');
                }
            }
        }
        text
    }

    #[test]
    fn retry_info_is_found_among_the_details() {
        const TYPE: &str = "type.googleapis.com/google.rpc.RetryInfo";
        let info = |details: &[u8], padded| {
            let text = encode_base64(details, padded);
            retry_info(&headers("grpc-status-details-bin", text.as_bytes()))
        };
        let delay = |seconds, nanos| Some(Delay { seconds, nanos });
        for padded in [true, false] {
            let found = info(&details(TYPE, delay(3, 500_000_000)), padded);
            assert_eq!(found, Some(Duration::from_millis(3_500)));
        }
        assert_eq!(info(&details(TYPE, None), true), Some(Duration::ZERO));
        assert_eq!(
            info(&details(TYPE, delay(-3, -7)), true),
            Some(Duration::ZERO)
        );
        let much = info(&details(TYPE, delay(i64::MAX, i32::MAX)), true).unwrap();
        assert_eq!(much.as_secs(), i64::MAX as u64);
        assert_eq!(
            info(&details("type/google.rpc.Other", delay(3, 0)), true),
            None
        );
        assert_eq!(retry_info(&headers("grpc-status-details-bin", b"!!")), None);
        assert_eq!(retry_info(&HeaderMap::new()), None);
    }

    proptest! {
        #[test]
        fn base64_is_read_as_it_was_written(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            padded in any::<bool>(),
        ) {
            let text = encode_base64(&bytes, padded);
            prop_assert_eq!(base64(text.as_bytes()), Some(bytes));
        }

        #[test]
        fn whatever_is_said_is_read_without_harm(
            value in prop::collection::vec(0x20u8..0x7f, 0..200),
            body in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            for name in ["grpc-message", "grpc-status-details-bin", "retry-after", "content-type"] {
                let headers = headers(name, &value);
                grpc_message(&headers);
                retry_info(&headers);
                prop_assert!(in_error_body(&headers, &body).chars().count() <= SAID_CHARS_MAX + 1);
            }
            partial_success(&body);
        }
    }
}
