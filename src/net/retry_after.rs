//! `Retry-After`: how long a server asks to be left alone.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

use crate::wire::time::Time;

/// What is asked for, as seconds or as a date. A date is measured against the
/// server's own clock where the answer tells it; one that has passed asks for
/// nothing.
pub fn retry_after(headers: &HeaderMap, now: Time) -> Option<Duration> {
    let value = text(headers, RETRY_AFTER)?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = date(value)?;
    let now = text(headers, DATE).and_then(date).unwrap_or(now);
    Some(until.since(now))
}

fn date(text: &str) -> Option<Time> {
    let date: SystemTime = httpdate::parse_http_date(text).ok()?;
    Some(Time::ZERO.plus(date.duration_since(UNIX_EPOCH).ok()?))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn asked(value: &str, own_date: Option<&str>) -> Option<Duration> {
        let now = Time::parse_rfc3339("2015-10-21T07:27:30Z").unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_str(value).unwrap());
        if let Some(date) = own_date {
            headers.insert(DATE, HeaderValue::from_str(date).unwrap());
        }
        retry_after(&headers, now)
    }

    #[test]
    fn it_is_seconds_or_a_date() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(asked("120", None), seconds(120));
        assert_eq!(asked(" 0 ", None), seconds(0));
        assert_eq!(asked("Wed, 21 Oct 2015 07:28:00 GMT", None), seconds(30));
        assert_eq!(asked("Wed, 21 Oct 2015 07:20:00 GMT", None), seconds(0));
        for nonsense in ["", "-1", "soon", "1.5", "99999999999999999999999"] {
            assert_eq!(asked(nonsense, None), None, "{nonsense}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), Time(1)), None);
    }

    #[test]
    fn a_date_is_measured_by_the_clock_that_it_comes_from() {
        let until = "Wed, 21 Oct 2015 07:28:00 GMT";
        let own = Some("Wed, 21 Oct 2015 07:27:00 GMT");
        assert_eq!(asked(until, own), Some(Duration::from_secs(60)));
        assert_eq!(asked(until, Some("noon")), Some(Duration::from_secs(30)));
    }
}
