//! The kernel's overlayfs as a peer: each reads what the other wrote. Needs root.

use std::path::{Path, PathBuf};

use mica::testing::conformance::name;
use mica::tree::{Exchange, Leave, Lower as _, NewKind, NewNode, NodeId, Renamed, Upper};
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
