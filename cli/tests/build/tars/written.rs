//! Archives of one real tree, as programs write them in all their formats.

use std::fs;
use std::process::Command;

use super::cases::{Case, PYTHON_KINDS, PYTHON_REPLACES, same};
use crate::bench::output;

/// A tree with long names, links, holes, times and owners.
const TREE: &str = r#"
    long=$(printf 'n%.0s' $(seq 120))
    mkdir -p tree/d/$long && cd tree
    echo content >d/file && : >d/empty && echo long >d/$long/$long && chmod 4711 d/file && chown 1234:4321 d/file
    ln d/file d/hard && ln -s file d/soft && ln -s $long/$long d/long && ln d/$long/$long linked && mkfifo pipe
    echo name >"$(printf 'a \303\251\n*')" && chmod 3775 d
    find . -exec touch -h -d @1500000000 {} + && cd ..
    mkdir holes && truncate -s 3000000 holes/s && for at in 0 9 90 190 290 390 490 590; do
        printf data$at | dd of=holes/s bs=4096 seek=$at conv=notrunc status=none; done
    cp -a tree old && rm -rf old/d/n* old/d/long old/linked
"#;

/// A name, and how `tree` is written to `$1`.
const WRITERS: &[(&str, &str)] = &[
    ("gnu writes gnu", "tar --format=gnu -cf $1 -C tree ."),
    ("gnu writes oldgnu", "tar --format=oldgnu -cf $1 -C tree ."),
    ("gnu writes pax", "tar --format=pax -cf $1 -C tree ."),
    (
        "gnu writes pax without a dot",
        "tar --format=pax -cf $1 -C tree d pipe linked",
    ),
    ("gnu writes ustar", "tar --format=ustar -cf $1 -C old ."),
    ("gnu writes v7", "tar --format=v7 -cf $1 -C old d"),
    (
        "gnu writes xattrs",
        "tar --format=pax --xattrs --acls -cf $1 -C tree .",
    ),
    (
        "gnu writes a label",
        "tar --format=gnu -V label -cf $1 -C tree .",
    ),
    (
        "gnu appends",
        "tar -cf $1 -C tree d && tar -rf $1 -C tree d/file pipe",
    ),
    ("gnu compresses with gzip", "tar -czf $1 -C tree ."),
    ("gnu compresses with zstd", "tar --zstd -cf $1 -C tree ."),
    (
        "libarchive writes pax",
        "bsdtar --format=pax -cf $1 -C tree .",
    ),
    (
        "libarchive writes gnutar",
        "bsdtar --format=gnutar -cf $1 -C tree .",
    ),
    (
        "libarchive writes ustar",
        "bsdtar --format=ustar -cf $1 -C old .",
    ),
    (
        "libarchive writes v7",
        "bsdtar --format=v7 -cf $1 -C old d/file d/hard d/soft",
    ),
    ("python writes pax", "python $1 PAX_FORMAT tree"),
    ("python writes gnu", "python $1 GNU_FORMAT tree"),
    ("python writes ustar", "python $1 USTAR_FORMAT old"),
];

/// The same for a file with holes.
const SPARSE: &[(&str, &str)] = &[
    (
        "gnu writes holes: oldgnu",
        "tar -S --format=oldgnu -cf $1 -C holes s",
    ),
    (
        "gnu writes holes: gnu",
        "tar -S --format=gnu -cf $1 -C holes s",
    ),
    (
        "gnu writes holes: pax 0.0",
        "tar -S --format=pax --sparse-version=0.0 -cf $1 -C holes s",
    ),
    (
        "gnu writes holes: pax 0.1",
        "tar -S --format=pax --sparse-version=0.1 -cf $1 -C holes s",
    ),
    (
        "gnu writes holes: pax 1.0",
        "tar -S --format=pax --sparse-version=1.0 -cf $1 -C holes s",
    ),
    (
        "libarchive writes holes",
        "bsdtar --format=pax --read-sparse -cf $1 -C holes s",
    ),
];

const PYTHON: &str = r#"python() { python3 -c '
import sys, tarfile
with tarfile.open(sys.argv[1], "w", format=getattr(tarfile, sys.argv[2])) as archive:
    archive.add(sys.argv[3], ".")' $@; }
"#;

pub(super) fn cases() -> Vec<Case> {
    let work = tempfile::tempdir().expect("a temporary directory");
    let bash = |script: &str| {
        let mut bash = Command::new("bash");
        let script = format!("{PYTHON}{script}");
        output(
            bash.args(["-euc", &script, "bash", "archive"])
                .env("LC_ALL", "C.UTF-8")
                .current_dir(work.path()),
        );
    };
    bash(TREE);
    let write = |(name, script): &(&'static str, &str)| {
        bash(script);
        same(
            name,
            fs::read(work.path().join("archive")).expect("it was written"),
        )
    };
    let plain = WRITERS.iter().map(|writer| {
        let case = write(writer);
        match DIFFERS.iter().find(|(name, _)| *name == case.name) {
            Some((_, differs)) => case.differs(differs),
            None => case,
        }
    });
    // That a file has holes is not kept by any layer; whoever packs one wants it as it is.
    let sparse = SPARSE.iter().map(|case| {
        write(case)
            .refused("is a sparse file")
            .differs(SPARSE_DIFFERS)
    });
    plain.chain(sparse).collect()
}

/// Those that Python reads in another way.
const DIFFERS: &[(&str, &[(&str, &str)])] = &[
    ("gnu writes a label", &[("python", PYTHON_KINDS)]),
    ("gnu appends", &[("python", PYTHON_REPLACES)]),
    (
        "gnu compresses with zstd",
        &[("python", "Python knows no zstd before its version 3.14")],
    ),
];

const SPARSE_DIFFERS: &[(&str, &str)] = &[("gnu", HOLES), ("libarchive", HOLES), ("python", HOLES)];
const HOLES: &str =
    "a small archive could become a file of any size; the error says how to pack it";
