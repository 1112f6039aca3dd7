//! Archives of all forms, and where Kiln reads them as other programs do not.

use super::{ends, extensions, files, headers, written};

/// An archive that everybody unpacks.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) archive: Vec<u8>,
    pub(super) kiln: Kiln,
    /// The programs that yield something else than Kiln or nothing, and why Kiln is right to differ.
    pub(super) differs: &'static [(&'static str, &'static str)],
    /// A program whose answer says nothing, and why.
    pub(super) unasked: Option<(&'static str, &'static str)>,
}

/// What Kiln makes of an archive.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kiln {
    Unpacks,
    /// Says these words.
    Refuses(&'static str),
    /// Copies it as it is: it is no archive to Kiln.
    Copies,
}

const ALL: [&str; 3] = ["gnu", "libarchive", "python"];

pub(super) fn same(name: &'static str, archive: Vec<u8>) -> Case {
    Case {
        name,
        archive,
        kiln: Kiln::Unpacks,
        differs: &[],
        unasked: None,
    }
}

impl Case {
    pub(super) fn differs(self, differs: &'static [(&'static str, &'static str)]) -> Self {
        assert!(differs.iter().all(|(tool, _)| ALL.contains(tool)));
        Self { differs, ..self }
    }

    pub(super) fn without(self, tool: &'static str, why: &'static str) -> Self {
        Self {
            unasked: Some((tool, why)),
            ..self
        }
    }

    pub(super) fn refused(self, says: &'static str) -> Self {
        Self {
            kiln: Kiln::Refuses(says),
            ..self
        }
    }

    pub(super) fn copied(self) -> Self {
        Self {
            kiln: Kiln::Copies,
            ..self
        }
    }
}

pub(super) fn cases() -> Vec<Case> {
    let groups = [
        headers::cases(),
        extensions::cases(),
        files::cases(),
        ends::cases(),
        written::cases(),
    ];
    groups.into_iter().flatten().collect()
}

pub(super) const PYTHON_KINDS: &str = "Python takes whatever it does not know for a file";
pub(super) const PYTHON_REPLACES: &str =
    "Python writes through what is there instead of replacing it";
pub(super) const UNKNOWN: &str = "BuildKit refuses it: an image has no such file";
pub(super) const DAMAGE: &str = "what is damaged is not half unpacked";
