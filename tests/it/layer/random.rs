//! Random layers, through every compression: what went in comes out.

use mica::layer::Compression;
use mica::testing::tar::{Tar, gzip, zstd};
use mica::tree::{Kind, Lower as _, Name, Slot, Time, Xattr};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::Index;

use super::hostile::noise;
use super::tree::{Item, lookup};
use super::{Built, tree};

/// What a name stands for.
#[derive(Debug, Clone)]
enum What {
    Dir,
    /// Length, and of how many different bytes, so that some compress well.
    File(usize, u8),
    Symlink(Vec<u8>),
    Char(u32, u32),
    Fifo,
    Whiteout,
}

#[derive(Debug, Clone)]
struct Made {
    what: What,
    mode: u16,
    uid: u32,
    gid: u32,
    mtime: Time,
    xattrs: Vec<Xattr>,
}

/// How the archive is stored.
#[derive(Debug, Clone)]
enum Stored {
    Plain,
    Gzip(Vec<Index>),
    Zstd(Vec<Index>),
}

fn a_name() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![b'a'..=b'e', 1..=255_u8].prop_map(|b| if b == b'/' { b'x' } else { b });
    let length = prop_oneof![9 => 1..20_usize, 1 => 200..=251_usize];
    let names = length.prop_flat_map(move |len| vec(byte.clone(), len));
    names.prop_filter("not a name", |name| Name::new(name).is_ok() && !name.starts_with(b".wh."))
}

fn what() -> impl Strategy<Value = What> {
    let target = vec(1..=255_u8, 1..200);
    prop_oneof![
        3 => Just(What::Dir),
        6 => (0..20_000_usize, 1..=255_u8).prop_map(|(len, kinds)| What::File(len, kinds)),
        1 => (0..3_000_000_usize, 1..=255_u8).prop_map(|(len, kinds)| What::File(len, kinds)),
        1 => target.prop_map(What::Symlink),
        1 => (0..=0o7_777_777_u32, 0..=0o7_777_777_u32).prop_map(|(a, b)| What::Char(a, b)),
        1 => Just(What::Fifo),
        1 => Just(What::Whiteout),
    ]
}

fn made() -> impl Strategy<Value = Made> {
    let nanos = prop_oneof![Just(0), 0..1_000_000_000_u32];
    let time = (-5_000_000_000..5_000_000_000_i64, nanos);
    let id = || prop_oneof![0..70_000_u32, 0..u32::MAX];
    let xattr = (vec(b'a'..=b'z', 1..20), vec(any::<u8>(), 0..100));
    let xattrs = prop_oneof![3 => Just(Vec::new()), 1 => vec(xattr, 1..4)];
    (what(), 0..=0o7777_u16, id(), id(), time, xattrs).prop_map(
        |(what, mode, uid, gid, (secs, nanos), xattrs)| {
            let mtime = Time { secs, nanos };
            let mut set: Vec<Xattr> = Vec::new();
            for (name, value) in xattrs {
                let name: Box<[u8]> = [b"user.", &name[..]].concat().into();
                if !set.iter().any(|(known, _)| *known == name) {
                    set.push((name, value.into()));
                }
            }
            Made { what, mode, uid, gid, mtime, xattrs: set }
        },
    )
}

fn stored() -> impl Strategy<Value = Stored> {
    let cuts = || prop_oneof![Just(Vec::new()), vec(any::<Index>(), 1..6)];
    prop_oneof![Just(Stored::Plain), cuts().prop_map(Stored::Gzip), cuts().prop_map(Stored::Zstd),]
}

fn content(len: usize, kinds: u8) -> Vec<u8> {
    noise(len).into_iter().map(|byte| byte % kinds).collect()
}

impl Made {
    fn write(&self, tar: Tar, path: &[u8]) -> Tar {
        let tar = match &self.what {
            What::Dir => tar.dir(path),
            What::File(len, kinds) => tar.file(path, content(*len, *kinds)),
            What::Symlink(target) => tar.symlink(path, target),
            What::Char(major, minor) => tar.char_device(path, *major, *minor),
            What::Fifo => tar.fifo(path),
            What::Whiteout => return tar.whiteout(path),
        };
        let tar = tar.mode(self.mode.into()).owner(self.uid.into(), self.gid.into());
        let tar = tar.mtime(self.mtime.secs, self.mtime.nanos);
        self.xattrs.iter().fold(tar, |tar, (name, value)| tar.xattr(name, value))
    }

    fn check(&self, item: &Item) {
        let Slot::Node(node) = item.slot else {
            assert!(matches!(self.what, What::Whiteout) && item.slot == Slot::Whiteout);
            return;
        };
        let attr = node.attr;
        assert_eq!((attr.mode, attr.uid, attr.gid), (self.mode, self.uid, self.gid));
        assert_eq!((attr.mtime, attr.nlink, item.attr), (self.mtime, 1, Some(attr)));
        assert_eq!(item.xattrs, self.xattrs);
        let (kind, data) = match &self.what {
            What::Dir => (Kind::Directory, Vec::new()),
            What::File(len, kinds) => (Kind::File, content(*len, *kinds)),
            What::Symlink(target) => {
                assert_eq!(&item.target, target);
                (Kind::Symlink, Vec::new())
            }
            What::Char(major, minor) => {
                assert_eq!((attr.device.major, attr.device.minor), (*major, *minor));
                (Kind::CharDevice, Vec::new())
            }
            What::Fifo => (Kind::Fifo, Vec::new()),
            What::Whiteout => panic!("a whiteout became a file"),
        };
        assert_eq!(attr.kind, kind);
        assert!(item.data == data, "the bytes differ");
    }
}

impl Stored {
    fn store(&self, archive: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain => archive.to_vec(),
            Self::Gzip(cuts) => pieces(archive, cuts).into_iter().flat_map(gzip).collect(),
            // A skippable frame goes before each.
            Self::Zstd(cuts) => pieces(archive, cuts)
                .into_iter()
                .flat_map(|piece| {
                    let skipped = b"\x5a\x2a\x4d\x18\x03\0\0\0abc".to_vec();
                    [skipped, zstd(piece)].concat()
                })
                .collect(),
        }
    }

    fn compression(&self) -> Compression {
        match self {
            Self::Plain => Compression::None,
            Self::Gzip(_) => Compression::Gzip,
            Self::Zstd(_) => Compression::Zstd,
        }
    }
}

fn pieces<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn what_is_archived_is_what_the_layer_has_and_nothing_else(
        tree in btree_map(a_name(), btree_map(a_name(), made(), 0..8), 0..5),
        stored in stored(),
        reads in vec((any::<Index>(), any::<Index>(), 1..300_000_usize), 8),
    ) {
        let mut tar = Tar::new();
        let mut expected = std::collections::BTreeMap::new();
        for (dir, children) in &tree {
            tar = tar.dir(dir);
            for (base, made) in children {
                tar = made.write(tar, &[&dir[..], b"/", base].concat());
                expected.insert(vec![Name::new(dir).unwrap(), Name::new(base).unwrap()], made);
            }
        }
        let archive = tar.bytes();
        let built = Built::new(&stored.store(&archive));
        prop_assert_eq!(built.summary.compression, stored.compression());
        prop_assert_eq!(built.summary.unpacked_len, archive.len() as u64);
        prop_assert_eq!(built.summary.diff_id.digest(), &mica::oci::Digest::of(&archive));

        let layer = built.open().unwrap();
        let found = tree::all(&layer);
        prop_assert_eq!(found.len(), 1 + tree.len() + expected.len());
        for (path, made) in &expected {
            made.check(&found[path]);
            prop_assert_eq!(lookup(&layer, path).unwrap(), found[path].slot);
        }
        let files: Vec<&Item> = found.values().filter(|item| !item.data.is_empty()).collect();
        for (file, from, len) in reads {
            if files.is_empty() {
                break;
            }
            let file = files[file.index(files.len())];
            let Slot::Node(node) = file.slot else { panic!("data without a file") };
            let from = from.index(file.data.len() + 1);
            let mut buf = vec![0xaa; len];
            let count = layer.read_at(node.id, from as u64, &mut buf).unwrap();
            prop_assert!(buf[..count] == file.data[from..file.data.len().min(from + len)]);
        }
    }
}
