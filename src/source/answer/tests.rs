use std::path::PathBuf;

use super::*;
use crate::net::secret::{Secret, TokenSource};
use crate::source::testkit::settings;
use crate::source::{FeedScope, SourceSettings};

/// As it may be: a base64 text, with what a type, a path and a host read otherwise.
const TOKEN: &str = "hunter2;/Key+.Of==";

/// 2026-05-07T10:00:00Z.
const NOW: Duration = Duration::from_secs(1_778_148_000);

fn judged(status: u16, headers: &[(&'static str, &str)]) -> Result<(), Failure> {
    judged_by(&settings(None), None, status, headers)
}

fn judged_by(
    settings: &SourceSettings,
    project: Option<i64>,
    status: u16,
    headers: &[(&'static str, &str)],
) -> Result<(), Failure> {
    let scope = FeedScope {
        project,
        script: None,
    };
    let asked = Asked {
        settings,
        scope: &scope,
        token: Some(&Secret::new(TOKEN)),
    };
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, value.parse().unwrap());
    }
    let status = StatusCode::from_u16(status).unwrap();
    judge(asked, status, &map, Time::ZERO.plus(NOW))
}

fn message(status: u16, headers: &[(&'static str, &str)]) -> String {
    judged(status, headers).unwrap_err().message
}

#[test]
fn an_event_stream_is_a_feed_whatever_its_parameters() {
    for kind in [
        "text/event-stream",
        "text/event-stream; charset=utf-8",
        "Text/Event-Stream ;charset=UTF-8",
    ] {
        assert_eq!(judged(200, &[("content-type", kind)]), Ok(()));
    }
}

#[test]
fn another_content_is_refused_by_its_name() {
    let of = |kind| message(200, &[("content-type", kind)]);
    assert_eq!(
        of("text/html; charset=utf-8"),
        "this is a web page, not an event feed: is https://h/api the base URL of the server?"
    );
    assert_eq!(
        of("application/json"),
        "this is application/json, not an event feed: is https://h/api the base URL of the server?"
    );
    assert!(message(200, &[]).starts_with("the answer does not say that it is an event feed"));
    assert!(of(&"x".repeat(10_000)).len() < 400);
    let refused = judged(200, &[("content-type", "text/html")]).unwrap_err();
    assert_eq!(refused.kind, LossKind::Refused(200));
}

#[test]
fn a_compressed_feed_is_refused_and_an_identical_one_is_not() {
    let with = |encoding| {
        let kind = ("content-type", "text/event-stream");
        judged(200, &[kind, ("content-encoding", encoding)])
    };
    assert_eq!(with("Identity"), Ok(()));
    let refused = with("gzip").unwrap_err();
    assert_eq!(refused.kind, LossKind::Refused(200));
    assert!(
        refused
            .message
            .starts_with("the feed comes compressed (gzip)")
    );
}

#[test]
fn each_status_is_of_a_kind() {
    use LossKind::{Busy, Ended, Refused};
    for (status, kind) in [
        (202, Refused(202)),
        (204, Ended),
        (301, Refused(301)),
        (304, Refused(304)),
        (307, Refused(307)),
        (400, Refused(400)),
        (401, Refused(401)),
        (403, Refused(403)),
        (404, Refused(404)),
        (405, Refused(405)),
        (407, Refused(407)),
        (408, Busy(408)),
        (410, Refused(410)),
        (425, Busy(425)),
        (429, Busy(429)),
        (500, Busy(500)),
        (502, Busy(502)),
        (503, Busy(503)),
        (599, Busy(599)),
    ] {
        let failure = judged(status, &[("content-type", "text/event-stream")]).unwrap_err();
        assert_eq!(failure.kind, kind, "{status}");
        let told = failure.message.contains(&format!("({status})"));
        assert!(told, "{}", failure.message);
    }
}

#[test]
fn a_refused_token_is_named_by_where_it_comes_from_and_never_told() {
    let message = |token| {
        let refused = judged_by(&settings(token), None, 401, &[]);
        refused.unwrap_err().message
    };
    assert_eq!(
        message(None),
        "the server wants a token (401), and none is given: set AKRIBES_TOKEN or AKRIBES_TOKEN_FILE"
    );
    assert_eq!(
        message(Some(TokenSource::Value(Secret::new("hunter2")))),
        "the server refuses the token (401): is AKRIBES_TOKEN current?"
    );
    assert_eq!(
        message(Some(TokenSource::File(PathBuf::from("/run/token")))),
        "the server refuses the token (401): is the one in /run/token current?"
    );
}

#[test]
fn a_refused_project_is_named() {
    let message = |project| {
        let refused = judged_by(&settings(None), project, 403, &[]);
        refused.unwrap_err().message
    };
    assert!(message(Some(7)).contains("project 7 to this token (403)"));
    assert!(message(None).contains("all projects to this token (403)"));
}

#[test]
fn a_bad_request_over_tls_may_be_about_our_certificate() {
    for status in [400, 495, 496] {
        let told = message(status, &[]);
        assert!(
            told.contains("RUNTRAIL_SOURCE_CLIENT_CERTIFICATE_FILE"),
            "{told}"
        );
    }
    let mut clear = settings(None);
    clear.url = "http://h/api/".parse().unwrap();
    for (settings, status) in [(&clear, 400), (&settings(None), 405)] {
        let told = judged_by(settings, None, status, &[]).unwrap_err().message;
        assert!(!told.contains("CERTIFICATE"), "{told}");
    }
}

#[test]
fn a_redirect_is_told_without_what_may_be_private_in_it() {
    let to = |location| message(302, &[("location", location)]);
    assert!(
        to("https://user:hunter2@login.example/start?state=hunter2#hunter2")
            .starts_with("the server redirects to https://login.example/start (302)")
    );
    assert!(to("../v2/events").contains("to https://h/v2/events (302)"));
    assert!(to("http://[").contains("to another address (302)"));
    assert!(message(302, &[]).contains("to another address (302)"));
}

#[test]
fn a_token_that_the_server_repeats_is_not_told() {
    let small = TOKEN.to_lowercase();
    let escaped = TOKEN.replace('+', "%2B").replace('=', "%3d");
    let tabbed = TOKEN.replace("Key", "K\tey");
    let late = format!("{}{TOKEN}", "x".repeat(175));
    for repeated in [TOKEN, &small, &escaped, &tabbed, &late] {
        let paths = ["/login/", "https://login.example/a/"];
        let places = paths.map(|path| message(302, &[("location", &format!("{path}{repeated}"))]));
        let host = message(302, &[("location", &format!("https://{repeated}/"))]);
        let kind = message(200, &[("content-type", &format!("x/{repeated}"))]);
        let feed = ("content-type", "text/event-stream");
        let encoding = message(200, &[feed, ("content-encoding", repeated)]);
        for told in places.iter().chain([&host, &kind, &encoding]) {
            let told = told.to_lowercase();
            assert!(!told.contains("hunter") && !told.contains("key"), "{told}");
        }
        assert!(places[0].contains("[se"), "{}", places[0]);
    }
    let told = message(302, &[("location", &format!("/login/{TOKEN}"))]);
    assert!(
        told.contains("redirects to https://h/login/[secret] (302)"),
        "{told}"
    );
}

#[test]
fn a_server_says_how_long_to_wait_in_seconds_or_by_a_date() {
    let asked = |headers: &[(&'static str, &str)]| {
        let wait = judged(503, headers).unwrap_err().retry_after;
        wait.map(|wait| wait.as_secs())
    };
    let at = |value| [("retry-after", value)];
    assert_eq!(asked(&[]), None);
    assert_eq!(asked(&at("120")), Some(120));
    assert_eq!(asked(&at("Thu, 07 May 2026 10:00:30 GMT")), Some(30));
    assert_eq!(asked(&at("Thu, 07 May 2026 09:00:00 GMT")), Some(0));
    for wrong in ["soon", "-1", "1.5", ""] {
        assert_eq!(asked(&at(wrong)), None, "{wrong}");
    }
    let own_clock = ("date", "Thu, 07 May 2026 11:00:00 GMT");
    let date = ("retry-after", "Thu, 07 May 2026 11:00:10 GMT");
    assert_eq!(asked(&[own_clock, date]), Some(10), "by its own clock");
}
