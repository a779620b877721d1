//! Whom TLS trusts: the system's authorities (or those in `SSL_CERT_FILE` and `SSL_CERT_DIR`, as
//! with OpenSSL), and for one host what `certs.d` says (containers-certs.d(5)).
//!
//! In `DIR/HOST:PORT/`, every `*.crt` file holds certificates to trust for that host, and a
//! `*.cert` file with a `*.key` file of the same stem is the certificate to show to it.
//!
//! A certificate in a `*.crt` file is trusted as an authority and as itself: a server that shows
//! exactly this certificate is the host, whatever names it is for and even when it is an
//! authority's own, as the usual `openssl req -x509` makes them. It must be valid in time.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use super::url;
use super::{Error, Result};

/// Where certificates for single hosts usually are.
pub const CERTIFICATE_DIRS: [&str; 2] = ["/etc/containers/certs.d", "/etc/docker/certs.d"];

const FILE_MAX: u64 = 1 << 20;
const FILES_MAX: usize = 256;
const HOSTS_MAX: usize = 256;

/// The TLS configuration of each host, made when it is first needed.
#[derive(Debug)]
pub(super) struct TlsConfigs {
    provider: Arc<CryptoProvider>,
    dirs: Vec<PathBuf>,
    insecure: Vec<String>,
    system: Arc<SystemRoots>,
    by_host: Mutex<HashMap<String, Arc<ClientConfig>>>,
}

/// The system's authorities, read when a certificate must first be judged: never for a registry
/// that turns out to speak plain HTTP.
#[derive(Debug, Default)]
struct SystemRoots(OnceLock<RootCertStore>);

/// What `certs.d` says of one host.
#[derive(Debug, Default)]
struct HostCertificates {
    trusted: Vec<CertificateDer<'static>>,
    own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    policy: Policy,
}

#[derive(Debug)]
enum Policy {
    /// Any certificate, but only from one who has its key.
    TrustAll,
    /// A chain to an authority, or one of the certificates trusted for the host.
    Check {
        system: Arc<SystemRoots>,
        trusted: Vec<CertificateDer<'static>>,
        chain: OnceLock<Option<Arc<WebPkiServerVerifier>>>,
    },
}

impl TlsConfigs {
    /// Configurations with the certificates in `dirs`. `insecure` are the hosts (`HOST[:PORT]`,
    /// as in references) whose certificates are not checked.
    pub(super) fn new(dirs: Vec<PathBuf>, insecure: Vec<String>) -> Self {
        Self {
            provider: Arc::new(rustls::crypto::ring::default_provider()),
            dirs,
            insecure,
            system: Arc::default(),
            by_host: Mutex::default(),
        }
    }

    /// The configuration for `host_port`.
    pub(super) fn get(&self, host_port: &str) -> Result<Arc<ClientConfig>> {
        let known = || self.by_host.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = known().get(host_port) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.make(host_port)?);
        let mut by_host = known();
        // Redirects name hosts: what they make grow must have a bound.
        if by_host.len() >= HOSTS_MAX {
            by_host.clear();
        }
        by_host.insert(host_port.to_owned(), Arc::clone(&config));
        Ok(config)
    }

    fn make(&self, host_port: &str) -> Result<ClientConfig> {
        let certificates = self.read_dirs(host_port)?;
        let policy = if self.insecure.iter().any(|host| host == host_port) {
            Policy::TrustAll
        } else {
            Policy::Check {
                system: Arc::clone(&self.system),
                trusted: certificates.trusted,
                chain: OnceLock::new(),
            }
        };
        let verifier = Arc::new(Verifier { provider: Arc::clone(&self.provider), policy });
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(Path::new(host_port), error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        match certificates.own {
            None => Ok(builder.with_no_client_auth()),
            Some((chain, key)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| unusable(Path::new(host_port), error)),
        }
    }

    fn read_dirs(&self, host_port: &str) -> Result<HostCertificates> {
        let mut certificates = HostCertificates::default();
        // A host from a redirect must not lead out of the directory.
        if url::host(host_port).starts_with('.') || host_port.contains('/') {
            return Ok(certificates);
        }
        for dir in &self.dirs {
            certificates.read(&dir.join(host_port))?;
        }
        Ok(certificates)
    }
}

impl HostCertificates {
    fn read(&mut self, dir: &Path) -> Result<()> {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(Error::Certificates { path: dir.to_owned(), source }),
        };
        let mut paths = Vec::new();
        for entry in entries.take(FILES_MAX) {
            let entry =
                entry.map_err(|source| Error::Certificates { path: dir.to_owned(), source })?;
            paths.push(entry.path());
        }
        paths.sort();
        for path in paths {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => self.trusted.extend(read_certificates(&path)?),
                // Of several certificates to show, the first by name is shown.
                Some("cert") if self.own.is_none() => {
                    let key = path.with_extension("key");
                    let der = PrivateKeyDer::from_pem_slice(&read_file(&key)?)
                        .map_err(|error| unusable(&key, error))?;
                    self.own = Some((read_certificates(&path)?, der));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let certificates: std::result::Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(&read_file(path)?).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(unusable(path, "it has no certificate")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unusable(path, error)),
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    let failed = |source| Error::Certificates { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(FILE_MAX).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn unusable(path: &Path, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let source = io::Error::new(io::ErrorKind::InvalidData, why);
    Error::Certificates { path: path.to_owned(), source }
}

impl SystemRoots {
    fn get(&self) -> &RootCertStore {
        self.0.get_or_init(|| {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                log::warn!("some of the system's certificates cannot be read: {error}");
            }
            let mut roots = RootCertStore::empty();
            let (added, ignored) = roots.add_parsable_certificates(found.certs);
            log::debug!("{added} authorities of the system are trusted, {ignored} ignored");
            roots
        })
    }
}

/// A verifier of chains to the system's authorities and `trusted`; none when there is no
/// authority at all.
fn chain_verifier(
    system: &SystemRoots,
    trusted: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Option<Arc<WebPkiServerVerifier>> {
    let mut roots = system.get().clone();
    roots.add_parsable_certificates(trusted.iter().cloned());
    let builder =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    match builder.build() {
        Ok(verifier) => Some(verifier),
        Err(error) => {
            log::warn!("no certificate authority is known: {error}");
            None
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let Policy::Check { system, trusted, chain } = &self.policy else {
            return Ok(ServerCertVerified::assertion());
        };
        let chain = chain.get_or_init(|| chain_verifier(system, trusted, &self.provider));
        let Some(chain) = chain else {
            return Err(CertificateError::UnknownIssuer.into());
        };
        let verdict =
            chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verdict {
            Err(rustls::Error::InvalidCertificate(fault))
                if !is_about_time(&fault) && trusted.iter().any(|known| known == end_entity) =>
            {
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether the certificate is out of its time. This is judged before anything else of the
/// certificate, so no other fault hides it.
pub(super) fn is_about_time(fault: &CertificateError) -> bool {
    matches!(
        fault,
        CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
    )
}
