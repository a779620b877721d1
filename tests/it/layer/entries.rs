//! What each kind of entry makes of a layer.

use mica::testing::tar::Tar;
use mica::tree::{Device, Errno, Kind, Lower as _, NodeId, Seek, Slot, Time};

use super::{attr, layer, name, names, node, read, slot};

#[test]
fn every_kind_of_file_comes_out_as_it_went_in() {
    let layer = layer(
        &Tar::new()
            .dir("d")
            .mode(0o1777)
            .owner(1, 2)
            .mtime(100, 0)
            .file("d/f", b"data")
            .mode(0o4755)
            .owner(3, 4)
            .mtime(1_700_000_000, 123_456_789)
            .symlink("d/s", b"../target\xff")
            .char_device("d/c", 1, 3)
            .block_device("d/b", 259, 65536)
            .fifo("d/p")
            .bytes(),
    );
    let dir = attr(&layer, "d");
    assert_eq!((dir.kind, dir.mode, dir.uid, dir.gid), (Kind::Directory, 0o1777, 1, 2));
    assert_eq!((dir.nlink, dir.mtime), (1, Time { secs: 100, nanos: 0 }));
    let file = attr(&layer, "d/f");
    assert_eq!((file.kind, file.mode, file.uid, file.gid), (Kind::File, 0o4755, 3, 4));
    assert_eq!((file.size, file.blocks, file.nlink), (4, 1, 1));
    assert_eq!(file.mtime, Time { secs: 1_700_000_000, nanos: 123_456_789 });
    assert_eq!(read(&layer, "d/f"), b"data");
    let link = node(&layer, "d/s");
    assert_eq!((link.attr.kind, link.attr.size), (Kind::Symlink, 10));
    assert_eq!(&*layer.readlink(link.id).unwrap(), b"../target\xff");
    let char = attr(&layer, "d/c");
    assert_eq!((char.kind, char.device), (Kind::CharDevice, Device { major: 1, minor: 3 }));
    let block = attr(&layer, "d/b");
    assert_eq!(
        (block.kind, block.device),
        (Kind::BlockDevice, Device { major: 259, minor: 65536 })
    );
    assert_eq!(attr(&layer, "d/p").kind, Kind::Fifo);
    assert_eq!(names(&layer, "d"), ["f", "s", "c", "b", "p"]);
}

#[test]
fn names_are_the_same_with_a_dot_a_slash_in_front_or_a_slash_behind() {
    let layer = layer(&Tar::new().dir("./a/").file("/a/./b", b"1").file("a//c", b"2").bytes());
    assert_eq!(names(&layer, ""), ["a"]);
    assert_eq!(names(&layer, "a"), ["b", "c"]);
}

#[test]
fn an_entry_for_the_root_gives_the_root_its_attributes() {
    for spelling in ["./", ".", "/"] {
        let archive = Tar::new().file("f", b"").dir(spelling).mode(0o700).owner(7, 8).bytes();
        let root = attr(&layer(&archive), "");
        assert_eq!((root.mode, root.uid, root.gid), (0o700, 7, 8), "{spelling}");
        assert_eq!(layer(&archive).root().unwrap().id, NodeId(1));
    }
}

#[test]
fn a_missing_parent_is_a_plain_directory_of_root() {
    let layer = layer(&Tar::new().file("a/b/c", b"x").owner(9, 9).bytes());
    for path in ["", "a", "a/b"] {
        let dir = attr(&layer, path);
        assert_eq!((dir.kind, dir.mode, dir.uid, dir.gid), (Kind::Directory, 0o755, 0, 0));
        assert_eq!(dir.mtime, Time::default());
    }
}

#[test]
fn of_two_entries_of_one_name_the_last_wins() {
    let layer = layer(&Tar::new().file("f", b"old").file("g", b"").file("f", b"new!").bytes());
    assert_eq!(read(&layer, "f"), b"new!");
    assert_eq!(names(&layer, ""), ["g", "f"]);
    assert_eq!(layer.stats().unwrap().files, 3);
}

#[test]
fn a_directory_that_is_stated_again_keeps_its_children_and_takes_the_new_attributes() {
    let archive = Tar::new()
        .dir("d")
        .mode(0o700)
        .xattr("user.old", b"1")
        .file("d/f", b"x")
        .dir("d")
        .mode(0o711)
        .xattr("user.new", b"2")
        .bytes();
    let layer = layer(&archive);
    assert_eq!(attr(&layer, "d").mode, 0o711);
    assert_eq!(names(&layer, "d"), ["f"]);
    let xattrs = layer.xattrs(node(&layer, "d").id).unwrap();
    assert_eq!(xattrs, [(b"user.new"[..].into(), b"2"[..].into())]);
}

#[test]
fn a_file_in_the_place_of_a_directory_removes_what_was_in_it_and_the_reverse() {
    let archive = Tar::new()
        .file("a/x/y", b"")
        .whiteout("a/z")
        .file("a", b"file")
        .file("b", b"file")
        .file("b/c", b"in it")
        .bytes();
    let layer = layer(&archive);
    assert_eq!(read(&layer, "a"), b"file");
    assert_eq!(slot(&layer, "a/x"), Slot::Absent);
    assert_eq!(read(&layer, "b/c"), b"in it");
}

#[test]
fn a_file_through_a_link_of_the_layer_goes_where_one_who_unpacks_would_put_it() {
    let archive = Tar::new()
        .dir("usr/lib")
        .symlink("lib", "usr/lib")
        .file("lib/x", b"1")
        .symlink("usr/abs", "/usr/lib/../..//usr/lib")
        .file("usr/abs/y", b"2")
        .symlink("out", "../../..")
        .file("out/z", b"3")
        .symlink("loop", "loop")
        .file("loop/w", b"4")
        .bytes();
    let layer = layer(&archive);
    assert_eq!(names(&layer, "usr/lib"), ["x", "y"]);
    assert_eq!(attr(&layer, "lib").kind, Kind::Symlink);
    assert_eq!(read(&layer, "z"), b"3");
    assert_eq!(read(&layer, "loop/w"), b"4", "a link that leads nowhere gives way");
}

#[test]
fn whiteouts_and_opaque_marks_count_before_and_after_what_they_are_about() {
    let before = Tar::new()
        .opaque("d")
        .whiteout("d/gone")
        .whiteout("d/kept")
        .whiteout("new")
        .opaque("")
        .dir("d")
        .file("d/kept", b"k")
        .file("new/f", b"n")
        .bytes();
    let after = Tar::new()
        .dir("d")
        .file("d/kept", b"k")
        .file("new/f", b"n")
        .opaque("d")
        .whiteout("d/gone")
        .whiteout("d/kept")
        .whiteout("new")
        .opaque("")
        .bytes();
    for archive in [before, after] {
        let layer = layer(&archive);
        assert!(node(&layer, "d").opaque && layer.root().unwrap().opaque);
        assert_eq!(slot(&layer, "d/gone"), Slot::Whiteout);
        assert_eq!(read(&layer, "d/kept"), b"k", "the layer's own entry wins");
        assert!(node(&layer, "new").opaque, "it shares nothing with the one deleted below");
        let mut names = names(&layer, "d");
        names.sort();
        assert_eq!(names, ["-gone", "kept"]);
    }
}

#[test]
fn what_aufs_kept_for_itself_is_not_shown() {
    let archive = Tar::new()
        .dir(".wh..wh.plnk")
        .file(".wh..wh.plnk/1.2", b"x")
        .file(".wh..wh.aufs", b"")
        .hardlink(".wh.gone", ".wh..wh.aufs")
        .bytes();
    assert_eq!(names(&layer(&archive), ""), ["-gone"]);
}

#[test]
fn hard_links_are_one_file_with_as_many_names() {
    let archive = Tar::new()
        .file("a", b"x")
        .mode(0o600)
        .hardlink("d/b", "./a")
        .hardlink("c", "/d/b")
        .hardlink("early", "late1")
        .hardlink("late1", "late2")
        .file("late2", b"y")
        .symlink("s", "x")
        .hardlink("t", "s")
        .bytes();
    let layer = layer(&archive);
    let a = node(&layer, "a");
    assert_eq!(a.attr.nlink, 3);
    assert_eq!([node(&layer, "d/b"), node(&layer, "c")], [a, a]);
    let late = node(&layer, "late2");
    assert_eq!(late.attr.nlink, 3);
    assert_eq!([node(&layer, "early"), node(&layer, "late1")], [late, late]);
    assert_eq!(node(&layer, "s"), node(&layer, "t"));
}

#[test]
fn a_hard_link_keeps_the_file_that_its_target_was_when_it_came() {
    let archive = Tar::new()
        .file("a", b"first")
        .hardlink("b", "a")
        .file("a", b"second")
        .dir("d")
        .file("d/x", b"inner")
        .hardlink("d", "d/x")
        .hardlink("same", "same2")
        .file("same", b"own")
        .file("same2", b"2")
        .hardlink("a", "a")
        .bytes();
    let layer = layer(&archive);
    assert_eq!((read(&layer, "a"), read(&layer, "b")), (b"second".to_vec(), b"first".to_vec()));
    assert_eq!((attr(&layer, "a").nlink, attr(&layer, "b").nlink), (1, 1));
    assert_eq!(read(&layer, "d"), b"inner");
    assert_eq!(read(&layer, "same"), b"own", "a later entry of the name wins");
}

#[test]
fn long_names_and_large_numbers_come_in_gnu_and_in_pax_form() {
    let long = format!("{}/{}", "d".repeat(200), "n".repeat(255));
    let target = "t".repeat(4095);
    let make = |gnu: bool| {
        let tar = Tar::new().file(&long, b"x").owner(4_000_000_000, 3_000_000).mtime(-5, 0);
        let tar = if gnu { tar.gnu() } else { tar };
        let tar = tar.symlink("s", &target);
        let tar = if gnu { tar.gnu() } else { tar };
        let tar = tar.hardlink("h", &long);
        if gnu { tar.gnu() } else { tar }.bytes()
    };
    for gnu in [false, true] {
        let layer = layer(&make(gnu));
        let file = attr(&layer, &long);
        assert_eq!((file.uid, file.gid, file.nlink), (4_000_000_000, 3_000_000, 2));
        assert_eq!(file.mtime, Time { secs: -5, nanos: 0 });
        assert_eq!(&*layer.readlink(node(&layer, "s").id).unwrap(), target.as_bytes());
    }
}

#[test]
fn pax_records_go_before_the_header_and_for_one_entry_only() {
    let archive = Tar::new()
        .file("short", b"1234")
        .pax("path", "real")
        .pax("size", "4")
        .pax("uid", "77")
        .size(9)
        .file("g", b"")
        .bytes();
    let layer = layer(&archive);
    assert_eq!(names(&layer, ""), ["real", "g"]);
    assert_eq!(read(&layer, "real"), b"1234");
    assert_eq!((attr(&layer, "real").uid, attr(&layer, "g").uid), (77, 0));
}

#[test]
fn a_global_header_is_passed_over() {
    let records = b"16 path=ignored\n";
    let mut global = Tar::new().file("pax_global_header", records).without_end().bytes();
    global[156] = b'g';
    // The type counts towards the checksum.
    let sum: u32 = global[..512]
        .iter()
        .enumerate()
        .map(|(i, &b)| if (148..156).contains(&i) { 32 } else { u32::from(b) })
        .sum();
    global[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let layer = layer(&Tar::new().raw(global).file("f", b"x").bytes());
    assert_eq!(names(&layer, ""), ["f"]);
}

#[test]
fn extended_attributes_are_bytes_and_those_of_overlayfs_are_dropped() {
    let archive = Tar::new()
        .file("f", b"")
        .xattr("security.capability", b"\x01\0\0\x02\n=\0")
        .xattr("user.empty", b"")
        .xattr("trusted.overlay.opaque", b"y")
        .xattr("user.overlay.whiteout", b"y")
        .pax("LIBARCHIVE.xattr.user.b%20c", "aGk")
        .file("g", b"")
        .bytes();
    let layer = layer(&archive);
    let (f, g) = (node(&layer, "f").id, node(&layer, "g").id);
    assert_eq!(&*layer.xattr(f, b"security.capability").unwrap(), b"\x01\0\0\x02\n=\0");
    assert_eq!(&*layer.xattr(f, b"user.empty").unwrap(), b"");
    assert_eq!(&*layer.xattr(f, b"user.b c").unwrap(), b"hi");
    assert_eq!(layer.xattrs(f).unwrap().len(), 3);
    assert_eq!(layer.xattr(g, b"user.empty").unwrap_err().errno(), Errno::ENODATA);
    assert_eq!(layer.xattrs(g).unwrap(), []);
}

/// The sparse file of the tests below: 10 bytes at 512, 5 at 2,000, of 5,000.
const PARTS: [(u64, u64); 3] = [(512, 10), (2000, 5), (5000, 0)];
const STORED: &[u8] = b"abcdefghijABCDE";

fn check_sparse(archive: &[u8]) {
    let layer = layer(archive);
    let file = node(&layer, "f");
    assert_eq!((file.attr.size, file.attr.blocks), (5000, 1));
    let mut whole = vec![0; 5000];
    whole[512..522].copy_from_slice(b"abcdefghij");
    whole[2000..2005].copy_from_slice(b"ABCDE");
    assert_eq!(read(&layer, "f"), whole);
    for (at, len) in [(515, 4), (520, 1490), (2004, 10), (4990, 100), (0, 512)] {
        let mut buf = vec![1; len];
        let count = layer.read_at(file.id, at as u64, &mut buf).unwrap();
        assert_eq!(buf[..count], whole[at..(at + len).min(5000)], "{at}");
    }
    let seek = |at, seek| layer.seek(file.id, at, seek).map_err(|error| error.errno());
    assert_eq!(seek(0, Seek::Data), Ok(512));
    assert_eq!(seek(515, Seek::Data), Ok(515));
    assert_eq!(seek(515, Seek::Hole), Ok(522));
    assert_eq!(seek(600, Seek::Hole), Ok(600));
    assert_eq!(seek(522, Seek::Data), Ok(2000));
    assert_eq!(seek(2005, Seek::Data), Err(Errno::ENXIO));
    assert_eq!(seek(2005, Seek::Hole), Ok(2005));
    assert_eq!(seek(5000, Seek::Hole), Err(Errno::ENXIO));
    assert_eq!(read(&layer, "after"), b"after");
}

#[test]
fn sparse_files_of_the_old_gnu_format_have_their_holes() {
    let tar = Tar::new().gnu_sparse("f", 5000, &PARTS, STORED).file("after", b"after");
    check_sparse(&tar.bytes());
}

#[test]
fn a_sparse_map_of_the_old_gnu_format_may_go_on_in_blocks_of_its_own() {
    let parts: Vec<(u64, u64)> = (0..60).map(|i| (i * 10, 1)).collect();
    let data: Vec<u8> = (1..=60).collect();
    let archive = Tar::new().gnu_sparse("f", 600, &parts, &data).file("after", b"x").bytes();
    let layer = layer(&archive);
    let whole = read(&layer, "f");
    assert!((0..600).all(|i| whole[i] == if i % 10 == 0 { data[i / 10] } else { 0 }));
    assert_eq!(read(&layer, "after"), b"x");
}

#[test]
fn sparse_files_of_all_three_pax_formats_have_their_holes() {
    let mut v0 = Tar::new().file("GNUSparseFile.0/f", STORED);
    v0 = v0.pax("GNU.sparse.size", "5000").pax("GNU.sparse.numblocks", "3");
    v0 = v0.pax("GNU.sparse.name", "f");
    for (offset, len) in PARTS {
        v0 = v0.pax("GNU.sparse.offset", offset.to_string());
        v0 = v0.pax("GNU.sparse.numbytes", len.to_string());
    }
    check_sparse(&v0.file("after", b"after").bytes());

    let v01 = Tar::new()
        .file("GNUSparseFile.0/f", STORED)
        .pax("GNU.sparse.size", "5000")
        .pax("GNU.sparse.name", "f")
        .pax("GNU.sparse.map", "512,10,2000,5,5000,0");
    check_sparse(&v01.file("after", b"after").bytes());

    let mut data = b"3\n512\n10\n2000\n5\n5000\n0\n".to_vec();
    data.resize(512, 0);
    data.extend(STORED);
    let v1 = Tar::new()
        .file("GNUSparseFile.0/f", data)
        .pax("GNU.sparse.major", "1")
        .pax("GNU.sparse.minor", "0")
        .pax("GNU.sparse.name", "f")
        .pax("GNU.sparse.realsize", "5000");
    check_sparse(&v1.file("after", b"after").bytes());
}

#[test]
fn links_and_directories_have_no_data_whatever_their_size_says() {
    let archive = Tar::new()
        .file("a", b"1")
        .hardlink("b", "a")
        .size(1000)
        .dir("d")
        .size(512)
        .symlink("s", "a")
        .size(5)
        .file("end", b"2")
        .bytes();
    assert_eq!(names(&layer(&archive), ""), ["a", "b", "d", "s", "end"]);
}

#[test]
fn an_archive_without_an_end_or_without_anything_is_a_layer() {
    let cut = Tar::new().file("f", b"x").without_end().bytes();
    assert_eq!(read(&layer(&cut), "f"), b"x");
    assert_eq!(read(&layer(&cut[..513]), "f"), b"x", "the rest of the last block may be missing");
    assert_eq!(names(&layer(b""), ""), Vec::<String>::new());
    assert_eq!(names(&layer(&Tar::new().gzip()), ""), Vec::<String>::new());
}

#[test]
fn what_is_asked_of_the_wrong_file_is_refused_as_the_contract_says() {
    let archive = Tar::new().dir("d").file("f", b"x").symlink("s", "f").bytes();
    let layer = layer(&archive);
    let (d, f, s) = (node(&layer, "d").id, node(&layer, "f").id, node(&layer, "s").id);
    let errno = |error: mica::tree::Error| error.errno();
    assert_eq!(layer.readlink(f).map_err(errno), Err(Errno::EINVAL));
    assert_eq!(layer.read_at(d, 0, &mut [0]).map_err(errno), Err(Errno::EISDIR));
    assert_eq!(layer.read_at(s, 0, &mut [0]).map_err(errno), Err(Errno::EINVAL));
    assert_eq!(layer.slot(f, &name("x")).map_err(errno), Err(Errno::ENOTDIR));
    for id in [0, 5, u64::MAX] {
        assert_eq!(layer.attr(NodeId(id)).map_err(errno), Err(Errno::ESTALE), "{id}");
    }
    assert_eq!(layer.read_at(f, 1, &mut [0]).unwrap(), 0);
    assert_eq!(layer.read_at(f, u64::MAX, &mut [0]).unwrap(), 0);
}
