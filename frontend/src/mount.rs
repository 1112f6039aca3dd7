//! The options of `RUN --mount`: one line of CSV, the fields `key=value`.
//!
//! Paths are kept as written; joining them to the working directory is for the lowering.

mod csv;

use crate::byte_size;
use crate::diagnostic::Diagnostic;
use crate::expand::ExpandError;
use crate::source::Span;

/// One `--mount`, its values expanded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MountSpec {
    /// `type`
    pub kind: MountType,
    /// `from`; empty if not given.
    pub from: String,
    /// `source`; empty if not given.
    pub source: String,
    /// `target`; empty if not given.
    pub target: String,
    /// Whether it may not be written to.
    pub read_only: bool,
    /// `size` of a tmpfs in bytes; 0 is no limit.
    pub size: u64,
    /// `id`; empty if not given.
    pub id: String,
    /// `sharing` of a cache.
    pub sharing: Option<Sharing>,
    /// `required` of a secret or ssh agent.
    pub required: bool,
    /// `env` of a secret.
    pub env: Option<String>,
    /// `mode`
    pub mode: Option<u32>,
    /// `uid`
    pub uid: Option<u32>,
    /// `gid`
    pub gid: Option<u32>,
}

/// The type of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MountType {
    /// Files of the context, a stage or an image.
    #[default]
    Bind,
    /// A directory that outlives the step.
    Cache,
    /// Memory.
    Tmpfs,
    /// A secret.
    Secret,
    /// An ssh agent.
    Ssh,
}

/// What happens when two steps want one cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Both use it.
    Shared,
    /// The second gets a new one.
    Private,
    /// The second waits.
    Locked,
}

const TYPES: [(&str, MountType); 5] = [
    ("bind", MountType::Bind),
    ("cache", MountType::Cache),
    ("tmpfs", MountType::Tmpfs),
    ("secret", MountType::Secret),
    ("ssh", MountType::Ssh),
];

const SHARINGS: [(&str, Sharing); 3] = [
    ("shared", Sharing::Shared),
    ("private", Sharing::Private),
    ("locked", Sharing::Locked),
];

/// The names of all options, with their other names.
pub const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "env",
];

/// Why a `--mount` is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    /// The text is not one line of CSV.
    #[error("the mount is not a list of key=value separated by commas: {0}")]
    Csv(&'static str),
    /// A key that does not exist.
    #[error("a mount has no option {0:?}")]
    UnknownKey(String),
    /// A key that needs a value and has none.
    #[error("the mount option {0:?} needs a value")]
    NeedsValue(String),
    /// Nothing between two commas, or behind the last one.
    #[error("an option of the mount is empty")]
    EmptyOption,
    /// A value that the key does not take.
    #[error("{value:?} is not a value of the mount option {key:?}")]
    InvalidValue {
        /// The key.
        key: &'static str,
        /// The value as given.
        value: String,
    },
    /// A key that this type of mount does not have.
    #[error("a {kind} mount has no option {key:?}")]
    NotForType {
        /// The key.
        key: &'static str,
        /// The type.
        kind: &'static str,
    },
    /// A variable in `from`.
    #[error("the mount option \"from\" cannot contain variables")]
    VariableInFrom,
    /// A secret without id, source and target.
    #[error("a secret mount needs an id or a target")]
    NamelessSecret,
    /// A secret with both id and source.
    #[error("a secret mount takes either id or source, not both")]
    TwoNames,
    /// A value cannot be expanded.
    #[error(transparent)]
    Expand(#[from] ExpandError),
}

impl MountError {
    /// Says where in a mount the mistake is, and what was probably meant. `span` is where all of the flag
    /// stands, of which `text` is the value.
    pub fn into_diagnostic(self, text: &str, span: Span) -> Diagnostic {
        let span = self.key().map_or(span, |key| of_option(key, text, span));
        let finding = Diagnostic::error("invalid-mount", span, self.to_string());
        match &self {
            Self::UnknownKey(key) => finding.did_you_mean(key, KEYS),
            Self::InvalidValue { key: "type", value } => {
                finding.did_you_mean(value, TYPES.map(|(name, _)| name))
            }
            Self::InvalidValue {
                key: "sharing",
                value,
            } => finding.did_you_mean(value, SHARINGS.map(|(name, _)| name)),
            Self::EmptyOption => {
                finding.hint("commas stand only between options, and no blank behind a comma")
            }
            Self::VariableInFrom => finding
                .hint("name the image with FROM in a stage of its own, and mount from that stage"),
            _ => finding,
        }
    }
}

impl MountError {
    /// The option that is wrong, if it is one.
    fn key(&self) -> Option<&str> {
        match self {
            Self::UnknownKey(key) | Self::NeedsValue(key) => Some(key),
            Self::InvalidValue { key, .. } | Self::NotForType { key, .. } => Some(key),
            Self::VariableInFrom => Some("from"),
            Self::EmptyOption
            | Self::Csv(_)
            | Self::NamelessSecret
            | Self::TwoNames
            | Self::Expand(_) => None,
        }
    }
}

/// Where the last option of a name stands; the whole flag if its text is not in the file as it is.
fn of_option(key: &str, text: &str, flag: Span) -> Span {
    let Some(before) = (flag.end - flag.start).checked_sub(text.len()) else {
        return flag;
    };
    if before != "--mount=".len() || text.contains('"') {
        return flag;
    }
    let mut at = flag.start + before;
    let mut found = flag;
    for field in text.split(',') {
        let name = field.split_once('=').map_or(field, |(name, _)| name);
        if name.eq_ignore_ascii_case(key) {
            found = Span {
                start: at,
                end: at + field.len(),
            };
        }
        at += field.len() + 1;
    }
    found
}

impl MountType {
    /// Its name as written.
    pub fn name(self) -> &'static str {
        TYPES
            .iter()
            .find(|(_, kind)| *kind == self)
            .map_or("", |(name, _)| name)
    }
}

/// What can be checked before variables are known: the CSV, and that `from` has no variable.
pub fn check_unexpanded(text: &str) -> Result<(), MountError> {
    from_unexpanded(text).map(drop)
}

/// The last `from` of a mount, which never contains variables.
pub fn from_unexpanded(text: &str) -> Result<Option<String>, MountError> {
    let mut found = None;
    for field in csv::fields(text).map_err(MountError::Csv)? {
        match field.split_once('=') {
            Some((key, value)) if key.eq_ignore_ascii_case("from") => {
                if value.find('$').is_some_and(|at| at + 1 != value.len()) {
                    return Err(MountError::VariableInFrom);
                }
                found = Some(value.to_owned());
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Reads a mount; `expand` expands each value.
pub fn parse(
    text: &str,
    mut expand: impl FnMut(&str) -> Result<String, ExpandError>,
) -> Result<MountSpec, MountError> {
    let mut mount = MountSpec::default();
    let mut read_only = None;
    for field in csv::fields(text).map_err(MountError::Csv)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(expand(value)?)),
            None => (field.to_lowercase(), None),
        };
        mount.set(&key, value, &field, &mut read_only)?;
    }
    let writable = matches!(mount.kind, MountType::Cache | MountType::Tmpfs);
    mount.read_only = read_only.unwrap_or(!writable);
    mount.check()?;
    Ok(mount)
}

impl MountSpec {
    fn set(
        &mut self,
        key: &str,
        value: Option<String>,
        field: &str,
        read_only: &mut Option<bool>,
    ) -> Result<(), MountError> {
        let Some(value) = value else {
            match key {
                "readonly" | "ro" => *read_only = Some(true),
                "readwrite" | "rw" => *read_only = Some(false),
                "required" => self.set_required("true")?,
                "" => return Err(MountError::EmptyOption),
                _ => return Err(MountError::NeedsValue(field.to_owned())),
            }
            return Ok(());
        };
        match key {
            "type" => self.kind = choice("type", &value.to_lowercase(), &TYPES, &value)?,
            "from" => self.from = value,
            "source" | "src" => self.source = value,
            "target" | "dst" | "destination" => self.target = value,
            "readonly" | "ro" => *read_only = Some(boolean("readonly", &value)?),
            "readwrite" | "rw" => *read_only = Some(!boolean("readwrite", &value)?),
            "required" => self.set_required(&value)?,
            "size" => self.set_size(&value)?,
            "id" => self.id = value,
            "sharing" => {
                let sharing = choice("sharing", &value.to_lowercase(), &SHARINGS, &value)?;
                self.sharing = Some(sharing);
            }
            "mode" => self.mode = Some(number("mode", &value, 8)?),
            "uid" => self.uid = Some(number("uid", &value, 10)?),
            "gid" => self.gid = Some(number("gid", &value, 10)?),
            "env" => self.env = Some(value),
            _ => return Err(MountError::UnknownKey(key.to_owned())),
        }
        Ok(())
    }

    fn set_required(&mut self, value: &str) -> Result<(), MountError> {
        if !matches!(self.kind, MountType::Secret | MountType::Ssh) {
            return Err(self.no_option("required"));
        }
        self.required = boolean("required", value)?;
        Ok(())
    }

    fn set_size(&mut self, value: &str) -> Result<(), MountError> {
        if self.kind != MountType::Tmpfs {
            return Err(self.no_option("size"));
        }
        self.size = byte_size::parse(value).ok_or_else(|| MountError::InvalidValue {
            key: "size",
            value: value.to_owned(),
        })?;
        Ok(())
    }

    fn no_option(&self, key: &'static str) -> MountError {
        MountError::NotForType {
            key,
            kind: self.kind.name(),
        }
    }

    /// What can only be said once all options are known.
    fn check(&self) -> Result<(), MountError> {
        if matches!(self.kind, MountType::Bind | MountType::Tmpfs) {
            let given = [("mode", self.mode), ("uid", self.uid), ("gid", self.gid)];
            if let Some((key, _)) = given.into_iter().find(|(_, value)| value.is_some()) {
                return Err(self.no_option(key));
            }
        }
        if self.sharing.is_some() && self.kind != MountType::Cache {
            return Err(self.no_option("sharing"));
        }
        match self.kind {
            MountType::Secret => self.check_secret(),
            MountType::Ssh if !self.source.is_empty() => Err(self.no_option("source")),
            _ => Ok(()),
        }
    }

    fn check_secret(&self) -> Result<(), MountError> {
        match (
            self.source.is_empty(),
            self.id.is_empty(),
            self.target.is_empty(),
        ) {
            _ if !self.from.is_empty() => Err(self.no_option("from")),
            _ if self.env.as_deref() == Some("") => Err(MountError::NeedsValue("env".to_owned())),
            (true, true, true) => Err(MountError::NamelessSecret),
            (false, false, _) => Err(MountError::TwoNames),
            _ => Ok(()),
        }
    }
}

fn choice<T: Copy>(
    key: &'static str,
    name: &str,
    known: &[(&str, T)],
    value: &str,
) -> Result<T, MountError> {
    let found = known.iter().find(|(known, _)| *known == name);
    let error = || MountError::InvalidValue {
        key,
        value: value.to_owned(),
    };
    found.map(|(_, value)| *value).ok_or_else(error)
}

/// The words that Go's `strconv.ParseBool` takes.
fn boolean(key: &'static str, value: &str) -> Result<bool, MountError> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(MountError::InvalidValue {
            key,
            value: value.to_owned(),
        }),
    }
}

fn number(key: &'static str, value: &str, radix: u32) -> Result<u32, MountError> {
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    let parsed = digits
        .then(|| u32::from_str_radix(value, radix).ok())
        .flatten();
    parsed.ok_or_else(|| MountError::InvalidValue {
        key,
        value: value.to_owned(),
    })
}
