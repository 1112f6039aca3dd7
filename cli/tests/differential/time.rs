//! Times as the records show them.

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use jiff::Timestamp;

/// Seconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seconds(pub(crate) i64);

/// 1 January 2021. Files of cases are older.
const NOW: Seconds = Seconds(1_609_459_200);

impl Seconds {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self(metadata.mtime())
    }

    /// Of an RFC 3339 text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let time: Timestamp = text.parse().ok()?;
        Some(Self(time.as_second()))
    }

    /// Whether something that has this time was made by the script or the build of a case.
    pub(crate) fn is_now(self) -> bool {
        self >= NOW
    }
}

/// `now` or the date.
impl fmt::Display for Seconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_now() {
            return formatter.write_str("now");
        }
        match Timestamp::from_second(self.0) {
            Ok(time) => write!(formatter, "{time}"),
            Err(_) => write!(formatter, "{}s", self.0),
        }
    }
}
