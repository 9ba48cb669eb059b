//! What is wrong, in sentences for a person: the same in the log, in `check` and
//! in the API. They hold no token and no query, and what comes from the server,
//! which may repeat the token that it was sent, is cut and cleaned.

use std::error::Error;
use std::fmt::Write;
use std::io;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName};
use reqwest::Url;

use super::{FeedScope, SourceSettings};
use crate::net::causes::causes;
use crate::net::percent::percent_decoded;
use crate::net::secret::{Secret, TokenError, TokenSource};

/// A longer text of the other side is cut here.
const QUOTED_CHARS_MAX: usize = 200;

/// Who was asked for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) settings: &'a SourceSettings,
    pub(super) scope: &'a FeedScope,
    /// The token that is sent, once it was read.
    pub(super) token: Option<&'a Secret>,
}

impl Asked<'_> {
    /// A header of the answer, if it is there and is text, without the token, be
    /// it written with percent signs.
    pub(super) fn header(self, headers: &HeaderMap, name: HeaderName) -> Option<String> {
        let text = headers.get(name)?.to_str().ok()?;
        let text = self.without_token(on_one_line(text));
        let plain = percent_decoded(&text);
        let hidden = self.without_token(plain.clone());
        Some(if hidden == plain { text } else { hidden })
    }

    pub(super) fn unauthorized(self) -> String {
        let variable = self.token_variable();
        match &self.settings.token {
            None => format!(
                "the server wants a token (401), and none is given: set {variable} or {variable}_FILE"
            ),
            Some(TokenSource::Value(_)) => {
                format!("the server refuses the token (401): is {variable} current?")
            }
            Some(TokenSource::File(path)) => format!(
                "the server refuses the token (401): is the one in {} current?",
                path.display()
            ),
        }
    }

    pub(super) fn forbidden(self) -> String {
        match self.scope.project {
            Some(project) => format!(
                "the server refuses project {project} to this token (403): does the token reach that project?"
            ),
            None => "the server refuses the feed of all projects to this token (403): name a project that the token reaches".to_owned(),
        }
    }

    pub(super) fn may_not_read(self) -> String {
        let of = match self.scope.project {
            Some(project) => format!("runs of project {project}"),
            None => "runs".to_owned(),
        };
        format!(
            "the server does not let this token read {of} (403): give it a token that may read executions"
        )
    }

    pub(super) fn no_json(self) -> String {
        format!(
            "the server answers with something that is no plain JSON: is {} the base URL of the server?",
            self.base()
        )
    }

    pub(super) fn not_found(self) -> String {
        let base = self.base();
        match self.scope.project {
            Some(project) => format!(
                "there is no event feed of project {project} behind {base} (404): is that the base URL of the server, and the project's id?"
            ),
            None => format!(
                "there is no event feed behind {base} (404): is that the base URL of the server?"
            ),
        }
    }

    pub(super) fn redirected(self, status: u16, location: Option<&str>) -> String {
        let to = location
            .and_then(|location| self.settings.url.join(location).ok())
            .map_or_else(
                || "another address".to_owned(),
                |url| self.quoted(&place(&url)),
            );
        format!(
            "the server redirects to {to} ({status}), which is not followed, so that the token goes nowhere else: is {} the base URL of the server?",
            self.base()
        )
    }

    pub(super) fn refused(self, status: u16) -> String {
        let base = self.base();
        if self.settings.url.scheme() == "https" && matches!(status, 400 | 495 | 496) {
            // So does nginx when it does not like a certificate.
            return format!(
                "the server, or a proxy before it, refuses the request ({status}): is {base} the base URL of the server, and does it accept our client certificate (RUNTRAIL_SOURCE_CLIENT_CERTIFICATE_FILE), or the lack of one?"
            );
        }
        format!("the server refuses the request ({status}): is {base} the base URL of the server?")
    }

    pub(super) fn other_success(self, status: u16) -> String {
        format!(
            "the answer is no event feed ({status}): is {} the base URL of the server?",
            self.base()
        )
    }

    pub(super) fn other_content(self, content_type: Option<&str>) -> String {
        let is = match content_type {
            Some("text/html") => "this is a web page, not an event feed".to_owned(),
            Some(other) => format!("this is {}, not an event feed", self.quoted(other)),
            None => "the answer does not say that it is an event feed".to_owned(),
        };
        format!("{is}: is {} the base URL of the server?", self.base())
    }

    pub(super) fn encoded(self, encoding: &str) -> String {
        format!(
            "the feed comes compressed ({}), which was not asked for: turn compression of event feeds off in the server or the proxy before it",
            self.quoted(encoding)
        )
    }

    pub(super) fn no_answer(self, within: Duration) -> String {
        format!(
            "{} did not answer within {within:?}: is the server up, and the way to it open?",
            self.base()
        )
    }

    pub(super) fn token(self, error: &TokenError) -> String {
        let variable = self.token_variable();
        format!("{error}: see {variable} and {variable}_FILE")
    }

    /// Why a request came to nothing, and what to look at.
    pub(super) fn unreachable(self, error: &reqwest::Error) -> String {
        let (base, cause) = (self.base(), self.root_cause(error));
        let hint = match trouble(error) {
            Trouble::Name => "is the name in the URL right?",
            Trouble::Refused => "is the server up, and the port in the URL right?",
            Trouble::Certificate => {
                "does the URL have the certificate's name, and is its authority in the file that RUNTRAIL_SOURCE_CA_FILE names?"
            }
            Trouble::NoTls => "does the server speak TLS there, or should the URL begin with http?",
            Trouble::NoHttp => NO_HTTP,
            // What many servers of TLS do when they are spoken to without.
            Trouble::HungUp if self.settings.url.scheme() == "http" => NO_HTTP,
            Trouble::HungUp | Trouble::Other => "is the server up, and the way to it open?",
        };
        format!("cannot connect to {base} ({cause}): {hint}")
    }

    pub(super) fn broken(self, error: &reqwest::Error) -> String {
        format!("the connection broke ({})", self.root_cause(error))
    }

    /// The innermost reason: the ones around it say that a request failed, and
    /// where, with the query.
    fn root_cause(self, error: &reqwest::Error) -> String {
        let cause = causes(error).skip(1).last();
        cause.map_or_else(
            || "the request failed".to_owned(),
            |cause| self.quoted(&cause.to_string()),
        )
    }

    /// A text of the other side: on one line, without the token, and then cut.
    fn quoted(self, text: &str) -> String {
        cut(&self.without_token(on_one_line(text)))
    }

    fn without_token(self, mut text: String) -> String {
        if let Some(token) = self.token {
            token.hide_in(&mut text);
        }
        text
    }

    /// The base URL, without what may be private in it.
    fn base(self) -> String {
        cut(&place(&self.settings.url))
    }

    fn token_variable(self) -> String {
        format!("{}_TOKEN", self.settings.system.to_uppercase())
    }
}

pub(super) fn no_list(project: i64) -> String {
    format!(
        "the server has no list of runs of project {project} (404): is it new enough to have one, and does the token reach that project?"
    )
}

pub(super) fn proxy_refuses() -> String {
    "the proxy wants a name and a password (407): give them in its URL, in HTTP_PROXY or HTTPS_PROXY"
        .to_owned()
}

pub(super) fn too_many_requests() -> String {
    "the server has too many requests, and asks us to wait (429)".to_owned()
}

pub(super) fn busy(status: u16) -> String {
    format!("the server, or a proxy before it, cannot answer for now ({status})")
}

pub(super) fn no_content() -> String {
    "the server says that there is nothing to listen to (204)".to_owned()
}

pub(super) fn ended() -> String {
    "the server ended the feed".to_owned()
}

pub(super) fn silent(after: Duration) -> String {
    format!("nothing came for {after:?}, not even a sign of life: the connection counts as dead")
}

/// An error and what is behind it, in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        // Writing to a text does not fail.
        let _ = write!(text, ": {error}");
        source = error.source();
    }
    cut(&on_one_line(&text))
}

const NO_HTTP: &str = "does the server speak HTTP/1.1 there, or should the URL begin with https?";

/// What stands between us and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Name,
    Refused,
    Certificate,
    NoTls,
    NoHttp,
    HungUp,
    Other,
}

fn trouble(error: &reqwest::Error) -> Trouble {
    for cause in causes(error) {
        if cause.to_string() == "dns error" {
            return Trouble::Name;
        }
        if cause.downcast_ref().is_some_and(hyper::Error::is_parse) {
            return Trouble::NoHttp;
        }
        if cause
            .downcast_ref()
            .is_some_and(hyper::Error::is_incomplete_message)
        {
            return Trouble::HungUp;
        }
        match cause.downcast_ref() {
            Some(rustls::Error::InvalidCertificate(_)) => return Trouble::Certificate,
            Some(rustls::Error::InvalidMessage(_)) => return Trouble::NoTls,
            _ => {}
        }
        let kind = cause.downcast_ref().map(io::Error::kind);
        match kind {
            Some(io::ErrorKind::ConnectionRefused) => return Trouble::Refused,
            Some(io::ErrorKind::ConnectionReset) => return Trouble::HungUp,
            _ => {}
        }
    }
    Trouble::Other
}

/// An address without user, password, query and fragment.
fn place(url: &Url) -> String {
    let path = url.path().trim_end_matches('/');
    format!("{}{path}", url.origin().ascii_serialization())
}

fn on_one_line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

fn cut(text: &str) -> String {
    text.chars().take(QUOTED_CHARS_MAX).collect()
}
