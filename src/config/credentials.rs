//! Certificates and tokens: files that must be readable before anything begins.

use super::choices::Choices;
use super::error::ConfigError;
use super::keys::Key;
use super::kinds::{File, Token};
use crate::net::secret::TokenSource;
use crate::net::tls::{TlsSettings, client_builder};

/// Whom to trust, and who to be.
pub(super) fn tls(
    choices: &Choices,
    ca: &'static Key<File>,
    certificate: &'static Key<File>,
    key: &'static Key<File>,
) -> Result<TlsSettings, ConfigError> {
    let settings = TlsSettings {
        ca_file: choices.value(ca)?,
        client_certificate_file: choices.value(certificate)?,
        client_key_file: choices.value(key)?,
    };
    let half = |given, other: &'static Key<File>| {
        choices.wrong(
            given,
            format!(
                "a certificate and its key belong together: give {} too",
                other.path()
            ),
        )
    };
    match (&settings.client_certificate_file, &settings.client_key_file) {
        (Some(_), None) => return Err(half(certificate, key)),
        (None, Some(_)) => return Err(half(key, certificate)),
        (Some(_), Some(_)) | (None, None) => {}
    }
    // Each on its own, so that the key to blame is known.
    let authorities = TlsSettings {
        ca_file: settings.ca_file.clone(),
        ..TlsSettings::default()
    };
    let _usable =
        client_builder(&authorities).map_err(|error| choices.wrong(ca, error.to_string()))?;
    let identity = TlsSettings {
        ca_file: None,
        ..settings.clone()
    };
    let _usable =
        client_builder(&identity).map_err(|error| choices.wrong(certificate, error.to_string()))?;
    Ok(settings)
}

/// A token that stands there itself, or in a file. A higher layer counts; in one
/// layer both cannot be meant. A file is read once now, so that a wrong path is
/// told before anything begins.
pub(super) fn token(
    choices: &Choices,
    value: &'static Key<Token>,
    file: &'static Key<File>,
) -> Result<Option<TokenSource>, ConfigError> {
    let layers = (choices.origin(value).layer(), choices.origin(file).layer());
    let token = choices.value(value)?;
    let path = choices.value(file)?;
    let source = match (token, path) {
        (Some(_), Some(_)) if layers.0 == layers.1 => {
            let problem = format!(
                "{} is given too (from {}): one of them is enough, and it cannot be told which is meant",
                file.path(),
                choices.origin(file)
            );
            return Err(choices.wrong(value, problem));
        }
        (Some(token), Some(_)) if layers.0 > layers.1 => TokenSource::Value(token),
        (_, Some(path)) => TokenSource::File(path),
        (Some(token), None) => TokenSource::Value(token),
        (None, None) => return Ok(None),
    };
    if let TokenSource::File(_) = &source {
        source
            .read()
            .map_err(|error| choices.wrong(file, error.to_string()))?;
    }
    Ok(Some(source))
}
