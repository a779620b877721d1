//! The content of files, with no request ever sent to open or close one.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::process::Command;

use crate::view::{View, errno, python, sh};

const O_DIRECT: i32 = 0o40000;
const ETXTBSY: i32 = 26;

fn with_file(content: &'static [u8]) -> View {
    View::new(|lower| fs::write(lower.join("file"), content).unwrap())
}

fn read_write(path: &std::path::Path) -> File {
    File::options().read(true).write(true).open(path).unwrap()
}

#[test]
fn a_file_that_is_unlinked_while_open_stays_usable() {
    for name in ["file", "new"] {
        let view = with_file(b"from below");
        fs::write(view.path("new"), b"from below").unwrap();
        let file = read_write(&view.path(name));
        fs::remove_file(view.path(name)).unwrap();
        assert!(!view.path(name).exists());
        assert_eq!(file.metadata().unwrap().nlink(), 0, "{name}");
        let mut data = [0; 10];
        file.read_exact_at(&mut data, 0).unwrap();
        assert_eq!(&data, b"from below");
        file.write_all_at(b"here", 0).unwrap();
        file.read_exact_at(&mut data, 0).unwrap();
        assert_eq!(&data, b"here below");
        file.set_len(3).unwrap();
        file.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
        let seen = file.metadata().unwrap();
        assert_eq!((seen.len(), seen.mode() & 0o7777), (3, 0o600), "{name}");
    }
}

#[test]
fn a_file_that_is_renamed_over_stays_usable_and_the_name_is_the_new_file() {
    let view = with_file(b"old");
    let mut old = read_write(&view.path("file"));
    fs::write(view.path("other"), b"new content").unwrap();
    fs::rename(view.path("other"), view.path("file")).unwrap();
    assert_eq!(fs::read(view.path("file")).unwrap(), b"new content");
    let mut text = String::new();
    old.read_to_string(&mut text).unwrap();
    assert_eq!(text, "old");
    old.write_all(b"er").unwrap();
    assert_eq!(old.metadata().unwrap().len(), 5);
    assert_eq!(fs::read(view.path("file")).unwrap(), b"new content");
}

#[test]
fn truncation_at_open_empties_the_file_for_everyone() {
    let mut view = with_file(b"a longer text");
    let other = File::open(view.path("file")).unwrap();
    drop(File::create(view.path("file")).unwrap());
    assert_eq!(other.metadata().unwrap().len(), 0);
    assert_eq!(fs::read(view.path("file")).unwrap(), b"");
    drop(other);
    view.remount();
    assert_eq!(fs::read(view.path("file")).unwrap(), b"");
}

#[test]
fn appending_writes_at_the_end_whoever_else_writes() {
    let mut view = with_file(b"start ");
    let open = || File::options().append(true).open(view.path("file")).unwrap();
    let (mut one, mut two) = (open(), open());
    for _ in 0..3 {
        one.write_all(b"one ").unwrap();
        two.write_all(b"two ").unwrap();
    }
    drop((one, two));
    let all = b"start one two one two one two ";
    assert_eq!(fs::read(view.path("file")).unwrap(), all);
    view.remount();
    assert_eq!(fs::read(view.path("file")).unwrap(), all);
}

#[test]
fn a_descriptor_from_before_copy_up_sees_what_is_written_after() {
    let view = with_file(b"before");
    let reader = File::open(view.path("file")).unwrap();
    let mut data = [0; 6];
    reader.read_exact_at(&mut data, 0).unwrap();
    read_write(&view.path("file")).write_all_at(b"after!", 0).unwrap();
    reader.read_exact_at(&mut data, 0).unwrap();
    assert_eq!(&data, b"after!");
}

#[test]
fn a_mapping_from_before_copy_up_sees_what_is_written_after() {
    let view = View::new(|lower| fs::write(lower.join("file"), vec![b'a'; 10_000]).unwrap());
    let script = r"
import mmap, os, sys
path = sys.argv[1]
reader = os.open(path, os.O_RDONLY)
before = mmap.mmap(reader, 10000, mmap.MAP_SHARED, mmap.PROT_READ)
assert before[5000:5003] == b'aaa'
writer = os.open(path, os.O_RDWR)
os.pwrite(writer, b'xyz', 5000)
assert before[5000:5003] == b'xyz', before[5000:5003]
shared = mmap.mmap(writer, 10000, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
shared[9000:9003] = b'map'
assert before[9000:9003] == b'map'
assert os.pread(reader, 3, 9000) == b'map'
shared.flush()
shared.close()
";
    python(script, &[view.path("file").as_os_str()]);
    let data = fs::read(view.path("file")).unwrap();
    assert_eq!((&data[5000..5003], &data[9000..9003]), (&b"xyz"[..], &b"map"[..]));
}

#[test]
fn what_was_written_through_a_mapping_is_there_after_a_remount() {
    let mut view = View::new(|lower| fs::write(lower.join("file"), vec![b'a'; 10_000]).unwrap());
    let script = r"
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
shared = mmap.mmap(fd, 10000)
os.close(fd)
shared[4096:4100] = b'page'
";
    python(script, &[view.path("file").as_os_str()]);
    view.remount();
    assert_eq!(&fs::read(view.path("file")).unwrap()[4096..4100], b"page");
}

#[test]
fn a_program_runs_and_cannot_be_written_while_it_does() {
    let view = View::new(|lower| {
        fs::copy("/bin/sleep", lower.join("sleep")).unwrap();
    });
    let mut child = Command::new(view.path("sleep")).arg("60").spawn().unwrap();
    let open = || File::options().write(true).open(view.path("sleep"));
    assert_eq!(errno(open()), ETXTBSY);
    child.kill().unwrap();
    child.wait().unwrap();
    let writer = open().unwrap();
    assert_eq!(errno(Command::new(view.path("sleep")).arg("0").spawn()), ETXTBSY);
    drop(writer);
    assert!(Command::new(view.path("sleep")).arg("0").status().unwrap().success());
}

#[test]
fn direct_io_reads_and_writes_past_the_page_cache() {
    let mut view = View::new(|lower| fs::write(lower.join("file"), vec![b'a'; 16_384]).unwrap());
    let path = view.path("file");
    sh(&view.root(), "dd if=file of=copy iflag=direct oflag=direct bs=4096 status=none");
    assert_eq!(fs::read(view.path("copy")).unwrap(), vec![b'a'; 16_384]);
    let cached = File::open(&path).unwrap();
    let mut data = [0; 1];
    cached.read_exact_at(&mut data, 8192).unwrap();
    let script = "printf '%4096s' b | dd of=file oflag=direct bs=4096 seek=2 conv=notrunc \
        iflag=fullblock status=none";
    sh(&view.root(), script);
    cached.read_exact_at(&mut data, 8192).unwrap();
    assert_eq!(&data, b" ");
    drop(cached);
    let direct = File::options().read(true).custom_flags(O_DIRECT).open(&path).unwrap();
    assert_eq!(direct.metadata().unwrap().len(), 16_384);
    drop(direct);
    view.remount();
    assert_eq!(fs::read(&path).unwrap()[8192..12_288], [&[b' '; 4095][..], b"b"].concat());
}

#[test]
fn large_and_unaligned_reads_and_writes_arrive_whole() {
    let pattern = |i: usize| u8::try_from(i * 7 % 251).unwrap();
    let content: Vec<u8> = (0..5_000_003).map(pattern).collect();
    let mut view = View::new(|lower| fs::write(lower.join("below"), &content).unwrap());
    assert!(fs::read(view.path("below")).unwrap() == content);
    let mut file = File::create(view.path("new")).unwrap();
    file.write_all(&content[..1_234_567]).unwrap();
    file.write_all(&content[1_234_567..]).unwrap();
    file.seek(SeekFrom::Start(3)).unwrap();
    file.write_all(&content[3..2_000_000]).unwrap();
    file.sync_all().unwrap();
    drop(file);
    assert!(fs::read(view.path("new")).unwrap() == content);
    view.remount();
    assert!(fs::read(view.path("new")).unwrap() == content);
}

#[test]
fn times_before_1970_and_of_nanoseconds_are_kept() {
    let mut view = with_file(b"");
    let script = "touch -d '1969-12-31 23:59:58.5 UTC' file && touch -a -d '@12.000000345' file";
    sh(&view.root(), script);
    for _ in 0..2 {
        let seen = fs::metadata(view.path("file")).unwrap();
        assert_eq!((seen.mtime(), seen.mtime_nsec()), (-2, 500_000_000));
        assert_eq!((seen.atime(), seen.atime_nsec()), (12, 345));
        view.remount();
    }
}

#[test]
fn times_at_the_ends_of_what_can_be_asked_for_do_no_harm() {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
    let view = with_file(b"text");
    for (tv_sec, tv_nsec) in [(i64::MIN, 0), (i64::MIN + 1, 999_999_999), (i64::MAX, 5)] {
        let time = Timespec { tv_sec, tv_nsec };
        let times = Timestamps { last_access: time, last_modification: time };
        // Filesystems keep what they can.
        utimensat(CWD, view.path("file"), &times, AtFlags::empty()).unwrap();
        assert_eq!(fs::read(view.path("file")).unwrap(), b"text");
    }
}
