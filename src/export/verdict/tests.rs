use http::header::{CONTENT_TYPE, RETRY_AFTER};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;

use super::*;

const NOW: Time = Time(1_700_000_000_000_000_000);
const RETRY: Verdict = Verdict::Retry { after: None };
const INVALID: Verdict = Verdict::RefusedData(RefusalReason::Invalid);

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap()))
        .collect()
}

fn http(status: u16, pairs: &[(&'static str, &str)], body: &[u8]) -> Answer {
    let status = StatusCode::from_u16(status).unwrap();
    Answer::of_http(status, &headers(pairs), body, NOW)
}

/// An answer without a body, as a gRPC server gives it when it refuses.
fn grpc(pairs: &[(&'static str, &str)]) -> Answer {
    let mut headers = headers(pairs);
    headers.insert(CONTENT_TYPE, "application/grpc".parse().unwrap());
    let answer = GrpcAnswer {
        headers,
        ..GrpcAnswer::default()
    };
    Answer::of_grpc(&answer, NOW)
}

/// An answer of somebody who speaks no gRPC.
fn not_grpc(status: u16, pairs: &[(&'static str, &str)], body: &[u8]) -> Answer {
    let answer = GrpcAnswer {
        status: StatusCode::from_u16(status).unwrap(),
        headers: headers(pairs),
        body: body.to_vec(),
        ..GrpcAnswer::default()
    };
    Answer::of_grpc(&answer, NOW)
}

fn response(rejected_spans: i64, error_message: &str) -> Vec<u8> {
    let partial_success = Some(ExportTracePartialSuccess {
        rejected_spans,
        error_message: error_message.into(),
    });
    ExportTraceServiceResponse { partial_success }.encode_to_vec()
}

#[test]
fn each_http_status_means_what_the_design_says() {
    for status in 100..=599 {
        let expected = match status {
            200..=299 => Verdict::Taken { rejected: 0 },
            400 => INVALID,
            413 => Verdict::RefusedData(RefusalReason::TooLarge),
            401 | 403 | 404 | 405 | 300..=399 => Verdict::RefusedRoute,
            429 | 502 | 503 | 504 => RETRY,
            // nginx' own, about certificates.
            495 | 496 => Verdict::RefusedRoute,
            500..=599 => Verdict::Failed,
            // The design is silent: only what is surely the data's fault condemns it.
            422 => INVALID,
            407 => Verdict::RefusedRoute,
            408 | 425 => RETRY,
            _ => Verdict::Failed,
        };
        let answer = http(status, &[], b"");
        assert_eq!(answer.verdict, expected, "{status}");
        let cause = match status {
            495 | 496 => Cause::Tls(TlsTrouble::ClientCertificate),
            _ => Cause::Status(status),
        };
        assert_eq!(answer.cause, cause);
    }
}

#[test]
fn each_grpc_code_means_what_the_design_says() {
    let expected = [
        Verdict::Taken { rejected: 0 },
        RETRY,                                          // CANCELLED
        Verdict::Failed,                                // UNKNOWN
        INVALID,                                        // INVALID_ARGUMENT
        Verdict::TimedOut,                              // DEADLINE_EXCEEDED
        Verdict::RefusedRoute,                          // NOT_FOUND
        Verdict::Failed,                                // ALREADY_EXISTS
        Verdict::RefusedRoute,                          // PERMISSION_DENIED
        Verdict::RefusedData(RefusalReason::Exhausted), // RESOURCE_EXHAUSTED
        Verdict::Failed,                                // FAILED_PRECONDITION
        RETRY,                                          // ABORTED
        RETRY,                                          // OUT_OF_RANGE
        Verdict::RefusedRoute,                          // UNIMPLEMENTED
        Verdict::Failed,                                // INTERNAL
        RETRY,                                          // UNAVAILABLE
        RETRY,                                          // DATA_LOSS
        Verdict::RefusedRoute,                          // UNAUTHENTICATED
        Verdict::Failed,                                // no such code
    ];
    for (code, expected) in expected.into_iter().enumerate() {
        let answer = grpc(&[("grpc-status", &code.to_string())]);
        assert_eq!(answer.verdict, expected, "{code}");
        assert_eq!(answer.cause, Cause::Code(code as i32));
    }
    assert_eq!(grpc(&[("grpc-status", "what?")]).verdict, Verdict::Failed);
}

#[test]
fn how_long_to_wait_is_taken_from_the_answer_within_reason() {
    let after = |seconds: u64| Verdict::Retry {
        after: Some(Duration::from_secs(seconds)),
    };
    assert_eq!(http(429, &[("retry-after", "7")], b"").verdict, after(7));
    assert_eq!(
        http(503, &[("retry-after", "999999")], b"").verdict,
        after(300)
    );
    let date = "Tue, 14 Nov 2023 22:13:50 GMT";
    assert_eq!(http(503, &[("retry-after", date)], b"").verdict, after(30));
    // RetryInfo of no time, of a day, and of 3 s.
    for (details, expected) in [
        (
            "Gi4KKHR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5SZXRyeUluZm8SAgoA",
            after(0),
        ),
        (
            "GjIKKHR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5SZXRyeUluZm8SBgoECICjBQ",
            after(300),
        ),
        (
            "GjAKKHR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5SZXRyeUluZm8SBAoCCAM",
            after(3),
        ),
    ] {
        for code in ["8", "14"] {
            let answer = grpc(&[("grpc-status", code), ("grpc-status-details-bin", details)]);
            assert_eq!(answer.verdict, expected, "{code} {details}");
        }
    }
}

#[test]
fn a_partial_success_is_a_success() {
    let protobuf = [("content-type", "application/x-protobuf")];
    let answer = http(200, &protobuf, &response(2, "too old"));
    assert_eq!(answer.verdict, Verdict::Taken { rejected: 2 });
    assert_eq!(answer.said, "too old");
    assert_eq!(answer.result(), RequestResult::PartlyTaken);
    let answer = http(200, &protobuf, &response(0, "mind the gap"));
    assert_eq!(answer.verdict, Verdict::Taken { rejected: 0 });
    assert_eq!(answer.result(), RequestResult::TakenWithWarning);
    assert_eq!(http(200, &protobuf, b"").result(), RequestResult::Taken);
    let other = [("content-type", "application/json")];
    assert_eq!(
        http(200, &other, &response(2, "x")).result(),
        RequestResult::Taken
    );

    let message = response(2, "too old");
    let answer = GrpcAnswer {
        trailers: Some(headers(&[("grpc-status", "0")])),
        body: [&[0, 0, 0, 0, message.len() as u8][..], &message].concat(),
        ..GrpcAnswer::default()
    };
    let answer = Answer::of_grpc(&answer, NOW);
    assert_eq!(answer.verdict, Verdict::Taken { rejected: 2 });
    assert_eq!(answer.said, "too old");
}

#[test]
fn a_success_that_is_none_of_otlp_loses_no_span() {
    let answer = http(200, &[("content-type", "application/grpc+proto")], b"");
    assert_eq!(
        (answer.verdict, answer.cause),
        (Verdict::RefusedRoute, Cause::NotHttp)
    );
    let answer = http(
        200,
        &[("content-type", "text/html; charset=utf-8")],
        b"<html>",
    );
    assert_eq!(
        (answer.verdict, answer.cause),
        (Verdict::RefusedRoute, Cause::WebPage)
    );
}

#[test]
fn who_wants_tls_is_understood_only_where_nobody_else_can_have_said_it() {
    let go = b"Client sent an HTTP request to an HTTPS server.\n";
    assert_eq!(http(400, &[], go).verdict, Verdict::RefusedRoute);
    // A backend that repeats the text of a span says something of the span.
    let typed = [("content-type", "text/plain")];
    assert_eq!(http(400, &typed, go).verdict, INVALID);
    let quoted = [b"bad value: ", &go[..]].concat();
    assert_eq!(http(400, &[], &quoted).verdict, INVALID);
    let nginx = b"<title>400 The plain HTTP request was sent to HTTPS port</title>";
    assert_eq!(http(400, &PAGE, nginx).verdict, Verdict::Failed);
}

const PAGE: [(&str, &str); 1] = [("content-type", "text/html; charset=utf-8")];

#[test]
fn a_proxy_that_does_not_know_our_certificate_condemns_no_data() {
    let refused = Cause::Tls(TlsTrouble::ClientCertificate);
    for body in [
        "<title>400 The SSL certificate error</title>",
        "<title>400 No required SSL certificate was sent</title>",
    ] {
        for answer in [http, not_grpc].map(|of| of(400, &PAGE, body.as_bytes())) {
            assert_eq!((answer.verdict, answer.cause), (Verdict::Failed, refused));
            assert_eq!(answer.said, "400");
        }
    }
    let late = format!("{}SSL certificate error", " ".repeat(10_000));
    assert_eq!(
        http(400, &PAGE, late.as_bytes()).cause,
        Cause::Status(400),
        "the words are sought at the beginning"
    );
    for status in [495, 496] {
        for answer in [http, not_grpc].map(|of| of(status, &[], b"")) {
            assert_eq!(
                (answer.verdict, answer.cause),
                (Verdict::RefusedRoute, refused)
            );
        }
    }
}

#[test]
fn a_backend_that_repeats_words_about_a_certificate_speaks_of_the_data() {
    let body = b"{\"error\":\"bad value: The SSL certificate error\"}";
    for kind in ["application/json", "text/plain"] {
        let headers = [("content-type", kind)];
        let answer = http(400, &headers, body);
        assert_eq!(
            (answer.verdict, answer.cause),
            (INVALID, Cause::Status(400))
        );
    }
    assert_eq!(http(400, &[], body).verdict, INVALID);
}

#[test]
fn a_page_for_people_is_no_word_about_the_data_nor_about_the_route() {
    let answer = http(400, &PAGE, b"<html>");
    assert_eq!(
        (answer.verdict, answer.cause),
        (Verdict::Failed, Cause::Status(400))
    );
    let answer = not_grpc(400, &PAGE, b"<html>");
    assert_eq!(
        (answer.verdict, answer.cause),
        (Verdict::Failed, Cause::NotGrpc(400))
    );
    // The size is the data's, whoever says so.
    let large = http(413, &PAGE, b"<html>").verdict;
    assert_eq!(large, Verdict::RefusedData(RefusalReason::TooLarge));
}

#[test]
fn certificates_are_looked_at_again_when_they_may_be_the_reason() {
    for status in [400, 401, 403, 495, 496] {
        assert!(http(status, &[], b"").may_be_of_certificate(), "{status}");
        let answer = not_grpc(status, &[], b"");
        assert!(answer.may_be_of_certificate(), "{status}");
    }
    for status in [200, 404, 413, 429, 500] {
        assert!(!http(status, &[], b"").may_be_of_certificate(), "{status}");
    }
    for (code, may_be) in [("0", false), ("3", false), ("7", true), ("16", true)] {
        let answer = grpc(&[("grpc-status", code)]);
        assert_eq!(answer.may_be_of_certificate(), may_be, "{code}");
    }
    let broken = Answer::of_failure((Cause::Broken, String::new()));
    assert!(broken.may_be_of_certificate());
}

#[test]
fn what_a_refusal_says_is_told() {
    let answer = http(400, &[("content-type", "text/plain")], b"bad\nspan");
    assert_eq!(answer.said, "bad span");
    let answer = grpc(&[("grpc-status", "3"), ("grpc-message", "bad%20span")]);
    assert_eq!(answer.said, "bad span");
}

#[test]
fn the_status_of_grpc_is_sought_in_the_trailers_first() {
    let answer = GrpcAnswer {
        headers: headers(&[("grpc-status", "0")]),
        trailers: Some(headers(&[("grpc-status", "14"), ("grpc-message", "gone")])),
        ..GrpcAnswer::default()
    };
    let answer = Answer::of_grpc(&answer, NOW);
    assert_eq!((answer.verdict, answer.said.as_str()), (RETRY, "gone"));
}

#[test]
fn without_a_grpc_status_the_status_of_http_tells() {
    for status in 200..=599 {
        let expected = match status {
            429 | 502 | 503 | 504 => RETRY,
            400 | 500..=599 => Verdict::Failed,
            _ => Verdict::RefusedRoute,
        };
        let answer = GrpcAnswer {
            status: StatusCode::from_u16(status).unwrap(),
            ..GrpcAnswer::default()
        };
        let answer = Answer::of_grpc(&answer, NOW);
        let cause = match status {
            495 | 496 => Cause::Tls(TlsTrouble::ClientCertificate),
            _ => Cause::NotGrpc(status),
        };
        assert_eq!((answer.verdict, answer.cause), (expected, cause));
    }
    let mut busy = GrpcAnswer {
        status: StatusCode::SERVICE_UNAVAILABLE,
        ..GrpcAnswer::default()
    };
    busy.headers.insert(RETRY_AFTER, "5".parse().unwrap());
    let after = Some(Duration::from_secs(5));
    assert_eq!(
        Answer::of_grpc(&busy, NOW).verdict,
        Verdict::Retry { after }
    );
}

#[test]
fn an_answer_of_grpc_that_was_cut_is_none() {
    let answer = GrpcAnswer {
        headers: headers(&[("content-type", "application/grpc")]),
        ..GrpcAnswer::default()
    };
    let answer = Answer::of_grpc(&answer, NOW);
    assert_eq!((answer.verdict, answer.cause), (RETRY, Cause::Broken));
    assert_eq!(answer.result(), RequestResult::Unreachable);
}

#[test]
fn without_an_answer_it_is_tried_again_unless_the_protocol_is_wrong() {
    let verdict = |cause| Answer::of_failure((cause, String::new())).verdict;
    for cause in [
        Cause::NothingListens,
        Cause::NameUnknown,
        Cause::Broken,
        Cause::NoConnection,
    ] {
        assert_eq!(verdict(cause), RETRY);
    }
    assert_eq!(verdict(Cause::TimedOut), Verdict::TimedOut);
    for cause in [Cause::NotHttp1, Cause::NotHttp2] {
        assert_eq!(verdict(cause), Verdict::RefusedRoute);
    }
}

#[test]
fn a_request_is_counted_as_what_came_of_it() {
    for (status, result) in [
        (202, RequestResult::Taken),
        (400, RequestResult::RefusedData),
        (401, RequestResult::RefusedRoute),
        (429, RequestResult::Busy),
        (500, RequestResult::Failed),
    ] {
        assert_eq!(http(status, &[], b"").result(), result);
    }
    for (cause, result) in [
        (Cause::TimedOut, RequestResult::TimedOut),
        (Cause::NothingListens, RequestResult::Unreachable),
    ] {
        assert_eq!(Answer::of_failure((cause, String::new())).result(), result);
    }
}
