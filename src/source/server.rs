//! What all connections to a server share: its address, the token as it is now,
//! and certificates.

use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{ClientBuilder, Url};

use super::{SourceError, SourceSettings};
use crate::core::UnknownSystem;
use crate::net::loopback::client_to;
use crate::net::secret::{Secret, TokenError, TokenSource};
use crate::net::tls::{self, TlsSettings};
use crate::wire::dialect::Dialect;

/// When the kernel asks whether the other side is still there.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// A server, as far as it is known before it is asked.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) dialect: Dialect,
    url: Url,
    token: Option<TokenSource>,
    connect_time_max: Duration,
}

impl Server {
    pub(super) fn new(settings: &SourceSettings) -> Result<Self, SourceError> {
        let dialect = Dialect::of(&settings.system, false)
            .ok_or_else(|| UnknownSystem(settings.system.clone()))?;
        check(&settings.url)?;
        Ok(Self {
            dialect,
            url: settings.url.clone(),
            token: settings.token.clone(),
            connect_time_max: settings.connect_time_max,
        })
    }

    /// The address of what the dialect calls so.
    pub(super) fn address(&self, target: &str) -> Url {
        behind(&self.url, target)
    }

    /// The token as it is now. Reading a file may take its time, on a disk that hangs.
    pub(super) async fn token(&self) -> Result<Option<Secret>, TokenError> {
        match &self.token {
            None => Ok(None),
            Some(value @ TokenSource::Value(_)) => value.read().map(Some),
            Some(file @ TokenSource::File(path)) => {
                let (file, path) = (file.clone(), path.clone());
                let read = tokio::task::spawn_blocking(move || file.read());
                let unreadable = |error| TokenError::Unreadable { path, error };
                match tokio::time::timeout(self.connect_time_max, read).await {
                    Ok(Ok(token)) => token.map(Some),
                    // That happens only when the runtime is about to end.
                    Ok(Err(error)) => Err(unreadable(std::io::Error::other(error))),
                    Err(_) => Err(unreadable(std::io::ErrorKind::TimedOut.into())),
                }
            }
        }
    }

    /// Whether the token is another one than that which was sent.
    pub(super) async fn has_other_token(&self, sent: Option<&Secret>) -> bool {
        self.token().await.is_ok_and(|token| token.as_ref() != sent)
    }

    /// Whether the token can change by itself.
    pub(super) const fn token_may_change(&self) -> bool {
        matches!(self.token, Some(TokenSource::File(_)))
    }
}

/// What is left to choose for a client of the server at this address. HTTP/1.1
/// only: what it reads ahead is known.
pub(super) fn client_builder(tls: &TlsSettings, url: &Url) -> Result<ClientBuilder, SourceError> {
    let builder = client_to(url, tls::client_builder(tls)?);
    Ok(builder.http1_only().tcp_keepalive(TCP_KEEPALIVE))
}

/// Presents a token.
pub(super) fn authorize(head: &mut HeaderMap, token: Option<&Secret>) {
    // What a token source gives, a header can carry.
    if let Some(Ok(mut bearer)) =
        token.map(|token| HeaderValue::try_from(format!("Bearer {}", token.reveal())))
    {
        bearer.set_sensitive(true);
        head.insert(AUTHORIZATION, bearer);
    }
}

/// What a URL must be to be the base of a feed.
fn check(url: &Url) -> Result<(), SourceError> {
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(SourceError::Url("must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(SourceError::Url(
            "holds a user or a password, which nobody would read: give a token instead",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(SourceError::Url(
            "has a `?` or a `#`: it is the base that paths are added to, and a token never stands in it",
        ));
    }
    Ok(())
}

/// The address of a target behind a base URL, whatever the base ends with.
fn behind(base: &Url, target: &str) -> Url {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url.set_query(query);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_goes_behind_the_whole_base() {
        for (base, address) in [
            ("https://h", "https://h/events?project_id=7"),
            ("https://h/", "https://h/events?project_id=7"),
            ("http://h:81/api", "http://h:81/api/events?project_id=7"),
            (
                "http://h:81/api/v1//",
                "http://h:81/api/v1/events?project_id=7",
            ),
            (
                "http://[::1]:81/a%20b",
                "http://[::1]:81/a%20b/events?project_id=7",
            ),
        ] {
            let base = Url::parse(base).unwrap();
            assert_eq!(behind(&base, "/events?project_id=7").as_str(), address);
        }
        let base = Url::parse("https://h").unwrap();
        assert_eq!(behind(&base, "/events").as_str(), "https://h/events");
    }

    #[test]
    fn a_base_that_would_hide_a_secret_or_lose_a_part_is_none() {
        for wrong in [
            "ftp://h",
            "unix:/run/server.sock",
            "http://user@h",
            "http://user:hunter2@h",
            "http://h/?token=hunter2",
            "http://h/#a",
        ] {
            let error = check(&Url::parse(wrong).unwrap()).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        assert!(check(&Url::parse("https://h/api/").unwrap()).is_ok());
    }
}
