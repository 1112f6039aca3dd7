//! 50 tiny RUN instructions, one after the other: what a step costs beside its command.

use std::path::Path;

use anyhow::Result;

use super::{Before, Phase, Workload, without_context};

pub(super) fn prepare(work: &Path) -> Result<Workload> {
    let runs: String = (1..=50)
        .map(|number| format!("RUN echo {number} > /{number}\n"))
        .collect();
    let phases = vec![Phase::measured("cold", Before::FreshStateWithBase)];
    without_context(work, "runs50", &format!("FROM base\n{runs}"), phases)
}
