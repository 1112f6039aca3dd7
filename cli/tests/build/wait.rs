//! Waiting for what another process does.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

/// Returns what `found` gives, once it gives something.
pub(crate) fn until_some<T>(mut found: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(value) = found() {
            return value;
        }
        sleep(Duration::from_millis(2));
    }
}

pub(crate) fn until(mut holds: impl FnMut() -> bool) {
    until_some(|| holds().then_some(()));
}

/// Waits until somebody listens on a socket, which is later than the file is there.
pub(crate) fn until_listening(socket: &Path) {
    until(|| UnixStream::connect(socket).is_ok());
}
