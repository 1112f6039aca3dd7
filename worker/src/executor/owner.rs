//! Owners of `--chown` and WORKDIR, looked up in the image's own `/etc/passwd` and `/etc/group`.

use std::io::Read;

use kiln_solver::RelPath;
use kiln_solver::op::Owner;

use super::error::ExecutorError;
use super::output::Files;
use crate::tree::EntryKind;

/// The longest `/etc/passwd` or `/etc/group` that is read, in bytes.
const MAXIMUM_SIZE: u64 = 16 * 1024 * 1024;

/// A resolved owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Resolves an owner. A number needs no entry and is its own group; a name brings its primary group
/// unless another one is given. As in BuildKit, a user that the image does not know is root, and a
/// group that it does not know is as if none were given.
pub(super) fn resolve_owner(owner: &Owner, files: &Files) -> Result<Ids, ExecutorError> {
    let (uid, own_gid) = match number(&owner.user) {
        Some(uid) => (uid, uid),
        None => {
            let passwd = read(files, b"etc/passwd")?;
            find(&passwd, &owner.user, |fields| {
                Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
            })
            .unwrap_or((0, 0))
        }
    };
    let gid = match &owner.group {
        None => own_gid,
        Some(group) => match number(group) {
            Some(gid) => gid,
            None => {
                let groups = read(files, b"etc/group")?;
                let gid = find(&groups, group, |fields| fields.get(2)?.parse().ok());
                gid.unwrap_or(own_gid)
            }
        },
    };
    Ok(Ids { uid, gid })
}

/// The number that a user or group is, if no table has to be read for it: no name, and `root`, are 0. What is
/// above 2^31 - 1 is taken for a name, as in BuildKit.
pub(super) fn number(text: &str) -> Option<u32> {
    match text {
        "" | "root" => Some(0),
        _ => text
            .parse()
            .ok()
            .filter(|number| i32::try_from(*number).is_ok()),
    }
}

fn find<T>(table: &str, name: &str, read: impl Fn(&[&str]) -> Option<T>) -> Option<T> {
    table
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&name))
        .and_then(|fields| read(&fields))
}

/// A small text file of the image; empty if it is missing or no regular file.
fn read(files: &Files, path: &[u8]) -> Result<String, ExecutorError> {
    let path = RelPath::parse(path).unwrap_or_default();
    let resolved = files.view.resolve(&path).unwrap_or_default();
    let Some(mut found) = files.view.get(&resolved) else {
        return Ok(String::new());
    };
    if let EntryKind::HardLink { target } = &found.entry.kind {
        let file = files.view.in_layer(found.layer, target);
        found = file.ok_or_else(|| ExecutorError::NotFound(target.clone()))?;
    }
    let EntryKind::File { size, .. } = found.entry.kind else {
        return Ok(String::new());
    };
    if size > MAXIMUM_SIZE {
        return Err(ExecutorError::TooLong {
            path,
            limit: MAXIMUM_SIZE,
        });
    }
    let mut bytes = Vec::new();
    let reader = files.bytes(found).open(size)?;
    reader
        .take(size)
        .read_to_end(&mut bytes)
        .map_err(|source| crate::io_error::IoError {
            action: "read",
            path: resolved.to_string().into(),
            source,
        })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
