//! `mica mount` and `mica umount`.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use crate::registry::run;
use crate::support::{Said, said, until};
use crate::world::{IMAGE, Who, World, assert_same, image, tree};

/// The image as umoci unpacks it.
fn unpacked(world: &World) -> std::path::PathBuf {
    let bundle = world.path().join("bundle");
    let name = format!("{}:1", image().join("oci").display());
    run(Command::new("umoci").args(["unpack", "--image", &name]).arg(&bundle));
    bundle.join("rootfs")
}

/// Runs a line of shell in a directory, as root; it must succeed.
fn sh(at: &Path, script: &str) {
    run(Command::new("bash").args(["-euc", script]).current_dir(at));
}

/// What is said of a mistake: what failed, why, and what helps.
fn in_three_parts(said: &Said, parts: &[&str]) {
    assert_eq!((said.code, said.out.as_str()), (125, ""), "{said:?}");
    for part in ["error: ", "hint: "].iter().chain(parts) {
        assert!(said.err.contains(part), "no {part:?} in {}", said.err);
    }
}

#[test]
fn a_mounted_image_is_what_others_unpack() {
    let world = World::with_image(Who::Root);
    let at = world.mount("at", &[]);
    let theirs = tree(&unpacked(&world));
    assert_same("umoci's and ours", &theirs, &tree(&at));
    world.umount(&at);
    assert_eq!(at.read_dir().unwrap().count(), 0);
    world.assert_clear();
}

#[test]
fn a_mounted_image_shows_a_user_what_an_unpacked_one_shows() {
    let world = World::with_image(Who::User);
    let at = world.mount("at", &[]);
    let theirs = unpacked(&world);
    sh(world.path(), "chmod 755 bundle bundle/rootfs");
    // Directories have a count of links and a size of their own in each filesystem.
    let script = "cd \"$0\" && { find . ! -readable -prune -o -type d -printf '%p %m %U:%G\\n' -o \
        -printf '%p %y %m %U:%G %n %T@ %s %l\\n'; find . ! -readable -prune -o -type f \
        -exec sha256sum {} +; } | sort";
    let told = |root: &Path| {
        let mut command = world.who.command(Path::new("/bin/sh"), world.path());
        let said = said(command.args(["-c", script]).arg(root).output().unwrap());
        assert_eq!((said.code, said.err.as_str()), (0, ""));
        said.out.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let (theirs, ours) = (told(&theirs), told(&at));
    assert!(ours.len() > 1000);
    assert_same("umoci's and ours", &theirs, &ours);
    world.umount(&at);
}

#[test]
fn a_mounted_image_cannot_be_changed() {
    let world = World::with_image(Who::Root);
    let at = world.mount("at", &[]);
    for script in [
        "touch new",
        "mkdir new",
        "rm etc/passwd",
        "echo x >etc/passwd",
        "chmod 700 etc",
        "mv etc etc2",
        "ln etc/passwd new",
        "ln -s x new",
        "setfattr -n user.x -v y etc",
        "mknod new p",
        "truncate -s 0 etc/passwd",
    ] {
        let said =
            said(Command::new("bash").args(["-c", script]).current_dir(&at).output().unwrap());
        assert_ne!(said.code, 0, "{script}");
        assert!(said.err.contains("Read-only file system"), "{script}: {said:?}");
    }
    world.umount(&at);
}

#[test]
fn a_mount_in_use_stays_and_its_user_is_told_what_helps() {
    for who in [Who::Root, Who::User] {
        let world = World::with_image(who);
        let at = world.mount("at", &[]);
        let mut command = who.command(Path::new("/bin/sh"), world.path());
        command.args(["-c", "cd \"$0\" && exec sleep 600"]).arg(&at);
        let mut inside = command.spawn().unwrap();
        until("it is in use", || {
            fs::read_link(format!("/proc/{}/cwd", inside.id())).is_ok_and(|cwd| cwd == at)
        });
        let said = world.try_mica(&["umount", at.to_str().unwrap()]);
        in_three_parts(&said, &["cause: ", at.to_str().unwrap(), "busy", "--lazy"]);
        assert_eq!(world.mounts().len(), 1);
        inside.kill().unwrap();
        inside.wait().unwrap();
        world.umount(&at);
        world.assert_clear();
    }
}

#[test]
fn a_lazy_unmount_lets_its_last_user_go_on() {
    let world = World::with_image(Who::Root);
    let at = world.mount("at", &[]);
    let mut file = fs::File::open(at.join("srv/app/hello.py")).unwrap();
    world.do_mica(&["umount", "--lazy", at.to_str().unwrap()]);
    assert_eq!(world.mounts(), [] as [String; 0]);
    let text = std::io::read_to_string(&mut file).unwrap();
    assert_eq!(text, "print(\"hello from the image\")\n");
    assert!(!world.processes().is_empty());
    drop(file);
    world.assert_clear();
}

#[test]
fn mistakes_are_told_with_their_cause_and_what_helps() {
    for who in [Who::Root, Who::User] {
        let world = World::with_image(who);
        let dir = world.make_dir("dir");
        let dir = dir.to_str().unwrap();
        let missing = format!("{dir}/missing");
        in_three_parts(&world.try_mica(&["mount", IMAGE, &missing]), &["cause: ", &missing]);
        let file = world.write("file", "x");
        in_three_parts(&world.try_mica(&["mount", IMAGE, file.to_str().unwrap()]), &["cause: "]);
        in_three_parts(&world.try_mica(&["mount", "-o", "uperdir=/x", IMAGE, dir]), &["uperdir"]);
        in_three_parts(
            &world.try_mica(&["mount", "127.0.0.1:1/no-such:1", dir]),
            &["cause: ", "no-such"],
        );
        in_three_parts(&world.try_mica(&["umount", dir]), &["cause: ", dir]);
        assert_eq!(world.mounts(), [] as [String; 0]);
        world.assert_clear();
    }
}

/// Changes of every kind to what the image has.
const CHANGES: &str = "
    echo changed >>etc/passwd; rm -r usr/share/doc; mkdir usr/share/doc; echo x >usr/share/doc/one
    rm -rf srv/app/data; mv etc/apt etc/apt2; ln etc/login.defs etc/linked; chmod 600 etc/profile
    chown 33:33 srv; setfattr -n user.k -v v etc/issue; mkfifo run/fifo; mknod dev/new c 1 3
    ln -s ../x opt/soft; truncate -s 1M opt/hole; touch -d @1 opt/old; mkdir -p new/deep;
    rm usr/bin/perl
    cp -a var/lib/dpkg new; chmod 1777 new/deep; mv usr/share/perl5 usr/share/perl6;
    rm srv/app/main.py
    mkdir etc/hidden; rmdir etc/hidden; echo again >srv/app/retired.conf; mv srv/app/hello.py srv/moved.py";

#[test]
fn what_is_written_to_a_mount_is_there_again_and_the_kernel_sees_the_same() {
    let world = World::with_image(Who::Root);
    let (upper, work) = (world.path().join("upper"), world.path().join("work"));
    let option = format!("upperdir={},workdir={}", upper.display(), work.display());
    let at = world.mount("at", &["-o", &option]);
    sh(&at, CHANGES);
    let before = tree(&at);
    world.umount(&at);
    world.do_mica(&["mount", "-o", &option, IMAGE, at.to_str().unwrap()]);
    assert_same("before and after", &without_links(&before), &without_links(&tree(&at)));
    sh(&at, "mv etc/apt2 etc/apt; echo back >usr/bin/perl; echo more >usr/share/doc/two");
    world.umount(&at);
    world.do_mica(&["mount", "-o", &option, IMAGE, at.to_str().unwrap()]);
    let before = tree(&at);
    world.umount(&at);

    // The upper layer is one of the kernel's overlayfs, over what umoci unpacks.
    let lower = unpacked(&world);
    let option = format!("lowerdir={},{option}", lower.display());
    run(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &option]).arg(&at));
    let theirs = tree(&at);
    run(Command::new("umount").arg(&at));
    assert_same("ours and the kernel's", &without_links(&before), &without_links(&theirs));
    world.assert_clear();
}

/// A tree but for how many names files have: of a file of the image whose names are partly removed,
/// that count is known only as long as the mount lasts, as with the kernel's overlayfs.
fn without_links(tree: &[String]) -> Vec<String> {
    let files = tree.iter().filter(|line| !line.starts_with("same "));
    let count = |line: &String| match line.split_once("\tf ") {
        Some((name, attributes)) => {
            let mut words: Vec<_> = attributes.split(' ').collect();
            words.remove(2);
            format!("{name}\tf {}", words.join(" "))
        }
        None => line.clone(),
    };
    files.map(count).collect()
}

#[test]
fn a_user_writes_to_a_mount_and_finds_it_again() {
    let world = World::with_image(Who::User);
    let option = "upperdir=upper,workdir=work";
    let at = world.make_dir("at");
    let at = at.to_str().unwrap();
    let mount = || {
        let said = world.try_mica(&["mount", "-o", option, IMAGE, at]);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.err.starts_with("warning: "), "owners are not kept: {said:?}");
    };
    let as_user = |script: &str| {
        let mut command = world.who.command(Path::new("/bin/sh"), world.path());
        let script = format!("cd {at}; {script}");
        let said = said(command.args(["-euc", &script]).output().unwrap());
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{script}");
        said.out
    };
    mount();
    as_user(
        "echo changed >>etc/passwd; rm -r usr/share/doc; mkdir usr/share/doc; mv etc/apt etc/apt2; \
        echo x >srv/app/new; ln etc/login.defs etc/linked; rm usr/bin/perl",
    );
    let look = "find . -printf '%P %y %m %s %T@ %l\\n' | grep -v '^[^ ]* d' | sort | sha256sum; tail -n1 etc/passwd; \
        ls usr/share/doc etc/apt2; ! [ -e usr/bin/perl ]";
    let before = as_user(look);
    world.umount(Path::new(at));
    mount();
    assert_eq!(before, as_user(look));
    world.umount(Path::new(at));
    world.assert_clear();
}

#[test]
fn an_upper_directory_in_use_is_refused() {
    let world = World::with_image(Who::Root);
    let option = "upperdir=upper,workdir=work";
    let at = world.mount("at", &["-o", option]);
    let other = world.make_dir("other");
    let said = world.try_mica(&["mount", "-o", option, IMAGE, other.to_str().unwrap()]);
    assert_eq!(said.code, 125, "{said:?}");
    assert!(
        said.err.contains("error: ") && said.err.contains("upper") && said.err.contains("in use"),
        "{said:?}"
    );
    assert_eq!(world.mounts().len(), 1);
    sh(&at, "echo still >works");
    world.umount(&at);
    world.do_mica(&["mount", "-o", option, IMAGE, other.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(other.join("works")).unwrap(), "still\n");
    world.umount(&other);
}

#[test]
fn twenty_mounts_at_once_each_work_and_end() {
    let world = World::with_image(Who::Root);
    let dirs: Vec<_> = (0..20).map(|number| world.make_dir(&format!("at{number}"))).collect();
    let start = |dir: &std::path::PathBuf| {
        world.mica(&["mount", IMAGE, dir.to_str().unwrap()]).spawn().unwrap()
    };
    for mut child in dirs.iter().map(start).collect::<Vec<_>>() {
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    assert_eq!(world.mounts().len(), 20);
    let first = fs::read(dirs[0].join("usr/bin/perl")).unwrap();
    for dir in &dirs {
        assert!(fs::read(dir.join("usr/bin/perl")).unwrap() == first, "{}", dir.display());
    }
    let all: Vec<_> = dirs.iter().map(|dir| dir.to_str().unwrap()).collect();
    world.do_mica(&[&["umount"], &all[..]].concat());
    world.assert_clear();
}

#[test]
fn a_directory_keeps_its_attributes_when_a_layer_above_only_has_something_in_it() {
    let world = World::with_image(Who::Root);
    let at = world.mount("at", &[]);
    // Layers of umoci have no entries for the directories that lead to what they add.
    let times = "find . -type d -printf '%p %m %U:%G %T@\\n' | sort";
    let told = |root: &Path| {
        let mut command = Command::new("sh");
        let said = said(command.args(["-c", times]).current_dir(root).output().unwrap());
        said.out.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_same("umoci's and ours", &told(&unpacked(&world)), &told(&at));
    let root = fs::metadata(&at).unwrap();
    world.umount(&at);
    let option = "upperdir=upper,workdir=work";
    world.do_mica(&["mount", "-o", option, IMAGE, at.to_str().unwrap()]);
    assert_eq!(fs::metadata(&at).unwrap().mtime(), root.mtime(), "a new upper directory");
    let before = fs::metadata(at.join("etc")).unwrap();
    sh(&at, "echo x >>etc/issue; chmod 700 srv/app/hello.py");
    let after = fs::metadata(at.join("etc")).unwrap();
    assert_eq!((before.ino(), before.mtime()), (after.ino(), after.mtime()));
    world.umount(&at);
}
