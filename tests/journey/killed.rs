//! What is left when something is killed: nothing that the next command does not clear.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::registry::run;
use crate::support::{Process, until};
use crate::world::{IMAGE, Who, World, registry};

/// A container that runs, and its processes: launching, supervisor, first, command.
fn start(world: &World) -> (Child, Vec<Process>) {
    let script =
        "echo x >/etc/motd; (sleep 600 & sleep 600) & echo ready; trap '' TERM HUP INT; sleep 600";
    let mut command = world.mica(&["run", "--rm", IMAGE, "sh", "-c", script]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let mut processes = vec![Process::of(child.id())];
    let mut at = 0;
    while let Some(process) = processes.get(at).cloned() {
        processes.extend(process.children());
        at += 1;
    }
    assert!(processes.len() >= 4, "{processes:?}");
    (child, processes)
}

#[test]
fn whichever_process_of_a_container_is_killed_nothing_is_left() {
    for who in [Who::Root, Who::User, Who::Without] {
        let world = World::with_image(who);
        for (victim, code) in [(0, None), (1, Some(125)), (2, Some(137)), (3, Some(137))] {
            let (mut child, processes) = start(&world);
            processes[victim].signal("-KILL");
            assert_eq!(child.wait().unwrap().code(), code, "process {victim}");
            until("every process has ended", || !processes.iter().any(Process::alive));
            assert_eq!(world.mounts(), [] as [String; 0]);
            assert_eq!(world.sh(&[], "cat /etc/motd | wc -l; echo fine"), "7\nfine\n");
            world.assert_clear();
        }
    }
}

#[test]
fn a_run_killed_at_any_moment_leaves_nothing() {
    for who in [Who::Root, Who::User] {
        let world = World::with_image(who);
        for round in 0..16 {
            let mut command = world.mica(&["run", "--rm", IMAGE, "sh", "-c", "rm -rf /usr/share"]);
            let mut child = command.stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(3 + round * 13));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert_eq!(world.sh(&[], "ls -d /usr/share"), "/usr/share\n");
        world.assert_clear();
    }
}

#[test]
fn a_mount_whose_server_is_killed_is_cleared_and_what_was_written_is_kept() {
    for who in [Who::Root, Who::User] {
        let world = World::with_image(who);
        let at = world.make_dir("at");
        let mount = || {
            let words = ["mount", "-o", "upperdir=upper,workdir=work", IMAGE, at.to_str().unwrap()];
            assert_eq!(world.try_mica(&words).code, 0);
        };
        let sh = |script: &str| {
            let mut command = who.command(Path::new("/bin/sh"), world.path());
            run(command.args(["-euc", script]).arg("sh").arg(&at));
        };
        mount();
        sh(
            "cd \"$1\"; echo kept >etc/kept; echo more >>etc/passwd; rm -r usr/share/doc; sync -f .",
        );
        for pid in world.processes() {
            Process::of(u32::try_from(pid).unwrap()).signal("-KILL");
        }
        until("the server is gone", || world.processes().is_empty());
        assert!(fs::metadata(at.join("usr/lib/os-release")).is_err());
        let said = world.try_mica(&["ps"]);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "other commands do not mind");
        world.umount(&at);
        mount();
        sh(
            "cd \"$1\"; grep -qx kept etc/kept; tail -n1 etc/passwd | grep -qx more; ! [ -e usr/share/doc ]",
        );
        world.umount(&at);
        world.assert_clear();
    }
}

#[test]
fn a_mount_killed_as_it_comes_up_leaves_nothing_in_the_way() {
    let world = World::with_image(Who::Root);
    let at = world.make_dir("at");
    let words = ["mount", "-o", "upperdir=upper,workdir=work", IMAGE, at.to_str().unwrap()];
    for round in 0..10 {
        let mut child = world.mica(&words).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(round * 5));
        child.kill().unwrap();
        child.wait().unwrap();
        for pid in world.processes() {
            // It may be gone by now.
            Command::new("kill").args(["-KILL", &pid.to_string()]).output().unwrap();
        }
        until("the server is gone", || world.processes().is_empty());
        if !world.mounts().is_empty() {
            world.umount(&at);
        }
    }
    world.do_mica(&words);
    assert!(at.join("etc/passwd").exists());
    world.umount(&at);
    world.assert_clear();
}

#[test]
fn a_pull_killed_at_any_moment_is_simply_done_again() {
    let registry = registry();
    let name = registry.reference(IMAGE);
    let world = World::new(Who::User);
    for round in 0..8 {
        let mut child = world.mica(&["pull", "-q", &name]).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(20 + round * 90));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(world.do_mica(&["images", "-q"]), "", "round {round}");
    }
    world.do_mica(&["pull", "-q", &name]);
    assert_eq!(world.store().join("tmp").read_dir().unwrap().count(), 0);
    assert_eq!(world.sh(&[], "hostname >/dev/null; perl -e 'print 1'"), "1");
    world.do_mica(&["rmi", IMAGE]);
    assert_eq!(world.store().join("blobs/sha256").read_dir().unwrap().count(), 0);
    world.assert_clear();
}
