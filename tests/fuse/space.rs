//! Holes, allocation, copies within the filesystem, and its size.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use rustix::fs::{FallocateFlags, SeekFrom, copy_file_range, fallocate, seek};

use crate::view::View;

const MIB: u64 = 1024 * 1024;

/// A file of 4 MiB with data at 1 MiB and at 3 MiB only.
fn sparse(path: &std::path::Path) {
    let file = File::create(path).unwrap();
    file.set_len(4 * MIB).unwrap();
    for at in [MIB, 3 * MIB] {
        file.write_all_at(&[b'd'; 4096], at).unwrap();
    }
}

#[test]
fn holes_are_found_and_survive_copy_up() {
    let view = View::new(|lower| sparse(&lower.join("file")));
    let file = File::options().read(true).write(true).open(view.path("file")).unwrap();
    for round in 0..2 {
        assert_eq!(seek(&file, SeekFrom::Data(0)), Ok(MIB), "round {round}");
        assert_eq!(seek(&file, SeekFrom::Hole(MIB)), Ok(MIB + 4096), "round {round}");
        assert_eq!(seek(&file, SeekFrom::Data(MIB + 4096)), Ok(3 * MIB), "round {round}");
        assert_eq!(seek(&file, SeekFrom::Hole(3 * MIB)), Ok(3 * MIB + 4096));
        assert_eq!(seek(&file, SeekFrom::Data(4 * MIB)), Err(rustix::io::Errno::NXIO));
        assert!(file.metadata().unwrap().blocks() <= 32, "{:?}", file.metadata());
        file.write_all_at(b"x", MIB).unwrap();
    }
}

#[test]
fn a_hole_is_punched_and_space_is_allocated() {
    let mut view = View::new(|lower| fs::write(lower.join("file"), vec![b'a'; 65_536]).unwrap());
    let file = File::options().write(true).open(view.path("file")).unwrap();
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&file, punch, 4096, 8192).unwrap();
    fallocate(&file, FallocateFlags::empty(), 65_536, 65_536).unwrap();
    fallocate(&file, FallocateFlags::KEEP_SIZE, 131_072, 65_536).unwrap();
    let collapse = fallocate(&file, FallocateFlags::COLLAPSE_RANGE, 0, 4096);
    assert_eq!(collapse, Err(rustix::io::Errno::OPNOTSUPP));
    drop(file);
    for _ in 0..2 {
        let data = fs::read(view.path("file")).unwrap();
        assert_eq!(data.len(), 131_072);
        assert!(data[4096..12_288].iter().all(|&b| b == 0));
        assert!(data[12_288..65_536].iter().all(|&b| b == b'a'));
        view.remount();
    }
}

#[test]
fn a_range_is_copied_from_a_lower_and_an_upper_file() {
    let view = View::new(|lower| fs::write(lower.join("below"), vec![b'b'; 100_000]).unwrap());
    fs::write(view.path("above"), vec![b'a'; 100_000]).unwrap();
    let to = File::create(view.path("to")).unwrap();
    for (name, at) in [("below", 0), ("above", 50_000)] {
        let from = File::open(view.path(name)).unwrap();
        let (mut offset, mut target, mut left) = (10, at, 50_000);
        while left > 0 {
            let n = copy_file_range(&from, Some(&mut offset), &to, Some(&mut target), left);
            let n = n.unwrap();
            assert!(n > 0, "{name}: {left} bytes are missing");
            left -= n;
        }
    }
    assert_eq!(fs::read(view.path("to")).unwrap(), [[b'b'; 50_000], [b'a'; 50_000]].concat());
}

#[test]
fn the_size_of_the_filesystem_is_that_of_the_upper_layer() {
    let view = View::new(|_| {});
    let seen = rustix::fs::statvfs(view.root().as_path()).unwrap();
    let backing = rustix::fs::statvfs(view.root().parent().unwrap()).unwrap();
    assert_eq!(seen.f_namemax, 255);
    assert_eq!(
        (seen.f_blocks * seen.f_frsize, seen.f_files),
        (backing.f_blocks * backing.f_frsize, backing.f_files)
    );
    // Programs tell by the type that it is FUSE.
    assert_eq!(rustix::fs::statfs(view.root().as_path()).unwrap().f_type, 0x6573_5546);
}

#[test]
fn a_file_without_a_name_is_not_supported_and_an_unknown_ioctl_neither() {
    let view = View::new(|lower| fs::write(lower.join("file"), b"").unwrap());
    let made = rustix::fs::open(
        view.root().as_path(),
        rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::WRONLY,
        rustix::fs::Mode::RUSR,
    );
    assert_eq!(made.map(drop), Err(rustix::io::Errno::OPNOTSUPP));
    let file = File::open(view.path("file")).unwrap();
    assert_eq!(rustix::fs::ioctl_getflags(&file), Err(rustix::io::Errno::NOTTY));
}
