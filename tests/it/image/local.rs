//! Images in the store: finding, resolving, naming, removing.

use std::fs;

use mica::image::{
    By, Error, Image, PullPolicy, Quiet, Store, find, history, inspect, list, prune, remove,
    resolve, tag,
};
use mica::testing::tar::Tar;
use mica::testing::transport::MemTransport;

use super::{Sent, new_store, offer, pull, remote};

/// A store with the images `one` and `two` of the registry `127.0.0.1:5000`.
fn two_images() -> (tempfile::TempDir, Store, MemTransport) {
    let (home, store) = new_store();
    let registry = MemTransport::new();
    for name in ["one", "two"] {
        let layer = Sent::gzip(&Tar::new().file("name", name));
        let shared = Sent::gzip(&Tar::new().dir("shared"));
        offer(&registry, name, &[&shared, &layer]);
        pull(&store, &registry, &format!("127.0.0.1:5000/team/app:{name}")).unwrap();
    }
    (home, store, registry)
}

#[test]
fn an_image_is_found_by_its_name_by_the_end_of_its_name_and_by_its_id() {
    let (_home, store, _registry) = two_images();
    let one = find(&store, "127.0.0.1:5000/team/app:one").unwrap();
    let id = Image::load(&store, &one.manifest).unwrap().id().hex();
    for (text, by) in [
        ("docker://127.0.0.1:5000/team/app:one".to_owned(), By::Name),
        ("team/app:one".to_owned(), By::Name),
        ("app:one".to_owned(), By::Name),
        (format!("127.0.0.1:5000/team/app@{}", one.manifest), By::Name),
        (id.clone(), By::Id),
        (id[..12].to_owned(), By::Id),
        (format!("sha256:{id}"), By::Id),
    ] {
        let found = find(&store, &text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((found.manifest, found.by), (one.manifest, by), "{text}");
    }
    for text in ["app", "pp:one", "other/app:one", "docker.io/app:one", "0000000000000000"] {
        let error = find(&store, text).expect_err(text);
        assert!(matches!(error, Error::NotFound { .. }), "{text}: {error}");
    }
    let Err(Error::NotFound { near, .. }) = find(&store, "app:three") else { panic!() };
    assert_eq!(near, ["127.0.0.1:5000/team/app:one", "127.0.0.1:5000/team/app:two"]);
    assert!(matches!(find(&store, "A B"), Err(Error::Reference { .. })));
}

#[test]
fn a_name_that_can_be_several_is_refused_unless_it_is_exactly_one() {
    let (_home, store, _registry) = two_images();
    tag(&store, "app:one", "other.example/app:one").unwrap();
    match find(&store, "app:one").unwrap_err() {
        Error::Ambiguous { found, .. } => {
            assert_eq!(found, ["127.0.0.1:5000/team/app:one", "other.example/app:one"]);
        }
        error => panic!("{error}"),
    }
    tag(&store, "team/app:two", "app:one").unwrap();
    let found = find(&store, "app:one").unwrap();
    assert_eq!(found.refs[0].name, "docker.io/library/app:one");
}

#[test]
fn an_image_is_resolved_as_the_policy_says() {
    let (_home, store, registry) = two_images();
    let go = |text, policy| resolve(&store, text, policy, &remote(&registry), &Quiet);
    registry.take_seen();
    let (_session, here) = go("app:one", PullPolicy::Missing).unwrap();
    go("app:one", PullPolicy::Never).unwrap();
    assert_eq!(registry.take_seen(), [], "it is here");
    let (_session, again) = go("app:one", PullPolicy::Always).unwrap();
    assert_eq!(again.digest, here.digest);
    let asked = registry.take_seen();
    assert!(asked[0].url.contains("127.0.0.1:5000/v2/team/app/"), "{asked:?}");
    let never = go("example.org/app:one", PullPolicy::Never).unwrap_err();
    assert!(matches!(never, Error::NotFound { .. }), "{never}");
    go("example.org/app:one", PullPolicy::Missing).unwrap();
    assert!(store.get_ref("example.org/app:one").unwrap().is_some());
    let id = here.id().hex();
    go(&id, PullPolicy::Always).expect("an ID is never pulled");
}

#[test]
fn a_tag_is_another_name_and_moves_from_image_to_image() {
    let (_home, store, _registry) = two_images();
    tag(&store, "app:one", "latest.example/app").unwrap();
    tag(&store, "app:two", "latest.example/app:latest").unwrap();
    let two = find(&store, "team/app:two").unwrap().manifest;
    assert_eq!(find(&store, "latest.example/app").unwrap().manifest, two);
    assert_eq!(list(&store).unwrap().len(), 3);
    let with_digest = format!("latest.example/app@{two}");
    assert!(matches!(tag(&store, "app:two", &with_digest), Err(Error::TagWithDigest(_))));
    assert!(matches!(tag(&store, "nothing", "a:1"), Err(Error::NotFound { .. })));
}

#[test]
fn the_last_name_goes_with_the_image_and_nothing_that_others_need() {
    let (_home, store, _registry) = two_images();
    tag(&store, "app:one", "alias:1").unwrap();
    let one = find(&store, "alias:1").unwrap().manifest;
    let id = *Image::load(&store, &one).unwrap().id();
    let removed = remove(&store, "alias:1", false).unwrap();
    assert_eq!(removed.names, ["docker.io/library/alias:1"]);
    assert_eq!((removed.images.len(), removed.freed.unwrap().blobs), (0, 0));
    let removed = remove(&store, "app:one", false).unwrap();
    assert_eq!(removed.images, [id]);
    assert_eq!(removed.freed.unwrap().blobs, 3, "manifest, config, one layer");
    let left = list(&store).unwrap();
    assert_eq!(left.len(), 1);
    for layer in &left[0].image.manifest.layers {
        assert!(store.has_layer(&layer.digest).unwrap());
    }
    assert!(matches!(remove(&store, "app:one", true), Err(Error::NotFound { .. })));
    assert!(store.check().unwrap().damage.is_empty());
}

#[test]
fn by_id_an_image_of_several_names_is_removed_only_by_force() {
    let (_home, store, _registry) = two_images();
    tag(&store, "app:one", "alias:1").unwrap();
    let id = list(&store).unwrap()[0].image.id().hex();
    let error = remove(&store, &id, false).unwrap_err();
    assert!(matches!(&error, Error::SeveralNames { names, .. } if names.len() == 2), "{error}");
    let removed = remove(&store, &id, true).unwrap();
    assert_eq!(removed.names.len(), 2);
    assert_eq!(list(&store).unwrap().len(), 1);
}

#[test]
fn an_image_that_a_container_needs_stays() {
    let (_home, store, _registry) = two_images();
    let one = find(&store, "app:one").unwrap().manifest;
    let container = store.containers_path().join("c1");
    fs::create_dir(&container).unwrap();
    fs::write(container.join("config.json"), format!(r#"{{"image":"{one}"}}"#)).unwrap();
    match remove(&store, "app:one", false).unwrap_err() {
        Error::InUse { containers, .. } => assert_eq!(containers, ["c1"]),
        error => panic!("{error}"),
    }
    assert_eq!(prune(&store, true).unwrap().names, ["127.0.0.1:5000/team/app:two"]);
    remove(&store, "app:one", true).unwrap();
    assert_eq!(store.refs().unwrap(), []);
    assert!(store.read_blob(&one, 1 << 20).is_ok(), "its content is still there");
    fs::remove_dir_all(container).unwrap();
    assert!(prune(&store, false).unwrap().freed.unwrap().blobs > 0);
    assert!(store.read_blob(&one, 1 << 20).is_err());
}

#[test]
fn beside_a_session_names_go_at_once_and_content_later() {
    let (_home, store, _registry) = two_images();
    let session = store.enter().unwrap();
    let one = find(&store, "app:one").unwrap().manifest;
    let removed = remove(&store, "app:one", false).unwrap();
    assert_eq!((removed.images.len(), removed.freed), (1, None));
    assert!(store.read_blob(&one, 1 << 20).is_ok());
    drop(session);
    prune(&store, false).unwrap();
    assert!(store.read_blob(&one, 1 << 20).is_err());
}

#[test]
fn an_image_that_is_damaged_hides_no_other_and_can_be_removed() {
    let (_home, store, _registry) = two_images();
    let one = find(&store, "app:one").unwrap().manifest;
    let blob = store.blob_path(&one);
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, "{}").unwrap();
    assert_eq!(list(&store).unwrap().len(), 1);
    remove(&store, "app:one", false).unwrap();
    assert!(!blob.exists());
}

#[test]
fn what_is_inspected_is_what_came() {
    let (_home, store, _registry) = two_images();
    tag(&store, "app:one", "alias:1").unwrap();
    let value = inspect(&store, "alias:1").unwrap();
    assert_eq!(value["Config"]["Env"][0], "TAG=one");
    assert_eq!(value["Architecture"], "amd64");
    let names = ["127.0.0.1:5000/team/app:one", "docker.io/library/alias:1"];
    assert_eq!(value["RepoTags"], serde_json::json!(names));
    let digest = value["Digest"].as_str().unwrap();
    assert_eq!(value["RepoDigests"][0], format!("127.0.0.1:5000/team/app@{digest}"));
    assert_eq!(value["RootFS"]["Layers"].as_array().unwrap().len(), 2);
    let (_, entries) = history(&store, "alias:1").unwrap();
    assert_eq!(entries.len(), 2, "layers that no history names");
}
