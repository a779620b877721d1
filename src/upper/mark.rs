//! Marks: how a layer on disk says "deleted", "opaque" and "copied up from".
//!
//! The only place that spells character device 0:0 and the `overlay` attributes. Every dialect is
//! read; see `docs/FORMATS.md`, "Upper layer".

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;

use super::error::{Error, Result};
use crate::oci::whiteout::{self, Spelling};
use crate::sys::at::{self, FileType, Stat};
use crate::sys::xattr::{self, Of, Set};
use crate::tree::{Errno, LayerId, NodeId, Origin};

/// The first parts of attribute names that are marks, and so none of the user's. An attribute of
/// the user that has such a name is stored with the last word of the prefix twice, as overlayfs
/// does it: `user.overlay.opaque` as `user.overlay.overlay.opaque`.
const RESERVED: [(&[u8], &[u8]); 3] = [
    (b"trusted.overlay.", b"overlay."),
    (b"user.overlay.", b"overlay."),
    (b"user.fuseoverlayfs.", b"fuseoverlayfs."),
];

const OPAQUE: &[u8] = b"opaque";
const WHITEOUT: &[u8] = b"whiteout";
const ORIGIN: &[u8] = b"mica.origin";

/// The version of the value of the origin attribute.
const ORIGIN_VERSION: u8 = 1;

/// Which family of attributes marks are written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// `trusted.overlay.*`: what the kernel's overlayfs reads by default; needs privilege.
    Trusted,
    /// `user.overlay.*`: what it reads with `userxattr`; on files and directories only.
    User,
}

impl Family {
    fn attr(self, mark: &[u8]) -> Vec<u8> {
        let prefix: &[u8] = match self {
            Self::Trusted => b"trusted.overlay.",
            Self::User => b"user.overlay.",
        };
        [prefix, mark].concat()
    }
}

/// How a whiteout is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// A character device 0:0 of the name.
    Device,
    /// An empty file of the name with an attribute, in a directory with another.
    Attribute(Family),
    /// An empty file `.wh.NAME`.
    Name,
}

/// Whether names that begin with `.wh.` are marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DotWh {
    /// They are names like any other.
    #[default]
    Plain,
    /// They are whiteouts and opaque marks, as image layers spell them and as some tools leave
    /// them in directories. Such names are never shown and cannot be made (`EINVAL`).
    Marks,
}

/// What the marks on a file say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// It is no file but a whiteout.
    pub(super) whiteout: bool,
    /// It is an opaque directory.
    pub(super) opaque: bool,
    /// What it was copied up from.
    pub(super) origin: Option<Origin>,
}

fn is_device_0(stat: &Stat) -> bool {
    stat.kind == FileType::CharacterDevice && stat.rdev == (0, 0)
}

/// Whether a device number is the one of whiteouts, which nobody else may make.
pub(super) fn is_whiteout_device(device: at::Device) -> bool {
    device == (0, 0)
}

/// Reads the marks of `name` in `dir`. `specials` says that special files may have marks too.
///
/// One system call for a file that can have marks and has none.
pub(super) fn read(
    dir: BorrowedFd<'_>,
    name: &OsStr,
    stat: &Stat,
    specials: bool,
) -> Result<Marks> {
    if is_device_0(stat) {
        return Ok(Marks { whiteout: true, ..Marks::default() });
    }
    let plain = matches!(stat.kind, FileType::RegularFile | FileType::Directory);
    if !plain && !specials {
        return Ok(Marks::default());
    }
    read_attrs(Of::Name(dir, name), name, stat)
}

/// Reads the marks of an open file.
pub(super) fn read_open(fd: BorrowedFd<'_>, stat: &Stat) -> Result<Marks> {
    read_attrs(Of::Fd(fd), OsStr::new("."), stat)
}

fn read_attrs(of: Of<'_>, name: &OsStr, stat: &Stat) -> Result<Marks> {
    let mut marks = Marks::default();
    let is_dir = stat.kind == FileType::Directory;
    let is_file = stat.kind == FileType::RegularFile;
    let foreign = |mark, option| {
        let name = name.as_encoded_bytes().escape_ascii().to_string();
        Err(Error::Foreign { name, mark, option })
    };
    for attr in xattr::list(of)?.split(|&byte| byte == 0) {
        let Some(mark) = RESERVED.iter().find_map(|(prefix, _)| attr.strip_prefix(*prefix)) else {
            continue;
        };
        match mark {
            OPAQUE if is_dir => {
                marks.opaque |= xattr::get(of, attr)?.is_some_and(|value| value == b"y");
            }
            WHITEOUT if is_file && stat.size == 0 => marks.whiteout = true,
            ORIGIN => marks.origin = xattr::get(of, attr)?.and_then(|value| parse_origin(&value)),
            b"metacopy" if is_file => return foreign("overlay.metacopy", "metacopy=on"),
            b"redirect" if is_dir => return foreign("overlay.redirect", "redirect_dir=on"),
            _ => {}
        }
    }
    Ok(marks)
}

fn parse_origin(value: &[u8]) -> Option<Origin> {
    let (&version, rest) = value.split_first()?;
    let (layer, node) = rest.split_first_chunk::<8>()?;
    let node = <[u8; 8]>::try_from(node).ok()?;
    (version == ORIGIN_VERSION)
        .then_some(Origin { layer: LayerId(*layer), node: NodeId(u64::from_be_bytes(node)) })
}

/// Sets an attribute of no meaning, to see whether marks of this family can be set.
pub(super) fn write_probe(of: Of<'_>, family: Family) -> Result<()> {
    Ok(xattr::set(of, &family.attr(b"mica.probe"), b"y", Set::Any)?)
}

/// Records what a file was copied up from.
pub(super) fn write_origin(of: Of<'_>, family: Family, origin: Origin) -> Result<()> {
    let node = origin.node.0.to_be_bytes();
    let value = [&[ORIGIN_VERSION][..], &origin.layer.0, &node].concat();
    Ok(xattr::set(of, &family.attr(ORIGIN), &value, Set::Any)?)
}

/// Marks a directory as opaque: by an attribute, or without a family of them by a file in it.
pub(super) fn write_opaque(
    dir: BorrowedFd<'_>,
    name: &OsStr,
    family: Option<Family>,
) -> Result<()> {
    if let Some(family) = family {
        return Ok(xattr::set(Of::Name(dir, name), &family.attr(OPAQUE), b"y", Set::Any)?);
    }
    let Some(inner) = at::open_path(dir, name)? else {
        return Err(Error::Refused(Errno::ENOENT));
    };
    match at::create(inner.as_fd(), OsStr::from_bytes(whiteout::opaque()), 0) {
        Ok(_) => Ok(()),
        Err(error) if error.errno() == Errno::EEXIST.raw() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Makes a whiteout that is not `.wh.NAME`, of any name.
pub(super) fn make_whiteout(
    dir: BorrowedFd<'_>,
    name: &OsStr,
    family: Option<Family>,
) -> Result<()> {
    let Some(family) = family else {
        return Ok(at::mknod(dir, name, FileType::CharacterDevice, 0, (0, 0))?);
    };
    // Attributes `user.*` are for who may write to the file.
    drop(at::create(dir, name, 0o200)?);
    Ok(xattr::set(Of::Name(dir, name), &family.attr(WHITEOUT), b"y", Set::Any)?)
}

/// Says of an open directory that it may hold whiteouts that are attributes, as overlayfs
/// demands it. An opaque directory keeps its mark: what is in it hides nothing.
pub(super) fn announce_whiteouts(dir: BorrowedFd<'_>, family: Family) -> Result<()> {
    match xattr::set(Of::Fd(dir), &family.attr(OPAQUE), b"x", Set::Create) {
        Err(error) if error.errno() == Errno::EEXIST.raw() => Ok(()),
        other => Ok(other?),
    }
}

/// What a name on disk means.
pub(super) fn spelling(name: &[u8], dot_wh: DotWh) -> Spelling<'_> {
    match dot_wh {
        DotWh::Plain => Spelling::Plain(name),
        DotWh::Marks => whiteout::read(name),
    }
}

/// The name on disk of an attribute of the user.
pub(super) fn stored(attr: &[u8]) -> Cow<'_, [u8]> {
    for (prefix, word) in RESERVED {
        if let Some(rest) = attr.strip_prefix(prefix) {
            return Cow::Owned([prefix, word, rest].concat());
        }
    }
    Cow::Borrowed(attr)
}

/// The attribute of the user that has this name on disk; `None` for a mark.
pub(super) fn shown(attr: &[u8]) -> Option<Cow<'_, [u8]>> {
    for (prefix, word) in RESERVED {
        if let Some(rest) = attr.strip_prefix(prefix) {
            return rest.strip_prefix(word).map(|rest| Cow::Owned([prefix, rest].concat()));
        }
    }
    Some(Cow::Borrowed(attr))
}

#[cfg(test)]
mod tests {
    use super::{parse_origin, shown, stored};
    use crate::tree::{LayerId, NodeId, Origin};

    #[test]
    fn what_a_user_sets_is_shown_and_never_a_mark() {
        for attr in [
            &b"user.a"[..],
            b"user.overlay.opaque",
            b"trusted.overlay.overlay.origin",
            b"user.fuseoverlayfs.opaque",
            b"user.overlay.",
            b"user.overlay",
        ] {
            let on_disk = stored(attr);
            assert_eq!(shown(&on_disk).as_deref(), Some(attr));
        }
        assert_eq!(&*stored(b"user.overlay.opaque"), b"user.overlay.overlay.opaque");
        assert_eq!(shown(b"user.overlay.opaque"), None);
        assert_eq!(shown(b"trusted.overlay.mica.origin"), None);
    }

    #[test]
    fn an_origin_of_another_version_or_length_is_none() {
        let value = *b"\x01layer-id\0\0\0\0\0\0\x01\x02";
        let origin = Origin { layer: LayerId(*b"layer-id"), node: NodeId(0x102) };
        assert_eq!(parse_origin(&value), Some(origin));
        assert_eq!(parse_origin(&value[..16]), None);
        assert_eq!(parse_origin(&[&value[..], b"x"].concat()), None);
        assert_eq!(parse_origin(&[b"\x02", &value[1..]].concat()), None);
        assert_eq!(parse_origin(b""), None);
    }
}
