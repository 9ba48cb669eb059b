//! This machine, as it calls itself.

use std::net::IpAddr;

use reqwest::{ClientBuilder, Url};

/// Whether a host is this machine: by name, or by an address, with the brackets
/// of the sixth version or without.
pub fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let address = address.parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// A client that asks this address. To this machine it goes straight, whether
/// `NO_PROXY` says so or not: a proxy of the environment is no way to a server
/// in the same pod, and would see its token.
pub fn client_to(url: &Url, builder: ClientBuilder) -> ClientBuilder {
    match url.host_str().is_some_and(is_loopback) {
        true => builder.no_proxy(),
        false => builder,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_by_its_names_and_addresses() {
        for (url, expected) in [
            ("http://localhost:3001", true),
            ("http://LocalHost/api", true),
            ("http://127.0.0.1:3001", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:3001", true),
            ("http://[::ffff:127.0.0.1]:3001", true),
            ("http://localhost.example.com", false),
            ("http://10.0.0.1", false),
            ("http://[fe80::1]", false),
            ("http://akribes:3001", false),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(url.host_str().is_some_and(is_loopback), expected, "{url}");
        }
    }
}
