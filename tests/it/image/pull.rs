//! Pulling, and all that a registry can do wrong.

use std::collections::BTreeMap;
use std::fs;

use mica::image::{Error, Step, Trouble, parse};
use mica::oci::{DiffId, Digest, MediaType};
use mica::store::Ref;
use mica::testing::tar::Tar;
use mica::testing::transport::{Fault, MemTransport, Seen};
use serde_json::json;

use super::{Sent, Told, chain, listing, new_store, offer, pull, read, remote};

/// Bytes that do not compress: a layer of them has the size that the test wants.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(len).collect()
}

#[test]
fn an_image_comes_with_all_its_parts_whatever_the_compression() {
    let (_home, store) = new_store();
    let registry = MemTransport::new();
    let plain = Sent::plain(&Tar::new().file("a", "in a plain layer"));
    let gzip = Sent::gzip(&Tar::new().file("a", "in a gzip layer"));
    let zstd = Sent::zstd(&Tar::new().file("a", "in a zstd layer"));
    offer(&registry, "1", &[&plain, &gzip, &zstd]);
    let image = pull(&store, &registry, "example.org/app:1").unwrap();
    for (layer, text) in
        ["in a plain layer", "in a gzip layer", "in a zstd layer"].into_iter().enumerate()
    {
        assert_eq!(read(&store, &image, layer, "a"), text.as_bytes());
    }
    assert_eq!(store.read_blob(image.id(), 1 << 20).unwrap(), image.raw_config);
    assert_eq!(store.read_blob(&gzip.digest(), 1 << 20).unwrap(), gzip.bytes, "as it came");
    let record = store.get_ref("example.org/app:1").unwrap().unwrap();
    assert_eq!((record.manifest, record.source), (image.digest, image.digest));
    assert!(store.check().unwrap().damage.is_empty());
}

#[test]
fn of_an_index_the_image_for_the_platform_is_taken_and_both_documents_are_kept() {
    let (_home, store) = new_store();
    let registry = MemTransport::new();
    let ours = Sent::gzip(&Tar::new().file("a", "amd64"));
    let mut manifest = serde_json::to_value(offer(&registry, "ours", &[&ours])).unwrap();
    manifest["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let mut other = manifest.clone();
    other["platform"]["architecture"] = json!("s390x");
    other["digest"] = json!(Digest::of(b"not here"));
    let index = json!({"schemaVersion": 2, "manifests": [other, manifest]}).to_string();
    let index = registry.put_document("1", MediaType::OCI_INDEX, index.as_bytes());
    let image = pull(&store, &registry, "example.org/app:1").unwrap();
    assert_eq!(read(&store, &image, 0, "a"), b"amd64");
    let record = store.get_ref("example.org/app:1").unwrap().unwrap();
    assert_eq!((record.manifest, record.source), (image.digest, index.digest));
    assert!(store.blob_len(&index.digest).unwrap().is_some());
    store.try_collector().unwrap().unwrap().collect().unwrap();
    assert!(store.blob_len(&index.digest).unwrap().is_some(), "the name needs it");
}

#[test]
fn what_the_store_has_is_not_fetched_again() {
    let (_home, store) = new_store();
    let registry = MemTransport::new();
    let shared = Sent::gzip(&Tar::new().file("a", "shared"));
    let (one, two) = (Sent::gzip(&Tar::new().dir("1")), Sent::gzip(&Tar::new().dir("2")));
    offer(&registry, "1", &[&shared, &one]);
    offer(&registry, "2", &[&shared, &shared, &two]);
    pull(&store, &registry, "example.org/app:1").unwrap();
    registry.take_seen();
    let told = Told::default();
    let reference = parse("example.org/app:2").unwrap();
    mica::image::pull(&store, &remote(&registry), &reference, &told).unwrap();
    let fetched = |layer: &Sent, seen: &[_]| {
        let digest = layer.digest().to_string();
        seen.iter().filter(|seen: &&Seen| seen.url.contains(&digest)).count()
    };
    let seen = registry.take_seen();
    assert_eq!((fetched(&shared, &seen), fetched(&two, &seen)), (0, 1));
    let steps = told.0.lock().unwrap().clone();
    assert!(steps.contains(&(shared.digest(), Step::Present)), "{steps:?}");
    let of_two: Vec<_> =
        steps.iter().filter(|(d, _)| *d == two.digest()).map(|(_, step)| *step).collect();
    assert_eq!(of_two, [Step::Fetching, Step::Storing, Step::Done]);
    assert_eq!(told.1.lock().unwrap()[&two.digest()], two.bytes.len() as u64);
}

#[test]
fn a_registry_that_sends_wrong_things_leaves_the_store_as_it_was() {
    let (_home, store) = new_store();
    let registry = MemTransport::new();
    let small = Sent::gzip(&Tar::new().file("a", "small"));
    let large = Sent::gzip(&Tar::new().file("b", noise(300_000)));
    offer(&registry, "earlier", &[&small]);
    pull(&store, &registry, "example.org/app:earlier").unwrap();
    let other = Sent::gzip(&Tar::new().file("c", "other"));
    let layers = [&small, &other, &large];
    let manifest = offer(&registry, "1", &layers);
    let config = pull(&new_store().1, &registry, "example.org/app:1").unwrap().id().to_string();
    let before = listing(store.root());
    let layer = || large.digest().to_string();
    let manifests = || "manifests/1".to_owned();
    let faults = [
        ("a wrong byte at the start", layer(), Fault::FlippedByte(0), "bytes that came are"),
        ("a wrong byte", layer(), Fault::FlippedByte(200_000), "bytes that came are"),
        ("a wrong byte at the end", layer(), Fault::FlippedByte(large.bytes.len() - 1), "came are"),
        ("a short body", layer(), Fault::ShortBody(1000), "it ended after"),
        ("no body", layer(), Fault::ShortBody(0), "it ended after"),
        ("a long body", layer(), Fault::LongBody(1), "has more bytes"),
        ("a wrong length", layer(), Fault::Header("content-length", "5".into()), "has 5 bytes"),
        ("a reset", layer(), Fault::Reset(1000), "connection"),
        ("no such blob", layer(), Fault::Status(404, vec![], String::new()), "does not exist"),
        ("a wrong config", config, Fault::FlippedByte(3), "has the digest"),
        ("a wrong manifest", manifests(), Fault::FlippedByte(3), ""),
        ("no manifest", manifests(), Fault::ShortBody(0), ""),
    ];
    let names = |tree: &BTreeMap<String, _>| tree.keys().cloned().collect::<Vec<_>>();
    for (name, part, fault, said) in faults {
        let registry = MemTransport::new();
        offer(&registry, "1", &layers);
        // As often as it is tried again.
        for _ in 0..8 {
            registry.fail(&part, fault.clone());
        }
        let error = pull(&store, &registry, "example.org/app:1").expect_err(name);
        assert!(chain(&error).contains(said), "{name}: {}", chain(&error));
        let after = listing(store.root());
        assert_eq!(names(&after), names(&before), "{name}");
        assert_eq!(after, before, "{name}");
    }
    let at_digest = format!("example.org/app@{}", manifest.digest);
    registry.fail("manifests/", Fault::FlippedByte(200));
    let error = pull(&store, &registry, &at_digest).unwrap_err();
    assert!(chain(&error).contains("has the digest"), "{}", chain(&error));
    assert_eq!(listing(store.root()), before);
    pull(&store, &registry, "example.org/app:1").unwrap();
}

#[test]
fn a_layer_that_is_no_archive_or_another_one_is_refused_with_its_name() {
    let (_home, store) = new_store();
    let registry = MemTransport::new();
    let before = listing(store.root());
    let mut cut = Sent::gzip(&Tar::new().file("a", noise(1000)));
    cut.bytes.truncate(500);
    let escaping = Sent::gzip(&Tar::new().file("../../etc/passwd", "x"));
    let mut wrong = Sent::gzip(&Tar::new().dir("a"));
    wrong.diff_id = DiffId::new(Digest::of(b"another archive"));
    let empty = Sent { bytes: Vec::new(), diff_id: DiffId::new(Digest::of(b"")) };
    for (layer, said) in
        [(&cut, "cannot be used"), (&escaping, "../../etc/passwd"), (&wrong, "holds the archive")]
    {
        offer(&registry, "1", &[layer, &Sent::gzip(&Tar::new().dir("good"))]);
        let error = pull(&store, &registry, "example.org/app:1").unwrap_err();
        let text = chain(&error);
        assert!(text.contains(said) && text.contains(&layer.digest().to_string()), "{text}");
        assert_eq!(listing(store.root()), before, "{said}");
    }
    offer(&registry, "1", &[&empty]);
    let outcome = pull(&store, &registry, "example.org/app:1");
    assert_eq!(outcome.is_err(), listing(store.root()) == before);
}

#[test]
fn what_others_use_stays_when_a_pull_fails() {
    let (_home, store) = new_store();
    let registry = MemTransport::new();
    let good = Sent::gzip(&Tar::new().dir("good"));
    let mut bad = Sent::gzip(&Tar::new().file("bad", noise(5000)));
    bad.diff_id = DiffId::new(Digest::of(b"another archive"));
    offer(&registry, "1", &[&good, &bad]);
    let session = store.enter().unwrap();
    pull(&store, &registry, "example.org/app:1").unwrap_err();
    assert_eq!(store.refs().unwrap(), [], "no name is visible");
    assert!(!store.has_layer(&bad.digest()).unwrap());
    drop(session);
    offer(&registry, "2", &[&good]);
    pull(&store, &registry, "example.org/app:2").unwrap();
    pull(&store, &registry, "example.org/app:1").unwrap_err();
    assert!(store.has_layer(&good.digest()).unwrap(), "image 2 needs it");
}

#[test]
fn a_stored_layer_that_is_damaged_is_fetched_again() {
    let (_home, store) = new_store();
    let registry = MemTransport::new();
    let layer = Sent::gzip(&Tar::new().file("a", "text"));
    offer(&registry, "1", &[&layer]);
    pull(&store, &registry, "example.org/app:1").unwrap();
    let mut good = listing(store.root());
    let index = store.layer_path(&layer.digest()).join("index");
    let blob = store.blob_path(&layer.digest());
    for path in [&index, &blob] {
        let len = path.metadata().unwrap().len();
        fs::remove_file(path).unwrap();
        fs::write(path, vec![0; usize::try_from(len).unwrap() / 2]).unwrap();
        let image = pull(&store, &registry, "example.org/app:1").unwrap();
        assert_eq!(read(&store, &image, 0, "a"), b"text");
        let mut now = listing(store.root());
        // The record says when.
        let record = "images/example.org%2Fapp%3A1.json";
        now.remove(record);
        good.remove(record);
        assert_eq!(now, good, "{}", path.display());
    }
}

#[test]
fn a_moved_tag_stands_for_the_new_image_and_a_failed_pull_moves_nothing() {
    let (_home, store) = new_store();
    let registry = MemTransport::new();
    let (old, new) = (Sent::gzip(&Tar::new().dir("old")), Sent::gzip(&Tar::new().dir("new")));
    offer(&registry, "1", &[&old]);
    let first = pull(&store, &registry, "example.org/app:1").unwrap();
    offer(&registry, "1", &[&new]);
    registry.fail(&new.digest().to_string(), Fault::FlippedByte(20));
    pull(&store, &registry, "example.org/app:1").unwrap_err();
    assert_eq!(store.get_ref("example.org/app:1").unwrap().unwrap().manifest, first.digest);
    let second = pull(&store, &registry, "example.org/app:1").unwrap();
    let Ref { manifest, .. } = store.get_ref("example.org/app:1").unwrap().unwrap();
    assert_eq!(manifest, second.digest);
    store.try_collector().unwrap().unwrap().collect().unwrap();
    assert!(!store.has_layer(&old.digest()).unwrap());
}

#[test]
fn of_two_pulls_at_a_time_each_layer_is_fetched_by_one() {
    let (_home, store) = new_store();
    let registry = MemTransport::new();
    let layers: Vec<_> =
        (0..6_usize).map(|n| Sent::gzip(&Tar::new().file("a", noise(50_000 + n)))).collect();
    offer(&registry, "1", &layers.iter().collect::<Vec<_>>());
    offer(&registry, "2", &layers.iter().rev().collect::<Vec<_>>());
    std::thread::scope(|scope| {
        for name in ["example.org/app:1", "example.org/app:2", "example.org/app:1"] {
            let (store, registry) = (&store, &registry);
            scope.spawn(move || pull(store, registry, name).unwrap());
        }
    });
    let seen = registry.take_seen();
    for layer in &layers {
        let digest = layer.digest().to_string();
        let count = seen.iter().filter(|seen| seen.url.contains(&digest)).count();
        assert_eq!(count, 1, "{digest}");
    }
    assert!(store.check().unwrap().damage.is_empty());
}

#[test]
fn a_failure_names_the_first_error_and_not_that_others_were_stopped() {
    let (_home, store) = new_store();
    let registry = MemTransport::new();
    let layers: Vec<_> =
        (0..8_usize).map(|n| Sent::gzip(&Tar::new().file("a", noise(100_000 + n)))).collect();
    offer(&registry, "1", &layers.iter().collect::<Vec<_>>());
    registry.fail(&layers[3].digest().to_string(), Fault::Status(403, vec![], String::new()));
    let error = pull(&store, &registry, "example.org/app:1").unwrap_err();
    assert!(matches!(error, Error::Registry(_)), "{error:?}");
    assert!(chain(&error).contains("denies access"), "{}", chain(&error));
}

#[test]
fn what_a_person_can_do_about_a_failure_is_known() {
    let status = |code| Fault::Status(code, vec![], String::new());
    let host = || "example.org".to_owned();
    for (fault, trouble) in [
        (Fault::Refused, Trouble::Unreachable { host: host() }),
        (status(401), Trouble::Login),
        (status(403), Trouble::Login),
        (status(404), Trouble::NotInRegistry),
        (status(429), Trouble::RateLimited),
    ] {
        let registry = MemTransport::new();
        offer(&registry, "1", &[&Sent::gzip(&Tar::new().dir("a"))]);
        for _ in 0..4 {
            registry.fail("manifests/1", fault.clone());
        }
        let error = pull(&new_store().1, &registry, "example.org/app:1").unwrap_err();
        assert_eq!(error.trouble(), Some(trouble), "{}", chain(&error));
    }
    let registry = MemTransport::new();
    registry.speak_plain("example.org");
    let error = pull(&new_store().1, &registry, "example.org/app:1").unwrap_err();
    assert_eq!(error.trouble(), Some(Trouble::PlainHttp { host: host() }));
    let index = json!({"schemaVersion": 2, "manifests": []}).to_string();
    registry.put_document("2", MediaType::OCI_INDEX, index.as_bytes());
    let error = pull(&new_store().1, &registry, "example.com/app:2").unwrap_err();
    assert_eq!(error.trouble(), Some(Trouble::NoPlatform));
}
