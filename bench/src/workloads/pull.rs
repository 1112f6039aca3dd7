//! A base image pulled from a registry on this machine, unpacked, and one command run in it.

use std::path::Path;

use anyhow::Result;

use super::{Before, Phase, Workload, without_context};
use crate::registry::Registry;

pub(super) fn prepare(work: &Path, registry: &Registry) -> Result<Workload> {
    let dockerfile = format!("FROM {}\nRUN true\n", registry.base_reference());
    let phases = vec![Phase::measured("cold", Before::FreshState)];
    without_context(work, "pull", &dockerfile, phases)
}
