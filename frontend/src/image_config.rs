//! The config of an image: OCI's (image-spec `config.md`) with Docker's additions. What is not known
//! here is kept as it came.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use kiln_solver::Platform;

/// An image's config.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When it was made, as RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// MAINTAINER
    #[serde(
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "or_default"
    )]
    pub author: String,
    /// Go's GOARCH.
    #[serde(default, deserialize_with = "or_default")]
    pub architecture: String,
    /// The processor's variant.
    #[serde(
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "or_default"
    )]
    pub variant: String,
    /// Go's GOOS.
    #[serde(default, deserialize_with = "or_default")]
    pub os: String,
    /// The operating system's version.
    #[serde(
        rename = "os.version",
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "or_default"
    )]
    pub os_version: String,
    /// Features that the operating system must have.
    #[serde(
        rename = "os.features",
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "or_default"
    )]
    pub os_features: Vec<String>,
    /// How a container of the image runs.
    #[serde(default, deserialize_with = "or_default")]
    pub config: ContainerConfig,
    /// The layers.
    #[serde(default, deserialize_with = "or_default")]
    pub rootfs: RootFs,
    /// How the layers came to be.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "or_default"
    )]
    pub history: Vec<History>,
    /// Everything else.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// How a container of an image runs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerConfig {
    /// USER
    #[serde(
        skip_serializing_if = "String::is_empty",
        deserialize_with = "or_default"
    )]
    pub user: String,
    /// EXPOSE; the values are empty objects.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "or_default"
    )]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// ENV, as `name=value`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub env: Vec<String>,
    /// ENTRYPOINT; `None` differs from an empty list only while building.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub entrypoint: Vec<String>,
    /// CMD
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub cmd: Vec<String>,
    /// VOLUME; the values are empty objects.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "or_default"
    )]
    pub volumes: BTreeMap<String, Empty>,
    /// WORKDIR
    #[serde(
        skip_serializing_if = "String::is_empty",
        deserialize_with = "or_default"
    )]
    pub working_dir: String,
    /// LABEL
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "or_default"
    )]
    pub labels: BTreeMap<String, String>,
    /// STOPSIGNAL
    #[serde(
        skip_serializing_if = "String::is_empty",
        deserialize_with = "or_default"
    )]
    pub stop_signal: String,
    /// Set by every CMD, for old versions of Docker.
    #[serde(
        skip_serializing_if = "std::ops::Not::not",
        deserialize_with = "or_default"
    )]
    pub args_escaped: bool,
    /// HEALTHCHECK
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// ONBUILD
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub on_build: Vec<String>,
    /// SHELL
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub shell: Vec<String>,
    /// Everything else.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// An empty object, the value of Go's sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Empty {}

/// HEALTHCHECK; durations in nanoseconds, 0 inherits Docker's default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `NONE`; `CMD` and arguments; or `CMD-SHELL` and a text for the shell.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub test: Vec<String>,
    /// `--interval`
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// `--timeout`
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// `--start-period`
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// `--start-interval`
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// `--retries`
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: i64,
}

/// The layers of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The digests of the uncompressed layers, lowest first.
    #[serde(default, deserialize_with = "or_default")]
    pub diff_ids: Vec<String>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self {
            kind: "layers".to_owned(),
            diff_ids: Vec::new(),
        }
    }
}

/// One step of an image's history.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct History {
    /// When it was made, as RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// What made it.
    #[serde(
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "or_default"
    )]
    pub created_by: String,
    /// Who made it.
    #[serde(
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "or_default"
    )]
    pub author: String,
    /// `buildkit.dockerfile.v0` for steps of a Dockerfile.
    #[serde(
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "or_default"
    )]
    pub comment: String,
    /// Whether it has no layer.
    #[serde(
        default,
        skip_serializing_if = "std::ops::Not::not",
        deserialize_with = "or_default"
    )]
    pub empty_layer: bool,
    /// Everything else.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// What PATH is where an image does not say.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The PATH of images that name none; those for Windows know it from the system.
pub(crate) fn default_path(os: &str) -> Option<&'static str> {
    (os != "windows").then_some(DEFAULT_PATH)
}

impl ImageConfig {
    /// The config that `FROM scratch` begins with.
    pub fn empty(platform: &Platform) -> Self {
        let mut config = Self::default();
        config.set_platform(platform);
        config.config.working_dir = "/".to_owned();
        config.config.env = default_path(&platform.os)
            .map(|path| format!("PATH={path}"))
            .into_iter()
            .collect();
        config
    }

    /// Turns the slashes of an image for Windows: what a build makes of its directory has those of Linux.
    pub(crate) fn write_directory_of_windows(&mut self) {
        if self.os == "windows" && self.config.working_dir.starts_with('/') {
            self.config.working_dir = self.config.working_dir.replace('/', "\\");
        }
    }

    /// How many bytes it takes in memory, about; its history and its layers not counted.
    pub fn size(&self) -> usize {
        const ENTRY: usize = 64;
        let texts = |list: &[String]| list.iter().map(|text| ENTRY + text.len()).sum::<usize>();
        let set =
            |set: &BTreeMap<String, Empty>| set.keys().map(|key| ENTRY + key.len()).sum::<usize>();
        let unknown = |other: &BTreeMap<String, Value>| match other.is_empty() {
            true => 0,
            false => serde_json::to_string(other).map_or(0, |json| 4 * json.len()),
        };
        let Self { config, other, .. } = self;
        let labels = config.labels.iter();
        [
            &config.env,
            &config.entrypoint,
            &config.cmd,
            &config.on_build,
            &config.shell,
        ]
        .iter()
        .map(|list| texts(list))
        .chain([set(&config.exposed_ports), set(&config.volumes)])
        .chain(labels.map(|(name, value)| 2 * ENTRY + name.len() + value.len()))
        .chain(config.healthcheck.iter().map(|check| texts(&check.test)))
        .chain([unknown(other), unknown(&config.other)])
        .chain([
            self.author.len(),
            config.user.len(),
            config.working_dir.len(),
        ])
        .sum()
    }

    /// The platform that the config names.
    pub fn platform(&self) -> Platform {
        Platform {
            os: self.os.clone(),
            architecture: self.architecture.clone(),
            variant: self.variant.clone(),
        }
    }

    /// Names the platform by its usual name: `arm64`, not `arm64` with the variant `v8`.
    pub fn normalize_platform(&mut self) {
        if let Ok(platform) = self.platform().to_string().parse::<Platform>() {
            self.os = platform.os;
            self.architecture = platform.architecture;
            self.variant = platform.variant;
        }
    }

    /// Makes it an image for a platform.
    pub fn set_platform(&mut self, platform: &Platform) {
        let same = self.os == platform.os && self.architecture == platform.architecture;
        if !platform.variant.is_empty() || !same {
            self.variant.clone_from(&platform.variant);
        }
        if !same {
            self.os_version.clear();
        }
        self.os.clone_from(&platform.os);
        self.architecture.clone_from(&platform.architecture);
    }
}

impl ContainerConfig {
    /// The value of an environment variable.
    pub fn variable(&self, name: &str) -> Option<&str> {
        let pairs = self
            .env
            .iter()
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs
            .filter(|(key, _)| *key == name)
            .map(|(_, value)| value)
            .next_back()
    }

    /// Sets an environment variable, in its old place if it has one.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        let pair = format!("{name}={value}");
        let has_name = |old: &&mut String| old.split('=').next() == Some(name);
        match self.env.iter_mut().find(has_name) {
            Some(old) => *old = pair,
            None => self.env.push(pair),
        }
    }
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Go writes `null` for what is empty.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_kept_and_null_is_empty() {
        let text = r#"{"architecture":"amd64","os":"linux","docker_version":"1","os.version":"7",
            "config":{"Env":null,"Labels":null,"Cmd":["sh"],"Volumes":{"/v":{}},"Image":"x",
            "Healthcheck":{"Test":["NONE"]},"ArgsEscaped":true},
            "rootfs":{"type":"layers","diff_ids":null},"history":[{"empty_layer":true}]}"#;
        let config: ImageConfig = serde_json::from_str(text).expect("a config");
        assert_eq!(config.other["docker_version"], "1");
        assert_eq!(config.config.other["Image"], "x");
        let again = serde_json::to_value(&config).expect("JSON");
        assert_eq!(again["config"]["Volumes"]["/v"], serde_json::json!({}));
        assert_eq!(again["os.version"], "7");
        assert!(again["config"].get("Env").is_none());
        assert_eq!(
            serde_json::from_value::<ImageConfig>(again).expect("a config"),
            config
        );
    }
}
