//! The server as a command.

use runtrail::sim::{SimSettings, simulate};
use tokio::sync::watch;

use super::{settings, token};

/// What is printed for these settings, at the beginning and at the end.
async fn printed(settings: SimSettings) -> (String, String) {
    let (stop, stopped) = watch::channel(false);
    let mut greeting = None;
    let report = simulate(settings, stopped, |said| {
        greeting = Some((said.url.clone(), said.to_string()));
        stop.send_replace(true);
    });
    let report = report.await.unwrap().to_string();
    let (url, greeting) = greeting.unwrap();
    (greeting.replace(&url, "URL"), report)
}

#[tokio::test]
async fn the_command_says_where_the_server_is_and_what_it_did() {
    let (greeting, report) = printed(settings()).await;
    assert_eq!(
        greeting,
        "A simulated Akribes server is at URL. To listen to it:\n  \
         AKRIBES_URL=URL AKRIBES_TOKEN=sim-token runtrail run"
    );
    assert_eq!(
        report,
        "0 runs completed, 0 failed, 0 were cancelled and 0 were still open; \
         0 events went to 0 feeds"
    );
}

#[tokio::test]
async fn a_token_that_was_given_is_not_shown() {
    let mut settings = settings();
    settings.tokens = vec![token("hunter2", None)];
    let (greeting, _) = printed(settings).await;
    assert!(!greeting.contains("hunter2"), "{greeting}");
    assert!(greeting.contains("AKRIBES_TOKEN=<the token that you gave>"));
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused_in_a_sentence() {
    let mut settings = settings();
    settings.workload.speed = 0.0;
    let (_stop, stopped) = watch::channel(false);
    let error = simulate(settings, stopped, |_| {}).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "speed must be from 0.01 to 100000, not 0"
    );
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = SimSettings {
        listen: taken.local_addr().unwrap(),
        ..settings()
    };
    let (_stop, stopped) = watch::channel(false);
    let error = simulate(settings, stopped, |_| {}).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}
