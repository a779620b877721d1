//! `mica rmi`, while others use the image.

use std::process::Stdio;

use crate::support::until;
use crate::world::{IMAGE, Who, World, assert_same, tree};

#[test]
fn an_image_that_a_container_needs_is_not_removed() {
    for who in [Who::Root, Who::User] {
        let world = World::with_image(who);
        let mut command = world.mica(&["run", "--name", "user", "-i", IMAGE, "cat"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        until("it runs", || world.do_mica(&["ps"]).contains("user"));
        let refused = || {
            let said = world.try_mica(&["rmi", IMAGE]);
            assert_eq!((said.code, said.out.as_str()), (125, ""), "{said:?}");
            for part in ["error: ", "cause: ", "hint: ", "`mica rm`"] {
                assert!(said.err.contains(part), "no {part:?} in {said:?}");
            }
        };
        refused();
        drop(child.stdin.take());
        child.wait().unwrap();
        // It has ended, and could be started again.
        refused();
        assert!(world.do_mica(&["images"]).contains("debian-app"));
        world.do_mica(&["rm", "user"]);
        world.do_mica(&["rmi", IMAGE]);
        assert_eq!(world.store().join("blobs/sha256").read_dir().unwrap().count(), 0);
        assert_eq!(world.store().join("layers").read_dir().unwrap().count(), 0);
        world.assert_clear();
    }
}

#[test]
fn a_running_container_is_removed_by_force_only() {
    for who in [Who::Root, Who::User] {
        let world = World::with_image(who);
        let mut command = world.mica(&["run", "--name", "busy", IMAGE, "sleep", "600"]);
        let mut child = command.stdin(Stdio::null()).spawn().unwrap();
        until("it runs", || world.do_mica(&["ps"]).contains("busy"));
        let said = world.try_mica(&["rm", "busy"]);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.err.contains("hint: --force kills"), "{said:?}");
        world.do_mica(&["rm", "--force", "busy"]);
        child.wait().unwrap();
        assert!(world.containers().is_empty());
        world.assert_clear();
    }
}

#[test]
fn a_mount_goes_on_when_its_image_is_removed() {
    let world = World::with_image(Who::Root);
    let at = world.mount("at", &[]);
    let other = world.mount("other", &[]);
    let before = tree(&other);
    world.do_mica(&["umount", other.to_str().unwrap()]);
    world.do_mica(&["rmi", IMAGE]);
    assert_eq!(world.store().join("blobs/sha256").read_dir().unwrap().count(), 0);
    assert_same("before and after", &before, &tree(&at));
    world.umount(&at);
    let said = world.try_mica(&["rmi", IMAGE]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("cause: "), "{said:?}");
}
