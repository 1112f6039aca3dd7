//! `kiln cache import`: cache mounts from an OCI image layout.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use kiln_worker::cache_mount::{CacheMountImport, Taken, WhenBusy, import_cache_mounts};
use kiln_worker::stop::Stop;
use kiln_worker::store::Store;

use crate::args::CacheImportArgs;
use crate::human;
use crate::progress::printable;

pub(super) fn run(args: &CacheImportArgs, store: &Store, out: &mut dyn Write) -> Result<()> {
    let source = match &*args.source {
        "-" => spooled(store).context("cannot read an archive from standard input")?,
        path => PathBuf::from(path),
    };
    let import = CacheMountImport {
        source,
        selection: super::selection(&args.ids),
        replace: args.replace,
        when_busy: WhenBusy::Wait,
        must_exist: true,
    };
    let remarks = super::remarks("importing cache mounts");
    let imported = import_cache_mounts(store, &import, &Stop::default(), &remarks)
        .with_context(|| format!("cannot import cache mounts from {}", args.source))?;
    if imported.is_empty() {
        writeln!(
            out,
            "there are no cache mounts in {}",
            printable(&args.source)
        )?;
    }
    for cache in imported {
        let (id, size) = (printable(&cache.id), human::size(cache.size));
        match cache.taken {
            Taken::New => writeln!(out, "imported {id}: {size}")?,
            Taken::Replaced => writeln!(out, "replaced {id}: {size}")?,
            Taken::Kept => writeln!(
                out,
                "kept {id}: the store's own is not empty; --replace replaces it"
            )?,
            Taken::Busy => writeln!(out, "kept {id}: a build uses it")?,
        }
    }
    Ok(())
}

/// Standard input as a file: an archive is read back and forth.
fn spooled(store: &Store) -> Result<PathBuf> {
    let (path, mut file) = store.scratch().new_file()?;
    io::copy(&mut io::stdin().lock(), &mut file)?;
    Ok(path)
}
