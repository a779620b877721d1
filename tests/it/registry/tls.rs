//! Whom TLS trusts, shown on Debian's docker-registry with certificates made by openssl.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mica::registry::{Client, Error, HttpOptions, TlsFault};
use tempfile::TempDir;

use super::{bare, chain, image, real};
use crate::support::registry::{Registry, Setup, run};

/// A directory with keys and certificates.
struct Keys {
    dir: TempDir,
}

impl Keys {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What everyone does: a certificate that is its own authority.
    fn self_signed(&self, name: &str) -> (PathBuf, PathBuf) {
        let (certificate, key) =
            (self.path(&format!("{name}.crt")), self.path(&format!("{name}.key")));
        run(Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-nodes", "-days", "2", "-subj", "/CN=test", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate));
        (certificate, key)
    }

    /// A certificate with these extensions, signed by the one of `authority`.
    fn signed_by(
        &self,
        authority: &str,
        name: &str,
        extensions: &str,
        days: &str,
    ) -> (PathBuf, PathBuf) {
        let [certificate, key, request, file] =
            ["crt", "key", "csr", "ext"].map(|suffix| self.path(&format!("{name}.{suffix}")));
        fs::write(&file, extensions).unwrap();
        run(Command::new("openssl")
            .args(["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-nodes", "-subj", "/CN=leaf", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&request));
        run(Command::new("openssl")
            .args(["x509", "-req", "-days", days, "-CAcreateserial", "-in"])
            .arg(&request)
            .arg("-CA")
            .arg(self.path(&format!("{authority}.crt")))
            .arg("-CAkey")
            .arg(self.path(&format!("{authority}.key")))
            .arg("-extfile")
            .arg(&file)
            .arg("-out")
            .arg(&certificate));
        (certificate, key)
    }

    /// A `certs.d` in which `files` (name, source) stand for `host`.
    fn certs_d(&self, host: &str, files: &[(&str, &Path)]) -> HttpOptions {
        let dir = self.path("certs.d");
        let of_host = dir.join(host);
        fs::create_dir_all(&of_host).unwrap();
        for (name, source) in files {
            fs::copy(source, of_host.join(name)).unwrap();
        }
        HttpOptions { certificate_dirs: vec![dir], ..bare() }
    }
}

fn start(tls: &(PathBuf, PathBuf)) -> Registry {
    Registry::start_with(Setup { tls: Some((&tls.0, &tls.1)), ..Setup::default() })
}

/// Asks for an image that is not there: to be told so is to be connected.
fn outcome(registry: &Registry, http: HttpOptions) -> Error {
    image(&Client::new(real(http)), &registry.reference("app:1")).unwrap_err()
}

#[track_caller]
fn trusts(registry: &Registry, http: HttpOptions) {
    let error = outcome(registry, http);
    assert!(matches!(error, Error::NotFound { .. }), "{}", chain(&error));
}

#[track_caller]
fn refuses(registry: &Registry, http: HttpOptions, expected: &TlsFault) {
    let error = outcome(registry, http);
    assert!(matches!(&error, Error::Tls { fault, .. } if fault == expected), "{}", chain(&error));
}

#[test]
fn a_self_signed_certificate_is_trusted_only_when_it_is_put_there_for_the_host() {
    let keys = Keys::new();
    let pair = keys.self_signed("server");
    let registry = start(&pair);
    let host = registry.addr().to_string();
    refuses(&registry, bare(), &TlsFault::CaUsedAsEndEntity);
    refuses(
        &registry,
        keys.certs_d("127.0.0.1:1", &[("ca.crt", &pair.0)]),
        &TlsFault::CaUsedAsEndEntity,
    );
    trusts(&registry, keys.certs_d(&host, &[("ca.crt", &pair.0)]));
}

#[test]
fn another_certificate_of_the_same_name_is_not_trusted() {
    let keys = Keys::new();
    let registry = start(&keys.self_signed("server"));
    let (other, _) = keys.self_signed("other");
    let host = registry.addr().to_string();
    let http = keys.certs_d(&host, &[("ca.crt", &other)]);
    refuses(&registry, http, &TlsFault::CaUsedAsEndEntity);
}

#[test]
fn a_host_called_insecure_is_not_checked() {
    let registry = start(&Keys::new().self_signed("server"));
    trusts(&registry, HttpOptions { insecure: vec![registry.addr().to_string()], ..bare() });
}

#[test]
fn an_authority_is_trusted_for_the_names_it_signs_and_in_their_time() {
    let keys = Keys::new();
    let (ca, _) = keys.self_signed("ca");
    let name = "subjectAltName=IP:127.0.0.1";
    for (extensions, days, fault) in [
        (name, "2", None),
        ("subjectAltName=DNS:other.example", "2", Some(TlsFault::WrongName)),
        (name, "-1", Some(TlsFault::Expired)),
    ] {
        let registry = start(&keys.signed_by("ca", "server", extensions, days));
        let host = registry.addr().to_string();
        if fault.is_none() {
            refuses(&registry, bare(), &TlsFault::UnknownIssuer);
        }
        let http = keys.certs_d(&host, &[("ca.crt", &ca)]);
        match fault {
            None => trusts(&registry, http),
            Some(fault) => refuses(&registry, http, &fault),
        }
    }
}

#[test]
fn an_expired_certificate_is_refused_even_when_it_is_put_there_for_the_host() {
    let keys = Keys::new();
    keys.self_signed("ca");
    let pair = keys.signed_by("ca", "server", "basicConstraints=CA:TRUE", "-1");
    let registry = start(&pair);
    let http = keys.certs_d(&registry.addr().to_string(), &[("server.crt", &pair.0)]);
    refuses(&registry, http, &TlsFault::Expired);
}

#[test]
fn a_client_certificate_is_shown_to_the_host_it_is_there_for() {
    let keys = Keys::new();
    let (ca, _) = keys.self_signed("ca");
    let server = keys.self_signed("server");
    let (certificate, key) = keys.signed_by("ca", "client", "extendedKeyUsage=clientAuth", "2");
    let tls = Some((server.0.as_path(), server.1.as_path()));
    let setup = Setup { tls, client_ca: Some(&ca), ..Setup::default() };
    let registry = Registry::start_with(setup);
    let host = registry.addr().to_string();
    let error = outcome(&registry, keys.certs_d(&host, &[("ca.crt", &server.0)]));
    let refused = |fault: &TlsFault| matches!(fault, TlsFault::Refused(_));
    assert!(matches!(&error, Error::Tls { fault, .. } if refused(fault)), "{}", chain(&error));
    trusts(&registry, keys.certs_d(&host, &[("client.cert", &certificate), ("client.key", &key)]));
}

#[test]
fn a_certificate_directory_that_cannot_be_used_is_named() {
    let keys = Keys::new();
    let pair = keys.self_signed("server");
    let registry = start(&pair);
    let host = registry.addr().to_string();
    let error = outcome(&registry, keys.certs_d(&host, &[("ca.crt", &pair.1)]));
    let text = chain(&error);
    assert!(matches!(error, Error::Certificates { .. }), "{text}");
    assert!(text.contains("ca.crt: it has no certificate"), "{text}");
    let http = keys.certs_d(&host, &[("ca.crt", &pair.0), ("client.cert", &pair.0)]);
    let error = outcome(&registry, http);
    assert!(chain(&error).contains("client.key: No such file"), "{}", chain(&error));
}
