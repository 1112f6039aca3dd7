//! `kiln history`: the steps that made an image, in the form of `docker history`.

use std::io::Write;

use anyhow::Result;
use jiff::Timestamp;
use kiln_frontend::image_config::History;
use kiln_worker::store::Store;
use serde::Serialize;

use crate::args::HistoryArgs;
use crate::human;
use crate::stored_image::StoredImage;
use crate::table::{self, Listed};

/// How much of an instruction is printed.
const LONGEST_INSTRUCTION: usize = 45;

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(rename = "ID")]
    id: String,
    created_at: String,
    created_since: String,
    created_by: String,
    size: String,
    comment: String,
}

/// Prints the steps, the last one first.
pub fn run(args: &HistoryArgs, store: &Store, now: Timestamp, out: &mut dyn Write) -> Result<()> {
    let image = StoredImage::find(store, &args.name)?;
    let mut sizes = image.layer_sizes(store).into_iter();
    let rows = image.config.history.iter().map(|step| {
        let size = if step.empty_layer {
            0
        } else {
            sizes.next().unwrap_or(0)
        };
        row(step, size, args.no_trunc, now)
    });
    let mut rows: Vec<Row> = rows.collect();
    rows.reverse();
    // Only the image as a whole has an ID; Docker's older builder gave one to every step.
    if let Some(newest) = rows.first_mut() {
        newest.id = human::id(&image.id().to_string(), args.no_trunc);
    }
    if args.quiet {
        return Ok(rows
            .iter()
            .try_for_each(|row| writeln!(out, "{}", row.id))?);
    }
    Ok(table::print(out, &rows, args.format)?)
}

fn row(step: &History, size: u64, in_full: bool, now: Timestamp) -> Row {
    let created: Option<Timestamp> = step.created.as_deref().and_then(|time| time.parse().ok());
    let instruction = one_line(&step.created_by);
    let instruction = match in_full {
        true => instruction,
        false => console::truncate_str(&instruction, LONGEST_INSTRUCTION, "…").into_owned(),
    };
    Row {
        id: "<missing>".to_owned(),
        created_at: created.map_or_else(|| "N/A".to_owned(), human::time),
        created_since: created.map_or_else(|| "N/A".to_owned(), |then| human::age(then, now)),
        created_by: instruction,
        size: human::size(size),
        comment: one_line(&step.comment),
    }
}

/// What an image says of itself may hold anything; a table has room for one line of text.
fn one_line(text: &str) -> String {
    let spaced = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    spaced.collect::<String>().trim_end().to_owned()
}

impl Listed for Row {
    fn headers() -> Vec<&'static str> {
        vec!["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"]
    }

    fn cells(&self) -> Vec<String> {
        let Row {
            id,
            created_since,
            created_by,
            size,
            comment,
            ..
        } = self;
        [id, created_since, created_by, size, comment]
            .map(String::clone)
            .into()
    }
}
