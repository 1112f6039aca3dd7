//! What came of a build as a text: what is recorded, and what is compared.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::Value;

use crate::base::Base;
use crate::builder::Outcome;
use crate::flat::Tree;
use crate::image::Image;
use crate::layer::What;
use crate::time::Seconds;

/// The text of an outcome. The layers of the base are left out, and so is what the tree has of it.
pub(crate) fn report(outcome: &Outcome, base: &Base) -> String {
    match outcome {
        Outcome::Built(image) => of_image(image, base).expect("text takes everything"),
        Outcome::Failed(failure) => match failure.lines.first() {
            Some(line) => format!("fails at line {line}\n"),
            None => "fails\n".to_owned(),
        },
    }
}

fn of_image(image: &Image, base: &Base) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let annotations = &image.manifest["annotations"];
    if !annotations.is_null() {
        writeln!(text, "annotations {annotations}")?;
    }
    writeln!(text, "config {:#}", without_layers(&image.config))?;
    for entry in image.config["history"].as_array().into_iter().flatten() {
        writeln!(text, "{}", of_history(entry))?;
    }

    let mut tree = Tree::default();
    let mut wanted = BTreeSet::new();
    let on_top = image
        .layers
        .iter()
        .zip(base.layers.iter().map(Some).chain(std::iter::repeat(None)))
        .take_while(|((id, _), base)| *base == Some(id))
        .count();
    for (_, layer) in &image.layers[..on_top] {
        tree.apply(layer);
    }
    for (number, (_, layer)) in image.layers[on_top..].iter().enumerate() {
        writeln!(text, "layer {}", number + 1)?;
        tree.apply(layer);
        for change in &layer.changes {
            writeln!(text, "  {change}")?;
            if matches!(change.what, What::Put(_) | What::Link(_)) {
                wanted.insert(change.path.as_str());
            }
        }
    }
    writeln!(text, "tree")?;
    for line in tree.lines(&wanted) {
        writeln!(text, "  {line}")?;
    }
    Ok(text)
}

fn without_layers(config: &Value) -> Value {
    let mut config = config.clone();
    if let Some(fields) = config.as_object_mut() {
        fields.remove("rootfs");
        fields.remove("history");
        // BuildKit writes null where an image has no time.
        if let Some(created) = fields.remove("created").filter(|it| !it.is_null()) {
            fields.insert("created".into(), Value::String(time(&created)));
        }
    }
    config
}

/// `history TIME COMMAND`, and what else it says.
fn of_history(entry: &Value) -> String {
    let mut line = format!("history {}", time(&entry["created"]));
    for (key, value) in entry.as_object().into_iter().flatten() {
        match key.as_str() {
            "created" => (),
            "created_by" => line.push_str(&format!(" {value}")),
            _ => line.push_str(&format!(" {key}={value}")),
        }
    }
    line
}

fn time(value: &Value) -> String {
    match value.as_str().and_then(Seconds::parse) {
        Some(time) => time.to_string(),
        None => value.to_string(),
    }
}
