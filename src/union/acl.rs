//! POSIX access control lists, as far as a new file inherits them.
//!
//! The form is that of the extended attributes `system.posix_acl_access` and
//! `system.posix_acl_default`: a version (2) of 4 bytes, then 8 bytes an entry: tag and
//! permissions of 2 bytes each, and an id of 4, all little-endian (acl(5),
//! `include/uapi/linux/posix_acl_xattr.h`).

use crate::tree::{Errno, Error, Result};

pub(super) const ACCESS: &[u8] = b"system.posix_acl_access";
pub(super) const DEFAULT: &[u8] = b"system.posix_acl_default";

const VERSION: [u8; 4] = 2u32.to_le_bytes();
const ENTRY_LEN: usize = 8;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    tag: u16,
    perm: u16,
    id: u32,
}

/// An access control list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Acl(Vec<Entry>);

/// What a new file gets from the default list of its directory.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Inherited {
    /// Its permission bits.
    pub(super) mode: u16,
    /// Its access list, unless the permission bits say the same.
    pub(super) access: Option<Acl>,
}

impl Acl {
    /// Reads the value of an extended attribute.
    pub(super) fn decode(value: &[u8]) -> Result<Self> {
        let wrong = |what: &str| Error::new(Errno::EIO, format!("default ACL: {what}"));
        let Some(entries) = value.strip_prefix(&VERSION) else {
            return Err(wrong("not of version 2"));
        };
        let (entries, []) = entries.as_chunks::<ENTRY_LEN>() else {
            return Err(wrong("its length is no whole number of entries"));
        };
        let mut acl = Vec::with_capacity(entries.len());
        for &[t0, t1, p0, p1, i0, i1, i2, i3] in entries {
            let tag = u16::from_le_bytes([t0, t1]);
            let perm = u16::from_le_bytes([p0, p1]);
            if !matches!(tag, USER_OBJ | USER | GROUP_OBJ | GROUP | MASK | OTHER) || perm > 7 {
                return Err(wrong("an entry of no known kind"));
            }
            acl.push(Entry { tag, perm, id: u32::from_le_bytes([i0, i1, i2, i3]) });
        }
        Ok(Self(acl))
    }

    /// The value for an extended attribute.
    pub(super) fn encode(&self) -> Box<[u8]> {
        let entries = self.0.iter().flat_map(|entry| {
            let (tag, perm) = (entry.tag.to_le_bytes(), entry.perm.to_le_bytes());
            tag.into_iter().chain(perm).chain(entry.id.to_le_bytes())
        });
        VERSION.into_iter().chain(entries).collect()
    }

    /// What a file that is made with `mode` inherits from this default list (acl(5), "Object
    /// creation and default ACLs").
    pub(super) fn inherit(&self, mode: u16) -> Inherited {
        let mut acl = self.clone();
        let masked = acl.0.iter().any(|entry| entry.tag == MASK);
        let extended = acl.0.iter().any(|entry| matches!(entry.tag, USER | GROUP | MASK));
        let mut allowed = mode & !0o777;
        for entry in &mut acl.0 {
            let shift = match entry.tag {
                USER_OBJ => 6,
                MASK => 3,
                GROUP_OBJ if !masked => 3,
                OTHER => 0,
                _ => continue,
            };
            entry.perm &= mode >> shift;
            allowed |= entry.perm << shift;
        }
        Inherited { mode: allowed, access: extended.then_some(acl) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Acl, Entry, GROUP_OBJ, MASK, OTHER, USER, USER_OBJ};

    const ANYONE: u32 = u32::MAX;

    fn acl(entries: &[(u16, u16, u32)]) -> Acl {
        Acl(entries.iter().map(|&(tag, perm, id)| Entry { tag, perm, id }).collect())
    }

    #[test]
    fn the_bytes_are_those_that_setfacl_writes() {
        // getfattr -d -m - of a directory after `setfacl -d -m u:1000:rwx`.
        let bytes = [
            2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 7, 0, 0xe8, 3, 0, 0, 4, 0, 5, 0, 255,
            255, 255, 255, 16, 0, 7, 0, 255, 255, 255, 255, 32, 0, 5, 0, 255, 255, 255, 255,
        ];
        let read = Acl::decode(&bytes).unwrap();
        let expected = acl(&[
            (USER_OBJ, 7, ANYONE),
            (USER, 7, 1000),
            (GROUP_OBJ, 5, ANYONE),
            (MASK, 7, ANYONE),
            (OTHER, 5, ANYONE),
        ]);
        assert_eq!(read, expected);
        assert_eq!(*read.encode(), bytes);
    }

    #[test]
    fn a_new_file_gets_no_more_than_it_asks_for() {
        let default = acl(&[
            (USER_OBJ, 7, ANYONE),
            (USER, 7, 1000),
            (GROUP_OBJ, 5, ANYONE),
            (MASK, 7, ANYONE),
            (OTHER, 5, ANYONE),
        ]);
        let inherited = default.inherit(0o4640);
        assert_eq!(inherited.mode, 0o4640);
        let expected = acl(&[
            (USER_OBJ, 6, ANYONE),
            (USER, 7, 1000),
            (GROUP_OBJ, 5, ANYONE),
            (MASK, 4, ANYONE),
            (OTHER, 0, ANYONE),
        ]);
        assert_eq!(inherited.access, Some(expected));
    }

    #[test]
    fn a_list_of_three_entries_is_only_permission_bits() {
        let default = acl(&[(USER_OBJ, 7, ANYONE), (GROUP_OBJ, 5, ANYONE), (OTHER, 0, ANYONE)]);
        let inherited = default.inherit(0o666);
        assert_eq!((inherited.mode, inherited.access), (0o640, None));
    }

    #[test]
    fn bytes_that_are_no_list_are_an_error() {
        for bad in
            [&b""[..], &[1, 0, 0, 0], &[2, 0, 0, 0, 1], &[2, 0, 0, 0, 3, 0, 7, 0, 0, 0, 0, 0]]
        {
            Acl::decode(bad).unwrap_err();
        }
    }
}
