//! `--cache-from` and `--cache-to`: where caches of other builds are, and where that of this one goes.

use std::path::PathBuf;

use super::UsageError;
use super::csv::fields;
use super::output::{Compression, algorithm, boolean};

const FROM: &str = "--cache-from";
const TO: &str = "--cache-to";
const TYPES: [&str; 1] = ["local"];
/// Kinds of caches that docker buildx knows and Kiln does not yet.
const LATER: [&str; 5] = ["registry", "inline", "gha", "s3", "azblob"];
const FROM_ATTRIBUTES: [&str; 5] = ["type", "src", "tag", "mounts", "ignore-error"];
const TO_ATTRIBUTES: [&str; 8] = [
    "type",
    "dest",
    "mode",
    "mounts",
    "tag",
    "compression",
    "compression-level",
    "ignore-error",
];

/// A cache to look into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheFrom {
    /// The directory that has it.
    pub directory: PathBuf,
    /// What it is called there; `None` is the usual name.
    pub tag: Option<String>,
    /// Which cache mounts are restored.
    pub mounts: MountIds,
    /// Whether a cache that cannot be used is no reason to fail.
    pub ignores_errors: bool,
}

/// A cache to save.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheTo {
    /// The directory that gets it.
    pub directory: PathBuf,
    /// What it is called there; `None` is the usual name.
    pub tag: Option<String>,
    /// Which steps are saved.
    pub mode: CacheMode,
    /// Which cache mounts are saved.
    pub mounts: MountIds,
    /// How layers are compressed.
    pub compression: Compression,
    /// Whether a cache that cannot be saved is no reason to fail.
    pub ignores_errors: bool,
}

/// Which steps are saved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CacheMode {
    /// Those whose layers are the result's.
    #[default]
    Min,
    /// All of the build.
    Max,
}

/// Which cache mounts are saved or restored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum MountIds {
    /// None.
    #[default]
    None,
    /// All of them.
    All,
    /// Those of these ids.
    Ids(Vec<String>),
}

/// The attributes of either option.
#[derive(Default)]
struct Attributes {
    kind: Option<String>,
    directory: Option<String>,
    tag: Option<String>,
    mode: CacheMode,
    mounts: MountIds,
    compression: Compression,
    ignores_errors: bool,
}

/// Reads `type=local,src=DIR,...`.
pub(super) fn parse_from(typed: &str) -> Result<CacheFrom, UsageError> {
    let Attributes {
        directory,
        tag,
        mounts,
        ignores_errors,
        ..
    } = Attributes::read(FROM, "src", &FROM_ATTRIBUTES, typed)?;
    Ok(CacheFrom {
        directory: required(FROM, "src", directory, typed)?,
        tag,
        mounts,
        ignores_errors,
    })
}

/// Reads `type=local,dest=DIR,...`.
pub(super) fn parse_to(typed: &str) -> Result<CacheTo, UsageError> {
    let Attributes {
        directory,
        tag,
        mode,
        mounts,
        compression,
        ignores_errors,
        ..
    } = Attributes::read(TO, "dest", &TO_ATTRIBUTES, typed)?;
    Ok(CacheTo {
        directory: required(TO, "dest", directory, typed)?,
        tag,
        mode,
        mounts,
        compression,
        ignores_errors,
    })
}

fn required(
    option: &'static str,
    name: &str,
    directory: Option<String>,
    typed: &str,
) -> Result<PathBuf, UsageError> {
    match directory.filter(|directory| !directory.is_empty()) {
        Some(directory) => Ok(PathBuf::from(directory)),
        None => Err(UsageError::new(
            option,
            typed,
            format!("{name}=DIR is missing"),
        )),
    }
}

fn later(option: &'static str, kind: &str, typed: &str) -> UsageError {
    let problem = format!("caches of the type {kind} are not supported yet");
    UsageError::new(option, typed, problem)
        .hint("type=local keeps one in a directory, which is an OCI image layout")
}

impl Attributes {
    fn read(
        option: &'static str,
        place: &str,
        known: &[&str],
        typed: &str,
    ) -> Result<Self, UsageError> {
        let wrong = |problem: String| UsageError::new(option, typed, problem);
        let fields = fields(typed).map_err(|error| wrong(error.to_string()))?;
        // To buildx, a name by itself is an image that has its cache with it.
        if let [field] = fields.as_slice()
            && !field.is_empty()
            && !field.contains('=')
        {
            return Err(later(option, "registry", typed));
        }
        // Other types have other attributes.
        let kinds = fields
            .iter()
            .filter_map(|field| field.strip_prefix("type="));
        if let Some(kind) = kinds.into_iter().find(|kind| LATER.contains(kind)) {
            return Err(later(option, kind, typed));
        }
        let mut attributes = Self::default();
        for field in &fields {
            let pair = field.split_once('=');
            let (name, value) = pair.ok_or_else(|| wrong(format!("{field:?} has no =")))?;
            let name = name.trim().to_lowercase();
            if name == place {
                attributes.directory = Some(value.to_owned());
                continue;
            }
            if !known.contains(&&*name) && !is_understood(option, &name, value) {
                let problem = format!("unknown attribute {name:?}");
                return Err(wrong(problem).known_words(&name, known));
            }
            attributes.set(option, &name, value, typed)?;
        }
        match attributes.kind.as_deref() {
            Some("local") => Ok(attributes),
            Some(kind) => Err(wrong(format!("unknown type {kind:?}")).known_words(kind, &TYPES)),
            None => Err(wrong("type= is missing".to_owned()).hint("write it as in type=local")),
        }
    }

    fn set(
        &mut self,
        option: &'static str,
        name: &str,
        value: &str,
        typed: &str,
    ) -> Result<(), UsageError> {
        let wrong = |problem: String| UsageError::new(option, typed, problem);
        match name {
            "type" => self.kind = Some(value.to_owned()),
            "tag" => self.tag = Some(value.to_owned()).filter(|tag| !tag.is_empty()),
            "mode" => {
                self.mode = match value {
                    "min" => CacheMode::Min,
                    "max" => CacheMode::Max,
                    _ => {
                        let problem = format!("unknown mode {value:?}");
                        return Err(wrong(problem).known_words(value, &["min", "max"]));
                    }
                };
            }
            "mounts" => self.mounts = mounts(value),
            "compression" => {
                self.compression.algorithm = Some(algorithm(option, value, typed)?);
            }
            "compression-level" => {
                let level = value.parse();
                self.compression.level =
                    Some(level.map_err(|_| wrong(format!("{name}={value} is not a number")))?);
            }
            "ignore-error" => {
                let problem = || wrong(format!("{name}={value} is neither true nor false"));
                self.ignores_errors = boolean(value).ok_or_else(problem)?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// What buildx may be asked for and Kiln does anyway.
fn is_understood(option: &str, name: &str, value: &str) -> bool {
    let is_known = matches!(name, "oci-mediatypes" | "image-manifest");
    option == TO && is_known && boolean(value) == Some(true)
}

fn mounts(value: &str) -> MountIds {
    match boolean(value) {
        Some(true) => MountIds::All,
        Some(false) => MountIds::None,
        None => MountIds::Ids(
            value
                .split(';')
                .map(str::trim)
                .filter(|id| !id.is_empty())
                .map(str::to_owned)
                .collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::output::Algorithm;
    use super::*;

    #[test]
    fn all_that_can_be_said_is_read() {
        let from = parse_from("type=local,src=a,tag=t,mounts=true,ignore-error=true");
        let expected = CacheFrom {
            directory: "a".into(),
            tag: Some("t".to_owned()),
            mounts: MountIds::All,
            ignores_errors: true,
        };
        assert_eq!(from, Ok(expected));
        let to = "type=local,dest=b,mode=max,mounts=/a;b,compression=gzip,compression-level=9,\
                  oci-mediatypes=true,image-manifest=true";
        let expected = CacheTo {
            directory: "b".into(),
            tag: None,
            mode: CacheMode::Max,
            mounts: MountIds::Ids(vec!["/a".to_owned(), "b".to_owned()]),
            compression: Compression {
                algorithm: Some(Algorithm::Gzip),
                level: Some(9),
            },
            ignores_errors: false,
        };
        assert_eq!(parse_to(to), Ok(expected));
        let least = parse_to("type=local,dest=b").expect("this is enough");
        assert_eq!((least.mode, least.mounts), (CacheMode::Min, MountIds::None));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_advice() {
        let cases = [
            ("type=lokal,src=x", "did you mean local?"),
            ("src=x", "write it as in type=local"),
            ("type=local,scr=x", "did you mean src?"),
            (
                "type=local,src=x,mode=max",
                "known are type, src, tag, mounts, ignore-error",
            ),
            (
                "type=registry,ref=x",
                "type=local keeps one in a directory, which is an OCI image layout",
            ),
            (
                "type=gha,scope=x",
                "type=local keeps one in a directory, which is an OCI image layout",
            ),
            (
                "ref=x,type=registry",
                "type=local keeps one in a directory, which is an OCI image layout",
            ),
            (
                "user/app:tag",
                "type=local keeps one in a directory, which is an OCI image layout",
            ),
        ];
        for (typed, hint) in cases {
            let error = parse_from(typed).expect_err(typed);
            assert_eq!(error.hint.as_deref(), Some(hint), "{typed}");
        }
        for typed in [
            "",
            "type=local",
            "type=local,dest=",
            "type=local,src=x",
            "type=local,dest=x,mode=most",
            "type=local,dest=x,ignore-error=perhaps",
            "type=local,dest=x,oci-mediatypes=false",
            "type=inline",
        ] {
            assert!(parse_to(typed).is_err(), "{typed}");
        }
    }
}
