//! The members of an archive one after another, as if they were unpacked to a root of their own.

use std::collections::{BTreeMap, HashMap, HashSet};

use kiln_solver::RelPath;

use super::builder::{LayerBuilder, NewDirectory};
use super::copy::Copying;
use super::error::ExecutorError;
use super::owner::Ids;
use crate::layer::{Contents, IngestError};
use crate::tree::{DirectoryKind, Entry, EntryKind, Timestamp, resolve};

/// What every link has on Linux, whatever an archive says.
const LINK_MODE: u32 = 0o777;
/// The last second that BuildKit gives to what it unpacks: the last that 63 bits of nanoseconds hold. What
/// is beyond, or before 1970, becomes 1970.
const LAST_SECOND: i64 = i64::MAX / 1_000_000_000;

/// Why an archive cannot be unpacked.
pub(super) enum UnpackError {
    /// The archive is to blame.
    Archive(IngestError),
    /// Something else is.
    Executor(ExecutorError),
}

impl From<ExecutorError> for UnpackError {
    fn from(error: ExecutorError) -> Self {
        Self::Executor(error)
    }
}

/// An archive on its way into a layer.
///
/// The destination is the root meanwhile: links of the archive, and of what was there before, lead
/// nowhere else.
pub(super) struct Unpacking<'u, 'b> {
    copying: &'u Copying<'u>,
    layer: &'u mut LayerBuilder<'b>,
    destination: RelPath,
    /// What the archive leaves out is nobody's in particular.
    left_out: NewDirectory,
    /// Where directories that the archive names are. What is put into one must not change its time.
    directories: BTreeMap<RelPath, Timestamp>,
    /// Where the parents of members are, by the archive's names.
    parents: HashMap<RelPath, RelPath>,
    /// What was unpacked so far.
    placed: HashSet<RelPath>,
}

impl<'u, 'b> Unpacking<'u, 'b> {
    /// Makes the destination.
    pub(super) fn new(
        copying: &'u Copying<'u>,
        layer: &'u mut LayerBuilder<'b>,
    ) -> Result<Self, ExecutorError> {
        let destination = layer.resolve(&copying.copy.destination)?;
        let new = NewDirectory {
            mode: 0o755,
            ..copying.new_directory()
        };
        layer.make_directories(&destination, new)?;
        Ok(Self {
            copying,
            layer,
            destination,
            left_out: NewDirectory {
                owner: Some(Ids { uid: 0, gid: 0 }),
                ..new
            },
            directories: BTreeMap::new(),
            parents: HashMap::new(),
            placed: HashSet::new(),
        })
    }

    /// Unpacks all members.
    pub(super) fn run(
        mut self,
        members: Vec<Entry>,
        contents: &Contents,
    ) -> Result<(), UnpackError> {
        // The root itself stays as it is.
        for member in members.into_iter().filter(|member| !member.path.is_root()) {
            self.member(member, contents)?;
        }
        for (path, time) in &self.directories {
            if self.layer.get(path).is_some_and(Entry::is_directory) {
                self.layer.touch(path, *time);
            }
        }
        Ok(())
    }

    fn member(&mut self, member: Entry, contents: &Contents) -> Result<(), UnpackError> {
        check_capability(&member).map_err(UnpackError::Archive)?;
        let bytes = contents.bytes(&member);
        let path = self.place(&member.path)?;
        let mut entry = Entry {
            path: path.clone(),
            mtime: bounded(member.mtime),
            ..member
        };
        if let Some(owner) = self.copying.change.owner {
            (entry.uid, entry.gid) = (owner.uid, owner.gid);
        }
        let was = self.layer.get(&path);
        let stays = was.is_some_and(Entry::is_directory) && entry.is_directory();
        if was.is_some() && !stays {
            // What led through it leads elsewhere now.
            self.parents.clear();
        }
        let parent = path.parent().unwrap_or_default();
        if !stays && !self.directories.contains_key(&parent) {
            self.layer.touch(&parent, self.copying.now);
        }
        match &entry.kind {
            EntryKind::Directory(_) => {
                self.directories.insert(path.clone(), entry.mtime);
                entry.kind = EntryKind::Directory(DirectoryKind::Merged);
                self.layer.put(entry, bytes);
            }
            EntryKind::HardLink { target } => {
                let target = self.link_target(&member.path, &path, target)?;
                self.layer.link(&target, entry);
            }
            EntryKind::Symlink { .. } => {
                entry.mode = LINK_MODE;
                self.layer.put(entry, bytes);
            }
            _ => self.layer.put(entry, bytes),
        }
        self.placed.insert(path);
        Ok(())
    }

    /// Where a member goes; its parents are made.
    fn place(&mut self, path: &RelPath) -> Result<RelPath, ExecutorError> {
        let parent = path.parent().unwrap_or_default();
        let place = match self.parents.get(&parent) {
            Some(place) => place.clone(),
            None => {
                let place = self.parent(&parent)?;
                self.parents.insert(parent, place.clone());
                place
            }
        };
        Ok(place.join_name(path.file_name().unwrap_or_default()))
    }

    /// Where a directory of the archive is. A link on the way must lead to one that is there.
    fn parent(&mut self, directory: &RelPath) -> Result<RelPath, ExecutorError> {
        let mut at = RelPath::root();
        for name in directory.components() {
            let next = at.join_name(name);
            let place = self.destination.join(&next);
            at = match self.layer.get(&place).map(|entry| &entry.kind) {
                Some(EntryKind::Symlink { .. }) => self.resolve(&next, true)?,
                _ => next,
            };
            let leads_to = self.destination.join(&at);
            let is_link = leads_to != place;
            if !is_link && self.layer.get(&place).is_none() {
                self.layer.make_directories(&place, self.left_out)?;
            } else if !self.layer.is_directory(&leads_to) {
                return Err(ExecutorError::NotADirectory(place));
            }
        }
        Ok(self.destination.join(&at))
    }

    /// Where a path leads below the destination.
    fn resolve(&self, path: &RelPath, follow_last: bool) -> Result<RelPath, ExecutorError> {
        let kind_at = |path: &RelPath| {
            let entry = self.layer.get(&self.destination.join(path));
            entry.map(|entry| &entry.kind)
        };
        resolve(path, follow_last, kind_at)
            .ok_or_else(|| ExecutorError::TooManyLinks(self.destination.join(path)))
    }

    /// Where the file is that a hard link names: something that the archive itself has brought, and that is
    /// still there when the link takes its place.
    fn link_target(
        &self,
        member: &RelPath,
        path: &RelPath,
        target: &RelPath,
    ) -> Result<RelPath, UnpackError> {
        let place = self.destination.join(&self.resolve(target, false)?);
        let found = self.layer.get(&place).filter(|found| !found.is_directory());
        let is_there = found.is_some() && self.placed.contains(&place);
        if is_there && place != *path && !place.starts_with(path) {
            return Ok(place);
        }
        Err(UnpackError::Archive(IngestError::Link {
            path: member.clone(),
            target: target.clone(),
        }))
    }
}

/// Refuses what setxattr(2) would refuse later, when nobody knows any more where it is from: capabilities of
/// other revisions, or of another size, than `vfs_cap_data` and `vfs_ns_cap_data` of linux/capability.h.
fn check_capability(member: &Entry) -> Result<(), IngestError> {
    let known = |value: &[u8]| match value.first_chunk::<4>() {
        Some(magic) => matches!((magic[3], value.len()), (2, 20) | (3, 24)),
        None => false,
    };
    let mut attributes = member.xattrs.iter();
    match attributes.find(|(name, _)| **name == *b"security.capability") {
        Some((_, value)) if !known(value) => Err(IngestError::Capability {
            path: member.path.clone(),
        }),
        _ => Ok(()),
    }
}

fn bounded(time: Timestamp) -> Timestamp {
    match (0..=LAST_SECOND).contains(&time.seconds) {
        true => time,
        false => Timestamp::of_seconds(0),
    }
}
