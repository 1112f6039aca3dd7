//! `--cache-to` and `--cache-from`: a store that knows nothing builds with what another one learned.

mod collection;
mod damage;
mod trips;
mod trust;

use std::fs;
use std::path::{Path, PathBuf};

use kiln_worker::store::Store;

use crate::bench::{Bench, text};
use crate::finished::Finished;
use crate::machine;

/// Two stages, a copy between them, and a cache mount.
const APP: &str = "FROM base AS build
ARG N=1
COPY source /source
RUN --mount=type=cache,target=/c echo $N >>/c/log; cat /source >/made; echo $N >>/made
RUN echo unneeded >/unneeded
FROM base
RUN mkdir /app
COPY --from=build /made /app/made
RUN cat /app/made >/sum
";

fn app() -> Bench {
    let bench = Bench::with(APP);
    bench.file("source", "some source\n");
    bench
}

/// A build in a store of that name.
fn build_in(bench: &Bench, store: &str, line: &str) -> Finished {
    let store = bench.path(store);
    let finished = bench.try_build(&format!("--root {} {line}", text(&store)));
    machine::assert_clean(&store);
    finished
}

fn verify(bench: &Bench, store: &Path) {
    let verify = Finished::of(bench.kiln().args(["store", "verify", "--root"]).arg(store));
    assert_eq!(
        verify.code,
        Some(0),
        "{}",
        String::from_utf8_lossy(&verify.stdout)
    );
}

/// How many layers a store has in any form.
fn layers(store: &Path) -> usize {
    let count = |kind: &str| fs::read_dir(store.join(kind)).map_or(0, Iterator::count);
    count("layers")
}

/// Forgets what each step came to; the layers stay.
fn forget_records(store: &Path) {
    let store = Store::open(store).expect("a store");
    let records = store.index().records().expect("they can be read");
    let keys: Vec<_> = records.iter().map(|record| record.key).collect();
    store
        .index()
        .forget(&keys, &[])
        .expect("they can be forgotten");
}

fn saved(bench: &Bench, attributes: &str) -> PathBuf {
    let directory = bench.path("cache");
    let to = format!(
        "--cache-to type=local,dest={}{attributes}",
        text(&directory)
    );
    bench.build(&to);
    machine::assert_clean(&bench.store());
    directory
}
