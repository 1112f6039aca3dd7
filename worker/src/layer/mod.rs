//! The bytes of layers: from files to a tar and back, and which of its forms a layer has.
//!
//! A layer is named by the SHA-256 of its uncompressed tar, its diff id. The store may have it as
//! that tar (what COPY makes), as a directory (what RUN leaves, and what a RUN must see) or as a
//! compressed blob (what a registry sent). Any of them yields the others.

mod ahead;
mod commit;
mod compress;
mod contents;
mod diff;
mod directory;
mod extract;
mod growing;
mod gzip;
mod header;
mod ingest;
mod lower;
mod overlay;
mod pack;
mod size;
mod tar_stream;
mod twins;
mod zstd;

pub use ahead::Ahead;
pub use commit::{CommitError, commit_layer, commit_layer_of_result};
pub use compress::{CompressError, Compression, LevelError, layer_blob};
pub use contents::{Contents, FileBytes};
pub use diff::{DiffError, diff};
pub(crate) use diff::{belongs_to_layers, mtime, point_links_at_first_names, read_xattrs};
pub use directory::{DirectoryError, directory};
pub use extract::{ExtractError, extract};
pub use ingest::{IngestError, Whiteouts, ingest, parse_archive, parse_tar};
pub(crate) use ingest::{is_header, look_into, parse_cache_tar, parse_layer};
pub(crate) use lower::{owner, timestamps};
pub(crate) use overlay::{OPAQUE_ATTRIBUTES, opaque_attribute as opaque_marker};
pub(crate) use pack::pack_restless;
pub use pack::{PackEntry, PackError, Packed, pack};
pub use size::{SizeError, tar_size};
pub use tar_stream::{OpenTarError, decompress, is_compressed, open_tar};
pub use twins::can_share as can_share_bytes;
