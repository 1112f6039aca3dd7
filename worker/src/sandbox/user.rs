//! Who runs a step: `USER` as a Dockerfile writes it, against the root's own `/etc/passwd` and `/etc/group`.
//! Both files are the image's, so they are opened within the root and read with a bound.
//! The rules are those of BuildKit and of moby/sys/user.

use std::fs::File;
use std::io::Read;
use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, OFlags, fstat};
use rustix::io::Errno;

use super::error::{During, Failure};
use crate::rooted::open_in_root;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// Far more than any real file; a larger one is refused, not cut.
const LARGEST: u64 = 16 << 20;

/// A user as the kernel wants him.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Supplementary groups, without `gid`.
    pub(super) groups: Vec<u32>,
    /// His home directory, `/` if nothing is known of him.
    pub(super) home: String,
}

/// Finds out who `user` is in `root`.
pub(super) fn look_up(root: BorrowedFd<'_>, user: &str) -> Result<Account, Failure> {
    let passwd = match read(root, PASSWD) {
        // Only the home directory is lost.
        Err(_) if is_known_without_files(user) => String::new(),
        result => result?,
    };
    resolve(user, &passwd, || read(root, GROUP))
}

fn is_known_without_files(user: &str) -> bool {
    let numeric = |(user, group)| parse_id(user).is_some() && parse_id(group).is_some();
    user.is_empty() || user.split_once(':').is_some_and(numeric)
}

/// The file's text; nothing if the root has no such file.
fn read(root: BorrowedFd<'_>, path: &str) -> Result<String, Failure> {
    // A FIFO that nobody writes to must not hold us up, and a terminal must not become ours.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match open_in_root(root, path, flags) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(String::new()),
        result => result.during("open the step's", path)?,
    };
    let stat = fstat(&file).during("examine the step's", path)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(refused("must be a regular file", path));
    }
    let mut bytes = Vec::new();
    File::from(file)
        .take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .during("read the step's", path)?;
    if bytes.len() as u64 > LARGEST {
        return Err(refused("is too large", path));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn refused(what: &str, path: &str) -> Failure {
    Failure::Invalid {
        what: format!("the step's account file {what}"),
        value: path.into(),
    }
}

fn resolve(
    user: &str,
    passwd: &str,
    group: impl FnOnce() -> Result<String, Failure>,
) -> Result<Account, Failure> {
    let (name, group_name) = match user.split_once(':') {
        Some((name, group)) => (name, Some(group).filter(|group| !group.is_empty())),
        None => (user, None),
    };
    let uid = if name.is_empty() {
        Some(0)
    } else {
        parse_id(name)
    };
    let entry = passwd
        .lines()
        .filter_map(parse_entry)
        .find(|entry| match uid {
            Some(uid) => entry.uid == uid,
            None => entry.name == name,
        });
    let (Some(uid), home) = (
        uid.or(entry.as_ref().map(|entry| entry.uid)),
        entry.as_ref().map_or("/", |entry| entry.home).to_owned(),
    ) else {
        return Err(unknown("user", name, PASSWD));
    };
    let gid = entry.as_ref().map_or(0, |entry| entry.gid);
    let account = Account {
        uid,
        gid,
        groups: Vec::new(),
        home,
    };
    match (group_name, group_name.and_then(parse_id)) {
        (Some(_), Some(gid)) => Ok(Account { gid, ..account }),
        (Some(name), None) => {
            let text = group()?;
            let found = text
                .lines()
                .filter_map(parse_group)
                .find(|group| group.name == name);
            let gid = found
                .map(|group| group.gid)
                .ok_or_else(|| unknown("group", name, GROUP))?;
            Ok(Account { gid, ..account })
        }
        // Nobody was named: root, and nothing more.
        (None, _) if user.is_empty() => Ok(Account { gid: 0, ..account }),
        (None, _) => match entry {
            Some(entry) => {
                let text = group()?;
                let groups = text.lines().filter_map(parse_group);
                let member = groups.filter(|group| group.has(entry.name) && group.gid != gid);
                Ok(Account {
                    groups: member.map(|group| group.gid).collect(),
                    ..account
                })
            }
            None => Ok(account),
        },
    }
}

/// Ids that the kernel takes: all but the one that means "unchanged".
/// Why there is no user or group of a name; a number that is none is told as what it is.
fn unknown(kind: &str, name: &str, file: &str) -> Failure {
    match name.parse::<i64>() {
        Ok(_) if !name.starts_with('+') => Failure::Invalid {
            what: format!("the number of a {kind} must be between 0 and {LARGEST_ID}"),
            value: name.into(),
        },
        _ => Failure::Unknown {
            kind: kind.into(),
            name: name.into(),
            file: file.into(),
        },
    }
}

/// The largest number of a user or group, as in runc.
const LARGEST_ID: u32 = i32::MAX as u32;

fn parse_id(text: &str) -> Option<u32> {
    text.parse()
        .ok()
        .filter(|&id| id <= LARGEST_ID && text.starts_with(|c: char| c.is_ascii_digit()))
}

/// A line of `/etc/passwd`.
struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn parse_entry(line: &str) -> Option<Entry<'_>> {
    let mut fields = line.trim().split(':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    let (uid, gid) = (fields.nth(1)?, fields.next()?);
    let home = fields.nth(1).filter(|home| !home.is_empty()).unwrap_or("/");
    Some(Entry {
        name,
        uid: parse_id(uid)?,
        gid: parse_id(gid)?,
        home,
    })
}

/// A line of `/etc/group`.
struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl Group<'_> {
    fn has(&self, user: &str) -> bool {
        self.members.split(',').any(|member| member == user)
    }
}

fn parse_group(line: &str) -> Option<Group<'_>> {
    let mut fields = line.trim().split(':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    let gid = parse_id(fields.nth(1)?)?;
    Some(Group {
        name,
        gid,
        members: fields.next().unwrap_or(""),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD_TEXT: &str = "root:x:0:0:root:/root:/bin/bash\n\
        bad line\n\
        app:x:1000:1001:,,,:/home/app:/bin/sh\n\
        nohome:x:7:8\n\
        1234:x:55:56::/odd:/bin/sh\n";
    const GROUP_TEXT: &str = "root:x:0:\nwheel:x:10:root,app\napp:x:1001:app\nextra:x:20:app\n";

    fn resolve_in_files(user: &str) -> Result<Account, Failure> {
        resolve(user, PASSWD_TEXT, || Ok(GROUP_TEXT.into()))
    }

    #[test]
    fn users_are_resolved_as_buildkit_does() {
        let cases: [(&str, u32, u32, &[u32], &str); 14] = [
            ("", 0, 0, &[], "/root"),
            ("root", 0, 0, &[10], "/root"),
            ("0", 0, 0, &[10], "/root"),
            ("0:0", 0, 0, &[], "/root"),
            ("app", 1000, 1001, &[10, 20], "/home/app"),
            ("1000", 1000, 1001, &[10, 20], "/home/app"),
            ("1000:1001", 1000, 1001, &[], "/home/app"),
            ("app:extra", 1000, 20, &[], "/home/app"),
            ("app:4242", 1000, 4242, &[], "/home/app"),
            ("app:", 1000, 1001, &[10, 20], "/home/app"),
            ("4242", 4242, 0, &[], "/"),
            ("4242:wheel", 4242, 10, &[], "/"),
            ("nohome", 7, 8, &[], "/"),
            ("1234", 1234, 0, &[], "/"),
        ];
        for (user, uid, gid, groups, home) in cases {
            let expected = Account {
                uid,
                gid,
                groups: groups.into(),
                home: home.into(),
            };
            assert_eq!(resolve_in_files(user), Ok(expected), "{user:?}");
        }
    }

    #[test]
    fn who_is_unknown_is_an_error() {
        for (user, kind, name) in [
            ("nobody-here", "user", "nobody-here"),
            ("app:nogroup-here", "group", "nogroup-here"),
            ("+1", "user", "+1"),
        ] {
            match resolve_in_files(user) {
                Err(Failure::Unknown {
                    kind: k, name: n, ..
                }) => {
                    assert_eq!((&*k, &*n), (kind, name));
                }
                other => panic!("{user:?}: {other:?}"),
            }
        }
        for (user, kind) in [("-1", "user"), ("2147483648", "user"), ("app:-1", "group")] {
            match resolve_in_files(user) {
                Err(Failure::Invalid { what, .. }) => assert!(what.contains(kind), "{what}"),
                other => panic!("{user:?}: {other:?}"),
            }
        }
    }
}
