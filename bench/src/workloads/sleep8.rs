//! Eight independent stages that take a second each, joined by a ninth: how far stages run side by side.
//!
//! What is copied lies in a directory of its own: BuildKit reads all of the directory that holds it.

use std::path::Path;

use anyhow::Result;

use super::{Before, Phase, Workload, without_context};

const STAGES: u32 = 8;

pub(super) fn prepare(work: &Path) -> Result<Workload> {
    let stage = |number| {
        format!(
            "FROM base AS s{number}\nRUN sleep 1 && mkdir /out && echo {number} > /out/{number}\n"
        )
    };
    let copy = |number| format!("COPY --from=s{number} /out/{number} /out/\n");
    let stages: String = (1..=STAGES).map(stage).collect();
    let copies: String = (1..=STAGES).map(copy).collect();
    let phases = vec![Phase::measured("cold", Before::FreshStateWithBase)];
    without_context(
        work,
        "sleep8",
        &format!("{stages}FROM scratch\n{copies}"),
        phases,
    )
}
