//! The platforms that images are built for and steps run on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An operating system and a processor, in the OCI image specification's terms.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// Go's GOOS, such as `linux`.
    pub os: String,
    /// Go's GOARCH, such as `amd64`.
    pub architecture: String,
    /// The processor's variant, such as `v7`; empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

/// Why a text is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a platform: expected os/architecture or os/architecture/variant, such as linux/amd64"
)]
pub struct PlatformError(String);

impl Platform {
    /// Linux on the processor that this program was compiled for.
    pub fn host() -> Self {
        let (architecture, variant) = normalize_architecture(std::env::consts::ARCH, "");
        Self {
            os: "linux".to_owned(),
            architecture,
            variant,
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    /// Reads `os/arch[/variant]`, or an architecture alone (Linux is meant), with containerd's
    /// aliases: `x86_64`, `aarch64`, `armhf` and so on.
    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let malformed = || PlatformError(text.to_owned());
        let is_word = |word: &&str| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        let words: Vec<&str> = text.split('/').collect();
        if !words.iter().all(is_word) {
            return Err(malformed());
        }
        let (os, architecture, variant) = match words[..] {
            ["linux" | "local"] => return Ok(Self::host()),
            [architecture] if is_known_architecture(architecture) => ("linux", architecture, ""),
            [os, architecture] => (os, architecture, ""),
            [os, architecture, variant] => (os, architecture, variant),
            _ => return Err(malformed()),
        };
        let (architecture, variant) = normalize_architecture(architecture, variant);
        Ok(Self {
            os: os.to_ascii_lowercase(),
            architecture,
            variant,
        })
    }
}

/// Whether a word alone can be meant as an architecture.
fn is_known_architecture(word: &str) -> bool {
    const KNOWN: [&str; 12] = [
        "386", "amd64", "arm", "arm64", "loong64", "mips64", "mips64le", "ppc64", "ppc64le",
        "riscv64", "s390x", "wasm",
    ];
    KNOWN.contains(&normalize_architecture(word, "").0.as_str())
}

/// Folds the many names of a processor into Go's (containerd/platforms, `normalizeArch`).
fn normalize_architecture(architecture: &str, variant: &str) -> (String, String) {
    let architecture = architecture.to_ascii_lowercase();
    let variant = variant.to_ascii_lowercase();
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
        ("i386" | "x86", _) => ("386", ""),
        ("aarch64" | "arm64", "8" | "v8") => ("arm64", ""),
        ("aarch64" | "arm64", variant) => ("arm64", variant),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("arm", "" | "7") => ("arm", "v7"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "6") => ("arm", "v6"),
        ("arm", "8") => ("arm", "v8"),
        ("powerpc64le", variant) => ("ppc64le", variant),
        (architecture, variant) => (architecture, variant),
    };
    (architecture.to_owned(), variant.to_owned())
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_folded() {
        let cases = [
            ("linux/x86_64", "linux/amd64"),
            ("aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("Linux/AMD64", "linux/amd64"),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Platform>().expect(text).to_string(), expected);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "/", "x", "linux/", "a/b/c/d", "linux/am d64"] {
            assert!(text.parse::<Platform>().is_err(), "{text:?}");
        }
    }
}
