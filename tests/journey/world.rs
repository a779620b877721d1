//! Where a journey takes place: a user, a directory of that user's own, and the store in it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use mica::sys::flock::{self, Share};
use tempfile::TempDir;

use crate::registry::{Registry, Setup, run};
use crate::support::{Said, said, until};

/// The name that the image has in each store.
pub(crate) const IMAGE: &str = "debian-app:1";

/// Who goes on the journey. scripts/setup makes the users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Root,
    /// A user with a range of ids.
    User,
    /// A user without one.
    Without,
}

impl Who {
    fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::User => "mica-test",
            Self::Without => "mica-test-none",
        }
    }

    /// A command as this user, with nothing of the caller's environment.
    pub(crate) fn command(self, program: &Path, home: &Path) -> Command {
        let mut command = Command::new("setpriv");
        let name = self.name();
        command.args(["--reuid", name, "--regid", name, "--clear-groups", "--"]).arg(program);
        command.env_clear().env("HOME", home).env("TERM", "xterm");
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.current_dir(home).stdin(Stdio::null());
        command
    }
}

pub(crate) struct World {
    dir: TempDir,
    pub(crate) who: Who,
}

impl World {
    /// One with an empty store.
    pub(crate) fn new(who: Who) -> Self {
        assert!(crate::support::am_root(), "the journeys need root: scripts/test runs them so");
        let dir = tempfile::Builder::new().prefix("mica-journey.").tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        // The user need not be able to enter the directory that the program was built in.
        fs::copy(env!("CARGO_BIN_EXE_mica"), dir.path().join("mica")).unwrap();
        let world = Self { dir, who };
        world.own(world.path());
        world
    }

    /// One whose store has the image.
    pub(crate) fn with_image(who: Who) -> Self {
        let world = Self::new(who);
        run(Command::new("cp").arg("-a").arg(pulled()).arg(world.store()));
        world.own(&world.store());
        world
    }

    fn own(&self, path: &Path) {
        let name = self.who.name();
        run(Command::new("chown").arg("-R").arg(format!("{name}:{name}")).arg(path));
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path().join("store")
    }

    /// Makes a directory of the user's.
    pub(crate) fn make_dir(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir(&path).unwrap();
        self.own(&path);
        path
    }

    /// Writes a file of the user's.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, text).unwrap();
        self.own(&path);
        path
    }

    pub(crate) fn mica(&self, arguments: &[&str]) -> Command {
        let mut command = self.who.command(&self.path().join("mica"), self.path());
        command.arg("--root").arg(self.store()).args(arguments);
        command
    }

    pub(crate) fn try_mica(&self, arguments: &[&str]) -> Said {
        said(self.mica(arguments).output().unwrap())
    }

    /// Runs a command of mica's, which must succeed and have nothing to say against it.
    pub(crate) fn do_mica(&self, arguments: &[&str]) -> String {
        let said = self.try_mica(arguments);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{arguments:?}: {said:?}");
        said.out
    }

    /// Runs a line of shell in a new container that goes afterwards.
    pub(crate) fn try_sh(&self, options: &[&str], script: &str) -> Said {
        let arguments = [&["run", "--rm"], options, &[IMAGE, "sh", "-ec", script]].concat();
        self.try_mica(&arguments)
    }

    /// As [`World::try_sh`]; it must succeed.
    pub(crate) fn sh(&self, options: &[&str], script: &str) -> String {
        let said = self.try_sh(options, script);
        assert_eq!(said.code, 0, "{script}: {said:?}");
        said.out
    }

    /// Mounts the image on a new directory of this name.
    pub(crate) fn mount(&self, name: &str, options: &[&str]) -> PathBuf {
        let at = self.make_dir(name);
        self.do_mica(&[&["mount"], options, &[IMAGE, at.to_str().unwrap()]].concat());
        at
    }

    pub(crate) fn umount(&self, at: &Path) {
        self.do_mica(&["umount", at.to_str().unwrap()]);
        until("the mount is served no more", || self.processes().is_empty());
    }

    /// All that the store holds, with times of change: the same list, the same store. Directories
    /// are listed without their times.
    pub(crate) fn listing(&self) -> BTreeSet<String> {
        let format = "%P %y %s %m %n %l";
        let found = said(
            Command::new("find")
                .arg(self.store())
                .args(["(", "-type", "d", "-printf", "%P\\n", ")", "-o", "-printf"])
                .arg(format.replace("%n", "%T@") + "\\n")
                .output()
                .unwrap(),
        );
        assert_eq!((found.code, found.err.as_str()), (0, ""));
        found.out.lines().map(str::to_owned).collect()
    }

    /// The processes that this world's mica started, by their command lines.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let ours = self.path().to_str().unwrap();
        let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            entry.unwrap().file_name().to_str().and_then(|name| name.parse::<i32>().ok())
        });
        pids.filter(|pid| {
            // A process may end meanwhile; then it has no command line.
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(ours)
        })
        .collect()
    }

    /// The mounts below the world's directory that this process sees.
    pub(crate) fn mounts(&self) -> Vec<String> {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let points = table.lines().filter_map(|line| line.split(' ').nth(4));
        points
            .filter(|at| at.starts_with(self.path().to_str().unwrap()))
            .map(str::to_owned)
            .collect()
    }

    /// The directories of containers.
    pub(crate) fn containers(&self) -> Vec<PathBuf> {
        let dir = fs::read_dir(self.store().join("containers")).into_iter().flatten();
        dir.map(|entry| entry.unwrap().path()).collect()
    }

    /// Asserts that nothing is left of containers and mounts after the next command.
    pub(crate) fn assert_clear(&self) {
        until("every process has ended", || self.processes().is_empty());
        assert_eq!(self.do_mica(&["ps", "-aq"]), "");
        assert_eq!(self.containers(), [] as [PathBuf; 0]);
        assert_eq!(self.mounts(), [] as [String; 0]);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for at in self.mounts().iter().rev() {
            said_or_told(Command::new("umount").args(["-l", at]).output());
        }
        for pid in self.processes() {
            said_or_told(Command::new("kill").args(["-KILL", &pid.to_string()]).output());
        }
    }
}

/// Clearing up goes on when a part of it fails.
fn said_or_told(output: std::io::Result<Output>) {
    match output {
        Ok(output) if output.status.success() => {}
        other => eprintln!("clearing up: {other:?}"),
    }
}

/// The directory of the image: OCI layout `oci` with the tag 1, and the storage of a registry.
pub(crate) fn image() -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/journey-image");
    let made = said(Command::new(script).stdin(Stdio::null()).output().unwrap());
    assert_eq!(made.code, 0, "{made:?}");
    PathBuf::from(made.out.trim_end())
}

/// A registry that has the image in all its forms: the tags 1, zstd, docker, plain and index of
/// debian-app. All tests have the same contents: they add nothing.
pub(crate) fn registry() -> Registry {
    let storage = image().join("registry");
    Registry::start_with(Setup { storage: Some(&storage), ..Setup::default() })
}

/// A store that has the image, made once for each build of mica.
fn pulled() -> PathBuf {
    let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("journey");
    fs::create_dir_all(&kept).unwrap();
    let alone = fs::File::create(kept.join("lock")).unwrap();
    flock::lock(&alone, Share::Exclusive, "journey").unwrap();
    let image = image();
    let built = fs::metadata(env!("CARGO_BIN_EXE_mica")).unwrap();
    let name = image.file_name().unwrap().to_str().unwrap();
    let store = kept.join(format!("{name}-{}-{}", built.mtime(), built.size()));
    if !store.exists() {
        for old in fs::read_dir(&kept).unwrap().map(|entry| entry.unwrap().path()) {
            if old.is_dir() {
                fs::remove_dir_all(old).unwrap();
            }
        }
        let making = kept.join("making");
        let registry = registry();
        let mut pull = Command::new(env!("CARGO_BIN_EXE_mica"));
        run(pull.arg("--root").arg(&making).args(["pull", "-q", &registry.reference(IMAGE)]));
        fs::rename(making, &store).unwrap();
    }
    store
}

/// A tree as tar tells it with all that it knows of each file, sorted by name: kinds, modes,
/// owners, times of files, links, devices, extended attributes; and the bytes of files.
///
/// The tree is read by `how`: as a command of a user who may read all of it.
pub(crate) fn tree(root: &Path) -> Vec<String> {
    let script = r#"cd "$1" || exit
        find . -printf '%P\t%y %m %U:%G %n %T@ %s %l\n' | awk -F'\t' -v OFS='\t' '
            $2 ~ /^d/ { split($2, f, " "); $2 = f[1] " " f[2] " " f[3] } { print }'
        find . -type f -exec sha256sum {} +
        find . ! -type l -exec getfattr -dhm - -e hex --absolute-names {} + |
            awk '/^# file: / { file = $0 } /^[^#].*=/ { print "xattr " file " " $0 }'
        find . \( -type b -o -type c \) -exec stat -c 'device %n %t:%T' {} +
        find . -type f -links +1 -printf '%i %P\n' | sort -k2 |
            awk '!($1 in first) { first[$1] = $2 } { print "same " $2 " " first[$1] }'"#;
    let told = said(
        Command::new("bash")
            .args(["-o", "pipefail", "-euc", script, "tree"])
            .arg(root)
            .output()
            .unwrap(),
    );
    assert_eq!((told.code, told.err.as_str()), (0, ""), "{}", root.display());
    let mut lines: Vec<_> = told.out.lines().map(str::to_owned).collect();
    lines.sort();
    assert!(lines.len() > 1000, "{} is hardly a Debian", root.display());
    lines
}

/// Asserts that two trees are the same, and shows where they are not.
pub(crate) fn assert_same(what: &str, left: &[String], right: &[String]) {
    let (left, right): (BTreeSet<_>, BTreeSet<_>) = (left.iter().collect(), right.iter().collect());
    let differ: Vec<_> = left.symmetric_difference(&right).take(40).collect();
    assert!(differ.is_empty(), "{what}: {differ:#?}");
}
