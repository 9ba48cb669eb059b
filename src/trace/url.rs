//! What of a URL may stand on a span.

/// The parts of a URL that leave. They borrow from the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Url<'a> {
    /// Up to and with `://`; empty for a URL that has no authority.
    scheme: &'a str,
    /// Host and port, without user and password.
    authority: &'a str,
    path: &'a str,
    /// The query and the fragment, with the sign that begins them.
    rest: &'a str,
}

impl<'a> Url<'a> {
    /// Takes a URL apart. Any text will do.
    pub fn new(text: &'a str) -> Self {
        let (scheme, after) = match text.find("://") {
            Some(at) => text.split_at(at + 3),
            None => ("", text),
        };
        let (before, rest) = after.split_at(after.find(['?', '#']).unwrap_or(after.len()));
        let (authority, path) = if scheme.is_empty() {
            ("", before)
        } else {
            before.split_at(before.find('/').unwrap_or(before.len()))
        };
        // What stands before the last `@` is a user, and perhaps a password.
        let authority = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        Self {
            scheme,
            authority,
            path,
            rest,
        }
    }

    /// The URL without user and password, in parts; without query and fragment
    /// unless content may leave.
    pub fn parts(&self, with_query: bool) -> [&'a str; 4] {
        let rest = if with_query { self.rest } else { "" };
        [self.scheme, self.authority, self.path, rest]
    }

    /// The host, without the brackets of an IPv6 address.
    pub fn host(&self) -> Option<&'a str> {
        let host = match self.authority.strip_prefix('[') {
            Some(address) => address.split(']').next(),
            None => self.authority.split(':').next(),
        };
        host.filter(|host| !host.is_empty())
    }

    /// The port: the one given, else the one that the scheme implies.
    pub fn port(&self) -> Option<u16> {
        let after_host = match self.authority.rfind(']') {
            Some(at) => &self.authority[at..],
            None => self.authority,
        };
        let given = after_host.split_once(':').map(|(_, port)| port);
        match given.filter(|port| !port.is_empty()) {
            Some(port) => port.parse().ok(),
            None => match self.scheme.to_ascii_lowercase().as_str() {
                "http://" | "ws://" => Some(80),
                "https://" | "wss://" => Some(443),
                _ => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_url_leaves_without_user_and_query() {
        for (text, leaves, host, port) in [
            (
                "https://api.example.com/v1?key=1#x",
                "https://api.example.com/v1",
                Some("api.example.com"),
                Some(443),
            ),
            (
                "http://u:p@w@h:8080/a@b?c",
                "http://h:8080/a@b",
                Some("h"),
                Some(8080),
            ),
            (
                "https://[::1]:99/x",
                "https://[::1]:99/x",
                Some("::1"),
                Some(99),
            ),
            (
                "HTTP://[fe80::1]?q",
                "HTTP://[fe80::1]",
                Some("fe80::1"),
                Some(80),
            ),
            ("https://h:", "https://h:", Some("h"), Some(443)),
            ("https://h:many/", "https://h:many/", Some("h"), None),
            ("ftp://h/", "ftp://h/", Some("h"), None),
            ("/only/a/path?q", "/only/a/path", None, None),
            ("", "", None, None),
            ("https://", "https://", None, Some(443)),
        ] {
            let url = Url::new(text);
            assert_eq!(url.parts(false).concat(), leaves);
            assert_eq!(url.host(), host, "{text}");
            assert_eq!(url.port(), port, "{text}");
        }
        assert_eq!(
            Url::new("https://u@h/a?b#c").parts(true).concat(),
            "https://h/a?b#c"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in "(https?://)?\\PC{0,40}", user in "[a-z:]{1,9}", path in "/[a-z]{0,5}") {
            let url = Url::new(&text);
            let _ = (url.host(), url.port());
            prop_assert!(!url.parts(false).concat().contains(['?', '#']));
            let with_user = format!("http://{user}@host{path}");
            prop_assert_eq!(Url::new(&with_user).parts(true).concat(), format!("http://host{path}"));
        }
    }
}
