//! How overlayfs marks what is not there (kernel documentation, filesystems/overlayfs.rst).

use std::sync::OnceLock;

/// Whether overlayfs is mounted with `userxattr` here: in a user namespace, where `trusted.*`
/// attributes cannot be written.
pub(crate) fn uses_user_attributes() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        let all_ids: Vec<&str> = map.split_whitespace().collect();
        all_ids != ["0", "0", "4294967295"]
    })
}

/// The attribute that makes a directory opaque; its value is `y`.
pub(crate) fn opaque_attribute() -> &'static str {
    if uses_user_attributes() {
        "user.overlay.opaque"
    } else {
        "trusted.overlay.opaque"
    }
}

/// The attribute with and without `userxattr`: a store may be used with the one today and with the other
/// tomorrow, and no directory may be opaque only then.
pub(crate) const OPAQUE_ATTRIBUTES: [&str; 2] = ["trusted.overlay.opaque", "user.overlay.opaque"];

/// Whether an attribute belongs to overlayfs itself, so that no image may bring it along.
pub(crate) fn is_overlay_attribute(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}
