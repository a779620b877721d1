//! The kernel's overlayfs, beside ours: the sequences of the model on both, and each on the upper
//! layer that the other has left. The oracle promises both the same answers: also `EXDEV` for a
//! directory of a lower layer that is to move, and inode numbers that stay as they are while one
//! of the two is at work. What the kernel does otherwise is said at [`of_kernel`]
//! and at [`without_links`].

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::model::above::Above;
use crate::model::layers::{Layer, What, layers, stack};
use crate::model::mounted::{Engine, Mounted, Ours};
use crate::model::op::{Op, ops};
use crate::model::oracle::Oracle;
use crate::model::view::Case;
use crate::model::{disk, random};
use proptest::strategy::Strategy;
use tempfile::TempDir;

/// A view by the kernel's overlayfs.
#[derive(Debug)]
struct Overlay {
    lowers: TempDir,
    /// Bottom first.
    levels: usize,
    upper: Above,
    mount: Option<Mount>,
}

/// A mount, taken away when dropped.
#[derive(Debug)]
struct Mount(PathBuf);

impl Overlay {
    fn new(layers: &[Layer], stack: &[usize], upper: Above) -> Self {
        let lowers = tempfile::tempdir().unwrap();
        let mut below = Oracle::new([], false);
        for (level, &layer) in stack.iter().enumerate() {
            let path = lowers.path().join(level.to_string());
            std::fs::create_dir(&path).unwrap();
            disk::write(&layers[layer], &below, &path);
            below.unpack(&layers[layer]);
        }
        if stack.is_empty() {
            // The kernel wants a lower layer.
            std::fs::create_dir(lowers.path().join("0")).unwrap();
        }
        Self { lowers, levels: stack.len().max(1), upper, mount: None }
    }

    fn into_upper(self) -> Above {
        self.upper
    }
}

impl Engine for Overlay {
    fn mount(&mut self, at: &Path) {
        let Above::Disk(upper) = &self.upper else { panic!("the kernel writes to disk only") };
        let upper = upper.path();
        let level = |level: usize| self.lowers.path().join(level.to_string());
        let lowers: Vec<_> =
            (0..self.levels).rev().map(|n| level(n).display().to_string()).collect();
        let options = format!(
            "lowerdir={},upperdir={},workdir={},index=on,redirect_dir=off,metacopy=off",
            lowers.join(":"),
            upper.join("upper").display(),
            upper.join("work").display()
        );
        // What was unmounted here lives on in mount namespaces that others made meanwhile, and
        // while it does, the kernel takes its upper layer for busy.
        let patience = Instant::now() + Duration::from_secs(20);
        let mut command = Command::new("mount");
        command.args(["-t", "overlay", "overlay", "-o", &options]).arg(at);
        while !command.output().unwrap().status.success() {
            assert!(Instant::now() < patience, "{command:?}: {:?}", command.output());
            std::thread::sleep(Duration::from_millis(50));
        }
        self.mount = Some(Mount(at.to_owned()));
    }

    fn unmount(&mut self) {
        drop(self.mount.take().expect("mounted"));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A test that has failed may hold files open.
        let lazy: &[&str] = if std::thread::panicking() { &["--lazy"] } else { &[] };
        run(Command::new("umount").args(lazy).arg(&self.0));
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("the command is installed");
    assert!(output.status.success(), "{command:?}: {output:?}");
}

fn is_not_root() -> bool {
    let not = mica::sys::process::effective_ids().0 != 0;
    if not {
        println!("skipped: needs root, to mount overlayfs");
    }
    not
}

type Given = (Vec<Layer>, Vec<usize>, Vec<Op>, Vec<Op>);

/// Random cases, with operations for before and after something.
fn check(cases: u32, layers: impl Strategy<Value = Vec<Layer>>, case: impl Fn(&Given)) {
    if is_not_root() {
        return;
    }
    random(cases, &(layers, stack(), ops(20), ops(8)), |given| case(&given));
}

/// Layers in which no file has several names. Once such a file is copied up, its other names lead
/// to it through an index, and either has its own.
fn without_links() -> impl Strategy<Value = Vec<Layer>> {
    layers().prop_map(|mut layers| {
        for layer in &mut layers {
            layer.items.retain(|_, item| !matches!(item.what, What::HardLink(_)));
        }
        layers
    })
}

/// A case on the kernel's overlayfs. How many links a directory has there is what the layer says
/// or 1, and a lower file that is deleted while open keeps its last link.
fn of_kernel(oracle: Oracle) -> Case {
    let mut case = Case::new(oracle);
    case.all_links = false;
    case
}

fn oracle((layers, stack, ..): &Given) -> Oracle {
    Oracle::new(stack.iter().map(|&at| &layers[at]), false)
}

#[test]
fn the_kernels_overlayfs_agrees_with_the_oracle_that_ours_agrees_with() {
    check(60, layers(), |given| {
        let (layers, stack, ops, _) = given;
        let mut mounted = Mounted::new(Overlay::new(layers, stack, Above::on_disk()));
        of_kernel(oracle(given)).run(&mut mounted, ops);
        mounted.end();
    });
}

#[test]
fn ours_shows_what_the_kernel_left_and_goes_on() {
    check(40, without_links(), |given| {
        let (layers, stack, first, second) = given;
        let mut kernel = Mounted::new(Overlay::new(layers, stack, Above::on_disk()));
        let mut before = of_kernel(oracle(given));
        before.run(&mut kernel, first);
        let mut ours = Mounted::new(Ours::new(layers, stack, kernel.end().into_upper()));
        Case::new(before.oracle).run(&mut ours, second);
        ours.end();
    });
}

#[test]
fn the_kernel_shows_what_ours_left_and_goes_on() {
    check(40, without_links(), |given| {
        let (layers, stack, first, second) = given;
        let mut ours = Mounted::new(Ours::new(layers, stack, Above::on_disk()));
        let mut before = Case::new(oracle(given));
        before.run(&mut ours, first);
        let upper = ours.end().into_upper();
        let mut kernel = Mounted::new(Overlay::new(layers, stack, upper));
        of_kernel(before.oracle).run(&mut kernel, second);
        kernel.end();
    });
}
