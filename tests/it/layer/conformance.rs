//! What every layer promises, of layers that are archives.

use std::sync::Arc;

use mica::testing::conformance::{Abilities, Item, What, check_lower};
use mica::testing::tar::{Tar, gzip, zstd};
use mica::tree::Lower;

use super::Built;

/// The archive of `items`. It is built with root's ids where none are given.
fn archive(items: &[Item]) -> Vec<u8> {
    let mut tar = Tar::new();
    for item in items {
        let path = &item.path;
        tar = match &item.what {
            What::Directory { opaque: true } => tar.opaque(path).dir(path),
            What::Directory { opaque: false } => tar.dir(path),
            What::File(bytes) => tar.file(path, bytes),
            What::Symlink(target) => tar.symlink(path, target),
            What::Fifo => tar.fifo(path),
            What::Socket => panic!("archives hold no sockets"),
            What::CharDevice(device) => tar.char_device(path, device.major, device.minor),
            What::BlockDevice(device) => tar.block_device(path, device.major, device.minor),
            What::HardLink(target) => tar.hardlink(path, target),
            What::Whiteout => {
                tar = tar.whiteout(path);
                continue;
            }
        };
        let (uid, gid) = item.owner.unwrap_or_default();
        tar = tar.mode(item.mode.into()).owner(uid.into(), gid.into());
        tar = tar.mtime(item.mtime.secs, item.mtime.nanos);
        for (name, value) in &item.xattrs {
            tar = tar.xattr(name, value);
        }
    }
    tar.bytes()
}

fn check(store: fn(&[u8]) -> Vec<u8>) {
    let build = |items: &[Item]| -> Arc<dyn Lower> {
        Arc::new(Built::new(&store(&archive(items))).open().unwrap())
    };
    check_lower(&build, Abilities { sockets: false, ..Abilities::ALL });
}

#[test]
fn a_plain_archive_keeps_the_promises_of_a_layer() {
    check(<[u8]>::to_vec);
}

#[test]
fn a_gzip_archive_keeps_the_promises_of_a_layer() {
    check(gzip);
}

#[test]
fn a_zstd_archive_keeps_the_promises_of_a_layer() {
    check(zstd);
}
