//! An authority of our own, and certificates that it signs.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use runtrail::net::tls::TlsSettings;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};
use tempfile::TempDir;

/// An authority, and a folder with what a client needs.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
    folder: TempDir,
}

impl Authority {
    /// A new one, which nobody trusts yet.
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "an authority for tests");
        let certificate = params.self_signed(&key).unwrap();
        Self {
            issuer: Issuer::new(params, key),
            certificate,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A server for this name, which asks nobody who they are.
    pub fn server(&self, name: &str) -> ServerConfig {
        let (certificate, key) = self.sign(name);
        server_config()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key_of(&key))
            .unwrap()
    }

    /// A server for this name, which wants a certificate of this authority.
    pub fn strict_server(&self, name: &str) -> ServerConfig {
        let (certificate, key) = self.sign(name);
        server_config()
            .with_client_cert_verifier(self.verifier())
            .with_single_cert(vec![certificate.der().clone()], key_of(&key))
            .unwrap()
    }

    /// A server for this name that takes any certificate, and looks at it later.
    pub fn lenient_server(&self, name: &str) -> ServerConfig {
        let (certificate, key) = self.sign(name);
        server_config()
            .with_client_cert_verifier(Arc::new(Lenient(self.verifier())))
            .with_single_cert(vec![certificate.der().clone()], key_of(&key))
            .unwrap()
    }

    /// Whether this authority has signed the certificate that was presented.
    pub fn knows(&self, presented: Option<&[CertificateDer<'_>]>) -> bool {
        let Some([certificate, others @ ..]) = presented else {
            return false;
        };
        let now = UnixTime::now();
        let verdict = self.verifier().verify_client_cert(certificate, others, now);
        verdict.is_ok()
    }

    fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .unwrap()
    }

    /// A client that trusts this authority.
    pub fn client(&self) -> TlsSettings {
        TlsSettings {
            ca_file: Some(self.file("ca.pem", &self.certificate.pem())),
            ..TlsSettings::default()
        }
    }

    /// A client that has a certificate of this authority, too.
    pub fn known_client(&self) -> TlsSettings {
        let (certificate, key) = self.sign("client.test");
        TlsSettings {
            client_certificate_file: Some(self.file("client.pem", &certificate.pem())),
            client_key_file: Some(self.file("client.key", &key.serialize_pem())),
            ..self.client()
        }
    }

    /// Writes a file beside the certificates.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }
}

/// Checks that whoever presents a certificate has its key, and no more.
#[derive(Debug)]
struct Lenient(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Lenient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

fn server_config() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
}

fn key_of(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()))
}
