//! OCI image layouts on disk (OCI image specification, "Image Layout"): as a directory, or in a tar
//! file, where `docker save` and its older form are understood, too.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use kiln_solver::Sha256Digest;
use rustix::fs::{Mode, OFlags};
use serde::Deserialize;

use super::descriptor::Descriptor;
use super::layout_hold::LayoutHold;
use super::layout_tar::TarFile;
use super::manifest::{Document, MAXIMUM_MANIFEST, ManifestError};
use crate::io_error::{AtPath, IoError, is_not_found};

const REF_NAME: &str = "org.opencontainers.image.ref.name";
const CONTAINERD_NAME: &str = "io.containerd.image.name";
const DEFAULT_TAG: &str = "latest";

/// Which image of which layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutReference {
    /// The directory or tar file.
    pub path: PathBuf,
    /// The tag, as the annotation `org.opencontainers.image.ref.name` has it.
    pub tag: Option<String>,
    /// The digest of a manifest or index.
    pub digest: Option<Sha256Digest>,
}

impl LayoutReference {
    /// Reads `PATH[:TAG][@DIGEST]`.
    pub fn parse(text: &str) -> Result<Self, kiln_solver::digest::DigestError> {
        let (rest, digest) = match text.rsplit_once('@') {
            Some((rest, digest)) if digest.contains(':') => (rest, Some(digest.parse()?)),
            _ => (text, None),
        };
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') && !path.is_empty() => (path, Some(tag)),
            _ => (rest, None),
        };
        Ok(Self {
            path: PathBuf::from(path),
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

/// Why a layout cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A file of it could not be read.
    #[error(transparent)]
    Io(#[from] IoError),
    /// It is neither a layout nor a tar of one.
    #[error(
        "{}: not an OCI image layout: {problem}; expected a directory or tar file with oci-layout \
         and index.json, or the output of docker save", path.display()
    )]
    NotALayout {
        /// The directory or file.
        path: PathBuf,
        /// What is missing or wrong.
        problem: String,
    },
    /// A document of it is damaged.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// There is no such image in it.
    #[error("{}: no image {wanted} in this layout; it has {known}", path.display())]
    NoSuchImage {
        /// The directory or file.
        path: PathBuf,
        /// What was asked for.
        wanted: String,
        /// The names that are there.
        known: String,
    },
    /// A blob that a document names is not there.
    #[error("{}: incomplete: {name} is missing", path.display())]
    Incomplete {
        /// The directory or file.
        path: PathBuf,
        /// The name of the blob's file.
        name: String,
    },
    /// A document is longer than it may be.
    #[error("{}: {name} is longer than the {limit} bytes that are allowed", path.display())]
    TooLong {
        /// The directory or file.
        path: PathBuf,
        /// The document's name.
        name: String,
        /// The limit.
        limit: u64,
    },
}

/// An open layout.
#[derive(Debug)]
pub(crate) struct Layout {
    path: PathBuf,
    files: Files,
}

#[derive(Debug)]
enum Files {
    Directory(Option<LayoutHold>),
    Tar(TarFile),
}

/// A file of a layout, to be streamed.
pub(super) struct LayoutFile {
    pub(super) reader: Box<dyn Read + Send>,
    /// What to call it in errors.
    pub(super) what: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

impl Layout {
    /// Opens a layout and looks whether it is one.
    pub(super) fn open(path: &Path) -> Result<Self, LayoutError> {
        let metadata = std::fs::metadata(path).at("open", path)?;
        let files = if metadata.is_dir() {
            Files::Directory(LayoutHold::new(path))
        } else {
            Files::Tar(TarFile::open(path)?)
        };
        let layout = Self {
            path: path.to_owned(),
            files,
        };
        if !layout.is_docker_archive() {
            layout.check_marker()?;
        }
        Ok(layout)
    }

    /// Whether this is what Docker wrote before it knew of layouts: manifest.json alone.
    pub(super) fn is_docker_archive(&self) -> bool {
        match &self.files {
            Files::Directory(_) => false,
            Files::Tar(tar) => !tar.contains("index.json") && tar.contains("manifest.json"),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What keeps its blobs where they are.
    pub(super) fn hold(&self) -> Option<&LayoutHold> {
        match &self.files {
            Files::Directory(hold) => hold.as_ref(),
            Files::Tar(_) => None,
        }
    }

    /// The manifest or index that a reference means.
    pub(super) fn find(&self, reference: &LayoutReference) -> Result<Descriptor, LayoutError> {
        let bytes = self.read("index.json", MAXIMUM_MANIFEST)?;
        let what = self.path.join("index.json").display().to_string();
        let problem = |problem: &str| LayoutError::NotALayout {
            path: self.path.clone(),
            problem: problem.to_owned(),
        };
        let Document::Index(index) = Document::parse(&bytes, None, &what)? else {
            return Err(problem("index.json is no image index"));
        };
        let images = &index.manifests;
        let found = match (&reference.digest, &reference.tag) {
            (Some(digest), _) => images.iter().find(|image| image.digest == *digest),
            (None, Some(tag)) => images.iter().find(|image| has_name(image, tag)),
            (None, None) => images
                .iter()
                .find(|image| has_name(image, DEFAULT_TAG))
                .or_else(|| images.first().filter(|_| images.len() == 1)),
        };
        match (found, &reference.digest) {
            (Some(found), _) => Ok(found.clone()),
            // Index.json need not name what its indexes name.
            (None, Some(digest)) if self.has(&blob_name(digest)) => {
                Ok(Descriptor::new("", *digest, MAXIMUM_MANIFEST))
            }
            (None, _) => Err(self.no_such_image(reference, images)),
        }
    }

    /// Reads a small file whole.
    pub(super) fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, LayoutError> {
        let file = self.file(name)?;
        let mut bytes = Vec::new();
        let read = file.reader.take(limit + 1).read_to_end(&mut bytes);
        read.at("read", &file.what)?;
        if bytes.len() as u64 > limit {
            return Err(LayoutError::TooLong {
                path: self.path.clone(),
                name: name.to_owned(),
                limit,
            });
        }
        Ok(bytes)
    }

    /// Opens a file to be streamed.
    pub(super) fn file(&self, name: &str) -> Result<LayoutFile, LayoutError> {
        match &self.files {
            Files::Directory(_) => self.file_of_directory(name),
            Files::Tar(tar) => match tar.file(name) {
                Some(reader) => Ok(LayoutFile {
                    reader,
                    what: format!("{} in {}", name, self.path.display()),
                }),
                None => Err(self.incomplete(name)),
            },
        }
    }

    /// How long a file is, if it is there.
    pub(super) fn size(&self, name: &str) -> Option<u64> {
        match &self.files {
            Files::Directory(_) => {
                let metadata = std::fs::metadata(self.path.join(name)).ok()?;
                metadata.is_file().then_some(metadata.len())
            }
            Files::Tar(tar) => tar.size(name),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.size(name).is_some()
    }

    fn file_of_directory(&self, name: &str) -> Result<LayoutFile, LayoutError> {
        let path = self.path.join(name);
        let file = match open_document(&path).at("open", &path) {
            Ok(file) => file,
            Err(error) if is_not_found(&error) => return Err(self.incomplete(name)),
            Err(error) => return Err(error.into()),
        };
        Ok(LayoutFile {
            reader: Box::new(file),
            what: path.display().to_string(),
        })
    }

    fn check_marker(&self) -> Result<(), LayoutError> {
        let problem = |problem: String| LayoutError::NotALayout {
            path: self.path.clone(),
            problem,
        };
        let bytes = match self.read("oci-layout", MAXIMUM_MANIFEST) {
            Err(LayoutError::Incomplete { .. }) => {
                return Err(problem("oci-layout is missing".to_owned()));
            }
            other => other?,
        };
        let marker: Marker = serde_json::from_slice(&bytes)
            .map_err(|error| problem(format!("oci-layout is damaged: {error}")))?;
        if marker.image_layout_version.starts_with("1.") {
            return Ok(());
        }
        let version = marker.image_layout_version;
        Err(problem(format!(
            "its version is {version:?}, and only 1 is known"
        )))
    }

    pub(super) fn not_a_layout(&self, problem: &str) -> LayoutError {
        LayoutError::NotALayout {
            path: self.path.clone(),
            problem: problem.to_owned(),
        }
    }

    fn incomplete(&self, name: &str) -> LayoutError {
        LayoutError::Incomplete {
            path: self.path.clone(),
            name: name.to_owned(),
        }
    }

    fn no_such_image(&self, reference: &LayoutReference, images: &[Descriptor]) -> LayoutError {
        let wanted = match (&reference.digest, &reference.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => format!("tagged {:?}", tag.as_deref().unwrap_or(DEFAULT_TAG)),
        };
        let name = |image: &Descriptor| {
            let name = image.annotations.get(REF_NAME);
            name.map_or_else(|| format!("@{}", image.digest), |name| format!("{name:?}"))
        };
        let known: Vec<String> = images.iter().take(10).map(name).collect();
        LayoutError::NoSuchImage {
            path: self.path.clone(),
            wanted,
            known: if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            },
        }
    }
}

/// Where a layout has a blob.
pub(super) fn blob_name(digest: &Sha256Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Tools write the bare tag or the whole name.
pub(super) fn has_name(image: &Descriptor, tag: &str) -> bool {
    let names = [REF_NAME, CONTAINERD_NAME];
    let mut names = names.iter().filter_map(|name| image.annotations.get(*name));
    names.any(|name| {
        let ends_in_tag = name
            .strip_suffix(tag)
            .is_some_and(|rest| rest.ends_with(':'));
        name == tag || ends_in_tag
    })
}

/// Opens a regular file, and does not wait for anybody should it be a named pipe; what is no file is
/// [`io::ErrorKind::InvalidInput`].
pub(crate) fn open_document(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_split() {
        let digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        let cases = [
            ("dir", "dir", None, false),
            ("/a/b:tag", "/a/b", Some("tag"), false),
            ("a:b/c", "a:b/c", None, false),
            (&format!("/a:t@{digest}"), "/a", Some("t"), true),
            (&format!("/a@{digest}"), "/a", None, true),
            ("/a@b", "/a@b", None, false),
        ];
        for (text, path, tag, pinned) in cases {
            let reference = LayoutReference::parse(text).expect(text);
            assert_eq!(reference.path, Path::new(path), "{text}");
            assert_eq!(reference.tag.as_deref(), tag, "{text}");
            assert_eq!(reference.digest.is_some(), pinned, "{text}");
        }
        assert!(LayoutReference::parse("/a@sha256:12").is_err());
    }
}
