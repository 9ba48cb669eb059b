//! Where traces go, and the rules of OpenTelemetry for it.

use std::time::Duration;

use reqwest::Url;

use super::choices::Choices;
use super::credentials::tls;
use super::error::{ConfigError, Origin};
use super::keys::{self, OTEL_ENDPOINT, OTEL_TRACES_ENDPOINT};
use super::kinds::http_url;
use crate::export::{ExportSettings, Protocol};
use crate::net::backoff::BackoffSettings;

/// The waits between attempts to send a body.
const BACKOFF: BackoffSettings = BackoffSettings {
    first: Duration::from_secs(1),
    most: Duration::from_secs(30),
};

/// The wait between two probes of a backend that refused us, or our route.
const PROBE_WAIT: Duration = Duration::from_secs(60);

/// What is added to the path of a general endpoint.
const TRACES_PATH: &str = "/v1/traces";

/// Where traces go, or why they go nowhere. A wrong value is an error even then.
pub(super) fn export(choices: &mut Choices) -> Result<Result<ExportSettings, String>, ConfigError> {
    let protocol = choices.needed(&keys::EXPORT_PROTOCOL)?;
    let insecure = choices.needed(&keys::EXPORT_INSECURE)?;
    let headers = choices.value(&keys::EXPORT_HEADERS)?.unwrap_or_default();
    let compression = choices.needed(&keys::EXPORT_COMPRESSION)?;
    let timeout = choices.needed(&keys::EXPORT_TIMEOUT)?;
    let in_flight_max = choices.needed(&keys::EXPORT_IN_FLIGHT_MAX)?;
    let enabled = choices.needed(&keys::EXPORT_ENABLED)?;
    let tls = tls(
        choices,
        &keys::EXPORT_CA_FILE,
        &keys::EXPORT_CLIENT_CERTIFICATE_FILE,
        &keys::EXPORT_CLIENT_KEY_FILE,
    )?;
    let Some(text) = choices.value(&keys::EXPORT_ENDPOINT)? else {
        let why = "no OTLP endpoint is given: traces stay in the local API";
        return Ok(Err(why.to_owned()));
    };
    let origin = choices.origin(&keys::EXPORT_ENDPOINT);
    let (endpoint, warning) = endpoint(&text, &origin, protocol, insecure)
        .map_err(|problem| choices.wrong(&keys::EXPORT_ENDPOINT, problem))?;
    let by_flag = matches!(origin, Origin::Flag(_));
    if !enabled && !by_flag {
        let said_by = choices.origin(&keys::EXPORT_ENABLED);
        return Ok(Err(format!(
            "the export is switched off (by {said_by}): traces stay in the local API"
        )));
    }
    if let Some(warning) = warning {
        choices.warn(&keys::EXPORT_ENDPOINT, warning);
    }
    Ok(Ok(ExportSettings {
        protocol,
        endpoint,
        headers,
        compression,
        timeout,
        tls,
        in_flight_max,
        backoff: BACKOFF,
        probe_wait: PROBE_WAIT,
    }))
}

/// The address to send to, and what is odd about it.
fn endpoint(
    text: &str,
    origin: &Origin,
    protocol: Protocol,
    insecure: bool,
) -> Result<(Url, Option<&'static str>), String> {
    let bare = !text.contains("://");
    let mut url = match protocol {
        // A name and a port are enough for gRPC.
        Protocol::Grpc if bare => {
            let scheme = if insecure { "http" } else { "https" };
            http_url(&format!("{scheme}://{text}"))?
        }
        Protocol::Grpc | Protocol::HttpProtobuf => http_url(text)?,
    };
    url.set_fragment(None);
    let warning = match protocol {
        Protocol::Grpc => {
            let has_path = url.path() != "/";
            url.set_path("");
            url.set_query(None);
            match url.port() {
                Some(4318) => Some(
                    "port 4318 is mostly OTLP over HTTP, but the protocol is grpc, mostly at 4317",
                ),
                _ if has_path => Some("with grpc there is no path: it is left out"),
                _ => None,
            }
        }
        Protocol::HttpProtobuf => {
            let odd = add_path(&mut url, origin);
            match url.port() {
                Some(4317) => Some(
                    "port 4317 is mostly OTLP over gRPC, but the protocol is http/protobuf, mostly at 4318",
                ),
                _ => odd,
            }
        }
    };
    Ok((url, warning))
}

fn add_path(url: &mut Url, origin: &Origin) -> Option<&'static str> {
    let is = |variable: &str| matches!(origin, Origin::Variable(name) if name == variable);
    if is(OTEL_TRACES_ENDPOINT) {
        return None;
    }
    let path = url.path().trim_end_matches('/').to_owned();
    let is_there = path.ends_with(TRACES_PATH);
    if is_there && !is(OTEL_ENDPOINT) {
        return None;
    }
    url.set_path(&format!("{path}{TRACES_PATH}"));
    is_there.then_some(
        "as OpenTelemetry has it, /v1/traces is added to this address although it ends so: leave it out here, or use OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent_to(text: &str, origin: &Origin, protocol: Protocol) -> String {
        endpoint(text, origin, protocol, false).map_or_else(
            |problem| format!("wrong: {problem}"),
            |(url, _)| url.to_string(),
        )
    }

    #[test]
    fn the_path_of_traces_is_added_as_opentelemetry_has_it() {
        let general = Origin::Variable(OTEL_ENDPOINT.to_owned());
        let traces = Origin::Variable(OTEL_TRACES_ENDPOINT.to_owned());
        let ours = Origin::Flag("--otlp");
        for (origin, text, url) in [
            (&general, "http://c:4318", "http://c:4318/v1/traces"),
            (&general, "http://c:4318/", "http://c:4318/v1/traces"),
            (&general, "https://c/otlp", "https://c/otlp/v1/traces"),
            (&general, "https://c/otlp/", "https://c/otlp/v1/traces"),
            (
                &general,
                "http://c/v1/traces",
                "http://c/v1/traces/v1/traces",
            ),
            (&traces, "http://c:4318", "http://c:4318/"),
            (&traces, "http://c/x", "http://c/x"),
            (&traces, "http://c/x/", "http://c/x/"),
            (&ours, "http://c:4318", "http://c:4318/v1/traces"),
            (&ours, "http://c:4318/v1/traces", "http://c:4318/v1/traces"),
            (
                &ours,
                "http://c:4318/v1/traces/",
                "http://c:4318/v1/traces/",
            ),
            (
                &ours,
                "http://c/otel?key=1",
                "http://c/otel/v1/traces?key=1",
            ),
            (&ours, "http://[::1]:4318#x", "http://[::1]:4318/v1/traces"),
        ] {
            assert_eq!(sent_to(text, origin, Protocol::HttpProtobuf), url, "{text}");
        }
    }

    #[test]
    fn grpc_takes_an_origin_or_a_name_with_a_port() {
        let origin = Origin::Variable(OTEL_ENDPOINT.to_owned());
        for (text, url) in [
            ("http://c:4317", "http://c:4317/"),
            ("https://c:4317/x?y", "https://c:4317/"),
            ("c:4317", "https://c:4317/"),
            ("[::1]:4317", "https://[::1]:4317/"),
        ] {
            assert_eq!(sent_to(text, &origin, Protocol::Grpc), url, "{text}");
        }
        let plain = endpoint("c:4317", &origin, Protocol::Grpc, true);
        assert_eq!(
            plain.map(|(url, _)| url.scheme().to_owned()),
            Ok("http".to_owned())
        );
        let scheme_wins = endpoint("https://c:4317", &origin, Protocol::Grpc, true);
        assert_eq!(
            scheme_wins.map(|(url, _)| url.scheme().to_owned()),
            Ok("https".to_owned())
        );
    }

    #[test]
    fn what_is_odd_about_an_endpoint_is_told() {
        let ours = Origin::Flag("--otlp");
        let general = Origin::Variable(OTEL_ENDPOINT.to_owned());
        let told = |text: &str, origin: &Origin, protocol| {
            let (_, warning) = endpoint(text, origin, protocol, false).unwrap();
            warning.unwrap_or_default()
        };
        let (http, grpc) = (Protocol::HttpProtobuf, Protocol::Grpc);
        assert!(told("http://c:4317", &ours, http).contains("4318"));
        assert!(told("http://c:4318", &ours, grpc).contains("4317"));
        assert!(told("http://c:4317/v1/traces", &ours, grpc).contains("no path"));
        assert!(told("http://c/v1/traces", &general, http).contains("although it ends so"));
        assert_eq!(told("http://c/v1/traces", &ours, http), "");
        assert_eq!(told("http://c:4317", &ours, grpc), "");
        assert_eq!(told("http://c:4318", &ours, http), "");
    }

    #[test]
    fn what_is_no_endpoint_is_refused_and_not_repeated() {
        let ours = Origin::Flag("--otlp");
        for (text, problem) in [
            ("collector:4318", "write http:// or https://"),
            ("collector", "write http:// or https://"),
            ("ftp://c", "begin with http://"),
            ("http://", "is no URL"),
            ("http://c:99999", "is no URL"),
            ("http://user:hunter2@c", "use a token or a header"),
        ] {
            let said = sent_to(text, &ours, Protocol::HttpProtobuf);
            assert!(said.contains(problem), "{text}: {said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
        assert!(sent_to("", &ours, Protocol::Grpc).contains("is no URL"));
        assert!(sent_to("unix:///run/c", &ours, Protocol::Grpc).contains("begin with http://"));
    }
}
