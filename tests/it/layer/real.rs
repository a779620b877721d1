//! Layers as real programs make them: GNU tar in its three formats, gzip, pigz and zstd; compared
//! with what GNU tar itself unpacks.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink};
use std::path::{Path as FsPath, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use mica::blob::FileBlob;
use mica::layer::{Layer, Limits, SpanCache, build};
use mica::oci::Digest;
use mica::tree::{Kind, Name, Slot};

use super::tree::{Item, Path, all};

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
}

/// A directory with every kind of file that can be made here.
fn make_tree(root: &FsPath) {
    let long = root.join("d".repeat(120)).join("e".repeat(120));
    fs::create_dir_all(&long).unwrap();
    fs::write(long.join("f".repeat(250)), b"deep").unwrap();
    fs::write(root.join("\u{fc} \n\\"), b"odd name").unwrap();
    fs::write(root.join("empty"), b"").unwrap();
    fs::write(root.join("a"), b"linked").unwrap();
    fs::hard_link(root.join("a"), root.join("b")).unwrap();
    symlink("a", root.join("s")).unwrap();
    symlink("t".repeat(300), root.join("long-target")).unwrap();
    run(Command::new("mkfifo").arg(root.join("pipe")));
    let mut sparse = File::create(root.join("sparse")).unwrap();
    for i in 0..40_u64 {
        sparse.seek(SeekFrom::Start(i * 200_000 + 1)).unwrap();
        sparse.write_all(format!("part {i}").as_bytes()).unwrap();
    }
    sparse.set_len(9_000_000).unwrap();
    let times = fs::FileTimes::new()
        .set_modified(std::time::UNIX_EPOCH - std::time::Duration::from_millis(1_500));
    File::create(root.join("old")).unwrap().set_times(times).unwrap();
    run(Command::new("chmod").arg("7751").arg(root.join("empty")));
    // Real programs: a few spans of them.
    run(Command::new("cp").arg("-a").args(["/usr/bin/perl", "/bin/bash"]).arg(root));
    fs::create_dir(root.join("doc")).unwrap();
    run(Command::new("cp").arg("-a").arg("/usr/share/perl5/Debconf/.").arg(root.join("doc")));
}

/// Indexes `archive` and compares it with the directory `unpacked`, in which GNU tar unpacked it.
/// `nanos` says whether the format has times below a second.
fn compare(archive: &FsPath, unpacked: &FsPath, nanos: bool) {
    let dir = tempfile::tempdir().unwrap();
    let summary = build(&mut File::open(archive).unwrap(), dir.path(), &Limits::default());
    let summary = summary.unwrap_or_else(|error| panic!("{}: {error}", archive.display()));
    let blob = Arc::new(FileBlob::open(archive).unwrap());
    let cache = Arc::new(SpanCache::new(SpanCache::DEFAULT));
    let digest = Digest::of(&fs::read(archive).unwrap());
    let layer = Layer::open(digest, summary.diff_id, blob, dir.path(), &cache).unwrap();
    let found = all(&layer);
    let expected = walk(unpacked);
    let (found_names, expected_names) = (found.keys().collect(), expected.keys().collect());
    let difference = |a: &Vec<&Path>, b: &Vec<&Path>| {
        a.iter().find(|name| !b.contains(name)).map(|name| format!("{name:?}"))
    };
    if found_names != expected_names {
        let only = difference(&found_names, &expected_names);
        panic!(
            "only in the layer: {only:?}; only on disk: {:?}",
            difference(&expected_names, &found_names)
        );
    }
    for (path, item) in &found {
        same(item, &expected[path], nanos);
    }
    hard_links(&found, &expected);
}

fn walk(root: &FsPath) -> BTreeMap<Path, PathBuf> {
    let mut all = BTreeMap::from([(Path::new(), root.to_owned())]);
    let mut open = vec![(Path::new(), root.to_owned())];
    while let Some((path, dir)) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            let name = Name::new(entry.file_name().as_bytes()).unwrap();
            let path = [&path[..], &[name]].concat();
            if entry.file_type().unwrap().is_dir() {
                open.push((path.clone(), entry.path()));
            }
            all.insert(path, entry.path());
        }
    }
    all
}

fn same(item: &Item, path: &FsPath, nanos: bool) {
    let meta = path.symlink_metadata().unwrap();
    let (attr, kind) = (item.attr.unwrap(), meta.file_type());
    let what = path.display();
    assert_eq!(u32::from(attr.mode), meta.mode() & 0o7777, "{what}");
    assert_eq!((attr.uid, attr.gid), (meta.uid(), meta.gid()), "{what}");
    assert_eq!(attr.mtime.secs, meta.mtime(), "{what}");
    if nanos {
        assert_eq!(i64::from(attr.mtime.nanos), meta.mtime_nsec(), "{what}");
    }
    match attr.kind {
        Kind::Directory => assert!(kind.is_dir(), "{what}"),
        Kind::Symlink => {
            assert_eq!(item.target, fs::read_link(path).unwrap().as_os_str().as_bytes());
        }
        Kind::File => {
            assert!(kind.is_file(), "{what}");
            assert_eq!(u64::from(attr.nlink), meta.nlink(), "{what}");
            assert!(item.data == fs::read(path).unwrap(), "{what}: the bytes differ");
        }
        Kind::CharDevice => assert!(kind.is_char_device(), "{what}"),
        Kind::BlockDevice => assert!(kind.is_block_device(), "{what}"),
        Kind::Fifo => assert!(kind.is_fifo(), "{what}"),
        Kind::Socket => panic!("{what}: archives hold no sockets"),
    }
}

/// Names of one file on disk are names of one file in the layer, and of different ones, different.
fn hard_links(found: &BTreeMap<Path, Item>, expected: &BTreeMap<Path, PathBuf>) {
    let (mut by_inode, mut by_node) = (BTreeMap::new(), BTreeMap::new());
    for (path, item) in found {
        let Slot::Node(node) = item.slot else { panic!("{path:?} is a whiteout") };
        let inode = expected[path].symlink_metadata().unwrap().ino();
        assert_eq!(*by_inode.entry(inode).or_insert(node.id), node.id, "{path:?}");
        assert_eq!(*by_node.entry(node.id).or_insert(inode), inode, "{path:?}");
    }
}

#[test]
fn what_gnu_tar_packs_in_any_format_is_what_it_unpacks() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    make_tree(&tree);
    for (format, sparse) in [
        ("gnu", "--sparse"),
        ("posix", "--sparse-version=0.0"),
        ("posix", "--sparse-version=0.1"),
        ("posix", "--sparse-version=1.0"),
    ] {
        let (archive, out) = (dir.path().join("archive.tar"), dir.path().join("out"));
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(&tree).args(["--sparse", sparse, "--format", format, "-cf"]);
        run(tar.arg(&archive).arg("."));
        fs::create_dir(&out).unwrap();
        run(Command::new("tar").arg("-C").arg(&out).args(["-xpf"]).arg(&archive));
        compare(&archive, &out, format == "posix");
        fs::remove_dir_all(&out).unwrap();
        fs::remove_file(&archive).unwrap();
    }
}

#[test]
fn what_gzip_pigz_and_zstd_compress_is_read_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    make_tree(&tree);
    let (archive, out) = (dir.path().join("archive.tar"), dir.path().join("out"));
    run(Command::new("tar").arg("-C").arg(&tree).arg("-cSf").arg(&archive).arg("."));
    fs::create_dir(&out).unwrap();
    run(Command::new("tar").arg("-C").arg(&out).args(["-xpf"]).arg(&archive));
    for (program, args) in [
        ("gzip", &["-1"][..]),
        ("gzip", &["-9"]),
        ("pigz", &["-p", "2"]),
        ("zstd", &["-q", "-3"]),
        ("zstd", &["-q", "--fast=1", "--no-check"]),
    ] {
        let packed = dir.path().join("packed");
        let command = &mut Command::new(program);
        let output = File::create(&packed).unwrap();
        let command = command.args(args).arg("-c").arg(&archive).stdout(output);
        assert!(command.status().unwrap().success(), "{program}");
        compare(&packed, &out, false);
    }
}
