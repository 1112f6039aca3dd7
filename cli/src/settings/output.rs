//! `--output`: where the result goes, and in which form.

use std::path::PathBuf;

use super::UsageError;
use super::annotation::{self, Annotation};
use super::csv::fields;

const OPTION: &str = "--output";
const TYPES: [&str; 4] = ["image", "oci", "tar", "local"];
const ATTRIBUTES: [&str; 8] = [
    "type",
    "dest",
    "tar",
    "name",
    "compression",
    "compression-level",
    "rewrite-timestamp",
    "annotation.NAME",
];

/// One result to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// What to write, and where.
    pub kind: OutputKind,
    /// Names for the image beside those of `--tag`.
    pub names: Vec<String>,
    /// How its layers are compressed.
    pub compression: Compression,
    /// Whether files of the new layers may be no younger than `SOURCE_DATE_EPOCH`.
    pub rewrite_timestamps: bool,
    /// Annotations beside those of `--annotation`.
    pub annotations: Vec<Annotation>,
}

/// What to write, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputKind {
    /// An image in the store.
    Image,
    /// An OCI archive: a tar of an image layout.
    OciArchive(Destination),
    /// A directory with an image layout.
    OciDirectory(PathBuf),
    /// The files of the image as a tar.
    Tar(Destination),
    /// The files of the image in a directory.
    Local(PathBuf),
}

/// A file, or standard output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// A file.
    File(PathBuf),
}

/// How layers are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compression {
    /// With what; `None` leaves it to the exporter.
    pub algorithm: Option<Algorithm>,
    /// How hard; `None` is the algorithm's own default.
    pub level: Option<i32>,
}

/// A way to compress layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Not at all.
    Uncompressed,
    /// gzip, which every tool reads.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Output {
    /// The image in the store, which is what is built unless something else is asked for.
    pub fn image() -> Self {
        let (names, compression) = (Vec::new(), Compression::default());
        Self {
            kind: OutputKind::Image,
            names,
            compression,
            rewrite_timestamps: false,
            annotations: Vec::new(),
        }
    }

    /// Whether it is written to standard output.
    pub fn is_stdout(&self) -> bool {
        use OutputKind::{OciArchive, Tar};
        matches!(
            self.kind,
            OciArchive(Destination::Stdout) | Tar(Destination::Stdout)
        )
    }
}

/// The attributes of an output, before they are put together.
#[derive(Default)]
struct Attributes {
    kind: Option<String>,
    dest: Option<String>,
    as_directory: bool,
    names: Vec<String>,
    compression: Compression,
    rewrite_timestamps: bool,
    annotations: Vec<Annotation>,
}

/// Reads `type=…,dest=…`, a bare directory, or `-` for a tar on standard output.
pub(super) fn parse(typed: &str) -> Result<Output, UsageError> {
    let wrong = |problem: String| UsageError::new(OPTION, typed, problem);
    if typed.is_empty() {
        return Err(wrong("the value is empty".to_owned()).hint("write it as in --output out"));
    }
    let fields = fields(typed).map_err(|error| wrong(error.to_string()))?;
    if let [field] = fields.as_slice()
        && field == typed
        && !field.starts_with("type=")
    {
        let kind = match typed {
            "-" => OutputKind::Tar(Destination::Stdout),
            directory => OutputKind::Local(PathBuf::from(directory)),
        };
        return Ok(Output {
            kind,
            ..Output::image()
        });
    }
    let mut attributes = Attributes::default();
    for field in &fields {
        let pair = field.split_once('=');
        let (name, value) = pair.ok_or_else(|| wrong(format!("{field:?} has no =")))?;
        let name = name.trim();
        match annotation::of_output(name, value, typed)? {
            Some(annotation) => attributes.annotations.push(annotation),
            None => attributes.set(&name.to_lowercase(), value, typed)?,
        }
    }
    attributes.output(typed)
}

impl Attributes {
    fn set(&mut self, name: &str, value: &str, typed: &str) -> Result<(), UsageError> {
        let wrong = |problem: String| UsageError::new(OPTION, typed, problem);
        match name {
            "type" => self.kind = Some(value.to_owned()),
            "dest" => self.dest = Some(value.to_owned()),
            "tar" | "rewrite-timestamp" => {
                let is_true = boolean(value)
                    .ok_or_else(|| wrong(format!("{name}={value} is neither true nor false")))?;
                match name {
                    "tar" => self.as_directory = !is_true,
                    _ => self.rewrite_timestamps = is_true,
                }
            }
            "name" => self
                .names
                .extend(value.split(',').map(|name| name.trim().to_owned())),
            "compression" => self.compression.algorithm = Some(algorithm(OPTION, value, typed)?),
            "compression-level" => {
                let level = value.parse();
                self.compression.level =
                    Some(level.map_err(|_| wrong(format!("{name}={value} is not a number")))?);
            }
            _ => {
                let problem = format!("unknown attribute {name:?}");
                return Err(wrong(problem).known_words(name, &ATTRIBUTES));
            }
        }
        Ok(())
    }

    fn output(self, typed: &str) -> Result<Output, UsageError> {
        let wrong = |problem: String| UsageError::new(OPTION, typed, problem);
        let needs = |what: &str| wrong(format!("dest={what} is missing"));
        let kind = self.kind.as_deref().ok_or_else(|| {
            wrong("type= is missing".to_owned()).hint(format!("known are {}", TYPES.join(", ")))
        })?;
        if self.as_directory && kind != "oci" {
            return Err(wrong(format!(
                "tar=false is for type=oci, not for type={kind}"
            )));
        }
        let dest = self.dest.filter(|dest| !dest.is_empty());
        let kind = match (kind, dest) {
            ("image", None) => OutputKind::Image,
            ("image", Some(_)) => {
                return Err(wrong("type=image has no dest".to_owned())
                    .hint("the image goes into the store; type=oci writes it to a file"));
            }
            ("oci", Some(dest)) if self.as_directory => {
                OutputKind::OciDirectory(directory(dest, typed)?)
            }
            ("oci", None) if self.as_directory => return Err(needs("DIR")),
            ("oci", dest) => OutputKind::OciArchive(destination(dest)),
            ("tar", dest) => OutputKind::Tar(destination(dest)),
            ("local", Some(dest)) => OutputKind::Local(directory(dest, typed)?),
            ("local", None) => return Err(needs("DIR")),
            ("docker" | "registry" | "cacheonly", _) => {
                return Err(wrong(format!("type={kind} is not supported yet"))
                    .hint(format!("supported are {}", TYPES.join(", "))));
            }
            (kind, _) => {
                return Err(wrong(format!("unknown type {kind:?}")).known_words(kind, &TYPES));
            }
        };
        Ok(Output {
            kind,
            names: self.names,
            compression: self.compression,
            rewrite_timestamps: self.rewrite_timestamps,
            annotations: self.annotations,
        })
    }
}

/// No destination is standard output; whether that is a terminal is checked where it is written.
fn destination(dest: Option<String>) -> Destination {
    match dest {
        Some(dest) if dest != "-" => Destination::File(PathBuf::from(dest)),
        _ => Destination::Stdout,
    }
}

fn directory(dest: String, typed: &str) -> Result<PathBuf, UsageError> {
    if dest == "-" {
        return Err(
            UsageError::new(OPTION, typed, "a directory cannot go to standard output")
                .hint("type=tar,dest=- writes the files as a tar"),
        );
    }
    Ok(PathBuf::from(dest))
}

pub(super) fn algorithm(
    option: &'static str,
    value: &str,
    typed: &str,
) -> Result<Algorithm, UsageError> {
    match value {
        "uncompressed" => Ok(Algorithm::Uncompressed),
        "gzip" => Ok(Algorithm::Gzip),
        "zstd" => Ok(Algorithm::Zstd),
        _ => Err(
            UsageError::new(option, typed, format!("unknown compression {value:?}"))
                .known_words(value, &["gzip", "zstd", "uncompressed"]),
        ),
    }
}

/// What Go's `strconv.ParseBool` accepts.
pub(super) fn boolean(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(typed: &str) -> OutputKind {
        parse(typed).expect(typed).kind
    }

    #[test]
    fn each_kind_is_recognised() {
        let file = |path: &str| Destination::File(path.into());
        let cases = [
            ("out", OutputKind::Local("out".into())),
            ("-", OutputKind::Tar(Destination::Stdout)),
            ("type=local,dest=out", OutputKind::Local("out".into())),
            ("type=image", OutputKind::Image),
            ("type=tar,dest=x.tar", OutputKind::Tar(file("x.tar"))),
            (
                "type=oci,dest=-",
                OutputKind::OciArchive(Destination::Stdout),
            ),
            ("type=oci", OutputKind::OciArchive(Destination::Stdout)),
            (
                "type=oci,dest=x.tar,tar=true",
                OutputKind::OciArchive(file("x.tar")),
            ),
            (
                "type=oci,tar=false,dest=d",
                OutputKind::OciDirectory("d".into()),
            ),
        ];
        for (typed, expected) in cases {
            assert_eq!(kind(typed), expected, "{typed}");
        }
    }

    #[test]
    fn names_and_compression_are_read() {
        let output = parse("type=image,\"name=a,b:1\",compression=zstd,compression-level=19");
        let output = output.expect("all is well formed");
        assert_eq!(output.names, ["a", "b:1"]);
        let expected = Compression {
            algorithm: Some(Algorithm::Zstd),
            level: Some(19),
        };
        assert_eq!(output.compression, expected);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_advice() {
        let cases = [
            ("type=imgae", "did you mean image?"),
            ("type=squashfs", "known are image, oci, tar, local"),
            ("type=docker,dest=x", "supported are image, oci, tar, local"),
            ("dest=x,tar=true", "known are image, oci, tar, local"),
            ("type=oci,dst=x", "did you mean dest?"),
            ("type=oci,compression=zst", "did you mean zstd?"),
            (
                "type=local,dest=-",
                "type=tar,dest=- writes the files as a tar",
            ),
        ];
        for (typed, hint) in cases {
            let error = parse(typed).expect_err(typed);
            assert_eq!(error.hint.as_deref(), Some(hint), "{typed}");
        }
        for typed in [
            "",
            "type=local",
            "type=oci,tar=maybe",
            "type=tar,tar=false",
            "type=oci,x",
        ] {
            assert!(parse(typed).is_err(), "{typed}");
        }
    }
}
