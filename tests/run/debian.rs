//! A real Debian: packages, users, owners.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{Said, am_root, said, vehicle};

trials!(packages_users_and_owners_work_as_root,);

/// A small Debian, made once and kept where tests keep such things.
fn debian() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/mica-test"));
    let cache = std::env::var_os("MICA_TEST_CACHE").map(PathBuf::from).or_else(home).unwrap();
    let tree = cache.join("run-debian.tar");
    if !tree.exists() {
        fs::create_dir_all(&cache).unwrap();
        let made = cache.join("run-debian.making.tar");
        let mut make = Command::new("mmdebstrap");
        make.args(["--quiet", "--variant=minbase", "--include=procps", "bookworm"]).arg(&made);
        assert!(make.status().unwrap().success());
        fs::rename(made, &tree).unwrap();
    }
    tree
}

fn packages_users_and_owners_work_as_root() {
    assert!(am_root(), "the tests as an unprivileged user leave this one out");
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("rootfs");
    fs::create_dir(&root).unwrap();
    let mut unpack = Command::new("tar");
    unpack.args(["--numeric-owner", "-xpf"]).arg(debian()).arg("-C").arg(&root);
    assert!(unpack.status().unwrap().success());
    let package = "mkdir -p /p/DEBIAN /p/usr/share/demo && echo hi >/p/usr/share/demo/hi && \
        printf 'Package: demo\\nVersion: 1\\nArchitecture: all\\nMaintainer: m <m@example.org>\\n\
        Description: d\\n' >/p/DEBIAN/control && dpkg-deb -b /p /demo.deb && \
        dpkg -i /demo.deb && cat /usr/share/demo/hi && dpkg -r demo && ! [ -e /usr/share/demo/hi ]";
    let steps = [
        package,
        "useradd -m someone && id someone && ls -ld /home/someone",
        "touch /owned && chown 33:42 /owned && [ $(stat -c %u:%g /owned) = 33:42 ]",
        "[ $(su www-data -s /bin/sh -c 'id -un') = www-data ]",
        "ln /owned /linked && ln -s owned /soft && [ $(stat -c %h /owned) = 2 ]",
        "apt-get --version && apt-mark showmanual",
        "passwd -S root",
    ];
    for step in steps {
        let mut run = vehicle("run", &dir.path().join("containers"));
        let said: Said =
            said(run.args(["--remove"]).arg(&root).args(["sh", "-ec", step]).output().unwrap());
        assert_eq!(said.code, 0, "{step}: {said:?}");
    }
}
