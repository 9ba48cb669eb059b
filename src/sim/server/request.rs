//! A request, taken apart.

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, Request};

use crate::net::percent::percent_decoded;

/// What somebody wants.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) method: Method,
    /// The parts of the path, decoded.
    pub(super) path: Vec<String>,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    pub(super) body: Bytes,
}

impl From<Request<Bytes>> for Wanted {
    fn from(request: Request<Bytes>) -> Self {
        let (head, body) = request.into_parts();
        let path = head.uri.path().split('/').filter(|part| !part.is_empty());
        let pairs = head.uri.query().unwrap_or_default().split('&');
        let pairs = pairs.filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = value.replace('+', " ");
            (percent_decoded(name), percent_decoded(value))
        });
        Self {
            method: head.method,
            path: path.map(percent_decoded).collect(),
            query: pairs.collect(),
            headers: head.headers,
            body,
        }
    }
}

impl Wanted {
    /// A parameter of the query; an empty one is none.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        let pair = self.query.iter().find(|(known, _)| known == name);
        pair.map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// The same as a number; what is none is an error in words.
    pub(super) fn number<N: std::str::FromStr>(&self, name: &str) -> Result<Option<N>, String> {
        let Some(text) = self.query(name) else {
            return Ok(None);
        };
        text.parse()
            .map(Some)
            .map_err(|_| format!("{name} is no number"))
    }

    /// Where a client wants to go on.
    pub(super) fn last_event_id(&self) -> Option<u64> {
        let header = self
            .headers
            .get("last-event-id")
            .and_then(|id| id.to_str().ok());
        header.or(self.query("last_event_id"))?.trim().parse().ok()
    }

    /// The token that it presents. Browsers, which cannot set headers, put it
    /// into the query.
    pub(super) fn token(&self) -> Option<&[u8]> {
        let header = self
            .headers
            .get(AUTHORIZATION)
            .map(|value| value.as_bytes());
        let bearer = header.and_then(|value| value.strip_prefix(b"Bearer "));
        bearer.or(self.query("token").map(str::as_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(target: &str) -> Wanted {
        Request::get(target).body(Bytes::new()).unwrap().into()
    }

    #[test]
    fn a_path_and_a_query_are_decoded() {
        let wanted =
            wanted("/projects/1/scripts/a%20b%2Fc/run?status=x%26y&a+b=c+d&empty=&odd=%zz%4");
        assert_eq!(wanted.path, ["projects", "1", "scripts", "a b/c", "run"]);
        assert_eq!(wanted.query("status"), Some("x&y"));
        assert_eq!(wanted.query("empty"), None);
        assert_eq!(wanted.query("odd"), Some("%zz%4"));
    }

    #[test]
    fn the_cursor_is_that_of_the_header_then_that_of_the_query() {
        let cursor = |header: Option<&str>, target: &str| {
            let mut request = Request::get(target);
            if let Some(header) = header {
                request = request.header("Last-Event-ID", header);
            }
            Wanted::from(request.body(Bytes::new()).unwrap()).last_event_id()
        };
        assert_eq!(cursor(Some("7"), "/events?last_event_id=9"), Some(7));
        assert_eq!(cursor(None, "/events?last_event_id=9"), Some(9));
        assert_eq!(cursor(Some("soon"), "/events"), None);
    }

    #[test]
    fn a_number_is_one_or_an_error() {
        assert_eq!(wanted("/x").number::<u64>("limit"), Ok(None));
        assert_eq!(wanted("/x?limit=5").number::<u64>("limit"), Ok(Some(5)));
        assert!(wanted("/x?limit=-5").number::<u64>("limit").is_err());
    }
}
