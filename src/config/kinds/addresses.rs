//! Where to listen, and what to connect to. An address to connect to may hold
//! what is secret, so it is not repeated.

use std::net::SocketAddr;

use reqwest::Url;

use super::{Kind, Raw, SECRET_SHOWN, Shape, Text, shown};

/// An address to listen at.
#[derive(Debug, Clone, Copy)]
pub struct Address;

impl Kind for Address {
    type Value = SocketAddr;
    const SHAPE: Shape = Shape::One;
    const HINT: &'static str = "ADDRESS";

    fn form(&self) -> String {
        "IP address and port".to_owned()
    }

    fn read(&self, raw: &Raw) -> Result<SocketAddr, String> {
        let text = raw.one();
        text.parse().map_err(|_| {
            let port = text.rsplit_once(':').map(|(_, port)| port.parse::<u64>());
            match port {
                Some(Ok(port)) if port > u64::from(u16::MAX) => {
                    format!("{} has no port: the highest is 65535", shown(text))
                }
                _ => format!(
                    "{} is no address to listen at: write an IP address and a port, such as 0.0.0.0:9464 or [::1]:9465",
                    shown(text)
                ),
            }
        })
    }
}

/// The address of a server. It may hold what is secret, so it is not repeated.
#[derive(Debug, Clone, Copy)]
pub struct Server;

impl Kind for Server {
    type Value = Url;
    const SHAPE: Shape = Shape::One;
    const HINT: &'static str = "URL";

    fn form(&self) -> String {
        "URL".to_owned()
    }

    fn read(&self, raw: &Raw) -> Result<Url, String> {
        let url = http_url(&Text.read(raw)?)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(
                "has a `?` or `#`: write the server's base address only, such as https://akribes.example.com"
                    .to_owned(),
            );
        }
        Ok(url)
    }
}

/// A URL of a server that speaks HTTP, without a user or password in it.
pub(in crate::config) fn http_url(text: &str) -> Result<Url, String> {
    if !text.contains("://") {
        return Err("is no URL: write http:// or https:// before the server's name".to_owned());
    }
    let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err(
            "is no URL of a server that speaks HTTP: it must begin with http:// or https://"
                .to_owned(),
        );
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "holds a user or password, which would end up in logs: use a token or a header instead"
                .to_owned(),
        );
    }
    Ok(url)
}

/// Where OTLP is sent to. What it means depends on the protocol, so it is read later.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint;

impl Kind for Endpoint {
    type Value = String;
    const SHAPE: Shape = Shape::One;
    const HINT: &'static str = "URL";

    fn form(&self) -> String {
        "URL".to_owned()
    }

    fn read(&self, raw: &Raw) -> Result<String, String> {
        Text.read(raw)
    }

    /// A query may hold a key.
    fn show(&self, raw: &Raw) -> String {
        let text = raw.one();
        text.split_once('?').map_or_else(
            || text.to_owned(),
            |(before, _)| format!("{before}?{SECRET_SHOWN}"),
        )
    }
}
