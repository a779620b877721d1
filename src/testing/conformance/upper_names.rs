//! The cases of [`Upper`](crate::tree::Upper) about names: making, linking, removing, renaming.

use super::upper::{dir, file, make, new, whiteout};
use super::{Abilities, Uppers, bytes, found, name, names, walk};
use crate::tree::{
    Errno, Exchange, Leave, NewKind, NodeId, Renamed, Result, SetAttr, Slot, Upper, XattrMode,
};

fn errno<T: std::fmt::Debug>(result: Result<T>) -> Errno {
    result.expect_err("refused").errno()
}

/// What a directory holds, sorted: a whiteout with `!` before its name, a directory with `/` after
/// it.
fn shown(upper: &dyn Upper, dir: NodeId) -> String {
    let names = names(upper, dir).into_iter().map(|(base, said)| {
        let base = String::from_utf8(base).expect("text");
        match said {
            "whiteout" => format!("!{base}"),
            "directory" => format!("{base}/"),
            _ => base,
        }
    });
    let mut names: Vec<_> = names.collect();
    names.sort();
    names.join(" ")
}

fn move_to(
    upper: &dyn Upper,
    from: (NodeId, &str),
    to: (NodeId, &str),
    exchange: Exchange,
    opaque: bool,
) -> Result<()> {
    let (from_name, to_name) = (name(from.1), name(to.1));
    upper.rename(&Renamed {
        from_dir: from.0,
        from: &from_name,
        to_dir: to.0,
        to: &to_name,
        exchange,
        opaque,
    })
}

pub(super) fn make_names(uppers: &dyn Uppers, _: Abilities) {
    let upper = uppers.fresh();
    let root = upper.root().expect("root").id;
    let f = file(&*upper, root, "f", "old");
    dir(&*upper, root, "d");
    let node = new(NewKind::File, 0o600, (0, 0));
    let kinds = [
        NewKind::File,
        NewKind::Directory { opaque: true },
        NewKind::Symlink(b"x"),
        NewKind::Fifo,
        NewKind::Socket,
    ];
    let owner = upper.root().expect("root").attr;
    for taken in ["f", "d"] {
        for kind in kinds {
            let node = crate::tree::NewNode { kind, uid: owner.uid, gid: owner.gid, ..node };
            assert_eq!(errno(upper.make(root, &name(taken), &node)), Errno::EEXIST, "{kind:?}");
        }
    }
    assert_eq!(bytes(&*upper, f), b"old");
    assert_eq!(shown(&*upper, root), "d/ f");
    for (n, kind) in kinds.into_iter().enumerate() {
        let base = format!("over-{n}");
        whiteout(&*upper, root, &base);
        let node = make(&*upper, root, &base, kind);
        assert_eq!(found(&*upper, root, base.as_bytes()).id, node.id);
    }
    let gone = dir(&*upper, root, "gone");
    upper.remove(root, &name("gone"), Leave::Nothing).expect("remove");
    let node = crate::tree::NewNode { uid: owner.uid, gid: owner.gid, ..node };
    assert_eq!(errno(upper.make(gone, &name("x"), &node)), Errno::ENOENT, "in a removed directory");
}

pub(super) fn link(uppers: &dyn Uppers, _: Abilities) {
    let upper = uppers.fresh();
    let root = upper.root().expect("root").id;
    let d = dir(&*upper, root, "d");
    let a = file(&*upper, root, "a", "same");
    let other = file(&*upper, root, "other", "other");
    assert_eq!(upper.link(a, d, &name("b")).expect("link").nlink, 2);
    upper.hold(a, d, &name("b"));
    whiteout(&*upper, d, "c");
    assert_eq!(upper.link(a, d, &name("c")).expect("over a whiteout").nlink, 3);
    assert_eq!(found(&*upper, d, b"c").id, a);
    assert_eq!(errno(upper.link(a, root, &name("other"))), Errno::EEXIST);
    assert_eq!(errno(upper.link(a, root, &name("d"))), Errno::EEXIST);
    assert_eq!(bytes(&*upper, other), b"other");
    let l = make(&*upper, root, "l", NewKind::Symlink(b"nowhere")).id;
    assert_eq!(upper.link(l, root, &name("m")).expect("a symlink").nlink, 2);
    assert_eq!(&*upper.readlink(found(&*upper, root, b"m").id).expect("readlink"), b"nowhere");
    upper.remove(root, &name("a"), Leave::Nothing).expect("remove");
    upper.write_at(a, 0, b"SA").expect("by another name");
    assert_eq!(bytes(&*upper, a), b"SAme");
    assert_eq!(upper.attr(a).expect("attr").nlink, 2);
    assert_eq!((shown(&*upper, root), shown(&*upper, d)), ("d/ l m other".into(), "b c".into()));
    let upper = uppers.reopen(upper);
    assert_eq!((walk(&*upper, "d/b").id, walk(&*upper, "d/c").id), (a, a));
}

pub(super) fn remove(uppers: &dyn Uppers, _: Abilities) {
    let upper = uppers.fresh();
    let root = upper.root().expect("root").id;
    for base in ["file", "file-left", "unheld"] {
        file(&*upper, root, base, "x");
    }
    for base in ["dir", "dir-left"] {
        dir(&*upper, root, base);
    }
    upper.forget(found(&*upper, root, b"unheld").id, 1);
    make(&*upper, root, "link", NewKind::Symlink(b"file"));
    let go = |base: &str, leave| upper.remove(root, &name(base), leave);
    go("link", Leave::Nothing).expect("symlink");
    go("file", Leave::Nothing).expect("file");
    go("file-left", Leave::Whiteout).expect("file, whiteout");
    go("unheld", Leave::Whiteout).expect("file nobody holds, whiteout");
    go("dir", Leave::Nothing).expect("directory");
    go("dir-left", Leave::Whiteout).expect("directory, whiteout");
    assert_eq!(shown(&*upper, root), "!dir-left !file-left !unheld");
    go("nothing", Leave::Whiteout).expect("whiteout alone");
    go("nothing", Leave::Whiteout).expect("a whiteout that is there already");
    assert_eq!(errno(go("file", Leave::Nothing)), Errno::ENOENT);
    assert_eq!(shown(&*upper, root), "!dir-left !file-left !nothing !unheld");
    let upper = uppers.reopen(upper);
    assert_eq!(shown(&*upper, root), "!dir-left !file-left !nothing !unheld");
}

pub(super) fn remove_dirs(uppers: &dyn Uppers, _: Abilities) {
    let upper = uppers.fresh();
    let root = upper.root().expect("root").id;
    for (base, leave, after) in
        [("d", Leave::Nothing, ""), ("e", Leave::Whiteout, "!e"), ("o", Leave::Whiteout, "!e !o")]
    {
        let node = make(&*upper, root, base, NewKind::Directory { opaque: base == "o" }).id;
        whiteout(&*upper, node, "one");
        whiteout(&*upper, node, "two");
        file(&*upper, node, "file", "");
        for leave in [Leave::Nothing, Leave::Whiteout] {
            assert_eq!(errno(upper.remove(root, &name(base), leave)), Errno::ENOTEMPTY);
        }
        assert_eq!(shown(&*upper, node), "!one !two file", "nothing changed");
        upper.remove(node, &name("file"), Leave::Nothing).expect("remove");
        upper.remove(root, &name(base), leave).expect("remove");
        assert_eq!(shown(&*upper, root), after);
    }
    let full = dir(&*upper, root, "full");
    dir(&*upper, full, "sub");
    assert_eq!(errno(upper.remove(root, &name("full"), Leave::Whiteout)), Errno::ENOTEMPTY);
    assert_eq!(shown(&*upper, full), "sub/");
}

pub(super) fn removed_but_held(uppers: &dyn Uppers, _: Abilities) {
    for leave in [Leave::Nothing, Leave::Whiteout] {
        let upper = uppers.fresh();
        let root = upper.root().expect("root").id;
        let d = dir(&*upper, root, "d");
        let f = file(&*upper, d, "f", "still here");
        let l = make(&*upper, d, "l", NewKind::Symlink(b"target")).id;
        let p = make(&*upper, d, "p", NewKind::Fifo).id;
        for base in ["f", "l", "p"] {
            upper.remove(d, &name(base), leave).expect(base);
        }
        upper.remove(root, &name("d"), leave).expect("d");
        // Others take the names; the removed ones must not become them.
        let other = file(&*upper, root, "d", "another");
        unlinked_works(&*upper, f);
        assert_eq!(&*upper.readlink(l).expect("readlink"), b"target");
        let mode = SetAttr { mode: Some(0o711), ..SetAttr::default() };
        for node in [p, d] {
            assert_eq!(upper.set_attr(node, &mode).expect("set_attr").mode, 0o711);
        }
        assert_eq!(upper.list(d).expect("list"), []);
        assert_eq!(upper.attr(l).expect("attr").nlink, 0);
        for node in [f, l, p, d] {
            upper.forget(node, 1);
        }
        assert_eq!(errno(upper.attr(f)), Errno::ESTALE);
        assert_eq!(bytes(&*upper, other), b"another");
    }
}

/// All that a file without a name can still do; its content is "still here".
fn unlinked_works(upper: &dyn Upper, f: NodeId) {
    assert_eq!(upper.attr(f).expect("attr").nlink, 0);
    assert_eq!(bytes(upper, f), b"still here");
    upper.write_at(f, 6, b"alive").expect("write_at");
    assert_eq!(bytes(upper, f), b"still alive");
    let change = SetAttr { size: Some(5), mode: Some(0o604), ..SetAttr::default() };
    let attr = upper.set_attr(f, &change).expect("set_attr");
    assert_eq!((attr.size, attr.mode, attr.nlink), (5, 0o604, 0));
    upper.set_xattr(f, b"user.x", b"1", XattrMode::Any).expect("set_xattr");
    assert_eq!(&*upper.xattr(f, b"user.x").expect("xattr"), b"1");
    upper.allocate(f, 0, 100, 0).expect("allocate");
    upper.sync(f, crate::tree::SyncMode::All).expect("sync");
    assert_eq!(upper.attr(f).expect("attr").size, 100);
}

pub(super) fn rename(uppers: &dyn Uppers, _: Abilities) {
    let upper = uppers.fresh();
    let root = upper.root().expect("root").id;
    let [d, e, sub] = ["d", "e", "sub"].map(|base| dir(&*upper, root, base));
    let f = file(&*upper, root, "f", "f");
    file(&*upper, d, "old", "old");
    whiteout(&*upper, d, "white");
    whiteout(&*upper, d, "white-dir");
    let plain = Exchange::No(Leave::Nothing);
    let go = |from, to| move_to(&*upper, from, to, plain, false);
    go((root, "f"), (root, "g")).expect("within a directory");
    go((root, "g"), (d, "f")).expect("to another directory");
    go((d, "f"), (d, "old")).expect("over a file");
    go((d, "old"), (d, "white")).expect("over a whiteout");
    assert_eq!(bytes(&*upper, f), b"f");
    assert_eq!(found(&*upper, d, b"white").id, f);
    assert_eq!(shown(&*upper, d), "!white-dir white");
    go((root, "sub"), (d, "white-dir")).expect("a directory over a whiteout");
    assert_eq!(
        (shown(&*upper, d), shown(&*upper, root)),
        ("white white-dir/".into(), "d/ e/".into())
    );
    file(&*upper, sub, "in-sub", "");
    whiteout(&*upper, e, "w1");
    whiteout(&*upper, e, "w2");
    go((d, "white-dir"), (root, "e")).expect("a directory over one of whiteouts");
    assert_eq!(shown(&*upper, sub), "in-sub");
    assert_eq!(found(&*upper, root, b"e").id, sub);
    assert_eq!(shown(&*upper, root), "d/ e/");
    assert_eq!(errno(go((root, "d"), (root, "e"))), Errno::ENOTEMPTY);
    assert_eq!(errno(go((root, "nothing"), (root, "x"))), Errno::ENOENT);
    assert_eq!((shown(&*upper, root), shown(&*upper, d)), ("d/ e/".into(), "white".into()));
    let upper = uppers.reopen(upper);
    assert_eq!((walk(&*upper, "d/white").id, walk(&*upper, "e").id), (f, sub));
}

pub(super) fn rename_whiteout(uppers: &dyn Uppers, _: Abilities) {
    let upper = uppers.fresh();
    let root = upper.root().expect("root").id;
    let d = dir(&*upper, root, "d");
    let f = file(&*upper, root, "f", "f");
    let go = |from, to| move_to(&*upper, from, to, Exchange::No(Leave::Whiteout), false);
    go((root, "f"), (d, "g")).expect("to a free name");
    assert_eq!((shown(&*upper, root), shown(&*upper, d)), ("!f d/".into(), "g".into()));
    go((d, "g"), (root, "f")).expect("over a whiteout");
    assert_eq!((shown(&*upper, root), shown(&*upper, d)), ("d/ f".into(), "!g".into()));
    file(&*upper, root, "other", "other");
    go((root, "f"), (root, "other")).expect("over a file");
    assert_eq!(shown(&*upper, root), "!f d/ other");
    assert_eq!(bytes(&*upper, f), b"f");
    go((root, "d"), (root, "f")).expect("a directory over a whiteout");
    assert_eq!((shown(&*upper, root), shown(&*upper, d)), ("!d f/ other".into(), "!g".into()));
    let e = dir(&*upper, root, "e");
    go((root, "e"), (root, "f")).expect("a directory over one of whiteouts");
    assert_eq!((shown(&*upper, root), shown(&*upper, e)), ("!d !e f/ other".into(), String::new()));
    assert_eq!(found(&*upper, root, b"f").id, e);
}

pub(super) fn exchange(uppers: &dyn Uppers, _: Abilities) {
    let upper = uppers.fresh();
    let root = upper.root().expect("root").id;
    let d = dir(&*upper, root, "d");
    let f = file(&*upper, root, "f", "f");
    let g = file(&*upper, d, "g", "g");
    let go = |from, to| move_to(&*upper, from, to, Exchange::Yes, false);
    go((root, "f"), (d, "g")).expect("files");
    assert_eq!((found(&*upper, root, b"f").id, found(&*upper, d, b"g").id), (g, f));
    assert_eq!((bytes(&*upper, f), bytes(&*upper, g)), (b"f".to_vec(), b"g".to_vec()));
    go((root, "f"), (root, "d")).expect("file and directory");
    assert_eq!((found(&*upper, root, b"f").id, found(&*upper, root, b"d").id), (d, g));
    assert_eq!((bytes(&*upper, f), bytes(&*upper, g)), (b"f".to_vec(), b"g".to_vec()));
    assert_eq!(errno(go((root, "d"), (root, "nothing"))), Errno::ENOENT);
    assert_eq!((shown(&*upper, root), shown(&*upper, d)), ("d f/".into(), "g".into()));
}

pub(super) fn rename_opaque(uppers: &dyn Uppers, _: Abilities) {
    let upper = uppers.fresh();
    let root = upper.root().expect("root").id;
    for base in ["a", "b", "c", "d"] {
        dir(&*upper, root, base);
    }
    file(&*upper, root, "f", "");
    let plain = Exchange::No(Leave::Nothing);
    move_to(&*upper, (root, "a"), (root, "moved"), plain, true).expect("move");
    move_to(&*upper, (root, "b"), (root, "plain"), plain, false).expect("move");
    move_to(&*upper, (root, "c"), (root, "d"), Exchange::Yes, true).expect("swap");
    let opaque = |base: &[u8]| found(&*upper, root, base).opaque;
    assert!(opaque(b"moved") && opaque(b"c") && opaque(b"d"));
    assert!(!opaque(b"plain"));
    move_to(&*upper, (root, "plain"), (root, "f"), Exchange::Yes, true).expect("swap with a file");
    assert!(opaque(b"f") && !opaque(b"plain"));
    let upper = uppers.reopen(upper);
    assert!(walk(&*upper, "moved").opaque);
}

pub(super) fn replaced_but_held(uppers: &dyn Uppers, _: Abilities) {
    for leave in [Leave::Nothing, Leave::Whiteout] {
        let upper = uppers.fresh();
        let root = upper.root().expect("root").id;
        let old = file(&*upper, root, "f", "still here");
        let old_dir = dir(&*upper, root, "d");
        whiteout(&*upper, old_dir, "w");
        let new = file(&*upper, root, "g", "new");
        let new_dir = dir(&*upper, root, "e");
        let go = |from, to| move_to(&*upper, from, to, Exchange::No(leave), false);
        go((root, "g"), (root, "f")).expect("file");
        go((root, "e"), (root, "d")).expect("directory");
        unlinked_works(&*upper, old);
        assert_eq!(upper.attr(old_dir).expect("attr").kind, crate::tree::Kind::Directory);
        assert_eq!(bytes(&*upper, new), b"new");
        assert_eq!(found(&*upper, root, b"d").id, new_dir);
    }
}

pub(super) fn moved_dirs(uppers: &dyn Uppers, _: Abilities) {
    let upper = uppers.fresh();
    let root = upper.root().expect("root").id;
    let a = dir(&*upper, root, "a");
    let b = dir(&*upper, a, "b");
    let c = dir(&*upper, b, "c");
    let f = file(&*upper, c, "f", "deep");
    let plain = Exchange::No(Leave::Nothing);
    move_to(&*upper, (a, "b"), (root, "moved"), plain, false).expect("move");
    upper.write_at(f, 4, b"er").expect("write_at");
    assert_eq!(bytes(&*upper, f), b"deeper");
    file(&*upper, c, "new", "");
    let other = dir(&*upper, root, "other");
    move_to(&*upper, (root, "moved"), (root, "other"), Exchange::Yes, false).expect("swap");
    file(&*upper, other, "in-other", "");
    assert_eq!((shown(&*upper, c), shown(&*upper, other)), ("f new".into(), "in-other".into()));
    let upper = uppers.reopen(upper);
    assert_eq!(walk(&*upper, "other/c/f").id, f);
    assert_eq!(bytes(&*upper, f), b"deeper");
}

pub(super) fn threads(uppers: &dyn Uppers, _: Abilities) {
    let upper = uppers.fresh();
    let root = upper.root().expect("root").id;
    let shared = dir(&*upper, root, "shared");
    let winners: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let upper: &dyn Upper = &*upper;
                scope.spawn(move || busy(upper, root, shared, n))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    assert_eq!(winners, 50, "each name has one maker");
    assert_eq!(upper.list(shared).expect("list").len(), 50);
    assert_eq!(shown(&*upper, root), "shared/ t0/ t1/ t2/ t3/");
}

/// Changes names in a directory of its own; returns how many of 50 names that all threads want it
/// got.
fn busy(upper: &dyn Upper, root: NodeId, shared: NodeId, n: usize) -> usize {
    let mine = dir(upper, root, &format!("t{n}"));
    let owner = upper.root().expect("root").attr;
    let mut won = 0;
    for round in 0..50 {
        let base = format!("f{round}");
        let node = file(upper, mine, &base, &base);
        let plain = Exchange::No(Leave::Whiteout);
        move_to(upper, (mine, &base), (mine, "to"), plain, false).expect("rename");
        assert_eq!(bytes(upper, node), base.as_bytes());
        upper.remove(mine, &name("to"), Leave::Nothing).expect("remove");
        assert_eq!(bytes(upper, node), base.as_bytes());
        upper.forget(node, 1);
        match upper.slot(mine, &name(&base)) {
            Ok(Slot::Whiteout) => {}
            other => panic!("{other:?}"),
        }
        let wanted = new(NewKind::File, 0o600, (owner.uid, owner.gid));
        match upper.make(shared, &name(&base), &wanted) {
            Ok(_) => won += 1,
            Err(error) => assert_eq!(error.errno(), Errno::EEXIST),
        }
    }
    won
}
