//! A realistic build: dependencies of 20,000 files, 2,000 source files, and a small image of what they made.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Workload, directory, repeated, with_context};
use crate::context::{self, Content, FileTree};

const SOURCES: FileTree = FileTree {
    files: 2000,
    files_per_directory: 50,
    smallest_bytes: 200,
    largest_bytes: 12_000,
    content: Content::Words,
};

const DOCKERFILE: &str = "\
FROM base AS dependencies
WORKDIR /srv/app
COPY dependencies.lock .
RUN p=0; while [ $p -lt 200 ]; do mkdir -p vendor/p$p; \\
    f=0; while [ $f -lt 100 ]; do echo \"package $p file $f\" > vendor/p$p/f$f; f=$((f+1)); done; \\
    p=$((p+1)); done

FROM dependencies AS build
COPY src/ src/
RUN mkdir dist && cp -r src dist/src && find src -type f | sort | xargs cat > dist/app && sha256sum dist/app > dist/sum

FROM base
ENV LANG=C.UTF-8
WORKDIR /srv/app
COPY --from=build /srv/app /srv/app
RUN sha256sum -c dist/sum
CMD [\"cat\", \"/srv/app/dist/app\"]
";

pub(super) fn prepare(work: &Path) -> Result<Workload> {
    let context = directory(work, "app").join("context");
    let recipe = format!("dependencies.lock, src/ of {SOURCES:?}");
    context::make_once(&context, &recipe, write_context)?;
    let phases = repeated(changed_file(&context));
    with_context(work, "app", DOCKERFILE, context, phases)
}

fn write_context(directory: &Path) -> Result<()> {
    let lock = directory.join("dependencies.lock");
    fs::write(&lock, "200 packages\n").with_context(|| lock.display().to_string())?;
    SOURCES.write(&directory.join("src"))
}

fn changed_file(context: &Path) -> PathBuf {
    context
        .join("src")
        .join(SOURCES.file_name(SOURCES.files / 2))
}
