//! Permissions, owners, ACLs and extended attributes.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{XattrFlags, getxattr, listxattr, removexattr, setxattr};
use rustix::io::Errno;

use crate::view::{View, cannot_without_root, set_mode, sh, sh_as_nobody};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn the_umask_is_that_of_who_makes_a_file() {
    let view = View::new(|_| {});
    sh(&view.root(), "umask 027; : > a; mkdir d; mkfifo p; umask 0; : > b");
    assert_eq!(mode(&view.path("a")), 0o640);
    assert_eq!(mode(&view.path("d")), 0o750);
    assert_eq!(mode(&view.path("p")), 0o640);
    assert_eq!(mode(&view.path("b")), 0o666);
    let exact = File::options().create_new(true).write(true).mode(0o400).open(view.path("c"));
    exact.unwrap();
    assert_eq!(mode(&view.path("c")), 0o400);
}

#[test]
fn a_set_group_id_directory_hands_its_group_on() {
    if cannot_without_root() {
        return;
    }
    let view = View::new(|lower| {
        sh(lower, "mkdir d; chown 0:1234 d; chmod 2775 d");
    });
    sh(&view.root(), "umask 022; : > d/file; mkdir d/dir");
    let seen = |name| fs::metadata(view.path(name)).unwrap();
    assert_eq!((seen("d/file").gid(), mode(&view.path("d/file"))), (1234, 0o644));
    assert_eq!((seen("d/dir").gid(), mode(&view.path("d/dir"))), (1234, 0o2755));
}

#[test]
fn a_write_a_truncation_and_a_chown_by_others_clear_set_user_id() {
    if cannot_without_root() {
        return;
    }
    let names = ["write", "truncate", "open"];
    let mut view = View::new(|lower| {
        for name in names {
            fs::write(lower.join(name), b"program").unwrap();
            set_mode(&lower.join(name), 0o6777);
        }
        fs::write(lower.join("chown"), b"program").unwrap();
        set_mode(&lower.join("chown"), 0o6777);
    });
    let script = "printf x >> write; truncate -s 3 truncate; : > open";
    let output = sh_as_nobody(&view.root(), script);
    assert!(output.status.success(), "{output:?}");
    sh(&view.root(), "chown 5:5 chown");
    for _ in 0..2 {
        for name in names.iter().chain(&["chown"]) {
            assert_eq!(mode(&view.path(name)), 0o777, "{name}");
        }
        view.remount();
    }
}

#[test]
fn modes_and_owners_decide_who_may_do_what() {
    if cannot_without_root() {
        return;
    }
    let view = View::new(|lower| {
        sh(lower, "echo s > secret; chmod 600 secret; mkdir -m 1777 tmp; echo r > tmp/roots");
    });
    let denied = |script| !sh_as_nobody(&view.root(), script).status.success();
    assert!(denied("cat secret"));
    assert!(denied("echo x > new"));
    assert!(denied("rm tmp/roots"), "the sticky bit protects it");
    assert!(denied("chmod 666 secret"));
    let output = sh_as_nobody(&view.root(), "echo mine > tmp/mine; cat tmp/mine");
    assert_eq!(output.stdout, b"mine\n", "{output:?}");
    assert_eq!(fs::metadata(view.path("tmp/mine")).unwrap().uid(), 65534);
    sh(&view.root(), "chown 65534 secret");
    assert!(!denied("cat secret"));
}

#[test]
fn an_acl_lets_in_whom_the_mode_keeps_out() {
    if cannot_without_root() {
        return;
    }
    let mut view = View::new(|lower| {
        sh(lower, "echo s > secret; chmod 600 secret; mkdir d");
    });
    let readable = |view: &View| sh_as_nobody(&view.root(), "cat secret").status.success();
    assert!(!readable(&view));
    sh(&view.root(), "setfacl -m u:65534:r secret; setfacl -d -m u:65534:rx d; umask 077; : > d/f");
    for _ in 0..2 {
        assert!(readable(&view));
        assert!(sh(&view.root(), "getfacl -cn secret").contains("user:65534:r--"));
        assert!(sh(&view.root(), "getfacl -cn d/f").contains("user:65534:r-x"));
        assert_eq!(mode(&view.path("secret")), 0o640, "the group bits are the mask");
        view.remount();
    }
    sh(&view.root(), "setfacl -b secret");
    assert!(!readable(&view));
}

#[test]
fn extended_attributes_follow_the_protocol_of_sizes_and_flags() {
    let mut view = View::new(|lower| fs::write(lower.join("file"), b"").unwrap());
    let path = view.path("file");
    let set = |value: &[u8], flags| setxattr(&path, "user.test", value, flags);
    assert_eq!(set(b"v", XattrFlags::REPLACE), Err(Errno::NODATA));
    assert_eq!(set(b"value", XattrFlags::CREATE), Ok(()));
    assert_eq!(set(b"v", XattrFlags::CREATE), Err(Errno::EXIST));
    let get = |size: usize| {
        let mut buffer = vec![0; size];
        getxattr(&path, "user.test", &mut buffer[..]).map(|n| buffer[..n].to_vec())
    };
    // This asks for the size first.
    assert_eq!(sh(&view.root(), "getfattr --only-values -n user.test file"), "value");
    assert_eq!(get(4), Err(Errno::RANGE));
    assert_eq!(get(5), Ok(b"value".to_vec()));
    view.remount();
    assert_eq!(get(100), Ok(b"value".to_vec()));
    assert_eq!(set(b"", XattrFlags::REPLACE), Ok(()));
    assert_eq!(get(100), Ok(Vec::new()));
    let list = |size: usize| {
        let mut buffer = vec![0; size];
        listxattr(&path, &mut buffer[..]).map(|n| buffer[..n].to_vec())
    };
    assert_eq!(list(9), Err(Errno::RANGE));
    assert_eq!(list(10), Ok(b"user.test\0".to_vec()));
    assert_eq!(removexattr(&path, "user.test"), Ok(()));
    assert_eq!(removexattr(&path, "user.test"), Err(Errno::NODATA));
    assert_eq!(get(100), Err(Errno::NODATA));
}

#[test]
fn devices_keep_their_numbers() {
    if cannot_without_root() {
        return;
    }
    let mut view = View::new(|lower| {
        sh(lower, "mknod null c 1 3");
    });
    sh(&view.root(), "mknod zero c 1 5; mknod odd b 259 74565; echo gone > null");
    for _ in 0..2 {
        let number = |name| {
            let device = fs::metadata(view.path(name)).unwrap().rdev();
            (rustix::fs::major(device), rustix::fs::minor(device))
        };
        assert_eq!((number("null"), number("zero"), number("odd")), ((1, 3), (1, 5), (259, 74565)));
        assert_eq!(sh(&view.root(), "head -c 3 zero | od -An -tx1"), " 00 00 00\n");
        view.remount();
    }
}
