//! A real Debian: packages, users, owners.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Said, am_root, said, vehicle};

trials!(
    packages_users_and_owners_work_as_root,
    packages_users_and_owners_work_for_an_unprivileged_user_whom_tests_become_as_root,
);

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

/// Runs in a new container each what a Debian system must be able to do.
fn lives(root: &Path, as_user: impl Fn(Command) -> Command) {
    let package = "mkdir -p /p/DEBIAN /p/usr/share/demo && echo hi >/p/usr/share/demo/hi && \
        printf 'Package: demo\nVersion: 1\nArchitecture: all\nMaintainer: m <m@example.org>\n\
        Description: d\n' >/p/DEBIAN/control && dpkg-deb -b /p /demo.deb && \
        dpkg -i /demo.deb && cat /usr/share/demo/hi && dpkg -r demo && ! [ -e /usr/share/demo/hi ]";
    let steps = [
        package,
        "useradd -m someone && id someone && [ $(stat -c %U /home/someone) = someone ]",
        "su someone -c 'touch ~/mine && ! touch /etc/not-mine'",
        "touch /owned && chown 33:42 /owned && [ $(stat -c %u:%g /owned) = 33:42 ]",
        "[ $(su www-data -s /bin/sh -c 'id -un') = www-data ]",
        "ln /owned /linked && ln -s owned /soft && [ $(stat -c %h /owned) = 2 ]",
        "apt-get --version && apt-mark showmanual && passwd -S root",
    ];
    for step in steps {
        let mut run = vehicle("run", &root.with_file_name("containers"));
        run.args(["--remove"]).arg(root).args(["sh", "-ec", step]);
        let said: Said = said(as_user(run).output().unwrap());
        assert_eq!(said.code, 0, "{step}: {said:?}");
    }
}

fn succeeds(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}

fn packages_users_and_owners_work_as_root() {
    assert!(am_root(), "the tests as an unprivileged user leave this one out");
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("rootfs");
    fs::create_dir(&root).unwrap();
    succeeds(Command::new("tar").arg("-xpf").arg(debian()).arg("-C").arg(&root));
    lives(&root, |command| command);
}

/// The user that scripts/setup gives a range of ids.
const USER: &str = "mica-test";

/// The command, as that user.
fn as_user(command: &Command) -> Command {
    let mut other = Command::new("setpriv");
    other.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--"]);
    other.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    other
}

fn packages_users_and_owners_work_for_an_unprivileged_user_whom_tests_become_as_root() {
    assert!(am_root(), "the tests as an unprivileged user leave this one out");
    let dir = tempfile::Builder::new().prefix("mica-run").tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    succeeds(Command::new("chown").arg(USER).arg(dir.path()));
    let root = dir.path().join("rootfs");
    // The user need not be able to enter the directories that the program and the tree lie in.
    let program = dir.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    succeeds(&mut as_user(Command::new("mkdir").arg(&root)));
    let mut unpack = Command::new("unshare");
    // Devices are the container's to provide, and not the user's to make.
    let tar = ["--map-auto", "--map-root-user", "tar", "--exclude=./dev/*", "-xpC"];
    unpack.args(tar).arg(&root);
    let tree = fs::File::open(debian()).unwrap();
    succeeds(as_user(&unpack).stdin(tree));
    lives(&root, |command| {
        let mut copied = Command::new(&program);
        copied.args(command.get_args());
        as_user(&copied)
    });
}
