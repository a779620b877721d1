//! The kernel's overlayfs as a peer: each reads what the other wrote. Needs root.

use std::path::{Path, PathBuf};

use mica::testing::conformance::name;
use mica::tree::{
    Attr, CopyUp, Data, Errno, Exchange, Leave, Lower as _, NewKind, NewNode, NodeId, Origin,
    Place, Renamed, Result, Seek, SyncMode, Upper,
};
use mica::upper::{DotWh, FdCache, LowerDir, MarkFamily, UpperDir, UpperOptions};

use super::fixture::{Dirs, said, shell, walk};

/// A mount of overlayfs; unmounted when dropped.
struct Overlay(PathBuf);

impl Overlay {
    fn new(lower: &Path, upper: &Path, work: &Path, at: &Path, more: &str) -> Self {
        std::fs::create_dir_all(at).expect("mount point");
        let (lower, upper, work) = (lower.display(), upper.display(), work.display());
        let options = format!("lowerdir={lower},upperdir={upper},workdir={work}{more}");
        shell(&format!("mount -t overlay overlay -o {options} {}", at.display()));
        Self(at.to_owned())
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        shell(&format!("umount {}", self.0.display()));
    }
}

fn new(kind: NewKind<'_>) -> NewNode<'_> {
    NewNode { kind, mode: 0o755, uid: 0, gid: 0, xattrs: &[] }
}

fn make(upper: &dyn Upper, dir: NodeId, base: &str, kind: NewKind<'_>) -> NodeId {
    let node = upper.make(dir, &name(base), &new(kind)).expect(base).id;
    upper.hold(node, dir, &name(base));
    node
}

/// A lower layer of the kernel's, as files on disk.
fn make_lower(path: &Path) {
    shell(&format!(
        "mkdir -p {0} && cd {0} && mkdir -p keep gone opaque/inner merged/deep && echo 1 > keep/a && \
         echo 2 > gone/b && echo 3 > opaque/c && echo 4 > merged/d && echo 5 > merged/e && \
         echo 6 > top && ln top top-link && ln -s top link",
        path.display()
    ));
}

fn kernel_reads(family: MarkFamily, mount_options: &str) {
    let dirs = Dirs::new(UpperOptions { family, ..UpperOptions::default() });
    let base = dirs.path();
    make_lower(&base.join("lower"));
    let (path, work) = dirs.pair();
    let upper = UpperDir::open(&path, &work, &dirs.options).expect("open");
    let root = upper.root().expect("root").id;
    // What the union would do for: rm -r gone; rm top link; rm -r opaque; mkdir opaque;
    // touch opaque/new; rm merged/d; mv merged/e merged/f; mkdir merged/gone-dir; rmdir it.
    for base in ["gone", "top", "link"] {
        upper.remove(root, &name(base), Leave::Whiteout).expect(base);
    }
    let opaque = make(&upper, root, "opaque", NewKind::Directory { opaque: true });
    make(&upper, opaque, "new", NewKind::File);
    let merged = make(&upper, root, "merged", NewKind::Directory { opaque: false });
    upper.remove(merged, &name("d"), Leave::Whiteout).expect("d");
    let e = make(&upper, merged, "e", NewKind::File);
    upper.write_at(e, 0, b"moved").expect("write_at");
    upper
        .rename(&Renamed {
            from_dir: merged,
            from: &name("e"),
            to_dir: merged,
            to: &name("f"),
            exchange: Exchange::No(Leave::Whiteout),
            opaque: false,
        })
        .expect("rename");
    let deep = make(&upper, merged, "deep", NewKind::Directory { opaque: false });
    upper.remove(deep, &name("nothing"), Leave::Whiteout).expect("nothing");
    upper.remove(merged, &name("deep"), Leave::Whiteout).expect("deep");
    drop(upper);
    let at = base.join("mnt");
    let seen = {
        let _mount = Overlay::new(&base.join("lower"), &path, &work, &at, mount_options);
        shell(&format!("cd {} && find . | sort && cat merged/f top-link", at.display()))
    };
    let expected = "./keep ./keep/a ./merged ./merged/f ./opaque ./opaque/new ./top-link";
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines.join(" "), format!(". {expected} moved6"));
    // The kernel has used the work directory in its own way; it is still ours.
    UpperDir::open(&path, &work, &dirs.options).expect("open after the kernel");
}

#[test]
fn the_kernel_reads_our_whiteouts_and_opaque_directories() {
    kernel_reads(MarkFamily::Auto, "");
}

#[test]
fn the_kernel_reads_our_marks_of_users() {
    kernel_reads(MarkFamily::User, ",userxattr");
}

#[test]
fn the_kernel_mounts_with_its_own_index_beside_ours() {
    kernel_reads(MarkFamily::Auto, ",index=on");
}

fn reads_the_kernel(mount_options: &str, more: &str) {
    let dirs = Dirs::new(UpperOptions::default());
    let base = dirs.path();
    make_lower(&base.join("lower"));
    let (path, work) = dirs.pair();
    {
        let at = base.join("mnt");
        let _mount = Overlay::new(&base.join("lower"), &path, &work, &at, mount_options);
        shell(&format!(
            "cd {} && rm -r gone top link && rm -r opaque && mkdir opaque && touch opaque/new && \
             rm merged/d && mv merged/e merged/f && rmdir merged/deep && chmod 600 keep/a && {more}",
            at.display()
        ));
    }
    let lower = LowerDir::open(&path, DotWh::Marks, &FdCache::default()).expect("open");
    let mut lines = Vec::new();
    said(&lower, lower.root().expect("root").id, "", &mut lines);
    let expected = "!/gone /keep /keep/a !/link /merged !/merged/d !/merged/deep !/merged/e \
                    /merged/f /opaque* /opaque/new !/top";
    assert_eq!(lines.join(" "), expected);
    let upper = UpperDir::open(&path, &work, &dirs.options).expect("open");
    let mut again = Vec::new();
    said(&upper, upper.root().expect("root").id, "", &mut again);
    assert_eq!(again, lines);
}

#[test]
fn we_read_what_the_kernel_wrote() {
    reads_the_kernel("", "true");
}

#[test]
fn we_read_what_the_kernel_wrote_with_marks_of_users() {
    // An attribute of a user's that looks like a mark, and that the kernel escapes.
    reads_the_kernel(",userxattr", "setfattr -n user.overlay.opaque -v y keep");
}

#[test]
fn files_whose_bytes_are_elsewhere_are_refused() {
    let dirs = Dirs::new(UpperOptions::default());
    let base = dirs.path();
    make_lower(&base.join("lower"));
    let (path, work) = dirs.pair();
    {
        let at = base.join("mnt");
        let options = ",metacopy=on,redirect_dir=on";
        let _mount = Overlay::new(&base.join("lower"), &path, &work, &at, options);
        shell(&format!("cd {} && chmod 600 keep/a && mv merged moved", at.display()));
    }
    let lower = LowerDir::open(&path, DotWh::Plain, &FdCache::default()).expect("open");
    let keep = walk(&lower, b"keep");
    let error = lower.slot(keep, &name("a")).expect_err("metacopy");
    assert!(error.to_string().contains("metacopy=on"), "{error}");
    let error = lower.slot(lower.root().expect("root").id, &name("moved")).expect_err("redirect");
    assert!(error.to_string().contains("redirect_dir=on"), "{error}");
}

/// A small filesystem in a file; unmounted when dropped.
struct Small(PathBuf);

impl Small {
    fn new(base: &Path) -> Self {
        let at = base.join("small");
        let (image, at_text) = (base.join("image"), at.display());
        shell(&format!(
            "mkdir {at_text} && truncate -s 4M {0} && mkfs.ext4 -q -m 0 -b 1024 {0} && \
             mount -o loop {0} {at_text} && mkdir {at_text}/upper {at_text}/work",
            image.display()
        ));
        Self(at)
    }

    fn open(&self) -> UpperDir {
        let options = UpperOptions::default();
        UpperDir::open(&self.0.join("upper"), &self.0.join("work"), &options).expect("open")
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        shell(&format!("umount {}", self.0.display()));
    }
}

#[test]
fn with_no_space_left_names_can_be_removed_and_failures_change_nothing() {
    let base = tempfile::tempdir().expect("tempdir");
    let small = Small::new(base.path());
    let upper = small.open();
    let root = upper.root().expect("root").id;
    let dir = make(&upper, root, "dir", NewKind::Directory { opaque: false });
    for base in ["a", "b"] {
        make(&upper, dir, base, NewKind::File);
    }
    let file = make(&upper, root, "file", NewKind::File);
    // To the last block, also of what the filesystem had put aside.
    for _ in 0..2 {
        let end = upper.attr(file).expect("attr").size.next_multiple_of(1024);
        let full = (0..).find_map(|n| upper.write_at(file, end + n * 1024, &[7; 1024]).err());
        assert_eq!(full.expect("an end").errno(), Errno::ENOSPC);
        upper.sync(file, SyncMode::All).expect("sync");
    }
    let mut before = Vec::new();
    said(&upper, root, "", &mut before);
    let attr = upper.attr(file).expect("attr");
    let from = CopyUp {
        attr: &Attr { size: 1 << 20, ..attr },
        xattrs: &[],
        target: b"",
        data: Some(&Ones),
        keep: 1 << 20,
        origin: Origin { layer: upper.id(), node: root },
        index: true,
    };
    let place = Place::Entry { dir: root, name: &name("up") };
    assert_eq!(upper.copy_up(place, &from).expect_err("copy_up").errno(), Errno::ENOSPC);
    let result = upper.make(root, &name("new"), &new(NewKind::Directory { opaque: false }));
    assert_eq!(result.expect_err("make").errno(), Errno::ENOSPC);
    let mut after = Vec::new();
    said(&upper, root, "", &mut after);
    assert_eq!(after, before);
    assert_eq!(upper.indexed(from.origin).expect("indexed"), None);
    upper.remove(dir, &name("a"), Leave::Whiteout).expect("a name of the upper layer");
    upper.remove(dir, &name("lower"), Leave::Whiteout).expect("a name of a lower layer");
    upper.remove(dir, &name("b"), Leave::Nothing).expect("without a whiteout");
    upper.remove(root, &name("dir"), Leave::Whiteout).expect("a directory of whiteouts");
    upper.remove(root, &name("file"), Leave::Whiteout).expect("the large file");
    upper.forget(file, 1);
    make(&upper, root, "dir", NewKind::Directory { opaque: true });
    drop(upper);
    let mut last = Vec::new();
    let upper = small.open();
    said(&upper, root, "", &mut last);
    assert_eq!(last, ["/dir*", "!/file"]);
}

/// Bytes without end.
struct Ones;

impl Data for Ones {
    fn read_at(&self, _: u64, buf: &mut [u8]) -> Result<usize> {
        buf.fill(1);
        Ok(buf.len())
    }

    fn seek(&self, offset: u64, seek: Seek) -> Result<u64> {
        Ok(if seek == Seek::Data { offset } else { u64::MAX })
    }
}
