//! One clear sentence for a person: what is wrong with the backend, and what to
//! do. `runtrail check` and the logs say the same.

use http::StatusCode;
use reqwest::Url;

use super::cause::{Cause, TlsTrouble};
use super::verdict::{Answer, Verdict};
use super::{ExportSettings, Protocol};

/// What is wrong, and what to do. Holds no header, no password and no query.
pub fn sentence(settings: &ExportSettings, answer: &Answer) -> String {
    let place = Place::of(settings);
    let problem = place.problem(answer);
    let remedy = place.remedy(answer.cause);
    match remedy.or_else(|| place.remedy_for_page(answer)) {
        Some(remedy) => format!("{problem}: {remedy}"),
        None => problem,
    }
}

/// An address as it may be shown.
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // These fail for addresses without a host, which have neither.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let text = url.to_string();
    match url.path() {
        "/" => text.trim_end_matches('/').to_owned(),
        _ => text,
    }
}

/// The backend, as a sentence needs it.
struct Place<'s> {
    settings: &'s ExportSettings,
    shown: String,
}

impl<'s> Place<'s> {
    fn of(settings: &'s ExportSettings) -> Self {
        Self {
            settings,
            shown: shown(&settings.endpoint),
        }
    }

    fn problem(&self, answer: &Answer) -> String {
        let Self { shown, .. } = self;
        let said = match answer.said.as_str() {
            "" => String::new(),
            said => format!(" ({said})"),
        };
        match answer.cause {
            Cause::Status(status) | Cause::NotGrpc(status) => {
                format!("{shown} answers {}{said}", status_name(status))
            }
            Cause::Code(code) => format!("{shown} answers {}{said}", code_name(code)),
            Cause::WebPage => format!("{shown} answers with a web page"),
            Cause::NotHttp => format!("{shown} answers in gRPC, not in HTTP"),
            Cause::NotHttp1 => format!("{shown} does not answer in HTTP"),
            Cause::NotHttp2 => {
                format!("{shown} does not answer in HTTP/2, which gRPC needs")
            }
            Cause::NameUnknown => {
                let host = self.settings.endpoint.host_str().unwrap_or_default();
                format!("the name {host} does not resolve")
            }
            Cause::NothingListens => format!("nothing listens at {shown}"),
            Cause::NoConnection => format!("cannot connect to {shown}{said}"),
            Cause::Tls(trouble) => self.tls_problem(trouble, &said),
            Cause::TimedOut => {
                let timeout = self.settings.timeout;
                format!("{shown} has not answered within {timeout:?}")
            }
            Cause::Broken => format!("{shown} broke the connection before it answered{said}"),
        }
    }

    fn tls_problem(&self, trouble: TlsTrouble, said: &str) -> String {
        let Self { shown, .. } = self;
        match trouble {
            TlsTrouble::Untrusted => format!("the certificate of {shown} is not trusted{said}"),
            TlsTrouble::WrongName => {
                format!("the certificate of {shown} is for another name{said}")
            }
            TlsTrouble::Expired => {
                format!("the certificate of {shown} is not valid at this time{said}")
            }
            TlsTrouble::ClientCertificate => {
                format!("{shown} does not accept our client certificate, or the lack of one{said}")
            }
            TlsTrouble::NotTls => format!("{shown} does not speak TLS"),
            TlsTrouble::Other => format!("TLS with {shown} fails{said}"),
        }
    }

    fn remedy(&self, cause: Cause) -> Option<String> {
        let fixed = match cause {
            Cause::Status(401 | 403 | 407)
            | Cause::NotGrpc(401 | 403 | 407)
            | Cause::Code(7 | 16) => "check the token in OTEL_EXPORTER_OTLP_HEADERS",
            Cause::Status(404 | 405) | Cause::WebPage => return Some(self.other_path()),
            Cause::Status(300..=399) | Cause::NotGrpc(300..=399) => {
                "a token must not follow a redirect, so name the address that it leads to"
            }
            Cause::Status(415) => {
                "it takes no protobuf, or not so compressed: try OTEL_EXPORTER_OTLP_COMPRESSION=none"
            }
            // A server of TLS that was spoken to without.
            Cause::Status(400) if self.settings.endpoint.scheme() == "http" => {
                return None;
            }
            Cause::NotHttp => USE_GRPC,
            Cause::NotHttp1 if self.settings.endpoint.scheme() == "http" => {
                "this looks like a gRPC server, so set OTEL_EXPORTER_OTLP_PROTOCOL=grpc; or like one of TLS, so use https://"
            }
            Cause::NotHttp1 => USE_GRPC,
            Cause::NotHttp2 if self.settings.endpoint.scheme() == "http" => {
                "this looks like an HTTP server, so set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf; or like one of TLS, so use https://"
            }
            Cause::NotHttp2 | Cause::NotGrpc(_) => USE_HTTP,
            Cause::Code(12) => {
                "this gRPC server takes no OTLP traces: correct OTEL_EXPORTER_OTLP_ENDPOINT"
            }
            Cause::NameUnknown => "correct OTEL_EXPORTER_OTLP_ENDPOINT, or see to the DNS",
            Cause::NothingListens => "start the backend, or correct OTEL_EXPORTER_OTLP_ENDPOINT",
            Cause::NoConnection => {
                "correct OTEL_EXPORTER_OTLP_ENDPOINT, or let connections through"
            }
            Cause::Tls(trouble) => tls_remedy(trouble),
            Cause::TimedOut => "see how the backend fares, or raise OTEL_EXPORTER_OTLP_TIMEOUT",
            Cause::Broken => return self.other_port(),
            Cause::Status(_) | Cause::Code(_) => return None,
        };
        Some(fixed.to_owned())
    }

    /// For a status that else speaks of the data, from somebody who may not know
    /// them.
    fn remedy_for_page(&self, answer: &Answer) -> Option<String> {
        let is_of_data = matches!(answer.verdict, Verdict::RefusedData(_));
        let is_page = answer.cause == Cause::Status(400) && !is_of_data;
        let advice = match self.settings.endpoint.scheme() {
            "http" => {
                "it may be a proxy before the backend that says so: see its log, and if it wants TLS, use https://"
            }
            _ => {
                "it may be a proxy before the backend that says so: see its log, and whether it accepts the certificate in OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"
            }
        };
        is_page.then(|| advice.to_owned())
    }

    /// For an address that exists, but takes no spans.
    fn other_path(&self) -> String {
        const PATH: &str = "/v1/traces";
        let endpoint = &self.settings.endpoint;
        if endpoint.path().ends_with(PATH) {
            return "correct the host and the path in OTEL_EXPORTER_OTLP_ENDPOINT".to_owned();
        }
        let mut meant = endpoint.clone();
        meant.set_path(&format!("{}{PATH}", endpoint.path().trim_end_matches('/')));
        format!("did you mean {}?", shown(&meant))
    }

    /// The wrong protocol may look like a broken connection: all that is left to
    /// judge by is the habit of ports. So may the lack of a certificate, which TLS
    /// 1.3 refuses only when requests are on their way.
    fn other_port(&self) -> Option<String> {
        let advice = match (self.settings.protocol, self.settings.endpoint.port()) {
            (Protocol::HttpProtobuf, Some(4317)) => USE_GRPC,
            (Protocol::Grpc, Some(4318)) => USE_HTTP,
            _ if self.lacks_certificate() => {
                "if it wants a client certificate, set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY"
            }
            _ => return None,
        };
        Some(advice.to_owned())
    }

    fn lacks_certificate(&self) -> bool {
        let ExportSettings { endpoint, tls, .. } = self.settings;
        endpoint.scheme() == "https" && tls.client_certificate_file.is_none()
    }
}

const USE_GRPC: &str = "this looks like a gRPC server, so set OTEL_EXPORTER_OTLP_PROTOCOL=grpc";
const USE_HTTP: &str =
    "this looks like an HTTP server, so set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf";

const fn tls_remedy(trouble: TlsTrouble) -> &'static str {
    match trouble {
        TlsTrouble::Untrusted => {
            "name the file of its authority with OTEL_EXPORTER_OTLP_CERTIFICATE"
        }
        TlsTrouble::WrongName => {
            "use the name that the certificate is for in OTEL_EXPORTER_OTLP_ENDPOINT"
        }
        TlsTrouble::Expired => "renew it, or see to the clock of this host",
        TlsTrouble::ClientCertificate => {
            "set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY to a pair that it accepts"
        }
        TlsTrouble::NotTls => "use http:// in OTEL_EXPORTER_OTLP_ENDPOINT, if that is meant",
        TlsTrouble::Other => "see that both sides agree on versions and certificates",
    }
}

fn status_name(status: u16) -> String {
    let status = StatusCode::from_u16(status).ok();
    status.map(|status| status.to_string()).unwrap_or_default()
}

fn code_name(code: i32) -> String {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    let name = usize::try_from(code).ok().and_then(|code| NAMES.get(code));
    name.map_or_else(|| format!("gRPC code {code}"), |name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::testkit::settings;
    use crate::metrics::export::RefusalReason;

    #[track_caller]
    fn expect(protocol: Protocol, endpoint: &str, cause: Cause, said: &str, expected: &str) {
        let settings = ExportSettings {
            protocol,
            ..settings(endpoint)
        };
        let answer = Answer {
            verdict: Verdict::RefusedRoute,
            cause,
            said: said.to_owned(),
        };
        assert_eq!(sentence(&settings, &answer), expected);
    }

    #[test]
    fn what_may_be_secret_in_an_address_is_not_shown() {
        let url = Url::parse("https://me:hunter2@otlp.test:4318/v1/traces?key=hunter2#x").unwrap();
        assert_eq!(shown(&url), "https://otlp.test:4318/v1/traces");
        assert_eq!(
            shown(&Url::parse("http://[::1]:4317").unwrap()),
            "http://[::1]:4317"
        );
    }

    #[test]
    fn a_refused_token_is_told_with_what_the_backend_says() {
        for cause in [Cause::Status(401), Cause::NotGrpc(401)] {
            expect(
                Protocol::HttpProtobuf,
                "http://otlp.test/v1/traces",
                cause,
                "no such key",
                "http://otlp.test/v1/traces answers 401 Unauthorized (no such key): check the token in OTEL_EXPORTER_OTLP_HEADERS",
            );
        }
        expect(
            Protocol::Grpc,
            "http://otlp.test:4317",
            Cause::Code(16),
            "",
            "http://otlp.test:4317 answers UNAUTHENTICATED: check the token in OTEL_EXPORTER_OTLP_HEADERS",
        );
    }

    #[test]
    fn a_missing_path_is_guessed() {
        for (endpoint, remedy) in [
            (
                "http://otlp.test/",
                "did you mean http://otlp.test/v1/traces?",
            ),
            (
                "http://otlp.test/api/",
                "did you mean http://otlp.test/api/v1/traces?",
            ),
            (
                "http://otlp.test/v1/traces",
                "correct the host and the path in OTEL_EXPORTER_OTLP_ENDPOINT",
            ),
        ] {
            let shown = shown(&Url::parse(endpoint).unwrap());
            let expected = format!("{shown} answers 404 Not Found: {remedy}");
            expect(
                Protocol::HttpProtobuf,
                endpoint,
                Cause::Status(404),
                "",
                &expected,
            );
            let expected = format!("{shown} answers with a web page: {remedy}");
            expect(
                Protocol::HttpProtobuf,
                endpoint,
                Cause::WebPage,
                "",
                &expected,
            );
        }
    }

    #[test]
    fn the_wrong_protocol_is_named_with_the_right_one() {
        for (protocol, endpoint, cause, right) in [
            (
                Protocol::HttpProtobuf,
                "http://otlp.test",
                Cause::NotHttp1,
                "grpc",
            ),
            (
                Protocol::HttpProtobuf,
                "https://otlp.test",
                Cause::NotHttp1,
                "grpc",
            ),
            (
                Protocol::HttpProtobuf,
                "https://otlp.test",
                Cause::NotHttp,
                "grpc",
            ),
            (
                Protocol::HttpProtobuf,
                "http://otlp.test:4317",
                Cause::Broken,
                "grpc",
            ),
            (
                Protocol::Grpc,
                "http://otlp.test",
                Cause::NotHttp2,
                "http/protobuf",
            ),
            (
                Protocol::Grpc,
                "https://otlp.test",
                Cause::NotHttp2,
                "http/protobuf",
            ),
            (
                Protocol::Grpc,
                "https://otlp.test",
                Cause::NotGrpc(404),
                "http/protobuf",
            ),
            (
                Protocol::Grpc,
                "http://otlp.test:4318",
                Cause::Broken,
                "http/protobuf",
            ),
        ] {
            let settings = ExportSettings {
                protocol,
                ..settings(endpoint)
            };
            let remedy = Place::of(&settings).remedy(cause).unwrap();
            let variable = format!("OTEL_EXPORTER_OTLP_PROTOCOL={right}");
            assert!(remedy.contains(&variable), "{cause:?}: {remedy}");
            let may_be_tls = matches!(cause, Cause::NotHttp1 | Cause::NotHttp2)
                && settings.endpoint.scheme() == "http";
            assert_eq!(
                remedy.contains("https://"),
                may_be_tls,
                "{cause:?}: {remedy}"
            );
        }
        let settings = settings("http://otlp.test:1234");
        assert_eq!(Place::of(&settings).remedy(Cause::Broken), None);
    }

    #[test]
    fn a_connection_that_breaks_may_lack_a_certificate() {
        let mut settings = settings("https://otlp.test:1234");
        let remedy = Place::of(&settings).remedy(Cause::Broken).unwrap();
        assert!(remedy.contains("OTEL_EXPORTER_OTLP_CLIENT_KEY"), "{remedy}");
        settings.tls.client_certificate_file = Some("/client.pem".into());
        assert_eq!(Place::of(&settings).remedy(Cause::Broken), None);
    }

    #[test]
    fn every_trouble_with_tls_says_what_to_do() {
        for (trouble, remedy) in [
            (TlsTrouble::Untrusted, "OTEL_EXPORTER_OTLP_CERTIFICATE"),
            (TlsTrouble::WrongName, "OTEL_EXPORTER_OTLP_ENDPOINT"),
            (TlsTrouble::Expired, "clock"),
            (
                TlsTrouble::ClientCertificate,
                "OTEL_EXPORTER_OTLP_CLIENT_KEY",
            ),
            (TlsTrouble::NotTls, "http://"),
            (TlsTrouble::Other, "versions"),
        ] {
            let answer = Answer {
                verdict: Verdict::Retry { after: None },
                cause: Cause::Tls(trouble),
                said: String::new(),
            };
            let sentence = sentence(&settings("https://otlp.test"), &answer);
            let (problem, advice) = sentence.split_once(": ").unwrap();
            assert!(problem.contains("otlp.test"), "{sentence}");
            assert!(advice.contains(remedy), "{sentence}");
        }
    }

    #[test]
    fn a_bad_request_may_be_a_proxys_affair_unless_the_data_are_refused() {
        for (endpoint, verdict, remedy) in [
            ("https://otlp.test", Verdict::Failed, "CLIENT_CERTIFICATE"),
            ("http://otlp.test", Verdict::Failed, "use https://"),
            ("http://otlp.test", Verdict::RefusedRoute, "use https://"),
            (
                "https://otlp.test",
                Verdict::RefusedData(RefusalReason::Invalid),
                "answers 400 Bad Request",
            ),
        ] {
            let answer = Answer {
                verdict,
                cause: Cause::Status(400),
                said: String::new(),
            };
            let sentence = sentence(&settings(endpoint), &answer);
            assert!(sentence.ends_with(remedy), "{sentence}");
        }
    }

    #[test]
    fn codes_have_their_names() {
        assert_eq!(code_name(0), "OK");
        assert_eq!(code_name(14), "UNAVAILABLE");
        assert_eq!(code_name(17), "gRPC code 17");
        assert_eq!(code_name(-1), "gRPC code -1");
    }
}
