//! `kiln cache export`: cache mounts as an OCI image layout.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use kiln_worker::cache_mount::{
    CacheMountExport, ExportedCacheMount, LeftOut, export_cache_mounts,
};
use kiln_worker::export::{Destination, LayoutDestination};
use kiln_worker::layer::Compression;
use kiln_worker::stop::Stop;
use kiln_worker::store::Store;

use crate::args::{CacheExportArgs, CompressionArg};
use crate::human;
use crate::progress::printable;

/// How many paths of what was left out are named.
const NAMED: usize = 5;

pub(super) fn run(args: &CacheExportArgs, store: &Store, out: &mut dyn Write) -> Result<()> {
    let is_stdout = args.destination == "-";
    if is_stdout && io::stdout().is_terminal() {
        bail!("an archive does not go to a terminal; redirect standard output");
    }
    let level = args.compression_level;
    let export = CacheMountExport {
        selection: super::selection(&args.ids),
        compression: match args.compression {
            CompressionArg::Zstd => Compression::zstd(level)?,
            CompressionArg::Gzip => Compression::gzip(level)?,
            CompressionArg::Uncompressed => Compression::Uncompressed,
        },
        destination: destination(&args.destination),
        must_exist: true,
    };
    let remarks = super::remarks("exporting cache mounts");
    let exported = export_cache_mounts(store, export, &Stop::default(), &remarks)
        .with_context(|| format!("cannot export cache mounts to {}", args.destination))?;
    if is_stdout {
        tell(&exported, &mut io::stderr())
    } else {
        tell(&exported, out)
    }
}

fn destination(typed: &str) -> LayoutDestination {
    let path = PathBuf::from(typed);
    match typed {
        "-" => LayoutDestination::Tar(Destination::Stream(Box::new(io::stdout()))),
        _ if path.extension().is_some_and(|extension| extension == "tar") => {
            LayoutDestination::Tar(Destination::File(path))
        }
        _ => LayoutDestination::Directory(path),
    }
}

fn tell(exported: &[ExportedCacheMount], out: &mut dyn Write) -> Result<()> {
    if exported.is_empty() {
        writeln!(
            out,
            "there are no cache mounts in the store; an empty list was written"
        )?;
    }
    for cache in exported {
        let (size, compressed) = (human::size(cache.size), human::size(cache.compressed));
        writeln!(
            out,
            "exported {}: {size}, {compressed} as it travels",
            printable(&cache.id)
        )?;
        for (what, paths) in [
            (
                "devices and sockets",
                paths(cache, |left| matches!(left, LeftOut::Special(_))),
            ),
            (
                "files that changed meanwhile",
                paths(cache, |left| matches!(left, LeftOut::Changed(_))),
            ),
        ] {
            if !paths.is_empty() {
                let named = paths.iter().take(NAMED).map(String::as_str);
                let named = named.collect::<Vec<_>>().join(", ");
                let more = if paths.len() > NAMED { ", ..." } else { "" };
                let named = printable(&named);
                writeln!(out, "  left out {} {what}: {named}{more}", paths.len())?;
            }
        }
    }
    Ok(())
}

fn paths(cache: &ExportedCacheMount, is_meant: impl Fn(&LeftOut) -> bool) -> Vec<String> {
    let meant = cache.left_out.iter().filter(|left| is_meant(left));
    meant
        .map(|(LeftOut::Special(path) | LeftOut::Changed(path))| {
            String::from_utf8_lossy(path.as_bytes()).into_owned()
        })
        .collect()
}
