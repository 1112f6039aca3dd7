//! Images: what they are called, what their documents say, and where their layers come from.
//!
//! Resolving an image reads its manifest and config only; layers move when a step must see them.

mod artifact;
mod descriptor;
mod fetch;
mod incoming;
mod layout;
mod layout_hold;
mod layout_tar;
mod manifest;
mod origin;
mod platform;
mod resolve;
mod saved;
mod verified;

pub use artifact::ArtifactError;
pub(crate) use artifact::{ArtifactKind, StoredArtifact, parse_config};
pub use descriptor::{Descriptor, media_type};
pub(crate) use fetch::is_original;
pub use fetch::{FetchError, SizeError};
pub use kiln_solver::reference::{Reference, ReferenceError};
pub(crate) use layout::open_document;
pub use layout::{LayoutError, LayoutReference};
pub(crate) use layout_hold::LayoutHold;
pub use manifest::{
    Config, Document, Index, IndexEntry, MAXIMUM_CONFIG, MAXIMUM_MANIFEST, Manifest, ManifestError,
};
pub use origin::Origin;
pub use resolve::{ImageLayer, Images, Location, ResolveError, ResolvedImage};
