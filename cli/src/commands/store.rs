//! `kiln store verify`: every byte against its name.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use kiln_worker::store::{Store, StoreError, salvage};
use kiln_worker::verify::{Damage, Damaged, Verified, repair, verify as check};
use serde::Serialize;

use crate::args::{Format, VerifyArgs};
use crate::exit::Exit;
use crate::progress::printable;
use crate::table::{self, Listed};

/// One thing that is damaged.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    kind: &'static str,
    name: String,
    problem: String,
    repaired: bool,
}

/// Checks the store at `root`, and repairs it if asked to.
pub fn verify(args: &VerifyArgs, root: &Path, out: &mut dyn Write) -> Result<Exit> {
    let mut rows = Vec::new();
    let store = match Store::open(root) {
        Err(error) if error.is_damaged_index() => {
            rows.push(damaged_index(args, root, error.to_string(), out)?);
            if !args.repair {
                return finish(args, &rows, out);
            }
            Store::open(root)
        }
        opened => opened,
    };
    let mut verified = run(args, store?)?;
    if let [
        Damage {
            what: Damaged::Index,
            problem,
        },
    ] = &verified.1.damage[..]
    {
        rows.push(damaged_index(args, root, problem.clone(), out)?);
        if !args.repair {
            return finish(args, &rows, out);
        }
        // The old index must not be open any more.
        drop(verified);
        verified = run(args, Store::open(root)?)?;
    }
    let (store, verified) = verified;
    if args.repair && !verified.damage.is_empty() {
        repair(&store, &verified.damage).context("cannot repair the store")?;
    }
    rows.extend(
        verified
            .damage
            .iter()
            .map(|damage| row(damage, args.repair)),
    );
    if args.format == Format::Table {
        let Verified {
            blobs,
            layers,
            records,
            images,
            ..
        } = verified;
        writeln!(
            out,
            "checked {blobs} blobs, {layers} layers, {records} cache records, {images} images"
        )?;
    }
    finish(args, &rows, out)
}

fn run(args: &VerifyArgs, store: Store) -> Result<(Store, Verified)> {
    let bar = if args.quiet {
        ProgressBar::hidden()
    } else {
        ProgressBar::new(0)
    };
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len}").expect("it is a template");
    bar.set_style(style);
    let verified = check(&store, &|done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    Ok((store, verified.context("cannot check the store")?))
}

fn damaged_index(
    args: &VerifyArgs,
    root: &Path,
    problem: String,
    out: &mut dyn Write,
) -> Result<Row, StoreError> {
    if args.repair {
        let saved = salvage(root)?;
        if args.format == Format::Table {
            // What cannot be told does not undo what was done.
            let _ = writeln!(
                out,
                "started a new index with {} images and {} cache records of the damaged one, which is now {}",
                saved.images,
                saved.records,
                saved.moved_to.display()
            );
        }
    }
    let what = Damaged::Index;
    Ok(row(&Damage { what, problem }, args.repair))
}

fn row(damage: &Damage, repaired: bool) -> Row {
    let (kind, name) = match &damage.what {
        Damaged::Blob(path) => ("blob", path.display().to_string()),
        Damaged::Layer(diff_id) => ("layer", diff_id.to_string()),
        Damaged::Directory(path) => ("unpacked layer", path.display().to_string()),
        Damaged::LayerBlob(diff_id, compression) => {
            ("compressed layer", format!("{diff_id} {compression}"))
        }
        Damaged::Record(key) => ("cache record", key.to_string()),
        Damaged::Image(name) => ("image", name.clone()),
        Damaged::Index => ("index", "index.db".to_owned()),
    };
    let problem = damage.problem.clone();
    Row {
        kind,
        name,
        problem,
        repaired,
    }
}

fn finish(args: &VerifyArgs, rows: &[Row], out: &mut dyn Write) -> Result<Exit> {
    if args.format == Format::Json {
        table::print(out, rows, args.format)?;
    } else {
        for Row {
            kind,
            name,
            problem,
            repaired,
        } in rows
        {
            let done = if *repaired { " (repaired)" } else { "" };
            let said = format!("{kind} {name}: {problem}{done}");
            writeln!(out, "{}", printable(&said))?;
        }
        if rows.is_empty() {
            writeln!(out, "everything is whole")?;
        } else if !args.repair {
            writeln!(
                out,
                "\n{} things are damaged; --repair removes them",
                rows.len()
            )?;
        }
    }
    let is_damaged = !rows.is_empty() && !args.repair;
    Ok(if is_damaged {
        Exit::Damaged
    } else {
        Exit::Done
    })
}

impl Listed for Row {
    fn headers() -> Vec<&'static str> {
        vec!["KIND", "NAME", "PROBLEM"]
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.kind.to_owned(),
            self.name.clone(),
            self.problem.clone(),
        ]
    }
}
