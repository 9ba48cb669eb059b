//! Certificates, and the one HTTP client that is made with them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once, PoisonError, RwLock};
use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder, Identity};

/// A larger file of certificates is none.
const PEM_BYTES_MAX: u64 = 4 << 20;

/// Whom to trust, and who to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsSettings {
    /// Authorities to trust beside those of the system, as PEM.
    pub ca_file: Option<PathBuf>,
    /// The certificate to present, as PEM.
    pub client_certificate_file: Option<PathBuf>,
    /// Its key, as PEM.
    pub client_key_file: Option<PathBuf>,
}

/// A certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{} holds no PEM {what} that can be used", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// A certificate without its key, or the other way round.
    #[error("a client certificate and its key belong together: only the {given} was given")]
    Half {
        /// What was given.
        given: &'static str,
    },
}

/// A client whose certificates may change while it lives: a mounted secret is
/// changed without a restart.
pub struct RenewedClient {
    client: RwLock<Client>,
    make: Arc<Make>,
    /// Without files there is nothing that could change.
    has_files: bool,
}

type Make = dyn Fn() -> Option<Client> + Send + Sync;

/// How long files may take to be read again, on a disk that hangs.
const RENEWAL_TIME_MAX: Duration = Duration::from_secs(5);

impl RenewedClient {
    /// One that is made so, now and later.
    pub fn new<E>(
        settings: &TlsSettings,
        make: impl Fn() -> Result<Client, E> + Send + Sync + 'static,
    ) -> Result<Self, E> {
        Ok(Self {
            client: RwLock::new(make()?),
            make: Arc::new(move || make().ok()),
            has_files: *settings != TlsSettings::default(),
        })
    }

    /// The client as it is now.
    pub fn get(&self) -> Client {
        let client = self.client.read();
        client.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// There was no connection, it broke, or the answer [may be about our
    /// certificate](may_be_of_certificate). These may be out of date, so the next
    /// request is made with those that are there now. What cannot be used, as it
    /// is half written, is left alone.
    pub async fn renew(&self) {
        if !self.has_files {
            return;
        }
        let make = Arc::clone(&self.make);
        let made = tokio::task::spawn_blocking(move || make());
        if let Ok(Ok(Some(client))) = tokio::time::timeout(RENEWAL_TIME_MAX, made).await {
            *self.client.write().unwrap_or_else(PoisonError::into_inner) = client;
        }
    }
}

impl fmt::Debug for RenewedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { has_files, .. } = self;
        f.debug_struct("RenewedClient")
            .field("has_files", has_files)
            .finish_non_exhaustive()
    }
}

/// Whether a status may be about our certificate: not every server refuses one
/// before it speaks. nginx takes what comes, and then answers 400; some let its
/// own 495 and 496 through.
pub const fn may_be_of_certificate(status: u16) -> bool {
    matches!(status, 400 | 401 | 403 | 495 | 496)
}

/// What is left to choose for a client with these certificates. Redirects are
/// never followed: a token must not travel to another place.
pub fn client_builder(settings: &TlsSettings) -> Result<ClientBuilder, TlsError> {
    install_provider();
    let mut builder = reqwest::Client::builder()
        // Whatever else a build of the whole workspace brings along.
        .tls_backend_rustls()
        // Nobody asks for anything compressed: a small answer is a small one, also
        // where such a build teaches the client to unpack.
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .retry(reqwest::retry::never())
        .user_agent(concat!("runtrail/", env!("CARGO_PKG_VERSION")));
    if let Some(path) = &settings.ca_file {
        let malformed = || TlsError::Malformed {
            path: path.clone(),
            what: "certificate",
        };
        let certificates = Certificate::from_pem_bundle(&read(path)?).map_err(|_| malformed())?;
        if certificates.is_empty() {
            return Err(malformed());
        }
        builder = builder.tls_certs_merge(certificates);
    }
    match (&settings.client_certificate_file, &settings.client_key_file) {
        (None, None) => Ok(builder),
        (Some(_), None) => Err(TlsError::Half {
            given: "certificate",
        }),
        (None, Some(_)) => Err(TlsError::Half { given: "key" }),
        (Some(certificate), Some(key)) => {
            let mut pem = read(key)?;
            pem.push(b'\n');
            pem.extend(read(certificate)?);
            let identity = Identity::from_pem(&pem).map_err(|_| TlsError::Malformed {
                path: certificate.clone(),
                what: "certificate with its key",
            })?;
            Ok(builder.identity(identity))
        }
    }
}

/// The cryptography behind TLS is chosen once a process.
fn install_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Refused only when somebody chose before us, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(PEM_BYTES_MAX).read_to_end(&mut bytes))
        .map_err(|error| TlsError::Unreadable {
            path: path.to_owned(),
            error,
        })?;
    Ok(bytes)
}
