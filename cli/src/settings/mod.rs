//! What was typed, resolved: defaults filled in, values taken apart, contradictions refused.
//!
//! Nothing here touches the disk. The environment comes in as a value.

mod annotation;
mod attestation;
mod build;
mod buildx;
mod cache;
mod call;
mod context;
mod csv;
mod entitlement;
mod environment;
mod error;
mod gc;
mod hosts;
mod limits;
mod name_pattern;
mod output;
mod pairs;
mod root;
mod secret;
mod ssh;

pub use annotation::{Annotation, Level, annotations_of};
pub use build::{BuildSettings, DockerfileSource, Network, ProgressMode};
pub use cache::{CacheFrom, CacheMode, CacheTo, MountIds};
pub use call::{AnswerFormat, Call, Method};
pub use context::ContextSource;
pub use entitlement::Allowed;
pub use environment::Environment;
pub use error::UsageError;
pub use gc::{automatic_gc, config_file, duration, filters, prune_policy};
pub use hosts::{ExtraHost, HostAddress};
pub use limits::Limits;
pub use name_pattern::NamePattern;
pub use output::{Algorithm, Compression, Destination, Output, OutputKind};
pub use root::store_root;
pub use secret::{SecretSetting, SecretSource};
pub use ssh::AgentSetting;
