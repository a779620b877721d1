//! Which file is which, also where an upper layer was put together by hand.

use std::sync::Arc;

use mica::testing::mem::MemUpper;
use mica::tree::{
    CopyUp, Data, Errno, Ino, LayerId, Lower, NodeId, Origin, Place, Result, Seek, Slot, Upper as _,
};

use super::support::{bytes, file, ino, lower, view};
use crate::model::mem_layer::name;

struct Text(&'static [u8]);

impl Data for Text {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let rest = &self.0[usize::try_from(offset).unwrap().min(self.0.len())..];
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn seek(&self, offset: u64, seek: Seek) -> Result<u64> {
        match seek {
            _ if offset >= self.0.len() as u64 => Err(Errno::ENXIO.into()),
            Seek::Data => Ok(offset),
            Seek::Hole => Ok(self.0.len() as u64),
        }
    }
}

/// Puts a file into the upper layer that says it is a copy of `a` of layer 1.
fn forge(upper: &MemUpper, layer: &dyn Lower, base: &str, text: &'static [u8]) {
    let Ok(Slot::Node(node)) = layer.slot(layer.root().unwrap().id, &name("a")) else {
        panic!("the layer has no a")
    };
    let root = upper.root().unwrap().id;
    let from = CopyUp {
        attr: &node.attr,
        xattrs: &[],
        target: b"",
        data: Some(&Text(text)),
        keep: text.len() as u64,
        origin: Origin { layer: layer.id(), node: node.id },
        index: false,
    };
    upper.copy_up(Place::Entry { dir: root, name: &name(base) }, &from).unwrap();
}

#[test]
fn files_that_claim_one_origin_are_different_files() {
    let layer = lower(1, &[("a", file("lower"))]);
    let orders = [["a", "b", "c"], ["c", "b", "a"], ["b", "a", "c"]];
    for order in orders {
        let upper = Arc::new(MemUpper::new());
        forge(&upper, &*layer, "b", b"first copy");
        forge(&upper, &*layer, "c", b"second copy");
        let union = view(&[Arc::clone(&layer)], &upper);
        let inos: Vec<Ino> = order.iter().map(|path| ino(&union, path)).collect();
        assert!(inos[0] != inos[1] && inos[1] != inos[2] && inos[0] != inos[2], "{order:?}");
        for (path, text) in [("a", "lower"), ("b", "first copy"), ("c", "second copy")] {
            assert_eq!(bytes(&union, path), text, "{order:?}: {path}");
        }
        union.write(ino(&union, "a"), 0, b"LOWER").unwrap();
        assert_eq!(bytes(&union, "a"), "LOWER");
        assert_eq!(bytes(&union, "b"), "first copy");
    }
}

#[test]
fn a_copy_of_one_of_several_names_does_not_stand_for_the_others() {
    use crate::model::layers::What;
    let layer = lower(1, &[("a", file("lower")), ("b", What::HardLink(vec!["a"]))]);
    let upper = Arc::new(MemUpper::new());
    // As overlayfs without an index leaves it.
    forge(&upper, &*layer, "a", b"changed");
    let union = view(&[layer], &upper);
    assert_eq!((bytes(&union, "a"), bytes(&union, "b")), ("changed".into(), "lower".into()));
    assert_ne!(ino(&union, "a"), ino(&union, "b"));
}

#[test]
fn an_origin_in_a_layer_that_is_not_there_is_no_harm() {
    let layer = lower(1, &[("a", file("lower"))]);
    let upper = Arc::new(MemUpper::new());
    forge(&upper, &*layer, "a", b"changed");
    let union = view(&[lower(2, &[("x", file("x"))])], &upper);
    assert_eq!(bytes(&union, "a"), "changed");
}

#[test]
fn another_layer_on_top_changes_no_inode_number() {
    let bottom = lower(1, &[("d/a", file("x"))]);
    let top = lower(2, &[("d/b", file("y"))]);
    let upper = Arc::new(MemUpper::new());
    let before = ino(&view(&[Arc::clone(&bottom)], &upper), "d/a");
    assert_eq!(ino(&view(&[bottom, top], &upper), "d/a"), before);
}

#[test]
fn numbers_that_do_not_fit_are_still_unique_and_the_root_stays_the_root() {
    // 1,100 layers of one file each: the last ones have no numbers of their own.
    let names = ["a", "b", "c", "d"];
    let layers: Vec<Arc<dyn Lower>> = (0..1100_u32)
        .map(|n| {
            let mut layer = mica::testing::mem::MemLayer::new(LayerId(u64::from(n).to_be_bytes()));
            let new = mica::tree::NewNode {
                kind: mica::tree::NewKind::File,
                mode: 0o644,
                uid: 0,
                gid: 0,
                xattrs: &[],
            };
            let base = format!("{}{n}", names[n as usize % 4]);
            layer.add(NodeId(1), &name(&base), &new).unwrap();
            Arc::new(layer) as Arc<dyn Lower>
        })
        .collect();
    let upper = Arc::new(MemUpper::new());
    let union = view(&layers, &upper);
    let mut seen = std::collections::HashSet::from([Ino::ROOT]);
    let mut listed = Vec::new();
    union
        .list(Ino::ROOT, 0, &mut |dirent| {
            if dirent.name != b"." && dirent.name != b".." {
                listed.push((String::from_utf8(dirent.name.to_vec()).unwrap(), dirent.ino));
            }
            true
        })
        .unwrap();
    assert_eq!(listed.len(), 1100);
    for (base, listed) in listed {
        assert_eq!(ino(&union, &base), listed, "{base}");
        assert!(seen.insert(listed) && listed.raw() < 1 << 48, "{base}");
    }
}

#[test]
fn every_name_of_a_copied_file_can_be_moved_and_stays_a_name_of_it() {
    use crate::model::layers::What;
    use mica::union::RenameMode;
    let link = || What::HardLink(vec!["a"]);
    let items = [("a", file("lower")), ("d/b", link()), ("d/c", link()), ("d/d", file("other"))];
    let layers = [lower(1, &items)];
    let upper = Arc::new(MemUpper::new());
    let before = ino(&view(&layers, &upper), "a");
    {
        let union = view(&layers, &upper);
        union.write(ino(&union, "a"), 0, b"LOWER").unwrap();
    }
    // The upper layer has the name a only; the others lead to it by the index.
    let union = view(&layers, &upper);
    let dir = ino(&union, "d");
    union.rename((dir, &name("b")), (Ino::ROOT, &name("e")), RenameMode::Replace).unwrap();
    union.rename((dir, &name("c")), (dir, &name("d")), RenameMode::Exchange).unwrap();
    drop(union);
    let union = view(&layers, &upper);
    for path in ["a", "e", "d/d"] {
        assert_eq!((ino(&union, path), &*bytes(&union, path)), (before, "LOWER"), "{path}");
    }
    assert_eq!(bytes(&union, "d/c"), "other");
    assert_eq!(super::support::find(&union, "d/b").unwrap_err().errno(), Errno::ENOENT);
}
