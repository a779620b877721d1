//! Images come in every form in which registries have them.

use crate::world::{Who, World, registry};

const FORMS: [&str; 5] = ["1", "docker", "index", "zstd", "plain"];

#[test]
fn every_form_of_an_image_is_the_same_image() {
    let registry = registry();
    let world = World::new(Who::User);
    let mut trees = Vec::new();
    for form in FORMS {
        let name = registry.reference(&format!("debian-app:{form}"));
        let id = world.do_mica(&["pull", "-q", &name]);
        assert!(id.starts_with("sha256:"), "{id}");
        let script = "cd / && find usr srv opt var home root '(' -type d -printf '%p %m %U:%G\\n' ')' \
            -o -printf '%p %y %m %U:%G %s %T@ %l\\n' | sort | sha256sum; find usr srv opt -type f -exec sha256sum {} + | sort | sha256sum";
        let said = world.do_mica(&["run", "--rm", &name, "sh", "-ec", script]);
        assert_eq!(said.lines().count(), 2);
        trees.push(said);
    }
    for tree in &trees {
        assert_eq!(tree, &trees[0]);
    }
    // The same layers under other manifests are stored once: gzip, zstd and plain.
    let layers = world.store().join("layers").read_dir().unwrap().count();
    assert_eq!(layers, 15);
    let listed = world.do_mica(&["images"]);
    assert_eq!(listed.lines().count(), 1 + FORMS.len(), "{listed}");
    world.assert_clear();
}

#[test]
fn what_is_there_is_not_fetched_again() {
    let registry = registry();
    let world = World::new(Who::Root);
    let name = registry.reference("debian-app:1");
    world.do_mica(&["pull", "-q", &name]);
    let before = world.listing();
    let said = world.try_mica(&["pull", &name]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(
        said.err.lines().filter(|line| line.ends_with(", already here")).count(),
        5,
        "{said:?}"
    );
    let of_layers = |listing: &std::collections::BTreeSet<String>| {
        listing.iter().filter(|line| line.starts_with("layers/")).cloned().collect::<Vec<_>>()
    };
    assert_eq!(of_layers(&before), of_layers(&world.listing()));
    drop(registry);
    assert_eq!(world.do_mica(&["run", "--rm", "debian-app:1", "echo", "offline"]), "offline\n");
}

#[test]
fn the_store_holds_hardly_more_than_what_was_sent() {
    let world = World::with_image(Who::Root);
    let manifest = std::fs::read(crate::world::image().join("manifest")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let sent: u64 =
        manifest["layers"].as_array().unwrap().iter().map(|l| l["size"].as_u64().unwrap()).sum();
    let du = crate::support::said(
        std::process::Command::new("du")
            .args(["-s", "--block-size=1"])
            .arg(world.store())
            .output()
            .unwrap(),
    );
    let held: u64 = du.out.split('\t').next().unwrap().parse().unwrap();
    assert!(held * 100 <= sent * 115, "{held} bytes for {sent}");
}
