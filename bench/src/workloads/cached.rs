//! A rebuild of 12 instructions of which every one is cached: what a build costs that does nothing.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Before, Phase, Workload, directory, with_context};
use crate::context;

const DOCKERFILE: &str = "\
FROM base
ENV LANG=C.UTF-8
WORKDIR /app
COPY packages.txt .
RUN sort packages.txt > packages.sorted
COPY src/ src/
RUN cat src/* > all
ARG VERSION=1
RUN echo $VERSION > version
LABEL org.opencontainers.image.title=cached
EXPOSE 8080
CMD [\"cat\", \"/app/all\"]
";

pub(super) fn prepare(work: &Path) -> Result<Workload> {
    let context = directory(work, "cached").join("context");
    context::make_once(&context, "packages.txt, src/ of 10 files", write_context)?;
    let phases = vec![
        Phase::unmeasured("cold", Before::FreshStateWithBase),
        // The first rebuild may still write what later ones find.
        Phase::unmeasured("first rebuild", Before::Nothing),
        Phase::measured("rebuild", Before::Nothing),
    ];
    with_context(work, "cached", DOCKERFILE, context, phases)
}

fn write_context(directory: &Path) -> Result<()> {
    let source = directory.join("src");
    fs::create_dir_all(&source).with_context(|| source.display().to_string())?;
    let sources = (0..10).map(|number| source.join(format!("part{number}")));
    for file in sources.chain([directory.join("packages.txt")]) {
        fs::write(&file, "some\nlines\nof\ntext\n").with_context(|| file.display().to_string())?;
    }
    Ok(())
}
