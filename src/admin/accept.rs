//! Which form of the page somebody wants: what an `Accept` header says.
//!
//! OpenMetrics is only for those who name it, as Prometheus does: a person with
//! a browser, or a tool that takes anything, gets the classic text.

use http::HeaderMap;
use http::header::ACCEPT;

use crate::metrics::exposition::Form;

/// The versions of OpenMetrics whose readers can read what we write.
const OPEN_METRICS_VERSIONS: [&str; 2] = ["1.0.0", "0.0.1"];

/// The form that these headers ask for. Of two that are wanted equally it is
/// OpenMetrics, since it says more; if none is wanted, the classic one.
pub(super) fn form(headers: &HeaderMap) -> Form {
    let lines = headers.get_all(ACCEPT).iter();
    // What is no text names nothing that we know.
    let lines = lines.filter_map(|line| line.to_str().ok());
    let mut open_metrics = 0.0;
    let mut classic = Classic::default();
    for range in lines.flat_map(|line| line.split(',')) {
        let range = Range::of(range);
        if range.is_open_metrics() {
            open_metrics = range.quality.max(open_metrics);
        } else {
            classic.take(&range);
        }
    }
    if open_metrics > 0.0 && open_metrics >= classic.quality {
        Form::OpenMetrics
    } else {
        Form::Classic
    }
}

/// How much classic text is wanted: what names it most closely says.
#[derive(Default)]
struct Classic {
    closeness: u8,
    quality: f32,
}

impl Classic {
    fn take(&mut self, range: &Range<'_>) {
        let closeness = match range.media.to_ascii_lowercase().as_str() {
            "text/plain" => 3,
            "text/*" => 2,
            "*/*" => 1,
            _ => return,
        };
        if closeness > self.closeness {
            *self = Self {
                closeness,
                quality: range.quality,
            };
        } else if closeness == self.closeness {
            self.quality = self.quality.max(range.quality);
        }
    }
}

/// One of the things that are accepted.
struct Range<'a> {
    media: &'a str,
    version: Option<&'a str>,
    quality: f32,
}

impl<'a> Range<'a> {
    fn of(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let mut range = Self {
            media: parts.next().unwrap_or_default(),
            version: None,
            quality: 1.0,
        };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "version" => range.version = Some(value),
                "q" => range.quality = quality(value),
                _ => {}
            }
        }
        range
    }

    fn is_open_metrics(&self) -> bool {
        self.media
            .eq_ignore_ascii_case("application/openmetrics-text")
            && self
                .version
                .is_none_or(|version| OPEN_METRICS_VERSIONS.contains(&version))
    }
}

/// What is no quality says that it is not wanted: there is always the classic form.
fn quality(text: &str) -> f32 {
    let quality = text.parse().ok();
    quality.filter(|q| (0.0..=1.0).contains(q)).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const PROMETHEUS_2_42: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    const PROMETHEUS_3: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    /// As it asks when it is told to prefer the classic text.
    const PROMETHEUS_3_CLASSIC: &str = "text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,*/*;q=0.2";
    const PROTOBUF_FIRST: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
    const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

    fn of(lines: &[&str]) -> Form {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT, HeaderValue::from_str(line).unwrap());
        }
        form(&headers)
    }

    #[test]
    fn who_names_open_metrics_and_wants_nothing_more_than_that_gets_it() {
        for accept in [
            PROMETHEUS_2_42,
            PROMETHEUS_3,
            PROTOBUF_FIRST,
            "application/openmetrics-text",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            "application/openmetrics-text;version=\"1.0.0\"",
            "application/openmetrics-text;version=0.0.1",
            "Application/OpenMetrics-Text ; Version=1.0.0 ; Q=0.1",
            "text/plain;q=0.5, application/openmetrics-text;q=0.5",
            "application/openmetrics-text;version=2.0.0, application/openmetrics-text;version=1.0.0;q=0.1",
            "*/*, text/plain;q=0.2, application/openmetrics-text;q=0.3",
            "text/*;q=0, application/openmetrics-text;q=0.001",
        ] {
            assert_eq!(of(&[accept]), Form::OpenMetrics, "{accept}");
        }
    }

    #[test]
    fn everybody_else_gets_the_classic_text() {
        for accept in [
            PROMETHEUS_3_CLASSIC,
            BROWSER,
            "",
            ",;=,",
            "*/*",
            "application/*",
            "text/plain",
            "application/json",
            "application/openmetrics-text;version=2.0.0",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=0, */*",
            "application/openmetrics-text;q=much",
            "application/openmetrics-text;q=NaN",
            "application/openmetrics-text;q=7",
            "application/openmetrics-text;q=0.4, text/plain;q=0.5",
            "application/openmetrics-text;q=0.4, text/plain;q=0.1, text/plain;version=0.0.4;q=0.5",
            "application/openmetrics-text;q=0.4, */*;q=0.1, text/*;q=0.5",
            "application/openmetrics-text;q=0.4, */*;q=0.5",
        ] {
            assert_eq!(of(&[accept]), Form::Classic, "{accept}");
        }
        assert_eq!(of(&[]), Form::Classic);
    }

    #[test]
    fn several_lines_are_as_one() {
        let lines = ["text/plain;q=0.5", "application/openmetrics-text"];
        assert_eq!(of(&lines), Form::OpenMetrics);
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT, HeaderValue::from_bytes(b"\xff").unwrap());
        headers.append(ACCEPT, HeaderValue::from_static(PROMETHEUS_2_42));
        assert_eq!(form(&headers), Form::OpenMetrics);
    }
}
