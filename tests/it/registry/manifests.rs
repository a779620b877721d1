//! What is served as a manifest is believed only when its digest, its size and its fields agree.

use mica::oci::{Digest, DocumentError, MediaType};
use mica::registry::Error;
use mica::testing::transport::{Fault, MemTransport};
use serde_json::{Value, json};

use super::{client, image, reference};

const NAME: &str = "host.example/app:1";

fn one_image() -> MemTransport {
    let transport = MemTransport::new();
    transport.put_image("1", ("linux", "amd64"), &[b"layer one", b"layer two"]);
    transport
}

fn index_of(entries: &[(&Value, &str)]) -> Vec<u8> {
    let entries: Vec<Value> = entries
        .iter()
        .map(|(descriptor, architecture)| {
            let mut entry = (*descriptor).clone();
            entry["platform"] = json!({"os": "linux", "architecture": architecture});
            entry
        })
        .collect();
    json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": entries})
        .to_string()
        .into_bytes()
}

fn two_platforms() -> (MemTransport, Value) {
    let transport = MemTransport::new();
    let arm = json!(transport.put_image("arm", ("linux", "arm64"), &[b"arm"]));
    let amd = json!(transport.put_image("amd", ("linux", "amd64"), &[b"amd"]));
    let index = index_of(&[(&arm, "arm64"), (&amd, "amd64")]);
    transport.put_document("1", MediaType::OCI_INDEX, &index);
    (transport, amd)
}

#[test]
fn an_image_comes_with_the_bytes_that_its_digests_are_of() {
    let transport = one_image();
    let image = image(&client(&transport), NAME).unwrap();
    assert_eq!(Digest::of(&image.manifest.raw), image.manifest.digest);
    assert_eq!(Digest::of(&image.config.raw), image.config.digest);
    assert_eq!(image.digest(), image.manifest.digest);
    assert_eq!(image.manifest.parsed.layers.len(), 2);
    assert!(image.indexes.is_empty());
    assert_eq!(transport.take_seen().len(), 2);
}

#[test]
fn an_index_leads_to_the_image_for_the_platform() {
    let (transport, amd) = two_platforms();
    let client = client(&transport);
    let image = image(&client, NAME).unwrap();
    assert_eq!(json!(image.manifest.digest), amd["digest"]);
    assert_eq!(image.digest(), Digest::of(&image.indexes[0].raw));
    assert_eq!(transport.take_seen().len(), 3);
    let wanted = "linux/s390x".parse().unwrap();
    let error = client.image(&reference(NAME), &wanted).unwrap_err();
    assert!(
        error.to_string().ends_with("no image for linux/s390x; it has linux/arm64, linux/amd64")
    );
}

#[test]
fn a_digest_in_the_reference_decides() {
    let transport = one_image();
    let digest = image(&client(&transport), NAME).unwrap().manifest.digest;
    let by_digest = format!("host.example/app@{digest}");
    assert_eq!(image(&client(&transport), &by_digest).unwrap().manifest.digest, digest);
    transport.fail("manifests", Fault::FlippedByte(10));
    let error = image(&client(&transport), &by_digest).unwrap_err();
    assert!(matches!(error, Error::Mismatch { expected, .. } if expected == digest), "{error}");
}

#[test]
fn a_tag_whose_claimed_digest_is_not_that_of_the_bytes_is_refused() {
    let transport = one_image();
    let claim = Digest::of(b"something else").to_string();
    transport.fail("manifests", Fault::Header("docker-content-digest", claim));
    let error = image(&client(&transport), NAME).unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
}

#[test]
fn a_manifest_or_config_that_is_not_the_one_in_the_index_is_refused() {
    let (transport, amd) = two_platforms();
    let digest = amd["digest"].as_str().unwrap();
    transport.fail(digest, Fault::FlippedByte(3));
    let error = image(&client(&transport), NAME).unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
    transport.fail(digest, Fault::ShortBody(9));
    let error = image(&client(&transport), NAME).unwrap_err();
    assert!(matches!(error, Error::Size { .. }), "{error}");
    transport.fail("/blobs/", Fault::FlippedByte(3));
    let error = image(&client(&transport), NAME).unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
}

fn document_error(media_type: &str, document: &[u8], fault: Option<Fault>) -> DocumentError {
    let transport = MemTransport::new();
    transport.put_document("1", media_type, document);
    if let Some(fault) = fault {
        transport.fail("manifests", fault);
    }
    match image(&client(&transport), NAME).unwrap_err() {
        Error::Document { source, .. } => source,
        other => panic!("{other}"),
    }
}

fn manifest_bytes() -> Value {
    let transport = one_image();
    let raw = image(&client(&transport), NAME).unwrap().manifest.raw;
    serde_json::from_slice(&raw).unwrap()
}

#[test]
fn a_document_with_layers_and_manifests_is_refused_under_either_name() {
    let mut both = manifest_bytes();
    both["manifests"] = json!([]);
    both.as_object_mut().unwrap().remove("mediaType");
    for media_type in [MediaType::OCI_MANIFEST, MediaType::OCI_INDEX, "application/json"] {
        let error = document_error(media_type, both.to_string().as_bytes(), None);
        assert!(matches!(error, DocumentError::Ambiguous), "{error}");
    }
}

#[test]
fn a_content_type_that_turns_a_manifest_into_an_index_is_refused() {
    let manifest = manifest_bytes().to_string();
    let flip = Fault::Header("content-type", MediaType::OCI_INDEX.to_owned());
    let error = document_error(MediaType::OCI_MANIFEST, manifest.as_bytes(), Some(flip));
    assert!(matches!(error, DocumentError::Contradiction { .. }), "{error}");
}

#[test]
fn bytes_after_a_manifest_or_too_many_bytes_are_refused() {
    let trailing = manifest_bytes().to_string() + "{}";
    let error = document_error(MediaType::OCI_MANIFEST, trailing.as_bytes(), None);
    assert!(matches!(error, DocumentError::Json(_)), "{error}");
    let transport = one_image();
    transport.fail("manifests", Fault::LongBody(5 << 20));
    let error = image(&client(&transport), NAME).unwrap_err();
    assert!(matches!(error, Error::Protocol { .. }), "{error}");
}

#[test]
fn indexes_that_are_nested_without_end_are_refused() {
    let transport = MemTransport::new();
    let mut inner = json!(transport.put_image("0", ("linux", "amd64"), &[b"x"]));
    for depth in 1..=5 {
        let index = index_of(&[(&inner, "amd64")]);
        let tag = depth.to_string();
        inner = json!(transport.put_document(&tag, MediaType::OCI_INDEX, &index));
    }
    assert_eq!(image(&client(&transport), "host.example/app:4").unwrap().indexes.len(), 4);
    let error = image(&client(&transport), "host.example/app:5").unwrap_err();
    assert!(matches!(error, Error::Protocol { .. }), "{error}");
}

#[test]
fn what_is_no_image_is_refused_by_its_type() {
    let mut chart = manifest_bytes();
    chart["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
    let transport = one_image();
    transport.put_document("1", MediaType::OCI_MANIFEST, chart.to_string().as_bytes());
    let error = image(&client(&transport), NAME).unwrap_err();
    assert!(matches!(&error, Error::NotAnImage { kind, .. } if kind.contains("helm")), "{error}");
}

#[test]
fn a_config_of_another_number_of_layers_is_refused() {
    let transport = one_image();
    let mut manifest = manifest_bytes();
    manifest["layers"].as_array_mut().unwrap().pop();
    transport.put_document("1", MediaType::OCI_MANIFEST, manifest.to_string().as_bytes());
    match image(&client(&transport), NAME).unwrap_err() {
        Error::Document {
            source: DocumentError::LayerCount { diff_ids: 2, layers: 1 }, ..
        } => {}
        other => panic!("{other}"),
    }
}

#[test]
fn a_manifest_that_breaks_off_is_fetched_again() {
    let transport = one_image();
    transport.fail("manifests", Fault::Reset(20));
    transport.fail("manifests", Fault::Status(503, Vec::new(), String::new()));
    image(&client(&transport), NAME).unwrap();
    assert_eq!(transport.take_seen().len(), 4);
}

#[test]
fn what_does_not_exist_is_named() {
    let transport = one_image();
    let error = image(&client(&transport), "host.example/app:2").unwrap_err();
    assert_eq!(error.to_string(), "host.example/app:2 does not exist: it says \"not known\"");
}
