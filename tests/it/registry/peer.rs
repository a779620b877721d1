//! Debian's docker-registry, with images that umoci made and skopeo pushed.

use std::io::Read as _;
use std::sync::Arc;
use std::thread;

use mica::oci::{Digest, MediaType};
use mica::registry::{Client, Credentials, Error, Login};

use super::{bare, image, real, reference};
use crate::support::registry::{Registry, Setup, make_layout};

fn start_with_image(name: &str) -> (Registry, Vec<u8>) {
    let registry = Registry::start();
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path().join("layout");
    let large: Vec<u8> =
        (0..2_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    make_layout(&layout, "one", &[("/large", &large), ("/greeting", b"hello")]);
    registry.push_layout(&layout, "one", name);
    (registry, large)
}

#[test]
fn an_image_and_all_its_blobs_come_whole_over_plain_http_on_loopback() {
    let (registry, large) = start_with_image("group/app:1");
    let client = Client::new(real(bare()));
    let name = registry.reference("group/app:1");
    let image = image(&client, &name).unwrap();
    assert_eq!(image.config.parsed.config.env.last().unwrap(), "GREETING=hello");
    let reference = reference(&name);
    thread::scope(|scope| {
        for layer in &image.manifest.parsed.layers {
            let mut blob = client.blob(reference.repository(), layer);
            scope.spawn(move || {
                let mut bytes = Vec::new();
                blob.read_to_end(&mut bytes).unwrap();
                assert_eq!(Digest::of(&bytes), layer.digest);
            });
        }
    });
    let sizes: Vec<u64> = image.manifest.parsed.layers.iter().map(|layer| layer.size).collect();
    assert!(sizes[0] > large.len() as u64 / 2, "{sizes:?}");
}

#[test]
fn a_docker_schema_2_image_is_read_as_an_oci_one() {
    let (registry, _) = start_with_image("app:oci");
    let source = format!("docker://{}", registry.reference("app:oci"));
    registry.copy_from(&source, "app:docker", &["--src-tls-verify=false", "--format", "v2s2"]);
    let client = Client::new(real(bare()));
    let docker = image(&client, &registry.reference("app:docker")).unwrap();
    assert_eq!(docker.manifest.parsed.media_type.as_str(), MediaType::DOCKER_MANIFEST);
    let oci = image(&client, &registry.reference("app:oci")).unwrap();
    assert_eq!(docker.config.parsed, oci.config.parsed);
}

#[test]
fn an_index_is_followed_and_a_digest_is_asked_for_as_such() {
    let (registry, _) = start_with_image("app:1");
    let client = Client::new(real(bare()));
    let single = image(&client, &registry.reference("app:1")).unwrap();
    let index = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_INDEX,
        "manifests": [{
            "mediaType": MediaType::OCI_MANIFEST,
            "digest": single.manifest.digest,
            "size": single.manifest.raw.len(),
            "platform": {"os": "linux", "architecture": "amd64"},
        }],
    });
    let status =
        registry.put("/v2/app/manifests/all", MediaType::OCI_INDEX, index.to_string().as_bytes());
    assert!(status.contains("201"), "{status}");
    let through = image(&client, &registry.reference("app:all")).unwrap();
    assert_eq!(through.manifest, single.manifest);
    let by_digest = registry.reference(&format!("app@{}", through.digest()));
    assert_eq!(image(&client, &by_digest).unwrap(), through);
}

#[test]
fn what_is_not_in_the_registry_does_not_exist() {
    let registry = Registry::start();
    let client = Client::new(real(bare()));
    let error = image(&client, &registry.reference("app:1")).unwrap_err();
    assert!(matches!(&error, Error::NotFound { message: Some(_), .. }), "{error}");
}

#[test]
fn a_blob_that_was_changed_on_the_registrys_disk_does_not_have_its_digest() {
    let (registry, _) = start_with_image("app:1");
    let client = Client::new(real(bare()));
    let found = image(&client, &registry.reference("app:1")).unwrap();
    let path = |digest: &Digest| {
        let hex = digest.hex();
        let dir = registry.data().join("docker/registry/v2/blobs/sha256");
        dir.join(&hex[..2]).join(hex).join("data")
    };
    let config = path(&found.config.digest);
    let mut bytes = std::fs::read(&config).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&config, bytes).unwrap();
    let error = image(&client, &registry.reference("app:1")).unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
}

#[derive(Debug)]
struct Known;

impl Credentials for Known {
    fn login(&self, _registry: &str) -> Option<Login> {
        Some(Login { username: "user".into(), password: "pass".into() })
    }
}

#[test]
fn a_registry_with_passwords_is_read_with_one_and_not_without() {
    let dir = tempfile::tempdir().unwrap();
    let passwords = dir.path().join("htpasswd");
    // bcrypt of "pass".
    let line = "user:$2b$05$zsudpXaiwP3ZYkXW2Ta.KelHDGPaDwB09Rh0Bf023QEqG7prtC1ie\n";
    std::fs::write(&passwords, line).unwrap();
    let registry = Registry::start_with(Setup { htpasswd: Some(&passwords), ..Setup::default() });
    let name = registry.reference("app:1");
    let error = image(&Client::new(real(bare())), &name).unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    let mut options = real(bare());
    options.credentials = Arc::new(Known);
    let error = image(&Client::new(options), &name).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}
