//! Times as the records show them.

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::sync::LazyLock;

use jiff::Timestamp;

/// Seconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seconds(pub(crate) i64);

static START: LazyLock<Seconds> = LazyLock::new(|| Seconds(Timestamp::now().as_second()));

/// Whether a time is not before this program's first look at the clock, which [`is_now`] itself takes:
/// what a build makes is.
pub(crate) fn is_now(time: Seconds) -> bool {
    time >= *START
}

/// Takes the time; to be called before anything is made.
pub(crate) fn start() {
    LazyLock::force(&START);
}

impl Seconds {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self(metadata.mtime())
    }

    /// Of an RFC 3339 text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let time: Timestamp = text.parse().ok()?;
        Some(Self(time.as_second()))
    }
}

/// `now` or the date.
impl fmt::Display for Seconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_now(*self) {
            return formatter.write_str("now");
        }
        match Timestamp::from_second(self.0) {
            Ok(time) => write!(formatter, "{time}"),
            Err(_) => write!(formatter, "{}s", self.0),
        }
    }
}
