//! `mount -t mica`: the real mount(8) calls the real helper, which calls the real mica.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::process::Command;

use mica::image::{Quiet, Remote, Store, parse};
use mica::registry::{Client, Options};
use mica::testing::tar::Tar;
use mica::testing::transport::MemTransport;
use tempfile::TempDir;

/// A home with a store that has the image `registry.example/app:1`, a directory `mnt`, and `sbin`
/// with the helper as it is installed, mica beside it.
pub(crate) fn home() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(&home.path().join("store")).unwrap();
    let registry = MemTransport::new();
    registry.put_image("1", ("linux", "amd64"), &[&Tar::new().file("word", "said").bytes()]);
    let client = Client::with_transport(Box::new(registry), Options::default());
    let remote = Remote::with_client(client, Some("linux/amd64".parse().unwrap()));
    let image = parse("registry.example/app:1").unwrap();
    mica::image::pull(&store, &remote, &image, &Quiet).unwrap();
    let mica = Path::new(env!("CARGO_BIN_EXE_mica"));
    let sbin = home.path().join("sbin");
    for dir in [&sbin, &home.path().join("mnt")] {
        fs::create_dir(dir).unwrap();
    }
    fs::copy(mica, sbin.join("mica")).unwrap();
    let helper = mica.with_file_name("mount-mica");
    fs::copy(&helper, sbin.join("mount.mica")).expect("mount-helper is built with the workspace");
    // For a remount mount(8) takes the type that the kernel has.
    symlink("mount.mica", sbin.join("mount.fuse.mica")).unwrap();
    home
}

/// Runs a shell script in `home` where the helper is installed: in a mount namespace of its own,
/// whose /usr/sbin has `sbin` on top. Returns what it printed; none where that cannot be done.
fn with_helper(home: &TempDir, script: &str) -> Option<String> {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        println!("skipped: needs root, to call mount(8)");
        return None;
    }
    let install = "mount -t overlay -o lowerdir=$PWD/sbin:/usr/sbin overlay /usr/sbin";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-uc", &format!("{install} || exit\n{script}")])
        .current_dir(home.path())
        .env("MICA_ROOT", home.path().join("store"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{} {said}", output.status);
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn mount_shows_an_image_and_umount_takes_it_away() {
    let script = "mount -t mica -o nofail,nodev image:registry.example/app:1 mnt; echo $?
        cat mnt/word && echo
        findmnt -no FSTYPE,VFS-OPTIONS mnt
        umount mnt; echo $?
        ls mnt";
    let Some(said) = with_helper(&home(), script) else { return };
    assert_eq!(said, "0\nsaid\nfuse.mica ro,nodev,relatime\n0\n");
}

#[test]
fn a_remount_is_refused_and_changes_nothing() {
    let script = "mount -t mica registry.example/app:1 mnt
        mount -o remount,nodev mnt; echo $?
        findmnt -no VFS-OPTIONS mnt
        grep -c \" $PWD/mnt \" /proc/self/mountinfo
        umount mnt";
    let Some(said) = with_helper(&home(), script) else { return };
    assert_eq!(said, "32\nro,relatime\n1\n");
}

#[test]
fn what_cannot_be_mounted_is_a_mount_failure() {
    let script = "mount -t mica 127.0.0.1:1/none:1 mnt; echo $?
        mount -t mica -o nonsense registry.example/app:1 mnt; echo $?
        mount -f -t mica registry.example/app:1 mnt; echo $?
        grep -c \" $PWD/mnt \" /proc/self/mountinfo
        true";
    let Some(said) = with_helper(&home(), script) else { return };
    assert_eq!(said, "32\n32\n0\n0\n");
}
