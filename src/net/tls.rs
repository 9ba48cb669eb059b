//! Certificates, and the one HTTP client that is made with them.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder, Identity, Response};

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
    current: RwLock<Made>,
    make: Arc<Make>,
    settings: TlsSettings,
}

/// A client, and what was in the files that it was made with.
struct Made {
    client: Client,
    digest: Option<u64>,
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
        // Before they are used: what changes in between is then seen as changed.
        let digest = settings.digest().ok();
        let client = make()?;
        Ok(Self {
            current: RwLock::new(Made { client, digest }),
            make: Arc::new(move || make().ok()),
            settings: settings.clone(),
        })
    }

    /// The client as it is now.
    pub fn get(&self) -> Client {
        self.current().client.clone()
    }

    /// What came of a request: see [`Self::renew`] for when it looks for others.
    pub async fn renew_after(&self, sent: &reqwest::Result<Response>) {
        let is_fine = |answer: &Response| !may_be_of_certificate(answer.status().as_u16());
        if !sent.as_ref().is_ok_and(is_fine) {
            self.renew().await;
        }
    }

    /// There was no connection, it broke, or the answer [may be about our
    /// certificate](may_be_of_certificate). These may be out of date, so the next
    /// request is made with those that are there now. If they are as before, the
    /// client stays, with its connections. What cannot be used, as it is half
    /// written, is left alone.
    pub async fn renew(&self) {
        // Without files there is nothing that could change.
        if self.settings == TlsSettings::default() {
            return;
        }
        let (make, settings) = (Arc::clone(&self.make), self.settings.clone());
        let before = self.current().digest;
        let made = tokio::task::spawn_blocking(move || {
            let digest = Some(settings.digest().ok()?);
            let client = (digest != before).then(|| make())??;
            Some(Made { client, digest })
        });
        if let Ok(Ok(Some(made))) = tokio::time::timeout(RENEWAL_TIME_MAX, made).await {
            let current = self.current.write();
            let mut current = current.unwrap_or_else(PoisonError::into_inner);
            // Of several requests that failed together the first has renewed it.
            if current.digest != made.digest {
                *current = made;
            }
        }
    }

    fn current(&self) -> RwLockReadGuard<'_, Made> {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner)
    }
}

impl TlsSettings {
    /// Tells what is in the files from what was.
    fn digest(&self) -> Result<u64, TlsError> {
        let Self {
            ca_file,
            client_certificate_file,
            client_key_file,
        } = self;
        let mut hasher = DefaultHasher::new();
        for path in [ca_file, client_certificate_file, client_key_file] {
            let content = path.as_deref().map(read).transpose()?;
            content.hash(&mut hasher);
        }
        Ok(hasher.finish())
    }
}

impl fmt::Debug for RenewedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { settings, .. } = self;
        f.debug_struct("RenewedClient")
            .field("settings", settings)
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    /// A client with files of a folder, and how often it was made. Whether it can
    /// be is for a file to say that it does not know of.
    fn renewed(folder: &Path) -> (RenewedClient, Arc<AtomicUsize>) {
        let path = |name: &str| Some(folder.join(name));
        let settings = TlsSettings {
            ca_file: path("ca"),
            client_certificate_file: path("certificate"),
            client_key_file: path("key"),
        };
        let times = Arc::new(AtomicUsize::new(0));
        let (made, usable) = (Arc::clone(&times), folder.join("usable"));
        let make = move || {
            made.fetch_add(1, Relaxed);
            usable.exists().then(Client::new).ok_or("half written")
        };
        install_provider();
        (RenewedClient::new(&settings, make).unwrap(), times)
    }

    #[tokio::test]
    async fn a_client_is_made_anew_when_a_file_has_changed_and_only_then() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        for name in ["ca", "certificate", "key", "usable"] {
            write(name, "one");
        }
        let (client, times) = renewed(folder.path());
        for (n, name) in ["ca", "certificate", "key"].into_iter().enumerate() {
            client.renew().await;
            client.renew().await;
            assert_eq!(times.load(Relaxed), n + 1, "before {name}");
            write(name, "two");
            client.renew().await;
            assert_eq!(times.load(Relaxed), n + 2, "{name}");
        }
        client.renew().await;
        assert_eq!(times.load(Relaxed), 4);
    }

    #[tokio::test]
    async fn what_cannot_be_used_yet_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["ca", "certificate", "key", "usable"] {
            fs::write(path(name), "one").unwrap();
        }
        let (client, times) = renewed(folder.path());
        fs::remove_file(path("key")).unwrap();
        client.renew().await;
        assert_eq!(times.load(Relaxed), 1, "a file is missing");
        fs::write(path("key"), "two").unwrap();
        fs::remove_file(path("usable")).unwrap();
        client.renew().await;
        fs::write(path("usable"), "").unwrap();
        client.renew().await;
        assert_eq!(times.load(Relaxed), 3);
        client.renew().await;
        assert_eq!(times.load(Relaxed), 3);
    }

    #[tokio::test]
    async fn without_files_nothing_is_made_anew() {
        let times = Arc::new(AtomicUsize::new(0));
        let made = Arc::clone(&times);
        let make = move || {
            made.fetch_add(1, Relaxed);
            client_builder(&TlsSettings::default()).unwrap().build()
        };
        let client = RenewedClient::new(&TlsSettings::default(), make).unwrap();
        client.renew().await;
        assert_eq!(times.load(Relaxed), 1);
    }
}
