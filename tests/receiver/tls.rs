//! An authority of our own, and certificates that it signs.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use runtrail::net::tls::TlsSettings;
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
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
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .unwrap();
        server_config()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.der().clone()], key_of(&key))
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

fn server_config() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
}

fn key_of(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()))
}
