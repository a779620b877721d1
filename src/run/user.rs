//! Who the command runs as: `USER[:GROUP]`, each a name or a number, as the container's own
//! `/etc/passwd` and `/etc/group` (passwd(5), group(5)) have it.

use std::path::PathBuf;
use std::str::FromStr;

use super::{Error, Result};

/// The user and group that were asked for, by name or number. The default is user 0.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User {
    user: Option<String>,
    group: Option<String>,
}

/// The same in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Supplementary groups.
    pub(super) groups: Vec<u32>,
    /// The home directory, of a user that has an entry.
    pub(super) home: Option<PathBuf>,
}

/// The largest id, as container engines have it.
const MAX_ID: u32 = i32::MAX.unsigned_abs();

/// The most supplementary groups (setgroups(2)).
const MAX_GROUPS: usize = 65_536;

impl FromStr for User {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        if group.is_some_and(|group| group.contains(':')) || text.contains('\0') {
            return Err(invalid(text, "it is not of the form USER[:GROUP]"));
        }
        let given = |part: &str| (!part.is_empty()).then(|| part.to_owned());
        Ok(Self { user: given(user), group: group.and_then(given) })
    }
}

impl User {
    /// Finds the numbers in the content of the container's user and group databases.
    pub(super) fn resolve(&self, passwd: &[u8], group: &[u8]) -> Result<Identity> {
        let wanted = self.user.as_deref().unwrap_or("0");
        let entry = lines(passwd)
            .filter_map(PasswdEntry::parse)
            .find(|entry| entry.name == wanted.as_bytes())
            .or_else(|| {
                let uid: u32 = wanted.parse().ok()?;
                lines(passwd).filter_map(PasswdEntry::parse).find(|entry| entry.uid == uid)
            });
        let uid = match &entry {
            Some(entry) => entry.uid,
            None => number(wanted, "there is no such user in /etc/passwd of the container")?,
        };
        let (gid, groups) = match &self.group {
            Some(wanted) => (find_group(wanted, group)?, Vec::new()),
            None => match &entry {
                Some(entry) => (entry.gid, groups_of(entry.name, group)),
                None => (0, Vec::new()),
            },
        };
        let home = entry.and_then(|entry| {
            use std::os::unix::ffi::OsStrExt as _;
            let home = PathBuf::from(std::ffi::OsStr::from_bytes(entry.home));
            home.is_absolute().then_some(home)
        });
        Ok(Identity { uid, gid, groups, home })
    }
}

struct PasswdEntry<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: &'a [u8],
}

impl<'a> PasswdEntry<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.split(|&b| b == b':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let (uid, gid) = (id(fields.next()?)?, id(fields.next()?)?);
        let (_comment, home) = (fields.next()?, fields.next()?);
        (!name.is_empty()).then_some(Self { name, uid, gid, home })
    }
}

/// Name, number and members of the group in a line.
fn group_entry(line: &[u8]) -> Option<(&[u8], u32, &[u8])> {
    let mut fields = line.split(|&b| b == b':');
    let (name, _password) = (fields.next()?, fields.next()?);
    let gid = id(fields.next()?)?;
    Some((name, gid, fields.next().unwrap_or_default()))
}

fn find_group(wanted: &str, group: &[u8]) -> Result<u32> {
    let named = lines(group)
        .filter_map(group_entry)
        .find_map(|(name, gid, _)| (name == wanted.as_bytes()).then_some(gid));
    match named {
        Some(gid) => Ok(gid),
        None => number(wanted, "there is no such group in /etc/group of the container"),
    }
}

fn groups_of(user: &[u8], group: &[u8]) -> Vec<u32> {
    let mut groups: Vec<u32> = lines(group)
        .filter_map(group_entry)
        .filter(|(_, _, members)| members.split(|&b| b == b',').any(|member| member == user))
        .map(|(_, gid, _)| gid)
        .take(MAX_GROUPS)
        .collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split(|&b| b == b'\n').map(<[u8]>::trim_ascii)
}

fn id(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok().filter(|&id| id <= MAX_ID)
}

fn number(text: &str, otherwise: &str) -> Result<u32> {
    match text.parse::<u64>() {
        Ok(number) => u32::try_from(number)
            .ok()
            .filter(|&id| id <= MAX_ID)
            .ok_or_else(|| invalid(text, "ids go from 0 to 2147483647")),
        Err(_) => Err(invalid(text, otherwise)),
    }
}

fn invalid(value: &str, why: &str) -> Error {
    Error::Invalid { option: "user", value: value.to_owned(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::{Identity, User};

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\
        # a comment\n\
        broken:x:seven\n\
        www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n\
        1000:x:7:8::/home/odd:/bin/sh\n";
    const GROUP: &[u8] =
        b"root:x:0:\nwww-data:x:33:\naudio:x:29:www-data,other\nvideo:x:44:www-data\n";

    fn resolve(text: &str) -> super::Result<Identity> {
        text.parse::<User>().unwrap().resolve(PASSWD, GROUP)
    }

    #[test]
    fn a_user_without_a_group_has_the_groups_of_the_databases() {
        let www = resolve("www-data").unwrap();
        assert_eq!((www.uid, www.gid, www.groups), (33, 33, vec![29, 44]));
        assert_eq!(www.home.unwrap().to_str(), Some("/var/www"));
        assert_eq!(resolve("33").unwrap().groups, [29, 44]);
        let nobody = resolve("4711").unwrap();
        assert_eq!(nobody, Identity { uid: 4711, gid: 0, groups: vec![], home: None });
        assert_eq!(resolve("").unwrap().home.unwrap().to_str(), Some("/root"));
    }

    #[test]
    fn a_group_that_is_given_is_the_only_one() {
        let www = resolve("www-data:audio").unwrap();
        assert_eq!((www.gid, www.groups), (29, vec![]));
        assert_eq!(resolve("0:77").unwrap().gid, 77);
        assert_eq!(resolve(":audio").unwrap().gid, 29);
    }

    #[test]
    fn a_name_comes_before_a_number() {
        assert_eq!(resolve("1000").unwrap().uid, 7);
    }

    #[test]
    fn what_is_not_there_or_no_id_is_refused() {
        for text in ["nobody-here", "broken", "0:nogroup", "-1", "4294967295", "99999999999"] {
            assert!(resolve(text).is_err(), "{text}");
        }
        assert!("a:b:c".parse::<User>().is_err());
    }
}
