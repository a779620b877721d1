//! Stored bytes and index files that changed: an error or the truth, never anything else.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::PathBuf;

use mica::layer::{DATA, Error, INDEX, SEEK};
use mica::testing::tar::{Tar, gzip, zstd};
use mica::tree::{Errno, Lower as _, NodeId};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree as _;

use super::hostile::noise;
use super::tree::{self, Item, Path, all, lookup};
use super::{Built, layer, node, read};

fn archive() -> Tar {
    let mut tar = Tar::new().dir("d").xattr("user.k", "v");
    for i in 0..200 {
        let path = format!("d/file-{i}");
        tar = tar.file(&path, noise(i * 30)).hardlink(format!("d/link-{i}"), &path);
    }
    let text: Vec<u8> = noise(3 << 20).into_iter().map(|byte| byte % 4).collect();
    tar.file("large", text).symlink("s", "target").whiteout("gone").opaque("d")
}

/// A layer, what is in it, and its files.
struct Subject {
    built: Built,
    good: BTreeMap<Path, Item>,
}

impl Subject {
    fn new(stored: &[u8]) -> Self {
        let built = Built::new(stored);
        let good = all(&built.open().unwrap());
        Self { built, good }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.built.dir.path().join(file)
    }

    /// Changes the byte at `at` of `file`, asks everything, and puts the byte back. Returns
    /// whether anything was refused.
    fn flip(&self, file: &str, at: Index, mask: u8) -> bool {
        let path = self.path(file);
        let whole = std::fs::read(&path).unwrap();
        let mut bad = whole.clone();
        bad[at.index(whole.len())] ^= mask;
        std::fs::write(&path, &bad).unwrap();
        let refused = self.ask();
        std::fs::write(&path, &whole).unwrap();
        refused
    }

    fn ask(&self) -> bool {
        let Ok(layer) = self.built.open() else { return true };
        let mut refused = false;
        for (path, good) in &self.good {
            match lookup(&layer, path).and_then(|slot| tree::item(&layer, slot)) {
                Ok(item) => assert!(item == *good, "{path:?} is other than it was"),
                Err(error) => {
                    assert_eq!(error.errno(), Errno::EIO, "{error}");
                    refused = true;
                }
            }
        }
        refused
    }
}

fn check_flips(stored: &[u8], file: &str, cases: u32) {
    let subject = Subject::new(stored);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let mut refused = 0;
    for _ in 0..cases {
        let at = any::<Index>().new_tree(&mut runner).unwrap().current();
        let mask = (1..=255_u8).new_tree(&mut runner).unwrap().current();
        refused += u32::from(subject.flip(file, at, mask));
    }
    assert!(refused > cases / 2, "only {refused} of {cases} were found: the test asks too little");
    assert!(!subject.ask(), "put back, all is well");
}

#[test]
fn a_flipped_byte_of_the_stored_bytes_is_an_error_never_wrong_data() {
    check_flips(&archive().bytes(), "blob", 10);
    check_flips(&archive().gzip(), "blob", 20);
    check_flips(&archive().zstd(), SEEK, 10);
}

#[test]
fn a_flipped_byte_of_the_index_is_an_error_never_wrong_data() {
    check_flips(&archive().gzip(), INDEX, 40);
}

#[test]
fn a_flipped_byte_of_the_seek_points_is_an_error_never_wrong_data() {
    check_flips(&archive().gzip(), SEEK, 40);
}

/// One frame that is larger than a span may be.
fn one_frame() -> Vec<u8> {
    let more = (0..6).fold(archive(), |tar, i| tar.file(format!("more-{i}"), noise(1 << 20)));
    more.zstd()
}

#[test]
fn a_flipped_byte_of_what_is_kept_beside_is_an_error_never_wrong_data() {
    check_flips(&one_frame(), DATA, 10);
}

#[test]
fn only_a_layer_that_cannot_be_entered_in_the_middle_has_a_file_beside() {
    let small = archive();
    for (stored, beside) in
        [(small.bytes(), false), (small.gzip(), false), (small.zstd(), false), (one_frame(), true)]
    {
        assert_eq!(Built::new(&stored).dir.path().join(DATA).exists(), beside);
    }
}

#[test]
fn a_very_long_deflate_block_is_read_as_any_other() {
    // 65,535 bytes are the most of a stored block, but an empty window and one block of zeros
    // goes on for as long as the symbols last: 4 MiB and more.
    let zeros = vec![0; 24 << 20];
    let layer = layer(&Tar::new().file("z", &zeros).file("after", b"x").gzip());
    assert!(read(&layer, "z") == zeros);
    assert_eq!(read(&layer, "after"), b"x");
}

#[test]
fn many_small_members_and_empty_ones_are_read_across() {
    let archive = Tar::new().file("f", noise(3_000_000)).bytes();
    let empty = gzip(b"");
    let mut stored = empty.repeat(1000);
    for piece in archive.chunks(10_007) {
        stored.extend(gzip(piece));
        stored.extend(&empty);
    }
    stored.extend([0; 100]);
    let layer = layer(&stored);
    assert!(read(&layer, "f") == noise(3_000_000));
}

/// Gives one byte at a time.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let room = buf.len().min(1);
        self.0.read(&mut buf[..room])
    }
}

#[test]
fn a_layer_that_comes_byte_by_byte_is_the_same_layer() {
    let tar = Tar::new().dir("d").file("d/f", noise(700_000)).file("g", vec![7; 700_000]);
    let archive = tar.bytes();
    let halves: Vec<&[u8]> = archive.chunks(archive.len() / 2 + 1).collect();
    for stored in [
        archive.clone(),
        halves.iter().flat_map(|half| gzip(half)).collect(),
        halves.iter().flat_map(|half| zstd(half)).collect(),
    ] {
        let at_once = Built::new(&stored);
        let trickled = Built::from_source(&mut Trickle(&stored), &stored);
        assert_eq!(trickled.summary, at_once.summary);
        let index = |built: &Built| std::fs::read(built.dir.path().join(INDEX)).unwrap();
        assert!(index(&trickled) == index(&at_once));
        assert!(all(&trickled.open().unwrap()) == all(&at_once.open().unwrap()));
    }
}

#[test]
fn an_index_of_another_layer_is_refused() {
    let one = Built::new(&Tar::new().file("f", b"1").gzip());
    let other = Built::new(&Tar::new().file("f", b"2").gzip());
    for file in [INDEX, SEEK] {
        let keep = std::fs::read(one.dir.path().join(file)).unwrap();
        std::fs::copy(other.dir.path().join(file), one.dir.path().join(file)).unwrap();
        let error = one.open().unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
        std::fs::write(one.dir.path().join(file), keep).unwrap();
    }
    assert!(one.open().is_ok());
}

#[test]
fn stored_bytes_of_another_length_are_refused_when_the_layer_is_opened() {
    let built = Built::new(&Tar::new().file("f", b"1").gzip());
    let blob = built.dir.path().join("blob");
    let mut bytes = std::fs::read(&blob).unwrap();
    bytes.push(0);
    std::fs::write(&blob, bytes).unwrap();
    assert!(built.open().is_err());
}

#[test]
fn a_layer_can_be_asked_by_many_threads_at_once() {
    let subject = Subject::new(&archive().gzip());
    let layer = subject.built.open().unwrap();
    let large = node(&layer, "large").id;
    let NodeId(_) = large;
    let size = layer.attr(large).unwrap().size;
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            let (layer, good) = (&layer, &subject.good);
            scope.spawn(move || {
                let whole = good.values().find(|item| item.data.len() as u64 == size).unwrap();
                for i in 0..50 {
                    let at = (thread * 7919 + i * 104_729) % (size - 5000);
                    let mut buf = [0; 5000];
                    layer.read_at(large, at, &mut buf).unwrap();
                    let from = usize::try_from(at).unwrap();
                    assert!(buf[..] == whole.data[from..from + 5000], "{at}");
                }
            });
        }
    });
}
