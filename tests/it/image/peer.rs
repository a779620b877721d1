//! The binary against Debian's docker-registry, with images that others made.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use mica::image::Store;

use crate::support::registry::{Registry, make_layout};
use crate::support::trace::{CALLS, calls_by_thread, quick_directory};

fn mica(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mica"));
    command.arg("--root").arg(root).args(arguments).stdin(Stdio::null());
    command
}

fn run(root: &Path, arguments: &[&str]) -> Output {
    let output = mica(root, arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    output
}

/// A registry with an image of three layers: gzip as umoci makes it, zstd and plain as skopeo
/// copies it.
fn with_image() -> (tempfile::TempDir, Registry) {
    let home = tempfile::tempdir().unwrap();
    let layout = home.path().join("layout");
    let large: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    make_layout(&layout, "1", &[("/a", b"one"), ("/large", &large), ("/b", b"two")]);
    let registry = Registry::start();
    registry.push_layout(&layout, "1", "app:gzip");
    let source = format!("oci:{}:1", layout.display());
    registry.copy_from(&source, "app:zstd", &["--dest-compress-format", "zstd", "--dest-compress"]);
    registry.copy_from(&source, "app:docker", &["--format", "v2s2"]);
    (home, registry)
}

#[test]
fn images_of_others_are_pulled_listed_and_removed_whatever_their_format() {
    let (home, registry) = with_image();
    let root = home.path().join("store");
    for tag in ["gzip", "zstd", "docker"] {
        let name = registry.reference(&format!("app:{tag}"));
        let output = run(&root, &["pull", &name]);
        let id = String::from_utf8(output.stdout).unwrap();
        assert!(id.starts_with("sha256:") && id.len() == 72, "{id}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.lines().count(), 3, "a line for each layer: {said}");
    }
    let store = Store::open(&root).unwrap();
    assert!(store.check().unwrap().damage.is_empty());
    let listed = String::from_utf8(run(&root, &["images"]).stdout).unwrap();
    assert_eq!(listed.lines().count(), 4, "{listed}");
    run(&root, &["rmi", "app:gzip", "app:zstd", "app:docker"]);
    for directory in ["blobs/sha256", "layers", "images", "tmp", "locks"] {
        let left: Vec<_> = root.join(directory).read_dir().unwrap().collect();
        assert!(left.is_empty(), "{directory}: {left:?}");
    }
}

#[test]
fn progress_is_told_as_it_is_asked_for() {
    let (home, registry) = with_image();
    let name = registry.reference("app:gzip");
    let said = |mode: &[&str]| {
        let root = home.path().join(mode.concat());
        let output = run(&root, &[&["pull", &name], mode].concat());
        assert_eq!(output.stdout.len(), 72, "the ID alone is data");
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(said(&["--progress", "none"]), "");
    assert_eq!(said(&["-q"]), "");
    let plain = said(&["--progress", "plain"]);
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let auto = said(&["--progress", "auto"]);
    assert_eq!(sorted(&plain), sorted(&auto), "there is no terminal");
    assert!(plain.lines().all(|line| line.ends_with(", done")), "{plain}");
    let events: Vec<serde_json::Value> = said(&["--progress", "json"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let done: Vec<_> = events.iter().filter(|event| event["step"] == "done").collect();
    assert_eq!(done.len(), 3);
    assert!(done.iter().all(|event| event["bytes"] == event["size"]), "{done:?}");
}

#[test]
fn a_pull_that_is_killed_at_any_moment_can_simply_be_done_again() {
    let (home, registry) = with_image();
    let root = home.path().join("store");
    let name = registry.reference("app:gzip");
    for round in 0..12_u64 {
        let mut child = mica(&root, &["pull", "-q", &name]).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(5 + round * 12));
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Store::open(&root).unwrap();
        drop(store.enter().unwrap());
        assert_eq!(root.join("tmp").read_dir().unwrap().count(), 0, "round {round}");
        assert!(store.check().unwrap().damage.is_empty(), "round {round}");
        if round % 4 == 3 {
            run(&root, &["pull", "-q", &name]);
            run(&root, &["rmi", &name]);
        }
    }
    run(&root, &["pull", "-q", &name]);
    assert!(Store::open(&root).unwrap().check().unwrap().damage.is_empty());
}

/// Pulls under strace with `expression`, and writes what strace says to `trace`.
fn pull_traced(expression: &str, trace: &Path, root: &Path, name: &str) -> Output {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-e", expression, "-o"]).arg(trace);
    command.arg(env!("CARGO_BIN_EXE_mica")).arg("--root").arg(root).args(["pull", "-q", name]);
    command.stdin(Stdio::null()).output().expect("strace must be installed")
}

/// Pulls with `fault` at each system call that matters, one after the other, and checks each time
/// that the store is whole and that the image is there only if the pull succeeded.
fn pull_with_faults(fault: &str) {
    let (_home, registry) = with_image();
    let name = registry.reference("app:gzip");
    let home = quick_directory();
    let trace = home.path().join("trace");
    let output = pull_traced(&format!("trace={CALLS}"), &trace, &home.path().join("count"), &name);
    assert!(output.status.success(), "{output:?}");
    let mut tried = 0;
    for (call, count) in calls_by_thread(&trace) {
        for n in 1..=count {
            let root = home.path().join(format!("{call}.{n}"));
            let expression = format!("inject={call}:{fault}:when={n}");
            let output = pull_traced(&expression, Path::new("/dev/null"), &root, &name);
            let store = Store::open(&root).unwrap();
            drop(store.enter().unwrap());
            let left = root.join("tmp").read_dir().unwrap().count();
            let damage = store.check().unwrap().damage;
            assert!(left == 0 && damage.is_empty(), "{expression}: {left} left, {damage:?}");
            if output.status.success() {
                assert!(store.get_ref(&name).unwrap().is_some(), "{expression}");
            }
            std::fs::remove_dir_all(root).unwrap();
            tried += 1;
        }
    }
    assert!(tried > 40, "only {tried} calls were tried");
}

#[test]
fn a_pull_that_is_killed_at_any_system_call_leaves_a_whole_store() {
    pull_with_faults("signal=KILL");
}

#[test]
fn a_pull_whose_disk_is_full_at_any_system_call_leaves_a_whole_store() {
    pull_with_faults("error=ENOSPC");
}

#[test]
fn an_image_that_was_pulled_by_digest_has_no_tag() {
    let (home, registry) = with_image();
    let root = home.path().join("store");
    run(&root, &["pull", "-q", &registry.reference("app:gzip")]);
    let listed = String::from_utf8(run(&root, &["images", "--digests"]).stdout).unwrap();
    let digest = listed.split_whitespace().find(|word| word.starts_with("sha256:")).unwrap();
    run(&root, &["pull", "-q", &registry.reference(&format!("app@{digest}"))]);
    let listed = String::from_utf8(run(&root, &["images"]).stdout).unwrap();
    assert!(listed.lines().nth(2).unwrap().contains(" <none> "), "{listed}");
    run(&root, &["inspect", &registry.reference(&format!("app@{digest}"))]);
}

#[test]
fn a_check_names_the_blob_that_is_damaged_and_pulling_anew_mends_it() {
    let (home, registry) = with_image();
    let root = home.path().join("store");
    let name = registry.reference("app:gzip");
    run(&root, &["pull", "-q", &name]);
    let said = String::from_utf8(run(&root, &["check"]).stdout).unwrap();
    assert!(said.ends_with(" are as they should be\n"), "{said}");

    let blobs = root.join("blobs/sha256").read_dir().unwrap().map(|entry| entry.unwrap().path());
    let largest = blobs.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut bytes = std::fs::read(&largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::remove_file(&largest).unwrap();
    std::fs::write(&largest, bytes).unwrap();
    let output = mica(&root, &["check"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let hex = largest.file_name().unwrap().to_str().unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    assert!(listed.lines().count() == 1 && listed.contains(hex), "{listed}");
    let hint = String::from_utf8(output.stderr).unwrap();
    assert!(hint.contains("hint: remove the images"), "{hint}");

    run(&root, &["rmi", &name]);
    run(&root, &["pull", "-q", &name]);
    run(&root, &["check"]);
}
