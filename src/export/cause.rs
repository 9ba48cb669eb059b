//! What a request ended with: an answer, or what stood in its way.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError};

use super::Protocol;
use crate::net::causes::causes;

/// What a request ended with. There are few of them, so that what was said of
/// one need not be said again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// An HTTP status.
    Status(u16),
    /// A gRPC code.
    Code(i32),
    /// An HTTP status of success, with a page for people.
    WebPage,
    /// An answer in HTTP, to gRPC.
    NotGrpc(u16),
    /// An answer of gRPC, to HTTP.
    NotHttp,
    /// What came is no HTTP/1.
    NotHttp1,
    /// What came is no HTTP/2, without which there is no gRPC.
    NotHttp2,
    /// The name of the host is not known.
    NameUnknown,
    /// The host does not take connections there.
    NothingListens,
    /// No connection could be made.
    NoConnection,
    /// TLS did not come about.
    Tls(TlsTrouble),
    /// There was no answer in time.
    TimedOut,
    /// The connection broke before the answer was complete.
    Broken,
}

/// What can be wrong with TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsTrouble {
    /// Nobody that we trust has signed the server's certificate.
    Untrusted,
    /// The certificate is for another name.
    WrongName,
    /// The certificate is too old or too young.
    Expired,
    /// The server wants a certificate from us, or another one.
    ClientCertificate,
    /// The server speaks no TLS.
    NotTls,
    /// Something else.
    Other,
}

impl Cause {
    /// Whether somebody answered, be it in the wrong way.
    pub const fn is_answer(self) -> bool {
        matches!(
            self,
            Self::Status(_) | Self::Code(_) | Self::WebPage | Self::NotGrpc(_) | Self::NotHttp
        )
    }

    /// Why there is no answer, and what the libraries below have to say of it.
    pub(super) fn of(error: reqwest::Error, protocol: Protocol) -> (Self, String) {
        // An address may hold a password or a key.
        let error = &error.without_url();
        let tls = causes(error).find_map(|cause| cause.downcast_ref());
        let known = tls.map(Self::of_tls);
        let known = known.or_else(|| causes(error).find_map(|cause| Self::of_one(cause, protocol)));
        let cause = known.unwrap_or_else(|| {
            if error.is_dns() {
                Self::NameUnknown
            } else if error.is_connect() {
                Self::NoConnection
            } else if error.is_timeout() {
                Self::TimedOut
            } else {
                Self::Broken
            }
        });
        let deepest = causes(error).last();
        let said = deepest.map(ToString::to_string).unwrap_or_default();
        (cause, said)
    }

    fn of_one(error: &(dyn Error + 'static), protocol: Protocol) -> Option<Self> {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            // The other side sent what is no frame of HTTP/2.
            return error.is_library().then_some(Self::NotHttp2);
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            let no_http = error.is_parse() && protocol == Protocol::HttpProtobuf;
            return no_http.then_some(Self::NotHttp1);
        }
        Self::of_io(error.downcast_ref()?)
    }

    fn of_io(error: &io::Error) -> Option<Self> {
        if error.kind() == io::ErrorKind::ConnectionRefused {
            return Some(Self::NothingListens);
        }
        // HTTP/2 keeps but the text of what failed below it. An alert that comes
        // so late, behind the handshake, is about our certificate.
        let is_alert = error.to_string().starts_with("received fatal alert");
        is_alert.then_some(Self::Tls(TlsTrouble::ClientCertificate))
    }

    fn of_tls(error: &rustls::Error) -> Self {
        use rustls::Error;
        Self::Tls(match error {
            Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
                return Self::NotHttp2;
            }
            Error::InvalidCertificate(error) => match error {
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => TlsTrouble::Expired,
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => TlsTrouble::WrongName,
                _ => TlsTrouble::Untrusted,
            },
            Error::AlertReceived(
                AlertDescription::CertificateRequired
                | AlertDescription::NoCertificate
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
                | AlertDescription::DecryptError,
            ) => TlsTrouble::ClientCertificate,
            Error::InvalidMessage(_) => TlsTrouble::NotTls,
            _ => TlsTrouble::Other,
        })
    }
}
