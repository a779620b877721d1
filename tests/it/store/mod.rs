//! The content store.

mod crash;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use mica::oci::Digest;
use mica::store::{Damage, Error, Ref, Session, Store};

/// Everything below a directory: name, and bytes of files.
pub(crate) fn listing(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(directory) = todo.pop() {
        for entry in directory.read_dir().unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                found.insert(name, b"a directory".to_vec());
                todo.push(path);
            } else {
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// An image made of `layers`, put into the store and named.
fn put_image(session: &Session, name: &str, layers: &[&[u8]]) -> Digest {
    let mut descriptors = Vec::new();
    for layer in layers {
        put_layer(session, layer);
        let (digest, size) = (Digest::of(layer), layer.len());
        descriptors.push(format!(r#"{{"mediaType":"x/y","digest":"{digest}","size":{size}}}"#));
    }
    let config = Digest::of(b"{}");
    session.put_blob(&config, b"{}").unwrap();
    let config = format!(r#"{{"mediaType":"x/y","digest":"{config}","size":2}}"#);
    let layers = descriptors.join(",");
    let manifest = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layers}]}}"#);
    let digest = Digest::of(manifest.as_bytes());
    session.put_blob(&digest, manifest.as_bytes()).unwrap();
    let record = Ref { name: name.into(), manifest: digest, source: digest, updated: 1 };
    session.put_ref(&record).unwrap();
    digest
}

/// A layer blob with what was made of it.
fn put_layer(session: &Session, bytes: &[u8]) {
    let digest = Digest::of(bytes);
    let layer = session.write_layer(&digest).unwrap();
    fs::write(layer.path().join("index"), [b"index of ", bytes].concat()).unwrap();
    fs::write(layer.path().join("seek"), [b"seek of ", bytes].concat()).unwrap();
    session.put_blob(&digest, bytes).unwrap();
    layer.commit().unwrap();
}

fn new_store() -> (tempfile::TempDir, Store) {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(&home.path().join("a/b")).unwrap();
    (home, store)
}

#[test]
fn a_store_is_made_for_its_owner_alone_and_found_again() {
    let (home, store) = new_store();
    for directory in ["a", "a/b", "a/b/blobs", "a/b/tmp"] {
        let mode = home.path().join(directory).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700, "{directory}");
    }
    let before = listing(store.root());
    assert_eq!(before["version"], b"mica-store 1\n");
    Store::open(store.root()).unwrap();
    assert_eq!(listing(store.root()), before);
}

#[test]
fn a_store_half_made_by_a_killed_process_is_completed() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join("blobs")).unwrap();
    fs::create_dir_all(home.path().join("tmp/left")).unwrap();
    fs::create_dir_all(home.path().join("lost+found")).unwrap();
    Store::open(home.path()).unwrap().enter().unwrap();
    assert!(home.path().join("version").exists());
}

#[test]
fn a_newer_store_and_a_directory_of_other_things_are_refused_and_left_alone() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("thesis.txt"), "x").unwrap();
    let before = listing(home.path());
    let error = Store::open(home.path()).unwrap_err();
    assert!(matches!(error, Error::NotAStore(_)), "{error}");
    assert_eq!(listing(home.path()), before);

    for (text, found) in [("mica-store 2\n", "2"), ("garbage", "garbage"), ("", "")] {
        let (_home, store) = new_store();
        let version = store.root().join("version");
        fs::remove_file(&version).unwrap();
        fs::write(&version, text).unwrap();
        match Store::open(store.root()).unwrap_err() {
            Error::Version { found: said, known: 1, .. } => assert_eq!(said, found),
            error => panic!("{text:?}: {error}"),
        }
    }
}

#[test]
fn a_blob_is_read_as_it_was_written() {
    let (_home, store) = new_store();
    let session = store.enter().unwrap();
    let mut writer = session.write_blob().unwrap();
    writer.write_all(b"some ").unwrap();
    writer.write_all(b"bytes").unwrap();
    assert_eq!(writer.len(), 10);
    let digest = Digest::of(b"some bytes");
    assert_eq!(store.blob_len(&digest).unwrap(), None, "not visible yet");
    writer.commit(&digest, 10).unwrap();
    assert_eq!(store.blob_len(&digest).unwrap(), Some(10));
    assert_eq!(store.read_blob(&digest, 10).unwrap(), b"some bytes");
    assert!(matches!(store.read_blob(&digest, 9), Err(Error::TooLarge { len: 10, max: 9, .. })));
    assert!(matches!(store.read_blob(&Digest::of(b"?"), 9), Err(Error::Missing(_))));
}

#[test]
fn bytes_that_are_not_what_was_named_leave_the_store_as_it_was() {
    let (_home, store) = new_store();
    let session = store.enter().unwrap();
    let before = listing(store.root());
    let digest = Digest::of(b"right");
    let mut wrong = session.write_blob().unwrap();
    wrong.write_all(b"wrong").unwrap();
    assert!(matches!(wrong.commit(&digest, 5), Err(Error::Mismatch { .. })));
    for len in [4, 6] {
        let mut short = session.write_blob().unwrap();
        short.write_all(b"right").unwrap();
        assert!(matches!(short.commit(&digest, len), Err(Error::Length { found: 5, .. })));
    }
    let mut dropped = session.write_blob().unwrap();
    dropped.write_all(b"right").unwrap();
    drop(dropped);
    assert_eq!(listing(store.root()), before);
}

#[test]
fn a_layer_is_published_after_its_blob_or_not_at_all() {
    let (_home, store) = new_store();
    let session = store.enter().unwrap();
    let digest = Digest::of(b"layer");
    let before = listing(store.root());
    let early = session.write_layer(&digest).unwrap();
    fs::write(early.path().join("index"), "x").unwrap();
    assert!(matches!(early.commit(), Err(Error::Missing(_))));
    assert_eq!(listing(store.root()), before);
    assert!(!store.has_layer(&digest).unwrap());

    put_layer(&session, b"layer");
    assert!(store.has_layer(&digest).unwrap());
    let seek = fs::read(store.layer_path(&digest).join("seek")).unwrap();
    assert_eq!(seek, b"seek of layer");
}

#[test]
fn what_was_damaged_is_replaced_when_it_comes_again() {
    let (_home, store) = new_store();
    let session = store.enter().unwrap();
    put_layer(&session, b"layer");
    let digest = Digest::of(b"layer");
    let index = store.layer_path(&digest).join("index");
    let good = listing(store.root());
    for path in [&index, &store.blob_path(&digest)] {
        fs::remove_file(path).unwrap();
        fs::write(path, "damaged").unwrap();
    }
    assert!(matches!(store.read_blob(&digest, 100), Err(Error::Damaged { .. })));
    put_layer(&session, b"layer");
    assert_eq!(listing(store.root()), good);
}

#[test]
fn names_are_listed_replaced_and_removed() {
    let (_home, store) = new_store();
    let session = store.enter().unwrap();
    let first = put_image(&session, "host:5000/b:1", &[b"x"]);
    put_image(&session, "a:1", &[b"x"]);
    let second = put_image(&session, "host:5000/b:1", &[b"y"]);
    let names: Vec<_> = store.refs().unwrap().into_iter().map(|r| (r.name, r.manifest)).collect();
    assert_eq!(names, [("a:1".into(), first), ("host:5000/b:1".into(), second)]);
    assert_eq!(store.get_ref("a:1").unwrap().unwrap().manifest, first);
    assert_eq!(store.get_ref("a:2").unwrap(), None);
    assert!(session.remove_ref("a:1").unwrap());
    assert!(!session.remove_ref("a:1").unwrap());
    assert_eq!(store.get_ref("a:1").unwrap(), None);

    let gone = Digest::of(b"no such manifest");
    let dangling = Ref { name: "c".into(), manifest: gone, source: gone, updated: 1 };
    assert!(matches!(session.put_ref(&dangling), Err(Error::Missing(_))));
    for bad in [String::new(), "x".repeat(5000)] {
        assert!(matches!(store.get_ref(&bad), Err(Error::Name(_))));
    }
}

#[test]
fn a_collection_keeps_what_names_and_containers_need_and_nothing_else() {
    let (_home, store) = new_store();
    let session = store.enter().unwrap();
    let kept = put_image(&session, "kept:1", &[b"shared", b"own"]);
    let full = listing(store.root());
    put_image(&session, "gone:1", &[b"shared", b"unshared"]);
    let used = put_image(&session, "used:1", &[b"in a container"]);
    let container = store.containers_path().join("c1");
    fs::create_dir(&container).unwrap();
    fs::create_dir(store.containers_path().join("being made")).unwrap();
    fs::write(store.containers_path().join("a file"), "of who runs containers").unwrap();
    fs::write(container.join("config.json"), format!(r#"{{"image":"{used}"}}"#)).unwrap();
    assert!(store.try_collector().unwrap().is_none(), "there is a session");
    drop(session.lock_layer(&kept).unwrap());
    drop(session);

    let collector = store.try_collector().unwrap().unwrap();
    assert!(collector.remove_ref("gone:1").unwrap());
    assert!(collector.remove_ref("used:1").unwrap());
    let freed = collector.collect().unwrap();
    assert_eq!((freed.blobs, freed.layers), (2, 1), "manifest, layer and its index");
    assert!(freed.bytes > 0);
    assert!(store.has_layer(&Digest::of(b"in a container")).unwrap());
    assert_eq!(store.container_images().unwrap(), [("c1".to_owned(), used)]);

    fs::remove_dir_all(container).unwrap();
    fs::remove_dir_all(store.containers_path().join("being made")).unwrap();
    fs::remove_file(store.containers_path().join("a file")).unwrap();
    collector.collect().unwrap();
    assert_eq!(listing(store.root()), full);
}

#[test]
fn when_it_is_unknown_what_is_needed_nothing_is_collected() {
    let (_home, store) = new_store();
    let manifest = put_image(&store.enter().unwrap(), "a:1", &[b"layer"]);
    let container = store.containers_path().join("c1");
    fs::create_dir(&container).unwrap();
    fs::write(container.join("config.json"), "{").unwrap();
    let before = listing(store.root());
    let collector = store.try_collector().unwrap().unwrap();
    assert!(matches!(collector.collect(), Err(Error::Record { .. })));
    fs::remove_dir_all(&container).unwrap();
    let blob = store.blob_path(&manifest);
    fs::remove_file(&blob).unwrap();
    assert!(matches!(collector.collect(), Err(Error::Missing(_))));
    fs::write(&blob, "not a manifest").unwrap();
    assert!(matches!(collector.collect(), Err(Error::Damaged { .. })));
    assert_eq!(listing(&store.layer_path(&Digest::of(b"layer"))).len(), 2);
    assert!(before.contains_key("images/a%3A1.json"));
}

#[test]
fn a_session_waits_for_a_collection_and_a_collection_does_not_start_beside_a_session() {
    let (_home, store) = new_store();
    let collector = store.try_collector().unwrap().unwrap();
    let began = AtomicU32::new(0);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let session = store.enter().unwrap();
            (began.load(Ordering::SeqCst), session)
        });
        std::thread::sleep(std::time::Duration::from_millis(50));
        began.store(1, Ordering::SeqCst);
        drop(collector);
        let (began, _session) = waiting.join().unwrap();
        assert_eq!(began, 1, "the session began during the collection");
        assert!(store.try_collector().unwrap().is_none());
    });
    assert!(store.try_collector().unwrap().is_some());
}

#[test]
fn of_two_who_fetch_one_layer_the_second_finds_it_done() {
    let (_home, store) = new_store();
    let digest = Digest::of(b"layer");
    let fetched = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let session = store.enter().unwrap();
                let _lock = session.lock_layer(&digest).unwrap();
                if !session.has_layer(&digest).unwrap() {
                    fetched.fetch_add(1, Ordering::SeqCst);
                    put_layer(&session, b"layer");
                }
            });
        }
    });
    assert_eq!(fetched.load(Ordering::SeqCst), 1);
}

#[test]
fn a_session_clears_what_the_dead_left_and_touches_nothing_of_the_living() {
    let (_home, store) = new_store();
    let living = store.enter().unwrap();
    let mut blob = living.write_blob().unwrap();
    blob.write_all(b"x").unwrap();
    let layer = living.write_layer(&Digest::of(b"x")).unwrap();
    let with_the_living = listing(store.root());
    fs::write(store.root().join("tmp/999.1.dead"), "left").unwrap();
    fs::create_dir(store.root().join("tmp/999.2.dead")).unwrap();
    fs::write(store.root().join("tmp/999.2.dead/index"), "left").unwrap();
    drop(store.enter().unwrap());
    assert_eq!(listing(store.root()), with_the_living);
    blob.commit(&Digest::of(b"x"), 1).unwrap();
    layer.commit().unwrap();
}

#[test]
fn a_check_names_each_thing_that_is_damaged() {
    let (_home, store) = new_store();
    let session = store.enter().unwrap();
    put_image(&session, "a:1", &[b"one", b"two", b"three"]);
    let report = store.check().unwrap();
    assert!(report.damage.is_empty(), "{:?}", report.damage);
    assert_eq!(report.blobs, 5);

    let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
    fs::remove_file(store.blob_path(&one)).unwrap();
    fs::write(store.blob_path(&one), "0ne").unwrap();
    fs::remove_file(store.blob_path(&two)).unwrap();
    let damage = store.check().unwrap().damage;
    assert_eq!(damage.len(), 3, "{damage:?}");
    assert!(matches!(&damage[0], Damage::Blob(d, Error::Damaged { .. }) if *d == one));
    assert!(matches!(&damage[1], Damage::Layer(d) if *d == two));
    assert!(matches!(&damage[2], Damage::Ref(n, Error::Missing(d)) if n == "a:1" && *d == two));
}
