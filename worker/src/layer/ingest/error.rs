//! Why an archive cannot be taken in.

use std::io;

use kiln_solver::path::PathError;
use kiln_solver::{DiffId, RelPath};

use super::super::tar_stream::OpenTarError;
use super::member::{MAXIMUM_HEADER, MAXIMUM_PATH};
use crate::io_error::what_to_do;
use crate::store::LayerError;

/// Why an archive cannot be taken in.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Its blob is missing or unreadable.
    #[error(transparent)]
    Open(#[from] OpenTarError),
    /// The store refused.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// It is no tar, is cut off, or its compression is damaged.
    #[error("the archive is damaged: {0}")]
    Damaged(#[source] io::Error),
    /// What was read of it could not be written to the store.
    #[error("cannot write to the store: {source}{}", what_to_do(source))]
    Write {
        /// The operating system's answer.
        source: io::Error,
    },
    /// It, or what was unpacked of it, could not be read or written: the disk is to blame, and not the archive.
    #[error("the disk failed: {source}")]
    Disk {
        /// The operating system's answer.
        source: io::Error,
    },
    /// It names a path that leads out of it.
    #[error("the archive is refused: {0}")]
    Path(#[from] PathError),
    /// A path is longer than any that Linux can open.
    #[error("the archive is refused: a path of {length} bytes, and {MAXIMUM_PATH} are allowed")]
    LongPath {
        /// How long it is.
        length: usize,
    },
    /// What stands before a member is longer than anybody needs.
    #[error("the archive is refused: a header of {size} bytes, and {MAXIMUM_HEADER} are allowed")]
    Header {
        /// How long it is said to be.
        size: u64,
    },
    /// A file has holes that are told in one of GNU's ways.
    #[error(
        "the archive is refused: {path} is a sparse file, which is not supported; pack it without --sparse"
    )]
    Sparse {
        /// The file.
        path: RelPath,
    },
    /// A file belongs to nobody who can own one.
    #[error(
        "the archive is refused: {path} belongs to {id}, and the largest id of users and groups is {}",
        u32::MAX - 1
    )]
    Owner {
        /// The file.
        path: RelPath,
        /// Its user or its group.
        id: String,
    },
    /// A file has capabilities that no kernel takes.
    #[error("{path} has an attribute security.capability that makes no sense")]
    Capability {
        /// The file.
        path: RelPath,
    },
    /// Two headers of a member say different things of its length: programs would see different files.
    #[error("the archive is refused: {path} has {header} bytes by one header and {pax} by another")]
    Sizes {
        /// The member.
        path: RelPath,
        /// What its own header says.
        header: u64,
        /// What the PAX header before it says.
        pax: u64,
    },
    /// A member is nothing that an image can have, such as GNU's lists of directories.
    #[error("the archive is refused: {path} is of the kind {kind:?}, which is no file")]
    UnknownKind {
        /// The member.
        path: RelPath,
        /// Its kind, as it stands in the header.
        kind: char,
    },
    /// A kind of member that is never in the tar of a cache mount.
    #[error("an entry of the kind {0:?}, which no cache mount has")]
    Kind(char),
    /// It has more members than are allowed.
    #[error("the archive is refused: it has more than {0} entries")]
    Entries(usize),
    /// A hard link leads to something that is not in the archive.
    #[error(
        "the archive is damaged: {path} is a hard link to {target}, which does not come before it"
    )]
    Link {
        /// The link.
        path: RelPath,
        /// What it names.
        target: RelPath,
    },
    /// Its uncompressed bytes are not those that the image's config names.
    #[error("a layer's content has the diff id {found}, but the config says {expected}")]
    DiffId {
        /// What the config says.
        expected: DiffId,
        /// What the bytes hash to.
        found: DiffId,
    },
}

impl IngestError {
    /// Whether what is wrong is what the blob holds.
    pub(super) fn is_of_the_blob(&self) -> bool {
        use IngestError::{Disk, Layer, Open, Write};
        !matches!(self, Open(_) | Layer(_) | Write { .. } | Disk { .. })
    }

    /// Tells a damaged archive from a store that takes no more, since reading never fails for want of room, and
    /// from a disk that fails: whatever reads archives has no error that is the operating system's.
    pub(crate) fn reading(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::ReadOnlyFilesystem => Self::Write { source: error },
            _ if error.raw_os_error().is_some() => Self::Disk { source: error },
            _ => Self::Damaged(error),
        }
    }

    /// Something in it makes no sense.
    pub(super) fn damaged(problem: impl Into<String>) -> Self {
        Self::Damaged(io::Error::other(problem.into()))
    }
}
