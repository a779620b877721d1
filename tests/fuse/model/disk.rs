//! Layers of the model as directories, in the form of the kernel's overlayfs.

use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

use mica::tree::Device;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, makedev, mknodat, utimensat,
};

use super::layers::{Item, Layer, Path, TARGET, What};
use super::oracle::Oracle;

/// Writes a layer into an empty directory. A whiteout that hides nothing of the layers below is
/// left out: no tool makes one, and the kernel would list it as a file.
pub(crate) fn write(layer: &Layer, below: &Oracle, to: &std::path::Path) {
    let at = |path: &Path| to.join(path.iter().collect::<std::path::PathBuf>());
    let is_link = |item: &Item| matches!(item.what, What::HardLink(_));
    for links in [false, true] {
        for (path, item) in layer.items.iter().filter(|(_, item)| is_link(item) == links) {
            if item.what != What::Whiteout || hides(layer, below, path) {
                make(&at(path), item, to);
            }
        }
    }
    // Last and from the end, since making what is in a directory changes its time.
    for (path, item) in layer.items.iter().rev() {
        if !matches!(item.what, What::HardLink(_) | What::Whiteout) {
            attributes(&at(path), item);
        }
    }
}

fn hides(layer: &Layer, below: &Oracle, path: &Path) -> bool {
    let opaque = What::Directory { opaque: true };
    let hidden = (1..path.len())
        .any(|len| layer.items.get(&path[..len]).is_some_and(|dir| dir.what == opaque));
    !hidden && below.find(path).is_ok()
}

fn make(at: &std::path::Path, item: &Item, layer: &std::path::Path) {
    let node = |kind, Device { major, minor }| {
        mknodat(CWD, at, kind, Mode::empty(), makedev(major, minor)).expect("mknod");
    };
    match &item.what {
        What::Directory { opaque } => {
            fs::create_dir(at).expect("mkdir");
            if *opaque {
                let name = "trusted.overlay.opaque";
                rustix::fs::setxattr(at, name, b"y", XattrFlags::empty()).expect(name);
            }
        }
        What::File(bytes) => fs::write(at, bytes).expect("write"),
        What::Symlink => symlink(std::ffi::OsStr::from_bytes(TARGET), at).expect("symlink"),
        What::Fifo => node(FileType::Fifo, Device::default()),
        What::Socket => node(FileType::Socket, Device::default()),
        What::CharDevice(device) => node(FileType::CharacterDevice, *device),
        What::BlockDevice(device) => node(FileType::BlockDevice, *device),
        What::Whiteout => node(FileType::CharacterDevice, Device::default()),
        What::HardLink(to) => {
            let to = layer.join(to.iter().collect::<std::path::PathBuf>());
            fs::hard_link(to, at).expect("link");
        }
    }
}

fn attributes(at: &std::path::Path, item: &Item) {
    for (name, value) in &item.xattrs {
        rustix::fs::setxattr(at, *name, value, XattrFlags::empty()).expect(name);
    }
    if item.what == What::Symlink {
        std::os::unix::fs::lchown(at, Some(item.owner.0), Some(item.owner.1)).expect("lchown");
    } else {
        chown(at, Some(item.owner.0), Some(item.owner.1)).expect("chown");
        fs::set_permissions(at, Permissions::from_mode(item.mode.into())).expect("chmod");
    }
    let to = Timespec { tv_sec: item.time.secs, tv_nsec: item.time.nanos.into() };
    let times = Timestamps { last_access: to, last_modification: to };
    utimensat(CWD, at, &times, AtFlags::SYMLINK_NOFOLLOW).expect("utimensat");
}
