//! Manifests, indexes and configs: real ones are read, contradictory and hostile ones refused.

use mica::oci::{Config, Digest, Document, DocumentError, Index, Manifest, MediaType, Platform};
use serde_json::{Value, json};

fn descriptor(media_type: &str) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(b"x"), "size": 1})
}

fn manifest() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST,
        "config": descriptor(MediaType::OCI_CONFIG),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip")],
    })
}

fn entry(platform: Option<&str>) -> Value {
    let mut entry = descriptor(MediaType::OCI_MANIFEST);
    if let Some(platform) = platform {
        let digest = Digest::of(platform.as_bytes());
        let mut parts = platform.split('/');
        entry["platform"] = json!({"os": parts.next(), "architecture": parts.next()});
        if let Some(variant) = parts.next() {
            entry["platform"]["variant"] = json!(variant);
        }
        entry["digest"] = json!(digest);
    }
    entry
}

fn index(platforms: &[Option<&str>]) -> Value {
    let entries: Vec<Value> = platforms.iter().map(|platform| entry(*platform)).collect();
    json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": entries})
}

fn with(mut document: Value, key: &str, value: Value) -> Value {
    document[key] = value;
    document
}

fn without(mut document: Value, key: &str) -> Value {
    document.as_object_mut().unwrap().remove(key);
    document
}

fn parse(document: &Value, sent_as: Option<&str>) -> Result<Document, DocumentError> {
    let sent_as = sent_as.map(MediaType::new);
    Document::parse(&serde_json::to_vec(document).unwrap(), sent_as.as_ref())
}

#[test]
fn a_document_is_what_its_fields_and_its_sender_agree_on() {
    let untyped = without(manifest(), "mediaType");
    for (document, sent_as) in [
        (&manifest(), None),
        (&manifest(), Some(MediaType::OCI_MANIFEST)),
        (&manifest(), Some("application/json; charset=utf-8")),
        (&untyped, Some(MediaType::DOCKER_MANIFEST)),
        (&with(manifest(), "mediaType", json!("")), Some(MediaType::OCI_MANIFEST)),
    ] {
        let parsed = parse(document, sent_as).unwrap();
        assert!(matches!(&parsed, Document::Manifest(m) if m.is_image() && m.layers.len() == 1));
    }
    assert!(matches!(parse(&index(&[]), None), Ok(Document::Index(_))));
}

#[test]
fn a_document_that_can_be_read_in_two_ways_is_refused() {
    let both = with(manifest(), "manifests", json!([]));
    let old = with(manifest(), "fsLayers", json!([]));
    let half = with(index(&[]), "config", descriptor(MediaType::OCI_CONFIG));
    for document in [both, old, half] {
        let error = parse(&document, None).unwrap_err();
        assert!(matches!(error, DocumentError::Ambiguous), "{document}: {error}");
    }
    let twice = serde_json::to_string(&manifest()).unwrap().replacen('{', "{\"layers\":[],", 1);
    let error = Document::parse(twice.as_bytes(), None).unwrap_err();
    assert!(matches!(error, DocumentError::Json(_)), "{error}");
}

#[test]
fn a_media_type_that_contradicts_the_fields_or_the_sender_is_refused() {
    for (document, sent_as) in [
        (with(manifest(), "mediaType", json!(MediaType::OCI_INDEX)), None),
        (with(manifest(), "mediaType", json!("text/plain")), None),
        (with(index(&[]), "mediaType", json!(MediaType::OCI_MANIFEST)), None),
        (manifest(), Some(MediaType::OCI_INDEX)),
        (manifest(), Some(MediaType::DOCKER_MANIFEST)),
        (without(manifest(), "mediaType"), Some(MediaType::OCI_INDEX)),
        (without(index(&[]), "mediaType"), Some(MediaType::OCI_MANIFEST)),
    ] {
        let error = parse(&document, sent_as).unwrap_err();
        assert!(matches!(error, DocumentError::Contradiction { .. }), "{document}: {error}");
    }
}

#[test]
fn other_schemas_are_refused_by_name() {
    let one = json!({"schemaVersion": 1, "name": "a", "tag": "b", "fsLayers": [], "history": []});
    assert!(matches!(parse(&one, None), Err(DocumentError::SchemaOne)));
    let three = with(manifest(), "schemaVersion", json!(3));
    assert!(matches!(parse(&three, None), Err(DocumentError::SchemaVersion(3))));
    for key in ["layers", "config"] {
        let error = parse(&without(manifest(), key), None).unwrap_err();
        assert!(matches!(error, DocumentError::Neither(_)), "{error}");
    }
}

#[test]
fn what_is_too_large_or_not_json_is_refused() {
    let layer = descriptor("application/vnd.oci.image.layer.v1.tar");
    let many = with(manifest(), "layers", json!(vec![layer.clone(); 1001]));
    assert!(matches!(parse(&many, None), Err(DocumentError::TooMany(1001))));
    let mut text = serde_json::to_vec(&manifest()).unwrap();
    text.push(b'x');
    assert!(matches!(Document::parse(&text, None), Err(DocumentError::Json(_))));
    text.pop();
    text.resize(Document::MAX_SIZE, b' ');
    assert!(Document::parse(&text, None).is_ok());
    text.push(b' ');
    assert!(matches!(Document::parse(&text, None), Err(DocumentError::TooLarge(_))));
    let negative = with(manifest(), "layers", json!([with(layer, "size", json!(-1))]));
    assert!(matches!(parse(&negative, None), Err(DocumentError::Json(_))));
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    assert!(matches!(Document::parse(&deep, None), Err(DocumentError::Json(_))));
}

proptest::proptest! {
    #[test]
    fn a_damaged_document_is_an_error_or_another_document(
        at in proptest::prelude::any::<proptest::sample::Index>(),
        byte: u8,
        cut: bool,
    ) {
        for document in [manifest(), index(&[Some("linux/amd64"), None]), config()] {
            let mut raw = serde_json::to_vec(&document).unwrap();
            let at = at.index(raw.len());
            raw[at] = byte;
            if cut {
                raw.truncate(at);
                proptest::prop_assert!(Document::parse(&raw, None).is_err());
                proptest::prop_assert!(Config::parse(&raw).is_err());
            } else if let Ok(parsed) = Document::parse(&raw, None) {
                proptest::prop_assert!(!parsed.media_type().as_str().is_empty());
            }
        }
    }
}

fn choose(platforms: &[Option<&str>], wanted: &str) -> Option<Digest> {
    let raw = serde_json::to_vec(&index(platforms)).unwrap();
    let wanted: Platform = wanted.parse().unwrap();
    Index::parse(&raw).unwrap().choose(&wanted).map(|entry| entry.digest)
}

#[test]
fn an_index_gives_the_best_image_for_a_platform() {
    let digest = |platform: &str| Some(Digest::of(platform.as_bytes()));
    let all = [
        Some("unknown/unknown"),
        Some("linux/arm/v5"),
        Some("linux/arm/v7"),
        Some("linux/amd64"),
        Some("linux/386"),
        Some("linux/arm64/v8"),
    ];
    assert_eq!(choose(&all, "linux/amd64"), digest("linux/amd64"));
    assert_eq!(choose(&all, "linux/arm64"), digest("linux/arm64/v8"));
    assert_eq!(choose(&all, "linux/arm/v6"), digest("linux/arm/v5"));
    assert_eq!(choose(&all, "linux/s390x"), None);
    assert_eq!(choose(&[None, Some("linux/386")], "linux/s390x"), Some(Digest::of(b"x")));
    assert_eq!(choose(&[None, None], "linux/amd64"), None);
}

fn config() -> Value {
    json!({
        "architecture": "arm", "os": "linux", "variant": "v7",
        "config": {
            "Env": ["A=b"], "Cmd": ["sh"], "Entrypoint": null, "User": "33:42",
            "ExposedPorts": {"80/tcp": {}}, "Volumes": null, "Labels": {"k": "v"},
            "StopSignal": "SIGINT", "Healthcheck": {"Test": ["NONE"]},
        },
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(b"tar")]},
        "history": [{"created_by": "x"}, {"empty_layer": true}],
    })
}

fn parse_config(config: &Value) -> Result<Config, DocumentError> {
    Config::parse(&serde_json::to_vec(config).unwrap())
}

#[test]
fn a_config_says_how_to_run_the_image() {
    let config = parse_config(&config()).unwrap();
    assert_eq!(config.platform, "linux/arm/v7".parse().unwrap());
    let run = &config.config;
    assert_eq!((run.env.as_slice(), run.cmd.as_slice()), (&["A=b".into()][..], &["sh".into()][..]));
    assert!(run.entrypoint.is_empty() && run.volumes.is_empty());
    assert!(run.exposed_ports.contains("80/tcp"));
    assert_eq!((run.user.as_str(), run.stop_signal.as_deref()), ("33:42", Some("SIGINT")));
    assert!(config.history[1].empty_layer);
}

#[test]
fn a_config_of_other_layers_than_the_manifest_is_refused() {
    let raw = serde_json::to_vec(&manifest()).unwrap();
    let manifest = Manifest::parse(&raw).unwrap();
    parse_config(&config()).unwrap().check_against(&manifest).unwrap();
    for diff_ids in [json!([]), json!([Digest::of(b"a"), Digest::of(b"b")]), Value::Null] {
        let rootfs = json!({"type": "layers", "diff_ids": diff_ids});
        let other = parse_config(&with(config(), "rootfs", rootfs)).unwrap();
        let error = other.check_against(&manifest).unwrap_err();
        assert!(matches!(error, DocumentError::LayerCount { layers: 1, .. }), "{error}");
    }
    let rootfs = json!({"type": "zfs", "diff_ids": []});
    let error = parse_config(&with(config(), "rootfs", rootfs)).unwrap_err();
    assert!(matches!(error, DocumentError::RootFs(_)), "{error}");
}
