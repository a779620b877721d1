//! A layer whose process is killed at any system call holds the state before a change or after it.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use mica::testing::conformance::name;
use mica::tree::{
    Attr, CopyUp, Data, Device, Exchange, Kind, LayerId, Leave, Lower as _, NewKind, NewNode,
    NodeId, Origin, Place, Renamed, Result, Seek, SetAttr, Slot, Time, Upper as _,
};
use mica::upper::{UpperDir, UpperOptions};

use super::fixture::Dirs;

/// The calls that change a disk.
const CALLS: [&str; 13] = [
    "mkdirat",
    "mknodat",
    "symlinkat",
    "linkat",
    "unlinkat",
    "renameat2",
    "setxattr",
    "lsetxattr",
    "chmod",
    "fchmodat",
    "utimensat",
    "pwrite64",
    "fsync",
];

struct Bytes;

impl Data for Bytes {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let rest = usize::try_from(100_000_u64.saturating_sub(offset)).expect("small");
        let n = rest.min(buf.len());
        buf[..n].fill(b'u');
        Ok(n)
    }

    fn seek(&self, offset: u64, seek: Seek) -> Result<u64> {
        Ok(if seek == Seek::Data { offset } else { 100_000 })
    }
}

fn found(upper: &UpperDir, dir: NodeId, base: &str) -> NodeId {
    match upper.slot(dir, &name(base)).expect("slot") {
        Slot::Node(node) => {
            upper.hold(node.id, dir, &name(base));
            node.id
        }
        other => panic!("{base}: {other:?}"),
    }
}

fn make(upper: &UpperDir, dir: NodeId, base: &str, kind: NewKind<'_>) {
    let owner = upper.root().expect("root").attr;
    let new = NewNode {
        kind,
        mode: 0o4751,
        uid: owner.uid,
        gid: owner.gid,
        xattrs: &[(b"user.born"[..].into(), b"with"[..].into())],
    };
    let new =
        if matches!(kind, NewKind::Symlink(_)) { NewNode { xattrs: &[], ..new } } else { new };
    upper.make(dir, &name(base), &new).expect(base);
}

fn copy_up(upper: &UpperDir, dir: NodeId, base: &str, kind: Kind) {
    let owner = upper.root().expect("root").attr;
    let time = Time { secs: 1_000, nanos: 1 };
    let attr = Attr {
        kind,
        mode: 0o750,
        size: 100_000,
        blocks: 0,
        nlink: 2,
        device: Device::default(),
        atime: time,
        mtime: time,
        ctime: time,
        ..owner
    };
    let from = CopyUp {
        attr: &attr,
        xattrs: &[(b"user.up"[..].into(), b"1"[..].into())],
        target: b"",
        data: (kind == Kind::File).then_some(&Bytes as &dyn Data),
        keep: 100_000,
        origin: Origin { layer: LayerId([3; 8]), node: NodeId(7) },
        index: kind == Kind::File,
    };
    upper.copy_up(Place::Entry { dir, name: &name(base) }, &from).expect(base);
}

fn rename(upper: &UpperDir, from: (NodeId, &str), to: (NodeId, &str), leave: Leave) {
    let exchange = Exchange::No(leave);
    let (from_name, to_name) = (name(from.1), name(to.1));
    let (from_dir, to_dir) = (from.0, to.0);
    upper
        .rename(&Renamed {
            from_dir,
            from: &from_name,
            to_dir,
            to: &to_name,
            exchange,
            opaque: false,
        })
        .expect("rename");
}

type Step = fn(&UpperDir, NodeId);

/// The changes, one after the other.
const STEPS: &[Step] = &[
    |upper, root| make(upper, root, "file", NewKind::File),
    |upper, root| upper.remove(root, &name("white"), Leave::Whiteout).expect("white"),
    |upper, root| make(upper, root, "white", NewKind::Directory { opaque: true }),
    |upper, root| make(upper, root, "link", NewKind::Symlink(b"file")),
    |upper, root| copy_up(upper, root, "up", Kind::File),
    |upper, root| copy_up(upper, root, "up-dir", Kind::Directory),
    |upper, root| {
        let file = found(upper, root, "up");
        let dir = found(upper, root, "up-dir");
        upper.link(file, dir, &name("linked")).map(drop).expect("link");
    },
    |upper, root| rename(upper, (root, "file"), (root, "link"), Leave::Whiteout),
    |upper, root| {
        let white = found(upper, root, "white");
        upper.remove(white, &name("x"), Leave::Whiteout).expect("x");
    },
    |upper, root| {
        let white = found(upper, root, "white");
        rename(upper, (root, "link"), (white, "x"), Leave::Nothing);
    },
    |upper, root| {
        let white = found(upper, root, "white");
        upper.remove(white, &name("x"), Leave::Whiteout).expect("x");
    },
    |upper, root| rename(upper, (root, "up-dir"), (root, "white"), Leave::Whiteout),
    |upper, root| upper.remove(root, &name("up"), Leave::Whiteout).expect("up"),
    |upper, root| {
        let white = found(upper, root, "white");
        let node = found(upper, white, "linked");
        let change = SetAttr { mode: Some(0o600), ..SetAttr::default() };
        upper.set_attr(node, &change).map(drop).expect("set_attr");
    },
    |upper, root| {
        let white = found(upper, root, "white");
        upper.remove(white, &name("linked"), Leave::Whiteout).expect("linked");
    },
    |upper, root| upper.remove(root, &name("white"), Leave::Whiteout).expect("white"),
];

/// All that the layer shows. A whiteout in an opaque directory hides nothing.
fn view(upper: &UpperDir, dir: NodeId, opaque: bool, path: &str, text: &mut String) {
    let mut listed = upper.list(dir).expect("list");
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    for listed in listed {
        let path = format!("{path}/{}", listed.name);
        let Slot::Node(node) = listed.slot else {
            if opaque {
                continue;
            }
            writeln!(text, "{path}: {:?}", listed.slot).expect("write");
            continue;
        };
        upper.hold(node.id, dir, &listed.name);
        let Attr { kind, mode, uid, gid, nlink, mtime, .. } = node.attr;
        let lower_time = (mtime.secs == 1_000).then_some(mtime);
        let xattrs = upper.xattrs(node.id).expect("xattrs");
        let what = (kind, mode, uid, gid, nlink, lower_time, node.opaque, node.origin, xattrs);
        writeln!(text, "{path}: {what:?}").expect("write");
        match kind {
            Kind::Directory => view(upper, node.id, node.opaque, &path, text),
            Kind::File => {
                let mut buf = vec![0; 100_001];
                let n = upper.read_at(node.id, 0, &mut buf).expect("read_at");
                let whole = buf[..n].iter().all(|&byte| byte == b'u');
                writeln!(text, "  {n} bytes, as they should be: {whole}").expect("write");
            }
            _ => {}
        }
    }
}

fn look(path: &Path) -> String {
    let options = UpperOptions::default();
    let upper = UpperDir::open(&path.join("upper"), &path.join("work"), &options).expect("open");
    let mut text = String::new();
    view(&upper, upper.root().expect("root").id, false, "", &mut text);
    text
}

fn fresh(dirs: &Dirs) -> std::path::PathBuf {
    let (upper, _) = dirs.pair();
    upper.parent().expect("a pair").to_owned()
}

#[test]
#[ignore = "the other test runs it, in a process that is killed"]
fn steps_are_taken_in_the_directory_of_the_environment() {
    let path = std::env::var("MICA_TEST_CRASH").expect("a directory");
    let path = Path::new(&path);
    let options = UpperOptions::default();
    let upper = UpperDir::open(&path.join("upper"), &path.join("work"), &options).expect("open");
    let root = upper.root().expect("root").id;
    for (n, step) in STEPS.iter().enumerate() {
        std::fs::write(path.join("begun"), n.to_string()).expect("begun");
        step(&upper, root);
    }
}

#[test]
fn a_kill_at_any_system_call_leaves_the_state_before_or_after() {
    let dirs = Dirs::new(UpperOptions::default());
    let whole = fresh(&dirs);
    let mut states = vec![look(&whole)];
    for step in STEPS {
        {
            let options = UpperOptions::default();
            let upper = UpperDir::open(&whole.join("upper"), &whole.join("work"), &options);
            let upper = upper.expect("open");
            step(&upper, upper.root().expect("root").id);
        }
        states.push(look(&whole));
    }
    let mut killed = 0;
    for call in CALLS {
        // The number of calls of each kind is counted by itself.
        for at in 1.. {
            let path = fresh(&dirs);
            let lived = run_killed_at(&path, call, at);
            let begun = std::fs::read_to_string(path.join("begun")).unwrap_or_default();
            let begun: usize = begun.parse().unwrap_or_default();
            let seen = look(&path);
            if lived {
                assert_eq!(seen, states[STEPS.len()]);
                break;
            }
            killed += 1;
            let (before, after) = (&states[begun], &states[begun + 1]);
            let fits = seen == *before || seen == *after;
            assert!(fits, "killed at {call} {at}:\n{seen}\nbefore:\n{before}\nafter:\n{after}");
        }
    }
    assert!(killed > 3 * STEPS.len(), "killed {killed} times only");
}

/// Takes all steps in another process, which is killed at the call of this number and kind.
/// Whether it came to the end.
fn run_killed_at(path: &Path, call: &str, at: u32) -> bool {
    let exe = std::env::current_exe().expect("current_exe");
    let test = "upper::crash::steps_are_taken_in_the_directory_of_the_environment";
    let out = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")])
        .args(["-e", &format!("inject={call}:signal=KILL:when={at}")])
        .arg(&exe)
        .args([test, "--exact", "--ignored", "--test-threads=1"])
        .env("MICA_TEST_CRASH", path)
        .output()
        .expect("strace");
    out.status.success()
}
