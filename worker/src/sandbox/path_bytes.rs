//! Paths on their way to a step's processes: as bytes, for a path need not be text. For `serde(with)`.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(super) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    path.as_os_str().as_bytes().serialize(to)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
    Vec::deserialize(from).map(path)
}

fn path(bytes: Vec<u8>) -> PathBuf {
    OsString::from_vec(bytes).into()
}

/// The same of several.
pub(super) mod list {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        paths: &[PathBuf],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(paths.iter().map(|path| path.as_os_str().as_bytes()))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<PathBuf>, D::Error> {
        let paths = Vec::<Vec<u8>>::deserialize(from)?;
        Ok(paths.into_iter().map(path).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Paths {
        #[serde(with = "super")]
        one: PathBuf,
        #[serde(with = "super::list")]
        several: Vec<PathBuf>,
    }

    #[test]
    fn any_path_arrives_as_it_was_sent() {
        let strange = || path(b"/a\xff\xfe/\n".to_vec());
        let paths = Paths {
            one: strange(),
            several: vec!["/b".into(), strange(), PathBuf::new()],
        };
        let sent = postcard::to_stdvec(&paths).expect("any path can be sent");
        assert_eq!(postcard::from_bytes::<Paths>(&sent), Ok(paths));
    }
}
