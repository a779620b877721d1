//! Archives and compressed streams that are wrong, or mean harm: each is refused, by name.

use std::io::{self, Read};

use mica::layer::{Error, Limits, Problem, build};
use mica::testing::tar::{Tar, gzip, zstd};

use super::{Built, layer, names, read};

/// Why `stored` is refused.
fn refused(stored: &[u8]) -> Error {
    match Built::try_new(stored) {
        Err(error) => error,
        Ok(built) => panic!("accepted: {:?}", built.summary),
    }
}

/// Which entry is refused, and why.
fn problem(tar: &Tar) -> (String, Problem) {
    match refused(&tar.bytes()) {
        Error::Entry { entry, problem, .. } => (entry, problem),
        error => panic!("{error}"),
    }
}

#[test]
fn an_entry_that_cannot_be_in_a_layer_is_refused_by_name() {
    let file = |path: &str| Tar::new().file(path, b"");
    let name = "its name";
    let target = "its link target";
    let long = "n".repeat(256);
    let deep = "d/".repeat(2048) + "f";
    let xattr = "an extended attribute";
    for (tar, entry, expected) in [
        (file("../x"), "../x", Problem::Escapes(name)),
        (file("a/../../x"), "a/../../x", Problem::Escapes(name)),
        (file("a/.."), "a/..", Problem::Escapes(name)),
        (file(""), "", Problem::NoName(name)),
        (file("x").pax("path", "a\0b"), "a\\x00b", Problem::NoName(name)),
        (file(&long), &long, Problem::TooLong(name)),
        (file(&deep), &deep, Problem::TooLong(name)),
        (file("."), ".", Problem::Root),
        (file("a/.wh."), "a/.wh.", Problem::Whiteout),
        (file(".wh..."), ".wh...", Problem::Whiteout),
        (file(".wh.a/b"), ".wh.a/b", Problem::Whiteout),
        (file("f").xattr("", "v"), "f", Problem::NoName(xattr)),
        (file("f").xattr("x".repeat(256), "v"), "f", Problem::TooLong(xattr)),
        (file("f").xattr("user.x", "v".repeat(65537)), "f", Problem::TooLong(xattr)),
        (file("f").owner(1 << 32, 0), "f", Problem::Number("the PAX uid")),
        (file("f").owner(0, u64::from(u32::MAX)), "f", Problem::Number("the PAX gid")),
        (file("f").pax("mtime", "soon"), "f", Problem::Number("the PAX mtime")),
        (file("f").pax("size", "-1"), "f", Problem::Number("the PAX size")),
        (file("f").pax("size", "9223372036854775808"), "f", Problem::Number("the size")),
        (Tar::new().symlink("s", ""), "s", Problem::NoName(target)),
        (Tar::new().symlink("s", "t".repeat(4096)), "s", Problem::TooLong(target)),
        (Tar::new().hardlink("h", "../../etc/passwd"), "h", Problem::Escapes(target)),
        (Tar::new().hardlink("h", "gone"), "h", Problem::LinkTarget("gone".into())),
        (Tar::new().hardlink("h", "h"), "h", Problem::LinkTarget("h".into())),
        (Tar::new().dir("d").hardlink("h", "d"), "h", Problem::LinkTarget("d".into())),
        (Tar::new().dir("h").hardlink(".", "f"), ".", Problem::Root),
        (Tar::new().entry(b'M', "m"), "m", Problem::Kind('M')),
        (file("f").size(10_000), "f", Problem::Truncated),
        (Tar::new().entry(b'x', "x").raw([0; 1024]).without_end(), "", Problem::Extension),
    ] {
        // The entry is found among good ones, not only alone.
        assert_eq!(problem(&tar), (entry.to_owned(), expected), "{entry}");
    }
}

#[test]
fn records_that_contradict_each_other_are_refused() {
    let x = Tar::new().file("f", b"").pax("uid", "1").without_end().bytes();
    let twice = Tar::new().raw(&x[..1024]).raw(&x[..1024]).file("f", b"");
    assert_eq!(problem(&twice).1, Problem::Extension);
    let malformed = Tar::new().entry(b'x', "x").raw(b"").file("f", b"");
    assert!(Built::try_new(&malformed.bytes()).is_ok(), "an empty header says nothing");
}

#[test]
fn a_sparse_map_that_does_not_fit_is_refused() {
    let gnu = |size, parts: &[(u64, u64)]| Tar::new().gnu_sparse("f", size, parts, b"12345678");
    for parts in [&[(0, 7)][..], &[(0, 4), (2, 4)], &[(90, 8), (98, 8)], &[(200, 8)]] {
        assert_eq!(problem(&gnu(100, parts)), ("f".to_owned(), Problem::Sparse), "{parts:?}");
    }
    let pax = |map: &str| {
        let tar = Tar::new().file("f", b"12345678").pax("GNU.sparse.size", "100");
        problem(&tar.pax("GNU.sparse.map", map)).1
    };
    assert_eq!(pax("0,4,2,4"), Problem::Sparse);
    assert_eq!(pax("0,8,1"), Problem::Sparse);
    assert_eq!(pax("0,x"), Problem::Number("a part of the sparse map"));
    for map in ["99999999\n", "1\n0\n18446744073709551615\n", "-1\n", "1\n"] {
        let mut data = map.as_bytes().to_vec();
        data.resize(512, 0);
        let tar = Tar::new().file("f", data).pax("GNU.sparse.major", "1");
        assert!(Built::try_new(&tar.pax("GNU.sparse.realsize", "100").bytes()).is_err(), "{map}");
    }
}

#[test]
fn a_header_with_a_wrong_checksum_is_refused() {
    let good = Tar::new().dir("d").file("f", b"x").bytes();
    for at in [0, 512, 600, 1000] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let error = refused(&bad);
        let checksum = matches!(error, Error::Entry { problem: Problem::Checksum, .. });
        assert!(checksum, "{at}: {error}");
    }
    assert!(matches!(refused(b"not an archive"), Error::Entry { .. }));
    assert!(matches!(refused(&[b'x'; 5000]), Error::Entry { .. }));
}

#[test]
fn an_archive_that_is_cut_anywhere_is_refused_or_ends_between_entries() {
    let whole = Tar::new().dir("d").file("d/f", [7; 1500]).xattr("user.k", "v").bytes();
    let near_blocks = |len: &usize| (len + 1) % 512 < 3 || len.is_multiple_of(61);
    for len in (0..whole.len()).filter(near_blocks) {
        if let Ok(built) = Built::try_new(&whole[..len]) {
            let layer = built.open().unwrap();
            match names(&layer, "").as_slice() {
                [] => assert_eq!(len, 0),
                _ if names(&layer, "d").is_empty() => assert_eq!(len, 512),
                _ => assert_eq!(read(&layer, "d/f"), [7; 1500], "{len}"),
            }
        }
    }
}

#[test]
fn a_compressed_layer_that_is_cut_anywhere_is_refused() {
    let archive = Tar::new().file("f", noise(5000)).bytes();
    for stored in [gzip(&archive), zstd(&archive)] {
        for len in (4..stored.len()).step_by(7).chain(stored.len() - 10..stored.len()) {
            let error = refused(&stored[..len]);
            assert!(matches!(error, Error::Compressed { .. }), "{len}: {error}");
        }
    }
}

#[test]
fn a_compressed_layer_with_a_flipped_bit_never_becomes_another_layer() {
    let archive = Tar::new().file("f", noise(900)).bytes();
    for stored in [gzip(&archive), zstd(&archive)] {
        let good = Built::new(&stored).summary.diff_id;
        for at in 0..stored.len() {
            let mut bad = stored.clone();
            bad[at] ^= 0x10;
            if let Ok(built) = Built::try_new(&bad) {
                // Bits of the gzip header that mean nothing for the content.
                assert_eq!(built.summary.diff_id, good, "{at}");
            }
        }
    }
}

#[test]
fn what_follows_the_compressed_stream_is_refused_unless_it_is_zeros_after_gzip() {
    let archive = Tar::new().file("f", b"x").bytes();
    let with = |stored: Vec<u8>, more: &[u8]| [stored, more.to_vec()].concat();
    for bad in [
        with(gzip(&archive), b"garbage"),
        with(gzip(&archive), b"\0\0\0x"),
        with(gzip(&archive), b"\x1f\x8b"),
        with(zstd(&archive), b"garbage"),
        with(zstd(&archive), &[0; 16]),
    ] {
        let error = refused(&bad);
        assert!(matches!(error, Error::Compressed { .. }), "{error}");
    }
    assert_eq!(read(&layer(&with(gzip(&archive), &[0; 1000])), "f"), b"x");
}

#[test]
fn a_layer_beyond_the_limits_is_refused() {
    let limit = |stored: &[u8], limits: Limits| match Built::with(stored, &limits) {
        Err(Error::Limit { of, .. }) => of,
        Err(error) => panic!("{error}"),
        Ok(_) => "accepted",
    };
    let (all, few) = (Limits::default(), |entries| Limits { entries, ..Limits::default() });
    let three = Tar::new().file("a", b"").file("b", b"").file("c", b"").bytes();
    assert_eq!(limit(&three, few(4)), "accepted");
    assert_eq!(limit(&three, few(2)), "entries");
    let deep = Tar::new().file("d/".repeat(1000) + "f", b"").bytes();
    assert_eq!(limit(&deep, few(100)), "files, or 4 GiB of attributes");
    let bomb = Tar::new().file("zeros", vec![0; 4 << 20]).gzip();
    let unpacked = Limits { unpacked: 1 << 20, ..all.clone() };
    assert_eq!(limit(&bomb, unpacked), "bytes when unpacked");
    let ratio = Limits { ratio: 100, free: 1 << 20, ..all.clone() };
    assert_eq!(limit(&bomb, ratio.clone()), "unpacked bytes to a stored one");
    assert_eq!(limit(&Tar::new().file("f", noise(2 << 20)).gzip(), ratio), "accepted");
    let metadata = Limits { metadata: 1000, ..all };
    let tar = Tar::new().file("f", b"").xattr("user.x", "v".repeat(1000));
    let error = Built::with(&tar.bytes(), &metadata).err().unwrap();
    assert!(error.to_string().ends_with("the extension header is too long"), "{error}");
}

#[test]
fn a_source_that_fails_gives_its_own_error() {
    struct Failing(usize);
    impl Read for Failing {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::Error::other("the line went dead"));
            }
            let count = buf.len().min(self.0);
            self.0 -= count;
            buf[..count].fill(0);
            Ok(count)
        }
    }
    let dir = tempfile::tempdir().unwrap();
    match build(&mut Failing(300_000), dir.path(), &Limits::default()) {
        Err(Error::Source { offset, source }) => {
            assert_eq!((offset, source.to_string().as_str()), (300_000, "the line went dead"));
        }
        other => panic!("{other:?}"),
    }
}

/// Bytes that do not compress.
pub(super) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..len).map(|_| next()).collect()
}
