//! Unpacking a layer onto the tree of the oracle, as the image specification says.

use std::collections::BTreeMap;

use mica::tree::{Device, Kind};

use super::layers::{Item, Layer, Path, What};
use super::oracle::{Content, File, Id, Oracle};

impl Oracle {
    /// First what the layer deletes, then what it brings.
    pub(crate) fn unpack(&mut self, layer: &Layer) {
        for (path, item) in &layer.items {
            match item.what {
                What::Whiteout => {
                    if let Ok((dir, name)) = self.parent(path) {
                        self.names(dir).remove(name);
                    }
                }
                What::Directory { opaque: true } => {
                    if let Ok(dir) = self.find(path)
                        && let Content::Directory(names) = &mut self.files[dir].content
                    {
                        names.clear();
                    }
                }
                _ => {}
            }
        }
        let mut brought: BTreeMap<&Path, Id> = BTreeMap::new();
        let mut later = Vec::new();
        for (path, item) in &layer.items {
            match &item.what {
                What::Whiteout => {}
                What::HardLink(to) => later.push((path, to)),
                _ => {
                    let id = self.bring(path, item);
                    brought.insert(path, id);
                }
            }
        }
        for (path, to) in later {
            let (dir, name) = self.parent(path).expect("the layer brought it");
            let id = brought[to];
            self.files[id].lower_names += 1;
            self.files[id].nlink = Some(self.files[id].lower_names);
            self.names(dir).insert(name, id);
        }
    }

    fn bring(&mut self, path: &Path, item: &Item) -> Id {
        let (dir, name) = self.parent(path).expect("parents come first");
        let special = |kind, device| Content::Special(kind, device);
        let content = match &item.what {
            What::Directory { .. } => match self.find(path).map(|id| &self.files[id].content) {
                Ok(Content::Directory(names)) => Content::Directory(names.clone()),
                _ => Content::Directory(BTreeMap::new()),
            },
            What::File(bytes) => Content::File(bytes.clone()),
            What::Symlink => Content::Symlink,
            What::Fifo => special(Kind::Fifo, Device::default()),
            What::Socket => special(Kind::Socket, Device::default()),
            What::CharDevice(device) => special(Kind::CharDevice, *device),
            What::BlockDevice(device) => special(Kind::BlockDevice, *device),
            What::HardLink(_) | What::Whiteout => unreachable!("handled by the caller"),
        };
        let mode = if content == Content::Symlink { 0o777 } else { item.mode };
        let mut file = File::new(content, mode, item.owner);
        (file.mtime, file.xattrs, file.lower_names) = (Some(item.time), item.xattrs.clone(), 1);
        self.files.push(file);
        let id = self.files.len() - 1;
        self.names(dir).insert(name, id);
        id
    }
}
