//! What is stored is damaged: an error, never wrong data; and the way back.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::said;
use crate::world::{IMAGE, Who, World, registry};

/// What can be read of a tree.
struct Contents {
    /// Files, as `sha256sum` tells them.
    read: BTreeSet<String>,
    /// How many files cannot be read.
    failed: usize,
    /// Whether all directories can be listed.
    listed: bool,
}

fn contents(root: &Path) -> Contents {
    let script = "cd \"$0\" && find . -type f -print0 | xargs -0 sha256sum; true";
    let told = said(Command::new("sh").args(["-c", script]).arg(root).output().unwrap());
    for line in told.err.lines() {
        assert!(line.contains("Input/output error"), "{line}");
    }
    let failed = |program| told.err.lines().filter(|line| line.starts_with(program)).count();
    let read = told.out.lines().map(str::to_owned).collect();
    Contents { read, failed: failed("sha256sum:"), listed: failed("find:") == 0 }
}

fn flip(path: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

/// The files of a directory, the largest first.
fn largest(dir: &Path) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let mut all: Vec<_> = entries.map(|e| (e.metadata().unwrap().len(), e.path())).collect();
    all.sort_by(|a, b| b.cmp(a));
    all
}

/// Mounts the damaged image; returns how many files cannot be read, all of them if it cannot be
/// mounted.
fn unreadable(world: &World, original: &BTreeSet<String>, what: &str) -> usize {
    let at = world.path().join("at");
    let mounted = world.try_mica(&["mount", IMAGE, at.to_str().unwrap()]);
    if mounted.code != 0 {
        assert_eq!(mounted.code, 125, "{what}: {mounted:?}");
        for part in ["error: ", "cause: "] {
            assert!(mounted.err.contains(part), "{what}: {mounted:?}");
        }
        assert_eq!(world.mounts(), [] as [String; 0]);
        return original.len();
    }
    let Contents { read, failed, listed } = contents(&at);
    world.umount(&at);
    let wrong: Vec<_> = read.difference(original).take(3).collect();
    assert!(wrong.is_empty(), "{what}: wrong data: {wrong:?}");
    assert!(!listed || read.len() + failed == original.len(), "{what}: files have vanished");
    original.len() - read.len()
}

/// A world, what its image holds, and the largest layer: its blob and its directory.
fn whole() -> (World, BTreeSet<String>, PathBuf, PathBuf) {
    let world = World::with_image(Who::Root);
    let at = world.mount("at", &[]);
    let Contents { read: original, failed, listed } = contents(&at);
    assert!(failed == 0 && listed && original.len() > 1000);
    world.umount(&at);
    let blob = largest(&world.store().join("blobs/sha256"))[0].1.clone();
    let layer = world.store().join("layers").join(blob.file_name().unwrap());
    (world, original, blob, layer)
}

fn pull_again(world: &World) {
    let registry = registry();
    world.do_mica(&["rmi", IMAGE]);
    world.do_mica(&["pull", "-q", &registry.reference(IMAGE)]);
}

#[test]
fn a_flipped_byte_in_a_layer_is_an_error_and_never_wrong_data() {
    let (world, original, blob, _) = whole();
    let len = fs::metadata(&blob).unwrap().len();
    for part in 1..4 {
        let at = len * part / 4 + part;
        flip(&blob, at);
        assert_ne!(
            unreadable(&world, &original, &format!("byte {at} of the blob")),
            0,
            "byte {at}"
        );
        flip(&blob, at);
    }
    assert_eq!(unreadable(&world, &original, "the blob as it was"), 0);
    // Where only the damaged part is missed, the rest is there.
    flip(&blob, len / 2);
    let missed = unreadable(&world, &original, "half way");
    assert!(missed * 10 < original.len(), "{missed} of {}", original.len());
    pull_again(&world);
    assert_eq!(unreadable(&world, &original, "pulled again"), 0);
}

#[test]
fn a_layer_cut_short_is_an_error_and_never_wrong_data() {
    let (world, original, blob, _) = whole();
    let len = fs::metadata(&blob).unwrap().len();
    fs::File::options().write(true).open(&blob).unwrap().set_len(len / 2).unwrap();
    assert_ne!(unreadable(&world, &original, "half a blob"), 0);
    // A length tells at once: pulling the image heals it.
    let registry = registry();
    world.try_mica(&["pull", "-q", &registry.reference(IMAGE)]);
    let name = registry.reference(IMAGE);
    assert_eq!(world.do_mica(&["run", "--rm", &name, "cat", "/srv/app/data/new"]), "new\n");
    assert_eq!(fs::metadata(&blob).unwrap().len(), len);
}

#[test]
fn a_flipped_byte_in_an_index_is_an_error_and_never_wrong_data() {
    let (world, original, _, layer) = whole();
    for name in ["index", "seek"] {
        let path = layer.join(name);
        let len = fs::metadata(&path).unwrap().len();
        let kept = fs::read(&path).unwrap();
        for at in [9, len / 3, len / 2 + 7, len - 9] {
            flip(&path, at);
            assert_ne!(
                unreadable(&world, &original, &format!("byte {at} of {name}")),
                0,
                "byte {at} of {name}"
            );
            flip(&path, at);
        }
        assert_eq!(fs::read(&path).unwrap(), kept);
    }
    assert_eq!(unreadable(&world, &original, "as it was"), 0);
    fs::write(layer.join("index"), b"").unwrap();
    assert_ne!(unreadable(&world, &original, "an empty index"), 0);
    pull_again(&world);
    assert_eq!(unreadable(&world, &original, "pulled again"), 0);
}

#[test]
fn a_damaged_manifest_or_config_is_told_and_what_helps() {
    let (world, _, _, _) = whole();
    let blobs = largest(&world.store().join("blobs/sha256"));
    let documents: Vec<_> =
        blobs.into_iter().filter(|(_, path)| fs::read(path).unwrap().starts_with(b"{")).collect();
    assert_eq!(documents.len(), 2, "manifest and config");
    for (len, path) in documents {
        flip(&path, len / 2);
        let said = world.try_mica(&["run", "--rm", IMAGE, "true"]);
        assert_eq!((said.code, said.out.as_str()), (125, ""));
        for part in ["error: ", "cause: ", "hint: "] {
            assert!(said.err.contains(part), "{said:?}");
        }
        flip(&path, len / 2);
    }
    assert_eq!(world.sh(&[], "echo fine"), "fine\n");
}
